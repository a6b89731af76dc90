"""The paired comparison of two runs: is B better or worse than its baseline A, and could that be chance?

Pure: measured attempts in, numbers out. Tasks are paired by their id, so only tasks that both runs have measured count,
which makes the comparison right while a run goes on. Every difference is A − B: above 0 where the baseline is better.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

from evalgauge_exporter.analysis.comparison.pairing import (
    Pair,
    StartedPair,
    Trial,
    group_by_task,
    is_plausible,
    measured_pairs,
    started_pairs,
)
from evalgauge_exporter.analysis.comparison.sequential import (
    anytime_p_values,
    select_direction,
)
from evalgauge_exporter.analysis.comparison.tests import (
    Interval,
    clustered_difference,
    clustered_wilson,
    holm,
    mcnemar,
    mean_interval,
    pairs_for_power,
    sign_flip,
    tango,
    wilson,
)

Verdict = Literal["better", "worse", "no_significant_difference", "too_few_tasks"]

POWER = 0.8
"""Chance with which :attr:`SuccessDifference.pairs_required` is to see the difference."""


@dataclass(frozen=True)
class RunRate:
    """The success rate of one run over the paired tasks."""

    tasks: int
    attempts: int
    successes: int
    """Attempts that succeeded."""
    rate: float | None
    """Mean of the tasks' own success rates, 0 to 1; ``None`` without tasks."""
    interval: Interval | None
    """Wilson's, at confidence 1 − alpha; with the effective size where tasks were attempted more than once."""


@dataclass(frozen=True)
class SuccessDifference:
    """What two runs differ by in success, over one set of pairs."""

    paired_tasks: int
    rate_a: RunRate
    rate_b: RunRate
    success_delta: float | None
    """Rate of A − rate of B, −1 to 1; ``None`` without pairs."""
    ci_low: float | None
    """Lower end of the interval of ``success_delta`` at confidence 1 − alpha."""
    ci_high: float | None
    only_a_succeeded: int
    """Pairs in which only A succeeded; with several attempts, tasks with the higher rate in A."""
    only_b_succeeded: int
    test: str
    """The test behind ``p_value``: "exact McNemar", "exact sign-flip over tasks" or "sign-flip over tasks"."""
    p_value: float
    """Two-sided, for a finished run: right if looked at once. 1 without pairs."""
    anytime_p_worse: float
    """Anytime-valid p-value of "B is worse", for a run that goes on: see :class:`Martingale`. 1 without pairs."""
    anytime_p_better: float
    pairs_required: int | None
    """Pairs in all with which one test at the end sees a true difference of this size with 80 % power, at least
    ``min_pairs``; ``None`` without pairs or without a difference."""

    @property
    def anytime_p_value(self) -> float:
        """The anytime-valid p-value of the direction of ``success_delta``."""
        return select_direction(self.success_delta or 0.0, self.anytime_p_worse, self.anytime_p_better)


@dataclass(frozen=True)
class DomainComparison(SuccessDifference):
    """The pairs of one domain."""

    domain: str
    adjusted_p_value: float
    """Holm's over all domains: of ``p_value`` where the runs are finished, else of the anytime-valid one."""
    verdict: Verdict
    """By ``adjusted_p_value``."""
    pairs_needed: int | None


@dataclass(frozen=True)
class MeanDifference:
    """What two runs differ by in a measured quantity, over the pairs in which both have it."""

    pairs: int
    mean_a: float
    mean_b: float
    difference: float
    """Mean of A − B, in the quantity's own unit."""
    interval: Interval | None
    """Student's t over tasks, at confidence 1 − alpha; ``None`` with one pair."""


@dataclass(frozen=True)
class Comparison(SuccessDifference):
    """Everything that :func:`compare` finds."""

    finished: bool
    verdict: Verdict
    """On B against A: by ``p_value`` where the runs are finished, by the anytime-valid one where they go on."""
    pairs_needed: int | None
    """How many of ``pairs_required`` are still missing; 0 once the verdict is "better" or "worse"."""
    only_in_a: int
    """Tasks that only A has measured, so are in no pair."""
    only_in_b: int
    domains: dict[str, DomainComparison]
    """By name, in its order; only domains with pairs."""
    steps: MeanDifference | None
    duration_seconds: MeanDifference | None
    cost_usd: MeanDifference | None
    flip_rate_a: float | None
    flip_rate_b: float | None
    noise_floor: float | None
    """The success_delta that two runs of one agent stay within at confidence 1 − alpha, from the flip rates of the
    runs' own repeats; ``None`` where neither run repeated a task."""


def compare(
    a: Sequence[Trial],
    b: Sequence[Trial],
    *,
    finished: bool = True,
    alpha: float = 0.05,
    min_pairs: int = 10,
    running_a: Mapping[str, float] | None = None,
    running_b: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare run B with its baseline A over the tasks that both have measured.

    With one attempt for each task: exact McNemar test and Tango's score interval. With several: a task counts by its
    mean, the test is the exact sign-flip over tasks, and the interval Bonett and Price's adjusted one over tasks. The
    verdict is given from ``min_pairs`` pairs on, "worse" and "better" where the p-value is under ``alpha``: the exact
    one where both runs are ``finished``, else the anytime-valid one, which keeps the chance that two equal runs ever
    raise "worse" under ``alpha`` however often it is asked. For that one each task is one throw, by the attempts that
    began first, in the order in which the second of the two began.

    ``running_a`` and ``running_b`` are the tasks that a run is at right now, by the time at which the first attempt
    that runs began (Unix seconds). They are needed where several workers run side by side, or tasks that fail quickly
    look like a regression (see :func:`anytime_p_values`); where durations are not known, tasks count as started when
    they ended.

    An attempt that is there twice counts once, as it ended last. ``ValueError`` unless 0 < alpha < 1 and min_pairs ≥ 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, but lies between 0 and 1")
    if min_pairs < 1:
        raise ValueError(f"min_pairs is {min_pairs}, but is at least 1")
    tasks_a, tasks_b = group_by_task(a), group_by_task(b)
    pairs = measured_pairs(tasks_a, tasks_b)
    started = started_pairs(tasks_a, tasks_b, running_a or {}, running_b or {})
    whole = _success_difference(pairs, started, alpha, min_pairs)
    verdict = _verdict(whole, whole.p_value if finished else whole.anytime_p_value, alpha, min_pairs)
    flips = _mean_flip_rate(tasks_a), _mean_flip_rate(tasks_b)
    return Comparison(
        **vars(whole),
        finished=finished,
        verdict=verdict,
        pairs_needed=_pairs_needed(whole, verdict),
        only_in_a=len(tasks_a) - len(pairs),
        only_in_b=len(tasks_b) - len(pairs),
        domains=_domains(pairs, started, finished, alpha, min_pairs),
        steps=_mean_difference(pairs, lambda trial: trial.steps, alpha),
        duration_seconds=_mean_difference(pairs, lambda trial: trial.duration_seconds, alpha),
        cost_usd=_mean_difference(pairs, lambda trial: trial.cost_usd, alpha),
        flip_rate_a=flips[0],
        flip_rate_b=flips[1],
        noise_floor=_noise_floor(pairs, [rate for rate in flips if rate is not None], alpha),
    )


def flip_rate(trials: Iterable[Trial]) -> float | None:
    """How often two attempts of one run at the same task disagree, 0 to 1: the noise that any comparison has to beat.

    For a task with k attempts and s successes the share of its pairs of attempts that disagree, 2s(k − s) / k(k − 1);
    then the mean over tasks. So it does not grow with the number of attempts (as "any attempt differs" does), and it is
    what the share of discordant pairs between two runs of the same agent is expected to be. ``None`` where no task has
    two attempts.
    """
    return _mean_flip_rate(group_by_task(trials))


def _mean_flip_rate(tasks: Mapping[str, Sequence[Trial]]) -> float | None:
    rates = []
    for attempts in tasks.values():
        count, successes = len(attempts), sum(trial.success for trial in attempts)
        if count > 1:
            rates.append(2 * successes * (count - successes) / (count * (count - 1)))
    return math.fsum(rates) / len(rates) if rates else None


def _success_difference(
    pairs: Sequence[Pair], started: Sequence[StartedPair], alpha: float, min_pairs: int
) -> SuccessDifference:
    count = len(pairs)
    # differences of the task means times a common factor, whole so that sums are exact
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
    else:
        p_value, exact = sign_flip(differences)
        test = "exact sign-flip over tasks" if exact else "sign-flip over tasks"
        interval = clustered_difference([difference / factor for difference in differences], 1 - alpha)
    anytime_p_worse, anytime_p_better = anytime_p_values(pair.outcomes for pair in started)
    required = pairs_for_power(delta, mean_square, alpha, POWER) if count else None
    return SuccessDifference(
        paired_tasks=count,
        rate_a=_run_rate([pair.a for pair in pairs], successes_a, alpha),
        rate_b=_run_rate([pair.b for pair in pairs], successes_b, alpha),
        success_delta=delta if count else None,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        only_a_succeeded=only_a,
        only_b_succeeded=only_b,
        test=test,
        p_value=p_value,
        anytime_p_worse=anytime_p_worse,
        anytime_p_better=anytime_p_better,
        pairs_required=None if required is None else max(required, min_pairs),
    )


def _run_rate(tasks: Sequence[list[Trial]], successes: Sequence[int], alpha: float) -> RunRate:
    attempts = sum(len(trials) for trials in tasks)
    rates = [count / len(trials) for count, trials in zip(successes, tasks, strict=True)]
    if attempts == len(tasks):
        interval = wilson(sum(successes), attempts, 1 - alpha)
    else:
        interval = clustered_wilson(rates, attempts, 1 - alpha)
    rate = math.fsum(rates) / len(rates) if rates else None
    return RunRate(len(tasks), attempts, sum(successes), rate, interval)


def _verdict(difference: SuccessDifference, p_value: float, alpha: float, min_pairs: int) -> Verdict:
    delta = difference.success_delta or 0.0
    if difference.paired_tasks < min_pairs:
        return "too_few_tasks"
    if p_value >= alpha or delta == 0:
        return "no_significant_difference"
    return "worse" if delta > 0 else "better"


def _pairs_needed(difference: SuccessDifference, verdict: Verdict) -> int | None:
    if difference.pairs_required is None:
        return None
    return 0 if verdict in ("better", "worse") else max(0, difference.pairs_required - difference.paired_tasks)


def _domains(
    pairs: Sequence[Pair],
    started: Sequence[StartedPair],
    finished: bool,
    alpha: float,
    min_pairs: int,
) -> dict[str, DomainComparison]:
    by_domain: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_domain[pair.domain].append(pair)
    found = {}
    for domain in sorted(by_domain):
        started_here = [pair for pair in started if pair.domain in (domain, None)]
        found[domain] = _success_difference(by_domain[domain], started_here, alpha, min_pairs)
    if finished:
        adjusted = holm([difference.p_value for difference in found.values()])
    else:
        # each direction has its own alpha, so each is corrected for the number of domains on its own
        worse = holm([difference.anytime_p_worse for difference in found.values()])
        better = holm([difference.anytime_p_better for difference in found.values()])
        deltas = [difference.success_delta or 0.0 for difference in found.values()]
        adjusted = [select_direction(*values) for values in zip(deltas, worse, better, strict=True)]
    domains = {}
    for (domain, difference), p_value in zip(found.items(), adjusted, strict=True):
        verdict = _verdict(difference, p_value, alpha, min_pairs)
        domains[domain] = DomainComparison(
            **vars(difference),
            domain=domain,
            adjusted_p_value=p_value,
            verdict=verdict,
            pairs_needed=_pairs_needed(difference, verdict),
        )
    return domains


def _mean_difference(
    pairs: Iterable[Pair], quantity: Callable[[Trial], float | None], alpha: float
) -> MeanDifference | None:
    """Each task counts by its mean over the attempts that have the quantity."""
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
    """Two attempts that disagree with chance f each have the variance f / 2, so a mean of k attempts has f / 2k."""
    if not pairs or not flip_rates:
        return None
    flips = math.fsum(flip_rates) / len(flip_rates)
    variance = flips / 2 * math.fsum(1 / len(pair.a) + 1 / len(pair.b) for pair in pairs) / len(pairs) ** 2
    return min(1.0, float(ndtri(1 - alpha / 2)) * math.sqrt(variance))
