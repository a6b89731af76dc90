"""``evalgauge remaining``: the tasks of a run that are left, for runners that resume it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from evalgauge.resume import ERRORED
from evalgauge_exporter.cli.output import count_of, escape_control
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, runs_argument, select_one
from evalgauge_exporter.state.run import RunState

LEFT = frozenset({"pending", "running", "interrupted"})


@click.command("remaining")
@runs_argument
@click.option("--errored", is_flag=True, help="Also attempts with an infrastructure or evaluation error.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of lines.")
@config_option
def command(names: tuple[str, ...], errored: bool, as_json: bool, config_path: Path | None) -> None:
    """List the tasks of a run that are left.

    A line for each attempt that has not finished: the task's id, a tab, the number of the attempt. Attempts that are
    running now are left too; tasks that a run planned only by their number have no id and are counted on stderr.
    """
    runs = RunSelection(names, config_path)
    run = runs.read(select_one(runs))
    rows = list_remaining(run, time.time(), runs.config.stall_after, errored=errored)
    unnamed = run.unnamed_count
    if as_json:
        click.echo(json.dumps({"run_id": run.run_id, "remaining": rows, "unnamed": unnamed}, indent=2))
        return
    for row in rows:
        click.echo(f"{escape_control(row['task_id'])}\t{row['attempt']}")
    if unnamed:
        click.echo(f"evalgauge: {count_of(unnamed, 'more task')} planned without an id", err=True)


def list_remaining(run: RunState, now: float, stall_after: float, *, errored: bool) -> list[dict[str, Any]]:
    """Return the attempts that are left, by task and attempt, with the keys task_id, attempt, domain and status.

    Args:
        run: The run.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which an open attempt counts as interrupted.
        errored: Whether attempts that ended in an infrastructure or evaluation error are left too.
    """
    left = LEFT | ERRORED if errored else LEFT
    found = []
    for attempt in run.iterate_attempts():
        status = run.status_of(attempt, now, stall_after)
        if status in left:
            row = {"task_id": attempt.task_id, "attempt": attempt.attempt, "domain": attempt.domain, "status": status}
            found.append(row)
    return found
