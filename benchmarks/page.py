"""Latency from an event to the browser, and API latency with many clients."""

from __future__ import annotations

import concurrent.futures
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.exporter import write_run
from benchmarks.rows import Row
from evalgauge import track_run
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import serving

CLIENTS, REQUESTS, EVENTS = 50, 20, 60
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")

_WATCH = """() => {
  window.seen = [];
  const note = () => {
    const found = /(\\d+) of 1,?000/.exec(document.body.innerText);
    const last = window.seen.at(-1);
    if (found && (!last || last[0] !== +found[1])) window.seen.push([+found[1], Date.now()]);
  };
  new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
  note();
}"""


def rows() -> Iterator[Row]:
    """Latencies, with a run of 10,000 tasks in the same folder."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        write_run(results, "large", tasks=10_000, steps=2)
        exporter = Exporter(load_config(None, results=(results,), listen="127.0.0.1:0"))
        with (
            track_run(results, benchmark="b", model="m", run_id="r", tasks=1000, fsync="never") as run,
            serving(exporter) as url,
        ):
            exporter.wait_ready()
            yield from _api(url)
            if (chromium := Path("/usr/bin/chromium")).exists():
                from playwright.sync_api import sync_playwright

                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=str(chromium), args=list(CHROMIUM))
                    page = browser.new_page()
                    page.goto(f"{url}/")
                    page.get_by_text("of 1,000").first.wait_for()
                    page.evaluate(_WATCH)
                    written: list[float] = []
                    for number in range(EVENTS):
                        with run.task(f"t{number}") as task:
                            task.finish(success=True)
                        written.append(time.time() * 1000)
                        while not page.evaluate(f"window.seen.some(([count]) => count === {number + 1})"):
                            page.wait_for_timeout(5)
                        page.wait_for_timeout(250)  # let the stream's least interval pass: it is not what is measured
                    seen = dict(page.evaluate("window.seen"))
                    browser.close()
                waits = [max(0.0, seen[number + 1] - at) for number, at in enumerate(written)]
                yield Row(
                    f"an event written until the browser shows it, {EVENTS} times",
                    f"median {statistics.median(waits):.0f} ms, p99 {_p99(waits):.0f} ms",
                    "",
                    None,
                    "≤ 250 ms",
                )


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(len(values) * 0.99))]


def _api(url: str) -> Iterator[Row]:
    for path in ("/api/benchmark/status", "/api/benchmark/frame", "/api/benchmark/metrics?run_id=large", "/metrics"):

        def ask(_: int, path: str = path) -> float:
            start = time.perf_counter()
            urllib.request.urlopen(url + path).read()
            return (time.perf_counter() - start) * 1000

        alone = statistics.median(ask(n) for n in range(20))
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            waits = list(clients.map(ask, range(CLIENTS * REQUESTS)))
        yield Row(
            f"{path.partition('?')[0]}, {CLIENTS} clients",
            f"median {statistics.median(waits):.0f} ms, p99 {_p99(waits):.0f} ms",
            f"one client: {alone:.1f} ms",
            statistics.median(waits) / alone,
        )
