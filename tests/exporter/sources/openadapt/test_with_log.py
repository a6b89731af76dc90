"""Folders that hold both a run log and OpenAdapt's own files: one run, the log first."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalgauge import track_run
from evalgauge.events import Event, LogLine, RunFinished, Step
from evalgauge.tracker import Run
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.openadapt.with_log import FilledRunLogSource
from evalgauge_exporter.state.run import RunState, fold
from tests.exporter.sources.openadapt.folders import begin, execution, task, write

STALL = 600.0
PNG = b"\x89PNG\r\n\x1a\n"
LINES = [
    {"timestamp": 0.5, "level": "INFO", "message": "Environment reset complete"},
    {"timestamp": 1.5, "level": "SUCCESS", "message": "Task completed"},
    {"timestamp": 1.6, "level": "ERROR", "message": "evaluate failed"},
]


class Follower:
    """Reads a run as the exporter does: from its beginning again where the source says so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start()

    def _start(self) -> None:
        self.source = FilledRunLogSource(self._folder)
        self.state = RunState("r", "runlog")
        self.events: list[Event] = []

    def look(self, *, full_scan: bool = False) -> RunState:
        reading = self.source.read(full_scan=full_scan)
        assert not reading.problems
        if reading.restarted:
            self._start()
            return self.look()
        for event in reading.events:
            self.state.apply(event)
        self.events += reading.events
        return self.state


def started(results: Path, name: str = "r", model: str = "m") -> Run:
    return track_run(results, benchmark="waa", model=model, run_id=name).__enter__()


def outcomes(run: RunState) -> dict[str, str]:
    return {attempt.task_id: attempt.status for attempt in run.attempts.values()}


def ended(run: Path, task_id: str, **fields: Any) -> None:
    task(run, task_id)
    execution(run, task_id, at=time.time() - 60, **fields)


def test_tasks_that_ran_before_the_log_started_come_from_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "before", logs=LINES)
    run = started(tmp_path)
    with run.task("after", domain="paint") as attempt:
        attempt.finish(success=False)
    run.finish()
    found, _ = Discovery([tmp_path]).scan()
    assert [one.source.source for one in found] == ["runlog"]
    state = fold("r", "runlog", found[0].source.read().events)
    assert outcomes(state) == {"before": "success", "after": "failure"}
    assert state.attempts["before", 1].domain == "notepad"
    assert state.steps == {"click": 1, "done": 1}
    assert state.is_finished()
    assert state.started_at is not None
    assert state.started_at < time.time() - 50


def test_of_a_task_that_both_have_the_log_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120, model="another")
    ended(folder, "both", success=True)
    run = started(tmp_path)
    with run.task("both", domain="paint") as attempt:
        attempt.step(action="click")
        attempt.finish(success=False, score=0.25)
    run.finish(status="aborted")
    write(folder / "summary.json", {"tasks": [{"task_id": "both", "success": True}, {"task_id": "lost", "score": 1}]})
    state = Follower(folder).look(full_scan=True)
    assert outcomes(state) == {"both": "failure", "lost": "failure"}
    assert state.attempts["both", 1].score == 0.25
    assert state.attempts["both", 1].domain == "paint"
    assert (state.model, state.benchmark, state.steps) == ("m", "waa", {"click": 1})
    assert state.status(time.time(), STALL) == "aborted"


def test_while_the_run_is_running_no_task_is_counted_twice(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = started(tmp_path)
    follower = Follower(folder)
    follower.look()
    begin(folder, time.time())
    task(folder, "a")
    follower.look(full_scan=True)  # the files came after something of the log was read
    attempt = run.task("a", domain="paint")
    write(folder.parent / "benchmark_live.json", {
        "status": "running", "total_tasks": 2,
        "current_task": {"task_id": "a", "steps": [{"step_idx": 0, "action": {"type": "click"}}]},
    })  # fmt: skip
    assert outcomes(follower.look()) == {"a": "running"}
    attempt.step(action="click")
    assert follower.look().steps == {"click": 1}
    execution(folder, "a", at=time.time(), logs=LINES)
    assert outcomes(follower.look()) == {"a": "running"}
    attempt.finish(success=True)
    state = follower.look()
    assert outcomes(state) == {"a": "success"}
    assert state.steps == {"click": 1}
    assert state.total == 2
    assert [event.message for event in follower.events if isinstance(event, LogLine)] == [
        "Environment reset complete", "Task completed", "evaluate failed",
    ]  # fmt: skip
    write(folder / "summary.json", {"tasks": [{"task_id": "a", "success": True}]})
    assert not follower.look().is_finished()  # the log is about to say so
    run.finish()
    assert follower.look().is_finished()
    assert sum(isinstance(event, RunFinished) for event in follower.events) == 1


def test_a_task_that_the_log_starts_after_it_came_from_the_files_restarts_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "a", success=True)
    run = started(tmp_path)
    follower = Follower(folder)
    assert outcomes(follower.look()) == {"a": "success"}
    with run.task("a") as attempt:
        attempt.finish(success=False)
    state = follower.look()
    assert outcomes(state) == {"a": "failure"}
    assert state.steps == {}
    run.finish()


def test_the_end_of_a_run_whose_log_was_never_finished_is_that_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    task(folder, "a")
    run = started(tmp_path)
    with run.task("a") as attempt:
        attempt.finish(success=True)
    write(folder / "summary.json", {"tasks": [{"task_id": "a", "success": True}]})
    follower = Follower(folder)
    assert follower.look().status(time.time(), STALL) == "completed"
    assert follower.source.watch_paths() == []
    with run.task("b") as attempt:  # not over after all
        attempt.finish(success=True)
    assert outcomes(follower.look(full_scan=True)) == {"a": "success", "b": "success"}
    run.finish()


def test_what_the_log_does_not_say_of_a_task_or_the_run_is_filled_in(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120, model="gpt-5")
    task(folder, "a", domain="calc", instruction="add it up")
    task(folder, "b", domain="calc", instruction="add it up")
    run = started(tmp_path, model="unknown")
    run.task("a").finish(success=True)
    run.task("b", domain="paint", instruction="draw it").finish(success=True)
    follower = Follower(folder)
    state = follower.look()
    execution(folder, "a", at=time.time())
    execution(folder, "b", at=time.time())
    follower.look()
    described = {task_id: (one.domain, one.instruction) for (task_id, _), one in state.attempts.items()}
    assert described == {"a": ("calc", "add it up"), "b": ("paint", "draw it")}
    assert state.model == "gpt-5"
    run.finish()
    assert follower.look().is_finished()


def test_a_step_without_a_screenshot_shows_the_one_that_openadapt_took(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    task(folder, "a b")
    shots = folder / "tasks" / "a_b" / "screenshots"
    (folder / "tasks" / "a b").rename(folder / "tasks" / "a_b")
    shots.mkdir()
    (shots / "step_000.png").write_bytes(PNG)
    (shots / "step_002.png").write_bytes(PNG)
    run = started(tmp_path)
    with run.task("a b") as attempt:
        attempt.step(action="click")
        attempt.step(action="click")
        attempt.step(action="click", screenshot=PNG)
        attempt.finish(success=True)
    follower = Follower(folder)
    follower.look()
    told = [event.screenshot for event in follower.events if isinstance(event, Step)]
    assert told[:2] == ["tasks/a_b/screenshots/step_000.png", None]
    assert told[2] is not None
    assert told[2].startswith("screenshots/")
    assert all((folder / shot).is_file() for shot in told if shot is not None)
    run.finish()


@pytest.mark.parametrize("own", [True, False])
def test_a_tasks_own_lines_are_not_added_twice(tmp_path: Path, own: bool) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "a", logs=LINES)
    run = started(tmp_path)
    with run.task("a") as attempt:
        if own:
            attempt.log("mine", level="warning")
        attempt.finish(success=True)
    run.finish()
    follower = Follower(folder)
    follower.look()
    told = [(event.level, event.message) for event in follower.events if isinstance(event, LogLine)]
    files = [("info", "Environment reset complete"), ("info", "Task completed"), ("error", "evaluate failed")]
    assert told == ([("warning", "mine")] if own else files)


def test_the_worker_of_a_pool_that_has_no_log_is_filled_in(tmp_path: Path) -> None:
    pool = tmp_path / "exp"
    for worker, task_id in (("w0", "a"), ("w1", "b")):
        begin(pool / f"exp_{worker}", time.time() - 120)
        ended(pool / f"exp_{worker}", task_id)
        shots = pool / f"exp_{worker}" / "tasks" / task_id / "screenshots"
        shots.mkdir()
        (shots / "step_000.png").write_bytes(PNG)
    run = started(tmp_path, "exp")
    with run.task("a", worker="w0") as attempt:
        attempt.step(action="click")
        attempt.finish(success=False)
    run.finish()
    follower = Follower(pool)
    state = follower.look()
    assert outcomes(state) == {"a": "failure", "b": "success"}
    assert {worker: found.outcomes["success"] for worker, found in state.workers.items()} == {"w0": 0, "w1": 1}
    shots_told = [event.screenshot for event in follower.events if isinstance(event, Step)]
    assert shots_told[0] == "exp_w0/tasks/a/screenshots/step_000.png"


@pytest.mark.parametrize("change", [
    lambda folder: write(folder / "summary.json", {"tasks": [], "more": 1}),
    lambda folder: task(folder, "new"),
])  # fmt: skip
def test_a_change_of_the_files_changes_the_fingerprint(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "a")
    write(folder / "summary.json", {"tasks": []})
    started(tmp_path).finish()
    before = FilledRunLogSource(folder).fingerprint()
    assert before == FilledRunLogSource(folder).fingerprint()
    change(folder)
    assert FilledRunLogSource(folder).fingerprint() != before
    shutil.rmtree(folder / "events")
    assert FilledRunLogSource(folder).fingerprint() is None


def test_a_summary_of_another_origin_ends_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = started(tmp_path)
    (folder / "tasks" / "a").mkdir(parents=True)
    write(folder / "summary.json", {"finished": 1})
    follower = Follower(folder)
    assert not follower.look(full_scan=True).is_finished(), "no task has begun"
    run.task("a").finish(success=True)
    assert not follower.look(full_scan=True).is_finished()
    attempt = run.task("b")
    state = follower.look(full_scan=True)
    assert state.statuses(time.time(), STALL) == {"success": 1, "running": 1}
    assert follower.source.watch_paths() != []
    attempt.finish(success=True)
    run.finish()
    assert follower.look().is_finished()


def test_a_run_that_finished_by_its_files_is_running_again_once_its_log_continues(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    task(folder, "a")
    run = started(tmp_path)
    run.task("a").finish(success=True)
    write(folder / "summary.json", {"tasks": [{"task_id": "a", "success": True}]})
    follower = Follower(folder)
    assert follower.look().is_finished()
    attempt = run.task("b")
    assert follower.look().statuses(time.time(), STALL) == {"success": 1, "running": 1}
    attempt.finish(success=True)
    assert not follower.look(full_scan=True).is_finished()
    run.finish()
    assert follower.look().is_finished()


def test_a_finished_run_that_is_resumed_is_watched(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "a")
    write(folder / "summary.json", {"tasks": [{"task_id": "a", "success": True}]})
    run = started(tmp_path)
    run.task("a").finish(success=True)
    run.finish()
    follower = Follower(folder)
    assert follower.look().is_finished()
    again = started(tmp_path)
    for _ in range(2):
        assert not follower.look(full_scan=True).is_finished()
        assert follower.source.watch_paths() != []
        follower = Follower(folder)  # a start of the exporter finds the same
    again.finish()


def test_a_log_that_is_empty_yet_hides_nothing_of_what_the_files_say_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120, model="gpt-5")
    task(folder, "a")
    (folder / "events").mkdir()
    (folder / "events" / "w.jsonl").touch()
    follower = Follower(folder)
    state = follower.look()
    assert (state.model, state.benchmark) == ("gpt-5", "waa")
    run = track_run(tmp_path, benchmark="mine", model="unknown", run_id="r").__enter__()
    run.finish()
    state = follower.look(full_scan=True)
    assert (state.model, state.benchmark, state.declared_run_id) == ("gpt-5", "mine", "r")


def test_files_that_came_late_are_not_added_to_what_was_read_without_them(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = started(tmp_path)
    with run.task("a") as attempt:
        attempt.step(action="click")
        attempt.finish(success=True)
    source = FilledRunLogSource(folder)
    source.read()
    begin(folder, time.time() - 120)
    ended(folder, "a")
    assert source.read(full_scan=True).restarted
    assert source.read().events == [], "also where nobody could read it from its beginning"
    assert source.read(full_scan=True).restarted
    run.finish()


def test_a_task_whose_start_in_the_log_cannot_be_read_is_not_added_twice(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    begin(folder, time.time() - 120)
    ended(folder, "a")
    run = started(tmp_path)
    with run.task("a") as attempt:
        attempt.step(action="click")
        attempt.finish(success=False)
    run.finish()
    (log,) = (folder / "events").glob("*.jsonl")
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"task_started"' not in line))
    state = Follower(folder).look()
    assert state.steps == {"click": 1}
    assert outcomes(state) == {"a": "failure"}


def test_the_lines_of_a_task_that_was_tried_twice_are_those_of_its_last_attempt(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run = started(tmp_path)
    for number in (1, 2):
        with run.task("a", attempt=number) as attempt:
            attempt.finish(success=True)
    begin(folder, time.time() - 120)
    task(folder, "a")
    execution(folder, "a", at=time.time(), logs=LINES)
    follower = Follower(folder)
    follower.look()
    assert {event.attempt for event in follower.events if isinstance(event, LogLine)} == {2}
    run.finish()
