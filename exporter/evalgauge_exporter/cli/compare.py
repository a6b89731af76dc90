"""``evalgauge compare``: is a run worse than its baseline?"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evalgauge_exporter.analysis.comparison import Comparison, MeanDifference, RunRate
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of, escape_control, format_percent
from evalgauge_exporter.cli.run_selection import STALL_AFTER, existing_dirs, read_runs
from evalgauge_exporter.state.run import RunState, State
from evalgauge_exporter.views import snapshot
from evalgauge_exporter.views.schemas import run as shapes

WORSE = 3
"""The exit code that stops a pipeline."""


@click.command("compare")
@click.argument("results", metavar="RESULTS_DIR", type=click.Path(path_type=Path))
@click.argument("run_a")
@click.argument("run_b")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of /api/benchmark/compare.")
@click.option(
    "--fail-on",
    type=click.Choice(["worse", "any-drop", "never"]),
    default="worse",
    show_default=True,
    help="Exit 3 if RUN_B is significantly worse, if its rate is lower at all, or never.",
)
@click.option("--min-pairs", type=click.IntRange(1), default=10, show_default=True, help="Fewer pairs get no verdict.")
def command(results: Path, run_a: str, run_b: str, as_json: bool, fail_on: str, min_pairs: int) -> None:
    """Compare a run with a baseline run.

    RUN_A is the baseline. Only tasks that both runs have measured are compared.
    """
    state = State()
    state.runs = {found.run_id: found for found in read_runs(existing_dirs((results,)))}
    a, b = _select(run_a, state), _select(run_b, state)
    analysis = RunAnalysis(state, stall_after=STALL_AFTER, min_pairs=min_pairs)
    now = time.time()
    answer = snapshot.compare(a, b, analysis, now)
    found = analysis.compare(a, b, now)
    if as_json:
        click.echo(answer.model_dump_json(indent=2))
    else:
        console = Console()
        click.echo(f"A  {escape_control(a.run_id)}  (the baseline)\nB  {escape_control(b.run_id)}")
        console.print(_table(found))
        if found.domains:
            console.print(_domain_table(found))
        for line in (format_verdict(found), *list_remarks(found)):
            click.echo(line)
    if fails(answer.comparison, fail_on):
        if not as_json and found.verdict != "worse":
            click.echo(f"Exit {WORSE}: B succeeded less often over these tasks, and --fail-on is {fail_on}.")
        sys.exit(WORSE)


def _select(run_id: str, state: State) -> RunState:
    run = state.runs.get(run_id)
    if run is None:
        near = difflib.get_close_matches(run_id, state.runs, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(map(escape_control, near))}?" if near else "; evalgauge runs lists the runs"
        raise CliError(f"no run {run_id!r}{hint}")
    return run


def fails(compared: shapes.Compared, fail_on: str) -> bool:
    """Return whether a pipeline should stop."""
    if fail_on == "worse":
        return compared.significance.verdict == "worse"
    return fail_on == "any-drop" and (compared.delta.success_rate or 0.0) > 0


def format_verdict(found: Comparison) -> str:
    """Return the verdict as one sentence."""
    if found.verdict == "too_few_tasks":
        was = "was" if found.paired_tasks == 1 else "were"
        return f"Too few tasks for a verdict: {found.paired_tasks} {was} measured in both runs."
    p = found.p_value if found.finished else found.anytime_p_value
    counts = f"{count_of(found.only_a_succeeded, 'task')} only A solved, {found.only_b_succeeded} only B; p = {p:.2g}"
    if found.verdict in ("worse", "better"):
        return f"B is significantly {found.verdict} than A ({counts})."
    more = (
        f"; some {count_of(found.pairs_needed, 'task')} more would show a difference of this size"
        if found.pairs_needed
        else ""
    )
    return f"No significant difference between B and A ({counts}{more})."


def list_remarks(found: Comparison) -> Iterator[str]:
    """Yield what the verdict alone does not tell, a line each."""
    if not found.finished:
        yield "A run is still running: p is anytime-valid, so it may be looked at repeatedly."
    for name, alone in (("A", found.only_in_a), ("B", found.only_in_b)):
        if alone:
            yield f"{count_of(alone, 'task')} measured only in {name}, not counted above."


def _table(found: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"over {count_of(found.paired_tasks, 'task')}")
    for name in ("A", "B", "A − B", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    interval = "–" if found.ci_low is None else f"{found.ci_low * 100:+.0f} to {(found.ci_high or 0) * 100:+.0f} points"
    difference = "–" if found.success_delta is None else f"{found.success_delta * 100:+.0f} points"
    table.add_row(
        "success rate", format_percent(found.rate_a.rate), format_percent(found.rate_b.rate), difference, interval
    )
    table.add_row("  its 95 % interval", _format_interval(found.rate_a), _format_interval(found.rate_b), "", "")
    for name, mean, form in (
        ("steps", found.steps, "{:.1f}"),
        ("seconds", found.duration_seconds, "{:.1f}"),
        ("cost of a task, $", found.cost_usd, "{:.4f}"),
    ):
        table.add_row(name, *_format_mean(mean, form))
    if found.noise_floor is not None:
        table.add_row("noise floor", "", "", f"±{found.noise_floor * 100:.0f} points", "")
    return table


def _format_interval(rate: RunRate) -> str:
    return "–" if rate.interval is None else f"{rate.interval.low * 100:.0f} to {rate.interval.high * 100:.0f}%"


def _format_mean(mean: MeanDifference | None, form: str) -> tuple[str, str, str, str]:
    if mean is None:
        return "–", "–", "–", "–"
    signed = form.replace(":", ":+")
    interval = "–"
    if mean.interval is not None:
        interval = f"{signed.format(mean.interval.low)} to {signed.format(mean.interval.high)}"
    return form.format(mean.mean_a), form.format(mean.mean_b), signed.format(mean.difference), interval


def _domain_table(found: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("domain")
    for name in ("tasks", "A", "B", "A − B", "p (Holm)"):
        table.add_column(name, justify="right")
    table.add_column("B is")
    for name, domain in sorted(found.domains.items(), key=lambda item: -(item[1].success_delta or 0.0)):
        table.add_row(
            Text(escape_control(name)),
            str(domain.paired_tasks),
            format_percent(domain.rate_a.rate),
            format_percent(domain.rate_b.rate),
            "–" if domain.success_delta is None else f"{domain.success_delta * 100:+.0f}",
            f"{domain.adjusted_p_value:.2g}",
            domain.verdict if domain.verdict in ("better", "worse") else "",
        )
    return table
