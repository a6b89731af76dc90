"""Sources: each file here knows one thing that evalgauge reads, and makes events of it. No source knows a view.

A source of runs is made for one run's folder and has the shape of ``RunSource``; ``discovery`` finds which one fits a
folder by what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evalgauge.events import Event
from evalgauge.runlog import Problem


@dataclass
class ReadResult:
    """What one look at a run gave."""

    events: list[Event] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    has_more: bool = False
    """There is more to read at once: a large log comes in parts, so that others get their turn."""
    restarted: bool = False
    """What was read before no longer stands (a file was cut or written anew): read the run from its beginning."""
    missing: bool = False
    """The run's folder is there no more."""


class RunSource(Protocol):
    """Reads one run. Called by one thread."""

    source: str
    """The value of the ``source`` label: the format."""
    folder: Path
    """The run's folder."""

    @property
    def declared_run_id(self) -> str | None:
        """The run id that the run itself states, None where the format has none."""

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """What happened since the last call. ``full_scan``: also look at what is not expected to change any more.

        Never raises for what is in the folder: that becomes problems.
        """

    def fingerprint(self) -> str | None:
        """What changes when any file of the run does, cheaply; None where that can't be said."""

    def watch_paths(self) -> list[Path]:
        """The folders in which something will change when the run goes on; empty once it is over."""
