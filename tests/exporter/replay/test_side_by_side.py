"""Several runs on one task in Chromium: alignment, divergence, the matrix."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from evalgauge_exporter.replay import generate
from tests.exporter.replay.conftest import Open
from tests.exporter.replay.factories import LATER, START, found, step, task, write_run


def test_two_models_are_aligned_by_what_they_do(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=b%2C1")
    expect(page.locator(".pane")).to_have_count(2)
    rows = page.locator(".strip tbody tr")
    kinds = [rows.nth(r).locator("td").evaluate_all("cells => cells.map(cell => cell.classList[1])") for r in (0, 1)]
    assert kinds == [["same", "missing", "same", "same", "same"], ["same", "extra", "same", "differs", "same"]]
    expect(page.locator(".parting")).to_have_text(
        "They diverge at step 2. baseline: continues with step 2, type “report”. this run: wait. "
    )
    expect(page.locator(".counter")).to_have_text("2 of 5")  # where they part, as no step was asked for
    page.keyboard.press("Home")
    expect(page.locator(".counter")).to_have_text("1 of 5")
    page.keyboard.press("d")
    expect(page.locator(".pane").nth(1)).to_contain_text("a step that the baseline does not have")
    expect(page.locator(".pane").nth(0)).to_contain_text("No matching step.")
    expect(page.locator(".pane").nth(0)).to_contain_text("It continues with step 2, type “report”.")
    expect(page.locator(".counter")).to_have_text("2 of 5")
    page.reload()
    expect(page.locator(".counter")).to_have_text("2 of 5")
    page.keyboard.press("i")
    expect(page.get_by_role("link", name="By number")).to_have_attribute("aria-current", "true")
    kinds = [rows.nth(r).locator("td").evaluate_all("cells => cells.map(cell => cell.classList[1])") for r in (0, 1)]
    assert kinds[1] == ["same", "differs", "differs", "differs", "extra"]


def test_a_third_that_does_the_same_does_not_diverge(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=human%20c")
    expect(page.get_by_text("All runs do the same to the end.")).to_be_visible()
    page = open_page(two_models, "#run=a&task=save&with=human%20c,b%2C1")
    expect(page.locator(".pane")).to_have_count(3)
    expect(page.get_by_text("They diverge at step 2.")).to_be_visible()


def test_different_instructions_of_runs_are_shown(tmp_path: Path, open_page: Open) -> None:
    for seed, country in enumerate(("Algeria", "Jersey", "Jersey")):
        events = task("list", "success", [step(0, {"type": "type", "text": country})], instruction=f"Pick {country}.")
        write_run(tmp_path / "results", f"seed-{seed}", events, start=START + seed)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    index = tmp_path / "site" / "index.html"
    page = open_page(index, "#run=seed-0&with=seed-1&task=list")
    expect(page.locator(".instruction")).to_have_text(
        "Different instructions. baseline: Pick Algeria. this run: Pick Jersey. "
    )
    page = open_page(index, "#run=seed-1&with=seed-2&task=list")
    expect(page.locator(".instruction")).to_have_text("Pick Jersey.")


def test_a_running_task_is_not_shown_as_finished(tmp_path: Path, open_page: Open) -> None:
    write_run(tmp_path / "results", "a", task("t", "success", [step(0, "click"), step(1, "done")]))
    write_run(tmp_path / "results", "b", task("t", "running", [step(0, "click")]), start=START + 1, finished=False)
    generate(found(tmp_path / "results"), tmp_path / "site", now=START + 60)
    page = open_page(tmp_path / "site" / "index.html", "#run=a&with=b&task=t")
    expect(page.locator(".parting")).to_contain_text("this run: no further step yet.")
    expect(page.locator(".pane").nth(1)).to_contain_text("Still running: this is its last step so far.")


def test_the_matrix_picks_tasks(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#view=matrix&run=a&with=b%2C1")
    page.get_by_role("button", name="only this run failed").click()
    expect(page.locator(".list-view .list-row")).to_have_count(1)
    page.get_by_role("link", name="save").click()
    expect(page.locator(".pane")).to_have_count(2)
    page = open_page(two_models, "#run=b%2C1&with=a")
    page.get_by_role("button", name="only baseline failed").click()
    expect(page.locator(".list-view .list-row .c-task")).to_have_text(["save"])
