"""Comparisons of more than two runs, corrected for their number."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from evalgauge_exporter.analysis.comparison.comparison import Comparison, ScoreDifference, Verdict, compare, judge
from evalgauge_exporter.analysis.comparison.pairing import Trial
from evalgauge_exporter.analysis.comparison.sequential import select_direction
from evalgauge_exporter.analysis.comparison.tests import Interval, holm

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class CorrectedComparison:
    """One of several comparisons."""

    comparison: Comparison
    adjusted_p_value: float
    """Holm-corrected p-value behind ``verdict``."""
    verdict: Verdict
    """On the candidate against the baseline, after the correction."""
    interval: Interval | None
    """The interval of ``comparison``, widened to 0 where the corrected verdict finds no difference."""
    score_adjusted_p_value: float | None
    """The same for the scores; ``None`` where no task has scores in both runs."""
    score_verdict: Verdict | None
    score_interval: Interval | None


def compare_all(
    baseline: Sequence[Trial],
    candidates: Mapping[str, Sequence[Trial]],
    *,
    finished: bool = True,
    alpha: float = 0.05,
    min_pairs: int = 10,
) -> dict[str, CorrectedComparison]:
    """Compare several candidates with one baseline, with Holm's correction for their number.

    Args:
        baseline: Measured attempts of the baseline.
        candidates: Measured attempts of the other runs, by name.
        finished: Whether all runs are finished.
        alpha: Chance of even one false "worse" or "better" among runs that are equal.
        min_pairs: Pairs below which a verdict is "too_few_tasks".

    Returns:
        The comparisons by name, in the order of ``candidates``.
    """
    found = {
        name: compare(baseline, trials, finished=finished, alpha=alpha, min_pairs=min_pairs)
        for name, trials in candidates.items()
    }
    return correct(found, alpha, min_pairs)


def compare_pairs(
    runs: Mapping[str, Sequence[Trial]],
    *,
    finished: bool = True,
    alpha: float = 0.05,
    min_pairs: int = 10,
    known: Mapping[tuple[str, str], Comparison] | None = None,
) -> dict[tuple[str, str], CorrectedComparison]:
    """Compare each run with each other one, with Holm's correction for the number of pairs.

    Args:
        runs: Measured attempts by name.
        finished: Whether all runs are finished.
        alpha: Chance of even one false verdict among runs that are equal.
        min_pairs: Pairs below which a verdict is "too_few_tasks".
        known: Comparisons that were made before.

    Returns:
        The comparisons by (baseline, candidate), each pair once, in the order of ``runs``.
    """
    found = {}
    for a, b in combinations(runs, 2):
        before = None if known is None else known.get((a, b))
        found[a, b] = before or compare(runs[a], runs[b], finished=finished, alpha=alpha, min_pairs=min_pairs)
    return correct(found, alpha, min_pairs)


def correct(
    found: Mapping[Name, Comparison], alpha: float = 0.05, min_pairs: int = 10
) -> dict[Name, CorrectedComparison]:
    """Correct comparisons for their number, after Holm.

    Args:
        found: Comparisons by name.
        alpha: Significance level.
        min_pairs: Pairs below which a verdict is "too_few_tasks".
    """
    successes = _adjust({name: (one, one.success_delta) for name, one in found.items()})
    scores = _adjust(
        {name: (one.score, one.score.difference) for name, one in found.items() if one.score is not None},
        {name: one.finished for name, one in found.items()},
    )
    corrected = {}
    for name, comparison in found.items():
        score, score_verdict = comparison.score, None
        verdict = judge(comparison.paired_tasks, comparison.success_delta, successes[name], alpha, min_pairs)
        if score is not None:
            score_verdict = judge(score.pairs, score.difference, scores[name], alpha, min_pairs)
        corrected[name] = CorrectedComparison(
            comparison,
            successes[name],
            verdict,
            _widen(comparison.interval, verdict),
            scores.get(name),
            score_verdict,
            None if score is None or score_verdict is None else _widen(score.interval, score_verdict),
        )
    return corrected


def _widen(interval: Interval | None, verdict: Verdict) -> Interval | None:
    if interval is None or verdict in ("better", "worse"):
        return interval
    return Interval(min(interval.low, 0.0), max(interval.high, 0.0))


def _adjust(
    found: Mapping[Name, tuple[Comparison | ScoreDifference, float | None]],
    finished: Mapping[Name, bool] | None = None,
) -> dict[Name, float]:
    """Return the corrected p-values: exact ones of finished runs, else the anytime-valid ones of each direction."""
    is_finished = {
        name: one.finished if isinstance(one, Comparison) else (finished or {})[name]
        for name, (one, _) in found.items()
    }
    worse = holm([one.p_value if is_finished[name] else one.anytime_p_worse for name, (one, _) in found.items()])
    better = holm([one.p_value if is_finished[name] else one.anytime_p_better for name, (one, _) in found.items()])
    return {
        name: select_direction(delta or 0.0, in_worse, in_better)
        for (name, (_, delta)), in_worse, in_better in zip(found.items(), worse, better, strict=True)
    }
