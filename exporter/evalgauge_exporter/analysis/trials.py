"""The measured attempts of a run as the comparison takes them."""

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
