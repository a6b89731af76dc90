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
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from evalgauge.conversions import llm_fields, outcome_of, planned_tasks
from evalgauge.events import TERMINAL_ACTIONS, TaskFinished
from evalgauge.runlog import LogReader, log_files, safe_name
from evalgauge.tracker import Run, Task

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
_LARGEST = 64 << 20
"""Bytes of a trajectory that is read."""

_COUNTS = ("n_input_tokens", "n_cache_tokens", "n_output_tokens")

Counts = tuple[Any, ...]
"""Input with what is cached, cached input, output."""
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
            "model": _provider_and_model(agent.model_name)[1] or "unknown",
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
        begun, ended = _seconds(result.started_at), _seconds(result.finished_at)
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
            documents += _trajectories(_trial_folder(result.config))
        except (OSError, ValueError, RecursionError) as error:
            log.warning("trial %s: its trajectory can't be read (%s)", result.trial_name, error)
        count, last, ended = 0, "", _seconds(result.finished_at)
        try:
            for at, shot, step in _steps(documents, _trial_folder(result.config)):
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


def calls_of(result: Any, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model calls of a trial, as fields of ``llm_call``; their sums are what Harbor reports for the trial.

    Call by call where its trajectories add up to these sums, as prices may depend on the length of a prompt; else a sum
    for each model where Harbor tells them apart; else one sum, which is unknown usage where a model is named but no
    tokens are. Harbor's input holds the cached tokens.
    """
    contexts = [part.agent_result for part in (result, *(result.step_results or ())) if part.agent_result is not None]
    if result.agent_result is not None:
        contexts = contexts[:1]
    if not contexts:
        return []
    sums = tuple(_sum(getattr(context, name) for context in contexts) for name in _COUNTS)
    info = result.agent_info.model_info
    provider, model = (info.provider, info.name) if info is not None else (None, None)
    single = list(_calls(documents, provider, model))
    if single and all(sum(usage[at] or 0 for _, _, usage in single) == (total or 0) for at, total in enumerate(sums)):
        return [_call(*call) for call in single]
    shares = [share for context in contexts for share in (getattr(context, "model_usage", None) or {}).items()]
    if shares and all(
        sum(getattr(share, name) or 0 for _, share in shares) == (total or 0)
        for name, total in zip(_COUNTS, sums, strict=True)
    ):
        return [
            _call(*_named(name, provider, model), tuple(getattr(share, n) for n in _COUNTS)) for name, share in shares
        ]
    return [_call(provider, model, sums)] if model is not None or any(sums) else []


def _call(provider: str | None, model: str | None, counts: Counts) -> dict[str, Any]:
    prompt, cached, output = counts
    usage = {"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens": output}
    return llm_fields(provider=provider, model=model, usage=usage)


def _calls(
    documents: list[dict[str, Any]], provider: str | None, model: str | None
) -> Iterator[tuple[str | None, str | None, Counts]]:
    for document in documents:
        for step in _turns(document):
            metrics = step.get("metrics")
            if isinstance(metrics, dict) and (metrics.get("prompt_tokens") or metrics.get("completion_tokens")):
                named = step.get("model_name")
                who = _named(named, provider, model) if isinstance(named, str) and named else (provider, model)
                counts = (metrics.get(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
                yield *who, tuple(count if isinstance(count, int) else None for count in counts)


def _named(name: str, provider: str | None, model: str | None) -> tuple[str | None, str | None]:
    """Provider and model of a name; the trial's own model is of its provider."""
    if name in (model, f"{provider}/{model}"):
        return provider, model
    return _provider_and_model(name)


def _provider_and_model(name: str | None) -> tuple[str | None, str | None]:
    provider, slash, model = (name or "").partition("/")
    return (provider, model) if slash and provider and model else (None, name)


def _trajectories(trial: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The trajectories of a trial in their order, each with its folder. Raises OSError and ValueError."""
    paths = [trial / "agent" / "trajectory.json"]
    if not paths[0].is_file():
        steps = (path for path in trial.glob("steps/*/agent/trajectory.json") if path.is_file())
        paths = sorted(steps, key=lambda path: path.stat().st_mtime)
    for first in paths:
        path, seen = first, set[Path]()
        while path not in seen and path.is_file():
            seen.add(path)
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"{path.name} is larger than {_LARGEST} bytes")
            document = json.loads(path.read_bytes())
            if not isinstance(document, dict):
                raise ValueError(f"{path.name} holds no object")
            yield path.parent, document
            following = document.get("continued_trajectory_ref")
            if not isinstance(following, str) or Path(following).name != following:
                break
            path = path.parent / following


def _turns(document: dict[str, Any], source: str | None = "agent") -> Iterator[dict[str, Any]]:
    steps = document.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if (
            isinstance(step, dict)
            and step.get("is_copied_context") is not True
            and source in (None, step.get("source"))
        ):
            yield step


def _steps(
    documents: list[tuple[Path, dict[str, Any]]], trial: Path
) -> Iterator[tuple[float | None, Path | None, dict[str, Any]]]:
    """What the agent did: the time, the picture it saw before, and the fields of ``step``."""
    for folder, document in documents:
        shot: Path | None = None
        for turn in _turns(document, None):
            message = turn.get("message")
            pictures = _pictures(message, folder, trial)
            if turn.get("source") == "agent":
                said = message if isinstance(message, str) else ""
                thought = turn.get("reasoning_content")
                reasoning = thought if isinstance(thought, str) and thought else said or None
                for action in _actions(turn, said):
                    yield _seconds(turn.get("timestamp")), shot, {"action": action, "reasoning": reasoning}
                    reasoning = None
                observation = turn.get("observation")
                results = observation.get("results") if isinstance(observation, dict) else None
                for each in results if isinstance(results, list) else ():
                    pictures += _pictures(each.get("content") if isinstance(each, dict) else None, folder, trial)
            shot = pictures[-1] if pictures else shot


def _actions(turn: dict[str, Any], said: str) -> list[dict[str, Any]]:
    calls = turn.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            arguments = call.get("arguments")
            arguments = arguments if isinstance(arguments, dict) else {}
            tool, kind = str(call.get("function_name") or "unknown"), arguments.get("action") or arguments.get("type")
            if isinstance(kind, str) and len(kind) <= 60:  # one tool for everything that a computer does
                actions.append({**arguments, "type": kind, "tool": tool})
            else:
                actions.append({**arguments, "type": tool})
    return actions or [{"type": "message", "text": said[:4000]}]


def _pictures(content: object, folder: Path, trial: Path) -> list[Path]:
    """The pictures of a message that lie within the trial: an agent's own file may name any other."""
    found: list[Path] = []
    for part in content if isinstance(content, list) else ():
        source = part.get("source") if isinstance(part, dict) and part.get("type") == "image" else None
        name = source.get("path") if isinstance(source, dict) else None
        if isinstance(name, str) and "\0" not in name:
            path = (folder / name).resolve()
            if path.is_relative_to(trial.resolve()) and path.is_file():
                found.append(path)
    return found


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


def _sum(counts: Iterator[Any]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _seconds(moment: object) -> float | None:
    """Unix seconds of a time, or of a text that is one; Harbor's naive times are local."""
    try:
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return at.timestamp() if isinstance(at, datetime) else None
    except (ValueError, OverflowError, OSError):
        return None
