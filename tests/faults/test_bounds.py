"""Memory and time are bounded for any input; clocks and restarts change no counter for the worse."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evalgauge import track_run
from evalgauge.events import Heartbeat
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest import collector, tracked_run
from evalgauge_exporter.sources import parsing
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.sources.parsing import parse_json, read_object
from evalgauge_exporter.state.run import RunState
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import Samples, counters, samples
from tests.exporter.sources.reading import drain
from tests.exporter.waiting import wait_for

if sys.version_info >= (3, 14):
    import zipfile
else:
    from backports.zstd import zipfile


def test_a_small_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.eval"
    start = {"eval": {"task": "t", "model": "openai/gpt-4o", "created": "2026-01-01T00:00:00+00:00"}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_ZSTANDARD) as archive:
        archive.writestr("_journal/start.json", json.dumps(start))
        archive.writestr("samples/a.json", b'{"id":"a","events":[' + b"[]," * (40 << 20) + b"[]]}")
    assert path.stat().st_size < 100_000
    source = InspectLogSource(path)
    events, problems = drain(source)
    assert [problem.reason for problem in problems] == ["long_file"]
    assert "would need more than" in problems[0].detail
    assert len(events) == 1


def test_a_document_whose_values_would_fill_the_memory_is_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, "MAX_PARSED", 1 << 20)
    assert parse_json(b'{"text": "%s"}' % (b"a" * 100_000)) is not None
    with pytest.raises(ValueError, match="of memory"):
        parse_json(b"[" + b"[]," * 100_000 + b"[]]")
    path = tmp_path / "large.json"
    path.write_bytes(b'{"a": [' + b"{}," * 100_000 + b"{}]}")
    reported: list[str] = []
    assert read_object(path, lambda reason, _: reported.append(reason)) is None
    assert reported == ["torn_file"]


@pytest.mark.parametrize("text", ["a \ud83d b", "\\ud83d", "\\\ud83d", "😀 \udc00", "\ud83d\ud83d\ude00"])
def test_half_a_surrogate_pair_costs_itself_and_nothing_else(text: str) -> None:
    document = {"steps": [{"text": text}, *({"text": "x" * 5000} for _ in range(600))]}
    read = parse_json(json.dumps(document).encode())
    assert len(read["steps"]) == 601
    assert read["steps"][1:] == document["steps"][1:]
    assert read["steps"][0]["text"] == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace(
        "\ufffd", "?"
    )


def test_runs_are_unloaded_beyond_the_limit_of_memory_and_read_again_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        small_run(tmp_path, f"finished{number}")
    running = small_run(tmp_path, "running", finish=False)
    resident = [0]
    monkeypatch.setattr(collector, "get_resident_bytes", lambda: resident[0])
    monkeypatch.setattr(collector, "estimate_run_bytes", lambda _: 1 << 30)
    exporter = exporter_of(tmp_path, limits={"memory": "100MiB"})
    exporter.start()
    assert exporter.wait_ready(60)
    before = exporter.state.runs["finished0"]
    assert not before.is_unloaded
    resident[0] = 200 << 20
    wait_for(lambda: before.is_unloaded)
    wait_for(lambda: set(exporter.state.runs) <= {"running"})
    assert exporter.state.sources["runlog"].errors["memory_limit"] >= 3
    resident[0] = 10 << 20

    def all_are_back() -> bool:
        for tracked in list(exporter.collector._evicted.values()):  # one may be unloaded a moment later
            tracked.backoff.reset()
        return len(exporter.state.runs) == 4

    wait_for(all_are_back)
    assert exporter.state.runs["finished0"].total == 3
    running.finish()
    exporter.stop()


def test_memory_that_can_not_be_given_back_is_not_tried_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    released: list[int] = []

    def resident() -> int:
        looked.append(len(released))
        return 200 << 20

    monkeypatch.setattr(collector, "get_resident_bytes", resident)
    monkeypatch.setattr(collector, "release_memory", lambda: released.append(1))
    running = small_run(tmp_path, "running", finish=False)
    exporter = exporter_of(tmp_path, limits={"memory": "100MiB"})
    exporter.start()
    assert exporter.wait_ready(60)
    wait_for(lambda: looked.count(1) > 5)  # the first time looks once more after it
    exporter.stop()
    assert len(released) == 1
    running.finish()


def future_log(results: Path, name: str, ahead: float) -> None:
    now = time.time()
    lines: list[dict[str, Any]] = [
        {"ts": now - 7200, "type": "run_started", "benchmark": "b", "model": "m", "tasks": [{"task_id": "a"}]},
        {"ts": now - 7100, "type": "task_started", "task_id": "a", "worker_id": "w"},
        {"ts": now - 7000 + ahead, "type": "step", "task_id": "a", "worker_id": "w", "action": {"type": "click"}},
    ]
    path = results / name / "events" / "w.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"v": 1, "seq": seq, **line}) + "\n" for seq, line in enumerate(lines)))


@pytest.mark.parametrize("ahead", [3 * 86400.0, 4.0e9 - 1.9e9], ids=["days", "decades"])
def test_an_event_from_the_future_keeps_nothing_alive(tmp_path: Path, ahead: float) -> None:
    future_log(tmp_path, "ahead", ahead)
    future_log(tmp_path, "right", 0)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    state, right = exporter.state.runs["ahead"], exporter.state.runs["right"]
    assert state.status(time.time(), 600) == "stalled"
    assert state.worker_state(state.workers["w"], time.time(), 600) == "lost"
    assert state.workers["w"].busy_seconds <= right.workers["w"].busy_seconds == pytest.approx(100, abs=1)
    assert exporter.state.sources["runlog"].errors == {"clock_ahead": 1}


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    now = time.time()
    run = RunState("r", "runlog")
    ahead = tracked_run.fold_events(run, [Heartbeat(ts=now + 60, writer="w")])
    assert ahead == set()
    assert run.last_event_at == now + 60


def exposed(exporter: Exporter) -> Samples:
    return counters(samples(exporter.exposition.render(time.time()).decode()))


def test_no_counter_falls_over_restarts_with_many_names_and_two_writers(tmp_path: Path) -> None:
    options: dict[str, object] = {"prices": {"cache_dir": str(tmp_path / "cache")}}
    results = tmp_path / "results"
    with track_run(results, benchmark="b", model="m", run_id="r", fsync="never") as late:
        early = track_run(results, benchmark="b", model="m", run_id="r", fsync="never")
        before: Samples = {}
        for turn in range(10):
            for run, name in ((early, "z"), (late, "a")):  # the one that is read first speaks last
                with run.task(f"{name}{turn}", worker=f"{name}{turn}", domain=f"{name}{turn}") as task:
                    for number in range(3 * turn, 3 * turn + 3):
                        task.step(action=f"{name}{number}")
                        for model in range(2):
                            task.llm_call(provider="p", model=f"{name}{2 * number + model}", input_tokens=10)
                    task.finish(success=True)
            for _restart in range(2):
                exporter = exporter_of(results, **options)
                exporter.start()
                assert exporter.wait_ready(60)
                found = exposed(exporter)
                for key, counted in before.items():
                    assert found.get(key, -1) >= counted, f"{key} fell from {counted} to {found.get(key)}"
                before = found
                exporter.stop()
        early.finish()
    assert ("agent_eval_run_steps_total", frozenset({("run_id", "r"), ("action", "other")})) in before
