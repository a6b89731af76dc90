"""Worker processes with which many runs are read for the first time, on as many cores as there are.

The interpreter runs one thread at a time, so the exporter and its workers are processes. A worker reads a run into the
run cache, from which the exporter takes it as it does at any later start. A worker that dies, hangs or can't read a run
costs time and nothing else: the exporter reads the run itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple

from evalgauge.runlog import Problem
from evalgauge_exporter.ingest.read_worker import ReadRequest, WorkerSetup
from evalgauge_exporter.ingest.tracked_run import TrackedRun

log = logging.getLogger("evalgauge.exporter")

COMMAND = [sys.executable, "-P", "-m", "evalgauge_exporter.ingest.read_worker"]
MANY_RUNS = 50
"""Unread runs from which on workers are started: a start takes as long as to read some dozens of small runs."""
MAX_WORKERS = 3
"""Workers at most; each takes some 50 MB."""
TAKEN_AT_ONCE = 5
"""Runs that the caller reads before it takes what workers have read."""


def count_workers() -> int:
    """Return how many workers there may be beside this process."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(cores - 1, MAX_WORKERS) if sys.executable else 0


class WorkerResult(NamedTuple):
    """A run that a worker was to read."""

    tracked: TrackedRun
    problems: list[Problem] | None
    """What was found in it; None where the worker failed."""


class ReadWorkers:
    """Workers that read runs from the end of a queue, while the caller reads from its beginning.

    Args:
        setup: The settings of the workers.
        runs: The runs to read.
    """

    def __init__(self, setup: WorkerSetup, runs: Iterable[TrackedRun]) -> None:
        self._setup = setup
        self._runs = deque(runs)
        self._results: queue.SimpleQueue[WorkerResult | None] = queue.SimpleQueue()
        self.active = count_workers()
        """Workers that may still have results."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._serve, name="evalgauge-read", daemon=True) for _ in range(self.active)
        ]

    def __enter__(self) -> ReadWorkers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the workers, whatever they are doing."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()
        for thread in self._threads:
            thread.join()

    def take(self) -> list[TrackedRun]:
        """Return some runs for the caller to read; empty where there are none left."""
        taken: list[TrackedRun] = []
        with contextlib.suppress(IndexError):  # a worker may take the last one
            while len(taken) < TAKEN_AT_ONCE:
                taken.append(self._runs.popleft())
        return taken

    def collect(self, timeout: float) -> Iterator[WorkerResult]:
        """Yield the runs that workers have read.

        Args:
            timeout: Seconds to wait for the first one.
        """
        while self.active:
            try:
                result = self._results.get(timeout=timeout) if timeout else self._results.get_nowait()
            except queue.Empty:
                return
            timeout = 0.0
            if result is not None:
                yield result
            else:
                self.active -= 1

    def _serve(self) -> None:
        """Start a worker and give it one run after the other."""
        try:
            with self._start() as process:
                try:
                    self._feed(process)
                finally:
                    process.kill()  # every answer was received: there is nothing to wait for
        except OSError as error:  # it can't be started, or has died
            log.info("a process that reads runs ended: %s", error)
        finally:
            self._results.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise InterruptedError("the exporter stops")
            pipe = subprocess.PIPE
            process = subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
            self._processes.append(process)
        return process

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        pickle.dump(self._setup, process.stdin)
        process.stdin.flush()
        while process.poll() is None:
            try:
                tracked = self._runs.pop()
            except IndexError:
                break
            problems = None
            try:
                problems = self._ask(process, tracked)
            finally:
                self._results.put(WorkerResult(tracked, problems))

    def _ask(self, process: subprocess.Popen[bytes], tracked: TrackedRun) -> list[Problem] | None:
        """Have a run read; return the problems, None where the worker failed."""
        assert process.stdin is not None
        assert process.stdout is not None
        found = tracked.found
        try:
            request = pickle.dumps(ReadRequest(found.root, found.folder, found.make))
        except Exception:  # a plug-in's source that is made by what has no name
            return None
        pickle.dump(request, process.stdin)
        process.stdin.flush()
        try:
            problems = json.loads(process.stdout.readline())
            return None if problems is None else [Problem(reason, detail) for reason, detail in problems]
        except (ValueError, TypeError):  # it has died, or is out of its mind
            process.kill()
            return None
