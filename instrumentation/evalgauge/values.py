"""Parsers of values that others wrote: the fields of run logs, of other tools' files and of SDK objects.

None of them raises: a value that is missing, of the wrong type or out of range is None.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

ID_LENGTH: Final = 512
"""Characters; longer ids are cut: they become labels and file names."""

TEXT_LENGTH: Final = 4000
"""Characters; longer instructions, errors and reasons are cut."""

LATEST: Final = 4.1e9
"""Unix seconds, late in 2099; a later time is an error (milliseconds, perhaps) and would keep a run running forever."""

LARGEST: Final = 1e15
"""A larger number of seconds or dollars, or a larger score, is an error and counts as not reported."""

LARGEST_COUNT: Final = 1 << 62
"""A count at or above this is an error and counts as not reported."""

_MILLISECONDS_ABOVE = 1e11  # as seconds this is in the year 5138, as milliseconds in 1973
_COMPACT_TIME = re.compile(r"(\d{8})@(\d{6})(\d{0,6})\Z", re.ASCII)


def parse_id(value: object, *, accept_unknown: bool = False) -> str | None:
    """Parse an id or a name.

    Args:
        value: A text, or an integer, which is written in decimal digits.
        accept_unknown: Whether the text ``unknown``, a placeholder in many formats, is an id.

    Returns:
        The id, at most ``ID_LENGTH`` characters; None for anything else and for a text that names nothing.
    """
    if isinstance(value, str):
        if not value or (not accept_unknown and value.lower() == "unknown"):
            return None
        return sanitize_id(value)
    return str(value) if type(value) is int and value.bit_length() <= 1024 else None


def sanitize_id(name: str) -> str:
    """Turn a name into an id: at most ``ID_LENGTH`` characters, no lone surrogates (they occur in file names only)."""
    if len(name) > ID_LENGTH:
        name = name[:ID_LENGTH]
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


def parse_text(value: object, length: int = TEXT_LENGTH) -> str | None:
    """Parse a text for people; it is cut to ``length`` characters, an empty one is None.

    Args:
        value: The value; what is no text is None.
        length: Characters that are kept.
    """
    return value[:length] if isinstance(value, str) and value else None


def parse_float(value: object) -> float | None:
    """Parse a number: finite, smaller than ``LARGEST`` either way, and no bool."""
    if type(value) is float:  # most are
        return value if abs(value) < LARGEST else None  # false for NaN too
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None


def parse_non_negative(value: object) -> float | None:
    """Parse a number as :func:`parse_float` does; a negative one is None."""
    number = parse_float(value)
    return number if number is not None and number >= 0 else None


def parse_count(value: object) -> int | None:
    """Parse a whole number from 0 up to ``LARGEST_COUNT``; JSON may write it as a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < LARGEST_COUNT else None


def parse_timestamp(value: object) -> float | None:
    """Parse a time.

    Args:
        value: Seconds or milliseconds since 1970, a datetime, ISO 8601, or ``YYYYmmdd@HHMMSS`` with or without
            microseconds. A time without a zone is local.

    Returns:
        Unix seconds; None for what is no time, for numbers up to 0 and for times after ``LATEST``.
    """
    number = None if isinstance(value, str) else parse_float(value)
    if number is not None:
        number = number / 1000 if number > _MILLISECONDS_ABOVE else number
        return number if 0 < number < LATEST else None
    try:
        if isinstance(value, datetime):
            seconds = value.timestamp()
        elif not isinstance(value, str):
            return None
        elif (compact := _COMPACT_TIME.match(value)) is not None:
            day, clock, micro = compact.groups()
            seconds = datetime.fromisoformat(f"{day}T{clock}.{micro:0<6}").timestamp()
        else:
            seconds = datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return seconds if seconds < LATEST else None
