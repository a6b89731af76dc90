"""``evalgauge runs``: a table of all runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evalgauge_exporter.analysis.summary import RunSummary, summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control, format_percent, format_seconds
from evalgauge_exporter.cli.run_selection import existing_dirs, read_runs
from evalgauge_exporter.config.durations import parse_duration


@click.command("runs")
@click.argument("results", metavar="RESULTS_DIR...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--stall-after", metavar="DURATION", default="10m", show_default=True, help="Silence that means stalled.")
def command(results: tuple[Path, ...], as_json: bool, stall_after: str) -> None:
    """List the runs in results folders.

    RESULTS_DIR may be a results folder, its parent or one run, in any known format.
    """
    if not results:
        raise click.UsageError("name at least one folder with runs")
    try:
        silence = parse_duration(stall_after)
    except ValueError as error:
        raise CliError(f"--stall-after: {error}") from error
    states = read_runs(existing_dirs(results))
    now = time.time()
    found = [summarize(state, now, silence) for state in states]
    if as_json:
        found.reverse()  # the newest first, as the API has it
        click.echo(json.dumps({"runs": [item.model_dump(mode="json") for item in found]}, indent=2))
        return
    if not found:
        click.echo(f"no runs in {', '.join(map(str, results))}", err=True)
        return
    console = Console()
    if not console.is_terminal:  # a pipe or a file has no width
        console = Console(width=200)
    console.print(_table(found, console.width))


def _table(found: list[RunSummary], width: int) -> Table:
    """Return the runs as a table; a narrow terminal gets the columns that matter most."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [column for column in _COLUMNS if width >= column.least_width]
    for column in columns:
        table.add_column(column.title, justify=column.justify, no_wrap=column.title != "run", overflow="fold")
    for item in found:
        table.add_row(*(Text(escape_control(column.text(item))) for column in columns))
    return table


class _Column(NamedTuple):
    title: str
    justify: Literal["left", "right"]
    least_width: int
    text: Callable[[RunSummary], str]


_COLUMNS = (
    _Column("run", "left", 0, lambda item: item.run_id),
    _Column("model", "left", 120, lambda item: item.model_id),
    _Column("source", "left", 140, lambda item: item.source),
    _Column("state", "left", 0, lambda item: item.state),
    _Column("tasks", "right", 0, lambda item: f"{item.finished_tasks} of {item.total_tasks}"),
    _Column("success", "right", 0, lambda item: format_percent(item.success_rate)),
    _Column("of all", "right", 140, lambda item: format_percent(item.success_rate_all)),
    _Column("steps", "right", 100, lambda item: "–" if item.avg_steps is None else f"{item.avg_steps:.1f}"),
    _Column("cost", "right", 80, lambda item: "–" if item.cost_usd is None else f"${item.cost_usd:,.2f}"),
    _Column(
        "took",
        "right",
        100,
        lambda item: "–" if item.elapsed_seconds is None else format_seconds(item.elapsed_seconds),
    ),
    _Column("started", "right", 120, lambda item: _format_start(item.created_at)),
)


def _format_start(at: float | None) -> str:
    return "–" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
