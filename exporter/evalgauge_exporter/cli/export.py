"""``evalgauge export``: runs as a table, as JSON, as ATIF trajectories, or as the history of their metrics."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control, escape_lines
from evalgauge_exporter.cli.run_selection import (
    RunSelection,
    config_option,
    read_events,
    redact_option,
    runs_argument,
    scorer_option,
    select_one,
)
from evalgauge_exporter.export.atif import to_atif
from evalgauge_exporter.export.table import csv_text, task_rows
from evalgauge_exporter.views.history import PastRun, write_history

FORMATS = ["csv", "json", "atif", "openmetrics"]


@click.command("export")
@runs_argument
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output file; - is standard output.")
@redact_option
@scorer_option
@config_option
def command(
    names: tuple[str, ...], form: str, out: Path, redact: str | None, scorer: str | None, config_path: Path | None
) -> None:
    """Write runs as CSV, JSON, ATIF trajectories, or OpenMetrics.

    csv is a table of the tasks of all runs, json one run with its tasks, atif a trajectory for each attempt of a run;
    openmetrics is what Prometheus would have scraped of the runs, for promtool tsdb create-blocks-from openmetrics.
    """
    runs = RunSelection(names, config_path, redact, scorer)
    if form == "openmetrics":
        _write_history(runs, out)
        return
    if form == "csv":
        text = csv_text([row for run_id in runs.ids for row in _rows(runs, run_id)])
    elif form == "json":
        text = _to_json(runs, select_one(runs))
    else:
        found = runs.found[select_one(runs)]
        text = json.dumps(to_atif(list(read_events(found)), found.source.folder), indent=2) + "\n"
    try:
        if str(out) == "-":
            click.echo(escape_lines(text) if sys.stdout.isatty() else text, nl=False)
            return
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another file with --out") from error


def _write_history(runs: RunSelection, out: Path) -> None:
    past = [PastRun(runs.read(run_id), list(read_events(runs.found[run_id]))) for run_id in runs.ids]
    config = runs.config
    try:
        with click.open_file(str(out), "w", encoding="utf-8") as file:
            untimed = write_history(
                past,
                file,
                stall_after=config.stall_after,
                pricer=runs.exporter.price,
                fleet=runs.exporter.fleet,
                baselines=config.baselines,
                limits=runs.exporter.limits,
            )
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another file with --out") from error
    if untimed:
        left_out = ", ".join(escape_control(run_id) for run_id in untimed[:5]) + (", …" if len(untimed) > 5 else "")
        click.echo(f"left out, because nothing says when they took place: {left_out}", err=True)


def _rows(runs: RunSelection, run_id: str) -> list[dict[str, object]]:
    return task_rows(runs.read(run_id), time.time(), runs.config.stall_after)


def _to_json(runs: RunSelection, run_id: str) -> str:
    rows = _rows(runs, run_id)
    summary = summarize(runs.read(run_id), time.time(), runs.config.stall_after).model_dump(mode="json")
    return json.dumps({"run": summary, "tasks": rows}, indent=2) + "\n"
