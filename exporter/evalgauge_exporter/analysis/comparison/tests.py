"""Statistical tests and intervals for two runs over the same tasks: pure functions of counts and differences.

A difference is always A − B. The distributions are those of ``scipy.special``. ``scipy.stats`` has the binomial test
and Wilson's interval too, but takes 0.6 ms for each where these take a few microseconds, a live comparison needs a
hundred of them, and importing it costs 45 MB; the tests assert that both agree. What scipy lacks (Tango's interval, the
exact sign-flip test, Holm's correction) is implemented here with its source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, ndtr, ndtri, stdtrit

_EXACT_WORK = 20_000_000
"""Cell updates (tens of milliseconds) up to which the sign-flip distribution is computed exactly."""


class Interval(NamedTuple):
    """A confidence interval, ``low <= high``."""

    low: float
    high: float


class SignFlip(NamedTuple):
    """Result of :func:`sign_flip`."""

    p_value: float
    exact: bool
    """False where the normal approximation was used: with more than about a thousand differing tasks."""


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval | None:
    """Return Wilson's score interval of a success rate.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22.

    Args:
        successes: Number of successes.
        total: Number of independent observations.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The interval within 0 to 1, ``None`` where ``total`` is 0.

    Raises:
        ValueError: Not 0 ≤ successes ≤ total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total}")
    return _score_interval(successes / total, total, confidence) if total else None


def clustered_wilson(rates: Sequence[float], attempts: int, confidence: float = 0.95) -> Interval | None:
    """Return Wilson's interval of the mean of the tasks' success rates, where tasks have several attempts.

    Attempts of one task are correlated, so the sample size is the effective one, p(1 − p) over the variance of the mean
    of the tasks, at least the number of tasks and at most ``attempts``; where all tasks have the same rate, the number
    of tasks (Dean and Pagano 2015, "Evaluating confidence interval methods for binomial proportions in clustered
    surveys", J. Surv. Stat. Methodol. 3).

    Args:
        rates: Success rate of each task, 0 to 1.
        attempts: Number of attempts at all tasks together.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The interval within 0 to 1, ``None`` without tasks.
    """
    return clustered_wilson_of([(rate, 1) for rate in rates], attempts, confidence)


def clustered_wilson_of(rates: Sequence[tuple[float, int]], attempts: int, confidence: float = 0.95) -> Interval | None:
    """Return :func:`clustered_wilson` of tasks that are given as pairs of a rate and the number of tasks with it."""
    tasks = sum(count for _, count in rates)
    if tasks == 0:
        return None
    rate = min(math.fsum(value * count for value, count in rates) / tasks, 1.0)
    squares = math.fsum(count * (value - rate) ** 2 for value, count in rates)
    variance = squares / (tasks - 1) if tasks > 1 else 0.0
    size = min(max(tasks * rate * (1 - rate) / variance, tasks), attempts) if variance > 0 else tasks
    return _score_interval(rate, size, confidence)


def _score_interval(rate: float, size: float, confidence: float) -> Interval:
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    centre = rate + z2 / (2 * size)
    half = math.sqrt(z2 * (rate * (1 - rate) / size + z2 / (4 * size**2)))
    # at a rate of 0 or 1 one limit is the rate itself, but for rounding
    low = min(max((centre - half) / (1 + z2 / size), 0.0), rate)
    high = max(min((centre + half) / (1 + z2 / size), 1.0), rate)
    return Interval(0.0 if rate == 0 else low, 1.0 if rate == 1 else high)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    The binomial test of the discordant pairs, in which only one of the two runs succeeded, against a fair coin
    (McNemar 1947); 1 where there are none.
    """
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flip(differences: Sequence[int]) -> SignFlip:
    """Return the two-sided sign-flip (Fisher-Pitman) test that the tasks' differences are symmetric around 0.

    A task is one unit however often it was attempted, so correlated attempts do not count as more evidence than they
    are. The distribution of the sum over all 2ⁿ signs is computed exactly, task by task, without random numbers. With
    one attempt per task this is the exact McNemar test. Where runs have unequal numbers of attempts, symmetry holds
    only in large samples.

    Args:
        differences: A − B of each task, times any one factor that makes all of them integers.
    """
    factor = math.gcd(*differences) if differences else 0
    if factor == 0:
        return SignFlip(1.0, True)
    sizes = sorted(abs(difference) // factor for difference in differences if difference)
    observed = abs(sum(differences)) // factor
    total = sum(sizes)
    if len(sizes) * total > _EXACT_WORK:
        z = observed / sizes[-1] / math.sqrt(math.fsum((size / sizes[-1]) ** 2 for size in sizes))
        return SignFlip(float(2 * ndtr(-z)), False)
    chances = np.ones(1)  # probability of each sum of the positive differences, extended one difference at a time
    for size in sizes:
        longer = np.zeros(len(chances) + size)
        longer[: len(chances)] = chances / 2
        longer[size:] += chances / 2
        chances = longer
    # sum = 2 × (sum of the positive ones) − total
    tail = float(chances[(total + observed) // 2 :].sum())
    return SignFlip(min(1.0, 2 * tail), True)


def tango(only_a: int, only_b: int, pairs: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of the difference A − B of two paired success rates.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Stat. Med. 17: the differences that the score test does not reject. It is close to the exact McNemar test
    but not its inversion: at p just above 0.05 it may exclude 0.

    Args:
        only_a: Pairs in which only A succeeded.
        only_b: Pairs in which only B succeeded.
        pairs: All pairs, at least 1.
        confidence: Confidence level, between 0 and 1.
    """
    z = float(ndtri((1 + confidence) / 2))
    # the upper limit is the lower one of B − A, so that exchanging the runs gives exactly the mirrored interval
    return Interval(_tango_low(only_a, only_b, pairs, z), -_tango_low(only_b, only_a, pairs, z))


def _tango_low(only_a: int, only_b: int, pairs: int, z: float) -> float:

    def excess(delta: float) -> float:
        linear = (2 * pairs - only_a + only_b) * delta - only_a - only_b
        constant = -only_b * delta * (1 - delta)
        # maximum-likelihood chance of "only B succeeded" where the difference is delta
        fitted = (math.sqrt(max(linear**2 - 8 * pairs * constant, 0.0)) - linear) / (4 * pairs)
        variance = pairs * (2 * fitted + delta * (1 - delta))
        return only_a - only_b - pairs * delta - z * math.sqrt(max(variance, 0.0))

    # excess falls from above 0 at −1 to below 0 just under the estimate; at the estimate itself the variance may vanish
    # (no discordant pair), which is a root but no limit
    low, high = -1.0, (only_a - only_b) / pairs
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def clustered_difference(differences: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of task differences, for tasks with several attempts.

    Student's t interval over tasks after one task of +1 and one of −1 were added: the adjusted Wald interval of Bonett
    and Price 2012 ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    J. Educ. Behav. Stat. 37), applied to task means in place of single pairs. So it never shrinks to a point where all
    tasks agree, and it always contains the mean itself (from 90 % confidence on).

    Args:
        differences: A − B of each task's mean, each from −1 to 1, at least one.
        confidence: Confidence level, between 0 and 1.
    """
    values = np.array([*differences, 1.0, -1.0])
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(max(mean - half, -1.0), min(mean + half, 1.0))


def mean_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Return Student's t interval of the mean of paired differences, ``None`` where there are fewer than two."""
    count = len(differences)
    if count < 2:
        return None
    mean = math.fsum(differences) / count
    half = float(stdtrit(count - 1, (1 + confidence) / 2) * np.std(differences, ddof=1)) / math.sqrt(count)
    return Interval(mean - half, mean + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6: the chance of even one
    false rejection stays below α, whatever the dependence.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(largest, 1.0)
    return adjusted


def reconcile(interval: Interval, estimate: float, *, rejected: bool, step: float) -> Interval:
    """Return an interval of a difference that agrees with the test of no difference.

    An interval and a test of another construction may disagree about 0 (Tango's score interval beside the exact McNemar
    test, which is more conservative). What is returned is the hull of the differences that neither rejects: the limit
    next to 0 is moved to 0 where the test does not reject, and beyond 0 where it does.

    Args:
        interval: An interval of the difference.
        estimate: The estimated difference.
        rejected: Whether the test rejects that there is no difference.
        step: A positive amount smaller than any difference that is possible and not 0.
    """
    if not rejected:
        return Interval(min(interval.low, 0.0), max(interval.high, 0.0))
    if estimate > 0:
        return Interval(max(interval.low, min(step, estimate)), interval.high)
    return Interval(interval.low, min(interval.high, max(-step, estimate)))
