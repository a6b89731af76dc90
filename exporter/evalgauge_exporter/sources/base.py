"""The interface of a source of runs.

A source reads what one run left on disk in one format and yields events. It knows no view. ``discovery`` finds, by what
is in a folder, which source reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from evalgauge.events import Event
from evalgauge.runlog import Problem


@dataclass
class ReadResult:
    """What one call of ``RunSource.read`` found."""

    events: list[Event] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    has_more: bool = False
    """There is more to read now: a large log is read in parts, so that other runs get their turn."""
    restarted: bool = False
    """What was read before is no longer valid (a file was cut or rewritten): read the run from its beginning."""
    missing: bool = False
    """The run's folder no longer exists."""
    unreadable: str | None = None
    """Why something of the run can't be read for the moment; what was read of it before is still valid."""

    def note_unreadable(self, error: OSError, path: object = None) -> None:
        """Note that something can't be read for the moment; the first such thing of a call is kept."""
        if self.unreadable is None:
            self.unreadable = f"{error.filename or path}: {error.strerror or error}"


class RunSource(Protocol):
    """Reads one run. Called by one thread."""

    source: str
    """The value of the ``source`` label: the format."""
    folder: Path
    """The run's folder; paths of screenshots are relative to it."""

    @property
    def declared_run_id(self) -> str | None:
        """The run id that the run itself states, None where the format has none."""

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened since the last call.

        Never raises for what is in the folder: that is reported as problems. What can't be read for the moment (no
        permission, an I/O error, no free descriptor) is not taken as missing: it makes the result ``unreadable``.

        Args:
            full_scan: Also check the files that are not expected to change any more.
        """

    def fingerprint(self) -> str | None:
        """Return a text that changes when any file of the run does, without reading them; None where there is none.

        Raises:
            OSError: A file can't be looked at for the moment.
        """

    def watch_paths(self) -> list[Path]:
        """Return the folders in which files change while the run is running; empty once it has finished."""


@runtime_checkable
class ResumableSource(RunSource, Protocol):
    """A source that can continue where another one of the same run was, perhaps in another process."""

    def position(self) -> object:
        """Return what ``resume`` needs, to be pickled before the next ``read``; None where it can't be resumed.

        It consists of plain values and of this project's records.
        """

    def resume(self, position: Any) -> bool:
        """Continue where the source was that returned ``position``. Called before anything was read.

        Returns:
            False where the run's files are not those that were read, with or without more at their ends: nothing has
            changed in this source then.
        """


Matcher = Callable[[Path, frozenset[str]], list[Path]]
"""Takes a folder and the names in it, returns the places of the runs that it holds."""


def match_single_run(matches: Callable[[Path, frozenset[str]], bool]) -> Matcher:
    """Return the matcher of a format whose folders hold one run each."""
    return lambda folder, names: [folder] if matches(folder, names) else []


class Format(NamedTuple):
    """A format of run folders: what finds its runs, and what reads one."""

    discover_runs: Matcher
    source: Callable[..., RunSource]
    """Makes the source of a run, called with the run's place."""
    scored: bool = True
    """Whether ``source`` takes ``success_threshold``."""
    holds_logs: bool = False
    """Whether folders in a run may hold run logs; else these are runs, and the folder is none."""


class RunIdentity(NamedTuple):
    """What tells that several files hold one run."""

    name: str
    """The same in copies of a file, and in the file of a later try that has the earlier one's results too."""
    created: float
    """Unix seconds; of several files the newest counts."""


class FileFormat(NamedTuple):
    """A format whose runs are one file each."""

    suffix: str
    """How the names of such files end."""
    matches: Callable[[Path], bool]
    """Returns whether a file with that suffix is a run; it sees every one, so it reads the beginning at most."""
    source: Callable[..., RunSource]
    """Makes the source of a run, called with the file."""
    scored: bool = True
    """Whether ``source`` takes ``success_threshold``."""
    identify: Callable[[Path], RunIdentity | None] | None = None
    """Returns what shows that another file holds the same run; None for formats whose files are never copied."""


class WrappedSource:
    """A source that reads by another one; a subclass changes what that returns.

    Args:
        source: The source that reads.
    """

    def __init__(self, source: RunSource) -> None:
        self._inner = source
        self.source = source.source
        self.folder = source.folder

    @property
    def declared_run_id(self) -> str | None:
        """The run id that the run itself states."""
        return self._inner.declared_run_id

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the run's files."""
        return self._inner.fingerprint()

    def watch_paths(self) -> list[Path]:
        """Return the folders in which files change while the run is running."""
        return self._inner.watch_paths()
