"""What cannot be read for a moment is not gone."""

from __future__ import annotations

import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evalgauge.runlog import LogReader
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest.tracked_run import TrackedRun
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.state.run import RunState
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import samples, value
from tests.exporter.sources import test_agentlab, test_mobileworld
from tests.exporter.sources.atif import test_source as test_atif
from tests.exporter.sources.openadapt import test_models
from tests.exporter.sources.osworld import test_osworld, test_waa
from tests.exporter.sources.reading import DATA
from tests.exporter.waiting import wait_for
from tests.faults.unprivileged import locked, unprivileged_folder


def copied(source: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(source, folder / "run"))


RUNS: dict[str, Callable[[Path], Path]] = {
    "runlog": lambda folder: small_run(folder, "r").folder,
    "openadapt": copied(DATA / "openadapt-0.98.0-mixed" / "benchmark_results" / "waa_mixed_48_seed2"),
    "openadapt_models": lambda folder: test_models.make_run(folder),
    "osworld": lambda folder: test_osworld.make_run(folder),
    "waa": lambda folder: test_waa.make_run(folder),
    "mobileworld": lambda folder: test_mobileworld.make_run(folder / "log"),
    "atif": copied(test_atif.JOB),
    "agentlab": copied(test_agentlab.STUDY),
    "inspect": copied(DATA / "inspect-0.3.285"),
}


def read_twice(source: RunSource) -> tuple[int, list[str | None]]:
    """The number of events, and what was unreadable; nothing is missing or restarted."""
    events, unreadable = 0, []
    for full_scan in (False, True, False, True):
        has_more = True
        while has_more:
            result = source.read(full_scan=full_scan)
            assert not result.missing
            assert not result.restarted
            events += len(result.events)
            unreadable.append(result.unreadable)
            has_more = result.has_more
    return events, unreadable


def folders_in(run: Path) -> list[Path]:
    return [run, *(path for path in sorted(run.rglob("*")) if path.is_dir())]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_which_any_folder_can_not_be_entered_for_a_while_stays_as_it_was(name: str) -> None:
    with unprivileged_folder() as folder:
        run = RUNS[name](folder)
        (found, *_), _ = Discovery([folder]).scan()
        whole, _ = read_twice(found.open_source())
        assert whole > 0
        for part in folders_in(run):
            source = found.open_source()
            assert read_twice(source)[0] == whole
            with locked(part):
                assert read_twice(source)[0] == 0
            assert read_twice(source)[0] == 0, "nothing is read again"
            if part == run:
                with locked(part):
                    try:
                        late = found.open_source()
                    except OSError:
                        continue
                    events, unreadable = read_twice(late)
                    assert events == 0
                    assert all(unreadable)
                assert read_twice(late)[0] == whole


def test_what_can_not_be_read_is_marked_everywhere_and_read_again() -> None:
    with unprivileged_folder() as folder:
        run = small_run(folder, "going", finish=False)
        small_run(folder, "other")
        exporter = exporter_of(folder, prices={"cache_dir": str(folder / ".cache")})
        exporter.start()
        assert exporter.wait_ready(60)
        state = exporter.state.runs["going"]
        with locked(run.folder / "events"):
            wait_for(lambda: state.unreadable)
            wait_for(lambda: not exporter.state.sources["runlog"].up)
            assert exporter.state.runs["going"].statuses(time.time(), 600) == {"success": 2, "failure": 1}
            found = samples(exporter.exposition.render(time.time()).decode())
            assert value(found, "agent_eval_source_up", source="runlog") == 0
            assert value(found, "agent_eval_source_errors_total", source="runlog", reason="unreadable") == 1
        with run.task("late") as task:
            task.finish(success=True)
        wait_for(lambda: state.unreadable is None and ("late", 1) in state.attempts)
        wait_for(lambda: exporter.state.sources["runlog"].up)
        run.finish()
        exporter.stop()


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert used >= 3
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux lists descriptors")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_stays_while_there_is_no_free_descriptor(name: str, tmp_path: Path) -> None:
    RUNS[name](tmp_path)
    (found, *_), _ = Discovery([tmp_path]).scan()
    source = found.open_source()
    whole, _ = read_twice(source)
    late = found.open_source()
    with no_free_descriptor():
        assert read_twice(source)[0] == 0
        read_twice(late)
    assert read_twice(source)[0] == 0
    assert read_twice(late)[0] == whole


def tracked_run(results: Path) -> TrackedRun:
    (found,), _ = Discovery([results]).scan()
    exporter = exporter_of(results)
    tracked = TrackedRun(found, RunState("r", "runlog"), exporter.price, exporter.state.lock)
    while tracked.has_more:
        assert tracked.read() == []
    return tracked


def test_a_run_is_dropped_once_it_was_missing_twice(tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", "r")
    tracked = tracked_run(tmp_path / "results")
    run.folder.rename(tmp_path / "away")
    assert tracked.read(full_scan=True) == []
    assert not tracked.is_deleted
    (tmp_path / "away").rename(run.folder)
    assert tracked.read(full_scan=True) == []
    run.folder.rename(tmp_path / "away")
    reasons = [problem.reason for _ in range(2) for problem in tracked.read(full_scan=True)]
    assert reasons == ["deleted"]
    assert tracked.is_deleted


def test_a_run_is_not_read_again_from_files_that_can_not_be_read(tmp_path: Path) -> None:
    with unprivileged_folder() as folder:
        run = small_run(folder, "r")
        tracked = tracked_run(folder)
        log = next((run.folder / "events").glob("*.jsonl"))
        (run.folder / "events" / "b.jsonl").write_bytes(re.sub(rb'"t(\d)"', rb'"u\1"', log.read_bytes()))
        tracked.read(full_scan=True)
        assert tracked.run.total == 6
        log.write_bytes(log.read_bytes()[:-10])  # shorter: the run is read from its beginning
        with locked(run.folder / "events" / "b.jsonl"):
            for _ in range(3):
                tracked.backoff.reset()
                tracked.read(full_scan=True)
            assert tracked.run.total == 6, "the old state is shown"
            assert tracked.run.unreadable
        tracked.backoff.reset()
        for _ in range(5):
            tracked.read(full_scan=True)
        assert (tracked.run.total, tracked.has_more) == (6, False)


def replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("write", [Path.write_bytes, replaced], ids=["in place", "a new file"])
@pytest.mark.parametrize("tasks", ["s", "sssssssss"], ids=["shorter", "longer"])
def test_a_log_that_is_another_one_is_read_anew_and_never_mixed(
    tmp_path: Path, write: Callable[[Path, bytes], object], tasks: str
) -> None:
    run = small_run(tmp_path / "results", "r", outcomes="fff")
    other = small_run(tmp_path / "elsewhere", "r", outcomes=tasks)
    tracked = tracked_run(tmp_path / "results")
    log = next((run.folder / "events").glob("*.jsonl"))
    write(log, next((other.folder / "events").glob("*.jsonl")).read_bytes())
    tracked.read()
    while tracked.has_more:
        tracked.read()
    assert tracked.run.statuses(time.time(), 600) == {"success": len(tasks)}


def test_a_log_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    line = b'{"v":1,"seq":%d,"ts":1.0,"type":"heartbeat"}\n'
    path.write_bytes(line % 0)
    reader = LogReader(path)
    assert len(reader.read()[0]) == 1
    with path.open("ab") as file:
        file.write(line % 1)
    assert len(reader.read()[0]) == 1
    assert not reader.replaced
    path.write_bytes(line % 7 * 3)
    assert reader.read()[0] == []
    assert reader.replaced


def test_an_exporter_whose_cached_run_can_not_be_read_shows_it_as_it_was() -> None:
    with unprivileged_folder() as folder:
        run = small_run(folder / "results", "r")
        options = {"prices": {"cache_dir": str(folder / "cache")}}

        def start() -> Exporter:
            exporter = exporter_of(folder / "results", **options)
            exporter.start()
            assert exporter.wait_ready(60)
            return exporter

        first = start()
        wait_for(lambda: list((folder / "cache").glob("runs-*/*")))
        first.stop()
        again = start()
        with locked(run.folder / "events"):
            wait_for(lambda: again.state.runs["r"].unreadable)
            state = again.state.runs["r"]
            assert state.status(time.time(), 600) == "completed"
            assert state.statuses(time.time(), 600) == {"success": 2, "failure": 1}
        wait_for(lambda: again.state.runs["r"].unreadable is None)
        assert len(again.state.runs["r"].attempts) == 3
        again.stop()


def test_a_log_that_became_a_folder_is_no_log_any_more(tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", "r")
    tracked = tracked_run(tmp_path / "results")
    log = next((run.folder / "events").glob("*.jsonl"))
    log.unlink()
    log.mkdir()
    for _ in range(3):
        tracked.read(full_scan=True)
    assert (tracked.run.total, tracked.has_more) == (0, False)
