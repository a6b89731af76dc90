"""Every query of every panel and alert, asked of a real Prometheus that scrapes the real exporter."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest

from evalgauge_dashboards import alerts, verdicts
from tests.dashboards.live_stack import BUDGET, DONE, HOURLY, SOLVED, TASKS, LiveStack, run_live_stack
from tests.dashboards.reading import (
    GENERATED,
    Json,
    fill_variables,
    load_dashboards,
    metrics_of,
    select_variables,
    targets,
)
from tests.parts import prometheus

EXPECTED_EMPTY = {
    ("evalgauge-comparison", 14, "A"): "needs two runs of a model with measured tasks on a benchmark",
}
"""Queries whose metrics are there and which answer with nothing all the same."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with run_live_stack(
        tmp_path_factory.mktemp("stack"), prometheus(), GENERATED / "prometheus" / "rules.yml"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def exposed(live: LiveStack) -> set[str]:
    """The names of the series that Prometheus has."""
    found = live.query('group by (__name__) ({__name__=~".+"})')
    return {series["metric"]["__name__"] for series in found}


@pytest.mark.parametrize("dashboard", load_dashboards(), ids=lambda dashboard: str(dashboard["uid"]))
def test_every_query_of_a_dashboard_answers_and_has_data(dashboard: Json, live: LiveStack, exposed: set[str]) -> None:
    values = select_variables(live.query, dashboard)
    empty = []
    for of, panel, target in targets():
        if of["uid"] != dashboard["uid"]:
            continue
        expression = fill_variables(target["expr"], values)
        found = live.query(expression, seconds=0 if target.get("instant") else 30)
        if not found and metrics_of(expression) <= exposed:
            empty.append((dashboard["uid"], panel["id"], target["refId"]))
    assert [query for query in empty if query not in EXPECTED_EMPTY] == []


@pytest.mark.parametrize("dashboard", load_dashboards(), ids=lambda dashboard: str(dashboard["uid"]))
def test_the_marks_of_a_dashboard_are_the_starts_of_its_runs(dashboard: Json, live: LiveStack) -> None:
    values = select_variables(live.query, dashboard)
    (started,) = [mark for mark in dashboard["annotations"]["list"] if mark["name"] == "Run started"]
    found = {s["metric"]["run_id"]: float(s["value"][1]) for s in live.query(fill_variables(started["expr"], values))}
    assert "new" in found
    assert found["new"] == live.query_scalar('max(agent_eval_run_start_timestamp_seconds{run_id="new"}) * 1000')


@pytest.mark.parametrize("alert", alerts.list_alerts(), ids=lambda alert: str(alert.name))
def test_every_alert_is_evaluated_without_error(alert: alerts.Alert, live: LiveStack) -> None:
    live.query(alert.expression.text)


def test_prometheus_has_every_rule_loaded_and_healthy(live: LiveStack) -> None:
    with urllib.request.urlopen(f"{live.prometheus}/api/v1/rules") as answer:
        text = answer.read().decode()
    assert re.findall(r'"name":"(Eval\w+)"', text) == [alert.name for alert in alerts.list_alerts()]
    assert '"health":"err"' not in text


def read_panel(live: LiveStack, uid: str, panel: int, ref: str = "A") -> float:
    """The number that a panel shows first when its dashboard is opened."""
    for dashboard, of, target in targets():
        if (dashboard["uid"], of["id"], target["refId"]) == (uid, panel, ref):
            return live.query_scalar(fill_variables(target["expr"], select_variables(live.query, dashboard)))
    raise LookupError(f"{uid} has no panel {panel} with a query {ref}")


def test_the_run_that_is_running_is_the_one_that_is_shown_first(live: LiveStack) -> None:
    by_name = {dashboard["uid"]: select_variables(live.query, dashboard) for dashboard in load_dashboards()}
    assert by_name["evalgauge-evaluation"]["run"] == "new"
    assert by_name["evalgauge-comparison"]["run"] == ".+"


def test_the_evaluation_dashboard_shows_what_happened(live: LiveStack) -> None:
    dashboard = "evalgauge-evaluation"
    assert [read_panel(live, dashboard, 2, ref) for ref in "ABCD"] == [DONE, 1, len(TASKS), 0]
    assert read_panel(live, dashboard, 4, "A") == pytest.approx(len(SOLVED) / DONE)
    (run,) = [run for run in live.api("/api/benchmark/runs")["runs"] if run["run_id"] == "new"]
    for ref, key in (("E", "success_rate_estimate"), ("B", "success_rate_low"), ("C", "success_rate_high")):
        assert read_panel(live, dashboard, 4, ref) == pytest.approx(run[key])
    # two calls an attempt at 3, 0.3 and 15 dollars for a million fresh, cached and written tokens
    calls = DONE * 2 * (1000 * 3 + 5000 * 0.3 + 100 * 15) / 1e6
    assert live.query_scalar('agent_eval_run_cost_usd{run_id="new",component="llm"}') == pytest.approx(calls)
    # the machine's share grows by a cent in 48 seconds
    cost = read_panel(live, dashboard, 7)
    assert calls < cost < calls + 0.05
    said = live.api("/api/benchmark/costs?run_id=new")["projected_total_usd"]
    assert read_panel(live, dashboard, 8) == pytest.approx(said, rel=0.02)
    assert read_panel(live, dashboard, 9) == pytest.approx(cost / BUDGET, rel=0.01)
    assert read_panel(live, dashboard, 10) == pytest.approx(cost / len(SOLVED), rel=0.01)
    assert read_panel(live, dashboard, 12, "A") == read_panel(live, dashboard, 12, "B") == 0
    assert read_panel(live, dashboard, 24, "C") == pytest.approx((DONE * 2 + 2) / DONE)
    assert read_panel(live, dashboard, 24, "D") == pytest.approx(len(SOLVED) / DONE)
    assert read_panel(live, dashboard, 13) >= 1, "it has exceeded its budget"


def test_the_comparison_dashboard_agrees_with_the_comparison_of_the_api(live: LiveStack) -> None:
    found = live.api("/api/benchmark/compare?runs=base,new")["comparison"]
    dashboard = "evalgauge-comparison"
    # the API's difference is the baseline's minus the run's, the dashboard's the other way round
    # of a running run: what is expected of its end, where open tasks are taken into account
    assert read_panel(live, dashboard, 20, "estimate") == pytest.approx(-found["significance"]["estimate"])
    assert found["significance"]["verdict"] == "worse"
    assert read_panel(live, dashboard, 4) == 1
    assert read_panel(live, dashboard, 20, "verdict") == verdicts.WORSE
    assert read_panel(live, dashboard, 3) == read_panel(live, dashboard, 5) == 0


@pytest.mark.parametrize("uid", ["evalgauge-comparison", "evalgauge-fleet"])
def test_no_run_of_another_model_is_shown_once_a_model_is_selected(uid: str, live: LiveStack) -> None:
    values = {"run": ".+", "benchmark": ".*", "model": "a model that has no run"}
    shown_all_the_same = [
        (panel["title"], target["refId"])
        for dashboard, panel, target in targets()
        if dashboard["uid"] == uid and 'run_id=~"$run"' in target["expr"]
        if live.query(fill_variables(target["expr"], values), seconds=0 if target.get("instant") else 30)
    ]
    assert shown_all_the_same == []


def test_dashboards_and_api_agree_on_rates_of_a_run(live: LiveStack) -> None:
    runs = {run["run_id"]: run for run in live.api("/api/benchmark/runs")["runs"]}
    assert read_panel(live, "evalgauge-evaluation", 4) == pytest.approx(runs["new"]["success_rate"])
    assert read_panel(live, "evalgauge-evaluation", 4, "D") == pytest.approx(runs["new"]["success_rate_all"])


def test_the_alerts_of_a_run_are_0_only_where_prometheus_evaluates_them(live: LiveStack) -> None:
    assert live.query_scalar("evalgauge:alert_rules:count") == len(alerts.list_alerts())
    (panel,) = [t for dashboard, p, t in targets() if (dashboard["uid"], p["id"]) == ("evalgauge-evaluation", 13)]
    assert live.query_scalar(fill_variables(panel["expr"], {"run": "base"})) == 0
    unloaded = panel["expr"].replace("evalgauge:alert_rules:count", "evalgauge:not_loaded")
    assert live.query(fill_variables(unloaded, {"run": "base"})) == []


def test_the_fleet_dashboard_counts_the_workers(live: LiveStack) -> None:
    assert [read_panel(live, "evalgauge-fleet", 1, ref) for ref in "ABC"] == [1, 0, 0]


def test_the_fleet_dashboard_counts_the_machines_and_the_waste(live: LiveStack) -> None:
    assert read_panel(live, "evalgauge-fleet", 5) == 2, "the third is deallocated"
    assert read_panel(live, "evalgauge-fleet", 5, "B") == 1, "one is unused"
    assert read_panel(live, "evalgauge-fleet", 5, "C") == 0
    assert read_panel(live, "evalgauge-fleet", 6) == pytest.approx(2 * HOURLY)
    assert read_panel(live, "evalgauge-fleet", 6, "B") == pytest.approx(HOURLY)
