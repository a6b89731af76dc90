"""What the tests of sources share: reading a run whole, and a state as plain values that can be compared."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

from evalgauge.events import Event
from evalgauge.runlog import Problem
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.state.models import Attempt, BusyIdleClock, Usage, Worker
from evalgauge_exporter.state.run import RunState, fold

DATA = Path(__file__).parents[2] / "data"
NOW = 1.9e9
"""A time after everything that the tests write."""
STALL = 600.0


def drain(source: RunSource, *, full_scan: bool = False) -> tuple[list[Event], list[Problem]]:
    """Everything that a source has to tell now; it must neither be gone nor start anew."""
    events: list[Event] = []
    problems: list[Problem] = []
    more = True
    while more:
        reading = source.read(full_scan=full_scan)
        assert not reading.missing
        assert not reading.restarted
        events += reading.events
        problems += reading.problems
        more = reading.has_more
    return events, problems


def folded(source: RunSource) -> RunState:
    """The state of a run that is read whole and has no problems."""
    events, problems = drain(source)
    assert problems == []
    return fold("run", source.source, events)


def snapshot(run: RunState) -> dict[str, Any]:
    """The state as plain values, without what only counts events or says where they came from."""
    names = (
        *("benchmark", "model", "agent", "budget_usd", "baseline_run_id", "tags", "attempts_planned", "total"),
        *("attempts", "open_attempts", "workers", "writers", "lost_events", "steps", "first_actions", "usage"),
        *("durations", "call_durations", "started_at", "last_event_at", "last_progress_at", "ended_at"),
    )
    values = {name: _plain(getattr(run, name)) for name in names}
    counts = {key: count for key, count in run.counts.items() if count}
    finished = [(attempt.task_id, attempt.attempt) for attempt in run.finish_log]
    return {**values, "counts": counts, "ended": run.is_finished(), "finish_log": finished}


def outcomes(run: RunState) -> dict[str, int]:
    """Attempts by status, of a run that ended or is silent."""
    return run.statuses(NOW, STALL)


def places(folder: Path) -> list[Path]:
    """The places of the runs that are found below a folder; nothing in it is a problem."""
    found, problems = Discovery([folder]).scan()
    assert problems == []
    return [run.folder for run in found]


def write(path: Path, content: str | bytes, at: float | None = None) -> Path:
    """Write a file with its folders; ``at`` is the time that it shall have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if at is not None:
        os.utime(path, (at, at))
    return path


def _plain(value: object) -> Any:
    if isinstance(value, Attempt | Worker | Usage | BusyIdleClock):
        return {
            name: _plain(getattr(value, name)) for name in value.__slots__ if name not in ("stamp", "machine_stamp")
        }
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | deque):
        return [_plain(item) for item in value]
    return value
