"""Histograms of durations, as Prometheus exposes them."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Iterator


@dataclasses.dataclass
class Histogram:
    """Counts of durations by bucket, and their sum in whole microseconds, which no order of addition changes."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds, rising; beyond the last one is one more bucket."""
    counts: list[int] = dataclasses.field(default_factory=list)
    micros: int = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float, change: int = 1) -> None:
        """Count one duration in seconds, or take it out again with ``change=-1``."""
        self.counts[bisect_left(self.bounds, seconds)] += change
        self.micros += change * round(seconds * 1e6)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Yield each upper bound in seconds as a label value, and the number of durations up to it."""
        total = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram with the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.micros += other.micros
