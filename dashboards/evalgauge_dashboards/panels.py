"""Panels: Grafana's builders with what every panel here must have (id, title, description, unit, no-data text)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import barchart as barchart_builder
from grafana_foundation_sdk.builders import bargauge as bargauge_builder
from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.builders import stat as stat_builder
from grafana_foundation_sdk.builders import statetimeline as statetimeline_builder
from grafana_foundation_sdk.builders import table as table_builder
from grafana_foundation_sdk.builders import timeseries as timeseries_builder
from grafana_foundation_sdk.builders import xychart as xychart_builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from evalgauge_dashboards.colours import colour, label, mark
from evalgauge_dashboards.errors import PanelError
from evalgauge_dashboards.promql import Expression

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="$datasource")

RATIO = "percentunit"
DOLLARS = "currencyUSD"
COUNT = "short"
INTEGER = "locale"
"""Every digit of a number, 1,004: 1 K says less than is known."""
TIME = "dateTimeFromNow"
SECONDS = "s"
NONE = "none"

Panel = (
    stat_builder.Panel
    | timeseries_builder.Panel
    | bargauge_builder.Panel
    | table_builder.Panel
    | statetimeline_builder.Panel
    | barchart_builder.Panel
    | xychart_builder.Panel
)
P = TypeVar(
    "P",
    stat_builder.Panel,
    timeseries_builder.Panel,
    bargauge_builder.Panel,
    table_builder.Panel,
    statetimeline_builder.Panel,
    barchart_builder.Panel,
    xychart_builder.Panel,
)
Properties = dict[str, Any]
"""Field options by id, such as ``{"unit": "s", "custom.width": 90}``."""


class PanelSpec(NamedTuple):
    """What every panel must state."""

    id: int
    """Stable: links, alerts and embedded panels name it."""
    title: str
    description: str
    unit: str
    no_value: str
    """Shown in an empty panel: why it is empty."""
    width: int
    """Of 24 columns."""
    height: int


@dataclasses.dataclass(frozen=True)
class Query:
    """One query of a panel."""

    expression: Expression
    legend: str = ""
    ref: str = "A"


def _targets(panel: P, queries: Sequence[Query], *, instant: bool, table: bool = False) -> P:
    refs = [query.ref for query in queries]
    if len(set(refs)) != len(refs):
        raise PanelError(f"two queries of one panel have the same refId: {refs}")
    for query in queries:
        target = prometheus.Dataquery().datasource(DATASOURCE).expr(query.expression.text).ref_id(query.ref)
        target = target.legend_format(query.legend or "__auto")
        target = target.instant() if instant else target.range()
        panel.with_target(target.format(PromQueryFormat.TABLE) if table else target)
    return panel


def _apply_spec(panel: P, spec: PanelSpec, decimals: int | None, colour_of: str | None) -> P:
    panel.id(spec.id).title(spec.title).description(spec.description).datasource(DATASOURCE)
    panel.span(spec.width).height(spec.height).unit(spec.unit).no_value(spec.no_value)
    if decimals is not None:
        panel.decimals(decimals)
    if colour_of is not None:
        panel.color_scheme(fixed_colour(colour_of))
    return panel


def _overrides(panel: P, overrides: Mapping[str, Properties] | None) -> P:
    for name, properties in (overrides or {}).items():
        panel.override_by_name(name, _config_values(properties))
    return panel


def _config_values(properties: Properties) -> list[dashboard.DynamicConfigValue]:
    return [dashboard.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()]


def fixed_colour(meaning: str) -> dashboard_builder.FieldColor:
    """Build the fixed colour of a meaning for a whole panel."""
    return dashboard_builder.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(colour(meaning))


def colour_series(meaning: str) -> Properties:
    """Build the override that gives one series the colour of a meaning."""
    return {"color": {"mode": "fixed", "fixedColor": colour(meaning)}}


def colour_positive(meaning: str) -> Properties:
    """Build the override that gives one series the colour of a meaning where it is above 0."""
    return {"thresholds": threshold_steps((None, "success"), (1e-9, meaning)), "color": {"mode": "thresholds"}}


def style_series(*words: str) -> dict[str, Properties]:
    """Build the overrides that give each series the colour, mark and label of the meaning it is named after."""
    return {word: colour_series(word) | {"displayName": label(word)} for word in words}


def threshold_steps(*steps: tuple[float | None, str]) -> Properties:
    """Build the thresholds of one series or column, with steps as for `thresholds`."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour(meaning)} for value, meaning in steps]}


def colour_cell(*steps: tuple[float | None, str]) -> Properties:
    """Build the options of a column whose text is coloured by value, with steps as for `thresholds`."""
    return {
        "thresholds": threshold_steps(*steps),
        "color": {"mode": "thresholds"},
        "custom.cellOptions": {"type": "color-text"},
    }


def thresholds(*steps: tuple[float | None, str]) -> dashboard_builder.ThresholdsConfig:
    """Build thresholds that colour by value: ``(None, meaning)`` first, then ``(from this value on, meaning)``."""
    levels = [dashboard.Threshold(value=value, color=colour(meaning)) for value, meaning in steps]
    return dashboard_builder.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(levels)


def map_states(words: Sequence[str]) -> list[dashboard.ValueMapping]:
    """Map 1, 2, … to the words with their marks and colours, for a state given as a number."""
    return map_words({word: word for word in words})


def map_words(meanings: Mapping[str, str]) -> list[dashboard.ValueMapping]:
    """Map 1, 2, … to words with the colours and marks of other meanings."""
    options = {
        str(number): dashboard.ValueMappingResult(
            text=f"{mark(meaning)} {word.replace('_', ' ')}".strip(), color=colour(meaning), index=number - 1
        )
        for number, (word, meaning) in enumerate(meanings.items(), 1)
    }
    return [dashboard.ValueMap(options=options)]


def map_below(limit: float, text: str) -> list[dashboard.ValueMapping]:
    """Map every number from 0 to ``limit`` to the text."""
    result = dashboard.ValueMappingResult(text=text)
    return [dashboard.RangeMap(options=dashboard.DashboardRangeMapOptions(from_val=0, to=limit, result=result))]


def style_mapped(mappings: list[dashboard.ValueMapping]) -> Properties:
    """Build the options of a column or series whose numbers stand for words."""
    return {"mappings": mappings, "custom.align": "left"}


RATIO_CELL: Properties = {
    "unit": RATIO,
    "decimals": 0,
    "min": 0,
    "max": 1,
    "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
}
"""A cell with a ratio as a bar, and the number in the text colour beside it: readable in both themes."""


RUNBOOK = "${exporter}/runbooks#${__value.text:percentencode}"
"""The section of the runbooks for the alert whose name the clicked cell holds."""
AT_LEAST: Properties = {"unit": "currency:≥ $"}
"""A cost of which a part is not known."""

HIDDEN: Properties = {"custom.hideFrom": {"viz": True, "legend": True, "tooltip": True}}
"""A hidden column that links read."""


def build_link(title: str, url: str, *, new_tab: bool = False) -> dict[str, object]:
    """Build a data link for a field option."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def stat(
    spec: PanelSpec,
    queries: Sequence[Query],
    *,
    decimals: int | None = None,
    colour_of: str | None = "neutral",
    steps: dashboard_builder.ThresholdsConfig | None = None,
    text: Literal["value", "name", "value_and_name"] = "value",
    listed: bool = False,
    size: int | None = None,
    mappings: list[dashboard.ValueMapping] | None = None,
    overrides: Mapping[str, Properties] | None = None,
) -> stat_builder.Panel:
    """Big numbers, side by side, or below each other where ``listed``.

    ``steps`` colour them by value and then replace ``colour_of``; ``size`` is the height of a number in pixels.
    """
    panel = _apply_spec(stat_builder.Panel(), spec, decimals, None if steps else colour_of)
    panel.reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.VALUE)
    panel.justify_mode(common.BigValueJustifyMode.CENTER).text_mode(common.BigValueTextMode(text))
    side_by_side = common.VizOrientation.HORIZONTAL if listed else common.VizOrientation.VERTICAL
    panel.orientation(side_by_side if len(queries) > 1 else common.VizOrientation.AUTO)
    panel.wide_layout(False)
    sizes = common_builder.VizTextDisplayOptions().value_size(size or _number_size(len(queries), spec.width, text))
    panel.text(sizes.title_size(13))
    if mappings:
        panel.mappings(mappings)
    if steps:
        panel.thresholds(steps)
        panel.color_scheme(dashboard_builder.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    return _overrides(_targets(panel, queries, instant=True), overrides)


def _number_size(count: int, width: int, text: str) -> int:
    """Height of a number in pixels that fits beside the others where a dashboard is 1000 pixels wide."""
    if count * 2.5 > width or width <= 3:
        return 18
    return 24 if count > 1 or text == "name" else 28


def timeseries(
    spec: PanelSpec,
    queries: Sequence[Query],
    *,
    decimals: int | None = None,
    minimum: float | None = 0,
    maximum: float | None = None,
    stacked: bool = False,
    colour_of: str | None = None,
    legend_right: bool = False,
    overrides: Mapping[str, Properties] | None = None,
) -> timeseries_builder.Panel:
    """Lines over time; ``stacked`` fills them on top of each other."""
    panel = _apply_spec(timeseries_builder.Panel(), spec, decimals, colour_of)
    panel.line_width(1 if stacked else 2).fill_opacity(70 if stacked else 0)
    panel.show_points(common.VisibilityMode.NEVER).line_interpolation(common.LineInterpolation.LINEAR)
    panel.tooltip(
        common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    panel.legend(_legend(legend_right))
    if stacked:
        panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if minimum is not None:
        panel.min(minimum)
    if maximum is not None:
        panel.max(maximum)
    return _overrides(_targets(panel, queries, instant=False), overrides)


def _legend(right: bool = False) -> common_builder.VizLegendOptions:
    place = common.LegendPlacement.RIGHT if right else common.LegendPlacement.BOTTOM
    options = common_builder.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    return options.placement(place).show_legend(True).calcs([])


def bar_gauge(
    spec: PanelSpec,
    queries: Sequence[Query],
    *,
    decimals: int | None = None,
    maximum: float | None = None,
    colour_of: str | None = "neutral",
    links: Sequence[dict[str, object]] = (),
    overrides: Mapping[str, Properties] | None = None,
) -> bargauge_builder.Panel:
    """A bar for each series, with its value, in the order of the query."""
    panel = _apply_spec(bargauge_builder.Panel(), spec, decimals, colour_of)
    panel.reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.orientation(common.VizOrientation.HORIZONTAL).display_mode(common.BarGaugeDisplayMode.BASIC)
    panel.value_mode(common.BarGaugeValueMode.TEXT).name_placement(common.BarGaugeNamePlacement.LEFT)
    # Grafana drops the name of a lone series, unless it is given one
    panel.display_name("${__series.name}")
    panel.show_unfilled(True).sizing(common.BarGaugeSizing.MANUAL).min_viz_height(16).max_viz_height(26).min(0)
    # Grafana measures the names at 12 pixels, however they are drawn: larger ones lose their ends
    panel.text(common_builder.VizTextDisplayOptions().title_size(12).value_size(14))
    if maximum is not None:
        panel.max(maximum)
    _targets(panel, queries, instant=True)
    if links:
        panel.override_by_regexp(".*", _config_values({"links": list(links)}))
    return _overrides(panel, overrides)


def bar_chart(
    spec: PanelSpec,
    queries: Sequence[Query],
    *,
    by: str,
    transformations: Sequence[dashboard.DataTransformerConfig] = (),
    decimals: int | None = None,
    overrides: Mapping[str, Properties] | None = None,
) -> barchart_builder.Panel:
    """Stacked horizontal bars, one for each value of the field ``by``."""
    panel = _apply_spec(barchart_builder.Panel(), spec, decimals, None)
    panel.x_field(by).orientation(common.VizOrientation.HORIZONTAL).stacking(common.StackingMode.NORMAL)
    panel.show_value(common.VisibilityMode.AUTO).bar_width(0.8).group_width(0.8).fill_opacity(80).line_width(0)
    panel.legend(_legend())
    _targets(panel, queries, instant=True, table=True)
    panel.transformations(list(transformations))
    return _overrides(panel, overrides)


def state_timeline(
    spec: PanelSpec, queries: Sequence[Query], *, states: list[dashboard.ValueMapping], merge: bool = True
) -> statetimeline_builder.Panel:
    """A row for each series, coloured by the state that its number stands for."""
    panel = _apply_spec(statetimeline_builder.Panel(), spec, None, None)
    panel.mappings(states).merge_values(merge).show_value(common.VisibilityMode.AUTO).row_height(0.85)
    panel.line_width(0).fill_opacity(85).align_value(common.TimelineValueAlignment.LEFT)
    panel.color_scheme(dashboard_builder.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    panel.thresholds(thresholds((None, "unknown")))
    panel.legend(_legend())
    return _targets(panel, queries, instant=False)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table: a label of its first query, or the value of a query of its own."""

    title: str
    source: Query | str
    """The label's name, or the query; its ``ref`` names the field."""
    options: Properties = dataclasses.field(default_factory=dict)


def table(
    spec: PanelSpec,
    key: str,
    columns: Sequence[Column],
    *,
    rows: Expression,
    sort: tuple[str, bool] | None = None,
    more: Sequence[dashboard.DataTransformerConfig] = (),
) -> table_builder.Panel:
    """A row for each series of ``rows``, whose label ``key`` the columns' queries share.

    ``sort`` is a column's title and whether the largest comes first. ``more`` transformations come last.
    """
    panel = _apply_spec(table_builder.Panel(), spec, None, "neutral")
    # a join brings every row of every query, so each is restricted to the rows asked for
    values = [c.source for c in columns if isinstance(c.source, Query)]
    restricted = [dataclasses.replace(query, expression=query.expression.where(rows, on=(key,))) for query in values]
    queries = [Query(rows, ref="rows"), *restricted]
    _targets(panel, queries, instant=True, table=True)
    titles = {c.source if isinstance(c.source, str) else f"Value #{c.source.ref}": c.title for c in columns}
    hidden = ["Time", *(f"Time {n}" for n in range(1, len(queries) + 1)), "Value", "Value #rows"]
    hidden += sorted((rows.labels or frozenset()) - set(titles))
    shown = dashboard.DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {name: place for place, name in enumerate(titles)},
            "renameByName": titles,
        },
    )
    joined = dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": key, "mode": "outer"})
    panel.transformations([joined, shown, *more])
    panel.cell_height(common.TableCellHeight.SM)
    if sort:
        panel.sort_by([common_builder.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    panel.override_by_regexp(".*", _config_values({"noValue": "–"}))
    return _overrides(panel, {column.title: column.options for column in columns if column.options})


def matrix(
    spec: PanelSpec,
    queries: Sequence[Query],
    transformations: Sequence[dashboard.DataTransformerConfig],
    *,
    names: int,
    sort: str | None = None,
) -> table_builder.Panel:
    """A table of ratios whose columns come from the data; ``names`` pixels are for the rows' names.

    ``sort`` is the title of the column whose order the rows have.
    """
    panel = _apply_spec(table_builder.Panel(), spec, 0, "success").min(0).max(1)
    panel.cell_height(common.TableCellHeight.SM)
    _targets(panel, queries, instant=True, table=True)
    panel.override_by_field_type(
        "number", _config_values(RATIO_CELL | {"noValue": "–", "custom.minWidth": 95, "custom.wrapHeaderText": True})
    )
    panel.override_by_field_type("string", _config_values({"custom.width": names}))
    if sort:
        panel.sort_by([common_builder.TableSortByFieldState().display_name(sort).desc(False)])
    return panel.transformations(list(transformations))


def scatter(
    spec: PanelSpec,
    queries: Sequence[Query],
    transformations: Sequence[dashboard.DataTransformerConfig],
    *,
    overrides: Mapping[str, Properties] | None = None,
) -> xychart_builder.Panel:
    """Points: the first number of each frame to the right, the second one upwards."""
    panel = _apply_spec(xychart_builder.Panel(), spec, None, None)
    panel.point_size(xychart_builder.XychartFieldConfigPointSize().fixed(12))
    panel.legend(_legend(right=True))
    panel.tooltip(common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
    _targets(panel, queries, instant=True, table=True)
    panel.transformations(list(transformations))
    return _overrides(panel, overrides)


def trend(
    spec: PanelSpec,
    queries: Sequence[Query],
    transformations: Sequence[dashboard.DataTransformerConfig],
    *,
    decimals: int | None = None,
    maximum: float | None = None,
    days: int = 90,
) -> timeseries_builder.Panel:
    """Points over a time that the data brings with it, not the time of the scrape."""
    panel = _apply_spec(timeseries_builder.Panel(), spec, decimals, None).min(0).time_from(f"{days}d")
    panel.draw_style(common.GraphDrawStyle.POINTS).point_size(9).show_points(common.VisibilityMode.ALWAYS)
    panel.legend(_legend())
    if maximum is not None:
        panel.max(maximum)
    _targets(panel, queries, instant=True, table=True)
    return panel.transformations(list(transformations))
