"""Draw the pictures of README and docs from seeded runs: ``make pictures``.

The runs are those of the demo: two finished ones, and one that is half done. The pages are what the exporter serves,
drawn by the Chromium on PATH. Pictures of Grafana are not drawn here: they need a Grafana with its renderer.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from evalgauge import Run
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.demo.player import draw_screenshots, write_finished_run, write_running_run
from evalgauge_exporter.demo.scenario import Scenario, plan
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import serving

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TASKS, SEED, HOUR = 60, 7, 3600.0
NOW, BEFORE, OTHER = "nightly-2026-11-28", "nightly-2026-11-27", "nightly-2026-11-27-haiku"


class Picture(NamedTuple):
    """A picture and how it is taken."""

    name: str
    path: str
    """Address below the exporter's."""
    ready: str
    """CSS selector of what must be visible."""
    width: int = 1440
    height: int = 900
    dark: bool = False
    scale: int = 1


def write_runs(results: Path) -> str:
    """Write the runs with their screenshots; return a task that the weaker model failed and the stronger one solved."""
    before = plan(TASKS, workers=4, seed=SEED + 1)
    other = plan(TASKS, workers=4, seed=SEED + 1, skill=-0.18)
    running = plan(TASKS, workers=4, seed=SEED)
    models = ("claude-sonnet-4-5", "claude-haiku-4-5")
    ends = time.time() - 20 * HOUR, time.time() - 22 * HOUR
    written: list[tuple[Run, Scenario]] = [
        (write_finished_run(results, BEFORE, before, model=models[0], speed=8, ended_at=ends[0]), before),
        (write_finished_run(results, OTHER, other, model=models[1], speed=8, ended_at=ends[1]), other),
        (write_running_run(results, NOW, running, model=models[0], speed=8, share=0.6, baseline=BEFORE), running),
    ]
    for run, scenario in written:
        draw_screenshots(run, scenario, threading.Event())
    pairs = zip(before.tasks, other.tasks, strict=True)
    return next(
        weak.task_id
        for strong, weak in pairs
        if (strong.outcome, weak.outcome) == ("success", "failure") and len(weak.steps) > 8
    )


def pictures(task_id: str) -> list[Picture]:
    """Return the pictures: the live page, and a failed task in the replay, alone and beside the run that solved it."""
    site = f"replay/{BEFORE}/"  # it holds the run before it too
    task = urlencode({"run": OTHER, "task": task_id})
    compared = urlencode({"run": OTHER, "task": task_id, "with": BEFORE})
    return [
        Picture("live-desktop", "", "#grid"),
        Picture("live-dark", "", "#grid", dark=True),
        Picture("live-phone", "", "#grid", width=390, height=1200, scale=2),
        Picture("replay-run", site, "text=Analysis"),
        Picture("replay-task", f"{site}#{task}", "main img[src]"),
        Picture("replay-compare", f"{site}#{compared}", "main img[src]"),
    ]


def take(browser: Browser, url: str, picture: Picture) -> None:
    """Open a page, wait until it shows its data, and write the picture."""
    page: Page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=picture.scale,
        color_scheme="dark" if picture.dark else "light",
        reduced_motion="reduce",
        bypass_csp=True,  # what is waited for below is evaluated in the page
    )
    page.goto(f"{url}/{picture.path}")
    page.wait_for_selector(picture.ready, state="visible")
    page.wait_for_function("document.body.dataset.loading === undefined && document.fonts.ready")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{picture.name}.png")
    page.close()


def main(say: Callable[[str], None] = print) -> None:
    """Draw every picture."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        results = Path(folder) / "results"
        task_id = write_runs(results)
        exporter = Exporter(load_config(None, results=(results,), listen="127.0.0.1:0"))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with serving(exporter) as url:
            exporter.wait_ready()
            for picture in pictures(task_id):
                take(browser, url, picture)
                say(f"docs/images/{picture.name}.png")
        browser.close()


if __name__ == "__main__":
    main()
