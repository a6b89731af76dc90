"""Curves over the measured attempts of a run, in the order in which they ended, and the means of their steps."""

from __future__ import annotations

from collections.abc import Iterable

from evalgauge.metrics import MEASURED_OUTCOMES
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState


class _Steps:
    """Sum and number of attempts' steps."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = self.total = 0

    def add(self, steps: int) -> None:
        """Add the steps of one attempt."""
        self.count, self.total = self.count + 1, self.total + steps

    @property
    def mean(self) -> float | None:
        """Mean steps of the attempts; ``None`` where there are none."""
        return self.total / self.count if self.count else None


class Curves:
    """The curves of one run, which grow with it: an attempt that ended last costs O(1).

    Attempts whose ends are read in another order, that are repeated or described anew are found by comparing sums with
    those of the state; then the curves are computed again.
    """

    def __init__(self) -> None:
        self.version = -1
        """The version of the run that the curves show."""
        self._reset()

    def _reset(self) -> None:
        self.rates: list[float] = []
        """Success rate after each attempt: the mean over tasks of each task's share of successes."""
        self.mean_steps: list[float | None] = []
        """Mean steps after each attempt; ``None`` until an attempt's steps are known."""
        self.steps_by_domain: dict[str, _Steps] = {}
        self.steps_to_success, self.steps_to_failure, self._steps = _Steps(), _Steps(), _Steps()
        self._by_domain: dict[str, int] = {}
        self._tasks: dict[str, tuple[int, int]] = {}
        """Successes and attempts by task."""
        self._successes = 0
        self._total = 0.0
        """Sum of the tasks' shares of successes."""
        self._last = (0.0, "")
        self._seen: set[tuple[str, int]] = set()
        self._read = 0
        """Entries of the run's log of ends that are in the curves."""

    def update(self, run: RunState) -> None:
        """Add what has changed in the run since the last call. Callers hold the state's lock."""
        if self.version == run.version:
            return
        ends = run.finish_log
        fresh = [attempt for attempt in ends[self._read :] if attempt.measured]
        fresh.sort(key=_order)
        if not (self._extend(fresh) and self._agrees(run)):
            self._reset()
            self._extend(sorted((a for a in run.attempts.values() if a.measured), key=_order))
        self._read, self.version = len(ends), run.version

    def _extend(self, attempts: Iterable[Attempt]) -> bool:
        """Add attempts in their order; return whether each of them is new and comes after those before."""
        for attempt in attempts:
            key, order = (attempt.task_id, attempt.attempt), _order(attempt)
            if key in self._seen or order < self._last:
                return False
            self._seen.add(key)
            self._last = order
            self._add(attempt)
        return True

    def _add(self, attempt: Attempt) -> None:
        successes, attempts = self._tasks.get(attempt.task_id, (0, 0))
        if attempts:
            self._total -= successes / attempts
        is_success = attempt.status == "success"
        successes, attempts = successes + is_success, attempts + 1
        self._tasks[attempt.task_id] = successes, attempts
        self._successes += is_success
        self._total += successes / attempts
        self.rates.append(min(1.0, max(0.0, self._total / len(self._tasks))))
        self._by_domain[attempt.domain] = self._by_domain.get(attempt.domain, 0) + 1
        if (steps := attempt.steps) is not None:
            own = self.steps_to_success if is_success else self.steps_to_failure
            for sums in (own, self._steps, self.steps_by_domain.setdefault(attempt.domain, _Steps())):
                sums.add(steps)
        self.mean_steps.append(self._steps.mean)

    def _agrees(self, run: RunState) -> bool:
        """Return whether the sums over the curves' attempts are those of the run."""
        by_domain: dict[str, int] = {}
        successes = 0
        for (domain, status), count in run.counts.items():
            if status in MEASURED_OUTCOMES and count:
                by_domain[domain] = by_domain.get(domain, 0) + count
                successes += count if status == "success" else 0
        return (
            by_domain == self._by_domain
            and successes == self._successes
            and [self._steps.total, self._steps.count] == run.measured_steps
        )


def _order(attempt: Attempt) -> tuple[float, str]:
    return attempt.finished_at or 0.0, attempt.task_id
