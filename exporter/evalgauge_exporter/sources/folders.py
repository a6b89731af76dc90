"""What the sources for trees of task folders share: a task's files are read again when they change, its events are
told once.

A format says which attempts there are and which files they have, and makes the whole tale of an attempt from those
files. Here it is found out what of a tale is new. A tale whose beginning has changed replaces the run: everything is
read again. So events depend on what is in the files and on nothing else.
"""

from __future__ import annotations

import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from evalgauge.events import Event, PlannedTask, RunFinished, RunStarted, TaskStarted
from evalgauge.runlog import Problem
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, is_folder, read_object

Asked = TypeVar("Asked")

QUIET = 600.0
"""Seconds: where a format does not say that a run is over, it is once no task is open and nothing happened so long."""
NEAR = 900.0
"""Seconds within which a file's time is believed to belong to what its content says."""
MOST_WATCHED = 20


class RunInfo(NamedTuple):
    """What the run's own files say of it."""

    benchmark: str | None = None
    model: str | None = None
    agent: str | None = None
    created_at: float | None = None
    total_tasks: int | None = None
    planned: tuple[PlannedTask, ...] = ()
    attempts: int = 1
    tags: Mapping[str, str] = {}


class TaskFiles(NamedTuple):
    """Where the files of one attempt are."""

    task_id: str
    folder: Path
    attempt: int = 1
    domain: str | None = None


class _Followed:
    """An attempt of which something was read."""

    __slots__ = ("count", "digest", "over", "signature")

    def __init__(self) -> None:
        self.signature = 0
        self.count = 0
        self.digest = b""
        self.over = False


class FolderSource(ABC):
    """A run that is a tree of task folders."""

    source: str
    run_files: tuple[str, ...] = ()
    """The run's own files."""
    task_files: tuple[str, ...]
    """The files of a task whose change tells of something new."""
    tree = ""
    """Where in the run's folder the tasks' folders are."""
    levels = 1
    """How many levels below that they lie."""

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """``success_threshold``: the score from which on an attempt is a success, where a format gives nothing else."""
        self.folder = folder
        self.threshold = success_threshold
        self._attempts: dict[str, _Followed] = {}
        self._listings: dict[Path, tuple[int, list[str]]] = {}
        self._thorough = False
        self._problems: list[Problem] = []
        self._complained: set[tuple[str, str]] = set()
        self._told: RunInfo | None = None
        self._seq = 0
        self._latest = 0.0
        self._over = False
        self._open: list[Path] = []
        self._asleep: str | None = None
        """The signature of a run that is over and of which nothing else is kept."""
        self._contents: dict[Path, tuple[FileFingerprint, dict[str, Any] | None]] = {}
        self.seen: dict[str, TaskFiles] = {}
        """What ``tasks`` gave at the last look: paths are slow to make."""

    # -- what a format says

    @abstractmethod
    def tasks(self) -> dict[str, TaskFiles]:
        """Every attempt that is there, by a key that stays the same."""

    @abstractmethod
    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Everything that the files of an attempt tell; None where that is nothing yet, or nothing that is whole."""

    @abstractmethod
    def info(self) -> RunInfo:
        """What is known of the run."""

    def ended(self) -> str | None:
        """``completed`` or ``aborted`` where the format says that the run is over."""
        return None

    # -- RunSource

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def watch_paths(self) -> list[Path]:
        """The folders in which tasks appear, and those of the open ones; none once the run is over."""
        if self._over:
            return []
        folders = [self.folder, *self._listings, *self._open[-MOST_WATCHED:]]
        return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]

    def fingerprint(self) -> str | None:
        """Times and sizes of the run's files and of its tasks'; None where there is no such folder."""
        if not self.folder.is_dir():
            return None
        digest = hashlib.blake2b(digest_size=16)
        for name in self.run_files:
            digest.update(_mark(f"{self.folder}/{name}"))
        self._mark_tasks(f"{self.folder}/{self.tree}" if self.tree else str(self.folder), self.levels, digest)
        return digest.hexdigest()

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """What the files tell that they did not tell at the last call."""
        reading = ReadResult()
        self._thorough, self._problems = full_scan, reading.problems
        if not self.folder.is_dir():
            reading.missing = True
        elif self._asleep is not None:
            reading.restarted = full_scan and self.fingerprint() != self._asleep
        else:
            before = self.fingerprint() if full_scan and self._over else None
            self._read(reading)
            if before is not None and self._over and not reading.events and not reading.restarted:
                self._sleep(before)
        return reading

    def _read(self, reading: ReadResult) -> None:
        found = self.seen = self._safely(self.tasks, self.seen, self.folder)
        if self._attempts.keys() - found.keys():
            reading.restarted = True
            return
        fresh: list[list[Event]] = []
        for key, files in found.items():
            told = self._look(self._attempts.setdefault(key, _Followed()), files)
            if told is None:
                reading.restarted = True
                return
            if told:
                fresh.append(told)
        self._open = [files.folder for key, files in found.items() if not self._attempts[key].over]
        fresh.sort(key=lambda events: (events[-1].ts, events[0].ts))
        self._announce(fresh, reading)
        for events in fresh:
            reading.events += (self._stamped(event) for event in events)
        self._notice_end(reading)

    def _sleep(self, signature: str) -> None:
        """Keep nothing of a run that is over but what tells whether it has changed: there may be thousands."""
        self._asleep = signature
        for kept in (self._attempts, self._listings, self._contents, self.seen, self._complained):
            kept.clear()

    # -- what formats use

    def report(self, reason: str, detail: str) -> None:
        """Note a problem; the same one is noted once."""
        if (reason, detail) not in self._complained and len(self._complained) < 10_000:
            self._complained.add((reason, detail))
            self._problems.append(Problem(reason, detail))

    def subfolders(self, folder: Path) -> list[str]:
        """The names of the folders in a folder, in order; hidden ones are left out."""
        try:
            changed = folder.stat().st_mtime_ns
            before = self._listings.get(folder)
            if before is not None and before[0] == changed and not self._thorough:
                return before[1]
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.report("unreadable", f"{folder}: {error.strerror or error}")
            return []
        self._listings[folder] = (changed, names)
        return names

    def content(self, path: Path) -> dict[str, Any] | None:
        """The JSON object in one of the run's own files, read when it changes; the last good one while it is torn."""
        now = fingerprint(path)
        if now is None:
            return None
        before = self._contents.get(path)
        if before is None or before[0] != now:
            read = read_object(path, self.report)
            before = (now, read if read is not None or before is None else before[1])
            self._contents[path] = before
        return before[1]

    def relative(self, folder: Path) -> str:
        """A folder of the run as text relative to the run's folder."""
        return folder.relative_to(self.folder).as_posix()

    # -- finding out what is new

    def _safely(self, ask: Callable[[], Asked], otherwise: Asked, where: Path) -> Asked:
        """What a format says; files of a shape that nobody thought of are a problem and no more."""
        try:
            return ask()
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError) as error:
            self.report("foreign_file", f"{where}: {type(error).__name__}: {str(error)[:200]}")
            return otherwise

    def _look(self, followed: _Followed, files: TaskFiles) -> list[Event] | None:
        """The new events of an attempt; None where what was told before is no longer so."""
        if followed.over and not self._thorough:
            return []
        now = hash(b"".join(_mark(f"{files.folder}/{name}") for name in self.task_files))
        if now == followed.signature:
            return []
        tale = self._safely(lambda: self.read_attempt(files), None, files.folder)
        if tale is None or not tale.events:
            followed.signature = now
            return []  # nothing yet, or half of a file that is written in place
        before = followed.count
        if before == 1 and isinstance(tale.events[0], TaskStarted):
            before = 0 if len(tale.events) > 1 else 1  # the time of a mere start may be a file's: it is told again
        elif before and (before > len(tale.events) or tale.digest(before) != followed.digest):
            return None
        followed.signature, followed.over = now, tale.over
        followed.count = len(tale.events)
        followed.digest = tale.digest(followed.count)
        return tale.events[before:]

    def _mark_tasks(self, folder: str, levels: int, digest: Any) -> None:
        if levels == 0:
            for name in self.task_files:
                digest.update(_mark(f"{folder}/{name}"))
            return
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry))
        except OSError:
            return
        for name in names:
            digest.update(os.fsencode(name))
            self._mark_tasks(f"{folder}/{name}", levels - 1, digest)

    def _announce(self, fresh: list[list[Event]], reading: ReadResult) -> None:
        """Say what the run is; said again where more is learned, or where it goes on after its end."""
        info = self._safely(self.info, self._told or RunInfo(), self.folder)
        if info == self._told and not (self._over and fresh):
            return
        first = min((event.ts for events in fresh for event in events), default=None)
        times = [at for at in (info.created_at, first) if at is not None]
        if self._told is not None and self._latest:
            times = [self._latest]
        if not times or (self._over and not fresh):
            return
        self._told, self._over = info, False
        reading.events.append(
            self._stamped(
                RunStarted(
                    min(times), 0, self.source, None, info.benchmark, info.model, info.agent, info.planned,
                    info.total_tasks, info.attempts, None, None, info.tags,
                )
            )
        )  # fmt: skip

    def _notice_end(self, reading: ReadResult) -> None:
        if self._over or self._told is None:
            return
        status = self._safely(self.ended, None, self.folder)
        if status is None and self._finished():
            status = "completed"
        if status is not None:
            self._over = True
            reading.events.append(self._stamped(RunFinished(self._latest, 0, self.source, status)))

    def _finished(self) -> bool:
        """Whether all tasks that are known have ended, and these are all or nothing happened for long."""
        over = sum(followed.over for followed in self._attempts.values())
        if not over or over < len(self._attempts) or self._told is None:
            return False
        total = max(self._told.total_tasks or 0, len(self._told.planned)) * self._told.attempts
        if total:
            return over >= total
        return time.time() - self._latest > QUIET

    def _stamped(self, event: Event) -> Event:
        self._seq += 1
        self._latest = max(self._latest, event.ts)
        return event._replace(seq=self._seq)


def _mark(path: str) -> bytes:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return b"-"
    return b"%d:%d:%d " % (found.st_mtime_ns, found.st_size, found.st_ino)
