"""The Evaluation board: is this run healthy, when is it done, what does it cost?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import measures as measure
from evalgauge_dashboards import panels as p
from evalgauge_dashboards.board import BENCHMARKS, EVALUATION, MODELS, REPLAY, RUN, THIS_RUN, Row, board
from evalgauge_dashboards.panels import About, Column, Panel, Query
from evalgauge_dashboards.promql import ALERTS, NOW, buckets, select, vector

ONE = {"run_id": RUN}
STATUS_ORDER = (*m.OUTCOMES, "running", "pending")
ACTIONS = ("click", "type", "key", "scroll", "drag", "wait", "done", "error")
"""Actions that most runners have; others get a colour that says nothing."""


def build() -> dashboard.Dashboard:
    """The board, ready to be encoded."""
    rows = [
        Row("Is it healthy, when is it done, what does it cost?", [*_health(), *_money()]),
        Row("How it goes", _progress()),
        Row("Where it fails", _failures()),
        Row("Model calls", _calls()),
        Row("Who does what", _workers()),
        Row("Recent runs and alerts", [_recent_runs(), _alerts()]),
    ]
    text = "One run: its health, its end, its cost; then where it fails and who does what."
    return board(EVALUATION, text, rows, many_runs=False)


def _health() -> list[Panel]:
    total = measure.tasks(**ONE)
    finished = measure.tasks(status=m.OUTCOMES, **ONE)
    eta = select(m.RUN_ETA, **ONE, bound="p50").max()
    firing = select(ALERTS, alertstate="firing", **ONE).count().or_(vector(0))
    state = select(m.RUN_STATE, **ONE).max("state").is_(1)
    ended = select(m.RUN_END, **ONE).max()
    elapsed = ended.or_(NOW * vector(1)) - select(m.RUN_START, **ONE).max()
    return [
        p.stat(
            About(
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
            overrides=p.series_of(*m.RUN_STATES),
        ),
        p.stat(
            About(2, "Finished", "Task attempts that ended, whatever their outcome.", p.COUNT, "no tasks yet", 2, 4),
            [
                Query(
                    finished.combine("*", total.counted("total") * 0 + 1, on=(), carry=("total",)),
                    "of {{total}}",
                )
            ],
            decimals=0,
            text="value_and_name",
        ),
        p.stat(
            About(
                3,
                "Time left",
                "From the durations of the finished tasks of each domain over the busy workers: the middle estimate, "
                "and the range it is in with 80 %.",
                p.SECONDS,
                "over, or fewer than 3 tasks ended",
                6,
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
                "success / (success + failure + agent error), with its 95 % Wilson interval.",
                p.RATIO,
                "nothing measured yet",
                5,
                4,
            ),
            [
                Query(measure.success_rate(**ONE), "measured", "A"),
                Query(measure.success_bound("low", measure.Z_95, **ONE), "at least", "B"),
                Query(measure.success_bound("high", measure.Z_95, **ONE), "at most", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "measured": p.of_colour("success"),
                "at least": p.of_colour("bound"),
                "at most": p.of_colour("bound"),
            },
        ),
        p.stat(
            About(
                5,
                "Success, all",
                "success / all finished attempts, those that measured nothing included.",
                p.RATIO,
                "nothing finished yet",
                3,
                4,
            ),
            [Query(measure.success_rate_all(**ONE))],
            decimals=0,
            colour_of="success",
        ),
        p.stat(
            About(6, "Elapsed", "From the start to the end, or to now.", p.SECONDS, "start unknown", 3, 4),
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


def _money() -> list[Panel]:
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
            decimals=2,
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


def _progress() -> list[Panel]:
    fills = p.series_of(*STATUS_ORDER)
    fills["pending"]["custom.fillOpacity"] = 15
    return [
        p.timeseries(
            About(14, "Tasks by status", "Every attempt is in one of them.", p.COUNT, "no run chosen", 12, 9),
            [
                Query(measure.tasks(status=status, **ONE), status, chr(ord("A") + place))
                for place, status in enumerate(STATUS_ORDER)
            ],
            stacked=True,
            overrides=fills,
        ),
        p.timeseries(
            About(
                15,
                "Success rate over time",
                "Of the measured attempts, with its 95 % interval, and of all finished ones.",
                p.RATIO,
                "nothing measured yet",
                12,
                9,
            ),
            [
                Query(measure.success_rate(**ONE), "measured", "A"),
                Query(measure.success_bound("low", measure.Z_95, **ONE), "at least", "B"),
                Query(measure.success_bound("high", measure.Z_95, **ONE), "at most", "C"),
                Query(measure.success_rate_all(**ONE), "all finished", "D"),
            ],
            decimals=0,
            maximum=1,
            overrides={
                "measured": p.of_colour("success"),
                "at least": p.of_colour("bound") | {"custom.lineWidth": 1},
                "at most": p.of_colour("bound")
                | {"custom.lineWidth": 1, "custom.fillBelowTo": "at least"}
                | {"custom.fillOpacity": 12},
                "all finished": p.of_colour("success") | {"custom.lineStyle": {"fill": "dash", "dash": [6, 6]}},
            },
        ),
    ]


def _failures() -> list[Panel]:
    steps = select(m.RUN_STEPS, **ONE).rate().sum("action") * 60
    durations = buckets(m.RUN_TASK_DURATION, **ONE).sum("le")
    right = select(m.RUN_FIRST_ACTIONS, correct="true", **ONE).sum()
    judged = select(m.RUN_FIRST_ACTIONS, **ONE).sum() > 0
    outcomes = p.series_of(*STATUS_ORDER)
    outcomes["pending"]["custom.fillOpacity"] = 25
    return [
        p.bars(
            About(
                20,
                "Success by domain",
                "Worst first; of the measured attempts.",
                p.RATIO,
                "nothing measured yet",
                8,
                9,
            ),
            [Query(measure.success_rate("domain", **ONE).sorted(), "{{domain}}")],
            decimals=0,
            maximum=1,
            colour_of="success",
            links=[
                p.link(
                    "Compare with other runs", "/d/evalgauge-comparison?${datasource:queryparam}&${__url_time_range}"
                )
            ],
        ),
        p.grouped_bars(
            About(21, "Outcomes by domain", "Attempts of each domain by status.", p.COUNT, "no tasks yet", 10, 9),
            [Query(measure.tasks("domain", "status", **ONE))],
            by="domain",
            transformations=[
                dashboard.DataTransformerConfig(
                    id_val="groupingToMatrix",
                    options={
                        "columnField": "status",
                        "rowField": "domain",
                        "valueField": "Value",
                        "emptyValue": "zero",
                    },
                ),
                dashboard.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "renameByName": {"domain\\status": "domain"},
                        "indexByName": {name: place for place, name in enumerate(("domain\\status", *STATUS_ORDER))},
                    },
                ),
            ],
            decimals=0,
            overrides=outcomes,
        ),
        p.stat(
            About(
                24,
                "A task takes",
                "Median and 90th percentile of finished attempts, from a histogram; recorded steps an attempt; how "
                "often the first action was right.",
                p.SECONDS,
                "not reported",
                6,
                9,
            ),
            [
                Query(durations.quantile(0.5), "median", "A"),
                Query(durations.quantile(0.9), "9 of 10 within", "B"),
                Query(measure.mean_steps(**ONE), "steps", "C"),
                Query(right / judged, "first action right", "D"),
            ],
            decimals=1,
            text="value_and_name",
            listed=True,
            overrides={
                "steps": {"unit": p.COUNT, "decimals": 1},
                "first action right": {"unit": p.RATIO, "decimals": 0},
            },
        ),
        p.timeseries(
            About(
                23,
                "Steps a minute by action",
                "Recorded steps; done and error are the terminal ones.",
                p.COUNT,
                "no steps recorded in this time",
                24,
                7,
            ),
            [Query(steps, "{{action}}")],
            stacked=True,
            legend_right=True,
            overrides=p.series_of(*ACTIONS),
        ),
    ]


def _calls() -> list[Panel]:
    tokens = select(m.RUN_TOKENS, **ONE).rate().sum("kind") * 60
    total = select(m.RUN_TOKENS, **ONE).sum("kind").sorted(descending=True)
    requests = select(m.RUN_LLM_REQUESTS, **ONE).rate().sum("status") * 60
    budget = select(m.RUN_BUDGET, **ONE).max()
    return [
        p.timeseries(
            About(
                30,
                "Cost by component",
                "What is known; the line is the budget.",
                p.DOLLARS,
                "no cost known",
                6,
                8,
            ),
            [Query(measure.cost("component", **ONE), "{{component}}", "A"), Query(budget, "budget", "B")],
            decimals=2,
            stacked=True,
            overrides=p.series_of(*m.COST_COMPONENTS)
            | {
                "budget": p.of_colour("limit")
                | {
                    "custom.stacking": {"mode": "none", "group": "B"},
                    "custom.fillOpacity": 0,
                    "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
                }
            },
        ),
        p.timeseries(
            About(
                31,
                "Tokens a minute by kind",
                "The kinds do not overlap: input leaves out what a cache gave or took.",
                p.COUNT,
                "no tokens reported in this time",
                6,
                8,
            ),
            [Query(tokens, "{{kind}}")],
            stacked=True,
            overrides=p.series_of(*m.TOKEN_KINDS),
        ),
        p.timeseries(
            About(
                32,
                "Model calls a minute by status",
                "A retry is a call whose answer was thrown away.",
                p.COUNT,
                "no model calls in this time",
                6,
                8,
            ),
            [Query(requests, "{{status}}")],
            stacked=True,
            overrides=p.series_of(*m.REQUEST_STATUSES),
        ),
        p.bars(
            About(
                33,
                "Tokens so far by kind",
                "Since the run began; the kinds do not overlap.",
                p.COUNT,
                "no tokens reported",
                6,
                8,
            ),
            [Query(total, "{{kind}}")],
            decimals=1,
            overrides=p.series_of(*m.TOKEN_KINDS),
        ),
    ]


def _workers() -> list[Panel]:
    current = select(m.WORKER_TASK_INFO, **ONE).max("worker_id", "task_id")
    state = measure.state_number(m.WORKER_STATE, "worker_id", **ONE)
    seen = select(m.WORKER_LAST_SEEN, **ONE).max("worker_id") * 1000
    done = select(m.WORKER_TASKS, **ONE).sum("worker_id")
    return [
        p.timeline(
            About(40, "Worker states", "A row for each worker.", p.NONE, "no workers reported", 12, 9),
            [Query(state, "{{worker_id}}")],
            words=m.WORKER_STATES,
        ),
        p.table(
            About(
                41,
                "Workers and their tasks",
                "What each worker is at, and when an event last named it.",
                p.NONE,
                "no workers reported",
                12,
                9,
            ),
            "worker_id",
            [
                Column("Worker", "worker_id", {"custom.width": 130}),
                Column("State", Query(state, ref="state"), p.mapped(p.numbered(m.WORKER_STATES))),
                Column("Task", "task_id"),
                Column("Finished", Query(done, ref="done"), {"custom.width": 80}),
                Column("Last event", Query(seen, ref="seen"), {"unit": p.TIME, "custom.width": 150}),
            ],
            rows=current.or_(state.unless(current, on=("worker_id",))),
            sort=("Worker", False),
        ),
    ]


def _recent_runs() -> Panel:
    return p.table(
        About(
            50,
            "Recent runs",
            "Newest first, of the chosen benchmarks and models. The run's name leads to its board and its replay.",
            p.NONE,
            "the exporter has found no run",
            24,
            10,
        ),
        "run_id",
        run_columns(),
        rows=select(m.RUN_INFO, benchmark=BENCHMARKS, model=MODELS).max("run_id", "benchmark", "model", "source"),
        sort=("Started", True),
    )


def run_columns() -> list[Column]:
    """The columns that a table of runs has, whatever board it is on."""
    where = {"benchmark": BENCHMARKS, "model": MODELS}
    return [
        Column(
            "Run",
            "run_id",
            {"links": [p.link("Evaluation board", THIS_RUN), p.link("Replay", REPLAY, new_tab=True)]},
        ),
        Column("Benchmark", "benchmark", {"custom.width": 120}),
        Column("Model", "model", {"custom.width": 190}),
        Column("Read as", "source", {"custom.width": 90}),
        Column(
            "State",
            Query(measure.state_number(m.RUN_STATE, "run_id"), ref="state"),
            p.mapped(p.numbered(m.RUN_STATES)) | {"custom.width": 120},
        ),
        Column("Tasks", Query(measure.tasks("run_id", **where), ref="tasks"), {"custom.width": 70}),
        Column(
            "Success rate",
            Query(measure.success_rate("run_id", **where), ref="rate"),
            p.RATIO_CELL | p.of_colour("success") | {"custom.width": 200},
        ),
        Column(
            "All",
            Query(measure.success_rate_all("run_id", **where), ref="all"),
            {"unit": p.RATIO, "decimals": 0, "custom.width": 70},
        ),
        Column(
            "Cost",
            Query(measure.cost("run_id"), ref="cost"),
            {"unit": p.DOLLARS, "decimals": 2, "custom.width": 90},
        ),
        Column(
            "Started",
            Query(select(m.RUN_START).max("run_id") * 1000, ref="started"),
            {"unit": p.TIME, "custom.width": 150},
        ),
    ]


def _alerts() -> Panel:
    raised = select(ALERTS, alertstate="firing").max(*(label for label in ALERTS.labels if label != "alertstate"))
    return p.table(
        About(
            51,
            "Alerts that fire",
            "Of every run, from Prometheus' own rules. docs/runbooks.md says what to do.",
            p.NONE,
            "none fires, or the rules are not loaded",
            24,
            6,
        ),
        "alertname",
        [
            Column("Alert", "alertname"),
            Column("Severity", "severity"),
            Column("Run", "run_id"),
            Column("Domain", "domain"),
            Column("Worker", "worker_id"),
            Column("Machine", "vm"),
            Column("Source", "source"),
            Column("Target", "target"),
        ],
        rows=raised,
    )
