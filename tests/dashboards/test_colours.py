"""Colours: contrast by the book, and one meaning for each."""

from __future__ import annotations

import pytest

from evalgauge import metrics as m
from evalgauge_dashboards.colours import ALIASES, DARK_PANEL, MEANINGS, PLAIN, colour, contrast, label, mark


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#777777", "#ffffff", 4.48),  # the grey that fails 4.5 : 1 by a hair in WebAIM's contrast article
        ("#767676", "#ffffff", 4.54),  # and the lightest that passes
        ("#ff0000", "#ffffff", 4.0),
    ],
)
def test_contrast_is_the_published_ratio(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


@pytest.mark.parametrize("meaning", [*MEANINGS, *ALIASES, *PLAIN])
def test_a_colour_stands_out_on_both_themes(meaning: str) -> None:
    assert contrast(colour(meaning), "#ffffff") >= 4
    assert contrast(colour(meaning), DARK_PANEL) >= 4


def test_every_word_of_the_catalogue_that_is_drawn_has_a_colour() -> None:
    words = {*m.TASK_STATUSES, *m.RUN_STATES, *m.WORKER_STATES, *m.POWER_STATES}
    words |= {*m.TOKEN_KINDS, *m.REQUEST_STATUSES, *m.COST_COMPONENTS}
    assert all(colour(word).startswith("#") for word in words)


def test_no_two_outcomes_look_or_read_alike() -> None:
    marks = [mark(outcome) for outcome in m.OUTCOMES]
    assert len(set(marks)) == len(marks)
    assert len({colour(outcome) for outcome in m.OUTCOMES}) == len(marks)
    assert label("infrastructure_error") == "⚡ infrastructure error"


def test_a_kind_that_only_borrows_a_colour_has_no_mark() -> None:
    assert label("cache_write") == "cache write"
    assert not set(PLAIN) & set(ALIASES)
