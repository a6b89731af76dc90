"""Which runs, and how much of them, are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from evalgauge_exporter.state.run import RunState


class Limits(NamedTuple):
    """The most of each kind that is exposed."""

    runs: int = 50
    """Runs that are over; those that go on are always exposed."""
    workers: int = 500
    """Workers of a run."""
    domains: int = 100
    """Domains of a run; the smallest others are summed as ``other``."""
    models: int = 20
    """Models that a run called; later ones are summed as ``other``."""


def exposed_runs(
    runs: Iterable[RunState], now: float, stall_after: float, linger: float | None, most: int
) -> list[RunState]:
    """The runs that go on and the newest ``most`` others; of those none that has been over for ``linger`` seconds.

    Linger counts from a run's last event; None keeps runs for ever. In the order in which the runs began.
    """
    going: list[RunState] = []
    over: list[RunState] = []
    for run in runs:
        if run.status(now, stall_after) == "running":
            going.append(run)
        elif linger is None or now - run.last_event_at <= linger:
            over.append(run)
    over.sort(key=lambda run: run.last_event_at, reverse=True)
    return sorted(going + over[:most], key=lambda run: (run.started_at or 0.0, run.run_id))
