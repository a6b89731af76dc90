"""``evalgauge compare``: is a run worse than its baseline? A gate for pipelines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from evalgauge_exporter.analysis.comparison import Comparison, CorrectedComparison, MeanDifference, RunRate
from evalgauge_exporter.analysis.comparison.several import correct
from evalgauge_exporter.analysis.rates import success_rate_reason
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.analysis.trials import measured_trials
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
    found = correct({run.run_id: analysis.compare(baseline, run, now) for run in candidates}, min_pairs=min_pairs)
    rule = (metric, fail_on, min_coverage)
    reports = [_report(baseline, run, found, analysis, now, rule) for run in candidates]
    for report in reports if form != "json" and not as_json else ():
        print_report(report, form)
    if as_json or form == "json":
        _print_json(reports)
    sys.exit(0 if fail_on == "never" else exit_code([check for report in reports for check in report.checks]))


def _print_json(reports: list[Report]) -> None:
    alone = reports[0] if len(reports) == 1 else Report("", [], [], [], {"comparisons": [one.data for one in reports]})
    print_report(alone, "json")


def _report(
    baseline: RunState,
    candidate: RunState,
    comparisons: Mapping[str, CorrectedComparison],
    analysis: RunAnalysis,
    now: float,
    rule: tuple[str, str, float],
) -> Report:
    metric, fail_on, min_coverage = rule
    corrected, several = comparisons[candidate.run_id], len(comparisons) > 1
    found, score = corrected.comparison, metric == "score"
    p_value = corrected.score_adjusted_p_value if score else corrected.adjusted_p_value
    verdict: str = (corrected.score_verdict or "unknown") if score else corrected.verdict
    if not score and any(success_rate_reason(run) is not None for run in (baseline, candidate)):
        verdict = "unknown"
    tasks = {*_task_ids(baseline), *_task_ids(candidate)}
    pairs = found.paired_tasks if not score else 0 if found.score is None else found.score.pairs
    coverage = pairs / len(tasks) if tasks else 0.0
    statuses = [run.status(now, analysis.stall_after) for run in (baseline, candidate)]
    tables = [_head(baseline, candidate, statuses, pairs, len(tasks)), _table(corrected)]
    if found.domains:
        tables.append(_domain_table(found))
    sentence = _format_verdict(found, verdict, pairs, p_value, metric, corrected=several)
    checks = [
        Check("comparison", _judge(found, verdict, metric, fail_on), sentence),
        *_completeness(baseline, candidate, statuses, coverage, min_coverage, len(tasks), pairs),
    ]
    data = snapshot.compare(baseline, candidate, analysis, now).model_dump(mode="json")
    if several:
        _correct_answer(data["comparison"], corrected)
        data["adjusted_p_value"] = p_value
    data["checks"] = [{"name": c.name, "result": c.result.value, "message": c.message} for c in checks]
    data["coverage"] = coverage
    title = f"{candidate.run_id} against {baseline.run_id}"
    return Report(title, tables, checks, list(_list_remarks(found)), data)


def _correct_answer(answer: dict[str, Any], corrected: CorrectedComparison) -> None:
    """Put the corrected verdicts and their intervals into an answer of the API."""
    for key, verdict, interval in (
        ("significance", corrected.verdict, corrected.interval),
        ("score", corrected.score_verdict, corrected.score_interval),
    ):
        if answer[key] is not None:
            low, high = (None, None) if interval is None else interval
            answer[key] |= {"verdict": verdict, "ci_low": low, "ci_high": high}


def _task_ids(run: RunState) -> set[str]:
    return {task_id for task_id, _ in run.attempts}


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
    pairs: int,
) -> Iterator[Check]:
    """Yield what keeps the comparison from being a verdict on the whole benchmark."""
    for role, status in zip(("baseline", "candidate"), statuses, strict=True):
        if status != "completed":
            yield Check(f"{role} completed", Result.UNDECIDED, f"The {role} is {status}.")
    if baseline.benchmark != candidate.benchmark:
        message = f"The benchmarks differ: {baseline.benchmark} and {candidate.benchmark}."
        yield Check("same benchmark", Result.UNDECIDED, message)
    enough = coverage >= min_coverage
    message = f"{pairs:,} of {count_of(tasks, 'task')} compared ({coverage:.0%})"
    yield Check(
        "coverage",
        Result.PASSED if enough else Result.UNDECIDED,
        f"{message}." if enough else f"{message}, fewer than --min-coverage {min_coverage:.0%}.",
    )


def _head(baseline: RunState, candidate: RunState, statuses: Sequence[str], pairs: int, tasks: int) -> Cells:
    rows = [("run", baseline.run_id, candidate.run_id), ("state", *statuses)]
    rows += [(name, getattr(baseline, name), getattr(candidate, name)) for name in ("model", "benchmark")]
    measured = [str(len({trial.task_id for trial in measured_trials(run)})) for run in (baseline, candidate)]
    planned = [len(_task_ids(run)) for run in (baseline, candidate)]
    rows.append(("measured tasks", *(f"{m} of {p}" for m, p in zip(measured, planned, strict=True))))
    rows.append(("compared tasks", "", f"{pairs} of {tasks}"))
    return Cells(("", "baseline", "candidate"), rows)


def _format_verdict(
    found: Comparison, verdict: str, pairs: int, p_value: float | None, metric: str, *, corrected: bool
) -> str:
    """Return the verdict as one sentence."""
    if verdict == "unknown":
        if metric == "score":
            return "No verdict: no task has scores in both runs."
        return "No verdict: the scores are not between 0 and 1, so there is no success rate; use --metric score."
    if verdict == "too_few_tasks":
        return f"Too few tasks for a verdict: {pairs} {'was' if pairs == 1 else 'were'} measured in both runs."
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


def _format_p(p_value: float | None) -> str:
    if p_value is None:
        return "p unknown"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _list_remarks(found: Comparison) -> Iterator[str]:
    """Yield what the verdict alone does not tell, a line each."""
    if not found.finished:
        yield "A run is still running: p is anytime-valid, so it may be looked at repeatedly."
    for role, alone in (("baseline", found.only_in_a), ("candidate", found.only_in_b)):
        if alone:
            yield f"{count_of(alone, 'task')} measured only in the {role}, not compared."


def _table(corrected: CorrectedComparison) -> Cells:
    found, interval = corrected.comparison, "–"
    if corrected.interval is not None:
        interval = f"{format_signed(-corrected.interval.high * 100, 0)} to {format_points(-corrected.interval.low)}"
    score = None if found.score is None else replace(found.score, interval=corrected.score_interval)
    difference = None if found.success_delta is None else -found.success_delta
    rates = format_percent(found.rate_a.rate), format_percent(found.rate_b.rate)
    rows = [
        ("success rate", *rates, format_points(difference), interval),
        ("  its 95 % interval", _format_interval(found.rate_a), _format_interval(found.rate_b), "", ""),
    ]
    for name, mean, digits in (
        *((("mean score", score, 3),) if score is not None else ()),
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
