"""One run, one source, one folder cannot harm another."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest import collector
from evalgauge_exporter.ingest.tracked_run import TrackedRun
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.sources import test_agentlab, test_mobileworld
from tests.exporter.sources.atif import test_source as test_atif
from tests.exporter.sources.osworld import test_osworld
from tests.exporter.sources.reading import write
from tests.exporter.waiting import wait_for
from tests.faults.unprivileged import locked, unprivileged_folder

STRAY = {
    "result.txt": "1.0",
    "traj.jsonl": "{}\n",
    "traj.json": '{"0": {"traj": []}}',
    "traj.html": "<html>",
    "args.json": '{"action_space": 1, "observation_type": 2, "model": 3}',
    "metadata.json": '{"suite_family": "x", "model_name": "m"}',
    "summary.json": "{}",
    "summary_info.json": "{}",
    "config.json": '{"job_name": "x", "agents": []}',
    "result.json": '{"task_name": "t", "trial_name": "t__x", "verifier_result": null}',
    "results.json": '{"results": [{"trial_name": "x", "is_resolved": true, "failure_mode": "unset"}]}',
    "trajectory.json": '{"schema_version": "ATIF-v1.4", "steps": []}',
    "execution.json": "{}",
    "task.json": "{}",
    "report.json": '{"workflow_name": "w", "started_at": "2026-01-01T00:00:00"}',
    "preds.json": "{}",
    "experiment.log": "x",
    "x.eval": "PK\x03\x04",
    "full_eval_x.jsonl": '{"_meta": true, "planner_model": "x", "total_tasks": 1}\n',
    "tasks/": "",
    "tasks/t1/execution.json": "{}",
    "tasks/t1/gpt.json": "{}",
    "agent/trajectory.json": '{"schema_version": "ATIF-v1.4", "steps": []}',
    "events/other.jsonl": '{"level": "info"}\n',
    "events/": "",
    "episodes/e/episode.metadata.json": "{}",
}
PLACES = ["", "x/", "x/y/", "x/y/z/", "good0/", "good0/x/", "good0/x/y/", "good0/screenshots/t0/"]


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for number in range(3):
        small_run(folder, f"good{number}", outcomes="s")
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_a_stray_file_hides_no_run(three_runs: Path, tmp_path: Path, place: str) -> None:
    hidden = {}
    for number, (name, content) in enumerate(STRAY.items()):
        results = Path(shutil.copytree(three_runs, tmp_path / str(number)))
        if name.endswith("/"):
            (results / place / name).mkdir(parents=True, exist_ok=True)
        else:
            write(results / place / name, content)
        found = {run.folder.name: run.source.source for run in Discovery([results]).scan()[0]}
        if any(found.get(f"good{each}") != "runlog" for each in range(3)):
            hidden[name] = found
    assert hidden == {}


def test_a_run_that_is_no_run_any_more_is_withdrawn_for_the_runs_in_it(tmp_path: Path) -> None:
    write(tmp_path / "notes" / "try" / "result.txt", "1.0")
    scanner = Discovery([tmp_path])
    assert [run.source.source for run in scanner.scan()[0]] == ["osworld"]
    small_run(tmp_path, "real")
    found, _ = scanner.scan()
    assert [run.folder.name for run in found] == ["real"]
    assert scanner.withdrawn == [tmp_path]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: test_osworld.make_run(folder),
        lambda folder: test_mobileworld.make_run(folder / "log"),
        lambda folder: Path(shutil.copytree(test_atif.JOB, folder / "job")),
        lambda folder: Path(shutil.copytree(test_agentlab.STUDY, folder / "study")),
    ],
    ids=["osworld", "mobileworld", "atif", "agentlab"],
)
def test_a_run_of_most_of_its_folders_is_found_beside_others_and_with_strays(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    run = make(tmp_path)
    write(run / "logs" / "console.txt", "text")
    small_run(tmp_path, "native")
    assert {found.folder for found in Discovery([tmp_path]).scan()[0]} == {run, tmp_path / "native"}


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    small_run(tmp_path, "good")
    exporter = exporter_of(tmp_path)
    yield exporter
    exporter.stop()


def started(exporter: Exporter) -> None:
    exporter.start()
    assert exporter.wait_ready(60)


def test_a_link_to_nowhere_among_the_logs_delays_nothing(exporter: Exporter, tmp_path: Path) -> None:
    for run in ("bad", "mixed"):
        (tmp_path / run / "events").mkdir(parents=True)
        (tmp_path / run / "events" / "w.jsonl").symlink_to("nowhere")
    small_run(tmp_path, "mixed", outcomes="s")
    started(exporter)
    assert exporter.wait_caught_up(60)
    assert set(exporter.state.runs) == {"good", "mixed"}
    assert exporter.state.sources["runlog"].errors["unreadable"] == 2, "each is named once"
    small_run(tmp_path, "later")
    wait_for(lambda: "later" in exporter.state.runs)


@pytest.mark.parametrize("method", ["read", "fingerprint", "watch_paths"])
@pytest.mark.parametrize("error", [ZeroDivisionError("what nobody thought of"), BaseException("a panic")], ids=repr)
def test_whatever_a_source_raises_ends_at_its_run(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException
) -> None:
    whole = getattr(RunLogSource, method)

    def fail(source: RunLogSource, **options: bool) -> object:
        if source.folder.name == "bad":
            raise error
        return whole(source, **options)

    monkeypatch.setattr(RunLogSource, method, fail)
    small_run(tmp_path, "bad")
    started(exporter)
    assert exporter.wait_caught_up(60)
    small_run(tmp_path, "later")
    wait_for(lambda: {"good", "later"} <= set(exporter.state.runs))
    assert not exporter.collector.has_died()
    monkeypatch.undo()


def test_a_run_whose_source_fails_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path, "r")
    (found,), _ = Discovery([tmp_path]).scan()
    tracked = TrackedRun(found, RunState("r", "runlog"), exporter_of(tmp_path).price, threading.RLock())
    now = [0.0]
    tracked.backoff._clock = lambda: now[0]
    calls: list[float] = []

    def fail(source: RunLogSource, *, full_scan: bool = False) -> ReadResult:
        calls.append(now[0])
        raise ZeroDivisionError("no")

    with monkeypatch.context() as patch:
        patch.setattr(RunLogSource, "read", fail)
        while now[0] < 200:
            if tracked.backoff.is_due():
                assert [problem.reason for problem in tracked.read()] == ["defect"]
            assert not tracked.has_more, "nothing is read in a loop"
            now[0] += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    now[0] += 60
    while tracked.backoff.is_failing():
        assert tracked.read() == []
    assert tracked.run.total == 3, "it is read from its beginning"


def test_the_process_is_unhealthy_once_nothing_is_collected(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
        monkeypatch.setattr(exporter.collector, "_turn_once", lambda _: (_ for _ in ()).throw(SystemExit))
        exporter.collector.start()
        wait_for(exporter.collector.has_died)
        assert client.get("/healthz").status_code == 503


def test_a_failure_of_the_loop_is_logged_once_and_does_not_end_it(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started(exporter)
    caplog.set_level(logging.ERROR, "evalgauge.exporter")
    whole, failures = exporter.collector._find_runs, [0]

    def fail() -> None:
        failures[0] += 1
        if failures[0] < 3:
            raise BaseException("a panic")
        whole()

    monkeypatch.setattr(exporter.collector, "_find_runs", fail)
    small_run(tmp_path, "later")
    wait_for(lambda: "later" in exporter.state.runs)
    assert sum("a panic" in record.getMessage() for record in caplog.records) == 1


def test_folders_that_can_not_be_entered_end_nothing() -> None:
    with unprivileged_folder() as folder:
        for name in ("aaa", "m", "zzz"):
            small_run(folder, name)
        (folder / "m" / "m_x").mkdir()
        (folder / "m" / "shots").mkdir()
        (folder / "other").mkdir()
        exporter = exporter_of(folder)
        with locked(folder / "m" / "shots", folder / "other"):
            started(exporter)
            assert set(exporter.state.runs) == {"aaa", "m", "zzz"}
            small_run(folder, "later")
            wait_for(lambda: "later" in exporter.state.runs)
        exporter.stop()


def test_a_large_log_delays_only_its_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "READY_SECONDS", 0.0)
    for name in ("large", "small"):
        small_run(tmp_path, name)
    go_on = threading.Event()
    whole = RunLogSource.read

    def read_slowly(source: RunLogSource, *, full_scan: bool = False) -> ReadResult:
        result = whole(source, full_scan=full_scan)
        if source.folder.name == "large":
            result.has_more = not go_on.is_set()
        return result

    monkeypatch.setattr(RunLogSource, "read", read_slowly)
    exporter = exporter_of(tmp_path)
    started(exporter)
    assert set(exporter.state.runs) == {"small"}, "a run that was read in part is not shown: its counters would fall"
    assert not exporter.collector.caught_up.is_set()
    small_run(tmp_path, "later")
    wait_for(lambda: "later" in exporter.state.runs)
    go_on.set()
    assert exporter.wait_caught_up(60)
    wait_for(lambda: "large" in exporter.state.runs)
    exporter.stop()


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="this system does not state where holes are")
def test_the_hole_of_a_sparse_log_is_not_read(tmp_path: Path) -> None:
    small_run(tmp_path, "r", finish=False)
    (log,) = (tmp_path / "r" / "events").glob("*.jsonl")
    os.truncate(log, 1 << 40)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_caught_up(60)
    exporter.stop()
    assert exporter.state.runs["r"].total == 3
