"""The vocabulary of the run log: what can happen in a run, as typed, immutable events.

A line of a run log is one JSON object with ``v``, ``seq``, ``ts`` and ``type`` (docs/runlog.md). ``decode`` turns such
an object into one of the classes here. It is lenient where nothing depends on it (an unknown field is skipped, a
field of the wrong type counts as not given) and strict where something does (a task event without a task).

The classes are named tuples: an exporter decodes tens of thousands a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from evalgauge.metrics import OUTCOMES, REQUEST_STATUSES, WORKER_STATES
from evalgauge.usage import TokenUsage
from evalgauge.values import (
    ID_LENGTH,
    LATEST,
    TEXT_LENGTH,
    parse_count,
    parse_float,
    parse_id,
    parse_non_negative,
    parse_text,
)

VERSION = 1
"""The version of the vocabulary that this release writes and reads."""

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

TERMINAL_ACTIONS = frozenset({"done", "error"})
"""Action types with which an agent ends a task; they are recorded as steps but are no step of the task."""


class InvalidEvent(ValueError):
    """An object that is no event; ``reason`` is one word for counting, the message says what is wrong."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PlannedTask(NamedTuple):
    """A task that a run intends to do."""

    task_id: str
    domain: str | None = None
    instruction: str | None = None


class RunStarted(NamedTuple):
    """A run began, or a process took it up again."""

    ts: float
    seq: int
    writer: str
    run_id: str | None
    benchmark: str | None
    model: str | None
    agent: str | None
    tasks: tuple[PlannedTask, ...]
    total_tasks: int | None
    """How many tasks there are, where their ids are not known beforehand."""
    attempts: int
    budget_usd: float | None
    baseline_run_id: str | None
    tags: Mapping[str, str]


class WorkerState(NamedTuple):
    """A worker said what it is doing."""

    ts: float
    seq: int
    writer: str
    worker_id: str
    state: str
    vm: str | None
    vm_size: str | None
    provider: str | None
    hourly_rate_usd: float | None


class TaskStarted(NamedTuple):
    """An attempt at a task began."""

    ts: float
    seq: int
    writer: str
    task_id: str
    attempt: int
    worker_id: str | None
    domain: str | None
    instruction: str | None
    max_steps: int | None


class Step(NamedTuple):
    """The agent acted once."""

    ts: float
    seq: int
    writer: str
    task_id: str
    attempt: int
    worker_id: str | None
    step_idx: int
    action: Mapping[str, Any]
    reasoning: str | None
    screenshot: str | None
    """Path relative to the run's folder."""
    think_seconds: float | None
    env_seconds: float | None
    first_action_correct: bool | None

    @property
    def action_type(self) -> str:
        """The action's type in lower case, ``"unknown"`` where it has none."""
        kind = self.action.get("type")
        return kind[:60].lower() if isinstance(kind, str) and kind else "unknown"


class LlmCall(NamedTuple):
    """A model was called; the token kinds are disjoint, ``None`` is not reported."""

    ts: float
    seq: int
    writer: str
    provider: str | None
    model: str | None
    tokens: TokenUsage
    duration_seconds: float | None
    status: str
    batch: bool
    task_id: str | None
    attempt: int
    worker_id: str | None
    cache_write_1h_tokens: int | None = None
    """How many of the cache writes live for an hour, which costs more."""


class LogLine(NamedTuple):
    """A line of what the runner or the agent logged during an attempt."""

    ts: float
    seq: int
    writer: str
    task_id: str
    attempt: int
    worker_id: str | None
    level: str
    """``debug``, ``info``, ``warning``, ``error`` or ``critical``."""
    message: str


class TaskFinished(NamedTuple):
    """An attempt at a task ended."""

    ts: float
    seq: int
    writer: str
    task_id: str
    attempt: int
    worker_id: str | None
    outcome: str
    score: float | None
    steps: int | None
    duration_seconds: float | None
    error: str | None
    reason: str | None


class RunFinished(NamedTuple):
    """The run ended, ``completed`` or ``aborted``."""

    ts: float
    seq: int
    writer: str
    status: str


class Heartbeat(NamedTuple):
    """A process says that it is alive."""

    ts: float
    seq: int
    writer: str
    worker_id: str | None
    lost_events: int
    """How many events the process could not write so far."""


Event = RunStarted | WorkerState | TaskStarted | Step | LlmCall | LogLine | TaskFinished | RunFinished | Heartbeat


def decode(raw: object, writer: str) -> Event:
    """The event that a parsed line of the log ``writer`` holds.

    Raises InvalidEvent with the reason ``foreign_line`` (no object), ``unknown_version``, ``unknown_type`` or
    ``bad_field`` (a field without which the event says nothing is missing or of the wrong type).
    """
    if not isinstance(raw, dict):
        raise InvalidEvent("foreign_line", "not a JSON object")
    version = raw.get("v", VERSION)
    if version != VERSION:
        raise InvalidEvent("unknown_version", f"event version {version!r}, this release reads {VERSION}")
    kind = raw.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    if decoder is None:
        raise InvalidEvent("unknown_type", f"event type {str(kind)[:60]!r}")
    ts = raw.get("ts")
    if (type(ts) is not float and type(ts) is not int) or not 0 <= ts < LATEST:  # false for NaN too
        raise InvalidEvent("bad_field", f"{kind} without a time in Unix seconds: ts is {str(ts)[:60]!r}")
    return decoder(raw, float(ts), parse_count(raw.get("seq")) or 0, writer)


def _id(raw: dict[str, Any], key: str) -> str | None:
    return parse_id(raw.get(key), accept_unknown=True)


def _needed(raw: dict[str, Any], key: str) -> str:
    value = _id(raw, key)
    if value is None:
        raise InvalidEvent("bad_field", f"{raw.get('type')} without {key}")
    return value


def _attempt(raw: dict[str, Any]) -> int:
    attempt = parse_count(raw.get("attempt"))
    return 1 if attempt is None else attempt


def _flag(raw: dict[str, Any], key: str) -> bool | None:
    value = raw.get(key)
    return value if type(value) is bool else None


def _planned(value: object) -> tuple[PlannedTask, ...]:
    planned: list[PlannedTask] = []
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and (task_id := _id(item, "task_id")) is not None:
            planned.append(PlannedTask(task_id, _id(item, "domain"), parse_text(item.get("instruction"))))
        elif isinstance(item, str) and item:
            planned.append(PlannedTask(item[:ID_LENGTH]))
    return tuple(planned)


def _run_started(raw: dict[str, Any], ts: float, seq: int, writer: str) -> RunStarted:
    tasks, tags = raw.get("tasks"), raw.get("tags")
    total = parse_count(tasks)
    total = parse_count(raw.get("total_tasks")) if total is None else total
    return RunStarted(
        ts,
        seq,
        writer,
        _id(raw, "run_id"),
        _id(raw, "benchmark"),
        _id(raw, "model"),
        _id(raw, "agent"),
        _planned(tasks),
        total,
        max(1, parse_count(raw.get("attempts")) or 1),
        parse_non_negative(raw.get("budget_usd")),
        _id(raw, "baseline_run_id"),
        {str(k): str(v)[:ID_LENGTH] for k, v in tags.items()} if isinstance(tags, dict) else {},
    )


def _worker_state(raw: dict[str, Any], ts: float, seq: int, writer: str) -> WorkerState:
    state = raw.get("state")
    if state not in WORKER_STATES:
        raise InvalidEvent("bad_field", f"worker_state with the state {str(state)[:60]!r}, not one of {WORKER_STATES}")
    return WorkerState(
        ts,
        seq,
        writer,
        _needed(raw, "worker_id"),
        state,
        _id(raw, "vm"),
        _id(raw, "vm_size"),
        _id(raw, "provider"),
        parse_non_negative(raw.get("hourly_rate_usd")),
    )


def _task_started(raw: dict[str, Any], ts: float, seq: int, writer: str) -> TaskStarted:
    return TaskStarted(
        ts,
        seq,
        writer,
        _needed(raw, "task_id"),
        _attempt(raw),
        _id(raw, "worker_id"),
        _id(raw, "domain"),
        parse_text(raw.get("instruction")),
        parse_count(raw.get("max_steps")),
    )


def _step(raw: dict[str, Any], ts: float, seq: int, writer: str) -> Step:
    action = raw.get("action")
    return Step(
        ts,
        seq,
        writer,
        _needed(raw, "task_id"),
        _attempt(raw),
        _id(raw, "worker_id"),
        parse_count(raw.get("step_idx")) or 0,
        action if isinstance(action, dict) else {"type": action} if isinstance(action, str) else {},
        raw["reasoning"] if type(raw.get("reasoning")) is str else None,
        raw["screenshot"] if type(raw.get("screenshot")) is str else None,
        parse_non_negative(raw.get("think_seconds")),
        parse_non_negative(raw.get("env_seconds")),
        _flag(raw, "first_action_correct"),
    )


def _llm_call(raw: dict[str, Any], ts: float, seq: int, writer: str) -> LlmCall:
    status = raw.get("status")
    return LlmCall(
        ts,
        seq,
        writer,
        _id(raw, "provider"),
        _id(raw, "model"),
        TokenUsage(
            parse_count(raw.get("input_tokens")),
            parse_count(raw.get("cache_read_tokens")),
            parse_count(raw.get("cache_write_tokens")),
            parse_count(raw.get("output_tokens")),
        ),
        parse_non_negative(raw.get("duration_seconds")),
        status if isinstance(status, str) and status in REQUEST_STATUSES else "ok",
        raw.get("batch") is True,
        _id(raw, "task_id"),
        _attempt(raw),
        _id(raw, "worker_id"),
        parse_count(raw.get("cache_write_1h_tokens")),
    )


def _log(raw: dict[str, Any], ts: float, seq: int, writer: str) -> LogLine:
    message = raw.get("message")
    if not isinstance(message, str):
        raise InvalidEvent("bad_field", "log without a message")
    return LogLine(
        ts,
        seq,
        writer,
        _needed(raw, "task_id"),
        _attempt(raw),
        _id(raw, "worker_id"),
        log_level(raw.get("level")),
        message[:TEXT_LENGTH],
    )


def log_level(name: object) -> str:
    """A level as it is called here, whatever its case; ``info`` for one that is not known."""
    level = name.lower() if isinstance(name, str) else "info"
    return level if level in LOG_LEVELS else {"warn": "warning", "fatal": "critical"}.get(level, "info")


def _task_finished(raw: dict[str, Any], ts: float, seq: int, writer: str) -> TaskFinished:
    outcome = raw.get("outcome")
    if outcome not in OUTCOMES:
        raise InvalidEvent("bad_field", f"task_finished with the outcome {str(outcome)[:60]!r}, not one of {OUTCOMES}")
    return TaskFinished(
        ts,
        seq,
        writer,
        _needed(raw, "task_id"),
        _attempt(raw),
        _id(raw, "worker_id"),
        outcome,
        parse_float(raw.get("score")),
        parse_count(raw.get("steps")),
        parse_non_negative(raw.get("duration_seconds")),
        parse_text(raw.get("error")),
        parse_text(raw.get("reason")),
    )


def _run_finished(raw: dict[str, Any], ts: float, seq: int, writer: str) -> RunFinished:
    return RunFinished(ts, seq, writer, "aborted" if raw.get("status") == "aborted" else "completed")


def _heartbeat(raw: dict[str, Any], ts: float, seq: int, writer: str) -> Heartbeat:
    return Heartbeat(ts, seq, writer, _id(raw, "worker_id"), parse_count(raw.get("lost_events")) or 0)


_DECODERS: dict[str, Callable[[dict[str, Any], float, int, str], Event]] = {
    "run_started": _run_started,
    "worker_state": _worker_state,
    "task_started": _task_started,
    "step": _step,
    "llm_call": _llm_call,
    "log": _log,
    "task_finished": _task_finished,
    "run_finished": _run_finished,
    "heartbeat": _heartbeat,
}

TYPES = tuple(_DECODERS)
"""The types of events, as they stand in the log."""
