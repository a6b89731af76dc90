"""``evalgauge watch``: runs that are running, in a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evalgauge_exporter.cli.check import is_incomplete
from evalgauge_exporter.cli.output import count_of, escape_control, format_percent, format_seconds, format_usd
from evalgauge_exporter.cli.run_selection import config_option, create_exporter, resolve_places
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views import snapshot
from evalgauge_exporter.views.schemas import run as shapes

REFRESH_SECONDS = 1.0
MAX_RUNS = 5
"""Runs that are shown at once: those that are running, else the newest one."""
MAX_WORKERS = 20
MAX_ERRORS = 5
_STYLES = {"running": "green", "completed": "blue", "aborted": "red", "stalled": "red"}


@click.command("watch")
@click.argument("names", metavar="RESULTS_DIR...", nargs=-1)
@click.option("--once", is_flag=True, help="Print the present state and exit.")
@config_option
def command(names: tuple[str, ...], once: bool, config_path: Path | None) -> None:
    """Watch runs in the terminal.

    Shows the progress, the remaining time, the costs, the workers and the last errors of the runs that are running, or
    of the newest one. Ids pick runs of RESULTS_DIR (default ./results). Ctrl-C ends.
    """
    config, ids = resolve_places(names, config_path)
    exporter = create_exporter(config)
    changed = threading.Event()
    exporter.on_change(changed.set)
    exporter.start()
    console = Console()
    try:
        exporter.wait_ready()
        if once or not console.is_terminal:
            console.print(render(exporter, ids, console.width))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(render(exporter, ids, console.width, rows=console.height), refresh=True)
                changed.wait(REFRESH_SECONDS)  # the times on the screen go on without an event too
                changed.clear()
                time.sleep(0.1)  # events come in bursts
    except KeyboardInterrupt:
        pass
    finally:
        exporter.stop()


def render(exporter: Exporter, ids: Sequence[str], width: int, rows: int | None = None) -> RenderableType:
    """Return what is shown now.

    Args:
        exporter: A started exporter.
        ids: The runs to show; without any, those that are running, else the newest one.
        width: Columns of the terminal.
        rows: Rows of the terminal; None for no limit.
    """
    now = time.time()
    with exporter.state.lock:
        runs = _select(exporter, ids, now)
        parts: list[RenderableType] = [_render_run(exporter, run, now, width, detailed=len(runs) == 1) for run in runs]
        waiting = ", ".join(map(str, exporter.config.results))
    if not parts:
        what = f"run {' or '.join(map(escape_control, ids))}" if ids else "runs"
        return Text(f"No {what} in {waiting} yet.")
    if rows is not None:
        parts.append(Text("Ctrl-C ends", style="dim"))
    return Group(*parts)


def _select(exporter: Exporter, ids: Sequence[str], now: float) -> list[RunState]:
    runs = exporter.state.runs
    if ids:
        return [runs[run_id] for run_id in ids if run_id in runs]
    newest = snapshot.newest_first(runs.values())
    running = [run for run in newest if not exporter.analysis.is_finished(run, now)]
    return running[:MAX_RUNS] or newest[:1]


def _render_run(exporter: Exporter, run: RunState, now: float, width: int, *, detailed: bool) -> RenderableType:
    view = snapshot.snapshot(run, exporter.analysis, now, None)
    job = view.current_job
    if job is None:
        return Text(escape_control(run.run_id))
    title = Text.assemble(
        (escape_control(job.run_id), "bold"), "  ", (job.status, _STYLES.get(job.status, "")), overflow="fold"
    )
    about = Text(escape_control(f"{job.benchmark} · {job.model_id}"), style="dim")
    bar = Table.grid(padding=(0, 1), expand=False)
    bar.add_row(
        ProgressBar(total=max(job.total_tasks, 1), completed=job.completed_tasks, width=min(40, max(10, width - 30))),
        Text(
            f"{job.completed_tasks:,} of {count_of(job.total_tasks, 'attempt' if job.attempts_planned > 1 else 'task')}"
        ),
    )
    parts: list[RenderableType] = [title, about, bar, _facts(exporter, run, view, job, now)]
    if detailed:
        parts += _details(view, run, now)
    return Group(*parts, Text(""))


def _facts(exporter: Exporter, run: RunState, view: shapes.Snapshot, job: shapes.CurrentJob, now: float) -> Table:
    costs = exporter.analysis.costs(run, now)
    incomplete = is_incomplete(costs)
    rows = [("elapsed", "–" if job.elapsed_seconds is None else format_seconds(job.elapsed_seconds))]
    if job.status == "running":
        rows.append(("remaining", _format_eta(job, now)))
    metrics, unit = view.metrics, "attempt" if job.attempts_planned > 1 else "task"
    expected = " expected at the end" if metrics.provisional else ""
    measured = count_of(metrics.measured_tasks, f"measured {unit}")
    rows.append(("success rate", f"{format_percent(metrics.headline_rate)}{expected}, {measured}"))
    if metrics.mean_score is not None:
        of_scorer = "" if metrics.scorer is None else f", that of {metrics.scorer}"
        rows.append(("mean score", f"{metrics.mean_score:,.3g}{of_scorer}"))
    errors = {name: job.statuses.get(name, 0) for name in ("infrastructure_error", "evaluation_error", "interrupted")}
    if any(errors.values()):
        rows.append(("not measured", ", ".join(f"{count} {name}" for name, count in errors.items() if count)))
    cost = format_usd(costs.total, incomplete=incomplete)
    if costs.projected_total is not None and job.status == "running":
        cost += f", {format_usd(costs.projected_total, incomplete=incomplete)} at the end"
    if costs.budget is not None:
        cost += f", budget {format_usd(costs.budget)}"
    rows.append(("cost", cost))
    return _grid(rows)


def _format_eta(job: shapes.CurrentJob, now: float) -> str:
    if job.eta is None:
        return f"unknown: {job.eta_reason or 'no estimate'}"
    low, middle, high = (format_seconds(seconds) for seconds in (job.eta.p10, job.eta.p50, job.eta.p90))
    at = datetime.fromtimestamp(now + job.eta.p50)
    return f"{middle} ({low} to {high}), until {at:%H:%M}"


def _grid(rows: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, Text(escape_control(text)))
    return grid


def _details(view: shapes.Snapshot, run: RunState, now: float) -> list[RenderableType]:
    parts: list[RenderableType] = []
    workers = view.workers.workers
    if workers:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(("worker", "state", "task", "finished")):
            table.add_column(column, overflow="fold", justify="right" if index == 3 else "left")
        for worker in workers[:MAX_WORKERS]:
            cells = (worker.worker_id, worker.status, worker.current_task or "", str(worker.tasks_completed))
            table.add_row(*(Text(escape_control(cell)) for cell in cells))
        parts.append(table)
        if len(workers) > MAX_WORKERS:
            parts.append(Text(f"{len(workers) - MAX_WORKERS} more workers", style="dim"))
    failed = [attempt for attempt in run.finished_attempts() if attempt.error]
    if failed:
        parts.append(Text("last errors", style="dim"))
        for attempt in reversed(failed[-MAX_ERRORS:]):
            ago = "" if attempt.finished_at is None else f"{format_seconds(max(0.0, now - attempt.finished_at))} ago  "
            line = " ".join((attempt.error or "").split())
            parts.append(Text(escape_control(f"  {ago}{attempt.task_id}: {line}"), overflow="ellipsis", no_wrap=True))
    return parts
