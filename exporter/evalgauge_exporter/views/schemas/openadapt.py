"""JSON schemas of OpenAdapt's own files and front ends, filled from the state."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from evalgauge.events import Step
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState

_WORDS = {"completed": "complete"}
_ACTION_KEYS = ("type", "x", "y", "target_node_id", "text", "key")


class LiveStep(BaseModel):
    """A step of benchmark_live.json."""

    step_idx: int
    action: dict[str, Any]
    reasoning: str | None
    screenshot_url: str | None


class LiveTask(BaseModel):
    """The running task in benchmark_live.json."""

    task_id: str
    instruction: str | None
    domain: str
    steps: list[LiveStep]
    result: dict[str, Any] | None = None


class Live(BaseModel):
    """benchmark_live.json: ``idle``, ``running`` or ``complete``; also ``aborted`` and ``stalled``."""

    status: str
    run_id: str | None = None
    total_tasks: int | None = None
    tasks_completed: int | None = None
    current_task: LiveTask | None = None


class Progress(BaseModel):
    """benchmark_progress.json."""

    status: str
    provider: str | None = None
    model: str | None = None
    tasks_total: int | None = None
    tasks_complete: int | None = None
    message: str | None = None


def live(run: RunState | None, analysis: RunAnalysis, now: float) -> Live:
    """Return a run as benchmark_live.json has it."""
    if run is None:
        return Live(status="idle")
    status = run.status(now, analysis.stall_after)
    running = run.running_attempts(now, analysis.stall_after)
    current = None
    if running:
        attempt = running[-1]
        current = LiveTask(
            task_id=attempt.task_id,
            instruction=attempt.instruction,
            domain=attempt.domain,
            steps=[_step(step) for step in attempt.trail or ()],
        )
    return Live(
        status=_WORDS.get(status, status),
        run_id=run.run_id,
        total_tasks=run.total,
        tasks_completed=_count_finished(run, analysis, now),
        current_task=current,
    )


def _step(step: Step) -> LiveStep:
    action = {key: step.action.get(key) for key in _ACTION_KEYS}
    return LiveStep(step_idx=step.step_idx, action=action, reasoning=step.reasoning, screenshot_url=None)


def _count_finished(run: RunState, analysis: RunAnalysis, now: float) -> int:
    statuses = run.statuses(now, analysis.stall_after)
    return sum(count for name, count in statuses.items() if name not in ("pending", "running"))


def progress(run: RunState | None, analysis: RunAnalysis, now: float) -> Progress:
    """Return a run as benchmark_progress.json has it."""
    if run is None:
        return Progress(status="idle")
    status = run.status(now, analysis.stall_after)
    done = _count_finished(run, analysis, now)
    return Progress(
        status=_WORDS.get(status, status),
        provider=next((provider for provider, _ in run.usage), None),
        model=run.model,
        tasks_total=run.total,
        tasks_complete=done,
        message=f"{done} of {run.total} tasks of {run.run_id}",
    )
