"""The metric catalogue: the one list of the metrics of evalgauge.

The exposition, the OTLP instruments, the PromQL of every panel and alert and ``docs/metrics.md`` are generated from
it, so none of them can name a metric or a label that does not exist. Names follow
https://prometheus.io/docs/practices/naming/: base units, ``_total`` for counters only, points in time as
``_timestamp_seconds``, ratios left to the query.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram", "summary"]

RUN_STATES = ("running", "completed", "aborted", "stalled")
OUTCOMES = ("success", "failure", "agent_error", "infrastructure_error", "evaluation_error", "interrupted")
MEASURED_OUTCOMES = ("success", "failure", "agent_error")
TASK_STATUSES = ("pending", "running", *OUTCOMES)
WORKER_STATES = ("starting", "idle", "busy", "stopped", "lost")
TOKEN_KINDS = ("input", "cache_read", "cache_write", "output")
REQUEST_STATUSES = ("ok", "error", "retry")
COST_COMPONENTS = ("llm", "vm", "gpu")
ETA_BOUNDS = ("p10", "p50", "p90")
BOUNDS = ("estimate", "low", "high")
POWER_STATES = ("starting", "running", "stopping", "stopped", "deallocating", "deallocated", "unknown")
SOURCES = (
    "runlog",
    "openadapt",
    "inspect",
    "osworld",
    "waa",
    "agentlab",
    "atif",
    "mobileworld",
    "openadapt_flow",
    "cube",
    "terminal_bench",
    "mini_swe_agent",
    "swe_agent",
    "openhands",
    "tau_bench",
    "tau2_bench",
    "azure_vm",
    "azure_ml",
    "aws_ec2",
    "cloud",
    "bucket",
    "prices",
    "probe",
    "registries",
)

DURATION_BUCKETS = (
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0),
)
"""Upper bounds of ``run_task_duration_seconds`` in seconds, to one hour: real desktop tasks take 1 to 40 minutes."""
CALL_DURATION_BUCKETS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of ``run_llm_request_duration_seconds`` in seconds, to the usual timeout of a client."""


class Metric(NamedTuple):
    """One metric: everything that views, queries and the documentation need."""

    name: str
    """Full name with prefix, as Prometheus stores it (a histogram's without ``_bucket``, ``_sum``, ``_count``)."""
    kind: Kind
    unit: str
    """The unit in words, or ``""`` for a count or a flag."""
    labels: tuple[str, ...]
    help: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The closed sets of label values, ``(label, values)``; other labels are open."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which samples of this metric appear in Prometheus."""
        if self.kind == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        if self.kind == "summary":
            return (f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


def _timestamp(what: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(f"agent_eval_{what}_timestamp_seconds", "gauge", "Unix seconds", labels, text)


RUN_INFO = Metric(
    "agent_eval_run_info",
    "gauge",
    "",
    ("run_id", "benchmark", "model", "agent", "source"),
    "Always 1: what the run evaluates and the format it was read from, which a plug-in names itself. Join on run_id.",
    (("source", SOURCES),),
)
RUN_STATE = Metric(
    "agent_eval_run_state",
    "gauge",
    "",
    ("run_id", "state"),
    "1 for the state the run is in, 0 for the others. stalled: no event and no heartbeat for --stall-after.",
    (("state", RUN_STATES),),
)
RUN_TASKS = Metric(
    "agent_eval_run_tasks",
    "gauge",
    "tasks",
    ("run_id", "benchmark", "model", "domain", "status"),
    "Task attempts by status. Measured are success, failure and agent_error; the other outcomes measure nothing.",
    (("status", TASK_STATUSES),),
)
RUN_DISTINCT_TASKS = Metric(
    "agent_eval_run_distinct_tasks",
    "gauge",
    "tasks",
    ("run_id",),
    "Tasks of the run, planned ones included, each counted once however many attempts it has.",
)
RUN_START = _timestamp("run_start", ("run_id",), "When the run started.")
RUN_END = _timestamp("run_end", ("run_id",), "When the run finished; absent while it is running.")
RUN_LAST_PROGRESS = _timestamp("run_last_progress", ("run_id",), "When the last event other than a heartbeat happened.")
RUN_ETA = Metric(
    "agent_eval_run_eta_timestamp_seconds",
    "gauge",
    "Unix seconds",
    ("run_id", "bound"),
    "When the run will finish: 10th, 50th and 90th percentile. Absent before 3 tasks have finished and while nothing "
    "progresses.",
    (("bound", ETA_BOUNDS),),
)
RUN_STEPS = Metric(
    "agent_eval_run_steps_total",
    "counter",
    "steps",
    ("run_id", "action"),
    "Recorded steps by action type, the terminal step included as done or error.",
)
RUN_TASK_DURATION = Metric(
    "agent_eval_run_task_duration_seconds",
    "histogram",
    "seconds",
    ("run_id", "domain"),
    "Duration of finished task attempts, whatever their outcome.",
)
RUN_FIRST_ACTIONS = Metric(
    "agent_eval_run_first_actions_total",
    "counter",
    "actions",
    ("run_id", "correct"),
    "First actions that the runner judged, by their correctness.",
    (("correct", ("true", "false")),),
)
RUN_TOKENS = Metric(
    "agent_eval_run_tokens_total",
    "counter",
    "tokens",
    ("run_id", "provider", "model", "kind"),
    "Tokens of model calls. The kinds are disjoint: input excludes what was read from or written to a cache.",
    (("kind", TOKEN_KINDS),),
)
RUN_LLM_REQUESTS = Metric(
    "agent_eval_run_llm_requests_total",
    "counter",
    "requests",
    ("run_id", "provider", "model", "status"),
    "Model calls by their status; a retry is a call whose response was discarded.",
    (("status", REQUEST_STATUSES),),
)
RUN_UNPRICED_REQUESTS = Metric(
    "agent_eval_run_unpriced_requests_total",
    "counter",
    "requests",
    ("run_id", "provider", "model"),
    "Model calls with known token counts but no known price; no total includes their cost.",
)
RUN_UNKNOWN_USAGE_REQUESTS = Metric(
    "agent_eval_run_unknown_usage_requests_total",
    "counter",
    "requests",
    ("run_id", "provider", "model"),
    "Model calls that reported no token counts; no total includes their cost.",
)
RUN_COST = Metric(
    "agent_eval_run_cost_usd",
    "gauge",
    "US dollars",
    ("run_id", "component"),
    "Known cost of the run. A component of which nothing is known is absent, never 0.",
    (("component", COST_COMPONENTS),),
)
RUN_PROJECTED_COST = Metric(
    "agent_eval_run_projected_cost_usd",
    "gauge",
    "US dollars",
    ("run_id",),
    "Cost of the run when it finishes, if the remaining attempts cost as much as the finished ones.",
)
RUN_BUDGET = Metric("agent_eval_run_budget_usd", "gauge", "US dollars", ("run_id",), "The budget of the run.")
BASELINE_SUCCESS_TASKS = Metric(
    "agent_eval_baseline_success_tasks",
    "gauge",
    "tasks",
    ("benchmark", "model", "baseline_run_id"),
    "Successes of the baseline run.",
)
BASELINE_MEASURED_TASKS = Metric(
    "agent_eval_baseline_measured_tasks",
    "gauge",
    "tasks",
    ("benchmark", "model", "baseline_run_id"),
    "Measured task attempts of the baseline run.",
)
COMPARISON_P_VALUE = Metric(
    "agent_eval_comparison_p_value",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "kind"),
    "p-value of the paired difference to the baseline. exact: McNemar's test, for finished runs; anytime: valid at "
    "every look while the run is running.",
    (("kind", ("exact", "anytime")),),
)
COMPARISON_SUCCESS_DELTA = Metric(
    "agent_eval_comparison_success_delta",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "bound"),
    "Success rate of the run minus its baseline's, over the tasks measured in both, with its 95 % interval.",
    (("bound", ("estimate", "low", "high")),),
)
WORKER_STATE = Metric(
    "agent_eval_worker_state",
    "gauge",
    "",
    ("run_id", "worker_id", "state"),
    "1 for the state the worker is in, 0 for the others.",
    (("state", WORKER_STATES),),
)
WORKER_TASK_INFO = Metric(
    "agent_eval_worker_task_info",
    "gauge",
    "",
    ("run_id", "worker_id", "task_id"),
    "Always 1: the current task of the worker. Absent while it has none.",
)
WORKER_TASKS = Metric(
    "agent_eval_worker_tasks_total",
    "counter",
    "tasks",
    ("run_id", "worker_id", "outcome"),
    "Task attempts that the worker has finished.",
    (("outcome", OUTCOMES),),
)
WORKER_BUSY = Metric(
    "agent_eval_worker_busy_seconds_total", "counter", "seconds", ("run_id", "worker_id"), "Time with a task."
)
WORKER_IDLE = Metric(
    "agent_eval_worker_idle_seconds_total",
    "counter",
    "seconds",
    ("run_id", "worker_id"),
    "Time without a task, while not stopped.",
)
WORKER_LAST_SEEN = _timestamp("worker_last_seen", ("run_id", "worker_id"), "When the worker's last event happened.")
MACHINE = ("vm", "resource_group", "group", "provider")
"""The labels of a machine. ``group`` is the resource group of Azure and its like in other clouds; ``resource_group``
has the same value, for queries from when there was Azure alone."""
VM_INFO = Metric(
    "agent_eval_vm_info",
    "gauge",
    "",
    (*MACHINE, "location", "size"),
    "Always 1: the machine's description.",
)
VM_POWER_STATE = Metric(
    "agent_eval_vm_power_state",
    "gauge",
    "",
    (*MACHINE, "state"),
    "1 for the power state the machine is in, 0 for the others. stopped is still billed, deallocated is not.",
    (("state", POWER_STATES),),
)
VM_CREATED = _timestamp("vm_created", MACHINE, "When the machine was created.")
VM_INTERRUPTION = _timestamp(
    "vm_interruption", MACHINE, "When the cloud ends the machine or ended it, by its notice; absent without a notice."
)
VM_PRICE = Metric(
    "agent_eval_vm_price_usd_per_hour",
    "gauge",
    "US dollars per hour",
    (*MACHINE, "priced_by"),
    "Price of the machine while it is billed; absent where no price is known.",
)
VM_RUNS = Metric(
    "agent_eval_vm_runs",
    "gauge",
    "runs",
    MACHINE,
    "Running runs that use the machine; 0 is a machine that no run uses.",
)
VM_BUSY_WORKERS = Metric(
    "agent_eval_vm_busy_workers",
    "gauge",
    "workers",
    MACHINE,
    "Workers on the machine that have a task; 0 is an idle machine.",
)
AZURE_RATELIMIT = Metric(
    "agent_eval_azure_ratelimit_remaining",
    "gauge",
    "requests",
    ("subscription", "bucket"),
    "Requests left before Azure throttles, as its last response stated.",
)
AZURE_ML_JOBS = Metric(
    "agent_eval_azure_ml_jobs", "gauge", "jobs", ("workspace", "status"), "Jobs of an Azure ML workspace by status."
)
PROBE_SUCCESS = Metric(
    "agent_eval_probe_success", "gauge", "", ("target", "kind"), "1 if the target answered its last probe, else 0."
)
PROBE_DURATION = Metric(
    "agent_eval_probe_duration_seconds", "gauge", "seconds", ("target", "kind"), "Duration of the last probe."
)
SOURCE_UP = Metric(
    "agent_eval_source_up",
    "gauge",
    "",
    ("source",),
    "1 if the last refresh of the source succeeded and is not older than three intervals, else 0.",
    (("source", SOURCES),),
)
SOURCE_LAST_SUCCESS = _timestamp("source_last_success", ("source",), "When the source was last refreshed successfully.")
SOURCE_REFRESH_DURATION = Metric(
    "agent_eval_source_refresh_duration_seconds", "gauge", "seconds", ("source",), "Duration of the last refresh."
)
SOURCE_ERRORS = Metric(
    "agent_eval_source_errors_total",
    "counter",
    "errors",
    ("source", "reason"),
    "Items that could not be read and were skipped, since the exporter started.",
    (("source", SOURCES),),
)
RUNS_LEFT_OUT = Metric(
    "agent_eval_exporter_runs_left_out",
    "gauge",
    "runs",
    (),
    "Running runs beyond limits.running, which are not exposed; those that started first are.",
)
BUILD_INFO = Metric(
    "agent_eval_exporter_build_info", "gauge", "", ("version", "python"), "Always 1: the exporter's version."
)

RUN_STEP_SECONDS = Metric(
    "agent_eval_run_step_seconds_total",
    "counter",
    "seconds",
    ("run_id", "kind"),
    "Time of the steps that reported it: think is the agent's, environment that of the action and the observation.",
    (("kind", ("think", "environment")),),
)
RUN_STEP_LIMIT = Metric(
    "agent_eval_run_step_limit_attempts",
    "gauge",
    "attempts",
    ("run_id",),
    "Measured attempts that used every step they were allowed; absent where no attempt has a limit.",
)
RUN_SUCCESS_RATIO = Metric(
    "agent_eval_run_success_ratio",
    "gauge",
    "",
    ("run_id", "bound"),
    "Success rate of the run, 0 to 1: the mean over its tasks of each task's share of successes among its measured "
    "attempts, with its cluster-robust 95 % interval; provisional while the run is running.",
    (("bound", BOUNDS),),
)
RUN_DOMAIN_SUCCESS_RATIO = Metric(
    "agent_eval_run_domain_success_ratio",
    "gauge",
    "",
    ("run_id", "domain", "bound"),
    "The same for the tasks of one domain.",
    (("bound", BOUNDS),),
)
RUN_SCORE = Metric(
    "agent_eval_run_score",
    "summary",
    "",
    ("run_id", "benchmark", "model", "domain"),
    "Mean scores of the tasks over their measured attempts, on the benchmark's own scale: their sum and their number.",
)
RUN_PASS_RATIO = Metric(
    "agent_eval_run_pass_ratio",
    "gauge",
    "",
    ("run_id", "k", "kind"),
    "any: pass@k, the chance that at least one of k attempts succeeds (unbiased, Chen et al. 2021); all: pass^k, that "
    "all k do (Yao et al. 2024).",
    (("kind", ("any", "all")),),
)
RUN_LLM_DURATION = Metric(
    "agent_eval_run_llm_request_duration_seconds",
    "histogram",
    "seconds",
    ("run_id", "provider", "model"),
    "Duration of the model calls that reported one.",
)
RUN_TAGS_INFO = Metric(
    "agent_eval_run_tags_info",
    "gauge",
    "",
    ("run_id", "key", "value"),
    "Always 1: the run's tags that the configuration exposes. Join it on run_id.",
)
RUN_BASELINE_INFO = Metric(
    "agent_eval_run_baseline_info",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "state"),
    "Always 1: the baseline that the run or the configuration names, and whether there is such a run.",
    (("state", ("found", "missing")),),
)
RUN_UNPRICED_MACHINES = Metric(
    "agent_eval_run_unpriced_machines",
    "gauge",
    "machines",
    ("run_id",),
    "Machines of the run whose price is not known; their cost is in no total.",
)
RUN_LOST_EVENTS = Metric(
    "agent_eval_run_lost_events_total",
    "counter",
    "events",
    ("run_id",),
    "Events that the run's processes could not write to its log, as far as they could report it.",
)
WORKER_INFO = Metric(
    "agent_eval_worker_info",
    "gauge",
    "",
    ("run_id", "worker_id", "vm", "provider", "vm_size"),
    "Always 1: the machine that the worker reported. Join it on run_id and worker_id.",
)
COMPARISON_SCORE_DELTA = Metric(
    "agent_eval_comparison_score_delta",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "bound"),
    "Mean score of the run minus its baseline's, over the tasks with a score in both, with its 95 % interval.",
    (("bound", BOUNDS),),
)
COMPARISON_DOMAIN_DELTA = Metric(
    "agent_eval_comparison_domain_delta",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "domain", "bound"),
    "Success rate of the run minus its baseline's over one domain's tasks measured in both, with its 95 % interval.",
    (("bound", BOUNDS),),
)
COMPARISON_DOMAIN_P_VALUE = Metric(
    "agent_eval_comparison_domain_p_value",
    "gauge",
    "",
    ("run_id", "baseline_run_id", "domain", "kind"),
    "The p-value of that difference, adjusted for the number of domains (Holm).",
    (("kind", ("exact", "anytime")),),
)

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order of definition, which is that of ``/metrics``."""

BUCKETS: dict[str, tuple[float, ...]] = {
    RUN_TASK_DURATION.name: DURATION_BUCKETS,
    RUN_LLM_DURATION.name: CALL_DURATION_BUCKETS,
}
"""The upper bounds of each histogram, in seconds."""

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}


def render_markdown() -> str:
    """Render ``docs/metrics.md``: the catalogue with one table for each metric."""
    lines = [
        "# Metrics",
        "",
        "Generated from `evalgauge.metrics` by `make docs`; a test fails if it is out of date. Read run totals in an",
        "instant query; for anything over time use `rate` or `increase`. Every status of `agent_eval_run_tasks`",
        "and every state of a state set is exposed for each label set, zeros included.",
        "",
    ]
    for metric in CATALOGUE:
        closed = dict(metric.values)
        lines += [
            f"## `{metric.name}`",
            "",
            f"{metric.kind}{', in ' + metric.unit if metric.unit else ''}. {metric.help}",
            "",
            "| label | values |",
            "|---|---|",
        ]
        lines += [
            f"| `{label}` | {', '.join(f'`{value}`' for value in closed[label]) if label in closed else 'open'} |"
            for label in metric.labels
        ]
        if metric.kind == "histogram":
            lines.append(f"| `le` | {', '.join(f'`{bound:g}`' for bound in BUCKETS[metric.name])}, `+Inf` |")
        lines.append("")
    return "\n".join(lines)
