"""At which step attempts fail, and which actions failing ones take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MOST_ACTIONS = 12
"""Types of action that are listed by name."""


class SurvivalPoint(NamedTuple):
    """One step of the survival curve."""

    step: int
    """Number of steps taken."""
    at_risk: int
    """Attempts that took at least this many steps."""
    failed: int
    """Attempts that failed with exactly this many steps."""
    surviving: float
    """Estimated share of attempts that have not failed after this step, 0 to 1."""


class ActionShare(NamedTuple):
    """The share of one type of action."""

    action: str
    successes: float | None
    """Share of the steps of successful attempts, 0 to 1; ``None`` where they have no steps."""
    failures: float | None
    """Share of the steps of the other attempts, 0 to 1; ``None`` where they have no steps."""
    steps: int
    """Number of steps of this type."""


def estimate_survival(attempts: Iterable[tuple[int, bool]]) -> list[SurvivalPoint]:
    """Return the Kaplan-Meier estimate of survival over steps.

    A success is censored at its last step. Source: Kaplan and Meier 1958, "Nonparametric estimation from incomplete
    observations", J. Am. Stat. Assoc. 53.

    Args:
        attempts: The number of steps taken and whether it failed, for each measured attempt.

    Returns:
        A point for each number of steps at which an attempt ended, ascending; an attempt without steps ended at 0.
    """
    ends: Counter[int] = Counter()
    failures: Counter[int] = Counter()
    for steps, failed in attempts:
        ends[steps] += 1
        failures[steps] += failed
    at_risk, surviving = sum(ends.values()), 1.0
    points = []
    for step in sorted(ends):
        surviving *= 1 - failures[step] / at_risk
        points.append(SurvivalPoint(step, at_risk, failures[step], surviving))
        at_risk -= ends[step]
    return points


def compute_action_mix(
    successes: Sequence[Mapping[str, int]], failures: Sequence[Mapping[str, int]]
) -> list[ActionShare]:
    """Return the share of each type of action in the steps of successful and of other attempts.

    Args:
        successes: The number of steps by type, for each successful attempt.
        failures: The same for each other attempt.

    Returns:
        The shares, most common first; types beyond the ``MOST_ACTIONS`` most common are summed as ``other``.
    """
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for counts, attempts in ((won, successes), (lost, failures)):
        for attempt in attempts:
            counts.update(attempt)
    common = [action for action, _ in (won + lost).most_common(MOST_ACTIONS)]
    shares = [_share(action, won[action], lost[action], won.total(), lost.total()) for action in common]
    rest = [action for action in won + lost if action not in common]
    if rest:
        others = [sum(counts[action] for action in rest) for counts in (won, lost)]
        shares.append(_share("other", others[0], others[1], won.total(), lost.total()))
    return shares


def _share(action: str, won: int, lost: int, all_won: int, all_lost: int) -> ActionShare:
    return ActionShare(action, won / all_won if all_won else None, lost / all_lost if all_lost else None, won + lost)
