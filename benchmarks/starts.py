"""Starting the exporter: over many finished runs for the first and the second time, and in the midst of a large run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.exporter import write_run
from benchmarks.rows import Row
from evalgauge.runlog import log_files

RUNS, TASKS = 2000, 154
LARGE_TASKS, LARGE_STEPS = 10_000, 49
COPIES = 100
"""A large log is made of so many copies of a smaller one."""
_START = """
import glob, json, re, sys, threading, time
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from benchmarks.rows import peak_memory
peaks = {}

def watch_workers():
    while True:
        for path in glob.glob("/proc/self/task/*/children"):
            try:
                for child in open(path).read().split():
                    peaks[child] = int(re.search("VmHWM:(.*) kB", open(f"/proc/{child}/status").read())[1]) / 1024
            except (OSError, TypeError):
                pass  # it has ended
        time.sleep(0.1)

threading.Thread(target=watch_workers, daemon=True).start()
start = time.perf_counter()
exporter = Exporter(load_config(None, results=(sys.argv[1],), prices={"cache_dir": sys.argv[2]}))
exporter.start()
exporter.wait_caught_up()
seconds = time.perf_counter() - start
exporter.stop()
own = peak_memory() / (1 << 20)
print(json.dumps({"seconds": seconds, "megabytes": own, "workers": sum(peaks.values())}))
"""


def rows() -> Iterator[Row]:
    """First and second start over history, then a restart beside a large running run."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _history(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _large_run(Path(folder))


def _history(folder: Path) -> Iterator[Row]:
    results = folder / "results"
    write_run(results, "run-0000", tasks=TASKS, steps=1)
    (log,) = log_files(results / "run-0000")
    content = log.read_bytes()
    for number in range(1, RUNS):
        copy = results / f"run-{number:04d}" / "events" / "w.jsonl"
        copy.parent.mkdir(parents=True)
        copy.write_bytes(content.replace(b"run-0000", f"run-{number:04d}".encode()))
    floor = sum(_parse_seconds(path.read_bytes()) for path in results.glob("*/events/*.jsonl"))
    first = _start(results, folder / "cache")
    yield Row(
        f"first start over {RUNS:,} finished runs of {TASKS} tasks, nothing cached",
        f"{first['seconds']:.1f} s",
        f"orjson.loads of the same lines on one core: {floor:.1f} s",
        first["seconds"] / floor,
        "≤ 8 s",
    )
    own, workers = first["megabytes"], first["workers"]
    yield Row("its memory at the peak", f"{own:.0f} MB, its workers {workers:.0f} MB", "", None, "≤ 300 MB")
    second = _start(results, folder / "cache")
    yield Row(
        "second start",
        f"{second['seconds']:.1f} s, {second['megabytes']:.0f} MB",
        f"the first: {first['seconds']:.1f} s",
        second["seconds"] / first["seconds"],
        "≤ 3 s",
    )


def _large_run(folder: Path) -> Iterator[Row]:
    """A running run, made of copies of a smaller one with other names of tasks."""
    results = folder / "results"
    write_run(results, "r", tasks=LARGE_TASKS // COPIES, steps=LARGE_STEPS)
    (log,) = log_files(results / "r")
    first, *lines, _ = log.read_bytes().splitlines(keepends=True)
    body = b"".join(lines)
    with log.open("wb") as file:
        file.write(first)
        for number in range(COPIES):
            file.write(body.replace(b'"task-', f'"task-{number}-'.encode()))
    floor = _parse_seconds(log.read_bytes())
    _start(results, folder / "cache")
    again = _start(results, folder / "cache")
    yield Row(
        f"restart beside a running run of {LARGE_TASKS:,} tasks, {COPIES * len(lines):,} events, until it is shown",
        f"{again['seconds']:.1f} s",
        f"orjson.loads of its lines: {floor:.1f} s",
        again["seconds"] / floor,
        "≤ 2 s",
    )


def _parse_seconds(content: bytes) -> float:
    lines = content.splitlines()
    start = time.perf_counter()
    for line in lines:
        orjson.loads(line)
    return time.perf_counter() - start


def _start(results: Path, cache: Path) -> dict[str, Any]:
    """Start an exporter in a process of its own, until every run was read."""
    command = [sys.executable, "-c", _START, str(results), str(cache)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
