"""Growing pauses between tries of something that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE = 1.0
"""Seconds."""
LONGEST_PAUSE = 60.0
"""Seconds."""


class Backoff:
    """Counts the failures of one thing, and when it may be tried again.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next = 0.0

    def fail(self) -> None:
        """Count a failure: the pause doubles with each, up to ``LONGEST_PAUSE``."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._next = self._clock() + pause

    def fail_for_long(self) -> None:
        """Count a failure that is followed by the longest pause."""
        self._failures += 1
        self._next = self._clock() + LONGEST_PAUSE

    def reset(self) -> None:
        """Forget the failures, after a success."""
        self._failures, self._next = 0, 0.0

    def is_failing(self) -> bool:
        """Return whether the last try failed."""
        return self._failures > 0

    def is_due(self) -> bool:
        """Return whether it may be tried now."""
        return self._clock() >= self._next


def is_defect(error: BaseException) -> bool:
    """Return whether an exception is a failure that ends where it is caught, and no request to end the process.

    A panic of a native extension is a ``BaseException`` too.
    """
    return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
