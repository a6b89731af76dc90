"""The vocabulary of the run log: what can happen in a run, as typed events.

A line of a run log is one JSON object with ``v``, ``seq``, ``ts`` and ``type`` (docs/runlog.md). ``decode_line`` turns
a line into one of the classes here. It is lenient where nothing depends on it (an unknown field is skipped, a field of
the wrong type counts as not given) and strict where something does (a task event without a task).

The classes are msgspec structs: a line that holds what it should is decoded and checked in one step in C. Only a line
that does not is taken apart field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from pydantic_core import from_json

from evalgauge.errors import InvalidEvent
from evalgauge.metrics import OUTCOMES, REQUEST_STATUSES, WORKER_STATES
from evalgauge.usage import CallUsage, TokenUsage
from evalgauge.values import (
    ID_LENGTH,
    LARGEST,
    LARGEST_COUNT,
    LATEST,
    TEXT_LENGTH,
    parse_count,
    parse_float,
    parse_id,
    parse_non_negative,
)

VERSION = 1
"""The version of the vocabulary that this release writes and reads."""

OBSERVATION_LENGTH = 20_000
"""Observations, messages, answers and targets are cut to so many characters when they are read."""

MAX_SCORES = 100
"""Scorers of one attempt that are kept."""

TERMINAL_ACTIONS = frozenset({"done", "error"})
"""Action types with which an agent ends a task; they are recorded as steps but are no step of the task."""

Outcome = Literal["success", "failure", "agent_error", "infrastructure_error", "evaluation_error", "interrupted"]
"""How an attempt ended: the names of ``evalgauge.metrics.OUTCOMES``."""
WorkerStateName = Literal["starting", "idle", "busy", "stopped", "lost"]
"""What a worker does: the names of ``evalgauge.metrics.WORKER_STATES``."""
RequestStatus = Literal["ok", "error", "retry"]
"""How a model call ended: the names of ``evalgauge.metrics.REQUEST_STATUSES``."""
EndStatus = Literal["completed", "aborted"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
Role = Literal["system", "user"]

LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
_LEVELS: Mapping[str, LogLevel] = {**{level: level for level in LOG_LEVELS}, "warn": "warning", "fatal": "critical"}

assert get_args(Outcome) == OUTCOMES
assert get_args(WorkerStateName) == WORKER_STATES
assert get_args(RequestStatus) == REQUEST_STATUSES

Timestamp = Annotated[float, Meta(ge=0, lt=LATEST)]
"""Unix seconds."""
Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH)]
Text = Annotated[str, Meta(max_length=TEXT_LENGTH)]
Tag = Annotated[str, Meta(max_length=ID_LENGTH)]
LongText = Annotated[str, Meta(max_length=OBSERVATION_LENGTH)]
Number = Annotated[float, Meta(gt=-LARGEST, lt=LARGEST)]
Amount = Annotated[float, Meta(ge=0, lt=LARGEST)]
Count = Annotated[int, Meta(ge=0, lt=LARGEST_COUNT)]
CountFromOne = Annotated[int, Meta(ge=1, lt=LARGEST_COUNT)]


class PlannedTask(Struct, frozen=True, gc=False):
    """A task that a run intends to do."""

    task_id: Id
    domain: Id | None = None
    instruction: Text | None = None


class BaseEvent(Struct, kw_only=True, gc=False, tag_field="type"):
    """What every event has."""

    ts: Timestamp
    """Unix seconds, by the writer's clock."""
    seq: Count = 0
    """The event's number within its writer's file."""
    writer: str = ""
    """The log file's name without its suffix; set by whoever reads it, never taken from the line."""


class RunStarted(BaseEvent, tag="run_started", kw_only=True, gc=False):
    """A run began, or a process took it up again."""

    run_id: Id | None = None
    benchmark: Id | None = None
    model: Id | None = None
    agent: Id | None = None
    tasks: tuple[PlannedTask, ...] = ()
    total_tasks: Count | None = None
    """How many tasks there are, where their ids are not known beforehand."""
    attempts: CountFromOne = 1
    budget_usd: Amount | None = None
    baseline_run_id: Id | None = None
    tags: dict[str, Tag] = {}


class WorkerState(BaseEvent, tag="worker_state", kw_only=True, gc=False):
    """A worker reported its state."""

    worker_id: Id
    state: WorkerStateName
    vm: Id | None = None
    vm_size: Id | None = None
    provider: Id | None = None
    hourly_rate_usd: Amount | None = None


class TaskStarted(BaseEvent, tag="task_started", kw_only=True, gc=False):
    """An attempt at a task began."""

    task_id: Id
    attempt: Count = 1
    worker_id: Id | None = None
    domain: Id | None = None
    instruction: Text | None = None
    max_steps: Count | None = None
    """The runner ends the attempt after so many steps."""
    time_limit_seconds: Amount | None = None
    """The runner ends the attempt after so many seconds."""


class Step(BaseEvent, tag="step", kw_only=True, gc=False):
    """The agent acted once."""

    task_id: Id
    attempt: Count = 1
    worker_id: Id | None = None
    step_idx: Count = 0
    action: dict[str, Any] = {}
    reasoning: str | None = None
    observation: LongText | None = None
    """What the agent got to see as text: a tool's output, an accessibility tree."""
    observation_file: str | None = None
    """Path relative to the run's folder, where the observation is longer than ``OBSERVATION_LENGTH``."""
    screenshot: str | None = None
    """Path relative to the run's folder."""
    think_seconds: Amount | None = None
    env_seconds: Amount | None = None
    first_action_correct: bool | None = None

    @property
    def action_type(self) -> str:
        """The action's type in lower case, ``"unknown"`` where it has none."""
        kind = self.action.get("type")
        return kind[:60].lower() if isinstance(kind, str) and kind else "unknown"


class LlmCall(BaseEvent, tag="llm_call", kw_only=True, gc=False):
    """A model was called, or several calls that are reported as one sum.

    The kinds of tokens ``input``, ``cache_read``, ``cache_write`` and ``output`` are disjoint; None is not reported.
    The further kinds are parts of these.
    """

    provider: Id | None = None
    model: Id | None = None
    input_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    """The part of the cache writes with a lifetime of one hour, which costs more."""
    cache_read_audio_tokens: Count | None = None
    """The part of the cache reads that is audio."""
    cache_read_image_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    """The part of the output that is reasoning."""
    input_audio_tokens: Count | None = None
    output_audio_tokens: Count | None = None
    input_image_tokens: Count | None = None
    output_image_tokens: Count | None = None
    requests: Count = 1
    """The number of calls that the counts are the sum of; 0 is a sum of an unknown number."""
    cost_usd: Amount | None = None
    """The cost in US dollars that the provider or a harness states."""
    service_tier: Id | None = None
    """``flex``, ``priority`` and so on, as the provider names it; None is the standard tier."""
    speed: Id | None = None
    """``fast`` where the call was served in a faster mode at another price."""
    region: Id | None = None
    """Where inference ran, if that changes the price."""
    server_tools: dict[str, Count] | None = None
    """Uses of tools that the provider bills by the piece, such as ``web_search``."""
    duration_seconds: Amount | None = None
    status: RequestStatus = "ok"
    batch: bool = False
    """Whether it is billed at the batch price."""
    task_id: Id | None = None
    attempt: Count = 1
    worker_id: Id | None = None

    @property
    def tokens(self) -> TokenUsage:
        """The four disjoint kinds."""
        return TokenUsage(self.input_tokens, self.cache_read_tokens, self.cache_write_tokens, self.output_tokens)

    @property
    def usage(self) -> CallUsage:
        """Everything that the price depends on, besides provider, model and time."""
        return CallUsage(
            self.tokens,
            self.cache_write_1h_tokens,
            self.cache_read_audio_tokens,
            self.cache_read_image_tokens,
            self.reasoning_tokens,
            self.input_audio_tokens,
            self.output_audio_tokens,
            self.input_image_tokens,
            self.output_image_tokens,
            self.requests,
            self.cost_usd,
            self.service_tier,
            self.speed,
            self.region,
            self.server_tools,
            self.batch,
        )


def token_fields(usage: TokenUsage | CallUsage) -> dict[str, Any]:
    """Return what was used as the fields of ``LlmCall``."""
    return (CallUsage(usage) if isinstance(usage, TokenUsage) else usage).as_fields()


class Message(BaseEvent, tag="message", kw_only=True, gc=False):
    """What the system or the user said to the agent in an attempt."""

    task_id: Id
    attempt: Count = 1
    worker_id: Id | None = None
    role: Role = "user"
    text: LongText


class LogLine(BaseEvent, tag="log", kw_only=True, gc=False):
    """A line of what the runner or the agent logged during an attempt."""

    task_id: Id
    attempt: Count = 1
    worker_id: Id | None = None
    level: LogLevel = "info"
    message: Text


class TaskFinished(BaseEvent, tag="task_finished", kw_only=True, gc=False):
    """An attempt at a task ended."""

    task_id: Id
    attempt: Count = 1
    worker_id: Id | None = None
    outcome: Outcome
    score: Number | None = None
    """The headline score, in the format's own scale."""
    scores: dict[str, Number] | None = None
    """Every score by its scorer's name, where there are several."""
    scorer: Id | None = None
    """Name of the headline's scorer, one of ``scores``."""
    outcome_from_score: bool | None = None
    """Whether the outcome states nothing but on which side of the threshold the headline score lies."""
    answer: LongText | None = None
    """What the agent answered."""
    target: LongText | None = None
    """What would have been right."""
    steps: Count | None = None
    duration_seconds: Amount | None = None
    error: Text | None = None
    reason: Text | None = None


class RunFinished(BaseEvent, tag="run_finished", kw_only=True, gc=False):
    """The run ended, ``completed`` or ``aborted``."""

    status: EndStatus = "completed"


class Heartbeat(BaseEvent, tag="heartbeat", kw_only=True, gc=False):
    """A process reports that it is alive."""

    worker_id: Id | None = None
    lost_events: Count = 0
    """How many events the process could not write so far."""


Event = (
    RunStarted | WorkerState | TaskStarted | Step | LlmCall | Message | LogLine | TaskFinished | RunFinished | Heartbeat
)

_CLASSES: dict[str, type[Event]] = {cls.__struct_config__.tag: cls for cls in get_args(Event)}

TYPES = tuple(_CLASSES)
"""The types of events, as they stand in the log."""

_decode_strictly = msgspec.json.Decoder(Event).decode
_HEAD = b'{"v":1,'
"""How a line of this version begins where evalgauge wrote it."""


def decode_line(line: bytes, writer: str) -> Event:
    """Return the event that a line of the log ``writer`` holds.

    Args:
        line: One line without its newline.
        writer: The name of the log file without its suffix.

    Raises:
        InvalidEvent: The reason is ``foreign_line`` (no object), ``unknown_version``, ``unknown_type`` or
            ``bad_field`` (a field without which the event says nothing is missing or of the wrong type).
        ValueError: The line is no JSON.
    """
    if line.startswith(_HEAD):
        try:
            event: Event = _decode_strictly(line)
        except msgspec.MsgspecError:
            pass
        else:
            event.writer = writer
            return event
    return decode(from_json(line), writer)


def decode(raw: object, writer: str) -> Event:
    """Return the event that a parsed line holds, field by field: what is of the wrong type counts as not given.

    Args:
        raw: The JSON value of the line.
        writer: The name of the log file without its suffix.

    Raises:
        InvalidEvent: As ``decode_line``.
    """
    if not isinstance(raw, dict):
        raise InvalidEvent("foreign_line", "not a JSON object")
    version = raw.get("v", VERSION)
    if version != VERSION:
        raise InvalidEvent("unknown_version", f"event version {version!r}, this release reads {VERSION}")
    kind = raw.get("type")
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InvalidEvent("unknown_type", f"event type {str(kind)[:60]!r}")
    ts = parse_float(raw.get("ts"))
    if ts is None or not 0 <= ts < LATEST:
        raise InvalidEvent("bad_field", f"{kind} without a time in Unix seconds: ts is {str(raw.get('ts'))[:60]!r}")
    if cls is RunStarted and type(raw.get("tasks")) is int:
        raw = {**raw, "total_tasks": raw["tasks"]}
    fields: dict[str, Any] = {"ts": ts, "writer": writer}
    for name, required, parse in _FIELDS[cls]:
        value = parse(raw.get(name))
        if value is not None:
            fields[name] = value
        elif required:
            raise InvalidEvent("bad_field", f"{kind} without {name}: {str(raw.get(name))[:60]!r}")
    return cls(**fields)


def parse_log_level(name: object) -> LogLevel:
    """Return a level as it is called here, whatever its case; ``info`` for one that is not known."""
    return _LEVELS.get(name.lower(), "info") if isinstance(name, str) else "info"


def _parse_text(value: object, length: int = TEXT_LENGTH) -> str | None:
    return value[:length] if type(value) is str else None


def _parse_long_text(value: object) -> str | None:
    return _parse_text(value, OBSERVATION_LENGTH)


def _parse_any_text(value: object) -> str | None:
    return value if type(value) is str else None


def _parse_id(value: object) -> str | None:
    return parse_id(value, accept_unknown=True)


def _parse_count_from_one(value: object) -> int | None:
    return parse_count(value) or None


def _parse_flag(value: object) -> bool | None:
    return value if type(value) is bool else None


def _parse_action(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else {"type": value} if isinstance(value, str) else None


def _parse_tags(value: object) -> dict[str, str]:
    return {str(k): str(v)[:ID_LENGTH] for k, v in value.items()} if isinstance(value, dict) else {}


def _parse_map(parse: Callable[[object], Any]) -> Callable[[object], dict[str, Any] | None]:
    def parse_map(value: object) -> dict[str, Any] | None:
        items = list(value.items())[:MAX_SCORES] if isinstance(value, dict) else []
        return {str(key)[:ID_LENGTH]: found for key, item in items if (found := parse(item)) is not None} or None

    return parse_map


def _parse_tasks(value: object) -> tuple[PlannedTask, ...]:
    planned: list[PlannedTask] = []
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict) and (task_id := _parse_id(item.get("task_id"))) is not None:
            domain, instruction = _parse_id(item.get("domain")), _parse_text(item.get("instruction"))
            planned.append(PlannedTask(task_id, domain, instruction))
        elif isinstance(item, str) and item:
            planned.append(PlannedTask(item[:ID_LENGTH]))
    return tuple(planned)


def _one_of(names: Any) -> Callable[[object], Any]:
    allowed = frozenset(get_args(names))
    return lambda value: value if isinstance(value, str) and value in allowed else None


_PARSERS: Mapping[Any, Callable[[object], Any]] = {
    Id: _parse_id,
    Text: _parse_text,
    LongText: _parse_long_text,
    str: _parse_any_text,
    Number: parse_float,
    Amount: parse_non_negative,
    Count: parse_count,
    CountFromOne: _parse_count_from_one,
    bool: _parse_flag,
    Outcome: _one_of(Outcome),
    WorkerStateName: _one_of(WorkerStateName),
    RequestStatus: _one_of(RequestStatus),
    EndStatus: _one_of(EndStatus),
    Role: _one_of(Role),
    LogLevel: parse_log_level,
    dict[str, Any]: _parse_action,
    dict[str, Tag]: _parse_tags,
    dict[str, Count]: _parse_map(parse_count),
    dict[str, Number]: _parse_map(parse_float),
    tuple[PlannedTask, ...]: _parse_tasks,
}
"""How a field of each type is taken from a line that msgspec refused."""


def _field_parsers(cls: type[Event]) -> tuple[tuple[str, bool, Callable[[object], Any]], ...]:
    found = []
    for field in msgspec.structs.fields(cls):
        if field.name in ("ts", "writer"):
            continue
        optional = [part for part in get_args(field.type) if part is type(None)]
        kind = next(part for part in get_args(field.type) if part is not type(None)) if optional else field.type
        found.append((field.name, field.required, _PARSERS[kind]))
    return tuple(found)


_FIELDS = {cls: _field_parsers(cls) for cls in _CLASSES.values()}
