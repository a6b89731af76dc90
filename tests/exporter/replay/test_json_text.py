"""JSON of the site's parts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.replay.json_text import decode_compact, encode_compact, encode_for_script

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    # of every plane, half a surrogate pair too
    | st.text(st.characters(exclude_categories=())),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=5), each, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_what_was_encoded_is_decoded_as_it_was(value: Any) -> None:
    assert decode_compact(encode_compact(value)) == value
    text = encode_for_script(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert b"<" not in text


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**80), 2**80), max_size=6))
def test_sorted_values_that_are_equal_have_equal_json(value: dict[str, int]) -> None:
    assert encode_compact(value, sort=True) == encode_compact(dict(reversed(value.items())), sort=True)


@pytest.mark.parametrize("other", [1 << 80, "\ud800", 1])
def test_numbers_that_json_does_not_have_are_null(other: object) -> None:
    value = {"a": [math.nan, (math.inf, -math.inf)], "b": other}
    assert decode_compact(encode_compact(value)) == {"a": [None, [None, None]], "b": other}
