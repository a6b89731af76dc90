"""The Evaluation board: is this run healthy, when is it done, what does it cost?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards import stats as numbers
from evalgauge_dashboards.dashboard import BENCHMARKS, EVALUATION, EXPORTER_URL, MODELS, ONE, Row, board
from evalgauge_dashboards.panels import About, Column, Panel, Query
from evalgauge_dashboards.promql import ALERTS, buckets, select
from evalgauge_dashboards.run_variables import run_columns

STATUS_ORDER = (*m.OUTCOMES, "running", "pending")
ACTIONS = ("click", "type", "key", "scroll", "drag", "wait", "done", "error")
"""Actions that most runners have; others get a colour that says nothing."""


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """The board, ready to be encoded; its links to replays start with ``exporter_url``."""
    rows = [
        Row("Is it healthy, when is it done, what does it cost?", [*numbers.health(), *numbers.money()]),
        Row("How it goes", _progress()),
        Row("Where it fails", _failures()),
        Row("Model calls", _calls()),
        Row("Who does what", _workers()),
        Row("Recent runs and alerts", [_recent_runs(), _alerts()]),
    ]
    text = "One run: its health, its end, its cost; then where it fails and who does what."
    return board(EVALUATION, text, rows, many_runs=False, exporter_url=exporter_url)


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
            states=p.numbered(m.WORKER_STATES),
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
