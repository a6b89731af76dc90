"""Export of a run's attempts as trajectories in the Agent Trajectory Interchange Format (ATIF), version 1.8.

Each attempt is one document. The user's step is the instruction, with the first observation; each step of the agent is
a turn with one tool call, whose result is the next observation. ``prompt_tokens`` includes the cached tokens, as the
format requires; the attempt's outcome is under ``extra``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalgauge import __version__
from evalgauge.events import Event, LlmCall, PlannedTask, RunStarted, Step, TaskFinished, TaskStarted
from evalgauge.usage import TokenUsage

SCHEMA = "ATIF-v1.8"
_MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}


class _Attempt:
    """The events of one attempt."""

    def __init__(self, task_id: str, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.clear()

    def clear(self) -> None:
        """Drop the events: the attempt started again."""
        self.start: TaskStarted | None = None
        self.steps: list[tuple[Step, list[LlmCall]]] = []
        self.calls: list[LlmCall] = []
        """Calls after the last step."""
        self.end: TaskFinished | None = None


def to_atif(events: Iterable[Event], run_folder: Path) -> list[dict[str, Any]]:
    """Return the trajectories of a run's attempts, in the order in which they started.

    Args:
        events: The run's events.
        run_folder: Folder of the run's screenshots. The documents' image paths are relative to it; missing images are
            left out.
    """
    run: RunStarted | None = None
    planned: dict[str, PlannedTask] = {}
    attempts: dict[tuple[str, int], _Attempt] = {}
    for event in events:
        if isinstance(event, RunStarted):
            run = event if run is None or event.ts >= run.ts else run
            planned |= {task.task_id: task for task in event.tasks}
        elif isinstance(event, TaskStarted | Step | TaskFinished) or (
            isinstance(event, LlmCall) and event.task_id is not None
        ):
            key = (str(event.task_id), event.attempt)
            _add(attempts.setdefault(key, _Attempt(*key)), event)
    return [_document(attempt, run, planned.get(attempt.task_id), run_folder) for attempt in attempts.values()]


def _add(attempt: _Attempt, event: Event) -> None:
    if isinstance(event, TaskStarted):
        attempt.clear()
        attempt.start = event
    elif isinstance(event, Step):
        attempt.steps.append((event, attempt.calls))
        attempt.calls = []
    elif isinstance(event, LlmCall):
        last = attempt.steps[-1] if attempt.steps else None
        if last is not None and last[0].ts == event.ts:  # some formats report a step before the calls that led to it
            last[1].append(event)
        else:
            attempt.calls.append(event)
    elif isinstance(event, TaskFinished):
        attempt.end = event


def _document(attempt: _Attempt, run: RunStarted | None, planned: PlannedTask | None, folder: Path) -> dict[str, Any]:
    start, end = attempt.start, attempt.end
    instruction = (start.instruction if start is not None else None) or (planned.instruction if planned else None)
    shots = [_picture(step.screenshot, folder) for step, _ in attempt.steps]
    message: object = instruction or ""
    if shots and shots[0] is not None:
        message = [{"type": "text", "text": instruction or ""}, shots[0]]
    steps: list[dict[str, Any]] = [
        _compact(step_id=1, timestamp=_time(start.ts if start is not None else None), source="user", message=message)
    ]
    for index, (step, calls) in enumerate(attempt.steps):
        if index == len(attempt.steps) - 1:
            calls = calls + attempt.calls
        seen = shots[index + 1] if index + 1 < len(shots) else None
        steps.append(_turn(step, calls, seen, len(steps) + 1))
    if attempt.calls and not attempt.steps:
        steps.append(
            _compact(
                step_id=2,
                timestamp=_time(attempt.calls[-1].ts),
                source="agent",
                message="",
                metrics=_metrics(attempt.calls),
                llm_call_count=len(attempt.calls),
            )
        )
    model = run.model if run is not None else None
    every = [call for _, calls in attempt.steps for call in calls] + attempt.calls
    totals = _metrics(every) or {}
    return _compact(
        schema_version=SCHEMA,
        session_id=(run.run_id if run is not None else None) or folder.name,
        trajectory_id=f"{attempt.task_id}#{attempt.attempt}",
        agent=_compact(name=(run.agent if run is not None else None) or "unknown", version="unknown", model_name=model),
        steps=steps,
        final_metrics=_compact(
            total_prompt_tokens=totals.get("prompt_tokens"),
            total_completion_tokens=totals.get("completion_tokens"),
            total_cached_tokens=totals.get("cached_tokens"),
            total_steps=len(steps),
        ),
        extra=_compact(
            exported_by=f"evalgauge {__version__}",
            task_id=attempt.task_id,
            attempt=attempt.attempt,
            benchmark=run.benchmark if run is not None else None,
            domain=(start.domain if start is not None else None) or (planned.domain if planned else None),
            outcome=end.outcome if end is not None else None,
            score=end.score if end is not None else None,
            steps=end.steps if end is not None else None,
            duration_seconds=end.duration_seconds if end is not None else None,
            finished_at=_time(end.ts if end is not None else None),
            error=end.error if end is not None else None,
            reason=end.reason if end is not None else None,
        ),
    )


def _turn(step: Step, calls: list[LlmCall], seen: dict[str, Any] | None, step_id: int) -> dict[str, Any]:
    call_id = f"call_{step_id}"
    arguments = {str(key): value for key, value in step.action.items() if key != "type"}
    models = {call.model for call in calls if call.model is not None}
    results = None if seen is None else {"results": [{"source_call_id": call_id, "content": [seen]}]}
    return _compact(
        step_id=step_id,
        timestamp=_time(step.ts),
        source="agent",
        model_name=models.pop() if len(models) == 1 else None,
        message="",
        reasoning_content=step.reasoning,
        tool_calls=[{"tool_call_id": call_id, "function_name": step.action_type, "arguments": arguments}],
        observation=results,
        metrics=_metrics(calls),
        llm_call_count=len(calls) or None,
    )


def _metrics(calls: list[LlmCall]) -> dict[str, Any] | None:
    """Return the token sums of some calls; None where none of them reported tokens."""
    counted = TokenUsage(*map(_sum, *(call.tokens for call in calls))) if calls else TokenUsage(None, None, None, None)
    prompt = _sum(counted.input, counted.cache_read, counted.cache_write)
    if prompt is None and counted.output is None:
        return None
    extra = None if counted.cache_write is None else {"cache_creation_input_tokens": counted.cache_write}
    return _compact(
        prompt_tokens=prompt, completion_tokens=counted.output, cached_tokens=counted.cache_read, extra=extra
    )


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _picture(screenshot: str | None, folder: Path) -> dict[str, Any] | None:
    """Return a screenshot as a part of a message; None where it is missing or outside the run's folder."""
    media = _MEDIA.get(os.path.splitext(screenshot)[1].lower()) if screenshot is not None else None
    if screenshot is None or media is None:
        return None
    try:
        real = Path(os.path.realpath(folder / screenshot, strict=True))
    except (OSError, ValueError):
        return None
    if Path(os.path.realpath(folder)) not in real.parents:
        return None
    return {"type": "image", "source": {"media_type": media, "path": screenshot}}


def _time(ts: float | None) -> str | None:
    """Return ISO 8601 in UTC; None for a time outside the calendar."""
    try:
        return None if ts is None else datetime.fromtimestamp(ts, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _compact(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
