"""The parsers of values that others wrote."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.values import (
    ID_LENGTH,
    LARGEST,
    LARGEST_COUNT,
    LATEST,
    TEXT_LENGTH,
    parse_count,
    parse_float,
    parse_id,
    parse_non_negative,
    parse_text,
    parse_timestamp,
    sanitize_id,
)

PARSERS = (parse_id, parse_text, parse_float, parse_non_negative, parse_count, parse_timestamp)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(ANYTHING)
def test_no_parser_raises_and_none_returns_a_number_out_of_range(value: object) -> None:
    for parse in PARSERS:
        found = parse(value)
        if isinstance(found, float):
            assert math.isfinite(found)
            assert abs(found) < LARGEST


def test_an_id_is_a_text_or_an_integer() -> None:
    assert parse_id("task-1") == "task-1"
    assert parse_id(7) == "7"
    for value in ("", "unknown", "Unknown", None, True, 1.5, ["a"], 10**5000):
        assert parse_id(value) is None
    assert parse_id("unknown", accept_unknown=True) == "unknown"


def test_an_id_is_cut_and_holds_no_lone_surrogates() -> None:
    assert parse_id("x" * 1000) == "x" * ID_LENGTH
    assert sanitize_id("caf\udce9") == "caf?"
    assert sanitize_id("café") == "café"


def test_a_text_is_cut_and_an_empty_one_is_none() -> None:
    assert parse_text("a" * 5000) == "a" * TEXT_LENGTH
    assert parse_text("") is None
    assert parse_text(3) is None


@pytest.mark.parametrize("value", [True, "1", math.nan, math.inf, -math.inf, LARGEST, -LARGEST, 10**400, None])
def test_what_is_no_number_is_none(value: object) -> None:
    assert parse_float(value) is None
    assert parse_non_negative(value) is None


def test_a_negative_number_is_a_number_but_no_amount() -> None:
    assert parse_float(-2) == -2.0
    assert parse_non_negative(-2) is None
    assert parse_non_negative(0) == 0.0


def test_a_count_is_whole_and_not_negative() -> None:
    assert parse_count(3) == 3
    assert parse_count(3.0) == 3
    for value in (-1, 2.5, True, "3", math.nan, math.inf, LARGEST_COUNT, None):
        assert parse_count(value) is None


def test_a_time_is_read_in_every_form() -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    seconds = at.timestamp()
    local = at.astimezone().replace(tzinfo=None)
    for value in (
        seconds,
        seconds * 1000,
        at,
        local,
        at.isoformat(),
        f" {at.isoformat()} ",
        local.isoformat(),
        local.strftime("%Y%m%d@%H%M%S"),
    ):
        assert parse_timestamp(value) == seconds
    assert parse_timestamp(local.strftime("%Y%m%d@%H%M%S25")) == pytest.approx(seconds + 0.25)


@pytest.mark.parametrize(
    "value", [0, -5, LATEST, "soon", "20261345@000000", "", None, True, [1], "2999-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert parse_timestamp(value) is None
