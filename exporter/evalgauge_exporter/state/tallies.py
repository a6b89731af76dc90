"""Sums over the tasks of a run, from which rates, pass@k and mean scores are computed without its attempts.

The unit of a rate is the task. So what is kept is how many tasks there are with each number of successful, measured and
finished attempts, and sums of the tasks' mean scores. All are integers: the sums do not depend on the order of events.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import NamedTuple

from evalgauge_exporter.state.models import Attempt

SCORE_UNIT = 1e-9
"""Scores are summed as integer multiples of this."""


class TaskShares(NamedTuple):
    """Number of attempts at one task."""

    successes: int
    measured: int
    finished: int


class ScoreSums(NamedTuple):
    """Sums over tasks of their mean scores."""

    tasks: int
    """Tasks with a score."""
    attempts: int
    """Measured attempts with a score."""
    total: int
    """Sum of the tasks' mean scores, in :data:`SCORE_UNIT`."""
    squares: int
    """Sum of the squares of the tasks' mean scores, in :data:`SCORE_UNIT` squared."""

    def __add__(self, other: object) -> ScoreSums:
        if not isinstance(other, ScoreSums):
            return NotImplemented
        return ScoreSums(
            self.tasks + other.tasks,
            self.attempts + other.attempts,
            self.total + other.total,
            self.squares + other.squares,
        )


NO_SCORES = ScoreSums(0, 0, 0, 0)


class _Task:
    """The finished attempts at one task."""

    __slots__ = ("finished", "measured", "score_sum", "scored", "successes")

    def __init__(self) -> None:
        self.successes = self.measured = self.finished = 0
        self.scored = self.score_sum = 0

    @property
    def mean_score(self) -> int:
        """Mean score, rounded to whole units."""
        return (2 * self.score_sum + self.scored) // (2 * self.scored)


class Tallies:
    """Sums over a run's tasks by domain. Adding or removing an attempt is O(1)."""

    def __init__(self) -> None:
        self.shares: dict[str, Counter[TaskShares]] = {}
        """By domain: number of tasks with each number of attempts; tasks without a finished attempt are not counted."""
        self.scores: dict[str, ScoreSums] = {}
        """By domain, for domains with scores."""
        self.highest_score: float | None = None
        """The highest score of a measured attempt so far."""
        self.lowest_score: float | None = None
        """The lowest one."""
        self.outcome_is_score_of_one = True
        """Whether so far every measured attempt with a score is a success exactly where the score is at least 1, and
        none states that its outcome is more than that."""
        self.has_derived_outcomes = False
        """Whether an attempt states that its outcome follows from its score alone."""
        self._tasks: dict[tuple[str, str], _Task] = {}

    def see_score(self, success: bool, score: float, outcome_from_score: bool | None) -> None:
        """Take note of the score of a measured attempt, for the scale of the run's scores.

        Args:
            success: Whether it is a success.
            score: The score.
            outcome_from_score: Whether that follows from the score alone; ``None`` where it is not known.
        """
        self.highest_score = score if self.highest_score is None else max(self.highest_score, score)
        self.lowest_score = score if self.lowest_score is None else min(self.lowest_score, score)
        self.has_derived_outcomes = self.has_derived_outcomes or outcome_from_score is True
        if outcome_from_score is False or success != (score >= 1):
            self.outcome_is_score_of_one = False

    def count(self, attempt: Attempt, change: int) -> None:
        """Add (1) or remove (-1) a finished attempt."""
        key = (attempt.domain, attempt.task_id)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task()
        if task.finished:
            self._count_task(attempt.domain, task, -1)
        task.finished += change
        if attempt.measured:
            task.measured += change
            task.successes += change * (attempt.status == "success")
            if attempt.score is not None:
                task.scored += change
                task.score_sum += change * round(attempt.score / SCORE_UNIT)
        self._count_task(attempt.domain, task, 1)

    def _count_task(self, domain: str, task: _Task, change: int) -> None:
        if task.finished:
            shares = self.shares.get(domain)
            if shares is None:
                shares = self.shares[domain] = Counter()
            key = TaskShares(task.successes, task.measured, task.finished)
            shares[key] = tasks = shares.get(key, 0) + change
            if not tasks:
                del shares[key]
                if not shares:
                    del self.shares[domain]
        if task.scored:
            mean = task.mean_score
            scored, attempts, total, squares = self.scores.get(domain, NO_SCORES)
            self.scores[domain] = ScoreSums(
                scored + change,
                attempts + change * task.scored,
                total + change * mean,
                squares + change * mean * mean,
            )

    def shares_of(self, domain: str, task_id: str) -> TaskShares:
        """Return the number of finished attempts at a task."""
        task = self._tasks.get((domain, task_id))
        return TaskShares(0, 0, 0) if task is None else TaskShares(task.successes, task.measured, task.finished)

    def without_tasks(self) -> Tallies:
        """Return the sums without the single tasks; nothing can be counted in them."""
        sums = copy.copy(self)
        sums._tasks = {}
        return sums
