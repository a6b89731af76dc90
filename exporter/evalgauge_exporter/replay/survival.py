"""Where in their trajectories attempts fail, and what failing ones do differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MOST_ACTIONS = 12


class SurvivalPoint(NamedTuple):
    """One step of the curve; steps are counted from 1."""

    step: int
    at_risk: int
    """Attempts that took at least so many steps."""
    failed: int
    """Attempts that failed with exactly so many."""
    surviving: float
    """Estimated share of attempts that have not failed after this step, 0 to 1."""


class ActionShare(NamedTuple):
    """How much of all steps is one type of action, 0 to 1; None where there are no steps."""

    action: str
    successes: float | None
    failures: float | None
    steps: int


def estimate_survival(attempts: Iterable[tuple[int, bool]]) -> list[SurvivalPoint]:
    """The Kaplan-Meier curve over steps, of (steps taken, failed) for each measured attempt.

    A success leaves the count at its last step, as what is censored does. Kaplan and Meier 1958, "Nonparametric
    estimation from incomplete observations", J. Am. Stat. Assoc. 53. A point for each number of steps at which an
    attempt ended; an attempt without steps ended before step 1, at 0.
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
    """The share of each type of action in all steps of the successes and of the failures; the commonest first.

    Types beyond the ``MOST_ACTIONS`` commonest are summed as ``other``.
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
