"""How often the 95 % intervals of a running run hold: of its rate, of its final rate, of its difference to a baseline.

Each row cuts simulated runs when a share of their tasks has finished. Where failures take longer than successes, the
successes are in first; with many workers that bias lasts for most of the run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row
from evalgauge_exporter.analysis.comparison import Trial, compare, wilson
from evalgauge_exporter.analysis.comparison.censored import Censored, estimate_censored
from evalgauge_exporter.analysis.comparison.power import mcnemar_power, pairs_for_mcnemar, pairs_for_power

TASKS, RATE = 154, 0.45
CUTS = (0.1, 0.25, 0.5, 0.75)
KINDS = {"failures take 4 times as long": (1.0, 4.0), "successes take 4 times as long": (4.0, 1.0), "alike": (1.0, 1.0)}
WORKERS = (1, 8, 64)
AIM = "93–99 %"


class SimulatedRun(NamedTuple):
    """Outcomes and times of the tasks, by task."""

    success: NDArray[np.bool_]
    started: NDArray[np.float64]
    ended: NDArray[np.float64]

    def now_at(self, cut: float) -> float:
        """The time at which that share of the tasks has finished."""
        return float(np.sort(self.ended)[int(np.ceil(cut * len(self.ended))) - 1])


def rows(runs: int = 150) -> Iterator[Row]:
    """Coverage of the rate, of the final rate and of the difference; power of the sizes that are asked for."""
    for kind, (of_success, of_failure) in KINDS.items():
        for workers in WORKERS:
            for cut in CUTS:
                yield _rate_row(kind, workers, cut, of_success, of_failure, runs)
    for kind, (of_success, of_failure) in KINDS.items():
        for workers in (8, 64):
            for cut in (0.25, 0.5, 0.75):
                yield _difference_row(kind, workers, cut, of_success, of_failure, runs // 2)
    for only_a, only_b in ((0.17, 0.07), (0.2, 0.15), (0.3, 0.1)):
        yield _power_row(only_a, only_b)


def simulate(
    rng: np.random.Generator, chances: NDArray[np.float64], workers: int, of_success: float, of_failure: float
) -> SimulatedRun:
    """Simulate a run: the tasks start in their order as workers become free."""
    success = rng.random(len(chances)) < chances
    durations = rng.lognormal(0, 0.5, len(chances)) * np.where(success, of_success, of_failure)
    free = [0.0] * workers
    started = np.empty(len(chances))
    for task, duration in enumerate(durations):
        started[task] = heapq.heappop(free)
        heapq.heappush(free, float(started[task] + duration))
    return SimulatedRun(success, started, started + durations)


def _rate_row(kind: str, workers: int, cut: float, of_success: float, of_failure: float, runs: int) -> Row:
    rng = np.random.default_rng([workers, int(cut * 100)])
    held = final = naive = 0
    for _ in range(runs):
        run = simulate(rng, np.full(TASKS, RATE), workers, of_success, of_failure)
        now = run.now_at(cut)
        done, opened = run.ended <= now, (run.started <= now) & (run.ended > now)
        number = int(opened.sum())
        tasks = Censored(
            run.success[done].astype(float).tolist(),
            (run.ended - run.started)[done].tolist(),
            (now - run.started)[opened].tolist(),
            [0.0] * number,
            [1.0] * number,
            int((run.started > now).sum()),
            (0.0, 1.0),
        )
        found = estimate_censored(tasks)
        plain = wilson(int(run.success[done].sum()), int(done.sum()))
        assert found is not None
        assert plain is not None
        held += found.interval.low <= RATE <= found.interval.high
        final += found.final.low - 1e-9 <= run.success.mean() <= found.final.high + 1e-9
        naive += plain.low <= RATE <= plain.high
    return Row(
        f"{cut:.0%} of {TASKS} tasks, {workers} workers, {kind}",
        f"rate {held / runs:.0%} | final rate {final / runs:.0%}",
        f"Wilson over the finished ones: {naive / runs:.0%}",
        None,
        AIM,
    )


def _difference_row(kind: str, workers: int, cut: float, of_success: float, of_failure: float, runs: int) -> Row:
    rng = np.random.default_rng([7, workers, int(cut * 100)])
    held = final = plain = worse = 0
    for _ in range(runs):
        chances = rng.beta(0.6, 0.73, TASKS)
        a = simulate(rng, chances, workers, of_success, of_failure)
        b = simulate(rng, chances, workers, of_success, of_failure)
        now = b.now_at(cut)
        finished = [n for n in range(TASKS) if b.ended[n] <= now]
        running = {f"t{n}": float(b.started[n]) for n in range(TASKS) if b.started[n] <= now < b.ended[n]}
        before, after = _trials(a, range(TASKS)), _trials(b, finished)
        found = compare(before, after, finished=False, running_b=running, now=now)
        left_out = compare(before, after)
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.final_low is not None or not running
        held += found.ci_low <= 0 <= found.ci_high
        last = float(a.success.mean() - b.success.mean())
        low = found.ci_low if found.final_low is None else found.final_low
        high = found.ci_high if found.final_high is None else found.final_high
        final += low - 1e-9 <= last <= high + 1e-9
        plain += (left_out.ci_low or 0) <= 0 <= (left_out.ci_high or 0)
        worse += found.verdict == "worse"
    return Row(
        f"difference of equal runs, {cut:.0%}, {workers} workers, {kind}",
        f"true {held / runs:.0%} | final {final / runs:.0%} | verdict worse {worse / runs:.1%}",
        f"finished pairs alone: {plain / runs:.0%}",
        None,
        AIM,
    )


def _trials(run: SimulatedRun, tasks: range | list[int]) -> list[Trial]:
    return [
        Trial(
            f"t{n}", 1, "d", bool(run.success[n]), None, float(run.ended[n] - run.started[n]), None, float(run.ended[n])
        )
        for n in tasks
    ]


def _power_row(only_a: float, only_b: float) -> Row:
    discordant, delta = only_a + only_b, only_a - only_b
    pairs, approximate = pairs_for_mcnemar(discordant, delta), pairs_for_power(delta, discordant)
    assert pairs is not None
    assert approximate is not None
    return Row(
        f"pairs to see a drop of {delta * 100:.0f} points, {discordant:.0%} discordant",
        f"{pairs:,}: power {mcnemar_power(pairs, discordant, delta):.1%}",
        f"Connor's formula: {approximate:,}, power {mcnemar_power(approximate, discordant, delta):.1%}",
        pairs / approximate,
        "power 80 %",
    )
