"""``evalgauge runs``."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evalgauge_exporter.cli import Failure
from evalgauge_exporter.config import load_config
from evalgauge_exporter.durations import parse_duration
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state import RunState
from evalgauge_exporter.summary import RunSummary, summarise


def read_runs(results: tuple[Path, ...]) -> list[RunState]:
    """Every run below the folders as it is now, in the order in which they began."""
    exporter = Exporter(load_config(None, results=results))
    exporter.start()
    exporter.wait_ready()
    exporter.stop()
    return sorted(exporter.state.runs.values(), key=lambda run: (run.started_at or 0.0, run.run_id))


def run(results: tuple[Path, ...], as_json: bool, stall_after: str) -> None:
    """Print the table, or what /api/benchmark/runs answers."""
    try:
        silence = parse_duration(stall_after)
    except ValueError as error:
        raise Failure(f"--stall-after: {error}") from error
    now = time.time()
    found = [summarise(state, now, silence) for state in read_runs(results)]
    if as_json:
        found.reverse()  # the newest first, as the API has it
        click.echo(json.dumps({"runs": [item.model_dump(mode="json") for item in found]}, indent=2))
        return
    if not found:
        click.echo(f"no runs in {', '.join(map(str, results))}", err=True)
        return
    Console().print(_table(found))


def _table(found: list[RunSummary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for name in ("model", "source", "state"):
        table.add_column(name)
    for name in ("tasks", "success", "of all", "steps", "cost", "took", "started"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in found:
        table.add_row(
            Text(item.run_id),
            Text(item.model_id),
            item.source,
            item.state,
            f"{item.finished_tasks} of {item.total_tasks}",
            _percent(item.success_rate),
            _percent(item.success_rate_all),
            "–" if item.avg_steps is None else f"{item.avg_steps:.1f}",
            "–" if item.cost_usd is None else f"${item.cost_usd:,.2f}",
            "–" if item.elapsed_seconds is None else _took(item.elapsed_seconds),
            "–" if item.created_at is None else f"{datetime.fromtimestamp(item.created_at):%Y-%m-%d %H:%M}",
        )
    return table


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.0%}"


def _took(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
