"""Rates over tasks, scores, pass@k, and what is known of a run that is running."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from evalgauge.events import Event, decode
from evalgauge_exporter.analysis.comparison import pass_at_k, pass_hat_k
from evalgauge_exporter.analysis.comparison.censored import Censored, estimate_censored
from evalgauge_exporter.analysis.comparison.repeats import pass_all, pass_any
from evalgauge_exporter.analysis.comparison.tests import clustered_wilson, wilson
from evalgauge_exporter.analysis.rates import domain_results, pass_ratios, run_results, success_rate_reason
from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.analysis.trials import measured_trials
from evalgauge_exporter.state.run import RunState, fold

STALL = 600.0
_seq = itertools.count()
Outcomes = dict[str, list[tuple[str, float | None]]]


def event(kind: str, ts: float, **fields: Any) -> Event:
    return decode({"v": 1, "seq": next(_seq), "ts": ts, "type": kind, **fields}, "w")


def run_of(tasks: Outcomes, *, attempts: int = 1, finished: bool = True, domain: str = "d") -> RunState:
    """A run with these outcomes and scores of each task's attempts."""
    events = [event("run_started", 0, tasks=[{"task_id": t, "domain": domain} for t in tasks], attempts=attempts)]
    for at, (task, outcomes) in enumerate(tasks.items()):
        for number, (outcome, score) in enumerate(outcomes, 1):
            fields = {"task_id": task, "attempt": number, "outcome": outcome, "score": score, "duration_seconds": 5.0}
            events.append(event("task_finished", 10.0 + at, **fields))
    if finished:
        events.append(event("run_finished", 1000.0))
    return fold("r", "runlog", events)


def test_with_one_attempt_a_task_the_rate_is_that_of_the_attempts() -> None:
    tasks: Outcomes = {f"t{n}": [("success" if n < 7 else "failure", None)] for n in range(20)}
    run = run_of(tasks | {"x": [("interrupted", None)]})
    found = run_results(run, 2000.0, STALL)
    assert found.success_rate is not None
    assert found.success_rate.value == 7 / 20
    assert found.success_rate.interval == wilson(7, 20)
    assert found.success_rate_all == 7 / 21
    assert (found.successes, found.measured, found.finished) == (7, 20, 21)


def test_a_task_counts_the_same_however_often_it_was_attempted() -> None:
    run = run_of({"a": [("success", None)], "b": [("failure", None)] * 3})
    found = run_results(run, 2000.0, STALL)
    assert found.success_rate is not None
    assert found.success_rate.value == 0.5
    assert found.success_rate_all == 0.5
    assert found.success_rate.interval == clustered_wilson([1.0, 0.0], 4)


def test_attempts_that_died_with_their_process_are_finished_for_the_second_rate_alone() -> None:
    events = [
        event("run_started", 0, tasks=["a", "b"], attempts=2),
        event("task_finished", 1, task_id="a", attempt=1, outcome="success"),
        event("task_started", 2, task_id="a", attempt=2),
        event("task_started", 2, task_id="b", attempt=1),
    ]
    run = fold("r", "runlog", events)
    running = run_results(run, 10.0, STALL)
    assert (running.success_rate_all, running.finished) == (1.0, 1)
    stalled = run_results(run, 5000.0, STALL)
    assert (stalled.success_rate_all, stalled.finished) == (0.25, 3)
    assert summarize(run, 5000.0, STALL).finished_tasks == 1


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(
            st.tuples(
                st.sampled_from(["success", "failure", "agent_error", "interrupted"]),
                st.none() | st.floats(0, 1).map(lambda x: round(x, 6)),
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
    )
)
def test_results_are_those_of_the_single_attempts(tasks: Outcomes) -> None:
    run = run_of(tasks, attempts=4)
    found = run_results(run, 2000.0, STALL)
    shares, means = [], []
    for outcomes in tasks.values():
        measured = [(outcome == "success", score) for outcome, score in outcomes if outcome != "interrupted"]
        if measured:
            shares.append(sum(success for success, _ in measured) / len(measured))
        if scores := [score for _, score in measured if score is not None]:
            means.append(sum(scores) / len(scores))
    assert (found.success_rate is None) == (not shares)
    if found.success_rate is not None:
        assert found.success_rate.value == pytest.approx(sum(shares) / len(shares))
    assert (found.score is None) == (not means)
    if found.score is not None:
        assert found.score.value == pytest.approx(sum(means) / len(means), abs=1e-8)
        if len(means) > 1:
            half = student.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / math.sqrt(len(means))
            assert found.score.interval == pytest.approx((np.mean(means) - half, np.mean(means) + half), abs=1e-6)
    (domain,) = domain_results(run, 2000.0, STALL).values()
    assert domain == found
    for ratio in pass_ratios(run):
        trials = measured_trials(run)
        assert ratio.any.value == pytest.approx(pass_at_k(trials, ratio.k))
        assert ratio.all.value == pytest.approx(pass_hat_k(trials, ratio.k))


def test_scores_of_another_scale_have_a_mean_and_no_success_rate() -> None:
    run = run_of(
        {f"t{n}": [("success" if score >= 1 else "failure", score)] for n, score in enumerate([0.0, 3.0, 10.0])}
    )
    found = run_results(run, 2000.0, STALL)
    assert found.success_rate is None
    assert found.score is not None
    assert found.score.value == pytest.approx(13 / 3)
    reason = success_rate_reason(run)
    assert reason is not None
    assert "10" in reason
    # outcomes that are more than "a score of at least 1" are believed
    judged = run_of({"a": [("success", 9.0)], "b": [("failure", 4.0)]})
    assert success_rate_reason(judged) is None
    assert success_rate_reason(run_of({"a": [("failure", -1.0)], "b": [("success", 1.0)]})) is None


@pytest.mark.parametrize(
    ("scores", "outcome_from_score", "reason"),
    [
        ([0.0, 1.0, 0.4], True, None),
        ([100.0, 0.0], None, "scores reach 100"),
        ([100.0, 0.0], True, "scores reach 100"),
        ([100.0, 0.0], False, None),
        ([-1.0, 1.0], True, "scores go down to -1"),
        ([-1.0, 1.0], False, None),
        ([-3.0, -0.5], None, "scores go down to -3"),
    ],
)
def test_outcomes_that_are_stated_are_believed_on_any_scale(
    scores: list[float], outcome_from_score: bool | None, reason: str | None
) -> None:
    ends = [
        event(
            "task_finished",
            10.0 + number,
            task_id=f"t{number}",
            outcome="success" if score >= 1 else "failure",
            score=score,
            outcome_from_score=outcome_from_score,
        )
        for number, score in enumerate(scores)
    ]
    found = success_rate_reason(fold("r", "runlog", ends))
    assert (found and found.partition(":")[0]) == reason


def test_pass_at_k_is_the_share_of_all_choices_of_k_attempts() -> None:
    for attempts in range(1, 7):
        for successes in range(attempts + 1):
            outcomes = [True] * successes + [False] * (attempts - successes)
            for k in range(1, attempts + 1):
                choices = list(itertools.combinations(outcomes, k))
                assert pass_any(successes, attempts, k) == pytest.approx(sum(map(any, choices)) / len(choices))
                assert pass_all(successes, attempts, k) == pytest.approx(sum(map(all, choices)) / len(choices))
    with pytest.raises(ValueError, match="k is 3"):
        pass_any(1, 2, 3)
    with pytest.raises(ValueError, match="at least 1"):
        pass_at_k([], 0)


def censored_run(rng: random.Random, workers: int, slow: float, cut: float) -> tuple[Censored, float]:
    """A run of 154 tasks, 45 % of them successes, cut when a share of them has finished; and its final rate."""
    success = [rng.random() < 0.45 for _ in range(154)]
    free, tasks = [0.0] * workers, []
    for won in success:
        free.sort()
        start = free.pop(0)
        end = start + rng.lognormvariate(0, 0.5) * (1.0 if won else slow)
        free.append(end)
        tasks.append((start, end, won))
    now = sorted(end for _, end, _ in tasks)[math.ceil(cut * 154) - 1]
    finished = [(end - start, won) for start, end, won in tasks if end <= now]
    elapsed = [now - start for start, end, _ in tasks if start <= now < end]
    pending = sum(start > now for start, _, _ in tasks)
    values = [float(won) for _, won in finished]
    nothing, everything = [0.0] * len(elapsed), [1.0] * len(elapsed)
    censored = Censored(values, [s for s, _ in finished], elapsed, nothing, everything, pending, (0.0, 1.0))
    return censored, sum(success) / 154


@pytest.mark.parametrize("slow", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("workers", [4, 64])
def test_intervals_hold_though_short_tasks_end_first(workers: int, slow: float) -> None:
    rng = random.Random(f"{workers} {slow}")
    truth = final = naive = 0
    for _ in range(120):
        tasks, last = censored_run(rng, workers, slow, 0.5)
        found = estimate_censored(tasks)
        assert found is not None
        truth += found.interval.low <= 0.45 <= found.interval.high
        final += found.final.low - 1e-9 <= last <= found.final.high + 1e-9
        interval = wilson(int(sum(tasks.values)), len(tasks.values))
        assert interval is not None
        naive += interval.low <= 0.45 <= interval.high
    # 120 runs: three standard errors of 5 % are 6 points
    assert truth >= 120 * 0.89
    assert final >= 120 * 0.87
    if workers == 64 and slow != 1.0:
        assert naive < 60


def test_nothing_is_left_to_estimate_once_all_are_finished() -> None:
    tasks = Censored([1.0] * 5 + [0.0] * 5, [1.0] * 10, [], [], [], 0, (0.0, 1.0))
    found = estimate_censored(tasks)
    assert found is not None
    assert found.final == pytest.approx((0.5, 0.5))
    assert found.interval.low < 0.3 < 0.7 < found.interval.high
    assert estimate_censored(Censored([], [], [1.0], [0.0], [1.0], 3, (0.0, 1.0))) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.floats(0, 1e6)), min_size=1, max_size=80),
    st.lists(st.floats(0, 1e7), max_size=80),
    st.integers(0, 200),
    st.floats(1, 5),
)
def test_any_running_run_has_an_estimate_within_its_scale(
    finished: list[tuple[float, float]], elapsed: list[float], pending: int, effect: float
) -> None:
    low, high = [-1.0] * len(elapsed), [1.0] * len(elapsed)
    tasks = Censored(
        [v for v, _ in finished], [s for _, s in finished], elapsed, low, high, pending, (-1.0, 1.0), effect
    )
    found = estimate_censored(tasks)
    assert found is not None
    assert -1 <= found.interval.low <= found.mean <= found.interval.high <= 1
    assert -1 <= found.final.low <= found.final.high <= 1
    assert found == estimate_censored(tasks)


def test_a_running_run_is_not_fooled_by_slow_failures() -> None:
    events = [event("run_started", 0, tasks=[{"task_id": f"t{n}", "domain": "d"} for n in range(40)])]
    events += [event("task_started", 1, task_id=f"t{n}", worker_id=f"w{n}") for n in range(40)]
    events += [
        event("task_finished", 301, task_id=f"t{n}", outcome="success", duration_seconds=300.0) for n in range(20)
    ]
    run = fold("r", "runlog", events)
    found = summarize(run, 361.0, STALL)
    assert (found.success_rate, found.provisional) == (1.0, True)
    assert found.success_rate_low is not None
    assert found.success_rate_high is not None
    assert found.success_rate_low <= 0.5 < 0.9 < found.success_rate_high
    assert found.final_rate_low is not None
    assert found.final_rate_low <= 0.5
    assert found.success_rate_estimate == pytest.approx(0.75, abs=0.05)


def test_a_task_that_is_retried_counts_as_one_while_the_run_is_running() -> None:
    tasks = [{"task_id": f"t{n}", "domain": "d"} for n in range(44)]
    events = [event("run_started", 0, tasks=tasks)]
    for number in range(40):
        for attempt in (1,) if number % 2 else (1, 2, 3):
            about = {"task_id": f"t{number}", "attempt": attempt, "worker_id": "w"}
            events.append(event("task_started", 10.0 * number, **about))
            outcome = "success" if number % 2 else "failure"
            events.append(event("task_finished", 10.0 * number + 5, **about, outcome=outcome, duration_seconds=5.0))
    run = fold("r", "runlog", events)
    found = summarize(run, 401.0, STALL)
    assert found.success_rate == 0.5
    assert found.success_rate_estimate == pytest.approx(0.5, abs=0.02)
    assert found.final_rate_low is not None
    assert found.final_rate_high is not None
    assert 0.4 < found.final_rate_low < 0.5 < found.final_rate_high < 0.6
    (domain,) = domain_results(run, 401.0, STALL).values()
    assert domain.expected_rate == pytest.approx(0.5, abs=0.02)
