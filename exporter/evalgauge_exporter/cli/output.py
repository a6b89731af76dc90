"""Text as the commands print it: percentages, durations, money, and foreign text made safe for a terminal."""

from __future__ import annotations

import codecs
import io
import logging
import math
import sys
from typing import Any

import click


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


def escape_lines(text: str) -> str:
    """Replace what a terminal would interpret in a text of several lines."""
    return "\n".join(escape_control(line) for line in text.replace("\r\n", "\n").split("\n"))


def format_percent(rate: float | None) -> str:
    """Format a rate (0 to 1) as a percentage; a dash for None."""
    return "–" if rate is None else f"{rate:.0%}"


def format_points(difference: float | None) -> str:
    """Format a difference of rates in percentage points with its sign; a dash for None."""
    return "–" if difference is None else f"{format_signed(difference * 100, 0)} points"


def format_signed(value: float, digits: int) -> str:
    """Format a number with its sign, a zero without one."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def format_usd(usd: float | None, *, incomplete: bool = False) -> str:
    """Format US dollars, less than a cent with two digits that count.

    Args:
        usd: The sum; a dash for None.
        incomplete: The sum lacks unknown costs, which is marked with ≥.
    """
    if usd is None:
        return "–"
    digits = 2 if abs(usd) >= 0.01 or usd == 0 else min(6, 1 - math.floor(math.log10(abs(usd))))
    return f"{'≥ ' if incomplete else ''}${usd:,.{digits}f}"


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds as ``26 s``, ``12 min`` or ``1 h 12 min``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def count_of(count: int, noun: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def parse_share(text: str) -> float:
    """Parse an option's value from 0 to 1, written as a fraction or as a percentage: ``0.7``, ``70%``.

    Raises:
        click.BadParameter: It is neither.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{text!r} is not a share; write it as 0.7 or 70%")
    return share


_PLAIN = {"−": "-", "–": "-", "—": "-", "…": "...", "≥": ">=", "±": "+/-", "→": "->", "×": "x", "·": "-"}
_PLAIN |= {"✓": "ok", "✗": "FAIL", "✅": "[ok]", "❌": "[failed]", "⚠": "[undecided]", "\ufe0f": "", "\ufffd": "?"}


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in plain characters, and anything else as an escape: nothing is lost."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or ("" if c in _PLAIN else ascii(c)[1:-1]) for c in text), error.end


def print_in_any_encoding() -> None:
    """Let standard output and error accept any character, whatever their encoding (a cp1252 console, ``LANG=C``)."""
    codecs.register_error("evalgauge.plain", _replace_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="evalgauge.plain")
