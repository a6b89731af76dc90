"""The Evaluation dashboard: is this run healthy, when is it done, what does it cost?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import run_table, stats
from evalgauge_dashboards.alert_table import alert_rows
from evalgauge_dashboards.dashboard import EVALUATION, Row, build_dashboard
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import RATE_INTERVAL, select
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.variables import ONE

STATUS_ORDER = (*m.OUTCOMES, "running", "pending")
ACTIONS = ("click", "type", "key", "scroll", "drag", "wait", "done", "error")
"""Actions that most runners have; the others get a colour without a meaning."""


def build(options: Options) -> dashboard.Dashboard:
    """Build the dashboard; its links lead where ``options`` say."""
    rows = [
        Row(
            "Is it healthy, when is it done, what does it cost?",
            [*stats.build_health_panels(), *stats.build_result_panels(), *stats.build_cost_panels()],
        ),
        Row("Progress", _progress()),
        Row("Where does it fail?", _failures()),
        Row("Model calls", _calls()),
        Row("Workers", _workers()),
        Row("Alerts and recent runs", [_alerts(), _tags(), _recent_runs()]),
    ]
    text = "One run: its health, its end and its cost, then where it fails and what its workers do."
    return build_dashboard(EVALUATION, text, rows, runs="one", options=options)


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
                "The mean over tasks with its 95 % interval, provisional while the run is running, and successes "
                "among all "
                "finished attempts.",
                p.RATIO,
                "nothing measured yet",
                12,
                9,
            ),
            [
                Query(q.rate("estimate", **ONE), "measured", "A"),
                Query(q.rate("low", **ONE), "at least", "B"),
                Query(q.rate("high", **ONE), "at most", "C"),
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
    steps = select(m.RUN_STEPS, **ONE).rate().deduplicate().sum("action") * 60
    recorded = q.recorded_steps(**ONE) > 0
    measured = q.tasks(status=m.MEASURED_OUTCOMES, **ONE) > 0
    right = q.total(m.RUN_FIRST_ACTIONS, correct="true", **ONE)
    judged = q.total(m.RUN_FIRST_ACTIONS, **ONE) > 0
    outcomes = p.style_series(*STATUS_ORDER)
    outcomes["pending"]["custom.fillOpacity"] = 25
    return [
        p.bar_gauge(
            PanelSpec(
                20,
                "Success by domain",
                "The mean over the tasks of each domain, worst first.",
                p.RATIO,
                "nothing measured yet",
                8,
                9,
            ),
            [Query(q.domain_rate("estimate", "domain", **ONE).sort(), "{{domain}}")],
            decimals=0,
            maximum=1,
            colour_of="success",
        ),
        p.bar_chart(
            PanelSpec(21, "Outcomes by domain", "Attempts of each domain by status.", p.COUNT, "no task yet", 10, 9),
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
                Query(q.quantile(0.5, m.RUN_TASK_DURATION, None, **ONE), "median", "A"),
                Query(q.quantile(0.9, m.RUN_TASK_DURATION, None, **ONE), "90th percentile", "B"),
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
        p.bar_gauge(
            PanelSpec(
                22,
                "Slowest domains",
                "90th percentile of the duration of finished attempts, longest first.",
                p.SECONDS,
                "no attempt has finished",
                8,
                8,
            ),
            [
                Query(
                    q.quantile(0.9, m.RUN_TASK_DURATION, None, "domain", **ONE).topk(20).sort(descending=True),
                    "{{domain}}",
                )
            ],
            decimals=0,
            colour_of="neutral",
        ),
        p.timeseries(
            PanelSpec(
                23,
                "Steps per minute by action",
                "Recorded steps; done and error are terminal steps.",
                p.COUNT,
                "no steps recorded in this time range",
                10,
                8,
            ),
            [Query(steps, "{{action}}")],
            stacked=True,
            overrides=p.style_series(*ACTIONS),
        ),
        p.stat(
            PanelSpec(
                25,
                "Time and limit of steps",
                "Thinking and environment time for each recorded step, where steps report them; the share of the "
                "measured "
                "attempts that used every step they were allowed.",
                p.SECONDS,
                "not reported: task.step(think_seconds=…, env_seconds=…), run.task(max_steps=…)",
                6,
                8,
            ),
            [
                Query(q.total(m.RUN_STEP_SECONDS, kind="think", **ONE) / recorded, "thinking", "A"),
                Query(q.total(m.RUN_STEP_SECONDS, kind="environment", **ONE) / recorded, "environment", "B"),
                Query(q.value(m.RUN_STEP_LIMIT, **ONE) / measured, "at the step limit", "C"),
            ],
            decimals=1,
            text="value_and_name",
            listed=True,
            overrides={"at the step limit": {"unit": p.RATIO, "decimals": 0}},
        ),
    ]


def _calls() -> list[Panel]:
    tokens = select(m.RUN_TOKENS, **ONE).rate().deduplicate().sum("kind") * 60
    requests = select(m.RUN_LLM_REQUESTS, **ONE).rate().deduplicate().sum("status") * 60
    # calls that report no tokens are no calls with 0 tokens
    total = (q.total(m.RUN_TOKENS, "kind", **ONE) > 0).sort(descending=True)
    cached = q.total(m.RUN_TOKENS, kind="cache_read", **ONE)
    taken = q.total(m.RUN_TOKENS, kind=("input", "cache_read", "cache_write"), **ONE) > 0
    calls = q.total(m.RUN_LLM_REQUESTS, **ONE) > 0
    latency = ((0.5, "median", "A"), (0.95, "95th percentile", "B"))
    return [
        p.timeseries(
            PanelSpec(
                30,
                "Cost by component",
                "Known cost; the line is the budget.",
                p.DOLLARS,
                "no cost known",
                8,
                8,
            ),
            [
                Query(q.cost("component", **ONE), "{{component}}", "A"),
                Query(q.value(m.RUN_BUDGET, **ONE), "budget", "B"),
            ],
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
                32,
                "Model calls per minute by status",
                "A retry is a call whose answer was discarded.",
                p.COUNT,
                "no model calls in this time range",
                8,
                8,
            ),
            [Query(requests, "{{status}}")],
            stacked=True,
            overrides=p.style_series(*m.REQUEST_STATUSES),
        ),
        p.timeseries(
            PanelSpec(
                34,
                "Duration of model calls",
                "Median and 95th percentile of the calls that reported a duration.",
                p.SECONDS,
                "no call with a duration in this time range",
                8,
                8,
            ),
            [
                Query(q.quantile(fraction, m.RUN_LLM_DURATION, RATE_INTERVAL, **ONE), name, ref)
                for fraction, name, ref in latency
            ],
            overrides={"median": p.colour_series("neutral"), "95th percentile": p.colour_series("warning")},
        ),
        p.timeseries(
            PanelSpec(
                31,
                "Tokens per minute by kind",
                "The kinds are disjoint: input excludes tokens read from or written to a cache.",
                p.COUNT,
                "no tokens reported in this time range",
                8,
                8,
            ),
            [Query(tokens, "{{kind}}")],
            stacked=True,
            overrides=p.style_series(*m.TOKEN_KINDS),
        ),
        p.bar_gauge(
            PanelSpec(
                33,
                "Tokens so far by kind",
                "Since the run started; the kinds are disjoint.",
                p.COUNT,
                "no tokens reported",
                8,
                8,
            ),
            [Query(total, "{{kind}}")],
            decimals=1,
            overrides=p.style_series(*m.TOKEN_KINDS),
        ),
        p.stat(
            PanelSpec(
                35,
                "Cache and retries",
                "The share of the input tokens that were read from a cache; the shares of the calls that were "
                "retried and "
                "that failed.",
                p.RATIO,
                "not reported",
                8,
                8,
            ),
            [
                Query(cached / taken, "of input from a cache", "A"),
                Query(q.total(m.RUN_LLM_REQUESTS, status="retry", **ONE) / calls, "of calls retried", "B"),
                Query(q.total(m.RUN_LLM_REQUESTS, status="error", **ONE) / calls, "of calls failed", "C"),
            ],
            decimals=1,
            text="value_and_name",
            listed=True,
            overrides={"of input from a cache": {"decimals": 0}, "of calls failed": p.colour_positive("warning")},
        ),
    ]


def _workers() -> list[Panel]:
    current = q.value(m.WORKER_TASK_INFO, "worker_id", "task_id", **ONE)
    state = q.state_number(m.WORKER_STATE, "worker_id", **ONE)
    seen = q.value(m.WORKER_LAST_SEEN, "worker_id", **ONE) * 1000
    done = q.total(m.WORKER_TASKS, "worker_id", **ONE)
    errors = q.total(m.WORKER_TASKS, "worker_id", outcome=("infrastructure_error", "evaluation_error"), **ONE)
    machine = q.value(m.WORKER_INFO, "worker_id", "vm", **ONE)
    rows = current.or_(state.unless(current, on=("worker_id",)))
    named = rows.combine("*", machine.topk(1, "worker_id") * 0 + 1, on=("worker_id",), carry=("vm",))
    return [
        p.timeseries(
            PanelSpec(
                40, "Workers by state", "Workers in each state.", p.COUNT, "no worker reported in this time range", 8, 9
            ),
            [Query(q.value(m.WORKER_STATE, "worker_id", "state", **ONE).sum("state"), "{{state}}")],
            stacked=True,
            decimals=0,
            overrides=p.style_series(*m.WORKER_STATES),
        ),
        p.table(
            PanelSpec(
                41,
                "Workers and their tasks",
                "The task of each worker, its machine, its finished attempts and the errors among them that measure "
                "nothing, "
                "and the time of its last event.",
                p.NONE,
                "no worker reported",
                16,
                9,
            ),
            "worker_id",
            [
                Column("Worker", "worker_id", {"custom.minWidth": 110}),
                Column(
                    "State",
                    Query(state, ref="state"),
                    p.style_mapped(p.map_states(m.WORKER_STATES)) | {"custom.width": 95},
                ),
                Column("Task", "task_id", {"custom.minWidth": 120}),
                Column("Machine", "vm", {"custom.minWidth": 100}),
                Column("Finished", Query(done, ref="done"), {"custom.width": 80}),
                Column(
                    "Errors",
                    Query(errors, ref="errors"),
                    {"custom.width": 70, **p.colour_cell((None, "neutral"), (1, "warning"))},
                ),
                Column("Last event", Query(seen, ref="seen"), {"unit": p.TIME, "custom.width": 145}),
            ],
            rows=named.or_(rows.unless(named, on=("worker_id",))),
            sort=("Errors", True),
        ),
    ]


def _recent_runs() -> Panel:
    return p.table(
        PanelSpec(
            50,
            "Recent runs",
            "Runs of the selected benchmarks and models, newest first. A run's name links to its dashboard and replay.",
            p.NONE,
            "no run found: start one with evalgauge.track_run, or check the folder that the exporter serves",
            24,
            10,
        ),
        "run_id",
        run_table.run_columns(),
        rows=run_table.run_rows(),
        sort=("Started", True),
    )


def _tags() -> Panel:
    tags = q.value(m.RUN_TAGS_INFO, "key", "value", **ONE)
    return p.table(
        PanelSpec(
            52,
            "Tags",
            "The run's tags that the exporter's configuration exposes.",
            p.NONE,
            "no tag exposed: name tags in [limits] tags of the configuration",
            8,
            6,
        ),
        "key",
        [Column("Tag", "key"), Column("Value", "value")],
        rows=tags,
        sort=("Tag", False),
    )


def _alerts() -> Panel:
    rows, severity = alert_rows("worker_id", "domain", **ONE)
    return p.table(
        PanelSpec(
            51,
            "Firing alerts of this run",
            "From Prometheus' own rules. The runbooks, which the exporter serves, describe what to do.",
            p.NONE,
            "no firing alert of this run, or the rules are not loaded",
            16,
            6,
        ),
        "alert",
        [
            Column("Alert", "alertname", {"links": [p.build_link("Runbook", p.RUNBOOK, new_tab=True)]}),
            severity,
            Column("Domain", "domain"),
            Column("Worker", "worker_id"),
        ],
        rows=rows,
        sort=("Severity", False),
    )
