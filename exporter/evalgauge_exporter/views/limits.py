"""Limits of what is exposed: which runs, and how much of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from evalgauge_exporter.state.run import RunState

MAX_ACTIONS = 40
"""Action types of a run; they are free text of agents, so later ones are summed as ``other``."""


class Limits(NamedTuple):
    """Upper limits of what is exposed."""

    runs: int = 50
    """Runs that are not running."""
    running: int = 2000
    """Running runs."""
    workers: int = 500
    """Workers of a run."""
    domains: int = 100
    """Domains of a run; later ones are summed as ``other``."""
    models: int = 20
    """Models that a run called; later ones are summed as ``other``."""
    tags: tuple[str, ...] = ()
    """Names of the runs' tags that are exposed."""


def exposed_runs(
    runs: Iterable[RunState], now: float, stall_after: float, linger: float | None, limits: Limits
) -> tuple[list[RunState], int]:
    """Choose the runs that are exposed: of the running ones those that started first, of the others the newest.

    A run that is exposed stays so until it has finished, however many start after it.

    Args:
        runs: All runs.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which an unfinished run is stalled.
        linger: Seconds after its last event for which a run that is not running stays exposed; None for ever.
        limits: The most runs of both kinds.

    Returns:
        The exposed runs in the order in which they started, and the number of running ones that are left out.
    """

    def by_start(run: RunState) -> tuple[float, str]:
        return run.started_at or 0.0, run.run_id

    running: list[RunState] = []
    finished: list[RunState] = []
    for run in runs:
        if run.status(now, stall_after) == "running":
            running.append(run)
        elif linger is None or now - run.last_event_at <= linger:
            finished.append(run)
    finished.sort(key=lambda run: run.last_event_at, reverse=True)
    running.sort(key=by_start)
    shown = sorted(running[: limits.running] + finished[: limits.runs], key=by_start)
    return shown, max(0, len(running) - limits.running)
