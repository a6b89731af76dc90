"""Trajectories: the fold of a run's events that retains what each attempt did, step by step.

The state of a run keeps sums only, so that a run of any length costs little memory; the replay needs the steps
themselves. A finished attempt is kept compressed, so that a run of 10,000 tasks × 50 steps fits in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from evalgauge.events import Event, LlmCall, LogLine, Message, Step, TaskFinished, TaskStarted
from evalgauge.pricing import Price
from evalgauge_exporter.replay.json_text import decode_compact, encode_compact
from evalgauge_exporter.state.models import EventTime
from evalgauge_exporter.state.run import Pricer, RunState

DEEPEST = 100
"""Levels of nesting of an action that are shown."""
_PLAIN = frozenset({str, int, float, bool})


class Trajectory:
    """The steps, messages, model calls and log lines of one attempt as plain objects, in order of arrival."""

    __slots__ = ("_packed", "calls", "lines", "messages", "result", "steps")

    def __init__(self) -> None:
        self.messages: list[tuple[float, str, str]] = []
        """Unix seconds, role and text of what the system and the user said to the agent."""
        self.result: dict[str, Any] = {}
        """Answer, target and scores, where they were recorded."""
        self.steps: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        """Model calls after the last step."""
        self.lines: list[tuple[float, str, str]] = []
        """Unix seconds, level and message of each log line."""
        self._packed: bytes | None = None

    def clear(self) -> None:
        """Drop everything, because the attempt was restarted."""
        self.steps, self.calls, self.lines, self.messages = [], [], [], []
        self.result, self._packed = {}, None

    def pack(self) -> None:
        """Compress the content until it is needed."""
        if self._packed is None:
            content = encode_compact((self.steps, self.calls, self.lines, self.messages))
            self._packed = zlib.compress(content, 1)
            self.steps, self.calls, self.lines, self.messages = [], [], [], []

    def unpack(self) -> Trajectory:
        """Restore what was compressed and return the trajectory itself."""
        if self._packed is not None:
            content = zlib.decompress(self._packed)
            self.steps, self.calls, self.lines, self.messages = decode_compact(content)
            self._packed = None
        return self

    def add_step(self, event: Step) -> None:
        """Add a step; the model calls before it were made to decide on it."""
        step: dict[str, Any] = {
            "step_idx": event.step_idx,
            "ts": event.ts,
            "action": drop_nulls(event.action),
            "reasoning": event.reasoning,
            "observation": event.observation,
            "screenshot": event.screenshot,
            "think_seconds": event.think_seconds,
            "env_seconds": event.env_seconds,
            "correct": event.first_action_correct,
            "calls": self.calls or None,
        }
        self.calls = []
        self.steps.append({key: value for key, value in step.items() if value is not None})

    def add_call(self, event: LlmCall, price: Price) -> None:
        """Add a model call. One with the time of the last step belongs to it: some formats report it late."""
        call: dict[str, Any] = {
            "ts": event.ts,
            "provider": event.provider,
            "model": event.model,
            "status": event.status,
            "tokens": None if all(count is None for count in event.tokens) else list(event.tokens),
            "seconds": event.duration_seconds,
            "money": price.state,
            "usd": None if price.usd is None else float(price.usd),
        }
        call = {key: value for key, value in call.items() if value is not None}
        if self.steps and self.steps[-1]["ts"] == event.ts:
            self.steps[-1].setdefault("calls", []).append(call)
        else:
            self.calls.append(call)

    def add_line(self, event: LogLine) -> None:
        """Add a log line."""
        self.lines.append((event.ts, event.level, event.message))

    def add_message(self, event: Message) -> None:
        """Add a message to the agent."""
        self.messages.append((event.ts, event.role, event.text))

    def set_result(self, event: TaskFinished) -> None:
        """Set answer, target and scores."""
        result = {"answer": event.answer, "target": event.target, "scores": event.scores}
        self.result = {key: value for key, value in result.items() if value is not None}


def drop_nulls(value: Any, depth: int = 0) -> Any:
    """Return a value of an action without keys that are ``None``, and with ``…`` below ``DEEPEST`` levels."""
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): item if type(item) in _PLAIN else drop_nulls(item, depth + 1)
            for key, item in value.items()
            if item is not None
        }
    return [drop_nulls(item, depth + 1) for item in value]


class Trajectories:
    """The trajectories of all attempts of a run, folded beside its state.

    Args:
        state: The state of the run; it must apply each event before this fold does.
        pricer: Prices model calls.
    """

    def __init__(self, state: RunState, pricer: Pricer) -> None:
        self._state = state
        self._pricer = pricer
        self._attempts: dict[tuple[str, int], Trajectory] = {}

    def apply(self, event: Event) -> None:
        """Apply one event."""
        if isinstance(event, Step):
            if not self._is_superseded(event):
                self._open(event.task_id, event.attempt).add_step(event)
        elif isinstance(event, LlmCall):
            if event.task_id is not None and not self._is_superseded(event):
                self._open(event.task_id, event.attempt).add_call(event, self._pricer(event))
        elif isinstance(event, LogLine):
            if not self._is_superseded(event):
                self._open(event.task_id, event.attempt).add_line(event)
        elif isinstance(event, Message):
            if not self._is_superseded(event):
                self._open(event.task_id, event.attempt).add_message(event)
        elif isinstance(event, TaskStarted):
            if self._is_current(event):
                self._open(event.task_id, event.attempt).clear()
        elif isinstance(event, TaskFinished):
            trajectory = self._open(event.task_id, event.attempt)
            if self._is_current(event):
                trajectory.set_result(event)
            trajectory.pack()

    def pop(self, task_id: str, attempt: int) -> Trajectory:
        """Remove and return the trajectory of an attempt, its steps sorted by number."""
        trajectory = self._attempts.pop((task_id, attempt), None) or Trajectory()
        trajectory.unpack().steps.sort(key=lambda step: step["step_idx"])
        return trajectory

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._attempts)

    def _open(self, task_id: str, number: int) -> Trajectory:
        trajectory = self._attempts.get((task_id, number))
        if trajectory is None:
            trajectory = self._attempts[task_id, number] = Trajectory()
        return trajectory.unpack()

    def _is_current(self, event: TaskStarted | TaskFinished) -> bool:
        """Whether the status of an attempt is the one that this event set."""
        attempt = self._state.attempts[event.task_id, event.attempt]
        return attempt.stamp == EventTime(event.ts, event.writer, event.seq)

    def _is_superseded(self, event: Step | LlmCall | LogLine | Message) -> bool:
        """Whether an event belongs to an earlier start of this attempt, by a process that died."""
        attempt = self._state.attempts.get((event.task_id or "", event.attempt))
        if attempt is None or attempt.started_at is None or attempt.writer is None:
            return False
        return event.writer != attempt.writer and event.ts < attempt.started_at
