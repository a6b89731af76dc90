"""Files of ``openadapt-eval``, synthetic: written as ``run_full_eval.py`` of openadapt-evals 0.98.0 writes them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evalgauge.events import Step
from evalgauge.runlog import MAX_LINE
from evalgauge_exporter.sources.openadapt.jsonl import OpenAdaptJsonlSource, matches_file
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, snapshot, write

BEGIN = datetime(2026, 1, 5, 10, 0, 0)


def meta(second: int, total: int = 3, remaining: int = 3, resumed: bool = False) -> str:
    content = {
        "_meta": True,
        "run_started": (BEGIN + timedelta(seconds=second)).isoformat(),
        "planner_model": "claude-sonnet-4-5",
        "planner_provider": "anthropic",
        "grounder_model": "UI-Venus",
        "server_url": "http://localhost:5001",
        "max_steps": 15,
        "total_tasks": total,
        "remaining_tasks": remaining,
        "resumed": resumed,
    }
    return json.dumps(content) + "\n"


def row(task: str, second: int, score: float, **more: Any) -> str:
    content = {
        "task_id": task,
        "started_at": (BEGIN + timedelta(seconds=second)).isoformat(),
        "score": score,
        "success": score > 0,
        "steps": 2,
        "error": None,
        "error_type": None,
        "elapsed_seconds": 20.5,
        "finished_at": (BEGIN + timedelta(seconds=second + 20)).isoformat(),
    }
    return json.dumps({**content, **more}) + "\n"


def test_success_is_what_the_row_says_and_errors_are_what_they_are(tmp_path: Path) -> None:
    rows = [
        row("a", 1, 0.25),
        row("b", 30, 0.0, milestones_passed=1, milestones_total=4),
        row("c", 60, 0.0, error="the server is gone", error_type="infrastructure"),
    ]
    run = folded(OpenAdaptJsonlSource(write(tmp_path / "full_eval_1.jsonl", meta(0) + "".join(rows))))
    assert outcomes(run) == {"success": 1, "failure": 1, "infrastructure_error": 1}
    assert run.attempts["a", 1].score == 0.25
    assert run.attempts["b", 1].reason == "1 of 4 milestones"
    assert run.attempts["c", 1].error == "the server is gone"
    assert (run.attempts["a", 1].steps, run.attempts["a", 1].duration_seconds) == (2, 20.5)
    assert (run.benchmark, run.model, run.tags["grounder_model"]) == ("waa", "claude-sonnet-4-5", "UI-Venus")
    assert run.started_at == BEGIN.timestamp()
    assert run.status(NOW, STALL) == "completed"


def test_the_pictures_beside_the_file_are_what_was_seen_before_each_step(tmp_path: Path) -> None:
    task = "04d9aeaf-7bed-4024-bedb-e10e6f00eb7f-WOS"
    for name in ("step_00_reset.png", "step_01.png", "step_02.png"):
        write(tmp_path / "screenshots" / task[:12] / name, b"\x89PNG\r\n\x1a\n")
    path = write(tmp_path / "full_eval_1.jsonl", meta(0) + row(task, 1, 1.0) + row("..", 2, 1.0))
    steps = [event for event in drain(OpenAdaptJsonlSource(path))[0] if isinstance(event, Step)]
    assert [step.screenshot for step in steps] == [
        f"screenshots/{task[:12]}/step_00_reset.png",
        f"screenshots/{task[:12]}/step_01.png",
        None,
        None,
    ]


def test_a_resumed_run_continues_and_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    path = write(tmp_path / "full_eval_1.jsonl", meta(0) + row("a", 1, 1.0, error_type="interrupted"))
    source = OpenAdaptJsonlSource(path)
    events, _ = drain(source)
    assert outcomes(fold("run", "openadapt", events)) == {"interrupted": 1, "pending": 2}
    text = path.read_text() + meta(100, remaining=2, resumed=True) + row("b", 101, 1.0) + row("c", 130, 1.0)
    for end in (len(path.read_text()) + 50, len(text) - 30, len(text)):
        with path.open("a") as file:
            file.write(text[path.stat().st_size : end])
        events += drain(source)[0]
    live = fold("run", "openadapt", events)
    assert snapshot(live) == snapshot(folded(OpenAdaptJsonlSource(path)))
    assert live.status(NOW, STALL) == "completed"
    assert source.watch_paths() == []


def test_a_cut_file_restarts_the_run_and_a_deleted_one_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "full_eval_1.jsonl", meta(0) + row("a", 1, 1.0))
    source = OpenAdaptJsonlSource(path)
    drain(source)
    with path.open("r+") as file:
        file.truncate(20)
    assert source.read().restarted
    path.unlink()
    assert source.read().missing


def test_bad_lines_are_counted_and_the_others_read(tmp_path: Path) -> None:
    lines = [meta(0), '{"torn\n', "text\n", '{"score": 1}\n', row("a", 1, 1.0, steps=-1, elapsed_seconds=[])]
    events, problems = drain(OpenAdaptJsonlSource(write(tmp_path / "full_eval_1.jsonl", "".join(lines))))
    assert [problem.reason for problem in problems] == ["torn_line", "foreign_line", "foreign_line"]
    assert outcomes(fold("run", "openadapt", events)) == {"success": 1, "pending": 2}


def test_a_line_without_end_is_skipped(tmp_path: Path) -> None:
    long_line = '{"a": "' + "x" * (MAX_LINE + 100) + '"}\n'
    path = write(tmp_path / "full_eval_1.jsonl", meta(0) + long_line + row("a", 1, 1.0))
    events, problems = drain(OpenAdaptJsonlSource(path))
    assert "long_line" in {problem.reason for problem in problems}
    assert fold("run", "openadapt", events).attempts["a", 1].status == "success"


def test_files_are_recognised_by_their_first_line(tmp_path: Path) -> None:
    assert matches_file(write(tmp_path / "full_eval_1.jsonl", meta(0)))
    assert matches_file(write(tmp_path / "mine.jsonl", meta(0)))
    assert not matches_file(write(tmp_path / "full_eval_2.jsonl", '{"other": 1}\n'))
    assert not matches_file(write(tmp_path / "other.jsonl", '{"_meta": true}\n'))
    assert not matches_file(write(tmp_path / "torn.jsonl", meta(0)[:-5]))
    assert not matches_file(tmp_path / "none.jsonl")
