import heapq
import math
import random
from collections.abc import Sequence
from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalgauge_exporter.analysis import eta as module
from evalgauge_exporter.analysis.eta import DRAWS, DurationStats, Eta, FinishedAttempt, RunningAttempt, estimate

NO_LIMIT = np.array([math.inf])
NO_LIMITS = np.full((DRAWS, 3), math.inf)


def lognormal_shape() -> module._Shape:
    """The shape of so many lognormal tasks that nothing is left of the uncertainty."""
    ranks = (np.arange(200_000) + 0.5) / 200_000
    return make_shape(stats.norm.ppf(ranks))


def make_shape(finished: module.Array | list[float]) -> module._Shape:
    observed = module._Observed([np.array(finished)], np.zeros(0, dtype=np.intp), np.zeros(0), np.zeros(0))
    return module._Shape(observed, np.zeros((DRAWS, 1)), np.ones((DRAWS, 1)))


def one_after_another(
    tasks: Sequence[tuple[str, float]], *, gap: float = 0.0, worker: str | None = "w1", start: float = 1000.0
) -> list[FinishedAttempt]:
    ended = []
    for domain, seconds in tasks:
        start += seconds
        ended.append(FinishedAttempt(domain, seconds, start, worker))
        start += gap
    return ended


def known(answer: Eta | None) -> Eta:
    assert answer is not None
    return answer


def test_there_is_no_estimate_before_three_tasks_ended() -> None:
    ended = one_after_another([("a", 10.0)] * 3)
    running = [RunningAttempt("a", 1.0, "w1")]
    assert estimate(1031.0, ended[:2], running, {"a": 5}) is None
    assert estimate(1031.0, ended, running, {"a": 5}) is not None


def test_no_tasks_left_is_zero_seconds() -> None:
    ended = one_after_another([("a", 10.0)] * 3)
    assert estimate(1030.0, ended, [], {}) == Eta(0.0, 0.0, 0.0)
    assert estimate(1030.0, ended, [], {"a": 0}) == Eta(0.0, 0.0, 0.0)


def test_there_is_no_estimate_without_progress() -> None:
    ended = one_after_another([("a", 10.0)] * 5)
    assert estimate(1050.0 + 15, ended, [], {"a": 5}) is not None
    assert estimate(1050.0 + 21, ended, [], {"a": 5}) is None
    assert estimate(1050.0, ended, [], {"a": 5}, workers=0) is None
    assert estimate(1050.0, ended, [RunningAttempt("a", 1.0, "w1")], {"a": 5}, workers=0) is None
    assert estimate(1050.0, ended, [], {"a": 5}, workers=-3) is None


def test_equal_tasks_on_one_worker_take_their_number_times_their_duration() -> None:
    ended = one_after_another([("a", 10.0)] * 60)
    answer = known(estimate(1604.0, ended, [RunningAttempt("a", 4.0, "w1")], {"a": 30}))
    assert answer.p50 == pytest.approx(306, rel=0.02)
    assert answer.p10 > 280
    assert answer.p90 < 330


def test_gaps_between_tasks_are_added() -> None:
    ended = one_after_another([("a", 10.0)] * 60, gap=5.0)
    answer = known(estimate(1900.0, ended, [RunningAttempt("a", 5.0, "w1")], {"a": 30}))
    assert answer.p50 == pytest.approx(5 + 30 * 15, rel=0.02)


def test_a_night_between_two_tasks_is_not_a_gap_to_expect() -> None:
    evening = one_after_another([("a", 10.0)] * 30)
    morning = one_after_another([("a", 10.0)] * 30, start=evening[-1].ended_at + 8 * 3600)
    now = morning[-1].ended_at
    answer = known(estimate(now, evening + morning, [RunningAttempt("a", 0.0, "w1")], {"a": 30}))
    assert answer.p50 == pytest.approx(310, rel=0.05)


def test_only_active_workers_count() -> None:
    ended = [FinishedAttempt("a", 10.0, 1000.0 + 10 * turn, f"w{at}") for turn in range(1, 11) for at in range(4)]
    four = known(estimate(1100.0, ended, [RunningAttempt("a", 0.0, f"w{at}") for at in range(4)], {"a": 100}))
    two = known(estimate(1105.0, ended, [RunningAttempt("a", 5.0, f"w{at}") for at in range(2)], {"a": 100}))
    assert four.p50 == pytest.approx(104 * 10 / 4, rel=0.05)
    assert two.p50 == pytest.approx(101 * 10 / 2, rel=0.05)


def test_a_worker_between_two_tasks_is_active() -> None:
    ended = [FinishedAttempt("a", 10.0, 1000.0 + 14 * turn, f"w{at}") for turn in range(1, 21) for at in range(2)]
    now = 1280.0 + 2
    both = known(estimate(now, ended, [RunningAttempt("a", 2.0, "w0")], {"a": 40}))
    assert both.p50 == pytest.approx(41 * 14 / 2, rel=0.06)
    later = known(estimate(now + 30, ended, [RunningAttempt("a", 2.0, "w0")], {"a": 40}))
    assert later.p50 == pytest.approx(41 * 14, rel=0.06)


def test_tasks_of_lost_workers_are_repeated() -> None:
    ended = one_after_another([("a", 10.0)] * 60)
    running = [RunningAttempt("a", 2.0, "w1"), RunningAttempt("a", 500.0, "w2")]
    answer = known(estimate(1602.0, ended, running, {"a": 20}, workers=1))
    assert answer.p50 == pytest.approx(8 + 21 * 10, rel=0.03)


def test_tasks_that_ended_with_their_worker_are_repeated_and_longer_than_before() -> None:
    ended = one_after_another([("a", 10.0)] * 60)
    running = [RunningAttempt("a", 4.0, "w1")]
    answer = known(estimate(1604.0, ended, running, {"a": 20}, again=[RunningAttempt("a", 5.0, "w2")]))
    assert answer.p50 == pytest.approx(6 + 21 * 10, rel=0.03)
    rng = random.Random(2)
    ended = one_after_another([("a", rng.lognormvariate(4, 0.6)) for _ in range(60)])
    middle = fmean(task.duration_seconds for task in ended)
    short, long = (
        known(
            estimate(9e9, ended, [RunningAttempt("a", 0.0, "w1")], {"a": 5}, again=[RunningAttempt("a", seconds, "w2")])
        )
        for seconds in (0.0, 5 * middle)
    )
    assert long.p50 > short.p50 + 3.5 * middle
    # the last of all: the other worker has nothing left to do
    ended = [FinishedAttempt("a", 10.0, 1000.0 + 10 * turn, f"w{at}") for turn in range(30) for at in range(2)]
    both = [RunningAttempt("a", 0.0, "w0"), RunningAttempt("a", 0.0, "w1")]
    answer = known(estimate(1290.0, ended, both, {"a": 2}, again=[RunningAttempt("a", 300.0, "w2")]))
    assert 20 + 300 < answer.p50 < 20 + 400


def test_a_long_running_task_is_not_expected_to_end_at_once() -> None:
    rng = random.Random(3)
    ended = one_after_another([("a", rng.lognormvariate(4, 0.6)) for _ in range(50)])
    longest = max(task.duration_seconds for task in ended)
    answers = [known(estimate(9e9, ended, [RunningAttempt("a", factor * longest, "w1")], {})) for factor in (1, 3, 9)]
    assert answers[0].p50 > 0.05 * longest
    assert answers[0].p50 < answers[1].p50 < answers[2].p50


def test_running_tasks_that_take_long_are_evidence_that_tasks_are_long() -> None:
    ended = [FinishedAttempt("a", 10.0 + at, 1020.0, f"w{at}") for at in range(4)]
    fresh = [RunningAttempt("a", 0.0, f"w{at}") for at in range(16)]
    old = [RunningAttempt("a", 60.0, f"w{at}") for at in range(16)]
    pending = {"a": 160}
    assert known(estimate(1020.0, ended, old, pending)).p50 > 1.5 * known(estimate(1020.0, ended, fresh, pending)).p50


def test_domains_are_distinguished() -> None:
    ended = one_after_another([("quick", 10.0), ("slow", 100.0)] * 30)
    quick = known(estimate(9e9, ended, [RunningAttempt("quick", 0.0, "w1")], {"quick": 19}))
    slow = known(estimate(9e9, ended, [RunningAttempt("slow", 0.0, "w1")], {"slow": 19}))
    assert quick.p50 == pytest.approx(200, rel=0.05)
    assert slow.p50 == pytest.approx(2000, rel=0.05)


def test_a_domain_with_one_finished_task_borrows_from_the_others() -> None:
    rng = random.Random(5)
    tasks = [(f"d{at % 8}", rng.lognormvariate(3 + at % 8 / 7, 0.6)) for at in range(160)]
    usual = fmean(seconds for _, seconds in tasks)
    ended = one_after_another([*tasks, ("odd", 10 * usual)])
    answer = known(estimate(9e9, ended, [RunningAttempt("odd", 0.0, "w1")], {"odd": 19}))
    assert 1.5 * 20 * usual < answer.p50 < 0.8 * 20 * 10 * usual


def test_a_domain_never_seen_is_as_uncertain_as_the_others_differ() -> None:
    alike = one_after_another([(f"d{at % 8}", 50.0) for at in range(80)])
    apart = one_after_another([(f"d{at % 8}", 10.0 * 1.5 ** (at % 8)) for at in range(80)])
    running, pending = [RunningAttempt("new", 0.0, "w1")], {"new": 20}
    narrow, wide = known(estimate(9e9, alike, running, pending)), known(estimate(9e9, apart, running, pending))
    assert wide.p90 / wide.p10 > 2 * narrow.p90 / narrow.p10
    assert narrow.p10 < 21 * 50 < narrow.p90


def test_an_earlier_run_shows_how_domains_differ_and_this_one_how_fast_it_is() -> None:
    earlier = DurationStats(one_after_another([("a", 10.0), ("b", 100.0), ("c", 30.0)] * 10))
    ended = one_after_another([("a", 20.0)] * 20)
    running, pending = [RunningAttempt("b", 0.0, "w1")], {"b": 19}
    told = known(estimate(1400.0, ended, running, pending, earlier=earlier))
    untold = known(estimate(1400.0, ended, running, pending))
    assert told.p50 == pytest.approx(20 * 200, rel=0.2)
    assert untold.p50 < 0.5 * told.p50
    assert told.p90 / told.p10 < untold.p90 / untold.p10


def test_an_earlier_run_in_which_other_domains_were_slow_is_not_believed() -> None:
    rng = random.Random(3)
    middles = {f"d{at}": (100.0 if at < 4 else 1000.0) for at in range(8)}
    ended = one_after_another([(d, rng.lognormvariate(math.log(s), 0.2)) for d, s in middles.items() for _ in range(6)])
    swapped = one_after_another([(d, 1e5 / s) for d, s in middles.items() for _ in range(6)])
    running, pending = [RunningAttempt("d0", 1.0, "w1")], dict.fromkeys(middles, 5)
    without = known(estimate(ended[-1].ended_at, ended, running, pending))
    misled = known(estimate(ended[-1].ended_at, ended, running, pending, earlier=DurationStats(swapped)))
    assert misled == pytest.approx(without, rel=0.05)


def test_unnamed_tasks_are_like_the_mixed_ones_before_or_new_ones_after_blocks() -> None:
    rng = random.Random(1)
    mixed = [("quick", 10.0), ("slow", 100.0)] * 30
    rng.shuffle(mixed)
    blocks = [("quick", 10.0)] * 30 + [("slow", 100.0)] * 30
    running = [RunningAttempt("unknown", 0.0, "w1")]
    after_mixed = known(estimate(9e9, one_after_another(mixed), running, {"unknown": 59}))
    after_blocks = known(estimate(9e9, one_after_another(blocks), running, {"unknown": 59}))
    assert after_mixed.p50 == pytest.approx(60 * 55, rel=0.15)
    assert after_blocks.p90 / after_blocks.p10 > 2 * after_mixed.p90 / after_mixed.p10


def test_a_run_without_any_domain_is_one_domain() -> None:
    ended = one_after_another([("unknown", 10.0)] * 60)
    answer = known(estimate(1600.0, ended, [RunningAttempt("unknown", 0.0, "w1")], {"unknown": 29}))
    assert answer.p50 == pytest.approx(300, rel=0.02)
    assert answer.p90 < 330


@pytest.mark.parametrize("names", [("w0", "w1", "w2", "w3"), (None, None, None, None)])
def test_a_source_that_reports_finished_tasks_only_is_enough(names: tuple[str | None, ...]) -> None:
    ended = [
        FinishedAttempt("a", 10.0, 1000.0 + 10 * turn + 2.5 * at, name)
        for turn in range(1, 21)
        for at, name in enumerate(names)
    ]
    answer = known(estimate(1207.5, ended, [], {"a": 60}))
    # four run: one since 0 s, the others since 2.5, 5 and 7.5 s
    assert answer.p50 == pytest.approx((60 * 10 - 15) / 4, rel=0.1)


def test_growing_statistics_agree_with_a_list() -> None:
    rng = random.Random(8)
    ended = one_after_another([(f"d{at % 5}", rng.lognormvariate(3, 0.5)) for at in range(40)], gap=2.0)
    history = DurationStats()
    for task in ended:
        history.add(task)
    running, pending = (
        [RunningAttempt("d1", 3.0, "w1"), RunningAttempt("d2", 30.0, "w2")],
        {"d1": 5, "d3": 60, "new": 2},
    )
    assert estimate(2000.0, history, running, pending) == estimate(2000.0, ended, running, pending)


def test_impossible_durations_are_left_out() -> None:
    good = one_after_another([("a", 10.0)] * 20)
    bad = [FinishedAttempt("a", seconds, 1100.0, "w9") for seconds in (-5.0, math.nan, math.inf, 1.7e9)]
    running, pending = [RunningAttempt("a", 0.0, "w1")], {"a": 10}
    assert estimate(1200.0, good + bad, running, pending) == estimate(1200.0, good, running, pending)
    assert estimate(1200.0, bad, running, pending) is None


def test_tasks_that_fail_at_once_do_not_blow_the_estimate_up() -> None:
    rng = random.Random(4)
    tasks = [("a", 0.002 if at % 8 == 0 else rng.lognormvariate(4, 0.4)) for at in range(80)]
    answer = known(estimate(9e9, one_after_another(tasks), [RunningAttempt("a", 0.0, "w1")], {"a": 80}))
    assert answer.p50 == pytest.approx(sum(seconds for _, seconds in tasks), rel=0.05)
    assert answer.p90 < 1.3 * answer.p50


def test_a_thousand_workers_agree_with_their_share() -> None:
    ended = [FinishedAttempt("a", 10.0, 1000.0 + 10 * turn, f"w{at}") for turn in (1, 2) for at in range(1000)]
    running = [RunningAttempt("a", at / 100, f"w{at}") for at in range(1000)]
    answer = known(estimate(1020.0, ended, running, {"a": 10_000}))
    assert answer.p50 == pytest.approx((10_000 * 10 + 5_000) / 1000, rel=0.1)


seconds_of_any_kind = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0.0, max_value=1e5),
    st.sampled_from([0.0, -1.0, 1e-9, 5.0, 60.0, 1e6, 1e300]),
)
names = st.sampled_from(["a", "b", "c", "unknown", ""])
workers_of_any_kind = st.one_of(st.none(), st.sampled_from(["w1", "w2", "w3"]))
ended_of_any_kind = st.builds(FinishedAttempt, names, seconds_of_any_kind, seconds_of_any_kind, workers_of_any_kind)
running_of_any_kind = st.builds(RunningAttempt, names, seconds_of_any_kind, workers_of_any_kind)


@settings(max_examples=300, deadline=None)
@given(
    now=seconds_of_any_kind,
    ended=st.lists(ended_of_any_kind, max_size=20),
    running=st.lists(running_of_any_kind, max_size=6),
    pending=st.dictionaries(names, st.one_of(st.integers(-5, 60), st.sampled_from([10**4, 10**400])), max_size=5),
    workers=st.one_of(st.none(), st.integers(-2, 8), st.sampled_from([300, 10**9])),
    again=st.one_of(st.lists(running_of_any_kind, max_size=4), st.just([RunningAttempt("a", 5.0, None)] * 300)),
    earlier=st.one_of(st.none(), st.lists(ended_of_any_kind, max_size=8).map(DurationStats)),
)
def test_any_input_has_a_defined_result(
    now: float,
    ended: list[FinishedAttempt],
    running: list[RunningAttempt],
    pending: dict[str, int],
    workers: int | None,
    again: list[RunningAttempt],
    earlier: DurationStats | None,
) -> None:
    answer = estimate(now, ended, running, pending, workers=workers, again=again, earlier=earlier)
    if answer is not None:
        assert all(math.isfinite(bound) for bound in answer)
        assert 0 <= answer.p10 <= answer.p50 <= answer.p90
    assert estimate(now, ended, running, pending, workers=workers, again=again, earlier=earlier) == answer


lengths = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 1000)), min_size=3, max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    tasks=lengths,
    running=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 2000)), min_size=1, max_size=5),
    pending=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 80), max_size=4),
    power=st.integers(-6, 0),  # downwards: no duration is longer than 30 days, not even a stuck one
)
def test_the_unit_of_time_does_not_matter(
    tasks: list[tuple[str, int]], running: list[tuple[str, int]], pending: dict[str, int], power: int
) -> None:
    def at_scale(scale: float) -> Eta:
        ended = one_after_another([(domain, seconds * scale) for domain, seconds in tasks], start=0.0)
        now = ended[-1].ended_at
        return known(
            estimate(now, ended, [RunningAttempt(d, s * scale, f"r{at}") for at, (d, s) in enumerate(running)], pending)
        )

    assert at_scale(2.0**power) == pytest.approx([bound * 2.0**power for bound in at_scale(1.0)], rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(tasks=lengths, count=st.integers(1, 300), more=st.integers(1, 5))
def test_more_of_the_same_work_takes_longer_and_more_workers_less(
    tasks: list[tuple[str, int]], count: int, more: int
) -> None:
    ended = one_after_another([(domain, float(seconds)) for domain, seconds in tasks])
    running = [RunningAttempt("a", 0.5, "w1")]
    answer = known(estimate(9e9, ended, running, {"a": count}))
    assert known(estimate(9e9, ended, running, {"a": 2 * count + 20})).p50 > answer.p50
    assert known(estimate(9e9, ended, running, {"a": count}, workers=1 + more)).p50 < answer.p50


def test_pooled_domains_agree_with_the_eight_schools() -> None:
    # Gelman et al., Bayesian Data Analysis, 3rd edition, section 5.5: complete pooling gives 7.7 with error 4.1
    effects = np.array([[28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]])
    errors = np.array([[15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]])
    _, middle, variance = module._average_over_between(effects, 1 / errors**2, module._prior(0.5))
    assert middle[0, 0] == pytest.approx(7.7, abs=0.05)
    assert math.sqrt(variance[0, 0]) == pytest.approx(4.1, abs=0.05)


def test_the_weights_of_the_widths_are_those_of_the_marginal_likelihood() -> None:
    # the same by scipy: all effects together are normal with one shared middle of a very wide prior
    effects, errors = np.array([1.0, 2.5, 1.7, 0.2]), np.array([0.3, 0.4, 0.2, 0.6])
    prior = np.linspace(0.05, 0.2, module._BETWEENS.size)
    log_weight, _, _ = module._average_over_between(effects[None], 1 / errors[None] ** 2, prior)
    wide = 1e6
    expected = np.array(
        [
            stats.multivariate_normal.logpdf(effects, np.zeros(4), np.diag(errors**2 + width**2) + wide)
            + math.log(weight)
            for width, weight in zip(module._BETWEENS, prior, strict=True)
        ]
    )
    assert np.diff(log_weight[0]) == pytest.approx(np.diff(expected), abs=1e-3)


@pytest.mark.parametrize("elapsed", [1.0, 60.0, 400.0, 3000.0, 1e6])
def test_the_rest_of_a_running_task_agrees_with_scipy(elapsed: float) -> None:
    middle, spread = math.log(60.0), 0.6
    rest = module._draw_remaining(
        lognormal_shape(),
        np.full((DRAWS, 1), middle),
        np.full((DRAWS, 1), spread),
        np.array([elapsed]),
        NO_LIMIT,
        0,
    )
    log_survival = stats.norm.logsf((math.log(elapsed) - middle) / spread)
    for share in (0.25, 0.5, 0.75):
        # the time t with P(T > t | T > elapsed) = share
        z = stats.norm.isf(math.exp(log_survival + math.log(share)))
        expected = math.exp(middle + spread * z) - elapsed
        # the hazard is even within an eighth of a standard deviation
        assert np.quantile(rest, 1 - share) == pytest.approx(expected, rel=0.08)


def test_a_task_far_beyond_all_others_may_be_stuck_for_as_long_again() -> None:
    mean, spread = np.full((DRAWS, 1), math.log(60.0)), np.full((DRAWS, 1), 0.3)
    rest = module._draw_remaining(lognormal_shape(), mean, spread, np.array([7200.0]), NO_LIMIT, 1)
    assert np.quantile(rest, 0.5) == pytest.approx(7200, rel=0.1)
    assert np.quantile(rest, 0.9) > 7200 * 5


def test_a_stuck_task_widens_the_range_instead_of_promising_minutes() -> None:
    ended = one_after_another([("d", 60.0 + n) for n in range(29)])
    eta = known(estimate(ended[-1].ended_at + 7200.0, ended, [RunningAttempt("d", 7200.0, "w")], {}))
    assert eta.p90 > 1800


def test_nothing_runs_beyond_a_limit() -> None:
    ended = [FinishedAttempt("d", 300.0 + 40 * n, 1000.0 * n, f"w{n}") for n in range(20)]
    ended += [FinishedAttempt("d", 1800.0 + n, 20_000.0 + n, f"w{n}") for n in range(15)]
    running = [RunningAttempt("d", 1000.0 + 50 * n, f"w{n}") for n in range(8)]
    inferred = known(estimate(20_100.0, ended, running, {}))
    assert inferred.p90 <= 815
    assert inferred.p50 > 300
    stated = known(estimate(20_100.0, ended[:20], running, {}, limit=1800.0))
    assert stated.p90 <= 801
    own = known(estimate(20_100.0, ended[:20], [task._replace(limit_seconds=1500.0) for task in running], {}))
    assert own.p90 <= 500


def test_a_limit_that_tasks_exceed_is_no_limit() -> None:
    ended = one_after_another([("d", 300.0 + 40 * n) for n in range(20)])
    running = [RunningAttempt("d", 400.0, "w")]
    free = known(estimate(ended[-1].ended_at, ended, running, {"d": 3}))
    assert known(estimate(ended[-1].ended_at, ended, running, {"d": 3}, limit=350.0)) == free


def test_a_limit_beyond_every_duration_is_no_limit() -> None:
    ended = one_after_another([("d", 300.0 + 40 * n) for n in range(20)])
    running, pending = [RunningAttempt("d", 400.0, "w")], {"d": 1000}
    month, vast = (estimate(ended[-1].ended_at, ended, running, pending, limit=at) for at in (module.LONGEST, 1e308))
    assert known(vast) == known(month)


def test_tasks_restored_from_a_checkpoint_are_no_evidence_of_speed() -> None:
    slow = one_after_another([("d", 3.6 + n / 100) for n in range(6)])
    end = slow[-1].ended_at
    pending = {"d": 1200}
    without = known(estimate(end, slow, [RunningAttempt("d", 0.5, "w1")], pending))
    before = [task._replace(duration_seconds=0.002, ended_at=-1.0) for task in slow] * 20
    assert known(estimate(end, [*before, *slow], [RunningAttempt("d", 0.5, "w1")], pending)) == without
    # a runner that is resumed in the middle
    resumed = [*slow, *[task._replace(duration_seconds=0.002, ended_at=end) for task in slow]]
    assert known(estimate(end, resumed, [RunningAttempt("d", 0.5, "w1")], pending)) == without


@settings(max_examples=40, deadline=None)
@given(st.floats(0.2, 0.9), st.integers(0, 10**6))
def test_the_spread_of_durations_is_found(spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    draws = [rng.normal(rng.normal(4, 1), spread, size) for size in (3, 5, 8, 13, 21, 34, 55, 89)]
    observed = module._Observed(draws, np.zeros(0, dtype=np.intp), np.zeros(0), np.zeros(0))
    posterior = module._posterior(observed, 0, np.zeros(len(draws)), module._prior(0.9))
    found = float(posterior.weight.sum(1) @ np.log(posterior.spread))
    # five standard errors of the log of the spread, and what limiting short tasks to a fifth of the mean takes off
    assert abs(found - math.log(spread)) < 5 / math.sqrt(2 * 220) + 0.08


def test_the_shape_is_that_of_kaplan_and_meier_with_two_tasks_more() -> None:
    # half end by -0.5, the other half are only known to last longer than that
    observed = module._Observed([np.full(50, -0.55)], np.zeros(1, dtype=np.intp), np.array([-0.5]), np.array([50.0]))
    shape = module._Shape(observed, np.zeros((DRAWS, 1)), np.ones((DRAWS, 1)))
    survival = np.exp(-shape.hazard(np.array([[-0.5]])))
    assert survival.mean() == pytest.approx(0.5, abs=0.02)
    assert survival.std() == pytest.approx(0.05, rel=0.2)  # binomial
    # beyond what was seen, the hazard is the normal one on average
    later = np.exp(-shape.hazard(np.array([[1.0]]))) / survival
    assert later.mean() == pytest.approx(stats.norm.sf(1.0) / stats.norm.sf(-0.5), rel=0.1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-6.0, 8.0), max_size=30), st.floats(0.01, 60.0))
def test_a_cumulative_hazard_is_found_again(finished: list[float], hazard: float) -> None:
    shape = make_shape(finished)
    wanted = np.full((DRAWS, 1), hazard)
    assert shape.hazard(shape.invert(wanted)) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_moments_are_those_of_a_lognormal_that_a_limit_cuts_off() -> None:
    mean, spread = np.full((DRAWS, 1), math.log(60.0)), np.full((DRAWS, 1), 0.6)
    shape = lognormal_shape()
    first, second = shape.moments(mean, spread, spread, np.full((DRAWS, 1), math.inf))
    exact = stats.lognorm(0.6, scale=60.0)
    assert first.mean() == pytest.approx(exact.mean(), rel=0.01)
    assert second.mean() == pytest.approx(exact.moment(2), rel=0.03)
    cut, _ = shape.moments(mean, spread, spread, np.full((DRAWS, 1), 80.0))
    assert cut.mean() == pytest.approx(exact.expect(lambda seconds: min(seconds, 80.0)), rel=0.02)


def test_equal_tasks_run_in_rounds() -> None:
    # five tasks of 10 s on two free workers: 3 rounds; a third that is busy for 25 s more takes none of the first four
    log_mean, spread, shape = np.full((DRAWS, 1), math.log(10.0)), np.full((DRAWS, 1), 1e-9), lognormal_shape()
    count, none = np.array([5.0]), np.full((DRAWS, 1), math.inf)
    free, busy = np.zeros((DRAWS, 2)), np.zeros((DRAWS, 3))
    assert module._schedule_one_by_one(free, shape, log_mean, spread, count, 0.0, none).max(1) == pytest.approx(30.0)
    busy[:, 2] = 25.0
    assert module._schedule_one_by_one(busy, shape, log_mean, spread, count, 0.0, none).max(1) == pytest.approx(30.0)
    assert module._schedule_one_by_one(free, shape, log_mean, spread, count, 2.0, none).max(1) == pytest.approx(36.0)
    # what a limit cuts off
    limits = np.full((DRAWS, 1), 4.0)
    assert module._schedule_one_by_one(free, shape, log_mean, spread, count, 0.0, limits).max(1) == pytest.approx(12.0)


@pytest.mark.parametrize(("workers", "tasks"), [(1, 60), (4, 60), (16, 120), (16, 400)])
def test_scheduling_in_bulk_agrees_with_scheduling_one_by_one(workers: int, tasks: int) -> None:
    log_mean = np.tile(np.log([20.0, 60.0, 200.0]), (DRAWS, 1))
    spread = np.full((DRAWS, 3), 0.6)
    count = np.array([tasks / 2, tasks / 4, tasks / 4])
    shape = lognormal_shape()
    rest = module._draw_remaining(
        shape,
        np.full((DRAWS, workers), math.log(60.0)),
        np.full((DRAWS, workers), 0.6),
        np.linspace(0, 100, workers),
        NO_LIMIT,
        0,
    )
    together = module._schedule_in_bulk(rest, shape, log_mean, spread, count, 5.0, NO_LIMITS).max(1)
    one_by_one = module._schedule_one_by_one(rest, shape, log_mean, spread, count, 5.0, NO_LIMITS).max(1)
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(together, share) == pytest.approx(np.quantile(one_by_one, share), rel=0.1)


def end_and_half(rng: random.Random, workers: int) -> tuple[float, Eta, float]:
    """120 shuffled tasks, half done: the time left, its estimate, and the naive one (as long again)."""
    middles = [rng.gauss(4, 0.7) for _ in range(8)]
    queue = [(f"d{at % 8}", rng.lognormvariate(middles[at % 8], 0.6)) for at in range(120)]
    rng.shuffle(queue)
    free = [(0.0, f"w{at}") for at in range(workers)]
    tasks = []
    for domain, seconds in queue:
        start, worker = heapq.heappop(free)
        tasks.append((start + seconds, start, domain, worker))
        heapq.heappush(free, (start + seconds, worker))
    tasks.sort()
    now, end = tasks[59][0], tasks[-1][0]
    ended = [FinishedAttempt(domain, end - start, end, worker) for end, start, domain, worker in tasks[:60]]
    running = [RunningAttempt(domain, now - start, worker) for _, start, domain, worker in tasks[60:] if start <= now]
    later = [domain for _, start, domain, _ in tasks[60:] if start > now]
    answer = known(estimate(now, ended, running, {domain: later.count(domain) for domain in later}))
    return end - now, answer, now


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_bounds_cover_as_often_as_stated_and_the_median_beats_the_naive_estimate(workers: int) -> None:
    rng = random.Random(workers)
    runs = [end_and_half(rng, workers) for _ in range(200)]
    covered = fmean(answer.p10 <= left <= answer.p90 for left, answer, _ in runs)
    assert 0.7 < covered < 0.9  # 200 draws: three standard errors are 8 points
    error = median(abs(answer.p50 / left - 1) for left, answer, _ in runs)
    naive = median(abs(guess / left - 1) for left, _, guess in runs)
    assert error < naive
