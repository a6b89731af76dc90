"""How long tasks took in an earlier run, and whether that says anything about this one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.analysis.task_groups import Agreement, TaskGroups

SECONDS = {f"t{at}": 10.0 * 1.2**at for at in range(20)}


def test_tasks_that_took_about_as_long_are_one_group() -> None:
    groups = TaskGroups([("a", 60.0), ("b", 62.0), ("c", 600.0), ("d", 600.0)])
    assert groups.name("a", "x") == groups.name("b", "y") != groups.name("c", "x")


def test_a_task_that_the_earlier_run_lacks_is_grouped_by_its_domain() -> None:
    assert TaskGroups([("a", 60.0)]).name("new", "office") == "office"
    assert TaskGroups([]).name("new", "office") == "office"


def test_attempts_that_were_restored_or_stuck_do_not_count_as_they_are() -> None:
    usual = [(f"t{at}", 60.0) for at in range(50)]
    groups = TaskGroups([*usual, ("t0", 0.01), ("restored", 0.01), ("stuck", 9000.0)])
    assert groups.name("t0", "x") == groups.name("t1", "x") == groups.name("stuck", "x")
    assert groups.name("restored", "x") == "x"


@pytest.mark.parametrize("impossible", [[1.7e9], [1e308, 1e308], [math.inf, math.nan], [7 * 86400.0]])
def test_durations_that_cannot_be_leave_the_others_as_they_are(impossible: list[float]) -> None:
    usual = [(f"t{at}", 50.0 + at) for at in range(60)]
    groups = TaskGroups([*usual, *((f"odd {at}", seconds) for at, seconds in enumerate(impossible))])
    assert all(groups.find(task_id) is not None for task_id, _ in usual)
    assert groups.stats.longest < 200


def test_most_tasks_may_have_been_restored() -> None:
    groups = TaskGroups([*((f"r{at}", 0.05) for at in range(70)), *((f"t{at}", 60.0) for at in range(30))])
    assert groups.find("r0") is None
    assert groups.find("t0") == pytest.approx(math.log(60.0))


@pytest.mark.parametrize("slow_first", [True, False])
def test_neither_quick_nor_slow_tasks_are_lost(slow_first: bool) -> None:
    slow, quick = [(f"s{at}", 1000.0) for at in range(30)], [(f"q{at}", 15.0) for at in range(70)]
    groups = TaskGroups([*slow, *quick] if slow_first else [*quick, *slow])
    assert {name: totals.count for name, totals in groups.stats.domains.items()} == {
        groups.name("s0", "x"): 30,
        groups.name("q0", "x"): 70,
    }


@pytest.mark.parametrize("speed", [0.3, 1.0, 5.0])
def test_a_run_of_another_speed_agrees(speed: float) -> None:
    agreement = Agreement(TaskGroups(SECONDS.items()))
    for at, (task_id, seconds) in enumerate(SECONDS.items()):
        agreement.add(task_id, seconds * speed * (1.5 if at % 2 else 0.7))
    assert agreement


def test_a_run_whose_long_tasks_are_others_does_not_agree() -> None:
    agreement = Agreement(TaskGroups(SECONDS.items()))
    for number in range(20):
        at = 7 * number % 20
        agreement.add(f"t{at}", 1000.0 / 1.2**at)
        agreement.add(f"other {at}", 60.0)
        assert bool(agreement) is (number < 4)  # so few say nothing


@pytest.mark.parametrize("restored", [[0.05] * 20, [1e-9]])
def test_restored_tasks_do_not_count_in_how_a_run_agrees(restored: list[float]) -> None:
    agreement = Agreement(TaskGroups(SECONDS.items()))
    for task_id, seconds in [*zip(reversed(SECONDS), restored, strict=False), *SECONDS.items()]:
        agreement.add(task_id, seconds)
        assert agreement


def test_tasks_that_took_about_as_long_do_not_tell_whether_a_run_agrees() -> None:
    slow, quick = {f"s{at}": 1000.0 + at for at in range(30)}, {f"q{at}": 15.0 + at / 9 for at in range(70)}
    agreement = Agreement(TaskGroups([*slow.items(), *quick.items()]))
    for task_id, seconds in zip(slow, reversed(slow.values()), strict=True):
        agreement.add(task_id, seconds)
    assert agreement
    for task_id in quick:
        agreement.add(task_id, 2000.0)
    assert not agreement


def test_whether_a_run_agrees_does_not_change_back_and_forth() -> None:
    agreement = Agreement(TaskGroups([("short", 60.0), ("long", 240.0), ("longest", 240.0)]))
    found = []
    for like, unlike in ((5, 0), (0, 3), (0, 2), (3, 0), (3, 0)):  # correlations of 1, 0.25, 0, 0.23 and 0.38
        for short, long in [(60.0, 240.0)] * like + [(240.0, 60.0)] * unlike:
            agreement.add("short", short)
            agreement.add("long", long)
        found.append(bool(agreement))
    assert found == [True, True, False, False, True]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats())), st.lists(st.tuples(st.sampled_from("abcd"), st.floats()))
)
def test_any_durations_have_groups(before: list[tuple[str, float]], now: list[tuple[str, float]]) -> None:
    groups = TaskGroups(before)
    agreement = Agreement(groups)
    for task_id, seconds in now:
        agreement.add(task_id, seconds)
        assert groups.name(task_id, "x")
    assert bool(agreement) in (True, False)
    assert all(math.isfinite(groups.find(task_id) or 0.0) for task_id in "abcd")
