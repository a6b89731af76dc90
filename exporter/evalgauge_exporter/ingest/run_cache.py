"""Cache file of finished runs, without their attempts: a start over 2,000 of them parses none again.

An entry is valid while the run's files look the same (names, sizes, times) and the same code with the same prices reads
it. The file states that key and a digest of its entries, so that a damaged one is as good as empty. Losing it costs a
slower start and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

from evalgauge.metrics import CALL_DURATION_BUCKETS, DURATION_BUCKETS
from evalgauge_exporter.state.histogram import Histogram
from evalgauge_exporter.state.models import BusyIdleClock, EventTime, Usage, Worker
from evalgauge_exporter.state.run import Pricer, RunState
from evalgauge_exporter.state.tallies import Tallies

log = logging.getLogger("evalgauge.exporter")

FORMAT = 4
"""Changes with what a run's state holds, or how a release reads and prices the same files."""
_FIELDS = (
    "source",
    "declared_run_id",
    "benchmark",
    "model",
    "agent",
    "budget_usd",
    "baseline_run_id",
    "tags",
    "scorer",
    "scorers",
    "attempts_planned",
    "first_attempt",
    "retries",
    "total_tasks",
    "unstarted",
    "attempt_count",
    "task_count",
    "measured_steps",
    "step_limits",
    "step_micros",
    "writers",
    "lost_events",
    "steps",
    "first_actions",
    "started_at",
    "last_event_at",
    "last_progress_at",
)
_WORKER_FIELDS = ("state", "first_seen", "outcomes", "vm", "vm_size", "provider", "rate")


class RunCache:
    """The cache of finished runs."""

    def __init__(self, path: Path | None, key: str) -> None:
        """Read the file; one that can't be read is empty.

        Args:
            path: The file; None for no cache.
            key: What the entries depend on beside the runs' files: the code and the prices.
        """
        self._path = path
        self._key = key = f"{FORMAT} {key}"
        self._entries: dict[str, tuple[str, dict[str, Any]]] = {}
        self._changed = False
        self._names: dict[str, dict[str, list[Any]]] = {}
        parts = {} if path is None else _load(path, key)
        if parts:
            self._entries = {name: (fingerprint, entry) for name, (fingerprint, entry) in parts["runs"].items()}
            self._names = parts["names"]

    def get(self, folder: Path, fingerprint: str, run_id: str, pricer: Pricer) -> RunState | None:
        """Return a cached run.

        Args:
            folder: The run's place.
            fingerprint: The fingerprint of its files.
            run_id: The id that the run gets.
            pricer: Prices its further calls.

        Returns:
            The run without its attempts; None where it is not cached or its files have changed.
        """
        entry = self._entries.get(str(folder))
        return restore_run(entry[1], run_id, pricer) if entry is not None and entry[0] == fingerprint else None

    def put(self, folder: Path, fingerprint: str, run: RunState) -> None:
        """Cache a finished run."""
        if self._entries.get(str(folder), ("",))[0] != fingerprint:
            self._entries[str(folder)] = (fingerprint, dump_run(run))
            self._changed = True

    def get_names(self, folder: Path) -> dict[str, list[Any]]:
        """Return the names that were exposed of a run with too many, by kind."""
        return self._names.get(str(folder), {})

    def put_names(self, folder: Path, names: dict[str, list[Any]]) -> bool:
        """Remember the names that are exposed of a run with too many; return whether these are others than before."""
        changed = json.dumps(names) != json.dumps(self._names.get(str(folder), {}))
        if changed:
            self._names[str(folder)] = names
            self._changed = True
        return changed

    def flush(self, folders: set[Path]) -> None:
        """Write the file if anything has changed; entries of runs in other places than ``folders`` are dropped."""
        if self._path is None or not self._changed:
            return
        existing = {str(folder) for folder in folders}
        self._entries = {name: entry for name, entry in self._entries.items() if name in existing}
        self._names = {name: names for name, names in self._names.items() if name in existing}
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            parts = {"runs": self._entries, "names": self._names}
            new.write_bytes(json.dumps({"key": self._key, "sha256": _digest(parts), **parts}).encode())
            new.replace(self._path)
            self._changed = False
        except OSError as error:
            log.info("runs are not cached for the next start: %s", error)
            self._path = None


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _load(path: Path, key: str) -> dict[str, Any]:
    """Return the parts of a cache file; none where it was made by other code, is damaged or can't be read."""
    try:
        content = json.loads(path.read_bytes())  # takes half a surrogate pair too, which a folder's name may hold
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("key") != key:
        return {}
    parts = {name: content.get(name) for name in ("runs", "names")}
    return parts if content.get("sha256") == _digest(parts) else {}


def dump_run(run: RunState) -> dict[str, Any]:
    """Return what is cached of a run, in JSON's types."""
    return {
        **{name: getattr(run, name) for name in _FIELDS},
        "counts": [[domain, status, count] for (domain, status), count in run.counts.items() if count],
        "usage": [
            [
                *(provider, model, usage.tokens, usage.requests, usage.unpriced, usage.unknown),
                None if usage.cost_usd is None else str(usage.cost_usd),
                list(usage.tables),
                usage.reasons,
                [None if usd is None else str(usd) for usd in (usage.stated_usd, usage.compared_usd)],
            ]
            for (provider, model), usage in run.usage.items()
        ],
        "workers": {
            name: {
                **{field: getattr(worker, field) for field in _WORKER_FIELDS},
                "stamp": worker.stamp,
                "clocks": {
                    writer: [c.since, c.seen, c.state, c.busy, c.idle, c.off] for writer, c in worker.clocks.items()
                },
            }
            for name, worker in run.workers.items()
        },
        "durations": {domain: [h.counts, h.micros] for domain, h in run.durations.items()},
        "call_durations": [[*call, h.counts, h.micros] for call, h in run.call_durations.items()],
        "tallies": run.tallies.dump(),
        "names": {kind: names.dump() for kind, names in run.names.items()},
        "end": run.end_marks(),
    }


def restore_run(entry: dict[str, Any], run_id: str, pricer: Pricer) -> RunState:
    """Return the run of a cache entry, without its attempts."""
    run = RunState(run_id, entry["source"], pricer)
    for name in _FIELDS:
        setattr(run, name, entry[name])
    run.version = run.tasks_version = 1
    run.counts = {(domain, status): count for domain, status, count in entry["counts"]}
    for provider, model, tokens, requests, unpriced, unknown, cost, tables, reasons, stated in entry["usage"]:
        usage = run.usage[provider, model] = Usage()
        usage.tokens, usage.requests, usage.unpriced, usage.unknown = tokens, requests, unpriced, unknown
        usage.cost_usd = None if cost is None else Decimal(cost)
        usage.tables = dict.fromkeys(tables)
        usage.reasons = reasons
        usage.stated_usd, usage.compared_usd = (None if usd is None else Decimal(usd) for usd in stated)
    for name, fields in entry["workers"].items():
        worker = run.workers[name] = Worker(fields["first_seen"])
        for field in _WORKER_FIELDS:
            setattr(worker, field, fields[field])
        worker.stamp = None if fields["stamp"] is None else EventTime(*fields["stamp"])
        for writer, (since, seen, state, busy, idle, off) in fields["clocks"].items():
            clock = worker.clocks[writer] = BusyIdleClock(since)
            clock.seen, clock.state, clock.busy, clock.idle = seen, state, busy, idle
            clock.off = [(start, end) for start, end in off]
    for domain, (counts, micros) in entry["durations"].items():
        run.durations[domain] = Histogram(DURATION_BUCKETS, counts, micros)
    for provider, model, counts, micros in entry["call_durations"]:
        run.call_durations[provider, model] = Histogram(CALL_DURATION_BUCKETS, counts, micros)
    run.tallies = Tallies.restore(entry["tallies"])
    for kind, names in run.names.items():
        names.restore(entry["names"][kind])
    run.set_end_marks(entry["end"])
    return run
