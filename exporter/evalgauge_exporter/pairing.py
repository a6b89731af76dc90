"""Two runs' attempts, brought together task by task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeGuard

from evalgauge_exporter.sequential import Throw

LARGEST = 1e12
"""Steps, seconds or US dollars above which a value is taken for damage and left out."""


class Trial(NamedTuple):
    """One measured attempt at a task: it ended in success, failure or an error of the agent."""

    task_id: str
    attempt: int
    domain: str
    success: bool
    steps: float | None
    duration_seconds: float | None
    cost_usd: float | None
    finished_at: float
    """Unix seconds."""


Tasks = Mapping[str, list[Trial]]
"""The attempts at each task, in their order, at least one each."""


class Pair(NamedTuple):
    """One task, measured in both runs."""

    domain: str
    a: list[Trial]
    b: list[Trial]


class OpenPair(NamedTuple):
    """One task that both runs have begun and not both have ended."""

    domain: str | None
    """``None`` where neither run has measured it."""
    throw: Throw


def by_task(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Each task's attempts in their order; of an attempt that is there twice, the one that ended last."""
    tasks: defaultdict[str, dict[int, Trial]] = defaultdict(dict)
    for trial in trials:
        attempts = tasks[trial.task_id]
        before = attempts.get(trial.attempt)
        if before is None or _ended(before) <= _ended(trial):
            attempts[trial.attempt] = trial
    return {task: [attempts[number] for number in sorted(attempts)] for task, attempts in tasks.items()}


def measured_pairs(tasks_a: Tasks, tasks_b: Tasks) -> list[Pair]:
    """The tasks that both runs have measured, by id."""
    shared = sorted(tasks_a.keys() & tasks_b.keys())
    return [Pair(_domain([*tasks_a[task], *tasks_b[task]]), tasks_a[task], tasks_b[task]) for task in shared]


def open_pairs(
    tasks_a: Tasks, tasks_b: Tasks, running_a: Mapping[str, float], running_b: Mapping[str, float]
) -> list[OpenPair]:
    """The tasks that both runs have begun and not both have measured, by id; ``running``: when each began, Unix s."""
    found = []
    for task in sorted(running_a.keys() | running_b.keys()):
        a, b = tasks_a.get(task), tasks_b.get(task)
        if a and b:
            continue  # a repeat runs
        begun_a = _began(a[0]) if a else running_a.get(task)
        begun_b = _began(b[0]) if b else running_b.get(task)
        if begun_a is None or begun_b is None:
            continue  # one run has not begun it
        # a start that is no number comes first, where it speaks against an alarm the longest
        started = max((begun for begun in (begun_a, begun_b) if math.isfinite(begun)), default=-math.inf)
        domain = _domain(a or b or []) if a or b else None
        found.append(OpenPair(domain, Throw(started, task, a[0].success if a else None, b[0].success if b else None)))
    return found


def throw(pair: Pair) -> Throw:
    """The pair's first attempts, as they count for the anytime-valid test."""
    a, b = pair.a[0], pair.b[0]
    return Throw(max(_began(a), _began(b)), a.task_id, a.success, b.success)


def known(value: float | None) -> TypeGuard[float]:
    """False for what is not there, below 0 (a clock that jumped back) or beyond all measure."""
    return value is not None and 0 <= value <= LARGEST


def _ended(trial: Trial) -> float:
    return trial.finished_at if math.isfinite(trial.finished_at) else math.inf


def _began(trial: Trial) -> float:
    return _ended(trial) - (trial.duration_seconds if known(trial.duration_seconds) else 0.0)


def _domain(trials: Iterable[Trial]) -> str:
    """The task's domain; where runs disagree, the one that is first by name, so that it is no matter which is A."""
    return min((trial.domain for trial in trials if trial.domain), default="")
