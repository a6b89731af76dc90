"""``evalgauge demo``: a simulated evaluation with the exporter beside it."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evalgauge import Run
from evalgauge.runlog import read_events
from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import format_percent
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.demo.azure import PREVIEW_SIZE, SimulatedAzure
from evalgauge_exporter.demo.history import (
    MODEL,
    OTHER_MODEL,
    WORKERS,
    name_earlier_run,
    write_baselines,
    write_weeks,
)
from evalgauge_exporter.demo.player import Evaluation, draw_screenshots
from evalgauge_exporter.demo.scenario import Scenario, plan
from evalgauge_exporter.errors import ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import RunState, fold
from evalgauge_exporter.web.server import serving

BUDGET_PER_TASK_USD = 0.12
SECOND_WORKERS = ("worker-5", "worker-6", "worker-7")
SECOND_SIZES = {"worker-6": PREVIEW_SIZE}
SECOND_ATTEMPTS = 3
SECOND_BUDGET_USD = 0.2
"""Less than the second run costs, so that an alert fires."""
TAGS = {"suite": "nightly"}
STALL_AFTER = 600.0
"""Seconds."""


def _refuse_nan(_: click.Context, __: click.Parameter, value: float) -> float:
    if math.isnan(value):  # it passes every range check
        raise click.BadParameter("nan is not a number")
    return value


@click.command("demo")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9909, show_default=True, help="0 takes a free port.")
@click.option("--tasks", type=click.IntRange(1, 10_000), default=154, show_default=True, help="Number of tasks.")
@click.option(
    "--speed",
    type=click.FloatRange(0.01),
    callback=_refuse_nan,
    default=60.0,
    show_default=True,
    help="Speed relative to real time.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the simulation.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep the runs here.  [default: a temporary folder]")
@click.option("--once", is_flag=True, help="Exit after the evaluation, with a summary.")
@click.option("--no-browser", is_flag=True, help="Do not open the live page.")
@click.option("--no-serve", is_flag=True, help="Only write the runs, for an exporter that runs elsewhere.")
def command(
    *,
    host: str,
    port: int,
    tasks: int,
    speed: float,
    seed: int,
    results: Path | None,
    once: bool,
    no_browser: bool,
    no_serve: bool,
) -> None:
    """Run a simulated evaluation with the exporter beside it.

    No Docker, no model and no cost. A second run is running beside it, with repeated attempts, on machines of a
    simulated cloud. Earlier runs are there to compare with.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sigterm_as_interrupt())
        if results is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalgauge-demo-")))
        else:
            folder = results
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CliError(f"{folder}: {error.strerror or error}; name another folder with --results") from error
        # before anything is written: the port may be taken
        url = None if no_serve else stack.enter_context(_serve(folder, f"{host}:{port}"))
        stop = threading.Event()
        earlier = write_baselines(folder, tasks, speed, seed, time.time())
        write_weeks(folder, tasks, speed, seed, time.time())
        drawing = threading.Thread(target=_draw_screenshots, args=(earlier, stop), name="evalgauge-draw", daemon=True)
        if url is not None:
            click.echo(f"The live page: {url}/   metrics: {url}/metrics")
            if not no_browser and _has_browser():
                webbrowser.open(f"{url}/")
        second = _create_second(folder, tasks, speed, seed)
        second.start()
        scenario = plan(tasks, workers=min(WORKERS, tasks), seed=seed)
        evaluation = Evaluation(
            folder,
            scenario,
            model=MODEL,
            speed=speed,
            budget_usd=round(BUDGET_PER_TASK_USD * tasks, 2),
            baseline=name_earlier_run(MODEL, tasks, seed),
            tags=TAGS,
        )
        evaluation.start()
        drawing.start()
        keeps = results is not None and not no_serve
        same, other = (name_earlier_run(model, tasks, seed) for model in (MODEL, OTHER_MODEL))
        try:
            _show_progress(evaluation, tasks)
            if no_serve and results is not None:
                drawing.join()  # whoever serves the runs needs the screenshots of the earlier ones too
            _print_summary(fold(evaluation.run.run_id, "runlog", read_events(evaluation.run.folder)))
            if url is not None and not once:
                click.echo(f"The evaluation has finished; the page {url}/ stays up until Ctrl-C.")
            if keeps:
                drawing.join()
                _print_next_commands(folder, same, evaluation.run.run_id)
                keeps = False
            if not once and not no_serve:
                threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("")
        finally:
            stop.set()
            evaluation.stop()
            second.stop()
            drawing.join()
        if keeps:  # ended before the evaluation was: the earlier runs are whole
            _print_next_commands(folder, other, same)


def _print_next_commands(results: Path, baseline: str, candidate: str) -> None:
    """Print what can be done with the runs that were kept, as commands that work when they are pasted."""
    command, folder = _own_command(), shlex.quote(str(results))
    click.echo(f"""
The runs are in {folder}. What you can do with them:
  {command} runs {folder}
  {command} compare {folder} {baseline} {candidate}
  {command} check {folder} {candidate} --min-success 40% --max-cost 50
  {command} replay {folder} --out site   # then open site/index.html
  {command} serve {folder}""")


def _own_command() -> str:
    """Return how this command was called, such as ``evalgauge`` or ``.venv/bin/evalgauge``."""
    program = Path(sys.argv[0])
    if program.suffix == ".py":
        return f"{shlex.quote(sys.executable)} -m evalgauge_exporter"
    found = shutil.which(program.name)
    if found is not None and Path(found).absolute() == program.absolute():
        return program.name
    return shlex.quote(os.path.relpath(program))


def _create_second(folder: Path, tasks: int, speed: float, seed: int) -> Evaluation:
    """Create the run beside the evaluation: few tasks, several attempts, and what goes wrong in a night."""
    few = max(1, tasks // 6)
    attempts = [plan(few, seed=seed + 100 + number, skill=-0.18) for number in range(SECOND_ATTEMPTS)]
    return Evaluation(
        folder,
        replace(attempts[0], workers=SECOND_WORKERS),
        model=OTHER_MODEL,
        speed=speed,
        budget_usd=SECOND_BUDGET_USD,
        baseline=name_earlier_run(OTHER_MODEL, tasks, seed),
        repeats=attempts[1:],
        tags=TAGS,
        grounding=True,
        lost_worker=SECOND_WORKERS[-1],
        sizes=SECOND_SIZES,
    )


def _draw_screenshots(earlier: list[tuple[Run, Scenario]], stop: threading.Event) -> None:
    for run, scenario in earlier:
        draw_screenshots(run, scenario, stop)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, as from ``docker stop``, like Ctrl-C, so that the demo cleans up after itself."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _serve(folder: Path, listen: str) -> Iterator[str]:
    workers = (*(f"worker-{number}" for number in range(1, WORKERS + 1)), *SECOND_WORKERS)
    with (
        SimulatedAzure(workers, SECOND_SIZES) as azure,
        tempfile.TemporaryDirectory(prefix="evalgauge-demo-cache-") as cache,
    ):
        settings = azure.build_settings()
        settings["prices"]["cache_dir"] = Path(cache)  # what is simulated stays out of the user's cache
        settings["limits"] = {"tags": tuple(TAGS)}
        exporter = Exporter(load_config(None, results=(folder,), listen=listen, **settings))
        try:
            with serving(exporter) as url:
                yield url
        except ListenError as error:
            reason = str(error).partition(";")[0]
            raise CliError(f"{reason}; choose another port with --port, 0 takes a free one") from error


def _has_browser() -> bool:
    """Return whether a browser can be opened for someone at a screen."""
    graphical = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and (graphical or sys.platform in ("darwin", "win32"))


def _show_progress(evaluation: Evaluation, tasks: int) -> None:
    if not Console().is_terminal:
        printed = 0
        while not evaluation.wait(0.1):
            tenth = 10 * evaluation.finished_tasks // tasks
            if tenth > printed:
                printed = tenth
                click.echo(f"{evaluation.finished_tasks} of {tasks} tasks")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("evaluating", total=tasks)
        while not evaluation.wait(0.1):
            progress.update(bar, completed=evaluation.finished_tasks)
        progress.update(bar, completed=evaluation.finished_tasks)


def _print_summary(state: RunState) -> None:
    row = summarize(state, time.time(), STALL_AFTER)
    outcomes = ", ".join(f"{count} {name}" for name, count in row.outcomes.items())
    measured, finished = format_percent(row.success_rate), format_percent(row.success_rate_all)
    click.echo(
        f"{row.run_id}: {row.state}, {row.finished_tasks} of {row.total_tasks} tasks ({outcomes}); "
        f"success rate {measured} of measured tasks, {finished} of all finished ones"
    )
