"""``make soak``: an exporter for ten minutes, while runs and clients come and go; what it holds at start and end.

Not among the benchmarks of ``make bench``, since it takes as long as it is told to. Linux only: it reads ``/proc``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from evalgauge import track_run

WARM_UP_SECONDS = 60.0
"""Figures are compared with those after this time: before it, caches and thread pools fill."""
SAMPLE_SECONDS = 30.0
KEPT_RUNS = 20
"""Runs in the folder; the oldest is deleted when there are more."""
ADDRESSES = ("/metrics", "/healthz", "/", "/runs/", "/api/benchmark/runs", "/api/benchmark/frame", "/api/benchmark/x")


class Held(NamedTuple):
    """What a process holds."""

    memory: float
    """Resident memory, MB."""
    descriptors: int
    threads: int


def read_held(pid: int) -> Held:
    """Read what a process holds from ``/proc``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Held(int(status["VmRSS"].split()[0]) / 1000, descriptors, int(status["Threads"]))


def write_run(results: Path, name: str, chance: random.Random) -> None:
    """Write a run of a few tasks; one in five is left unfinished, as by a killed process."""
    tasks = [f"t{number}" for number in range(chance.randrange(2, 20))]
    run = track_run(results, benchmark="soak", model="m", run_id=name, tasks=tasks, fsync="never")
    for task_id in tasks:
        with run.task(task_id, worker=f"w{chance.randrange(4)}") as task:
            for _ in range(chance.randrange(1, 30)):
                task.llm_call(provider="p", model="m", input_tokens=100, output_tokens=10)
                task.step(action="click", reasoning="x" * chance.randrange(2000))
            task.finish(success=chance.random() < 0.5)
    run.finish("completed" if chance.random() < 0.8 else "aborted")


def ask(base: str, address: str) -> int:
    """Request an address; return its status, 0 where nothing answered."""
    try:
        with urllib.request.urlopen(f"{base}{address}", timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def open_stream(port: int, sent: bytes) -> socket.socket:
    """Connect and send the bytes; the caller closes the connection without a word."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(sent)
    return client


def soak(minutes: float, seed: int) -> int:
    """Run the exporter and print what it holds; return 1 where a request failed or the exporter ended."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        results, port = Path(folder) / "results", int(taken.getsockname()[1])
        results.mkdir()
        taken.close()
        base = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "evalgauge_exporter", "serve", str(results), "--listen", f"127.0.0.1:{port}"]
        exporter = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while ask(base, "/readyz") != 200:
                if time.monotonic() > deadline:
                    print("the exporter is not ready after 60 s", file=sys.stderr)
                    return 1
                time.sleep(0.1)
            return _watch(exporter, results, port, minutes, chance)
        finally:
            exporter.send_signal(signal.SIGTERM)
            exporter.wait()


def _watch(exporter: subprocess.Popen[bytes], results: Path, port: int, minutes: float, chance: random.Random) -> int:
    start = time.monotonic()
    base = f"http://127.0.0.1:{port}"
    names: collections.deque[str] = collections.deque()
    clients: collections.deque[socket.socket] = collections.deque()
    statuses: collections.Counter[int] = collections.Counter()
    written, opened, sampled, first, last = 0, 0, -SAMPLE_SECONDS, None, None
    print(f"{'minute':>6} {'memory MB':>10} {'descriptors':>12} {'threads':>8} {'runs':>6} {'answers':>8}")
    while (passed := time.monotonic() - start) < minutes * 60:
        if exporter.poll() is not None:
            print(f"the exporter ended with {exporter.returncode}", file=sys.stderr)
            return 1
        names.append(f"run{written}")
        write_run(results, names[-1], chance)
        written += 1
        if len(names) > KEPT_RUNS:
            shutil.rmtree(results / names.popleft())
        for address in (*ADDRESSES, f"/replay/{chance.choice(names)}/", f"/api/benchmark/status?run_id={names[-1]}"):
            statuses[ask(base, address)] += 1
        head = f"Host: 127.0.0.1:{port}\r\n".encode()
        for sent in (b"GET /api/benchmark-sse HTTP/1.1\r\n" + head + b"\r\n", b"GET /metrics HTTP/1.1\r\n" + head, b""):
            clients.append(open_stream(port, sent))
            opened += 1
        while len(clients) > 20:
            clients.popleft().close()
        if passed - sampled >= SAMPLE_SECONDS:
            sampled, last = passed, read_held(exporter.pid)
            first = last if first is None and passed >= WARM_UP_SECONDS else first
            print(
                f"{passed / 60:6.1f} {last.memory:10.0f} {last.descriptors:12} {last.threads:8} "
                f"{written:6} {statuses.total():8}",
                flush=True,
            )
        time.sleep(1.0)
    for client in clients:
        client.close()
    time.sleep(3.0)
    last = read_held(exporter.pid)
    print(f"after a minute: {first}\nat the end, all clients gone: {last}")
    print(f"{written} runs, {written - len(names)} deleted, {opened} connections, answers by status: {dict(statuses)}")
    failed = sum(count for status, count in statuses.items() if status >= 500 or status == 0)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run an exporter while runs and clients come and go.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(soak(arguments.minutes, arguments.seed))
