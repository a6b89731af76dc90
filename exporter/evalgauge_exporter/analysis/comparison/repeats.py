"""Statistics of repeated attempts at tasks: pass@k and pass^k."""

from __future__ import annotations

import math
from collections.abc import Iterable

from evalgauge_exporter.analysis.comparison.pairing import Trial, group_by_task


def pass_any(successes: int, attempts: int, k: int) -> float:
    """Return the unbiased estimate of pass@k for one task: the chance that at least one of k attempts succeeds.

    1 − C(n − c, k) / C(n, k) for c successes in n attempts (Chen et al. 2021, "Evaluating Large Language Models Trained
    on Code", arXiv:2107.03374, equation 1).

    Raises:
        ValueError: Not 1 ≤ k ≤ attempts, or not 0 ≤ successes ≤ attempts.
    """
    _check(successes, attempts, k)
    return 1 - math.comb(attempts - successes, k) / math.comb(attempts, k)


def pass_all(successes: int, attempts: int, k: int) -> float:
    """Return the unbiased estimate of pass^k for one task: the chance that all of k attempts succeed.

    C(c, k) / C(n, k) for c successes in n attempts (Yao et al. 2024, "τ-bench: A Benchmark for Tool-Agent-User
    Interaction in Real-World Domains", arXiv:2406.12045).

    Raises:
        ValueError: Not 1 ≤ k ≤ attempts, or not 0 ≤ successes ≤ attempts.
    """
    _check(successes, attempts, k)
    return math.comb(successes, k) / math.comb(attempts, k)


def pass_at_k(trials: Iterable[Trial], k: int) -> float | None:
    """Return the mean over tasks of the unbiased estimate of pass@k.

    Args:
        trials: Measured attempts of a run.
        k: Number of attempts, at least 1.

    Returns:
        0 to 1, over the tasks with at least ``k`` measured attempts; ``None`` without any.

    Raises:
        ValueError: ``k`` is less than 1.
    """
    return _mean_over_tasks(trials, k, all_of_them=False)


def pass_hat_k(trials: Iterable[Trial], k: int) -> float | None:
    """Return the mean over tasks of the unbiased estimate of pass^k; arguments as of :func:`pass_at_k`."""
    return _mean_over_tasks(trials, k, all_of_them=True)


def _mean_over_tasks(trials: Iterable[Trial], k: int, *, all_of_them: bool) -> float | None:
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    of = pass_all if all_of_them else pass_any
    values = [
        of(sum(trial.success for trial in attempts), len(attempts), k)
        for attempts in group_by_task(trials).values()
        if len(attempts) >= k
    ]
    return math.fsum(values) / len(values) if values else None


def _check(successes: int, attempts: int, k: int) -> None:
    if not 0 <= successes <= attempts:
        raise ValueError(f"{successes} successes of {attempts}")
    if not 1 <= k <= attempts:
        raise ValueError(f"k is {k}; it must lie between 1 and the {attempts} attempts")
