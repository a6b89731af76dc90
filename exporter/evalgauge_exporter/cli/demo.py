"""``evalgauge demo``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evalgauge import Run
from evalgauge.runlog import read_events
from evalgauge_exporter.analysis.summary import summarise
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import format_percent
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.demo.player import Evaluation, draw_earlier, write_earlier
from evalgauge_exporter.demo.scenario import Scenario, plan
from evalgauge_exporter.errors import ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import RunState, fold
from evalgauge_exporter.web.server import serving

MODEL, OTHER_MODEL = "claude-sonnet-4-5", "claude-haiku-4-5"
WORKERS = 4
BUDGET_PER_TASK_USD = 0.12
STALL_AFTER = 600.0


def run(
    *,
    port: int,
    tasks: int,
    speed: float,
    seed: int,
    results: Path | None,
    once: bool,
    no_browser: bool,
    no_serve: bool,
) -> None:
    """Play the evaluation, and serve it unless told not to."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_in_order())
        if results is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalgauge-demo-")))
        else:
            folder = results
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CliError(f"{folder}: {error.strerror or error}; name another folder with --results") from error
        # before anything is written: the port may be taken
        url = None if no_serve else stack.enter_context(_exporter(folder, port))
        stop = threading.Event()
        earlier = _earlier(folder, tasks, speed, seed)
        drawing = threading.Thread(target=_draw, args=(earlier, stop), name="evalgauge-draw", daemon=True)
        if url is not None:
            click.echo(f"The live page: {url}/   metrics: {url}/metrics")
            if not no_browser and _has_browser():
                webbrowser.open(f"{url}/")
        scenario = plan(tasks, workers=min(WORKERS, tasks), seed=seed)
        evaluation = Evaluation(
            folder,
            scenario,
            model=MODEL,
            speed=speed,
            budget_usd=round(BUDGET_PER_TASK_USD * tasks, 2),
            baseline=_earlier_id(MODEL, tasks, seed),
        )
        evaluation.start()
        drawing.start()
        try:
            _show_progress(evaluation, tasks)
            if no_serve and results is not None:
                drawing.join()  # whoever serves the runs wants the earlier ones' screenshots too
            _say_summary(fold(evaluation.run.run_id, "runlog", read_events(evaluation.run.folder)))
            if not once and not no_serve:
                click.echo("The evaluation is over; the page stays. Ctrl-C ends.")
                threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("")
        finally:
            stop.set()
            evaluation.stop()
            drawing.join()


def _earlier_id(model: str, tasks: int, seed: int) -> str:
    return f"waa-demo-{model}-{tasks}-{seed}-earlier"


def _earlier(folder: Path, tasks: int, speed: float, seed: int) -> list[tuple[Run, Scenario]]:
    """Two runs that were over before, so that there is something to compare with: the same model and another one."""
    written: list[tuple[Run, Scenario]] = []
    for model, skill, hours in ((MODEL, 0.0, 5.0), (OTHER_MODEL, -0.18, 26.0)):
        scenario = plan(tasks, workers=min(WORKERS, tasks), seed=seed + 1, skill=skill)
        run_id = _earlier_id(model, tasks, seed)
        made = write_earlier(folder, run_id, scenario, model=model, speed=speed, ended_at=time.time() - hours * 3600)
        written.append((made, scenario))
    return written


def _draw(earlier: list[tuple[Run, Scenario]], stop: threading.Event) -> None:
    for made, scenario in earlier:
        draw_earlier(made, scenario, stop)


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """A demo that is told to end (SIGTERM, as by ``docker stop``) ends as by Ctrl-C and leaves nothing behind."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _exporter(folder: Path, port: int) -> Iterator[str]:
    exporter = Exporter(load_config(None, results=(folder,), listen=f"127.0.0.1:{port}"))
    try:
        with serving(exporter) as url:
            yield url
    except ListenError as error:
        reason = str(error).partition(";")[0]
        raise CliError(f"{reason}; choose another port with --port, 0 takes a free one") from error


def _has_browser() -> bool:
    """Whether there is a person with a screen before it."""
    graphical = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and (graphical or sys.platform in ("darwin", "win32"))


def _show_progress(evaluation: Evaluation, tasks: int) -> None:
    if not Console().is_terminal:
        said = 0
        while not evaluation.wait(0.1):
            tenth = 10 * evaluation.ended // tasks
            if tenth > said:
                said = tenth
                click.echo(f"{evaluation.ended} of {tasks} tasks")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("evaluating", total=tasks)
        while not evaluation.wait(0.1):
            progress.update(bar, completed=evaluation.ended)
        progress.update(bar, completed=evaluation.ended)


def _say_summary(state: RunState) -> None:
    row = summarise(state, time.time(), STALL_AFTER)
    outcomes = ", ".join(f"{count} {name}" for name, count in row.outcomes.items())
    measured, finished = format_percent(row.success_rate), format_percent(row.success_rate_all)
    click.echo(
        f"{row.run_id}: {row.state}, {row.finished_tasks} of {row.total_tasks} tasks ({outcomes}); "
        f"success rate {measured} of the measured, {finished} of all"
    )
