"""The page of all runs: found, filtered, grouped and compared by choice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Locator, Page, expect

from evalgauge_exporter.web import app as app_module
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.server import serving
from tests.exporter.replay.factories import call, task, write_run
from tests.exporter.runs import exporter_of

UNKNOWN = r"–\s+\(.+\)"
"""A dash and its reason."""
HOSTILE = "<img src=x onerror=alert(1)>"
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
    page.set_default_timeout(60_000)
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


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of four models, one of a hostile name and unknown price, one never measured; and a running run."""
    folder = tmp_path_factory.mktemp("ranked")
    models = (("claude-sonnet-4-5", 40), ("gpt-5", 10), (HOSTILE, 0), ("never measured", None))
    for number, (model, solved) in enumerate(models):
        events = []
        for index in range(40):
            outcome = "infrastructure_error" if solved is None else "success" if index < solved else "failure"
            provider = "openai" if model == "gpt-5" else "anthropic"
            events += task(f"t{index}", outcome, [call(model=model, provider=provider)])
        write_run(folder, f"waa_{number}", events, model=model, tags={HOSTILE: "long" if number else "short"})
    for model, low in (("gpt-5", 6.0), ("claude-sonnet-4-5", 2.0)):
        points = [event for n in range(20) for event in task(f"t{n}", "success", score=low + n % 3)]
        write_run(folder, f"points of {model}", points, benchmark="points", model=model)
    write_run(folder, "other", task("t", "success", score=0.5), benchmark="osworld", model="gpt-5")
    write_run(folder, "open", task("t", "running"), model="gpt-5", finished=False)
    return folder


def test_the_leaderboard_has_the_values_of_the_api(ranked: Path, browser: Browser) -> None:
    exporter = exporter_of(ranked)
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}/runs/")
        page.locator(".leaderboards summary").press("Enter")
        tables = page.locator("table.leaderboard")
        expect(tables).to_have_count(3)
        boards = page.request.get(f"{url}/api/benchmark/leaderboard").json()["leaderboards"]
        for board in boards:
            table = tables.filter(has=page.locator("caption", has_text=re.compile(f"^{board['benchmark']} ")))
            verdicts = {
                pair["candidate"]: pair for pair in board["pairs"] if pair["baseline"] == board["rows"][0]["name"]
            }
            assert table.locator("tbody tr").count() == len(board["rows"])
            for row, line in zip(board["rows"], table.locator("tbody tr").all(), strict=True):
                assert line.locator("th").text_content() == row["name"]
                check_leaderboard_row(line, row, verdicts.get(row["name"]))
        rows = next(board for board in boards if board["benchmark"] == "waa")["rows"]
        assert [row["name"] for row in rows] == ["claude-sonnet-4-5", "gpt-5", HOSTILE, "never measured"]
        assert rows[3]["success_rate"] is None, "an unknown value is part of the test"
        assert rows[2]["cost_usd"] is None, "and so is an unknown price"
        points = next(board for board in boards if board["benchmark"] == "points")
        assert points["rows"][0]["success_rate"] is None
        assert points["pairs"][0]["score_verdict"] == "worse"

        page.get_by_label("Benchmark of the leaderboard").select_option("osworld")
        expect(tables).to_have_count(1)
        page.get_by_label("Leaderboard by").select_option(f"tag:{HOSTILE}")
        expect(tables.locator("tbody th")).to_have_text(["short", "long"])
        page.reload()
        expect(tables.locator("tbody th")).to_have_text(["short", "long"])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "a wide table scrolls within itself"
        page.locator(".leaderboards summary").press("Enter")
        expect(tables.first).to_be_hidden()
        expect(page).not_to_have_url(re.compile("by="))
        page.close()
    assert not errors


def check_leaderboard_row(line: Locator, row: dict[str, Any], against_best: dict[str, Any] | None) -> None:
    """Compare a row of the page with one of the API; unknown values are dashes with their reason."""
    texts = [cell.inner_text() for cell in line.locator("td").all()]
    rank, rate, score, cost, per_success, tasks, verdict, front = texts
    assert (rank, tasks) == (str(row["rank"]), str(row["tasks"]))
    bounds = [row["success_rate"], row["success_rate_low"], row["success_rate_high"]]
    if row["success_rate"] is None:
        assert re.match(UNKNOWN, rate)
    else:
        assert [float(number) for number in re.findall(r"\d+", rate)] == [
            pytest.approx(100 * one, abs=0.51) for one in bounds
        ]
    for text, value in (
        (score, row["mean_score"]),
        (cost, row["cost_usd"]),
        (per_success, row["cost_per_success_usd"]),
    ):
        if value is None:
            assert re.match(UNKNOWN, text)
        else:
            assert float(text.lstrip("≥ $")) == pytest.approx(value, abs=0.006)
    assert row["cost_usd"] is None or cost.startswith("≥") is not row["cost_is_complete"]
    assert ("on the front" in front) is row["on_front"]
    if against_best is None:
        assert verdict == "the best"
    elif row["success_rate"] is not None:
        assert verdict.startswith(against_best["verdict"].replace("_", " "))
        change = float(verdict.removesuffix(" points").rpartition(" ")[2].replace("−", "-"))
        assert change == pytest.approx(100 * against_best["change"], abs=0.051)
    elif against_best["score_verdict"] is not None:
        assert verdict.startswith(against_best["score_verdict"].replace("_", " "))
        change = float(verdict.rpartition(" ")[2].replace("−", "-"))
        assert change == pytest.approx(against_best["score_change"], abs=0.0006)
    else:
        assert re.match(UNKNOWN, verdict)
