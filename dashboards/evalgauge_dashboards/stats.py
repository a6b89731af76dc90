"""The first two lines of the Evaluation board: one number, or one with its range, for each of its questions."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards.dashboard import ONE
from evalgauge_dashboards.panels import About, Panel, Query
from evalgauge_dashboards.promql import ALERTS, NOW, RULES_LOADED, select, vector


def health() -> list[Panel]:
    """Is it healthy, when is it done, how well does it go?"""
    total = measure.tasks(**ONE)
    finished = measure.tasks(status=m.OUTCOMES, **ONE)
    eta = select(m.RUN_ETA, **ONE, bound="p50").max()
    # 0 only where somebody looks: without the rules the panel says that they are not loaded
    firing = select(ALERTS, alertstate="firing", **ONE).count().or_(select(RULES_LOADED).max() * 0)
    state = select(m.RUN_STATE, **ONE).max("state").is_(1)
    # a run that was killed has no end: it stopped at its last event
    last = select(m.RUN_LAST_PROGRESS, **ONE).max().unless(measure.running(**ONE).count(), on=())
    until = select(m.RUN_END, **ONE).max().or_(last).or_(NOW * vector(1))
    elapsed = until - select(m.RUN_START, **ONE).max()
    return [
        p.stat(
            About(
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
            overrides=p.series_of(*m.RUN_STATES),
        ),
        p.stat(
            About(
                2,
                "Tasks",
                "Attempts that ended, whatever their outcome; that go on; and that wait in the queue.",
                p.COUNT,
                "no tasks yet",
                4,
                4,
            ),
            [
                Query(
                    finished.combine("*", total.counted("total") * 0 + 1, on=(), carry=("total",)),
                    "of {{total}}",
                    "A",
                ),
                Query(measure.tasks(status="running", **ONE), "running", "B"),
                Query(measure.tasks(status="pending", **ONE), "waiting", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={"running": p.of_colour("running"), "waiting": p.of_colour("bound")},
        ),
        p.stat(
            About(
                3,
                "Time left",
                "From the durations of the finished tasks of each domain over the busy workers: the middle estimate, "
                "and the range it is in with 80 %.",
                p.SECONDS,
                "over, or fewer than 3 tasks ended",
                5,
                4,
            ),
            [
                Query((eta - NOW).at_least(0), "likely", "A"),
                Query((select(m.RUN_ETA, **ONE, bound="p10").max() - NOW).at_least(0), "at best", "B"),
                Query((select(m.RUN_ETA, **ONE, bound="p90").max() - NOW).at_least(0), "at worst", "C"),
            ],
            decimals=1,
            text="value_and_name",
            overrides={"at best": p.of_colour("bound"), "at worst": p.of_colour("bound")},
        ),
        p.stat(
            About(
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
                Query(measure.success_rate(**ONE), "measured", "A"),
                Query(measure.success_bound("low", measure.Z_95, **ONE), "at least", "B"),
                Query(measure.success_bound("high", measure.Z_95, **ONE), "at most", "C"),
                Query(measure.success_rate_all(**ONE), "all", "D"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "measured": p.of_colour("success"),
                "at least": p.of_colour("bound"),
                "at most": p.of_colour("bound"),
                "all": p.of_colour("success"),
            },
        ),
        p.stat(
            About(
                6,
                "Elapsed",
                "From the start to the end; to the last event of a stalled run, to now of one that goes on.",
                p.SECONDS,
                "start unknown",
                3,
                4,
            ),
            [Query(elapsed)],
            decimals=1,
        ),
        p.stat(
            About(
                13,
                "Alerts",
                "Alerts of Prometheus' own rules that fire for this run; the table at the bottom names them.",
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


def money() -> list[Panel]:
    """What does it cost?"""
    cost = measure.cost(**ONE)
    budget = select(m.RUN_BUDGET, **ONE).max()
    lost = select(m.RUN_UNPRICED_REQUESTS, **ONE).sum()
    unknown = select(m.RUN_UNKNOWN_USAGE_REQUESTS, **ONE).sum()
    return [
        p.stat(
            About(
                7,
                "Cost so far",
                "What is known: model calls, machines, GPU time. Calls without a price are in the last number of "
                "this line.",
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
            About(
                8,
                "Projected at the end",
                "The cost so far over the share of the tasks that is done, a running one counted as half.",
                p.DOLLARS,
                "fewer than 3 tasks ended",
                4,
                4,
            ),
            [Query(measure.projected_cost(**ONE))],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            About(9, "Budget used", "Cost so far over the run's budget.", p.RATIO, "no budget set", 4, 4),
            [Query(cost / budget)],
            decimals=0,
            steps=p.thresholds((None, "success"), (0.8, "warning"), (1, "critical")),
        ),
        p.stat(
            About(
                10,
                "Cost per success",
                "Cost so far over successes: failed attempts are paid for too.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            [Query(measure.cost_per_success(**ONE))],
            decimals=3,
            colour_of="llm",
        ),
        p.stat(
            About(
                11,
                "Spending an hour",
                f"The slope of the cost over the last {measure.SPEND_WINDOW}, while the run goes on.",
                p.DOLLARS,
                "not running, or no cost known",
                4,
                4,
            ),
            [
                Query(
                    measure.spend_per_hour("run_id", **ONE)
                    .where(measure.running("run_id", **ONE), on=("run_id",))
                    .max()
                )
            ],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            About(
                12,
                "Calls in no cost",
                "Calls whose price is not known, and calls that reported no tokens: the cost is at least what is "
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
