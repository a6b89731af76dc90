"""Fixtures and settings of all tests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.parts import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A shared machine is slow at times: no deadline for an example, nor for making it. The examples are the same in each
# run, so that a change is judged by what it changes; `make fuzz` looks for new ones.
settings.register_profile(
    "evalgauge",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=60,
    derandomize="EVALGAUGE_FUZZ" not in os.environ,
)
settings.load_profile("evalgauge")

# recorded runs have naive times, which are those of the machine that they were recorded on; and an hour is there twice
# once a year in many other zones
os.environ["TZ"] = "UTC"
if hasattr(time, "tzset"):
    time.tzset()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # jobs that a shell runs in the background ignore it, and so would each process that a test interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


SLOW = ("replay/", "test_live", "/cli/", "_command", "test_example", "test_prometheus", "test_packaging")
"""Tests that start servers or the command, which take seconds each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first, and those that need a browser last."""

    def rank(item: pytest.Item) -> int:
        if "browser" in getattr(item, "fixturenames", ()):
            return 2
        return int(any(name in item.path.as_posix() for name in SLOW))

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def _isolated_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test off the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for size in ("COLUMNS", "LINES"):  # of a terminal that is not there; workers of xdist have them set
            patch.delenv(size, raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_loop_of_the_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide Playwright's event loop, which stays marked as running in this thread, from tests that need no browser."""
    loop = None if "browser" in request.fixturenames else asyncio._get_running_loop()
    if loop is not None:
        asyncio._set_running_loop(None)
    yield
    if loop is not None:
        asyncio._set_running_loop(loop)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium for the session: Playwright can be started only once in a thread."""
    from playwright.sync_api import expect, sync_playwright  # the tracker's tests run where there is none

    expect.set_options(timeout=60_000)
    program = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_FLAGS), timeout=120_000)
        yield started
        started.close()
