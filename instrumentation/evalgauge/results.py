"""Finished and running runs as plain records, for notebooks.

>>> import evalgauge
>>> for run in evalgauge.load("results"):  # doctest: +SKIP
...     frame = pandas.DataFrame(run.attempts)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """One run with its attempts, as plain dictionaries."""

    run_id: str
    folder: Path
    """The run's folder, or its file where the format keeps a run in one."""
    summary: dict[str, Any]
    """The run in one row, with the keys of ``/api/benchmark/runs``. What is not known is None."""
    attempts: list[dict[str, Any]]
    """One row for each attempt, by task and attempt, with the columns of ``evalgauge export``."""


def load(results: str | os.PathLike[str], *, stall_after_seconds: float = 600.0) -> Iterator[LoadedRun]:
    """Read every run below a folder, whatever known format it has.

    Needs the extra ``exporter``. Each run is read when it is asked for, so a large folder costs one run at a time.
    pandas and polars take ``[run.summary for run in runs]`` and ``run.attempts`` as they are.

    Args:
        results: A results folder, one run's folder, or the file of a run.
        stall_after_seconds: A run that is silent for longer and has not ended counts as stalled.

    Yields:
        The runs, in the order of their paths.

    Raises:
        FileNotFoundError: There is nothing at ``results``.
        ModuleNotFoundError: The extra ``exporter`` is not installed.
    """
    from evalgauge_exporter.export.records import read_records

    folder = Path(results)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: there is no such folder; name the folder that holds the runs")
    for run_id, place, summary, attempts in read_records(folder, stall_after_seconds):
        yield LoadedRun(run_id, place, summary, attempts)
