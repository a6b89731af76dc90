"""The Fleet dashboard: what do workers and machines do, what do they cost, which are idle or unused?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as q
from evalgauge_dashboards.alerts import JOB
from evalgauge_dashboards.dashboard import FLEET, Row, build_dashboard
from evalgauge_dashboards.options import EXPORTER_URL
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import RANGE, SCRAPE_DURATION, SCRAPE_SAMPLES, UP, Expression, select, vector
from evalgauge_dashboards.variables import RUNS, selected_runs

MACHINE = ("vm", "resource_group")
WORKER = ("run_id", "worker_id")
POWER = {state: state for state in m.POWER_STATES} | {"stopped": "warning"}
"""The meaning of each power state: a stopped machine is billed and does nothing, unlike a stopped worker."""


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """Build the dashboard; its links to replays start with ``exporter_url``."""
    rows = [
        Row("What is busy, what is billed, what is unused?", [*_worker_counts(), *_machine_counts()]),
        Row("Workers", _workers()),
        Row("Machines", _machines()),
        Row("Probes and jobs", _probes()),
        Row("Exporter and sources", _sources()),
    ]
    text = "Workers, machines and their cost, with the machines that are billed and not used."
    return build_dashboard(FLEET, text, rows, many_runs=True, exporter_url=exporter_url)


def _in_state(state: str) -> Expression:
    """Count the workers of running selected runs in the state; 0 where there are workers but none in it."""
    workers = select(m.WORKER_STATE, state=state, run_id=RUNS).max(*WORKER)
    return workers.where(_running_selected(), on=("run_id",)).sum()


def _running_selected() -> Expression:
    """Select the running ones of the selected runs."""
    return q.running_runs(run_id=RUNS).where(selected_runs(), on=("run_id",))


def _increase(metric: m.Metric, *by: str) -> Expression:
    """Compute the increase of a worker counter of the selected runs over the time range."""
    grown = select(metric, run_id=RUNS).over("increase", RANGE).sum(*WORKER)
    return grown.where(selected_runs(window=RANGE), on=("run_id",)).sum(*by)


def _by_machine(value: Expression) -> Expression:
    """Reduce to one value for each machine: a name is unique only within its resource group."""
    return value.join_labels("machine", *MACHINE).max("machine")


def _worker_counts() -> list[Panel]:
    busy, idle = _increase(m.WORKER_BUSY), _increase(m.WORKER_IDLE)
    counts = [
        (1, "Busy workers", "busy", "Workers with a task, of the running selected runs."),
        (2, "Idle workers", "idle", "Workers that are up without a task."),
        (3, "Lost workers", "lost", "Workers without an event or heartbeat for the stall time."),
    ]
    return [
        *(
            p.stat(
                PanelSpec(number, title, text, p.COUNT, "no run is running", 3, 4),
                [Query(_in_state(state))],
                decimals=0,
                colour_of=state,
                steps=p.thresholds((None, "success"), (1, "critical")) if state == "lost" else None,
            )
            for number, title, state, text in counts
        ),
        p.stat(
            PanelSpec(
                4,
                "Worker utilization",
                "Share of the workers' time in this range in which they had a task.",
                p.RATIO,
                "no worker was up in this time range",
                3,
                4,
            ),
            [Query(busy / (busy + idle > 0))],
            decimals=0,
            colour_of="busy",
        ),
    ]


def _machine_counts() -> list[Panel]:
    bill = q.billing_machines(*MACHINE)
    unused, idle = q.unused_machines(), q.idle_machines(q.IDLE_WINDOW)
    wasted = q.hourly_price(unused.or_(idle)).sum()
    known = bill.count()
    zero = vector(0).where(known, on=())
    return [
        p.stat(
            PanelSpec(5, "Billed machines", "Every power state but deallocated.", p.COUNT, "no machine watched", 3, 4),
            [Query(known)],
            decimals=0,
        ),
        p.stat(
            PanelSpec(
                6,
                "Machine cost per hour",
                "Sum of the known prices of the billed machines.",
                p.DOLLARS,
                "no price known",
                3,
                4,
            ),
            [Query(q.hourly_price(bill).sum())],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            PanelSpec(
                7,
                "Wasted per hour",
                f"Sum of the known prices of billed machines without a run or without a task for {q.IDLE_WINDOW}.",
                p.DOLLARS,
                "no billed machine",
                3,
                4,
            ),
            [Query(wasted.or_(zero))],
            decimals=2,
            steps=p.thresholds((None, "success"), (0.01, "warning")),
        ),
        p.stat(
            PanelSpec(
                8,
                "Machines without a run",
                "Billed machines that no running run uses.",
                p.COUNT,
                "no billed machine",
                3,
                4,
            ),
            [Query(unused.count().or_(zero))],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "critical")),
        ),
    ]


def _workers() -> list[Panel]:
    state = q.state_number(m.WORKER_STATE, *WORKER, run_id=RUNS).where(_running_selected(), on=("run_id",))
    busy, idle = _increase(m.WORKER_BUSY, "worker_id"), _increase(m.WORKER_IDLE, "worker_id")
    finished = select(m.WORKER_TASKS, run_id=RUNS).rate().sum("run_id", "outcome")
    finished = finished.where(selected_runs(), on=("run_id",)).sum("outcome") * 3600
    machines = q.cost("run_id", component=("vm", "gpu"), run_id=RUNS).where(selected_runs(), on=("run_id",))
    return [
        p.state_timeline(
            PanelSpec(
                10,
                "Worker states",
                "A row for each worker of the selected runs while they are running.",
                p.NONE,
                "no run was running in this time range",
                14,
                10,
            ),
            [Query(state, "{{worker_id}}")],
            states=p.map_states(m.WORKER_STATES),
        ),
        p.bar_gauge(
            PanelSpec(
                11,
                "Utilization by worker",
                "Share of its time with a task, of the time it was up in this range, lowest first.",
                p.RATIO,
                "no worker was up in this time range",
                10,
                10,
            ),
            [Query((busy / (busy + idle > 0)).sort(), "{{worker_id}}")],
            decimals=0,
            maximum=1,
            colour_of="busy",
        ),
        p.timeseries(
            PanelSpec(
                12,
                "Attempts per hour by outcome",
                "Attempts that the workers of the selected runs finish.",
                p.COUNT,
                "no attempt finished in this time range",
                14,
                8,
            ),
            [Query(finished, "{{outcome}}")],
            stacked=True,
            overrides=p.style_series(*m.OUTCOMES),
        ),
        p.bar_gauge(
            PanelSpec(
                22,
                "Machine and GPU cost by run",
                "Known cost, the eight most expensive runs.",
                p.DOLLARS,
                "no machine cost known",
                10,
                8,
            ),
            [Query(machines.topk(8).sort(descending=True), "{{run_id}}")],
            decimals=2,
            colour_of="vm",
        ),
    ]


def _machines() -> list[Panel]:
    power = q.state_number(m.VM_POWER_STATE, *MACHINE)
    use = (
        (q.idle_machines(q.IDLE_WINDOW) * 0 + 2)
        .or_(q.unused_machines() * 0 + 3)
        .or_(q.billing_machines(*MACHINE) * 0 + 1)
    )
    created = select(m.VM_CREATED).max(*MACHINE)
    return [
        p.state_timeline(
            PanelSpec(
                21,
                "Power states",
                "A row for each machine. Every state but deallocated is billed, stopped too.",
                p.NONE,
                "no machine watched",
                8,
                10,
            ),
            [Query(power, "{{vm}}")],
            states=p.map_words(POWER),
        ),
        p.table(
            PanelSpec(
                20,
                "Machines",
                f"A stopped machine is billed until it is deallocated. Idle: no task for {q.IDLE_WINDOW}.",
                p.NONE,
                "no machine watched: set [[azure]] or [[machine]] in the exporter's configuration",
                16,
                10,
            ),
            "machine",
            [
                Column("Machine", "vm", {"custom.width": 165}),
                Column("Group", "resource_group", {"custom.width": 95}),
                Column(
                    "Power",
                    Query(_by_machine(power), ref="power"),
                    p.style_mapped(p.map_words(POWER)) | {"custom.width": 110},
                ),
                Column(
                    "Use",
                    Query(_by_machine(use), ref="use"),
                    p.style_mapped(p.map_words({"in use": "busy", "idle": "warning", "no run": "critical"}))
                    | {"custom.width": 80},
                ),
                Column("Runs", Query(_by_machine(select(m.VM_RUNS).max(*MACHINE)), ref="runs"), {"custom.width": 60}),
                Column(
                    "Busy",
                    Query(_by_machine(select(m.VM_BUSY_WORKERS).max(*MACHINE)), ref="busy"),
                    {"custom.width": 60},
                ),
                Column(
                    "Per hour",
                    Query(_by_machine(select(m.VM_PRICE).max(*MACHINE)), ref="price"),
                    {"unit": p.DOLLARS, "decimals": 3, "custom.width": 75},
                ),
                Column("Size", "size"),
                Column("Location", "location", {"custom.width": 85}),
                Column(
                    "Created",
                    Query(_by_machine(created * 1000), ref="created"),
                    {"unit": p.TIME, "custom.width": 100},
                ),
            ],
            rows=select(m.VM_INFO).max("vm", "size", "location", "resource_group").join_labels("machine", *MACHINE),
            sort=("Use", True),
        ),
    ]


def _probes() -> list[Panel]:
    answers = 2 - select(m.PROBE_SUCCESS).max("target", "kind")
    jobs = select(m.AZURE_ML_JOBS).sum("workspace", "status") > 0
    return [
        p.state_timeline(
            PanelSpec(30, "Probes", "Whether each target answers.", p.NONE, "no probe configured", 6, 8),
            [Query(answers, "{{target}} {{kind}}")],
            states=p.map_states(("answers", "silent")),
        ),
        p.timeseries(
            PanelSpec(31, "Probe duration", "Duration of the last probe.", p.SECONDS, "no probe configured", 6, 8),
            [Query(select(m.PROBE_DURATION).max("target", "kind"), "{{target}} {{kind}}")],
        ),
        p.bar_gauge(
            PanelSpec(
                32, "Azure ML jobs by status", "Jobs of each workspace.", p.COUNT, "no workspace configured", 6, 8
            ),
            [Query(jobs.sort(descending=True), "{{status}} in {{workspace}}")],
            decimals=0,
        ),
        p.timeseries(
            PanelSpec(
                33,
                "Azure requests remaining",
                "From Azure's last answers, for each kind of request; at 0 Azure throttles, and the exporter waits.",
                p.COUNT,
                "no subscription watched",
                6,
                8,
            ),
            [Query(select(m.AZURE_RATELIMIT).max("subscription", "bucket"), "{{bucket}}")],
        ),
    ]


def _sources() -> list[Panel]:
    state = 2 - select(UP, job=JOB).min()
    version = select(m.BUILD_INFO).max("version").topk(1)
    known = state.combine("*", version, on=(), carry=("version",))
    errors = select(m.SOURCE_ERRORS).over("increase", RANGE).sum("source")
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
                Column("Source", "source"),
                Column(
                    "State",
                    Query(2 - select(m.SOURCE_UP).min("source"), ref="up"),
                    p.style_mapped(p.map_words({"up": "success", "failing": "failure"})),
                ),
                Column(
                    "Last success",
                    Query(select(m.SOURCE_LAST_SUCCESS).min("source") * 1000, ref="last"),
                    {"unit": p.TIME},
                ),
                Column(
                    "Duration", Query(select(m.SOURCE_REFRESH_DURATION).max("source"), ref="took"), {"unit": p.SECONDS}
                ),
                Column("Errors", Query(errors, ref="errors"), {"decimals": 0}),
            ],
            rows=select(m.SOURCE_UP).max("source"),
            sort=("Source", False),
        ),
        p.stat(
            PanelSpec(
                42,
                "Exporter",
                "Whether Prometheus can scrape the exporter (all of them, where there are several), and its version.",
                p.NONE,
                "Prometheus has no job evalgauge",
                4,
                8,
            ),
            [Query(known.or_(state.unless(known, on=())), "version {{version}}")],
            text="value_and_name",
            colour_of=None,
            mappings=p.map_words({"up": "success", "down": "failure"}),
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
                Query(select(SCRAPE_DURATION, job=JOB).max(), "duration", "A"),
                Query(select(SCRAPE_SAMPLES, job=JOB).max(), "series", "B"),
            ],
            overrides={
                "duration": p.colour_series("neutral"),
                "series": p.colour_series("bound") | {"unit": p.COUNT, "custom.axisPlacement": "right"},
            },
        ),
    ]
