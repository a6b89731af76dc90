"""The interface of a source of runs.

A source reads what one run left on disk in one format and yields events. It knows no view. ``discovery`` finds, by what
is in a folder, which source reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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

        Never raises for what is in the folder: that is reported as problems.

        Args:
            full_scan: Also check the files that are not expected to change any more.
        """

    def fingerprint(self) -> str | None:
        """Return a text that changes when any file of the run does, without reading them; None where there is none."""

    def watch_paths(self) -> list[Path]:
        """Return the folders in which files change while the run is running; empty once it has finished."""
