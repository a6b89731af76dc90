"""The tracker as a runner uses it."""

import json
import logging
import math
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalgauge import Run, git_state, track_run, tracker
from evalgauge import process_log as processlog
from evalgauge.events import (
    OBSERVATION_LENGTH,
    Event,
    Heartbeat,
    LlmCall,
    LogLine,
    Message,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.git_state import _read_tags
from evalgauge.runlog import log_files, read_events
from evalgauge.usage import TokenUsage
from evalgauge_exporter.state.run import fold

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def events_of(run: Run, kind: type[Event] | None = None) -> list[Any]:
    return [event for event in read_events(run.folder) if kind is None or isinstance(event, kind)]


def test_three_lines_make_a_run(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", tasks=["a", {"task_id": "b", "domain": "d"}]) as run:
        with run.task("a", domain="notepad", worker="vm-1", instruction="write", max_steps=15) as task:
            task.llm_call(provider="anthropic", model="m", usage={"input_tokens": 5, "output_tokens": 2})
            task.step(action={"type": "click", "x": 0.4, "y": 0.2}, screenshot=PNG, reasoning="because")
            task.step(action="done")
            task.finish(success=True, score=1.0)
    kinds = [type(event) for event in events_of(run)]
    assert kinds == [RunStarted, TaskStarted, LlmCall, Step, Step, TaskFinished, RunFinished]
    started = events_of(run, RunStarted)[0]
    assert (started.run_id, started.benchmark, started.model) == (run.run_id, "waa", "m")
    assert [task.task_id for task in started.tasks] == ["a", "b"]
    call = events_of(run, LlmCall)[0]
    assert call.tokens == TokenUsage(5, None, None, 2)
    assert call.task_id == "a"
    finished = events_of(run, TaskFinished)[0]
    assert (finished.outcome, finished.score, finished.steps) == ("success", 1.0, 1), "a terminal step is no step"
    step = events_of(run, Step)[0]
    assert (run.folder / step.screenshot).read_bytes() == PNG
    assert events_of(run, RunFinished)[0].status == "completed"


def test_the_log_of_a_line_is_an_object_with_the_four_fields(tmp_path: Path) -> None:
    run = track_run(tmp_path, benchmark="b", model="m", run_id="r")
    run.finish()
    lines = [json.loads(line) for line in log_files(tmp_path / "r")[0].read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == [0, 1]
    assert all(line["v"] == 1 and line["type"] and line["ts"] > 0 for line in lines)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"success": True}, "success"),
        ({"success": False}, "failure"),
        ({"success": False, "error": "x"}, "failure"),
        ({"score": 1.0}, "success"),
        ({"score": 0.99}, "failure"),
        ({"outcome": "infrastructure_error", "success": True}, "infrastructure_error"),
        ({"error": "no answer"}, "agent_error"),
        ({"outcome": "solved", "success": True}, "success"),
        ({}, "interrupted"),
    ],
)
def test_the_outcome_follows_from_the_arguments_of_finish(tmp_path: Path, given: dict[str, Any], outcome: str) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.finish(**given)
    assert events_of(run, TaskFinished)[0].outcome == outcome


def test_an_exception_in_a_task_is_an_agent_error_and_propagates(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        with pytest.raises(RuntimeError, match="lost"), run.task("t"):
            raise RuntimeError("lost")
        with run.task("u") as task:
            task.finish(success=True)
    first, second = events_of(run, TaskFinished)
    assert (first.outcome, first.error) == ("agent_error", "RuntimeError: lost")
    assert second.outcome == "success"


def test_a_task_that_is_left_is_interrupted_and_so_is_one_that_was_stopped(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        with run.task("left"):
            pass
        with pytest.raises(KeyboardInterrupt), run.task("stopped"):
            raise KeyboardInterrupt
        run.task("open")
    assert [event.outcome for event in events_of(run, TaskFinished)] == ["interrupted"] * 3


def test_an_exception_in_a_run_aborts_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), track_run(tmp_path, benchmark="b", model="m", run_id="r"):
        raise ValueError("x")
    assert [e.status for e in read_events(tmp_path / "r") if isinstance(e, RunFinished)] == ["aborted"]


def test_the_first_finish_counts(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.finish(success=True)
        task.finish(success=False)
    assert [event.outcome for event in events_of(run, TaskFinished)] == ["success"]


def test_screenshots_come_as_bytes_paths_or_pictures(tmp_path: Path) -> None:
    class Picture:
        def save(self, buffer: Any, form: str) -> None:
            assert form == "PNG"
            buffer.write(PNG)

    shot = tmp_path / "shot.png"
    shot.write_bytes(PNG)
    with track_run(tmp_path / "r", benchmark="b", model="m") as run, run.task("../t 1") as task:
        for screenshot in (PNG, bytearray(PNG), shot, str(shot), Picture(), "data:image/png;base64,iVBORw0KGgo="):
            task.step(action="wait", screenshot=screenshot)
        task.step(action="wait", screenshot=tmp_path / "nowhere.png")
        shot.write_bytes(b"the next one")
        task.finish(success=True)
    paths = [event.screenshot for event in events_of(run, Step)]
    assert len(set(paths)) == 7
    assert paths[-1] is None
    assert run.lost_events == 1
    for path in paths[:-1]:
        assert (run.folder / path).resolve().is_relative_to(run.folder.resolve())
        assert (run.folder / path).read_bytes().startswith(PNG[:8])


def test_ids_that_become_one_file_name_keep_their_screenshots_apart(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        for task_id in ("a/b", "a:b"):
            with run.task(task_id) as task:
                task.step(action="wait", screenshot=PNG)
                task.finish(success=True)
    assert len({event.screenshot for event in events_of(run, Step)}) == 2


def test_actions_come_in_the_shapes_that_agents_have(tmp_path: Path) -> None:
    class Action:
        type = "scroll"

    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        for action in ({"type": "Click"}, "type", Action(), object(), {"type": None}):
            task.step(action=action)
        for code in ("click('a51')", "pyautogui.hotkey('ctrl', 's')", "  Scroll (0, 200)\n", "the answer is (4)"):
            task.step(action=code)
        task.finish(success=True)
    types = [event.action_type for event in events_of(run, Step)]
    assert types[:5] == ["click", "type", "scroll", "object", "unknown"]
    assert types[5:] == ["click", "hotkey", "scroll", "the answer is (4)"], "of code the function counts"
    assert events_of(run, Step)[5].action["text"] == "click('a51')"


def test_a_results_folder_that_cannot_be_written_stops_no_benchmark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.ERROR, "evalgauge"):
        with track_run(tmp_path / "file", benchmark="b", model="m", tasks=5) as run, run.task("t") as task:
            task.step(action="click", screenshot=PNG)
            task.finish(success=True)
    assert run.lost_events >= 4
    assert len(caplog.records) == 1, "it is said once"


def test_arguments_that_make_no_sense_stop_no_benchmark(tmp_path: Path) -> None:
    tasks: Any = iter([{"task_id": "a"}, object()])
    with track_run(tmp_path, benchmark="b", model="m", tasks=tasks) as run:
        run.worker("w", "asleep")
        with run.task("t") as task:
            task.step(action={"type": "click", "at": {1, 2}, "self": task})
            task.llm_call(usage=object(), status="fine")
            task.finish(success=True, score="many")  # type: ignore[arg-type]
    assert Counter(type(event) for event in events_of(run))[TaskFinished] == 1
    assert events_of(run, LlmCall)[0].tokens == TokenUsage(None, None, None, None)
    assert events_of(run, WorkerState) == []


def test_threads_share_a_log_and_lose_nothing(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:

        def work(worker: int) -> None:
            for number in range(20):
                with run.task(f"{worker}-{number}", worker=f"w{worker}") as task:
                    for _ in range(5):
                        task.step(action="click")
                    task.finish(success=True)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(log_files(run.folder)) == 1
    counts = Counter(type(event) for event in events_of(run))
    assert (counts[TaskStarted], counts[Step], counts[TaskFinished]) == (160, 800, 160)
    assert [event.seq for event in events_of(run)] == list(range(1122))


def _work(run: Run, number: int) -> None:
    with run.task(f"t{number}", worker=f"w{number}") as task:
        task.step(action="click")
        task.finish(success=True)
    run.finish()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_each_process_writes_its_own_log_and_only_the_first_ends_the_run(tmp_path: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run:
        children = [context.Process(target=_work, args=(run, number)) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert not any(isinstance(event, RunFinished) for event in read_events(run.folder))
    assert len(log_files(run.folder)) == 4
    left = sorted((event.worker_id, event.state) for event in events_of(run, WorkerState))
    assert left == [(f"w{number}", "stopped") for number in range(3)], "they left, and are not lost"
    assert len(events_of(run, TaskFinished)) == 3
    assert len(events_of(run, RunStarted)) == 1
    assert len(events_of(run, RunFinished)) == 1


def test_a_process_that_joins_a_running_run_neither_starts_nor_finishes_it(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as first:
        with track_run(tmp_path, benchmark="b", model="m", run_id="r") as second, second.task("t") as task:
            task.finish(success=True)
        assert events_of(first, RunFinished) == []
    assert len(events_of(first, RunStarted)) == 1
    assert len(events_of(first, RunFinished)) == 1


def test_a_process_that_joins_a_finished_run_resumes_it(tmp_path: Path) -> None:
    for _ in range(2):
        track_run(tmp_path, benchmark="b", model="m", run_id="r").finish()
    kinds = sorted((event.ts, type(event).__name__) for event in read_events(tmp_path / "r"))
    assert [kind for _, kind in kinds] == ["RunStarted", "RunFinished"] * 2


def test_a_run_can_be_sent_to_another_process(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        copy = pickle.loads(pickle.dumps(run))
        assert copy.folder == run.folder
        with copy.task("t") as task:
            task.finish(success=True)
        copy.finish()
        assert events_of(run, RunFinished) == []


def test_a_run_unpickled_many_times_has_one_log_and_one_heartbeat_per_process(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with track_run(tmp_path, benchmark="b", model="m") as run:
        for number in range(5):
            copy = pickle.loads(pickle.dumps(run))
            with copy.task(f"t{number}") as task:
                task.finish(success=True)
            if number % 2:
                copy.finish()
        started = [thread.name for thread in threading.enumerate() if thread not in before]
        assert started.count("evalgauge-heartbeat") == 1
    assert len(log_files(run.folder)) == 1
    assert len(events_of(run, TaskFinished)) == 5
    assert [event.seq for event in events_of(run)] == list(range(12))


def test_a_closed_log_is_continued(tmp_path: Path) -> None:
    for number in range(3):
        with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task(f"t{number}") as task:
            task.finish(success=True)
    assert len(log_files(run.folder)) == 1
    assert [event.seq for event in events_of(run)] == list(range(12))


def test_events_after_the_end_of_a_run_are_lost_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = track_run(tmp_path, benchmark="b", model="m")
    run.finish()
    run.llm_call(provider="p", model="m")
    assert run.lost_events == 1
    assert "the run was finished before" in caplog.text
    assert [type(event) for event in events_of(run)] == [RunStarted, RunFinished]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_that_exits_finishes_neither_task_nor_run(tmp_path: Path) -> None:
    code = """
import os, sys
from evalgauge import track_run
with track_run(sys.argv[1], benchmark="b", model="m", run_id="r") as run:
    run.worker("w", "idle")
    with run.task("t", worker="w") as task:
        if (child := os.fork()) == 0:
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        task.finish(success=True)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], check=True, timeout=180)
    events = list(read_events(tmp_path / "r"))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == ["success"]
    assert [event.status for event in events if isinstance(event, RunFinished)] == ["completed"]


def test_a_signal_during_a_write_may_finish_the_run(tmp_path: Path) -> None:
    run = track_run(tmp_path, benchmark="b", model="m")
    task = run.task("t")

    class Interrupting:
        def __str__(self) -> str:  # is asked while the line is written, as a handler may be called then
            run.llm_call(provider="p", model="m")
            task.finish(outcome="interrupted")
            return "seen"

    writing = threading.Thread(target=lambda: task.step(action={"type": "click", "x": Interrupting()}), daemon=True)
    writing.start()
    writing.join(60)
    assert not writing.is_alive(), "the write waits for itself"
    run.finish()
    assert run.lost_events == 0
    seqs = [event.seq for event in events_of(run)]
    assert sorted(seqs) == list(range(6)), "no line has another's number"


def test_a_deleted_log_is_noticed_and_lost_events_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        shutil.rmtree(run.folder)
        task.step(action="click")
        task.finish(success=True)
    assert run.lost_events == 3
    assert "the log was deleted" in caplog.text
    assert len(caplog.records) == 1


def test_a_run_recreated_where_one_was_deleted_has_its_own_log(tmp_path: Path) -> None:
    first = track_run(tmp_path, benchmark="b", model="m", run_id="r")
    numbered = log_files(first.folder)
    shutil.rmtree(first.folder)
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as second, second.task("t") as task:
        task.finish(success=True)
    first.finish("aborted")
    assert [type(event) for event in events_of(second)] == [RunStarted, TaskStarted, TaskFinished, RunFinished]
    assert log_files(second.folder) != numbered, "a receiver tells lines by their file's name and number"
    assert (first.lost_events, second.lost_events) == (1, 0)


def test_a_run_that_the_caller_dropped_is_aborted_at_exit(tmp_path: Path) -> None:
    code = """
import gc, sys
from evalgauge import track_run
def begin():
    track_run(sys.argv[1], benchmark="b", model="m", run_id="r").task("t").step(action="click")
begin()
gc.collect()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=180)
    events = list(read_events(tmp_path / "r"))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == ["interrupted"]
    assert [event.status for event in events if isinstance(event, RunFinished)] == ["aborted"]


def test_lost_events_are_reported_once_however_often_a_run_is_unpickled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = track_run(tmp_path, benchmark="b", model="m")
    copies = [pickle.loads(pickle.dumps(run)) for _ in range(3)]
    shutil.rmtree(run.folder)
    for copy in copies:
        copy.llm_call(provider="p", model="m")
    assert run.lost_events == 3
    assert len(caplog.records) == 1
    run.finish()


def test_an_observer_that_fails_in_several_threads_at_once_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    raised: list[Exception] = []

    def observer(run: Run, kind: str, fields: Any) -> None:
        if kind == "log":
            both.wait(60)
            raise RuntimeError("broken")

    def log(line: str) -> None:
        try:
            task.log(line)
        except Exception as error:
            raised.append(error)

    monkeypatch.setattr(tracker, "observers", [observer])
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        threads = [threading.Thread(target=log, args=(line,)) for line in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        task.finish(success=True)
    assert raised == []
    assert tracker.observers == []


def test_arguments_may_be_of_any_type(tmp_path: Path) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("says nothing")

    wrong: Any = Silent()
    with track_run(tmp_path, benchmark=wrong, model=wrong, agent=wrong, run_id="r", tags=[1, 2], tasks=wrong) as run:  # type: ignore[arg-type]
        run.worker(wrong, "idle", vm=wrong)
        run.llm_call(provider=wrong, model=wrong, colour="blue")  # type: ignore[call-arg]
        for worker in (["w"], 7, wrong):
            with run.task(wrong, worker=worker, attempt="../..", max_steps=wrong) as task:  # type: ignore[arg-type]
                task.step(action={"type": "click", "big": 10**5000, wrong: wrong}, reasoning=wrong, screenshot=PNG)
                task.finish(success=True, error=wrong, reason=wrong)
        with pytest.raises(Silent), run.task("u"):
            raise wrong
    counts = Counter(type(event) for event in events_of(run))
    assert (counts[TaskStarted], counts[Step], counts[TaskFinished]) == (4, 3, 4)
    assert [event.outcome for event in events_of(run, TaskFinished)] == ["success"] * 3 + ["agent_error"]
    assert {event.screenshot for event in events_of(run, Step)} == {"screenshots/Silent/1/step_0000.png"}
    assert track_run(None, benchmark="b", model="m").lost_events == 1  # type: ignore[arg-type]


def test_a_name_alone_is_one_task(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", tasks="notepad_1") as run:
        pass
    assert [task.task_id for task in events_of(run, RunStarted)[0].tasks] == ["notepad_1"]


def test_ten_thousand_tasks_with_long_instructions_are_all_planned(tmp_path: Path) -> None:
    tasks = [
        {"task_id": f"t{number}", "domain": "d", "instruction": f"{number} " + "do " * 400} for number in range(10_000)
    ]
    with track_run(tmp_path, benchmark="b", model="m", tasks=tasks, attempts=2, tags={"k": "v"}, git=False) as run:
        pass
    state = fold(run.run_id, "runlog", read_events(run.folder))
    assert state.total == 20_000
    assert state.attempts["t9999", 1].instruction == tasks[-1]["instruction"]
    assert (state.benchmark, state.model, state.tags, state.declared_run_id) == ("b", "m", {"k": "v"}, run.run_id)


def test_a_text_of_fifty_megabytes_is_cut_and_its_step_counts(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.step(action={"type": "type", "text": "x" * (50 << 20), "x": 0.5})
        task.finish(success=True)
    (step,) = events_of(run, Step)
    assert step.action["text"] == "x" * 20_000 + "…"
    assert (step.action_type, step.action["x"]) == ("type", 0.5)


def test_a_score_that_is_not_a_number_is_no_measurement(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.finish(score=math.nan)
    (finished,) = events_of(run, TaskFinished)
    assert (finished.outcome, finished.score) == ("evaluation_error", None)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_an_array_of_pixels_is_a_screenshot(tmp_path: Path, channels: int, mode: str) -> None:
    numpy = pytest.importorskip("numpy")
    image = pytest.importorskip("PIL.Image")
    pixels = numpy.arange(7 * 5 * channels, dtype=numpy.uint8).reshape((7, 5, channels) if channels > 1 else (7, 5))
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.step(action="wait", screenshot=pixels)
        task.step(action="wait", screenshot=pixels[:, ::-1])
        task.step(action="wait", screenshot=pixels.astype(float))
        task.finish(success=True)
    first, flipped, none = (event.screenshot for event in events_of(run, Step))
    with image.open(run.folder / first) as picture:
        assert picture.mode == mode
        assert (numpy.asarray(picture) == pixels).all()
    with image.open(run.folder / flipped) as picture:
        assert (numpy.asarray(picture) == pixels[:, ::-1]).all()
    assert none is None
    assert run.lost_events == 1, "floats are no picture"


def test_a_run_id_that_is_no_valid_folder_name_is_changed(tmp_path: Path) -> None:
    with track_run(tmp_path / "results", benchmark="b", model="a/b:c", run_id="../../out") as run:
        pass
    assert run.folder.parent == tmp_path / "results"
    assert list((tmp_path / "results").iterdir()) == [run.folder]


def test_a_heartbeat_is_sent_for_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processlog, "HEARTBEAT_SECONDS", 0.01)
    with track_run(tmp_path, benchmark="b", model="m") as run:
        run.worker("w1", "idle", vm="vm-1", vm_size="D4", provider="azure", hourly_rate_usd=0.2)
        run.worker("w2", "stopped")
        # The first beats may come before any worker is known: they are the run's own.
        while "w1" not in (beats := [event.worker_id for event in events_of(run, Heartbeat)]):
            os.sched_yield()
    assert set(beats[: beats.index("w1")]) <= {None}
    assert set(beats[beats.index("w1") :]) == {"w1"}
    assert [event.hourly_rate_usd for event in events_of(run, WorkerState)] == [0.2, None]


def test_the_heartbeat_of_a_resumed_run_does_not_name_former_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = track_run(tmp_path, benchmark="b", model="m", run_id="r")
    first.worker("w", "idle")
    first.finish()
    monkeypatch.setattr(processlog, "HEARTBEAT_SECONDS", 0.01)
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run:
        while not (beats := events_of(run, Heartbeat)):
            os.sched_yield()
    assert {beat.worker_id for beat in beats} == {None}


def test_calls_outside_a_task_belong_to_the_run(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        run.llm_call(provider="openai", model="judge", input_tokens=3, output_tokens=1)
    call = events_of(run, LlmCall)[0]
    assert call.task_id is None
    assert call.tokens == TokenUsage(3, None, None, 1)


def test_a_task_logs_lines_whatever_they_are_made_of(tmp_path: Path) -> None:
    class Silent:
        def __str__(self) -> str:
            raise ValueError("no words")

    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t", worker="w") as task:
        task.log("the window is gone", level="WARN")
        task.log("x" * 9000, level="?")
        task.log(Silent())  # type: ignore[arg-type]
        task.finish(success=True)
    lines = events_of(run, LogLine)
    assert [(line.task_id, line.worker_id, line.level, line.message[:18]) for line in lines] == [
        ("t", "w", "warning", "the window is gone"),
        ("t", "w", "info", "x" * 18),
    ]
    assert len(lines[1].message) == 4000
    assert run.lost_events == 1


def test_messages_observations_and_every_score_are_recorded(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", git=False) as run:
        with run.task("t", max_steps=5, time_limit_seconds=90) as task:
            task.message("system", "You are an agent.")
            task.message("oracle", "Open the mail.")
            task.step(action="click", observation="a button")
            task.step(action="read", observation={"tree": 1})
            task.finish(scores={"exact": 0.25, "judge": 1}, answer="42", target=43)
        with run.task("u") as task:
            task.finish(scores={"exact": 1.0})
    events = list(read_events(run.folder))
    (started, _) = [event for event in events if isinstance(event, TaskStarted)]
    assert (started.max_steps, started.time_limit_seconds) == (5, 90)
    assert [(event.role, event.text) for event in events if isinstance(event, Message)] == [
        ("system", "You are an agent."),
        ("user", "Open the mail."),
    ]
    assert [event.observation for event in events if isinstance(event, Step)] == ["a button", "{'tree': 1}"]
    first, second = [event for event in events if isinstance(event, TaskFinished)]
    assert (first.score, first.outcome, first.scores) == (0.25, "failure", {"exact": 0.25, "judge": 1.0})
    assert (first.answer, first.target) == ("42", "43")
    assert (second.score, second.outcome) == (1.0, "success")


def test_a_long_observation_is_stored_beside_the_log(tmp_path: Path) -> None:
    text = "é" * OBSERVATION_LENGTH + " api_key=sk-abcdefghijklmnopqrstuvwx"
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", redact=True) as run, run.task("a/b") as task:
        task.step(action="read", observation=text)
        task.finish(success=True)
    (step,) = [event for event in read_events(run.folder) if isinstance(event, Step)]
    assert step.observation == text[:OBSERVATION_LENGTH]
    assert step.observation_file is not None
    stored = (run.folder / step.observation_file).read_text(encoding="utf-8")
    assert stored.startswith(text[:OBSERVATION_LENGTH])
    assert "sk-abcdefghijklmnopqrstuvwx" not in stored


class Hostile(dict[str, str]):
    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    keys = items = __iter__  # type: ignore[assignment]


def test_hostile_tags_and_strange_run_ids_never_raise(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    hostile: tuple[Any, ...] = (Hostile(a="b"), {"array": numpy.arange(3), 7: None}, "tags", 5, [("a", "b")])
    for number, tags in enumerate(hostile):
        with track_run(tmp_path, benchmark="b", model="m", run_id=f"r{number}", tags=tags, git=False) as run:
            pass
        (started,) = [event for event in read_events(run.folder) if isinstance(event, RunStarted)]
        assert all(isinstance(value, str) for value in started.tags.values())
    strange: tuple[Any, ...] = (numpy.arange(3), numpy.int64(7), numpy.str_("seven"), object())
    for run_id in strange:
        with track_run(tmp_path, benchmark="b", model="m", run_id=run_id) as run:
            pass
        assert run.folder.parent == tmp_path


def test_the_commit_of_the_working_directory_is_recorded_unless_it_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    def tags(run_id: str, **more: Any) -> Mapping[str, str]:
        _read_tags.cache_clear()
        with track_run(tmp_path / "results", benchmark="b", model="m", run_id=run_id, **more) as run:
            pass
        return next(event.tags for event in read_events(run.folder) if isinstance(event, RunStarted))

    monkeypatch.setattr(git_state, "_SECONDS", 60.0)
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    assert tags("outside") == {}
    git("init", "-q")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert tags("clean") == {"git_commit": commit, "git_dirty": "false"}
    (tmp_path / "code.py").write_text("2")
    assert tags("dirty", tags={"branch": "main"}) == {"git_commit": commit, "git_dirty": "true", "branch": "main"}
    assert tags("own", tags={"git_commit": "mine"})["git_commit"] == "mine"
    assert tags("off", git=False) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tags("no-git") == {}
