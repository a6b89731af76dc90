"""Estimates of how far the clocks of a run's writers are off.

Each writer of a run log stamps its events by its own clock: a guest that takes its hardware clock for local time is
hours off, a machine without NTP minutes. What is certain is little, and only that is corrected:

- nothing is written after now, nor after the file was last modified,
- no writer writes before the run was started by the process that planned its tasks; where most would have written in
  the future otherwise, that process's clock is ahead,
- a log that is followed while it grows is written when its lines arrive.

A clock that contradicts none of this is taken as right. The smallest correction that resolves a contradiction is made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

from evalgauge.events import Event, RunStarted

TOLERANCE = 5.0
"""Seconds by which clocks may differ before anything is corrected."""
MOST_BY_FILE = 25 * 3600.0
"""Seconds: by more than a day of wrong time zones, it is the file's time that is wrong."""
LIVE_LAG = 60.0
"""Seconds between an event and its arrival from which on a live writer's clock counts as behind."""
LIVE_ARRIVALS = 3
"""Arrivals in a row that must agree on that."""
LIVE_SECONDS = 60.0
"""Seconds that those arrivals must span, so that a backlog that is sent at once is not taken for a clock."""

_get_time = attrgetter("ts")
_observed: dict[Path, float] = {}
"""Seconds that a followed log's clock is behind, by log. They outlive the reader: the run is read again with them."""


class WriterClock:
    """What is known of the clock of one writer.

    Args:
        log: The writer's log.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.offset = _observed.get(log, 0.0)
        """Seconds to add to the writer's times."""
        self._first: float | None = None
        self._last: float | None = None
        self._read_at: float | None = None
        """When its last event was read."""
        self._plans = False
        """Whether it planned the run's tasks."""
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=LIVE_ARRIVALS)

    def see(self, events: Sequence[Event]) -> None:
        """Take note of one event or more, with the times that the writer gave them."""
        first = min(map(_get_time, events))
        self._first = first if self._first is None else min(self._first, first)
        self._last = events[-1].ts  # not the latest: a single event from the future is no clock that is ahead
        if not self._plans:
            self._plans = any(type(event) is RunStarted and (event.tasks or event.total_tasks) for event in events)

    def bound_by_file(self, now: float, modified_at: float) -> None:
        """Correct a clock that is ahead of the present or of the time at which its log was last modified."""
        self._read_at = now
        if self._last is None or self._last - now > MOST_BY_FILE:
            return  # no clock is so far off: events like this one are dated when they are folded
        latest = min(now, modified_at) if self._last - modified_at <= MOST_BY_FILE else now
        if self._last + self.offset > latest + TOLERANCE:
            self.offset = latest - self._last

    def see_arrival(self, received_at: float) -> bool:
        """Take note that the newest event arrived just now; return whether that shows a clock that is behind."""
        if self._last is None:
            return False
        self._arrivals.append((received_at, received_at - self._last - self.offset))
        lags = [lag for _, lag in self._arrivals]
        span = received_at - self._arrivals[0][0]
        agree = len(lags) == LIVE_ARRIVALS and min(lags) > LIVE_LAG and max(lags) - min(lags) < LIVE_LAG / 2
        if not agree or span < LIVE_SECONDS:
            return False
        if len(_observed) > 10_000:
            _observed.clear()
        _observed[self.log] = self.offset + min(lags)
        return True

    @property
    def planned_at(self) -> float | None:
        """When this writer started the run, with its tasks; corrected.

        That is its earliest time: where an event after the start is dated before it, the clock was set right meanwhile.
        """
        return None if self._first is None or not self._plans else self._first + self.offset

    def lag_behind(self, started_at: float) -> float:
        """Return by how many seconds the writer wrote before the run was started; 0 where it did not."""
        if self._first is None or self._plans:
            return 0.0
        lag = started_at - self._first - self.offset
        return lag if lag > TOLERANCE else 0.0

    def can_move(self, seconds: float) -> bool:
        """Return whether the writer's events can have been written so many seconds later: not in the future.

        When the log was last modified says nothing of that: the writer's own machine may have stamped it.
        """
        if self._last is None or self._read_at is None:
            return True
        return self._last + self.offset + seconds <= self._read_at + TOLERANCE


def correct_clocks(clocks: Iterable[WriterClock], new: dict[Path, list[Event]]) -> None:
    """Set the offsets of writers whose clocks contradict each other, and correct the times of their new events.

    Args:
        clocks: The clocks of all writers of a run.
        new: New events by log, with the times that their writers gave them. They are changed.
    """
    known = list(clocks)
    planners = [clock for clock in known if clock.planned_at is not None]
    if planners:
        owner = min(planners, key=lambda clock: clock.planned_at or 0.0)
        _bound_start(owner, known)
        for clock in known:
            lag = clock.lag_behind(owner.planned_at or 0.0)
            if clock.can_move(lag):
                clock.offset += lag
    for clock in known:
        if clock.offset:
            for event in new.get(clock.log, ()):
                event.ts += clock.offset


def _bound_start(owner: WriterClock, clocks: Iterable[WriterClock]) -> None:
    """Correct the clock of the process that started the run where it is ahead: most others wrote before that, and can't
    have written so much later.
    """
    others = [clock for clock in clocks if clock.planned_at is None]
    lags = [(clock.lag_behind(owner.planned_at or 0.0), clock) for clock in others]
    # no clock is days ahead: a time like that before the start is one of a clock that had not been set yet
    too_early = [(lag, clock) for lag, clock in lags if lag <= MOST_BY_FILE and not clock.can_move(lag)]
    if 2 * len(too_early) <= len(others):
        return
    moved = 0.0
    for lag, clock in sorted(too_early, key=lambda item: item[0]):
        if lag > moved and not clock.can_move(lag - moved):
            moved = lag
    owner.offset -= moved
