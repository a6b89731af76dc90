"""Summary of a run in one row, for lists of runs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from evalgauge_exporter.analysis.rates import PassRatio, Results, pass_ratios, run_results, success_rate_reason
from evalgauge_exporter.state.run import RunState

RATE = "Mean over tasks of each task's share of successes among its measured attempts."
RATE_ALL = "The same among all finished attempts."
RATE_LOW = "95 % interval, cluster-robust over tasks; of a running run with its open tasks as censored."
RATE_ESTIMATE = "success_rate; of a running run its estimate with the open tasks as censored."
RATE_REASON = "Why there is no success rate though attempts were measured."
SCORE = "Mean over tasks of the mean score of their measured attempts, on the format's own scale."
SCORE_LOW = "95 % interval over tasks; of a running run with its open tasks as censored."
SCORER = "Whose score is the headline; null where the format does not name it."
PASS_RATIOS = "By k, up to the number of planned attempts."


class PassRatios(BaseModel):
    """pass@k and pass^k over the tasks with at least k measured attempts, with 95 % intervals over tasks."""

    tasks: int = Field(description="Tasks with at least k measured attempts.")
    pass_at_k: float = Field(description="At least one of k attempts succeeds (Chen et al. 2021).")
    pass_at_k_low: float | None
    pass_at_k_high: float | None
    pass_hat_k: float = Field(description="All of k attempts succeed (Yao et al. 2024).")
    pass_hat_k_low: float | None
    pass_hat_k_high: float | None


class ResultFields(BaseModel):
    """Rates and scores, wherever a run has them. What was not measured is null."""

    success_rate: float | None = Field(description=RATE)
    success_rate_low: float | None = Field(description=RATE_LOW)
    success_rate_high: float | None
    success_rate_all: float | None = Field(description=RATE_ALL)
    success_rate_estimate: float | None = Field(description=RATE_ESTIMATE)
    final_rate_low: float | None = Field(description="95 % interval of success_rate once the running run is finished.")
    final_rate_high: float | None
    success_rate_reason: str | None = Field(description=RATE_REASON)
    mean_score: float | None = Field(description=SCORE)
    score_low: float | None = Field(description=SCORE_LOW)
    score_high: float | None
    scorer: str | None = Field(description=SCORER)
    scorers: list[str] = Field(description="The scorers' names, of formats that state several scores.")
    provisional: bool = Field(description="Whether the rates are those of a running run.")
    pass_ratios: dict[int, PassRatios] = Field(description=PASS_RATIOS)

    @property
    def headline_rate(self) -> float | None:
        """The success rate that pages and commands show: of a running run what is expected of its end."""
        expected = self.success_rate_estimate if self.provisional else None
        return self.success_rate if expected is None else expected


NO_RESULTS = ResultFields.model_validate(
    dict.fromkeys(ResultFields.model_fields) | {"provisional": False, "pass_ratios": {}, "scorers": []}
)
"""The results of no run."""


class RunSummary(ResultFields):
    """Summary of one run."""

    run_id: str
    model_id: str
    benchmark: str
    created_at: float | None = Field(description="Unix seconds of the run's start.")
    total_tasks: int
    finished_tasks: int = Field(description="Attempts with an outcome.")
    avg_steps: float | None = Field(description="Over measured tasks.")
    state: str
    source: str
    outcomes: dict[str, int]
    elapsed_seconds: float | None
    ended_at: float | None
    unreadable: str | None = Field(description="Why the run can't be read for the moment; its figures are older.")
    cost_usd: float | None = Field(description="Known cost of the model calls, US dollars; null where none is known.")
    unpriced_calls: int = Field(description="Model calls without a known price, not included in the cost.")
    unknown_usage_calls: int = Field(description="Model calls without reported tokens, not included in the cost.")
    attempts_planned: int = Field(description="Planned attempts at each task.")
    retries: int = Field(description="How often an attempt was started again; its last result counts.")
    tags: dict[str, str]


def elapsed(run: RunState, now: float, stall_after: float) -> float | None:
    """Return seconds from the run's start to its end, to ``now`` while it is running, to its last event if stalled."""
    if run.started_at is None:
        return None
    status = run.status(now, stall_after)
    end = run.ended_at if run.ended_at is not None else now if status == "running" else run.last_event_at
    return max(0.0, end - run.started_at)


def result_fields(run: RunState, results: Results, status: str) -> ResultFields:
    """Return the rates and scores of a run.

    Args:
        run: The run.
        results: Its results.
        status: Its status; the results of a running run are provisional.
    """
    rate, score = results.rate_interval, results.score_interval
    final = None if results.running is None else results.running.final
    return ResultFields(
        success_rate=None if results.success_rate is None else results.success_rate.value,
        success_rate_low=None if rate is None else rate.low,
        success_rate_high=None if rate is None else rate.high,
        success_rate_all=results.success_rate_all,
        success_rate_estimate=results.expected_rate,
        final_rate_low=None if final is None else final.low,
        final_rate_high=None if final is None else final.high,
        success_rate_reason=success_rate_reason(run),
        mean_score=None if results.score is None else results.score.value,
        score_low=None if score is None else score.low,
        score_high=None if score is None else score.high,
        scorer=run.scorer,
        scorers=list(run.scorers),
        provisional=status == "running",
        pass_ratios={ratio.k: _pass_ratios(ratio) for ratio in pass_ratios(run)} if run.attempts_planned > 1 else {},
    )


def _pass_ratios(ratio: PassRatio) -> PassRatios:
    any_of, all_of = ratio.any.interval, ratio.all.interval
    return PassRatios(
        tasks=ratio.any.tasks,
        pass_at_k=ratio.any.value,
        pass_at_k_low=None if any_of is None else any_of.low,
        pass_at_k_high=None if any_of is None else any_of.high,
        pass_hat_k=ratio.all.value,
        pass_hat_k_low=None if all_of is None else all_of.low,
        pass_hat_k_high=None if all_of is None else all_of.high,
    )


def summarize(run: RunState, now: float, stall_after: float, results: Results | None = None) -> RunSummary:
    """Return the summary of a run.

    Args:
        run: The run.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which an unfinished run is stalled.
        results: Its results, where they are known already.
    """
    if results is None:
        results = run_results(run, now, stall_after)
    status = run.status(now, stall_after)
    costs = [usage.cost_usd for usage in run.usage.values() if usage.cost_usd is not None]
    statuses = run.statuses(now, stall_after)
    return RunSummary(
        **dict(result_fields(run, results, status)),
        run_id=run.run_id,
        model_id=run.model,
        benchmark=run.benchmark,
        created_at=run.started_at,
        total_tasks=run.total,
        finished_tasks=run.finished_count,
        avg_steps=run.mean_steps,
        state=status,
        source=run.source,
        outcomes={name: count for name, count in statuses.items() if name not in ("pending", "running")},
        elapsed_seconds=elapsed(run, now, stall_after),
        ended_at=run.ended_at,
        unreadable=run.unreadable,
        cost_usd=float(sum(costs)) if costs else None,
        unpriced_calls=sum(usage.unpriced for usage in run.usage.values()),
        unknown_usage_calls=sum(usage.unknown for usage in run.usage.values()),
        attempts_planned=run.attempts_planned,
        retries=run.retries,
        tags=run.tags,
    )
