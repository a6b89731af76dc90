"""Log folders of MobileWorld, synthetic: written as its ``TrajLogger`` and ``runner.py`` write them."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from evalgauge.events import LlmCall, Step
from evalgauge_exporter.sources.mobileworld import MobileWorldSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, places, snapshot, write

BEGIN = datetime(2026, 1, 5, 10, 0, 0)
AT = BEGIN.timestamp()


def write_task(root: Path, name: str, begin: float, actions: list[dict[str, Any]], result: str | None) -> None:
    usage = {"prompt_tokens": 100 * len(actions), "completion_tokens": 7 * len(actions), "cached_tokens": 10}
    steps = []
    for number, action in enumerate(actions, 1):
        steps.append({"task_goal": f"do {name}", "step": number, "prediction": f"think {number}", "action": action})
        shot = root / name / "screenshots" / f"{name}-0-{number}.png"
        write(shot, b"\x89PNG\r\n\x1a\n", AT + begin + number)
    content = {"0": {"tools": None, "traj": steps, "token_usage": usage}}
    write(root / name / "traj.json", json.dumps(content, indent=4), AT + begin + len(actions))
    if result is not None:
        write(root / name / "result.txt", result, AT + begin + 30)


def make_run(root: Path) -> Path:
    metadata = {
        "suite_family": "mobile_world",
        "seed": 3,
        "agent_type": "mai_ui_agent",
        "model_name": "gpt-5.1",
        "timestamp": BEGIN.isoformat(),
    }
    write(root / "metadata.json", json.dumps(metadata))
    click = {"action_type": "click", "x": 5, "y": 6}
    write_task(root, "SendMail", 5, [click, {"action_type": "finished"}], "score: 1.0\nreason: the mail was sent")
    write_task(root, "AddEvent", 50, [click], "score: 0.0\nreason: no event")
    write_task(root, "AddEvent_backup_20260105_100001", 2, [click], None)
    return root


def test_every_task_is_counted_with_its_tokens(tmp_path: Path) -> None:
    run = folded(MobileWorldSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1}
    assert run.usage["openai", "gpt-5.1"].tokens == [280, 20, 0, 21]
    assert (run.benchmark, run.model, run.agent) == ("mobile_world", "gpt-5.1", "mai_ui_agent")
    assert run.tags == {"seed": "3"}
    assert run.started_at == AT
    mail = run.attempts["SendMail", 1]
    assert (mail.reason, mail.instruction, mail.steps) == ("the mail was sent", "do SendMail", 1)
    assert (mail.started_at, mail.duration_seconds) == (AT + 6, 29)
    assert run.status(NOW, STALL) == "completed"


def test_a_step_happened_when_its_picture_was_written(tmp_path: Path) -> None:
    events, _ = drain(MobileWorldSource(make_run(tmp_path)))
    steps = [event for event in events if isinstance(event, Step) and event.task_id == "SendMail"]
    assert [step.action["type"] for step in steps] == ["click", "done"]
    assert [step.ts for step in steps] == [AT + 6, AT + 7]
    assert steps[0].screenshot == "SendMail/screenshots/SendMail-0-1.png"
    assert steps[0].reasoning == "think 1"
    assert len([event for event in events if isinstance(event, LlmCall)]) == 2


def test_a_running_run_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = MobileWorldSource(run)
    events, _ = drain(source)
    tap = {"action_type": "long_press", "x": 1, "y": 2}
    for count in range(1, 4):
        write_task(run, "TakePhoto", 100, [tap] * count, None)
        whole = (run / "TakePhoto" / "traj.json").read_bytes()
        write(run / "TakePhoto" / "traj.json", whole[: len(whole) // 2])
        assert drain(source)[1] == []
        write(run / "TakePhoto" / "traj.json", whole)
        events += drain(source)[0]
    write(run / "TakePhoto" / "result.txt", "score: 0.5\nreason: half", AT + 130)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "mobileworld", events)), snapshot(folded(MobileWorldSource(run)))
    for part in ("attempts", "counts", "steps", "usage", "durations", "ended"):
        assert live[part] == anew[part]
    assert live["ended"]


def test_a_result_that_is_no_score_was_not_measured(tmp_path: Path) -> None:
    write_task(tmp_path, "A", 1, [], "Error: the device is gone")
    events, problems = drain(MobileWorldSource(tmp_path))
    assert fold("run", "mobileworld", events).attempts["A", 1].status == "evaluation_error"
    assert [problem.reason for problem in problems] == ["foreign_file"]


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "logs" / "a")
    assert places(tmp_path / "logs") == [tmp_path / "logs" / "a"]


def test_an_old_run_that_was_copied_just_now_is_not_running(tmp_path: Path) -> None:
    root = make_run(tmp_path)
    write_task(root, "Begun", 90, [{"action_type": "click", "x": 5, "y": 6}], None)
    for path in root.rglob("*"):
        os.utime(path)
    run = folded(MobileWorldSource(root))
    assert run.attempts["Begun", 1].started_at == AT
    assert run.last_event_at == AT
