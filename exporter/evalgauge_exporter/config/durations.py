"""Durations in Prometheus notation: ``30s``, ``10m``, ``1h30m``, ``7d``."""

from __future__ import annotations

import re

_UNITS = {"y": 31536000.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WHOLE = re.compile(r"(?:\d+(?:y|w|d|h|ms|m|s))+")
_PART = re.compile(r"(\d+)(y|w|d|h|ms|m|s)")


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: ``text`` is not a duration; the message shows the notation.
    """
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write it as 30s, 10m, 1h30m or 7d")
    return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return a duration rounded to whole seconds in the same notation, such as ``1h30m``."""
    rest = round(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
