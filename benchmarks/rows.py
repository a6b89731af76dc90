"""What a benchmark yields: rows, one a measurement; and the ways in which times and memory are taken."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
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


def peak_memory() -> int:
    """Return the bytes that this process had at its peak. Linux's ru_maxrss would also know what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
