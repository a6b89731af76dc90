"""``evalgauge runs``: a table of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console

from evalgauge_exporter.analysis.costs import RunCosts
from evalgauge_exporter.analysis.summary import RunSummary, summarize
from evalgauge_exporter.cli.check import is_incomplete
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control, format_percent, format_seconds, format_usd
from evalgauge_exporter.cli.reports import Cells, create_console, fits, print_table
from evalgauge_exporter.cli.run_selection import (
    check_scorer,
    config_option,
    create_exporter,
    read_all_runs,
    resolve_places,
    scorer_option,
    select_runs,
)
from evalgauge_exporter.config.durations import parse_duration


@click.command("runs")
@click.argument("names", metavar="RESULTS_DIR...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--stall-after", metavar="DURATION", help="Silence after which a run is stalled.  [default: 10m]")
@click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="List runs with this tag alone; repeatable.")
@scorer_option
@config_option
def command(
    names: tuple[str, ...],
    as_json: bool,
    stall_after: str | None,
    tags: tuple[str, ...],
    scorer: str | None,
    config_path: Path | None,
) -> None:
    """List the runs in results folders.

    RESULTS_DIR may be a results folder (default ./results), its parent or one run, in any known format. Ids pick runs
    of it.
    """
    if stall_after is not None:
        try:
            parse_duration(stall_after)
        except ValueError as error:
            raise CliError(f"--stall-after: {error}") from error
    config, ids = resolve_places(names, config_path, {"stall_after": stall_after, "scorer": scorer})
    wanted = dict(_parse_tag(tag) for tag in tags)
    exporter = create_exporter(config)
    read_all_runs(exporter)
    states = sorted(exporter.state.runs.values(), key=lambda run: (run.started_at or 0.0, run.run_id))
    if ids:
        folders = {run.run_id: found.folder for run in states if (found := exporter.collector.source_of(run))}
        selected = select_runs(names, folders, config.results)
        states = [run for run in states if run.run_id in selected]
    states = [run for run in states if wanted.items() <= run.tags.items()]
    if states and not any(scorer in run.scorers for run in states):
        for run in states:
            check_scorer(scorer, run)
    now = time.time()
    summaries = [summarize(run, now, config.stall_after) for run in states]
    if as_json:
        summaries.reverse()  # the newest first, as the API has it
        click.echo(json.dumps({"runs": [item.model_dump(mode="json") for item in summaries]}, indent=2))
        return
    if not summaries:
        tagged = f" with {' and '.join(map(escape_control, tags))}" if tags else ""
        click.echo(f"no runs{tagged} in {', '.join(map(str, config.results))}", err=True)
        return
    console = create_console()
    rows = [_Row(item, exporter.analysis.costs(run, now)) for run, item in zip(states, summaries, strict=True)]
    print_table(_fit(rows, console), console)
    for item in summaries:
        if item.unreadable is not None:
            click.echo(f"{escape_control(item.run_id)} can't be read now: {escape_control(item.unreadable)}", err=True)


def _fit(rows: list[_Row], console: Console) -> Cells:
    """Return the table with as many columns as fit the terminal, with all of them where not even the first ones do."""
    known = [column for column in _COLUMNS if column.always or any(column.text(row) != "–" for row in rows)]
    tables = []
    for rank in range(max(column.rank for column in known), -1, -1):
        columns = [column for column in known if column.rank <= rank]
        cells = [tuple(column.text(row) for column in columns) for row in rows]
        tables.append(Cells(tuple(column.title for column in columns), cells))
    return next((table for table in tables if fits(table, console)), tables[0])


def _parse_tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CliError(f"--tag: {text!r} is no tag; write NAME=VALUE")
    return name, value


class _Row(NamedTuple):
    summary: RunSummary
    costs: RunCosts


class _Column(NamedTuple):
    title: str
    rank: int
    """Where there is no room for all columns those of the highest rank are left out first."""
    text: Callable[[_Row], str]
    always: bool = True
    """Whether it is shown where no run has a value."""


_COLUMNS = (
    _Column("run", 0, lambda row: row.summary.run_id),
    _Column("model", 3, lambda row: row.summary.model_id),
    _Column("source", 4, lambda row: row.summary.source),
    _Column("state", 0, lambda row: row.summary.state),
    _Column("finished", 0, lambda row: f"{row.summary.finished_tasks} of {row.summary.total_tasks}"),
    _Column("success", 0, lambda row: format_percent(row.summary.headline_rate)),
    _Column("score", 2, lambda row: _format_score(row.summary.mean_score), always=False),
    _Column("scorer", 4, lambda row: row.summary.scorer or "–", always=False),
    _Column("attempts", 3, lambda row: _format_pass_ratios(row.summary), always=False),
    _Column("of all", 4, lambda row: format_percent(row.summary.success_rate_all)),
    _Column("steps", 2, lambda row: "–" if row.summary.avg_steps is None else f"{row.summary.avg_steps:.1f}"),
    _Column("cost", 1, lambda row: format_usd(row.costs.total, incomplete=is_incomplete(row.costs))),
    _Column("took", 2, lambda row: _format_elapsed(row.summary.elapsed_seconds)),
    _Column("started", 3, lambda row: _format_start(row.summary.created_at)),
)


def _format_score(score: float | None) -> str:
    return "–" if score is None else f"{score:,.3g}"


def _format_pass_ratios(summary: RunSummary) -> str:
    """Return pass@k and pass^k of the greatest k, of a run with several attempts at each task."""
    if not summary.pass_ratios:
        return "–"
    k = max(summary.pass_ratios)
    ratios = summary.pass_ratios[k]
    return f"pass@{k} {ratios.pass_at_k:.0%}, pass^{k} {ratios.pass_hat_k:.0%}"


def _format_elapsed(seconds: float | None) -> str:
    return "–" if seconds is None else format_seconds(seconds)


def _format_start(at: float | None) -> str:
    return "–" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
