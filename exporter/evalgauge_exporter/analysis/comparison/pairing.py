"""The pairing of two runs' attempts by task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeGuard

from evalgauge_exporter.analysis.comparison.sequential import PendingPair
from evalgauge_exporter.state.models import UNKNOWN

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
    has_rate: bool = True
    """Whether the run has a success rate: none where which of its scores is a success is not known."""


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
    success: PendingPair
    """Which of the two succeeded."""
    score: PendingPair
    """Which of the two has the higher score: both of equal ones."""


class OpenPair(NamedTuple):
    """A task that both runs have started and at least one has not measured."""

    domain: str
    elapsed_seconds: float
    """For which its longer-running task has been running."""
    a: list[Trial]
    b: list[Trial]


class Opened(NamedTuple):
    """The tasks of a running comparison that are in no pair yet."""

    running: list[OpenPair]
    """Started in both runs and running in at least one."""
    waiting: list[list[Trial]]
    """The attempts of one run at tasks that the other has not started."""


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
        first_a, first_b = _first_attempt(a, running_a.get(task)), _first_attempt(b, running_b.get(task))
        domain = _domain([*a, *b]) if a or b else None
        when = max(first_a.started, first_b.started)
        success = PendingPair(when, task, first_a.success, first_b.success)
        found.append(StartedPair(domain, success, _compare_scores(when, task, first_a, first_b)))
    return found


def open_pairs(
    tasks_a: Tasks, tasks_b: Tasks, running_a: Mapping[str, float], running_b: Mapping[str, float], now: float
) -> Opened:
    """Return the tasks that are in no pair yet: started in both runs, or measured in one alone.

    Args:
        tasks_a: Measured attempts of run A by task.
        tasks_b: The same of run B.
        running_a: When the first attempt that is still running started, Unix seconds by task.
        running_b: The same of run B.
        now: The present, Unix seconds.
    """
    found = []
    for task in sorted((tasks_a.keys() | running_a.keys()) & (tasks_b.keys() | running_b.keys())):
        a, b = tasks_a.get(task, []), tasks_b.get(task, [])
        if a and b:
            continue
        elapsed = [now - running[task] for running in (running_a, running_b) if task in running]
        seconds = max([*elapsed, 0.0])
        found.append(OpenPair(_domain([*a, *b]), seconds if math.isfinite(seconds) else 0.0, a, b))
    started_a, started_b = tasks_a.keys() | running_a.keys(), tasks_b.keys() | running_b.keys()
    waiting = [tasks_a[task] for task in sorted(tasks_a.keys() - started_b)]
    if not waiting:  # of two runs one is ahead: only its tasks are still to come in the other
        waiting = [tasks_b[task] for task in sorted(tasks_b.keys() - started_a)]
    return Opened(found, waiting)


def pair_seconds(pair: Pair) -> float:
    """Return the duration of a measured pair in seconds: that of the longer of its two tasks."""
    return max([*_durations(pair.a), *_durations(pair.b), 0.0])


def seconds_of(trials: Sequence[Trial]) -> float:
    """Return the duration of a task in seconds: that of its longest attempt, 0 where none is known."""
    return max([*_durations(trials), 0.0])


def success_share(trials: Sequence[Trial]) -> float | None:
    """Return the share of successes among the attempts at a task; ``None`` without attempts."""
    return sum(trial.success for trial in trials) / len(trials) if trials else None


def mean_score(trials: Iterable[Trial]) -> float | None:
    """Return the mean of the known scores of the attempts at a task; ``None`` where none is known."""
    scores = [trial.score for trial in trials if trial.score is not None and abs(trial.score) <= LARGEST]
    return math.fsum(scores) / len(scores) if scores else None


class _First(NamedTuple):
    """The attempt at a task that started first."""

    started: float
    success: bool | None
    """``None`` while it is running."""
    score: float | None


def _first_attempt(trials: Sequence[Trial], running: float | None) -> _First:
    """Return the attempt that started first; at least one of ``trials`` and ``running`` is given."""
    first = min(trials, key=lambda trial: (_start_time(trial), trial.attempt), default=None)
    if running is not None and not math.isfinite(running):
        running = -math.inf  # first of all, where it counts against an alarm the longest
    if first is None or (running is not None and running <= _start_time(first)):
        return _First(-math.inf if running is None else running, None, None)
    return _First(_start_time(first), first.success, first.score)


def _compare_scores(when: float, task: str, a: _First, b: _First) -> PendingPair:
    """Return a pair in which the run with the higher score counts as the one that succeeded."""
    if a.success is None or b.success is None:
        return PendingPair(when, task, None, None)
    if a.score is None or b.score is None:  # nothing is to be had from this pair
        return PendingPair(when, task, True, True)
    return PendingPair(when, task, a.score >= b.score, b.score >= a.score)


def _durations(trials: Iterable[Trial]) -> list[float]:
    return [trial.duration_seconds for trial in trials if is_plausible(trial.duration_seconds)]


def is_plausible(value: float | None) -> TypeGuard[float]:
    """Return whether a value is known, not negative (a clock that jumped back) and not absurdly large."""
    return value is not None and 0 <= value <= LARGEST


def _end_time(trial: Trial) -> float:
    return trial.finished_at if math.isfinite(trial.finished_at) else math.inf


def _start_time(trial: Trial) -> float:
    return _end_time(trial) - (trial.duration_seconds if is_plausible(trial.duration_seconds) else 0.0)


def _domain(trials: Iterable[Trial]) -> str:
    """Return the task's domain; where runs disagree, the first by name, so that swapping A and B changes nothing."""
    domains = {trial.domain for trial in trials}
    return min(domains - {"", UNKNOWN}, default=min(domains, default=""))
