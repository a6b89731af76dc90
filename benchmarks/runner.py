"""Running a benchmark in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

import benchmarks
from benchmarks.report import Measured
from benchmarks.rows import Row

LIMIT_SECONDS = 300.0
"""How long one benchmark may take."""


def available() -> list[str]:
    """Return the names of the benchmarks: the modules of this package with a function ``rows``."""
    names = sorted(info.name for info in pkgutil.iter_modules(benchmarks.__path__) if info.name != "__main__")
    return [name for name in names if hasattr(importlib.import_module(f"benchmarks.{name}"), "rows")]


def run(module: str, seen: Callable[[Row], None], limit: float = LIMIT_SECONDS) -> Measured:
    """Run one benchmark in a new process.

    Args:
        module: The benchmark's module.
        seen: Called with each row as soon as it is measured.
        limit: Seconds after which the benchmark is stopped.

    Returns:
        Its rows, how long it took, and why it did not finish, where it did not.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(module, sender))
    start, rows, failure = time.monotonic(), [], "its process ended without a word"
    process.start()
    assert process.pid is not None
    sender.close()
    try:
        while receiver.poll(max(0.0, start + limit - time.monotonic())):
            received = receiver.recv()
            if not isinstance(received, Row):
                failure = received
                break
            rows.append(received)
            seen(received)
        else:
            failure = f"stopped after {limit:.0f} s"
    except EOFError:
        pass
    finally:
        receiver.close()
        if failure:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        process.join()
    return Measured(rows, time.monotonic() - start, failure)


def _send_rows(module: str, sender: Connection) -> None:
    """Run a benchmark in this process: send its rows, then "" or what went wrong."""
    os.setsid()  # what it starts is killed with it
    try:
        for row in importlib.import_module(module).rows():
            sender.send(row)
    except Exception as error:
        traceback.print_exc()
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send("")
