"""Paired comparisons of the runs of a site, as the analysis and the matrix show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from evalgauge_exporter.analysis.comparison import Comparison, DomainComparison, SuccessDifference, Trial, compare
from evalgauge_exporter.analysis.trials import measured_trials, running_since
from evalgauge_exporter.replay.tables import STALL_AFTER
from evalgauge_exporter.state.run import RunState

MOST_FOR_ALL_PAIRS = 8
"""Number of runs up to which all pairs are compared; beyond it each run with its baseline and with the earliest."""


class ComparedRun(NamedTuple):
    """What a comparison needs of a run."""

    run_id: str
    benchmark: str
    baseline: str | None
    started_at: float
    finished: bool
    trials: list[Trial]
    running: dict[str, float]
    """When each running task started, Unix seconds."""
    now: float
    """When the run was looked at, Unix seconds."""


def prepare_run(state: RunState, now: float) -> ComparedRun:
    """Extract what a comparison needs of a run; ``now`` is in Unix seconds."""
    return ComparedRun(
        state.run_id,
        state.benchmark,
        state.baseline_run_id,
        state.started_at or 0.0,
        state.status(now, STALL_AFTER) != "running",
        measured_trials(state),
        running_since(state, now, STALL_AFTER),
        now,
    )


def compare_runs(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Compare each run B with its baselines A of the same benchmark.

    Returns:
        One object for each pair, as ``data/comparisons.js`` holds it; ``delta`` and its interval are A − B.
    """
    return [_compare(a, b) for a, b in _choose_pairs(runs)]


def _choose_pairs(runs: Sequence[ComparedRun]) -> list[tuple[ComparedRun, ComparedRun]]:
    by_benchmark: dict[str, list[ComparedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.started_at, run.run_id)):
        by_benchmark.setdefault(run.benchmark, []).append(run)
    pairs = []
    for same in by_benchmark.values():
        for b in same:
            for a in same:
                few = len(same) <= MOST_FOR_ALL_PAIRS
                if a is not b and (few or a is same[0] or b.baseline == a.run_id):
                    pairs.append((a, b))
    return pairs


def _compare(a: ComparedRun, b: ComparedRun) -> dict[str, Any]:
    finished = a.finished and b.finished
    found = compare(
        a.trials, b.trials, finished=finished, running_a=a.running, running_b=b.running, now=max(a.now, b.now)
    )
    return {
        "a": a.run_id,
        "b": b.run_id,
        "finished": finished,
        "verdict": found.verdict,
        "only_in_a": found.only_in_a,
        "only_in_b": found.only_in_b,
        "pairs_needed": found.pairs_needed,
        "noise_floor": found.noise_floor,
        "p_value": found.p_value if finished else found.anytime_p_value,
        **_describe_difference(found),
        "domains": [_describe_domain(domain) for domain in found.domains.values()],
        "score": _describe_score(found),
        "steps": None if found.steps is None else found.steps.difference,
        "cost_usd": None if found.cost_usd is None else found.cost_usd.difference,
    }


def _describe_score(found: Comparison) -> dict[str, Any] | None:
    score = found.score
    if score is None:
        return None
    return {
        "paired": score.pairs,
        "mean_a": score.mean_a,
        "mean_b": score.mean_b,
        "delta": score.difference,
        "ci_low": None if score.interval is None else score.interval.low,
        "ci_high": None if score.interval is None else score.interval.high,
        "p_value": score.p_value if found.finished else score.anytime_p_value,
        "verdict": score.verdict,
    }


def _describe_difference(found: SuccessDifference) -> dict[str, Any]:
    return {
        "paired": found.paired_tasks,
        "rate_a": found.rate_a.rate,
        "rate_b": found.rate_b.rate,
        "delta": found.success_delta,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "only_a": found.only_a_succeeded,
        "only_b": found.only_b_succeeded,
        "test": found.test,
    }


def _describe_domain(found: DomainComparison) -> dict[str, Any]:
    return {
        "domain": found.domain,
        "verdict": found.verdict,
        "p_value": found.adjusted_p_value,
        **_describe_difference(found),
    }
