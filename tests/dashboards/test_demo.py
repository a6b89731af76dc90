"""The demo fills every panel: every query of every dashboard, asked of a real Prometheus that scrapes the demo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboards.live_stack import LiveStack, run_demo_stack, wait_until
from tests.dashboards.reading import GENERATED, Json, fill_variables, load_dashboards, select_variables, targets
from tests.parts import prometheus

Query = tuple[str, str, str]
"""Dashboard, panel and reference of a query."""
INTERRUPTION = "the simulated cloud is Azure; notices that a machine ends come from AWS"
EMPTY: dict[Query, str] = {
    ("Overview", "Billed machines", "ends"): INTERRUPTION,
    ("Fleet", "Machines", "ends"): INTERRUPTION,
}
"""Queries without data in the demo, each with the reason."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with run_demo_stack(tmp_path_factory.mktemp("demo"), prometheus(), GENERATED / "prometheus" / "rules.yml") as stack:
        yield stack


def find_empty(demo: LiveStack, queries: set[Query]) -> set[Query]:
    """Those of the queries that have no data at this moment, whichever run is selected."""
    empty: set[Query] = set()
    runs = [series["metric"]["run_id"] for series in demo.query("group by (run_id) (agent_eval_run_info)")]
    for dashboard in load_dashboards():
        values = select_variables(demo.query, dashboard)
        # the run that is selected at first comes first
        selections = [values] if values.get("run", ".+") == ".+" else [values, *(values | {"run": run} for run in runs)]
        for of, panel, target in targets():
            query = name_query(of, panel, target)
            if of["uid"] != dashboard["uid"] or query not in queries:
                continue
            seconds = 0 if target.get("instant") else 60
            if not any(demo.query(fill_variables(target["expr"], chosen), seconds=seconds) for chosen in selections):
                empty.add(query)
    return empty


def name_query(dashboard: Json, panel: Json, target: Json) -> Query:
    return dashboard["title"].removeprefix("evalgauge / "), panel["title"], target["refId"]


def test_every_query_of_every_dashboard_has_data_in_the_demo(demo: LiveStack) -> None:
    missing = {name_query(*target) for target in targets()}
    assert set(EMPTY) < missing
    missing -= set(EMPTY)

    def nothing_is_missing() -> bool:
        # what had data once stays out: a scrape of a busy machine may fail
        nonlocal missing
        missing = find_empty(demo, missing)
        return not missing

    wait_until(nothing_is_missing, lambda: f"data for {sorted(missing)}", seconds=180)
