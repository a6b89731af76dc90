"""The earlier runs of the demo: finished ones over eight weeks, one that was killed, and two to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from evalgauge import Run
from evalgauge_exporter.demo.player import write_finished_run
from evalgauge_exporter.demo.scenario import Scenario, plan

MODEL, OTHER_MODEL, THIRD_MODEL = "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5"
WORKERS = 4
HOUR, DAY = 3600.0, 86_400.0
MAX_TASKS = 154
"""Tasks of a run of the weeks before: more make the start slower and the trend no clearer."""


class EarlierRun(NamedTuple):
    """A run of the weeks before."""

    model: str
    days: float
    """Days before now at which it ended."""
    skill: float
    """Added to each domain's success rate."""
    share: float = 1.0
    """Below 1 it was killed after this share of its time."""


EARLIER_RUNS = (
    EarlierRun(MODEL, 0.3, 0.0, share=0.6),
    EarlierRun(MODEL, 3, 0.01),
    EarlierRun(OTHER_MODEL, 7, -0.19),
    EarlierRun(THIRD_MODEL, 9, 0.1),
    EarlierRun(MODEL, 10, -0.02),
    EarlierRun(MODEL, 17, -0.05),
    EarlierRun(OTHER_MODEL, 21, -0.22),
    EarlierRun(THIRD_MODEL, 23, 0.08),
    EarlierRun(MODEL, 31, -0.09),
    EarlierRun(OTHER_MODEL, 42, -0.25),
    EarlierRun(MODEL, 52, -0.12),
)
"""The agents get better over the weeks."""


def name_earlier_run(model: str, tasks: int, seed: int) -> str:
    """Return the id of the run of a model that the demo's runs are compared with."""
    return f"waa-demo-{model}-{tasks}-{seed}-earlier"


def write_baselines(results: Path, tasks: int, speed: float, seed: int, now: float) -> list[tuple[Run, Scenario]]:
    """Write the two finished runs to compare with, unless they exist; their screenshots take longer.

    Args:
        results: Results folder.
        tasks: Number of their tasks.
        speed: Factor relative to real time.
        seed: Seed of the simulation.
        now: Unix seconds.

    Returns:
        Each run and what happened in it.
    """
    written: list[tuple[Run, Scenario]] = []
    for model, skill, hours in ((MODEL, 0.0, 5.0), (OTHER_MODEL, -0.18, 26.0)):
        scenario = plan(tasks, workers=min(WORKERS, tasks), seed=seed + 1, skill=skill)
        run_id, ended_at = name_earlier_run(model, tasks, seed), now - hours * HOUR
        run = write_finished_run(results, run_id, scenario, model=model, speed=speed, ended_at=ended_at)
        written.append((run, scenario))
    return written


def write_weeks(results: Path, tasks: int, speed: float, seed: int, now: float) -> None:
    """Write the runs of the weeks before without screenshots, unless they exist; arguments as `write_baselines`."""
    tasks = min(tasks, MAX_TASKS)
    for number, earlier in enumerate(EARLIER_RUNS):
        write_finished_run(
            results,
            f"waa-demo-{earlier.model}-{tasks}-{seed}-{len(EARLIER_RUNS) - number:02}",
            plan(tasks, workers=min(WORKERS, tasks), seed=seed + 2 + number, skill=earlier.skill),
            model=earlier.model,
            speed=speed,
            ended_at=now - earlier.days * DAY,
            share=earlier.share,
            screenshots=False,
        )
