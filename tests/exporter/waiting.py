"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 180.0) -> T:
    """What ``condition`` gives once that is true; an AssertionError, or its own one, after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    failure: AssertionError | None = None
    while time.monotonic() < end:
        try:
            if result := condition():
                return result
        except AssertionError as error:
            failure = error
        time.sleep(0.005)
    raise failure or AssertionError(f"not within {timeout:g} s: {condition}")
