"""Records that a run's state consists of: attempts, workers and their clocks, model usage."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from evalgauge.events import TERMINAL_ACTIONS, Step
from evalgauge.metrics import MEASURED_OUTCOMES, OUTCOMES
from evalgauge.pricing import STATED, Price

UNKNOWN = "unknown"
OTHER = "other"
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


class Attempt:
    """One attempt at one task."""

    __slots__ = (
        "attempt",
        "calls",
        "cost_usd",
        "domain",
        "duration_seconds",
        "error",
        "first_action_correct",
        "instruction",
        "last_action",
        "max_steps",
        "reason",
        "recorded_steps",
        "reported_steps",
        "score",
        "stamp",
        "started_at",
        "status",
        "task_id",
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
        self.recorded_steps = 0
        self.reported_steps: int | None = None
        self.last_action: str | None = None
        self.score: float | None = None
        self.duration_seconds: float | None = None
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
    def steps(self) -> int:
        """The steps that the runner reported, else the recorded steps without a terminal one."""
        if self.reported_steps is not None:
            return self.reported_steps
        return max(0, self.recorded_steps - (self.last_action in TERMINAL_ACTIONS))

    @property
    def measured(self) -> bool:
        """Whether the outcome measures the agent."""
        return self.status in MEASURED_OUTCOMES

    @property
    def finished(self) -> bool:
        """Whether the attempt has an outcome."""
        return self.status in OUTCOMES

    @property
    def finished_at(self) -> float | None:
        """Unix seconds, None while the attempt has not ended."""
        return self.stamp.ts if self.stamp is not None and self.finished else None


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
        self.since = min(self.since, ts)
        if ts > self.seen:
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
