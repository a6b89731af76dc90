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


@pytest.mark.parametrize("speed", [0.3, 1.0, 5.0])
def test_a_run_of_another_speed_agrees(speed: float) -> None:
    agreement = Agreement(TaskGroups(SECONDS.items()))
    for at, (task_id, seconds) in enumerate(SECONDS.items()):
        agreement.add(task_id, seconds * speed * (1.5 if at % 2 else 0.7))
    assert agreement


def test_a_run_whose_long_tasks_are_others_does_not_agree() -> None:
    agreement = Agreement(TaskGroups(SECONDS.items()))
    for at, task_id in enumerate(SECONDS):
        agreement.add(task_id, 1000.0 / 1.2**at)
        agreement.add(f"other {at}", 60.0)
        assert bool(agreement) is (at < 4)  # so few say nothing


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
