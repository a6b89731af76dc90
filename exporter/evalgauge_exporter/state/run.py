"""The fold: the state of a run, computed from its events and nothing else.

``RunState.apply`` adds one event at constant cost. The result does not depend on the order in which the logs of
different writers are read: counts are sums of integers, a value is replaced only by a later one, and a worker's time
is recorded per writer. So an exporter that is restarted in the middle of a run shows the same counters as before, or
larger ones.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from evalgauge.events import (
    Event,
    Heartbeat,
    LlmCall,
    LogLine,
    Message,
    PlannedTask,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.metrics import CALL_DURATION_BUCKETS, DURATION_BUCKETS, MEASURED_OUTCOMES, OUTCOMES
from evalgauge.pricing import Price
from evalgauge_exporter.state.histogram import Histogram
from evalgauge_exporter.state.models import (
    NEW_RECORD,
    OTHER,
    UNKNOWN,
    Attempt,
    BusyIdleClock,
    EarlierResult,
    EventTime,
    Usage,
    Worker,
)
from evalgauge_exporter.state.names import ExposedNames
from evalgauge_exporter.state.tallies import Tallies

MAX_TRACKED = {"actions": 1000, "models": 500, "domains": 10_000, "workers": 10_000}
"""Distinct names of a run that are told apart; further actions and models are counted as ``other``."""
MAX_SCORERS = 1000
"""Names of a run's scorers that are kept."""
MAX_ATTEMPTS = 1000
"""Planned attempts at a task; more are not counted."""
MAX_PLANNED = 100_000
"""Planned tasks of a run that are known by name; further ones are only counted."""

SPEND_MINUTES = 120
"""Minutes of model cost that are kept for the rate of spending."""
TRAIL = 100
"""Steps of an open attempt that are kept."""
CLOCK_STEP = 5.0
"""Seconds by which a clock must have gone back before it counts as set right."""
_NO_PROGRESS = frozenset({Heartbeat, LogLine, Message})
"""Events that show nothing but that somebody is alive."""
_CHANGES_TASKS = frozenset({RunStarted, RunFinished, TaskStarted, TaskFinished})
"""Events that change how many tasks there are of each status."""
_OF_THIS_PROCESS = frozenset({"run_id", "unreadable", "unreadable_since", "_pricer", "_reload"})
"""The fields of a state that another process does not take over."""
_OF_ATTEMPTS: Mapping[str, Callable[[Any], Any]] = {
    "_attempts": lambda _: {},
    "_finish_log": lambda _: [],
    "_planned": lambda _: {},
    "_numbers": lambda _: {},
    "_stated_domains": lambda _: {},
    "tallies": Tallies.without_tasks,
}
"""The fields of a state that grow with its attempts, and what an unloaded state has of each."""
_ALONE = {number: (number,) for number in range(2)}
"""The numbers of a task's attempts where there is one, which most tasks share: it takes no memory for each."""

EndStatus = Literal["completed", "aborted"]
RunStatus = Literal["running", "completed", "aborted", "stalled"]
Pricer = Callable[[LlmCall], Price]


def unpriced(call: LlmCall) -> Price:
    """Price nothing: a call with tokens is unpriced, one without tokens has unknown usage."""
    known = call.tokens.input is not None or call.tokens.output is not None
    return Price("unpriced" if known else "unknown_usage", None, None)


class RunState:
    """State of one run.

    Args:
        run_id: The id under which the run is served.
        source: Name of the source that reads it.
        pricer: Prices a model call.
    """

    def __init__(self, run_id: str, source: str, pricer: Pricer = unpriced) -> None:
        self.run_id = run_id
        self.source = source
        self.declared_run_id: str | None = None
        """The run id that the run's own content states."""
        self.version = 0
        """Grows with each event: what was computed from an older version is stale."""
        self.tasks_version = 0
        """Grows when a task starts or ends: what depends on outcomes alone need not be recomputed at each step."""
        self.benchmark = UNKNOWN
        self.model = UNKNOWN
        self.agent: str | None = None
        self.budget_usd: float | None = None
        self.baseline_run_id: str | None = None
        self.tags: dict[str, str] = {}
        self.attempts_planned = 1
        self.first_attempt = 1
        """Number of the first attempt at a task: 0 once an attempt 0 was seen."""
        self.retries = 0
        """How often attempts were started again."""
        self.scorers: dict[str, None] = {}
        """Names of the scorers, as far as the format states them."""
        self.scorer: str | None = None
        """Name of the headline's scorer."""
        self._scorer_stamp: EventTime | None = None
        self.tallies = Tallies()
        """Sums over the tasks' outcomes and scores."""
        self.total_tasks: int | None = None
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._finish_log: list[Attempt] = []
        self._reload: Callable[[], RunState] | None = None
        self._planned: dict[str, str] = {}
        """Domain of each planned task."""
        self._numbers: dict[str, Sequence[int]] = {}
        """Numbers of the attempts with a record, by task."""
        self._stated_domains: dict[str, str] = {}
        """Domain of each task of which a start states it, not the plan alone."""
        self.unstarted: dict[str, int] = {}
        """Number of planned attempts without a record, by domain."""
        self.attempt_count = 0
        self.task_count = 0
        """Number of tasks with a record, which a planned task has."""
        self.measured_steps = [0, 0]
        """Sum of the measured attempts' steps, and number of measured attempts whose steps are known."""
        self.step_limits = [0, 0]
        """Measured attempts that used every step they were allowed, and those that have such a limit."""
        self.step_micros: dict[str, int] = {}
        """Microseconds of the steps that reported it, by what they were spent on: ``think``, ``environment``."""
        self.counts: dict[tuple[str, str], int] = {}
        """Attempts by (domain, status), as the log has them."""
        self.open_attempts: dict[tuple[str, int], Attempt] = {}
        """Attempts that have started and not ended."""
        self.workers: dict[str, Worker] = {}
        self.writers: dict[str, float] = {}
        """Time of each writer's last event."""
        self._last_seqs: dict[str, int] = {}
        """Number of each writer's last event."""
        self.lost_events: dict[str, int] = {}
        self.names = {kind: ExposedNames(most) for kind, most in MAX_TRACKED.items()}
        """Names of actions, models (with their provider), domains and workers, and which of them metrics expose."""
        self.steps: dict[str, int] = {}
        self.first_actions = {"true": 0, "false": 0}
        self.usage: dict[tuple[str, str], Usage] = {}
        self.durations: dict[str, Histogram] = {}
        """How long finished attempts took, by domain."""
        self.call_durations: dict[tuple[str, str], Histogram] = {}
        """How long model calls took, by provider and model."""
        self.unreadable: str | None = None
        """Why something of the run can't be read for the moment; the state is that of before."""
        self.unreadable_since: float | None = None
        """Since when, in Unix seconds, as far as it was being read."""
        self.spent_by_minute: dict[int, Decimal] = {}
        """US dollars of model calls by minute (Unix seconds / 60), for the newest minutes with any."""
        self.started_at: float | None = None
        self.last_event_at = 0.0
        self._progress_at = 0.0
        self._pricer = pricer
        self._info: EventTime | None = None
        self._run_starts: dict[str, EventTime] = {}
        self._last_task_events: dict[str, float] = {}
        self._is_finished = False
        self._finished: EventTime | None = None
        self._end_status: EndStatus = "completed"

    def adopt_names(self, chosen: Mapping[str, Iterable[Any]]) -> None:
        """Expose the names that were exposed before, by kind."""
        for kind, names in chosen.items():
            if kind in self.names:
                self.names[kind].adopt(names)

    def chosen_names(self) -> dict[str, list[Any]]:
        """Return the names that are exposed, of the kinds with more names than these."""
        return {kind: list(names.chosen) for kind, names in self.names.items() if names.chosen and names.overflows()}

    # -- the attempts; those of an unloaded run are read again on demand

    @property
    def attempts(self) -> dict[tuple[str, int], Attempt]:
        """Attempts by task id and number."""
        self._ensure_loaded()
        return self._attempts

    @property
    def finish_log(self) -> list[Attempt]:
        """Attempts in the order in which their ends were read; one that was resumed is listed twice."""
        self._ensure_loaded()
        return self._finish_log

    @property
    def loaded_attempts(self) -> int:
        """Number of attempts in memory."""
        return len(self._attempts)

    @property
    def is_unloaded(self) -> bool:
        """Whether the attempts are not in memory."""
        return self._reload is not None

    def unload(self, reload: Callable[[], RunState]) -> None:
        """Drop the attempts of a finished run from memory; ``reload`` folds the run again when they are needed."""
        vars(self).update(self._reduce())
        self._reload = reload

    def _reduce(self) -> dict[str, Any]:
        """Return what is left of the fields that grow with the attempts once these are not in memory."""
        return {name: reduce(getattr(self, name)) for name, reduce in _OF_ATTEMPTS.items()}

    def dump(self, *, attempts: bool) -> dict[str, Any]:
        """Return what ``restore`` needs, for a cache; to be used before the next event is folded.

        Args:
            attempts: Whether the attempts are part of it; else it is the state as ``unload`` leaves it.
        """
        fields = {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}
        fields["names"] = {kind: names.copy() for kind, names in self.names.items()}  # views add to them
        if not attempts:
            fields |= self._reduce() | {"spent_by_minute": {}}
        return fields

    @classmethod
    def restore(cls, fields: Mapping[str, Any], run_id: str, pricer: Pricer) -> RunState:
        """Return the state that ``dump`` was called on.

        Args:
            fields: What ``dump`` returned. The state takes it over.
            run_id: The id under which the run is served.
            pricer: Prices further calls.
        """
        run = cls(run_id, fields["source"], pricer)
        vars(run).update(fields)
        return run

    def _ensure_loaded(self) -> None:
        if self._reload is not None:
            try:
                whole = self._reload()
            except OSError as error:  # for the moment: it is tried again at the next use
                self.unreadable = str(error)
                return
            vars(self).update({name: getattr(whole, name) for name in _OF_ATTEMPTS})
            self._reload = None

    # -- folding

    def apply(self, event: Event) -> None:
        """Add one event to the state."""
        self.version += 1
        ts = event.ts
        if ts > self.last_event_at:
            self.last_event_at = ts
        if ts > self.writers.get(event.writer, 0.0):
            self.writers[event.writer] = ts
        elif self.source == "runlog":
            self._see_step_back(event)
        self._last_seqs[event.writer] = event.seq
        kind = type(event)
        if kind not in _NO_PROGRESS:
            if ts > self._progress_at:
                self._progress_at = ts
            if self.started_at is None or ts < self.started_at:
                self.started_at = ts
        if kind in _CHANGES_TASKS:
            self.tasks_version += 1
        _FOLDS[kind](self, event)

    def _see_step_back(self, event: Event) -> None:
        """Take a writer's last event as its last sign of life though it is dated before others: its clock was ahead and
        has been set right. The logs of other formats are not in the order of time.
        """
        writer, ts = event.writer, event.ts
        is_later = event.seq > self._last_seqs.get(writer, event.seq)
        if is_later and ts < self.writers.get(writer, 0.0) - CLOCK_STEP:
            self.writers[writer] = ts
            self.last_event_at = max(self.writers.values())

    def _run_started(self, event: RunStarted) -> None:
        stamp = EventTime(event.ts, event.writer, event.seq)
        if stamp.after(self._run_starts.get(event.writer)):
            self._run_starts[event.writer] = stamp
        self._judge_end()
        self.declared_run_id = self.declared_run_id or event.run_id
        if event.total_tasks is not None:
            self.names["domains"].see(UNKNOWN, event.ts)
        newer = stamp.after(self._info)
        if newer:
            self._info = stamp
        for name in ("agent", "budget_usd", "baseline_run_id", "total_tasks"):
            value = getattr(event, name)
            if value is not None and (newer or getattr(self, name) is None):
                setattr(self, name, value)
        for name in ("benchmark", "model"):
            value = getattr(event, name)
            if value and value != UNKNOWN and (newer or getattr(self, name) == UNKNOWN):
                setattr(self, name, value)
        self.tags = {**self.tags, **event.tags} if newer else {**event.tags, **self.tags}
        if event.attempts > self.attempts_planned:
            self.attempts_planned = min(event.attempts, MAX_ATTEMPTS)
            self._count_unstarted()
        for planned in event.tasks:
            self._plan(planned, event.ts)
        if len(event.tasks) > MAX_PLANNED:
            self.total_tasks = max(self.total_tasks or 0, len(event.tasks))

    def _plan(self, planned: PlannedTask, ts: float) -> None:
        """Add a planned task: its first attempt as such, the others by their number alone."""
        task_id = planned.task_id
        if (task_id, self.first_attempt) not in self._attempts:
            if len(self._planned) >= MAX_PLANNED:
                return
            if len(self._numbers.get(task_id, ())) < self.attempts_planned:
                domain = self._stated_domains.get(task_id)
                self._add(Attempt(task_id, self.first_attempt, domain, planned.instruction))
        attempts = self._attempts_of(task_id)
        self._set_domain(attempts[0], planned.domain, is_stated=False)
        for attempt in attempts:
            attempt.instruction = planned.instruction or attempt.instruction
        self.names["domains"].see(attempts[0].domain, ts)
        if task_id not in self._planned:
            self._planned[task_id] = attempts[0].domain
            self._count_unstarted_of(task_id, 1)

    def _count_unstarted(self) -> None:
        """Count the planned attempts that have no record anew."""
        self.unstarted = {}
        for task_id in self._planned:
            self._count_unstarted_of(task_id, 1)

    def _count_unstarted_of(self, task_id: str, change: int) -> None:
        """Add (1) or remove (-1) the planned attempts at a task that have no record."""
        if (domain := self._planned.get(task_id)) is not None:
            missing = max(0, self.attempts_planned - len(self._numbers.get(task_id, ())))
            self.unstarted[domain] = self.unstarted.get(domain, 0) + change * missing

    def _worker_state(self, event: WorkerState) -> None:
        stamp = EventTime(event.ts, event.writer, event.seq)
        worker = self._worker(event.worker_id, event)
        if worker is None:
            return
        clock = worker.clocks[event.writer]
        clock.state = event.state
        if event.state != "busy":
            clock.open = 0
        if stamp.after(worker.stamp):
            worker.stamp, worker.state = stamp, event.state
        newer = stamp.after(worker.machine_stamp)
        if newer:
            worker.machine_stamp = stamp
        for name, value in (
            ("vm", event.vm),
            ("vm_size", event.vm_size),
            ("provider", event.provider),
            ("rate", event.hourly_rate_usd),
        ):
            if value is not None and (newer or getattr(worker, name) is None):
                setattr(worker, name, value)

    def _task_started(self, event: TaskStarted) -> None:
        stamp = EventTime(event.ts, event.writer, event.seq)
        attempt = self._attempt(event.task_id, event.attempt)
        self._set_domain(attempt, event.domain, is_stated=True)
        attempt.instruction = event.instruction or attempt.instruction
        self.names["domains"].see(attempt.domain, event.ts)
        self._count(attempt, -1)
        if event.max_steps is not None:
            attempt.max_steps = event.max_steps
        if event.time_limit_seconds is not None:
            attempt.time_limit_seconds = event.time_limit_seconds
        known = attempt.stamp
        if known is None or known.seq != stamp.seq or known.writer != stamp.writer:  # else the same start, corrected
            attempt.starts += 1
            self.retries += attempt.starts > max(attempt.finishes, 1)
        if self._select_writer(attempt, stamp):
            self._release_worker(attempt)
            if attempt.stamp is not None and attempt.finished:
                replaced = EarlierResult(attempt.stamp.ts, attempt.status, attempt.score)
                attempt.earlier_results = (*attempt.earlier_results, replaced)
            attempt.start(stamp, event.worker_id)
            self._select_result(attempt)
        self._count(attempt, 1)
        self._last_task_events[event.writer] = max(event.ts, self._last_task_events.get(event.writer, 0.0))
        self._judge_end()
        worker = self._worker(event.worker_id, event)
        if worker is not None:
            clock = worker.clocks[event.writer]
            clock.open += 1
            clock.state = "busy"
            if attempt.stamp == stamp:
                worker.current[event.task_id, event.attempt] = None
            if stamp.after(worker.stamp):
                worker.stamp, worker.state = stamp, "busy"

    def _step(self, event: Step) -> None:
        attempt = self._attempt(event.task_id, event.attempt)
        if attempt.stamp is None:  # its start was lost, or is in a log that has not been read yet
            attempt.started_at = event.ts if attempt.started_at is None else min(attempt.started_at, event.ts)
            attempt.worker_id = attempt.worker_id or event.worker_id
            if attempt.status == "pending":
                self._count(attempt, -1)
                attempt.status = "running"
                self._count(attempt, 1)
        action = event.action_type
        if (record := attempt.other_writers.get(event.writer)) is not None:
            record["recorded_steps"] += 1
            record["last_action"] = action
        elif attempt.status == "running":
            attempt.recorded_steps += 1
            attempt.last_action = action
            if attempt.trail is None:
                attempt.trail = deque(maxlen=TRAIL)
            attempt.trail.append(event)
        else:  # it comes after its task's end
            self._count_measured_steps(attempt, -1)
            attempt.recorded_steps += 1
            attempt.last_action = action
            self._count_measured_steps(attempt, 1)
        self.names["domains"].see(attempt.domain, event.ts)
        if not self.names["actions"].see(action, event.ts):
            action = OTHER
        self.steps[action] = self.steps.get(action, 0) + 1
        if event.think_seconds is not None:
            self._add_step_time("think", event.think_seconds)
        if event.env_seconds is not None:
            self._add_step_time("environment", event.env_seconds)
        if event.first_action_correct is not None:
            attempt.first_action_correct = event.first_action_correct
            self.first_actions["true" if event.first_action_correct else "false"] += 1
        self._worker(event.worker_id or attempt.worker_id, event)

    def _add_step_time(self, kind: str, seconds: float) -> None:
        self.step_micros[kind] = self.step_micros.get(kind, 0) + round(seconds * 1e6)

    def _llm_call(self, event: LlmCall) -> None:
        key = (event.provider or UNKNOWN, event.model or UNKNOWN)
        if not self.names["models"].see(key, event.ts):
            key = (OTHER, OTHER)
        usage = self.usage.get(key)
        if usage is None:
            usage = self.usage[key] = Usage()
        calls = max(1, event.requests)
        usage.requests[event.status] += calls
        if event.duration_seconds is not None:
            if (durations := self.call_durations.get(key)) is None:
                durations = self.call_durations[key] = Histogram(CALL_DURATION_BUCKETS)
            durations.observe(event.duration_seconds)
        tokens = event.tokens
        for index, count in enumerate(tokens):
            if count:
                usage.tokens[index] += count
        price = self._pricer(event)
        usage.add_price(price, calls)
        if price.usd is not None:
            self._spend(event.ts, price.usd)
        if event.task_id is not None:
            attempt = self._attempt(event.task_id, event.attempt)
            self.names["domains"].see(attempt.domain, event.ts)
            attempt.calls += calls
            if attempt.tokens is None:
                attempt.tokens = list(tokens)
            else:
                for index, count in enumerate(tokens):
                    if count is not None:
                        attempt.tokens[index] = count + (attempt.tokens[index] or 0)
            if price.usd is None:
                attempt.uncosted_calls += calls
            else:
                attempt.cost_usd = price.usd if attempt.cost_usd is None else attempt.cost_usd + price.usd
            self._worker(event.worker_id or attempt.worker_id, event)
        else:
            self._worker(event.worker_id, event)

    def _spend(self, ts: float, usd: Decimal) -> None:
        minute = int(ts // 60)
        self.spent_by_minute[minute] = self.spent_by_minute.get(minute, Decimal(0)) + usd
        if len(self.spent_by_minute) > SPEND_MINUTES:
            del self.spent_by_minute[min(self.spent_by_minute)]

    def _log_line(self, event: LogLine) -> None:
        """Note that the worker is alive; the text is for the replay."""
        self._worker(event.worker_id, event)

    def _task_finished(self, event: TaskFinished) -> None:
        stamp = EventTime(event.ts, event.writer, event.seq)
        attempt = self._attempt(event.task_id, event.attempt)
        self.names["domains"].see(attempt.domain, event.ts)
        duration = event.duration_seconds
        if duration is not None:
            attempt.durations += (duration,)
            self._observe_duration(attempt.domain, duration, 1)
        worker_id = event.worker_id or attempt.worker_id
        worker = self._worker(worker_id, event)
        if event.score is not None and event.outcome in MEASURED_OUTCOMES:
            self.tallies.see_score(event.outcome == "success", event.score, event.outcome_from_score)
        for name in event.scores or ():
            if len(self.scorers) < MAX_SCORERS:
                self.scorers[name] = None
        if event.scorer is not None and stamp.after(self._scorer_stamp):
            self.scorer, self._scorer_stamp = event.scorer, stamp
        self._count(attempt, -1)
        attempt.finishes += 1
        self.retries += attempt.finishes > max(attempt.starts, 1)
        is_open = attempt.status == "running"
        opened = (attempt.started_at, attempt.recorded_steps, attempt.last_action) if is_open else (None, 0, None)
        if self._select_writer(attempt, stamp):
            self._release_worker(attempt)
            if attempt.stamp is None:  # another writer recorded the start and the steps
                attempt.started_at, attempt.recorded_steps, attempt.last_action = opened
            elif attempt.finished:
                replaced = EarlierResult(attempt.stamp.ts, attempt.status, attempt.score)
                attempt.earlier_results = (*attempt.earlier_results, replaced)
            attempt.status, attempt.stamp, attempt.worker_id, attempt.trail = event.outcome, stamp, worker_id, None
            attempt.reported_steps, attempt.score, attempt.scores = event.steps, event.score, event.scores
            attempt.duration_seconds, attempt.error, attempt.reason = duration, event.error, event.reason
            if attempt.started_at is None and duration is not None:
                attempt.started_at = event.ts - duration
            self._select_result(attempt)
            self._finish_log.append(attempt)
        self._count(attempt, 1)
        if worker is not None:
            worker.outcomes[event.outcome] += 1
            worker.current.pop((event.task_id, event.attempt), None)
            clock = worker.clocks[event.writer]
            clock.open = max(0, clock.open - 1)
            if clock.open == 0 and clock.state == "busy":
                clock.state = "idle"
            if stamp.after(worker.stamp):
                worker.stamp = stamp
                if clock.open == 0 and worker.state == "busy":
                    worker.state = "idle"

    def _observe_duration(self, domain: str, seconds: float, change: int) -> None:
        if (durations := self.durations.get(domain)) is None:
            durations = self.durations[domain] = Histogram(DURATION_BUCKETS)
        durations.observe(seconds, change)

    def _run_finished(self, event: RunFinished) -> None:
        stamp = EventTime(event.ts, event.writer, event.seq)
        if stamp.after(self._finished):
            self._finished = stamp
            self._end_status = "aborted" if event.status == "aborted" else "completed"
        self._judge_end()

    def _judge_end(self) -> None:
        """Set whether the run is finished: its end is recorded, and nobody has taken it up again since.

        The start of another writer after the end is a resumption only if tasks were started there, too: a process that
        joined with its clock ahead does not keep a finished run running.
        """
        end = self._finished
        self._is_finished = end is not None and not any(
            start.seq > end.seq
            if writer == end.writer
            else start.ts > end.ts and self._last_task_events.get(writer, 0.0) > end.ts
            for writer, start in self._run_starts.items()
        )

    def _heartbeat(self, event: Heartbeat) -> None:
        self._worker(event.worker_id, event)
        if event.lost_events > self.lost_events.get(event.writer, 0):
            self.lost_events[event.writer] = event.lost_events

    def _select_writer(self, attempt: Attempt, stamp: EventTime) -> bool:
        """Make the record of an event's writer the attempt's current one; False where that one is newer."""
        if attempt.stamp is None or attempt.stamp.writer == stamp.writer:
            return stamp.after(attempt.stamp)
        record = attempt.other_writers.get(stamp.writer)
        if record is not None and not stamp.after(record["stamp"]):
            return False
        attempt.other_writers[attempt.stamp.writer] = attempt.take_record()
        attempt.set_record(attempt.other_writers.pop(stamp.writer, NEW_RECORD))
        return True

    def _select_result(self, attempt: Attempt) -> None:
        """Make the record that counts among those of all writers the current one."""
        if not attempt.other_writers:
            return
        for writer in list(attempt.other_writers):
            current = attempt.take_record()
            precedence = attempt.precedence
            attempt.set_record(attempt.other_writers[writer])
            if attempt.precedence > precedence:
                del attempt.other_writers[writer]
                attempt.other_writers[current["stamp"].writer] = current
            else:
                attempt.set_record(current)

    def _count_measured_steps(self, attempt: Attempt, change: int) -> None:
        if attempt.measured and attempt.steps is not None:
            self.measured_steps[0] += change * attempt.steps
            self.measured_steps[1] += change
            if attempt.max_steps is not None:
                self.step_limits[0] += change * (attempt.steps >= attempt.max_steps)
                self.step_limits[1] += change

    def _attempt(self, task_id: str, number: int) -> Attempt:
        attempt = self._attempts.get((task_id, number))
        if attempt is None:
            if number == 0 and self.first_attempt:
                self._number_from_zero()
                return self._attempt(task_id, number)
            domain = self._stated_domains.get(task_id) or self._planned.get(task_id)
            attempt = Attempt(task_id, number, domain, None)
            first = self._attempts.get((task_id, self.first_attempt))
            if first is not None:  # another attempt at a task that was described
                attempt.instruction = first.instruction
            self._add(attempt)
        return attempt

    def _number_from_zero(self) -> None:
        """Number the planned attempts from 0: the record of a first attempt that has not started becomes number 0."""
        self.first_attempt = 0
        for task_id, domain in self._planned.items():
            first = self._attempts.get((task_id, 1))
            if first is not None and _is_placeholder(first):
                self._remove(first)
            if len(self._numbers[task_id]) < self.attempts_planned:
                self._add(Attempt(task_id, 0, domain, None if first is None else first.instruction))

    def _add(self, attempt: Attempt) -> None:
        task_id, number = attempt.task_id, attempt.attempt
        self._count_unstarted_of(task_id, -1)
        self._attempts[task_id, number] = attempt
        numbers = self._numbers.get(task_id, ())
        self.task_count += not numbers
        if isinstance(numbers, list):
            numbers.append(number)
        else:
            self._numbers[task_id] = numbers = [*numbers, number] if numbers else _ALONE.get(number) or (number,)
        self._count_unstarted_of(task_id, 1)
        self.attempt_count += 1
        self._count(attempt, 1)
        if len(numbers) > self.attempts_planned:  # attempts of other numbers are those that were planned
            first = self._attempts.get((task_id, self.first_attempt))
            if first is not None and first is not attempt and _is_placeholder(first):
                self._remove(first)

    def _remove(self, attempt: Attempt) -> None:
        self._count(attempt, -1)
        self.attempt_count -= 1
        self._count_unstarted_of(attempt.task_id, -1)
        del self._attempts[attempt.task_id, attempt.attempt]
        numbers = tuple(number for number in self._numbers[attempt.task_id] if number != attempt.attempt)
        self._numbers[attempt.task_id] = numbers
        self.task_count -= not numbers
        self._count_unstarted_of(attempt.task_id, 1)

    def _count(self, attempt: Attempt, change: int) -> None:
        """Add (1) or remove (-1) an attempt from everything that is summed over attempts."""
        key = (attempt.domain, attempt.status)
        self.counts[key] = self.counts.get(key, 0) + change
        if attempt.finished:
            self._count_measured_steps(attempt, change)
            self.tallies.count(attempt, change)
        elif attempt.status == "running":
            if change > 0:
                self.open_attempts[attempt.task_id, attempt.attempt] = attempt
            else:
                del self.open_attempts[attempt.task_id, attempt.attempt]

    def _set_domain(self, attempt: Attempt, domain: str | None, *, is_stated: bool) -> None:
        """Take note of a task's domain, for all attempts at it: else it would count as one task in each.

        Where several are given, it does not depend on the order in which logs are read: the start of a task goes before
        the plan, and then the first by name.

        Args:
            attempt: An attempt at the task.
            domain: The domain, if there is one.
            is_stated: Whether a start of the task states it, not the plan.
        """
        task_id, known = attempt.task_id, attempt.domain
        if not domain or domain == UNKNOWN:
            return
        was_stated = task_id in self._stated_domains
        is_first = domain < known if was_stated == is_stated else is_stated
        if known != UNKNOWN and not is_first:
            return
        if is_stated:
            self._stated_domains[task_id] = domain
        if domain == known:
            return
        for each in self._attempts_of(task_id):
            self._move(each, domain)
        if task_id in self._planned:
            self._count_unstarted_of(task_id, -1)
            self._planned[task_id] = domain
            self._count_unstarted_of(task_id, 1)

    def _attempts_of(self, task_id: str) -> list[Attempt]:
        """Return all recorded attempts at a task."""
        return [self._attempts[task_id, number] for number in self._numbers[task_id]]

    def _move(self, attempt: Attempt, domain: str) -> None:
        """Count an attempt in another domain."""
        self._count(attempt, -1)
        for duration in attempt.durations:
            self._observe_duration(attempt.domain, duration, -1)
            self._observe_duration(domain, duration, 1)
        attempt.domain = domain
        self._count(attempt, 1)

    def _release_worker(self, attempt: Attempt) -> None:
        """Remove the attempt from its worker's current tasks."""
        if attempt.worker_id is not None and (worker := self.workers.get(attempt.worker_id)) is not None:
            worker.current.pop((attempt.task_id, attempt.attempt), None)

    def _worker(self, worker_id: str | None, event: Event) -> Worker | None:
        if worker_id is None:
            return None
        ts = event.ts
        worker = self.workers.get(worker_id)
        if worker is None:
            worker = self.workers[worker_id] = Worker(ts)
            self.names["workers"].see(worker_id, ts)
        elif ts < worker.first_seen:
            worker.first_seen = ts
            self.names["workers"].see(worker_id, ts)
        clock = worker.clocks.get(event.writer)
        if clock is None:
            worker.clocks[event.writer] = BusyIdleClock(ts)
        else:
            clock.advance(ts)
        return worker

    # -- what depends on the present time

    def is_finished(self) -> bool:
        """Return whether the log records the run's end and no resumption since."""
        return self._is_finished

    def status(self, now: float, stall_after: float) -> RunStatus:
        """Return the run's status.

        Args:
            now: The present, Unix seconds.
            stall_after: Seconds without an event after which an unfinished run is ``stalled``.
        """
        if self.is_finished():
            return self._end_status
        return "stalled" if self.is_silent(None, now, stall_after) else "running"

    @property
    def ended_at(self) -> float | None:
        """Unix seconds of the run's end, None while the log records none."""
        return self._finished.ts if self._finished is not None and self.is_finished() else None

    def is_silent(self, writer: str | None, now: float, stall_after: float) -> bool:
        """Return whether a writer has been silent for longer than ``stall_after``; without a writer, the whole run.

        While nothing of the run can be read, nobody falls silent: an outage of the storage is no death of a run.
        """
        last = self.last_event_at if writer is None else self.writers.get(writer, 0.0)
        since = self.unreadable_since
        if since is not None and self.last_event_at <= since:
            now = min(now, since)
        return now - last > stall_after

    @property
    def last_progress_at(self) -> float:
        """Unix seconds of the last event that shows progress; 0 without one."""
        return min(self._progress_at, self.last_event_at)

    def status_of(self, attempt: Attempt, now: float, stall_after: float) -> str:
        """Return the status; ``interrupted`` for an open attempt whose run is finished or whose writer is silent."""
        if attempt.status == "running" and (self.is_finished() or self.is_silent(attempt.writer, now, stall_after)):
            return "interrupted"
        return attempt.status

    def running_attempts(self, now: float, stall_after: float) -> list[Attempt]:
        """Return the attempts that are running, in the order in which they started."""
        return [a for a in self.open_attempts.values() if self.status_of(a, now, stall_after) == "running"]

    def task_counts(self, now: float, stall_after: float) -> dict[tuple[str, str], int]:
        """Return the attempts by (domain, status) as of ``now``; planned ones without a name are in domain unknown."""
        counts = dict(self.counts)
        for attempt in self.open_attempts.values():
            if self.status_of(attempt, now, stall_after) == "interrupted":
                counts[attempt.domain, "running"] -= 1
                key = (attempt.domain, "interrupted")
                counts[key] = counts.get(key, 0) + 1
        for domain, count in (*self.unstarted.items(), (UNKNOWN, self.unnamed_count)):
            counts[domain, "pending"] = counts.get((domain, "pending"), 0) + count
        return {key: count for key, count in counts.items() if count}

    @property
    def total(self) -> int:
        """Number of attempts, planned and unplanned."""
        known = self.attempt_count + sum(self.unstarted.values())
        return max(known, (self.total_tasks or 0) * self.attempts_planned)

    @property
    def distinct_tasks(self) -> int:
        """Number of tasks, planned and unplanned."""
        return max(self.task_count, self.total_tasks or 0)

    @property
    def unnamed_count(self) -> int:
        """Number of planned attempts that are known by their number alone."""
        return self.total - self.attempt_count - sum(self.unstarted.values())

    @property
    def finished_count(self) -> int:
        """Number of attempts with an outcome. Those that were open when the run ended or stalled have none."""
        return sum(count for (_, status), count in self.counts.items() if status in OUTCOMES)

    def statuses(self, now: float, stall_after: float) -> dict[str, int]:
        """Return the attempts by status over all domains; statuses that do not occur are left out."""
        sums: dict[str, int] = {}
        for (_, status), count in self.task_counts(now, stall_after).items():
            sums[status] = sums.get(status, 0) + count
        return sums

    def worker_state(self, worker: Worker, now: float, stall_after: float) -> str:
        """Return the worker's state: ``stopped`` once the run is finished, ``lost`` once all its writers are silent."""
        if worker.state in ("stopped", "lost"):
            return worker.state
        if self.is_finished():
            return "stopped"
        if all(self.is_silent(writer, now, stall_after) for writer in worker.clocks):
            return "lost"
        return worker.state

    @property
    def mean_steps(self) -> float | None:
        """Mean steps of the measured attempts, as far as they are known."""
        steps, count = self.measured_steps
        return steps / count if count else None

    def pending_tasks(self) -> Iterator[tuple[str, str, int]]:
        """Yield the id and the domain of tasks with pending attempts, and the number of these; known names only."""
        for attempt in self._attempts.values():
            if attempt.status == "pending":
                yield attempt.task_id, attempt.domain, 1
        for task_id, domain in self._planned.items():
            if (missing := self.attempts_planned - len(self._numbers.get(task_id, ()))) > 0:
                yield task_id, domain, missing

    def iterate_attempts(self) -> Iterator[Attempt]:
        """Yield all attempts by task and number, also the planned ones without a record, which are made on the way."""
        recorded = self.attempts
        for task_id in sorted({*self._planned, *self._numbers}):
            numbers = self._numbers.get(task_id, ())
            missing = 0 if task_id not in self._planned else max(0, self.attempts_planned - len(numbers))
            free = (number for number in itertools.count(self.first_attempt) if number not in numbers)
            for number in sorted([*numbers, *itertools.islice(free, missing)]):
                attempt = recorded.get((task_id, number))
                yield attempt or Attempt(task_id, number, self._planned[task_id], None)

    def finished_attempts(self) -> list[Attempt]:
        """Return the finished attempts in the order in which they ended."""
        return sorted((a for a in self.attempts.values() if a.finished), key=lambda a: (a.finished_at, a.task_id))


def _is_placeholder(attempt: Attempt) -> bool:
    """Return whether an attempt is planned and nothing of it has happened."""
    return attempt.status == "pending" and not attempt.calls


class SourceHealth:
    """Health of one kind of source."""

    __slots__ = ("errors", "last_success_at", "refresh_seconds", "up")

    def __init__(self) -> None:
        self.up = True
        self.last_success_at: float | None = None
        self.refresh_seconds: float | None = None
        self.errors: dict[str, int] = {}


class State:
    """State of everything, which the views read. Readers and writers hold ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, RunState] = {}
        """By run id."""
        self.sources: dict[str, SourceHealth] = {}
        self.ready = False
        """True once every source was read once."""
        self.version = 0
        """Grows with every change."""

    def health(self, source: str) -> SourceHealth:
        """Return the health of a source, created on first use."""
        health = self.sources.get(source)
        if health is None:
            health = self.sources[source] = SourceHealth()
        return health


def fold(run_id: str, source: str, events: Iterable[Event], pricer: Pricer = unpriced) -> RunState:
    """Return the state after these events."""
    state = RunState(run_id, source, pricer)
    for event in events:
        state.apply(event)
    return state


_FOLDS: Mapping[type, Callable[..., None]] = {
    RunStarted: RunState._run_started,
    WorkerState: RunState._worker_state,
    TaskStarted: RunState._task_started,
    Step: RunState._step,
    LlmCall: RunState._llm_call,
    LogLine: RunState._log_line,
    Message: RunState._log_line,
    TaskFinished: RunState._task_finished,
    RunFinished: RunState._run_finished,
    Heartbeat: RunState._heartbeat,
}
