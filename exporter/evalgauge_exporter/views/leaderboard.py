"""The JSON view of the leaderboard."""

from __future__ import annotations

from evalgauge_exporter.analysis import leaderboard as analysis_of
from evalgauge_exporter.analysis.comparison import CorrectedComparison
from evalgauge_exporter.views.schemas import leaderboard as shapes


def leaderboards(
    cache: analysis_of.LeaderboardCache, now: float, by: str, benchmark: str | None = None
) -> shapes.Leaderboards:
    """Return the leaderboards of all benchmarks, or of one. Called without the state's lock.

    Args:
        cache: The leaderboards of the runs.
        now: The present, Unix seconds.
        by: ``model``, ``agent`` or ``tag:NAME``.
        benchmark: The benchmark; None for all.

    Raises:
        ValueError: ``by`` is no grouping.
    """
    found = cache.build(now, by=by, benchmark=benchmark)
    return shapes.Leaderboards(by=by, leaderboards=[_leaderboard(one) for one in found])


def _leaderboard(found: analysis_of.Leaderboard) -> shapes.Leaderboard:
    return shapes.Leaderboard(
        benchmark=found.benchmark,
        rows=[_row(row) for row in found.rows],
        pairs=[_pair(baseline, candidate, pair) for (baseline, candidate), pair in found.pairs.items()],
    )


def _row(row: analysis_of.LeaderboardRow) -> shapes.LeaderboardRow:
    return shapes.LeaderboardRow(
        rank=row.rank,
        name=row.name,
        run_ids=list(row.run_ids),
        tasks=row.tasks,
        attempts=row.attempts,
        success_rate=row.success_rate,
        success_rate_low=None if row.rate_interval is None else row.rate_interval.low,
        success_rate_high=None if row.rate_interval is None else row.rate_interval.high,
        mean_score=row.mean_score,
        score_low=None if row.score_interval is None else row.score_interval.low,
        score_high=None if row.score_interval is None else row.score_interval.high,
        cost_usd=row.cost_usd,
        cost_is_complete=row.cost_is_complete,
        cost_per_success_usd=row.cost_per_success_usd,
        on_front=row.on_front,
    )


def _pair(baseline: str, candidate: str, pair: CorrectedComparison) -> shapes.LeaderboardPair:
    found = pair.comparison
    return shapes.LeaderboardPair(
        baseline=baseline,
        candidate=candidate,
        change=_negated(found.success_delta),
        change_low=None if pair.interval is None else 0.0 - pair.interval.high,
        change_high=None if pair.interval is None else 0.0 - pair.interval.low,
        paired_tasks=found.paired_tasks,
        p_value=pair.adjusted_p_value,
        verdict=pair.verdict,
        score_change=None if found.score is None else _negated(found.score.difference),
        score_p_value=pair.score_adjusted_p_value,
        score_verdict=pair.score_verdict,
    )


def _negated(value: float | None) -> float | None:
    return None if value is None else 0.0 - value
