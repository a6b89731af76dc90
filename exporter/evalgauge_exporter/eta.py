"""When a run will end: the p10, p50 and p90 of the time left, from what ended, what runs and what is still to come.

Task durations are taken as lognormal round a mean of their own in each domain. The domains' log means are themselves
normal round one middle (a hierarchical normal model; Gelman et al., *Bayesian Data Analysis*, 3rd ed., ch. 5), so that
a domain of few ended tasks leans on the others and one never seen is as uncertain as the others differ. A running task
says that its duration is longer than its elapsed time (a censored observation), which mends the bias of the first
minutes, when only short tasks have ended. The widths within and between domains are integrated over on a grid, so the
bounds hold what is not known about the means as well as the scatter of the tasks.

The remaining time is drawn from that model some hundred times, always with the same random points, so that the same
input gives the same answer. In each draw the workers take the pending tasks as they come free (list scheduling).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

Array = NDArray[np.float64]

UNNAMED = "unknown"
"""The domain of pending tasks that are not named yet."""
ENOUGH = 3
"""So many tasks must have ended before there is an estimate."""

_SHORTEST = 1e-3  # seconds; below it a duration says only "at once"
_LONGEST = 30 * 86400.0  # seconds; a longer duration is a clock that jumped
_DRAWS = 160
_SPREAD, _SPREAD_WEIGHT = 0.6, 4.0  # of log durations within a domain, before any ended; as good as so many tasks
_BETWEEN, _BETWEEN_FACTOR = 0.7, 0.6  # of log means between domains, ten-fold from first to last; its own log spread
_BETWEEN_EARLIER = 0.3  # the same where an earlier run has told the domains apart
_SPREAD_STEPS = np.array([-1.6, -0.8, 0.0, 0.8, 1.6, 2.4])  # grid, in standard errors of the log spread
_TAUS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5])  # grid of the width between domains
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


class Ended(NamedTuple):
    """An attempt that ended, whatever its outcome."""

    domain: str
    duration_seconds: float
    ended_at: float
    worker_id: str | None


class Running(NamedTuple):
    """An attempt that runs now."""

    domain: str
    elapsed_seconds: float
    worker_id: str | None


class Eta(NamedTuple):
    """The bounds of the time left, in seconds from now: finite, not negative, ``p10 <= p50 <= p90``."""

    p10: float
    p50: float
    p90: float


class _Totals:
    """What is kept of a domain's ended attempts: their number, Σ d and Σ d ln d."""

    __slots__ = ("count", "log_weighted", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.log_weighted = 0.0


class History:
    """The ended attempts of a run in a few sums; adding one costs the same however many there are."""

    def __init__(self, ended: Iterable[Ended] = ()) -> None:
        self.count = 0
        self.longest = 0.0
        self.recent: deque[tuple[float, float, str | None]] = deque(maxlen=256)
        """(end, duration, worker) of those that ended last."""
        self.domains: dict[str, _Totals] = {}
        self._gap_seconds = 0.0
        self._gaps = 0
        self._last_end: dict[str | None, float] = {}
        self._last_domain: str | None = None
        self._same_domain = 0
        for task in ended:
            self.add(task)

    def add(self, task: Ended) -> None:
        """Count an attempt in; one with a duration that cannot be (negative, over 30 days, not a number) is left out."""
        seconds = task.duration_seconds
        if not 0.0 <= seconds <= _LONGEST:
            return
        totals = self.domains.setdefault(task.domain, _Totals())
        totals.count += 1
        totals.seconds += seconds
        totals.log_weighted += seconds * math.log(seconds) if seconds > 0 else 0.0
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._same_domain += task.domain == self._last_domain
        self._last_domain = task.domain
        if not math.isfinite(task.ended_at):
            return
        before = self._last_end.get(task.worker_id)
        if before is not None and (gap := task.ended_at - seconds - before) >= 0:
            self._gap_seconds += min(gap, self.longest)  # a run that was paused for a night is not a gap of a night
            self._gaps += 1
        self._last_end[task.worker_id] = task.ended_at
        self.recent.append((task.ended_at, seconds, task.worker_id))

    @property
    def gap(self) -> float:
        """The mean time in seconds between the end of a worker's task and the start of its next; 0 where unknown."""
        return self._gap_seconds / self._gaps if self._gaps else 0.0

    @property
    def idle_limit(self) -> float:
        """So many seconds after its last task a worker may still be about to take the next."""
        if self._gaps:
            return 3 * self.gap
        return sum(totals.seconds for totals in self.domains.values()) / max(1, self.count) / 4

    @property
    def contiguity(self) -> float:
        """From 0, the domains come mixed, to 1, one after the other; 0.5 where only one has been seen."""
        pairs = self.count * (self.count - 1)
        chance = sum(totals.count * (totals.count - 1) for totals in self.domains.values()) / max(1, pairs)
        if chance >= 1 or not pairs:
            return 0.5
        return min(1.0, max(0.0, (self._same_domain / (self.count - 1) - chance) / (1 - chance)))


def estimate(
    now: float,
    ended: Sequence[Ended] | History,
    running: Sequence[Running],
    pending: Mapping[str, int],
    *,
    workers: int | None = None,
    earlier: History | None = None,
) -> Eta | None:
    """The time left, in seconds after ``now`` (Unix seconds).

    ``ended`` is best a :class:`History` that grows with the run. ``pending`` counts the attempts not started yet by
    domain, those not named yet under ``"unknown"``. ``workers`` is the number really at work; where it is not given, a
    worker is at work that runs a task or ended one a moment ago. Of more running tasks than ``workers``, the
    longest-running are taken as lost and to be run again. ``earlier`` is another run of the same benchmark: it tells how
    the domains differ, the speed is taken from this run.

    ``None`` before three tasks with a usable duration ended, and where nothing moves: no worker is given, or nothing
    runs and the last end is further back than twice the longest task.
    """
    history = ended if isinstance(ended, History) else History(ended)
    if history.count < ENOUGH:
        return None
    left = {domain: min(count, 10**9) for domain, count in pending.items() if count > 0}
    if not running and not left:
        return Eta(0.0, 0.0, 0.0)
    going = [task._replace(elapsed_seconds=_clamped(task.elapsed_seconds)) for task in running]
    if not going and workers != 0:
        going = _unseen_running(now, history, left, workers)
    if workers is None:
        workers = len(going) + (_idle_workers(now, history, going) if left else 0)
    if workers <= 0 or not (going or left):
        return None
    if len(going) > workers:
        going.sort(key=lambda task: task.elapsed_seconds)
        for task in going[workers:]:
            left[task.domain] = left.get(task.domain, 0) + 1
        del going[workers:]
    seconds = _remaining(history, going, left, workers, earlier)
    p10, p50, p90 = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Eta(p10, p50, p90)
