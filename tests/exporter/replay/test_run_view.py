"""The run in Chromium: its figures, its list of tasks, what can be taken away from it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from playwright.sync_api import expect

from evalgauge.metrics import OUTCOMES
from evalgauge.pricing import PriceTable
from evalgauge_dashboards.colours import MEANINGS
from evalgauge_exporter.export.table import csv_text, task_rows
from evalgauge_exporter.replay import generate
from evalgauge_exporter.state.run import fold
from tests.exporter.replay.conftest import RECORDED, SEED, Open
from tests.exporter.replay.factories import LATER, found, task, write_run


def test_a_run_shows_its_results(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    expect(page.locator("h1")).to_have_text(SEED)
    expect(page.locator(".stat").first).to_contain_text("51 %")
    expect(page.locator(".stat").first).to_contain_text("23 of 45 measured")
    expect(page.locator(".tally")).to_have_text("48 tasks; 23 of 45 measured succeeded, 51 %")
    assert page.locator(".domains tbody tr").count() == 12


def test_filters_and_counts_follow_each_other(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    page.get_by_label("Outcome", exact=True).select_option("agent_error")
    expect(page.locator(".tally")).to_contain_text("6 of 48 tasks")
    expect(page).to_have_url(re.compile("outcome=agent_error"))
    shown = page.locator(".list-view .list-row")
    assert {chip.strip() for chip in shown.locator(".c-outcome").all_inner_texts()} == {"! agent error"}
    options = page.get_by_label("Domain", exact=True).locator("option").all_inner_texts()
    assert sum(int(text.split("(")[1][:-1]) for text in options[1:]) == 6
    page.get_by_label("Search tasks", exact=False).fill("writer 003")
    expect(page.locator(".tally")).to_contain_text("1 of 48 tasks")
    page.reload()
    expect(page.locator(".tally")).to_contain_text("1 of 48 tasks")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".tally")).to_contain_text("48 tasks")


def test_sorting_goes_both_ways(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    header = page.get_by_role("columnheader", name="steps")
    first = page.locator(".list-view .list-row .c-steps").first
    header.get_by_role("button").click()
    expect(first).to_have_text("11")
    expect(header).to_have_attribute("aria-sort", "descending")
    header.get_by_role("button").click()
    expect(first).to_have_text("0")
    expect(header).to_have_attribute("aria-sort", "ascending")


def test_what_is_filtered_is_exported(real_site: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(real_site, f"#run={SEED}&outcome=infrastructure_error")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["task_id"] for line in lines] == [
        "mock_clock_003",
        "mock_file_explorer_002",
        "mock_libreoffice_writer_004",
    ]
    assert list(lines[0]) == [
        "run_id",
        "task_id",
        "attempt",
        "domain",
        "model",
        "outcome",
        "score",
        "steps",
        "duration_seconds",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "cost_usd",
        "error",
        "reason",
        "scores",
    ]
    assert lines[0]["error"] == "WAA server unreachable: Connection refused"
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    download.value.save_as(tmp_path / "t.json")
    records = json.loads((tmp_path / "t.json").read_text())
    assert [record["task_id"] for record in records] == [line["task_id"] for line in lines]
    assert records[0]["cost_usd"] is None


def test_the_page_exports_what_the_command_does(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    rows = "evalgauge.loadTable(evalgauge.findRun(id)).then(table => evalgauge.{0}(table.rows))"
    exported = json.loads(page.evaluate(f"id => {rows.format('toJson')}", SEED))
    source = next(run for run in found(RECORDED) if run.path_id == SEED).source
    expected = task_rows(fold(SEED, "openadapt", source.read().events, PriceTable().price_of))
    assert sorted(exported, key=lambda row: row["task_id"]) == expected
    evil = ["=1+1", " @x", "\ttab", "＝1", "-2", "plain", 'a"b', "a,b", None, -2.5]
    texts = [{"run": {"run_id": "r", "model": "m"}, "task_id": "t", "reason": one} for one in evil]
    written = list(csv.reader(io.StringIO(page.evaluate("rows => evalgauge.toCsv(rows)", texts), newline="")))
    theirs = list(csv.reader(io.StringIO(csv_text([{"reason": one} for one in evil]), newline="")))
    both = {"accuracy": 0.5, 'a "quoted" name': 1.25}
    one_row = [{**texts[5], "scores": both}]
    (line,) = csv.DictReader(io.StringIO(page.evaluate("rows => evalgauge.toCsv(rows)", one_row)))
    assert json.loads(line["scores"]) == both
    reason = written[0].index("reason")
    assert [row[reason] for row in written] == [row[reason] for row in theirs]


def test_marks_and_words_are_those_of_the_dashboards(two_models: Path, open_page: Open) -> None:
    marks = open_page(two_models).evaluate("evalgauge.MARKS")
    assert set(marks) == {*OUTCOMES, "running", "pending"}
    assert marks == {status: MEANINGS[status].mark for status in marks}


def test_the_analysis_shows_clusters_of_failures(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#view=analysis&run={SEED}&with=waa_mixed_48_parallel4")
    clusters = page.locator(".clusters tbody tr")
    assert [row.split()[0] for row in clusters.all_inner_texts()] == ["9", "7", "6", "3"]
    expect(clusters.nth(3)).to_contain_text("WAA server unreachable: Connection refused")
    expect(page.locator(".verdict-word").first).to_contain_text("no significant difference")
    expect(page.get_by_role("img", name="Share of attempts that have not failed")).to_be_visible()
    clusters.nth(2).get_by_role("link").first.click()
    expect(page.locator(".tally")).to_contain_text("6 of 48 tasks")


def test_all_tasks_can_be_filtered_by_model(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#view=tasks")
    expect(page.locator(".tally")).to_contain_text("6 tasks")
    page.get_by_label("Model", exact=True).select_option("human")
    expect(page.locator(".tally")).to_contain_text("2 of 6 tasks")


def test_a_printed_run_has_all_its_tasks(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": 1000, "height": 700})
    expect(page.locator(".list-view .list-row")).to_have_count(48)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator(".list-view .list-row")).not_to_have_count(48)


def test_ten_thousand_tasks_keep_a_short_document(tmp_path: Path, open_page: Open) -> None:
    tasks = [{"task_id": f"task_{n:05}", "domain": f"d{n % 7}", "instruction": "Do it."} for n in range(10_000)]
    write_run(tmp_path / "results", "big", task("task_00001", "failure"), tasks=tasks)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html")
    expect(page.locator(".tally")).to_contain_text("10,000 tasks")
    assert page.locator(".list-view .list-row").count() < 60
    page.locator(".list-view").evaluate("view => { view.scrollTop = view.scrollHeight; }")
    expect(page.get_by_role("link", name="task_09999")).to_be_visible()
    page.get_by_label("Search tasks", exact=False).fill("task_04321")
    expect(page.locator(".list-view .list-row")).to_have_count(1)
