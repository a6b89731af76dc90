"""Results of tau-bench, written as its ``run.py`` writes them."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import Step, TaskFinished
from evalgauge_exporter.sources.tau_bench import TauBenchSource, matches_file
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import drain, folded, outcomes, snapshot, write

NAME = "tool-calling-gpt-4o-0.0_range_0--1_user-gpt-4o-mini-llm_0105100000.json"
BEGIN = datetime(2026, 1, 5, 10, 0, 0).timestamp()
TRAJECTORY = [
    {"role": "system", "content": "a policy"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "find_user", "arguments": '{"email": "a@example.org"}'}}
    ]},
    {"role": "tool", "content": "user_1"},
    {"role": "assistant", "content": "done, bye", "tool_calls": None},
]  # fmt: skip


def row(task: int, reward: float, trial: int = 0, **more: Any) -> dict[str, Any]:
    info = {"task": {"user_id": "u", "instruction": f"wish {task}"}, "source": "user", "user_cost": 0.002}
    return {"task_id": task, "reward": reward, "info": info, "traj": TRAJECTORY, "trial": trial, **more}


ROWS = [row(0, 1.0), row(0, 0.0, 1), row(1, 0.9999999)]


def make_run(root: Path, rows: list[dict[str, Any]] | None = None, name: str = NAME) -> Path:
    return write(root / name, json.dumps(ROWS if rows is None else rows, indent=2), BEGIN + 3600)


def test_trials_are_attempts(tmp_path: Path) -> None:
    run = folded(TauBenchSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 2, "failure": 1}
    assert (run.benchmark, run.model, run.agent) == ("tau-bench", "gpt-4o", "tool-calling")
    assert run.tags == {"user_model": "gpt-4o-mini"}
    assert {key: attempt.score for key, attempt in run.attempts.items()} == {
        ("0", 1): 1.0,
        ("0", 2): 0.0,
        ("1", 1): 1.0,
    }
    assert run.attempts["1", 1].instruction == "wish 1"
    assert run.attempts["0", 1].steps == 2


def test_the_agent_and_the_user_it_talks_to_are_two_models_of_unknown_tokens(tmp_path: Path) -> None:
    usage = folded(TauBenchSource(make_run(tmp_path))).usage
    assert {key: used.unknown for key, used in usage.items()} == {
        ("openai", "gpt-4o"): 6,
        ("openai", "gpt-4o-mini"): 3,
    }


def test_tools_are_steps_with_their_arguments(tmp_path: Path) -> None:
    events, _ = drain(TauBenchSource(make_run(tmp_path)))
    steps = [event.action for event in events if isinstance(event, Step) and event.task_id == "1"]
    assert steps == [{"type": "find_user", "email": "a@example.org"}, {"type": "message", "text": "done, bye"}]


def test_an_exception_was_not_measured_though_its_reward_is_zero(tmp_path: Path) -> None:
    broken = row(2, 0.0, info={"error": "EOF when reading a line", "traceback": "…"}, traj=[])
    events, _ = drain(TauBenchSource(make_run(tmp_path, [broken])))
    (finish,) = [event for event in events if isinstance(event, TaskFinished)]
    assert (finish.outcome, finish.score, finish.error) == ("infrastructure_error", None, "EOF when reading a line")
    assert not fold("run", "tau_bench", events).usage


def test_the_time_is_in_the_name_and_its_year_in_the_file(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    assert folded(TauBenchSource(path)).started_at == BEGIN
    copied = datetime(2026, 3, 1).timestamp()
    os.utime(path, (copied, copied))
    run = folded(TauBenchSource(path))
    assert run.started_at == copied, "the file was copied: no time is known but its own"
    assert run.attempts["0", 1].duration_seconds is None


def test_a_file_that_is_rewritten_is_followed_and_read_anew_gives_the_same(tmp_path: Path) -> None:
    source = TauBenchSource(make_run(tmp_path, ROWS[:1]))
    events, problems = drain(source)
    whole = json.dumps(ROWS, indent=2)
    write(tmp_path / NAME, whole[: len(whole) // 2], BEGIN + 3700)
    assert drain(source) == ([], [])
    make_run(tmp_path)
    events += drain(source)[0]
    assert problems == []
    live, anew = snapshot(fold("run", "tau_bench", events)), snapshot(folded(TauBenchSource(tmp_path / NAME)))
    for part in ("attempts", "counts", "usage", "steps"):
        assert live[part] == anew[part]


def test_a_document_that_changed_what_it_stated_is_read_again(tmp_path: Path) -> None:
    source = TauBenchSource(make_run(tmp_path))
    drain(source)
    make_run(tmp_path, [row(0, 0.0)])
    assert source.read().restarted
    (tmp_path / NAME).unlink()
    assert TauBenchSource(tmp_path / NAME).read().missing


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '[{"task_id": 1}]',
        '[{"task_id": 1, "reward": null, "info": {}}]',
        '[{"task_id": "a", "prompt": "x", "reward": 1.0}]',
        '[{"reward": 1.0, "task_id": 1, "info": {}}]',
    ],
)
def test_other_documents_are_none(tmp_path: Path, content: str) -> None:
    assert matches_file(make_run(tmp_path))
    assert not matches_file(write(tmp_path / "other.json", content))


def test_a_file_with_any_name_is_read_without_a_model(tmp_path: Path) -> None:
    path = make_run(tmp_path, name="gpt-4o-airline.json")
    assert matches_file(path)
    assert folded(TauBenchSource(path)).model == "unknown"
