"""The replay: time to generate the site, its size, and the time until a browser shows it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.formats import write_inspect
from benchmarks.peers import PeerMissing, find_openadapt_python, find_python, run_python
from benchmarks.rows import Row, peak_memory
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.state.run import fold

if TYPE_CHECKING:
    from playwright.sync_api import Page

TASKS, STEPS, RUNS = 369, 15, 2
"""OSWorld's number of tasks, by two models."""
LOGS, SAMPLES = 5, 200
MANY, MANY_STEPS = 20_000, 5
SHOT_BYTES = 350_000
PICTURES = 24
"""Different screenshots; each step's is one of them, as a hard link, so that the disk stays small."""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="evalgauge-replay-") as name:
        folder = Path(name)
        yield from _osworld(folder)
        yield from _growth(folder)
        yield _big(folder)
        yield _inspect(folder)
        yield from _peer(folder)
        yield from _inspect_peer(folder)
        yield from _pages(folder)


def _osworld(folder: Path) -> Iterator[Row]:
    results = folder / "osworld"
    for number in range(RUNS):
        write_run(results, f"model-{number}", TASKS, STEPS, _pictures(folder))
    floor = _reading(results)
    what = f"{RUNS} runs × {TASKS} tasks × {STEPS} steps"
    first = _generate(results, folder / "site")
    yield Row(
        f"make the site, {what}",
        f"{first['seconds']:.1f} s",
        f"reading alone: {floor:.1f} s",
        first["seconds"] / floor,
        "< 10 s",
    )
    yield Row("its memory", f"{first['rss'] / 1e6:.0f} MB", "", None, "< 300 MB")
    again = _generate(results, folder / "site")
    yield Row(
        "make it again, nothing changed",
        f"{again['seconds']:.1f} s, {again['written']} written",
        f"first: {first['seconds']:.1f} s",
        again["seconds"] / first["seconds"],
    )
    site = folder / "site"
    index = sum(path.stat().st_size for path in [site / "index.html", *site.glob("assets/*"), *site.glob("data/*.js")])
    tables = sum(path.stat().st_size for name in ("tasks", "rows-*") for path in site.glob(f"data/*/{name}.js"))
    steps = sum(path.stat().st_size for path in site.glob("data/*/*.js")) - tables
    yield Row("index: page, program, list of runs", f"{index / 1e3:.0f} kB", "", None, "< 1 MB")
    yield Row(
        "task lists of both runs; all steps",
        f"{tables / 1e3:.0f} kB; {steps / 1e6:.1f} MB",
        f"screenshots: {TASKS * STEPS * RUNS * SHOT_BYTES / 1e9:.1f} GB",
        (tables + steps) / (TASKS * STEPS * RUNS * SHOT_BYTES),
    )


def _growth(folder: Path) -> Iterator[Row]:
    seconds = {}
    for tasks in (500, 2000):
        write_run(folder / f"grow{tasks}", "r", tasks, STEPS, [])
        seconds[tasks] = _generate(folder / f"grow{tasks}", folder / f"site{tasks}")["seconds"]
    yield Row(
        "make the site of 2,000 tasks",
        f"{seconds[2000]:.2f} s",
        f"500 tasks: {seconds[500]:.2f} s",
        seconds[2000] / seconds[500],
        "4, in step",
    )


def _big(folder: Path) -> Row:
    """The first replay of a run of many tasks."""
    write_run(folder / "many", "big", MANY, MANY_STEPS, _pictures(folder))
    floor = _reading(folder / "many")
    made = _generate(folder / "many", folder / "site-many")
    return Row(
        f"make the site of {MANY:,} tasks × {MANY_STEPS} steps",
        f"{made['seconds']:.1f} s, {made['rss'] / 1e6:.0f} MB",
        f"reading alone: {floor:.1f} s",
        made["seconds"] / floor,
    )


def _inspect(folder: Path) -> Row:
    """The replay of a log that holds its screenshots: each becomes a file."""
    write_inspect(folder / "inspect-log", 1, 200, 15)
    floor = _reading(folder / "inspect-log")
    made = _generate(folder / "inspect-log", folder / "site-inspect-log")
    return Row(
        "make the site of an Inspect log, 200 samples of 30 messages and 15 screenshots",
        f"{made['seconds']:.1f} s, {made['rss'] / 1e6:.0f} MB",
        f"reading alone: {floor:.1f} s",
        made["seconds"] / floor,
    )


def _peer(folder: Path) -> Iterator[Row]:
    """openadapt-evals' own viewers on the same runs, screenshots linked by both."""
    results = folder / "openadapt"
    for number in range(RUNS):
        write_openadapt(results / f"run_{number}", TASKS, STEPS, _pictures(folder))
    made = _generate(results, folder / "site-openadapt")
    try:
        theirs = json.loads(run_python(find_openadapt_python(), _VIEWERS, *sorted(results.iterdir())))
    except PeerMissing as error:
        yield Row("the site beside openadapt-evals' viewers", "not measured", str(error), None)
        return
    what = f"the site of {RUNS} OpenAdapt runs × {TASKS} tasks × {STEPS} steps"
    beside = f"openadapt-evals' viewers: {theirs['seconds']:.1f} s"
    yield Row(what, f"{made['seconds']:.1f} s", beside, made["seconds"] / theirs["seconds"])
    site = folder / "site-openadapt"
    index = site / "data" / "index.js"
    first = sum(path.stat().st_size for path in [site / "index.html", *site.glob("assets/*"), index])
    first += sum(max(path.stat().st_size for path in site.glob(f"data/*/{name}.js")) for name in ("tasks", "rows-0"))
    beside = f"theirs: {theirs['bytes'] / 1e6:.1f} MB"
    yield Row("what a browser reads before the first list", f"{first / 1e6:.2f} MB", beside, first / theirs["bytes"])


def _inspect_peer(folder: Path) -> Iterator[Row]:
    """``inspect view bundle`` of the same logs."""
    logs, site = folder / "inspect-logs", folder / "site-inspect-logs"
    logs.mkdir()
    write_inspect(logs, LOGS, SAMPLES)
    made = _generate(logs, site)
    try:
        theirs = json.loads(run_python(find_python(), _BUNDLE, logs, folder / "bundle"))
    except PeerMissing as error:
        yield Row("the site beside Inspect's bundle", "not measured", str(error), None)
        return
    what = f"the site of {LOGS} Inspect logs × {SAMPLES} samples"
    beside = f"inspect view bundle: {theirs['seconds']:.1f} s"
    yield Row(what, f"{made['seconds']:.1f} s", beside, made["seconds"] / theirs["seconds"])
    ours = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    beside = f"theirs: {theirs['bytes'] / 1e6:.0f} MB"
    yield Row("its size", f"{ours / 1e6:.0f} MB", beside, ours / theirs["bytes"])


_BUNDLE = """
import json, pathlib, sys, time
from inspect_ai.log import bundle_log_dir
start = time.perf_counter()
bundle_log_dir(sys.argv[1], sys.argv[2])
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "bytes": sum(p.stat().st_size for p in pathlib.Path(sys.argv[2]).rglob("*"))}))
"""
_VIEWERS = """
import json, pathlib, sys, time
from openadapt_evals.benchmarks.comparison_viewer import generate_comparison_viewer
from openadapt_evals.benchmarks.viewer import generate_benchmark_viewer
runs = [pathlib.Path(name) for name in sys.argv[1:]]
start = time.perf_counter()
pages = [generate_benchmark_viewer(run, run / "benchmark.html") for run in runs]
both = [(run, run.name) for run in runs]
pages.append(generate_comparison_viewer(both, runs[0] / "comparison.html", embed_screenshots=False))
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "bytes": max(page.stat().st_size for page in pages)}))
"""


def _pages(folder: Path) -> Iterator[Row]:
    chromium = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if chromium is None:
        yield Row("the page in Chromium", "not measured", "no Chromium on PATH", None)
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto("about:blank")
        few = _shown(page, folder / "site/index.html", "#run=model-0", ".list-view .list-row")
        yield Row(f"first list usable from file://, {TASKS} tasks", f"{few * 1e3:.0f} ms", "", None, "< 300 ms")
        yield _first_screenshot(page, TASKS, "model-0")
        many = _shown(page, folder / "site-many/index.html", "#run=big", ".list-view .list-row")
        yield Row(
            f"first list usable from file://, {MANY:,} tasks",
            f"{many * 1e3:.0f} ms",
            f"{TASKS} tasks: {few * 1e3:.0f} ms",
            many / few,
            "< 300 ms",
        )
        frames = page.evaluate(_SCROLL)
        yield Row(
            f"scrolling {MANY:,} tasks",
            f"{frames['rate']:.0f} frames/s",
            f"longest frame {frames['longest']:.0f} ms",
            None,
            "60 frames/s",
        )
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        yield Row(f"heap with {MANY:,} tasks", f"{heap / 1e6:.0f} MB", "", None, "< 200 MB")
        yield _first_screenshot(page, MANY, "big")
        browser.close()


def _first_screenshot(page: Page, tasks: int, run_id: str) -> Row:
    start = time.perf_counter()
    page.evaluate("run => { location.hash = `#run=${run}&task=task_00100`; }", run_id)
    page.wait_for_selector(".marks .dot")  # drawn once the picture is there
    seconds = time.perf_counter() - start
    return Row(f"a task's first screenshot, {tasks:,} tasks", f"{seconds * 1e3:.0f} ms", "", None, "< 200 ms")


_SCROLL = """() => new Promise(done => {
  const view = document.querySelector('.list-view'), times = [];
  const step = now => {
    times.push(now);
    view.scrollTop += 400;
    if (times.length < 121) return requestAnimationFrame(step);
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    done({ rate: 1000 * gaps.length / (times.at(-1) - times[0]), longest: Math.max(...gaps) });
  };
  requestAnimationFrame(step);
})"""


def _shown(page: Page, path: Path, address: str, selector: str) -> float:
    start = time.perf_counter()
    page.goto(path.as_uri() + address, wait_until="commit")
    page.wait_for_selector(selector)
    return time.perf_counter() - start


def _reading(results: Path) -> float:
    start = time.perf_counter()
    for run in Discovery([results]).scan()[0]:
        events, more = [], True
        while more:
            reading = run.source.read()
            events += reading.events
            more = reading.has_more
        fold(run.path_id, run.source.source, events)
    return time.perf_counter() - start


def _generate(results: Path, out: Path) -> dict[str, Any]:
    """In a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.replay", str(results), str(out)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _main(results: Path, out: Path) -> None:
    from evalgauge_exporter.replay import generate

    start = time.perf_counter()
    made = generate(Discovery([results]).scan()[0], out)
    seconds = time.perf_counter() - start
    rss = peak_memory()
    print(json.dumps({"seconds": seconds, "rss": rss, "written": made.written, "bytes": made.bytes}))


def _pictures(folder: Path) -> list[Path]:
    """PNGs of a desktop's size that compress badly."""
    kept = folder / "pictures"
    if not kept.exists():
        kept.mkdir()
        for number in range(PICTURES):
            (kept / f"{number}.png").write_bytes(_png(1920, 1080, number))
    return sorted(kept.iterdir())


def _png(width: int, height: int, number: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    noisy = SHOT_BYTES // width + number  # rows of noise make the size of a real screenshot
    body = b"".join(b"\0" + (os.urandom(width) if row < noisy else bytes([240]) * width) for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body, 1)) + chunk(b"IEND", b"")


def write_run(results: Path, run_id: str, tasks: int, steps: int, pictures: list[Path]) -> None:
    """A finished run in the tracker's own format."""
    run = results / run_id
    (run / "events").mkdir(parents=True)
    seq = 0
    with (run / "events" / "w.jsonl").open("w") as log:

        def write(kind: str, **fields: Any) -> None:
            nonlocal seq
            seq += 1
            line = {"v": 1, "seq": seq, "ts": 1.79e9 + seq, "type": kind, **fields}
            log.write(json.dumps(line, separators=(",", ":")) + "\n")  # as the tracker writes it

        write("run_started", run_id=run_id, benchmark="osworld", model=run_id)
        for number in range(tasks):
            ids: dict[str, Any] = {"task_id": f"task_{number:05}", "attempt": 1, "worker_id": f"vm-{number % 8}"}
            shots = run / "screenshots" / ids["task_id"]
            if pictures:
                shots.mkdir(parents=True)
            write(
                "task_started",
                **ids,
                domain=f"domain_{number % 10}",
                instruction=f"Do the thing number {number}, then save it.",
                max_steps=50,
            )
            for index in range(steps):
                write(
                    "llm_call",
                    **ids,
                    provider="anthropic",
                    model="claude-sonnet-4-5",
                    input_tokens=9000,
                    cache_read_tokens=4000,
                    output_tokens=200,
                )
                shot = None
                if pictures:
                    shot = f"screenshots/{ids['task_id']}/{index}.png"
                    os.link(pictures[(number + index) % len(pictures)], run / shot)
                action = {"type": "click", "x": (index * 37 % 100) / 100, "y": (number * 13 % 100) / 100}
                write(
                    "step",
                    **ids,
                    step_idx=index,
                    action=action,
                    reasoning="I look at the window and press the button. " * 6,
                    screenshot=shot,
                    think_seconds=2.5,
                    env_seconds=0.8,
                )
            won = (number * 7 + len(run_id)) % 3
            write(
                "task_finished",
                **ids,
                outcome="success" if won else "failure",
                score=float(bool(won)),
                duration_seconds=60.0,
                reason="the file is not as it should be",
            )
        write("run_finished", status="completed")


def write_openadapt(run: Path, tasks: int, steps: int, pictures: list[Path]) -> None:
    """The same in the files of openadapt-evals."""
    run.mkdir(parents=True)

    def write(path: Path, content: dict[str, Any]) -> None:
        path.write_text(json.dumps(content))

    described = {"benchmark_name": "osworld", "run_name": run.name, "model_id": run.name}
    write(run / "metadata.json", {**described, "created_at": "2026-09-21T12:00:00"})
    ended = []
    for number in range(tasks):
        task_id = f"task_{number:05}"
        shots = run / "tasks" / task_id / "screenshots"
        shots.mkdir(parents=True)
        for index in range(steps):
            os.link(pictures[(number + index) % len(pictures)], shots / f"step_{index:03}.png")
        row = {"task_id": task_id, "success": number % 3 > 0, "score": float(number % 3 > 0), "num_steps": steps}
        row |= {"error": None, "reason": "the file is not as it should be", "error_type": None}
        ended.append(row)
        instruction = f"Do the thing number {number}, then save it."
        about = {"task_id": task_id, "domain": f"domain_{number % 10}", "instruction": instruction}
        write(run / "tasks" / task_id / "task.json", {**about, "raw_config": {}, "time_limit_steps": 50})
        taken = [
            {
                "step_idx": index,
                "screenshot_path": f"screenshots/step_{index:03}.png",
                "action": {"type": "click", "x": (index * 37 % 100) / 100, "y": (number * 13 % 100) / 100},
                "reasoning": "I look at the window and press the button. " * 6,
                "timestamp": 1.79e9 + number * 60 + index,
                "agent_logs": {"token_usage": {"input_tokens": 9000, "output_tokens": 200}},
            }
            for index in range(steps)
        ]
        more = {"model_id": run.name, "total_time_seconds": 60.0, "steps": taken, "logs": []}
        write(run / "tasks" / task_id / "execution.json", {**row, **more})
    write(run / "summary.json", {**described, "num_tasks": tasks, "tasks": ended})


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
