"""The description of a site to generate, as the exporter passes it to the generating process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from evalgauge_exporter.sources.base import RunSource


class JobRun(NamedTuple):
    """A run of a site."""

    run_id: str
    root: Path
    folder: Path
    make: Callable[[Path], RunSource]
    """Returns a source that reads the run from its beginning; picklable."""


class Job(NamedTuple):
    """A site to generate."""

    runs: list[JobRun]
    out: Path
    """The folder of the site."""
    overrides: Path | None
    """The file of price overrides."""
    home: str
    """The relative address of the exporter from the site."""
    mirrors: Sequence[tuple[str, Path, int]] = ()
    """The mirrors of buckets, as the arguments of ``Mirror``."""
