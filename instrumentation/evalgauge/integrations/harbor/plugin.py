"""The job plugin of Harbor.

The log is written below ``EVALGAUGE_RESULTS`` or ``--pk results=DIR``, else into the job's own folder, where
``evalgauge serve jobs`` finds it: a folder with both is one run. ``off`` records nothing. A job with several agents is
one run for each of them, which needs a results folder: without one nothing is recorded, and the exporter reads such a
job from Harbor's own files.

A trial is an attempt at its task. Attempts are numbered in the order in which they start, because trials have random
names; a retry is the same attempt again, and the cost of the first try stays counted. Nothing here raises into Harbor,
and nothing of Harbor is imported.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from evalgauge.atif import choose_calls, load_trajectories, read_calls, read_messages, read_turns
from evalgauge.events import OBSERVATION_LENGTH, TERMINAL_ACTIONS, TaskFinished
from evalgauge.integrations.harbor.outcomes import parse_outcome
from evalgauge.model_names import ModelName, split_model_name
from evalgauge.normalize import outcome_of, planned_tasks
from evalgauge.results_folders import OFF, VARIABLE, first_results_folder
from evalgauge.runlog import LogReader, log_files, safe_name
from evalgauge.tracker import Run, Task
from evalgauge.values import parse_timestamp

log = logging.getLogger("evalgauge")


Hook = Callable[[Any], Awaitable[None]]


class EvalgaugePlugin:
    """A job plugin. Harbor makes one for each job and calls ``on_job_start`` before, ``on_job_end`` after its trials.

    Args:
        results: The results folder for the log, as passed by Harbor's ``--pk results=DIR``.
        **unknown: Other settings; each is reported in a warning.
    """

    def __init__(self, results: str | os.PathLike[str] | None = None, **unknown: object) -> None:
        if unknown:
            log.warning("the Harbor plugin has no setting %s; its only setting is results", ", ".join(sorted(unknown)))
        self._results = str(results) if results else first_results_folder()
        self._jobs: dict[str, _AgentRun] = {}

    async def on_job_start(self, job: Any) -> None:
        """Start the run and subscribe to the job's trials."""
        try:
            self._start_runs(job)
        except Exception:
            log.exception("the Harbor job cannot be recorded; it continues without")

    async def on_job_end(self, job_result: Any) -> None:
        """Finish the run: aborted where trials are missing. Harbor does not call this for a job that raised."""
        try:
            done = getattr(getattr(job_result, "stats", None), "n_completed_trials", None)
            whole = done is None or done >= job_result.n_total_trials
            for each in self._jobs.values():
                each.run.finish("completed" if whole else "aborted")
        except Exception:
            log.exception("the end of the Harbor job could not be recorded")

    def _start_runs(self, job: Any) -> None:
        if (self._results or "").lower() == OFF:
            return
        agents = {_agent_key(agent): agent for agent in job.config.agents}
        if len(agents) > 1 and self._results is None:
            log.warning("a Harbor job with %d agents is recorded only with %s set", len(agents), VARIABLE)
            return
        for key, agent in agents.items():
            name = str(job.config.job_name) if len(agents) == 1 else f"{job.config.job_name}.{key}"
            folder = Path(job.job_dir) if self._results is None else Path(self._results) / safe_name(name)
            trials = [trial for trial in _trials(job) if _agent_key(trial.agent) == key]
            self._jobs[key] = _AgentRun(folder, name, job, agent, trials)
        job.on_trial_started(self._make_hook(_AgentRun.trial_started))
        job.on_trial_ended(self._make_hook(_AgentRun.trial_ended))

    def _make_hook(self, record: Callable[[_AgentRun, Any], None]) -> Hook:
        @functools.wraps(record)
        async def hook(event: Any) -> None:
            try:
                if (run := self._jobs.get(_agent_key(event.config.agent))) is not None:
                    record(run, event)
            except Exception:
                log.exception("an event of a Harbor trial could not be recorded")

        return hook


class _AgentRun:
    """The run of one agent in a job."""

    def __init__(self, folder: Path, name: str, job: Any, agent: Any, trials: list[Any]) -> None:
        self._earlier_outcomes = _outcomes(folder)
        self._attempts = max(1, int(getattr(job.config, "n_attempts", 1)))
        self._numbers: dict[str, tuple[str, int]] = {}
        self._open: dict[str, tuple[Task, int]] = {}
        planned = {task_id_of(trial): trial for trial in trials}
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
        if not self._earlier_outcomes:  # a resumed job without its log: Harbor removes from the folder what is no trial
            for result in getattr(job, "_existing_trial_results", None) or ():
                if _agent_key(result.config.agent) == _agent_key(agent):
                    self._record_finished_trial(result)

    def trial_started(self, event: Any) -> None:
        """Record that a trial started, or is retried."""
        trial, task_id, attempt = event.trial_name, *self._identify(event.config)
        if trial in self._open:
            self._open.pop(trial)[0].finish(outcome="interrupted", reason="the trial was started again")
        # Harbor has no workers; the pace of a job depends on how many trials run at once
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
        """Record a finished trial: its steps, its model calls and its outcome."""
        if event.trial_name not in self._open:
            self.trial_started(event)
        task, _ = self._open.pop(event.trial_name)
        ids = {"task_id": task.task_id, "attempt": task.attempt, "worker_id": task.worker}
        steps = self._record_steps_and_calls(event.result, ids, task._save_screenshot)
        task.finish(steps=steps, **parse_outcome(event.result))

    def _record_finished_trial(self, result: Any) -> None:
        """Record a trial that finished before this process started, with its own times."""
        task_id, attempt = self._identify(result.config)
        ids = {"task_id": task_id, "attempt": attempt, "worker_id": None}
        started, finished = parse_timestamp(result.started_at), parse_timestamp(result.finished_at)
        times = {} if started is None else {"ts": started}
        about = {"domain": result.config.task.source, "instruction": _instruction(result.config)}
        self.run._write("task_started", {**times, **ids, **about, "max_steps": None})
        steps = self._record_steps_and_calls(result, ids, lambda path, _: _relative(path, self.run.folder))
        verdict = parse_outcome(result)
        fields = {
            **dict.fromkeys(("score", "error", "reason")),
            **verdict,
            "outcome": outcome_of(None, verdict.get("score"), verdict.get("outcome"), verdict.get("error")),
            "steps": steps,
            "duration_seconds": None if started is None or finished is None else max(0.0, finished - started),
        }
        self.run._write("task_finished", {**({} if finished is None else {"ts": finished}), **ids, **fields}, sync=True)

    def _record_steps_and_calls(
        self, result: Any, ids: dict[str, Any], save: Callable[[Path, int], str | None]
    ) -> int | None:
        """Write the steps and calls of a trial; return the number of steps without a terminal one, None if unknown."""
        documents: list[tuple[Path, dict[str, Any]]] = []
        trial = _trial_folder(result.config)
        try:
            documents += load_trajectories(trial)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("trial %s: its trajectory cannot be read (%s)", result.trial_name, error)
        count, last, finished = 0, "", parse_timestamp(result.finished_at)
        try:
            for ts, role, text in (message for _, document in documents for message in read_messages(document)):
                message = {"role": role, "text": text[:OBSERVATION_LENGTH], **ids}
                self.run._write("message", message if ts is None else {"ts": ts, **message})
            for folder, document in documents:
                for turn in read_turns(document, functools.partial(_find_image, folder=folder, trial=trial)):
                    ts = turn.ts if turn.ts is not None else finished
                    for index, (action, seen) in enumerate(zip(turn.actions, turn.observations, strict=True)):
                        shot = None if turn.screenshot is None else save(turn.screenshot, count)
                        step = {"action": action, "reasoning": turn.reasoning if index == 0 else None, **ids}
                        if seen is not None:
                            step["observation"] = seen[:OBSERVATION_LENGTH]
                        time = {} if ts is None else {"ts": ts}
                        self.run._write("step", {**time, **step, "step_idx": count, "screenshot": shot})
                        count, last = count + 1, str(action["type"]).lower()
        except Exception:  # whatever an agent's own trajectory holds, the outcome must be recorded
            log.exception("trial %s: not all of its steps could be recorded", result.trial_name)
        calls = [call for _, document in documents for call in read_calls(document)]
        for call in choose_calls(calls, _contexts(result), _model_of(result)):
            self.run._write(
                "llm_call", {"provider": call.provider, "model": call.model, **call.usage.as_fields(), **ids}
            )
        return count - (last in TERMINAL_ACTIONS) if documents else None

    def _identify(self, trial: Any) -> tuple[str, int]:
        """Return the task of a trial and the number of the attempt.

        If an earlier process started the job, the remaining trials are those without an outcome, or with an error.
        """
        if trial.trial_name not in self._numbers:
            task_id = task_id_of(trial)
            taken = {number for task, number in self._numbers.values() if task == task_id}
            free = [number for number in range(1, self._attempts + 1) if number not in taken]
            ranked = sorted(free, key=lambda number: _rank(self._earlier_outcomes.get((task_id, number))))
            self._numbers[trial.trial_name] = task_id, ranked[0] if ranked else max(taken) + 1
        return self._numbers[trial.trial_name]


def _contexts(result: Any) -> list[Any]:
    """Return what a trial reports of its agent: the sums of the trial, or those of its steps."""
    if result.agent_result is not None:
        return [result.agent_result]
    return [part.agent_result for part in result.step_results or () if part.agent_result is not None]


def _model_of(result: Any) -> ModelName:
    info = result.agent_info.model_info
    return ModelName(info.provider, info.name) if info is not None else ModelName(None, None)


def _find_image(name: object, folder: Path, trial: Path) -> Path | None:
    """Return an image that is within the trial: an agent's own file may name any other file."""
    if not isinstance(name, str) or "\0" in name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(trial.resolve()) and path.is_file() else None


def _relative(path: Path, folder: Path) -> str | None:
    """Return ``path`` relative to ``folder``; None where it is outside."""
    root = folder.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _trials(job: Any) -> list[Any]:
    """Return the trials of a job. Harbor has no public name for them; without it tasks appear when they start."""
    return list(getattr(job, "_trial_configs", None) or ())


def task_id_of(trial: Any) -> str:
    """Return the task id of a trial, the same as the exporter's when it reads Harbor's files."""
    return str(trial.task.name or Path(trial.task.path).name)


def _trial_folder(trial: Any) -> Path:
    return Path(trial.trials_dir) / str(trial.trial_name)


def _instruction(trial: Any) -> str | None:
    try:
        return str((Path(trial.task.get_local_path()) / "instruction.md").read_text("utf-8")).strip() or None
    except (OSError, ValueError):
        return None


def _benchmark(config: Any) -> str:
    """Return the name of a job's dataset; of a job without one, the job's own."""
    dataset = config.datasets[0] if config.datasets else None
    path = getattr(dataset, "path", None)
    return str(getattr(dataset, "name", None) or (Path(path).name if path else config.job_name))


def _agent_name(agent: Any) -> str:
    return str(agent.name or agent.import_path or "agent")


def _agent_key(agent: Any) -> str:
    """Return an agent's name with its model's, as the exporter names the runs of a job with several agents."""
    return safe_name("__".join(part for part in (_agent_name(agent), agent.model_name) if part))


def _outcomes(folder: Path) -> dict[tuple[str, int], str]:
    """Return the outcomes of the attempts in a log that exists already."""
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
    """Rank an attempt by its earlier outcome; a trial that starts is most likely the one with the lowest rank."""
    order = (None, "interrupted", "infrastructure_error", "evaluation_error", "agent_error")
    return order.index(outcome) if outcome in order else len(order)
