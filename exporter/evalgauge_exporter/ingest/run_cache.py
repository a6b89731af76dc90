"""Runs that are over, kept in a cache file without their attempts: a start over 2,000 of them parses none again.

An entry stands for as long as the run's files look the same (names, sizes, times) and the same release with the same
prices reads it. Losing the file costs a slower start and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

from evalgauge_exporter.state.models import BusyIdleClock, EventTime, Usage, Worker
from evalgauge_exporter.state.run import Pricer, RunState

log = logging.getLogger("evalgauge.exporter")

_PLAIN = (
    "source",
    "declared_run_id",
    "benchmark",
    "model",
    "agent",
    "budget_usd",
    "baseline_run_id",
    "tags",
    "attempts_planned",
    "total_tasks",
    "attempt_count",
    "measured_steps",
    "writers",
    "lost_events",
    "steps",
    "first_actions",
    "duration_counts",
    "duration_micros",
    "started_at",
    "last_event_at",
    "last_progress_at",
)
_WORKER = ("state", "first_seen", "outcomes", "vm", "vm_size", "provider", "rate")


class RunCache:
    """The cache file. ``key`` says by which release and with which prices its entries were made."""

    def __init__(self, path: Path | None, key: str) -> None:
        """Without a path nothing is kept. A file that can't be read is an empty one."""
        self._path = path
        self._key = key
        self._entries: dict[str, tuple[str, dict[str, Any]]] = {}
        self._changed = False
        if path is None:
            return
        try:
            content = json.loads(path.read_bytes())  # takes half a surrogate pair too, which a folder's name may hold
            if isinstance(content, dict) and content.get("key") == key:
                self._entries = {str(name): (str(entry[0]), entry[1]) for name, entry in content["runs"].items()}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            self._entries = {}

    def get(self, folder: Path, signature: str, run_id: str, pricer: Pricer) -> RunState | None:
        """The run as it was kept, None where it was not or its files have changed."""
        entry = self._entries.get(str(folder))
        if entry is None or entry[0] != signature:
            return None
        try:
            return restore_run(entry[1], run_id, pricer)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
            del self._entries[str(folder)]  # the run is read, and kept anew
            return None

    def put(self, folder: Path, signature: str, run: RunState) -> None:
        """Remember a run that is over."""
        if self._entries.get(str(folder), ("",))[0] != signature:
            self._entries[str(folder)] = (signature, dump_run(run))
            self._changed = True

    def flush(self, folders: set[Path]) -> None:
        """Write the file where anything has changed; the entries of other folders are dropped."""
        if self._path is None or not self._changed:
            return
        there = {str(folder) for folder in folders}
        self._entries = {name: entry for name, entry in self._entries.items() if name in there}
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"key": self._key, "runs": self._entries}), encoding="utf-8")
            new.replace(self._path)
            self._changed = False
        except OSError as error:
            log.info("runs are not kept for the next start: %s", error)
            self._path = None


def dump_run(run: RunState) -> dict[str, Any]:
    """What of a run is kept, as JSON's types."""
    return {
        **{name: getattr(run, name) for name in _PLAIN},
        "counts": [[domain, status, count] for (domain, status), count in run.counts.items() if count],
        "usage": [
            [
                *(provider, model, usage.tokens, usage.requests, usage.unpriced, usage.unknown),
                None if usage.cost_usd is None else str(usage.cost_usd),
                list(usage.tables),
            ]
            for (provider, model), usage in run.usage.items()
        ],
        "workers": {
            name: {
                **{field: getattr(worker, field) for field in _WORKER},
                "stamp": worker.stamp,
                "clocks": {
                    writer: [c.since, c.seen, c.state, c.busy, c.idle, c.off] for writer, c in worker.clocks.items()
                },
            }
            for name, worker in run.workers.items()
        },
        "end": run.end_marks(),
    }


def restore_run(kept: dict[str, Any], run_id: str, pricer: Pricer) -> RunState:
    """The run of a snapshot, without its attempts. Raises what comes of it where it is none."""
    run = RunState(run_id, kept["source"], pricer)
    for name in _PLAIN:
        setattr(run, name, kept[name])
    run.version = run.tasks_version = 1
    run.counts = {(domain, status): count for domain, status, count in kept["counts"]}
    for provider, model, tokens, requests, unpriced, unknown, cost, tables in kept["usage"]:
        usage = run.usage[provider, model] = Usage()
        usage.tokens, usage.requests, usage.unpriced, usage.unknown = tokens, requests, unpriced, unknown
        usage.cost_usd = None if cost is None else Decimal(cost)
        usage.tables = dict.fromkeys(tables)
    for name, fields in kept["workers"].items():
        worker = run.workers[name] = Worker(fields["first_seen"])
        for field in _WORKER:
            setattr(worker, field, fields[field])
        worker.stamp = None if fields["stamp"] is None else EventTime(*fields["stamp"])
        for writer, (since, seen, state, busy, idle, off) in fields["clocks"].items():
            clock = worker.clocks[writer] = BusyIdleClock(since)
            clock.seen, clock.state, clock.busy, clock.idle = seen, state, busy, idle
            clock.off = [(start, end) for start, end in off]
    run.set_end_marks(kept["end"])
    return run
