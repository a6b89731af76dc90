"""Clocks that are off: corrected where that is certain, believed elsewhere."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from evalgauge_exporter.sources import clock_skew
from evalgauge_exporter.sources.clock_skew import WriterClock
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState, fold


def write_log(folder: Path, writer: str, events: list[dict[str, Any]], modified_at: float | None = None) -> None:
    path = folder / "events" / f"{writer}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"v": 1, "seq": seq, **event}) + "\n" for seq, event in enumerate(events)]
    path.write_text("".join(lines))
    if modified_at is not None:
        os.utime(path, (modified_at, modified_at))


def task(ts: float, task_id: str, worker: str) -> list[dict[str, Any]]:
    started = {"ts": ts, "type": "task_started", "task_id": task_id, "worker_id": worker}
    end = {"ts": ts + 60, "type": "task_finished", "task_id": task_id, "worker_id": worker, "outcome": "success"}
    return [started, end]


def read_run(folder: Path) -> RunState:
    return fold("r", "runlog", RunLogSource(folder).read().events)


def test_a_clock_that_is_an_hour_behind_loses_no_worker(tmp_path: Path) -> None:
    now = time.time()
    tasks = [{"task_id": "a"}, {"task_id": "b"}, {"task_id": "c"}]
    write_log(
        tmp_path, "owner", [{"ts": now - 300, "type": "run_started", "tasks": tasks}, *task(now - 280, "a", "v1")]
    )
    behind = now - 3600
    write_log(
        tmp_path,
        "v2",
        [*task(behind - 290, "b", "v2"), {"ts": behind - 200, "type": "heartbeat"}, *task(behind - 100, "c", "v2")],
        now,
    )
    run = read_run(tmp_path)
    assert run.started_at == pytest.approx(now - 300)
    assert run.writers["v2"] == pytest.approx(now - 300 + 250, abs=1)
    assert run.status(now, 600) == "running"


def test_nothing_is_written_after_the_log_was_last_modified(tmp_path: Path) -> None:
    now = time.time()
    died = now - 7200
    ahead = 3600.0
    write_log(
        tmp_path,
        "v1",
        [{"ts": died + ahead - 60, "type": "heartbeat"}, {"ts": died + ahead, "type": "heartbeat"}],
        died,
    )
    run = read_run(tmp_path)
    assert run.last_event_at == pytest.approx(died, abs=1)
    assert run.status(now, 4000) == "stalled"


def test_a_file_that_says_it_is_older_than_its_content_by_days_is_not_believed(tmp_path: Path) -> None:
    now = time.time()
    write_log(tmp_path, "v1", [{"ts": now - 10, "type": "heartbeat"}], 315532800.0)
    assert read_run(tmp_path).last_event_at == pytest.approx(now - 10)


def test_clocks_that_contradict_nothing_are_believed(tmp_path: Path) -> None:
    now = time.time()
    write_log(tmp_path, "owner", [{"ts": now - 5000, "type": "run_started", "tasks": [{"task_id": "a"}]}], now - 4000)
    write_log(tmp_path, "v1", task(now - 4900, "a", "v1"), now)  # copied files have any later time
    run = read_run(tmp_path)
    assert (run.started_at, run.last_event_at) == (now - 5000, now - 4840)


def test_a_followed_log_that_lags_behind_its_arrivals_has_a_clock_that_is_behind(tmp_path: Path) -> None:
    clock = WriterClock(tmp_path / "w.jsonl")
    write_log(tmp_path, "w", [{"ts": 1000.0, "type": "heartbeat"}])
    (first,) = RunLogSource(tmp_path).read().events

    def arrive(ts: float, received_at: float) -> bool:
        first.ts = ts
        clock.see([first])
        return clock.see_arrival(received_at)

    assert not arrive(1000.0, 1900.0)
    assert not arrive(1030.0, 1930.5)
    assert arrive(1060.0, 1960.0)
    try:
        assert WriterClock(tmp_path / "w.jsonl").offset == pytest.approx(900.0)
    finally:
        clock_skew._observed.clear()


def test_a_backlog_that_is_sent_at_once_is_no_clock(tmp_path: Path) -> None:
    clock = WriterClock(tmp_path / "w.jsonl")
    write_log(tmp_path, "w", [{"ts": 1000.0, "type": "heartbeat"}])
    (event,) = RunLogSource(tmp_path).read().events
    for at in range(10):
        event.ts = 1000.0 + 100 * at
        clock.see([event])
        assert not clock.see_arrival(1900.0 + at)


def test_a_run_whose_owner_is_ahead_began_before_its_first_task(tmp_path: Path) -> None:
    now = time.time()
    write_log(tmp_path, "owner", [{"ts": now + 600 - 300, "type": "run_started", "tasks": [{"task_id": "a"}]}])
    for at, writer in ((290, "v1"), (200, "v2")):
        write_log(tmp_path, writer, [*task(now - at, writer, writer), {"ts": now - 5, "type": "heartbeat"}])
    run = read_run(tmp_path)
    assert run.started_at == pytest.approx(now - 290, abs=1)
    assert run.writers["v1"] == pytest.approx(now - 5, abs=1)


def test_a_clock_that_was_ahead_and_is_set_right_keeps_no_dead_run_alive(tmp_path: Path) -> None:
    now = time.time()
    events: list[dict[str, Any]] = [{"ts": now - 4000 + 3600, "type": "run_started", "tasks": [{"task_id": "a"}]}]
    events += [*task(now - 3990 + 3600, "a", "v1"), {"ts": now - 3800, "type": "heartbeat"}]
    write_log(tmp_path, "owner", events)
    run = read_run(tmp_path)
    assert run.status(now, 600) == "stalled"
    assert run.last_event_at == pytest.approx(now - 3800)
    assert run.last_progress_at <= run.last_event_at


@pytest.mark.parametrize("ts", [-5, 0, 32503680000, 1764000000000, "yesterday"])
def test_a_task_that_ends_at_an_impossible_time_has_its_outcome_all_the_same(tmp_path: Path, ts: object) -> None:
    now = time.time()
    start, end = task(now - 100, "a", "v1")
    write_log(tmp_path, "v1", [start, {**end, "ts": ts}])
    write_log(tmp_path, "v2", [{**event, "task_id": "b", "ts": ts} for event in (start, end)], now - 50)
    run = read_run(tmp_path)
    assert run.statuses(now, 600) == {"success": 2}
    assert run.started_at == pytest.approx(now - 100, abs=1)


@pytest.mark.parametrize("age", [0.0, 20000.0])
def test_a_worker_that_is_behind_is_corrected_though_its_machine_stamped_its_file(tmp_path: Path, age: float) -> None:
    end = time.time() - age
    start = {"ts": end - 300, "type": "run_started", "tasks": [{"task_id": "a"}]}
    write_log(tmp_path, "owner", [start, *task(end - 280, "a", "v1"), {"ts": end - 5, "type": "heartbeat"}], end - 5)
    behind = end - 3600
    write_log(tmp_path, "v2", [*task(behind - 290, "b", "v2"), {"ts": behind - 5, "type": "heartbeat"}], behind - 5)
    run = read_run(tmp_path)
    assert run.started_at == pytest.approx(end - 300)
    assert run.attempts["a", 1].started_at == pytest.approx(end - 280)
    assert run.writers["v2"] == pytest.approx(end - 15, abs=1)
    assert run.status(end, 600) == "running"


def test_a_clock_that_is_set_right_after_the_start_moves_nothing(tmp_path: Path) -> None:
    begin = time.time() - 50000
    start = {"ts": begin + 4000, "type": "run_started", "tasks": [{"task_id": "a"}]}
    write_log(tmp_path, "owner", [start, *task(begin + 10, "a", "v1"), {"ts": begin + 3600, "type": "heartbeat"}])
    write_log(tmp_path, "v2", [*task(begin + 12, "b", "v2"), {"ts": begin + 3500, "type": "heartbeat"}])
    run = read_run(tmp_path)
    assert {key[0]: attempt.started_at for key, attempt in run.attempts.items()} == {"a": begin + 10, "b": begin + 12}


@pytest.mark.parametrize("ts", [0, "bad", -1])
def test_a_start_without_a_possible_time_was_just_before_the_next_event(tmp_path: Path, ts: object) -> None:
    begin = time.time() - 50000
    start = {"ts": ts, "type": "run_started", "tasks": [{"task_id": "a"}]}
    write_log(tmp_path, "owner", [start, *task(begin + 1, "a", "v1"), {"ts": begin + 3600, "type": "heartbeat"}])
    write_log(tmp_path, "v2", task(begin + 2, "b", "v2"))
    run = read_run(tmp_path)
    assert (run.started_at, run.last_event_at) == (begin + 1, begin + 3600)


def test_a_clock_that_was_set_during_the_run_moves_no_other(tmp_path: Path) -> None:
    now = time.time()
    write_log(tmp_path, "owner", [{"ts": now - 300, "type": "run_started", "tasks": [{"task_id": "a"}]}])
    write_log(tmp_path, "v1", [{"ts": 946684800.0, "type": "heartbeat"}, *task(now - 200, "a", "v1")])
    run = read_run(tmp_path)
    assert run.attempts["a", 1].started_at == pytest.approx(now - 200)
    assert run.last_event_at == pytest.approx(now - 140)
