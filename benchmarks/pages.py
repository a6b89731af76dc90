"""The exporter's pages in Chromium: all runs, the wall, and the live page left open for a day.

Of each page the time on the clock is measured, and the processor time of its main thread, which does not depend on what
else the machine does.
"""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.answers import write_task
from benchmarks.rows import Row
from evalgauge.events import decode
from evalgauge.runlog import LogWriter
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import fold
from evalgauge_exporter.web.server import serving

RUNS, TILES, FRAMES = 5000, 100, 20_000
SECONDS = 5.0
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-precise-memory-info")


def rows() -> Iterator[Row]:
    """Each page in a browser window of its own."""
    with open_browser() as browser, tempfile.TemporaryDirectory() as name:
        if browser is None:
            yield Row("the pages in Chromium", "not measured", "there is no Chromium", None)
            return
        folder = Path(name)
        for number, measure in enumerate((_runs_page, _wall, _day)):
            page = open_page(browser)
            (folder / str(number)).mkdir()
            yield from measure(page, folder / str(number))
            page.close()


@contextlib.contextmanager
def open_browser() -> Iterator[Browser | None]:
    """Open Chromium; None where there is none."""
    if not CHROMIUM.exists():
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


def open_page(browser: Browser) -> Page:
    """Open an empty page of usual size."""
    return browser.new_page(viewport={"width": 1440, "height": 900})


def measure_load(page: Page, session: CDPSession, url: str, drawn: str) -> tuple[float, float]:
    """Load a page until something is drawn.

    Args:
        page: The page; what was in it is left before the time begins.
        session: From ``watch_thread``.
        url: The address.
        drawn: The selector of what is waited for.

    Returns:
        The seconds that it took, and the processor time of the page's main thread.
    """
    page.goto("about:blank")
    before, start = _thread_seconds(session), time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(drawn)
    return time.perf_counter() - start, _thread_seconds(session) - before


def _thread_seconds(session: CDPSession) -> float:
    """Return the processor time of the page's main thread."""
    found = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])


def watch_thread(page: Page) -> CDPSession:
    """Count the processor time of a page's main thread from now on."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def _runs_page(page: Page, folder: Path) -> Iterator[Row]:
    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    with serving(exporter) as url:
        exporter.wait_ready()
        show_finished_runs(exporter, RUNS)
        session = watch_thread(page)
        for turn in ("first", "again"):
            took, used = measure_load(page, session, f"{url}/runs/", ".list-view .list-row")
            page.wait_for_function("text => document.body.innerText.includes(text)", arg=f"{RUNS:,} runs")
            yield Row(f"/runs/ of {RUNS:,} runs, {turn}", f"{took * 1e3:.0f} ms", f"thread: {used * 1e3:.0f} ms", None)
        before, start = _thread_seconds(session), time.perf_counter()
        page.get_by_role("searchbox").fill("run-04321")
        page.wait_for_function("() => document.querySelectorAll('.list-view .list-row').length === 1")
        took, used = time.perf_counter() - start, _thread_seconds(session) - before
        yield Row("a search in them", f"{took * 1e3:.0f} ms", f"thread: {used * 1e3:.0f} ms", None, "≤ 100 ms")


def show_finished_runs(exporter: Exporter, count: int) -> None:
    """Put so many finished runs into an exporter, in the place of those that it has."""
    runs = {f"run-{number:05d}": _finished_run(number) for number in range(count)}
    with exporter.state.lock:
        exporter.state.runs = runs
        exporter.state.version += 1


def _finished_run(number: int) -> Any:
    events = [
        {"ts": 1e9 + number, "type": "run_started", "benchmark": f"b{number % 3}", "model": f"m{number % 7}"},
        *(
            {"ts": 1e9 + number + n, "type": "task_finished", "task_id": f"t{n}", "outcome": "success"}
            for n in range(3)
        ),
        {"ts": 1e9 + number + 9, "type": "run_finished", "status": "completed"},
    ]
    return fold(
        f"run-{number:05d}", "runlog", [decode({"v": 1, "seq": seq, **one}, "w") for seq, one in enumerate(events)]
    )


def _wall(page: Page, folder: Path) -> Iterator[Row]:
    """Each worker takes a step a second, with a screenshot."""
    shots = folder / "wall" / "screenshots"
    shots.mkdir(parents=True)
    for number in range(8):
        (shots / f"{number}.png").write_bytes(_png(640, 360, number * 30))
    writer, stopped = LogWriter(folder / "wall" / "events" / "w.jsonl"), threading.Event()
    writer.write("run_started", {"run_id": "wall", "benchmark": "b", "model": "m"})
    for worker in range(TILES):
        ids = {"task_id": f"t{worker}", "worker_id": f"vm-{worker:03d}", "attempt": 1}
        writer.write("task_started", ids | {"max_steps": 50})

    def work() -> None:
        for turn in range(10_000):
            for worker in range(TILES):
                ids = {"task_id": f"t{worker}", "worker_id": f"vm-{worker:03d}", "attempt": 1}
                shot = f"screenshots/{(turn + worker) % 8}.png"
                writer.write("step", {**ids, "step_idx": turn, "action": {"type": "click"}, "screenshot": shot})
                if stopped.wait(1 / TILES):
                    return

    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    thread = threading.Thread(target=work)
    with serving(exporter) as url:
        exporter.wait_ready()
        thread.start()
        session = watch_thread(page)
        page.goto(f"{url}/wall?run=wall")
        page.wait_for_function("most => document.querySelectorAll('.tile').length === most", arg=TILES)
        before = _thread_seconds(session)
        seen = page.evaluate(_FRAMES, SECONDS * 1000)
        used = (_thread_seconds(session) - before) / SECONDS
        stopped.set()
        thread.join()
    yield Row(
        f"/wall of {TILES} workers, a step and a screenshot a second each",
        f"{seen['rate']:.0f} frames/s, longest {seen['longest']:.0f} ms",
        f"thread: {used:.0%} of a core",
        None,
        "60 frames/s",
    )


_FRAMES = """(most) => new Promise(done => {
  const times = [];
  const step = now => {
    times.push(now);
    if (now - times[0] < most) return requestAnimationFrame(step);
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    done({ rate: 1000 * gaps.length / (times.at(-1) - times[0]), longest: Math.max(...gaps) });
  };
  requestAnimationFrame(step);
})"""


def _day(page: Page, folder: Path) -> Iterator[Row]:
    """A whole frame, then patches as fast as the page takes them: as many as a day of a change each four seconds."""
    writer = LogWriter(folder / "large" / "events" / "w.jsonl")
    tasks = [{"task_id": f"task-{n}", "domain": f"domain-{n % 12}"} for n in range(10_000)]
    writer.write("run_started", {"run_id": "large", "benchmark": "waa", "model": "m", "tasks": tasks})
    for number in range(500):
        write_task(writer, number)
    writer.close()
    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    with serving(exporter) as url:
        exporter.wait_ready()
        session = watch_thread(page)
        page.add_init_script(_FAKE_STREAM)
        page.goto(f"{url}/?run=large")
        page.wait_for_function("() => window.streams?.length > 0")
        whole = page.request.get(f"{url}/api/benchmark/frame?run_id=large").text()
        page.evaluate("whole => window.send('message', whole)", whole)
        held = []
        before = _thread_seconds(session)
        for part in range(4):
            page.evaluate(_PATCHES, [part * FRAMES // 4, FRAMES // 4, json.loads(whole)["generated_at"]])
            session.send("HeapProfiler.collectGarbage")
            held.append((page.evaluate("performance.memory.usedJSHeapSize") / 1e6, _count_nodes(session)))
        used = (_thread_seconds(session) - before) / FRAMES
    yield Row(
        f"the live page's heap after {FRAMES // 2:,} and {FRAMES:,} frames",
        f"{held[1][0]:.1f} and {held[-1][0]:.1f} MB",
        f"nodes: {held[1][1]:,} and {held[-1][1]:,}",
        held[-1][0] / held[1][0],
        "≤ 1.1",
    )
    yield Row("a frame's processor time in the page, 10,000 tasks", f"{used * 1e3:.1f} ms", "", None)


def _count_nodes(session: CDPSession) -> int:
    return int(session.send("Memory.getDOMCounters")["nodes"])


_FAKE_STREAM = """
window.streams = [];
window.EventSource = class extends EventTarget {
  static CLOSED = 2;
  constructor() { super(); this.readyState = 1; window.streams.push(this); }
  set onmessage(listener) { this.addEventListener("message", listener); }
  set onerror(listener) {}
  close() { this.readyState = 2; }
};
window.send = (kind, data) => window.streams.at(-1).dispatchEvent(new MessageEvent(kind, { data }));
"""
_PATCHES = """async ([from, count, at]) => {
  for (let n = from; n < from + count; n += 1) {
    const patch = {
      version: [1e6 + n], generated_at: [at + 4 * n],
      current_job: { completed_tasks: [500 + (n % 9000)], last_progress_at: [at + 4 * n] },
      workers: { workers: { [n % 90]: { last_seen: [at + 4 * n], tasks_completed: [n], current_task: ["t" + n] } } },
      queue: { "-": [0], "+": [[99, { task_id: "queued-" + n, status: "pending", domain: "domain-1" }]] },
    };
    window.send("patch", JSON.stringify(patch));
    if (n % 20 === 0) await new Promise((done) => requestAnimationFrame(done));
  }
}"""


def _png(width: int, height: int, grey: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress((b"\0" + bytes([grey]) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
