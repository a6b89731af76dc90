"""The page of all runs: found, filtered, grouped and compared by choice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from evalgauge_exporter.web import app as app_module
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.server import serving
from tests.exporter.replay.factories import task, write_run
from tests.exporter.runs import exporter_of

MODELS = ("gpt-5", "claude-sonnet-4-5", "qwen2-vl")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty finished runs of three models; the first succeeds at everything."""
    folder = tmp_path_factory.mktemp("results")
    for number in range(60):
        events = [
            event
            for index in range(4)
            for event in task(f"t{index}", "success" if index < 4 - number % 4 else "failure", domain="d")
        ]
        name = "run,with a comma" if number == 0 else f"run_{number:03d}_{'of a long name ' * 3}{number}"
        tags = {"prompt": "long" if number % 2 else "short"}
        write_run(folder, name, events, model=MODELS[number % 3], start=1.79e9 + 1000 * number, tags=tags)
    return folder


@pytest.fixture
def base(results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(app_module, "BUILD_WAIT_SECONDS", 60.0)
    exporter = exporter_of(results)
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        yield url


@pytest.fixture
def page(browser: Browser, base: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{base}/runs/")
    page.wait_for_selector("#main")
    yield page
    page.close()
    assert not errors


def test_the_index_of_runs_is_that_of_the_api(results: Path) -> None:
    exporter = exporter_of(results)
    exporter.start()
    assert exporter.wait_ready(60)
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        text = client.get("/runs/data/index.js").text
        index = json.loads(text[text.index(",") + 1 : text.rindex(")")])
        runs = client.get("/api/benchmark/runs").json()["runs"]
        assert {run["run_id"] for run in index["runs"]} == {run["run_id"] for run in runs}
        assert index["runs"][0]["tags"] == {"prompt": "short"}
        assert client.get("/runs").url.path == "/runs/"
        assert client.get("/replay").url.path == "/runs/"
        assert client.get("/runs/nothing.js").status_code == 404
    exporter.stop()


def test_a_run_leads_to_its_dashboards_where_grafana_is_configured(results: Path, browser: Browser) -> None:
    exporter = exporter_of(results, grafana_url="https://grafana.example/")
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/runs/?#q=comma")
        links = page.locator(".list-view .c-links a")
        expect(links).to_have_text(["live", "dashboards"])
        expect(links.nth(1)).to_have_attribute(
            "href", "https://grafana.example/d/evalgauge-evaluation?var-run=run%2Cwith%20a%20comma"
        )
        page.close()


def test_runs_are_searched_filtered_and_counted(page: Page) -> None:
    expect(page.locator(".tally")).to_have_text("60 runs")
    assert page.locator(".list-view .list-row").count() < 50, "only what is in view is in the document"
    page.get_by_label("Model", exact=True).and_(page.locator("select")).select_option("gpt-5")
    expect(page.locator(".tally")).to_have_text("20 of 60 runs")
    page.get_by_label("Tag", exact=True).select_option("prompt=long")
    expect(page.locator(".tally")).to_have_text("10 of 60 runs")
    page.get_by_role("searchbox").fill("run_003")
    expect(page.locator(".list-view .list-row")).to_have_count(1)
    assert "model=gpt-5" in page.url
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".tally")).to_have_text("60 runs")


def test_runs_are_sorted_with_the_largest_first(page: Page) -> None:
    page.get_by_role("button", name="success").click()
    expect(page.locator(".list-view .c-success").first).to_have_text(re.compile("100 %"))
    page.get_by_role("button", name="success").click()
    expect(page.locator(".list-view .c-success").first).to_have_text(re.compile("25 %"))


def test_runs_are_grouped_and_columns_chosen(page: Page) -> None:
    page.get_by_label("Group").select_option("tag:prompt")
    expect(page.locator(".list-group").first).to_have_text("long 30 runs")
    page.locator(".chooser summary").click()
    page.get_by_role("checkbox", name="tags").check()
    expect(page.locator(".list-view .c-tags").first).to_have_text("prompt=long")
    page.get_by_role("checkbox", name="benchmark").uncheck()
    expect(page.locator(".list-view .c-benchmark")).to_have_count(0)


def test_any_runs_are_compared(page: Page) -> None:
    page.get_by_role("searchbox").fill("comma")
    page.get_by_role("checkbox", name="Compare run,with a comma").check()
    page.get_by_role("searchbox").fill("run_007")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("h1")).to_have_text("Side by side")
    expect(page.locator(".cast tr")).to_have_count(2)
    expect(page.locator(".cast")).to_contain_text("run,with a comma")
    expect(page.locator(".verdict-word")).to_contain_text("This run against the baseline: ")
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("h1")).to_have_text("Runs")


def test_a_run_leads_to_its_replay_and_to_its_live_page_and_back(page: Page) -> None:
    page.get_by_role("searchbox").fill("run_007")
    page.locator(".list-view .c-run a").click()
    expect(page.locator("h1")).to_contain_text("run_007")
    page.get_by_role("link", name="Live", exact=True).click()
    expect(page.locator(".run-id")).to_contain_text("run_007")
    page.get_by_role("link", name="All runs", exact=True).click()
    expect(page.locator("h1")).to_have_text("Runs")


def test_more_than_four_runs_or_one_twice_are_refused(results: Path) -> None:
    exporter = exporter_of(results)
    exporter.start()
    assert exporter.wait_ready(60)
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        assert client.get("/replay/a/with/a/").status_code == 422
        assert client.get("/replay/a/with/b,c,d,e/").status_code == 422
        assert client.get("/replay/a/with/b/").status_code == 404
    exporter.stop()
