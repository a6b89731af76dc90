"""``evalgauge export``: a run as a table, as JSON or as ATIF trajectories."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control
from evalgauge_exporter.cli.run_selection import STALL_AFTER, existing_run, find_runs
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.export.atif import to_atif
from evalgauge_exporter.export.table import csv_text, task_rows
from evalgauge_exporter.replay.reading import read_run
from evalgauge_exporter.sources.discovery import FoundRun, name_runs


@click.command("export")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["csv", "json", "atif"]), required=True, help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output file; - is standard output.")
def command(run_dir: Path, form: str, out: Path) -> None:
    """Write a run as CSV, JSON or ATIF trajectories.

    csv is a table of the run's tasks, json the run with its tasks, atif a trajectory for each attempt.
    """
    found = find_runs((existing_run(run_dir),))
    if len(found) > 1:
        names = ", ".join(escape_control(run.path_id) for run in found[:5]) + (", …" if len(found) > 5 else "")
        raise CliError(f"{run_dir} holds {len(found)} runs ({names}); name the folder of one")
    text = _atif(found[0]) if form == "atif" else _table(found[0], form)
    try:
        if str(out) == "-":
            click.echo(text, nl=False)
            return
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another file with --out") from error


def _table(found: FoundRun, form: str) -> str:
    state = read_run(found, load_price_table().price_of).state
    state.run_id = name_runs([found])[0]
    now = time.time()
    rows = task_rows(state, now, STALL_AFTER)
    if form == "csv":
        return csv_text(rows)
    summary = summarize(state, now, STALL_AFTER).model_dump(mode="json")
    return json.dumps({"run": summary, "tasks": rows}, indent=2) + "\n"


def _atif(found: FoundRun) -> str:
    events = []
    more = True
    while more:
        reading = found.source.read()
        events += reading.events
        more = reading.has_more
    return json.dumps(to_atif(events, found.source.folder), indent=2) + "\n"
