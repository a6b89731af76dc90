"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from tests.parts import chromium

# a shared machine is slow at times: an example is judged by what it finds, not by how long it takes
settings.register_profile("evalgauge", deadline=None, max_examples=60)
settings.load_profile("evalgauge")

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


SLOW = ("replay/test_page", "replay/test_site", "test_live", "test_cli", "_command", "test_example", "test_prometheus")
"""Tests that start browsers, servers or the command come last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fast ones first: what is wrong is mostly found in the first seconds."""
    items.sort(key=lambda item: any(name in item.path.as_posix() for name in SLOW))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium for the whole run: Playwright can be started only once in a thread."""
    program = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_FLAGS))
        yield started
        started.close()
