"""The layout first proposed for OpenAdapt, synthetic: no release writes it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from evalgauge.events import Step
from evalgauge_exporter.sources.openadapt import files as openadapt_files
from evalgauge_exporter.sources.openadapt import models as openadapt_models
from evalgauge_exporter.sources.openadapt.models import OpenAdaptModelSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, snapshot, write

BEGIN = datetime(2026, 1, 5, 10, 0, 0)
AT = BEGIN.timestamp()


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def execution(task: str, model: str, success: bool, at: float, **more: Any) -> str:
    trace = [
        {
            "step_idx": index,
            "screenshot_path": f"screenshots/step_{index:03d}.png",
            "action": {"type": "click", "x": 0.5, "y": 0.25},
            "reasoning": f"because {index}",
            "timestamp": at + index,
        }
        for index in range(2)
    ]
    content = {"task_id": task, "model_id": model, "success": success, "steps_taken": 2, "execution_time": 9.5}
    return json.dumps({**content, "error_message": None if success else "no luck", "trace": trace, **more})


def make_run(root: Path, *, summary: bool = True) -> Path:
    run = root / "waa_eval_20260105_100000"
    write(run / "metadata.json", json.dumps({"benchmark_name": "waa", "created_at": BEGIN.isoformat()}))
    for index, name in enumerate(("notepad_1", "edge_2")):
        folder = run / "tasks" / name
        task = {"task_id": name, "name": name, "domain": name[:-2], "description": f"Do {name}", "max_steps": 15}
        write(folder / "task.json", json.dumps({**task, "success_criteria": "it is done"}))
        for step in range(2):
            write(folder / "screenshots" / f"step_{step:03d}.png", b"\x89PNG\r\n\x1a\n")
        write(folder / "model_a.json", execution(name, "claude-sonnet-4-5", True, AT + 100 * index))
        write(folder / "model.b.json", execution(name, "gpt-5.1", index == 0, AT + 100 * index + 50))
    if summary:
        write(run / "summary.json", "{}")
    return run


def test_each_model_is_a_run_of_the_same_tasks(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    places = openadapt_models.discover_runs(run, names(run))
    assert [place.name for place in places] == ["model.b", "model_a"]
    second, first = (folded(OpenAdaptModelSource(place)) for place in places)
    assert outcomes(first) == {"success": 2}
    assert outcomes(second) == {"success": 1, "failure": 1}
    assert first.attempts.keys() == second.attempts.keys()
    assert (first.model, second.model, first.benchmark) == ("claude-sonnet-4-5", "gpt-5.1", "waa")
    lost = second.attempts["edge_2", 1]
    assert (lost.error, lost.steps, lost.duration_seconds, lost.domain) == ("no luck", 2, 9.5, "edge")
    assert lost.instruction == "Do edge_2"
    assert lost.max_steps == 15
    assert first.started_at == AT
    assert first.status(NOW, STALL) == "completed"


def test_the_pictures_are_the_tasks(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    steps = [event for event in drain(OpenAdaptModelSource(run / "model_a"))[0] if isinstance(event, Step)]
    assert len(steps) == 4
    assert all(step.screenshot is not None and (run / step.screenshot).is_file() for step in steps)
    assert steps[0].action == {"type": "click", "x": 0.5, "y": 0.25}


def test_a_picture_may_be_named_from_the_runs_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    content = json.loads(execution("notepad_1", "m", True, AT))
    content["trace"][0]["screenshot_path"] = "tasks/notepad_1/screenshots/step_000.png"
    content["trace"][1]["screenshot_path"] = "../../../../etc/passwd"
    write(run / "tasks" / "notepad_1" / "model_a.json", json.dumps(content))
    steps = [event for event in drain(OpenAdaptModelSource(run / "model_a"))[0] if isinstance(event, Step)]
    shots = {step.step_idx: step.screenshot for step in steps if step.task_id == "notepad_1"}
    assert shots == {0: "tasks/notepad_1/screenshots/step_000.png", 1: None}


def test_times_may_be_seconds_since_the_task_began(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run / "tasks" / "notepad_1" / "model_a.json", execution("notepad_1", "m", True, 3.0))
    attempt = folded(OpenAdaptModelSource(run / "model_a")).attempts["notepad_1", 1]
    assert (attempt.started_at, attempt.finished_at) == (AT, AT + 9.5)


def test_a_running_run_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    run = make_run(tmp_path, summary=False)
    third = run / "tasks" / "vlc_3"
    write(third / "task.json", json.dumps({"task_id": "vlc_3", "domain": "vlc", "description": "Play"}))
    source = OpenAdaptModelSource(run / "model_a")
    events, _ = drain(source)
    assert outcomes(fold("run", "openadapt", events)) == {"success": 2, "pending": 1}
    write(third / "model_a.json", execution("vlc_3", "claude-sonnet-4-5", False, AT + 500)[:-40])
    fresh, problems = drain(source)
    assert fresh == []
    assert [problem.reason for problem in problems] == ["torn_file"]
    write(third / "model_a.json", execution("vlc_3", "claude-sonnet-4-5", False, AT + 500))
    events += drain(source)[0]
    assert snapshot(fold("run", "openadapt", events)) == snapshot(folded(OpenAdaptModelSource(run / "model_a")))
    assert source.watch_paths() == []


def test_folders_of_one_model_are_left_to_the_other_source(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert not openadapt_files.matches(run, names(run))
    write(run / "tasks" / "notepad_1" / "execution.json", "{}")
    assert openadapt_models.discover_runs(run, names(run)) == []
    assert openadapt_models.discover_runs(tmp_path, names(tmp_path)) == []
