"""The base of the fleet's polling sources: a thread that refreshes at an interval and survives every error.

A source yields events; the result of a refresh becomes an event too. After each failure it waits longer, and at least
as long as the other side asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.state.fleet_events import FleetEvent, Refreshed, RefreshFailed

log = logging.getLogger("evalgauge.exporter")

Emit = Callable[[Sequence[FleetEvent]], None]

FIRST_BACKOFF = 60.0
"""Seconds to the first retry after a failure, where the interval is not shorter; the pause doubles with each retry."""
MIDDLE_BACKOFF = 300.0
"""The longest pause of a source with a shorter interval, so that the end of an outage is noticed soon."""
LONGEST_BACKOFF = 3600.0
"""The longest pause of any source."""
LONGEST_RETRY_AFTER = 6 * 3600.0
"""A ``Retry-After`` is obeyed up to this many seconds: a mistaken header must not end a source for good."""
STOP_SECONDS = 2.0
"""Seconds that ``stop`` waits for a refresh that hangs; its thread ends with the process."""


class ManagedSource(Protocol):
    """A source of the fleet that runs in the background."""

    def start(self) -> None:
        """Start in the background."""

    def stop(self) -> None:
        """Stop; returns soon, even while a refresh hangs."""


class PollingSource(ABC):
    """A source that refreshes every ``interval`` seconds in a thread of its own. A subclass defines what a refresh is.

    Args:
        scope: Distinguishes sources of one kind, such as the subscription.
        interval: Seconds between two refreshes.
        emit: Takes the events of each refresh, in order; called from the source's thread.
    """

    source = ""
    """The ``source`` label."""

    def __init__(self, scope: str, interval: float, emit: Emit) -> None:
        self.scope = scope
        self.interval = interval
        self._emit = emit
        self._failures = 0
        self._last_failure: str | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"evalgauge-{self.source}", daemon=True)

    @abstractmethod
    def refresh(self) -> Iterator[FleetEvent]:
        """Read once and yield the events; what was yielded before an error counts.

        Raises:
            RefreshError: A failure whose reason is known. Anything else counts as a defect and ends nothing.
        """

    def close(self) -> None:  # noqa: B027  # most sources open nothing, so they need not say it
        """Close what a refresh opened; called by the thread at its end."""

    def start(self) -> None:
        """Start in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; returns soon, even while a refresh hangs."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    @property
    def stopping(self) -> bool:
        """Whether a long refresh should end early."""
        return self._stop.is_set()

    def trigger(self) -> None:
        """Refresh soon, before the interval is over."""
        self._wake.set()

    def next_delay(self) -> float:
        """Return the seconds to the next refresh after a successful one."""
        return self.interval

    def poll(self) -> float:
        """Refresh once, emit the events and the result, and return the seconds to wait until the next. Never raises."""
        began = time.monotonic()
        events: list[FleetEvent] = []
        failure: RefreshError | None = None
        try:
            for event in self.refresh():
                events.append(event)
                if self.stopping:
                    return 0.0
        except RefreshError as error:
            failure = error
        except Exception as error:  # a defect of ours, or an unforeseen answer: the source stays alive
            if self._last_failure != f"defect {error!r}":
                log.exception("%s %s: refreshing failed", self.source, self.scope)
            self._last_failure = f"defect {error!r}"
            failure = RefreshError("defect", f"{type(error).__name__}: {error}")
        wait = self._conclude(events, failure, time.monotonic() - began)
        try:
            self._emit(events)
        except Exception:
            log.exception("%s %s: its events could not be processed", self.source, self.scope)
        return wait

    def _conclude(self, events: list[FleetEvent], failure: RefreshError | None, seconds: float) -> float:
        if failure is None:
            if self._last_failure is not None:
                log.info("%s %s: answers again", self.source, self.scope)
            self._failures, self._last_failure = 0, None
            events.append(Refreshed(time.time(), self.source, self.scope, seconds))
            return self.next_delay()
        self._failures = 0 if failure.partial else self._failures + 1
        if failure.reason != "defect" and failure.detail != self._last_failure:
            log.warning("%s %s: %s", self.source, self.scope, failure.detail)
            self._last_failure = failure.detail
        events.append(RefreshFailed(time.time(), self.source, self.scope, seconds, failure.reason, failure.detail))
        if failure.partial:  # what could be read has to be read again before it is no longer current
            return max(self.next_delay(), min(failure.retry_after or 0.0, LONGEST_RETRY_AFTER))
        first = min(max(self.interval, 1.0), FIRST_BACKOFF)
        longest = min(max(self.interval, MIDDLE_BACKOFF), LONGEST_BACKOFF)
        backoff = min(first * 2.0 ** min(self._failures - 1, 16), longest)
        return max(backoff, min(failure.retry_after or 0.0, LONGEST_RETRY_AFTER))

    def _loop(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                wait = self.poll()
                self._wait(wait)
        finally:
            self.close()

    def _wait(self, seconds: float) -> None:
        """Wait; a trigger ends it early, but not while the source is failing: what the other side asked for holds."""
        if self._failures:
            self._stop.wait(seconds)
        else:
            self._wake.wait(seconds)
