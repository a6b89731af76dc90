"""Small runs for tests, written by the real tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge import Run, track_run
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter


def small_run(
    results: Path, run_id: str = "r", *, model: str = "claude-sonnet-4-5", outcomes: str = "ssf", finish: bool = True
) -> Run:
    """A run of one task for each letter: s success, f failure, a agent error, i infrastructure error."""
    words = {"s": "success", "f": "failure", "a": "agent_error", "i": "infrastructure_error", "e": "evaluation_error"}
    tasks = [{"task_id": f"t{n}", "domain": f"d{n % 2}"} for n in range(len(outcomes))]
    run = track_run(results, benchmark="waa", model=model, tasks=tasks, run_id=run_id, fsync="never")
    for number, letter in enumerate(outcomes):
        with run.task(f"t{number}", domain=f"d{number % 2}", worker=f"vm-{number % 2}", max_steps=15) as task:
            task.llm_call(provider="anthropic", model=model, usage={"input_tokens": 1000, "output_tokens": 100})
            task.step(action={"type": "click", "x": 0.5, "y": 0.5}, first_action_correct=letter == "s")
            task.step(action="done")
            task.finish(outcome=words[letter], error="it broke" if letter in "aie" else None)
    if finish:
        run.finish()
    return run


def exporter_of(*results: Path, **options: Any) -> Exporter:
    """An exporter of these folders that is not started, on a free port. Options: ``config``, a path, and its fields.

    The memory of the process is that of the whole test session, so the exporter is not to keep within its usual limit.
    """
    config = options.pop("config", None)
    limits = {"memory": "64GiB", **options.pop("limits", {})}
    return Exporter(load_config(config, results=results, **{"listen": "127.0.0.1:0", "limits": limits, **options}))
