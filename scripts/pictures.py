"""Draw the pictures of README and docs from seeded runs: ``make pictures``.

The runs are those of the demo: two finished ones, and one that is half done. The pages are what the exporter serves,
drawn by the Chromium on PATH.

The dashboards are drawn by the command in ``DASHBOARD_RENDERER``, and left as they are without it. It is called with
``--dashboard FILE --prometheus URL --from TIME --to TIME --theme THEME --var NAME=VALUE --out FILE``, and a Prometheus
is there that has the runs' history and scrapes the exporter.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from evalgauge import Run
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.demo.player import VM_RATE_USD, VM_SIZE, draw_screenshots, write_finished_run, write_running_run
from evalgauge_exporter.demo.scenario import Scenario, plan
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import listening_socket, serving

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PROGRAMS = os.pathsep.join((os.environ.get("PATH", ""), str(ROOT / ".cache" / "prometheus" / "bin")))
TASKS, SEED, SPEED, HOUR = 60, 7, 1.5, 3600.0
NOW, BEFORE, OTHER = "nightly-2026-11-28", "nightly-2026-11-27", "nightly-2026-11-27-haiku"


DASHBOARDS = {"overview": "light", "evaluation": "dark", "fleet": "light"}
"""The dashboards that are drawn, and the theme of each; previews can't draw the scatter chart of the Comparison."""


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
        (write_finished_run(results, BEFORE, before, model=models[0], speed=SPEED, ended_at=ends[0]), before),
        (write_finished_run(results, OTHER, other, model=models[1], speed=SPEED, ended_at=ends[1]), other),
        (write_running_run(results, NOW, running, model=models[0], speed=SPEED, share=0.6, baseline=BEFORE), running),
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


def list_machines(workers: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the machines of the workers, as the configuration has them."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 26 * HOUR))
    machine = {"provider": "azure", "instance_type": VM_SIZE, "hourly_rate_usd": VM_RATE_USD, "start": start}
    return [{**machine, "name": f"vm-{name}"} for name in workers]


@contextlib.contextmanager
def run_prometheus(folder: Path, results: Path, exporter: str) -> Iterator[str]:
    """Run a Prometheus that has the history of the runs and scrapes the exporter; yield its address."""
    program, promtool = (shutil.which(name, path=PROGRAMS) for name in ("prometheus", "promtool"))
    if program is None or promtool is None:
        sys.exit("no Prometheus here: scripts/fetch-prometheus.sh")
    history, data = folder / "history.om", folder / "data"
    export = ["export", str(results), "--format", "openmetrics", "--out", str(history)]
    subprocess.run([sys.executable, "-m", "evalgauge_exporter", *export], check=True)
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", history, data], check=True, stdout=sys.stderr
    )
    # what is scraped of a run continues the series of its history, which have no labels of a scrape
    same = [
        {"source_labels": ["run_id"], "regex": ".+", "target_label": label, "replacement": ""}
        for label in ("job", "instance")
    ]
    targets = [{"targets": [urlsplit(exporter).netloc]}]
    scrape = {"job_name": "evalgauge", "static_configs": targets, "metric_relabel_configs": same}
    rules = str(ROOT / "dashboards" / "generated" / "prometheus" / "rules.yml")
    config = {"global": {"scrape_interval": "5s"}, "rule_files": [rules], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    with contextlib.closing(listening_socket("127.0.0.1", 0)) as bound:
        address = f"127.0.0.1:{bound.getsockname()[1]}"
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}"]
    with subprocess.Popen([*command, f"--web.listen-address={address}", "--log.level=error"]) as process:
        try:
            url = f"http://{address}"
            while not has_been_judged(url):
                if process.poll() is not None:
                    sys.exit("Prometheus has ended")
                time.sleep(1)
            yield url
        finally:
            process.terminate()


def has_been_judged(url: str) -> bool:
    """Return whether the rules were evaluated over a scrape."""
    query = urlencode({"query": "count(agent_eval_run_info) and on () evalgauge:alert_rules:count"})
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=60) as answer:
        return bool(json.load(answer)["data"]["result"])
    return False


def draw_dashboards(renderer: str, prometheus: str, say: Callable[[str], None]) -> None:
    """Have the dashboards drawn."""
    for name, theme in DASHBOARDS.items():
        dashboard = ROOT / "dashboards" / "generated" / "dashboards" / f"{name}.json"
        out = IMAGES / f"dashboard-{name}-{theme}.png"
        command = [*shlex.split(renderer), "--dashboard", str(dashboard), "--prometheus", prometheus, "--out", str(out)]
        command += ["--from", "now-1h", "--to", "now", "--theme", theme]
        command += ["--var", f"run={NOW}"] if name == "evaluation" else []
        code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
        say(f"docs/images/{out.name}{f' (the renderer could not draw all of it: exit {code})' if code else ''}")


def main(say: Callable[[str], None] = print) -> None:
    """Draw every picture."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        results = Path(folder) / "results"
        task_id = write_runs(results)
        machines = list_machines(plan(TASKS, workers=4, seed=SEED).workers)
        exporter = Exporter(load_config(None, results=(results,), listen="127.0.0.1:0", machine=machines))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with serving(exporter) as url:
            exporter.wait_ready()
            for picture in pictures(task_id):
                take(browser, url, picture)
                say(f"docs/images/{picture.name}.png")
            browser.close()
            if renderer := os.environ.get("DASHBOARD_RENDERER"):
                with run_prometheus(Path(folder), results, url) as prometheus:
                    draw_dashboards(renderer, prometheus, say)
            else:
                say("DASHBOARD_RENDERER is not set: the pictures of the dashboards stay as they are")


if __name__ == "__main__":
    main()
