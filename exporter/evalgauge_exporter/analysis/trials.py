"""The measured attempts and the running tasks of a run as the comparison takes them."""

from __future__ import annotations

from evalgauge_exporter.analysis.comparison import Trial
from evalgauge_exporter.analysis.rates import success_rate_reason
from evalgauge_exporter.state.run import RunState


def measured_trials(run: RunState) -> list[Trial]:
    """Return the measured attempts of a run."""
    has_rate = success_rate_reason(run) is None
    return [
        Trial(
            task_id=attempt.task_id,
            attempt=attempt.attempt,
            domain=attempt.domain,
            success=attempt.status == "success",
            steps=None if attempt.steps is None else float(attempt.steps),
            duration_seconds=attempt.duration_seconds,
            cost_usd=None if attempt.cost_usd is None or attempt.uncosted_calls else float(attempt.cost_usd),
            finished_at=attempt.finished_at or 0.0,
            score=attempt.score,
            has_rate=has_rate,
        )
        for attempt in run.attempts.values()
        if attempt.measured
    ]


def running_since(run: RunState, now: float, stall_after: float) -> dict[str, float]:
    """Return when each running task started, in Unix seconds: quick failures must not be ordered before slow successes.

    Args:
        run: The run.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which a writer counts as dead.
    """
    begun: dict[str, float] = {}
    for attempt in run.running_attempts(now, stall_after):
        started = attempt.started_at or now
        begun[attempt.task_id] = min(started, begun.get(attempt.task_id, started))
    return begun
