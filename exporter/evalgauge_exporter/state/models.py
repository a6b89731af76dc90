"""Records that a run's state consists of: attempts, workers and their clocks, model usage."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from evalgauge.events import TERMINAL_ACTIONS, Step
from evalgauge.metrics import MEASURED_OUTCOMES, OUTCOMES
from evalgauge.pricing import STATED, Price

UNKNOWN = "unknown"
OTHER = "other"
_FINISHED = frozenset(OUTCOMES)
_MEASURED = frozenset(MEASURED_OUTCOMES)
MAX_REASONS = 20
"""Reasons why calls of a model are unpriced that are told apart."""


class EventTime(NamedTuple):
    """When and by which writer an event was written."""

    ts: float
    writer: str
    seq: int

    def after(self, other: EventTime | None) -> bool:
        """Return whether this event is later: by sequence within one writer, by time between writers."""
        if other is None:
            return True
        if self.writer == other.writer:
            return self.seq >= other.seq
        return self.ts >= other.ts


class EarlierResult(NamedTuple):
    """The result of an attempt that was retried."""

    finished_at: float
    """Unix seconds."""
    outcome: str
    score: float | None


class Attempt:
    """One attempt at one task."""

    __slots__ = (
        "attempt",
        "calls",
        "cost_usd",
        "domain",
        "duration_seconds",
        "durations",
        "earlier_results",
        "error",
        "finishes",
        "first_action_correct",
        "instruction",
        "last_action",
        "max_steps",
        "other_writers",
        "reason",
        "recorded_steps",
        "reported_steps",
        "score",
        "scores",
        "stamp",
        "started_at",
        "starts",
        "status",
        "task_id",
        "time_limit_seconds",
        "tokens",
        "trail",
        "uncosted_calls",
        "worker_id",
        "writer",
    )

    def __init__(self, task_id: str, attempt: int, domain: str | None, instruction: str | None) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.domain = domain or UNKNOWN
        self.instruction = instruction
        self.status = "pending"
        """``pending``, ``running`` or an outcome, as the log has it; ``RunState.status_of`` also knows dead runs."""
        self.stamp: EventTime | None = None
        """The event that set the status; its time is when the attempt started or ended."""
        self.started_at: float | None = None
        self.writer: str | None = None
        self.worker_id: str | None = None
        self.max_steps: int | None = None
        self.time_limit_seconds: float | None = None
        self.starts = 0
        """Number of starts in the log."""
        self.finishes = 0
        """Number of ends in the log."""
        self.earlier_results: Sequence[EarlierResult] = ()
        """Results that a retry replaced."""
        self.other_writers: dict[str, dict[str, Any]] = {}
        """What writers other than that of ``stamp`` recorded of this attempt: values of ``WRITER_FIELDS`` by writer."""
        self.recorded_steps = 0
        self.reported_steps: int | None = None
        self.last_action: str | None = None
        self.score: float | None = None
        """The headline score, on the format's own scale."""
        self.scores: dict[str, float] | None = None
        """All scores by scorer or key."""
        self.duration_seconds: float | None = None
        self.durations: tuple[float, ...] = ()
        """Seconds of each end that was read, of one that was resumed several."""
        self.error: str | None = None
        self.reason: str | None = None
        self.first_action_correct: bool | None = None
        self.calls = 0
        self.uncosted_calls = 0
        self.cost_usd: Decimal | None = None
        self.trail: deque[Step] | None = None
        """The newest steps while the attempt is open."""
        self.tokens: list[int | None] | None = None
        """Sums by kind in the order of ``TOKEN_KINDS``; None for a kind that no call reported."""

    @property
    def retries(self) -> int:
        """How often the attempt was started again."""
        return max(self.starts, self.finishes, 1) - 1

    @property
    def precedence(self) -> tuple[bool, float]:
        """Order between the records of different writers, whose clocks may differ: a measured outcome before any other,
        then the later one.
        """
        return self.measured, -math.inf if self.stamp is None else self.stamp.ts

    def start(self, stamp: EventTime, worker_id: str | None) -> None:
        """Begin the record of the writer of ``stamp`` anew, except for the earlier results.

        What it sets are the fields that each writer has its own values of: :data:`WRITER_FIELDS`.
        """
        self.status, self.stamp, self.started_at = "running", stamp, stamp.ts
        self.writer, self.worker_id = stamp.writer, worker_id
        self.trail, self.last_action, self.recorded_steps, self.reported_steps = None, None, 0, None
        self.score, self.scores, self.duration_seconds, self.error, self.reason = None, None, None, None, None

    def take_record(self) -> dict[str, Any]:
        """Return the values of :data:`WRITER_FIELDS`."""
        return {name: getattr(self, name) for name in WRITER_FIELDS}

    def set_record(self, record: dict[str, Any]) -> None:
        """Set the values of :data:`WRITER_FIELDS`."""
        for name, value in record.items():
            setattr(self, name, value)

    @property
    def steps(self) -> int | None:
        """The steps that the runner reported, else the recorded steps without a terminal one; None for a finished
        attempt where nothing tells how many it took.
        """
        if self.reported_steps is not None:
            return self.reported_steps
        if not self.recorded_steps and self.finished:
            return None
        return max(0, self.recorded_steps - (self.last_action in TERMINAL_ACTIONS))

    @property
    def measured(self) -> bool:
        """Whether the outcome measures the agent."""
        return self.status in _MEASURED

    @property
    def finished(self) -> bool:
        """Whether the attempt has an outcome."""
        return self.status in _FINISHED

    @property
    def finished_at(self) -> float | None:
        """Unix seconds, None while the attempt has not ended."""
        return self.stamp.ts if self.stamp is not None and self.finished else None


def _list_writer_fields() -> tuple[str, ...]:
    """Return what a start sets, and what it alone keeps."""
    started = Attempt.__new__(Attempt)  # with no field but those that follow
    started.start(EventTime(0.0, "", 0), None)
    return ("earlier_results", *(name for name in Attempt.__slots__ if hasattr(started, name)))


WRITER_FIELDS = _list_writer_fields()
"""The fields of an attempt that one writer's events set."""
NEW_RECORD = Attempt("", 1, None, None).take_record()
"""Their values before the writer's first event."""


class BusyIdleClock:
    """Busy and idle time of a worker as one writer reported it, in whole microseconds."""

    __slots__ = ("busy", "idle", "off", "open", "seen", "since", "state")

    def __init__(self, ts: float) -> None:
        self.since = ts
        """Unix seconds of the first event."""
        self.seen = ts
        """Unix seconds of the last event."""
        self.off: list[tuple[float, float]] = []
        """Intervals in which it was stopped or lost, before the last event."""
        self.state = "idle"
        self.open = 0
        self.busy = 0
        self.idle = 0

    def advance(self, ts: float) -> None:
        """Count the time since the last event as busy, idle or off; a clock that went back counts nothing."""
        if ts < self.since:
            self.since = ts
        elif ts > self.seen:
            passed = round((ts - self.seen) * 1e6)
            if self.state == "busy":
                self.busy += passed
            elif self.state == "idle":
                self.idle += passed
            elif self.state in ("stopped", "lost"):
                if self.off and self.off[-1][1] == self.seen:
                    self.off[-1] = (self.off[-1][0], ts)
                else:
                    self.off.append((self.seen, ts))
            self.seen = ts


class Worker:
    """A worker of a run: a machine, process or thread that runs one task after the other."""

    __slots__ = (
        "clocks",
        "current",
        "first_seen",
        "machine_stamp",
        "outcomes",
        "provider",
        "rate",
        "stamp",
        "state",
        "vm",
        "vm_size",
    )

    def __init__(self, ts: float) -> None:
        self.clocks: dict[str, BusyIdleClock] = {}
        self.state = "idle"
        self.stamp: EventTime | None = None
        self.first_seen = ts
        self.current: dict[tuple[str, int], None] = {}
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.vm: str | None = None
        self.vm_size: str | None = None
        self.provider: str | None = None
        self.rate: float | None = None
        self.machine_stamp: EventTime | None = None

    @property
    def last_seen(self) -> float:
        """Unix seconds of the last event that named the worker."""
        return max((clock.seen for clock in self.clocks.values()), default=self.first_seen)

    @property
    def busy_seconds(self) -> float:
        """Seconds with a task, up to the last event."""
        return sum(clock.busy for clock in self.clocks.values()) / 1e6

    @property
    def idle_seconds(self) -> float:
        """Seconds without a task, up to the last event."""
        return sum(clock.idle for clock in self.clocks.values()) / 1e6

    @property
    def tasks_completed(self) -> int:
        """Attempts that the worker finished, with any outcome."""
        return sum(self.outcomes.values())


class Usage:
    """Sums over the calls of one model."""

    __slots__ = (
        *("compared_usd", "cost_usd", "reasons", "requests", "stated_usd"),
        *("tables", "tokens", "unknown", "unpriced"),
    )

    def __init__(self) -> None:
        self.tokens = [0, 0, 0, 0]
        self.requests = {"ok": 0, "error": 0, "retry": 0}
        self.unpriced = 0
        self.unknown = 0
        self.cost_usd: Decimal | None = None
        self.tables: dict[str, None] = {}
        self.reasons: dict[str, int] = {}
        """Why calls are unpriced or priced as stated, with their number."""
        self.stated_usd: Decimal | None = None
        """What providers or tools state for calls that have an own price too."""
        self.compared_usd: Decimal | None = None
        """The own price of these calls."""

    def add_price(self, price: Price, calls: int) -> None:
        """Add the price of a call, or of a sum of so many calls."""
        if price.usd is not None:
            self.cost_usd = price.usd if self.cost_usd is None else self.cost_usd + price.usd
            if price.table is not None:
                self.tables[price.table] = None
            if price.stated_usd is not None and price.table != STATED:
                self.stated_usd = (self.stated_usd or Decimal(0)) + price.stated_usd
                self.compared_usd = (self.compared_usd or Decimal(0)) + price.usd
        elif price.state == "unpriced":
            self.unpriced += calls
        else:
            self.unknown += calls
        if price.reason is not None:
            reason = price.reason if price.reason in self.reasons or len(self.reasons) < MAX_REASONS else OTHER
            self.reasons[reason] = self.reasons.get(reason, 0) + calls
