"""The memory of this process, and what a run takes of it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from evalgauge_exporter.state.run import RunState

_STATM = "/proc/self/statm"
_RUN_BYTES = 20_000
_ATTEMPT_BYTES = 1_500
"""Bytes of an attempt with its texts, roughly."""


def get_resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes; None where the system does not state it (Linux does)."""
    try:
        with open(_STATM, "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def estimate_run_bytes(run: RunState) -> int:
    """Return roughly how many bytes a run's state takes."""
    return _RUN_BYTES + _ATTEMPT_BYTES * run.loaded_attempts


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the garbage collector while much is read: events and states live long and have hardly any cycles.

    ``collect_young`` is to be called now and then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def collect_young() -> None:
    """Collect the garbage among what was made since the last collection."""
    gc.collect(0)


def exempt_from_collection() -> None:
    """Leave every object that is there out of the collections of garbage to come, until :func:`release_memory`.

    A full collection looks at all objects while no other thread runs: 0.1 s for a running run of 10,000 tasks, many
    times a minute while events come in.
    """
    gc.collect(1)
    gc.freeze()


def keep_collections_short(is_stopped: Callable[[float], bool]) -> None:
    """Exempt what is there from collection each minute, and look through everything once an hour.

    Args:
        is_stopped: Waits for so many seconds, or until the process is to end; returns whether it is.
    """
    for minute in count(1):
        if minute % 60 == 0:
            release_memory()
        exempt_from_collection()
        if is_stopped(60.0):
            return


def release_memory() -> None:
    """Collect garbage and give free memory back to the system, where the C library can."""
    gc.unfreeze()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
