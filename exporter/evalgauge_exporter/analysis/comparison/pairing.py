"""The pairing of two runs' attempts by task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeGuard

from evalgauge_exporter.analysis.comparison.sequential import PendingPair

LARGEST = 1e12
"""Steps, seconds or US dollars above which a value is treated as corrupt and left out."""


class Trial(NamedTuple):
    """One measured attempt at a task: its outcome is success, failure or agent_error."""

    task_id: str
    attempt: int
    domain: str
    success: bool
    steps: float | None
    duration_seconds: float | None
    cost_usd: float | None
    finished_at: float
    """Unix seconds."""
    score: float | None = None
    """On the benchmark's own scale."""


Tasks = Mapping[str, list[Trial]]
"""Attempts by task id, in the order of their numbers, at least one each."""


class Pair(NamedTuple):
    """A task that both runs have measured."""

    domain: str
    a: list[Trial]
    b: list[Trial]


class StartedPair(NamedTuple):
    """A task that both runs have started."""

    domain: str | None
    """``None`` where neither run has measured it."""
    outcomes: PendingPair


def group_by_task(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Group attempts by task id, sorted by number; of an attempt that occurs twice, keep the one that ended last."""
    tasks: defaultdict[str, dict[int, Trial]] = defaultdict(dict)
    for trial in trials:
        attempts = tasks[trial.task_id]
        before = attempts.get(trial.attempt)
        if before is None or _end_time(before) <= _end_time(trial):
            attempts[trial.attempt] = trial
    return {task: [attempts[number] for number in sorted(attempts)] for task, attempts in tasks.items()}


def measured_pairs(tasks_a: Tasks, tasks_b: Tasks) -> list[Pair]:
    """Return the tasks that both runs have measured, sorted by id."""
    shared = sorted(tasks_a.keys() & tasks_b.keys())
    return [Pair(_domain([*tasks_a[task], *tasks_b[task]]), tasks_a[task], tasks_b[task]) for task in shared]


def started_pairs(
    tasks_a: Tasks, tasks_b: Tasks, running_a: Mapping[str, float], running_b: Mapping[str, float]
) -> list[StartedPair]:
    """Return the tasks that both runs have started, sorted by id.

    A task counts by the attempt that started first in each run, even where others have ended: of repeats that run in
    parallel the quickest would count otherwise, and failures are often quick.

    Args:
        tasks_a: Measured attempts of run A by task.
        tasks_b: The same of run B.
        running_a: When the first attempt that is still running started, Unix seconds by task.
        running_b: The same of run B.
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
    """Return when the first attempt started and whether it succeeded, ``None`` while it is running.

    At least one of ``trials`` and ``running`` is given.
    """
    first = min(trials, key=lambda trial: (_start_time(trial), trial.attempt), default=None)
    if running is not None and not math.isfinite(running):
        running = -math.inf  # first of all, where it counts against an alarm the longest
    if first is None or (running is not None and running <= _start_time(first)):
        return -math.inf if running is None else running, None
    return _start_time(first), first.success


def is_plausible(value: float | None) -> TypeGuard[float]:
    """Return whether a value is known, not negative (a clock that jumped back) and not absurdly large."""
    return value is not None and 0 <= value <= LARGEST


def _end_time(trial: Trial) -> float:
    return trial.finished_at if math.isfinite(trial.finished_at) else math.inf


def _start_time(trial: Trial) -> float:
    return _end_time(trial) - (trial.duration_seconds if is_plausible(trial.duration_seconds) else 0.0)


def _domain(trials: Iterable[Trial]) -> str:
    """Return the task's domain; where runs disagree, the first by name, so that swapping A and B changes nothing."""
    return min((trial.domain for trial in trials if trial.domain), default="")
