"""The first two rows of the Evaluation dashboard: stat panels of health and cost."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as q
from evalgauge_dashboards.panels import Panel, PanelSpec, Query
from evalgauge_dashboards.promql import ALERTS, NOW, RULES_LOADED, select, vector
from evalgauge_dashboards.variables import ONE


def build_health_panels() -> list[Panel]:
    """Build the panels of health: state, tasks, time left, success rate, elapsed time, alerts."""
    total = q.tasks(**ONE)
    finished = q.tasks(status=m.OUTCOMES, **ONE)
    eta = select(m.RUN_ETA, **ONE, bound="p50").max()
    # 0 only where the rules are evaluated: otherwise the panel says that they are not loaded
    firing = select(ALERTS, alertstate="firing", **ONE).count().or_(select(RULES_LOADED).max() * 0)
    state = select(m.RUN_STATE, **ONE).max("state").equals(1)
    # a run that was killed has no end: it stopped at its last event
    last = select(m.RUN_LAST_PROGRESS, **ONE).max().unless(q.running_runs(**ONE).count(), on=())
    until = select(m.RUN_END, **ONE).max().or_(last).or_(NOW * vector(1))
    elapsed = until - select(m.RUN_START, **ONE).max()
    return [
        p.stat(
            PanelSpec(
                1,
                "State",
                "running, completed, aborted, or stalled: no event and no heartbeat for the stall time.",
                p.NONE,
                "no such run",
                4,
                4,
            ),
            [Query(state, "{{state}}")],
            text="name",
            overrides=p.style_series(*m.RUN_STATES),
        ),
        p.stat(
            PanelSpec(
                2,
                "Tasks",
                "Attempts: finished with any outcome, running, and waiting in the queue.",
                p.COUNT,
                "no tasks yet",
                4,
                4,
            ),
            [
                Query(
                    finished.combine("*", total.count_values("total") * 0 + 1, on=(), carry=("total",)),
                    "of {{total}}",
                    "A",
                ),
                Query(q.tasks(status="running", **ONE), "running", "B"),
                Query(q.tasks(status="pending", **ONE), "waiting", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={"running": p.colour_series("running"), "waiting": p.colour_series("bound")},
        ),
        p.stat(
            PanelSpec(
                3,
                "Time left",
                "Estimated from the durations of finished tasks by domain and the busy workers: the median, and the "
                "80 % range (10th to 90th percentile).",
                p.SECONDS,
                "finished, or fewer than 3 finished tasks",
                5,
                4,
            ),
            [
                Query((eta - NOW).clamp_min(0), "likely", "A"),
                Query((select(m.RUN_ETA, **ONE, bound="p10").max() - NOW).clamp_min(0), "at best", "B"),
                Query((select(m.RUN_ETA, **ONE, bound="p90").max() - NOW).clamp_min(0), "at worst", "C"),
            ],
            decimals=1,
            text="value_and_name",
            overrides={"at best": p.colour_series("bound"), "at worst": p.colour_series("bound")},
        ),
        p.stat(
            PanelSpec(
                4,
                "Success rate",
                "Measured: success / (success + failure + agent error), with its 95 % Wilson interval. All: success / "
                "all finished attempts, those that measured nothing included.",
                p.RATIO,
                "nothing measured yet",
                6,
                4,
            ),
            [
                Query(q.success_rate(**ONE), "measured", "A"),
                Query(q.success_bound("low", q.Z_95, **ONE), "at least", "B"),
                Query(q.success_bound("high", q.Z_95, **ONE), "at most", "C"),
                Query(q.success_rate_all(**ONE), "all", "D"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "measured": p.colour_series("success"),
                "at least": p.colour_series("bound"),
                "at most": p.colour_series("bound"),
                "all": p.colour_series("success"),
            },
        ),
        p.stat(
            PanelSpec(
                6,
                "Elapsed",
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
                13,
                "Alerts",
                "Firing alerts of Prometheus' own rules for this run; the table at the bottom lists them.",
                p.COUNT,
                "rules not loaded",
                2,
                4,
            ),
            [Query(firing)],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "critical")),
        ),
    ]


def build_cost_panels() -> list[Panel]:
    """Build the panels of cost: so far, projected, against the budget, per success, per hour, unknown."""
    cost = q.cost(**ONE)
    budget = select(m.RUN_BUDGET, **ONE).max()
    lost = select(m.RUN_UNPRICED_REQUESTS, **ONE).sum()
    unknown = select(m.RUN_UNKNOWN_USAGE_REQUESTS, **ONE).sum()
    return [
        p.stat(
            PanelSpec(
                7,
                "Cost so far",
                "Known cost of model calls, machines and GPU time. Calls without a price are counted in the last panel "
                "of this row.",
                p.DOLLARS,
                "no cost known",
                4,
                4,
            ),
            [Query(cost)],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                8,
                "Projected at the end",
                "Expected cost at the end of the run, if the remaining attempts cost what the finished ones did.",
                p.DOLLARS,
                "fewer than 3 finished tasks",
                4,
                4,
            ),
            [Query(q.projected_cost(**ONE))],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                9, "Budget used", "Cost so far divided by the budget of the run.", p.RATIO, "no budget set", 4, 4
            ),
            [Query(cost / budget)],
            decimals=0,
            steps=p.thresholds((None, "success"), (0.8, "warning"), (1, "critical")),
        ),
        p.stat(
            PanelSpec(
                10,
                "Cost per success",
                "Cost so far divided by the successes; it includes the cost of failed attempts.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            [Query(q.cost_per_success(**ONE))],
            decimals=3,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                11,
                "Cost per hour",
                f"The slope of the cost over the last {q.SPEND_WINDOW}, while the run is running.",
                p.DOLLARS,
                "not running, or no cost known",
                4,
                4,
            ),
            [Query(q.spend_per_hour("run_id", **ONE).where(q.running_runs("run_id", **ONE), on=("run_id",)).max())],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                12,
                "Calls without a cost",
                "Calls without a known price, and calls that reported no tokens: the true cost is higher than the cost "
                "shown.",
                p.COUNT,
                "no model calls reported",
                4,
                4,
            ),
            [Query(lost, "no price", "A"), Query(unknown, "no tokens", "B")],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "warning")),
            text="value_and_name",
        ),
    ]
