"""How the main figures grow with the size: each at 1 ×, 10 × and 100 ×, and the exponent between them."""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import pages
from benchmarks.exporter import write_run
from benchmarks.formats import measure_start, write_inspect, write_openadapt, write_osworld
from benchmarks.rows import Row, best_of
from evalgauge import track_run
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.config.shard import WHOLE, Shard
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.replay import generate
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState, fold
from evalgauge_exporter.views.exposition import Exposition
from evalgauge_exporter.views.limits import Limits
from evalgauge_exporter.web.server import serving

SIZES = (1, 10, 100)
REQUESTS = 15
SHARDS = 4
ANSWERS = ("status", "metrics")
FORMATS: tuple[tuple[str, int, Callable[[Path, int], None]], ...] = (
    ("{:,} Inspect logs of 200 samples", 1, lambda root, size: write_inspect(root, size, 200)),
    ("{:,} OpenAdapt runs of 50 tasks", 1, lambda root, size: write_openadapt(root, size, 50)),
    ("an OSWorld run of {:,} tasks × 15 steps", 4, lambda root, size: write_osworld(root, 1, size, 15)),
)
"""What is measured, the smallest size, and what writes a size."""


def rows() -> Iterator[Row]:
    """The exponents."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield _grow("a tracker step after {:,} others", 200, lambda size: _step(folder / f"step{size}", size))
        yield _grow("cold start, {:,} events", 2_000, lambda size: _cold_start(folder / f"cold{size}", size))
        answers = {size: _answers(folder / f"answers{size}", size) for size in (100, 1_000, 10_000)}
        for path in ANSWERS:
            medians = {size: found[path] for size, found in answers.items()}
            yield _grow(f"{path} of a run of {{:,}} tasks", 100, medians.__getitem__)
        yield from _pages(folder / "pages")
        yield _grow("a replay of {:,} tasks × 15 steps", 20, lambda size: _replay(folder / f"replay{size}", size))
        starts = {size: _start(folder / f"start{size}", size) for size in (10, 100, 1_000)}
        yield _grow("a first start over {:,} finished runs", 10, lambda size: starts[size][0])
        yield _grow("its memory, {:,} finished runs", 10, lambda size: starts[size][1], _format_bytes)
        for what, unit, write in FORMATS:
            yield _grow(f"a first start over {what}", unit, partial(_start_over, folder, write))
        running = _read_running(folder / "running")
        yield _grow("/metrics of {:,} running runs", 1, lambda size: _scrape(running, size, WHOLE))
        whole, shard = _scrape(running, SIZES[-1], WHOLE), _scrape(running, SIZES[-1], Shard(0, SHARDS))
        yield Row(
            f"/metrics of one of {SHARDS} shards of {SIZES[-1]} running runs",
            _format(shard),
            f"without shards: {_format(whole)}",
            shard / whole,
            f"{1 / SHARDS}",
        )


def _grow(what: str, unit: int, measure: Callable[[int], float], write: Callable[[float], str] | None = None) -> Row:
    """Measure at each size; the exponent is the slope of the least-squares line through the logarithms."""
    sizes = [unit * size for size in SIZES]
    times = [measure(size) for size in sizes]
    slope = statistics.linear_regression([math.log(size) for size in sizes], [math.log(taken) for taken in times]).slope
    first, middle, last = (f"{size:,}" for size in sizes)
    return Row(
        what.replace("{:,}", f"{first}, {middle} and {last}"),
        ", ".join(map(write or _format, times)),
        "ratio: the exponent; 1 is in step with the size",
        slope,
        "≤ 1.1",
    )


def _format(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _format_bytes(megabytes: float) -> str:
    return f"{megabytes:.0f} MB"


def _start(folder: Path, runs: int) -> tuple[float, float]:
    """Seconds of a first start, without a cache, over runs of 10 tasks × 5 steps, and its memory in MB."""
    for number in range(runs):
        write_run(folder, f"r{number:04d}", tasks=10, steps=5)
    return measure_start(folder)


def _step(folder: Path, before: int) -> float:
    with track_run(folder, benchmark="b", model="m", fsync="never") as run, run.task("t", worker="w") as task:
        for _ in range(before):
            task.step(action="click", reasoning="x" * 100)

        def track() -> None:
            for _ in range(200):
                task.step(action="click", reasoning="x" * 100)

        return best_of(5, track) / 200


def _cold_start(folder: Path, events: int) -> float:
    steps = 9
    write_run(folder, "r", tasks=events // (2 + 2 * steps), steps=steps)

    def read() -> None:
        source, run, more = RunLogSource(folder / "r"), RunState("r", "runlog", exporter.price), True
        while more:
            result = source.read()
            more = result.has_more
            for event in result.events:
                run.apply(event)

    exporter = Exporter(load_config(None, results=(folder,)))
    return best_of(3, read)


def _answers(folder: Path, tasks: int) -> dict[str, float]:
    """The medians of answers of the API about a running run, each after another event."""
    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    names = [{"task_id": f"t{n}", "domain": f"d{n % 12}"} for n in range(tasks)]
    with track_run(folder, benchmark="b", model="m", run_id="r", tasks=names, fsync="never") as run:
        for number in range(tasks - 1):
            with run.task(f"t{number}", worker=f"w{number % 8}") as task:
                task.finish(success=number % 3 > 0)
        with run.task(f"t{tasks - 1}") as task, serving(exporter) as url:
            exporter.wait_ready()
            waits: dict[str, list[float]] = {path: [] for path in ANSWERS}
            for path in ANSWERS * REQUESTS:
                version = exporter.state.version
                task.step(action="click")
                while exporter.state.version == version:
                    time.sleep(0.001)
                start = time.perf_counter()
                urllib.request.urlopen(f"{url}/api/benchmark/{path}?run_id=r").read()
                waits[path].append(time.perf_counter() - start)
    return {path: statistics.median(found) for path, found in waits.items()}


def _pages(folder: Path) -> Iterator[Row]:
    """The processor time of the page of all runs, until its list is drawn."""
    folder.mkdir()
    exporter = Exporter(load_config(None, results=(folder,), listen="127.0.0.1:0"))
    with pages.open_browser() as browser, serving(exporter) as url:
        if browser is None:
            yield Row("/runs/ in Chromium", "not measured", "there is no Chromium", None)
            return
        exporter.wait_ready()
        page = pages.open_page(browser)
        session = pages.watch_thread(page)

        def measure(runs: int) -> float:
            pages.show_finished_runs(exporter, runs)
            loads = [pages.measure_load(page, session, f"{url}/runs/", ".list-view .list-row") for _ in range(3)]
            return min(used for _, used in loads)

        yield _grow("/runs/ of {:,} runs, processor time of the page", 50, measure)


def _start_over(folder: Path, write: Callable[[Path, int], None], size: int) -> float:
    """Seconds of a first start over what ``write`` writes."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        write(Path(root), size)
        return measure_start(Path(root))[0]


def _replay(folder: Path, tasks: int) -> float:
    write_run(folder / "results", "r", tasks=tasks, steps=15)
    runs = Discovery([folder / "results"]).scan()[0]
    start = time.perf_counter()
    generate(runs, folder / "site")
    return time.perf_counter() - start


def _read_running(folder: Path) -> Exporter:
    """An exporter that knows as many running runs as are exposed at most here."""
    exporter = Exporter(load_config(None, results=(folder,)))
    for number in range(SIZES[-1]):
        name = f"r{number:03d}"
        write_run(folder, name, tasks=150, steps=1, workers=20)
        events = RunLogSource(folder / name).read().events
        exporter.state.runs[name] = fold(name, "runlog", events[:-1], exporter.price)
    return exporter


def _scrape(exporter: Exporter, runs: int, shard: Shard) -> float:
    """Seconds of a scrape of so many running runs, of which nothing is cached."""
    state, analysis = exporter.state, exporter.analysis
    every = state.runs
    state.runs = dict(itertools.islice(every.items(), runs))
    exposition = Exposition(state, analysis, Limits(), linger=None, shard=shard)
    now = time.time()
    times = itertools.count(1)
    taken = best_of(3, lambda: exposition.render(now + 10 * next(times)))  # later than anything is used again
    state.runs = every
    return taken
