"""Result trees of Windows Agent Arena, synthetic: written as its ``TrajectoryRecorder`` writes them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from evalgauge.events import Step
from evalgauge_exporter.sources.osworld.waa import WaaSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, places, snapshot, write

BEGIN = datetime(2026, 1, 5, 10, 0, 0).timestamp()


def write_task(task: Path, begin: int, actions: list[str], result: str | None) -> None:
    """A task as the recorder leaves it: what was seen and said lies in files whose names stand in the lines."""
    lines = []
    for number in range(len(actions) + 1):
        at = datetime.fromtimestamp(BEGIN + begin + number).strftime("%Y%m%d@%H%M%S")
        step = "reset" if number == 0 else str(number - 1)
        shot, plan = f"screenshot-step_{step}_{at}.png", f"plan_result-step_{step}_{at}.txt"
        write(task / shot, b"\x89PNG\r\n\x1a\n")
        content = {"step_num": number, "action_timestamp": at, "action": None, "screenshot": shot}
        if number:
            write(task / plan, f"plan {number}")
            content |= {"action": actions[number - 1], "reward": 0, "done": False, "info": {}, "plan_result": plan}
        lines.append(json.dumps(content) + "\n")
    write(task / "traj.jsonl", "".join(lines))
    write(task / "traj.html", "<html>")
    if result is not None:
        write(task / "result.txt", result, BEGIN + begin + 60)


def make_run(root: Path) -> Path:
    run = root / "exp0" / "pyautogui" / "a11y_tree" / "gpt-4o"
    click = "computer.mouse.move_abs(x=0.5, y=0.25)\ncomputer.mouse.single_click()"
    for trial, result in (("0", "1.0\n"), ("1", "0.0\n"), ("10", "1.0\n")):
        write_task(run / trial / "notepad" / "aaa-WOS", int(trial) * 100, [click, "DONE"], result)
    write_task(run / "0" / "msedge" / "bbb-WOS", 300, [click], None)
    return run


def test_trials_are_attempts_and_a_task_without_result_did_not_end(tmp_path: Path) -> None:
    run = folded(WaaSource(make_run(tmp_path)))
    assert [(key, a.status) for key, a in sorted(run.attempts.items())] == [
        (("aaa-WOS", 1), "success"),
        (("aaa-WOS", 2), "failure"),
        (("aaa-WOS", 3), "success"),
        (("bbb-WOS", 1), "running"),
    ]
    assert outcomes(run) == {"success": 2, "failure": 1, "interrupted": 1}
    assert run.status(NOW, STALL) == "stalled"
    assert (run.benchmark, run.model) == ("waa", "gpt-4o")
    assert run.tags == {"action_space": "pyautogui", "observation_type": "a11y_tree"}
    assert run.counts["notepad", "success"] == 2
    assert run.started_at == BEGIN
    assert run.attempts["aaa-WOS", 1].duration_seconds == 60


def test_the_reset_is_no_step_and_its_picture_is_what_the_first_step_saw(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    events, _ = drain(WaaSource(run))
    steps = [event for event in events if isinstance(event, Step) and event.attempt == 1 and event.task_id == "aaa-WOS"]
    assert [step.action["type"] for step in steps] == ["click", "done"]
    assert steps[0].action["x"] == 0.5
    assert [step.reasoning for step in steps] == ["plan 1", "plan 2"]
    assert steps[0].screenshot is not None
    assert "step_reset_" in steps[0].screenshot
    assert all((run / step.screenshot).is_file() for step in steps if step.screenshot)
    assert fold("run", "waa", events).attempts["aaa-WOS", 1].steps == 1


def test_one_trial_that_is_served_by_itself_is_a_run(tmp_path: Path) -> None:
    run = folded(WaaSource(make_run(tmp_path) / "0"))
    assert outcomes(run) == {"success": 1, "interrupted": 1}
    assert run.model == "gpt-4o"


def test_the_models_folder_is_the_run_and_no_tree_of_osworld(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for folder in (run, run.parent, run.parents[1], run.parents[2]):
        assert places(folder) == [run]
    assert places(run / "0" / "notepad") == []


def test_a_running_run_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = WaaSource(run)
    events, _ = drain(source)
    for count in range(1, 4):
        write_task(run / "1" / "msedge" / "bbb-WOS", 400, ["WAIT"] * count, None)
        events += drain(source)[0]
    write_task(run / "1" / "msedge" / "bbb-WOS", 400, ["WAIT"] * 3, "1.0")
    write(run / "0" / "msedge" / "bbb-WOS" / "result.txt", "0.0", BEGIN + 310)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "waa", events)), snapshot(folded(WaaSource(run)))
    for part in ("attempts", "counts", "steps", "durations", "ended"):
        assert live[part] == anew[part]
    assert live["ended"]


def test_a_trial_that_comes_before_others_makes_them_other_attempts(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = WaaSource(run)
    drain(source)
    write_task(run / "2" / "notepad" / "aaa-WOS", 200, ["DONE"], "1.0")
    assert source.read(full_scan=True).restarted


def test_a_reasoning_is_read_from_the_tasks_own_folder_only(tmp_path: Path) -> None:
    task = tmp_path / "run" / "notepad" / "a"
    write(tmp_path / "secret.txt", "secret")
    content = {
        "step_num": 1,
        "action_timestamp": "20260105@100000",
        "action": "DONE",
        "plan_result": "../../../secret.txt",
    }
    write(task / "traj.jsonl", json.dumps(content) + "\n")
    write(task / "traj.html", "")
    (step,) = [event for event in drain(WaaSource(tmp_path / "run"))[0] if isinstance(event, Step)]
    assert step.reasoning == "../../../secret.txt"
