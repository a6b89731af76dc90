"""Summary of a run in one row, for lists of runs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from evalgauge_exporter.state.run import RunState


class RunSummary(BaseModel):
    """Summary of one run. What was not measured is null."""

    run_id: str
    model_id: str
    benchmark: str
    created_at: float | None = Field(description="Unix seconds of the run's start.")
    total_tasks: int
    finished_tasks: int
    success_rate: float | None = Field(description="success / (success + failure + agent_error)")
    success_rate_all: float | None = Field(description="success / all finished attempts")
    avg_steps: float | None = Field(description="Over measured tasks.")
    state: str
    source: str
    outcomes: dict[str, int]
    elapsed_seconds: float | None
    ended_at: float | None
    cost_usd: float | None = Field(description="Known cost of the model calls, US dollars; null where none is known.")
    unpriced_calls: int = Field(description="Model calls without a known price, not included in the cost.")
    unknown_usage_calls: int = Field(description="Model calls without reported tokens, not included in the cost.")


def rates(statuses: dict[str, int]) -> tuple[float | None, float | None]:
    """Return ``success_rate`` over measured attempts and ``success_rate_all`` over finished ones; None over none."""
    success = statuses.get("success", 0)
    measured = success + statuses.get("failure", 0) + statuses.get("agent_error", 0)
    ended = sum(count for status, count in statuses.items() if status not in ("pending", "running"))
    return success / measured if measured else None, success / ended if ended else None


def mean(values: list[float]) -> float | None:
    """Return the arithmetic mean, None of an empty list."""
    return sum(values) / len(values) if values else None


def elapsed(run: RunState, now: float, stall_after: float) -> float | None:
    """Return seconds from the run's start to its end, to ``now`` while it is running, to its last event if stalled."""
    if run.started_at is None:
        return None
    status = run.status(now, stall_after)
    end = run.ended_at if run.ended_at is not None else now if status == "running" else run.last_event_at
    return max(0.0, end - run.started_at)


def summarize(run: RunState, now: float, stall_after: float) -> RunSummary:
    """Return the summary of a run as of ``now`` (Unix seconds)."""
    statuses = run.statuses(now, stall_after)
    rate, rate_all = rates(statuses)
    costs = [usage.cost_usd for usage in run.usage.values() if usage.cost_usd is not None]
    outcomes = {name: count for name, count in statuses.items() if name not in ("pending", "running")}
    return RunSummary(
        run_id=run.run_id,
        model_id=run.model,
        benchmark=run.benchmark,
        created_at=run.started_at,
        total_tasks=run.total,
        finished_tasks=sum(outcomes.values()),
        success_rate=rate,
        success_rate_all=rate_all,
        avg_steps=run.mean_steps,
        state=run.status(now, stall_after),
        source=run.source,
        outcomes=outcomes,
        elapsed_seconds=elapsed(run, now, stall_after),
        ended_at=run.ended_at,
        cost_usd=float(sum(costs)) if costs else None,
        unpriced_calls=sum(usage.unpriced for usage in run.usage.values()),
        unknown_usage_calls=sum(usage.unknown for usage in run.usage.values()),
    )
