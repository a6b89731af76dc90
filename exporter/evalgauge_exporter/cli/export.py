"""``evalgauge export``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.replay import found_in
from evalgauge_exporter.config.durations import parse_duration
from evalgauge_exporter.export.atif import to_atif
from evalgauge_exporter.export.table import csv_text, task_rows
from evalgauge_exporter.replay.reading import listed_prices, read_run
from evalgauge_exporter.sources.discovery import Found, run_names


def run(folder: Path, form: str, out: Path) -> None:
    """Write the run's tasks as a table, the whole run as JSON, or its attempts as ATIF trajectories."""
    found = found_in((folder,))
    if len(found) > 1:
        names = ", ".join(run.path_id for run in found[:5])
        raise CliError(f"{folder} holds {len(found)} runs ({names}…); name the folder of one")
    text = _atif(found[0]) if form == "atif" else _table(found[0], form)
    try:
        if str(out) == "-":
            click.echo(text, nl=False)
            return
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another file with --out") from error


def _table(found: Found, form: str) -> str:
    state = read_run(found, listed_prices()).state
    state.run_id = run_names([found])[0]
    now, stall_after = time.time(), parse_duration("10m")
    rows = task_rows(state, now, stall_after)
    if form == "csv":
        return csv_text(rows)
    summary = summarize(state, now, stall_after).model_dump(mode="json")
    return json.dumps({"run": summary, "tasks": rows}, indent=2) + "\n"


def _atif(found: Found) -> str:
    events = []
    more = True
    while more:
        reading = found.source.read()
        events += reading.events
        more = reading.has_more
    return json.dumps(to_atif(events, found.source.folder), indent=2) + "\n"
