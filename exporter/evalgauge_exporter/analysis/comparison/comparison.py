"""The paired comparison of two runs: is run B better or worse than its baseline A, or is the difference chance?

Pure functions: measured attempts in, numbers out. Tasks are paired by their id and only tasks that both runs have
measured count, so the comparison is valid while a run is running. Every difference is A − B: positive where the
baseline is better.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtri

from evalgauge_exporter.analysis.comparison.censored import (
    DRAWS,
    Censored,
    CensoredEstimate,
    draw_censored,
    estimate_censored,
    summarize_draws,
)
from evalgauge_exporter.analysis.comparison.pairing import (
    Opened,
    OpenPair,
    Pair,
    StartedPair,
    Trial,
    group_by_task,
    is_plausible,
    mean_score,
    measured_pairs,
    open_pairs,
    pair_seconds,
    seconds_of,
    started_pairs,
    success_share,
)
from evalgauge_exporter.analysis.comparison.power import POWER, pairs_for_mcnemar, pairs_for_power
from evalgauge_exporter.analysis.comparison.sequential import anytime_p_values, select_direction
from evalgauge_exporter.analysis.comparison.tests import (
    Interval,
    clustered_difference,
    clustered_wilson,
    holm,
    mcnemar,
    mean_interval,
    reconcile,
    sign_flip,
    tango,
    wilson,
)

Verdict = Literal["better", "worse", "no_significant_difference", "too_few_tasks"]

SCORE_LEVELS = 1000
"""Score differences are rounded to this many levels for the exact sign-flip test."""
MIN_REPEATED = 3
"""Repeated tasks below which there is no noise floor."""


@dataclass(frozen=True)
class RunRate:
    """Success rate of one run over the paired tasks."""

    tasks: int
    attempts: int
    successes: int
    """Number of attempts that succeeded."""
    rate: float | None
    """Mean of the tasks' success rates, 0 to 1; ``None`` without tasks."""
    interval: Interval | None
    """Wilson interval at confidence 1 − alpha; with the effective sample size where tasks have several attempts."""


@dataclass(frozen=True)
class SuccessDifference:
    """Difference of two runs in success over one set of pairs."""

    paired_tasks: int
    rate_a: RunRate
    rate_b: RunRate
    success_delta: float | None
    """Rate of A − rate of B over the pairs, −1 to 1; ``None`` without pairs."""
    expected_delta: float | None
    """``success_delta``; while a run is running its estimate with the open pairs as censored."""
    ci_low: float | None
    """Lower bound of the interval of ``expected_delta`` at confidence 1 − alpha. The interval contains 0 exactly where
    the test behind the verdict finds no difference."""
    ci_high: float | None
    final_low: float | None
    """While a run is running: lower bound of what ``success_delta`` will be once both are finished."""
    final_high: float | None
    only_a_succeeded: int
    """Pairs in which only A succeeded; with several attempts, tasks with the higher rate in A."""
    only_b_succeeded: int
    test: str
    """The test behind ``p_value``: "exact McNemar", "exact sign-flip over tasks" or "sign-flip over tasks"."""
    p_value: float
    """Two-sided, for finished runs: valid when it is looked at once. 1 without pairs."""
    anytime_p_worse: float
    """Anytime-valid p-value of "B is worse", for a running run; see :class:`Martingale`. 1 without pairs."""
    anytime_p_better: float
    pairs_required: int | None
    """Total pairs with which one test at the end detects a true difference of this size with 80 % power, at least
    ``min_pairs``; ``None`` without pairs or without a difference."""

    @property
    def interval(self) -> Interval | None:
        """The interval of ``expected_delta``."""
        return None if self.ci_low is None or self.ci_high is None else Interval(self.ci_low, self.ci_high)

    @property
    def anytime_p_value(self) -> float:
        """Anytime-valid p-value in the direction of ``success_delta``."""
        return select_direction(self.success_delta or 0.0, self.anytime_p_worse, self.anytime_p_better)


@dataclass(frozen=True)
class DomainComparison(SuccessDifference):
    """Difference of two runs over the pairs of one domain."""

    domain: str
    adjusted_p_value: float
    """Holm-corrected over all domains: ``p_value`` where both runs are finished, else the anytime-valid one."""
    adjusted_anytime_p_value: float
    """Holm-corrected over all domains: the anytime-valid one, also of finished runs."""
    verdict: Verdict
    """Judged by ``adjusted_p_value``."""
    pairs_needed: int | None


@dataclass(frozen=True)
class MeanDifference:
    """Difference of two runs in a measured quantity, over the pairs in which both have it."""

    pairs: int
    mean_a: float
    mean_b: float
    difference: float
    """Mean of A − B in the quantity's own unit."""
    interval: Interval | None
    """Student's t interval over tasks at confidence 1 − alpha; ``None`` with one pair."""


@dataclass(frozen=True)
class ScoreDifference(MeanDifference):
    """Difference of two runs in their scores, on the benchmark's own scale.

    A task counts by its mean score. The test is the sign-flip test over tasks: it assumes nothing about how scores are
    distributed. While a run is running it is the anytime-valid test over the signs of the tasks' differences.
    """

    expected_difference: float
    """``difference``; while a run is running its estimate with the open pairs as censored."""
    p_value: float
    """Two-sided, for finished runs."""
    anytime_p_worse: float
    anytime_p_better: float
    verdict: Verdict

    @property
    def anytime_p_value(self) -> float:
        """Anytime-valid p-value in the direction of ``difference``."""
        return select_direction(self.difference, self.anytime_p_worse, self.anytime_p_better)


@dataclass(frozen=True)
class Comparison(SuccessDifference):
    """Result of :func:`compare`."""

    finished: bool
    """Whether both runs are finished."""
    verdict: Verdict
    """On B against A: judged by ``p_value`` where both runs are finished, else by the anytime-valid p-value."""
    pairs_needed: int | None
    """How many of ``pairs_required`` are still missing; 0 once the verdict is "better" or "worse"."""
    only_in_a: int
    """Tasks measured only in A, which are in no pair."""
    only_in_b: int
    domains: dict[str, DomainComparison]
    """By name, sorted; only domains that have pairs."""
    score: ScoreDifference | None
    """``None`` where no pair has scores in both runs."""
    steps: MeanDifference | None
    duration_seconds: MeanDifference | None
    cost_usd: MeanDifference | None
    flip_rate_a: float | None
    flip_rate_b: float | None
    noise_floor: float | None
    """The ``success_delta`` that two runs of the same agent stay within at confidence 1 − alpha, from an upper bound of
    the flip rates of the runs' own repeats; ``None`` where fewer than three tasks were repeated."""


def compare(
    a: Sequence[Trial],
    b: Sequence[Trial],
    *,
    finished: bool = True,
    alpha: float = 0.05,
    min_pairs: int = 10,
    running_a: Mapping[str, float] | None = None,
    running_b: Mapping[str, float] | None = None,
    now: float | None = None,
) -> Comparison:
    """Compare run B with its baseline A over the tasks that both have measured.

    Where one of them has no success rate, only scores and other quantities are compared: the comparison of success is
    over no pairs.

    With one attempt per task: exact McNemar test and Tango's score interval. With several, a task counts by its mean,
    the test is the exact sign-flip test over tasks, and the interval is Bonett and Price's adjusted one over tasks. The
    verdict is "worse" or "better" where the p-value is below ``alpha``: the exact one where both runs are finished,
    else the anytime-valid one, which keeps the chance that two equal runs ever raise "worse" below ``alpha`` however
    often it is evaluated. For that one each task is one observation, given by the attempts that started first, in the
    order in which the later of the two started.

    Args:
        a: Measured attempts of the baseline. An attempt given twice counts once, as it ended last.
        b: Measured attempts of the candidate.
        finished: Whether both runs are finished.
        alpha: Significance level, between 0 and 1.
        min_pairs: Pairs below which the verdict is "too_few_tasks", at least 1.
        running_a: Tasks that A is running, by the time (Unix seconds) at which the first running attempt started. They
            are needed where several workers run in parallel: without them tasks that fail quickly look like a
            regression (see :func:`anytime_p_values`). Where durations are unknown, tasks count as started when they
            ended.
        running_b: The same for B.
        now: The present, Unix seconds. With it, the open tasks of a running run are censored in the interval of the
            difference; without it they are left out.

    Returns:
        The comparison. Differences are A − B.

    Raises:
        ValueError: ``alpha`` or ``min_pairs`` is out of range.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    if min_pairs < 1:
        raise ValueError(f"min_pairs is {min_pairs}; it must be at least 1")
    tasks_a, tasks_b = group_by_task(a), group_by_task(b)
    pairs = measured_pairs(tasks_a, tasks_b)
    started = started_pairs(tasks_a, tasks_b, running_a or {}, running_b or {})
    rule = _Rule(finished, alpha, min_pairs)
    opened = Opened([], [])
    if not finished and now is not None:
        opened = open_pairs(tasks_a, tasks_b, running_a or {}, running_b or {}, now)
    has_rates = all(trial.has_rate for trial in (*a, *b))
    rated, rated_open = (pairs, opened) if has_rates else ([], Opened([], []))
    whole = _success_difference(rated, started if has_rates else [], rated_open, rule, DRAWS)
    p_value = whole.p_value if finished else whole.anytime_p_value
    verdict = judge(whole.paired_tasks, whole.success_delta, p_value, rule.alpha, rule.min_pairs)
    flips = (_flip_rates(tasks_a), _flip_rates(tasks_b)) if has_rates else ([], [])
    return Comparison(
        **vars(_reconcile(whole, verdict)),
        finished=finished,
        verdict=verdict,
        pairs_needed=_pairs_needed(whole, verdict),
        only_in_a=len(tasks_a) - len(pairs),
        only_in_b=len(tasks_b) - len(pairs),
        domains=_domains(rated, started, rated_open, rule),
        score=_score_difference(pairs, opened, started, rule),
        steps=_mean_difference(pairs, lambda trial: trial.steps, alpha),
        duration_seconds=_mean_difference(pairs, lambda trial: trial.duration_seconds, alpha),
        cost_usd=_mean_difference(pairs, lambda trial: trial.cost_usd, alpha),
        flip_rate_a=_mean(flips[0]),
        flip_rate_b=_mean(flips[1]),
        noise_floor=_noise_floor(rated, [*flips[0], *flips[1]], alpha),
    )


def flip_rate(trials: Iterable[Trial]) -> float | None:
    """Return how often two attempts of one run at the same task disagree, 0 to 1.

    For a task with k attempts and s successes this is the share of its pairs of attempts that disagree,
    2s(k − s) / k(k − 1), averaged over tasks. It does not grow with the number of attempts (as "any attempt differs"
    does) and is the expected share of discordant pairs between two runs of the same agent.

    Args:
        trials: Measured attempts of one run.

    Returns:
        The flip rate, ``None`` where no task has two attempts.
    """
    return _mean(_flip_rates(group_by_task(trials)))


@dataclass(frozen=True)
class _Rule:
    """How a difference is judged."""

    finished: bool
    alpha: float
    min_pairs: int


def _flip_rates(tasks: Mapping[str, Sequence[Trial]]) -> list[float]:
    """Return the flip rate of each task with several attempts."""
    rates = []
    for attempts in tasks.values():
        count, successes = len(attempts), sum(trial.success for trial in attempts)
        if count > 1:
            rates.append(2 * successes * (count - successes) / (count * (count - 1)))
    return rates


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _success_difference(
    pairs: Sequence[Pair],
    started: Sequence[StartedPair],
    opened: Opened,
    rule: _Rule,
    draws: int,
) -> SuccessDifference:
    """Return the difference over some pairs, with an interval that does not know of the verdict."""
    alpha, count = rule.alpha, len(pairs)
    # differences of the task means times a common factor: integers, so that sums are exact
    factor = math.lcm(*{len(pair.a) for pair in pairs}, *{len(pair.b) for pair in pairs})
    successes_a = [sum(trial.success for trial in pair.a) for pair in pairs]
    successes_b = [sum(trial.success for trial in pair.b) for pair in pairs]
    differences = [
        count_a * (factor // len(pair.a)) - count_b * (factor // len(pair.b))
        for pair, count_a, count_b in zip(pairs, successes_a, successes_b, strict=True)
    ]
    only_a = sum(difference > 0 for difference in differences)
    only_b = sum(difference < 0 for difference in differences)
    delta = sum(differences) / (factor * count) if count else 0.0
    mean_square = sum(difference**2 for difference in differences) / (factor**2 * count) if count else 0.0
    if factor == 1:
        test, p_value = "exact McNemar", mcnemar(only_a, only_b)
        interval = tango(only_a, only_b, count, 1 - alpha) if count else None
        required = pairs_for_mcnemar(mean_square, delta, alpha) if count else None
    else:
        p_value, exact = sign_flip(differences)
        test = "exact sign-flip over tasks" if exact else "sign-flip over tasks"
        interval = clustered_difference([difference / factor for difference in differences], 1 - alpha)
        required = pairs_for_power(delta, mean_square, alpha, POWER) if count else None
    censored = None
    if opened.running and interval is not None:
        censored = _censored_difference(pairs, opened, success_share, (0.0, 1.0), draws)
        if censored is not None:
            interval = censored.interval
    anytime_p_worse, anytime_p_better = anytime_p_values(pair.success for pair in started)
    return SuccessDifference(
        paired_tasks=count,
        rate_a=_run_rate([pair.a for pair in pairs], successes_a, alpha),
        rate_b=_run_rate([pair.b for pair in pairs], successes_b, alpha),
        success_delta=delta if count else None,
        expected_delta=censored.mean if censored is not None else delta if count else None,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        final_low=None if censored is None else censored.final.low,
        final_high=None if censored is None else censored.final.high,
        only_a_succeeded=only_a,
        only_b_succeeded=only_b,
        test=test,
        p_value=p_value,
        anytime_p_worse=anytime_p_worse,
        anytime_p_better=anytime_p_better,
        pairs_required=None if required is None else max(required, rule.min_pairs),
    )


def _censored_difference(
    pairs: Sequence[Pair],
    opened: Opened,
    value: Callable[[Sequence[Trial]], float | None],
    scale: tuple[float, float],
    draws: int,
) -> CensoredEstimate | None:
    """Return the estimated difference with the open pairs as censored.

    Where one run has measured all of these tasks (a finished baseline), its value is known: the other run's values are
    estimated in strata of it, by the other run's durations. Where both are running, the pair is what is censored.

    Args:
        pairs: The measured pairs.
        opened: The open pairs.
        value: The value of a task in one run, from its measured attempts; ``None`` without any.
        scale: The lowest and the highest value of a task in one run.
        draws: Number of draws.
    """
    if all(pair.a for pair in opened.running):
        return _estimate_other(pairs, opened, value, scale, draws, known_is_a=True)
    if all(pair.b for pair in opened.running):
        return _estimate_other(pairs, opened, value, scale, draws, known_is_a=False)
    low, high = scale
    values, lowest, highest = [], [], []
    for pair in pairs:
        values.append((value(pair.a) or 0.0) - (value(pair.b) or 0.0))
    for open_pair in opened.running:
        known_a, known_b = value(open_pair.a), value(open_pair.b)
        lowest.append((low if known_a is None else known_a) - (high if known_b is None else known_b))
        highest.append((high if known_a is None else known_a) - (low if known_b is None else known_b))
    durations = [pair_seconds(pair) for pair in pairs]
    elapsed = [pair.elapsed_seconds for pair in opened.running]
    scale = low - high, high - low
    return estimate_censored(Censored(values, durations, elapsed, lowest, highest, len(opened.waiting), scale), draws)


def _estimate_other(
    pairs: Sequence[Pair],
    opened: Opened,
    value: Callable[[Sequence[Trial]], float | None],
    scale: tuple[float, float],
    draws: int,
    *,
    known_is_a: bool,
) -> CensoredEstimate | None:
    """Return the estimated difference where one run's values are known and the other is running."""

    def sides(pair: Pair | OpenPair) -> tuple[list[Trial], list[Trial]]:
        return (pair.a, pair.b) if known_is_a else (pair.b, pair.a)

    finished = [(known, value(known), value(other), seconds_of(other)) for known, other in map(sides, pairs)]
    running = [(value(sides(pair)[0]), pair.elapsed_seconds) for pair in opened.running]
    waiting = [value(trials) for trials in opened.waiting]
    all_known = [k for k in (*(f[1] for f in finished), *(r[0] for r in running), *waiting) if k is not None]
    if not all_known or not finished:
        return None
    edges = _strata(all_known)
    means, totals = np.zeros((len(edges) + 1, draws)), np.zeros(draws)
    counts = np.zeros(len(edges) + 1)
    known_mean = np.zeros(len(edges) + 1)
    for at in range(len(edges) + 1):
        done = [(v, seconds) for _, k, v, seconds in finished if v is not None and _stratum(k, edges) == at]
        still = [seconds for k, seconds in running if _stratum(k, edges) == at]
        later = sum(_stratum(k, edges) == at for k in waiting)
        here = [k for k in all_known if _stratum(k, edges) == at]
        counts[at] = len(done) + len(still) + later
        if not counts[at]:
            continue
        known_mean[at] = math.fsum(here) / len(here)
        tasks = Censored(
            [v for v, _ in done],
            [seconds for _, seconds in done],
            still,
            [scale[0]] * len(still),
            [scale[1]] * len(still),
            later,
            scale,
        )
        drawn = draw_censored(tasks, draws, at)
        means[at] = drawn.mean
        totals += drawn.total
    rng = np.random.default_rng(20260102)
    shares = rng.standard_gamma(np.broadcast_to(counts, (draws, counts.size))).T
    shares /= shares.sum(0)
    sign = 1.0 if known_is_a else -1.0
    mean = sign * ((known_mean[:, None] - means) * shares).sum(0)
    final = sign * (math.fsum(all_known) - totals) / counts.sum()
    return summarize_draws(mean, final)


def _strata(known: Sequence[float]) -> list[float]:
    """Return the edges between at most three strata of known values; each begins above its lower edge."""
    levels = sorted(set(known))
    if len(levels) <= 3:
        return levels[:-1]
    return sorted({float(edge) for edge in np.quantile(known, (1 / 3, 2 / 3), method="nearest")})


def _stratum(value: float | None, edges: Sequence[float]) -> int:
    return -1 if value is None else bisect_left(edges, value)


def _reconcile(found: SuccessDifference, verdict: Verdict) -> SuccessDifference:
    """Return the difference with an interval that agrees with the verdict."""
    if found.ci_low is None or found.ci_high is None or found.expected_delta is None:
        return found
    step = 1e-3 / max(1, found.paired_tasks * found.rate_a.attempts * found.rate_b.attempts)
    towards = found.success_delta or 0.0
    rejected = verdict in ("better", "worse")
    interval = reconcile(Interval(found.ci_low, found.ci_high), towards, rejected=rejected, step=step)
    return replace(found, ci_low=interval.low, ci_high=interval.high)


def _run_rate(tasks: Sequence[list[Trial]], successes: Sequence[int], alpha: float) -> RunRate:
    attempts = sum(len(trials) for trials in tasks)
    rates = [count / len(trials) for count, trials in zip(successes, tasks, strict=True)]
    if attempts == len(tasks):
        interval = wilson(sum(successes), attempts, 1 - alpha)
    else:
        interval = clustered_wilson(rates, attempts, 1 - alpha)
    return RunRate(len(tasks), attempts, sum(successes), _mean(rates), interval)


def judge(pairs: int, delta: float | None, p_value: float, alpha: float, min_pairs: int) -> Verdict:
    """Return the verdict on B against A.

    Args:
        pairs: Number of pairs.
        delta: Difference A − B; ``None`` without pairs.
        p_value: P-value of the difference.
        alpha: Significance level.
        min_pairs: Pairs below which the verdict is "too_few_tasks".
    """
    if pairs < min_pairs:
        return "too_few_tasks"
    if p_value >= alpha or not delta:
        return "no_significant_difference"
    return "worse" if delta > 0 else "better"


def _pairs_needed(difference: SuccessDifference, verdict: Verdict) -> int | None:
    if difference.pairs_required is None:
        return None
    return 0 if verdict in ("better", "worse") else max(0, difference.pairs_required - difference.paired_tasks)


def _domains(
    pairs: Sequence[Pair], started: Sequence[StartedPair], opened: Opened, rule: _Rule
) -> dict[str, DomainComparison]:
    by_domain: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_domain[pair.domain].append(pair)
    found = {}
    for domain in sorted(by_domain):
        started_here = [pair for pair in started if pair.domain in (domain, None)]
        running_here = [pair for pair in opened.running if pair.domain == domain]
        waiting_here = [trials for trials in opened.waiting if trials[0].domain == domain]
        opened_here = Opened(running_here, waiting_here)
        found[domain] = _success_difference(by_domain[domain], started_here, opened_here, rule, DRAWS // 4)
    # each direction has its own alpha, so each is corrected for the number of domains separately
    worse = holm([difference.anytime_p_worse for difference in found.values()])
    better = holm([difference.anytime_p_better for difference in found.values()])
    deltas = [difference.success_delta or 0.0 for difference in found.values()]
    anytime = [select_direction(*values) for values in zip(deltas, worse, better, strict=True)]
    adjusted = holm([difference.p_value for difference in found.values()]) if rule.finished else anytime
    domains = {}
    for (domain, difference), p_value, anytime_p_value in zip(found.items(), adjusted, anytime, strict=True):
        verdict = judge(difference.paired_tasks, difference.success_delta, p_value, rule.alpha, rule.min_pairs)
        domains[domain] = DomainComparison(
            **vars(_reconcile(difference, verdict)),
            domain=domain,
            adjusted_p_value=p_value,
            adjusted_anytime_p_value=anytime_p_value,
            verdict=verdict,
            pairs_needed=_pairs_needed(difference, verdict),
        )
    return domains


def _score_difference(
    pairs: Sequence[Pair], opened: Opened, started: Sequence[StartedPair], rule: _Rule
) -> ScoreDifference | None:
    scored = [(pair, mean_score(pair.a), mean_score(pair.b)) for pair in pairs]
    both = [(pair, a, b) for pair, a, b in scored if a is not None and b is not None]
    if not both:
        return None
    differences = [a - b for _, a, b in both]
    difference = math.fsum(differences) / len(both)
    largest = max(abs(value) for value in differences)
    p_value = 1.0
    if largest > 0:
        p_value = sign_flip([round(value / largest * SCORE_LEVELS) for value in differences]).p_value
    worse, better = anytime_p_values(pair.score for pair in started)
    p_of_verdict = p_value if rule.finished else select_direction(difference, worse, better)
    verdict = judge(len(both), difference, p_of_verdict, rule.alpha, rule.min_pairs)
    interval = mean_interval(differences, 1 - rule.alpha)
    expected = difference
    if opened.running and interval is not None:
        values = [value for _, a, b in both for value in (a, b)]
        scale = (min(0.0, *values), max(1.0, *values))
        censored = _censored_difference([pair for pair, _, _ in both], opened, mean_score, scale, DRAWS)
        if censored is not None:
            interval, expected = censored.interval, censored.mean
    if interval is not None:
        rejected = verdict in ("better", "worse")
        interval = reconcile(interval, difference, rejected=rejected, step=max(largest, 1e-12) * 1e-6)
    return ScoreDifference(
        pairs=len(both),
        mean_a=math.fsum(a for _, a, _ in both) / len(both),
        mean_b=math.fsum(b for _, _, b in both) / len(both),
        difference=difference,
        interval=interval,
        expected_difference=expected,
        p_value=p_value,
        anytime_p_worse=worse,
        anytime_p_better=better,
        verdict=verdict,
    )


def _mean_difference(
    pairs: Iterable[Pair], quantity: Callable[[Trial], float | None], alpha: float
) -> MeanDifference | None:
    """Compare the tasks' means over the attempts that have the quantity."""
    both = []
    for pair in pairs:
        known_a, known_b = (
            [value for trial in trials if is_plausible(value := quantity(trial))] for trials in (pair.a, pair.b)
        )
        if known_a and known_b:
            both.append((math.fsum(known_a) / len(known_a), math.fsum(known_b) / len(known_b)))
    if not both:
        return None
    differences = [mean_a - mean_b for mean_a, mean_b in both]
    return MeanDifference(
        pairs=len(both),
        mean_a=math.fsum(mean_a for mean_a, _ in both) / len(both),
        mean_b=math.fsum(mean_b for _, mean_b in both) / len(both),
        difference=math.fsum(differences) / len(both),
        interval=mean_interval(differences, 1 - alpha),
    )


def _noise_floor(pairs: Sequence[Pair], flip_rates: Sequence[float], alpha: float) -> float | None:
    """Return z times the standard error of the difference of two runs of one agent.

    Two attempts that disagree with chance f each have the variance f / 2, so the mean of k attempts has f / 2k. For f
    the upper limit of its interval is taken: a few tasks that were repeated and came out alike prove nothing.
    """
    if not pairs or len(flip_rates) < MIN_REPEATED:
        return None
    upper = clustered_wilson([min(rate, 1.0) for rate in flip_rates], len(flip_rates), 1 - alpha)
    flips = 1.0 if upper is None else upper.high
    variance = flips / 2 * math.fsum(1 / len(pair.a) + 1 / len(pair.b) for pair in pairs) / len(pairs) ** 2
    return min(1.0, float(ndtri(1 - alpha / 2)) * math.sqrt(variance))
