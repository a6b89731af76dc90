"""Cost of the tracker to the runner: one step, its screenshot, and many threads or processes on one machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.peers import PeerMissing, find_python, run_python
from benchmarks.rows import Row, best_of, quantile
from evalgauge import track_run
from evalgauge.runlog import log_files

STEPS = 20_000
TOGETHER = 64
"""Threads, and processes."""
STEPS_EACH, SHOTS_EACH = 500, 10
SHOT = b"\x89PNG" + os.urandom(350_000)
"""As large as a screenshot of a desktop."""
HEIGHT, WIDTH = 1080, 1920
ACTION = {"type": "click", "x": 0.41, "y": 0.22}
REASONING = "The dialog is open, so I click on Save. " * 3
Waits = list[float]


def rows() -> Iterator[Row]:
    """The steps of one thread, with and without screenshots, and of many."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracked, event = _one_step(folder)
        floor = _one_line(folder, event)
        beside = f"json.dumps and os.write: {floor * 1e6:.1f} µs"
        yield Row("one tracker step", f"{tracked * 1e6:.1f} µs", beside, tracked / floor, "≤ 3")
        span = _one_span(event)
        beside = f"OpenTelemetry, a span with the same attributes, in memory: {span * 1e6:.1f} µs"
        yield Row("one tracker step", f"{tracked * 1e6:.1f} µs", beside, tracked / span)
        yield _beside_mlflow(folder, tracked)
        yield from _screenshots(folder)
        for many, what in ((_in_threads, "threads"), (_in_processes, "processes")):
            taken, waits = many(folder, _steps)
            floor, floor_waits = many(folder, _lines, event)
            yield _rate_row(f"{TOGETHER} {what}, {STEPS_EACH} steps each", taken, floor)
            yield _longest_row(f"{TOGETHER} {what}: a call", waits, "json.dumps and os.write", floor_waits)
            what = f"{TOGETHER} {what}, each step with a screenshot of 350 kB: a call, finish included"
            yield _longest_row(what, many(folder, _shots)[1], "write_bytes", many(folder, _files)[1])


def _one_step(folder: Path) -> tuple[float, dict[str, Any]]:
    """Return the seconds of a step, and its line."""
    with track_run(folder, benchmark="b", model="m", fsync="never") as run, run.task("t", worker="w") as task:

        def track() -> None:
            for _ in range(STEPS):
                task.step(action=ACTION, reasoning=REASONING, think_seconds=1.5, env_seconds=0.5)

        tracked = best_of(3, track) / STEPS
        return tracked, json.loads(log_files(run.folder)[0].read_bytes().splitlines()[5])


def _one_line(folder: Path, event: dict[str, Any]) -> float:
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write() -> None:
        for _ in range(STEPS):
            os.write(fd, json.dumps(event).encode() + b"\n")

    taken = best_of(3, write) / STEPS
    os.close(fd)
    return taken


def _one_span(event: dict[str, Any]) -> float:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=STEPS))
    tracer = provider.get_tracer("benchmark")
    attributes = {name: value for name, value in event.items() if isinstance(value, str | float | int)}

    def trace() -> None:
        for _ in range(STEPS):
            tracer.start_span("step", attributes=attributes).end()
        provider.force_flush()
        exporter.clear()

    taken = best_of(3, trace) / STEPS
    provider.shutdown()
    return taken


_MLFLOW = """
import pathlib, sys, time
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
mlflow.set_experiment("benchmark")
with mlflow.start_run():
    for step in range(100):
        if step == 20:
            start = time.perf_counter()
        mlflow.log_metric("steps", step, step=step)
    print((time.perf_counter() - start) / 80)
"""


def _beside_mlflow(folder: Path, tracked: float) -> Row:
    what, measured = "one tracker step", f"{tracked * 1e6:.1f} µs"
    try:
        peer = float(run_python(find_python(), _MLFLOW, folder))
    except PeerMissing as error:
        return Row(what, measured, f"mlflow.log_metric: {error}", None)
    return Row(what, measured, f"mlflow.log_metric, its default store: {peer * 1e3:.1f} ms", tracked / peer)


def _screenshots(folder: Path) -> Iterator[Row]:
    """A step as a runner makes it, with pauses in which the picture is written."""
    pixels = memoryview(bytearray(HEIGHT * WIDTH * 3)).cast("B", (HEIGHT, WIDTH, 3))
    alone = _timed(50, lambda: (folder / "alone.png").write_bytes(SHOT))
    kinds = ((SHOT, 50, "PNG of 350 kB", f"write_bytes: {_most(alone)}"), (pixels, 20, "1920 × 1080 pixels", ""))
    for shot, steps, what, beside in kinds:
        waits: Waits = []
        with track_run(folder, benchmark="b", model="m", fsync="never") as run, run.task("t") as task:
            for _ in range(steps):
                time.sleep(0.02)
                waits += _timed(1, partial(task.step, action=ACTION, reasoning=REASONING, screenshot=shot))
        ratio = quantile(waits, 0.5) / quantile(alone, 0.5) if beside else None
        yield Row(f"a step with a screenshot, {what}", _most(waits), beside, ratio)


Work = Callable[..., Waits]


def _timed(times: int, call: Callable[[], object]) -> Waits:
    waits = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        waits.append(time.perf_counter() - start)
    return waits


def _steps(folder: Path, number: int, times: int = STEPS_EACH, **more: Any) -> Waits:
    """Return the seconds of each step, and of the end of the task."""
    with track_run(folder, benchmark="b", model="m", run_id="r", fsync="never") as run:
        task = run.task(f"t{number}", worker=f"w{number}")
        step = partial(task.step, action=ACTION, reasoning=REASONING, think_seconds=1.5, env_seconds=0.5, **more)
        return _timed(times, step) + _timed(1, lambda: task.finish(success=True))


def _shots(folder: Path, number: int) -> Waits:
    return _steps(folder, number, SHOTS_EACH, screenshot=SHOT)


def _lines(folder: Path, number: int, event: dict[str, Any]) -> Waits:
    with (folder / f"{number}.jsonl").open("ab", buffering=0) as file:
        return _timed(STEPS_EACH, lambda: file.write(json.dumps(event).encode() + b"\n"))


def _files(folder: Path, number: int) -> Waits:
    numbers = count()
    return _timed(SHOTS_EACH, lambda: (folder / f"{number}-{next(numbers)}.png").write_bytes(SHOT))


def _in_threads(folder: Path, work: Work, *arguments: object) -> tuple[float, Waits]:
    """Return the seconds until all threads are done, and those of each call."""
    waits: Waits = []
    with tempfile.TemporaryDirectory(dir=folder) as own:
        threads = [
            threading.Thread(target=lambda number: waits.extend(work(Path(own), number, *arguments)), args=(number,))
            for number in range(TOGETHER)
        ]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start, waits


def _in_processes(folder: Path, work: Work, *arguments: object) -> tuple[float, Waits]:
    """Return the seconds from when all processes are there until all are done, and those of each call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.tracker"])
    barrier, results = context.Barrier(TOGETHER + 1), context.SimpleQueue()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        processes = [
            context.Process(target=_send_waits, args=(results, barrier, work, Path(own), number, *arguments))
            for number in range(TOGETHER)
        ]
        for process in processes:
            process.start()
        barrier.wait()
        start = time.perf_counter()
        waits = [wait for _ in processes for wait in results.get()]
        taken = time.perf_counter() - start
        for process in processes:
            process.join()
        return taken, waits


def _send_waits(results: Any, barrier: Barrier, work: Work, *arguments: Any) -> None:
    barrier.wait()
    results.put(work(*arguments))


def _most(waits: Waits) -> str:
    p50, p99, longest = (wait * 1e3 for wait in (quantile(waits, 0.5), quantile(waits, 0.99), max(waits)))
    return f"median {p50:.2f} ms, p99 {p99:.2f} ms, longest {longest:.1f} ms"


def _rate_row(what: str, taken: float, floor: float) -> Row:
    calls = TOGETHER * STEPS_EACH
    beside = f"json.dumps and os.write: {calls / floor:,.0f} a second"
    return Row(what, f"{calls / taken:,.0f} events a second", beside, taken / floor)


def _longest_row(what: str, waits: Waits, floor: str, floor_waits: Waits) -> Row:
    return Row(what, _most(waits), f"{floor}: {_most(floor_waits)}", max(waits) / max(floor_waits))
