"""The tracker as a runner uses it."""

import json
import logging
import multiprocessing
import os
import pickle
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalgauge import Run, track_run, tracker
from evalgauge.events import (
    Event,
    Heartbeat,
    LlmCall,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.runlog import log_files, read_events
from evalgauge.usage import Tokens

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
    assert call.tokens == Tokens(5, None, None, 2)
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
def test_the_outcome_is_what_was_said(tmp_path: Path, given: dict[str, Any], outcome: str) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        task.finish(**given)
    assert events_of(run, TaskFinished)[0].outcome == outcome


def test_an_exception_in_a_task_is_the_agents_and_goes_on(tmp_path: Path) -> None:
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
        task.finish(success=True)
    assert [event.action_type for event in events_of(run, Step)] == ["click", "type", "scroll", "object", "unknown"]


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
    assert events_of(run, LlmCall)[0].tokens == Tokens(None, None, None, None)
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
    assert len(events_of(run, TaskFinished)) == 3
    assert len(events_of(run, RunStarted)) == 1
    assert len(events_of(run, RunFinished)) == 1


def test_whoever_joins_a_living_run_neither_starts_nor_ends_it(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as first:
        with track_run(tmp_path, benchmark="b", model="m", run_id="r") as second, second.task("t") as task:
            task.finish(success=True)
        assert events_of(first, RunFinished) == []
    assert len(events_of(first, RunStarted)) == 1
    assert len(events_of(first, RunFinished)) == 1


def test_whoever_joins_a_run_that_is_over_takes_it_up_again(tmp_path: Path) -> None:
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


def test_a_run_id_that_is_no_folder_name_is_made_one(tmp_path: Path) -> None:
    with track_run(tmp_path / "results", benchmark="b", model="a/b:c", run_id="../../out") as run:
        pass
    assert run.folder.parent == tmp_path / "results"
    assert list((tmp_path / "results").iterdir()) == [run.folder]


def test_a_heart_beats_for_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "HEARTBEAT_SECONDS", 0.01)
    with track_run(tmp_path, benchmark="b", model="m") as run:
        run.worker("w1", "idle", vm="vm-1", vm_size="D4", provider="azure", hourly_rate_usd=0.2)
        run.worker("w2", "stopped")
        # The first beats may come before any worker is known: they are the run's own.
        while "w1" not in (beats := [event.worker_id for event in events_of(run, Heartbeat)]):
            os.sched_yield()
    assert set(beats[: beats.index("w1")]) <= {None}
    assert set(beats[beats.index("w1") :]) == {"w1"}
    assert [event.hourly_rate_usd for event in events_of(run, WorkerState)] == [0.2, None]


def test_calls_outside_a_task_belong_to_the_run(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m") as run:
        run.llm_call(provider="openai", model="judge", input_tokens=3, output_tokens=1)
    call = events_of(run, LlmCall)[0]
    assert call.task_id is None
    assert call.tokens == Tokens(3, None, None, 1)
