"""A test that may be looked at after every task: the anytime-valid p-value of a comparison that goes on.

What is tested: the pairs in which exactly one of the two runs succeeded (the discordant ones) are throws of a fair
coin. That holds where both runs come from one agent. A fixed-size test that is repeated after each pair finds something
by chance in far more than 5 % of equal runs; this one in at most 5 %, however often and however long it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from scipy.special import betainc

SHAPE = 2.0
"""Shape of the symmetric Beta distribution that is bet on. Of the shapes 0.5, 1, 2 and 4 it is the one with the best
worst case: over true drops of 5, 10 and 20 points and flip rates of 0.16 to 0.36 it never needed more than 15 % more
pairs (median, simulated) than the best of the four; 0.5 and 1 are better at large drops only, 4 at small ones only."""

_LOG_2 = math.log(2)


def log_martingale(won: int, lost: int, shape: float = SHAPE) -> float:
    """Natural logarithm of the evidence that B is worse, after ``won`` discordant pairs for B and ``lost`` against it.

    The likelihood of the pairs, averaged over chances θ of B to win a pair that are drawn from Beta(shape, shape) cut
    to θ < 1/2, divided by their likelihood under θ = 1/2. The average of 2θ (a pair won) and 2(1 − θ) (a pair lost) is
    1 for a fair coin, whatever θ, so this is a nonnegative martingale that starts at 1, and by Ville's inequality the
    chance that it ever exceeds 1/α is at most α (Robbins 1970, "Statistical methods related to the law of the iterated
    logarithm", Ann. Math. Stat. 41; Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe
    anytime-valid inference", Stat. Sci. 38). With the counts exchanged it is the evidence that B is better; the
    mean of the two is the usual two-sided Beta-binomial mixture.
    """
    below_half = float(betainc(won + shape, lost + shape, 0.5))
    if below_half == 0:  # so far ahead that no double holds what is left
        return -math.inf
    return (
        (won + lost + 1) * _LOG_2
        + _log_beta(won + shape, lost + shape)
        - _log_beta(shape, shape)
        + math.log(below_half)
    )


def _log_beta(x: float, y: float) -> float:
    return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)


class Martingale:
    """The anytime-valid p-values of one comparison, fed with its discordant pairs in the order they came.

    Each direction has a test of its own, one-sided: under no difference at most α of all runs ever have
    ``p_worse < α``, and at most α ever have ``p_better < α``. A two-sided mixture at the same α would also keep the
    alarm "worse" under α, but would spend half of it on the other direction and need a quarter to a third more pairs to
    raise it. An update is O(1).
    """

    __slots__ = ("_log_peak_better", "_log_peak_worse", "_lost", "_shape", "_won")

    def __init__(self, shape: float = SHAPE) -> None:
        self._shape = shape
        self._won = 0
        self._lost = 0
        self._log_peak_worse = 0.0
        self._log_peak_better = 0.0

    def update(self, b_succeeded: bool) -> None:
        """Take the next discordant pair: B succeeded where A did not, or the other way round."""
        # a pair that B lost can only raise the evidence that B is worse, and the other way round
        if b_succeeded:
            self._won += 1
            self._log_peak_better = max(self._log_peak_better, log_martingale(self._lost, self._won, self._shape))
        else:
            self._lost += 1
            self._log_peak_worse = max(self._log_peak_worse, log_martingale(self._won, self._lost, self._shape))

    @property
    def p_worse(self) -> float:
        """Anytime-valid p-value of "B is worse than A": 1 over the most that the evidence ever was. It never rises."""
        return math.exp(-self._log_peak_worse)

    @property
    def p_better(self) -> float:
        """Anytime-valid p-value of "B is better than A". It never rises."""
        return math.exp(-self._log_peak_better)

    @property
    def p_value(self) -> float:
        """The p-value of the direction that the pairs show now; where they are even, the larger of the two."""
        return select_direction(self._lost - self._won, self.p_worse, self.p_better)


def select_direction(delta: float, worse: float, better: float) -> float:
    """The value for the direction of ``delta`` = A − B: that of ``worse`` where positive, the larger where it is 0."""
    if delta == 0:
        return max(worse, better)
    return worse if delta > 0 else better


def anytime_p_value(discordant: Iterable[bool]) -> float:
    """:attr:`Martingale.p_value` after these discordant pairs (``True``: B succeeded), 1 where there are none."""
    martingale = Martingale()
    for b_succeeded in discordant:
        martingale.update(b_succeeded)
    return martingale.p_value


class PendingPair(NamedTuple):
    """One pair as it stands while the runs go on: which of the two succeeded, ``None`` for one that is still at it."""

    started: float
    """Unix seconds when the later of the two began."""
    task_id: str
    a_succeeded: bool | None
    b_succeeded: bool | None


def anytime_p_values(throws: Iterable[PendingPair]) -> tuple[float, float]:
    """:attr:`Martingale.p_worse` and :attr:`Martingale.p_better` while several tasks run side by side.

    The order of the throws must not depend on their outcomes. The order in which tasks end does: where failures are
    quick, the first results of many workers are failures, and of equal runs with 64 workers most would alarm. So the
    order is that of the starts (ties by task id), and a task that still runs counts as whatever speaks most against the
    alarm: for "worse", as if B succeeded and A did not. The evidence grows with every loss of B and falls with every
    win, so at each throw it is at most what it will be once all outcomes are known, and what holds for that holds for
    this: at most α of equal runs ever alarm, whichever tasks take long. As tasks end the p-values can only fall.
    """
    if_open_for_b, if_open_for_a = Martingale(), Martingale()
    for throw in sorted(throws, key=lambda throw: throw[:2]):
        a, b = throw.a_succeeded is True, throw.b_succeeded is not False
        if a != b:
            if_open_for_b.update(b)
        a, b = throw.a_succeeded is not False, throw.b_succeeded is True
        if a != b:
            if_open_for_a.update(b)
    return if_open_for_b.p_worse, if_open_for_a.p_better
