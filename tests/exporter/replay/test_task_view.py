"""A task in Chromium: its steps, its marks, its keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from evalgauge_exporter.replay import generate
from tests.exporter.replay.conftest import SEED, Open
from tests.exporter.replay.factories import LATER, found, png, step, task, write_run


def hash_of(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def find_mark(page: Page) -> dict[str, float]:
    """The size of the screenshot and where the centre of the dot lies on it, both at one moment."""
    found_boxes: dict[str, float] = page.evaluate(
        """() => {
          const [picture, dot] = [".stage img", ".marks circle.dot"]
            .map(one => document.querySelector(one).getBoundingClientRect());
          return {
            width: picture.width,
            height: picture.height,
            x: dot.x + dot.width / 2 - picture.x,
            y: dot.y + dot.height / 2 - picture.y,
          };
        }"""
    )
    return found_boxes


def test_a_task_is_replayed_step_by_step(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}&task=mock_clock_001&step=2")
    picture = page.locator(".stage img")
    expect(page.locator(".details h2")).to_have_text("Step 3 of 6")
    expect(page.locator(".marks .note-text")).to_have_text("hello")
    assert picture.evaluate("img => img.naturalWidth") == 1920
    page.keyboard.press("ArrowRight")
    expect(page.locator(".details h2")).to_have_text("Step 4 of 6")
    assert "step=3" in hash_of(page)
    # computer.click(900, 700) on 1920 × 1200
    expect(page.locator(".marks circle.dot")).to_have_count(1)
    found_mark = find_mark(page)
    assert found_mark["x"] / found_mark["width"] == pytest.approx(900 / 1920, abs=0.005)
    assert found_mark["y"] / found_mark["height"] == pytest.approx(700 / 1200, abs=0.005)
    page.keyboard.press("End")
    expect(page.locator(".details h2")).to_have_text("Step 6 of 6, the last")
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
    # half a second of playing may be over before anybody looks: what the button has said is noted
    page.get_by_role("button", name="Play (space)").evaluate(
        """play => {
          window.titles = [];
          new MutationObserver(() => window.titles.push(play.title)).observe(play, { attributeFilter: ["title"] });
        }"""
    )
    page.keyboard.press(" ")
    page.wait_for_function("() => window.titles.length === 2")
    assert page.evaluate("window.titles") == ["Pause (space)", "Play (space)"]
    expect(page.locator(".counter")).to_have_text("4 of 4")


def test_the_scrub_bar_shows_pictures(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save")
    expect(page.locator(".marks circle.dot")).to_have_count(1)  # the picture is there, nothing moves any more
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


def test_a_failed_task_opens_where_it_first_looks_wrong(tmp_path: Path, open_page: Open) -> None:
    again = [step(n, {"type": "click", "x": 0.5, "y": 0.5}) for n in range(2, 6)]
    lost = task("t", "failure", [step(0, "type"), step(1, "wait"), *again, step(6, "done")])
    write_run(tmp_path / "results", "a", lost)
    write_run(tmp_path / "results", "b", task("t", "success", [step(0, "type"), step(1, "done")]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    index = tmp_path / "site" / "index.html"
    page = open_page(index, "#run=a&task=t")
    expect(page.locator(".details h2")).to_have_text("Step 3 of 7")
    expect(page.locator(".verdict")).to_contain_text("from step 3 the same action 4 times")
    page.keyboard.press("Home")
    page.get_by_role("button", name="step 3", exact=True).click()
    expect(page.locator(".details h2")).to_have_text("Step 3 of 7")
    # beside the run that succeeded, which is the measure
    page.locator(".verdict").get_by_role("link", name="b").click()
    expect(page.locator(".pane").nth(0)).to_contain_text("success")
    expect(page.locator(".parting")).to_contain_text("They diverge at step 2.")
    page = open_page(index, "#run=b&task=t")
    expect(page.locator(".details h2")).to_have_text("Step 1 of 2")
    expect(page.get_by_label("Compare with a run").locator("option").nth(1)).to_have_text("✗ a")


def test_the_attempt_that_succeeded_elsewhere_is_the_one_compared_with(tmp_path: Path, open_page: Open) -> None:
    write_run(tmp_path / "results", "a", task("t", "failure", [step(0, "wait")]))
    again = [*task("t", "failure", [step(0, "wait")]), *task("t", "success", [step(0, "click")], attempt=2)]
    write_run(tmp_path / "results", "b", again)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html", "#run=a&task=t")
    page.locator(".verdict").get_by_role("link", name="b").click()
    expect(page.locator(".pane").nth(0)).to_contain_text("success")
    expect(page.locator(".pane").nth(1)).to_contain_text("failure")


def test_two_thousand_logged_lines_are_drawn_once_they_are_wanted(tmp_path: Path, open_page: Open) -> None:
    logged = [{"type": "log", "level": "warning" if n % 100 else "error", "message": f"line {n}"} for n in range(2000)]
    write_run(tmp_path / "results", "r", task("t", "failure", [step(0, "click"), *logged]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=t")
    expect(page.locator(".log-panel summary")).to_have_text("Log (2003)")
    expect(page.locator(".log-panel li")).to_have_count(0)
    page.locator(".log-panel summary").click()
    expect(page.locator(".log-panel li")).to_have_count(2003)
    page.get_by_label("Level").select_option("warnings and errors")
    expect(page.locator(".log-panel li")).to_have_count(2001)  # the end of a failure is one of them


def test_a_screen_that_does_not_change_to_the_end_is_reported(tmp_path: Path, open_page: Open) -> None:
    shots = tmp_path / "results" / "r" / "shots"
    shots.mkdir(parents=True)
    for index in range(5):
        (shots / f"{index}.png").write_bytes(png(label=min(index, 2)))
    keys = [step(n, {"type": "key", "key": "abcde"[n]}, screenshot=f"shots/{n}.png") for n in range(5)]
    write_run(tmp_path / "results", "r", task("t", "failure", keys))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=t")
    expect(page.locator(".verdict")).to_contain_text("unchanged from step 3 on")


def test_a_step_that_is_linked_to_is_in_sight(tmp_path: Path, open_page: Open) -> None:
    write_run(tmp_path / "results", "r", task("t", "success", [step(n, "click") for n in range(200)]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=t&step=150")
    line = page.locator(".step-list [aria-current]")
    expect(line).to_contain_text("151")
    expect(line).to_be_in_viewport()


@pytest.mark.parametrize(("width", "height"), [(2000, 60), (60, 2000), (16, 16), (1920, 1080)])
@pytest.mark.parametrize("window", [1440, 390])
def test_marks_lie_on_pictures_of_any_shape(
    tmp_path: Path, open_page: Open, width: int, height: int, window: int
) -> None:
    shots = tmp_path / "results" / "r" / "shots"
    shots.mkdir(parents=True)
    (shots / "0.png").write_bytes(png(width, height))
    click = {"type": "click", "x": width * 0.25, "y": height * 0.75, "screen_width": width, "screen_height": height}
    write_run(tmp_path / "results", "r", task("t", "success", [step(0, click, screenshot="shots/0.png")]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html", "#run=r&task=t", width=window)
    for zoomed in (False, True):
        if zoomed:
            page.keyboard.press("z")
            expect(page.locator(".frame.zoomed")).to_have_count(1)
            expect(page.locator(".marks circle.dot")).to_be_in_viewport()
        expect(page.locator(".marks circle.dot")).to_have_count(1)
        mark = find_mark(page)
        assert mark["width"] / mark["height"] == pytest.approx(width / height, rel=0.05)
        assert mark["x"] == pytest.approx(mark["width"] * 0.25, abs=1)
        assert mark["y"] == pytest.approx(mark["height"] * 0.75, abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") == window


def test_help_is_on_a_key(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_marks_stand_where_the_action_was(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models)

    def marks(action: dict[str, object]) -> list[dict[str, object]]:
        found_marks: list[dict[str, object]] = page.evaluate("a => evalgauge.marks.computeMarks(a, 1000, 500)", action)
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


def test_the_log_holds_what_the_task_logged_among_its_events(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}&task=mock_clock_001")
    page.locator(".log-panel summary").click()
    lines = page.locator(".log-panel li")
    expect(lines.first).to_contain_text("started")
    expect(lines.last).to_contain_text("finished")
    loop = lines.filter(has_text="Action loop detected: computer.click(900, 700) repeated 3+ times")
    expect(loop).to_have_class("level-warning")
    loop.get_by_role("button").click()
    expect(page.locator(".details h2")).to_contain_text("of 6")
    assert "step=" in hash_of(page)
    page.get_by_label("Level").select_option("warnings and errors")
    expect(lines.first).to_have_text(re.compile("Action loop detected"))
