"""Latency of the API at 10,000 tasks with 50 clients, while events come in.

The exporter, the runner and the clients are processes of their own, so that none waits for the interpreter of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row, quantile
from evalgauge.runlog import LogWriter

TASKS, WORKERS, DOMAINS = 10_000, 100, 12
CLIENTS, REQUESTS = 50, 20
PAUSE_SECONDS = 0.25
"""A client's pause between two requests: 50 clients make 200 requests a second."""
EVENTS_A_SECOND = 200
PATHS = ("status", "costs", "metrics", "workers", "runs")


def rows() -> Iterator[Row]:
    """The latency of each path, beside that of an answer that takes no work, which the same clients ask for."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        write_half(results)
        with _serving(results) as url, _running(results):
            for path in (*(f"/api/benchmark/{name}" for name in PATHS), "/metrics"):
                waits, floor = asyncio.run(_ask_all(url, path))
                yield Row(
                    f"{path}, {CLIENTS} clients",
                    f"median {quantile(waits, 0.5):.1f} ms, p99 {quantile(waits, 0.99):.1f} ms",
                    f"/healthz between them: {quantile(floor, 0.5):.1f} ms, p99 {quantile(floor, 0.99):.1f} ms",
                    quantile(waits, 0.99) / quantile(floor, 0.99),
                    "p99 ≤ 20 ms",
                )


def write_half(results: Path, *, tasks: int = TASKS, finished: int | None = None) -> None:
    """Write a running run of which half of the tasks are finished and one for each worker is running.

    Args:
        results: The results folder.
        tasks: Planned tasks.
        finished: Finished ones, by default half.
    """
    writer = LogWriter(results / "large" / "events" / "first.jsonl")
    planned = [{"task_id": f"task-{n}", "domain": f"domain-{n % DOMAINS}"} for n in range(tasks)]
    writer.write("run_started", {"run_id": "large", "benchmark": "waa", "model": "claude-sonnet-4-5", "tasks": planned})
    for number in range(tasks // 2 if finished is None else finished):
        write_task(writer, number)
    writer.close()


def write_task(writer: LogWriter, number: int) -> None:
    """Write the eight events of a task."""
    ids = {"task_id": f"task-{number}", "attempt": 1, "worker_id": f"vm-{number % WORKERS:03d}"}
    writer.write("task_started", {**ids, "domain": f"domain-{number % DOMAINS}", "instruction": "do the task"})
    for step in range(3):
        usage = {"input_tokens": 2000 + step, "cache_read_tokens": 500, "output_tokens": 150}
        writer.write(
            "llm_call", {**ids, "provider": "anthropic", "model": "claude-sonnet-4-5", "status": "ok", **usage}
        )
        writer.write("step", {**ids, "step_idx": step, "action": {"type": "click"}, "reasoning": "I click on it."})
    outcome = ("success", "failure", "success", "agent_error")[number % 4]
    writer.write(
        "task_finished", {**ids, "outcome": outcome, "score": 1.0, "steps": 3, "duration_seconds": 90 + number % 60}
    )


@contextlib.contextmanager
def _serving(results: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "evalgauge_exporter", "serve", str(results), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as exporter:
        try:
            yield _ready_url(exporter)
        finally:
            exporter.terminate()


@contextlib.contextmanager
def _running(results: Path) -> Iterator[None]:
    command = [sys.executable, "-c", f"from benchmarks.answers import run_on; run_on({str(results)!r})"]
    with subprocess.Popen(command) as runner:
        try:
            yield
        finally:
            runner.terminate()


def run_on(results: str) -> None:
    """Finish one task after the other at ``EVENTS_A_SECOND``, until the process is ended."""
    writer = LogWriter(Path(results) / "large" / "events" / "second.jsonl")
    for number in range(TASKS // 2, TASKS):
        write_task(writer, number)
        time.sleep(8 / EVENTS_A_SECOND)


def _ready_url(exporter: subprocess.Popen[str]) -> str:
    """Return the exporter's address once it is ready."""
    assert exporter.stderr is not None
    for line in exporter.stderr:
        if " on http" in line:
            url = line.split()[-1].rstrip("/")
            break
    else:
        raise RuntimeError("the exporter has not started")
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz"):
            return url
        time.sleep(0.05)


async def _ask_all(url: str, path: str) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each of the clients' requests, and of those for ``/healthz`` between them."""
    host, _, port = url.removeprefix("http://").partition(":")
    waits: list[float] = []
    floor: list[float] = []

    async def ask(client: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        await asyncio.sleep(PAUSE_SECONDS * client / CLIENTS)
        for _ in range(REQUESTS):
            for address, took in (("/healthz", floor), (path, waits)):
                start = time.perf_counter()
                writer.write(f"GET {address} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(head.decode())
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                took.append((time.perf_counter() - start) * 1000)
                await asyncio.sleep(PAUSE_SECONDS / 2)
        writer.close()

    await asyncio.gather(*(ask(client) for client in range(CLIENTS)))
    return waits, floor
