"""What a benchmark yields: rows, one a measurement; and the two ways in which times are taken."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """A measurement and its reference."""

    what: str
    """What was measured, with its size, e.g. ``"cold start, 200,000 events"``."""
    measured: str
    """The figure with its unit, e.g. ``"0.92 s"``."""
    beside: str
    """What it is compared with and that one's figure, e.g. ``"orjson.loads: 0.31 s"``; ``""`` where nothing is."""
    ratio: float | None
    """measured / beside; ``None`` where there is nothing to divide."""
    aim: str = ""
    """What was aimed at, e.g. ``"≤ 3"``."""


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the shortest of ``times`` runs of ``work`` in seconds: the one that was disturbed least."""
    shortest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
