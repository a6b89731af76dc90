"""Runs written by the tracker: follows the log files under ``events/``."""

from __future__ import annotations

import os
from pathlib import Path

from evalgauge.events import RunFinished, RunStarted
from evalgauge.runlog import EVENTS_FOLDER, LogReader, Problem, log_files
from evalgauge_exporter.sources.base import ReadResult

PART = 8 << 20
"""Bytes that are read of a log before others get their turn."""


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder with entries of these names is a run of this format."""
    return EVENTS_FOLDER in names and bool(log_files(folder))


class RunLogSource:
    """One run's log, of however many writers."""

    source = "runlog"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events = folder / EVENTS_FOLDER
        self._readers: dict[str, LogReader] = {}
        self._own_id: str | None = None
        self._over = False
        self._listed: int | None = None

    @property
    def declared_run_id(self) -> str | None:
        """What ``run_started`` says, None before that was read."""
        return self._own_id

    def fingerprint(self) -> str | None:
        """Names, sizes and times of the log files; None where there are none."""
        try:
            with os.scandir(self._events) as entries:
                logs = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".jsonl")]
        except OSError:
            return None
        return " ".join(sorted(f"{name}:{found.st_size}:{found.st_mtime_ns}" for name, found in logs)) or None

    def watch_paths(self) -> list[Path]:
        """The folder of the log, while the run goes on."""
        return [] if self._over else [self._events]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """The lines that were appended since the last call, writer by writer."""
        reading = ReadResult()
        try:
            listed = self._events.stat().st_mtime_ns
        except OSError:
            reading.missing = True
            return reading
        if full_scan or listed != self._listed:
            self._listed = listed
            for path in log_files(self.folder):
                if path.name not in self._readers:
                    self._readers[path.name] = LogReader(path)
        for reader in self._readers.values():
            try:
                events, problems, more = reader.read(PART)
            except FileNotFoundError:
                reading.restarted = True
                return reading
            except OSError as error:
                reading.problems.append(Problem("unreadable", f"{reader.path}: {error.strerror or error}"))
                continue
            if reader.replaced:
                reading.restarted = True
                return reading
            reading.events += events
            reading.problems += problems
            reading.has_more |= more
        for event in reading.events:
            if isinstance(event, RunStarted):
                self._over = False
                self._own_id = self._own_id or event.run_id
            elif isinstance(event, RunFinished):
                self._over = True
        return reading
