"""Runs written by the tracker: the log files under ``events/``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from evalgauge.events import Event, RunFinished, RunStarted
from evalgauge.runlog import EVENTS_FOLDER, LogReader, Problem, log_files
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.clock_skew import WriterClock, correct_clocks

READ_BYTES = 8 << 20
"""Bytes that are read of a log before other runs get their turn."""


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder with entries of these names is a run of this format."""
    return EVENTS_FOLDER in names and bool(log_files(folder))


class RunLogSource:
    """Reads one run's log, of any number of writers."""

    source = "runlog"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events = folder / EVENTS_FOLDER
        self._readers: dict[str, LogReader] = {}
        self._clocks: dict[str, WriterClock] = {}
        self._followed = False
        self._declared_run_id: str | None = None
        self._finished = False
        self._listed_mtime: int | None = None

    @property
    def declared_run_id(self) -> str | None:
        """The id in ``run_started``, None before that was read."""
        return self._declared_run_id

    def fingerprint(self) -> str | None:
        """Return names, sizes and times of the log files; None where there are none."""
        try:
            with os.scandir(self._events) as entries:
                logs = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".jsonl")]
        except OSError:
            return None
        return " ".join(sorted(f"{name}:{found.st_size}:{found.st_mtime_ns}" for name, found in logs)) or None

    def watch_paths(self) -> list[Path]:
        """Return the folder of the log while the run is running."""
        return [] if self._finished else [self._events]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the events of the lines that were appended since the last call, writer by writer."""
        result = ReadResult()
        try:
            mtime = self._events.stat().st_mtime_ns
        except OSError:
            result.missing = True
            return result
        if full_scan or mtime != self._listed_mtime:
            self._listed_mtime = mtime
            for path in log_files(self.folder):
                if path.name not in self._readers:
                    self._readers[path.name] = LogReader(path)
        new: dict[Path, list[Event]] = {}
        now = time.time()
        for name, reader in self._readers.items():
            try:
                events, problems, has_more = reader.read(READ_BYTES)
            except FileNotFoundError:
                result.restarted = True
                return result
            except OSError as error:
                result.problems.append(Problem("unreadable", f"{reader.path}: {error.strerror or error}"))
                continue
            if reader.replaced:
                result.restarted = True
                return result
            if events:
                new[reader.path] = events
                result.restarted |= self._see_clock(name, reader.path, events, now)
            result.events += events
            result.problems += problems
            result.has_more |= has_more
        if result.restarted:
            return result
        correct_clocks(self._clocks.values(), new)
        self._followed |= not result.has_more
        for event in result.events:
            if isinstance(event, RunStarted):
                self._finished = False
                self._declared_run_id = self._declared_run_id or event.run_id
            elif isinstance(event, RunFinished):
                self._finished = True
        return result

    def _see_clock(self, name: str, path: Path, events: list[Event], now: float) -> bool:
        """Take note of a writer's times; return whether its clock turned out to be off, so the run is read again."""
        is_new = name not in self._clocks
        clock = self._clocks.setdefault(name, WriterClock(path))
        clock.see(events)
        try:
            clock.bound_by_file(now, path.stat().st_mtime)
        except OSError:
            return False
        return self._followed and not is_new and clock.see_arrival(now)
