"""``evalgauge compare``: is a run worse than its baseline? A gate for pipelines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from evalgauge_exporter.analysis.comparison import Comparison, MeanDifference, RunRate, holm
from evalgauge_exporter.analysis.rates import success_rate_reason
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.cli.output import (
    count_of,
    format_percent,
    format_points,
    format_signed,
    parse_share,
)
from evalgauge_exporter.cli.reports import Cells, Check, Report, Result, exit_code, format_option, print_report
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, scorer_option
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views import snapshot

ALPHA = 0.05


@click.command("compare")
@click.argument("names", metavar="[RESULTS_DIR] BASELINE CANDIDATE...", nargs=-1)
@format_option
@click.option("--json", "as_json", is_flag=True, help="Same as --format json: the answer of /api/benchmark/compare.")
@click.option(
    "--metric",
    type=click.Choice(["success", "score"]),
    default="success",
    show_default=True,
    help="What the verdict is about: the success rate or the mean score.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["worse", "any-drop", "never"]),
    default="worse",
    show_default=True,
    help="Exit 3 if a candidate is significantly worse, if its rate is lower at all, or never.",
)
@click.option("--min-pairs", type=click.IntRange(1), default=10, show_default=True, help="Fewer pairs get no verdict.")
@click.option(
    "--min-coverage",
    type=parse_share,
    metavar="SHARE",
    default="80%",
    show_default=True,
    help="Share of all tasks that must be compared.",
)
@scorer_option
@config_option
def command(
    names: tuple[str, ...],
    form: str,
    as_json: bool,
    metric: str,
    fail_on: str,
    min_pairs: int,
    min_coverage: float,
    scorer: str | None,
    config_path: Path | None,
) -> None:
    """Compare a run with a baseline run.

    Each is the path of a run or the id of a run in RESULTS_DIR. Only tasks that both runs have measured are compared;
    every difference is candidate minus baseline. Several candidates are corrected for their number (Holm).

    Exits with 3 if a candidate is worse, with 4 if there is no verdict: a run is incomplete or crashed, the
    benchmarks differ, or too few tasks are in common.
    """
    runs = RunSelection(names, config_path, scorer=scorer)
    if len(runs.ids) < 2 or len(runs.ids) > len(names):
        raise click.UsageError("name the baseline and then the candidate, each by its id or its path")
    baseline, *candidates = (runs.read(run_id) for run_id in runs.ids)
    stall_after = runs.config.stall_after
    analysis = RunAnalysis(runs.exporter.state, stall_after=stall_after, min_pairs=min_pairs)
    now = time.time()
    found = [analysis.compare(baseline, run, now) for run in candidates]
    adjusted = holm([_p_value(one, metric) for one in found])
    reports = [
        _report(baseline, run, one, p_value, analysis, now, (metric, fail_on, min_coverage), corrected=len(found) > 1)
        for run, one, p_value in zip(candidates, found, adjusted, strict=True)
    ]
    for report in reports if form != "json" and not as_json else ():
        print_report(report, form)
    if as_json or form == "json":
        _print_json(reports, adjusted)
    sys.exit(0 if fail_on == "never" else exit_code([check for report in reports for check in report.checks]))


def _print_json(reports: list[Report], p_values: list[float]) -> None:
    if len(reports) == 1:
        print_report(reports[0], "json")
        return
    rows = [{**report.data, "adjusted_p_value": p_value} for report, p_value in zip(reports, p_values, strict=True)]
    print_report(Report("", [], [], [], {"comparisons": rows}), "json")


def _report(
    baseline: RunState,
    candidate: RunState,
    found: Comparison,
    p_value: float,
    analysis: RunAnalysis,
    now: float,
    rule: tuple[str, str, float],
    *,
    corrected: bool,
) -> Report:
    metric, fail_on, min_coverage = rule
    verdict: str = found.verdict
    if metric == "score":
        verdict = "unknown" if found.score is None else found.score.verdict
    elif any(success_rate_reason(run) is not None for run in (baseline, candidate)):
        verdict = "unknown"
    if verdict in ("better", "worse") and p_value >= ALPHA:
        verdict = "no_significant_difference"
    tasks = {*_task_ids(baseline), *_task_ids(candidate)}
    coverage = found.paired_tasks / len(tasks) if tasks else 0.0
    statuses = [run.status(now, analysis.stall_after) for run in (baseline, candidate)]
    tables = [_head(baseline, candidate, statuses, found, len(tasks)), _table(found)]
    if found.domains:
        tables.append(_domain_table(found))
    sentence = _format_verdict(found, verdict, p_value, metric, corrected=corrected)
    checks = [
        Check("comparison", _judge(found, verdict, metric, fail_on), sentence),
        *_completeness(baseline, candidate, statuses, coverage, min_coverage, len(tasks), found),
    ]
    answer = snapshot.compare(baseline, candidate, analysis, now).model_dump(mode="json")
    data: dict[str, Any] = {
        **answer,
        "checks": [{"name": c.name, "result": c.result.value, "message": c.message} for c in checks],
        "coverage": coverage,
    }
    title = f"{candidate.run_id} against {baseline.run_id}"
    return Report(title, tables, checks, list(_list_remarks(found)), data)


def _task_ids(run: RunState) -> set[str]:
    return {task_id for task_id, _ in run.attempts}


def _p_value(found: Comparison, metric: str) -> float:
    """Return the p-value of a metric: anytime-valid while a run is running, 1 where nothing can be compared."""
    compared = found if metric == "success" else found.score
    if compared is None:
        return 1.0
    return compared.p_value if found.finished else compared.anytime_p_value


def _drop(found: Comparison, metric: str) -> float:
    """Return how much lower the candidate is; negative where it is higher."""
    if metric == "success":
        return found.success_delta or 0.0
    return 0.0 if found.score is None else found.score.difference


def _judge(found: Comparison, verdict: str, metric: str, fail_on: str) -> Result:
    if verdict == "worse" or (fail_on == "any-drop" and _drop(found, metric) > 0):
        return Result.FAILED
    return Result.UNDECIDED if verdict in ("too_few_tasks", "unknown") else Result.PASSED


def _completeness(
    baseline: RunState,
    candidate: RunState,
    statuses: Sequence[str],
    coverage: float,
    min_coverage: float,
    tasks: int,
    found: Comparison,
) -> Iterator[Check]:
    """Yield what keeps the comparison from being a verdict on the whole benchmark."""
    for role, status in zip(("baseline", "candidate"), statuses, strict=True):
        if status != "completed":
            yield Check(f"{role} completed", Result.UNDECIDED, f"The {role} is {status}.")
    if baseline.benchmark != candidate.benchmark:
        message = f"The benchmarks differ: {baseline.benchmark} and {candidate.benchmark}."
        yield Check("same benchmark", Result.UNDECIDED, message)
    enough = coverage >= min_coverage
    message = f"{found.paired_tasks:,} of {count_of(tasks, 'task')} compared ({coverage:.0%})"
    yield Check(
        "coverage",
        Result.PASSED if enough else Result.UNDECIDED,
        f"{message}." if enough else f"{message}, fewer than --min-coverage {min_coverage:.0%}.",
    )


def _head(baseline: RunState, candidate: RunState, statuses: Sequence[str], found: Comparison, tasks: int) -> Cells:
    rows = [("run", baseline.run_id, candidate.run_id), ("state", *statuses)]
    rows += [(name, getattr(baseline, name), getattr(candidate, name)) for name in ("model", "benchmark")]
    measured = [str(found.paired_tasks + alone) for alone in (found.only_in_a, found.only_in_b)]
    planned = [len(_task_ids(run)) for run in (baseline, candidate)]
    rows.append(("measured tasks", *(f"{m} of {p}" for m, p in zip(measured, planned, strict=True))))
    rows.append(("compared tasks", "", f"{found.paired_tasks} of {tasks}"))
    return Cells(("", "baseline", "candidate"), rows)


def _format_verdict(found: Comparison, verdict: str, p_value: float, metric: str, *, corrected: bool) -> str:
    """Return the verdict as one sentence."""
    if verdict == "unknown":
        if metric == "score":
            return "No verdict: no task has scores in both runs."
        return "No verdict: the scores are not between 0 and 1, so there is no success rate; use --metric score."
    if verdict == "too_few_tasks":
        was = "was" if found.paired_tasks == 1 else "were"
        return f"Too few tasks for a verdict: {found.paired_tasks} {was} measured in both runs."
    corrected_p = f"{'adjusted ' if corrected else ''}{_format_p(p_value)}"
    if metric == "score" and found.score is not None:
        difference = format_signed(-found.score.difference, 3)
        if verdict in ("worse", "better"):
            return f"The candidate's mean score is significantly {verdict} ({difference}; {corrected_p})."
        return f"No significant difference of the mean scores ({difference}; {corrected_p})."
    counts = (
        f"{count_of(found.only_a_succeeded, 'task')} solved only by the baseline, {found.only_b_succeeded} only by the "
        f"candidate; {corrected_p}"
    )
    if verdict in ("worse", "better"):
        return f"The candidate is significantly {verdict} than the baseline ({counts})."
    more = ""
    if found.pairs_needed:
        more = f"; about {count_of(found.pairs_needed, 'more task')} would show a difference of this size"
    return f"No significant difference between the candidate and the baseline ({counts}{more})."


def _format_p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _list_remarks(found: Comparison) -> Iterator[str]:
    """Yield what the verdict alone does not tell, a line each."""
    if not found.finished:
        yield "A run is still running: p is anytime-valid, so it may be looked at repeatedly."
    for role, alone in (("baseline", found.only_in_a), ("candidate", found.only_in_b)):
        if alone:
            yield f"{count_of(alone, 'task')} measured only in the {role}, not compared."


def _table(found: Comparison) -> Cells:
    interval = "–"
    if found.ci_low is not None and found.ci_high is not None:
        interval = f"{format_signed(-found.ci_high * 100, 0)} to {format_points(-found.ci_low)}"
    difference = None if found.success_delta is None else -found.success_delta
    rates = format_percent(found.rate_a.rate), format_percent(found.rate_b.rate)
    rows = [
        ("success rate", *rates, format_points(difference), interval),
        ("  its 95 % interval", _format_interval(found.rate_a), _format_interval(found.rate_b), "", ""),
    ]
    for name, mean, digits in (
        *((("mean score", found.score, 3),) if found.score is not None else ()),
        ("steps", found.steps, 1),
        ("seconds", found.duration_seconds, 1),
        ("model cost of a task, $", found.cost_usd, 4),
    ):
        rows.append((name, *_format_mean(mean, digits)))
    if found.noise_floor is not None:
        rows.append(("noise floor", "", "", f"±{found.noise_floor * 100:.0f} points", ""))
    title = f"over {count_of(found.paired_tasks, 'task')}"
    return Cells((title, "baseline", "candidate", "difference", "its 95 % interval"), rows)


def _format_interval(rate: RunRate) -> str:
    return "–" if rate.interval is None else f"{rate.interval.low * 100:.0f} to {rate.interval.high * 100:.0f}%"


def _format_mean(mean: MeanDifference | None, digits: int) -> tuple[str, str, str, str]:
    if mean is None:
        return "–", "–", "–", "–"
    interval = "–"
    if mean.interval is not None:
        interval = f"{format_signed(-mean.interval.high, digits)} to {format_signed(-mean.interval.low, digits)}"
    means = f"{mean.mean_a:,.{digits}f}", f"{mean.mean_b:,.{digits}f}"
    return *means, format_signed(-mean.difference, digits), interval


def _domain_table(found: Comparison) -> Cells:
    rows = []
    for name, domain in sorted(found.domains.items(), key=lambda item: -(item[1].success_delta or 0.0)):
        rows.append(
            (
                name,
                str(domain.paired_tasks),
                format_percent(domain.rate_a.rate),
                format_percent(domain.rate_b.rate),
                format_points(None if domain.success_delta is None else -domain.success_delta),
                f"{domain.adjusted_p_value:.2g}",
                domain.verdict if domain.verdict in ("better", "worse") else "",
            )
        )
    return Cells(("domain", "tasks", "baseline", "candidate", "difference", "p (Holm)", "candidate is"), rows)
