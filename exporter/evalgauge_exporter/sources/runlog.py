"""Runs written by the tracker: the log files under ``events/``."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalgauge.events import Event, RunFinished, RunStarted, TaskFinished
from evalgauge.runlog import EVENTS_FOLDER, LogReader, Problem, log_files
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.clock_skew import WriterClock, correct_clocks
from evalgauge_exporter.sources.parsing import fingerprint, is_absent, list_names, read_head, stat_path

READ_BYTES = 8 << 20
"""Bytes that are read of a log before other runs get their turn."""


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder with entries of these names is a run: one of its logs is new, or begins with an event."""
    return EVENTS_FOLDER in names and any(_is_log(path) for path in log_files(folder))


def _is_log(path: Path) -> bool:
    try:
        head = read_head(path, 1 << 16)
    except OSError:  # it can't be read for the moment
        return True
    return not head or (b'"type"' in head and b'"v"' in head)  # what is no file is reported when the run is read


class RunLogSource:
    """Reads one run's log, of any number of writers."""

    source = "runlog"

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            folder: The run's folder.
            success_threshold: The least score of a success, where an outcome follows from the score alone.
        """
        self.folder = folder
        self._threshold = success_threshold
        self._events = folder / EVENTS_FOLDER
        self._readers: dict[str, LogReader] = {}
        self._clocks: dict[str, WriterClock] = {}
        self._followed = False
        self._declared_run_id: str | None = None
        self._finished = False
        self._listed_mtime: int | None = None
        self._reported: set[str] = set()

    @property
    def declared_run_id(self) -> str | None:
        """The id in ``run_started``, None before that was read."""
        return self._declared_run_id

    def fingerprint(self) -> str | None:
        """Return names, sizes and times of the log files; None where there are none."""
        marks = ((name, stat_path(self._events / name)) for name in sorted(self._list_logs()))
        return " ".join(f"{name}:{found.st_size}:{found.st_mtime_ns}" for name, found in marks if found) or None

    def watch_paths(self) -> list[Path]:
        """Return the folder of the log while the run is running."""
        return [] if self._finished else [self._events]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the events of the lines that were appended since the last call, writer by writer."""
        result = ReadResult()
        try:
            self._find_logs(full_scan, result)
        except OSError as error:
            result.note_unreadable(error, self._events)
        if result.missing:
            return result
        new: dict[Path, list[Event]] = {}
        now = time.time()
        for name, reader in list(self._readers.items()):
            try:
                events, problems, has_more = reader.read(READ_BYTES)
            except OSError as error:
                self._handle_error(name, reader, error, result)
            else:
                if events:
                    new[reader.path] = events
                    result.restarted |= self._see_clock(name, reader.path, events, now)
                result.events += events
                result.problems += problems
                result.has_more |= has_more
                result.restarted |= reader.replaced
        if result.restarted:
            return result
        correct_clocks(self._clocks.values(), new)
        self._followed |= not result.has_more
        for event in result.events:
            if type(event) is TaskFinished:
                if event.outcome_from_score and event.score is not None and event.outcome in ("success", "failure"):
                    event.outcome = "success" if event.score >= self._threshold else "failure"
            elif type(event) is RunStarted:
                self._finished = False
                self._declared_run_id = self._declared_run_id or event.run_id
            elif type(event) is RunFinished:
                self._finished = True
        return result

    def position(self) -> dict[str, Any] | None:
        """Return how far the logs were read, and what is known of their writers."""
        return dict(vars(self))

    def resume(self, position: dict[str, Any]) -> bool:
        """Continue where another source was, unless one of the logs is no longer what that has read."""
        readers: Iterable[LogReader] = position["_readers"].values()
        try:
            if not all(reader.is_continued() for reader in readers):
                return False
        except OSError:
            return False
        vars(self).update(position)
        self._followed = False  # what was written meanwhile arrives late: that shows nothing of a clock
        return True

    def _list_logs(self) -> list[str]:
        return [name for name in list_names(self._events) if name.endswith(".jsonl")]

    def _find_logs(self, full_scan: bool, result: ReadResult) -> None:
        """Add readers of new logs."""
        found = fingerprint(self._events)
        if found is None:
            result.missing = True
        elif full_scan or found.mtime_ns != self._listed_mtime:
            for name in sorted(self._list_logs()):
                if name not in self._readers:
                    self._readers[name] = LogReader(self._events / name)
            self._listed_mtime = found.mtime_ns

    def _handle_error(self, name: str, reader: LogReader, error: OSError, result: ReadResult) -> None:
        """Take an error of one log: the others are read all the same."""
        if not is_absent(error):
            if error.errno == errno.EISDIR and reader.offset:
                result.restarted = True  # the log was replaced by a folder
            elif error.errno == errno.EISDIR:
                self._report(name, f"{reader.path}: is a folder, not a log", result)
            else:
                result.note_unreadable(error, reader.path)
        elif reader.offset and not os.path.islink(reader.path):
            result.restarted = True  # the log was deleted
        elif reader.offset:
            result.note_unreadable(error, reader.path)  # what the link leads to is not there now
        else:
            self._report(name, f"{reader.path}: a link that leads nowhere", result)

    def _report(self, name: str, detail: str, result: ReadResult) -> None:
        if name not in self._reported:
            self._reported.add(name)
            result.problems.append(Problem("unreadable", detail))

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
