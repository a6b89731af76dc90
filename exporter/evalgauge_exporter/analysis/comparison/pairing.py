"""Two runs' attempts, brought together task by task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeGuard

from evalgauge_exporter.analysis.comparison.sequential import PendingPair

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


class StartedPair(NamedTuple):
    """One task that both runs have begun."""

    domain: str | None
    """``None`` where neither run has measured it."""
    throw: PendingPair


def group_by_task(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Each task's attempts in their order; of an attempt that is there twice, the one that ended last."""
    tasks: defaultdict[str, dict[int, Trial]] = defaultdict(dict)
    for trial in trials:
        attempts = tasks[trial.task_id]
        before = attempts.get(trial.attempt)
        if before is None or _end_time(before) <= _end_time(trial):
            attempts[trial.attempt] = trial
    return {task: [attempts[number] for number in sorted(attempts)] for task, attempts in tasks.items()}


def measured_pairs(tasks_a: Tasks, tasks_b: Tasks) -> list[Pair]:
    """The tasks that both runs have measured, by id."""
    shared = sorted(tasks_a.keys() & tasks_b.keys())
    return [Pair(_domain([*tasks_a[task], *tasks_b[task]]), tasks_a[task], tasks_b[task]) for task in shared]


def started_pairs(
    tasks_a: Tasks, tasks_b: Tasks, running_a: Mapping[str, float], running_b: Mapping[str, float]
) -> list[StartedPair]:
    """The tasks that both runs have begun, by id; ``running``: when the first attempt that still runs began, Unix s.

    A task counts by the attempt that began first in each run, though others have ended: of repeats that run side by
    side the quickest would else count, and failures are often quick.
    """
    found = []
    for task in sorted((tasks_a.keys() | running_a.keys()) & (tasks_b.keys() | running_b.keys())):
        a, b = tasks_a.get(task, []), tasks_b.get(task, [])
        (begun_a, success_a), (begun_b, success_b) = (
            _first_attempt(a, running_a.get(task)),
            _first_attempt(b, running_b.get(task)),
        )
        domain = _domain([*a, *b]) if a or b else None
        found.append(StartedPair(domain, PendingPair(max(begun_a, begun_b), task, success_a, success_b)))
    return found


def _first_attempt(trials: Sequence[Trial], running: float | None) -> tuple[float, bool | None]:
    """When the first attempt began, and whether it succeeded; ``None`` while it runs. One of the two is there."""
    ended = min(trials, key=lambda trial: (_start_time(trial), trial.attempt), default=None)
    if running is not None and not math.isfinite(running):
        running = -math.inf  # first of all, where it speaks against an alarm the longest
    if ended is None or (running is not None and running <= _start_time(ended)):
        return -math.inf if running is None else running, None
    return _start_time(ended), ended.success


def is_plausible(value: float | None) -> TypeGuard[float]:
    """False for what is not there, below 0 (a clock that jumped back) or beyond all measure."""
    return value is not None and 0 <= value <= LARGEST


def _end_time(trial: Trial) -> float:
    return trial.finished_at if math.isfinite(trial.finished_at) else math.inf


def _start_time(trial: Trial) -> float:
    return _end_time(trial) - (trial.duration_seconds if is_plausible(trial.duration_seconds) else 0.0)


def _domain(trials: Iterable[Trial]) -> str:
    """The task's domain; where runs disagree, the one that is first by name, so that it is no matter which is A."""
    return min((trial.domain for trial in trials if trial.domain), default="")
