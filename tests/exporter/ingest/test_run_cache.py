"""Runs that are over are not parsed again at the next start, and show the same as if they were."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalgauge.runlog import LogReader
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest import collector as follow
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.state.run import RunState, fold, unpriced
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import samples
from tests.exporter.sources.openadapt.test_run_folder import DATA, RUNS
from tests.exporter.waiting import wait_for


def started(*results: Path, **options: Any) -> Exporter:
    exporter = exporter_of(*results, **options)
    exporter.start()
    assert exporter.wait_ready(60)
    return exporter


def archived(exporter: Exporter) -> list[Path]:
    """Waits until the finished runs are on disk; the files of the cache."""
    folder = exporter.collector._cache._folder
    assert folder is not None
    assert exporter.wait_caught_up(60)
    exporter.stop()
    return list(folder.iterdir())


def of_runs(exporter: Exporter) -> dict[Any, float]:
    found = samples(exporter.exposition.render(time.time()).decode())
    return {
        key: number for key, number in found.items() if key[0].startswith("agent_eval_run_") and "_eta_" not in key[0]
    }


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes each log and each OpenAdapt folder that is read."""
    read: list[str] = []
    real_log, real_folder = LogReader.read, OpenAdaptSource.read

    def log_read(self: LogReader, limit: int = 8 << 20) -> Any:
        read.append(str(self.path))
        return real_log(self, limit)

    def folder_read(self: OpenAdaptSource, *, full_scan: bool = False) -> Any:
        read.append(str(self.folder))
        return real_folder(self, full_scan=full_scan)

    monkeypatch.setattr(LogReader, "read", log_read)
    monkeypatch.setattr(OpenAdaptSource, "read", folder_read)
    return read


def test_a_second_start_reads_no_finished_run_but_compared_ones(tmp_path: Path, no_reading: list[str]) -> None:
    small_run(tmp_path, "own-name")
    shutil.move(tmp_path / "own-name", tmp_path / "folder")
    small_run(tmp_path, "after", outcomes="sfsfaisff")
    shutil.copytree(RUNS["waa_mock_20"], tmp_path / "openadapt")
    going = small_run(tmp_path, "going", finish=False)
    first = started(tmp_path)
    before = of_runs(first)
    archived(first)
    no_reading.clear()
    second = started(tmp_path)
    read = {Path(path).parent.parent.name for path in no_reading}
    assert "going" in read
    assert read <= {"going", "folder", "after"}, "only what goes on is read, and what the first answer compares"
    assert set(second.state.runs) == {"own-name", "after", "openadapt", "going"}
    after = of_runs(second)
    second.stop()
    going.finish()
    assert after == before


def test_the_attempts_are_read_when_somebody_asks(tmp_path: Path) -> None:
    small_run(tmp_path, "r", outcomes="sfs")
    archived(started(tmp_path))
    exporter = started(tmp_path)
    run = exporter.state.runs["r"]
    assert run.is_unloaded
    assert (run.total, run.mean_steps) == (3, 1)
    assert run.is_unloaded, "a list of runs needs no attempts"
    assert [attempt.status for attempt in run.finished_attempts()] == ["success", "failure", "success"]
    assert [other.run_id for other in exporter.state.runs.values() if other.is_unloaded] == []
    exporter.stop()


def test_a_changed_run_is_read_again(tmp_path: Path) -> None:
    run = small_run(tmp_path, "r")
    archived(started(tmp_path))
    small_run(tmp_path, "r", outcomes="ssss")  # taken up again
    exporter = started(tmp_path)
    assert exporter.state.runs["r"].total == 4
    exporter.stop()
    shutil.rmtree(run.folder)


def test_a_run_that_changes_while_it_is_archived_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "IDLE_SECONDS", 0.2)
    small_run(tmp_path, "r")
    archived(started(tmp_path))
    exporter = started(tmp_path)
    small_run(tmp_path, "r", outcomes="ssssss")
    wait_for(lambda: exporter.state.runs["r"].total == 6)
    shutil.rmtree(tmp_path / "r")
    wait_for(lambda: "r" not in exporter.state.runs)
    exporter.stop()


def test_only_the_newest_runs_keep_their_attempts_in_memory(tmp_path: Path) -> None:
    for number in range(14):
        small_run(tmp_path, f"r{number:02d}", outcomes="s")
    exporter = exporter_of(tmp_path, limits={"runs": 2})
    exporter.start()
    assert exporter.wait_ready(60)
    assert sum(not run.is_unloaded for run in exporter.state.runs.values()) <= 12
    assert len(exporter.state.runs) == 14
    exporter.stop()


def get(cache: RunCache, folder: Path) -> RunState | None:
    cached = cache.get(folder, OpenAdaptSource(folder), "fingerprint", "r", unpriced)
    return None if cached is None else cached.run


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cache_that_was_damaged_anywhere_is_empty(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cache_folder, folder = tmp_path_factory.mktemp("cache"), Path("/results/r")
    RunCache(cache_folder, "key").put(folder, "fingerprint", fold("r", "runlog", []))
    (path,) = cache_folder.iterdir()
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, len(whole)))
    put = data.draw(st.binary(max_size=20))
    path.write_bytes(whole[:start] + put + whole[end:])
    again = RunCache(cache_folder, "key")
    if path.read_bytes() != whole:
        assert get(again, folder) is None
    again.put(folder, "fingerprint", fold("r", "runlog", []))
    assert get(RunCache(cache_folder, "key"), folder) is not None, "the run is cached again"


def test_runs_are_read_again_where_the_cache_was_damaged_or_made_by_other_code(tmp_path: Path) -> None:
    small_run(tmp_path, "r")
    (path,) = archived(started(tmp_path))
    for content in (b"", b"evalgauge", path.read_bytes().replace(b"runlog", b"runlug")):
        path.write_bytes(content)
        again = started(tmp_path)
        assert again.state.runs["r"].total == 3
        again.stop()
    assert get(RunCache(path.parent, "other"), tmp_path / "r") is None


def test_a_folder_whose_name_is_no_text_spoils_no_cache(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(b"/results/caf\xe9"))
    RunCache(tmp_path, "key").put(folder, "fingerprint", fold("r", "runlog", []))
    assert get(RunCache(tmp_path, "key"), folder) is not None


def test_results_that_are_not_there_for_the_moment_stay_cached(tmp_path: Path, no_reading: list[str]) -> None:
    small_run(tmp_path / "results", "r")
    archived(started(tmp_path / "results"))
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    exporter = started(tmp_path / "results")
    wait_for(lambda: exporter.collector._unloaded > 0)  # the first turn has looked for what can be deleted
    exporter.stop()
    (tmp_path / "elsewhere").rename(tmp_path / "results")
    no_reading.clear()
    exporter = started(tmp_path / "results")
    exporter.stop()
    assert set(exporter.state.runs) == {"r"}
    assert no_reading == []


def test_a_cache_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    small_run(tmp_path / "results", "r")
    exporter = exporter_of(tmp_path / "results", prices={"cache_dir": str(tmp_path / "file" / "cache")})
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert set(exporter.state.runs) == {"r"}


@pytest.mark.parametrize("name", RUNS)
def test_a_cached_run_is_given_back(name: str, tmp_path: Path) -> None:
    run = RunState("r", "openadapt")
    for event in OpenAdaptSource(RUNS[name]).read().events:
        run.apply(event)
    RunCache(tmp_path, "key").put(RUNS[name], "fingerprint", run)
    back = get(RunCache(tmp_path, "key"), RUNS[name])
    assert back is not None
    now = time.time()
    assert back.statuses(now, 600) == run.statuses(now, 600)
    assert back.status(now, 600) == run.status(now, 600)
    assert back.loaded_attempts == 0 < run.loaded_attempts
    assert DATA.exists()
