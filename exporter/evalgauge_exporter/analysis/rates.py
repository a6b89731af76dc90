"""Success rates, mean scores, pass@k and pass^k of a run, each with its interval.

The unit is the task: a rate is the mean over tasks of each task's share of successes, so that a task counts the same
however often it was attempted, and intervals are cluster-robust with tasks as clusters. All are computed from the sums
in ``state.tallies``, in time proportional to the number of different shares, not of attempts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from scipy.special import stdtrit

from evalgauge.metrics import MEASURED_OUTCOMES
from evalgauge_exporter.analysis.comparison.censored import DRAWS, Censored, CensoredEstimate, estimate_censored
from evalgauge_exporter.analysis.comparison.repeats import pass_all, pass_any
from evalgauge_exporter.analysis.comparison.tests import Interval, clustered_wilson_of
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.state.tallies import NO_SCORES, SCORE_UNIT, ScoreSums, TaskShares

Shares = Mapping[TaskShares, int]
"""Number of tasks by their number of attempts."""


@dataclass(frozen=True)
class Estimate:
    """An estimated mean over tasks with its 95 % interval."""

    value: float
    interval: Interval | None
    """``None`` where a single task gives none."""
    tasks: int
    """Number of tasks behind it."""


@dataclass(frozen=True)
class PassRatio:
    """pass@k and pass^k for one k, over the tasks with at least k measured attempts."""

    k: int
    any: Estimate
    """pass@k: at least one of k attempts succeeds."""
    all: Estimate
    """pass^k: all k attempts succeed."""


@dataclass(frozen=True)
class Results:
    """Rates and scores of a run or of one of its domains. What nothing was measured for is ``None``."""

    success_rate: Estimate | None
    """Mean over tasks of the share of successes among their measured attempts."""
    success_rate_all: float | None
    """The same among all their finished attempts."""
    score: Estimate | None
    """Mean over tasks of the mean score of their measured attempts, on the format's own scale."""
    running: CensoredEstimate | None
    """The success rate of a running run, with its open tasks as censored; ``None`` where it is not running."""
    running_score: CensoredEstimate | None
    """The same for the score."""
    successes: int
    """Successful attempts."""
    measured: int
    """Measured attempts."""
    finished: int
    """Finished attempts, with those that were open when the run ended or stalled."""

    @property
    def expected_rate(self) -> float | None:
        """The best estimate of the success rate: of a running run the censored one."""
        return _best(self.success_rate, self.running)

    @property
    def rate_interval(self) -> Interval | None:
        """The 95 % interval of ``expected_rate``."""
        return _interval(self.success_rate, self.running)

    @property
    def expected_score(self) -> float | None:
        """The best estimate of the mean score: of a running run the censored one."""
        return _best(self.score, self.running_score)

    @property
    def score_interval(self) -> Interval | None:
        """The 95 % interval of ``expected_score``."""
        return _interval(self.score, self.running_score)


def _best(measured: Estimate | None, running: CensoredEstimate | None) -> float | None:
    return running.mean if running is not None else None if measured is None else measured.value


def _interval(measured: Estimate | None, running: CensoredEstimate | None) -> Interval | None:
    return running.interval if running is not None else None if measured is None else measured.interval


class OpenTasks(NamedTuple):
    """What the estimates of a running run, or of one of its domains, are computed from."""

    outcomes: Censored | None
    """Success of the finished tasks, with the open ones; ``None`` where there is no rate."""
    scores: Censored | None
    draws: int


class OpenTaskEstimates(NamedTuple):
    """Estimates of the success rate and the score of a running run, or of one of its domains."""

    rate: CensoredEstimate | None
    score: CensoredEstimate | None


Scope = str | None
"""A domain; ``None`` for the whole run."""


def run_results(run: RunState, now: float, stall_after: float) -> Results:
    """Return the results of a run over all its domains.

    Args:
        run: The run.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which a writer counts as dead.
    """
    return _with_open_tasks(run, {None: exact_results(run, now, stall_after)[None]}, now, stall_after)[None]


def domain_results(run: RunState, now: float, stall_after: float) -> dict[str, Results]:
    """Return the results of a run by domain; arguments as of :func:`run_results`."""
    exact = exact_results(run, now, stall_after)
    del exact[None]
    found = _with_open_tasks(run, exact, now, stall_after)
    return {domain: results for domain, results in found.items() if domain is not None}


def exact_results(run: RunState, now: float, stall_after: float) -> dict[Scope, Results]:
    """Return the results of a run and of each of its domains over what has finished; arguments as of
    :func:`run_results`.
    """
    has_rate = success_rate_reason(run) is None
    by_domain = _with_interrupted(run, now, stall_after)
    shares: Counter[TaskShares] = Counter()
    for domain_shares in by_domain.values():
        shares.update(domain_shares)
    scores = NO_SCORES
    for sums in run.tallies.scores.values():
        scores = scores + sums
    results: dict[Scope, Results] = {None: _results(shares, scores, has_rate=has_rate)}
    for domain, domain_shares in by_domain.items():
        results[domain] = _results(domain_shares, run.tallies.scores.get(domain, NO_SCORES), has_rate=has_rate)
    return results


def success_rate_reason(run: RunState) -> str | None:
    """Return why the run has no success rate though attempts were measured; ``None`` where it has one.

    A run whose scores lie on another scale than 0 to 1 and whose outcomes are nothing but "score of at least 1" has
    none: 1 of 10 points is no success.
    """
    tallies = run.tallies
    lowest, highest = tallies.lowest_score, tallies.highest_score
    if lowest is None or highest is None or not tallies.outcome_is_score_of_one:
        return None
    if highest > 1:
        found = f"reach {highest:g}"
    elif lowest < 0 and (tallies.has_derived_outcomes or highest <= 0):
        found = f"go down to {lowest:g}"
    else:
        return None
    return f"scores {found}: set success_threshold to say which score is a success"


def pass_ratios(run: RunState) -> list[PassRatio]:
    """Return pass@k and pass^k for each k from 1 to the number of planned attempts that any task has reached."""
    shares: Counter[TaskShares] = Counter()
    for domain_shares in run.tallies.shares.values():
        shares.update(domain_shares)
    if success_rate_reason(run) is not None:
        return []
    found = []
    for k in range(1, run.attempts_planned + 1):
        tasks = {share: count for share, count in shares.items() if share.measured >= k}
        if not tasks:
            break
        attempts = sum(share.measured * count for share, count in tasks.items())
        ratios = [
            _estimate(((of(share.successes, share.measured, k), count) for share, count in tasks.items()), attempts)
            for of in (pass_any, pass_all)
        ]
        found.append(PassRatio(k, ratios[0], ratios[1]))
    return found


def score_estimate(sums: ScoreSums) -> Estimate | None:
    """Return the mean of the tasks' scores with Student's t interval over tasks."""
    if not sums.tasks:
        return None
    mean = sums.total / sums.tasks
    if sums.tasks == 1:
        return Estimate(mean * SCORE_UNIT, None, 1)
    # exact integers up to the division: no cancellation
    variance = (sums.squares * sums.tasks - sums.total**2) / (sums.tasks * (sums.tasks - 1))
    half = float(stdtrit(sums.tasks - 1, 0.975)) * math.sqrt(max(variance, 0.0) / sums.tasks)
    return Estimate(mean * SCORE_UNIT, Interval((mean - half) * SCORE_UNIT, (mean + half) * SCORE_UNIT), sums.tasks)


def _results(shares: Shares, scores: ScoreSums, *, has_rate: bool) -> Results:
    measured = sum(share.measured * tasks for share, tasks in shares.items())
    finished = sum(share.finished * tasks for share, tasks in shares.items())
    rate = rate_all = None
    if measured and has_rate:
        values = ((share.successes / share.measured, tasks) for share, tasks in shares.items() if share.measured)
        rate = _estimate(values, measured)
    if finished and has_rate:
        tasks_finished = sum(tasks for share, tasks in shares.items() if share.finished)
        total = math.fsum(tasks * share.successes / share.finished for share, tasks in shares.items() if share.finished)
        rate_all = total / tasks_finished
    return Results(
        success_rate=rate,
        success_rate_all=rate_all,
        score=score_estimate(scores),
        running=None,
        running_score=None,
        successes=sum(share.successes * tasks for share, tasks in shares.items()),
        measured=measured,
        finished=finished,
    )


def _with_open_tasks(
    run: RunState, exact: Mapping[Scope, Results], now: float, stall_after: float
) -> dict[Scope, Results]:
    """Return the results of a running run with its open tasks as censored; others unchanged."""
    return add_estimates(exact, estimate_open_tasks(collect_open_tasks(run, exact, now, stall_after)))


def collect_open_tasks(
    run: RunState, exact: Mapping[Scope, Results], now: float, stall_after: float
) -> dict[Scope, OpenTasks]:
    """Return what the estimates of a running run are computed from; nothing of another run.

    Args:
        run: The run.
        exact: Results over what has finished, of the run or of domains of it.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which a writer counts as dead.
    """
    if run.status(now, stall_after) != "running" or not any(results.measured for results in exact.values()):
        return {}
    measured: dict[Scope, list[Attempt]] = {None: [a for a in run.attempts.values() if a.status in MEASURED_OUTCOMES]}
    for attempt in measured[None]:
        measured.setdefault(attempt.domain, []).append(attempt)
    running: dict[Scope, list[Attempt]] = {None: run.running_attempts(now, stall_after)}
    for attempt in running[None]:
        running.setdefault(attempt.domain, []).append(attempt)
    pending: Counter[Scope] = Counter()
    for (domain, status), count in run.task_counts(now, stall_after).items():
        if status == "pending":
            pending[None] += count
            pending[domain] += count
    missing = None if run.attempts_planned == 1 and run.attempt_count == run.task_count else _count_missing(run)
    return {
        scope: _collect_scope(
            results, measured.get(scope, []), running.get(scope, []), pending[scope], missing, run, now, scope
        )
        for scope, results in exact.items()
        if results.measured and (running.get(scope) or pending[scope])
    }


def _count_missing(run: RunState) -> dict[str, int]:
    """Return how many of the planned attempts at each task that was begun have not been."""
    begun = Counter(attempt.task_id for attempt in run.attempts.values() if attempt.status != "pending")
    return {task_id: max(0, run.attempts_planned - count) for task_id, count in begun.items()}


def _collect_scope(
    results: Results,
    measured: list[Attempt],
    running: list[Attempt],
    pending: int,
    missing: Mapping[str, int] | None,
    run: RunState,
    now: float,
    scope: Scope,
) -> OpenTasks:
    elapsed = [max(0.0, now - (attempt.started_at or now)) for attempt in running]

    def censor(values: list[tuple[Attempt, float]], scale: tuple[float, float], design_effect: float) -> Censored:
        weights, open_weights = [], []
        if missing is not None:  # a task counts the same however often it is attempted
            sizes = Counter(attempt.task_id for attempt in (*(attempt for attempt, _ in values), *running))
            shares = {task_id: 1 / (size + missing[task_id]) for task_id, size in sizes.items()}
            weights = [shares[attempt.task_id] for attempt, _ in values]
            open_weights = [shares[attempt.task_id] for attempt in running]
        return Censored(
            [value for _, value in values],
            [max(0.0, _duration(attempt)) for attempt, _ in values],
            elapsed,
            [scale[0]] * len(elapsed),
            [scale[1]] * len(elapsed),
            pending,
            scale,
            design_effect,
            weights,
            open_weights,
            1 / run.attempts_planned,
        )

    outcomes = score = None
    if (rate := results.success_rate) is not None:
        effect = _design_effect(rate, results.measured)
        outcomes = censor([(attempt, float(attempt.status == "success")) for attempt in measured], (0.0, 1.0), effect)
    scores = [(attempt, attempt.score) for attempt in measured if attempt.score is not None]
    if scores and results.score is not None:
        scale = (min(0.0, *(s for _, s in scores)), max(1.0, *(s for _, s in scores)))
        score = censor(scores, scale, len(scores) / results.score.tasks)
    return OpenTasks(outcomes, score, DRAWS if scope is None else DRAWS // 4)


def estimate_open_tasks(collected: Mapping[Scope, OpenTasks]) -> dict[Scope, OpenTaskEstimates]:
    """Return the estimates for what :func:`collect_open_tasks` found. It reads no state, and takes a while."""
    return {
        scope: OpenTaskEstimates(
            None if tasks.outcomes is None else estimate_censored(tasks.outcomes, tasks.draws),
            None if tasks.scores is None else estimate_censored(tasks.scores, tasks.draws),
        )
        for scope, tasks in collected.items()
    }


def add_estimates(exact: Mapping[Scope, Results], estimates: Mapping[Scope, OpenTaskEstimates]) -> dict[Scope, Results]:
    """Return the results with the estimates that there are for them."""
    return {
        scope: replace(results, running=estimates[scope].rate, running_score=estimates[scope].score)
        if scope in estimates
        else results
        for scope, results in exact.items()
    }


def _duration(attempt: Attempt) -> float:
    if attempt.duration_seconds is not None:
        return attempt.duration_seconds
    return (
        0.0 if attempt.started_at is None or attempt.finished_at is None else attempt.finished_at - attempt.started_at
    )


def _design_effect(rate: Estimate, attempts: int) -> float:
    """Return how many attempts are worth one task, from the width of the interval over tasks."""
    plain = clustered_wilson_of([(rate.value, attempts)], attempts)
    if attempts == rate.tasks or rate.interval is None or plain is None:
        return 1.0
    width, plain_width = rate.interval.high - rate.interval.low, plain.high - plain.low
    return min(max((width / plain_width) ** 2, 1.0), attempts / rate.tasks)


def _estimate(values: Iterable[tuple[float, int]], attempts: int) -> Estimate:
    counted = [(value, tasks) for value, tasks in values if tasks]
    tasks = sum(count for _, count in counted)
    value = math.fsum(value * count for value, count in counted) / tasks
    return Estimate(value, clustered_wilson_of(counted, attempts), tasks)


def _with_interrupted(run: RunState, now: float, stall_after: float) -> dict[str, Counter[TaskShares]]:
    """Return the tasks by domain, with open attempts of dead writers as finished ones."""
    shares = {domain: Counter(counts) for domain, counts in run.tallies.shares.items()}
    interrupted = Counter(
        (attempt.domain, attempt.task_id)
        for attempt in run.open_attempts.values()
        if run.status_of(attempt, now, stall_after) == "interrupted"
    )
    for (domain, task_id), attempts in interrupted.items():
        counts = shares.setdefault(domain, Counter())
        before = run.tallies.shares_of(domain, task_id)
        if before.finished:
            counts[before] -= 1
        counts[before._replace(finished=before.finished + attempts)] += 1
    return shares
