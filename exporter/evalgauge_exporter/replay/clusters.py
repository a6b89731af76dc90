"""Failures that resemble each other: by outcome, error text, loops, the step limit, what the agent did last."""

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
"""What differs between two messages of one error, and the word that stands for it."""


class FailedAttempt(NamedTuple):
    """A finished attempt that did not succeed."""

    row: int
    attempt: Attempt
    status: str
    features: TrajectoryFeatures


class Cluster(NamedTuple):
    """Failures that resemble each other."""

    outcome: str
    kind: str
    """``error``, ``loop``, ``step_limit``, ``said_done``, ``gave_up`` or ``stopped``."""
    label: str
    rows: list[int]
    """Of the task table, in its order."""


def extract_message(text: str) -> str:
    """What a text says, in one line."""
    return _cut(" ".join(_drop_traceback(text).split()))


def normalise(text: str) -> str:
    """The message without what differs from case to case: numbers, ids, paths, addresses, quoted texts."""
    line = _drop_traceback(text)
    for pattern, word in _VARIABLE:
        line = pattern.sub(word, line)
    return _cut(line.strip())


def _drop_traceback(text: str) -> str:
    """The text; of a traceback its last line."""
    text = text.strip()[:2000]
    if "Traceback" not in text:
        return text
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def cluster_failures(cases: Iterable[FailedAttempt]) -> list[Cluster]:
    """The clusters, the largest first. A reason of the evaluator that only one failure has makes none of its own.

    The label of a cluster is what its cases say; where they differ in a number, a name or a path, with that left out.
    """
    cases = list(cases)
    reasons = Counter((case.status, reason) for case in cases if (reason := normalise(case.attempt.reason or "")) != "")

    def shared(case: FailedAttempt) -> bool:
        return reasons[case.status, normalise(case.attempt.reason or "")] > 1

    clusters: dict[tuple[str, str, str], list[FailedAttempt]] = {}
    for case in cases:
        clusters.setdefault((case.status, *_classify(case, shared(case), normalise)), []).append(case)
    found = []
    for (outcome, kind, label), members in clusters.items():
        said = {_classify(case, shared(case), extract_message)[1] for case in members}
        rows = [case.row for case in members]
        found.append(Cluster(outcome, kind, said.pop() if len(said) == 1 else label, rows))
    return sorted(found, key=lambda one: (-len(one.rows), one.outcome, one.label))


def _classify(case: FailedAttempt, shared: bool, render: Callable[[str], str]) -> tuple[str, str]:
    """The kind of a failure and its label; ``shared``: other failures have the evaluator's reason too."""
    attempt, features = case.attempt, case.features
    if attempt.error:
        return "error", render(attempt.error) or "an error without a message"
    if features.loop is not None:
        period = features.actions[features.loop.start : features.loop.start + features.loop.period]
        return "loop", f"went in circles: {_join_actions(period)}, again and again"
    evaluator = f"; the evaluator: {render(attempt.reason)}" if attempt.reason and shared else ""
    if attempt.max_steps and attempt.steps >= attempt.max_steps:
        return "step_limit", f"reached the step limit{evaluator}"
    if features.terminal == "done":
        return "said_done", f"said that it was done, but was not{evaluator}"
    if features.terminal == "error":
        return "gave_up", "gave up"
    if features.actions:
        return "stopped", f"ended after {_join_actions(features.actions[-LAST_ACTIONS:])}{evaluator}"
    return "stopped", f"no step recorded{evaluator}"


def _join_actions(actions: Sequence[str]) -> str:
    return " → ".join(actions)
