"""Clusters of similar failures: by outcome, error message, loop, step limit and last actions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from evalgauge_exporter.replay.features import TrajectoryFeatures
from evalgauge_exporter.state.models import Attempt

LAST_ACTIONS = 3
_LONGEST_LABEL = 160

_VARIABLE = (
    (re.compile(r"https?://\S+"), "(url)"),
    (re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.I), "(id)"),
    (re.compile(r"(?:[A-Za-z]:)?[\\/][\w.$~-]+(?:[\\/][\w.$~-]+)+"), "(path)"),
    (re.compile(r'"[^"]*"|\'[^\']*\'|“[^”]*”|`[^`]*`'), "“…”"),
    (re.compile(r"(?:(?<!\w)-)?\d+(?:[.,:]\d+)*"), "#"),
    (re.compile(r"\s+"), " "),
)
"""What varies between two messages of the same error, and its placeholder."""


class FailedAttempt(NamedTuple):
    """A finished attempt that did not succeed."""

    row: int
    """Position in the task table."""
    attempt: Attempt
    status: str
    features: TrajectoryFeatures


class Cluster(NamedTuple):
    """Failures that are similar."""

    outcome: str
    kind: str
    """``error``, ``loop``, ``step_limit``, ``said_done``, ``gave_up`` or ``stopped``."""
    label: str
    rows: list[int]
    """Positions in the task table, ascending."""


def extract_message(text: str) -> str:
    """Return a text as one line of at most 160 characters; of a traceback its last line."""
    return _cut(" ".join(_drop_traceback(text).split()))


def normalise(text: str) -> str:
    """Return the message with numbers, ids, paths, addresses and quoted texts replaced by placeholders."""
    line = _drop_traceback(text)
    for pattern, word in _VARIABLE:
        line = pattern.sub(word, line)
    return _cut(line.strip())


def _drop_traceback(text: str) -> str:
    """Return the last line of a traceback, any other text unchanged."""
    text = text.strip()[:2000]
    if "Traceback" not in text:
        return text
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def cluster_failures(cases: Iterable[FailedAttempt]) -> list[Cluster]:
    """Group failures into clusters.

    A reason of the evaluator forms a cluster only where at least two failures have it.

    Args:
        cases: The failed attempts.

    Returns:
        The clusters, largest first. A label is the message that all cases share; where they differ in a number, a name
        or a path, with a placeholder for it.
    """
    cases = list(cases)
    reasons = Counter((case.status, normalise(case.attempt.reason or "")) for case in cases)

    def shared(case: FailedAttempt) -> bool:
        reason = normalise(case.attempt.reason or "")  # a number alone explains nothing
        return any(map(str.isalpha, reason)) and reasons[case.status, reason] > 1

    clusters: dict[tuple[str, str, str], list[FailedAttempt]] = {}
    for case in cases:
        clusters.setdefault((case.status, *_classify(case, shared(case), normalise)), []).append(case)
    found = []
    for (outcome, kind, label), members in clusters.items():
        labels = {_classify(case, shared(case), extract_message)[1] for case in members}
        rows = [case.row for case in members]
        found.append(Cluster(outcome, kind, labels.pop() if len(labels) == 1 else label, rows))
    return sorted(found, key=lambda one: (-len(one.rows), one.outcome, one.label))


def _classify(case: FailedAttempt, shared: bool, render: Callable[[str], str]) -> tuple[str, str]:
    """Return the kind of a failure and its label.

    Args:
        case: The failure.
        shared: Whether other failures have the evaluator's reason too.
        render: Turns an error or a reason into one line.
    """
    attempt, features = case.attempt, case.features
    if attempt.error:
        return "error", render(attempt.error) or "an error without a message"
    if features.loop is not None:
        period = features.actions[features.loop.start : features.loop.start + features.loop.period]
        return "loop", f"looped: {_join_actions(period)}, repeated"
    if attempt.reason and shared:  # what the failures share and what tells them apart comes first
        evaluator, ending = f"{render(attempt.reason)} – ", ""
    else:
        evaluator, ending = "", f" after {_join_actions(features.actions[-LAST_ACTIONS:])}"
    if attempt.max_steps and attempt.steps is not None and attempt.steps >= attempt.max_steps:
        return "step_limit", f"{evaluator}reached the step limit"
    if features.terminal == "done":
        return "said_done", f"{evaluator}reported done"
    if features.terminal == "error":
        return "gave_up", "gave up"
    if features.actions:
        return "stopped", f"{evaluator}ended{ending}"
    return "stopped", f"{evaluator}no step recorded"


def _join_actions(actions: Sequence[str]) -> str:
    return " → ".join(actions)
