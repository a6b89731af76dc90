"""The samples of past runs at the times at which they were true, as OpenMetrics for a backfill.

``promtool tsdb create-blocks-from openmetrics`` takes the file. A run is folded again, event by event, and what
``/metrics`` would have shown is written at regular times; a value that does not change is written only as often as
Prometheus needs to see it.

Format: https://prometheus.io/docs/specs/om/open_metrics_spec/ and
https://prometheus.io/docs/prometheus/latest/storage/#backfilling-from-openmetrics-format
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import IO, NamedTuple, TextIO

from evalgauge import metrics as m
from evalgauge.events import Event
from evalgauge.metrics import Metric
from evalgauge_exporter.analysis.costs import MachineCost
from evalgauge_exporter.analysis.machine_usage import MachineJoin, compute_run_machine_costs
from evalgauge_exporter.analysis.run_analysis import Machines, RunAnalysis
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.run import Pricer, RunState, State, unpriced
from evalgauge_exporter.views.exposition import (
    call_durations,
    comparison_samples,
    format_head,
    format_sample,
    run_samples,
    score_sums,
    task_durations,
)
from evalgauge_exporter.views.limits import Limits

MIN_INTERVAL, MAX_INTERVAL = 15.0, 240.0
"""Seconds between two samples of a run: Prometheus looks back five minutes for the last one."""
LOOKBACK = 270.0
"""Seconds that may lie between two samples of a series: Prometheus ends it after 300."""
POINTS = 1000
"""About as many times are written of a run, however long it took, within those bounds."""
LINGER = 3900.0
"""Seconds for which a finished run's samples are repeated: a query with a step of an hour finds it."""


class PastRun(NamedTuple):
    """A run with all of its events."""

    state: RunState
    """The run after its last event."""
    events: Sequence[Event]


def write_history(
    runs: Sequence[PastRun],
    out: IO[str],
    *,
    stall_after: float,
    pricer: Pricer = unpriced,
    fleet: FleetState | None = None,
    baselines: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> list[str]:
    """Write the samples of past runs.

    Args:
        runs: The runs; each may be the baseline of another one.
        out: Where the text goes.
        stall_after: Seconds without an event after which an unfinished run is stalled.
        pricer: Prices the model calls.
        fleet: What is known of machines beside what workers report; without it their cost is not written.
        baselines: The configured baselines.
        limits: Upper limits of what is written of a run.

    Returns:
        The ids of the runs that are left out, because nothing says when they took place.
    """
    state = State()
    state.runs = {run.state.run_id: run.state for run in runs}
    machines = _machine_costs([run.state for run in runs], fleet, stall_after)
    analysis = RunAnalysis(state, stall_after=stall_after, baselines=baselines, machines=machines)
    untimed = []
    with contextlib.ExitStack() as stack:
        files: dict[Metric, TextIO] = {}
        for run in runs:
            if run.state.started_at is None or run.state.started_at <= 0:
                untimed.append(run.state.run_id)
                continue
            for metric, text in _points(run, state, analysis, pricer, limits or Limits()):
                if metric not in files:
                    files[metric] = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline=""))
                files[metric].write(text)
        for metric in m.CATALOGUE:
            if metric in files:
                out.write(format_head(metric, openmetrics=True))
                files[metric].seek(0)
                shutil.copyfileobj(files[metric], out)
    out.write("# EOF\n")
    return untimed


def _machine_costs(runs: Sequence[RunState], fleet: FleetState | None, stall_after: float) -> Machines:
    """Return what prices the machines of a run that is written; runs at the same time may share them."""
    if fleet is None:
        return lambda run, now: []
    known = fleet

    def overlaps(run: RunState, other: RunState) -> bool:
        return (other.started_at or 0) <= run.last_event_at and (run.started_at or 0) <= other.last_event_at

    others = {run.run_id: [other for other in runs if other is not run and overlaps(run, other)] for run in runs}

    def compute(run: RunState, now: float) -> list[MachineCost]:
        join = MachineJoin([run, *others[run.run_id]], known, now, stall_after)
        return compute_run_machine_costs(run, known, known.table, now, stall_after, join).list_known()

    return compute


def _points(
    run: PastRun, state: State, analysis: RunAnalysis, pricer: Pricer, limits: Limits
) -> Iterator[tuple[Metric, str]]:
    """Yield the text of each series of a run, all of its samples in order of time."""
    whole = run.state
    events = sorted(run.events, key=lambda event: (event.ts, event.writer, event.seq))
    partial = RunState(whole.run_id, whole.source, pricer)
    state.runs[whole.run_id] = partial
    series: dict[Metric, dict[tuple[str, ...], _Series]] = {}
    position = 0
    times = list(_times(events[0].ts, events[-1].ts, whole.is_finished(), time.time()))
    for now, following in zip_longest(times, times[1:], fillvalue=float("inf")):
        while position < len(events) and events[position].ts <= now:
            partial.apply(events[position])
            position += 1
        for metric, labels, lines in _samples(partial, now, analysis, limits):
            series.setdefault(metric, {}).setdefault(labels, _Series()).add(lines, now, following)
    state.runs[whole.run_id] = whole
    for metric, found in series.items():
        for points in found.values():
            yield metric, "".join(points.texts)


class _Series:
    """The samples of one label set of a metric: of a histogram or summary all of its lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._last: tuple[Sequence[str], float] = ((), float("-inf"))

    def add(self, lines: Sequence[str], now: float, following: float) -> None:
        """Add a sample, unless the same one was written so short a time ago that the following time is early enough."""
        last, at = self._last
        if lines == last and following - at <= LOOKBACK:
            return
        self._last = (lines, now)
        self.texts += [f"{line[:-1]} {now:.3f}\n" for line in lines]


def _times(start: float, end: float, finished: bool, latest: float) -> Iterator[float]:
    """Yield the times, in Unix seconds, at which a run is written, none after ``latest``.

    A Prometheus that has a block with a time to come refuses what it scrapes until then.
    """
    for now in _all_times(start, end, finished):
        if now > latest:
            break
        yield now


def _all_times(start: float, end: float, finished: bool) -> Iterator[float]:
    interval = min(max((end - start) / POINTS, MIN_INTERVAL), MAX_INTERVAL)
    steps = int((end - start) / interval)
    yield from (start + step * interval for step in range(steps + 1))
    if start + steps * interval < end:
        yield end
    if finished:
        yield from (end + step * MAX_INTERVAL for step in range(1, int(LINGER / MAX_INTERVAL) + 1))


def _samples(
    run: RunState, now: float, analysis: RunAnalysis, limits: Limits
) -> Iterator[tuple[Metric, tuple[str, ...], list[str]]]:
    for metric, values, value in run_samples(run, now, analysis, limits):
        yield metric, tuple(values), [format_sample(metric, values, value)]
    for metric, values, value in comparison_samples([run], analysis, now, limits.domains):
        yield metric, tuple(values), [format_sample(metric, values, value)]
    for metric, grouped in (
        (m.RUN_TASK_DURATION, task_durations(run, limits.domains)),
        (m.RUN_LLM_DURATION, call_durations(run, limits.models)),
        (m.RUN_SCORE, score_sums(run, limits.domains)),
    ):
        for labels, lines in grouped:
            yield metric, labels, lines
