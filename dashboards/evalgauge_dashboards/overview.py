"""The Overview dashboard: what is running, which run needs somebody, what is billed, which alerts fire?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries, run_table
from evalgauge_dashboards.alert_table import alert_rows
from evalgauge_dashboards.dashboard import OVERVIEW, Row, build_dashboard
from evalgauge_dashboards.machine_table import machine_rows, machine_table
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import ALERTS, NOW, RULES_LOADED, Expression, select, vector
from evalgauge_dashboards.queries import MACHINE
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.variables import BENCHMARKS, MODELS

NO_RUN = "no run is running: start one with evalgauge.track_run, or choose another benchmark or model"


def build(options: Options) -> dashboard.Dashboard:
    """Build the dashboard; its links lead where ``options`` say."""
    rows = [
        Row("Now", _counts()),
        Row("Running runs", [_running_table(), *_lines()]),
        Row("Billed machines", [_machines()]),
        Row("Alerts", [_firing(), _history()]),
    ]
    text = "Every running run with its progress, end, rate and cost, then the machines that are billed and the alerts."
    return build_dashboard(OVERVIEW, text, rows, runs="none", options=options)


def _current() -> Expression:
    """The running runs of the selected benchmarks and models, and those that stalled within a day."""
    known = select(m.RUN_INFO, benchmark=BENCHMARKS, model=MODELS).max("run_id")
    stalled = q.value(m.RUN_STATE, "run_id", state="stalled").equals(1)
    recent = stalled.where(q.recent_runs(), on=("run_id",))
    return q.running_runs().or_(recent).where(known, on=("run_id",))


def _count_of(state: str) -> Expression:
    return _current().where(q.value(m.RUN_STATE, "run_id", state=state).equals(1), on=("run_id",)).count()


def alert_count(severity: str) -> Expression:
    """Count the firing alerts of a severity; 0 only where Prometheus evaluates the rules."""
    firing = select(ALERTS, alertstate="firing", severity=severity).count()
    return firing.or_(select(RULES_LOADED).max() * 0)


def _counts() -> list[Panel]:
    runs = _current()
    billed = q.billed_machines()
    zero = vector(0).where(billed.count(), on=())
    wasted = q.hourly_price(q.unused_machines().or_(q.idle_machines(queries.IDLE_WINDOW))).sum()
    workers = q.value(m.WORKER_STATE, "run_id", "worker_id", state="busy").where(q.running_runs(), on=("run_id",))
    spend = q.spend_per_hour("run_id").where(q.running_runs(), on=("run_id",)).sum()
    return [
        p.stat(
            PanelSpec(1, "Runs", "Running runs, and runs that stalled within a day.", p.COUNT, NO_RUN, 4, 4),
            [
                Query(_count_of("running").or_(vector(0)), "running", "A"),
                Query(_count_of("stalled").or_(vector(0)), "stalled", "B"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={"running": p.colour_series("running"), "stalled": p.colour_positive("critical")},
        ),
        p.stat(
            PanelSpec(
                2,
                "Firing alerts",
                "Firing alerts of Prometheus' own rules, by severity; the tables below list them.",
                p.COUNT,
                "rules not loaded: add rules.yml to rule_files",
                5,
                4,
            ),
            [
                Query(alert_count("critical"), "critical", "A"),
                Query(alert_count("warning"), "warning", "B"),
                Query(alert_count("info"), "info", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "critical": p.colour_positive("critical"),
                "warning": p.colour_positive("warning"),
                "info": p.colour_series("bound"),
            },
        ),
        p.stat(
            PanelSpec(
                3,
                "Attempts",
                "Attempts of these runs: finished, and running; and their tasks, each counted once for each run.",
                p.INTEGER,
                "no task yet",
                5,
                4,
            ),
            [
                Query(q.tasks("run_id", status=m.OUTCOMES).where(runs, on=("run_id",)).sum(), "finished", "A"),
                Query(q.tasks("run_id", status="running").where(runs, on=("run_id",)).sum(), "running", "B"),
                Query(q.distinct_tasks("run_id").where(runs, on=("run_id",)).sum(), "tasks", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={"running": p.colour_series("running"), "tasks": p.colour_series("bound")},
        ),
        p.stat(
            PanelSpec(4, "Busy", "Workers of running runs with a task.", p.COUNT, "no worker reported", 3, 4),
            [Query(workers.sum())],
            decimals=0,
            colour_of="busy",
        ),
        p.stat(
            PanelSpec(
                5,
                "Hourly",
                f"The slope of the known cost of the running runs over the last {queries.SPEND_WINDOW}.",
                p.DOLLARS,
                "no known cost of a running run",
                3,
                4,
            ),
            [Query(spend)],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                6,
                "Machines",
                "Known prices of the billed machines, and of those among them without a run or without a task for "
                f"{queries.IDLE_WINDOW}.",
                p.DOLLARS,
                "no machine watched",
                4,
                4,
            ),
            [Query(q.hourly_price(billed).sum(), "billed", "A"), Query(wasted.or_(zero), "unused", "B")],
            decimals=2,
            text="value_and_name",
            overrides={"billed": p.colour_series("vm"), "unused": p.colour_positive("warning")},
        ),
    ]


def _running_table() -> Panel:
    rows = _current().combine(
        "*",
        select(m.RUN_INFO, benchmark=BENCHMARKS, model=MODELS).max("run_id", "benchmark", "model").topk(1, "run_id"),
        on=("run_id",),
        carry=("benchmark", "model"),
    )
    name, *hidden = run_table.link_columns()
    left = {"unit": p.SECONDS, "decimals": 1, "custom.width": 78}
    budget = q.cost("run_id") / q.value(m.RUN_BUDGET, "run_id")
    busy = q.value(m.WORKER_STATE, "run_id", "worker_id", state="busy").sum("run_id")
    firing = select(ALERTS, alertstate="firing").count("run_id")
    eta = [(bound, (q.value(m.RUN_ETA, "run_id", bound=bound) - NOW).clamp_min(0)) for bound in ("p50", "p90")]
    finished = q.tasks("run_id", status=m.OUTCOMES)
    columns = [
        name,
        Column(
            "Alerts",
            Query(firing, ref="alerts"),
            {"custom.width": 65, **p.colour_cell((None, "neutral"), (1, "critical"))},
        ),
        run_table.state_column(),
        Column(
            "Progress",
            Query(finished / q.tasks("run_id"), ref="progress"),
            p.RATIO_CELL | p.colour_series("running") | {"custom.width": 95},
        ),
        Column("Tasks", Query(q.distinct_tasks("run_id"), ref="tasks"), {"custom.width": 60}),
        Column("Time left", Query(eta[0][1], ref="eta"), left),
        Column("At most", Query(eta[1][1], ref="late"), left),
        *run_table.rate_columns(),
        *run_table.baseline_columns(),
        run_table.score_column(),
        *run_table.cost_columns(),
        Column(
            "At the end",
            Query(q.projected_cost("run_id"), ref="end"),
            {"unit": p.DOLLARS, "decimals": 2, "custom.width": 80},
        ),
        Column(
            "Budget",
            Query(budget, ref="budget"),
            {
                "unit": p.RATIO,
                "decimals": 0,
                "custom.width": 75,
                **p.colour_cell((None, "neutral"), (0.8, "warning"), (1, "critical")),
            },
        ),
        Column("Busy", Query(busy, ref="busy"), {"custom.width": 55}),
        Column("Model", "model", {"custom.minWidth": 130}),
        Column("Benchmark", "benchmark", {"custom.minWidth": 90}),
        *hidden,
    ]
    return p.table(
        PanelSpec(
            10,
            "Running runs",
            "Running runs, and runs that stalled within a day. A run's name leads to its dashboard and its replay. "
            "The rate "
            "is provisional while a run is running.",
            p.NONE,
            NO_RUN,
            24,
            10,
        ),
        "run_id",
        columns,
        rows=rows,
        sort=("Alerts", True),
    )


def _lines() -> list[Panel]:
    runs = _current()
    return [
        p.timeseries(
            PanelSpec(11, "Progress", "Finished share of the attempts of each run.", p.RATIO, NO_RUN, 8, 8),
            [
                Query(
                    (q.tasks("run_id", status=m.OUTCOMES) / q.tasks("run_id")).where(runs, on=("run_id",)), "{{run_id}}"
                )
            ],
            maximum=1,
        ),
        p.timeseries(
            PanelSpec(12, "Success rate", "Provisional while a run is running.", p.RATIO, "nothing measured yet", 8, 8),
            [Query(q.rate("estimate", "run_id").where(runs, on=("run_id",)), "{{run_id}}")],
            maximum=1,
        ),
        p.timeseries(
            PanelSpec(13, "Cost", "Known cost of each run.", p.DOLLARS, "no cost known", 8, 8),
            [Query(q.cost("run_id").where(runs, on=("run_id",)), "{{run_id}}")],
            decimals=2,
        ),
    ]


def _machines() -> Panel:
    return machine_table(
        PanelSpec(
            20,
            "Billed machines",
            "Every machine in a power state that is billed, unused ones first; the Fleet dashboard has all of them.",
            p.NONE,
            "no billed machine; to watch machines, set [[azure]], [[aws]] or [[machine]] in the configuration",
            24,
            8,
        ),
        machine_rows().where(q.billed_machines(), on=MACHINE),
    )


def _firing() -> Panel:
    rows, severity = alert_rows("run_id", "worker_id", "vm", "domain", "source", "target")
    width = {"custom.width": 130}
    return p.table(
        PanelSpec(
            30,
            "Firing alerts",
            "From Prometheus' own rules. The runbooks, which the exporter serves, describe what to do.",
            p.NONE,
            "no firing alert, or the rules are not loaded",
            14,
            9,
        ),
        "alert",
        [
            Column(
                "Alert",
                "alertname",
                {"links": [p.build_link("Runbook", p.RUNBOOK, new_tab=True)], "custom.width": 240},
            ),
            severity,
            Column("Run", "run_id", run_table.RUN_LINKS),
            Column("Worker", "worker_id", width),
            Column("Domain", "domain", width),
            Column("Machine", "vm", width),
            Column("Source", "source", width),
            Column("Target", "target", width),
        ],
        rows=rows,
        sort=("Severity", False),
    )


def _history() -> Panel:
    return p.timeseries(
        PanelSpec(
            31,
            "Alerts over time",
            "Firing alerts by name.",
            p.COUNT,
            "no alert fired in this time range, or the rules are not loaded",
            10,
            9,
        ),
        [Query(select(ALERTS, alertstate="firing").count("alertname"), "{{alertname}}")],
        stacked=True,
        decimals=0,
    )
