"""Which tasks of a run have finished, for runners that resume one."""

from __future__ import annotations

from pathlib import Path

from evalgauge.events import RunStarted, TaskFinished, TaskStarted
from evalgauge.runlog import read_events

ERRORED = frozenset({"infrastructure_error", "evaluation_error"})
"""Outcomes of attempts that were not measured because something failed that is not the agent."""


def read_finished_tasks(folder: Path, *, errored: bool = True) -> set[str]:
    """Read the log of a run and return the ids of the tasks whose planned attempts have all finished.

    An attempt that was interrupted has not finished; one that was started again has not finished until its new end.

    Args:
        folder: The run's folder.
        errored: Whether attempts that ended in an infrastructure or evaluation error count as finished.
    """
    planned = 1
    last: dict[tuple[str, int], tuple[float, str | None]] = {}
    for event in read_events(folder):
        if isinstance(event, RunStarted):
            planned = max(planned, event.attempts)
        elif isinstance(event, TaskStarted | TaskFinished):
            key = (event.task_id, event.attempt)
            outcome: str | None = event.outcome if isinstance(event, TaskFinished) else None
            if key not in last or event.ts >= last[key][0]:
                last[key] = (event.ts, outcome)
    counts: dict[str, int] = {}
    for (task_id, _), (_, outcome) in last.items():
        if outcome is not None and outcome != "interrupted" and (errored or outcome not in ERRORED):
            counts[task_id] = counts.get(task_id, 0) + 1
    return {task_id for task_id, count in counts.items() if count >= planned}
