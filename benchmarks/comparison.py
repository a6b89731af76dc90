"""The test that is looked at while a run goes on: how often it cries wolf, and how soon it sees a true drop.

Simulated runs. A task has a chance of success, drawn from a Beta distribution with mean 0.4 and a spread that gives the
flip rate named; both runs try every task once. A drop lowers each chance by the same factor.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from benchmarks.rows import Row
from evalgauge_exporter.analysis.comparison.power import pairs_for_power
from evalgauge_exporter.analysis.comparison.sequential import Martingale, PendingPair, anytime_p_values

ALPHA = 0.05
MEAN = 0.4
MIN_PAIRS = 10
TASKS = 154
RUNS = 2_000
LOOK_EVERY = 12
"""Tasks that end between two looks where workers run side by side; with one worker it is looked at after each."""
DROPS = {0.05: 6_000, 0.10: 2_000, 0.20: 600}
"""True drop: pairs after which a simulated run is given up."""

Outcomes = NDArray[np.bool_]
Times = NDArray[np.float64]


class Runs(NamedTuple):
    """Outcomes of each task in A and B, and when B started and ended it; A ended before."""

    a: Outcomes
    b: Outcomes
    began: Times
    ended: Times


def rows() -> Iterator[Row]:
    for flips in (0.12, 0.24, 0.36):
        yield false_alarms(flips)
    for workers, factor, words in ((16, 0.25, "a quarter of"), (16, 4.0, "four times"), (64, 0.25, "a quarter of")):
        yield false_alarms_in_parallel(workers, factor, words)
    for drop, longest in DROPS.items():
        yield detection(drop, longest)
    yield detection_in_parallel(0.10, 600, 16)


def simulate(generator: np.random.Generator, tasks: int, flips: float, drop: float = 0.0) -> tuple[Outcomes, Outcomes]:
    """Simulate the outcomes of each task in A and B, in the order of the tasks."""
    # the mean of 2p(1 − p) under Beta(cν, (1 − c)ν) is 2c(1 − c)ν / (ν + 1)
    share = flips / (2 * MEAN * (1 - MEAN))
    spread = share / (1 - share)
    chances = generator.beta(MEAN * spread, (1 - MEAN) * spread, tasks)
    return generator.random(tasks) < chances, generator.random(tasks) < chances * (1 - drop / MEAN)


def schedule(generator: np.random.Generator, a: Outcomes, b: Outcomes, workers: int, factor: float) -> Runs:
    """Assign the tasks of B to the workers in their order; a failure takes ``factor`` times as long."""
    durations = generator.lognormal(0, 0.5, len(b)) * np.where(b, 1.0, factor)
    free = [0.0] * workers
    began, ended = np.empty(len(b)), np.empty(len(b))
    for task, duration in enumerate(durations):
        began[task] = heapq.heappop(free)
        ended[task] = began[task] + duration
        heapq.heappush(free, float(ended[task]))
    return Runs(a, b, began, ended)


def first_alarm(a: Outcomes, b: Outcomes) -> int | None:
    """Return the pairs after which the anytime-valid test first says "worse", evaluated after each."""
    martingale = Martingale()
    for pair in np.flatnonzero(a != b):
        martingale.update(bool(b[pair]))
        if martingale.p_worse < ALPHA:
            return max(int(pair) + 1, MIN_PAIRS)
    return None


def first_alarm_in_parallel(runs: Runs) -> int | None:
    """Return the finished tasks of B when the test first says "worse", with running tasks counted against it."""
    by_end = np.sort(runs.ended)
    for done in range(LOOK_EVERY, len(by_end) + 1, LOOK_EVERY):
        now = by_end[done - 1]
        seen = [
            PendingPair(float(began), "", bool(a), bool(b) if ended <= now else None)
            for a, b, began, ended in zip(*runs, strict=True)
            if began <= now
        ]
        if anytime_p_values(seen)[0] < ALPHA:
            return done
    return None


def exact_alarms(a: Outcomes, b: Outcomes) -> tuple[bool, bool]:
    """Return whether the exact McNemar test, repeated after each pair, ever says "worse", and ever rejects."""
    lost, won = np.cumsum(a & ~b)[MIN_PAIRS - 1 :], np.cumsum(b & ~a)[MIN_PAIRS - 1 :]
    found = 2 * bdtr(np.minimum(lost, won), lost + won, 0.5) < ALPHA
    return bool(np.any(found & (lost > won))), bool(np.any(found))


def false_alarms(flips: float) -> Row:
    generator = np.random.default_rng(1)
    counts = np.zeros(3)
    for _ in range(RUNS):
        a, b = simulate(generator, TASKS, flips)
        counts += (first_alarm(a, b) is not None, *exact_alarms(a, b))
    anytime, worse, either = counts / RUNS
    return Row(
        f"{RUNS:,} equal pairs of {TASKS} tasks, flip rate {flips:.0%}: ever alarms",
        f"{anytime:.1%}",
        f"exact test repeated: {worse:.1%} worse, {either:.1%} either way",
        float(anytime / worse),
        "≤ 5 %",
    )


def false_alarms_in_parallel(workers: int, factor: float, words: str, runs: int = 1_000, flips: float = 0.24) -> Row:
    generator = np.random.default_rng(2)
    counts = np.zeros(3)
    for _ in range(runs):
        pair = schedule(generator, *simulate(generator, TASKS, flips), workers, factor)
        by_end = np.argsort(pair.ended)
        a, b = pair.a[by_end], pair.b[by_end]
        counts += (first_alarm_in_parallel(pair) is not None, first_alarm(a, b) is not None, exact_alarms(a, b)[0])
    anytime, ended, exact = counts / runs
    return Row(
        f"{runs:,} equal pairs, {workers} workers, failing takes {words} the time: ever alarms",
        f"{anytime:.1%}",
        f"in the order of the ends: {ended:.1%}; exact test repeated: {exact:.1%}",
        float(anytime / exact),
        "≤ 5 %",
    )


def detection(drop: float, longest: int, runs: int = 500, flips: float = 0.24) -> Row:
    generator = np.random.default_rng(4)
    alarms = [first_alarm(*simulate(generator, longest, flips, drop)) or longest + 1 for _ in range(runs)]
    median = int(np.median(alarms))
    # how often the two differ: A's chance p against p(1 − r), averaged over tasks
    both = (1 - drop / MEAN) * (MEAN - flips / 2)
    even, likely = (pairs_for_power(drop, 2 * MEAN - drop - 2 * both, ALPHA, power) for power in (0.5, 0.8))
    assert even is not None
    return Row(
        f"true drop of {drop * 100:.0f} points, flip rate {flips:.0%}: median pairs to the alarm",
        f"{median:,} ({share_within(alarms, 154)}, {share_within(alarms, 369)})",
        f"one exact test at the end: {even:,} at 50 % power, {likely:,} at 80 %",
        median / even,
    )


def detection_in_parallel(drop: float, longest: int, workers: int, runs: int = 200, flips: float = 0.24) -> Row:
    generator = np.random.default_rng(5)
    alone, together = [], []
    for _ in range(runs):
        a, b = simulate(generator, longest, flips, drop)
        alone.append(first_alarm(a, b) or longest + 1)
        together.append(first_alarm_in_parallel(schedule(generator, a, b, workers, 1.0)) or longest + 1)
    return Row(
        f"the same drop of {drop * 100:.0f} points, {workers} workers: median pairs to the alarm",
        f"{np.median(together):,.0f} ({share_within(together, 154)}, {share_within(together, 369)})",
        f"one worker, the same runs: {np.median(alone):,.0f}",
        float(np.median(together) / np.median(alone)),
    )


def share_within(alarms: list[int], pairs: int) -> str:
    return f"in {pairs}: {np.mean(np.array(alarms) <= pairs):.0%}"
