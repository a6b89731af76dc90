"""The anytime-valid p-value: a martingale, valid however often it is looked at, and the same in both directions."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binomtest

from evalgauge_exporter.analysis.comparison.sequential import (
    SHAPE,
    Martingale,
    PendingPair,
    anytime_p_value,
    anytime_p_values,
    log_martingale,
    select_direction,
)

COUNTS = st.integers(min_value=0, max_value=400)
PAIRS = st.lists(st.booleans(), max_size=120)
# start, both outcomes, whether each of the two is open
THROWS = st.lists(st.tuples(st.integers(0, 20), *[st.booleans()] * 4), max_size=60)


def chance_of_ever_alarming(pairs: int, lost_at: Callable[[int], int | None]) -> float:
    """Exact chance that a fair coin, thrown so often, ever shows ``lost_at(n)`` or more losses after n throws."""
    alarmed = 0.0
    chances = np.ones(1)  # by number of losses, of the paths that have not alarmed
    for thrown in range(1, pairs + 1):
        chances = (np.append(chances, 0) + np.append(0, chances)) / 2
        limit = lost_at(thrown)
        if limit is not None:
            alarmed += float(chances[limit:].sum())
            chances[limit:] = 0
    return alarmed


def test_the_martingale_is_the_likelihood_ratio_averaged_over_the_cut_prior() -> None:
    for won, lost in [(0, 0), (0, 9), (3, 11), (20, 31), (40, 25)]:

        def weighed(theta: float, won: int = won, lost: int = lost) -> float:
            density = 2 * float(beta.pdf(theta, SHAPE, SHAPE))
            return float(density * (2 * theta) ** won * (2 * (1 - theta)) ** lost)

        assert math.exp(log_martingale(won, lost)) == pytest.approx(quad(weighed, 0, 0.5)[0], rel=1e-7)


def test_both_directions_together_are_the_two_sided_mixture_of_a_published_example() -> None:
    # 115 successes in 200 trials, uniform prior against one half: the article "Bayes factor" of Wikipedia has the
    # likelihoods 0.005956 (one half) and 0.004975 (uniform) and their ratio 1.197
    two_sided = (math.exp(log_martingale(115, 85, 1.0)) + math.exp(log_martingale(85, 115, 1.0))) / 2
    assert two_sided == pytest.approx(0.004975 / 0.005956, rel=2e-4)
    assert 1 / two_sided == pytest.approx(1.197, abs=5e-4)


@settings(deadline=None)
@given(COUNTS, COUNTS, st.sampled_from([0.5, 1.0, SHAPE, 4.0]))
def test_a_fair_coin_neither_raises_nor_lowers_the_evidence_on_average(won: int, lost: int, shape: float) -> None:
    now = log_martingale(won, lost, shape)
    after = [math.exp(log_martingale(*step, shape) - now) for step in ((won + 1, lost), (won, lost + 1))]
    assert sum(after) / 2 == pytest.approx(1, rel=1e-9)
    assert after[0] <= 1 <= after[1]


def test_the_evidence_starts_at_one_and_stays_a_number_far_out() -> None:
    assert log_martingale(0, 0) == pytest.approx(0, abs=1e-12)
    assert log_martingale(100_000, 0) == -math.inf
    assert 0 < log_martingale(0, 100_000) < 100_000
    assert log_martingale(50_000, 50_000) < 0


def test_a_fair_coin_raises_an_alarm_in_at_most_five_percent_and_the_repeated_exact_test_in_many_more() -> None:
    def anytime_limit(thrown: int) -> int | None:
        # evidence grows with the losses, so the first count that alarms is the limit
        return next((lost for lost in range(thrown + 1) if log_martingale(thrown - lost, lost) > math.log(20)), None)

    def exact_limit(thrown: int) -> int | None:
        losses = range(thrown // 2 + 1, thrown + 1)
        return next((lost for lost in losses if binomtest(lost, thrown).pvalue < 0.05), None)

    # 400 discordant pairs are a run of about 1,600 tasks at a flip rate of 0.24
    assert 0.02 < chance_of_ever_alarming(400, anytime_limit) <= 0.05
    # one direction of a two-sided test: 0.025 if looked at once
    assert chance_of_ever_alarming(60, exact_limit) > 0.06


@settings(deadline=None)
@given(PAIRS)
def test_an_alarm_is_never_taken_back(pairs: list[bool]) -> None:
    martingale = Martingale()
    seen = [(1.0, 1.0)]
    for b_succeeded in pairs:
        martingale.update(b_succeeded)
        seen.append((martingale.p_worse, martingale.p_better))
    assert all(0 < p <= 1 for both in seen for p in both)
    assert all(later[side] <= earlier[side] for earlier, later in itertools.pairwise(seen) for side in (0, 1))


@settings(deadline=None)
@given(PAIRS)
def test_the_p_value_is_one_over_the_peak_of_the_evidence(pairs: list[bool]) -> None:
    martingale = Martingale()
    most = 0.0
    for count, b_succeeded in enumerate(pairs, start=1):
        martingale.update(b_succeeded)
        won = sum(pairs[:count])
        most = max(most, log_martingale(won, count - won))
    assert martingale.p_worse == pytest.approx(math.exp(-most), rel=1e-12)


@settings(deadline=None)
@given(PAIRS)
def test_swapping_the_runs_swaps_the_directions(pairs: list[bool]) -> None:
    straight, swapped = Martingale(), Martingale()
    for b_succeeded in pairs:
        straight.update(b_succeeded)
        swapped.update(not b_succeeded)
    assert (straight.p_worse, straight.p_better) == (swapped.p_better, swapped.p_worse)
    assert straight.p_value == swapped.p_value == anytime_p_value(pairs)


def test_the_p_value_is_that_of_the_direction_the_pairs_show() -> None:
    losing, winning = anytime_p_value([False] * 12), anytime_p_value([True] * 12)
    assert losing == winning < 0.01
    # twelve losses, then thirteen wins: B is ahead now, and nothing says that it is better
    turned = Martingale()
    for b_succeeded in [False] * 12 + [True] * 13:
        turned.update(b_succeeded)
    assert turned.p_worse == losing
    assert turned.p_value == turned.p_better > 0.5


def test_no_discordant_pair_is_no_evidence() -> None:
    assert anytime_p_value([]) == 1


def test_select_direction_takes_the_larger_where_there_is_no_direction() -> None:
    assert select_direction(0.1, 0.02, 0.7) == 0.02
    assert select_direction(-0.1, 0.02, 0.7) == 0.7
    assert select_direction(0.0, 0.02, 0.7) == 0.7


def pending_pairs(table: Sequence[tuple[int, bool, bool, bool, bool]], *, known: bool) -> list[PendingPair]:
    """Start, both outcomes, and whether each of the two is open; all outcomes where ``known``."""
    return [
        PendingPair(start, f"task_{number}", None if a_open and not known else a, None if b_open and not known else b)
        for number, (start, a, b, a_open, b_open) in enumerate(table)
    ]


@settings(deadline=None)
@given(THROWS)
def test_running_tasks_never_raise_an_alarm_that_their_outcomes_do_not(
    table: list[tuple[int, bool, bool, bool, bool]],
) -> None:
    now, once_known = (anytime_p_values(pending_pairs(table, known=known)) for known in (False, True))
    assert all(later <= earlier for later, earlier in zip(once_known, now, strict=True))


@settings(deadline=None)
@given(THROWS, st.randoms(use_true_random=False))
def test_pairs_count_in_the_order_in_which_they_started(
    table: list[tuple[int, bool, bool, bool, bool]], seeded: random.Random
) -> None:
    given_in_order = sorted(pending_pairs(table, known=True))
    martingale = Martingale()
    for thrown in given_in_order:
        if thrown.a_succeeded != thrown.b_succeeded:
            martingale.update(thrown.b_succeeded is True)
    shuffled = seeded.sample(given_in_order, len(given_in_order))
    assert anytime_p_values(shuffled) == (martingale.p_worse, martingale.p_better)


def test_a_running_task_counts_as_the_outcome_that_speaks_against_the_alarm() -> None:
    lost = [PendingPair(start, "ended", True, False) for start in range(12)]
    won = [PendingPair(start, "ended", False, True) for start in range(12)]
    begun_first = -1.0
    alone = anytime_p_values(lost)[0]
    # A failed the task that B is at: B may win it
    assert anytime_p_values([PendingPair(begun_first, "open", False, None), *lost])[0] > alone
    # A succeeded: at best B does so too
    assert anytime_p_values([PendingPair(begun_first, "open", True, None), *lost])[0] == alone
    # neither is known, or only that B succeeded
    assert anytime_p_values([PendingPair(begun_first, "open", None, None), *lost])[0] > alone
    assert anytime_p_values([PendingPair(begun_first, "open", None, True), *lost])[0] > alone
    assert anytime_p_values([PendingPair(begun_first, "open", None, False), *lost])[0] == alone
    # the other way round for "better"
    assert anytime_p_values([PendingPair(begun_first, "open", True, None), *won])[1] > alone
    assert anytime_p_values([PendingPair(begun_first, "open", False, None), *won])[1] == alone
    # what began after the evidence was complete takes none of it back
    assert anytime_p_values([*lost, PendingPair(99.0, "open", False, None)])[0] == alone


def test_quick_failures_of_many_workers_are_no_alarm() -> None:
    generator = np.random.default_rng(8)
    alarms = by_end_alarms = 0
    for _ in range(60):
        chances = generator.beta(0.4, 0.6, 100)
        a, b = generator.random(100) < chances, generator.random(100) < chances
        free, starts, ends = [0.0] * 32, [], []
        for succeeded in b:
            starts.append(heapq.heappop(free))
            ends.append(starts[-1] + (1.0 if succeeded else 0.2) * float(generator.lognormal(0, 0.3)))
            heapq.heappush(free, ends[-1])
        by_end = Martingale()
        for task in np.argsort(ends):
            if a[task] != b[task]:
                by_end.update(bool(b[task]))
        by_end_alarms += by_end.p_worse < 0.05
        for now in sorted(ends)[9::5]:
            seen = [
                PendingPair(start, f"{task:03}", bool(a[task]), bool(b[task]) if end <= now else None)
                for task, (start, end) in enumerate(zip(starts, ends, strict=True))
                if start <= now
            ]
            if anytime_p_values(seen)[0] < 0.05:
                alarms += 1
                break
    assert alarms <= 3
    assert by_end_alarms > 10
