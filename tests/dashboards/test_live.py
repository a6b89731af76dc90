"""Every query of every panel and alert, asked of a real Prometheus that scrapes the real exporter."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest
from scipy import stats

from evalgauge_dashboards import alerts, comparison
from tests.dashboards.live_stack import BUDGET, DONE, HOURLY, SOLVED, TASKS, Stand, stand
from tests.dashboards.reading import GENERATED, Json, boards, filled, metrics_of, targets
from tests.parts import prometheus

RIGHTLY_EMPTY = {
    ("evalgauge-comparison", 14, "A"): "needs two runs of a model with measured tasks on a benchmark",
}
"""Queries whose metrics are there and which answer with nothing all the same."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("stand"), prometheus(), GENERATED / "prometheus" / "rules.yml") as running:
        yield running


@pytest.fixture(scope="module")
def exposed(live: Stand) -> set[str]:
    """The names of the series that Prometheus has."""
    found = live.ask('group by (__name__) ({__name__=~".+"})')
    return {series["metric"]["__name__"] for series in found}


def chosen(live: Stand, board: Json) -> dict[str, str]:
    """The board's variables as Grafana would set them when it is opened."""
    values: dict[str, str] = {}
    for variable in board["templating"]["list"]:
        if variable.get("includeAll"):
            values[variable["name"]] = variable["allValue"]
        elif variable["type"] == "query":
            function = re.fullmatch(r"query_result\((.+)\)", variable["query"]["query"])
            assert function
            first = live.ask(filled(function[1], values))[0]["metric"]
            pattern = re.compile(variable["regex"].strip("/"))
            match = pattern.search(",".join(f'{name}="{value}"' for name, value in first.items()))
            assert match
            values[variable["name"]] = match[1]
    return values


@pytest.mark.parametrize("board", boards(), ids=lambda board: str(board["uid"]))
def test_every_query_of_a_board_answers_and_has_data_where_data_is(board: Json, live: Stand, exposed: set[str]) -> None:
    values = chosen(live, board)
    empty = []
    for of, panel, target in targets():
        if of["uid"] != board["uid"]:
            continue
        expression = filled(target["expr"], values)
        found = live.ask(expression, seconds=0 if target.get("instant") else 30)
        if not found and metrics_of(expression) <= exposed:
            empty.append((board["uid"], panel["id"], target["refId"]))
    assert [query for query in empty if query not in RIGHTLY_EMPTY] == []


@pytest.mark.parametrize("board", boards(), ids=lambda board: str(board["uid"]))
def test_the_marks_of_a_board_are_the_starts_of_its_runs(board: Json, live: Stand) -> None:
    values = chosen(live, board)
    (started,) = [mark for mark in board["annotations"]["list"] if mark["name"] == "Run started"]
    found = {s["metric"]["run_id"]: float(s["value"][1]) for s in live.ask(filled(started["expr"], values))}
    assert "new" in found
    assert found["new"] == live.number('max(agent_eval_run_start_timestamp_seconds{run_id="new"}) * 1000')


@pytest.mark.parametrize("alert", alerts.table(), ids=lambda alert: str(alert.name))
def test_every_alert_is_judged_without_error(alert: alerts.Alert, live: Stand) -> None:
    live.ask(alert.expression.text)


def test_prometheus_has_every_rule_loaded_and_healthy(live: Stand) -> None:
    with urllib.request.urlopen(f"{live.prometheus}/api/v1/rules") as answer:
        text = answer.read().decode()
    assert re.findall(r'"name":"(Eval\w+)"', text) == [alert.name for alert in alerts.table()]
    assert '"health":"err"' not in text


def shown(live: Stand, uid: str, panel: int, ref: str = "A") -> float:
    """The number that a panel shows first when its board is opened."""
    for board, of, target in targets():
        if (board["uid"], of["id"], target["refId"]) == (uid, panel, ref):
            return live.number(filled(target["expr"], chosen(live, board)))
    raise LookupError(f"{uid} has no panel {panel} with a query {ref}")


def test_the_run_that_goes_on_is_the_one_that_is_shown_first(live: Stand) -> None:
    by_name = {board["uid"]: chosen(live, board) for board in boards()}
    assert by_name["evalgauge-evaluation"]["run"] == "new"
    assert by_name["evalgauge-comparison"]["run"] == ".+"


def test_the_evaluation_board_shows_what_really_happened(live: Stand) -> None:
    board = "evalgauge-evaluation"
    assert [shown(live, board, 2, ref) for ref in "ABC"] == [DONE, 1, len(TASKS) - DONE - 1]
    interval = stats.binomtest(len(SOLVED), DONE).proportion_ci(method="wilson")
    assert shown(live, board, 4, "A") == pytest.approx(len(SOLVED) / DONE)
    assert shown(live, board, 4, "B") == pytest.approx(interval.low, abs=1e-6)
    assert shown(live, board, 4, "C") == pytest.approx(interval.high, abs=1e-6)
    # two calls an attempt at 3, 0.3 and 15 dollars for a million fresh, cached and written tokens
    calls = DONE * 2 * (1000 * 3 + 5000 * 0.3 + 100 * 15) / 1e6
    assert live.number('agent_eval_run_cost_usd{run_id="new",component="llm"}') == pytest.approx(calls)
    # the machine's share grows by a cent in 48 seconds
    cost = shown(live, board, 7)
    assert calls < cost < calls + 0.05
    said = live.api("/api/benchmark/costs?run_id=new")["projected_total_usd"]
    assert shown(live, board, 8) == pytest.approx(said, rel=0.02)
    assert shown(live, board, 9) == pytest.approx(cost / BUDGET, rel=0.01)
    assert shown(live, board, 10) == pytest.approx(cost / len(SOLVED), rel=0.01)
    assert shown(live, board, 12, "A") == shown(live, board, 12, "B") == 0
    assert shown(live, board, 24, "C") == pytest.approx((DONE * 2 + 2) / DONE)
    assert shown(live, board, 24, "D") == pytest.approx(len(SOLVED) / DONE)
    assert shown(live, board, 13) >= 1, "it is over its budget"


def test_the_comparison_board_says_what_the_exporters_own_comparison_says(live: Stand) -> None:
    found = live.api("/api/benchmark/compare?runs=base,new")["comparison"]
    board = "evalgauge-comparison"
    # the API's difference is the baseline's minus the run's, the board's the other way round
    assert shown(live, board, 20, "estimate") == pytest.approx(-found["delta"]["success_rate"])
    assert found["significance"]["verdict"] == "worse"
    assert shown(live, board, 4) == 1
    assert shown(live, board, 20, "verdict") == comparison.WORSE
    assert shown(live, board, 3) == shown(live, board, 5) == 0


@pytest.mark.parametrize("uid", ["evalgauge-comparison", "evalgauge-fleet"])
def test_once_a_model_is_chosen_no_run_of_another_one_is_shown(uid: str, live: Stand) -> None:
    values = {"run": ".+", "benchmark": ".*", "model": "a model that has no run"}
    shown_all_the_same = [
        (panel["title"], target["refId"])
        for board, panel, target in targets()
        if board["uid"] == uid and 'run_id=~"$run"' in target["expr"]
        if live.ask(filled(target["expr"], values), seconds=0 if target.get("instant") else 30)
    ]
    assert shown_all_the_same == []


def test_boards_and_api_agree_on_rates_of_a_run(live: Stand) -> None:
    runs = {run["run_id"]: run for run in live.api("/api/benchmark/runs")["runs"]}
    assert shown(live, "evalgauge-evaluation", 4) == pytest.approx(runs["new"]["success_rate"])
    assert shown(live, "evalgauge-evaluation", 4, "D") == pytest.approx(runs["new"]["success_rate_all"])


def test_the_alerts_of_a_run_are_0_only_where_prometheus_judges_them(live: Stand) -> None:
    assert live.number("evalgauge:alert_rules:count") == len(alerts.table())
    (panel,) = [t for board, p, t in targets() if (board["uid"], p["id"]) == ("evalgauge-evaluation", 13)]
    assert live.number(filled(panel["expr"], {"run": "base"})) == 0
    unloaded = panel["expr"].replace("evalgauge:alert_rules:count", "evalgauge:not_loaded")
    assert live.ask(filled(unloaded, {"run": "base"})) == []


def test_the_fleet_board_counts_the_workers(live: Stand) -> None:
    assert shown(live, "evalgauge-fleet", 1) == 1
    assert shown(live, "evalgauge-fleet", 2) == shown(live, "evalgauge-fleet", 3) == 0


def test_the_fleet_board_counts_the_machines_and_what_is_wasted(live: Stand) -> None:
    assert shown(live, "evalgauge-fleet", 5) == 2, "the third is deallocated"
    assert shown(live, "evalgauge-fleet", 6) == pytest.approx(2 * HOURLY)
    assert shown(live, "evalgauge-fleet", 7) == pytest.approx(HOURLY)
    assert shown(live, "evalgauge-fleet", 8) == 1, "one is forgotten"
