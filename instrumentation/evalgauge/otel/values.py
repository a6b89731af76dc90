"""Values of events as attributes of OpenTelemetry: numbers and text, everything else left out."""

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
        *("duration_seconds", "env_seconds", "think_seconds"),
        *(f"{kind}_tokens" for kind in TOKEN_KINDS),
    )
)
"""Fields of events that are numbers."""


def taken(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event as whoever reads the log takes them: what is no number, no text, is not given.

    Of an action only its type is sent. Half a surrogate pair in one attribute would cost the whole batch.
    """
    return {name: _taken(name, value) for name, value in fields.items()}


def _taken(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in _NUMBERS:
        number = value if isinstance(value, int) else float(value) if isinstance(value, Real) else math.nan
        low = -LARGEST if name == "score" else 0  # a count never goes down
        return number if low <= number < LARGEST else None  # false for NaN too
    if name == "tasks":
        return [taken(task) for task in value]
    if name == "action":
        return {"type": _taken("type", value["type"])} if isinstance(value, Mapping) and "type" in value else None
    if isinstance(value, float | Mapping | list | tuple | set | frozenset):
        return None
    text = text_of(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
