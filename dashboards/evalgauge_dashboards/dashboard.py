"""What the three boards share: variables, links to each other, marks where runs start and end, layout in rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards.colours import colour
from evalgauge_dashboards.panels import DATASOURCE, Panel
from evalgauge_dashboards.promql import NOW, Expression, Variable, select

EVALUATION = "evalgauge-evaluation"
COMPARISON = "evalgauge-comparison"
FLEET = "evalgauge-fleet"
BOARDS = {EVALUATION: "Evaluation", COMPARISON: "Comparison", FLEET: "Fleet"}

RUN = Variable("run")
RUNS = Variable("run", many=True)
ONE = {"run_id": RUN}
"""The one run that the board shows, as matchers of a selection."""
BENCHMARKS = Variable("benchmark", many=True)
MODELS = Variable("model", many=True)

NOT_SHOWN: dict[str, str] = {}
"""Metrics of the catalogue that no board and no alert uses, each with the reason. A test holds the rest in use."""
NEWS = 600
"""Seconds for which the start or the end of a run is an event to mark."""
EXPORTER_URL = "http://localhost:9909"
"""Where a reader's browser finds the exporter, unless the board is built for another address."""
REPLAY = "${exporter}/replay/${__value.text:percentencode}/"
"""The replay of the run whose id the clicked cell holds."""
THIS_RUN = f"/d/{EVALUATION}?var-run=${{__value.text:percentencode}}&${{datasource:queryparam}}&${{__url_time_range}}"
"""The Evaluation board of the run whose id the clicked cell holds."""
COURSE = (
    f"/d/{EVALUATION}?var-run=${{__value.text:percentencode}}&${{datasource:queryparam}}"
    "&from=${__data.fields.from.numeric}&to=${__data.fields.to.numeric}"
)
"""The same over the time that the hidden columns ``from`` and ``to`` of the clicked row hold (Unix milliseconds)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A heading and the panels under it, which fill 24 columns a line."""

    title: str
    panels: Sequence[Panel]


def newest_runs() -> Expression:
    """Every chosen benchmark's and model's run, those that go on first, then the newest first."""
    known = select(m.RUN_INFO, benchmark=BENCHMARKS, model=MODELS).max("run_id")
    started = select(m.RUN_START).max("run_id").or_(known * 0)
    going = select(m.RUN_STATE, state="running").max("run_id").or_(known * 0)
    return (started + going * 1e11).where(known, on=("run_id",)).sorted(descending=True)


def board(
    uid: str, description: str, rows: Sequence[Row], *, many_runs: bool, exporter_url: str = EXPORTER_URL
) -> dashboard.Dashboard:
    """A whole board: ``many_runs`` where more than one run may be chosen, else it shows one, at first the newest.

    ``exporter_url`` is where a reader's browser finds the exporter, until the reader says otherwise in the text box.

    Raises:
        ValueError: where two panels have the same id.
    """
    built = (
        builder.Dashboard(f"evalgauge / {BOARDS[uid]}")
        .uid(uid)
        .description(description)
        .tags(["evalgauge"])
        .readonly()
        .refresh("15s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    )
    for variable in _variables(many_runs, exporter_url.rstrip("/")):
        built.with_variable(variable)
    run = RUNS if many_runs else RUN
    built.annotation(_mark("Run started", select(m.RUN_START, run_id=run).max("run_id"), "running"))
    built.annotation(_mark("Run ended", select(m.RUN_END, run_id=run).max("run_id"), "interrupted"))
    for other, name in BOARDS.items():
        if other != uid:
            built.link(
                builder.DashboardLink(name)
                .type(dashboard.DashboardLinkType.LINK)
                .url(f"/d/{other}")
                .icon("dashboard")
                .tooltip(f"evalgauge / {name}")
                .include_vars(True)
                .keep_time(True)
            )
    built.link(
        builder.DashboardLink("Live page")
        .type(dashboard.DashboardLinkType.LINK)
        .url("${exporter}/")
        .icon("external link")
        .tooltip("The exporter's own page")
        .target_blank(True)
    )
    for number, row in enumerate(rows):
        heading = builder.Row(row.title).id(1000 + number)
        built.with_row(heading)
        for panel in row.panels:
            built.with_panel(panel)
    return _checked(built.build())


def _variables(
    many_runs: bool, exporter_url: str
) -> list[builder.QueryVariable | builder.DatasourceVariable | builder.TextBoxVariable]:
    run = (
        # Grafana knows the function by a pattern that stops at the end of a line
        _query("run", "Run", f"query_result({' '.join(newest_runs().text.split())})")
        .regex('/run_id="([^"]+)"/')
        .sort(dashboard.VariableSort.DISABLED)
        .description("Those that go on first, then the newest first.")
    )
    if many_runs:
        run = run.multi(True).include_all(True).all_value(".+")
    exporter = builder.TextBoxVariable("exporter").label("Exporter").default_value(exporter_url)
    exporter.current(dashboard.VariableOption(text=exporter_url, value=exporter_url))
    exporter.description("Where your browser finds the exporter: links to replays start with it.")
    return [
        builder.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _all(_query("benchmark", "Benchmark", f"label_values({m.RUN_INFO.name}, benchmark)")),
        _all(_query("model", "Model", f'label_values({m.RUN_INFO.name}{{benchmark=~"$benchmark"}}, model)')),
        run,
        exporter.hide(dashboard.VariableHide.IN_CONTROLS_MENU),
    ]


def _query(name: str, title: str, text: str) -> builder.QueryVariable:
    variable = builder.QueryVariable(name).label(title).datasource(DATASOURCE).definition(text)
    variable.query({"query": text, "refId": name}).refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(dashboard.VariableSort.ALPHABETICAL_ASC)


def _all(variable: builder.QueryVariable) -> builder.QueryVariable:
    # also runs of which nobody said what benchmark or model they are
    return variable.multi(True).include_all(True).all_value(".*")


def _mark(name: str, when: Expression, meaning: str) -> builder.AnnotationQuery:
    mark = builder.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(colour(meaning))
    # Grafana marks what the query returned at each step, so old runs are left out of the steps that come later
    news = when > NOW - NEWS
    mark.expr((news * 1000).text).use_value_for_time(True)
    return mark.title_format(name).text_format("{{run_id}}")


def _checked(built: dashboard.Dashboard) -> dashboard.Dashboard:
    ids = [panel.id_val for panel in built.panels or []]
    if twice := sorted({i for i in ids if i is not None and ids.count(i) > 1}):
        raise ValueError(f"{built.uid}: panel ids are not unique: {twice}")
    return built
