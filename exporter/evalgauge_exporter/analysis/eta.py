"""Estimate of a run's remaining time: p10, p50 and p90 from its finished, running and pending tasks.

Log durations are modelled as normal around each domain's own mean, and the domains' means as normal around a common
middle (the hierarchical normal model; Gelman et al., *Bayesian Data Analysis*, 3rd edition, chapter 5). So a domain
with few finished tasks borrows from the others, and one never seen is as uncertain as the others differ. A running task
is a censored observation, longer than its elapsed time, which corrects the bias of the first minutes, when only short
tasks have finished. The spreads within and between domains are integrated out on a grid.

The shape of the distribution, in standard deviations from a domain's mean, need not be normal: its hazard has a beta
process as prior, with the normal hazard as its mean and the weight of one task (Hjort, 1990). The posterior mean is
near Kaplan and Meier's estimate where tasks have finished and goes on as the model does beyond the longest one. Each
draw has a hazard of its own, so the bounds include what is not known of the shape.

A time limit cuts durations off, and a task that it ended is a censored observation too. It is stated by the runner or
the format, else inferred: the less likely it is, by the lognormal model, that of the tasks with the time for it none
took longer than the longest one, and that as many as did took nearly as long, the more of the draws are cut off there.
A limit may also be one that no task has reached yet, as in every second benchmark a priori. A running task that has
taken far longer than the others explain may be stuck: its rest then has a heavy tail (the chance to exceed t falls as
1/t), so the range widens instead of promising minutes. Tasks that a resumed runner reports again from its checkpoint
within moments are no evidence of speed and are left out.

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
LONGEST = 30 * 86400.0
"""Seconds; a longer duration is a clock that jumped."""

_SHORTEST = 1e-3  # seconds; shorter durations are treated as this
_SPREAD, _SPREAD_WEIGHT = 0.6, 4.0  # prior spread of log durations in a domain, and its weight in tasks
_SPREAD_STEPS = np.arange(-1.8, 7.0, 1.2)  # grid of that spread, in standard errors of its log; long tasks end late
_LEAST = math.log(5)  # how short a task is says nothing about long ones: a fifth of its domain's mean is the least
_BETWEENS = 0.08 * 1.5 ** np.arange(8)  # grid of the spread between domains, of their log means
# prior: about tenfold from the quickest domain to the slowest, but in one benchmark of five all alike
_BETWEEN, _BETWEEN_FACTOR, _ALIKE = 0.9, 0.5, 0.2
_BETWEEN_KNOWN = 0.3  # the same where an earlier run has shown how domains differ
_TRUST = math.log(10)  # prior log odds that they differ so in this one
_STUCK = 1e-3  # prior chance that a task is stuck
_UNLIMITED = 0.995  # prior chance that there is no limit where none is stated
_OVER_LIMIT, _OVER_SHARE = 1.1, 0.05  # a stated limit that this share of tasks exceeds by this factor is not enforced
_UNREACHED, _HITTING = 0.5, 0.6  # prior chance of a limit that none has reached yet; the most tasks that it may end
_WITHIN = 0.1  # less than this share of the tasks within a limit says nothing about those that it ended
_NEAR = 0.98  # durations from this share of the longest one on are nearly as long
_EXCEEDED = 0.05  # what a running task that has taken longer than any finished one leaves of the odds for a limit
_RESTORED, _RESTORED_FACTOR = 5, 50.0  # as many tasks in a row, each that much shorter than usual, were restored
_ONE_BY_ONE = 128  # up to so many, pending tasks are assigned to the workers one by one
_MOST_WORKERS = 256  # more workers are simulated as this many, with a proportional share of the tasks

_EDGES = np.linspace(-4.0, 5.0, 73)  # of the intervals of the hazard, in standard deviations of log durations
_STEP = 0.125
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2
_HAZARD = 1 - ndtr(-_EDGES[1:]) / ndtr(-_EDGES[:-1])  # a priori, the chance to end in each
_PRIOR_TASKS = 1.0  # weight of that beside the run's own tasks

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
    """Number of a domain's finished attempts and sum of their durations."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float, change: int = 1) -> None:
        """Add (1) or remove (-1) a duration."""
        self.count += change
        self.seconds += change * seconds


class DurationStats:
    """A run's finished attempts as a few sums; adding one is O(1).

    Args:
        ended: Finished attempts in the order in which they ended.
    """

    def __init__(self, ended: Iterable[FinishedAttempt] = ()) -> None:
        self._forget()
        for task in ended:
            self.add(task)

    @classmethod
    def of_whole(cls, ended: Iterable[FinishedAttempt]) -> DurationStats:
        """Return those of attempts with possible durations of which none was restored from a checkpoint."""
        stats = cls()
        for task in ended:
            stats._add(task)
        return stats

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
        if not 0.0 <= task.duration_seconds <= LONGEST:
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

    def log_durations(self, domain: str) -> Array:
        """Return the logs of a domain's durations."""
        return np.asarray(np.log(np.maximum(np.array(self._durations.get(domain, ())), _SHORTEST)))

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
    limit = None if limit is None else min(limit, LONGEST)
    seconds = _draw_time_left(now, stats, running, left, repeats, workers, earlier, limit)
    p10, p50, p90 = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Eta(p10, p50, p90)


def _clamp(seconds: float) -> float:
    return min(seconds, LONGEST) if seconds > 0 else 0.0  # NaN becomes 0


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

    # what is believed of the domains' log means a priori: they differ as in the earlier run, or not so
    beliefs = [(np.zeros(len(domains) + blanks), _prior(_BETWEEN), 0.0)]
    if earlier is not None and earlier.count >= MIN_FINISHED:
        before = _condition_on_finished(earlier, domains, blanks)
        beliefs.append((before, _prior(_BETWEEN_KNOWN), _TRUST))
    which = [index[task.domain] if task.domain != UNNAMED or UNNAMED in stats.domains else -1 for task in started]
    elapsed = np.array([task.elapsed_seconds for task in started])

    def fit(limit: float) -> tuple[_Observed, Array, Array]:
        observed = _observe(stats, domains, which, elapsed, limit)
        fits = [(_posterior(observed, blanks, shift, prior), shift, log_odds) for shift, prior, log_odds in beliefs]
        posterior, shift, _ = max(fits, key=lambda fit: fit[0].log_evidence + fit[2])
        log_mean, spread = _draw_log_normal(posterior)
        return observed, *_append_mixture(log_mean + shift, spread, index, stats, started)

    if limit is not None and stats.share_above(_OVER_LIMIT * limit) > _OVER_SHARE:
        limit = None
    observed, log_mean, spread = fit(math.inf if limit is None else limit)
    if limit is None and stats.longest > 0:
        limits = _draw_limits(now, log_mean, spread, index, stats, which, elapsed)
        if np.mean(limits[:, -1] == stats.longest) > 0.5:
            observed, log_mean, spread = fit(stats.longest)
    else:
        limits = np.full(log_mean.shape, math.inf if limit is None else limit)
    own_limits = np.minimum([task.limit_seconds or math.inf for task in started], limits[:, which])
    shape = _Shape(observed, log_mean, spread)
    beyond = _draw_remaining(shape, log_mean[:, which], spread[:, which], elapsed, own_limits, len(running))
    free = np.zeros((DRAWS, workers))
    free[:, : len(running)] = beyond[:, : len(running)]
    if pending := count.sum():
        schedule = _schedule_one_by_one if pending <= _ONE_BY_ONE else _schedule_in_bulk
        free = schedule(free, shape, log_mean, spread, count, stats.handoff_gap, limits)
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
    log_evidence: float  # up to a constant of the observations


class _Observed(NamedTuple):
    """Log durations in each domain: of finished tasks, and lower bounds of those that run or were cut off."""

    finished: list[Array]
    domain: NDArray[np.intp]  # of each bound
    bound: Array
    tasks: Array  # with this bound


def _observe(
    stats: DurationStats, domains: Sequence[str], which: Sequence[int], elapsed: Array, limit: float
) -> _Observed:
    """Return what is known of durations where a limit ended all tasks that took nearly as long or longer."""
    everything = [stats.log_durations(domain) for domain in domains]
    finished = [found[found < math.log(_NEAR * limit)] for found in everything]
    if sum(found.size for found in finished) < max(MIN_FINISHED, _WITHIN * stats.count):
        finished = everything  # nearly all ran into it, and what they would have taken without is anybody's guess
    cut_off = np.array([found.size - rest.size for found, rest in zip(everything, finished, strict=True)])
    at_limit = np.flatnonzero(cut_off)
    running = (np.array(which, dtype=np.intp) >= 0) & (elapsed > _SHORTEST)
    return _Observed(
        finished,
        np.concatenate((np.array(which, dtype=np.intp)[running], at_limit)),
        np.concatenate((np.log(elapsed[running]), np.full(at_limit.size, math.log(limit)))),
        np.concatenate((np.ones(np.count_nonzero(running)), cut_off[at_limit])),
    )


def _posterior(observed: _Observed, blanks: int, shift: Array, prior: Array) -> _Posterior:
    """Return the posterior; ``shift`` is each log mean a priori up to a constant, the last ``blanks`` have no tasks."""
    logs = [np.maximum(d, math.log(np.exp(d).mean()) - _LEAST) if d.size else d for d in observed.finished]
    count = np.array([d.size for d in logs] + [0] * blanks)
    seen, n = count > 0, np.maximum(count, 1.0)
    own = np.where(seen, np.array([d.mean() if d.size else 0.0 for d in logs] + [0.0] * blanks) - shift, 0.0)
    squares = _SPREAD_WEIGHT * _SPREAD**2 + sum(float(d.var()) * d.size for d in logs if d.size)
    freedom = _SPREAD_WEIGHT + float((n - 1).sum())
    error = 1 / math.sqrt(2 * freedom)
    spread = np.clip(math.sqrt(squares / freedom) * np.exp(_SPREAD_STEPS * error), 0.05, 2.5)
    s = spread[:, None]
    own_variance = s * s / n
    own_precision = np.where(seen, 1 / own_variance, 0.0)
    log_likelihood = -freedom * np.log(spread) - squares / (2 * spread**2) - 0.5 * (np.log(own_variance) @ seen)

    log_mean, precision = np.broadcast_to(own, own_variance.shape), own_precision
    log_weight, middle, middle_variance = _average_over_between(log_mean, precision, prior)
    if observed.bound.size:
        which = observed.domain
        bound = observed.bound - shift[which]
        to_domain = np.equal.outer(which, np.arange(count.size)) * observed.tasks[:, None]
        censored = np.zeros(len(spread))
        for _ in range(3):  # Newton steps to the mode, with each domain's censored part approximated as quadratic
            at = _shrink_to_middle(log_weight, middle, log_mean, precision)
            a = (bound - at[:, which]) / s
            log_survival = log_ndtr(-a)
            hazard = np.exp(-a * a / 2 - log_survival) / math.sqrt(2 * math.pi)
            slope = (hazard / s) @ to_domain
            bend = (np.maximum(hazard * (hazard - a), 0.0) / s**2) @ to_domain
            informed = own_precision + bend > 1e-6
            precision = np.where(informed, own_precision + bend, 0.0)
            step = np.where(informed, own_precision * (own - at) + slope, 0.0) / np.where(informed, precision, 1.0)
            log_mean = at + step
            misfit = np.where(informed, own_precision * (own - log_mean) ** 2 + bend * step**2, 0.0)
            censored = log_survival @ observed.tasks + (slope * step - misfit / 2).sum(1)
            log_weight, middle, middle_variance = _average_over_between(log_mean, precision, prior)
        log_likelihood = log_likelihood + censored
    log_weight = log_weight + log_likelihood[:, None]
    highest = float(log_weight.max())
    weight = np.exp(log_weight - highest)
    log_evidence = highest + math.log(float(weight.sum()))
    step_width = error * float(_SPREAD_STEPS[1] - _SPREAD_STEPS[0])
    return _Posterior(
        weight / weight.sum(), spread, step_width, middle, middle_variance, log_mean, precision, log_evidence
    )


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
    observed = _observe(earlier, names, (), np.zeros(0), math.inf)
    posterior = _posterior(observed, 0, np.zeros(len(names)), _prior(_BETWEEN))
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
    spread = posterior.spread[a] * np.exp(posterior.step * (u[:, 1] - 0.5))
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
    middle = log_mean @ share
    between = (log_mean - middle[:, None]) ** 2 @ share
    any_mean = middle + np.sqrt(between / started.sum()) * _normal("mixture", 1)[:, 0]
    any_spread = np.sqrt(spread[:, 0] ** 2 + between)
    return np.column_stack((log_mean, any_mean)), np.column_stack((spread, any_spread))


def _draw_limits(
    now: float,
    log_mean: Array,
    spread: Array,
    index: Mapping[str, int],
    stats: DurationStats,
    which: Sequence[int],
    elapsed: Array,
) -> Array:
    """Draw the time limits, (draws, D): the longest duration, one that no task has reached yet, or infinite.

    They hold for domains of which tasks have started: another one may take longer.
    """
    log_chance = np.zeros(DRAWS)  # of none of the tasks that had the time for it to exceed the longest one
    near = np.zeros(DRAWS)  # expected number of tasks that take nearly as long as the longest one
    late = [at for at, seconds in zip(which, elapsed.tolist(), strict=True) if seconds >= _NEAR * stats.longest]
    for domain, count in stats.count_started(now - stats.longest / _NEAR).items():
        at = index[domain]
        a = (math.log(stats.longest) - log_mean[:, at]) / spread[:, at]
        log_chance += count * log_ndtr(a)
        reached = stats.domains[domain].count + late.count(at)
        near += reached * (ndtr(a) - ndtr(a + math.log(_NEAR) / spread[:, at]))
    if (others := stats.count_near_longest() - 1) > 1:
        log_chance += np.log(np.maximum(gammainc(others, near), 1e-300))
    unlimited = _UNLIMITED * np.exp(log_chance)
    limited = (1 - _UNLIMITED) * _EXCEEDED ** np.count_nonzero(elapsed > stats.longest)
    is_longest = _uniform("limit", 1)[:, 0] * (unlimited + limited) < limited
    # one that none has reached: any share of the tasks up to the largest is as likely to run into it
    longest = max(stats.longest, float(elapsed.max(initial=0.0)))
    hitting = np.minimum(_HITTING, ndtr((log_mean[:, -1] - math.log(longest)) / spread[:, -1]))
    unreached = _UNREACHED * hitting / _HITTING
    u = _uniform("unreached", 2)
    is_unreached = u[:, 0] * (unreached + 1 - _UNREACHED) < unreached
    later = np.exp(log_mean[:, -1] - spread[:, -1] * ndtri(np.maximum(u[:, 1] * hitting, 1e-300)))
    later = np.where(is_unreached, np.maximum(later, longest), math.inf)
    started = [index[domain] for domain in stats.domains]
    if stats.count_near_longest() <= (1 - _WITHIN) * stats.count:  # else, all tasks seen may just be alike
        started += which
    is_started = np.isin(np.arange(log_mean.shape[1]), started)
    is_started[-1] = True
    return np.where(is_started, np.where(is_longest, stats.longest, later)[:, None], math.inf)


class _Shape:
    """Draws of the cumulative hazard of log durations, in standard deviations from the mean of their domain.

    Within an interval the hazard is even; beyond the last one it is z, as far in the normal tail.

    Args:
        observed: Log durations, and lower bounds of others.
        log_mean: Draws of the domains' means, (draws, domains).
        spread: Draws of the standard deviation, (draws, domains).
    """

    def __init__(self, observed: _Observed, log_mean: Array, spread: Array) -> None:
        middle, s = log_mean.mean(0), float(spread[:, 0].mean())
        finished = np.concatenate([(found - middle[at]) / s for at, found in enumerate(observed.finished)])
        bounds = (observed.bound - middle[observed.domain]) / s
        ends = _count_by_interval(finished, np.ones(finished.size))
        leaving = _count_by_interval(bounds, observed.tasks)
        entering = np.cumsum((ends + leaving)[::-1])[::-1]
        outlasting = entering - ends - leaving / 2
        # the chance to end in an interval is beta distributed: a ratio of two gamma variates
        odds = _gamma("ends", _PRIOR_TASKS * _HAZARD + ends) / np.maximum(
            _gamma("outlasting", _PRIOR_TASKS * (1 - _HAZARD) + outlasting), 1e-290
        )
        self._hazard = np.zeros((DRAWS, _EDGES.size))
        np.cumsum(np.minimum(np.log1p(odds), 30.0), axis=1, out=self._hazard[:, 1:])
        self._apart = np.arange(DRAWS)[:, None] * (float(self._hazard.max()) + 1.0)
        self._searched = (self._hazard + self._apart).ravel()  # one search for all draws

    def hazard(self, z: Array) -> Array:
        """Return the cumulative hazard at z, both (draws, tasks)."""
        draw = np.arange(DRAWS)[:, None]
        position = np.clip((z - _EDGES[0]) / _STEP, 0.0, _MIDDLES.size)
        at = np.minimum(position.astype(np.intp), _MIDDLES.size - 1)
        low = self._hazard[draw, at]
        inside = low + (position - at) * (self._hazard[draw, at + 1] - low)
        return np.asarray(inside + np.maximum(z * np.abs(z) - _EDGES[-1] ** 2, 0.0) / 2)

    def invert(self, hazard: Array) -> Array:
        """Return z where the cumulative hazard is this, both (draws, tasks)."""
        draw = np.arange(DRAWS)[:, None]
        beyond = np.maximum(hazard - self._hazard[:, -1:], 0.0)
        at = np.searchsorted(self._searched, hazard - beyond + self._apart, side="right") - 1 - draw * _EDGES.size
        at = np.clip(at, 0, _MIDDLES.size - 1)
        low = self._hazard[draw, at]
        part = np.clip((hazard - low) / np.maximum(self._hazard[draw, at + 1] - low, 1e-12), 0.0, 1.0)
        return np.asarray(np.where(beyond > 0, np.sqrt(_EDGES[-1] ** 2 + 2 * beyond), _EDGES[at] + _STEP * part))

    def _mass(self) -> tuple[Array, Array]:
        survival = np.exp(-self._hazard)
        mass = -np.diff(survival, axis=1)
        mass[:, -1] += survival[:, -1]
        return survival, mass

    def moments(self, log_mean: Array, spread: Array, within: Array, limits: Array) -> tuple[Array, Array]:
        """Return the mean and the mean square of durations that limits cut off, (draws, domains)."""
        survival, mass = self._mass()
        draw = np.arange(DRAWS)[:, None]
        at = np.ceil(np.clip(((np.log(limits) - log_mean) / spread - _EDGES[0]) / _STEP, 0.0, _MIDDLES.size))
        at = at.astype(np.intp)
        cut_off = np.where(np.isfinite(limits), limits, 0.0)
        found = []
        for power in (1, 2):
            sums = np.zeros((DRAWS, _EDGES.size))
            np.cumsum(mass * np.exp(power * within * _MIDDLES), axis=1, out=sums[:, 1:])
            # a task of unknown domain has a larger spread
            scale = np.exp(power * log_mean + power**2 * (spread**2 - within**2) / 2)
            found.append(scale * sums[draw, at] + cut_off**power * survival[draw, at])
        return np.maximum(found[0], 1e-150), np.maximum(found[1], 1e-300)

    def draw_by_length(self, spread: Array, workers: int) -> Array:
        """Draw z of tasks in proportion to their durations, (draws, workers)."""
        weight = np.cumsum(self._mass()[1] * np.exp(spread * _MIDDLES), axis=1)
        draw = np.arange(DRAWS)[:, None]
        ranks = np.searchsorted((weight / weight[:, -1:] + draw).ravel(), _uniform("length", workers) + draw)
        at = np.clip(ranks - draw * _MIDDLES.size, 0, _MIDDLES.size - 1)
        return np.asarray(_MIDDLES[at] + _STEP * (_uniform("within", workers) - 0.5))


def _count_by_interval(z: Array, tasks: Array) -> Array:
    return np.histogram(np.clip(z, _EDGES[0], _EDGES[-1]), _EDGES, weights=tasks)[0].astype(np.float64)


def _gamma(purpose: str, shape: Array) -> Array:
    """Draw gamma variates, (draws, shapes): those of shape + 1 (Wilson and Hilferty, 1931) times U^(1 / shape)."""
    more = shape + 1
    cube = np.maximum(1 - 1 / (9 * more) + _normal(purpose, shape.size) / (3 * np.sqrt(more)), 1e-3) ** 3
    return np.asarray(more * cube * np.exp(np.maximum(np.log(_uniform(f"{purpose} part", shape.size)) / shape, -600.0)))


def _draw_remaining(
    shape: _Shape, log_mean: Array, spread: Array, elapsed: Array, limits: Array, running: int
) -> Array:
    """Draw the rest of the running tasks, (draws, tasks).

    Their durations, given that they exceed ``elapsed``; where that is next to impossible, those of a stuck task. A
    task that has run well beyond its limit is not held by it. Only the first ``running`` tasks may be stuck: the others
    ended with their workers and are repeated elsewhere.
    """
    u = _uniform("running", elapsed.size)
    a = (np.log(np.maximum(elapsed, _SHORTEST)) - log_mean) / spread
    rest = np.maximum(np.exp(log_mean + spread * shape.invert(shape.hazard(a) - np.log(u))) - elapsed, 0.0)
    is_held = _NEAR * elapsed < limits  # it takes a moment to end a task at its limit
    share = np.exp(log_mean) / np.maximum(elapsed, _SHORTEST)  # the chance of a stuck task to have run for so long
    stuck = np.where(share < 0.5, np.maximum(_STUCK * share, 1e-290), 0.0)
    stuck = stuck / (stuck + (1 - _STUCK) * np.where(is_held & np.isfinite(limits), 1.0, ndtr(-a)) + 1e-300)
    is_stuck = (_uniform("stuck", elapsed.size) < stuck) & (np.arange(elapsed.size) < running)
    rest = np.where(is_stuck, np.minimum(elapsed * (1 / u - 1), LONGEST), rest)
    return np.asarray(np.where(is_held, np.minimum(rest, np.maximum(limits - elapsed, 0.0)), rest))


def _assign(free: Array, seconds: Array) -> None:
    """Assign the tasks, one column after the other, to the worker that is free first; adds to ``free`` in place."""
    draw = np.arange(len(free))
    for task in range(seconds.shape[1]):
        free[draw, free.argmin(1)] += seconds[:, task]


def _schedule_one_by_one(
    rest: Array, shape: _Shape, log_mean: Array, spread: Array, count: Array, gap: float, limits: Array
) -> Array:
    """Return when each worker is done, (draws, workers), with the pending tasks taken in random order."""
    deck = np.repeat(np.arange(count.size), np.ceil(count).astype(int))
    which = deck[np.argsort(_uniform("order", deck.size), axis=1)]
    draw = np.arange(DRAWS)[:, None]
    z = shape.invert(-np.log(_uniform("task", deck.size)))
    between = np.sqrt(np.maximum(spread[draw, which] ** 2 - spread[:, :1] ** 2, 0.0)) * _normal("domain", deck.size)
    free = rest.copy()
    _assign(free, np.minimum(np.exp(log_mean[draw, which] + spread[:, :1] * z + between), limits[draw, which]) + gap)
    return free


def _schedule_in_bulk(
    rest: Array, shape: _Shape, log_mean: Array, spread: Array, count: Array, gap: float, limits: Array
) -> Array:
    """Return the same for many tasks: the total work divided by the workers, and the wait for the last one.

    Once the last task is taken, each worker is somewhere within a task: its rest is a uniform part of a task drawn in
    proportion to its length (the equilibrium distribution of renewal theory; Cox, *Renewal Theory*, 1962).
    """
    workers = rest.shape[1]
    at = np.flatnonzero(count)
    n, theta, s = count[at], log_mean[:, at], spread[:, at]
    mean, square = shape.moments(theta, s, spread[:, :1], limits[:, at])
    variance = np.log1p(np.maximum(square / mean**2 - 1, 0.0) / n)
    sums = n * mean * np.exp(-variance / 2 + np.sqrt(variance) * _normal("sum", at.size))
    work = sums.sum(1) + gap * n.sum() + rest.sum(1)
    if workers == 1:
        return np.asarray(work)[:, None]
    draw = np.arange(DRAWS)[:, None]
    shares = np.cumsum(sums, axis=1) / sums.sum(1, keepdims=True)
    ranks = np.searchsorted((shares + draw).ravel(), _uniform("last", workers) + draw)  # one search for all draws
    which = np.clip(ranks - draw * at.size, 0, at.size - 1)
    within = spread[:, :1]
    z = shape.draw_by_length(within, workers)
    between = np.sqrt(np.maximum(s[draw, which] ** 2 - within**2, 0.0))
    between *= _normal("domain", workers) + between  # in proportion to the length, too
    lengths = np.minimum(np.exp(theta[draw, which] + within * z + between), limits[:, at][draw, which])
    last = _uniform("part", workers) * lengths
    return np.asarray(((work - last.sum(1)) / workers)[:, None] + last)


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
