"""Chromium for the replay's pages, opened from ``file://``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from evalgauge_exporter.replay import generate
from tests.exporter.replay.factories import LATER, START, call, found, png, step, task, write_run

Open = Callable[..., Page]

RECORDED = Path(__file__).parents[2] / "data" / "openadapt-0.98.0-mixed" / "benchmark_results"
SEED = "waa_mixed_48_seed2"


@pytest.fixture(scope="session")
def chromium(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def open_page(chromium: BrowserContext) -> Iterator[Open]:
    """Opens a file at an address; the test fails where the page complains or asks for anything but files."""
    complaints: list[str] = []
    pages: list[Page] = []

    def opened(
        at: Path | str, address: str = "", *, width: int = 1440, complains: bool = False, server: str | None = None
    ) -> Page:
        page = chromium.new_page()
        pages.append(page)
        if width != 1440:
            page.set_viewport_size({"width": width, "height": 844})
        if not complains:
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked(request.url, server))
        page.goto((at if isinstance(at, str) else at.absolute().as_uri()) + address)
        page.wait_for_selector("#main")
        return page

    def asked(url: str, server: str | None) -> None:
        if not url.startswith(("file:", "data:", "blob:", server or "file:")):
            complaints.append(f"asked for {url}")

    yield opened
    for page in pages:
        page.close()
    assert not complaints


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
