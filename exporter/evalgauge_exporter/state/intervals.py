"""Sets of points in time as sorted, disjoint, non-empty intervals ``(start, end)`` in Unix seconds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Interval = tuple[float, float]
K = TypeVar("K", bound=Hashable)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of intervals that may overlap, touch or be empty."""
    joined: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[1] > interval[0]):
        if joined and start <= joined[-1][1]:
            if end > joined[-1][1]:
                joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def intersection(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """Return the intersection of two sets."""
    both: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if end > start:
            both.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return both


def difference(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """Return the part of ``one`` that is not in ``other``."""
    left: list[Interval] = []
    j = 0
    for start, end in one:
        while j < len(other) and other[j][1] <= start:
            j += 1
        k = j
        while k < len(other) and other[k][0] < end:
            if other[k][0] > start:
                left.append((start, other[k][0]))
            start = max(start, other[k][1])
            k += 1
        if end > start:
            left.append((start, end))
    return left


def total_seconds(intervals: Iterable[Interval]) -> float:
    """Return the total length in seconds."""
    return sum(end - start for start, end in intervals)


def share_seconds(users: Mapping[K, Sequence[Interval]]) -> dict[K, float]:
    """Return the seconds of each user; time with several users is divided equally among them."""
    changes: list[tuple[float, int, K]] = []
    for user, intervals in users.items():
        for start, end in intervals:
            changes += [(start, 1, user), (end, -1, user)]
    changes.sort(key=lambda change: change[0])
    seconds: dict[K, float] = dict.fromkeys(users, 0.0)
    present: dict[K, int] = {}
    entered: dict[K, float] = {}
    before = shared = 0.0
    for ts, step, user in changes:
        if present and ts > before:
            shared += (ts - before) / len(present)  # of a user that was present all the time until now
        before = ts
        count = present.get(user, 0) + step
        if not count:
            del present[user]
            seconds[user] += shared - entered.pop(user)
            continue
        if user not in present:
            entered[user] = shared
        present[user] = count
    return seconds
