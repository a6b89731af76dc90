"""Builds the events of one attempt from what its files say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from evalgauge.events import (
    OBSERVATION_LENGTH,
    Event,
    LlmCall,
    Message,
    Outcome,
    RequestStatus,
    Role,
    Step,
    TaskFinished,
    TaskStarted,
    token_fields,
)
from evalgauge.usage import CallUsage, TokenUsage
from evalgauge.values import parse_float, parse_non_negative, parse_text, sanitize_id


class AttemptBuilder:
    """Collects the events of one attempt, in order.

    Times are Unix seconds; a time of None is that of the event before. Fields that come straight from a file are taken
    as ``object``: what is no text or no number counts as not given.
    """

    def __init__(self, writer: str, task_id: str, attempt: int = 1, worker: str | None = None) -> None:
        """Start without events.

        Args:
            writer: Name of the writer of the events: the source.
            task_id: The task, as the format names it.
            attempt: Number of the attempt at this task, counted from 1.
            worker: The worker that ran it, where the format names one.
        """
        self.events: list[Event] = []
        self.is_finished = False
        """True once the end of the attempt was added."""
        self.latest = 0.0
        """The latest time of an event, in Unix seconds."""
        self.guess: float | None = None
        """The time of a file that stands for that of the start."""
        self.file_time: float | None = None
        """The time of a file of the attempt."""
        self._writer = writer
        self._ids: dict[str, Any] = {
            "task_id": sanitize_id(task_id),
            "attempt": attempt,
            "worker_id": None if worker is None else sanitize_id(worker),
        }
        self._steps = 0
        self._start = 0.0

    def add_start(
        self,
        ts: float | None,
        domain: str | None = None,
        instruction: object = None,
        max_steps: int | None = None,
        time_limit_seconds: object = None,
        *,
        file_time: float | None = None,
    ) -> None:
        """Add the start of the attempt.

        Args:
            ts: When it began, as the content states it.
            domain: The task's domain.
            instruction: The task.
            max_steps: The runner ends the attempt after so many steps.
            time_limit_seconds: The runner ends it after so long.
            file_time: When a file was last changed, for content that states no time: a guess.
        """
        self.file_time = file_time
        if ts is None:
            ts = self.guess = file_time
        self._start = self._resolve_time(ts)
        self.events.append(
            TaskStarted(
                ts=self._start,
                writer=self._writer,
                **self._ids,
                domain=domain,
                instruction=parse_text(instruction),
                max_steps=max_steps,
                time_limit_seconds=parse_non_negative(time_limit_seconds),
            )
        )

    def add_message(self, ts: float | None, role: Role, text: object) -> None:
        """Add what the system or the user said to the agent; what is no text, or an empty one, is left out."""
        parsed = parse_text(text, OBSERVATION_LENGTH)
        if parsed is not None:
            message = Message(ts=self._resolve_time(ts), writer=self._writer, **self._ids, role=role, text=parsed)
            self.events.append(message)

    def add_step(
        self,
        ts: float | None,
        action: Mapping[str, Any],
        *,
        reasoning: object = None,
        observation: object = None,
        screenshot: str | None = None,
        think_seconds: object = None,
        env_seconds: object = None,
    ) -> None:
        """Add a step of the agent; steps are numbered from 0.

        Args:
            ts: When it happened.
            action: Its ``type`` and fields.
            reasoning: Why the agent acted.
            observation: What it got to see then as text, such as the output of a tool.
            screenshot: What the agent saw before it acted: a path relative to the run's folder.
            think_seconds: How long the agent took to decide.
            env_seconds: How long the environment took to carry out the action.
        """
        self.events.append(
            Step(
                ts=self._resolve_time(ts),
                writer=self._writer,
                **self._ids,
                step_idx=self._steps,
                action=dict(action),
                reasoning=reasoning if isinstance(reasoning, str) and reasoning else None,
                observation=parse_text(observation, OBSERVATION_LENGTH),
                screenshot=screenshot,
                think_seconds=parse_non_negative(think_seconds),
                env_seconds=parse_non_negative(env_seconds),
            )
        )
        self._steps += 1

    def add_call(
        self,
        ts: float | None,
        provider: str | None,
        model: str | None,
        usage: TokenUsage | CallUsage,
        *,
        status: RequestStatus = "ok",
        duration_seconds: object = None,
        requests: int | None = None,
        cost_usd: object = None,
    ) -> None:
        """Add a model call, or a sum of calls.

        Args:
            ts: When it happened.
            provider: Who served it.
            model: The model that answered.
            usage: What was used.
            status: ``ok``, ``error`` or ``retry``.
            duration_seconds: How long it took.
            requests: The number of calls that the counts are the sum of; 0: not known; None: as the usage states.
            cost_usd: The cost that the format states. A 0 is not taken: tools write it for models without a price.
        """
        at, seconds = self._resolve_time(ts), parse_non_negative(duration_seconds)
        usage = CallUsage(usage) if isinstance(usage, TokenUsage) else usage
        if requests is not None:
            usage = usage._replace(requests=requests)
        if cost := parse_non_negative(cost_usd):
            usage = usage._replace(cost_usd=cost)
        self.events.append(
            LlmCall(
                ts=at,
                writer=self._writer,
                provider=provider,
                model=model,
                **token_fields(usage),
                duration_seconds=seconds,
                status=status,
                **self._ids,
            )
        )

    def add_finish(
        self,
        ts: float | None,
        outcome: Outcome,
        *,
        score: object = None,
        scores: Mapping[str, float] | None = None,
        scorer: str | None = None,
        outcome_from_score: bool | None = None,
        answer: object = None,
        target: object = None,
        steps: int | None = None,
        duration_seconds: object = None,
        error: object = None,
        reason: object = None,
    ) -> None:
        """Add the end of the attempt.

        Args:
            ts: When it ended.
            outcome: How it went.
            score: The headline score.
            scores: Every score by its scorer's name, where there are several.
            scorer: The name of the headline's scorer, one of ``scores``.
            outcome_from_score: Whether the outcome follows from the score, or its absence, alone.
            answer: What the agent answered.
            target: What would have been right.
            steps: The number of steps that the format states.
            duration_seconds: How long it took; without it, from its start to ``ts``.
            error: What went wrong.
            reason: What the evaluator says about the outcome.
        """
        at = self._resolve_time(ts)
        seconds = parse_non_negative(duration_seconds)
        if seconds is None and at > self._start:
            seconds = round(at - self._start, 6)
        self.events.append(
            TaskFinished(
                ts=at,
                writer=self._writer,
                **self._ids,
                outcome=outcome,
                score=parse_float(score),
                scores=dict(scores) if scores else None,
                scorer=scorer if scores else None,
                outcome_from_score=outcome_from_score,
                answer=parse_text(answer, OBSERVATION_LENGTH),
                target=parse_text(target, OBSERVATION_LENGTH),
                steps=steps,
                duration_seconds=seconds,
                error=parse_text(error),
                reason=parse_text(reason),
            )
        )
        self.is_finished = True

    def add_scored_finish(self, ts: float | None, score: float, threshold: float, **more: Any) -> None:
        """Add the end of an attempt whose format gives a score only: a success from ``threshold`` on.

        Args:
            ts: When it ended.
            score: The score.
            threshold: The least score of a success.
            more: What else ``add_finish`` takes.
        """
        outcome: Outcome = "success" if score >= threshold else "failure"
        self.add_finish(ts, outcome, score=score, **{**more, "outcome_from_score": True})

    def keep_times(self, times: list[float]) -> None:
        """Give events that have the time of a file the times that were returned for them before."""
        for event, ts in zip(self.events, times, strict=False):
            if event.ts == self.guess:
                event.ts = ts

    def move(self, ts: float) -> None:
        """Give all events one time: what their files' times say is not believed."""
        self.latest = self._start = ts
        for event in self.events:
            if isinstance(event, TaskFinished) and event.duration_seconds == round(event.ts - self.events[0].ts, 6):
                event.duration_seconds = None
        for event in self.events:
            event.ts = ts

    def digest(self, length: int) -> bytes:
        """Return a digest of the first ``length`` events."""
        return hashlib.blake2b(repr(self.events[:length]).encode("utf-8", "replace"), digest_size=12).digest()

    def _resolve_time(self, ts: float | None) -> float:
        if ts is None:
            return self.latest
        self.latest = max(self.latest, ts)
        return ts
