"""Inspect's grades and names in words of ours: the same while an evaluation runs and when its log is read."""

from __future__ import annotations

from typing import Final

from evalgauge.values import parse_float

SUBMITS: Final = frozenset({"submit", "submit_answer"})
"""Tools with which an agent ends its task."""
SCORING: Final = frozenset({"scorer", "scorers"})
"""Types of spans in which a sample is scored: calls in them are no steps of the agent."""
DOMAINS: Final = ("domain", "category", "app")
"""Where a sample's metadata may name its domain."""
_LETTERS: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_WORDS: Final = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def score_of(value: object) -> float | None:
    """A score as a number, as Inspect makes one of it: ``C`` is 1, ``P`` one half, ``I`` and ``N`` 0; else None."""
    if isinstance(value, str):
        if (graded := _LETTERS.get(value, _WORDS.get(value.lower()))) is not None:
            return graded
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, list | tuple) and value:
        return score_of(value[0])
    if isinstance(value, dict) and value:
        return score_of(next(iter(value.values())))
    return float(value) if isinstance(value, bool) else parse_float(value)
