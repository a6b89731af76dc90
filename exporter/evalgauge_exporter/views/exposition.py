"""``/metrics``: the state in the Prometheus text format or OpenMetrics.

Rendered without the client library, which takes over a second for the 60,000 series that have to be served in under
100 ms. The samples of a run are rendered, and compressed, only when they have changed; those that change with time
alone (the ETA, the costs), and those that belong to no run, at each scrape. No sample has an explicit timestamp, so
that a run that is no longer exposed is stale within one scrape.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import functools
import operator
import platform
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from evalgauge import __version__
from evalgauge import metrics as m
from evalgauge.metrics import Metric
from evalgauge_exporter.analysis.rates import Results, pass_ratios
from evalgauge_exporter.analysis.run_analysis import RunAnalysis, next_silence
from evalgauge_exporter.config.shard import WHOLE, Shard
from evalgauge_exporter.state.histogram import Histogram
from evalgauge_exporter.state.models import OTHER
from evalgauge_exporter.state.run import RunState, State
from evalgauge_exporter.state.tallies import NO_SCORES, SCORE_UNIT, ScoreSums
from evalgauge_exporter.views.gzip_parts import Part, join_gzip
from evalgauge_exporter.views.limits import MAX_ACTIONS, Limits, exposed_runs

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

BUNDLES = 64
"""Number of bundles in which runs are sent: after a change only the bundle of the run is compressed again."""
TURN = 20
"""Runs that are rendered before others may take the lock."""

Sample = tuple[Metric, Sequence[str], float | int]
"""A sample of a metric without suffixes: the metric, its label values in the catalogue's order, and the value."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def escape(value: str) -> str:
    """Escape a label value."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.translate(_ESCAPES)
    return value


def format_sample(metric: Metric, values: Sequence[str], value: float | int) -> str:
    """Return the line of a sample, which is the same in both formats."""
    if not values:
        return f"{metric.name} {value!r}\n"
    labels = ",".join([f'{name}="{escape(label)}"' for name, label in zip(metric.labels, values, strict=True)])
    return f"{metric.name}{{{labels}}} {value!r}\n"


def _format_samples(samples: Iterable[Sample]) -> dict[Metric, list[str]]:
    """Return the lines of samples by metric."""
    lines: dict[Metric, list[str]] = {}
    for metric, values, value in samples:
        lines.setdefault(metric, []).append(format_sample(metric, values, value))
    return lines


class _WorkerRow(NamedTuple):
    """Everything that the samples of a worker show."""

    run_id: str
    worker_id: str
    state: str
    task_id: str | None
    """The task that it shows as its current one."""
    machine: tuple[str | None, str | None, str | None]
    """VM, provider and size."""
    outcomes: tuple[int, ...]
    """Number of finished attempts, in the order of ``OUTCOMES``."""
    busy_seconds: float
    idle_seconds: float
    last_seen: float
    """Unix seconds."""


class _WorkerText(NamedTuple):
    """The rendered samples of a worker."""

    row: _WorkerRow
    texts: dict[Metric, str]


class _Block(NamedTuple):
    """The rendered samples of a run that change only with its events."""

    run: RunState
    key: tuple[str, int, str]
    """Its id, version and status."""
    results: object
    """The results that are in it: the same object as long as they do not change."""
    until: float
    """Unix seconds at which they may change without an event."""
    texts: dict[Metric, str]
    workers: dict[str, _WorkerText]
    """What is in it of each worker, by its id."""


class _Bundle:
    """The samples of a few runs by metric, as they are sent.

    Args:
        blocks: The runs.
        before: The bundle whose place this one takes: parts with the same text are not compressed again.
    """

    def __init__(self, blocks: Sequence[_Block], before: _Bundle | None) -> None:
        self.blocks = blocks
        texts: dict[Metric, list[str]] = {}
        for block in blocks:
            for metric, text in block.texts.items():
                texts.setdefault(metric, []).append(text)
        self.parts = {metric: Part("".join(found)) for metric, found in texts.items()}
        for metric, old in before.parts.items() if before is not None else ():
            if metric in self.parts and self.parts[metric].text == old.text:
                self.parts[metric] = old

    def holds(self, blocks: Sequence[_Block]) -> bool:
        """Return whether it holds exactly these blocks."""
        return len(blocks) == len(self.blocks) and all(map(operator.is_, blocks, self.blocks))


class Exposition:
    """The exposition of the state, with a cache for what has not changed.

    It takes the lock of the state for a few runs at a time, so that nobody waits for a whole scrape.

    Args:
        state: The state of all runs.
        analysis: The analyses of the runs.
        limits: Upper limits of what is exposed.
        linger: Seconds after its last event for which a run that is not running stays exposed; None for ever.
        shard: The part of the runs that is exposed; which ones are within the limits is decided over all runs.
    """

    def __init__(
        self,
        state: State,
        analysis: RunAnalysis,
        limits: Limits,
        *,
        linger: float | None,
        shard: Shard = WHOLE,
    ) -> None:
        self.state = state
        self.shard = shard
        self.analysis = analysis
        self.limits = limits
        self.stall_after = analysis.stall_after
        self.linger = linger
        self.extra: list[Callable[[float], Iterable[Sample]]] = []
        """Further samples that belong to no run: functions that are called at each scrape with the time."""
        self.process: Callable[[bool], str] | None = None
        """Renders the metrics of the process itself, in OpenMetrics or not."""
        self._blocks: dict[int, _Block] = {}
        """By the identity of the run."""
        self._bundles: dict[int, _Bundle] = {}
        """By the number that a run's id gives."""
        self._rendering = threading.Lock()

    def render(self, now: float, *, openmetrics: bool = False) -> bytes:
        """Render all metrics.

        Args:
            now: The present, Unix seconds.
            openmetrics: Whether to use OpenMetrics rather than the Prometheus text format.

        Returns:
            The response body, UTF-8.
        """
        with self._rendering:
            return b"".join([part.text for part in self._render_parts(now, openmetrics)])

    def render_gzip(self, now: float, *, openmetrics: bool = False) -> bytes:
        """Render all metrics, compressed with gzip; arguments as of :meth:`render`."""
        with self._rendering:
            return join_gzip(self._render_parts(now, openmetrics))

    def _render_parts(self, now: float, openmetrics: bool) -> list[Part]:
        uncached: dict[Metric, list[str]] = {}

        def add(samples: Iterable[Sample]) -> None:
            for metric, values, value in samples:
                uncached.setdefault(metric, []).append(format_sample(metric, values, value))

        with self.state.lock:
            every = list(self.state.runs.values())
            shown, left_out = exposed_runs(every, now, self.stall_after, self.linger, self.limits)
        runs = [run for run in shown if self.shard.owns(run.run_id)]
        blocks: dict[int, dict[str, _Block]] = {}
        for start in range(0, len(runs), TURN):
            with self.state.lock:
                for run in runs[start : start + TURN]:
                    bundle = blocks.setdefault(zlib.adler32(run.run_id.encode("utf-8", "replace")) % BUNDLES, {})
                    if run.run_id not in bundle:  # else another run got its id meanwhile
                        bundle[run.run_id] = self._render_run(run, now)
                        add(time_samples(run, now, self.analysis))
            time.sleep(0)  # let others take the lock
        with self.state.lock:
            add([(m.RUNS_LEFT_OUT, (), left_out)])
            add(comparison_samples(runs, self.analysis, now, self.limits.domains))
            add(baseline_samples(shown, self.analysis, now, self.shard))
            add(self._process_samples())
            for more in self.extra:
                add(more(now))
        self._evict_others(runs)
        bundles = [self._bundle(number, list(found.values())) for number, found in sorted(blocks.items())]
        parts: list[Part] = []
        for metric in m.CATALOGUE:
            found = [bundle.parts[metric] for bundle in bundles if metric in bundle.parts]
            if metric in uncached:
                parts.append(Part(format_head(metric, openmetrics) + "".join(uncached[metric])))
            elif found:
                parts.append(_head_part(metric, openmetrics))
            parts += found
        parts.append(Part((self.process(openmetrics) if self.process is not None else "") + "# EOF\n" * openmetrics))
        return parts

    def _render_run(self, run: RunState, now: float) -> _Block:
        """Return the samples of a run, rendered again only where they have changed."""
        status = run.status(now, self.stall_after)
        key, results = (run.run_id, run.version, status), self.analysis.all_results(run, now)
        cached = self._blocks.get(id(run))
        if (
            cached is not None
            and (cached.run is run and cached.key == key and cached.results is results)
            and (status != "running" or now < cached.until)
        ):
            return cached
        lines = _format_samples(event_samples(run, now, self.analysis, self.limits))
        before = cached.workers if cached is not None and cached.run is run else {}
        workers: dict[str, _WorkerText] = {}
        for row in _worker_rows(run, now, self.stall_after, self.limits.workers):
            worker = before.get(row.worker_id)
            if worker is None or worker.row != row:  # an event changes one worker of many
                found = _format_samples(_worker_samples(row))
                worker = _WorkerText(row, {metric: "".join(texts) for metric, texts in found.items()})
            workers[row.worker_id] = worker
            for metric, text in worker.texts.items():
                lines.setdefault(metric, []).append(text)
        lines[m.RUN_TASK_DURATION] = [text for _, found in task_durations(run, self.limits.domains) for text in found]
        lines[m.RUN_LLM_DURATION] = [text for _, found in call_durations(run, self.limits.models) for text in found]
        lines[m.RUN_SCORE] = [text for _, found in score_sums(run, self.limits.domains) for text in found]
        texts = {metric: "".join(found) for metric, found in lines.items() if found}
        until = next_silence(run, now, self.stall_after)
        block = self._blocks[id(run)] = _Block(run, key, results, until, texts, workers)
        return block

    def _bundle(self, number: int, blocks: list[_Block]) -> _Bundle:
        cached = self._bundles.get(number)
        if cached is None or not cached.holds(blocks):
            cached = self._bundles[number] = _Bundle(blocks, cached)
        return cached

    def _evict_others(self, runs: Sequence[RunState]) -> None:
        if len(self._blocks) > 2 * len(runs) + 16:
            exposed = {id(run) for run in runs}
            self._blocks = {key: block for key, block in self._blocks.items() if key in exposed}
            self._bundles = {}

    def _process_samples(self) -> Iterator[Sample]:
        for name, health in sorted(self.state.sources.items()):
            yield m.SOURCE_UP, (name,), int(health.up)
            if health.last_success_at is not None:
                yield m.SOURCE_LAST_SUCCESS, (name,), health.last_success_at
            if health.refresh_seconds is not None:
                yield m.SOURCE_REFRESH_DURATION, (name,), health.refresh_seconds
            for reason, count in sorted(health.errors.items()):
                yield m.SOURCE_ERRORS, (name, reason), count
        if lost := sum(sum(run.lost_events.values()) for run in self.state.runs.values()):
            yield m.SOURCE_ERRORS, ("runlog", "lost_by_writer"), lost
        yield m.BUILD_INFO, (__version__, platform.python_version()), 1


def format_head(metric: Metric, openmetrics: bool) -> str:
    """Return the lines in front of a metric's samples: its help and its type."""
    name = metric.name.removesuffix("_total") if openmetrics and metric.kind == "counter" else metric.name
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    return f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n"


@functools.cache
def _head_part(metric: Metric, openmetrics: bool) -> Part:
    return Part(format_head(metric, openmetrics))


def task_durations(run: RunState, most: int) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the labels and the lines of the histogram of each domain's attempts."""
    shown = run.names["domains"].choose(most)
    merged: dict[str, Histogram] = {}
    for domain, found in run.durations.items():
        if sum(found.counts):
            merged.setdefault(domain if domain in shown else OTHER, Histogram(found.bounds)).add(found)
    for domain, histogram in merged.items():
        labels = (run.run_id, domain)
        yield labels, list(_format_histogram(m.RUN_TASK_DURATION, labels, histogram))


def call_durations(run: RunState, most: int) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the labels and the lines of the histogram of each model's calls."""
    shown = run.names["models"].choose(most)
    merged: dict[tuple[str, str], Histogram] = {}
    for call, found in run.call_durations.items():
        merged.setdefault(call if call in shown else (OTHER, OTHER), Histogram(found.bounds)).add(found)
    for call, histogram in merged.items():
        labels = (run.run_id, *call)
        yield labels, list(_format_histogram(m.RUN_LLM_DURATION, labels, histogram))


def _format_histogram(metric: Metric, values: Sequence[str], histogram: Histogram) -> Iterator[str]:
    labels = ",".join(f'{name}="{escape(value)}"' for name, value in zip(metric.labels, values, strict=True))
    count = 0
    for bound, count in histogram.cumulative():
        yield f'{metric.name}_bucket{{{labels},le="{bound}"}} {count}\n'
    yield f"{metric.name}_sum{{{labels}}} {histogram.micros / 1e6!r}\n"
    yield f"{metric.name}_count{{{labels}}} {count}\n"


def run_samples(run: RunState, now: float, analysis: RunAnalysis, limits: Limits) -> Iterator[Sample]:
    """Yield the samples of a run, except its comparison and its histogram."""
    yield from event_samples(run, now, analysis, limits)
    for row in _worker_rows(run, now, analysis.stall_after, limits.workers):
        yield from _worker_samples(row)
    yield from time_samples(run, now, analysis)


def event_samples(run: RunState, now: float, analysis: RunAnalysis, limits: Limits) -> Iterator[Sample]:
    """Yield the samples of a run that change with its events, or when a writer falls silent; not its workers'."""
    run_id, stall_after = run.run_id, analysis.stall_after
    status = run.status(now, stall_after)
    yield m.RUN_INFO, (run_id, run.benchmark, run.model, run.agent or "", run.source), 1
    for state in m.RUN_STATES:
        yield m.RUN_STATE, (run_id, state), int(state == status)
    yield from _tasks(run, now, stall_after, limits.domains)
    yield m.RUN_DISTINCT_TASKS, (run_id,), run.distinct_tasks
    if run.started_at is not None:
        yield m.RUN_START, (run_id,), run.started_at
        yield m.RUN_LAST_PROGRESS, (run_id,), run.last_progress_at
    if run.ended_at is not None:
        yield m.RUN_END, (run_id,), run.ended_at
    if lost := sum(run.lost_events.values()):
        yield m.RUN_LOST_EVENTS, (run_id,), lost
    yield from _steps(run)
    for kind, micros in run.step_micros.items():
        yield m.RUN_STEP_SECONDS, (run_id, kind), micros / 1e6
    if run.step_limits[1]:
        yield m.RUN_STEP_LIMIT, (run_id,), run.step_limits[0]
    if any(run.first_actions.values()):
        for correct, count in run.first_actions.items():
            yield m.RUN_FIRST_ACTIONS, (run_id, correct), count
    yield from _results(run, now, analysis, limits.domains)
    yield from _usage(run, limits.models)
    for key in sorted(run.tags.keys() & set(limits.tags)):
        yield m.RUN_TAGS_INFO, (run_id, key, run.tags[key]), 1


def time_samples(run: RunState, now: float, analysis: RunAnalysis) -> Iterator[Sample]:
    """Yield the samples of a run that change with time alone: the ETA and the costs."""
    eta = analysis.eta(run, now)
    if eta is not None:
        for bound, seconds in zip(m.ETA_BOUNDS, eta, strict=True):
            yield m.RUN_ETA, (run.run_id, bound), now + seconds
    yield from _money(run, now, analysis)


def _results(run: RunState, now: float, analysis: RunAnalysis, most: int) -> Iterator[Sample]:
    """Yield success rates, scores and pass ratios. Domains beyond the limit have no rate: rates can't be summed."""
    run_id = run.run_id
    yield from _bounds(m.RUN_SUCCESS_RATIO, (run_id,), analysis.results(run, now))
    by_domain = analysis.domain_results(run, now)
    shown = run.names["domains"].choose(most)
    for domain, found in by_domain.items():
        if domain in shown:
            yield from _bounds(m.RUN_DOMAIN_SUCCESS_RATIO, (run_id, domain), found)
    for ratio in pass_ratios(run) if run.attempts_planned > 1 else ():
        yield m.RUN_PASS_RATIO, (run_id, str(ratio.k), "any"), ratio.any.value
        yield m.RUN_PASS_RATIO, (run_id, str(ratio.k), "all"), ratio.all.value


def _bounds(metric: Metric, labels: tuple[str, ...], results: Results) -> Iterator[Sample]:
    if (value := results.expected_rate) is not None:
        yield metric, (*labels, "estimate"), value
    if (interval := results.rate_interval) is not None:
        yield metric, (*labels, "low"), interval.low
        yield metric, (*labels, "high"), interval.high


def score_sums(run: RunState, most: int) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the labels and the lines of the sum and the number of each domain's scores."""
    sums = {domain: found for domain, found in run.tallies.scores.items() if found.tasks}
    shown = run.names["domains"].choose(most)
    merged: dict[str, ScoreSums] = {}
    for domain, found in sums.items():
        name = domain if domain in shown else OTHER
        merged[name] = merged.get(name, NO_SCORES) + found
    for domain, found in merged.items():
        values = (run.run_id, run.benchmark, run.model, domain)
        labels = ",".join(f'{n}="{escape(v)}"' for n, v in zip(m.RUN_SCORE.labels, values, strict=True))
        total = f"{m.RUN_SCORE.name}_sum{{{labels}}} {found.total * SCORE_UNIT!r}\n"
        yield values, [total, f"{m.RUN_SCORE.name}_count{{{labels}}} {found.tasks}\n"]


def _money(run: RunState, now: float, analysis: RunAnalysis) -> Iterator[Sample]:
    run_id, money = run.run_id, analysis.costs(run, now)
    for component, usd in zip(m.COST_COMPONENTS, (money.llm, money.vm, money.gpu), strict=True):
        if usd is not None:
            yield m.RUN_COST, (run_id, component), usd
    if money.projected_total is not None:
        yield m.RUN_PROJECTED_COST, (run_id,), money.projected_total
    if run.budget_usd is not None:
        yield m.RUN_BUDGET, (run_id,), run.budget_usd
    if money.unpriced_machines:
        yield m.RUN_UNPRICED_MACHINES, (run_id,), money.unpriced_machines


def comparison_samples(runs: Iterable[RunState], analysis: RunAnalysis, now: float, most: int) -> Iterator[Sample]:
    """Yield each run's comparison with its baseline."""
    for run in runs:
        for name in analysis.named_baselines(run)[:1]:
            state = "found" if name in analysis.state.runs else "missing"
            yield m.RUN_BASELINE_INFO, (run.run_id, name, state), 1
        paired = analysis.compare_with_baseline(run, now)
        if paired is None:
            continue
        found, labels = paired.comparison, (run.run_id, paired.baseline.run_id)
        if found.paired_tasks:
            if found.finished:
                yield m.COMPARISON_P_VALUE, (*labels, "exact"), found.p_value
            yield m.COMPARISON_P_VALUE, (*labels, "anytime"), found.anytime_p_value
        yield from _deltas(m.COMPARISON_SUCCESS_DELTA, labels, found.expected_delta, found.ci_low, found.ci_high)
        if (score := found.score) is not None:
            low, high = (None, None) if score.interval is None else score.interval
            yield from _deltas(m.COMPARISON_SCORE_DELTA, labels, score.expected_difference, low, high)
        shown = run.names["domains"].choose(most)
        for name in [name for name in found.domains if name in shown]:
            domain = found.domains[name]
            here = (*labels, name)
            yield from _deltas(m.COMPARISON_DOMAIN_DELTA, here, domain.expected_delta, domain.ci_low, domain.ci_high)
            if found.finished:
                yield m.COMPARISON_DOMAIN_P_VALUE, (*here, "exact"), domain.adjusted_p_value
            yield m.COMPARISON_DOMAIN_P_VALUE, (*here, "anytime"), domain.adjusted_anytime_p_value


def baseline_samples(runs: Iterable[RunState], analysis: RunAnalysis, now: float, shard: Shard) -> Iterator[Sample]:
    """Yield every baseline that one of the runs is compared with and that belongs to the shard."""
    used: dict[tuple[str, str, str], RunState] = {}
    for run in runs:  # in the order in which they started
        baseline = analysis.baseline(run)
        if baseline is not None and shard.owns(baseline.run_id):
            used[run.benchmark, run.model, baseline.run_id] = baseline
    for labels, baseline in used.items():
        statuses = baseline.statuses(now, analysis.stall_after)
        yield m.BASELINE_SUCCESS_TASKS, labels, statuses.get("success", 0)
        yield m.BASELINE_MEASURED_TASKS, labels, sum(statuses.get(name, 0) for name in m.MEASURED_OUTCOMES)


def _deltas(
    metric: Metric, labels: tuple[str, ...], estimate: float | None, low: float | None, high: float | None
) -> Iterator[Sample]:
    """Yield a difference, turned round: comparisons are baseline minus run, metrics run minus baseline."""
    for bound, delta in (("estimate", estimate), ("low", high), ("high", low)):
        if delta is not None:
            yield metric, (*labels, bound), 0.0 - delta


def _tasks(run: RunState, now: float, stall_after: float, most: int) -> Iterator[Sample]:
    domains: dict[str, dict[str, int]] = {}
    for (domain, status), count in run.task_counts(now, stall_after).items():
        domains.setdefault(domain, {})[status] = count
    shown = run.names["domains"].choose(most)
    for domain in [domain for domain in domains if domain not in shown]:
        rest = domains.pop(domain)
        other = domains.setdefault(OTHER, {})
        for status, count in rest.items():
            other[status] = other.get(status, 0) + count
    for domain, statuses in domains.items():
        for status in m.TASK_STATUSES:
            yield m.RUN_TASKS, (run.run_id, run.benchmark, run.model, domain, status), statuses.get(status, 0)


def _steps(run: RunState) -> Iterator[Sample]:
    """Yield the counter of steps by action."""
    shown = run.names["actions"].choose(MAX_ACTIONS)
    sums: dict[str, int] = {}
    for action, count in run.steps.items():
        name = action if action in shown else OTHER
        sums[name] = sums.get(name, 0) + count
    for name, count in sums.items():
        yield m.RUN_STEPS, (run.run_id, name), count


def _usage(run: RunState, most: int) -> Iterator[Sample]:
    """Yield counters by model."""
    shown = run.names["models"].choose(most)
    sums: dict[tuple[str, str], tuple[list[int], dict[str, int], list[int]]] = {}
    for (provider, model), usage in run.usage.items():
        key = (provider, model) if (provider, model) in shown else (OTHER, OTHER)
        tokens, requests, uncosted = sums.setdefault(key, ([0] * 4, dict.fromkeys(m.REQUEST_STATUSES, 0), [0, 0]))
        for kind, count in enumerate(usage.tokens):
            tokens[kind] += count
        for status, count in usage.requests.items():
            requests[status] += count
        uncosted[0] += usage.unpriced
        uncosted[1] += usage.unknown
    for (provider, model), (tokens, requests, (no_price, no_usage)) in sums.items():
        labels = (run.run_id, provider, model)
        for name, count in zip(m.TOKEN_KINDS, tokens, strict=True):
            yield m.RUN_TOKENS, (*labels, name), count
        for status, count in requests.items():
            yield m.RUN_LLM_REQUESTS, (*labels, status), count
        yield m.RUN_UNPRICED_REQUESTS, labels, no_price
        yield m.RUN_UNKNOWN_USAGE_REQUESTS, labels, no_usage


def _worker_rows(run: RunState, now: float, stall_after: float, most: int) -> Iterator[_WorkerRow]:
    shown = run.names["workers"].choose(most)
    for worker_id in [worker_id for worker_id in run.workers if worker_id in shown]:
        worker = run.workers[worker_id]
        state = run.worker_state(worker, now, stall_after)
        yield _WorkerRow(
            run.run_id,
            worker_id,
            state,
            next(reversed(worker.current))[0] if state == "busy" and worker.current else None,
            (worker.vm, worker.provider, worker.vm_size),
            tuple(worker.outcomes.values()),
            worker.busy_seconds,
            worker.idle_seconds,
            worker.last_seen,
        )


def _worker_samples(row: _WorkerRow) -> Iterator[Sample]:
    labels = (row.run_id, row.worker_id)
    for name in m.WORKER_STATES:
        yield m.WORKER_STATE, (*labels, name), int(name == row.state)
    if row.task_id is not None:
        yield m.WORKER_TASK_INFO, (*labels, row.task_id), 1
    if any(row.machine):
        yield m.WORKER_INFO, (*labels, *(value or "" for value in row.machine)), 1
    for outcome, count in zip(m.OUTCOMES, row.outcomes, strict=True):
        yield m.WORKER_TASKS, (*labels, outcome), count
    yield m.WORKER_BUSY, labels, row.busy_seconds
    yield m.WORKER_IDLE, labels, row.idle_seconds
    yield m.WORKER_LAST_SEEN, labels, row.last_seen
