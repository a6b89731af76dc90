"""The page in Chromium, from ``file://``: what one sees, where keys and addresses lead."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from evalgauge.metrics import OUTCOMES
from evalgauge_dashboards.colours import MEANINGS, contrast
from evalgauge_dashboards.replay import generate, single_file
from evalgauge_dashboards.replay.page import style
from evalgauge_dashboards.replay.reading import listed_prices
from evalgauge_exporter.state import fold
from evalgauge_exporter.table import csv_text, task_rows
from tests.dashboards.replay.conftest import Open
from tests.dashboards.replay.making import LATER, START, call, found, png, step, task, write_run

RECORDED = Path(__file__).parents[2] / "data" / "openadapt-0.98.0-mixed" / "benchmark_results"
SEED = "waa_mixed_48_seed2"
EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@pytest.fixture(scope="session")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real OpenAdapt runs of the same 48 tasks."""
    site = tmp_path_factory.mktemp("real") / "site"
    generate(found(RECORDED), site, now=2e9)
    return site / "index.html"


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a person on the same tasks: B takes a step more, then clicks elsewhere than A; C is as A."""
    folder = tmp_path_factory.mktemp("two")
    save = {"type": "click", "x": 0.8, "y": 0.9}
    name = {"type": "type", "text": "report"}
    menu = {"type": "click", "x": 0.1, "y": 0.1}
    ways: dict[str, tuple[str, str, list[Any]]] = {
        "a": ("claude-sonnet-4-5", "success", [menu, name, save, {"type": "done"}]),
        "b,1": ("gpt-5", "failure", [menu, {"type": "wait"}, name, {"type": "click", "x": 0.2, "y": 0.9}, "done"]),
        "human c": ("human", "success", [menu, name, save, {"type": "done"}]),
    }
    for number, (run_id, (model, outcome, actions)) in enumerate(ways.items()):
        run = folder / "results" / run_id
        (run / "shots").mkdir(parents=True)
        lines = []
        for index, action in enumerate(actions):
            (run / "shots" / f"{index}.png").write_bytes(png(320, 200, 250 - 10 * index, label=index))
            lines += [call(model=model), step(index, action, screenshot=f"shots/{index}.png", reasoning=f"why {index}")]
        events = task("save", outcome, lines, domain="office", instruction="Save it.", reason="no file")
        events += task("other", "failure" if run_id == "a" else "success", lines[:2], domain="web")
        write_run(folder / "results", run_id, events, model=model, start=START + 100 * number)
    generate(found(folder / "results"), folder / "site", now=LATER)
    return folder / "site" / "index.html"


def address(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def test_a_run_says_how_it_went(real_site: Path, open_page: Open) -> None:
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
    assert "outcome=agent_error" in address(page)
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
    expect(first).to_have_text("0")
    header.get_by_role("button").click()
    expect(first).to_have_text("11")
    expect(header).to_have_attribute("aria-sort", "descending")


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
    rows = "evalgauge.tableOf(evalgauge.runOf(id)).then(table => evalgauge.{0}(table.rows))"
    exported = json.loads(page.evaluate(f"id => {rows.format('toJson')}", SEED))
    source = next(run for run in found(RECORDED) if run.path_id == SEED).source
    expected = task_rows(fold(SEED, "openadapt", source.read().events, listed_prices()))
    assert sorted(exported, key=lambda row: row["task_id"]) == expected
    evil = ["=1+1", " @x", "\ttab", "＝1", "-2", "plain", 'a"b', "a,b", None, -2.5]
    texts = [{"run": {"run_id": "r", "model": "m"}, "task_id": "t", "reason": one} for one in evil]
    written = list(csv.reader(io.StringIO(page.evaluate("rows => evalgauge.toCsv(rows)", texts), newline="")))
    theirs = list(csv.reader(io.StringIO(csv_text([{"reason": one} for one in evil]), newline="")))
    assert [row[-1] for row in written] == [row[-1] for row in theirs]


def test_marks_and_words_are_those_of_the_boards(two_models: Path, open_page: Open) -> None:
    marks = open_page(two_models).evaluate("evalgauge.MARKS")
    assert set(marks) == {*OUTCOMES, "running", "pending"}
    assert marks == {status: MEANINGS[status].mark for status in marks}


def test_a_task_is_replayed_step_by_step(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}&task=mock_clock_001&step=2")
    picture = page.locator(".stage img")
    expect(page.locator(".details h3")).to_have_text("Step 3 of 6")
    expect(page.locator(".marks .note-text")).to_have_text("hello")
    assert picture.evaluate("img => img.naturalWidth") == 1920
    page.keyboard.press("ArrowRight")
    expect(page.locator(".details h3")).to_have_text("Step 4 of 6")
    assert "step=3" in address(page)
    # computer.click(900, 700) on 1920 × 1200
    expect(page.locator(".marks circle.dot")).to_have_count(1)
    box = picture.bounding_box()
    dot = page.locator(".marks circle.dot").bounding_box()
    assert box is not None
    assert dot is not None
    assert (dot["x"] + dot["width"] / 2 - box["x"]) / box["width"] == pytest.approx(900 / 1920, abs=0.005)
    assert (dot["y"] + dot["height"] / 2 - box["y"]) / box["height"] == pytest.approx(700 / 1200, abs=0.005)
    page.keyboard.press("End")
    expect(page.locator(".details h3")).to_have_text("Step 6 of 6, the last")
    expect(page.locator(".verdict")).to_contain_text("clicked=['4'], typed=True")
    page.keyboard.press("Home")
    page.keyboard.press("n")
    expect(page.locator("h1")).to_have_text("mock_clock_002")
    page.keyboard.press("p")
    expect(page.locator("h1")).to_have_text("mock_clock_001")
    page.keyboard.press("u")
    expect(page.locator("h1")).to_have_text(SEED)


def test_playing_ends_at_the_last_step(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save")
    page.get_by_label("Speed").select_option("8")
    page.locator("h1").click()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause (space)")).to_be_visible()
    expect(page.locator(".counter")).to_have_text("4 of 4")
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()


def test_the_scrub_bar_shows_pictures(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save")
    box = page.locator(".bar").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 10)
    expect(page.locator(".hover figcaption")).to_have_text("4: done")
    assert str(page.locator(".hover img").get_attribute("src")).endswith("0003.png")


def test_f_finds_what_failed(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    page.keyboard.press("f")
    expect(page.locator("h1")).to_have_text("mock_clock_002")
    page = open_page(real_site, f"#run={SEED}&task=mock_file_explorer_001")
    page.keyboard.press("f")
    expect(page.locator(".details .action")).to_contain_text("error")


def test_help_is_on_a_key(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_two_models_are_aligned_by_what_they_do(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=b%2C1")
    expect(page.locator(".pane")).to_have_count(2)
    rows = page.locator(".strip tbody tr")
    kinds = [rows.nth(r).locator("td").evaluate_all("cells => cells.map(cell => cell.classList[1])") for r in (0, 1)]
    assert kinds == [["same", "missing", "same", "same", "same"], ["same", "extra", "same", "differs", "same"]]
    page.keyboard.press("d")
    expect(page.locator(".pane").nth(1)).to_contain_text("a step that A does not have")
    expect(page.locator(".pane").nth(0)).to_contain_text("No such step in this run.")
    expect(page.locator(".counter")).to_have_text("2 of 5")
    page.reload()
    expect(page.locator(".counter")).to_have_text("2 of 5")
    page.keyboard.press("i")
    expect(page.get_by_role("link", name="By number")).to_have_attribute("aria-current", "true")
    kinds = [rows.nth(r).locator("td").evaluate_all("cells => cells.map(cell => cell.classList[1])") for r in (0, 1)]
    assert kinds[1] == ["same", "differs", "differs", "differs", "extra"]


def test_a_third_that_does_the_same_does_not_diverge(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=human%20c")
    expect(page.get_by_text("All do the same to the end.")).to_be_visible()
    page = open_page(two_models, "#run=a&task=save&with=human%20c,b%2C1")
    expect(page.locator(".pane")).to_have_count(3)
    expect(page.get_by_text("They part at step 2.")).to_be_visible()


def test_the_matrix_picks_tasks(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#view=matrix&run=a&with=b%2C1")
    page.get_by_role("button", name="only B failed").click()
    expect(page.locator(".list-view .list-row")).to_have_count(1)
    page.get_by_role("link", name="save").click()
    expect(page.locator(".pane")).to_have_count(2)
    page = open_page(two_models, "#run=b%2C1&with=a")
    page.get_by_role("button", name="only A failed").click()
    expect(page.locator(".list-view .list-row .c-task")).to_have_text(["save"])


def test_the_analysis_says_what_goes_wrong(real_site: Path, open_page: Open) -> None:
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


@pytest.mark.parametrize(
    ("wanted", "says", "near"),
    [
        ("#run=nope-a", "There is no run nope-a", ""),
        ("#run=a&task=sav", "has no task sav", "save"),
        ("#run=a&task=save&with=zzz", "There is no run zzz", ""),
        ("#run=a&task=zzz&with=b%2C1", "None of these runs has the task zzz", ""),
    ],
)
def test_an_address_that_leads_nowhere_says_so(
    two_models: Path, open_page: Open, wanted: str, says: str, near: str
) -> None:
    page = open_page(two_models, wanted)
    expect(page.locator("#main")).to_contain_text(says)
    expect(page.locator("#main")).to_contain_text(near)


def test_addresses_survive_a_round_trip(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models)
    for place in (
        {"run": "a b+c&d=e", "task": "../x#?y", "step": "3", "with": ["b,1", "ü%"], "q": "50 %"},
        {"view": "analysis", "run": "a"},
    ):
        assert page.evaluate("p => evalgauge.address.read(evalgauge.address.write(p))", place) == place
    assert page.evaluate("evalgauge.address.read('#run=%E0%A4%A&bad=1&__proto__=2')") == {"run": "%E0%A4%A"}
    # what the live page writes, with URLSearchParams
    form = "evalgauge.address.read('#' + new URLSearchParams({ run: 'a b+c', domain: 'x/y z' }))"
    assert page.evaluate(form) == {"run": "a b+c", "domain": "x/y z"}


def test_marks_stand_where_the_action_was(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models)

    def marks(action: dict[str, object]) -> list[dict[str, object]]:
        found_marks: list[dict[str, object]] = page.evaluate("a => evalgauge.marks.marksOf(a, 1000, 500)", action)
        return found_marks

    def place(action: dict[str, object]) -> tuple[object, object]:
        return marks(action)[0]["x"], marks(action)[0]["y"]

    assert place({"type": "click", "x": 0.25, "y": 0.5}) == (0.25, 0.5)
    assert place({"type": "left_click", "coordinate": [250, 250]}) == (0.25, 0.5)
    assert place({"type": "click", "x": 500, "y": 500, "screen_width": 2000, "screen_height": 1000}) == (0.25, 0.5)
    box = marks({"type": "click", "target_bbox": [100, 100, 300, 200]})
    assert [mark["kind"] for mark in box] == ["box", "click"]
    assert [box[0][name] for name in ("x", "y", "width", "height")] == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert [box[1][name] for name in ("x", "y")] == pytest.approx([0.2, 0.3])
    sized = marks({"type": "click", "bbox": {"x": 0.1, "y": 0.2, "width": 0.2, "height": 0.2}})
    assert (sized[1]["x"], sized[1]["y"]) == (pytest.approx(0.2), pytest.approx(0.3))
    drag = marks({"type": "drag", "x": 0.1, "y": 0.1, "end_x": 0.9, "end_y": 0.5})
    assert drag[0]["path"] == [[0.1, 0.1], [0.9, 0.5]]
    assert marks({"type": "left_click_drag", "start_coordinate": [0, 0], "coordinate": [1000, 500]})[0]["path"] == [
        [0, 0],
        [1, 1],
    ]
    assert marks({"type": "scroll", "x": 0.5, "y": 0.5, "scroll_direction": "up"})[0]["way"] == "up"
    assert marks({"type": "scroll", "dy": 300})[0]["way"] == "down"
    assert marks({"type": "type", "text": "hi"})[0] == {
        "kind": "text",
        "text": "hi",
        "keys": False,
        "x": None,
        "y": None,
    }
    assert marks({"type": "key", "key": "s", "modifiers": ["ctrl"]})[0]["text"] == "ctrl+s"
    assert marks({"type": "done"}) == []
    assert marks({"type": "click", "x": None, "y": "abc", "target_bbox": [1, "b", None, 3]}) == []


def test_text_of_a_run_stays_text(tmp_path: Path, open_page: Open) -> None:
    lines = [call(model=EVIL), step(0, {"type": EVIL, "text": EVIL}, reasoning=EVIL, screenshot=EVIL), step(1, "done")]
    events = task(EVIL, "failure", lines, domain=EVIL, instruction=EVIL, error=EVIL, reason=EVIL, worker_id=EVIL)
    write_run(tmp_path / "results", "<img src=x>", events, model=EVIL, benchmark=EVIL, agent=EVIL, tags={EVIL: EVIL})
    write_run(tmp_path / "results", "y", task(EVIL, "success", lines), benchmark=EVIL)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html")
    run = page.evaluate("evalgauge.runs()[0].run_id")
    for place in (
        {"run": run},
        {"view": "analysis", "run": run},
        {"run": run, "task": EVIL},
        {"run": run, "task": EVIL, "with": ["y"]},
        {"view": "matrix"},
    ):
        page.evaluate("p => evalgauge.address.go(p)", place)
        expect(page.locator("#main")).to_contain_text("<img src=x")
        for panel in page.locator("summary").all():
            panel.click()
        assert page.locator("img[src=x], script:not([src])").count() == 0
        assert page.title() != "owned"


def test_nothing_but_the_site_s_own_script_runs(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, complains=True)
    refused = page.evaluate(
        """async () => {
          const names = [];
          const attempts = {
            markup: () => { document.body.innerHTML = '<b>'; },
            code: () => eval('1'),
            script: () => { document.createElement('script').src = 'data/../../x.js'; },
          };
          const attempt = ([name, does]) => new Promise(done => setTimeout(() => {
            try { does(); } catch { names.push(name); }
            done();
          }));
          for (const one of Object.entries(attempts)) await attempt(one);
          return names;
        }"""
    )
    assert refused == ["markup", "code", "script"]


def test_a_single_file_needs_nothing_beside_it(tmp_path: Path, open_page: Open) -> None:
    (tmp_path / "results" / "r" / "shots").mkdir(parents=True)
    (tmp_path / "results" / "r" / "shots" / "0.png").write_bytes(png(64, 40))
    lines = [step(0, {"type": "click", "x": 0.5, "y": 0.5}, screenshot="shots/0.png"), step(1, "done")]
    write_run(tmp_path / "results", "r", task("t", "success", lines, instruction="</script>"))
    (tmp_path / "mail").mkdir()
    single_file(found(tmp_path / "results"), tmp_path / "mail" / "one.html", now=LATER)
    page = open_page(tmp_path / "mail" / "one.html", "#run=r&task=t")
    expect(page.locator(".instruction")).to_have_text("</script>")
    expect(page.locator(".marks circle.dot")).to_have_count(1)
    assert page.locator(".stage img").evaluate("img => img.naturalWidth") == 64


def test_a_part_that_is_missing_is_said(tmp_path: Path, open_page: Open) -> None:
    write_run(tmp_path / "results", "r", task("t", "success", [step(0, "click")]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    for file in (tmp_path / "site" / "data").rglob("t-*.js"):
        file.unlink()
    page = open_page(tmp_path / "site" / "index.html", "#run=r", complains=True)
    page.evaluate("location.hash = '#run=r&task=t'")
    expect(page.locator("#main")).to_contain_text("is not there. Was the whole folder copied?")


def test_nothing_is_wider_than_a_phone(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, width=390)
    one = f"#run={SEED}&task=mock_clock_001"
    for view, title in (
        (f"#run={SEED}", SEED),
        (one, "mock_clock_001"),
        ("#view=matrix", "side by side"),
        (f"#view=analysis&run={SEED}", f"analysis of {SEED}"),
        (f"{one}&with=waa_mixed_48_parallel4", "mock_clock_001"),
    ):
        page.evaluate("view => { location.hash = view; }", view)
        expect(page).to_have_title(f"{title} – evalgauge replay")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, view


def test_runs_side_by_side_scroll_within_a_phone(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=b%2C1,human%20c", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_everything_that_can_be_used_has_a_name(real_site: Path, open_page: Open) -> None:
    for view in (
        f"#run={SEED}",
        f"#run={SEED}&task=mock_clock_001",
        f"#run={SEED}&task=mock_clock_001&with=waa_mixed_48_parallel4",
    ):
        page = open_page(real_site, view)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, a, select, input, img, [role=table]')]
              .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length
                || e.hasAttribute('alt')))
              .map(e => e.outerHTML)"""
        )
        assert unnamed == []
        page.close()


def test_a_printed_run_has_all_its_tasks(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": 1000, "height": 700})
    expect(page.locator(".list-view .list-row")).to_have_count(48)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator(".list-view .list-row")).not_to_have_count(48)


def test_a_run_that_goes_on_is_followed_from_a_server(tmp_path: Path, open_page: Open) -> None:
    events = task("first", "success", [step(0, "click")])
    write_run(tmp_path / "results", "r", events, finished=False)
    generate(found(tmp_path / "results"), tmp_path / "site", now=START + 60)
    with serving(tmp_path / "site") as url:
        page = open_page(url, "#run=r", server=url)
        expect(page.locator(".tally")).to_contain_text("1 task;")
        write_run(tmp_path / "results", "r", [*events, *task("second", "failure")], finished=False)
        generate(found(tmp_path / "results"), tmp_path / "site", now=START + 60)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".tally")).to_contain_text("2 tasks; 1 of 2 measured succeeded, 50 %")
        page.close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


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


def test_colours_are_those_of_the_boards() -> None:
    text = style().decode()
    light, dark = text.split("@media screen and (prefers-color-scheme: dark)")
    for meaning, entry in MEANINGS.items():
        if f"--{meaning}:" in text:
            assert f"--{meaning}: {entry.light};" in light
            assert f"--{meaning}: {entry.dark};" in dark
    assert sum(f"--{meaning}:" in light for meaning in MEANINGS) >= 8


def test_words_can_be_read_on_both_themes() -> None:
    for theme in style().decode().split("@media screen and (prefers-color-scheme: dark)"):
        colours = dict(re.findall(r"--([a-z_]+): (#[0-9a-f]{6});", theme.split("\n}\n")[0]))
        for name in (*OUTCOMES, "running", "text", "quiet", "link", "ink"):
            for ground in ("page", "raised") if name in ("text", "quiet", "link") else ("page",):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
