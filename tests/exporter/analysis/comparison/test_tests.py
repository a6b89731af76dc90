"""Each formula against scipy, a published worked example, or an exact enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test, ttest_rel

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

COUNTS = st.integers(min_value=0, max_value=200)
P_VALUES = st.lists(st.floats(min_value=0, max_value=1), max_size=12)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", Stat. Med. 17, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_of_newcombe(successes: int, total: int, low: float, high: float) -> None:
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(COUNTS, COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(successes: int, failures: int, confidence: float) -> None:
    total = successes + failures
    interval = wilson(successes, total, confidence)
    if total == 0:
        assert interval is None
        return
    assert interval is not None
    expected = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval.low <= successes / total <= interval.high <= 1


def test_wilson_rejects_more_successes_than_attempts() -> None:
    for successes, total in [(3, 2), (-1, 2), (1, 0)]:
        with pytest.raises(ValueError, match="successes of"):
            wilson(successes, total)


def test_clustered_wilson_counts_repeats_as_much_as_they_differ() -> None:
    # repeats that always agree are no more than one attempt for each task
    assert clustered_wilson([1.0] * 8 + [0.0] * 12, attempts=80) == pytest.approx(wilson(8, 20), abs=1e-12)
    # tasks that differ no more than chance makes them count with every attempt
    rates = [0.25, 0.5, 0.5, 0.75] * 5
    assert clustered_wilson(rates, attempts=80) == pytest.approx(wilson(40, 80), abs=1e-12)
    assert clustered_wilson([1.0] * 20, attempts=80) == pytest.approx(wilson(20, 20), abs=1e-12)
    assert clustered_wilson([], attempts=0) is None


@settings(deadline=None)
@given(st.lists(st.fractions(min_value=0, max_value=1, max_denominator=4).map(float), min_size=1, max_size=30))
def test_clustered_wilson_contains_the_mean(rates: list[float]) -> None:
    interval = clustered_wilson(rates, attempts=4 * len(rates))
    assert interval is not None
    assert 0 <= interval.low <= math.fsum(rates) / len(rates) + 1e-12
    assert math.fsum(rates) / len(rates) - 1e-12 <= interval.high <= 1


def test_mcnemar_gives_the_p_values_of_published_examples() -> None:
    # Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91: airway hyper-responsiveness, 1 and 7 discordant
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)
    # Fagerland, Lydersen and Laake 2017, Statistical Analysis of Contingency Tables, chapter 8: response before and
    # after consolidation therapy, 6 and 16 discordant
    assert mcnemar(6, 16) == pytest.approx(0.052479, abs=5e-7)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_mcnemar_equals_scipy(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)
    assert 0 <= mcnemar(only_a, only_b) <= 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=300))
def test_with_one_attempt_a_task_the_sign_flip_test_is_the_exact_mcnemar_test(differences: list[int]) -> None:
    p_value, exact = sign_flip(differences)
    assert exact
    assert p_value == pytest.approx(mcnemar(differences.count(1), differences.count(-1)), rel=1e-9)


@pytest.mark.parametrize(
    "differences",
    [[4, 4, 3, -1, 2], [3, 3, 3, 3, 3, 3], [0, 2, -2, 0], [12, -9, 6, 6, 3, 12, -3, 0, 12], [-5, -5, -4, 1, -2, -5, 3]],
)
def test_sign_flip_equals_scipy_over_all_signs(differences: list[int]) -> None:
    # scipy enumerates where all 2^n flips are asked for
    expected = permutation_test(
        (np.array(differences, dtype=float),),
        np.sum,
        permutation_type="samples",
        n_resamples=2 ** len(differences),
        vectorized=False,
    ).pvalue
    assert sign_flip(differences) == pytest.approx((expected, True))


def test_the_sign_flip_of_very_many_tasks_is_close_to_the_exact_one() -> None:
    few = [4, -4, 3, -3, 1, -1] * 200 + [4] * 60
    # the same differences on a finer scale, which a last one keeps from being reduced: too much to enumerate
    exact, approximate = sign_flip(few), sign_flip([*(100 * difference for difference in few), 1])
    assert exact.exact
    assert not approximate.exact
    assert approximate.p_value == pytest.approx(exact.p_value, rel=0.03)


def test_sign_flip_of_nothing_or_of_ties_finds_nothing() -> None:
    assert sign_flip([]) == (1.0, True)
    assert sign_flip([0, 0, 0]) == (1.0, True)


@pytest.mark.parametrize(
    ("only_a", "only_b", "pairs", "low", "high"),
    [
        (6, 16, 161, -0.1240, -0.0054),  # Fagerland, Lydersen and Laake 2017, chapter 8, see above
        (12, 2, 50, 0.0611, 0.3447),  # the example that Newcombe gives for Tango's interval
    ],
)
def test_tango_gives_published_intervals(only_a: int, only_b: int, pairs: int, low: float, high: float) -> None:
    assert tango(only_a, only_b, pairs) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS)
def test_tango_contains_the_estimate_and_mirrors(only_a: int, only_b: int, tied: int) -> None:
    pairs = only_a + only_b + tied + 1
    low, high = tango(only_a, only_b, pairs)
    assert -1 <= low <= (only_a - only_b) / pairs <= high <= 1
    assert tango(only_b, only_a, pairs) == (-high, -low)
    # wide enough: with nothing discordant, the solution in closed form
    z2 = 1.959964**2
    assert tango(0, 0, pairs).high == pytest.approx(z2 / (pairs + z2), rel=1e-5)


def test_tango_where_one_run_always_won_ends_at_the_edge() -> None:
    assert tango(10, 0, 10).high == 1
    assert tango(0, 10, 10).low == -1


def test_tango_excludes_zero_where_the_score_test_rejects() -> None:
    # the score test is McNemar's without correction, (b − c)² / (b + c) against chi-square of 1 degree
    for only_a in range(31):
        for only_b in range(31):
            if only_a == only_b:
                continue
            rejected = (only_a - only_b) ** 2 / (only_a + only_b) > 1.959964**2
            low, high = tango(only_a, only_b, 80)
            assert (low > 0 or high < 0) == rejected


def test_the_clustered_interval_with_single_attempts_is_that_of_bonett_and_price() -> None:
    # R package statpsych, ci.prop.ps(.05, 12, 4, 26, 6): estimate 0.44, standard error 0.09448809
    differences = [1.0] * 26 + [-1.0] * 4 + [0.0] * 18
    low, high = clustered_difference(differences)
    assert (low + high) / 2 == pytest.approx(0.44, abs=1e-12)
    # theirs is 1.96 standard errors with the divisor n, this Student's t with n − 1
    assert (high - low) / 2 == pytest.approx(0.09448809 * 2.009575 * math.sqrt(50 / 49), rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.fractions(min_value=-1, max_value=1, max_denominator=5).map(float), min_size=1, max_size=40))
def test_the_clustered_interval_contains_the_mean_mirrors_and_is_never_a_point(differences: list[float]) -> None:
    low, high = clustered_difference(differences)
    mean = math.fsum(differences) / len(differences)
    assert -1 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert low < high
    assert clustered_difference([-value for value in differences]) == pytest.approx((-high, -low), abs=1e-12)


def test_the_clustered_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(20)
    covered = 0
    for _ in range(600):
        # 40 tasks, 3 attempts each, B 0.8 times as good on each task: the true difference is 0.2 × 0.4
        chances = random.beta(0.4, 0.6, 40)
        wins_a, wins_b = random.binomial(3, chances), random.binomial(3, 0.8 * chances)
        low, high = clustered_difference(list((wins_a - wins_b) / 3))
        covered += low <= 0.08 <= high
    assert 0.93 <= covered / 600 <= 0.99


def test_mean_interval_equals_scipy() -> None:
    a, b = [12.0, 15.5, 9.0, 30.0, 22.5], [10.0, 15.0, 11.0, 21.0, 17.5]
    expected = ttest_rel(a, b).confidence_interval(0.9)
    interval = mean_interval([x - y for x, y in zip(a, b, strict=True)], 0.9)
    assert interval == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert mean_interval([3.0]) is None
    assert mean_interval([2.5, 2.5, 2.5]) == (2.5, 2.5)


def test_holm_gives_published_adjustments() -> None:
    # the example of pingouin's documentation of multicomp, method holm
    assert holm([0.50, 0.003, 0.32, 0.054, 0.0003]) == pytest.approx([0.64, 0.012, 0.64, 0.162, 0.0015])
    # the example of the article "Holm–Bonferroni method" of Wikipedia: at 0.05 the first and the last are rejected
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@settings(deadline=None)
@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p_value, after in zip(p_values, adjusted, strict=True):
        assert p_value <= after <= min(1, len(p_values) * p_value) + 1e-15
    by_p_value = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in by_p_value] == sorted(adjusted)


def test_an_interval_agrees_with_its_test() -> None:
    assert reconcile(Interval(0.01, 0.3), 0.1, rejected=False, step=1e-6) == (0.0, 0.3)
    assert reconcile(Interval(-0.3, -0.01), -0.1, rejected=False, step=1e-6) == (-0.3, 0.0)
    assert reconcile(Interval(-0.01, 0.3), 0.1, rejected=True, step=1e-6) == (1e-6, 0.3)
    assert reconcile(Interval(-0.3, 0.01), -0.1, rejected=True, step=1e-6) == (-0.3, -1e-6)
    assert reconcile(Interval(0.01, 0.3), 0.1, rejected=True, step=1e-6) == (0.01, 0.3)
