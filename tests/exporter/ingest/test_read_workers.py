"""Many runs are read by several processes, and show the same as if one had read them."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest import collector, read_workers, run_cache
from evalgauge_exporter.ingest.read_worker import ReadRequest, WorkerSetup
from evalgauge_exporter.ingest.tracked_run import TrackedRun
from evalgauge_exporter.sources import plugins
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.sources.reading import DATA, snapshot, write
from tests.exporter.state.test_run import counted
from tests.exporter.waiting import wait_for

PRICES = """
[[model]]
match = "claude-sonnet-4-5"
input = 1000.0
output = 1000.0
"""


PLUG_IN = """
from evalgauge_exporter.sources.base import Format, match_single_run
from evalgauge_exporter.sources.runlog import RunLogSource

class OwnSource(RunLogSource):
    source = "own"

OWN = Format(match_single_run(lambda folder, names: "own-mark" in names), OwnSource, scored=False)
UNNAMED = Format(
    match_single_run(lambda folder, names: "unnamed-mark" in names), lambda place: OwnSource(place), scored=False
)
"""


@pytest.fixture(autouse=True)
def _reading_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few runs and cores there are; the exporter takes none while a worker lives."""
    monkeypatch.setattr(read_workers, "count_workers", lambda: 2)
    monkeypatch.setattr(collector, "MANY_RUNS", 2)
    monkeypatch.setattr(run_cache, "CHECKPOINT_EVENTS", 0)
    take = read_workers.ReadWorkers.take
    monkeypatch.setattr(read_workers.ReadWorkers, "take", lambda self: [] if self.active else take(self))
    monkeypatch.setattr(collector, "WORKER_SECONDS", 600.0)


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Notes the places of the runs that this process reads."""
    places: list[Path] = []
    real = TrackedRun.read

    def read(self: TrackedRun, *, full_scan: bool = False) -> Any:
        if self.has_more:
            places.append(self.found.folder)
        return real(self, full_scan=full_scan)

    monkeypatch.setattr(TrackedRun, "read", read)
    return places


def read_all(results: tuple[Path, ...], cache: Path, **options: Any) -> Exporter:
    exporter = exporter_of(*results, prices={"cache_dir": str(cache), **options.pop("prices", {})}, **options)
    exporter.start()
    assert exporter.wait_caught_up(180)
    exporter.stop()
    return exporter


def what_it_shows(exporter: Exporter) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, int]]]:
    runs = dict(sorted(exporter.state.runs.items()))
    sums = {name: (counted(run), run.scorer, run.declared_run_id, run.unreadable) for name, run in runs.items()}
    errors = {name: health.errors for name, health in exporter.state.sources.items() if health.errors}
    return sums, {name: snapshot(run) for name, run in runs.items()}, errors


@pytest.mark.parametrize("kind", ["as it is", "with options"])
def test_runs_of_all_formats_show_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_here: list[Path], kind: str
) -> None:
    results = tmp_path / "results"
    small_run(results, "finished", outcomes="sfsaie")
    small_run(results, "running")
    (running,) = (results / "running" / "events").glob("*.jsonl")
    running.write_bytes(b"".join(running.read_bytes().splitlines(keepends=True)[:-1]))
    with next((results / "finished" / "events").glob("*.jsonl")).open("a") as log:
        log.write("no line of a log\n")
    write(results / "half-a-\udc80-name" / "events" / "w.jsonl", '{"v":1,"ts":1.0,"type":"run_started"}\n')
    write(tmp_path / "prices.toml", PRICES)
    options: dict[str, Any] = {}
    if kind == "with options":
        options = {"success_threshold": 0.25, "scorer": "match", "prices": {"overrides": str(tmp_path / "prices.toml")}}
    shared = read_all((DATA, results), tmp_path / "cache", **options)
    here = set(read_here)
    monkeypatch.setattr(collector, "MANY_RUNS", 10**9)
    alone = read_all((DATA, results), tmp_path / "empty", **options)
    assert set(read_here) - here, "the runs that are finished were read by workers alone"
    assert len(alone.state.runs) > 8
    loaded = {run.run_id for run in shared.state.runs.values() if run.is_finished() and not run.is_unloaded}
    baselines = ((run.run_id, shared.analysis.baseline(run)) for run in shared.state.runs.values())
    compared = {name for run_id, other in baselines if other is not None for name in (run_id, other.run_id)}
    assert loaded <= compared, "the first answer needs the attempts of no other run"
    assert what_it_shows(shared) == what_it_shows(alone)


def test_runs_of_plug_ins_are_read_by_workers_where_these_can_make_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_here: list[Path]
) -> None:
    write(tmp_path / "plug_ins" / "own_format.py", PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path / "plug_ins")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plug_ins"))
    points = [EntryPoint(name, f"own_format:{name}", plugins.GROUP) for name in ("OWN", "UNNAMED")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    for name, mark in (("a", "own-mark"), ("b", "own-mark"), ("c", "unnamed-mark")):
        small_run(tmp_path / "logs", name)
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "events").rename(tmp_path / "results" / name / "events")
        write(tmp_path / "results" / name / mark, "")
    monkeypatch.setattr("evalgauge_exporter.sources.discovery.MARKED", ())
    exporter = read_all((tmp_path / "results",), tmp_path / "cache")
    assert {name: (run.source, run.is_finished()) for name, run in exporter.state.runs.items()} == {
        name: ("own", True) for name in "abc"
    }
    assert set(read_here) == {tmp_path / "results" / "c"}, "what makes its source has no name"


FAILING = {
    "ends at once": "pass",
    "fails": "raise SystemExit('it is broken')",
    "ends in the midst": "import pickle, sys; [pickle.load(sys.stdin.buffer) for _ in range(2)]",
    "answers nonsense": "import time; print('nonsense', flush=True); time.sleep(600)",
    "answers half": "import time; print('[[', end='', flush=True)",
    "cannot": "import pickle, sys\nwhile True: pickle.load(sys.stdin.buffer); print('null', flush=True)",
    "lies": "import pickle, sys\nwhile True: pickle.load(sys.stdin.buffer); print('[]', flush=True)",
    "hangs": "import time; time.sleep(600)",
}


@pytest.mark.parametrize("name", FAILING)
def test_a_worker_that_fails_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(read_workers, "COMMAND", [sys.executable, "-c", FAILING[name]])
    if name == "hangs":
        monkeypatch.setattr(collector, "WORKER_SECONDS", 0.5)
    for number in range(4):
        small_run(tmp_path / "results", f"r{number}")
    exporter = read_all((tmp_path / "results",), tmp_path / "cache")
    assert {run_id: run.total for run_id, run in exporter.state.runs.items()} == {
        f"r{number}": 3 for number in range(4)
    }
    assert exporter.state.sources["runlog"].errors == {}


def test_without_an_interpreter_the_exporter_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_workers, "COMMAND", [str(tmp_path / "nothing")])
    for number in range(3):
        small_run(tmp_path / "results", f"r{number}")
    assert len(read_all((tmp_path / "results",), tmp_path / "cache").state.runs) == 3


def test_an_exporter_that_stops_ends_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_workers, "COMMAND", [sys.executable, "-c", FAILING["hangs"]])
    made: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        made.append(real(*args, **options))
        return made[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    for number in range(3):
        small_run(tmp_path / "results", f"r{number}")
    exporter = exporter_of(tmp_path / "results", prices={"cache_dir": str(tmp_path / "cache")})
    exporter.start()
    wait_for(lambda: made)
    exporter.stop()
    assert all(process.returncode is not None for process in made)


def test_few_runs_are_read_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MANY_RUNS", read_workers.MANY_RUNS)
    monkeypatch.setattr(read_workers, "COMMAND", None)
    for number in range(3):
        small_run(tmp_path / "results", f"r{number}")
    assert len(read_all((tmp_path / "results",), tmp_path / "cache").state.runs) == 3


KILLED = """
import pickle, subprocess, sys, time
from evalgauge_exporter.ingest import read_workers
worker = subprocess.Popen(read_workers.COMMAND, stdin=subprocess.PIPE)
worker.stdin.write(sys.stdin.buffer.read())
worker.stdin.flush()
print("fed", file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a run that never ends is made of a named pipe")
@pytest.mark.parametrize("requests", [0, 1])
def test_a_worker_ends_with_an_exporter_that_was_killed(tmp_path: Path, requests: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    setup = pickle.dumps(WorkerSetup(tmp_path / "cache", "key", None))
    waits_for_ever = pickle.dumps(pickle.dumps(ReadRequest(tmp_path, tmp_path / "pipe", open)))  # type: ignore[arg-type]
    pipe = subprocess.PIPE
    parent = subprocess.Popen([sys.executable, "-c", KILLED], stdin=pipe, stdout=pipe, stderr=pipe)
    assert parent.stdin is not None
    assert parent.stderr is not None
    parent.stdin.write(setup + b"".join(itertools.repeat(waits_for_ever, requests)))
    parent.stdin.close()
    assert parent.stderr.readline() == b"fed\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout is not None
    assert parent.stdout.read() == b"", "the worker, which has the other end, has ended too"
    parent.stdout.close()
    parent.stderr.close()
