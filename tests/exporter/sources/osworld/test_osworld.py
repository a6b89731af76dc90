"""Result trees of OSWorld, synthetic: written as its ``lib_run_single.py`` and ``run_multienv.py`` write them."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import Step
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.osworld.osworld import OSWorldSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, places, snapshot, write

BEGIN = datetime(2026, 1, 5, 10, 0, 0)
PNG = b"\x89PNG\r\n\x1a\n"


def stamp(second: int, micro: bool = False) -> str:
    moment = BEGIN.replace(minute=second // 60, second=second % 60)
    return moment.strftime("%Y%m%d@%H%M%S") + ("000250" if micro else "")


def line(number: int, second: int, action: Any, micro: bool = False, **more: Any) -> str:
    at = stamp(second, micro)
    content = {
        "step_num": number,
        "action_timestamp": at,
        "action": action,
        "response": f"I think {number}",
        "reward": 0,
        "done": action == "DONE",
        "info": {},
        "screenshot_file": f"step_{number}_{at}.png",
    }
    return json.dumps({**content, **more}) + "\n"


def make_run(root: Path) -> Path:
    run = root / "pyautogui" / "screenshot" / "gpt-5.1"
    arguments = {"action_space": "pyautogui", "observation_type": "screenshot", "model": "gpt-5.1", "max_steps": 15}
    write(run / "args.json", json.dumps(arguments))
    good = run / "chrome" / "aaa-1"
    write(
        good / "traj.jsonl",
        line(1, 5, "pyautogui.click(100, 200)") + line(1, 6, "pyautogui.write('hi')", True) + line(2, 9, "DONE"),
    )
    write(good / f"step_1_{stamp(5)}.png", PNG)
    write(good / "result.txt", "1.0\n", BEGIN.timestamp() + 30)
    half = run / "os" / "bbb-2"
    write(half / "traj.jsonl", line(1, 20, {"action_type": "CLICK", "parameters": {"x": 5, "y": 6}}))
    write(half / "result.txt", "0.5\n", BEGIN.timestamp() + 50)
    broken = run / "os" / "ccc-3"
    write(broken / "traj.jsonl", line(1, 30, "WAIT") + json.dumps({"Error": "Time limit exceeded in os/ccc-3"}) + "\n")
    write(run / "os" / "ddd-4" / "traj.jsonl", line(1, 40, "FAIL"))
    write(run / "os" / "ddd-4" / "result.txt", "True", BEGIN.timestamp() + 45)
    return run


def test_every_task_is_counted_by_what_is_in_its_folder(tmp_path: Path) -> None:
    run = folded(OSWorldSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 2, "failure": 1, "infrastructure_error": 1}
    assert run.counts["chrome", "success"] == 1
    assert (run.benchmark, run.model) == ("osworld", "gpt-5.1")
    assert run.tags == {"action_space": "pyautogui", "observation_type": "screenshot"}
    assert run.started_at == BEGIN.timestamp() + 5
    assert run.attempts["aaa-1", 1].duration_seconds == 25
    assert run.attempts["aaa-1", 1].max_steps == 15
    assert run.attempts["bbb-2", 1].score == 0.5
    assert run.attempts["ccc-3", 1].error == "Time limit exceeded in os/ccc-3"
    assert run.usage == {}
    assert run.status(NOW, STALL) == "completed"  # nothing is open and it has been quiet for months


def test_several_lines_of_one_step_number_are_several_steps(tmp_path: Path) -> None:
    events, _ = drain(OSWorldSource(make_run(tmp_path)))
    steps = [event for event in events if isinstance(event, Step) and event.task_id == "aaa-1"]
    assert [step.action["type"] for step in steps] == ["click", "type", "done"]
    assert [step.step_idx for step in steps] == [0, 1, 2]
    assert steps[1].ts == pytest.approx(BEGIN.timestamp() + 6.00025)
    assert steps[0].screenshot is None
    assert steps[1].screenshot == f"chrome/aaa-1/step_1_{stamp(5)}.png"
    assert steps[0].reasoning == "I think 1"
    assert fold("run", "osworld", events).attempts["aaa-1", 1].steps == 2


def test_the_threshold_can_be_set(tmp_path: Path) -> None:
    run = folded(OSWorldSource(make_run(tmp_path), success_threshold=0.5))
    assert outcomes(run)["success"] == 3


def test_a_running_run_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = OSWorldSource(run)
    events, _ = drain(source)
    task = run / "vlc" / "eee-5"
    task.mkdir(parents=True)
    os.utime(task, (BEGIN.timestamp() + 55, BEGIN.timestamp() + 55))
    events += drain(source, full_scan=True)[0]
    assert fold("run", "osworld", events).attempts["eee-5", 1].status == "running"
    written = ""
    for number in range(1, 4):
        written += line(number, 60 + number, "pyautogui.press('a')")
        write(task / "traj.jsonl", written + '{"step_num": 9, "act')  # the next line is being written
        fresh, problems = drain(source)
        assert [event for event in fresh if isinstance(event, Step)]
        assert problems == []
        events += fresh
    assert fold("run", "osworld", events).status(BEGIN.timestamp() + 64, STALL) == "running"
    write(task / "traj.jsonl", written)
    write(task / "result.txt", "0", BEGIN.timestamp() + 70)
    events += drain(source)[0]
    assert drain(source) == ([], [])
    live, anew = snapshot(fold("run", "osworld", events)), snapshot(folded(OSWorldSource(run)))
    for part in ("attempts", "counts", "steps", "durations", "ended"):
        assert live[part] == anew[part]


def test_a_task_that_is_done_again_replaces_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = OSWorldSource(run)
    drain(source)
    write(run / "os" / "ccc-3" / "traj.jsonl", line(1, 90, "DONE"))
    assert source.read(full_scan=True).restarted


def test_a_deleted_task_restarts_the_run_and_a_deleted_folder_is_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = OSWorldSource(run)
    drain(source)
    task = run / "os" / "ccc-3"
    (task / "traj.jsonl").unlink()
    task.rmdir()
    assert source.read(full_scan=True).restarted
    run.rename(tmp_path / "elsewhere")
    assert source.read().missing


@pytest.mark.parametrize(
    ("said", "status"),
    [("1", "success"), ("1.0\n", "success"), ("False", "failure"), ("0.999", "failure"), ("oops", "evaluation_error")],
)
def test_what_result_files_state(tmp_path: Path, said: str, status: str) -> None:
    write(tmp_path / "run" / "os" / "a" / "traj.jsonl", line(1, 1, "DONE"))
    write(tmp_path / "run" / "os" / "a" / "result.txt", said)
    events, problems = drain(OSWorldSource(tmp_path / "run"))
    assert fold("run", "osworld", events).attempts["a", 1].status == status
    assert [problem.reason for problem in problems] == (["foreign_file"] if status == "evaluation_error" else [])


def test_an_empty_result_is_being_written(tmp_path: Path) -> None:
    write(tmp_path / "run" / "os" / "a" / "traj.jsonl", line(1, 1, "DONE"))
    write(tmp_path / "run" / "os" / "a" / "result.txt", "")
    run = folded(OSWorldSource(tmp_path / "run"))
    assert run.attempts["a", 1].status == "running"
    assert run.status(NOW, STALL) == "stalled"


def test_bad_lines_are_counted_and_the_others_read(tmp_path: Path) -> None:
    task = tmp_path / "run" / "os" / "a"
    write(task / "traj.jsonl", line(1, 1, "WAIT") + '{"torn\n' + "[1]\n" + line(2, 2, "DONE"))
    events, problems = drain(OSWorldSource(tmp_path / "run"))
    assert [problem.reason for problem in problems] == ["torn_line", "foreign_line"]
    assert len([event for event in events if isinstance(event, Step)]) == 2


def test_the_models_folder_is_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for folder in (run, run.parent, run.parent.parent):
        assert places(folder) == [run]
    assert places(run / "os") == places(run / "os" / "bbb-2") == []


def test_a_run_is_one_before_its_first_task(tmp_path: Path) -> None:
    write(tmp_path / "args.json", json.dumps({"action_space": "a", "observation_type": "b", "model": "c"}))
    assert places(tmp_path) == [tmp_path]
    write(tmp_path / "args.json", json.dumps({"learning_rate": 1}))
    assert places(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("import pyautogui\npyautogui.moveTo(3, 4)\npyautogui.click()", {"type": "click", "x": 3.0, "y": 4.0}),
        ("pyautogui.click(x=1.5, y=2)", {"type": "click", "x": 1.5, "y": 2.0}),
        ("pyautogui.doubleClick(1, 2)\ntime.sleep(1)", {"type": "double_click", "x": 1.0, "y": 2.0}),
        (
            "pyautogui.moveTo(1, 2)\npyautogui.dragTo(5, 6)",
            {"type": "drag", "x": 1.0, "y": 2.0, "end_x": 5.0, "end_y": 6.0},
        ),
        ("pyautogui.hotkey('ctrl', \"s\")", {"type": "key", "keys": ["ctrl", "s"]}),
        ("pyautogui.scroll(-5)", {"type": "scroll", "scroll_direction": "down", "scroll_amount": 5.0}),
        ("pyautogui.typewrite('it\\'s')", {"type": "type", "text": "it\\'s"}),
        (
            "computer.mouse.move_abs(x=0.5, y=0.25)\ncomputer.mouse.single_click()",
            {"type": "click", "x": 0.5, "y": 0.25},
        ),
        ("os.system('rm -rf /')", {"type": "code"}),
    ],
)
def test_code_is_read_and_never_run(code: str, fields: dict[str, Any]) -> None:
    assert parse_action(code) == {**fields, "code": code}


def test_actions_that_are_objects() -> None:
    claude = {"name": "computer", "input": {"action": "left_click", "coordinate": [1, 2]}, "command": "import x"}
    assert parse_action(claude)["type"] == "left_click"
    assert parse_action(claude)["coordinate"] == [1, 2]
    assert parse_action({"action_type": "DONE"})["type"] == "done"
    assert parse_action({"command": "pyautogui.click(1, 2)"})["type"] == "click"
    assert parse_action({"x": 1})["type"] == "unknown"
    assert parse_action(None) == {"type": "unknown"}
    assert parse_action(["a"])["type"] == "code"


def test_no_screenshot_is_opened_or_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    touched: list[str] = []

    def record(name: str) -> None:
        real = getattr(os, name)

        def call(path: Any, *args: Any, **more: Any) -> Any:
            touched.append(os.fspath(path))
            return real(path, *args, **more)

        monkeypatch.setattr(os, name, call)

    for name in ("open", "stat", "lstat"):
        record(name)
    source = OSWorldSource(run)
    events, _ = drain(source)
    assert drain(source, full_scan=True) == ([], [])
    assert source.fingerprint() is not None
    assert any(isinstance(event, Step) and event.screenshot for event in events)
    assert any(path.endswith("traj.jsonl") for path in touched)
    assert not [path for path in touched if path.endswith(".png")]


def test_what_lies_beside_the_tasks_is_none(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    whole = outcomes(folded(OSWorldSource(run)))
    for name in (
        "chrome/aaa-1/._traj.jsonl",
        "__MACOSX/chrome/._aaa-1",
        "logs/night/notes.txt",
        "chrome/old/README.md",
    ):
        write(run / name, b"\0\5\26\7")
    write(run / "chrome" / "begun" / "runtime.log", "")
    (run / "chrome" / "queued").mkdir()
    assert places(tmp_path) == [run]
    assert outcomes(folded(OSWorldSource(run))) == {**whole, "interrupted": 2}


def test_an_old_run_that_was_copied_just_now_is_not_running(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "os" / "queued").mkdir()
    for path in run.rglob("*"):
        os.utime(path)
    state = folded(OSWorldSource(run))
    assert state.last_event_at == BEGIN.timestamp() + 40
    assert state.attempts["queued", 1].started_at == BEGIN.timestamp() + 5


def test_files_that_git_lfs_has_not_fetched_are_not_there(tmp_path: Path) -> None:
    run = tmp_path / "gpt-5.1"
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1014\n"
    for name in ("args.json", "chrome/a/traj.jsonl", "chrome/a/result.txt"):
        write(run / name, pointer)
    events, problems = drain(OSWorldSource(run))
    assert outcomes(fold("run", "osworld", events)) == {"interrupted": 1}
    assert {problem.reason for problem in problems} == {"git_lfs"}
    assert "git lfs pull" in problems[0].detail
