"""Runs without screenshots are read as transcripts; the steps of a run can be searched; sites have any size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from evalgauge_exporter.replay import generate
from tests.exporter.replay.conftest import Open
from tests.exporter.replay.factories import LATER, contents, found, part, png, rows, step, task, write_run

LONG = "\n".join(f"line {number}" for number in range(200))


@pytest.fixture
def text_site(tmp_path: Path) -> Path:
    """A run of a text agent, and one task with a screenshot."""
    said = [
        {"type": "message", "role": "system", "text": "You are a careful agent."},
        {"type": "message", "role": "user", "text": "Count the files. <img src=x onerror=alert(1)>"},
    ]
    steps = [
        step(0, {"type": "bash", "command": "ls -l"}, reasoning="I list them first.", observation=LONG),
        step(1, {"type": "submit", "answer": "41"}, reasoning="There are 41."),
    ]
    events = task(
        "count",
        "failure",
        [*said, *steps],
        instruction="Count the files.",
        answer="41",
        target="42",
        scores={"exact": 0.0, "close": 0.97},
        reason="expected 42",
    )
    events += task("other", "success", [step(0, {"type": "python", "code": "print(needle)"})], domain="d")
    run = tmp_path / "results" / "r"
    (run / "shots").mkdir(parents=True)
    (run / "shots" / "0.png").write_bytes(png(64, 40))
    events += task("seen", "success", [step(0, "click", screenshot="shots/0.png", reasoning="a button")])
    write_run(tmp_path / "results", "r", events)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    return tmp_path / "site" / "index.html"


def test_a_task_without_screenshots_is_a_transcript(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r&task=count")
    entries = page.locator(".transcript .entry")
    expect(entries).to_have_count(4)
    expect(entries.nth(0)).to_contain_text("You are a careful agent.")
    expect(entries.nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    expect(entries.nth(2)).to_contain_text("command: ls -l")
    expect(page.locator(".stage")).to_have_count(0)
    expect(page.locator(".result")).to_contain_text("Target42Answer41Scores")
    expect(page.locator(".result")).to_contain_text("0.97")
    expect(page.locator(".verdict")).to_contain_text("expected 42")


def test_long_outputs_are_folded_and_opened(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r&task=count")
    output = page.locator(".output")
    expect(output).not_to_contain_text("line 150")
    output.get_by_role("button", name="Show all 200 lines").click()
    expect(output).to_contain_text("line 150")
    output.get_by_role("button", name="Show less").click()
    expect(output).not_to_contain_text("line 150")


def test_a_transcript_can_be_searched_and_its_steps_selected(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r&task=count")
    page.get_by_role("searchbox", name="Search the transcript").fill("LINE 150")
    expect(page.locator(".transcript .entry:visible")).to_have_count(1)
    expect(page.locator(".transcript-box [role=status]")).to_have_text("1 of 4")
    page.get_by_role("searchbox", name="Search the transcript").fill("")
    page.locator(".transcript").get_by_role("button", name="Agent, step 2", exact=True).click()
    expect(page.locator(".entry[aria-current]")).to_contain_text("There are 41.")
    expect(page).to_have_url(re.compile("step=1"))


def test_a_task_with_screenshots_has_its_transcript_one_key_away(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r&task=seen")
    expect(page.locator(".stage")).to_be_visible()
    page.keyboard.press("t")
    expect(page.locator(".transcript")).to_contain_text("a button")
    page.get_by_role("link", name="Screenshots").click()
    expect(page.locator(".stage")).to_be_visible()


def test_the_tasks_stay_beside_the_task(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r&task=count")
    beside = page.get_by_role("complementary", name="Tasks of the run")
    expect(beside.get_by_role("link")).to_have_text(["count", "other", "seen"])
    expect(beside.locator("[aria-current]")).to_have_text("count")
    beside.get_by_role("link", name="other").click()
    expect(page.locator("h1")).to_have_text("other")


def test_all_steps_of_a_run_can_be_searched(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#view=search&run=r&q=needle")
    expect(page.locator(".hits li")).to_have_count(1)
    expect(page.locator(".hits")).to_contain_text("print(needle)")
    page.get_by_role("searchbox").fill("line 150")
    expect(page.locator(".hits li")).to_contain_text("count step 1, output")
    page.locator(".hits a").click()
    expect(page.locator("h1")).to_have_text("count")
    expect(page.locator(".entry[aria-current]")).to_contain_text("command: ls -l")


def test_a_failed_row_keeps_its_instruction(text_site: Path, open_page: Open) -> None:
    page = open_page(text_site, "#run=r")
    expect(page.locator(".list-row", has_text="count")).to_contain_text("expected 42 · Count the files.")


def test_a_task_of_ten_megabytes_is_written_whole_and_opens(tmp_path: Path, open_page: Open) -> None:
    steps = [step(n, {"type": "bash", "command": "x"}, reasoning="y" * 10_000, observation="last") for n in range(1000)]
    write_run(tmp_path / "results", "r", task("t", "failure", steps))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    written = contents(tmp_path / "site", "t")["steps"]
    assert len(written) == 1000
    assert {len(one["reasoning"]) for one in written} == {10_000}
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=t&step=999")
    expect(page.locator(".counter")).to_have_text("1000 of 1000")
    expect(page.locator(".entry[aria-current]")).to_be_in_viewport()


def test_a_run_of_many_long_tasks_with_screenshots_is_complete(tmp_path: Path, open_page: Open) -> None:
    tasks, steps = 108, 500  # the shape of OSWorld 2.0
    events: list[dict[str, Any]] = []
    for number in range(tasks):
        taken = [step(n, {"type": "wait"}, screenshot=f"shots/{n}.png", reasoning=f"why {n}") for n in range(steps)]
        events += task(f"task_{number:03d}", "success" if number % 3 else "failure", taken, max_steps=steps)
    run = write_run(tmp_path / "results", "r", events)
    (run / "shots").mkdir()
    for number in range(steps):
        (run / "shots" / f"{number}.png").write_bytes(png(label=number))
    generate(found(tmp_path / "results"), tmp_path / "site", now=2e9)
    for number in (0, tasks - 1):
        written = contents(tmp_path / "site", f"task_{number:03d}")["steps"]
        assert [one["reasoning"] for one in written] == [f"why {n}" for n in range(steps)]
    page = open_page(tmp_path / "site" / "index.html", "#run=r")
    expect(page.locator(".tally")).to_contain_text("108 tasks")
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=task_107&step=499")
    expect(page.locator(".counter")).to_have_text("500 of 500")
    shown = "[...document.querySelectorAll('.frame img')].some(image => image.naturalWidth === 8)"
    page.wait_for_function(shown)
    page.keyboard.press("Home")
    expect(page.locator(".counter")).to_have_text("1 of 500")


def test_the_tasks_of_a_run_are_written_in_parts(tmp_path: Path, open_page: Open) -> None:
    count = 20_000
    events: list[dict[str, Any]] = []
    for number in range(count):
        events += task(f"task_{number:05d}", "success" if number % 3 else "failure", [], reason="wrong", steps=9)
    write_run(tmp_path / "results", "r", events)
    generate(found(tmp_path / "results"), tmp_path / "site", now=2e9)
    key = part(tmp_path / "site" / "data" / "index.js")["runs"][0]["key"]
    assert len(rows(tmp_path / "site", key)) == count
    parts = sorted((tmp_path / "site" / "data" / key).glob("rows-*.js"))
    assert len(parts) == 10
    assert max(path.stat().st_size for path in parts) < 1_000_000
    page = open_page(tmp_path / "site" / "index.html", "#run=r")
    expect(page.locator(".tally")).to_contain_text("20,000 tasks")
    assert page.locator(".list-view .list-row").count() < 100
    page.get_by_role("searchbox").first.fill("task_19999")
    expect(page.locator(".tally")).to_contain_text("1 of 20,000 tasks")


def test_rows_beyond_the_end_of_a_smaller_run_are_deleted(tmp_path: Path) -> None:
    events = [event for number in range(2100) for event in task(f"t{number}", "success")]
    write_run(tmp_path / "results", "r", events)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    assert len(list((tmp_path / "site" / "data").rglob("rows-*.js"))) == 2
    write_run(tmp_path / "results", "r", task("t", "success"))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    assert [path.name for path in (tmp_path / "site" / "data").rglob("rows-*.js")] == ["rows-0.js"]
