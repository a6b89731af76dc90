"""The events of one attempt, in the order in which its files tell them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from evalgauge.events import Event, LlmCall, Step, TaskFinished, TaskStarted
from evalgauge.usage import TokenUsage
from evalgauge_exporter.sources.parsing import parse_float, parse_non_negative, parse_text, sanitize_id


class AttemptBuilder:
    """Gathers the events of one attempt. A time that is None is that of the event before."""

    def __init__(self, writer: str, task_id: str, attempt: int = 1, worker: str | None = None) -> None:
        self.events: list[Event] = []
        self.over = False
        """True once the attempt has ended."""
        self.latest = 0.0
        self._writer = writer
        self._ids = (sanitize_id(task_id), attempt, None if worker is None else sanitize_id(worker))
        self._steps = 0
        self._began = 0.0

    def started(
        self,
        ts: float | None,
        domain: str | None = None,
        instruction: str | None = None,
        max_steps: int | None = None,
    ) -> None:
        """The attempt began."""
        self._began = self._at(ts)
        self._add(TaskStarted(self._began, 0, self._writer, *self._ids, domain, parse_text(instruction), max_steps))

    def step(
        self,
        ts: float | None,
        action: Mapping[str, Any],
        *,
        reasoning: str | None = None,
        screenshot: str | None = None,
        think_seconds: object = None,
        env_seconds: object = None,
    ) -> None:
        """The agent acted; steps are counted from 0."""
        self._add(
            Step(
                self._at(ts),
                0,
                self._writer,
                *self._ids,
                self._steps,
                action,
                reasoning or None,
                screenshot,
                parse_non_negative(think_seconds),
                parse_non_negative(env_seconds),
                None,
            )
        )
        self._steps += 1

    def call(
        self,
        ts: float | None,
        provider: str | None,
        model: str | None,
        counted: TokenUsage,
        *,
        status: str = "ok",
        duration_seconds: object = None,
    ) -> None:
        """A model was called."""
        seconds = parse_non_negative(duration_seconds)
        self._add(LlmCall(self._at(ts), 0, self._writer, provider, model, counted, seconds, status, False, *self._ids))

    def finished(
        self,
        ts: float | None,
        outcome: str,
        *,
        score: object = None,
        steps: int | None = None,
        duration_seconds: object = None,
        error: object = None,
        reason: object = None,
    ) -> None:
        """The attempt ended; how long it took is told by its times where nothing else does."""
        at = self._at(ts)
        seconds = parse_non_negative(duration_seconds)
        if seconds is None and at > self._began:
            seconds = round(at - self._began, 6)
        texts = (parse_text(error), parse_text(reason))
        self._add(TaskFinished(at, 0, self._writer, *self._ids, outcome, parse_float(score), steps, seconds, *texts))
        self.over = True

    def measured(self, ts: float | None, score: float, threshold: float, **more: Any) -> None:
        """The attempt ended with this score and nothing else that says whether it succeeded."""
        self.finished(ts, "success" if score >= threshold else "failure", score=score, **more)

    def digest(self, length: int) -> bytes:
        """What tells the first ``length`` events from others."""
        return hashlib.blake2b(repr(self.events[:length]).encode("utf-8", "replace"), digest_size=12).digest()

    def _at(self, ts: float | None) -> float:
        if ts is None:
            return self.latest
        self.latest = max(self.latest, ts)
        return ts

    def _add(self, event: Event) -> None:
        self.events.append(event)
