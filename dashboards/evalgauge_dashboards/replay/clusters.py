"""Failures that resemble each other: by outcome, error text, loops, the step limit, what the agent did last."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from evalgauge_dashboards.replay.traits import Traits
from evalgauge_exporter.records import Attempt

LAST_ACTIONS = 3
_LONGEST_LABEL = 160

_VARIABLE = (
    (re.compile(r"https?://\S+"), "(url)"),
    (re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.I), "(id)"),
    (re.compile(r"(?:[A-Za-z]:)?[\\/][\w.$~-]+(?:[\\/][\w.$~-]+)+"), "(path)"),
    (re.compile(r'"[^"]*"|\'[^\']*\'|“[^”]*”|`[^`]*`'), "“…”"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
    (re.compile(r"\s+"), " "),
)
"""What differs between two messages of one error, and the word that stands for it."""


class Case(NamedTuple):
    """A finished attempt that did not succeed."""

    row: int
    attempt: Attempt
    status: str
    traits: Traits


class Cluster(NamedTuple):
    """Failures that resemble each other."""

    outcome: str
    kind: str
    """``error``, ``loop``, ``step_limit``, ``said_done``, ``gave_up`` or ``stopped``."""
    label: str
    rows: list[int]
    """Of the task table, in its order."""


def normalised(text: str) -> str:
    """The message without what differs from case to case: numbers, ids, paths, addresses, quoted texts."""
    line = text.strip()[:2000]
    line = next((part for part in reversed(line.splitlines()) if part.strip()), "") if "Traceback" in line else line
    for pattern, word in _VARIABLE:
        line = pattern.sub(word, line)
    line = line.strip()
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def cluster(cases: Iterable[Case]) -> list[Cluster]:
    """The clusters, the largest first. A reason of the evaluator that only one failure has makes none of its own."""
    cases = list(cases)
    reasons = Counter(
        (case.status, reason) for case in cases if (reason := normalised(case.attempt.reason or "")) != ""
    )
    clusters: dict[tuple[str, str, str], list[int]] = {}
    for case in cases:
        kind, label = _kind(case)
        reason = normalised(case.attempt.reason or "")
        if kind in ("said_done", "stopped", "step_limit") and reasons[case.status, reason] > 1:
            label = f"{label}; the evaluator: {reason}"
        clusters.setdefault((case.status, kind, label), []).append(case.row)
    found = [Cluster(*key, rows) for key, rows in clusters.items()]
    return sorted(found, key=lambda one: (-len(one.rows), one.outcome, one.label))


def _kind(case: Case) -> tuple[str, str]:
    attempt, traits = case.attempt, case.traits
    if attempt.error:
        return "error", normalised(attempt.error) or "an error without a message"
    if traits.loop is not None:
        period = traits.actions[traits.loop.start : traits.loop.start + traits.loop.period]
        return "loop", f"went in circles: {_arrow(period)}, again and again"
    if attempt.max_steps and attempt.steps >= attempt.max_steps:
        return "step_limit", "reached the step limit"
    if traits.terminal == "done":
        return "said_done", "said that it was done, but was not"
    if traits.terminal == "error":
        return "gave_up", "gave up"
    if traits.actions:
        return "stopped", f"ended after {_arrow(traits.actions[-LAST_ACTIONS:])}"
    return "stopped", "no step recorded"


def _arrow(actions: Sequence[str]) -> str:
    return " → ".join(actions)
