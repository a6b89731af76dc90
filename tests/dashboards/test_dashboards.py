"""Dashboards: the rules of grafana/dashboard-linter checked again here, and what they do not know of."""

from __future__ import annotations

import itertools
import json
import re

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import alerts, panel_links
from evalgauge_dashboards.dashboard import TITLES
from evalgauge_dashboards.promql import PROMETHEUS_OWN
from tests.dashboards.reading import Json, fill_variables, load_dashboards, metrics_of, nodes, panels, targets

VALUES = {"run": "some.run", "benchmark": "waa", "model": "m"}
EVERY_DASHBOARD = pytest.mark.parametrize("dashboard", load_dashboards(), ids=lambda dashboard: str(dashboard["uid"]))
EVERY_QUERY = pytest.mark.parametrize(
    ("panel", "target"),
    [
        pytest.param(panel, target, id=f"{dashboard['uid']}-{panel['id']}-{target['refId']}")
        for dashboard, panel, target in targets()
    ],
)


@EVERY_DASHBOARD
def test_a_dashboard_chooses_its_data_source_and_reloads_its_variables(dashboard: Json) -> None:
    variables = dashboard["templating"]["list"]
    assert [(v["name"], v["label"]) for v in variables if v["type"] == "datasource"] == [("datasource", "Data source")]
    queries = [v for v in variables if v["type"] == "query"]
    runs = set() if dashboard["uid"] == "evalgauge-overview" else {"run"}
    assert {v["name"] for v in queries} == {"benchmark", "model"} | runs
    assert [v["refresh"] for v in queries] == [2] * len(queries)
    # Grafana finds the function of a variable's query by patterns that end at a line's end
    assert not any("\n" in v["query"]["query"] for v in queries)
    assert not dashboard["editable"]
    assert dashboard["uid"] in TITLES


@EVERY_DASHBOARD
def test_every_panel_says_what_it_shows_in_what_unit_and_why_it_is_empty(dashboard: Json) -> None:
    for panel in panels(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert panel["description"]
        assert defaults["unit"]
        assert defaults["noValue"] not in ("", "No data")
        assert panel["datasource"]["uid"] == "$datasource"
        assert panel["targets"]


@EVERY_DASHBOARD
def test_ids_of_panels_and_rows_are_unique(dashboard: Json) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(ids)


@EVERY_DASHBOARD
def test_panels_fill_24_columns_and_do_not_overlap(dashboard: Json) -> None:
    cells = [
        (x, y)
        for panel in panels(dashboard)
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels overlap"
    headings = {panel["gridPos"]["y"] for panel in dashboard["panels"] if panel["type"] == "row"}
    for y, row in itertools.groupby(sorted(cells, key=lambda cell: cell[1]), key=lambda cell: cell[1]):
        assert sorted(x for x, _ in row) == list(range(24)), f"line {y} has a gap"
    assert not headings & {y for _, y in cells}


@EVERY_QUERY
def test_a_query_is_promql_over_the_catalogue(panel: Json, target: Json) -> None:
    # a native histogram has the name of the metric itself
    known = {name for metric in (*m.CATALOGUE, *PROMETHEUS_OWN) for name in (*metric.series, metric.name)}
    used = metrics_of(fill_variables(target["expr"], VALUES))
    assert used
    assert used <= known


@EVERY_QUERY
def test_a_counter_over_time_is_a_rate_and_a_rate_has_grafanas_window(panel: Json, target: Json) -> None:
    for _, window in re.findall(r"\b(i?rate)\([^\[]*\[([^\]]+)\]", target["expr"]):
        assert window == "$__rate_interval"
    tree = promql_parser.parse(fill_variables(target["expr"], VALUES))
    for node, parents in nodes(tree):
        if isinstance(node, promql_parser.VectorSelector) and str(node.name).endswith("_total"):
            functions = [parent.func.name for parent in parents if isinstance(parent, promql_parser.Call)]
            # a total is read raw where one number is asked for, never over time
            assert target.get("instant") or {"rate", "increase"} & set(functions)


@EVERY_QUERY
def test_a_legend_names_labels_that_the_query_keeps(panel: Json, target: Json) -> None:
    labels = {name for metric in (*m.CATALOGUE, *PROMETHEUS_OWN) for name in metric.labels} | {"total"}
    named = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
    assert named <= labels
    assert all(re.search(rf"\b{name}\b", target["expr"]) for name in named)


def test_every_metric_of_the_catalogue_is_used_by_a_dashboard_or_an_alert() -> None:
    used = {name for _, _, target in targets() for name in metrics_of(fill_variables(target["expr"], VALUES))}
    used |= {name for alert in alerts.list_alerts() for name in metrics_of(alert.expression.text)}
    assert {metric.name for metric in m.CATALOGUE if not used & set(metric.series)} == set()


@EVERY_DASHBOARD
def test_every_variable_that_is_named_is_there(dashboard: Json) -> None:
    here = {variable["name"] for variable in dashboard["templating"]["list"]}
    builtin = {"__rate_interval", "__range", "__url_time_range", "__value", "__series", "__data"}
    text = json.dumps([dashboard["panels"], dashboard["annotations"], dashboard["templating"], dashboard["links"]])
    named = {a or b for a, b in re.findall(r"\$(?:\{([a-z_]\w*)[^}]*\}|([a-z_]\w*))", text)}
    assert named <= here | builtin


@EVERY_DASHBOARD
def test_links_lead_to_dashboards_that_are_there_or_to_the_exporter(dashboard: Json) -> None:
    text = json.dumps(dashboard)
    urls = re.findall(r'"url": "([^"]+)"', text)
    assert len(urls) >= 3
    for url in urls:
        match = re.match(r"/d/([\w-]+)", url)
        assert match[1] in TITLES if match else url.startswith("${exporter}/"), url
    others = {link["title"] for link in dashboard["links"]}
    assert others == {name for uid, name in TITLES.items() if uid != dashboard["uid"]} | {"Live page"}


@EVERY_QUERY
def test_a_query_of_the_selected_runs_keeps_to_the_selected_benchmarks_and_models(panel: Json, target: Json) -> None:
    # with All runs selected, their variable matches every run there is
    if 'run_id=~"$run"' in target["expr"]:
        assert 'benchmark=~"$benchmark"' in target["expr"]
        assert 'model=~"$model"' in target["expr"]


@EVERY_QUERY
def test_a_query_of_machines_tells_two_of_one_name_apart(panel: Json, target: Json) -> None:
    if "agent_eval_vm_" in target["expr"]:
        for group in re.findall(r"by \(([^)]*\bvm\b[^)]*)\)", target["expr"]):
            assert "resource_group" in group


def test_a_run_of_the_past_can_be_seen_over_the_time_it_ran() -> None:
    for uid, title in (("evalgauge-evaluation", "Recent runs"), ("evalgauge-comparison", "Selected runs")):
        (dashboard,) = [dashboard for dashboard in load_dashboards() if dashboard["uid"] == uid]
        (table,) = [panel for panel in panels(dashboard) if panel["title"] == title]
        options = {
            o["matcher"]["options"]: {v["id"]: v["value"] for v in o["properties"]}
            for o in table["fieldConfig"]["overrides"]
        }
        (url,) = [link["url"] for link in options["Run"]["links"] if "over the time" in link["title"]]
        columns = re.findall(r"\$\{__data\.fields\.(\w+)\.numeric\}", url)
        assert columns == ["from", "to"]
        assert all(options[column]["custom.hideFrom"]["viz"] for column in columns)


def test_a_model_has_one_colour_in_every_trend() -> None:
    # a series has the colour of its place, so every trend has to have the same series in the same order
    (dashboard,) = [dashboard for dashboard in load_dashboards() if dashboard["uid"] == "evalgauge-comparison"]
    trends = [panel for panel in panels(dashboard) if "by start time" in panel["title"]]
    assert len(trends) == 2
    assert len({panel["targets"][0]["expr"] for panel in trends}) == 1
    for panel in trends:
        assert panel["transformations"][0] == {
            "id": "joinByField",
            "options": {"byField": "run_id", "mode": "outer"},
        }


@EVERY_DASHBOARD
def test_no_axis_of_ratios_is_cut_to_nothing_but_0_and_100_percent(dashboard: Json) -> None:
    # Grafana allows no ticks closer than the decimals of the number that stands behind the percentage
    for panel in panels(dashboard):
        if panel["type"] == "timeseries" and panel["fieldConfig"]["defaults"]["unit"] == "percentunit":
            assert "decimals" not in panel["fieldConfig"]["defaults"]


@EVERY_DASHBOARD
def test_the_heights_of_bars_are_those_that_are_asked_for(dashboard: Json) -> None:
    assert all(panel["options"]["sizing"] == "manual" for panel in panels(dashboard) if panel["type"] == "bargauge")


def test_tables_of_runs_lead_to_the_replay() -> None:
    tables = [
        panel
        for dashboard in load_dashboards()
        for panel in panels(dashboard)
        if panel["type"] == "table" and "${exporter}/replay/${__value.text:percentencode}/" in json.dumps(panel)
    ]
    assert len(tables) >= 3


@EVERY_DASHBOARD
def test_runs_mark_their_start_and_end(dashboard: Json) -> None:
    marks = {mark["name"]: mark for mark in dashboard["annotations"]["list"]}
    assert set(marks) == {"Run started", "Run finished"}
    for mark in marks.values():
        assert mark["useValueForTime"]
        promql_parser.parse(fill_variables(mark["expr"], VALUES))


@EVERY_DASHBOARD
def test_a_dashboard_reads_back_as_what_it_was(dashboard: Json) -> None:
    register_default_plugins()
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    assert again == dashboard


@pytest.mark.parametrize("alert", alerts.list_alerts(), ids=lambda alert: str(alert.name))
def test_an_alert_leads_to_a_panel_that_is_there(alert: alerts.Alert) -> None:
    uid, panel = alert.panel
    (dashboard,) = [dashboard for dashboard in load_dashboards() if dashboard["uid"] == uid]
    assert panel in [p["id"] for p in panels(dashboard)]


def test_the_link_to_one_panel_holds_run_and_range() -> None:
    link = panel_links.panel_path(
        "evalgauge-evaluation", 14, run="study.run 1@old", start="1700000000000", end="1700003600000"
    )
    assert link == (
        "/d-solo/evalgauge-evaluation/evaluation?orgId=1&panelId=14&var-run=study.run%201%40old"
        "&from=1700000000000&to=1700003600000"
    )


def test_the_page_of_panels_lists_every_panel() -> None:
    text = panel_links.render_markdown()
    for dashboard in load_dashboards():
        for panel in panels(dashboard):
            assert f"| {panel['title']} |" in text
            assert f"/d-solo/{dashboard['uid']}/" in text
            assert f"panelId={panel['id']}&" in text


def test_a_comparison_keeps_to_one_benchmark_and_takes_no_run_with_it() -> None:
    for dashboard in load_dashboards():
        comparison = dashboard["uid"] == "evalgauge-comparison"
        (benchmark,) = [v for v in dashboard["templating"]["list"] if v["name"] == "benchmark"]
        assert benchmark.get("multi", False) is not comparison
        assert benchmark.get("includeAll", False) is not comparison
        for link in dashboard["links"]:
            if comparison or link["title"] == "Comparison":
                assert not link["includeVars"]


@EVERY_DASHBOARD
def test_no_column_cuts_a_time_that_was_long_ago(dashboard: Json) -> None:
    # "10 months ago" is 13 letters wide
    for panel in panels(dashboard):
        for override in panel["fieldConfig"]["overrides"]:
            options = {option["id"]: option["value"] for option in override["properties"]}
            if options.get("unit") == "dateTimeFromNow":
                assert options["custom.width"] >= 140


@EVERY_DASHBOARD
def test_sums_of_a_query_count_what_two_exporters_expose_once(dashboard: Json) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for inner in re.findall(r"sum(?: by \([^)]*\))? ?\((\w+)", target["expr"]):
                # a quantile does not change where every native histogram is there twice
                native = {metric.name for metric in m.CATALOGUE if metric.kind == "histogram"}
                assert inner in native or not inner.startswith("agent_eval_"), f"{panel['title']}: {inner}"
