"""The Fleet dashboard: what do workers and machines do, what do they cost, which are idle or unused?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries
from evalgauge_dashboards.dashboard import FLEET, Row, build_dashboard
from evalgauge_dashboards.machine_table import machine_rows, machine_table
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import RANGE, SCRAPE_DURATION, SCRAPE_SAMPLES, UP, Expression, select, vector
from evalgauge_dashboards.queries import MACHINE
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.run_table import RUN_LINKS
from evalgauge_dashboards.variables import RUNS, selected_runs

WORKER = ("run_id", "worker_id")
ERRORS = ("infrastructure_error", "evaluation_error")
"""Outcomes that measure nothing and that a machine may cause."""
LEFT_OUT = "runs not exposed"


def build(options: Options) -> dashboard.Dashboard:
    """Build the dashboard; its links lead where ``options`` say."""
    rows = [
        Row("What is busy, what is billed, what is unused?", [*_worker_counts(), *_machine_counts()]),
        Row("Workers", _workers()),
        Row("Machines", _machines()),
        Row("Probes and jobs", _probes()),
        Row("Exporter and sources", _sources(options.job)),
    ]
    text = "Workers, machines and their cost, with the machines that are billed and not used."
    return build_dashboard(FLEET, text, rows, runs="many", options=options)


def _in_state(state: str) -> Expression:
    """Count the workers of running selected runs in the state; 0 where there are workers but none in it."""
    workers = q.value(m.WORKER_STATE, *WORKER, state=state, run_id=RUNS)
    return workers.where(_running_selected(), on=("run_id",)).sum()


def _running_selected() -> Expression:
    """Select the running ones of the selected runs."""
    return q.running_runs(run_id=RUNS).where(selected_runs(), on=("run_id",))


def _increase(metric: m.Metric, *by: str) -> Expression:
    """Compute the increase of a worker counter of the selected runs over the time range."""
    grown = select(metric, run_id=RUNS).over("increase", RANGE).deduplicate().sum(*WORKER)
    return grown.where(selected_runs(window=RANGE), on=("run_id",)).sum(*by)


def _worker_counts() -> list[Panel]:
    busy, idle = _increase(m.WORKER_BUSY), _increase(m.WORKER_IDLE)
    return [
        p.stat(
            PanelSpec(
                1,
                "Workers",
                "Workers of the running selected runs: with a task, without one, and without an event or heartbeat "
                "for the "
                "stall time.",
                p.COUNT,
                "no run is running, or it reports no worker",
                7,
                4,
            ),
            [Query(_in_state(state), state, ref) for state, ref in (("busy", "A"), ("idle", "B"), ("lost", "C"))],
            decimals=0,
            text="value_and_name",
            overrides={
                "busy": p.colour_series("busy"),
                "idle": p.colour_series("idle"),
                "lost": p.colour_positive("critical"),
            },
        ),
        p.stat(
            PanelSpec(
                4,
                "Utilization",
                "Share of the workers' time in this range in which they had a task.",
                p.RATIO,
                "no worker was up in this time range",
                4,
                4,
            ),
            [Query(busy / (busy + idle > 0))],
            decimals=0,
            colour_of="busy",
        ),
    ]


def _machine_counts() -> list[Panel]:
    billed = q.billed_machines()
    unused, idle = q.unused_machines(), q.idle_machines(queries.IDLE_WINDOW)
    wasted = q.hourly_price(unused.or_(idle)).sum()
    unpriced = billed.unless(q.value(m.VM_PRICE, *MACHINE), on=MACHINE)
    known = billed.count()
    zero = vector(0).where(known, on=())
    return [
        p.stat(
            PanelSpec(
                5,
                "Billed machines",
                "Machines in every power state but deallocated; those that no running run uses; those whose price is "
                "not "
                "known.",
                p.COUNT,
                "no machine watched: set [[azure]], [[aws]] or [[machine]]",
                7,
                4,
            ),
            [
                Query(known, "billed", "A"),
                Query(unused.count().or_(zero), "without a run", "B"),
                Query(unpriced.count().or_(zero), "without a price", "C"),
            ],
            decimals=0,
            text="value_and_name",
            overrides={
                "billed": p.colour_series("vm"),
                "without a run": p.colour_positive("critical"),
                "without a price": p.colour_positive("warning"),
            },
        ),
        p.stat(
            PanelSpec(
                6,
                "Per hour",
                "Sum of the known prices of the billed machines, and of those among them without a run or without a "
                "task for "
                f"{queries.IDLE_WINDOW}.",
                p.DOLLARS,
                "no price known",
                6,
                4,
            ),
            [Query(q.hourly_price(billed).sum(), "billed", "A"), Query(wasted.or_(zero), "wasted", "B")],
            decimals=2,
            text="value_and_name",
            overrides={"billed": p.colour_series("vm"), "wasted": p.colour_positive("warning")},
        ),
    ]


def _workers() -> list[Panel]:
    states = q.value(m.WORKER_STATE, *WORKER, "state", run_id=RUNS).where(_running_selected(), on=("run_id",))
    finished = select(m.WORKER_TASKS, run_id=RUNS).rate().deduplicate().sum("run_id", "outcome")
    finished = finished.where(selected_runs(), on=("run_id",)).sum("outcome") * 3600
    return [
        p.timeseries(
            PanelSpec(
                10,
                "Workers by state",
                "Workers of the selected runs in each state while their runs are running.",
                p.COUNT,
                "no run was running in this time range",
                8,
                11,
            ),
            [Query(states.sum("state"), "{{state}}")],
            stacked=True,
            decimals=0,
            overrides=p.style_series(*m.WORKER_STATES),
        ),
        _worker_table(),
        p.timeseries(
            PanelSpec(
                12,
                "Attempts per hour by outcome",
                "Attempts that the workers of the selected runs finish.",
                p.COUNT,
                "no attempt finished in this time range",
                9,
                8,
            ),
            [Query(finished, "{{outcome}}")],
            stacked=True,
            overrides=p.style_series(*m.OUTCOMES),
        ),
        _errors_by_machine(),
        _cost_by_run(),
    ]


def _worker_table() -> Panel:
    """A row for each worker, which is legible with sixty of them: lost ones first, then the least used."""

    def by_worker(value: Expression) -> Expression:
        return value.join_labels("worker", *WORKER).max("worker")

    running = _running_selected()
    state = q.state_number(m.WORKER_STATE, *WORKER, run_id=RUNS)
    rows = state.where(running, on=("run_id",))
    machine = q.value(m.WORKER_INFO, *WORKER, "vm", run_id=RUNS).topk(1, *WORKER) * 0 + 1
    named = rows.combine("*", machine, on=WORKER, carry=("vm",))
    busy, idle = _increase(m.WORKER_BUSY, *WORKER), _increase(m.WORKER_IDLE, *WORKER)
    errors = q.total(m.WORKER_TASKS, *WORKER, outcome=ERRORS, run_id=RUNS)
    return p.table(
        PanelSpec(
            11,
            "Workers",
            "Workers of the running selected runs, lost ones first: their machine, finished attempts, errors among "
            "them that "
            "measure nothing, the share of this time range with a task, and their last event.",
            p.NONE,
            "no run is running, or it reports no worker",
            16,
            11,
        ),
        "worker",
        [
            Column("Worker", "worker_id", {"custom.minWidth": 80}),
            Column("Run", "run_id", RUN_LINKS | {"custom.minWidth": 150}),
            Column("Machine", "vm", {"custom.minWidth": 105}),
            Column(
                "State",
                Query(by_worker(state), ref="state"),
                p.style_mapped(p.map_states(m.WORKER_STATES)) | {"custom.width": 85},
            ),
            Column(
                "Finished",
                Query(by_worker(q.total(m.WORKER_TASKS, *WORKER, run_id=RUNS)), ref="done"),
                {"custom.width": 80},
            ),
            Column(
                "Errors",
                Query(by_worker(errors), ref="errors"),
                {"custom.width": 65, **p.colour_cell((None, "neutral"), (1, "warning"))},
            ),
            Column(
                "Busy",
                Query(by_worker(busy / (busy + idle > 0)), ref="busy"),
                p.RATIO_CELL | p.colour_series("busy") | {"custom.width": 95},
            ),
            Column(
                "Last event",
                Query(by_worker(q.value(m.WORKER_LAST_SEEN, *WORKER, run_id=RUNS) * 1000), ref="seen"),
                {"unit": p.TIME, "custom.width": 145},
            ),
        ],
        rows=named.or_(rows.unless(named, on=WORKER)).join_labels("worker", *WORKER),
        sort=("State", True),
    )


def _errors_by_machine() -> Panel:
    machine = q.value(m.WORKER_INFO, *WORKER, "vm", run_id=RUNS).where(selected_runs(), on=("run_id",)).topk(1, *WORKER)
    errors = q.total(m.WORKER_TASKS, *WORKER, outcome=ERRORS, run_id=RUNS)
    finished = q.total(m.WORKER_TASKS, *WORKER, run_id=RUNS).combine("*", machine, on=WORKER, carry=("vm",)).sum("vm")
    failed = errors.combine("*", machine, on=WORKER, carry=("vm",)).sum("vm")
    share = (failed / (finished > 0)).topk(9)
    return p.table(
        PanelSpec(
            13,
            "Errors by machine",
            "Share of the attempts on each machine that ended as infrastructure or evaluation error, worst nine first.",
            p.NONE,
            "no worker reports its machine: name it with run.worker(vm=…)",
            7,
            8,
        ),
        "vm",
        [
            Column("Machine", "vm", {"custom.minWidth": 110}),
            Column(
                "Errors",
                Query(share, ref="share"),
                p.RATIO_CELL | p.colour_series("warning") | {"custom.width": 110},
            ),
        ],
        rows=share,
        sort=("Errors", True),
    )


def _cost_by_run() -> Panel:
    cost = q.cost("run_id", component=("vm", "gpu"), run_id=RUNS).where(selected_runs(), on=("run_id",)).topk(8)
    return p.table(
        PanelSpec(
            22,
            "Machine and GPU cost by run",
            "Known cost, the eight most expensive runs.",
            p.NONE,
            "no machine cost known",
            8,
            8,
        ),
        "run_id",
        [
            Column("Run", "run_id", RUN_LINKS | {"custom.minWidth": 150}),
            Column("Cost", Query(cost, ref="cost"), {"unit": p.DOLLARS, "decimals": 2, "custom.width": 90}),
        ],
        rows=cost,
        sort=("Cost", True),
    )


def _machines() -> list[Panel]:
    power = q.value(m.VM_POWER_STATE, *MACHINE, "state").sum("state")
    return [
        p.timeseries(
            PanelSpec(
                21,
                "Machines by power state",
                "Machines in each state. Every state but deallocated is billed, stopped too.",
                p.COUNT,
                "no machine watched",
                8,
                11,
            ),
            [Query(power, "{{state}}")],
            stacked=True,
            decimals=0,
            overrides=p.style_series(*m.POWER_STATES) | {"stopped": p.colour_series("warning")},
        ),
        machine_table(
            PanelSpec(
                20,
                "Machines",
                f"A stopped machine is billed until it is deallocated. Idle: no task for {queries.IDLE_WINDOW}.",
                p.NONE,
                "no machine watched: set [[azure]], [[aws]] or [[machine]] in the exporter's configuration",
                16,
                11,
            ),
            machine_rows(),
        ),
    ]


def _probes() -> list[Panel]:
    answers = 2 - select(m.PROBE_SUCCESS).max("target", "kind")
    jobs = q.total(m.AZURE_ML_JOBS, "workspace", "status") > 0
    return [
        p.state_timeline(
            PanelSpec(30, "Probes", "Whether each target answers.", p.NONE, "no probe configured", 5, 8),
            [Query(answers, "{{target}} {{kind}}")],
            states=p.map_states(("answers", "silent")),
        ),
        p.timeseries(
            PanelSpec(31, "Probe duration", "Duration of the last probe.", p.SECONDS, "no probe configured", 5, 8),
            [Query(select(m.PROBE_DURATION).max("target", "kind"), "{{target}} {{kind}}")],
        ),
        p.table(
            PanelSpec(
                32, "Azure ML jobs", "Jobs of each workspace by status.", p.NONE, "no workspace configured", 8, 8
            ),
            "jobs",
            [
                Column("Workspace", "workspace", {"custom.minWidth": 90}),
                Column("Status", "status", {"custom.width": 110}),
                Column(
                    "Jobs",
                    Query(jobs.join_labels("jobs", "workspace", "status").max("jobs"), ref="count"),
                    {"custom.width": 60},
                ),
            ],
            rows=jobs.join_labels("jobs", "workspace", "status"),
            sort=("Jobs", True),
        ),
        p.timeseries(
            PanelSpec(
                33,
                "Azure requests left",
                "From Azure's last answers, for each kind of request; at 0 Azure throttles, and the exporter waits.",
                p.COUNT,
                "no subscription watched",
                6,
                8,
            ),
            [Query(select(m.AZURE_RATELIMIT).max("subscription", "bucket"), "{{bucket}}")],
        ),
    ]


def _sources(job: str) -> list[Panel]:
    state = 2 - select(UP, job=job).min()
    version = select(m.BUILD_INFO).max("version").topk(1)
    known = state.combine("*", version, on=(), carry=("version",))
    known_sources = select(m.SOURCE_UP).max("source")
    # a source that skipped nothing has no such series
    errors = select(m.SOURCE_ERRORS).over("increase", RANGE).deduplicate().sum("source").or_(known_sources * 0)
    return [
        p.table(
            PanelSpec(
                40,
                "Sources",
                "What the exporter reads, whether it could, and what it skipped in this time range; of several "
                "exporters the worst.",
                p.NONE,
                "the exporter is not scraped",
                12,
                8,
            ),
            "source",
            [
                Column("Source", "source", {"custom.minWidth": 90}),
                Column(
                    "State",
                    Query(2 - select(m.SOURCE_UP).min("source"), ref="up"),
                    p.style_mapped(p.map_words({"up": "success", "failing": "failure"})) | {"custom.width": 85},
                ),
                Column(
                    "Last success",
                    Query(select(m.SOURCE_LAST_SUCCESS).min("source") * 1000, ref="last"),
                    {"unit": p.TIME, "custom.width": 145},
                ),
                Column(
                    "Duration",
                    Query(select(m.SOURCE_REFRESH_DURATION).max("source"), ref="took"),
                    {"unit": p.SECONDS, "custom.width": 80},
                ),
                Column(
                    "Errors",
                    Query(errors, ref="errors"),
                    {"decimals": 0, "custom.width": 65, **p.colour_cell((None, "neutral"), (1, "warning"))},
                ),
            ],
            rows=known_sources,
            sort=("Source", False),
        ),
        p.stat(
            PanelSpec(
                42,
                "Exporter",
                "Whether Prometheus can scrape the exporter (all of them, where there are several), and its version; "
                "running runs beyond limits.running, which are on no dashboard.",
                p.NONE,
                "Prometheus has no job evalgauge",
                4,
                8,
            ),
            [
                Query(known.or_(state.unless(known, on=())), "version {{version}}", "A"),
                Query(select(m.RUNS_LEFT_OUT).max(), LEFT_OUT, "B"),
            ],
            text="value_and_name",
            listed=True,
            colour_of=None,
            mappings=p.map_words({"up": "success", "down": "failure"}),
            overrides={LEFT_OUT: {"unit": p.COUNT, "mappings": [], **p.colour_positive("warning")}},
        ),
        p.timeseries(
            PanelSpec(
                43,
                "Scrape",
                "Duration of a scrape of the exporter, and its number of series.",
                p.SECONDS,
                "Prometheus has no job evalgauge",
                8,
                8,
            ),
            [
                Query(select(SCRAPE_DURATION, job=job).max(), "duration", "A"),
                Query(select(SCRAPE_SAMPLES, job=job).max(), "series", "B"),
            ],
            overrides={
                "duration": p.colour_series("neutral"),
                "series": p.colour_series("bound") | {"unit": p.COUNT, "custom.axisPlacement": "right"},
            },
        ),
    ]
