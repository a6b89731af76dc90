"""The first rows of the Evaluation dashboard: stat panels of health, result and cost."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries, thresholds
from evalgauge_dashboards.panels import Panel, PanelSpec, Query
from evalgauge_dashboards.promql import ALERTS, NOW, RULES_LOADED, Expression, select, vector
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.variables import ONE
from evalgauge_dashboards.verdicts import SHORT_VERDICTS, compute_verdict, select_difference, select_p_value

ERRORS = ("agent_error", "infrastructure_error", "evaluation_error")
BOUND = p.colour_series("bound")
INCOMPLETE = p.colour_series("warning")


def build_health_panels() -> list[Panel]:
    """Build the panels of health: state, attempts, time left, elapsed time, workers, alerts."""
    total = q.tasks(**ONE)
    finished = q.tasks(status=m.OUTCOMES, **ONE)
    eta = q.value(m.RUN_ETA, **ONE, bound="p50")
    # 0 only where the rules are evaluated: otherwise the panel says that they are not loaded
    firing = select(ALERTS, alertstate="firing", **ONE).count().or_(select(RULES_LOADED).max() * 0)
    state = q.value(m.RUN_STATE, "state", **ONE).equals(1)
    # a run that was killed has no end: it stopped at its last event
    last = q.value(m.RUN_LAST_PROGRESS, **ONE).unless(q.running_runs(**ONE).count(), on=())
    until = q.value(m.RUN_END, **ONE).or_(last).or_(NOW * vector(1))
    elapsed = until - q.value(m.RUN_START, **ONE)
    return [
        p.stat(
            PanelSpec(
                1,
                "State",
                "running, completed, aborted, or stalled: no event and no heartbeat for the stall time.",
                p.NONE,
                "no such run",
                3,
                4,
            ),
            [Query(state, "{{state}}")],
            text="name",
            overrides=p.style_series(*m.RUN_STATES),
        ),
        p.stat(
            PanelSpec(
                2,
                "Attempts",
                "Attempts at tasks: finished with any outcome, of all that are planned, and running; the number of "
                "tasks, each counted once however many attempts it has; and the share of the finished attempts that "
                "ended as an error of the agent, the infrastructure or the evaluation.",
                p.INTEGER,
                "no task yet",
                6,
                4,
            ),
            [
                Query(
                    finished.combine("*", total.count_values("total") * 0 + 1, on=(), carry=("total",)),
                    "of {{total}}",
                    "A",
                ),
                Query(q.tasks(status="running", **ONE), "running", "B"),
                Query(q.distinct_tasks(**ONE), "tasks", "C"),
                Query(q.tasks(status=ERRORS, **ONE) / (finished > 0), "errors", "D"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "running": p.colour_series("running"),
                "tasks": BOUND,
                "errors": {
                    "unit": p.RATIO,
                    "thresholds": p.threshold_steps((None, "bound"), (thresholds.INCOMPLETE_SHARE, "warning")),
                    "color": {"mode": "thresholds"},
                },
            },
        ),
        p.stat(
            PanelSpec(
                3,
                "Time left",
                "Estimated from the durations of finished tasks by domain and the busy workers: the median, and the "
                "80 % range (10th to 90th percentile).",
                p.SECONDS,
                "finished, stalled, or fewer than 3 finished tasks",
                5,
                4,
            ),
            [
                Query((eta - NOW).clamp_min(0), "likely", "A"),
                Query((q.value(m.RUN_ETA, **ONE, bound="p10") - NOW).clamp_min(0), "at best", "B"),
                Query((q.value(m.RUN_ETA, **ONE, bound="p90") - NOW).clamp_min(0), "at worst", "C"),
            ],
            decimals=1,
            text="value_and_name",
            overrides={"at best": BOUND, "at worst": BOUND},
        ),
        p.stat(
            PanelSpec(
                6,
                "Took",
                "From the start to the end; to the last event of a stalled run; to now for a running run.",
                p.SECONDS,
                "start unknown",
                3,
                4,
            ),
            [Query(elapsed)],
            decimals=1,
        ),
        p.stat(
            PanelSpec(
                5,
                "Workers",
                "Workers with a task, and lost ones: without an event or heartbeat for the stall time.",
                p.COUNT,
                "no worker reported",
                4,
                4,
            ),
            [
                Query(q.value(m.WORKER_STATE, "worker_id", state="busy", **ONE).sum(), "busy", "A"),
                Query(q.value(m.WORKER_STATE, "worker_id", state="lost", **ONE).sum(), "lost", "B"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={"busy": p.colour_series("busy"), "lost": p.colour_positive("lost")},
        ),
        p.stat(
            PanelSpec(
                13,
                "Alerts",
                "Firing alerts of Prometheus' own rules for this run; the table at the bottom lists them.",
                p.COUNT,
                "rules not loaded",
                3,
                4,
            ),
            [Query(firing)],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "critical")),
        ),
    ]


def build_result_panels() -> list[Panel]:
    """Build the panels of the result: rate with interval, score, baseline, repeats."""
    running = q.running_runs(**ONE).count()
    rate = q.rate("estimate", **ONE)
    return [
        p.stat(
            PanelSpec(
                4,
                "Success rate",
                "The mean over tasks of each task's share of successes among its measured attempts (success, failure, "
                "agent error), with its 95 % interval. Expected, while the run is running: its rate at the end, with "
                "the "
                "tasks that are still open taken into account. All: successes among all finished attempts.",
                p.RATIO,
                "nothing measured yet",
                9,
                4,
            ),
            [
                Query(rate.unless(running, on=()).or_(q.success_rate(**ONE)), "measured", "A"),
                Query(rate.where(running, on=()), "expected", "E"),
                Query(q.rate("low", **ONE), "at least", "B"),
                Query(q.rate("high", **ONE), "at most", "C"),
                Query(q.success_rate_all(**ONE), "all", "D"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "measured": p.colour_series("success"),
                "expected": p.colour_series("running"),
                "at least": BOUND,
                "at most": BOUND,
                "all": BOUND,
            },
        ),
        p.stat(
            PanelSpec(
                16,
                "Score, repeats",
                "Mean score of the measured attempts, in the benchmark's own scale. pass@k: the chance that at least "
                "one of k "
                "attempts succeeds; pass^k: that all k do.",
                p.COUNT,
                "no scores, one attempt a task",
                5,
                4,
            ),
            [
                Query(q.mean_score(**ONE), "mean score", "A"),
                Query(_largest_k("any"), "pass@{{k}}", "B"),
                Query(_largest_k("all"), "pass^{{k}}", "C"),
            ],
            decimals=2,
            text="value_and_name",
            colour_of="success",
        ),
        p.stat(
            PanelSpec(
                17,
                "Against the baseline",
                "Success rate minus the baseline's over the tasks measured in both, with its 95 % interval. The "
                "p-value of a "
                "running run may be read as often as one likes.",
                p.RATIO,
                "no such run: name a baseline with track_run(baseline=…) or in [baselines]",
                7,
                4,
            ),
            [
                Query(select_difference(**ONE).max(), "difference", "A"),
                Query(select_difference("low", **ONE).max(), "at least", "B"),
                Query(select_difference("high", **ONE).max(), "at most", "C"),
                Query(select_p_value(**ONE).max(), "p", "D"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "difference": p.colour_series("neutral"),
                "at least": BOUND,
                "at most": BOUND,
                "p": {"unit": p.NONE, "decimals": 3, "mappings": p.map_below(0.001, "< 0.001"), **BOUND},
            },
        ),
        p.stat(
            PanelSpec(
                18,
                "Verdict",
                f"Better or worse where p < 0.05, with at least {queries.MIN_PAIRS} measured tasks.",
                p.NONE,
                "no baseline",
                3,
                4,
            ),
            [Query(compute_verdict(**ONE).max())],
            size=16,
            colour_of=None,
            mappings=p.map_words(SHORT_VERDICTS),
        ),
    ]


def _largest_k(kind: str) -> Expression:
    """pass@k or pass^k of the most attempts: the most favourable of the one kind, the least of the other."""
    ratio = select(m.RUN_PASS_RATIO, kind=kind, **ONE).max("k")
    return ratio.topk(1) if kind == "any" else ratio.bottomk(1)


def _split_by_completeness(value: Expression, name: str) -> list[Query]:
    """Query a sum of money twice: where everything is in it, and where calls or machines are missing."""
    calls = q.uncosted_calls(**ONE)
    missing = (calls > 0).or_(q.value(m.RUN_UNPRICED_MACHINES, **ONE) > 0)
    return [
        Query(value.unless(missing, on=()), name, "A"),
        Query(value.where(missing, on=()), "incomplete", "B"),
    ]


def build_cost_panels() -> list[Panel]:
    """Build the panels of cost: so far, projected, against the budget, per success, per hour, unknown."""
    cost = q.cost(**ONE)
    budget = q.value(m.RUN_BUDGET, **ONE)
    money = INCOMPLETE | p.AT_LEAST
    running = q.running_runs("run_id", **ONE)
    return [
        p.stat(
            PanelSpec(
                7,
                "Cost so far",
                "Known cost of model calls, machines and GPU time. Amber and ≥: a part of it is not known.",
                p.DOLLARS,
                "no cost known",
                4,
                4,
            ),
            _split_by_completeness(cost, "cost"),
            decimals=2,
            colour_of="llm",
            overrides={"incomplete": money},
        ),
        p.stat(
            PanelSpec(
                8,
                "At the end",
                "Expected cost at the end of the run, if the remaining attempts cost what the finished ones did.",
                p.DOLLARS,
                "fewer than 3 finished tasks, or no cost known",
                4,
                4,
            ),
            _split_by_completeness(q.projected_cost(**ONE), "projected"),
            decimals=2,
            colour_of="llm",
            overrides={"incomplete": money},
        ),
        p.stat(
            PanelSpec(
                9,
                "Budget used",
                "Cost so far divided by the budget of the run. Amber: a part of the cost is not known, so more is "
                "used.",
                p.RATIO,
                "no budget set, or no cost known",
                4,
                4,
            ),
            _split_by_completeness(cost / budget, "used"),
            decimals=0,
            steps=p.thresholds((None, "success"), (0.8, "warning"), (1, "critical")),
            overrides={
                "incomplete": {
                    "thresholds": p.threshold_steps((None, "warning"), (1, "critical")),
                    "mappings": p.map_below(0.005, "≥ 0 %"),
                }
            },
        ),
        p.stat(
            PanelSpec(
                10,
                "Per success",
                "Cost so far divided by the successes; it includes the cost of failed attempts.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            _split_by_completeness(q.cost_per_success(**ONE), "cost"),
            decimals=3,
            colour_of="llm",
            overrides={"incomplete": money},
        ),
        p.stat(
            PanelSpec(
                11,
                "Hourly",
                f"The slope of the known cost over the last {queries.SPEND_WINDOW}, while the run is running.",
                p.DOLLARS,
                "not running, or no cost known",
                3,
                4,
            ),
            [Query(q.spend_per_hour("run_id", **ONE).where(running, on=("run_id",)).max())],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                12,
                "Not in the cost",
                "Calls without a known price, calls that reported no tokens, and machines without a known price: the "
                "true cost "
                "is higher than the cost shown.",
                p.COUNT,
                "no model call reported",
                5,
                4,
            ),
            [
                Query(q.total(m.RUN_UNPRICED_REQUESTS, **ONE), "no price", "A"),
                Query(q.total(m.RUN_UNKNOWN_USAGE_REQUESTS, **ONE), "no tokens", "B"),
                Query(q.value(m.RUN_UNPRICED_MACHINES, **ONE), "VMs", "C"),
            ],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "warning")),
            text="value_and_name",
        ),
    ]
