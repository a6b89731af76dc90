"""The wall of screens: what each worker of a run shows now, for many eyes and large screens."""

from __future__ import annotations

from collections import deque
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from evalgauge.events import Step
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState

MAX_TILES = 200
"""Workers that are shown."""
MAX_OUTCOMES = 8
"""Outcomes of a worker's last attempts."""
MAX_FINISHED = 2000
"""Newest finished attempts that are searched for the outcomes."""
MAX_LINES = 8
MAX_LETTERS = 600
"""The end of the text of an agent without screenshots."""


class Tile(BaseModel):
    """What one worker shows."""

    worker_id: str
    status: str
    task_id: str | None = Field(description="The current task, null between tasks.")
    attempt: int | None
    step: int | None = Field(description="Recorded steps of the current attempt.")
    max_steps: int | None
    elapsed_seconds: float | None = Field(description="Since the current attempt started.")
    step_seconds: float | None = Field(description="Since its last step.")
    screenshot: str | None = Field(description="Address of the newest screenshot, relative to the exporter.")
    lines: str | None = Field(description="The last lines of the agent, where there is no screenshot.")
    outcomes: list[str] = Field(description="Outcomes of the last attempts, the newest last.")
    last_seen: float


class Wall(BaseModel):
    """The workers of a run."""

    run_id: str | None
    model_id: str | None
    benchmark: str | None
    status: str | None
    generated_at: float
    total_tasks: int
    completed_tasks: int
    total_workers: int
    tiles: list[Tile]


def build_wall(run: RunState | None, now: float, stall_after: float) -> Wall:
    """Build the wall of a run.

    Args:
        run: The run; ``None`` where there is none.
        now: Unix seconds.
        stall_after: Seconds without an event after which a run is stalled.
    """
    if run is None:
        return Wall(
            run_id=None,
            model_id=None,
            benchmark=None,
            status=None,
            generated_at=now,
            total_tasks=0,
            completed_tasks=0,
            total_workers=0,
            tiles=[],
        )
    outcomes = _last_outcomes(run)
    counts = run.statuses(now, stall_after)
    total = sum(counts.values())
    tiles = []
    for worker_id, worker in sorted(run.workers.items())[:MAX_TILES]:
        attempt = run.open_attempts.get(next(reversed(worker.current))) if worker.current else None
        tiles.append(
            _build_tile(run, worker_id, run.worker_state(worker, now, stall_after), attempt, worker.last_seen, now)
        )
        tiles[-1].outcomes = list(outcomes.get(worker_id, ()))
    return Wall(
        run_id=run.run_id,
        model_id=run.model,
        benchmark=run.benchmark,
        status=run.status(now, stall_after),
        generated_at=now,
        total_tasks=max(total, run.total_tasks or 0),
        completed_tasks=total - counts.get("pending", 0) - counts.get("running", 0),
        total_workers=len(run.workers),
        tiles=tiles,
    )


def find_screenshot(run: RunState, worker_id: str) -> str | None:
    """Return the path of a worker's newest screenshot in its run's folder, ``None`` where there is none."""
    worker = run.workers.get(worker_id)
    attempt = run.open_attempts.get(next(reversed(worker.current))) if worker is not None and worker.current else None
    shown = _newest_with_screenshot(attempt)
    return None if shown is None else shown.screenshot


def _build_tile(
    run: RunState, worker_id: str, status: str, attempt: Attempt | None, last_seen: float, now: float
) -> Tile:
    shown = _newest_with_screenshot(attempt)
    last = attempt.trail[-1] if attempt is not None and attempt.trail else None
    address = None
    if attempt is not None and shown is not None:
        # the step is part of the address, so that a browser loads each screenshot once
        at = f"{attempt.attempt}.{shown.step_idx}.{shown.ts:.3f}"
        query = urlencode({"run_id": run.run_id, "worker_id": worker_id, "at": at})
        address = f"api/benchmark/wall/screenshot?{query}"
    return Tile(
        worker_id=worker_id,
        status=status,
        task_id=None if attempt is None else attempt.task_id,
        attempt=None if attempt is None else attempt.attempt,
        step=None if attempt is None else attempt.recorded_steps,
        max_steps=None if attempt is None else attempt.max_steps,
        elapsed_seconds=None if attempt is None or attempt.started_at is None else max(0.0, now - attempt.started_at),
        step_seconds=None if last is None else max(0.0, now - last.ts),
        screenshot=address,
        lines=None if address is not None or last is None else _last_lines(last),
        outcomes=[],
        last_seen=last_seen,
    )


def _newest_with_screenshot(attempt: Attempt | None) -> Step | None:
    trail = () if attempt is None or attempt.trail is None else attempt.trail
    return next((step for step in reversed(trail) if step.screenshot), None)


def _last_lines(step: Step) -> str:
    parts = [step.reasoning, step.action_type if step.action else None, step.observation]
    text = "\n".join(part[-MAX_LETTERS:] for part in parts if part)
    return "\n".join(text[-MAX_LETTERS:].splitlines()[-MAX_LINES:])


def _last_outcomes(run: RunState) -> dict[str, deque[str]]:
    found: dict[str, deque[str]] = {}
    if run.is_unloaded:  # a finished run: reading it again for this is not worth it
        return found
    for attempt in run.finish_log[-MAX_FINISHED:]:
        if attempt.worker_id is not None and attempt.finished:
            found.setdefault(attempt.worker_id, deque(maxlen=MAX_OUTCOMES)).append(attempt.status)
    return found
