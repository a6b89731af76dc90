"""Loops, clusters, survival, the mix of actions."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from evalgauge_exporter.replay.clusters import FailedAttempt, cluster_failures, normalise
from evalgauge_exporter.replay.features import Loop, TrajectoryFeatures, action_key, extract_features, find_loop
from evalgauge_exporter.replay.survival import compute_action_mix, estimate_survival
from evalgauge_exporter.state.models import Attempt


@pytest.mark.parametrize(
    ("actions", "loop"),
    [
        ("abc", None),
        ("aab", None),
        ("aaab", Loop(0, 1, 3)),
        ("xababab", Loop(1, 2, 3)),
        ("xabcabcabcy", Loop(1, 3, 3)),
        ("aaabcbcbcbc", Loop(3, 2, 4)),
        ("", None),
    ],
)
def test_a_loop_is_three_rounds_of_the_same(actions: str, loop: Loop | None) -> None:
    assert find_loop(list(actions)) == loop


@given(st.lists(st.sampled_from("ab"), max_size=30))
def test_a_loop_is_really_there(actions: list[str]) -> None:
    loop = find_loop(actions)
    if loop is None:
        assert not any(actions[i : i + 3] == [actions[i]] * 3 for i in range(len(actions) - 2))
    else:
        rounds = actions[loop.start : loop.start + loop.period * loop.rounds]
        assert rounds == rounds[: loop.period] * loop.rounds
        assert loop.rounds >= 3


def test_scrolling_on_is_no_loop() -> None:
    steps = [{"action": {"type": "scroll", "scroll_direction": "down"}, "changed": True}] * 5
    assert extract_features(steps).loop is None
    stuck = [{"action": {"type": "scroll", "scroll_direction": "down"}, "changed": False}] * 5
    assert extract_features(stuck).loop == Loop(0, 1, 5)


def test_clicks_at_nearly_one_place_are_the_same_action() -> None:
    assert action_key({"type": "click", "x": 0.5, "y": 0.5}) == action_key({"type": "click", "x": 0.502, "y": 0.499})
    assert action_key({"type": "click", "x": 0.5, "y": 0.5}) != action_key({"type": "click", "x": 0.6, "y": 0.5})
    assert action_key({"type": "click", "x": 500, "y": 300}) == action_key({"type": "click", "x": 503, "y": 301})


def test_trouble_is_the_first_step_that_shows_it() -> None:
    calm = {"action": {"type": "click"}}
    assert extract_features([calm, {"action": {"type": "type"}}]).first_problem is None
    assert extract_features([calm, {"action": {"type": "ERROR"}}]).first_problem == 1
    assert extract_features([{**calm, "correct": False}, {"action": {"type": "error"}}]).first_problem == 0
    assert extract_features([calm, {"action": {"type": "type"}, "calls": [{"status": "error"}]}]).first_problem == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Timeout after 30.5 s on port 5000", "Timeout after 7 s on port 5001"),
        ("no element 'OK' in window", "no element 'Save as' in window"),
        ("GET http://10.0.0.4:5000/probe failed", "GET https://vm-2/x failed"),
        ("object at 0x7f3a9c failed", "object at 0x11 failed"),
        ("cannot open /tmp/run/a.png", "cannot open /var/lib/b.png"),
        ("Traceback (most recent call last):\n  File x, line 3\nKeyError: 'a'", "Traceback: \n y\nKeyError: 'b'"),
    ],
)
def test_messages_of_one_error_are_normalised_alike(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert normalise(one) != normalise("something else")


def case(row: int, status: str, actions: tuple[str, ...] = ("click", "done"), **fields: object) -> FailedAttempt:
    attempt = Attempt(f"t{row}", 1, "d", None)
    attempt.status = status
    for name, value in fields.items():
        setattr(attempt, name, value)
    loop = fields.get("loop")
    return FailedAttempt(
        row, attempt, status, TrajectoryFeatures(actions, loop if isinstance(loop, Loop) else None, None)
    )


def test_clusters_are_formed_by_the_strongest_feature() -> None:
    cases = [
        case(0, "infrastructure_error", error="no answer from 10.0.0.1"),
        case(1, "infrastructure_error", error="no answer from 10.0.0.2"),
        case(2, "failure"),
        case(3, "failure", ("click", "click"), reported_steps=15, max_steps=15),
        case(4, "failure", ("a", "b", "c", "d")),
        case(5, "agent_error", ("click", "error")),
        case(6, "infrastructure_error", error="no answer from 10.0.0.3"),
    ]
    found = cluster_failures(cases)
    assert found[0].rows == [0, 1, 6]
    assert found[0].label == "no answer from #"
    kinds = {one.kind: one for one in found}
    assert set(kinds) == {"error", "said_done", "step_limit", "stopped", "gave_up"}
    assert kinds["stopped"].label == "ended after b → c → d"
    assert sorted(row for one in found for row in one.rows) == list(range(7))


def test_a_cluster_whose_cases_share_a_message_has_it_as_its_label() -> None:
    cases = [case(n, "agent_error", error="no rule for 'Press OK'\n in 3 s") for n in range(2)]
    assert [one.label for one in cluster_failures(cases)] == ["no rule for 'Press OK' in 3 s"]
    cases.append(case(2, "agent_error", error="no rule for 'Press Cancel' in 4 s"))
    assert [one.label for one in cluster_failures(cases)] == ["no rule for “…” in # s"]


def test_a_shared_reason_separates_failures_from_others() -> None:
    cases = [case(n, "failure", reason=text) for n, text in enumerate(["file 1 missing", "file 2 missing", "odd"])]
    assert [(one.rows, "missing" in one.label) for one in cluster_failures(cases)] == [([0, 1], True), ([2], False)]


def test_survival_is_the_published_curve() -> None:
    # 6-MP group of Freireich et al. 1963, as in Kleinbaum and Klein, "Survival Analysis", table 2.1: weeks in
    # remission of 21 patients, 9 relapses; S(6) = 0.8571, S(7) = 0.8067, S(10) = 0.7529, …, S(23) = 0.4482
    relapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    points = estimate_survival([(week, True) for week in relapsed] + [(week, False) for week in censored])
    curve = {point.step: round(point.surviving, 4) for point in points if point.failed}
    assert curve == {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=60))
def test_survival_is_scipy_s(attempts: list[tuple[int, bool]]) -> None:
    failed = [steps for steps, lost in attempts if lost]
    others = [steps for steps, lost in attempts if not lost]
    theirs = ecdf(CensoredData(uncensored=failed, right=others)).sf
    for point in estimate_survival(attempts):
        assert point.surviving == pytest.approx(float(theirs.evaluate([float(point.step)])[0]), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())))
def test_survival_never_rises_and_counts_everyone(attempts: list[tuple[int, bool]]) -> None:
    points = estimate_survival(attempts)
    assert [point.surviving for point in points] == list(accumulate((p.surviving for p in points), min))
    assert sum(point.failed for point in points) == sum(failed for _, failed in attempts)
    assert not points or points[0].at_risk == len(attempts)


def test_the_mix_adds_up_and_sums_what_is_rare() -> None:
    many = {f"a{n:02}": 100 - n for n in range(20)}
    shares = compute_action_mix([many], [{"a00": 3, "b": 1}])
    assert shares[-1].action == "other"
    assert sum(share.successes or 0 for share in shares) == pytest.approx(1)
    assert sum(share.failures or 0 for share in shares) == pytest.approx(1)
    assert (shares[0].action, shares[0].failures, shares[0].steps) == ("a00", 0.75, 103)
    assert shares[0].successes == pytest.approx(100 / 1810)


def test_the_mix_of_no_failures_is_unknown() -> None:
    assert [share.failures for share in compute_action_mix([{"click": 2}], [])] == [None]
