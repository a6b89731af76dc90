"""Power of paired comparisons: how many tasks show a difference, and how small a drop a number of tasks can show."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln, ndtri, stdtrit

from evalgauge_exporter.analysis.comparison.tests import sign_flip

POWER = 0.8
"""The chance to detect a difference for which sizes are computed."""
MOST_PAIRS = 1_000_000
"""Larger sizes are not computed: no benchmark has so many tasks."""
_EXACT_PAIRS = 20_000  # above, the normal approximation is as good
_SIMULATED_TASKS = 60  # of repeated tasks; with more of them the normal approximation holds within 2 points
_SIMULATIONS = 2000


class LeastDrop(NamedTuple):
    """What a number of tasks can show."""

    tasks: int
    attempts: int
    """At each task, in each run."""
    rate: float
    """Assumed success rate of the baseline, 0 to 1."""
    flip_rate: float
    """Assumed chance that two attempts of one agent at one task disagree."""
    drop: float | None
    """The least drop of the success rate that is detected with 80 % power, 0 to 1; ``None`` where not even a drop to 0
    is."""


@lru_cache(maxsize=4096)
def mcnemar_power(pairs: int, discordant: float, delta: float, alpha: float = 0.05) -> float:
    """Return the exact power of the exact McNemar test.

    The number of discordant pairs is binomial, and given that number so are the pairs that A wins; the power is summed
    over both. Exact tests are conservative: the usual normal approximation promises more than they hold.

    Args:
        pairs: Number of pairs.
        discordant: Chance that a pair is discordant, 0 to 1.
        delta: True difference of the rates, at most ``discordant`` in size.
        alpha: Significance level.
    """
    if discordant <= 0:
        return 0.0
    middle, width = pairs * discordant, 9 * math.sqrt(pairs * discordant * max(1 - discordant, 0.0)) + 12
    number = np.arange(max(0, math.floor(middle - width)), min(pairs, math.ceil(middle + width)) + 1, dtype=np.int64)
    loser = (1 - min(1.0, abs(delta) / discordant)) / 2  # chance of the weaker run to win a discordant pair
    limit = _critical(number, alpha)
    rejected = np.where(limit >= 0, bdtr(np.maximum(limit, 0), number, loser), 0.0)
    return float((_binomial(number, pairs, discordant) * rejected).sum())


def pairs_for_power(mean: float, mean_square: float, alpha: float = 0.05, power: float = POWER) -> int | None:
    """Return the number of pairs with which a two-sided paired test detects a true mean difference with this power.

    Connor's formula for large samples (1987, "Sample size for testing differences in proportions for the paired-sample
    design", Biometrics 43). Right for task means of several attempts; the exact McNemar test needs more, see
    :func:`pairs_for_mcnemar`.

    Args:
        mean: True mean difference.
        mean_square: Mean of the squared differences; with one attempt per task the share of discordant pairs.
        alpha: Significance level.
        power: Chance to detect the difference.

    Returns:
        The number of pairs, ``None`` where ``mean`` is 0.
    """
    if mean == 0:
        return None
    spread = float(ndtri(1 - alpha / 2)) * math.sqrt(mean_square)
    spread += float(ndtri(power)) * math.sqrt(max(mean_square - mean**2, 0.0))
    return math.ceil((spread / mean) ** 2)


def pairs_for_mcnemar(discordant: float, delta: float, alpha: float = 0.05, power: float = POWER) -> int | None:
    """Return the number of pairs from which on the exact McNemar test has this power.

    Args:
        discordant: Chance that a pair is discordant, 0 to 1.
        delta: True difference of the rates.
        alpha: Significance level.
        power: Chance to detect the difference.

    Returns:
        The number of pairs, ``None`` where ``delta`` is 0.
    """
    low = pairs_for_power(delta, discordant, alpha, power)
    if low is None or low > _EXACT_PAIRS:
        return low
    high = low
    while mcnemar_power(high, discordant, delta, alpha) < power:
        low, high = high, high + max(4, high // 8)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if mcnemar_power(middle, discordant, delta, alpha) < power else (low, middle)
    # the power is a saw: the next pairs must have it as well
    while any(mcnemar_power(high + more, discordant, delta, alpha) < power for more in (1, 2, 3)):
        high += 1
    return high


def least_drop(
    tasks: int,
    attempts: int = 1,
    *,
    rate: float = 0.5,
    flip_rate: float | None = None,
    alpha: float = 0.05,
    power: float = POWER,
) -> LeastDrop:
    """Return the least drop of the success rate that a comparison over so many tasks detects.

    The candidate's chance at each task is taken as the baseline's times one factor. With one attempt at each task the
    test is the exact McNemar test, with several the one over task means: its power is that of the normal approximation,
    or of simulated comparisons where there are few tasks and the exact test is more conservative than that.

    Args:
        tasks: Number of tasks that both runs measure, at least 1.
        attempts: Attempts at each task in each run, at least 1.
        rate: Success rate of the baseline, above 0 and at most 1.
        flip_rate: Chance that two attempts of one agent at one task disagree; by default ``rate * (1 - rate)``, half of
            what it would be if all tasks were equally hard.
        alpha: Significance level.
        power: Chance to detect the drop.

    Raises:
        ValueError: A number is out of range.
    """
    if tasks < 1 or attempts < 1:
        raise ValueError(f"{tasks} tasks with {attempts} attempts; both must be at least 1")
    if not 0 < rate <= 1:
        raise ValueError(f"the baseline's success rate is {rate}; it must lie above 0 and at most at 1")
    flips = rate * (1 - rate) if flip_rate is None else flip_rate
    flips = min(flips, 2 * rate * (1 - rate))

    def is_detected(drop: float) -> bool:
        left = 1 - drop / rate
        both = (rate - flips / 2) * left  # mean over tasks of the chance that both succeed
        discordant = max(2 * rate - drop - 2 * both, drop)
        if attempts == 1:
            return mcnemar_power(tasks, min(discordant, 1.0), drop, alpha) >= power
        if tasks < 2:
            return False
        within = (flips / 2 + max(rate * left - (rate - flips / 2) * left**2, 0.0)) / attempts
        between = max(rate - flips / 2 - rate**2, 0.0) * (drop / rate) ** 2
        error = math.sqrt((within + between) / tasks)
        needed = float(stdtrit(tasks - 1, 1 - alpha / 2)) + float(stdtrit(tasks - 1, power))
        return drop >= needed * error

    if not is_detected(rate):
        return LeastDrop(tasks, attempts, rate, flips, None)
    low, high = 0.0, rate
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    if attempts > 1 and tasks <= _SIMULATED_TASKS:
        while _simulate_power(tasks, attempts, rate, flips, high, alpha) < power:
            if high >= rate:
                return LeastDrop(tasks, attempts, rate, flips, None)
            high = min(1.02 * high, rate)
    return LeastDrop(tasks, attempts, rate, flips, high)


def _simulate_power(tasks: int, attempts: int, rate: float, flips: float, drop: float, alpha: float) -> float:
    """Return how often the exact sign-flip test finds a drop; the chances at the tasks have a Beta distribution. The
    result is the same for the same input.
    """
    rng = np.random.default_rng(20260103)
    share = flips / (2 * rate * (1 - rate)) if rate < 1 else 0.0
    size = (_SIMULATIONS, tasks)
    if share > 0.999:
        chances = np.full(size, rate)
    elif share < 0.001:
        chances = (rng.random(size) < rate).astype(np.float64)
    else:
        spread = share / (1 - share)
        chances = rng.beta(rate * spread, (1 - rate) * spread, size)
    differences = rng.binomial(attempts, chances) - rng.binomial(attempts, chances * (1 - drop / rate))
    sizes = np.sort(np.abs(differences), axis=1)
    p_values: dict[tuple[bytes, int], float] = {}  # which task has which difference does not matter
    found = 0
    for each, observed, size_of in zip(differences, differences.sum(1).tolist(), sizes, strict=True):
        if observed > 0:
            key = (size_of.tobytes(), observed)
            if key not in p_values:
                p_values[key] = sign_flip(each.tolist()).p_value
            found += p_values[key] < alpha
    return found / _SIMULATIONS


def _critical(number: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """Return the most discordant pairs that the weaker run may win where the test still rejects; −1 for none."""
    guess = np.floor(number / 2 + float(ndtri(alpha / 2)) * np.sqrt(number) / 2) + 2
    limit = np.minimum(guess, number)
    for _ in range(6):
        too_many = (limit >= 0) & (2 * bdtr(np.maximum(limit, 0), number, 0.5) >= alpha)
        limit = np.where(too_many, limit - 1, limit)
    return np.asarray(limit)


def _binomial(number: NDArray[np.int64], trials: int, chance: float) -> NDArray[np.float64]:
    """Return the probabilities of the binomial distribution."""
    if chance >= 1:
        return np.asarray((number == trials).astype(np.float64))
    log_chance = gammaln(trials + 1) - gammaln(number + 1) - gammaln(trials - number + 1)
    return np.asarray(np.exp(log_chance + number * math.log(chance) + (trials - number) * math.log1p(-chance)))
