"""The base of sources that read trees of task folders.

A format lists the attempts and their files, and builds all events of an attempt from these files. The base finds out
which of them are new: an attempt is read again when its files change. An attempt whose first events have changed
restarts the run: everything is read again. So events depend on the content of the files and on nothing else.
"""

from __future__ import annotations

import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from evalgauge.events import EndStatus, Event, PlannedTask, RunFinished, RunStarted, TaskStarted
from evalgauge.runlog import Problem
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.parsing import (
    FileFingerprint,
    fingerprint,
    is_directory,
    list_folders,
    read_object,
    stat_path,
)

Result = TypeVar("Result")

IDLE_AFTER = 600.0
"""Seconds without an event after which a run without open tasks counts as finished, if its format states no end."""
MTIME_TOLERANCE = 900.0
"""Seconds within which a file's time is taken as the time of what its content states."""
MAX_WATCHED = 20
"""Folders of open tasks that are watched."""
_MAX_REPORTED = 10_000


class RunInfo(NamedTuple):
    """What the run's own files state about it."""

    benchmark: str | None = None
    model: str | None = None
    agent: str | None = None
    created_at: float | None = None
    """Unix seconds."""
    total_tasks: int | None = None
    planned: tuple[PlannedTask, ...] = ()
    attempts: int = 1
    tags: Mapping[str, str] = {}


class TaskFiles(NamedTuple):
    """The folder of one attempt, and what is known of the attempt from the names of folders."""

    task_id: str
    folder: Path
    attempt: int = 1
    domain: str | None = None


class _AttemptProgress:
    """What was read of an attempt."""

    __slots__ = ("count", "digest", "files", "finished", "first", "times")

    def __init__(self) -> None:
        self.files: object = None
        """The fingerprint of its files."""
        self.count = 0
        """Events that were returned, and their digest."""
        self.digest = b""
        self.finished = False
        self.first: Event | None = None
        """The first event, with the number that it was sent under."""
        self.times: list[float] = []
        """The times of the events of an unfinished attempt that are those of a file, which changes with each write."""

    def start_seq(self) -> int:
        """Return the number of the first event, 0 before it was sent."""
        return 0 if self.first is None else self.first.seq


class FolderSource(ABC):
    """Reads a run that is a tree of task folders."""

    source: str
    run_files: tuple[str, ...] = ()
    """Names of the run's own files."""
    task_files: tuple[str, ...]
    """Names of the files of a task that change when something happens in it."""
    tree = ""
    """The folder below which the tasks' folders lie, relative to the run's."""
    levels = 1
    """How many levels below ``tree`` the tasks' folders lie."""

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            folder: The run's folder.
            success_threshold: The least score of a success, where a format gives scores only.
        """
        self.folder = folder
        self.threshold = success_threshold
        self.known_tasks: dict[str, TaskFiles] = {}
        """What ``list_tasks`` last returned: paths are slow to make."""
        self._attempts: dict[str, _AttemptProgress] = {}
        self._listings: dict[Path, tuple[int, list[str]]] = {}
        self._full_scan = False
        self._result = ReadResult()
        self._reported: set[tuple[str, str]] = set()
        self._announced: RunInfo | None = None
        """What the last start of the run stated."""
        self._seq = 0
        self._latest = 0.0
        self._finished = False
        self._stated_times: tuple[float, float] | None = None
        """The earliest and the latest time that attempts state."""
        self._mtimes_valid: bool | None = None
        """Whether the times of files are near the start that the run states; None while that was not judged."""
        self._open: list[Path] = []
        self._released: str | None = None
        """The fingerprint of a finished run of which nothing else is kept in memory."""
        self._contents: dict[Path, tuple[FileFingerprint, dict[str, Any] | None]] = {}

    # -- what a format implements

    @abstractmethod
    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return every attempt that is there, by a key that stays the same."""

    @abstractmethod
    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return all events of an attempt; None where its files hold nothing yet, or nothing that is whole."""

    @abstractmethod
    def read_info(self) -> RunInfo:
        """Return what is known of the run."""

    def final_status(self) -> EndStatus | None:
        """Return ``completed`` or ``aborted`` where the format states that the run has finished, else None."""
        return None

    def attempt_fingerprint(self, files: TaskFiles) -> object:
        """Return what changes when something happens in an attempt: the times and sizes of its files."""
        return hash(b"".join(_stat_bytes(f"{files.folder}/{name}") for name in self.task_files))

    # -- RunSource

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def watch_paths(self) -> list[Path]:
        """Return the folders in which tasks appear, and those of open tasks; none once the run has finished."""
        if self._finished:
            return []
        return list(dict.fromkeys([self.folder, *self._listings, *self._open[-MAX_WATCHED:]]))

    def fingerprint(self) -> str | None:
        """Return a digest of the times and sizes of the run's files and its tasks'; None without such a folder."""
        if not is_directory(self.folder):
            return None
        digest = hashlib.blake2b(digest_size=16)
        for name in self.run_files:
            digest.update(_stat_bytes(f"{self.folder}/{name}"))
        self._hash_tasks(f"{self.folder}/{self.tree}" if self.tree else str(self.folder), self.levels, digest)
        return digest.hexdigest()

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened in the run since the last call."""
        self._full_scan, self._result = full_scan, ReadResult()
        result = self._result
        try:
            if not is_directory(self.folder):
                result.missing = True
            elif self._released is not None:
                result.restarted = full_scan and self.fingerprint() != self._released
            else:
                before = self.fingerprint() if full_scan and self._finished else None
                self._read_tasks(result)
                if before is not None and self._finished and not result.events and not result.restarted:
                    self._release(before)
        except OSError as error:
            result.note_unreadable(error, self.folder)
        return result

    def _read_tasks(self, result: ReadResult) -> None:
        found = self.known_tasks = self._call_guarded(self.list_tasks, self.known_tasks, self.folder)
        if self._attempts.keys() - found.keys():
            result.restarted = True
            return
        changed: list[tuple[_AttemptProgress, AttemptBuilder]] = []
        for key, files in found.items():
            progress = self._attempts.setdefault(key, _AttemptProgress())
            try:
                attempt = self._read_if_changed(progress, files)
            except OSError as error:
                result.note_unreadable(error, files.folder)
                continue
            if attempt is not None:
                changed.append((progress, attempt))
        self._judge_file_times(changed)
        fresh: list[list[Event]] = []
        for progress, attempt in changed:
            events = _take_new_events(progress, attempt)
            if events is None:
                result.restarted = True
                return
            if events:
                fresh.append(events)
        self._open = [files.folder for key, files in found.items() if not self._attempts[key].finished]
        fresh.sort(key=lambda events: (events[-1].ts, events[0].ts))
        self._add_run_start(fresh, result)
        for events in fresh:
            result.events += (self._number(event) for event in events)
        self._add_run_finish(result)

    def _release(self, fingerprint: str) -> None:
        """Keep nothing of a finished run in memory but what shows whether it has changed: there may be thousands."""
        self._released = fingerprint
        for memory in (self._attempts, self._listings, self._contents, self.known_tasks, self._reported):
            memory.clear()

    # -- what formats use

    def report(self, reason: str, detail: str) -> None:
        """Report a problem; the same one is reported once.

        Args:
            reason: One word, the ``reason`` label under which it is counted.
            detail: A sentence for people, with the path.
        """
        if (reason, detail) not in self._reported and len(self._reported) < _MAX_REPORTED:
            self._reported.add((reason, detail))
            self._result.problems.append(Problem(reason, detail))

    def list_subfolders(self, folder: Path) -> list[str]:
        """Return the names of the folders in a folder, sorted and without hidden ones.

        While it can't be listed, these are the names of the last time.
        """
        before = self._listings.get(folder)
        try:
            now = fingerprint(folder)
            if now is None:
                return []
            if before is not None and before[0] == now.mtime_ns and not self._full_scan:
                return before[1]
            names = list_folders(folder)
        except OSError as error:
            self._result.note_unreadable(error, folder)
            return [] if before is None else before[1]
        self._listings[folder] = (now.mtime_ns, names)
        return names

    def read_cached(self, path: Path) -> dict[str, Any] | None:
        """Return the JSON object in one of the run's own files; the last one while it is not whole or not readable."""
        before = self._contents.get(path)
        try:
            now = fingerprint(path)
            if now is None:
                return None
            content = read_object(path, self.report) if before is None or before[0] != now else None
        except OSError as error:
            self._result.note_unreadable(error, path)
            return None if before is None else before[1]
        if before is None or before[0] != now:
            before = (now, content if content is not None or before is None else before[1])
            self._contents[path] = before
        return before[1]

    def relative_path(self, folder: Path) -> str:
        """Return the path of a folder of the run, relative to the run's folder."""
        return folder.relative_to(self.folder).as_posix()

    # -- finding out what is new

    def _call_guarded(self, ask: Callable[[], Result], default: Result, where: Path) -> Result:
        """Call a format's method; an exception over files of an unforeseen shape is reported, and gives ``default``.

        Raises:
            OSError: A file can't be read for the moment.
        """
        try:
            return ask()
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            self.report("foreign_file", f"{where}: {type(error).__name__}: {str(error)[:200]}")
            return default

    def _read_if_changed(self, progress: _AttemptProgress, files: TaskFiles) -> AttemptBuilder | None:
        """Return all events of an attempt whose files have changed; None where they have not, or hold nothing whole."""
        if progress.finished and not self._full_scan:
            return None
        now = self.attempt_fingerprint(files)
        if now == progress.files:
            return None
        attempt = self._call_guarded(lambda: self.read_attempt(files), None, files.folder)
        progress.files = now
        if attempt is None or not attempt.events:
            return None  # nothing yet, or half of a file that is written in place
        attempt.keep_times(progress.times)
        return attempt

    def _judge_file_times(self, changed: list[tuple[_AttemptProgress, AttemptBuilder]]) -> None:
        """Replace the times of files that do not agree with what is stated: copies have the time of the copy.

        The time of a file is believed where it lies within what other attempts state, or, without such, where the
        first of all is near the start that the run states; and where the attempt began while the run was read, or is
        running and the files of the others are not newer than what is stated. An attempt without a time that can be
        believed stands at the start of the run.
        """
        copied = 0  # by how many the attempts whose files are far newer than what they state outnumber the others
        for _, attempt in changed:
            if attempt.guess is None:
                if attempt.is_finished and attempt.file_time is not None:
                    copied += 1 if attempt.file_time - attempt.latest > MTIME_TOLERANCE else -1
                low, high = self._stated_times or (attempt.latest, attempt.latest)
                self._stated_times = min(low, attempt.events[0].ts), max(high, attempt.latest)
        guessed = [attempt for progress, attempt in changed if attempt.guess is not None and not progress.times]
        if not guessed:
            return
        created = self._call_guarded(self.read_info, self._announced or RunInfo(), self.folder).created_at
        begin = created if self._stated_times is None else self._stated_times[0]
        if begin is None:
            return  # nothing better is known
        end = begin if self._stated_times is None else self._stated_times[1]
        first = min(attempt.events[0].ts for attempt in guessed)
        if self._mtimes_valid is None:
            self._mtimes_valid = abs(first - begin) <= MTIME_TOLERANCE
        for attempt in guessed:
            at = attempt.events[0].ts
            inside = begin - MTIME_TOLERANCE <= at <= end + MTIME_TOLERANCE
            valid = inside if self._stated_times is not None else self._mtimes_valid
            believed = copied <= 0 if self._stated_times is not None else self._mtimes_valid
            watched = self._announced is not None or (believed and not attempt.is_finished)
            is_now = watched and time.time() - at <= MTIME_TOLERANCE
            if not valid and not is_now:
                attempt.move(begin)

    def _hash_tasks(self, folder: str, levels: int, digest: Any) -> None:
        if levels == 0:
            for name in self.task_files:
                digest.update(_stat_bytes(f"{folder}/{name}"))
            return
        for name in list_folders(folder):
            digest.update(os.fsencode(name))
            self._hash_tasks(f"{folder}/{name}", levels - 1, digest)

    def _add_run_start(self, fresh: list[list[Event]], result: ReadResult) -> None:
        """Add the start of the run: at first, when more is known of it, and when it continues after its end."""
        known = self._announced or RunInfo()
        try:
            info = self._call_guarded(self.read_info, known, self.folder)
        except OSError as error:
            result.note_unreadable(error, self.folder)
            info = known
        if info == self._announced and not (self._finished and fresh):
            return
        first = min((event.ts for events in fresh for event in events), default=None)
        times = [at for at in (info.created_at, first) if at is not None]
        if self._announced is not None and self._latest:
            times = [self._latest]
        if not times or (self._finished and not fresh):
            return
        self._announced, self._finished = info, False
        result.events.append(
            self._number(
                RunStarted(
                    ts=min(times),
                    seq=0,
                    writer=self.source,
                    benchmark=info.benchmark,
                    model=info.model,
                    agent=info.agent,
                    tasks=info.planned,
                    total_tasks=info.total_tasks,
                    attempts=info.attempts,
                    tags=dict(info.tags),
                )
            )
        )

    def _add_run_finish(self, result: ReadResult) -> None:
        if self._finished or self._announced is None:
            return
        try:
            status = self._call_guarded(self.final_status, None, self.folder)
        except OSError as error:
            result.note_unreadable(error, self.folder)
            return
        if status is None and self._all_finished(self._announced):
            status = "completed"
        if status is not None:
            self._finished = True
            result.events.append(self._number(RunFinished(ts=self._latest, seq=0, writer=self.source, status=status)))

    def _all_finished(self, info: RunInfo) -> bool:
        """Return whether all known tasks have finished, and these are all, or nothing happened for long."""
        finished = sum(progress.finished for progress in self._attempts.values())
        if not finished or finished < len(self._attempts):
            return False
        total = max(info.total_tasks or 0, len(info.planned)) * info.attempts
        if total:
            return finished >= total
        return time.time() - self._latest > IDLE_AFTER

    def _number(self, event: Event) -> Event:
        if event.seq == 0:
            self._seq += 1
            event.seq = self._seq
        self._latest = max(self._latest, event.ts)
        return event


def _take_new_events(progress: _AttemptProgress, attempt: AttemptBuilder) -> list[Event] | None:
    """Return the events of an attempt that were not returned yet; None where earlier ones have changed."""
    before = progress.count
    if before == 1 and isinstance(attempt.events[0], TaskStarted):
        # the time of a mere start may be a file's: the same start is sent again
        before = 0 if len(attempt.events) > 1 else 1
    elif before and (before > len(attempt.events) or attempt.digest(before) != progress.digest):
        return None
    progress.finished = attempt.is_finished
    progress.count = len(attempt.events)
    progress.digest = attempt.digest(progress.count)
    attempt.events[0].seq = progress.start_seq()
    progress.first = attempt.events[0]
    progress.times = (
        [event.ts for event in attempt.events] if attempt.guess is not None and not attempt.is_finished else []
    )
    return attempt.events[before:]


def _stat_bytes(path: str) -> bytes:
    """Return bytes that change when a file does."""
    found = stat_path(path)
    return b"-" if found is None else b"%d:%d:%d " % (found.st_mtime_ns, found.st_size, found.st_ino)
