"""What every dashboard has: variables, links to the others, annotations where runs start and end, rows of panels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards.colours import colour
from evalgauge_dashboards.errors import PanelError
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import DATASOURCE, Panel
from evalgauge_dashboards.promql import NOW, Expression, LabelMatch, select
from evalgauge_dashboards.variables import RUN, RUNS, RunChoice, build_variables

OVERVIEW = "evalgauge-overview"
EVALUATION = "evalgauge-evaluation"
COMPARISON = "evalgauge-comparison"
FLEET = "evalgauge-fleet"
TITLES = {OVERVIEW: "Overview", EVALUATION: "Evaluation", COMPARISON: "Comparison", FLEET: "Fleet"}
"""The title of each dashboard by its uid."""

ANNOTATION_SECONDS = 600
"""Seconds for which the start or the end of a run is annotated."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A heading and the panels under it, which fill 24 columns a line."""

    title: str
    panels: Sequence[Panel]


def build_dashboard(
    uid: str, description: str, rows: Sequence[Row], *, runs: RunChoice, options: Options
) -> dashboard.Dashboard:
    """Build a whole dashboard.

    Args:
        uid: One of the keys of `TITLES`.
        description: The question that it answers.
        rows: Its panels.
        runs: How many runs may be selected; where it is one, the newest is shown at first.
        options: What the dashboard is built for.

    Raises:
        PanelError: If two panels have the same id.
    """
    built = (
        builder.Dashboard(f"evalgauge / {TITLES[uid]}")
        .uid(uid)
        .description(description)
        .tags(["evalgauge"])
        .readonly()
        .refresh("15s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    )
    for variable in build_variables(runs, options, one_benchmark=uid == COMPARISON):
        built.with_variable(variable)
    where: dict[str, LabelMatch] = {} if runs == "none" else {"run_id": RUNS if runs == "many" else RUN}
    built.annotation(_annotate("Run started", select(m.RUN_START, **where).max("run_id"), "running"))
    built.annotation(_annotate("Run finished", select(m.RUN_END, **where).max("run_id"), "interrupted"))
    for other, name in TITLES.items():
        if other != uid:
            built.link(
                builder.DashboardLink(name)
                .type(dashboard.DashboardLinkType.LINK)
                .url(f"/d/{other}?${{datasource:queryparam}}" if COMPARISON in (uid, other) else f"/d/{other}")
                .icon("dashboard")
                .tooltip(f"evalgauge / {name}")
                # a comparison is of many runs of one benchmark: what another dashboard shows is not carried into it
                .include_vars(COMPARISON not in (uid, other))
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
    return _check_panel_ids(built.build())


def _annotate(name: str, when: Expression, meaning: str) -> builder.AnnotationQuery:
    annotation = builder.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(colour(meaning))
    # Grafana annotates what the query returned at each step, so old runs are left out of the steps that come later
    recent = when > NOW - ANNOTATION_SECONDS
    annotation.expr((recent * 1000).text).use_value_for_time(True)
    return annotation.title_format(name).text_format("{{run_id}}")


def _check_panel_ids(built: dashboard.Dashboard) -> dashboard.Dashboard:
    ids = [panel.id_val for panel in built.panels or []]
    if twice := sorted({i for i in ids if i is not None and ids.count(i) > 1}):
        raise PanelError(f"{built.uid}: panel ids are not unique: {twice}")
    return built
