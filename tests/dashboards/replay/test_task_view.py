"""A task in Chromium: its steps, its marks, its keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboards.replay.conftest import SEED, Open


def hash_of(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def test_a_task_is_replayed_step_by_step(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}&task=mock_clock_001&step=2")
    picture = page.locator(".stage img")
    expect(page.locator(".details h3")).to_have_text("Step 3 of 6")
    expect(page.locator(".marks .note-text")).to_have_text("hello")
    assert picture.evaluate("img => img.naturalWidth") == 1920
    page.keyboard.press("ArrowRight")
    expect(page.locator(".details h3")).to_have_text("Step 4 of 6")
    assert "step=3" in hash_of(page)
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
