"""Text as the commands print it: percentages, durations, and text of others made safe for a terminal."""

from __future__ import annotations


def escape_control(text: str) -> str:
    """Text of others without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def format_percent(rate: float | None) -> str:
    """A rate as people read it."""
    return "–" if rate is None else f"{rate:.0%}"


def format_seconds(seconds: float) -> str:
    """A duration as people read it: ``1 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
