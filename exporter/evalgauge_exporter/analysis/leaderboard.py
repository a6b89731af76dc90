"""The leaderboard: the runs of one benchmark grouped by model or tag, ranked, compared pairwise, against their cost.

Runs of one group are pooled: a task that several of them measured has as many attempts more. The rows are ranked by the
success rate, or by the mean score where there are no rates. A row is on the Pareto front where no other row is at least
as good and at most as expensive per success, and better in one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evalgauge_exporter.analysis.comparison import Comparison, Interval, Trial
from evalgauge_exporter.analysis.comparison.pairing import group_by_task, mean_score, success_share
from evalgauge_exporter.analysis.comparison.several import CorrectedComparison, compare_pairs
from evalgauge_exporter.analysis.comparison.tests import clustered_wilson, mean_interval
from evalgauge_exporter.analysis.costs import RunCosts
from evalgauge_exporter.analysis.rates import success_rate_reason
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.analysis.trials import measured_trials
from evalgauge_exporter.state.run import RunState

TAG = "tag:"
"""Prefix of a grouping by a tag."""
MAX_CACHED = 50
"""Leaderboards that are cached."""


@dataclass(frozen=True)
class LeaderboardRow:
    """One group of runs. What was not measured is ``None``."""

    rank: int
    """From 1; rows without a rate and a score come last."""
    name: str
    """The model, or the tag's value."""
    benchmark: str
    run_ids: tuple[str, ...]
    tasks: int
    """Tasks measured by any of the runs."""
    attempts: int
    """Measured attempts."""
    success_rate: float | None
    """Mean over tasks of each task's share of successes."""
    rate_interval: Interval | None
    """95 %, cluster-robust over tasks."""
    mean_score: float | None
    """Mean over tasks of the mean scores, on the benchmark's own scale."""
    score_interval: Interval | None
    """95 %, over tasks."""
    cost_usd: float | None
    """What is known of the runs' costs, machines included."""
    cost_is_complete: bool
    """Whether every call and machine of the runs is in ``cost_usd``."""
    cost_per_success_usd: float | None
    """``cost_usd`` over the successes; ``None`` where the cost is not complete or nothing succeeded."""
    on_front: bool
    """Whether the row is on the Pareto front of success against cost per success; never without a complete cost."""


@dataclass(frozen=True)
class Leaderboard:
    """The groups of one benchmark."""

    benchmark: str
    rows: tuple[LeaderboardRow, ...]
    """By rank."""
    pairs: dict[tuple[str, str], CorrectedComparison]
    """Comparisons of each two groups by their names, the better-ranked one as baseline; Holm-corrected."""


RunKey = tuple[RunState, int]
"""A run and its version."""


class _RunData(NamedTuple):
    """What a leaderboard is computed from of one run."""

    run_id: str
    started_at: float
    trials: list[Trial]
    has_rate: bool
    cost: RunCosts


class LeaderboardCache:
    """Leaderboards, computed again only where their runs have changed, and then only the pairs that have.

    Args:
        analysis: The analyses of the runs.
    """

    def __init__(self, analysis: RunAnalysis) -> None:
        self._analysis = analysis
        self._leaderboards: dict[tuple[str, str], tuple[Hashable, Leaderboard]] = {}
        """By grouping and benchmark, each with the runs and prices that it was computed from."""
        self._pairs: dict[tuple[str, str], tuple[Mapping[str, list[RunKey]], dict[tuple[str, str], Comparison]]] = {}
        """By grouping and benchmark: the runs of each group, and the comparisons of each two groups."""

    def build(self, now: float, *, by: str = "model", benchmark: str | None = None) -> list[Leaderboard]:
        """Return the leaderboard of each benchmark, sorted by its name.

        Running runs take no part: their measured tasks are a biased selection. Called without the state's lock, which
        is taken only to read one run after the other: many groups take seconds to compare.

        Args:
            now: The present, Unix seconds.
            by: ``model``, ``agent``, or ``tag:NAME`` for the value of a tag; runs without it are left out.
            benchmark: Only this benchmark; ``None`` for all.

        Raises:
            ValueError: ``by`` is no grouping.
        """
        if not is_grouping(by):
            raise ValueError(f"{by!r} is no grouping; write model, agent or tag:NAME")
        groups: dict[str, dict[str, list[RunKey]]] = {}
        with self._analysis.state.lock:
            prices = self._analysis.prices_version
            for run in self._analysis.state.runs.values():
                name = _group_of(run, by) if benchmark in (None, run.benchmark) else None
                if name and self._analysis.is_finished(run, now):
                    groups.setdefault(run.benchmark, {}).setdefault(name, []).append((run, run.version))
        if len(self._leaderboards) > MAX_CACHED:
            self._leaderboards, self._pairs = {}, {}
        return [self._build_one(by, name, groups[name], prices, now) for name in sorted(groups)]

    def _build_one(
        self, by: str, benchmark: str, groups: dict[str, list[RunKey]], prices: int, now: float
    ) -> Leaderboard:
        name = (by, benchmark)
        key = (tuple((group, tuple(keys)) for group, keys in groups.items()), prices)
        cached = self._leaderboards.get(name)
        if cached is None or cached[0] != key:
            data = {group: [self._read(run, now) for run, _ in keys] for group, keys in groups.items()}
            built = _leaderboard(benchmark, data, self._find_known_pairs(name, groups))
            cached = self._leaderboards[name] = (key, built)
            self._pairs[name] = (dict(groups), {pair: found.comparison for pair, found in built.pairs.items()})
        return cached[1]

    def _find_known_pairs(
        self, name: tuple[str, str], groups: Mapping[str, list[RunKey]]
    ) -> dict[tuple[str, str], Comparison]:
        """Return the comparisons of groups that have the same runs as before."""
        before, pairs = self._pairs.get(name, ({}, {}))
        same = {group for group, keys in groups.items() if before.get(group) == keys}
        return {pair: found for pair, found in pairs.items() if same.issuperset(pair)}

    def _read(self, run: RunState, now: float) -> _RunData:
        with self._analysis.state.lock:
            return _RunData(
                run.run_id,
                run.started_at or 0.0,
                measured_trials(run),
                success_rate_reason(run) is None,
                self._analysis.costs(run, now),
            )


def is_grouping(by: str) -> bool:
    """Return whether a text is ``model``, ``agent`` or ``tag:NAME``."""
    return by in ("model", "agent") or (by.startswith(TAG) and len(by) > len(TAG))


def _group_of(run: RunState, by: str) -> str | None:
    if by == "model":
        return run.model
    return run.agent if by == "agent" else run.tags.get(by.removeprefix(TAG))


def _leaderboard(
    benchmark: str, groups: Mapping[str, Sequence[_RunData]], known: Mapping[tuple[str, str], Comparison]
) -> Leaderboard:
    trials = {name: _pool_trials(runs) for name, runs in groups.items()}
    rows = [_row(benchmark, name, runs, trials[name]) for name, runs in groups.items()]
    rows.sort(key=_order)
    front = find_front([(_quality(row), row.cost_per_success_usd) for row in rows])
    ranked = [_ranked(row, at + 1, front[at]) for at, row in enumerate(rows)]
    pairs = compare_pairs({row.name: trials[row.name] for row in ranked}, known=known)
    return Leaderboard(benchmark, tuple(ranked), pairs)


def _pool_trials(runs: Sequence[_RunData]) -> list[Trial]:
    """Return the measured attempts of several runs as if they were one: attempts are numbered anew."""
    pooled: list[Trial] = []
    counts: dict[str, int] = {}
    for run in sorted(runs, key=lambda run: (run.started_at, run.run_id)):
        for trial in run.trials:
            counts[trial.task_id] = counts.get(trial.task_id, 0) + 1
            pooled.append(trial._replace(attempt=counts[trial.task_id]))
    return pooled


def _row(benchmark: str, name: str, runs: Sequence[_RunData], trials: Sequence[Trial]) -> LeaderboardRow:
    tasks = group_by_task(trials)
    shares = [share for attempts in tasks.values() if (share := success_share(attempts)) is not None]
    if not all(run.has_rate for run in runs):
        shares = []
    scores = [score for attempts in tasks.values() if (score := mean_score(attempts)) is not None]
    costs = [run.cost for run in runs]
    known = [cost.total for cost in costs if cost.total is not None]
    complete = len(known) == len(runs) and not any(
        cost.unpriced_calls or cost.unknown_usage_calls or cost.unpriced_machines for cost in costs
    )
    successes = sum(trial.success for trial in trials)
    cost = math.fsum(known) if known else None
    return LeaderboardRow(
        rank=0,
        name=name,
        benchmark=benchmark,
        run_ids=tuple(run.run_id for run in runs),
        tasks=len(tasks),
        attempts=len(trials),
        success_rate=math.fsum(shares) / len(shares) if shares else None,
        rate_interval=clustered_wilson(shares, len(trials)) if shares else None,
        mean_score=math.fsum(scores) / len(scores) if scores else None,
        score_interval=mean_interval(scores),
        cost_usd=cost,
        cost_is_complete=complete,
        cost_per_success_usd=cost / successes if cost is not None and complete and successes and shares else None,
        on_front=False,
    )


def _ranked(row: LeaderboardRow, rank: int, on_front: bool) -> LeaderboardRow:
    return LeaderboardRow(**(vars(row) | {"rank": rank, "on_front": on_front}))


def _quality(row: LeaderboardRow) -> float | None:
    return row.success_rate if row.success_rate is not None else row.mean_score


def _order(row: LeaderboardRow) -> tuple[bool, bool, float, str]:
    quality = _quality(row)
    return row.success_rate is None, quality is None, -(quality or 0.0), row.name


def find_front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Return which points are on the Pareto front of quality (the more the better) and cost (the less the better).

    Args:
        points: Quality and cost of each; one without either is not on the front and beats no other.
    """
    known = [(quality, cost) for quality, cost in points if quality is not None and cost is not None]
    return [
        quality is not None
        and cost is not None
        and not any(
            better >= quality and cheaper <= cost and (better, cheaper) != (quality, cost) for better, cheaper in known
        )
        for quality, cost in points
    ]
