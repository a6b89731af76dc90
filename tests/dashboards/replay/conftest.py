"""Chromium for the replay's pages, opened from ``file://``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests import parts

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserContext]:
    program = parts.chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(5000)
        yield context
        browser.close()


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
