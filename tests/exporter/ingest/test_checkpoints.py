"""A large run that is running is not read again at the next start: its fold continues from a checkpoint."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalgauge.pricing import PriceTable
from evalgauge.runlog import LogReader, LogWriter
from evalgauge_exporter.ingest import run_cache
from evalgauge_exporter.ingest.run_cache import CachedRun, RunCache
from evalgauge_exporter.sources.base import ResumableSource, RunSource
from evalgauge_exporter.sources.openadapt.with_log import FilledRunLogSource
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.sources.scorers import ScorerSource
from evalgauge_exporter.state.run import RunState
from tests.exporter.runs import exporter_of
from tests.exporter.scraping import samples
from tests.exporter.sources.reading import snapshot
from tests.exporter.state.test_run import counted
from tests.exporter.waiting import wait_for

PRICER = PriceTable().price_of


@pytest.fixture(autouse=True)
def _every_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_cache, "CHECKPOINT_EVENTS", 0)


def read_on(source: RunSource, run: RunState) -> RunState:
    has_more = True
    while has_more:
        result = source.read()
        assert not result.restarted
        for event in result.events:
            run.apply(event)
        has_more = result.has_more
    return run


def fresh(folder: Path) -> RunState:
    return read_on(RunLogSource(folder), RunState("r", "runlog", PRICER))


def save(cache: Path, folder: Path, source: RunSource | None = None) -> tuple[RunSource, RunState]:
    """A run that was read, with its checkpoint in a cache."""
    source = source or RunLogSource(folder)
    run = read_on(source, RunState("r", source.source, PRICER))
    RunCache(cache, "key").put_running(folder, source, run, nullcontext())
    return source, run


def load(
    cache: Path, folder: Path, source: RunSource | None = None, key: str = "key"
) -> tuple[RunSource, CachedRun | None]:
    source = source or RunLogSource(folder)
    return source, RunCache(cache, key).get(folder, source, source.fingerprint(), "r", PRICER)


@st.composite
def logs(draw: st.DrawFn) -> dict[str, bytes]:
    """The logs of some writers, as the bytes of their files."""
    found = {}
    for number in range(draw(st.integers(1, 3))):
        ts = 100.0 + number
        lines: list[dict[str, Any]] = []
        if number == 0:
            tasks = [{"task_id": "t0", "domain": "d"}, {"task_id": "shared"}, {"task_id": "never"}]
            lines.append({"ts": ts, "type": "run_started", "run_id": "r", "model": "m", "tasks": tasks, "attempts": 2})
        for _ in range(draw(st.integers(0, 14))):
            ts += draw(st.integers(1, 40))
            kinds = ["task_started", "step", "llm_call", "task_finished", "worker_state", "heartbeat", "log"]
            line: dict[str, Any] = {"ts": ts, "type": draw(st.sampled_from(kinds)), "worker_id": f"v{number}"}
            line |= {"task_id": draw(st.sampled_from([f"t{number}", "shared"])), "attempt": draw(st.integers(1, 2))}
            line |= {"state": "idle", "action": {"type": draw(st.sampled_from(["click", "done"]))}, "message": "ä"}
            line |= {
                "outcome": draw(st.sampled_from(["success", "failure", "interrupted"])),
                "duration_seconds": ts / 7,
            }
            line |= {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 200, "output_tokens": 1}
            line |= {"score": draw(st.sampled_from([0.0, 0.5, 1.0])), "think_seconds": 0.5, "vm": f"m{number}"}
            lines.append(line)
        if number == 0 and draw(st.booleans()):
            lines.append({"ts": ts + 1, "type": "run_finished"})
        encoded = [json.dumps({"v": 1, "seq": seq, **line}, ensure_ascii=False) for seq, line in enumerate(lines)]
        found[f"p{number}.jsonl"] = "".join(f"{line}\n" for line in encoded).encode()
    return found


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=logs(), data=st.data())
def test_a_checkpoint_anywhere_and_the_rest_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, made: dict[str, bytes], data: st.DataObject
) -> None:
    folder, cache = tmp_path_factory.mktemp("r"), tmp_path_factory.mktemp("cache")
    (folder / "events").mkdir()
    late = data.draw(st.sampled_from([None, *list(made)[1:]]), "a log that is made after the checkpoint")
    for name, content in made.items():
        if name != late:
            cut = data.draw(st.integers(0, len(content)), f"bytes of {name} before the checkpoint")
            (folder / "events" / name).write_bytes(content[:cut])
    source, run = save(cache, folder)
    for name, content in made.items():
        with (folder / "events" / name).open("ab") as file:
            file.write(content[file.tell() :])
    resumed, cached = load(cache, folder)
    assert cached is not None
    assert cached.fingerprint is None
    again, unbroken = read_on(resumed, cached.run), read_on(source, run)
    assert snapshot(again) == snapshot(unbroken)
    assert again.open_attempts.keys() <= again.attempts.keys()
    assert all(again.attempts[key] is attempt for key, attempt in again.open_attempts.items())
    assert counted(again) == counted(fresh(folder))


def long_log(folder: Path) -> Path:
    """A log of a running run that is longer than what is compared of its beginning and its end."""
    lines: list[dict[str, Any]] = [{"type": "run_started", "run_id": "r", "benchmark": "b", "tasks": ["a"]}]
    lines += [{"type": "step", "task_id": "a", "action": {"type": "click"}, "reasoning": "x" * 50} for _ in range(60)]
    path = folder / "events" / "w.jsonl"
    path.parent.mkdir(parents=True)
    encoded = (json.dumps({"v": 1, "seq": seq, "ts": 100.0 + seq, **line}) for seq, line in enumerate(lines))
    path.write_text("".join(f"{line}\n" for line in encoded))
    return path


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda log: (log.write_bytes(change(log.read_bytes())), None)[1]


def replace_by_a_copy(log: Path) -> None:
    log.with_suffix(".new").write_bytes(log.read_bytes() + b"\n")
    log.with_suffix(".new").replace(log)


@pytest.mark.parametrize(
    "edit",
    [
        rewrite(lambda log: log.replace(b'"benchmark": "b"', b'"benchmark": "c"')),
        rewrite(lambda log: log[:-20] + log[-20:].replace(b"x", b"y")),
        rewrite(lambda log: log[:-200]),
        rewrite(lambda log: log.replace(b"click", b"press")),
        replace_by_a_copy,
        Path.unlink,
    ],
    ids=["the beginning", "the end", "cut", "all", "another file", "deleted"],
)
def test_a_run_whose_log_was_edited_is_read_anew(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    log = long_log(tmp_path / "r")
    save(tmp_path / "cache", tmp_path / "r")
    assert load(tmp_path / "cache", tmp_path / "r")[1] is not None
    edit(log)
    source, cached = load(tmp_path / "cache", tmp_path / "r")
    assert cached is None
    assert counted(read_on(source, RunState("r", "runlog", PRICER))) == counted(fresh(tmp_path / "r"))


def test_a_checkpoint_by_other_code_or_prices_is_not_used(tmp_path: Path) -> None:
    long_log(tmp_path / "r")
    save(tmp_path / "cache", tmp_path / "r")
    assert load(tmp_path / "cache", tmp_path / "r", key="other")[1] is None
    assert load(tmp_path / "cache", tmp_path / "r")[1] is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[:400],
        lambda whole: whole.replace(b"click", b"press"),
    ],
    ids=["empty", "cut", "its beginning", "changed"],
)
def test_a_damaged_checkpoint_is_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder, cache = tmp_path / "r", tmp_path / "cache"
    long_log(folder)
    save(cache, folder)
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert load(cache, folder)[1] is None
    save(cache, folder)
    assert load(cache, folder)[1] is not None, "it is written again"


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_cache_file_runs_no_code(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    long_log(folder)
    cache = RunCache(tmp_path / "cache", "key")
    for name, value in {"os": Evil(tmp_path / "made"), "class": RunCache, "function": run_cache._file_name}.items():
        assert cache._write(name, value)
        assert cache._read(name) is None
    assert not (tmp_path / "made").exists()
    assert cache._write("records", [tmp_path, RunState, {"a": 1.5}])
    assert cache._read("records") == [tmp_path, RunState, {"a": 1.5}]


def test_a_checkpoint_is_written_where_enough_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_cache, "CHECKPOINT_EVENTS", 61)
    log = long_log(tmp_path / "r")
    source, run = RunLogSource(tmp_path / "r"), RunState("r", "runlog", PRICER)
    cache = RunCache(tmp_path / "cache", "key")
    read_on(source, run)
    cache.put_running(tmp_path / "r", source, run, nullcontext())
    (path,) = (tmp_path / "cache").iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    with log.open("a") as file:
        file.write(json.dumps({"v": 1, "seq": 90, "ts": 300.0, "type": "step", "task_id": "a"}) + "\n")
    read_on(source, run)
    cache.put_running(tmp_path / "r", source, run, nullcontext())
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_checkpoint_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    long_log(tmp_path / "r")
    source, run = RunLogSource(tmp_path / "r"), fresh(tmp_path / "r")
    vars(run)["tags"] = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        RunCache(tmp_path / "cache", "key").put_running(tmp_path / "r", source, run, nullcontext())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_finished_run_takes_the_place_of_its_checkpoint(tmp_path: Path) -> None:
    log = long_log(tmp_path / "r")
    source, run = save(tmp_path / "cache", tmp_path / "r")
    with log.open("a") as file:
        for seq, line in enumerate(
            [{"type": "task_finished", "task_id": "a", "outcome": "success"}, {"type": "run_finished"}]
        ):
            file.write(json.dumps({"v": 1, "seq": 90 + seq, "ts": 300.0, **line}) + "\n")
    read_on(source, run)
    cache = RunCache(tmp_path / "cache", "key")
    fingerprint = source.fingerprint()
    assert fingerprint is not None
    cache.put(tmp_path / "r", fingerprint, run)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    cached = load(tmp_path / "cache", tmp_path / "r")[1]
    assert cached is not None
    assert cached.fingerprint == fingerprint
    assert cached.run.loaded_attempts == 0
    assert cached.run.statuses(400, 600) == {"success": 1}


def test_what_is_cached_of_runs_that_are_gone_is_deleted(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        long_log(tmp_path / name)
        save(cache, tmp_path / name)
    for name, age in (("being-written.1", 0), ("left-over.2", 7200)):
        (cache / name).write_bytes(b"")
        os.utime(cache / name, (time.time() - age,) * 2)
    RunCache(cache, "key").drop_others([tmp_path / "b"])
    assert {path.name for path in cache.iterdir()} == {run_cache._file_name(tmp_path / "b"), "being-written.1"}
    assert load(cache, tmp_path / "a")[1] is None
    assert load(cache, tmp_path / "b")[1] is not None


def test_a_chosen_scorer_is_resumed_too(tmp_path: Path) -> None:
    def chosen() -> RunSource:
        return ScorerSource(FilledRunLogSource(tmp_path / "r"), {"b": "judge"}, 1.0)

    log = long_log(tmp_path / "r")
    save(tmp_path / "cache", tmp_path / "r", chosen())
    finished = {"type": "task_finished", "task_id": "a", "outcome": "failure", "outcome_from_score": True}
    with log.open("a") as file:
        line = {"v": 1, "seq": 90, "ts": 300.0, **finished, "score": 0.0, "scores": {"judge": 1.0, "other": 0.0}}
        file.write(json.dumps(line) + "\n")
    source, cached = load(tmp_path / "cache", tmp_path / "r", chosen())
    assert cached is not None
    run = read_on(source, cached.run)
    assert (run.scorer, run.statuses(400, 600)) == ("judge", {"success": 1})


def test_a_log_beside_the_files_of_openadapt_has_no_checkpoint(tmp_path: Path) -> None:
    long_log(tmp_path / "r")
    source = FilledRunLogSource(tmp_path / "r")
    assert isinstance(source, ResumableSource)
    source.read()
    assert source.position() is not None
    (tmp_path / "r" / "summary.json").write_text("{}")
    (tmp_path / "r" / "metadata.json").write_text("{}")
    (tmp_path / "r" / "tasks").mkdir()
    source = FilledRunLogSource(tmp_path / "r")
    source.read()
    assert source.position() is None


SERVE = """
from evalgauge_exporter.cli.main import main
from evalgauge_exporter.ingest import collector, run_cache
run_cache.CHECKPOINT_EVENTS = 100
collector.CHECKPOINT_SECONDS = 0.2
main()
"""


def write(log: LogWriter, stop: threading.Event) -> None:
    """Write the events of tasks that one worker does."""
    log.write("run_started", {"run_id": "r", "benchmark": "b", "model": "claude-sonnet-4-5"})
    usage = {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 1}
    for number in itertools.count():
        ids = {"task_id": f"{log.path.stem}-{number}", "worker_id": log.path.stem}
        log.write("task_started", {**ids, "domain": "d"})
        log.write("llm_call", ids | usage)
        log.write("step", {**ids, "action": {"type": ("click", "type")[number % 2]}})
        log.write("task_finished", {**ids, "outcome": ("success", "failure")[number % 2], "duration_seconds": 0.5})
        if stop.wait(0.002):
            return


def of_run(results: Path, cache: Path, seen: list[int] | None = None) -> dict[Any, float]:
    exporter = exporter_of(results, prices={"cache_dir": str(cache)})
    exporter.start()
    assert exporter.wait_caught_up(60)
    wait_for(lambda: exporter.state.runs)
    found = samples(exporter.exposition.render(time.time()).decode())
    exporter.stop()
    if seen is not None:
        seen.append(exporter.state.runs["r"].version)
    names = ("agent_eval_run_", "agent_eval_worker_")
    return {key: value for key, value in found.items() if key[0].startswith(names) and "_eta_" not in key[0]}


def test_an_exporter_that_was_killed_continues_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, cache, stop = tmp_path / "results", tmp_path / "cache", threading.Event()
    results.mkdir()
    command = [sys.executable, "-c", SERVE, "serve", str(results), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "EVALGAUGE_PRICES__CACHE_DIR": str(cache)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    logs = [LogWriter(results / "r" / "events" / f"w{number}.jsonl") for number in range(3)]
    writers = [threading.Thread(target=write, args=(log, stop)) for log in logs]
    for writer in writers:
        writer.start()
    try:

        def files() -> set[tuple[str, int]]:
            return {(path.name, path.stat().st_ino) for path in cache.glob("runs-*/*") if "." not in path.name}

        first = wait_for(files)
        wait_for(lambda: files() and files() != first)  # it was replaced by a newer one
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        stop.set()
        for writer in writers:
            writer.join()
        for log in logs:
            log.close()
    offsets: list[int] = []
    real = LogReader.read

    def read(self: LogReader, limit: int = 8 << 20) -> Any:
        offsets.append(self.offset)
        return real(self, limit)

    monkeypatch.setattr(LogReader, "read", read)
    versions: list[int] = []
    continued = of_run(results, cache, versions)
    assert offsets[0] > 0, "it was not read from its beginning"
    offsets.clear()
    assert continued == of_run(results, tmp_path / "empty", versions)
    assert offsets[0] == 0
    assert versions[0] == versions[1], "every event was folded once"
