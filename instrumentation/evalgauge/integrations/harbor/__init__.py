"""Harbor: a job is recorded while it runs, by a plugin that Harbor finds by its entry point.

    harbor run --plugin evalgauge -d terminal-bench@2.0 -a terminus-2 -m anthropic/claude-sonnet-4-5

Installing evalgauge beside Harbor is all it takes. The log goes below ``EVALGAUGE_RESULTS`` or ``--pk results=DIR``,
else into the job's own folder, where ``evalgauge serve jobs`` finds it: a folder that holds both is one run. ``off``
records nothing. A job of several agents is a run for each of them, which needs a results folder: without one nothing
is recorded, and the exporter reads such a job from the files that Harbor itself writes.

A trial is an attempt at its task. Attempts are numbered in the order in which they start, as trials have random names;
a retry is the same attempt again, and what the first try spent stays counted. Nothing here raises into Harbor, and
nothing of Harbor is imported.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from evalgauge.atif import calls_of, steps_of, trajectories
from evalgauge.events import TERMINAL_ACTIONS, TaskFinished
from evalgauge.model_names import split_model_name
from evalgauge.normalize import outcome_of, planned_tasks
from evalgauge.runlog import LogReader, log_files, safe_name
from evalgauge.tracker import Run, Task
from evalgauge.values import parse_timestamp

log = logging.getLogger("evalgauge")

__all__ = ["EvalgaugePlugin"]

VARIABLE, OFF = "EVALGAUGE_RESULTS", "off"

AGENTS_FAULT = (
    "AgentTimeoutError",
    "AgentSafetyRefusalError",
    "NonZeroAgentExitCodeError",
    "ContextWindowExceededError",
    "ContextLengthExceededError",
    "OutputTokenExceededError",
    "OutputLengthExceededError",
    "ContentPolicyViolationError",
)
"""Exceptions of a trial that are the agent's own; Harbor's table (``harbor.models.trial.error_policy``) has the same,
but for the agent's exit code, which it leaves open."""
_JUDGES_FAULT = ("Verifier", "Reward")
Hook = Callable[[Any], Awaitable[None]]


class EvalgaugePlugin:
    """A job plugin. Harbor makes one for each job and calls ``on_job_start`` before, ``on_job_end`` after its trials.

    ``results``: the folder for the log; what Harbor's ``--pk results=DIR`` gives.
    """

    def __init__(self, results: str | os.PathLike[str] | None = None, **unknown: object) -> None:
        if unknown:
            log.warning("the Harbor plugin has no settings %s; its only one is results", ", ".join(sorted(unknown)))
        self._results = str(results) if results else os.environ.get(VARIABLE) or None
        self._jobs: dict[str, _AgentRun] = {}

    async def on_job_start(self, job: Any) -> None:
        """Begin the run and ask to be told of the job's trials."""
        try:
            self._begin(job)
        except Exception:
            log.exception("the Harbor job can't be recorded; it goes on without")

    async def on_job_end(self, job_result: Any) -> None:
        """End the run: as aborted where trials are missing. A job that raised comes here only at the process's end."""
        try:
            done = getattr(getattr(job_result, "stats", None), "n_completed_trials", None)
            whole = done is None or done >= job_result.n_total_trials
            for each in self._jobs.values():
                each.run.finish("completed" if whole else "aborted")
        except Exception:
            log.exception("the end of the Harbor job could not be recorded")

    def _begin(self, job: Any) -> None:
        if (self._results or "").lower() == OFF:
            return
        agents = {_agent_key(agent): agent for agent in job.config.agents}
        if len(agents) > 1 and self._results is None:
            log.warning("a Harbor job of %d agents is only recorded with %s set", len(agents), VARIABLE)
            return
        for key, agent in agents.items():
            name = str(job.config.job_name) if len(agents) == 1 else f"{job.config.job_name}.{key}"
            folder = Path(job.job_dir) if self._results is None else Path(self._results) / safe_name(name)
            mine = [trial for trial in _trials(job) if _agent_key(trial.agent) == key]
            self._jobs[key] = _AgentRun(folder, name, job, agent, mine)
        job.on_trial_started(self._quiet(_AgentRun.trial_started))
        job.on_trial_ended(self._quiet(_AgentRun.trial_ended))

    def _quiet(self, told: Callable[[_AgentRun, Any], None]) -> Hook:
        @functools.wraps(told)
        async def hook(event: Any) -> None:
            try:
                if (run := self._jobs.get(_agent_key(event.config.agent))) is not None:
                    told(run, event)
            except Exception:
                log.exception("an event of a Harbor trial could not be recorded")

        return hook


class _AgentRun:
    """What one agent does in a job."""

    def __init__(self, folder: Path, name: str, job: Any, agent: Any, trials: list[Any]) -> None:
        self._before = _outcomes(folder)
        self._attempts = max(1, int(getattr(job.config, "n_attempts", 1)))
        self._numbers: dict[str, tuple[str, int]] = {}
        self._open: dict[str, tuple[Task, int]] = {}
        planned = {task_of(trial): trial for trial in trials}
        started = {
            "run_id": safe_name(name),
            "benchmark": _benchmark(job.config),
            "model": split_model_name(agent.model_name).model or "unknown",
            "agent": _agent_name(agent),
            "attempts": self._attempts,
            "budget_usd": None,
            "baseline_run_id": None,
            "tags": {"harbor_job": str(job.config.job_name)},
            **planned_tasks(
                [
                    {"task_id": task, "domain": trial.task.source, "instruction": _instruction(trial)}
                    for task, trial in planned.items()
                ]
            ),
        }
        self.run = Run(folder, safe_name(name), started, "task")
        if not self._before:  # a job is resumed whose log is not there: Harbor removes what is no trial from its folder
            for result in getattr(job, "_existing_trial_results", None) or ():
                if _agent_key(result.config.agent) == _agent_key(agent):
                    self._retell(result)

    def trial_started(self, event: Any) -> None:
        """A trial began, or is tried again."""
        trial, task_id, attempt = event.trial_name, *self._number(event.config)
        if trial in self._open:
            self._open.pop(trial)[0].finish(outcome="interrupted", reason="the trial was started again")
        # Harbor has no workers; as many trials as go on at once are what the pace of a job depends on
        taken = {slot for _, slot in self._open.values()}
        slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
        task = self.run.task(
            task_id,
            attempt=attempt,
            worker=f"harbor-{slot}",
            domain=event.config.task.source,
            instruction=_instruction(event.config),
        )
        self._open[trial] = task, slot

    def trial_ended(self, event: Any) -> None:
        """A trial ended: its steps, its model calls and how it went."""
        if event.trial_name not in self._open:
            self.trial_started(event)
        task, _ = self._open.pop(event.trial_name)
        ids = {"task_id": task.task_id, "attempt": task.attempt, "worker_id": task.worker}
        steps = self._tell(event.result, ids, task._keep)
        task.finish(steps=steps, **verdict_of(event.result))

    def _retell(self, result: Any) -> None:
        """A trial that ended before this process began, with the times it had."""
        task_id, attempt = self._number(result.config)
        ids = {"task_id": task_id, "attempt": attempt, "worker_id": None}
        begun, ended = parse_timestamp(result.started_at), parse_timestamp(result.finished_at)
        times = {} if begun is None else {"ts": begun}
        about = {"domain": result.config.task.source, "instruction": _instruction(result.config)}
        self.run._write("task_started", {**times, **ids, **about, "max_steps": None})
        steps = self._tell(result, ids, lambda path, _: _relative(path, self.run.folder))
        verdict = verdict_of(result)
        fields = {
            **dict.fromkeys(("score", "error", "reason")),
            **verdict,
            "outcome": outcome_of(None, verdict.get("score"), verdict.get("outcome"), verdict.get("error")),
            "steps": steps,
            "duration_seconds": None if begun is None or ended is None else max(0.0, ended - begun),
        }
        self.run._write("task_finished", {**({} if ended is None else {"ts": ended}), **ids, **fields}, sync=True)

    def _tell(self, result: Any, ids: dict[str, Any], keep: Callable[[Path, int], str | None]) -> int | None:
        """Write the steps and calls of a trial; the number of steps without a terminal one, None where unknown."""
        documents: list[tuple[Path, dict[str, Any]]] = []
        try:
            documents += trajectories(_trial_folder(result.config))
        except (OSError, ValueError, RecursionError) as error:
            log.warning("trial %s: its trajectory can't be read (%s)", result.trial_name, error)
        count, last, ended = 0, "", parse_timestamp(result.finished_at)
        try:
            for at, shot, step in steps_of(documents, _trial_folder(result.config)):
                moment = {} if (when := at if at is not None else ended) is None else {"ts": when}
                seen = None if shot is None else keep(shot, count)
                self.run._write("step", {**moment, **step, **ids, "step_idx": count, "screenshot": seen})
                count, last = count + 1, str(step["action"]["type"]).lower()
        except Exception:  # what an agent's own trajectory holds must not cost the verdict
            log.exception("trial %s: not all of its steps could be recorded", result.trial_name)
        for call in calls_of(result, [document for _, document in documents]):
            self.run._write("llm_call", {**call, **ids})
        return count - (last in TERMINAL_ACTIONS) if documents else None

    def _number(self, trial: Any) -> tuple[str, int]:
        """The task of a trial and which attempt it is.

        Where an earlier process began the job, the trials that are left are those that have no outcome, or an error.
        """
        if trial.trial_name not in self._numbers:
            task_id = task_of(trial)
            taken = {number for task, number in self._numbers.values() if task == task_id}
            free = [number for number in range(1, self._attempts + 1) if number not in taken]
            ranked = sorted(free, key=lambda number: _rank(self._before.get((task_id, number))))
            self._numbers[trial.trial_name] = task_id, ranked[0] if ranked else max(taken) + 1
        return self._numbers[trial.trial_name]


def verdict_of(result: Any) -> dict[str, Any]:
    """How a trial went, as what ``Task.finish`` takes.

    A trial with a reward was measured, whatever else went wrong in it: 1 or more is a success. One without is the
    agent's error where its exception is among ``AGENTS_FAULT``, and else was not measured.
    """
    parts = [result, *(result.step_results or ())]
    problem = next((part.exception_info for part in parts if part.exception_info is not None), None)
    verdict: dict[str, Any] = {}
    if problem is not None:
        verdict["error"] = f"{problem.exception_type}: {problem.exception_message}"
    score = _reward(result.verifier_result)
    if score is None:
        rewards = [reward for part in parts[1:] if (reward := _reward(part.verifier_result)) is not None]
        score = sum(rewards) / len(rewards) if rewards else None
    if score is not None:
        return {**verdict, "score": score}
    if problem is None:
        return {"outcome": "evaluation_error", "error": "the trial ended without a reward"}
    kind = str(problem.exception_type)
    if kind == "CancelledError":
        outcome = "interrupted"
    elif kind.startswith(_JUDGES_FAULT):
        outcome = "evaluation_error"
    else:
        outcome = "agent_error" if kind in AGENTS_FAULT else "infrastructure_error"
    return {**verdict, "outcome": outcome}


def _reward(verified: Any) -> float | None:
    """The reward of that name, else the mean of all."""
    rewards = getattr(verified, "rewards", None) or {}
    found = {name: float(value) for name, value in rewards.items() if isinstance(value, int | float)}
    return found.get("reward", sum(found.values()) / len(found) if found else None)


def _relative(path: Path, folder: Path) -> str | None:
    """``path`` as a log in ``folder`` names it; None where it lies elsewhere."""
    root = folder.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _trials(job: Any) -> list[Any]:
    """The trials of a job. Harbor has no public name for them; without, tasks appear as they start."""
    return list(getattr(job, "_trial_configs", None) or ())


def task_of(trial: Any) -> str:
    """The task of a trial by the name that tells it apart: as the exporter names it where it reads Harbor's files."""
    return str(trial.task.name or Path(trial.task.path).name)


def _trial_folder(trial: Any) -> Path:
    return Path(trial.trials_dir) / str(trial.trial_name)


def _instruction(trial: Any) -> str | None:
    try:
        return str((Path(trial.task.get_local_path()) / "instruction.md").read_text("utf-8")).strip() or None
    except (OSError, ValueError):
        return None


def _benchmark(config: Any) -> str:
    """The name of a job's dataset; of a job without, its own."""
    dataset = config.datasets[0] if config.datasets else None
    path = getattr(dataset, "path", None)
    return str(getattr(dataset, "name", None) or (Path(path).name if path else config.job_name))


def _agent_name(agent: Any) -> str:
    return str(agent.name or agent.import_path or "agent")


def _agent_key(agent: Any) -> str:
    """An agent's name with its model's, as the exporter names the runs of a job of several."""
    return safe_name("__".join(part for part in (_agent_name(agent), agent.model_name) if part))


def _outcomes(folder: Path) -> dict[tuple[str, int], str]:
    """What a log that is already there says of the attempts."""
    found: dict[tuple[str, int], str] = {}
    for path in log_files(folder):
        reader, more = LogReader(path), True
        while more:
            events, _, more = reader.read()
            found.update(
                ((event.task_id, event.attempt), event.outcome) for event in events if isinstance(event, TaskFinished)
            )
    return found


def _rank(outcome: str | None) -> int:
    """Which attempt is more likely to be the one that is still to do: the least."""
    order = (None, "interrupted", "infrastructure_error", "evaluation_error", "agent_error")
    return order.index(outcome) if outcome in order else len(order)
