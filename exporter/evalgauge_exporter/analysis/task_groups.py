"""Groups of tasks that took about as long in an earlier run of the same benchmark, for the estimate of the time left.

An earlier run says more about a task than its domain does. Its tasks are grouped by how long they took there, and the
estimate takes the groups in place of domains: how they differ is known from the earlier run, how fast this run is from
its own tasks. Where this run's durations do not agree with the earlier ones, domains stay what tasks are grouped by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evalgauge_exporter.analysis.eta import LONGEST, DurationStats, FinishedAttempt

_STEP = math.log(1.5)  # from one group to the next, of log durations
_SHORTEST_SHARE = 1 / 50  # of the mean; a shorter attempt was restored from a checkpoint or failed at once
_UNUSUAL_SHARE = 0.1  # of the attempts, the longest: in that mean they count as long as the longest of the others
_STUCK_SHARE = 0.01  # of the tasks, the longest: they were stuck, perhaps, and count so too
_REGRESSION = 0.95  # a task that took long is expected to take this share of its log distance from the mean again
_MIN_PAIRS = 5
_MIN_VARIANCE = 0.25  # share of the earlier run's: tasks that took about as long there say nothing
_ENTER, _LEAVE = 0.3, 0.2  # a run agrees from the one correlation on until it falls to the other


def _longest_but(share: float, values: Sequence[float]) -> float:
    """Return the longest of the values once a share of them, the longest, is left out; 0 without values."""
    longest = sorted(values, reverse=True)
    return longest[min(math.ceil(share * len(longest)), len(longest) - 1)] if longest else 0.0


class TaskGroups:
    """The tasks of an earlier run by how long they took.

    Args:
        durations: Task id and seconds of its finished attempts; of several attempts the log durations are averaged.
    """

    def __init__(self, durations: Iterable[tuple[str, float]]) -> None:
        usable = [(task_id, seconds) for task_id, seconds in durations if 0.0 < seconds <= LONGEST]
        cap = _longest_but(_UNUSUAL_SHARE, [seconds for _, seconds in usable])
        shortest = _SHORTEST_SHARE * sum(min(seconds, cap) for _, seconds in usable) / max(1, len(usable))
        logs: dict[str, list[float]] = {}
        for task_id, seconds in usable:
            if seconds >= shortest:
                logs.setdefault(task_id, []).append(math.log(seconds))
        self._log_seconds = {task_id: sum(found) / len(found) for task_id, found in logs.items()}
        most = _longest_but(_STUCK_SHARE, list(self._log_seconds.values()))
        mean = sum(self._log_seconds.values()) / max(1, len(self._log_seconds))
        for task_id, log_seconds in self._log_seconds.items():
            self._log_seconds[task_id] = mean + _REGRESSION * (min(log_seconds, most) - mean)
        squares = ((log_seconds - mean) ** 2 for log_seconds in self._log_seconds.values())
        self.variance = sum(squares) / max(1, len(self._log_seconds))
        """Of the logs of the seconds that the tasks are expected to take."""
        self.stats = DurationStats.of_whole(
            FinishedAttempt(self.name(task_id, ""), math.exp(log_seconds), 0.0, None)
            for task_id, log_seconds in self._log_seconds.items()
        )
        """What each task is expected to take at the earlier run's speed, by group."""

    def find(self, task_id: str) -> float | None:
        """Return the log of the seconds that a task is expected to take; None where it is not known."""
        return self._log_seconds.get(task_id)

    def name(self, task_id: str, domain: str) -> str:
        """Return the name of a task's group: no domain has such a name. That of an unknown task is its domain."""
        log_seconds = self.find(task_id)
        return domain if log_seconds is None else f"\0{round(log_seconds / _STEP)}"


class Agreement:
    """Whether a run's tasks that take long are those that took long in the earlier run.

    Args:
        groups: The earlier run's.
    """

    def __init__(self, groups: TaskGroups) -> None:
        self.groups = groups
        self._sums = [0.0] * 6
        self._holds = True

    def add(self, task_id: str, seconds: float) -> None:
        """Add a finished attempt; one of a task that the earlier run lacks, or that was restored, says nothing."""
        before = self.groups.find(task_id)
        if before is None or not _SHORTEST_SHARE * math.exp(before) <= seconds <= LONGEST:
            return
        now = math.log(seconds)
        added = (1.0, before, now, before * before, now * now, before * now)
        self._sums = [total + more for total, more in zip(self._sums, added, strict=True)]
        n, x, y, xx, yy, xy = self._sums
        spread = max(0.0, xx - x * x / n)
        if n >= _MIN_PAIRS and spread >= _MIN_VARIANCE * n * self.groups.variance:
            deviations = math.sqrt(spread * max(0.0, yy - y * y / n))
            self._holds = xy - x * y / n > (_LEAVE if self._holds else _ENTER) * deviations

    def __bool__(self) -> bool:
        """Return whether the log durations correlate, or too little is known to say that they do not."""
        return self._holds
