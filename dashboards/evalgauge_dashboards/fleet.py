"""The Fleet board: what do the workers and machines do, what do they cost, what is forgotten and idle?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards.alerts import JOB
from evalgauge_dashboards.dashboard import EXPORTER_URL, FLEET, RUNS, Row, board
from evalgauge_dashboards.panels import About, Column, Panel, Query
from evalgauge_dashboards.promql import RANGE, SCRAPE_DURATION, SCRAPE_SAMPLES, UP, Expression, select, vector
from evalgauge_dashboards.run_variables import chosen

MACHINE = ("vm", "resource_group")
WORKER = ("run_id", "worker_id")
POWER = {state: state for state in m.POWER_STATES} | {"stopped": "warning"}
"""The meaning of each power state: a machine that is stopped costs money and does nothing, unlike a worker that is."""


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """The board, ready to be encoded; its links to replays start with ``exporter_url``."""
    rows = [
        Row("What is busy, what bills, what is forgotten?", [*_worker_counts(), *_machine_counts()]),
        Row("Workers", _workers()),
        Row("Machines", _machines()),
        Row("Probes and jobs", _probes()),
        Row("The exporter and what it reads", _sources()),
    ]
    text = "Workers, machines and what they cost, with what bills and is not used."
    return board(FLEET, text, rows, many_runs=True, exporter_url=exporter_url)


def _in_state(state: str) -> Expression:
    """Workers of chosen runs that go on, in the state; 0 where there are workers but none in it."""
    workers = select(m.WORKER_STATE, state=state, run_id=RUNS).max(*WORKER)
    return workers.where(_going(), on=("run_id",)).sum()


def _going() -> Expression:
    """One series for each chosen run that goes on."""
    return measure.running(run_id=RUNS).where(chosen(), on=("run_id",))


def _seconds(metric: m.Metric, *by: str) -> Expression:
    """What a counter of the chosen runs' workers grew by in this range."""
    grown = select(metric, run_id=RUNS).over("increase", RANGE).sum(*WORKER)
    return grown.where(chosen(window=RANGE), on=("run_id",)).sum(*by)


def _by_machine(value: Expression) -> Expression:
    """One value for each machine: a name is only unique within its resource group."""
    return value.joined("machine", *MACHINE).max("machine")


def _worker_counts() -> list[Panel]:
    busy, idle = _seconds(m.WORKER_BUSY), _seconds(m.WORKER_IDLE)
    counts = [
        (1, "Busy workers", "busy", "Workers with a task, of the chosen runs that go on."),
        (2, "Idle workers", "idle", "Workers that are up and have no task."),
        (3, "Lost workers", "lost", "Workers that nothing has been heard of for the stall time."),
    ]
    return [
        *(
            p.stat(
                About(number, title, text, p.COUNT, "no run goes on", 3, 4),
                [Query(_in_state(state))],
                decimals=0,
                colour_of=state,
                steps=p.thresholds((None, "success"), (1, "critical")) if state == "lost" else None,
            )
            for number, title, state, text in counts
        ),
        p.stat(
            About(
                4,
                "Time with a task",
                "Share of the workers' time in this range in which they had a task.",
                p.RATIO,
                "no worker was up in this time",
                3,
                4,
            ),
            [Query(busy / (busy + idle > 0))],
            decimals=0,
            colour_of="busy",
        ),
    ]


def _machine_counts() -> list[Panel]:
    bill = measure.billing(*MACHINE)
    unused, idle = measure.unused_machines(), measure.idle_machines(measure.IDLE_WINDOW)
    wasted = measure.hourly_price(unused.or_(idle)).sum()
    known = bill.count()
    zero = vector(0).where(known, on=())
    return [
        p.stat(
            About(5, "Machines that bill", "Every power state but deallocated.", p.COUNT, "no machine watched", 3, 4),
            [Query(known)],
            decimals=0,
        ),
        p.stat(
            About(
                6,
                "Machines an hour",
                "The prices of the machines that bill, of those whose price is known.",
                p.DOLLARS,
                "no price known",
                3,
                4,
            ),
            [Query(measure.hourly_price(bill).sum())],
            decimals=2,
            colour_of="llm",
        ),
        p.stat(
            About(
                7,
                "Wasted an hour",
                f"The prices of machines that bill and have no run, or had no task for {measure.IDLE_WINDOW}.",
                p.DOLLARS,
                "no machine bills",
                3,
                4,
            ),
            [Query(wasted.or_(zero))],
            decimals=2,
            steps=p.thresholds((None, "success"), (0.01, "warning")),
        ),
        p.stat(
            About(
                8,
                "Without a run",
                "Machines that bill and that no running run uses.",
                p.COUNT,
                "no machine bills",
                3,
                4,
            ),
            [Query(unused.count().or_(zero))],
            decimals=0,
            steps=p.thresholds((None, "success"), (1, "critical")),
        ),
    ]


def _workers() -> list[Panel]:
    state = measure.state_number(m.WORKER_STATE, *WORKER, run_id=RUNS).where(_going(), on=("run_id",))
    busy, idle = _seconds(m.WORKER_BUSY, "worker_id"), _seconds(m.WORKER_IDLE, "worker_id")
    finished = select(m.WORKER_TASKS, run_id=RUNS).rate().sum("run_id", "outcome")
    finished = finished.where(chosen(), on=("run_id",)).sum("outcome") * 3600
    machines = measure.cost("run_id", component=("vm", "gpu"), run_id=RUNS).where(chosen(), on=("run_id",))
    return [
        p.timeline(
            About(
                10,
                "Worker states",
                "A row for each worker of the chosen runs while they go on.",
                p.NONE,
                "no run went on in this time",
                14,
                10,
            ),
            [Query(state, "{{worker_id}}")],
            states=p.numbered(m.WORKER_STATES),
        ),
        p.bars(
            About(
                11,
                "Time with a task by worker",
                "Share of the time it was up in this range, least first.",
                p.RATIO,
                "no worker was up in this time",
                10,
                10,
            ),
            [Query((busy / (busy + idle > 0)).sorted(), "{{worker_id}}")],
            decimals=0,
            maximum=1,
            colour_of="busy",
        ),
        p.timeseries(
            About(
                12,
                "Attempts an hour by outcome",
                "What the workers of the chosen runs finish.",
                p.COUNT,
                "nothing finished in this time",
                14,
                8,
            ),
            [Query(finished, "{{outcome}}")],
            stacked=True,
            overrides=p.series_of(*m.OUTCOMES),
        ),
        p.bars(
            About(
                22,
                "Machine and GPU cost by run",
                "What is known, the dearest eight first.",
                p.DOLLARS,
                "no machine cost known",
                10,
                8,
            ),
            [Query(machines.top(8).sorted(descending=True), "{{run_id}}")],
            decimals=2,
            colour_of="vm",
        ),
    ]


def _machines() -> list[Panel]:
    power = measure.state_number(m.VM_POWER_STATE, *MACHINE)
    use = (
        (measure.idle_machines(measure.IDLE_WINDOW) * 0 + 2)
        .or_(measure.unused_machines() * 0 + 3)
        .or_(measure.billing(*MACHINE) * 0 + 1)
    )
    created = select(m.VM_CREATED).max(*MACHINE)
    return [
        p.timeline(
            About(
                21,
                "Power states",
                "A row for each machine. All but deallocated cost money: stopped does too.",
                p.NONE,
                "no machine watched",
                8,
                10,
            ),
            [Query(power, "{{vm}}")],
            states=p.worded(POWER),
        ),
        p.table(
            About(
                20,
                "Machines",
                f"A machine that is stopped but not deallocated bills. Idle: no task for {measure.IDLE_WINDOW}.",
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
                    p.mapped(p.worded(POWER)) | {"custom.width": 110},
                ),
                Column(
                    "Use",
                    Query(_by_machine(use), ref="use"),
                    p.mapped(p.worded({"in use": "busy", "idle": "warning", "no run": "critical"}))
                    | {"custom.width": 80},
                ),
                Column("Runs", Query(_by_machine(select(m.VM_RUNS).max(*MACHINE)), ref="runs"), {"custom.width": 60}),
                Column(
                    "Busy",
                    Query(_by_machine(select(m.VM_BUSY_WORKERS).max(*MACHINE)), ref="busy"),
                    {"custom.width": 60},
                ),
                Column(
                    "An hour",
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
            rows=select(m.VM_INFO).max("vm", "size", "location", "resource_group").joined("machine", *MACHINE),
            sort=("Use", True),
        ),
    ]


def _probes() -> list[Panel]:
    answers = 2 - select(m.PROBE_SUCCESS).max("target", "kind")
    jobs = select(m.AZURE_ML_JOBS).sum("workspace", "status") > 0
    return [
        p.timeline(
            About(30, "Probes", "Whether each target answers.", p.NONE, "no probe configured", 6, 8),
            [Query(answers, "{{target}} {{kind}}")],
            states=p.numbered(("answers", "silent")),
        ),
        p.timeseries(
            About(31, "Probe duration", "How long the last probe took.", p.SECONDS, "no probe configured", 6, 8),
            [Query(select(m.PROBE_DURATION).max("target", "kind"), "{{target}} {{kind}}")],
        ),
        p.bars(
            About(32, "Azure ML jobs by status", "Of each workspace.", p.COUNT, "no workspace configured", 6, 8),
            [Query(jobs.sorted(descending=True), "{{status}} in {{workspace}}")],
            decimals=0,
        ),
        p.timeseries(
            About(
                33,
                "Requests that Azure still takes",
                "As its last answers said, for each kind of request; at 0 it refuses, and the exporter waits.",
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
    version = select(m.BUILD_INFO).max("version").top(1)
    known = state.combine("*", version, on=(), carry=("version",))
    errors = select(m.SOURCE_ERRORS).over("increase", RANGE).sum("source")
    return [
        p.table(
            About(
                40,
                "Sources",
                "What the exporter reads, whether that went well, and what it had to skip in this range; of several "
                "exporters the one that fares worst.",
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
                    p.mapped(p.worded({"up": "success", "failing": "failure"})),
                ),
                Column(
                    "Last success",
                    Query(select(m.SOURCE_LAST_SUCCESS).min("source") * 1000, ref="last"),
                    {"unit": p.TIME},
                ),
                Column("Took", Query(select(m.SOURCE_REFRESH_DURATION).max("source"), ref="took"), {"unit": p.SECONDS}),
                Column("Errors", Query(errors, ref="errors"), {"decimals": 0}),
            ],
            rows=select(m.SOURCE_UP).max("source"),
            sort=("Source", False),
        ),
        p.stat(
            About(
                42,
                "Exporter",
                "Whether Prometheus can scrape it (each of them, where there are several), and its version.",
                p.NONE,
                "Prometheus has no job evalgauge",
                4,
                8,
            ),
            [Query(known.or_(state.unless(known, on=())), "version {{version}}")],
            text="value_and_name",
            colour_of=None,
            mappings=p.worded({"up": "success", "down": "failure"}),
        ),
        p.timeseries(
            About(
                43,
                "Scrape",
                "How long a scrape of the exporter takes, and how many series it brings.",
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
                "duration": p.of_colour("neutral"),
                "series": p.of_colour("bound") | {"unit": p.COUNT, "custom.axisPlacement": "right"},
            },
        ),
    ]
