"""``evalgauge export``: a run as a table, as JSON, as ATIF trajectories, or as the history of its metrics."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from evalgauge.events import Event
from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control
from evalgauge_exporter.cli.run_selection import STALL_AFTER, existing_run, find_runs
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.export.atif import to_atif
from evalgauge_exporter.export.table import csv_text, task_rows
from evalgauge_exporter.replay.reading import listed_prices, read_run
from evalgauge_exporter.sources.discovery import FoundRun, name_runs
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.history import PastRun, write_history
from evalgauge_exporter.views.limits import Limits

FORMATS = ["csv", "json", "atif", "openmetrics"]


FORMATS = ["csv", "json", "atif", "openmetrics"]


@click.command("export")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output file; - is standard output.")
def command(run_dir: Path, form: str, out: Path) -> None:
    """Write a run as CSV, JSON or ATIF trajectories, or a folder of runs as the history of their metrics.

    csv is a table of the run's tasks, json the run with its tasks, atif a trajectory for each attempt; openmetrics is
    what Prometheus would have scraped of one or more runs, for promtool tsdb create-blocks-from openmetrics.
    """
    found = find_runs((existing_run(run_dir),))
    if form == "openmetrics":
        _write_history(found, out)
        return
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


def _write_history(found: list[FoundRun], out: Path) -> None:
    config, pricer = load_config(None), listed_prices()
    runs = []
    for run, run_id in zip(found, name_runs(found), strict=True):
        state = RunState(run_id, run.source.source, pricer)
        events = _read_events(run)
        for event in events:
            state.apply(event)
        runs.append(PastRun(state, events))
    try:
        with click.open_file(str(out), "w", encoding="utf-8") as file:
            untimed = write_history(
                runs,
                file,
                stall_after=config.stall_after,
                pricer=pricer,
                baselines=config.baselines,
                limits=Limits(**config.limits.model_dump()),
            )
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another file with --out") from error
    if untimed:
        names = ", ".join(escape_control(run_id) for run_id in untimed[:5]) + (", …" if len(untimed) > 5 else "")
        click.echo(f"left out, because nothing says when they took place: {names}", err=True)


def _table(found: FoundRun, form: str) -> str:
    state = read_run(found, listed_prices()).state
    state.run_id = name_runs([found])[0]
    now = time.time()
    rows = task_rows(state, now, STALL_AFTER)
    if form == "csv":
        return csv_text(rows)
    summary = summarize(state, now, STALL_AFTER).model_dump(mode="json")
    return json.dumps({"run": summary, "tasks": rows}, indent=2) + "\n"


def _atif(found: FoundRun) -> str:
    return json.dumps(to_atif(_read_events(found), found.source.folder), indent=2) + "\n"


def _read_events(found: FoundRun) -> list[Event]:
    events: list[Event] = []
    more = True
    while more:
        reading = found.source.read()
        events += reading.events
        more = reading.has_more
    return events
