from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.state.intervals import Interval, difference, intersection, share_seconds, total_seconds, union

END = 20
spans = st.lists(st.tuples(st.integers(0, END), st.integers(0, END)), max_size=8)


def moments(intervals: list[Interval]) -> set[int]:
    """The seconds that intervals with whole bounds cover, told one by one."""
    return {second for second in range(END) if any(start <= second < end for start, end in intervals)}


def tidy(intervals: list[Interval]) -> bool:
    """Sorted, none empty, none touching the next."""
    return all(start < end for start, end in intervals) and all(
        one[1] < other[0] for one, other in itertools.pairwise(intervals)
    )


@given(spans)
def test_a_union_covers_each_moment_of_its_parts_once(parts: list[Interval]) -> None:
    joined = union(parts)
    assert moments(joined) == moments(parts)
    assert tidy(joined)
    assert total_seconds(joined) == len(moments(parts))


@given(spans, spans)
def test_an_intersection_covers_what_is_in_both(one: list[Interval], other: list[Interval]) -> None:
    assert moments(intersection(union(one), union(other))) == moments(one) & moments(other)


@given(spans, spans)
def test_a_difference_covers_what_is_in_the_first_alone(one: list[Interval], other: list[Interval]) -> None:
    left = difference(union(one), union(other))
    assert moments(left) == moments(one) - moments(other)
    assert all(start < end for start, end in left)


@given(st.dictionaries(st.sampled_from("abcd"), spans, max_size=4))
def test_shares_divide_each_moment_equally_among_those_who_use_it(users: dict[str, list[Interval]]) -> None:
    tidied = {user: union(parts) for user, parts in users.items()}
    got = share_seconds(tidied)
    for user, parts in tidied.items():
        expected = sum(1 / sum(second in moments(other) for other in tidied.values()) for second in moments(parts))
        assert got[user] == pytest.approx(expected)
    assert sum(got.values()) == pytest.approx(len(moments([part for parts in tidied.values() for part in parts])))
