"""Estimate of a run's remaining time: p10, p50 and p90 from its finished, running and pending tasks.

Durations are modelled as lognormal around each domain's own mean, and the domains' log means as normal around a common
middle (the hierarchical normal model; Gelman et al., *Bayesian Data Analysis*, 3rd edition, chapter 5). So a domain
with few finished tasks borrows from the others, and one never seen is as uncertain as the others differ. A running task
is a censored observation, longer than its elapsed time, which corrects the bias of the first minutes, when only short
tasks have finished. The spreads within and between domains are integrated out on a grid, so the bounds include the
uncertainty of the means as well as the scatter of the tasks.

What is left of a running task is taken from the finished tasks that took longer, each relative to its domain's mean and
weighted by Kaplan and Meier's estimate, mixed with the model while these are few.

A time limit cuts durations off: nothing is drawn beyond it. It is stated by the runner or the format, else inferred:
the less likely it is, by the lognormal model, that of the tasks with the time for it none took longer than the longest
one, and that as many as did took nearly as long, the more of the draws are cut off there. The means stay what they are.
A running task that has taken far longer than the others explain may be stuck: its rest then has a heavy tail (the
chance to exceed t falls as 1/t), so the range widens instead of promising minutes. Tasks that a resumed runner reports
again from its checkpoint within moments are no evidence of speed and are left out.

The time left is drawn from that model :data:`DRAWS` times, always at the same points, so that the same input gives the
same result. In each draw the workers take the pending tasks as they become free (list scheduling).
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, log_ndtr, ndtr, ndtri

UNNAMED = "unknown"
"""The domain of pending tasks whose names are not known yet."""
MIN_FINISHED = 3
"""Finished tasks needed for an estimate."""
DRAWS = 160
"""Number of draws of the time left."""

_SHORTEST = 1e-3  # seconds; shorter durations are treated as this
_LONGEST = 30 * 86400.0  # seconds; a longer duration is a clock that jumped
_SPREAD, _SPREAD_WEIGHT = 0.6, 4.0  # prior spread of log durations in a domain, and its weight in tasks
_SPREAD_STEPS = np.array([-1.6, -0.8, 0.0, 0.8, 1.6, 2.4])  # grid of that spread, in standard errors of its log
_BETWEENS = 0.08 * 1.5 ** np.arange(8)  # grid of the spread between domains, of their log means
# prior: about tenfold from the quickest domain to the slowest, but in one benchmark of five all alike
_BETWEEN, _BETWEEN_FACTOR, _ALIKE = 0.9, 0.5, 0.2
_BETWEEN_KNOWN = 0.3  # the same where an earlier run has shown how domains differ
_STUCK = 1e-3  # prior chance that a task is stuck
_UNLIMITED = 0.995  # prior chance that there is no limit where none is stated
_OVER_LIMIT, _OVER_SHARE = 1.1, 0.05  # a stated limit that this share of tasks exceeds by this factor is not enforced
_FEW = 24.0  # weight of the model beside finished tasks that took longer than a running one, in tasks
_NEAR = 0.98  # durations from this share of the longest one on are nearly as long
_EXCEEDED = 0.05  # what a running task that has taken longer than any finished one leaves of the odds for a limit
_RESTORED, _RESTORED_FACTOR = 5, 50.0  # as many tasks in a row, each that much shorter than usual, were restored
_ONE_BY_ONE = 40  # up to this number, pending tasks are assigned to the workers one by one
_MOST_WORKERS = 256  # more workers are simulated as this many, with a proportional share of the tasks

Array = NDArray[np.float64]


class FinishedAttempt(NamedTuple):
    """An attempt that finished with any outcome."""

    domain: str
    duration_seconds: float
    ended_at: float
    worker_id: str | None


class RunningAttempt(NamedTuple):
    """An attempt that is running."""

    domain: str
    elapsed_seconds: float
    worker_id: str | None
    limit_seconds: float | None = None
    """The most that it may take in all, where a limit is known."""


class Eta(NamedTuple):
    """Percentiles of the time left, in seconds from now: finite, not negative, ``p10 <= p50 <= p90``."""

    p10: float
    p50: float
    p90: float


class _Totals:
    """Sums over a domain's finished attempts of duration d: their number n, Σ d and Σ d ln d."""

    __slots__ = ("count", "log_weighted", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.log_weighted = 0.0

    def add(self, seconds: float, change: int = 1) -> None:
        """Add (1) or remove (-1) a duration."""
        self.count += change
        self.seconds += change * seconds
        self.log_weighted += change * seconds * math.log(seconds) if seconds > 0 else 0.0


class DurationStats:
    """A run's finished attempts as a few sums; adding one is O(1).

    Args:
        ended: Finished attempts in the order in which they ended.
    """

    def __init__(self, ended: Iterable[FinishedAttempt] = ()) -> None:
        self._forget()
        for task in ended:
            self.add(task)

    def _forget(self) -> None:
        """Begin with no attempts."""
        self.count = 0
        self.seconds = 0.0
        self.longest = 0.0
        self.domains: dict[str, _Totals] = {}
        self._durations: dict[str, array[float]] = {}
        self._starts: dict[str, array[float]] = {}
        self._quick: list[FinishedAttempt] = []
        self._slow: list[FinishedAttempt] = []
        self.recent: deque[tuple[float, float, str | None]] = deque(maxlen=256)
        """(end, duration, worker) of the latest ones."""
        self._gaps = 0
        self._gap_seconds = 0.0
        self._last_end: dict[str | None, float] = {}
        self._last_domain: str | None = None
        self._same_domain = 0

    def add(self, task: FinishedAttempt) -> None:
        """Add an attempt; one with an impossible duration (negative, over 30 days, not a number) is left out."""
        if not 0.0 <= task.duration_seconds <= _LONGEST:
            return
        usual = self.seconds / max(1, self.count)
        if self.count >= MIN_FINISHED and task.duration_seconds * _RESTORED_FACTOR < usual:
            self._quick.append(task)  # restored from a checkpoint if there are more of them in a row
            return
        if len(self._quick) < _RESTORED:
            for quick in self._quick:
                self._add(quick)
        self._quick = []
        if self.count >= _RESTORED and task.duration_seconds > self.longest * _RESTORED_FACTOR:
            self._slow.append(task)  # all before were restored if the next ones take as long
            if len(self._slow) == MIN_FINISHED:
                slow = self._slow
                self._forget()
                for one in slow:
                    self._add(one)
            return
        slow, self._slow = self._slow, []
        for one in (*slow, task):
            self._add(one)

    def _add(self, task: FinishedAttempt) -> None:
        seconds = task.duration_seconds
        self.domains.setdefault(task.domain, _Totals()).add(seconds)
        self._durations.setdefault(task.domain, array("d")).append(seconds)
        start = task.ended_at - seconds
        self._starts.setdefault(task.domain, array("d")).append(start if math.isfinite(start) else -math.inf)
        self.count += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        self._same_domain += task.domain == self._last_domain
        self._last_domain = task.domain
        if not math.isfinite(task.ended_at):
            return
        before = self._last_end.get(task.worker_id)
        if before is not None and (gap := task.ended_at - seconds - before) >= 0:
            self._gap_seconds += min(gap, self.longest)  # a night in which the run was paused is no handoff gap
            self._gaps += 1
        self._last_end[task.worker_id] = task.ended_at
        self.recent.append((task.ended_at, seconds, task.worker_id))

    def share_above(self, seconds: float) -> float:
        """Return the share of the tasks that took longer, 0 to 1."""
        return sum(int(np.sum(np.array(found) > seconds)) for found in self._durations.values()) / max(1, self.count)

    def count_started(self, before: float) -> dict[str, int]:
        """Return by domain how many of the tasks started before a time (Unix seconds)."""
        return {domain: int(np.sum(np.array(found) <= before)) for domain, found in self._starts.items()}

    def count_near_longest(self) -> int:
        """Return how many of the tasks took nearly as long as the longest one, itself included."""
        return sum(int(np.sum(np.array(found) >= _NEAR * self.longest)) for found in self._durations.values())

    def ratios(self, means: Mapping[str, float]) -> Array:
        """Return each task's duration relative to its domain's mean duration."""
        return np.concatenate([np.array(found) / means[domain] for domain, found in self._durations.items()])

    @property
    def handoff_gap(self) -> float:
        """Mean seconds from the end of a worker's task to the start of its next; 0 where unknown."""
        return self._gap_seconds / self._gaps if self._gaps else 0.0

    @property
    def idle_grace(self) -> float:
        """Seconds after its last task during which a worker may still be about to take the next."""
        return 3 * self.handoff_gap if self._gaps else self.seconds / max(1, self.count) / 4

    @property
    def domain_clustering(self) -> float:
        """From 0, domains come mixed, to 1, they come one after the other (by how often neighbours are equal)."""
        pairs = self.count * (self.count - 1)
        alike = sum(totals.count * (totals.count - 1) for totals in self.domains.values())
        if alike == pairs:
            return 1.0
        chance = alike / pairs
        return min(1.0, max(0.0, (self._same_domain / (self.count - 1) - chance) / (1 - chance)))


def estimate(
    now: float,
    ended: Sequence[FinishedAttempt] | DurationStats,
    running: Sequence[RunningAttempt],
    pending: Mapping[str, int],
    *,
    workers: int | None = None,
    again: Sequence[RunningAttempt] = (),
    earlier: DurationStats | None = None,
    limit: float | None = None,
) -> Eta | None:
    """Estimate the time left.

    Where nothing is reported as running but tasks ended recently, the source reports finished tasks only, and the first
    pending ones are assumed to be running.

    Args:
        now: The present, Unix seconds.
        ended: Finished attempts; best a :class:`DurationStats` that grows with the run, as a list is read each time.
        running: Running attempts. Where there are more than ``workers``, the longest-running ones are treated as lost
            and to be repeated.
        pending: Number of attempts not started yet by domain; those whose names are unknown under ``"unknown"``.
        workers: Number of active workers; by default those that run a task or finished one a moment ago.
        again: Attempts that ended with their worker after ``elapsed_seconds`` and are to be repeated from the start
            once nothing else is left. They are not in ``pending``: their durations are known to exceed that time, and
            an attempt that was cut short is more often long than not.
        earlier: Another run of the same benchmark: it shows how the domains differ, this run how fast it is. Without it
            the bounds are wide while whole domains are pending.
        limit: Time limit of a task in seconds, where it is stated; else it is inferred.

    Returns:
        The percentiles in seconds from ``now``. ``None`` before three tasks with a usable duration finished, and where
        there is no progress: ``workers`` is 0, or nothing is running and the last end is further back than twice the
        longest task and three handoff gaps.
    """
    stats = ended if isinstance(ended, DurationStats) else DurationStats(ended)
    if stats.count < MIN_FINISHED:
        return None
    left: dict[str, float] = {domain: min(count, 10**9) for domain, count in pending.items() if count > 0}
    if not running and not left and not again:
        return Eta(0.0, 0.0, 0.0)
    if workers is not None and workers <= 0:
        return None
    running = [task._replace(elapsed_seconds=_clamp(task.elapsed_seconds)) for task in running]
    repeats = [task._replace(elapsed_seconds=_clamp(task.elapsed_seconds)) for task in again]
    for task in repeats[_ONE_BY_ONE:]:
        left[task.domain] = left.get(task.domain, 0) + 1
    del repeats[_ONE_BY_ONE:]
    if not running:
        running = _infer_running(now, stats, left, workers)
        workers = len(running)
        if not running:
            return None
    elif workers is None:
        workers = len(running) + (_count_between_tasks(now, stats, running) if left or repeats else 0)
    if len(running) > workers:
        running.sort(key=lambda task: task.elapsed_seconds)
        for task in running[workers:]:
            left[task.domain] = left.get(task.domain, 0) + 1
        del running[workers:]
    seconds = _draw_time_left(now, stats, running, left, repeats, workers, earlier, limit)
    p10, p50, p90 = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Eta(p10, p50, p90)


def _clamp(seconds: float) -> float:
    return min(seconds, _LONGEST) if seconds > 0 else 0.0  # NaN becomes 0


def _count_between_tasks(now: float, stats: DurationStats, running: Sequence[RunningAttempt]) -> int:
    """Return how many workers have just finished a task and will take another."""
    since = now - stats.idle_grace
    lately = {worker for end, _, worker in stats.recent if worker is not None and end >= since}
    return len(lately - {task.worker_id for task in running})


def _infer_running(
    now: float, stats: DurationStats, left: dict[str, float], workers: int | None
) -> list[RunningAttempt]:
    """Return pending tasks that must be running where only finished ones are reported; remove them from ``left``."""
    since = now - 3 * stats.handoff_gap - 2 * stats.longest
    lately = sorted((item for item in stats.recent if item[0] >= since), key=lambda item: item[0])
    if not lately:
        return []
    last_end = {worker: end for end, _, worker in lately}
    if workers is None:
        workers = max(len(last_end), _estimate_concurrency(lately) if None in last_end else 0)
    # without worker names, the running tasks started when the last ones ended
    ends = [end for end, _, _ in lately] if None in last_end else sorted(last_end.values())
    starts = ends[: -workers - 1 : -1]
    starts += starts[-1:] * (min(workers, _MOST_WORKERS) - len(starts))
    waiting = (domain for domain, count in left.items() for _ in range(min(int(count), len(starts))))
    found = [
        RunningAttempt(domain, _clamp(now - start - stats.handoff_gap), None)
        for start, domain in zip(starts, waiting, strict=False)
    ]
    for task in found:
        left[task.domain] -= 1
    return found


def _estimate_concurrency(ended: Sequence[tuple[float, float, str | None]]) -> int:
    """Return the upper quartile of the number of concurrent attempts over the last four mean durations.

    The upper quartile, because of the last moments the attempts that are still running are not known.
    """
    last = max(end for end, _, _ in ended)
    since = last - 4 * sum(seconds for _, seconds, _ in ended) / len(ended)
    changes = [(max(since, end - seconds), 1) for end, seconds, _ in ended if end > since]
    changes = sorted(changes + [(end, -1) for end, _, _ in ended if end > since])
    lasting: dict[int, float] = {}
    number = 0
    for (at, change), (until, _) in pairwise(changes):
        number += change
        lasting[number] = lasting.get(number, 0.0) + until - at
    share = 0.0
    for number in sorted(lasting, reverse=True):
        share += lasting[number]
        if share >= sum(lasting.values()) / 4:
            return max(1, number)
    return 1


def _draw_time_left(
    now: float,
    stats: DurationStats,
    running: Sequence[RunningAttempt],
    left: Mapping[str, float],
    repeats: Sequence[RunningAttempt],
    workers: int,
    earlier: DurationStats | None,
    limit: float | None,
) -> Array:
    """Return the seconds left in each draw, shape (draws,)."""
    workers = min(workers, len(running) + math.ceil(sum(left.values())) + len(repeats))
    if (share := math.ceil(workers / _MOST_WORKERS)) > 1:
        running = sorted(running, key=lambda task: task.elapsed_seconds)[::share]
        left = {domain: count / share for domain, count in left.items()}
        repeats = repeats[::share]
        workers = max(len(running), workers // share)
    # where domains come one after the other, those of the tasks without a name have not been seen yet
    unnamed = left.get(UNNAMED, 0)
    new = unnamed * stats.domain_clustering
    if len(stats.domains) == 1:
        new = 0 if UNNAMED in stats.domains else unnamed * unnamed / (unnamed + stats.count)
    blanks = min(8, math.ceil(new * len(stats.domains) / stats.count))
    named = {domain: count for domain, count in left.items() if domain != UNNAMED}
    started = (*running, *repeats)
    domains = list(dict.fromkeys((*stats.domains, *(task.domain for task in started), *named)))
    index = {domain: at for at, domain in enumerate(domains)}
    count = np.array([named.get(domain, 0) for domain in domains] + [new / max(1, blanks)] * blanks + [unnamed - new])

    shift = np.zeros(len(domains) + blanks)
    if earlier is not None and earlier.count >= MIN_FINISHED:
        shift[:] = _condition_on_finished(earlier, domains, blanks)
        posterior = _posterior(domains, blanks, stats, started, shift, _prior(_BETWEEN_KNOWN))
    else:
        posterior = _posterior(domains, blanks, stats, started, shift, _prior(_BETWEEN))
    log_mean, spread = _draw_log_normal(posterior)
    log_mean, spread = _append_mixture(log_mean + shift, spread, index, stats, started)

    which = [index[task.domain] if task.domain != UNNAMED or UNNAMED in stats.domains else -1 for task in started]
    elapsed = np.array([task.elapsed_seconds for task in started])
    column_limits, log_mean = _draw_limits(now, log_mean, spread, index, stats, elapsed, limit)
    limits = np.array([task.limit_seconds or math.inf for task in started])
    limits = np.minimum(limits, column_limits[:, which])
    beyond = _draw_remaining(log_mean[:, which], spread[:, which], elapsed, limits, len(running))
    finished = _kaplan_meier(stats, log_mean, index, which, elapsed)
    _take_from_finished(beyond, elapsed, limits, finished)
    free = np.zeros((DRAWS, workers))
    free[:, : len(running)] = beyond[:, : len(running)]
    if pending := count.sum():
        schedule = _schedule_one_by_one if pending <= _ONE_BY_ONE else _schedule_in_bulk
        free = schedule(free, log_mean, spread, count, stats.handoff_gap, column_limits)
    _assign(free, (elapsed + beyond)[:, len(running) :] + stats.handoff_gap)
    return np.asarray(free.max(1))


class _Posterior(NamedTuple):
    """Posterior on a grid of A spreads within domains × B spreads between them, over D domains."""

    weight: Array  # (A, B), sums to 1
    spread: Array  # (A,), of log durations within a domain
    step: float  # from one of these to the next, on the log scale
    middle: Array  # (A, B), of the domains' log means
    middle_variance: Array  # (A, B)
    log_mean: Array  # (A, D), from the domain's own tasks alone
    precision: Array  # (A, D), of that; 0 where it has none


def _posterior(
    domains: Sequence[str],
    blanks: int,
    stats: DurationStats,
    running: Sequence[RunningAttempt],
    shift: Array,
    prior: Array,
) -> _Posterior:
    """Return the posterior; ``shift`` is each log mean a priori up to a constant, the last ``blanks`` have no tasks."""
    none = _Totals()
    totals = [stats.domains.get(domain, none) for domain in domains] + [none] * blanks
    count = np.array([t.count for t in totals], dtype=np.float64)
    seen, n = count > 0, np.maximum(count, 1.0)
    mean = np.maximum(np.array([t.seconds for t in totals]) / n, _SHORTEST)
    variance, freedom, squares = _estimate_spread(count, mean, np.array([t.log_weighted for t in totals]))
    error = 1 / math.sqrt(2 * freedom)
    spread = np.minimum(2.0, math.sqrt(variance) * np.exp(_SPREAD_STEPS * error))
    s = spread[:, None]
    # the log of the mean of n lognormals is nearly normal with variance ln(1 + CV²/n) (Fenton, 1960)
    own_variance = np.log1p(np.expm1(s * s) / n)
    own = np.where(seen, np.log(mean) + own_variance / 2 - shift, 0.0)
    own_precision = np.where(seen, 1 / own_variance, 0.0)
    log_likelihood = -freedom * np.log(spread) - squares / (2 * spread**2) - 0.5 * (np.log(own_variance) @ seen)

    log_mean, precision = own, own_precision
    log_weight, middle, middle_variance = _average_over_between(log_mean, precision, prior)
    started = [task for task in running if task.elapsed_seconds > _SHORTEST]
    if started:
        which = np.array([domains.index(task.domain) for task in started])
        elapsed = np.log([task.elapsed_seconds for task in started]) - shift[which]
        to_domain = np.equal.outer(which, np.arange(len(totals))).astype(np.float64)
        censored = np.zeros(len(spread))
        for _ in range(3):  # Newton steps to the mode, with each domain's censored part approximated as quadratic
            at = _shrink_to_middle(log_weight, middle, log_mean, precision)
            a = (elapsed - at[:, which]) / s + s / 2
            log_survival = log_ndtr(-a)
            hazard = np.exp(-a * a / 2 - log_survival) / math.sqrt(2 * math.pi)
            slope = (hazard / s) @ to_domain
            bend = (np.maximum(hazard * (hazard - a), 0.0) / s**2) @ to_domain
            informed = own_precision + bend > 1e-6
            precision = np.where(informed, own_precision + bend, 0.0)
            step = np.where(informed, own_precision * (own - at) + slope, 0.0) / np.where(informed, precision, 1.0)
            log_mean = at + step
            misfit = np.where(informed, own_precision * (own - log_mean) ** 2 + bend * step**2, 0.0)
            censored = log_survival.sum(1) + (slope * step - misfit / 2).sum(1)
            log_weight, middle, middle_variance = _average_over_between(log_mean, precision, prior)
        log_likelihood = log_likelihood + censored
    log_weight = log_weight + log_likelihood[:, None]
    weight = np.exp(log_weight - log_weight.max())
    step_width = error * float(_SPREAD_STEPS[1] - _SPREAD_STEPS[0])
    return _Posterior(weight / weight.sum(), spread, step_width, middle, middle_variance, log_mean, precision)


def _estimate_spread(count: Array, mean: Array, log_weighted: Array) -> tuple[float, float, float]:
    """Return the variance of log durations within a domain, its degrees of freedom and the sum of squares.

    By the Theil index T = Σ d ln(d / mean) / Σ d: for a lognormal it is half that variance, and a task that fails at
    once hardly affects it, unlike the variance of the logs. In n draws 2T falls short of the variance v by
    v exp(v (1 - 1/n)) / n on average (a fit to simulated draws, n from 2 to 40, accurate to 0.05 v up to v = 1).
    """
    n, m = count[count > 1], mean[count > 1]
    theil = np.maximum(log_weighted[count > 1] / m - n * np.log(m), 0.0)
    squares = _SPREAD_WEIGHT * _SPREAD**2 + 2 * float(theil.sum())
    variance, freedom = _SPREAD**2, _SPREAD_WEIGHT
    for _ in range(4):
        freedom = _SPREAD_WEIGHT + float(np.maximum(n - np.exp(variance * (1 - 1 / n)), (n - 1) / 4).sum())
        variance = min(4.0, max(0.01, squares / freedom))
    return variance, freedom, squares


def _prior(between: float) -> Array:
    """Return the prior weights of the spreads between domains: around ``between``, or next to none."""
    differ = np.exp(-0.5 * (np.log(_BETWEENS / between) / _BETWEEN_FACTOR) ** 2)
    alike = (_BETWEENS < 0.15).astype(np.float64)
    return np.asarray((1 - _ALIKE) * differ / differ.sum() + _ALIKE * alike / alike.sum())


def _average_over_between(log_mean: Array, precision: Array, prior: Array) -> tuple[Array, Array, Array]:
    """Return for each spread between domains its log weight, the domains' middle and its variance, each (A, B)."""
    grow = 1 + precision[:, None, :] * _BETWEENS[:, None] ** 2
    weight = precision[:, None, :] / grow
    total = weight.sum(2)
    middle = (weight * log_mean[:, None, :]).sum(2) / total
    misfit = (weight * (log_mean[:, None, :] - middle[:, :, None]) ** 2).sum(2)
    return np.log(prior) - 0.5 * (np.log(grow).sum(2) + misfit + np.log(total)), middle, 1 / total


def _shrink_to_middle(log_weight: Array, middle: Array, log_mean: Array, precision: Array) -> Array:
    """Return each domain's log mean, shrunk to the middle, for each spread within domains: (A, D)."""
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    pull = precision[:, None, :] * _BETWEENS[:, None] ** 2
    at = (pull * log_mean[:, None, :] + middle[:, :, None]) / (1 + pull)
    return np.asarray((weight[:, :, None] * at).sum(1))


def _condition_on_finished(earlier: DurationStats, domains: Sequence[str], blanks: int) -> Array:
    """Return the log means of the domains in an earlier run; the average for a domain that it lacks."""
    names = list(earlier.domains)
    posterior = _posterior(names, 0, earlier, (), np.zeros(len(names)), _prior(_BETWEEN))
    at = _shrink_to_middle(np.log(posterior.weight + 1e-300), posterior.middle, posterior.log_mean, posterior.precision)
    log_mean = posterior.weight.sum(1) @ at
    informed = dict(zip(names, log_mean.tolist(), strict=True))
    average = float(log_mean.mean())
    return np.array([informed.get(domain, average) for domain in domains] + [average] * blanks)


def _draw_log_normal(posterior: _Posterior) -> tuple[Array, Array]:
    """Draw log means of the domains and spreads within them, each (draws, D)."""
    edges = np.cumsum(posterior.weight)
    u = _uniform("width", 2)
    a, b = np.divmod(np.minimum(np.searchsorted(edges, u[:, 0]), edges.size - 1), _BETWEENS.size)
    spread = np.minimum(2.0, posterior.spread[a] * np.exp(posterior.step * (u[:, 1] - 0.5)))
    z = _normal("mean", posterior.log_mean.shape[1] + 1)
    middle = posterior.middle[a, b] + np.sqrt(posterior.middle_variance[a, b]) * z[:, 0]
    square = _BETWEENS[b, None] ** 2
    pull = square * posterior.precision[a]
    log_mean = (pull * posterior.log_mean[a] + middle[:, None]) / (1 + pull) + np.sqrt(square / (1 + pull)) * z[:, 1:]
    return log_mean, np.repeat(spread[:, None], log_mean.shape[1], axis=1)


def _append_mixture(
    log_mean: Array, spread: Array, index: Mapping[str, int], stats: DurationStats, running: Sequence[RunningAttempt]
) -> tuple[Array, Array]:
    """Append a column for a task of unknown domain, mixed in proportion to the domains' started tasks."""
    started = np.zeros(log_mean.shape[1])
    for domain, totals in stats.domains.items():
        started[index[domain]] += totals.count
    for task in running:
        started[index[task.domain]] += task.domain in stats.domains
    share = started / started.sum()
    means = np.exp(log_mean)
    mean = means @ share
    between = np.maximum(means**2 @ share / mean**2 - 1, 0.0)
    any_mean = np.log(mean) + np.sqrt(np.log1p(between / started.sum())) * _normal("mixture", 1)[:, 0]
    any_spread = np.sqrt(spread[:, 0] ** 2 + np.log1p(between))
    return np.column_stack((log_mean, any_mean)), np.column_stack((spread, any_spread))


def _draw_limits(
    now: float,
    log_mean: Array,
    spread: Array,
    index: Mapping[str, int],
    stats: DurationStats,
    elapsed: Array,
    stated: float | None,
) -> tuple[Array, Array]:
    """Draw the time limits, (draws, D), infinite where there are none, and the log means that keep the means with them.

    An inferred limit holds for the domains that have finished tasks.
    """
    limits = np.full(log_mean.shape, math.inf)
    if stated is not None and stats.share_above(_OVER_LIMIT * stated) <= _OVER_SHARE:
        limits[:] = stated
    elif stats.longest > 0:
        log_chance = np.zeros(DRAWS)  # of none of the tasks that had the time for it to exceed the longest one
        near = np.zeros(DRAWS)  # expected number of tasks that take nearly as long as the longest one
        for domain, count in stats.count_started(now - stats.longest).items():
            at = index[domain]
            a = (math.log(stats.longest) - log_mean[:, at]) / spread[:, at] + spread[:, at] / 2
            log_chance += count * log_ndtr(a)
            near += stats.domains[domain].count * (ndtr(a) - ndtr(a + math.log(_NEAR) / spread[:, at]))
        if (others := stats.count_near_longest() - 1) > 1:
            log_chance += np.log(np.maximum(gammainc(others, near), 1e-300))
        unlimited = _UNLIMITED * np.exp(log_chance)
        limited = (1 - _UNLIMITED) * _EXCEEDED ** np.count_nonzero(elapsed > stats.longest)
        held = _uniform("limit", 1)[:, 0] * (unlimited + limited) < limited
        for at in (*(index[domain] for domain in stats.domains), -1):
            limits[held, at] = stats.longest
    if np.isfinite(limits).any():
        mean, latent = np.exp(log_mean), log_mean.copy()
        for _ in range(8):
            latent += np.log(np.minimum(mean, 0.995 * limits) / _moments(latent, spread, limits)[0])
        log_mean = latent
    return limits, log_mean


def _kaplan_meier(
    stats: DurationStats, log_mean: Array, index: Mapping[str, int], which: Sequence[int], elapsed: Array
) -> tuple[Array, Array, Array]:
    """Return the finished durations relative to their domains' means, cumulative weights, and the tasks' means."""
    means = np.maximum(np.exp(log_mean.mean(0)), 1e-9)
    ratios = np.sort(stats.ratios({domain: float(means[at]) for domain, at in index.items()}))
    censored = np.sort(elapsed / means[which])
    at_risk = np.arange(ratios.size, 0, -1) + censored.size - np.searchsorted(censored, ratios, side="left")
    survival = np.concatenate(([1.0], np.cumprod(1 - 1 / at_risk)))
    return ratios, np.concatenate(([0.0], np.cumsum(survival[:-1] / at_risk))), means[which]


def _take_from_finished(rest: Array, elapsed: Array, limits: Array, finished: tuple[Array, Array, Array]) -> None:
    """Replace what is left of running tasks by that of finished tasks that took longer, the more the more there are."""
    ratios, cumulated, means = finished
    first = np.searchsorted(ratios, elapsed / means, side="right")
    longer = ratios.size - first
    u = _uniform("finished", elapsed.size)
    at = np.searchsorted(cumulated, cumulated[first] + u * (cumulated[-1] - cumulated[first]), side="right") - 1
    taken = ratios[np.minimum(at, ratios.size - 1)] * means - elapsed
    is_taken = (_uniform("which", elapsed.size) * (longer + _FEW) < longer) & (rest < _LONGEST)
    rest[:] = np.where(is_taken, np.clip(taken, 0.0, np.where(elapsed < limits, limits - elapsed, math.inf)), rest)


def _draw_remaining(log_mean: Array, spread: Array, elapsed: Array, limits: Array, running: int) -> Array:
    """Draw the rest of the running tasks, (draws, tasks).

    Lognormal durations, given that they exceed ``elapsed``; where that is next to impossible, those of a stuck task. A
    task that has run beyond its limit is not held by it. Only the first ``running`` tasks may be stuck: the others
    ended with their workers and are repeated elsewhere.
    """
    u = _uniform("running", elapsed.size)
    a = (np.log(np.maximum(elapsed, _SHORTEST)) - log_mean) / spread + spread / 2
    far = a > 6  # there the normal tail is nearly exponential, and the exact formula loses all digits
    z = np.where(far, a - np.log(u) / np.where(far, a, 1.0), -ndtri(u * ndtr(-np.where(far, 6.0, a))))
    rest = np.maximum(np.exp(log_mean - spread**2 / 2 + spread * z) - elapsed, 0.0)
    is_held = elapsed < limits
    share = np.exp(log_mean) / np.maximum(elapsed, _SHORTEST)  # the chance of a stuck task to have run for so long
    stuck = np.where(share < 0.5, np.maximum(_STUCK * share, 1e-290), 0.0)
    stuck = stuck / (stuck + (1 - _STUCK) * np.where(is_held & np.isfinite(limits), 1.0, ndtr(-a)) + 1e-300)
    is_stuck = (_uniform("stuck", elapsed.size) < stuck) & (np.arange(elapsed.size) < running)
    rest = np.where(is_stuck, np.minimum(elapsed * (1 / u - 1), _LONGEST), rest)
    return np.asarray(np.where(is_held, np.minimum(rest, limits - elapsed), rest))


def _assign(free: Array, seconds: Array) -> None:
    """Assign the tasks, one column after the other, to the worker that is free first; adds to ``free`` in place."""
    draw = np.arange(len(free))
    for task in range(seconds.shape[1]):
        free[draw, free.argmin(1)] += seconds[:, task]


def _schedule_one_by_one(rest: Array, log_mean: Array, spread: Array, count: Array, gap: float, limits: Array) -> Array:
    """Return when each worker is done, (draws, workers), with the pending tasks taken in random order."""
    deck = np.repeat(np.arange(count.size), np.ceil(count).astype(int))
    which = deck[np.argsort(_uniform("order", deck.size), axis=1)]
    draw = np.arange(DRAWS)[:, None]
    theta, s = log_mean[draw, which], spread[draw, which]
    free = rest.copy()
    _assign(free, np.minimum(np.exp(theta - s**2 / 2 + s * _normal("task", deck.size)), limits[draw, which]) + gap)
    return free


def _schedule_in_bulk(rest: Array, log_mean: Array, spread: Array, count: Array, gap: float, limits: Array) -> Array:
    """Return the same for many tasks: the total work divided by the workers, and the wait for the last one.

    Once the last task is taken, each worker is somewhere within a task: its rest is a uniform part of a task drawn in
    proportion to its length (the equilibrium distribution of renewal theory; Cox, *Renewal Theory*, 1962).
    """
    workers = rest.shape[1]
    at = np.flatnonzero(count)
    n, theta, s = count[at], log_mean[:, at], spread[:, at]
    mean, square = _moments(theta, s, limits[:, at])
    variance = np.log1p(np.maximum(square / mean**2 - 1, 0.0) / n)
    sums = n * mean * np.exp(-variance / 2 + np.sqrt(variance) * _normal("sum", at.size))
    work = sums.sum(1) + gap * n.sum() + rest.sum(1)
    if workers == 1:
        return np.asarray(work)[:, None]
    draw = np.arange(DRAWS)[:, None]
    shares = np.cumsum(sums, axis=1) / sums.sum(1, keepdims=True)
    ranks = np.searchsorted((shares + draw).ravel(), _uniform("last", workers) + draw)  # one search for all draws
    which = np.clip(ranks - draw * at.size, 0, at.size - 1)
    theta, s = theta[draw, which], s[draw, which]
    lengths = np.minimum(np.exp(theta + s**2 / 2 + s * _normal("length", workers)), limits[:, at][draw, which])
    last = _uniform("part", workers) * lengths
    return np.asarray(((work - last.sum(1)) / workers)[:, None] + last)


def _moments(log_mean: Array, spread: Array, limits: Array) -> tuple[Array, Array]:
    """Return the mean and the mean square of lognormal durations that limits cut off."""
    mean, square = np.exp(log_mean), np.exp(2 * log_mean + spread**2)
    finite = np.where(np.isfinite(limits), limits, 1.0)
    # the limit in standard deviations of the log
    a = np.where(np.isfinite(limits), (np.log(finite) - log_mean) / spread + spread / 2, math.inf)
    beyond = ndtr(-a)
    limited, limited_square = (
        mean * ndtr(a - spread) + finite * beyond,
        square * ndtr(a - 2 * spread) + finite**2 * beyond,
    )
    return np.maximum(limited, 1e-150), np.maximum(limited_square, 1e-300)


@lru_cache(maxsize=128)
def _table(purpose: str, columns: int) -> tuple[Array, Array]:
    """Return uniform numbers and the normal ones of equal rank, (draws, columns), each column stratified.

    A Latin hypercube (McKay, Beckman and Conover, 1979). A column is the same in tables of any width, so that an
    estimate does not jump while a run is running.
    """
    strata = (np.arange(DRAWS) + 0.5) / DRAWS
    seeds = [[*purpose.encode(), column] for column in range(columns)]
    uniform = np.column_stack([np.random.default_rng(seed).permutation(strata) for seed in seeds])
    return uniform, ndtri(uniform)


def _uniform(purpose: str, columns: int) -> Array:
    return _table(purpose, 1 << max(0, columns - 1).bit_length())[0][:, :columns]


def _normal(purpose: str, columns: int) -> Array:
    return _table(purpose, 1 << max(0, columns - 1).bit_length())[1][:, :columns]
