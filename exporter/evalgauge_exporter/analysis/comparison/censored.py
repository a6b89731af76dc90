"""Estimates from a run that is running: its open tasks are censored, not left out.

Tasks that end soon are over-represented among the finished tasks of a running run. Where failures run into a time limit
while successes are quick, the mean over the finished tasks is far too high. So a running task counts as what it is: one
whose outcome comes later than its elapsed time. The estimate is the integral of the outcome over the Kaplan-Meier
distribution of the durations (Stute and Wang 1993, "The strong law under random censorship", Ann. Stat. 21), which for
success and failure is Aalen and Johansen's cumulative incidence of success (1978, "An empirical transition matrix for
non-homogeneous Markov chains based on censored observations", Scand. J. Stat. 5).

Its uncertainty is that of the Bayesian bootstrap (Rubin 1981, "The Bayesian bootstrap", Ann. Stat. 9): each draw gives
the tasks random weights. Of tasks that have run for longer than any finished one nothing is known: in half of the draws
all of them get the worst value, in half the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalgauge_exporter.analysis.comparison.tests import Interval

DRAWS = 800
"""Number of draws of the Bayesian bootstrap."""
_BINS = 48  # more distinct times than this are grouped by quantile
_LEVELS = 9  # the same for values
_PRIOR = 0.5  # weight of a success and of a failure in tasks before anything is known (Jeffreys)
_PRIOR_AT = (0.125, 0.375, 0.625, 0.875)  # the quantiles of the finished durations at which the prior tasks end

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Censored:
    """Finished and open tasks of a running run."""

    values: Sequence[float]
    """Value of each finished task, such as 1 for success and 0 for failure."""
    durations: Sequence[float]
    """Seconds that each of them took."""
    elapsed: Sequence[float]
    """Seconds for which each open task has run."""
    lowest: Sequence[float]
    """The lowest value that each open task can still get."""
    highest: Sequence[float]
    """The highest one."""
    pending: int
    """Number of tasks that have not started."""
    scale: tuple[float, float]
    """The lowest and the highest value of any task."""
    design_effect: float = 1.0
    """Number of values that are worth one independent value, at least 1; above 1 where attempts at one task repeat."""
    weights: Sequence[float] = ()
    """Weight of each finished value in the mean; by default 1. Of n attempts at one task each is 1/n of it."""
    open_weights: Sequence[float] = ()
    """The same for each open task."""
    pending_weight: float = 1.0
    """The same for each task that has not started."""


@dataclass(frozen=True)
class CensoredEstimate:
    """Estimates of a mean from a running run."""

    mean: float
    """Estimate of the mean of all tasks."""
    interval: Interval
    """Its 95 % interval as that of a finished run: for the mean of any further tasks of the same kind."""
    final: Interval
    """95 % interval of what the mean over exactly these tasks will be once all are finished."""


def estimate_censored(tasks: Censored, draws: int = DRAWS) -> CensoredEstimate | None:
    """Return the estimate of the mean value.

    The result is the same for the same input: the draws use a fixed seed.

    Args:
        tasks: Finished and open tasks.
        draws: Number of draws of the bootstrap.

    Returns:
        The estimate; ``None`` where no task is finished.
    """
    if not len(tasks.values):
        return None
    drawn = draw_censored(tasks, draws)
    weights, open_weights = _weights_of(tasks)
    total = float(weights.sum() + open_weights.sum()) + tasks.pending * tasks.pending_weight
    return summarize_draws(drawn.mean, drawn.total / total)


class Draws(NamedTuple):
    """Draws of the bootstrap, (draws,)."""

    mean: Array
    """Mean value of any further tasks of the same kind."""
    total: Array
    """Weighted sum of the values of exactly these tasks once all are finished."""


def summarize_draws(mean: Array, final: Array) -> CensoredEstimate:
    """Return the estimate that draws of a mean and of its final value give."""
    return CensoredEstimate(float(np.mean(mean)), _interval(mean), _interval(final))


def draw_censored(tasks: Censored, draws: int = DRAWS, stratum: int = 0) -> Draws:
    """Draw the mean value of the tasks and their final sum.

    Args:
        tasks: Finished and open tasks; without a finished one only the prior and the open ones count.
        draws: Number of draws of the bootstrap.
        stratum: Number of the stratum: draws of different strata are independent.
    """
    rng = np.random.default_rng([20260101, stratum])
    atoms = _atoms(tasks)
    values, is_event, low, high = atoms.values, atoms.is_event, atoms.lowest, atoms.highest
    weights = rng.standard_gamma(np.broadcast_to(atoms.independent, (draws, values.size)))
    weights = np.maximum(weights, 1e-12)
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    hazard = np.where(is_event, weights / at_risk, 0.0)
    survival = np.cumprod(1 - hazard, axis=1)
    before = np.column_stack((np.ones(draws), survival[:, :-1]))
    mass = before * hazard
    # the tasks that have run for longer than any finished one took: anything that they can still become
    split = rng.integers(0, 2, draws)
    last_event = int(np.flatnonzero(is_event)[-1])
    tail = slice(last_event + 1, None)
    rest = survival[:, -1]
    if low[tail].size:
        share = weights[:, tail] / weights[:, tail].sum(1, keepdims=True)
        tail_low, tail_high = share @ low[tail], share @ high[tail]
        tail_value = tail_low + split * (tail_high - tail_low)
    else:
        tail_value = np.zeros(draws)
        rest = np.zeros(draws)
    mass_of_all = mass.sum(1) + rest
    mean = ((mass * values).sum(1) + rest * tail_value) / mass_of_all
    square = ((mass * values**2).sum(1) + rest * tail_value**2) / mass_of_all

    # what the open tasks become: the same distribution, given that it exceeds their elapsed time
    after_mass = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1] + rest[:, None]
    after_value = np.cumsum((mass * values)[:, ::-1], axis=1)[:, ::-1] + (rest * tail_value)[:, None]
    after_square = np.cumsum((mass * values**2)[:, ::-1], axis=1)[:, ::-1] + (rest * tail_value**2)[:, None]
    opened = ~is_event
    beyond = np.maximum(after_mass[:, opened], 1e-300)
    open_mean = after_value[:, opened] / beyond
    open_variance = np.maximum(after_square[:, opened] / beyond - open_mean**2, 0.0)
    open_mean = np.clip(open_mean, low[opened], high[opened])
    open_sums = _Sums(atoms.weights[opened], atoms.squares[opened])
    total_open = _draw_total(rng, open_sums, open_mean, open_variance, low[opened], high[opened], tasks.design_effect)
    pending_mean, pending_variance = mean[:, None], np.maximum(square - mean**2, 0.0)[:, None]
    scale_low, scale_high = (np.array([bound]) for bound in tasks.scale)
    pending = _Sums(*(np.array([tasks.pending * tasks.pending_weight**power]) for power in (1, 2)))
    total_pending = _draw_total(
        rng, pending, pending_mean, pending_variance, scale_low, scale_high, tasks.design_effect
    )
    known = float(np.dot(tasks.values, _weights_of(tasks)[0])) if len(tasks.values) else 0.0
    return Draws(mean, known + total_open + total_pending)


class _Sums(NamedTuple):
    """The weights of groups of tasks, (groups,)."""

    weights: Array
    """Sum of the weights of the tasks in each group."""
    squares: Array
    """Sum of their squares."""


def _draw_total(
    rng: np.random.Generator, sums: _Sums, mean: Array, variance: Array, low: Array, high: Array, design_effect: float
) -> Array:
    """Draw the weighted sum of the values of groups of tasks, (draws,).

    Args:
        rng: The generator.
        sums: The tasks' weights.
        mean: Mean value of a task, (draws, groups).
        variance: Its variance, (draws, groups).
        low: The lowest value of a task, (groups,).
        high: The highest one.
        design_effect: Factor by which repeats widen the variance of a sum.
    """
    width = np.maximum(high - low, 1e-12)
    share = np.clip((mean - low) / width, 0.0, 1.0)
    weights, squares = sums
    is_counted = design_effect == 1 and np.array_equal(weights, squares)  # each weighs 1
    if is_counted and np.allclose(variance, share * (1 - share) * width**2, atol=1e-9):  # either low or high
        return np.asarray((low * weights + width * rng.binomial(weights.astype(np.int64), share)).sum(1))
    total = (mean * weights).sum(1)
    total += np.sqrt((variance * squares).sum(1) * design_effect) * rng.standard_normal(len(mean))
    return np.asarray(np.clip(total, (low * weights).sum(), (high * weights).sum()))


def _weights_of(tasks: Censored) -> tuple[Array, Array]:
    """Return the weights of the finished and of the open tasks."""
    weights = np.asarray(tasks.weights, dtype=np.float64) if tasks.weights else np.ones(len(tasks.values))
    return weights, np.asarray(tasks.open_weights, dtype=np.float64) if tasks.open_weights else np.ones(
        len(tasks.elapsed)
    )


def _interval(draws: Array) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(low), float(high))


class _Atoms(NamedTuple):
    """Groups of equal tasks in the order of their times, (groups,)."""

    values: Array
    is_event: NDArray[np.bool_]
    """Whether the tasks are finished."""
    lowest: Array
    highest: Array
    weights: Array
    """Sum of the tasks' weights."""
    squares: Array
    """Sum of their squares."""
    independent: Array
    """Number of independent values that the group is worth."""


def _atoms(tasks: Censored) -> _Atoms:
    durations = np.asarray(tasks.durations, dtype=np.float64)
    values = np.asarray(tasks.values, dtype=np.float64)
    elapsed = np.asarray(tasks.elapsed, dtype=np.float64)
    low, high = np.asarray(tasks.lowest, dtype=np.float64), np.asarray(tasks.highest, dtype=np.float64)
    durations, elapsed = _group(durations, elapsed)
    values = _round_to_levels(values) if values.size else values
    prior_at = np.quantile(durations if durations.size else np.zeros(1), _PRIOR_AT, method="nearest")
    prior_values = np.repeat(tasks.scale, len(_PRIOR_AT))
    rows = np.concatenate(
        (
            np.column_stack((durations, np.zeros(durations.size), values, values, values)),
            np.column_stack((elapsed, np.ones(elapsed.size), np.zeros(elapsed.size), low, high)),
        )
    )
    unique, group = np.unique(rows, axis=0, return_inverse=True)
    each = np.concatenate(_weights_of(tasks))
    weights, squares = (
        np.bincount(group.ravel(), each**power, minlength=len(unique)).astype(np.float64) for power in (1, 2)
    )
    independent = weights * (each.size / max(each.sum(), 1e-300) / tasks.design_effect)
    prior = np.column_stack((np.tile(prior_at, 2), np.zeros(prior_values.size), *[prior_values] * 3))
    unique = np.concatenate((unique, prior))
    share = np.full(len(prior), _PRIOR / len(_PRIOR_AT))
    weights, squares, independent = (np.concatenate((found, share)) for found in (weights, squares, independent))
    order = np.lexsort((unique[:, 1], unique[:, 0]))  # events before censored ones of the same time
    unique = unique[order]
    return _Atoms(
        unique[:, 2], unique[:, 1] == 0, unique[:, 3], unique[:, 4], weights[order], squares[order], independent[order]
    )


def _group(durations: Array, elapsed: Array) -> tuple[Array, Array]:
    """Round times down to quantiles of the durations where there are many; times beyond the last stay beyond."""
    if not durations.size or (durations.size <= _BINS and elapsed.size <= _BINS):
        return durations, elapsed
    edges = np.unique(np.quantile(durations, np.linspace(0, 1, _BINS), method="nearest"))
    grouped = edges[np.searchsorted(edges, durations, side="right") - 1]
    place = np.searchsorted(edges, elapsed, side="right")
    between = np.concatenate(([edges[0] - 1], edges))
    beyond = elapsed > edges[-1]
    return grouped, np.where(beyond, edges[-1] * 1.0000001 + 1e-9, between[place])


def _round_to_levels(values: Array) -> Array:
    """Round values to a few levels where there are many different ones."""
    levels = np.unique(values)
    if levels.size <= _LEVELS:
        return values
    edges = np.quantile(values, np.linspace(0, 1, _LEVELS + 1))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _LEVELS - 1)
    means = np.array([values[place == level].mean() if np.any(place == level) else 0.0 for level in range(_LEVELS)])
    return np.asarray(means[place])
