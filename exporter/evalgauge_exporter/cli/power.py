"""``evalgauge power``: the least drop that a number of tasks can show, before money is spent."""

from __future__ import annotations

import json
from pathlib import Path

import click

from evalgauge_exporter.analysis.comparison import LeastDrop, least_drop
from evalgauge_exporter.analysis.comparison.comparison import flip_rate
from evalgauge_exporter.analysis.rates import run_results
from evalgauge_exporter.analysis.trials import measured_trials
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of, format_percent, parse_share
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, select_one


@click.command("power")
@click.option("--tasks", type=click.IntRange(1, 1_000_000), required=True, help="Tasks that both runs measure.")
@click.option("--attempts", type=click.IntRange(1, 1000), default=1, show_default=True, help="Attempts at each task.")
@click.option("--rate", type=parse_share, metavar="SHARE", help="Success rate of the baseline.  [default: 50%]")
@click.option("--baseline", metavar="RUN", help="Take the rate and the noise from this run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a sentence.")
@config_option
def command(
    tasks: int, attempts: int, rate: float | None, baseline: str | None, as_json: bool, config_path: Path | None
) -> None:
    """Estimate the least drop that a comparison can detect.

    A drop of the success rate is detected in 80 % of the comparisons of so many tasks, at a significance level of 5 %.
    """
    flips = None
    if baseline is not None:
        runs = RunSelection([baseline], config_path)
        run = runs.read(select_one(runs))
        results = run_results(run, run.last_event_at, runs.config.stall_after)
        if results.success_rate is None or not results.success_rate.value:
            raise CliError(f"{run.run_id} has no success: a drop below its rate is not possible; name another baseline")
        rate = results.success_rate.value if rate is None else rate
        flips = flip_rate(measured_trials(run))
    try:
        found = least_drop(tasks, attempts, rate=0.5 if rate is None else rate, flip_rate=flips)
    except ValueError as error:
        raise CliError(str(error)) from error
    if as_json:
        click.echo(json.dumps(found._asdict(), indent=2))
    else:
        click.echo(describe_power(found))


def describe_power(found: LeastDrop) -> str:
    """Return the least drop as one sentence."""
    size = count_of(found.tasks, "task") + (f" with {found.attempts} attempts each" if found.attempts > 1 else "")
    at = f"at a success rate of {format_percent(found.rate)}"
    if found.drop is None:
        return f"{size} cannot show any drop, even to 0, {at}: take more tasks or attempts."
    return f"{size} show a drop of {found.drop * 100:.1f} points or more {at} (80 % power, 5 % significance)."
