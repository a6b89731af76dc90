"""What the hook and the exporter's source read alike of Inspect: scores and names."""

from __future__ import annotations

from typing import Final

from evalgauge.values import parse_float

BATCHED = frozenset({"openai", "anthropic", "google", "together"})
"""Providers whose batch APIs Inspect uses; its option ``batch`` changes nothing with others."""
SUBMIT_TOOLS: Final = frozenset({"submit", "submit_answer"})
"""Tools with which an agent ends its task."""
SCORING_SPANS: Final = frozenset({"scorer", "scorers"})
"""Types of spans in which a sample is scored; model calls in them are no steps of the agent."""
DOMAIN_KEYS: Final = ("domain", "category", "app")
"""Keys of a sample's metadata that may hold its domain, in order."""
_LETTERS: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_WORDS: Final = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def parse_score(value: object) -> float | None:
    """Parse a score's value as Inspect's ``value_to_float`` does.

    Args:
        value: A number, a grade (``C`` is 1, ``P`` 0.5, ``I`` and ``N`` 0), yes or no, or a list or mapping whose
            first value counts.

    Returns:
        The score; None where it is no number.
    """
    if isinstance(value, str):
        if (graded := _LETTERS.get(value, _WORDS.get(value.lower()))) is not None:
            return graded
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, list | tuple) and value:
        return parse_score(value[0])
    if isinstance(value, dict) and value:
        return parse_score(next(iter(value.values())))
    return float(value) if isinstance(value, bool) else parse_float(value)
