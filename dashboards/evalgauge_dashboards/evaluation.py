"""The Evaluation dashboard: is this run healthy, when is it done, what does it cost?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as q
from evalgauge_dashboards import stats
from evalgauge_dashboards.dashboard import EVALUATION, Row, build_dashboard
from evalgauge_dashboards.options import EXPORTER_URL
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import ALERTS, buckets, select
from evalgauge_dashboards.run_table import run_columns
from evalgauge_dashboards.variables import BENCHMARKS, MODELS, ONE

STATUS_ORDER = (*m.OUTCOMES, "running", "pending")
ACTIONS = ("click", "type", "key", "scroll", "drag", "wait", "done", "error")
"""Actions that most runners have; the others get a colour without a meaning."""


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """Build the dashboard; its links to replays start with ``exporter_url``."""
    rows = [
        Row(
            "Is it healthy, when is it done, what does it cost?",
            [*stats.build_health_panels(), *stats.build_cost_panels()],
        ),
        Row("Progress", _progress()),
        Row("Where does it fail?", _failures()),
        Row("Model calls", _calls()),
        Row("Workers", _workers()),
        Row("Recent runs and alerts", [_recent_runs(), _alerts()]),
    ]
    text = "One run: its health, its end and its cost, then where it fails and what its workers do."
    return build_dashboard(EVALUATION, text, rows, many_runs=False, exporter_url=exporter_url)


def _progress() -> list[Panel]:
    fills = p.style_series(*STATUS_ORDER)
    fills["pending"]["custom.fillOpacity"] = 15
    return [
        p.timeseries(
            PanelSpec(
                14, "Tasks by status", "Every attempt has exactly one status.", p.COUNT, "no run selected", 12, 9
            ),
            [
                Query(q.tasks(status=status, **ONE), status, chr(ord("A") + place))
                for place, status in enumerate(STATUS_ORDER)
            ],
            stacked=True,
            overrides=fills,
        ),
        p.timeseries(
            PanelSpec(
                15,
                "Success rate over time",
                "Of the measured attempts, with its 95 % interval, and of all finished ones.",
                p.RATIO,
                "nothing measured yet",
                12,
                9,
            ),
            [
                Query(q.success_rate(**ONE), "measured", "A"),
                Query(q.success_bound("low", q.Z_95, **ONE), "at least", "B"),
                Query(q.success_bound("high", q.Z_95, **ONE), "at most", "C"),
                Query(q.success_rate_all(**ONE), "all finished", "D"),
            ],
            maximum=1,
            overrides={
                "measured": p.colour_series("success"),
                "at least": p.colour_series("bound") | {"custom.lineWidth": 1},
                "at most": p.colour_series("bound")
                | {"custom.lineWidth": 1, "custom.fillBelowTo": "at least"}
                | {"custom.fillOpacity": 12},
                "all finished": p.colour_series("success") | {"custom.lineStyle": {"fill": "dash", "dash": [6, 6]}},
            },
        ),
    ]


def _failures() -> list[Panel]:
    steps = select(m.RUN_STEPS, **ONE).rate().sum("action") * 60
    durations = buckets(m.RUN_TASK_DURATION, **ONE).sum("le")
    right = select(m.RUN_FIRST_ACTIONS, correct="true", **ONE).sum()
    judged = select(m.RUN_FIRST_ACTIONS, **ONE).sum() > 0
    outcomes = p.style_series(*STATUS_ORDER)
    outcomes["pending"]["custom.fillOpacity"] = 25
    return [
        p.bar_gauge(
            PanelSpec(
                20,
                "Success by domain",
                "Of the measured attempts, worst first.",
                p.RATIO,
                "nothing measured yet",
                8,
                9,
            ),
            [Query(q.success_rate("domain", **ONE).sort(), "{{domain}}")],
            decimals=0,
            maximum=1,
            colour_of="success",
            links=[
                p.build_link(
                    "Compare with other runs", "/d/evalgauge-comparison?${datasource:queryparam}&${__url_time_range}"
                )
            ],
        ),
        p.bar_chart(
            PanelSpec(21, "Outcomes by domain", "Attempts of each domain by status.", p.COUNT, "no tasks yet", 10, 9),
            [Query(q.tasks("domain", "status", **ONE))],
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
            PanelSpec(
                24,
                "Task duration and steps",
                "Median and 90th percentile of the duration of finished attempts, from a histogram; recorded steps per "
                "attempt; the share of first actions that were correct.",
                p.SECONDS,
                "not reported",
                6,
                9,
            ),
            [
                Query(durations.quantile(0.5), "median", "A"),
                Query(durations.quantile(0.9), "90th percentile", "B"),
                Query(q.mean_steps(**ONE), "steps", "C"),
                Query(right / judged, "first action correct", "D"),
            ],
            decimals=1,
            text="value_and_name",
            listed=True,
            overrides={
                "steps": {"unit": p.COUNT, "decimals": 1},
                "first action correct": {"unit": p.RATIO, "decimals": 0},
            },
        ),
        p.timeseries(
            PanelSpec(
                23,
                "Steps per minute by action",
                "Recorded steps; done and error are terminal steps.",
                p.COUNT,
                "no steps recorded in this time",
                24,
                7,
            ),
            [Query(steps, "{{action}}")],
            stacked=True,
            legend_right=True,
            overrides=p.style_series(*ACTIONS),
        ),
    ]


def _calls() -> list[Panel]:
    tokens = select(m.RUN_TOKENS, **ONE).rate().sum("kind") * 60
    total = select(m.RUN_TOKENS, **ONE).sum("kind").sort(descending=True)
    requests = select(m.RUN_LLM_REQUESTS, **ONE).rate().sum("status") * 60
    budget = select(m.RUN_BUDGET, **ONE).max()
    return [
        p.timeseries(
            PanelSpec(
                30,
                "Cost by component",
                "Known cost; the line is the budget.",
                p.DOLLARS,
                "no cost known",
                6,
                8,
            ),
            [Query(q.cost("component", **ONE), "{{component}}", "A"), Query(budget, "budget", "B")],
            decimals=2,
            stacked=True,
            overrides=p.style_series(*m.COST_COMPONENTS)
            | {
                "budget": p.colour_series("limit")
                | {
                    "custom.stacking": {"mode": "none", "group": "B"},
                    "custom.fillOpacity": 0,
                    "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
                }
            },
        ),
        p.timeseries(
            PanelSpec(
                31,
                "Tokens per minute by kind",
                "The kinds are disjoint: input excludes tokens read from or written to a cache.",
                p.COUNT,
                "no tokens reported in this time",
                6,
                8,
            ),
            [Query(tokens, "{{kind}}")],
            stacked=True,
            overrides=p.style_series(*m.TOKEN_KINDS),
        ),
        p.timeseries(
            PanelSpec(
                32,
                "Model calls per minute by status",
                "A retry is a call whose answer was discarded.",
                p.COUNT,
                "no model calls in this time",
                6,
                8,
            ),
            [Query(requests, "{{status}}")],
            stacked=True,
            overrides=p.style_series(*m.REQUEST_STATUSES),
        ),
        p.bar_gauge(
            PanelSpec(
                33,
                "Tokens so far by kind",
                "Since the run started; the kinds are disjoint.",
                p.COUNT,
                "no tokens reported",
                6,
                8,
            ),
            [Query(total, "{{kind}}")],
            decimals=1,
            overrides=p.style_series(*m.TOKEN_KINDS),
        ),
    ]


def _workers() -> list[Panel]:
    current = select(m.WORKER_TASK_INFO, **ONE).max("worker_id", "task_id")
    state = q.state_number(m.WORKER_STATE, "worker_id", **ONE)
    seen = select(m.WORKER_LAST_SEEN, **ONE).max("worker_id") * 1000
    done = select(m.WORKER_TASKS, **ONE).sum("worker_id")
    return [
        p.state_timeline(
            PanelSpec(40, "Worker states", "A row for each worker.", p.NONE, "no workers reported", 12, 9),
            [Query(state, "{{worker_id}}")],
            states=p.map_states(m.WORKER_STATES),
        ),
        p.table(
            PanelSpec(
                41,
                "Workers and their tasks",
                "The task of each worker, and the time of its last event.",
                p.NONE,
                "no workers reported",
                12,
                9,
            ),
            "worker_id",
            [
                Column("Worker", "worker_id", {"custom.width": 130}),
                Column("State", Query(state, ref="state"), p.style_mapped(p.map_states(m.WORKER_STATES))),
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
        PanelSpec(
            50,
            "Recent runs",
            "Runs of the selected benchmarks and models, newest first. A run's name links to its dashboard and replay.",
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
        PanelSpec(
            51,
            "Firing alerts",
            "Of every run, from Prometheus' own rules. docs/runbooks.md describes what to do.",
            p.NONE,
            "no firing alert, or the rules are not loaded",
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
