"""Cost of following runs, starting up and being scraped."""

from __future__ import annotations

import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.rows import Row, best_of, peak_memory
from evalgauge import track_run
from evalgauge.runlog import LogWriter, log_files
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState, fold
from evalgauge_exporter.views.exposition import Exposition
from evalgauge_exporter.views.limits import Limits
from evalgauge_exporter.web.server import serving

EVENTS = 200_000


def rows() -> Iterator[Row]:
    """Cold start, scrape and latency."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _cold_start(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _scrape(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield _visible(Path(folder))


def write_run(results: Path, run_id: str, *, tasks: int, steps: int, workers: int = 8, domains: int = 12) -> None:
    """A run that is over: ``tasks * (2 + 2 * steps)`` events and two more."""
    writer = LogWriter(results / run_id / "events" / "w.jsonl")
    planned = [{"task_id": f"task-{n}", "domain": f"domain-{n % domains}"} for n in range(tasks)]
    writer.write("run_started", {"run_id": run_id, "benchmark": "waa", "model": "claude-sonnet-4-5", "tasks": planned})
    for number in range(tasks):
        ids = {"task_id": f"task-{number}", "attempt": 1, "worker_id": f"vm-{number % workers:03d}"}
        writer.write("task_started", {**ids, "domain": f"domain-{number % domains}", "instruction": "do the task"})
        for step in range(steps):
            usage = {"input_tokens": 2000 + step, "cache_read_tokens": 500, "output_tokens": 150}
            model = {"provider": "anthropic", "model": "claude-sonnet-4-5", "status": "ok"}
            writer.write("llm_call", {**ids, **model, **usage})
            action = {"type": ("click", "type", "key")[step % 3], "x": 0.5, "y": 0.25}
            writer.write("step", {**ids, "step_idx": step, "action": action, "reasoning": "I click on it. " * 4})
        outcome = ("success", "failure", "success", "agent_error")[number % 4]
        writer.write("task_finished", {**ids, "outcome": outcome, "score": 1.0, "steps": steps, "duration_seconds": 90})
    writer.write("run_finished", {"status": "completed"})
    writer.close()


def _cold_start(folder: Path) -> Iterator[Row]:
    steps = 49
    write_run(folder, "r", tasks=EVENTS // (2 + 2 * steps), steps=steps)
    (path,) = log_files(folder / "r")
    lines = path.read_bytes().splitlines()
    floor = best_of(3, lambda: [orjson.loads(line) for line in lines])

    def read() -> None:
        source, run, more = RunLogSource(folder / "r"), RunState("r", "runlog", exporter.price), True
        while more:
            reading = source.read()
            more = reading.has_more
            for event in reading.events:
                run.apply(event)

    exporter = Exporter(load_config(None, results=(folder,)))
    read()  # the price list is read once
    taken = best_of(3, read)
    yield Row(
        f"cold start, {len(lines):,} events read and folded",
        f"{taken:.2f} s",
        f"orjson.loads of the same lines: {floor:.2f} s",
        taken / floor,
    )
    yield Row(
        "following 20,000 events a second, share of one core",
        f"{taken / len(lines) * 20_000:.0%}",
        "",
        None,
        "≤ 50 %",
    )


def _scrape(folder: Path) -> Iterator[Row]:
    """60,000 series: 50 runs that are over, one that goes on, with 100 workers each."""
    exporter = Exporter(load_config(None, results=(folder,)))
    for number in range(51):
        write_run(folder, f"r{number:02d}", tasks=150, steps=1, workers=74, domains=12)
    for number in range(51):
        source = RunLogSource(folder / f"r{number:02d}")
        events = source.read().events
        run = fold(f"r{number:02d}", "runlog", events if number else events[:-1], exporter.price)
        exporter.state.runs[run.run_id] = run
    now = time.time()
    start = time.perf_counter()
    body = exporter.exposition.render(now)
    first = time.perf_counter() - start
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    again = best_of(5, lambda: exporter.exposition.render(now))
    fresh = best_of(3, lambda: Exposition(exporter.state, exporter.analysis, Limits(), linger=None).render(now))
    families = list(text_string_to_metric_families(body.decode()))
    registry = CollectorRegistry()
    registry.register(_Given(families))
    peer = best_of(2, lambda: generate_latest(registry))
    yield Row(
        f"/metrics with {series:,} series",
        f"{again * 1000:.0f} ms",
        f"prometheus_client.generate_latest of the same: {peer * 1000:.0f} ms",
        again / peer,
        "≤ 100 ms",
    )
    yield Row("the same, nothing rendered before", f"{fresh * 1000:.0f} ms", "", fresh / peer)
    yield Row("the same, nothing compared or priced before", f"{first * 1000:.0f} ms", "", first / peer)
    memory = peak_memory() / (1 << 20)
    yield Row("memory of this process at its peak, the peer's copy included", f"{memory:.0f} MB", "", None)


class _Given:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily("given", "")]


def _visible(folder: Path) -> Row:
    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    waits: list[float] = []
    with (
        track_run(folder, benchmark="b", model="m", run_id="r") as run,
        run.task("t") as task,
        serving(exporter) as url,
    ):
        exporter.wait_ready()
        for number in range(1, 41):
            time.sleep(0.05)
            task.step(action="click")
            start = time.perf_counter()
            wanted = f'action="click"}} {number}\n'.encode()
            while wanted not in urllib.request.urlopen(f"{url}/metrics").read():
                pass
            waits.append(time.perf_counter() - start)
    ordered = sorted(waits)
    return Row(
        "an event written until it is on /metrics, 40 times",
        f"median {statistics.median(ordered) * 1000:.0f} ms, most {ordered[-1] * 1000:.0f} ms",
        "",
        None,
        "≤ 1 s",
    )
