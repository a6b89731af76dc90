"""The wall of screens: what each worker shows now."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from evalgauge import Run, track_run
from evalgauge_exporter.web.server import serving
from tests.exporter.runs import exporter_of
from tests.exporter.waiting import wait_for


def png(shade: int, width: int = 1920) -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, width * 10 // 16), (shade, 90, 120)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A running run: one worker with a screenshot, a text agent, and one between tasks."""
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(track_run(tmp_path / "results", benchmark="b", model="m", run_id="live"))
        with run.task("done", worker="w3") as task:
            task.finish(success=True)
        seen = stack.enter_context(run.task("seen", worker="w1", max_steps=15))
        seen.step(action="click", screenshot=png(200))
        text = stack.enter_context(run.task("text", worker="w2"))
        text.step(action="bash", reasoning="I look for <img src=x onerror=alert(1)> in the files.")
        yield run
        for task in (seen, text):
            task.finish(success=False)


@pytest.fixture
def base(run: Run, tmp_path: Path) -> Iterator[str]:
    exporter = exporter_of(tmp_path / "results")
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        wait_for(lambda: len(httpx.get(f"{url}/api/benchmark/wall", timeout=60).json()["tiles"]) == 3)
        yield url


def test_the_wall_has_what_each_worker_shows(base: str) -> None:
    wall = httpx.get(f"{base}/api/benchmark/wall", params={"run_id": "live"}, timeout=60).json()
    seen, text, done = wall["tiles"]
    assert (seen["task_id"], seen["step"], seen["max_steps"], seen["lines"]) == ("seen", 1, 15, None)
    assert (text["screenshot"], "in the files." in text["lines"]) == (None, True)
    assert (done["task_id"], done["outcomes"]) == (None, ["success"])
    assert (wall["completed_tasks"], wall["total_workers"]) == (1, 3)


def test_a_screenshot_is_scaled_and_comes_from_the_run_s_folder_alone(base: str, run: Run, tmp_path: Path) -> None:
    tile = httpx.get(f"{base}/api/benchmark/wall", timeout=60).json()["tiles"][0]
    answer = httpx.get(f"{base}/{tile['screenshot']}", timeout=60)
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(BytesIO(answer.content)) as image:
        assert image.width == 640
    (shot,) = run.folder.rglob("*.png")
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(1))
    shot.unlink()
    shot.symlink_to(secret)
    assert httpx.get(f"{base}/{tile['screenshot']}", timeout=60).status_code == 404
    shot.unlink()
    shot.write_bytes(b"\x89PNG\r\n\x1a\nnot an image")
    assert httpx.get(f"{base}/{tile['screenshot']}", timeout=60).status_code == 404


@pytest.mark.parametrize(
    "query", ["run_id=nope&worker_id=w1", "run_id=live&worker_id=nope", "run_id=live&worker_id=w2"]
)
def test_what_shows_no_screenshot_is_not_found(base: str, query: str) -> None:
    assert httpx.get(f"{base}/api/benchmark/wall/screenshot?{query}", timeout=60).status_code == 404


def test_an_empty_folder_has_an_empty_wall(tmp_path: Path) -> None:
    with serving(exporter_of(tmp_path)) as url:
        assert httpx.get(f"{url}/api/benchmark/wall", timeout=60).json()["tiles"] == []
        assert httpx.get(f"{url}/wall", timeout=60).status_code == 200


@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_shows_the_workers_and_follows_their_steps(browser: Browser, base: str, run: Run, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{base}/wall?run=live")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(3)
    expect(tiles.nth(0)).to_contain_text("seen")
    expect(tiles.nth(0)).to_contain_text(re.compile("step 1 of 15"))
    expect(tiles.nth(0).locator("img")).to_be_visible()
    expect(tiles.nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    expect(tiles.nth(2)).to_contain_text("✓")
    first = tiles.nth(0).locator("img").get_attribute("src")
    with run.task("next", worker="w3") as task:
        task.step(action="click", screenshot=png(40))
        expect(tiles.nth(2)).to_contain_text("next")
        expect(tiles.nth(2).locator("img")).to_be_visible()
        task.finish(success=True)
    assert tiles.nth(0).locator("img").get_attribute("src") == first, "what has not changed is not loaded again"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    link = tiles.nth(0).locator("a").get_attribute("href")
    assert link is not None
    assert link.endswith("replay/live/#run=live&task=seen&step=last")
    assert not errors
    context.close()
