"""The power of comparisons: sizes that hold what they promise."""

import numpy as np
import pytest
from scipy.stats import binom

from evalgauge_exporter.analysis.comparison import least_drop
from evalgauge_exporter.analysis.comparison.power import mcnemar_power, pairs_for_mcnemar, pairs_for_power
from evalgauge_exporter.analysis.comparison.tests import mcnemar, sign_flip


def exact_power(pairs: int, only_a: float, only_b: float) -> float:
    """The power by summing over all tables, with scipy's distributions."""
    power = 0.0
    for discordant in range(pairs + 1):
        chance = binom.pmf(discordant, pairs, only_a + only_b)
        wins = np.arange(discordant + 1)
        rejected = np.array(
            [mcnemar(int(w), discordant - int(w)) < 0.05 and w > discordant / 2 for w in wins], dtype=float
        )
        power += chance * float(binom.pmf(wins, discordant, only_a / (only_a + only_b)) @ rejected)
    return float(power)


def test_pairs_for_power_gives_published_sizes() -> None:
    # powerandsamplesize.com, "McNemar's Z-test, 2-sided equality" (Connor's formula): p01 0.45, p10 0.05
    assert pairs_for_power(0.40, 0.50) == 23
    # clinicaltrials-tools, "McNemar's test sample size calculator" (Connor's formula): p10 0.30, p01 0.15
    assert pairs_for_power(-0.15, 0.45) == 155
    assert pairs_for_power(0, 0.3) is None


@pytest.mark.parametrize(("only_a", "only_b"), [(0.17, 0.07), (0.2, 0.15), (0.3, 0.1), (0.12, 0.0)])
def test_the_power_is_the_exact_one(only_a: float, only_b: float) -> None:
    for pairs in (10, 40, 90):
        assert mcnemar_power(pairs, only_a + only_b, only_a - only_b) == pytest.approx(
            exact_power(pairs, only_a, only_b), abs=1e-9
        )


@pytest.mark.parametrize(("only_a", "only_b"), [(0.17, 0.07), (0.2, 0.15), (0.3, 0.1), (0.45, 0.05), (0.03, 0.0)])
def test_that_many_pairs_have_a_power_of_four_in_five(only_a: float, only_b: float) -> None:
    pairs = pairs_for_mcnemar(only_a + only_b, only_a - only_b)
    assert pairs is not None
    assert mcnemar_power(pairs, only_a + only_b, only_a - only_b) >= 0.8
    assert mcnemar_power(pairs - 1, only_a + only_b, only_a - only_b) < 0.815
    assert pairs_for_mcnemar(0.3, 0.0) is None


def test_the_least_drop_is_found_in_four_of_five_simulated_comparisons() -> None:
    found = least_drop(154, rate=0.45, flip_rate=0.24)
    assert found.drop is not None
    generator = np.random.default_rng(7)
    share = 0.24 / (2 * 0.45 * 0.55)
    spread = share / (1 - share)
    rejected = 0
    for _ in range(600):
        chances = generator.beta(0.45 * spread, 0.55 * spread, 154)
        a = generator.random(154) < chances
        b = generator.random(154) < chances * (1 - found.drop / 0.45)
        only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
        rejected += mcnemar(only_a, only_b) < 0.05 and only_a > only_b
    assert 0.75 < rejected / 600 < 0.85


def test_a_few_repeated_tasks_show_the_drop_that_the_exact_test_finds() -> None:
    found = least_drop(10, 4, rate=0.6, flip_rate=0.24)
    assert found.drop is not None
    generator = np.random.default_rng(8)
    chances = generator.beta(0.6, 0.4, (500, 10))
    differences = generator.binomial(4, chances) - generator.binomial(4, chances * (1 - found.drop / 0.6))
    rejected = sum(sign_flip(row.tolist()).p_value < 0.05 and row.sum() > 0 for row in differences)
    assert 0.75 < rejected / 500 < 0.85


def test_more_tasks_and_more_attempts_show_smaller_drops() -> None:
    drops = [least_drop(tasks).drop for tasks in (40, 154, 369)]
    assert None not in drops
    assert drops == sorted(drops, key=lambda drop: -(drop or 0))
    assert (least_drop(154, 4).drop or 1) < (least_drop(154).drop or 0)
    assert least_drop(4).drop is None


def test_numbers_out_of_range_are_rejected() -> None:
    for tasks, attempts, rate in ((0, 1, 0.5), (5, 0, 0.5), (5, 1, 0.0), (5, 1, 1.5)):
        with pytest.raises(ValueError, match="must"):
            least_drop(tasks, attempts, rate=rate)
