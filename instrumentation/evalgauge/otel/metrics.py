"""The runs of one process as OpenTelemetry instruments under the names of the catalogue.

Prometheus' OTLP receiver, with its default translation, stores the names unchanged, because each has its unit and its
``_total`` already (https://prometheus.io/docs/guides/opentelemetry/#utf-8). Costs, estimates and comparisons need
prices and other runs: only the exporter has them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from evalgauge import metrics as m
from evalgauge.otel.values import sanitize_fields

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

    from evalgauge.tracker import Run

UNKNOWN = "unknown"
OBSERVED = (
    m.RUN_INFO,
    m.RUN_STATE,
    m.RUN_TASKS,
    m.RUN_START,
    m.RUN_END,
    m.RUN_LAST_PROGRESS,
    m.RUN_STEPS,
    m.RUN_FIRST_ACTIONS,
    m.RUN_TOKENS,
    m.RUN_LLM_REQUESTS,
    m.RUN_UNKNOWN_USAGE_REQUESTS,
    m.RUN_BUDGET,
    m.WORKER_STATE,
    m.WORKER_TASK_INFO,
    m.WORKER_TASKS,
    m.WORKER_BUSY,
    m.WORKER_IDLE,
    m.WORKER_LAST_SEEN,
)
"""The observable metrics; ``run_task_duration_seconds`` is a recorded histogram."""

Sample = tuple[tuple[str, ...], float]


class _Worker:
    def __init__(self, now: float) -> None:
        self.state = "idle"
        self.since = now
        self.task: str | None = None
        self.seen = now
        self.seconds = {"busy": 0.0, "idle": 0.0}
        self.finished: Counter[str] = Counter()

    def change_state(self, state: str, now: float) -> None:
        if self.state in self.seconds:
            self.seconds[self.state] += max(0.0, now - self.since)
        self.state, self.since = state, now

    def seconds_in(self, state: str, now: float) -> float:
        return self.seconds[state] + (max(0.0, now - self.since) if self.state == state else 0.0)


class _OpenTask(NamedTuple):
    domain: str
    worker: str | None
    started_at: float


class _Run:
    """The counts of one run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.own = False
        """Whether this process started the run: only then it reports what the run is and what is pending."""
        self.benchmark = self.model = UNKNOWN
        self.agent = ""
        self.state = "running"
        self.start: float | None = None
        self.end: float | None = None
        self.progress: float | None = None
        self.budget: float | None = None
        self.planned: set[tuple[str, int]] = set()
        self.domains: dict[str, str] = {}
        """Domain of each task."""
        self.unnamed = 0
        """The number of planned attempts whose ids are not known."""
        self.started_tasks: set[tuple[str, int]] = set()
        self.open: dict[tuple[str, int], _OpenTask] = {}
        self.finished_tasks: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[str] = Counter()
        self.first: Counter[str] = Counter()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.workers: dict[str, _Worker] = {}

    # -- events

    def run_started(self, fields: Mapping[str, Any], now: float) -> None:
        self.own, self.state, self.end = True, "running", None
        self.start = self.start or now
        self.describe(fields)
        self.budget = fields.get("budget_usd") or self.budget
        for task in fields.get("tasks") or ():
            task_id = str(task.get("task_id"))
            self.planned.update((task_id, number + 1) for number in range(max(1, fields.get("attempts") or 1)))
            self.domains[task_id] = task.get("domain") or self.domains.get(task_id) or UNKNOWN
        total = (fields.get("total_tasks") or 0) * max(1, fields.get("attempts") or 1)
        self.unnamed = max(self.unnamed, total)

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Store what the run evaluates."""
        self.benchmark = fields.get("benchmark") or self.benchmark
        self.model = fields.get("model") or self.model
        self.agent = fields.get("agent") or self.agent

    def run_finished(self, fields: Mapping[str, Any], now: float) -> None:
        self.state, self.end = str(fields.get("status") or "completed"), now
        for worker in self.workers.values():
            worker.change_state("stopped", now)
            worker.task = None

    def task_started(self, fields: Mapping[str, Any], now: float) -> None:
        key = _key(fields)
        domain = self.domains[key[0]] = fields.get("domain") or self.domains.get(key[0]) or UNKNOWN
        self.started_tasks.add(key)
        self.open[key] = _OpenTask(domain, fields.get("worker_id"), now)
        if worker := self.worker(fields, now):
            worker.change_state("busy", now)
            worker.task = key[0]

    def task_finished(self, fields: Mapping[str, Any], now: float) -> None:
        key = _key(fields)
        opened = self.open.pop(key, None)
        domain = opened.domain if opened else self.domains.get(key[0], UNKNOWN)
        self.started_tasks.add(key)
        self.finished_tasks[domain, str(fields.get("outcome"))] += 1
        if worker := self.worker(fields, now):
            worker.finished[str(fields.get("outcome"))] += 1
            busy = any(other.worker == fields.get("worker_id") for other in self.open.values())
            if not busy:
                worker.change_state("idle", now)
                worker.task = None

    def domain(self, fields: Mapping[str, Any]) -> str:
        """The domain of the task that an event names."""
        return self.domains.get(_key(fields)[0], UNKNOWN)

    def step(self, fields: Mapping[str, Any], now: float) -> None:
        action = fields.get("action")
        kind = action.get("type") if isinstance(action, Mapping) else None
        self.steps[str(kind)[:60].lower() if kind else UNKNOWN] += 1
        if fields.get("first_action_correct") is not None:
            self.first["true" if fields["first_action_correct"] else "false"] += 1
        self.worker(fields, now)

    def llm_call(self, fields: Mapping[str, Any], now: float) -> None:
        who = (fields.get("provider") or UNKNOWN, fields.get("model") or UNKNOWN)
        calls = max(1, fields.get("requests") or 1)
        self.requests[(*who, fields.get("status") or "ok")] += calls
        for kind in m.TOKEN_KINDS:
            if count := fields.get(f"{kind}_tokens"):
                self.tokens[(*who, kind)] += count
        if fields.get("input_tokens") is None or fields.get("output_tokens") is None:  # it cannot be priced
            self.unknown[who] += calls
        self.worker(fields, now)

    def worker_state(self, fields: Mapping[str, Any], now: float) -> None:
        if worker := self.worker(fields, now):
            worker.change_state(str(fields.get("state")), now)

    def worker(self, fields: Mapping[str, Any], now: float) -> _Worker | None:
        """Return the worker that an event names; None where it names none."""
        name = fields.get("worker_id")
        if name is None:
            return None
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = _Worker(now)
        worker.seen = now
        return worker

    # -- samples

    def samples(self, metric: m.Metric, now: float) -> Iterator[Sample]:
        """Yield the samples of one metric; label values are in the catalogue's order."""
        run = self.run_id
        if metric is m.RUN_TASKS:
            yield from self._task_samples()
        elif metric.labels[:2] == ("run_id", "worker_id"):
            for name, worker in self.workers.items():
                yield from _worker_samples(metric, (run, name), worker, now)
        elif metric is m.RUN_INFO and self.own:
            yield (run, self.benchmark, self.model, self.agent, "runlog"), 1
        elif metric is m.RUN_STATE and self.own:
            yield from (((run, state), int(state == self.state)) for state in m.RUN_STATES)
        elif metric in (m.RUN_START, m.RUN_END, m.RUN_BUDGET) and self.own:
            value = {m.RUN_START: self.start, m.RUN_END: self.end, m.RUN_BUDGET: self.budget}[metric]
            if value is not None:
                yield (run,), value
        elif metric is m.RUN_LAST_PROGRESS and self.progress is not None:
            yield (run,), self.progress
        else:
            counts: dict[m.Metric, Iterable[tuple[tuple[str, ...], int]]] = {
                m.RUN_STEPS: (((action,), count) for action, count in self.steps.items()),
                m.RUN_FIRST_ACTIONS: (((correct,), count) for correct, count in self.first.items()),
                m.RUN_TOKENS: self.tokens.items(),
                m.RUN_LLM_REQUESTS: self.requests.items(),
                m.RUN_UNKNOWN_USAGE_REQUESTS: self.unknown.items(),
            }
            yield from (((run, *labels), count) for labels, count in counts.get(metric, ()))

    def _task_samples(self) -> Iterator[Sample]:
        counts = Counter(self.finished_tasks)
        counts.update((opened.domain, "running") for opened in self.open.values())
        if self.own:
            counts.update((self.domains[task_id], "pending") for task_id, _ in self.planned - self.started_tasks)
            if (more := self.unnamed - len(self.planned | self.started_tasks)) > 0:
                counts[UNKNOWN, "pending"] += more
        for domain in sorted({domain for domain, _ in counts}):
            for status in m.TASK_STATUSES:
                labels = (self.run_id, self.benchmark, self.model, domain, status)
                yield labels, counts[domain, status]


def _worker_samples(metric: m.Metric, labels: tuple[str, str], worker: _Worker, now: float) -> Iterator[Sample]:
    if metric is m.WORKER_STATE:
        yield from (((*labels, state), int(state == worker.state)) for state in m.WORKER_STATES)
    elif metric is m.WORKER_TASK_INFO and worker.task is not None:
        yield (*labels, worker.task), 1
    elif metric is m.WORKER_TASKS:
        yield from (((*labels, outcome), count) for outcome, count in worker.finished.items())
    elif metric is m.WORKER_BUSY:
        yield labels, worker.seconds_in("busy", now)
    elif metric is m.WORKER_IDLE:
        yield labels, worker.seconds_in("idle", now)
    elif metric is m.WORKER_LAST_SEEN:
        yield labels, worker.seen


def _key(fields: Mapping[str, Any]) -> tuple[str, int]:
    return str(fields.get("task_id")), fields.get("attempt") or 1


class OtelMetrics:
    """Folds the events of this process into OpenTelemetry's instruments. Thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.RLock()  # a signal handler may record an event during another one
        self._runs: dict[str, _Run] = {}
        for metric in OBSERVED:
            create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            create(metric.name, [self._observer(metric)], unit=_unit(metric), description=metric.help)
        duration = m.RUN_TASK_DURATION
        self._duration: Histogram = meter.create_histogram(
            duration.name,
            unit=_unit(duration),
            description=duration.help,
            explicit_bucket_boundaries_advisory=m.DURATION_BUCKETS,
        )

    def record(self, run: Run, kind: str, fields: Mapping[str, Any], now: float) -> None:
        """Fold in an event that happened at ``now``, in Unix seconds.

        Args:
            run: The run.
            kind: The event's type.
            fields: The event's fields.
            now: Unix seconds.
        """
        with self._lock:
            found = self._runs.get(run.run_id)
            if found is None:
                found = self._runs[run.run_id] = _Run(run.run_id)
                found.describe(sanitize_fields(run.started or {}))
            if kind == "heartbeat":
                found.worker(fields, now)
                return
            found.progress = now
            fold = getattr(found, kind, None)
            if callable(fold):
                fold(fields, now)
        if kind == "task_finished" and fields.get("duration_seconds") is not None:
            self._duration.record(fields["duration_seconds"], {"run_id": run.run_id, "domain": found.domain(fields)})

    def _observer(self, metric: m.Metric) -> Any:
        from opentelemetry.metrics import Observation

        def observe(_: CallbackOptions) -> list[Observation]:
            now = time.time()
            with self._lock:
                return [
                    Observation(value, dict(zip(metric.labels, labels, strict=True)))
                    for run in self._runs.values()
                    for labels, value in run.samples(metric, now)
                ]

        return observe


def _unit(metric: m.Metric) -> str:
    """Return the unit in UCUM where the name ends in it already; Prometheus would append any other to the name."""
    return "s" if "_seconds" in metric.name else ""
