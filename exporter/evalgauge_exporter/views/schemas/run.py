"""JSON schemas of the API. Times are Unix seconds; what was not measured is null, never 0."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from evalgauge_exporter.analysis.summary import RATE, RATE_LOW, SCORE, SCORE_LOW, ResultFields, RunSummary

Verdict = Literal["better", "worse", "no_significant_difference", "too_few_tasks"]


class CurrentTask(BaseModel):
    """The running task that started last."""

    task_id: str
    instruction: str | None
    step: int = Field(description="Recorded steps so far.")
    total_steps_estimate: int | None = Field(description="The step limit, else the mean of the run's measured tasks.")


class RunningTask(CurrentTask):
    """A running task."""

    attempt: int
    domain: str
    worker_id: str | None
    elapsed_seconds: float
    max_steps: int | None = Field(description="The step limit, null where none is known.")


class EtaBounds(BaseModel):
    """10th, 50th and 90th percentile of the time left, in seconds from now."""

    p10: float
    p50: float
    p90: float


class CurrentJob(BaseModel):
    """The selected run."""

    run_id: str
    model_id: str
    status: Literal["running", "completed", "aborted", "stalled"]
    total_tasks: int = Field(description="Attempts at tasks, those that have not started too.")
    completed_tasks: int = Field(description="Attempts with an outcome.")
    attempts_planned: int = Field(description="Planned attempts at each task.")
    current_task: CurrentTask | None
    elapsed_seconds: float | None
    eta_seconds: float | None = Field(description="Seconds from now, the median.")
    avg_task_seconds: float | None
    benchmark: str
    agent: str | None
    source: str
    started_at: float | None
    ended_at: float | None
    unreadable: str | None = Field(description="Why the run can't be read for the moment; its figures are older.")
    last_progress_at: float | None
    statuses: dict[str, int]
    eta: EtaBounds | None
    eta_reason: str | None = Field(description="Why there is no ETA.")
    current_tasks: list[RunningTask]
    budget_usd: float | None
    baseline_run_id: str | None
    tags: dict[str, str]


class QueuedTask(BaseModel):
    """A task that has not started."""

    task_id: str
    status: str
    domain: str


class Status(BaseModel):
    """Progress of a run."""

    current_job: CurrentJob | None
    queue: list[QueuedTask] = Field(description="The first of the tasks that have not started.")
    queue_length: int = 0


class Machine(BaseModel):
    """A machine and its cost for the run."""

    name: str
    provider: str | None
    instance_type: str | None
    hourly_rate_usd: float | None
    hours_elapsed: float
    busy_hours: float
    cost_usd: float | None
    priced_by: str | None
    billing: bool


class AzureVm(BaseModel):
    """Sums over the virtual machines of the run; each machine under ``vms``."""

    instance_type: str | None
    hourly_rate_usd: float | None = Field(description="Sum of the machines' rates.")
    hours_elapsed: float | None
    cost_usd: float | None
    vms: list[Machine]


class ModelCost(BaseModel):
    """Calls of one model."""

    model: str
    requests: int
    input_tokens: int = Field(description="All input tokens, cached ones included.")
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_usd: float | None
    unpriced_calls: int
    unknown_usage_calls: int
    priced_by: list[str] = Field(
        description="Price tables; `stated` where the cost is the one that the provider or a tool states."
    )
    unpriced_reasons: dict[str, int] = Field(
        default_factory=dict, description="Why calls are unpriced, or priced as stated, and how many."
    )
    stated_cost_usd: float | None = Field(
        default=None,
        description="What the provider or a tool states for calls that have a price here too, where it differs from "
        "`compared_cost_usd` by more than 5 %.",
    )
    compared_cost_usd: float | None = Field(default=None, description="The price of these calls here.")


class ApiCalls(BaseModel):
    """Calls of one provider; ``model`` is the one with most tokens."""

    model: str
    input_tokens: int = Field(description="All input tokens, cached ones included.")
    output_tokens: int
    cost_usd: float | None
    cache_read_tokens: int
    cache_write_tokens: int
    models: list[ModelCost]


class GpuTime(BaseModel):
    """GPU machines of one provider."""

    instance_type: str | None
    hourly_rate_usd: float | None
    hours_elapsed: float
    cost_usd: float | None


class Components(BaseModel):
    """US dollars by component."""

    llm: float | None = None
    vm: float | None = None
    gpu: float | None = None


class Costs(BaseModel):
    """Costs of a run. A total is the sum of what is known; unknown items are counted beside it."""

    azure_vm: AzureVm
    api_calls: dict[str, ApiCalls]
    gpu_time: dict[str, GpuTime]
    total_cost_usd: float | None
    unpriced_calls: int
    unknown_usage_calls: int
    unpriced_machines: int
    cost_per_hour_usd: float | None = Field(description="At present.")
    cost_per_success_usd: float | None = Field(description="Total cost divided by the successes.")
    projected_total_usd: float | None
    budget_usd: float | None
    budget_hit_at: float | None
    by_component: Components


class RateAt(BaseModel):
    """The success rate after a number of measured tasks."""

    task_idx: int
    success_rate: float


class StepsAt(BaseModel):
    """The mean number of steps after a number of measured tasks."""

    task_idx: int
    avg_steps: float


class Domain(BaseModel):
    """Results of one domain of a run."""

    total: int
    success: int
    rate: float | None = Field(description=RATE)
    avg_steps: float | None
    finished: int
    measured: int
    rate_low: float | None = Field(description=RATE_LOW)
    rate_high: float | None
    rate_estimate: float | None = Field(description="rate; of a running run its estimate with open tasks as censored.")
    mean_score: float | None = Field(description=SCORE)
    score_low: float | None = Field(description=SCORE_LOW)
    score_high: float | None


class EpisodeMetrics(BaseModel):
    """Over all measured tasks."""

    first_action_accuracy: float | None
    episode_success_rate: float | None
    avg_steps_to_success: float | None
    avg_steps_to_failure: float | None


class Metrics(ResultFields):
    """Results of a run."""

    success_rate_over_time: list[RateAt]
    avg_steps_per_task: list[StepsAt]
    domain_breakdown: dict[str, Domain]
    episode_success_metrics: EpisodeMetrics
    measured_tasks: int
    avg_steps: float | None


class RunMetrics(Metrics):
    """Results of a run in a comparison."""

    run_id: str
    model_id: str


class WorkerRow(BaseModel):
    """A worker of a run."""

    worker_id: str
    status: str
    current_task: str | None
    tasks_completed: int
    uptime_seconds: float
    idle_time_seconds: float
    busy_seconds: float
    last_seen: float
    vm: str | None


class Workers(BaseModel):
    """Workers of a run."""

    total_workers: int
    active_workers: int
    idle_workers: int
    workers: list[WorkerRow]


class ListedRun(RunSummary):
    """A run of the list of all runs."""

    # the row of a summary has Unix seconds; this address promises ISO 8601
    created_at: str | None = Field(description="Start of the run, ISO 8601 with its zone.")  # type: ignore[assignment]


class Runs(BaseModel):
    """All runs, the newest first."""

    runs: list[ListedRun]


class DomainDelta(BaseModel):
    """The difference in one domain; the p-value is corrected for the number of domains."""

    success_rate: float | None
    ci_low: float | None = Field(description="95 % interval of success_rate.")
    ci_high: float | None
    paired_tasks: int
    p_value: float | None
    verdict: Verdict


class Delta(BaseModel):
    """A difference over the tasks that both runs have measured."""

    success_rate: float | None
    score: float | None = Field(description="Over the tasks with scores in both runs, on the benchmark's own scale.")
    avg_steps: float | None
    duration_seconds: float | None
    cost_usd: float | None
    domain_deltas: dict[str, DomainDelta]


class Significance(BaseModel):
    """Significance of a difference. The verdict is on B against the baseline A."""

    test: str = Field(description="The test behind p_value; a sequential one while a run is running.")
    p_value: float | None = Field(description="The p-value that the verdict is based on.")
    ci_low: float | None = Field(
        description="95 % interval of the rates' difference A − B; of a running run with open tasks as censored."
    )
    ci_high: float | None
    estimate: float | None = Field(description="Estimate of that difference; of a running run the censored one.")
    final_low: float | None = Field(description="95 % interval of that difference once the running run is finished.")
    final_high: float | None
    paired_tasks: int
    only_a_succeeded: int
    only_b_succeeded: int
    verdict: Verdict
    anytime_p_value: float | None = Field(description="Valid however often it is evaluated during a run.")
    pairs_needed: int | None = Field(description="Further pairs needed to detect the observed difference.")
    noise_floor: float | None = Field(description="The difference that a model's own repeats show.")
    only_in_a: int = Field(description="Tasks measured only in A, which are in no pair.")
    only_in_b: int
    reason: str | None = Field(description="Why success is not compared: a run has no success rate.")


class ScoreSignificance(BaseModel):
    """Significance of the difference in scores, A − B. The verdict is on B against the baseline A."""

    test: str
    p_value: float = Field(description="The p-value that the verdict is based on.")
    anytime_p_value: float = Field(description="Valid however often it is evaluated during a run.")
    ci_low: float | None = Field(description="95 % interval over tasks.")
    ci_high: float | None
    estimate: float = Field(description="Estimate of the difference; of a running run the censored one.")
    paired_tasks: int = Field(description="Tasks with scores in both runs.")
    mean_a: float
    mean_b: float
    verdict: Verdict


class Compared(BaseModel):
    """Two runs side by side."""

    run_a: RunMetrics
    run_b: RunMetrics
    delta: Delta = Field(description="A − B.")
    change: Delta = Field(description="B − A: candidate minus baseline.")
    significance: Significance
    score: ScoreSignificance | None = Field(description="Null where no task has scores in both runs.")


class Comparison(BaseModel):
    """The response of /api/benchmark/compare."""

    comparison: Compared


class RunComparison(BaseModel):
    """Comparison of a run with its baseline; ``delta`` is the run minus the baseline."""

    baseline_run_id: str
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    paired_tasks: int
    verdict: Verdict


class RecentRun(RunSummary):
    """A run in the live page's list; its cost includes machines."""

    unpriced_machines: int
    comparison: RunComparison | None


class Links(BaseModel):
    """Links to other views of the run."""

    grafana_url: str | None
    replay: str | None
    results: list[str] = Field(default=[], description="The folders that are served.")


class Snapshot(BaseModel):
    """Everything that the live page shows at one point in time."""

    version: int
    generated_at: float
    run_id: str | None
    current_job: CurrentJob | None
    queue: list[QueuedTask]
    queue_length: int
    costs: Costs
    metrics: Metrics
    workers: Workers
    domain_breakdown: dict[str, Domain]
    runs: list[RecentRun]
    all_run_ids: list[str] = Field(description="Ids of the newest runs.")
    total_runs: int = Field(description="Number of all runs.")
    links: Links


class Problem(BaseModel):
    """An error and what to do about it."""

    error: str
