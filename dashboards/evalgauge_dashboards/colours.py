"""One meaning, one colour: the table from which every dashboard takes its colours and marks.

A dashboard's JSON has one colour for both themes of Grafana, while the live page and the replay have one for each. So
a dashboard uses the mixture of the two that has the same contrast on the light and on the dark panel background.
"""

from __future__ import annotations

from typing import NamedTuple

DARK_PANEL = "#181b1f"
"""Background of a panel in Grafana's dark theme (the light theme's is white)."""


class Meaning(NamedTuple):
    """The colours of a meaning in both themes, and the mark shown beside them."""

    light: str
    dark: str
    mark: str


MEANINGS: dict[str, Meaning] = {
    "success": Meaning("#00795a", "#2cc295", "✓"),
    "failure": Meaning("#c14a00", "#ff8a4c", "✗"),
    "agent_error": Meaning("#a3427c", "#e29bc4", "!"),
    "infrastructure_error": Meaning("#8a6100", "#f0b429", "⚡"),
    "evaluation_error": Meaning("#6b6a00", "#d8d24a", "?"),
    "interrupted": Meaning("#6b7280", "#9aa3af", "‖"),
    "running": Meaning("#0067a3", "#5db8ff", "▶"),
    "pending": Meaning("#9aa3af", "#5b6470", "·"),
    "llm": Meaning("#5b4bb5", "#a99bff", ""),
    "vm": Meaning("#0067a3", "#5db8ff", ""),
    "gpu": Meaning("#00795a", "#2cc295", ""),
}

ALIASES: dict[str, str] = {
    # states of a run
    "completed": "success",
    "aborted": "interrupted",
    "stalled": "failure",
    # states of a worker and of a machine
    "busy": "running",
    "idle": "interrupted",
    "starting": "evaluation_error",
    "stopping": "evaluation_error",
    "deallocating": "evaluation_error",
    "stopped": "interrupted",
    "deallocated": "pending",
    "unknown": "pending",
    "lost": "failure",
    # model calls
    "ok": "success",
    "error": "failure",
    "retry": "infrastructure_error",
    # probes
    "answers": "success",
    "silent": "failure",
    # how much something matters
    "warning": "infrastructure_error",
    "critical": "failure",
}
"""Words that share the colour and mark of another meaning, because they mean the same for something else."""

PLAIN: dict[str, str] = {
    # tokens: fresh input and output stand out, cached ones stand back
    "input": "running",
    "cache_read": "pending",
    "cache_write": "evaluation_error",
    "output": "llm",
    # actions
    "click": "running",
    "type": "llm",
    "key": "agent_error",
    "scroll": "interrupted",
    "drag": "infrastructure_error",
    "wait": "pending",
    "done": "success",
    # whatever is neither good nor bad
    "neutral": "running",
    "limit": "failure",
    "bound": "interrupted",
}
"""Words that only use a colour: kinds that are neither good nor bad and have no mark."""


def linear_channels(colour: str) -> tuple[float, float, float]:
    """Return linear red, green and blue, 0 to 1, of ``#rrggbb`` (IEC 61966-2-1)."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue


def luminance(colour: str) -> float:
    """Return the relative luminance, 0 to 1 (WCAG 2.2)."""
    red, green, blue = linear_channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix_colours(light: str, dark: str) -> str:
    """Mix both colours so that the contrast to white and to `DARK_PANEL` is the same, or as near as possible."""
    best, best_gap = light, float("inf")
    one, two = linear_channels(light), linear_channels(dark)
    for share in range(101):
        mixed = _hex(tuple(a + (b - a) * share / 100 for a, b in zip(one, two, strict=True)))
        gap = abs(contrast(mixed, "#ffffff") - contrast(mixed, DARK_PANEL))
        if gap < best_gap:
            best, best_gap = mixed, gap
    return best


def _hex(linear: tuple[float, ...]) -> str:
    encoded = (v * 12.92 if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear)
    return "#" + "".join(f"{round(v * 255):02x}" for v in encoded)


def colour(meaning: str) -> str:
    """Return the dashboards' colour for an outcome, a state, a cost component or an alias of one.

    Raises:
        KeyError: If the table does not have the word.
    """
    entry = MEANINGS[ALIASES.get(meaning, PLAIN.get(meaning, meaning))]
    return mix_colours(entry.light, entry.dark)


def mark(meaning: str) -> str:
    """Return the mark shown beside a meaning's colour."""
    return "" if meaning in PLAIN else MEANINGS[ALIASES.get(meaning, meaning)].mark


def label(meaning: str) -> str:
    """Return the word with its mark, so that colour is never the only sign: ``✓ success``."""
    return f"{mark(meaning)} {meaning.replace('_', ' ')}".strip()
