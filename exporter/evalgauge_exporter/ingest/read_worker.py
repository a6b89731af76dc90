"""A process that reads runs into the run cache: ``python -m evalgauge_exporter.ingest.read_worker``, as the exporter
starts it where there is much to read and more than one core.

On stdin come a pickled ``WorkerSetup``, then pickled ``bytes`` for each run, in which is a pickled ``ReadRequest``. The
process answers each with a line of JSON on stdout once it has read the run and cached what can be cached of it: the
list of the problems that were found, or null where it can't read it. It ends with its stdin: also where the exporter
was killed.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable
from evalgauge.runlog import Problem
from evalgauge_exporter.ingest.memory import collect_young, collection_paused
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.ingest.tracked_run import open_run
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.state.run import Pricer


class WorkerSetup(NamedTuple):
    """The settings of a worker, which it gets once."""

    cache: Path
    """The folder of the run cache."""
    key: str
    """The cache's key."""
    overrides: Path | None
    """The file of price overrides."""


class ReadRequest(NamedTuple):
    """A run to read."""

    root: Path
    folder: Path
    make: Callable[[Path], RunSource]


def read_run(request: bytes, cache: RunCache, pricer: Pricer) -> list[Problem] | None:
    """Read a run to its end and cache it.

    Args:
        request: A pickled ``ReadRequest``.
        cache: Takes the run.
        pricer: Prices its model calls.

    Returns:
        The problems; None where the request can't be carried out here.
    """
    try:
        run: ReadRequest = pickle.loads(request)
        found = FoundRun(run.root, run.folder, run.make(run.folder), run.make)
    except Exception:  # a class of a plug-in that does not exist here, or whatever such a class does
        return None
    tracked = open_run(found, cache, pricer, threading.RLock())
    problems: list[Problem] = []
    while tracked.has_more:
        problems += tracked.read()
    tracked.save(cache)
    return problems


def _receive(requests: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    except Exception:
        os._exit(0)  # the exporter has closed the pipe: nobody waits for the run that is being read


def main() -> None:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exporter, which gets it too, ends this process
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plug-in prints is no answer
    setup: WorkerSetup = pickle.load(sys.stdin.buffer)
    cache = RunCache(setup.cache, setup.key)
    prices = PriceTable(load_overrides(setup.overrides) if setup.overrides else None)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    with collection_paused():
        while True:
            print(json.dumps(read_run(requests.get(), cache, prices.price_of)), file=replies, flush=True)
            collect_young()


if __name__ == "__main__":
    main()
