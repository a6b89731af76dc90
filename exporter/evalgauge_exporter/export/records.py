"""Runs as plain records: what ``evalgauge.load`` yields."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.export.table import task_rows
from evalgauge_exporter.sources.discovery import Discovery, FoundRun
from evalgauge_exporter.state.run import Pricer, RunState


class Record(NamedTuple):
    """A run as plain values."""

    run_id: str
    folder: Path
    summary: dict[str, Any]
    attempts: list[dict[str, Any]]


def read_records(results: Path, stall_after_seconds: float) -> Iterator[Record]:
    """Read every run below a folder, one at a time.

    Args:
        results: A results folder, a run's folder, or the file of a run.
        stall_after_seconds: Silence after which an unfinished run counts as stalled.

    Yields:
        The runs, in the order of their paths.
    """
    root = results.parent if results.is_file() else results
    found, _ = Discovery([root]).scan()
    if root != results:
        found = [run for run in found if run.folder == results]
    price_of = load_price_table().price_of
    seen: set[str] = set()
    for run in found:
        state = fold_run(run, price_of)
        name = state.declared_run_id or run.path_id
        if name in seen:  # a copy of a run states the id of the first
            name = f"{name}@{run.path_id}"
        seen.add(name)
        state.run_id = name
        now = time.time()
        summary = summarize(state, now, stall_after_seconds).model_dump(mode="json")
        yield Record(name, run.folder, summary, task_rows(state, now, stall_after_seconds))


def fold_run(found: FoundRun, price_of: Pricer) -> RunState:
    """Read a run from its beginning into a state of its own.

    Args:
        found: The run.
        price_of: Prices a model call.

    Returns:
        The state; of a run that is rewritten while it is read, the state after one more reading.
    """
    while True:
        source, more = found.open_source(), True
        state = RunState(found.path_id, source.source, price_of)
        while more:
            result = source.read()
            if result.restarted:
                break
            more = result.has_more and not result.missing
            for event in result.events:
                state.apply(event)
        if not more:
            return state
