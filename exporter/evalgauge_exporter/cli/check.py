"""``evalgauge check``: a gate for one run, with limits in place of a baseline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from evalgauge_exporter.analysis.costs import RunCosts
from evalgauge_exporter.analysis.summary import RunSummary, summarize
from evalgauge_exporter.cli.output import count_of, format_percent, format_usd, parse_share
from evalgauge_exporter.cli.reports import Cells, Check, Report, Result, exit_code, format_option, print_report
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, runs_argument, scorer_option

NOT_MEASURED = ("infrastructure_error", "evaluation_error", "interrupted")


class Limits(NamedTuple):
    """The limits of a gate; None where a limit is not set."""

    min_success: float | None
    """Least success rate over measured tasks, 0 to 1."""
    max_cost: float | None
    """Greatest cost in US dollars, machines included."""
    max_infra: float | None
    """Greatest share of the finished attempts that could not be measured, 0 to 1."""
    min_coverage: float
    """Least share of all attempts that were measured, 0 to 1."""


@click.command("check")
@runs_argument
@click.option("--min-success", type=parse_share, metavar="SHARE", help="Least success rate over the measured tasks.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="USD", help="Greatest cost, machines included.")
@click.option(
    "--max-infra",
    type=parse_share,
    metavar="SHARE",
    help="Greatest share of unmeasured attempts.",
)
@click.option(
    "--min-coverage",
    type=parse_share,
    metavar="SHARE",
    default="80%",
    show_default=True,
    help="Least share of measured tasks.",
)
@format_option
@scorer_option
@config_option
def command(
    names: tuple[str, ...],
    min_success: float | None,
    max_cost: float | None,
    max_infra: float | None,
    min_coverage: float,
    form: str,
    scorer: str | None,
    config_path: Path | None,
) -> None:
    """Check a run against limits, for pipelines.

    RUN is the path of a run or of a folder of runs, or the id of a run in ./results or in a folder that is named too.

    Exits with 3 if a limit is broken, with 4 if it cannot be judged: the run is incomplete or crashed, too few tasks
    were measured, or a cost is unknown.
    """
    runs = RunSelection(names, config_path, scorer=scorer)
    limits = Limits(min_success, max_cost, max_infra, min_coverage)
    checks: list[Check] = []
    reports = []
    for run_id in runs.ids:
        run = runs.read(run_id)
        now = time.time()
        summary = summarize(run, now, runs.config.stall_after)
        report = _report(summary, runs.exporter.analysis.costs(run, now), limits)
        checks += report.checks
        reports.append(report)
    if form == "json":
        print_report(Report("", [], [], [], {"runs": [report.data for report in reports]}), form)
    else:
        for report in reports:
            print_report(report, form)
    sys.exit(exit_code(checks))


def _report(summary: RunSummary, costs: RunCosts, limits: Limits) -> Report:
    checks = list(judge(summary, costs, limits))
    incomplete = is_incomplete(costs)
    rows = [
        ("state", summary.state),
        ("model", summary.model_id),
        ("benchmark", summary.benchmark),
        ("finished attempts", f"{summary.finished_tasks} of {summary.total_tasks}"),
        ("success rate", format_percent(summary.success_rate)),
        ("cost", format_usd(costs.total, incomplete=incomplete)),
    ]
    data = {
        "run": summary.model_dump(mode="json"),
        "total_cost_usd": costs.total,
        "checks": [{"name": c.name, "result": c.result.value, "message": c.message} for c in checks],
    }
    return Report(summary.run_id, [Cells(("run", summary.run_id), rows)], checks, [], data)


def is_incomplete(costs: RunCosts) -> bool:
    """Return whether a run has costs that are not known, so that its total is a lower bound."""
    return bool(costs.unpriced_calls or costs.unknown_usage_calls or costs.unpriced_machines)


def judge(summary: RunSummary, costs: RunCosts, limits: Limits) -> Iterator[Check]:
    """Yield a check for the completeness of a run and for each limit.

    Args:
        summary: The run.
        costs: Its costs.
        limits: The limits.
    """
    completed = summary.state == "completed"
    yield Check("completed", Result.PASSED if completed else Result.UNDECIDED, f"The run is {summary.state}.")
    finished = summary.finished_tasks
    unmeasured = sum(summary.outcomes.get(name, 0) for name in NOT_MEASURED)
    measured = finished - unmeasured
    coverage = measured / summary.total_tasks if summary.total_tasks else 0.0
    message = f"{measured:,} of {count_of(summary.total_tasks, 'attempt')} measured ({coverage:.0%})"
    enough = coverage >= limits.min_coverage and measured > 0
    yield Check(
        "coverage",
        Result.PASSED if enough else Result.UNDECIDED,
        f"{message}." if enough else f"{message}, fewer than --min-coverage {limits.min_coverage:.0%}.",
    )
    if limits.min_success is not None:
        yield _check_success(summary, limits.min_success, decided=completed and enough)
    if limits.max_infra is not None:
        share = unmeasured / finished if finished else None
        yield _check_share(share, limits.max_infra)
    if limits.max_cost is not None:
        yield _check_cost(costs, limits.max_cost)


def _check_success(summary: RunSummary, least: float, *, decided: bool) -> Check:
    rate = summary.success_rate
    if rate is None:
        return Check("success rate", Result.UNDECIDED, "The success rate is unknown: no task was measured.")
    text = f"The success rate is {rate:.1%}"
    if not decided:
        return Check("success rate", Result.UNDECIDED, f"{text} so far; the limit is {least:.1%}.")
    if rate < least:
        return Check("success rate", Result.FAILED, f"{text}, less than {least:.1%}.")
    return Check("success rate", Result.PASSED, f"{text}, at least {least:.1%}.")


def _check_share(share: float | None, greatest: float) -> Check:
    name = "infrastructure"
    if share is None:
        return Check(name, Result.UNDECIDED, "No attempt has finished.")
    text = f"{share:.1%} of the finished attempts could not be measured"
    if share > greatest:
        return Check(name, Result.FAILED, f"{text}, more than {greatest:.1%}.")
    return Check(name, Result.PASSED, f"{text}, at most {greatest:.1%}.")


def _check_cost(costs: RunCosts, greatest: float) -> Check:
    if costs.total is not None and costs.total > greatest:
        return Check(
            "cost", Result.FAILED, f"The run cost {format_usd(costs.total)}, more than {format_usd(greatest)}."
        )
    if costs.total is None or is_incomplete(costs):
        unknown = costs.unpriced_calls + costs.unknown_usage_calls
        parts = [count_of(unknown, "model call")] if unknown else []
        parts += [count_of(costs.unpriced_machines, "machine")] if costs.unpriced_machines else []
        what = f"the cost of {' and '.join(parts)} is unknown" if parts else "no cost was recorded"
        return Check("cost", Result.UNDECIDED, f"{what[0].upper()}{what[1:]}; the limit is {format_usd(greatest)}.")
    return Check("cost", Result.PASSED, f"The run cost {format_usd(costs.total)}, at most {format_usd(greatest)}.")
