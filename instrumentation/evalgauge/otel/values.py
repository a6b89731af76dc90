"""Conversion of event fields to what OpenTelemetry attributes may hold: numbers and text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from evalgauge.metrics import TOKEN_KINDS
from evalgauge.runlog import text_of
from evalgauge.values import LARGEST

_NUMBERS = frozenset(
    (
        *("attempt", "attempts", "budget_usd", "max_steps", "score", "step_idx", "steps", "total_tasks"),
        *("duration_seconds", "env_seconds", "requests", "think_seconds"),
        *(f"{kind}_tokens" for kind in TOKEN_KINDS),
    )
)
"""The numeric fields of events."""


def sanitize_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event as a reader of the log would decode them; what is invalid becomes None.

    Of an action only the type remains. A lone surrogate in one attribute would make the exporter drop the whole batch.
    """
    return {name: _sanitize(name, value) for name, value in fields.items()}


def _sanitize(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in _NUMBERS:
        number = value if isinstance(value, int) else float(value) if isinstance(value, Real) else math.nan
        low = -LARGEST if name == "score" else 0  # counts are not negative
        return number if low <= number < LARGEST else None  # false for NaN too
    if name == "tasks":
        return [sanitize_fields(task) for task in value]
    if name == "action":
        return {"type": _sanitize("type", value["type"])} if isinstance(value, Mapping) and "type" in value else None
    if isinstance(value, float | Mapping | list | tuple | set | frozenset):
        return None
    text = text_of(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
