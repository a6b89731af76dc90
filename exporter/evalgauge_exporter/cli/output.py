"""Text as the commands print it: percentages, durations, counts, and foreign text made safe for a terminal."""

from __future__ import annotations

import logging
from typing import Any


def escape_control(text: str) -> str:
    """Replace the characters of foreign text that a terminal would interpret, such as escape sequences."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


class EscapingFormatter(logging.Formatter):
    """A formatter of log records in which names and texts of files can't forge lines or control the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Format the line of a record."""
        record.message = escape_control(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """Format a traceback, each line of it marked."""
        return "\n".join(f"| {escape_control(line)}" for line in super().formatException(ei).splitlines())


def format_percent(rate: float | None) -> str:
    """Format a rate (0 to 1) as a percentage; a dash for None."""
    return "–" if rate is None else f"{rate:.0%}"


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds as ``26 s``, ``12 min`` or ``1 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def count_of(count: int, noun: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
