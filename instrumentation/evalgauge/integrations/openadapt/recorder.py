"""The recorder of one evaluation of openadapt-evals: it turns its collector's calls into calls of the tracker.

Nothing here imports openadapt-evals: tasks, observations, actions and results are read by their field names, which are
the same in every release since 0.1.0.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec

from evalgauge.events import TERMINAL_ACTIONS
from evalgauge.model_names import infer_provider
from evalgauge.runlog import safe_name
from evalgauge.tracker import Fsync, Run, Task, observers

log = logging.getLogger("evalgauge")

UNKNOWN = "unknown"
_OUTCOMES = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
    "interrupted": "interrupted",
}
_MODEL_NAMES = ("model", "model_name", "model_id", "planner_model", "_planner_model", "_model")
_INNER_AGENTS = ("agent", "_agent", "base_agent", "inner", "policy", "_inner_agent")

P = ParamSpec("P")


class Settings(NamedTuple):
    """How runs are recorded; the fields are the arguments of ``track_run``."""

    results: Path | None = None
    """The results folder; None is where OpenAdapt makes its run folders."""
    run_id: str | None = None
    benchmark: str | None = None
    model: str | None = None
    agent: str | None = None
    budget_usd: float | None = None
    baseline: str | None = None
    tags: Mapping[str, str] | None = None
    fsync: Fsync = "task"
    worker: str | None = None


class LogLocation(NamedTuple):
    """Where the log of an evaluation is written."""

    folder: Path
    run_id: str
    worker: str | None
    """The worker's name, for one worker of a pool."""


def log_location(settings: Settings, output_dir: Path, run_name: str) -> LogLocation:
    """Return where the run ``run_name`` below ``output_dir`` is recorded.

    The workers of a pool each write ``<experiment>/<experiment>_<worker>``; there the experiment is the run.

    Args:
        settings: What ``instrument`` was called with.
        output_dir: OpenAdapt's output folder.
        run_name: The name of the run below it.
    """
    experiment = output_dir.absolute().name
    pooled = run_name.startswith(f"{experiment}_") and len(run_name) > len(experiment) + 1
    worker = run_name[len(experiment) + 1 :] if pooled else None
    if settings.run_id is not None:
        name = safe_name(settings.run_id)
        return LogLocation((settings.results or output_dir) / name, name, worker)
    name = experiment if pooled else run_name
    if settings.results is not None:
        return LogLocation(settings.results / safe_name(name), safe_name(name), worker)
    return LogLocation(output_dir if pooled else output_dir / run_name, safe_name(name), worker)


def domain_of(task: object) -> str | None:
    """Return a task's domain; if that is ``unknown``, as in live runs, the first one that its configuration names."""
    config = getattr(task, "raw_config", None)
    config = config if isinstance(config, Mapping) else {}
    apps = config.get("related_apps")
    candidates = [getattr(task, "domain", None), config.get("domain")]
    candidates += apps[:1] if isinstance(apps, list) else []
    candidates += [config.get("snapshot"), getattr(task, "initial_state_ref", None)]
    return next((known for candidate in candidates if (known := _known(candidate))), None)


def model_of(agent: object, depth: int = 2) -> str | None:
    """Return the model that an agent, or an agent that it wraps, has as an attribute.

    Args:
        agent: An agent of OpenAdapt.
        depth: How many wrapped agents are looked into.
    """
    for name in _MODEL_NAMES:
        if known := _known(getattr(agent, name, None)):
            return known
    for name in _INNER_AGENTS if depth else ():
        inner = getattr(agent, name, None)
        if inner is not None and inner is not agent and (known := model_of(inner, depth - 1)):
            return known
    return None


def _known(value: object) -> str | None:
    return value if isinstance(value, str) and value and value != UNKNOWN else None


def _quiet(method: Callable[Concatenate[Recorder, P], None]) -> Callable[Concatenate[Recorder, P], None]:
    """Wrap a method: an exception in it is logged once and never reaches the evaluation."""

    def call(self: Recorder, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            if not self.failure_reported:
                self.failure_reported = True
                log.exception("recording openadapt-evals failed; the evaluation continues, this run's log has gaps")

    call.__doc__ = method.__doc__
    return call


class _SharedRun:
    """A run that several recorders of this process write."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.users: set[Recorder] = set()
        self.status = "completed"


_runs: dict[Path, _SharedRun] = {}
_runs_lock = threading.Lock()
_attempts: dict[tuple[Run, str, int], _Attempt] = {}
"""The open tasks of every recorder, for which model calls are counted."""


def count_call(run: Run, kind: str, fields: Mapping[str, Any]) -> None:
    """Count, as an observer of the tracker, the model calls that were not taken from an agent's ``agent_logs``.

    Args:
        run: The run that the event belongs to.
        kind: The event's type.
        fields: The event's fields.
    """
    if kind == "llm_call":
        attempt = _attempts.get((run, str(fields.get("task_id")), fields.get("attempt") or 1))
        if attempt is not None:
            attempt.calls += 1


class _Attempt:
    """The open task of a thread."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.pending: dict[str, Any] | None = None
        """A step that waits for its ``env_seconds``."""
        self.logs: Mapping[str, Any] = {}
        """The ``agent_logs`` of that step; the runner adds times to them later."""
        self.think: float | None = None
        self.calls = 0
        self.calls_before = 0
        """Model calls that something else recorded, so far and up to the last step."""


class Recorder:
    """Records one evaluation. Methods may be called from any thread; a task starts and finishes in one thread."""

    def __init__(self, settings: Settings, location: LogLocation, benchmark: str, model_id: str) -> None:
        self.failure_reported = False
        self.timed = False
        """Whether ``record_env_seconds`` is called after each action."""
        self.parallel = False
        self.run: Run | None = None
        self._settings = settings
        self._location = location
        self._benchmark = settings.benchmark or benchmark
        self._model = _known(settings.model) or _known(model_id)
        self._agent = settings.agent
        self._provider: str | None = None
        self._tasks: list[dict[str, Any]] = []
        self._max_steps: int | None = None
        self._threads = threading.local()
        self._attempt_counts: dict[str, int] = {}
        self._lock = threading.RLock()

    @_quiet
    def describe(self, *, agent: object = None, tasks: Iterable[object] = (), max_steps: int | None = None) -> None:
        """Describe the evaluation before the first task starts.

        Args:
            agent: The agent object.
            tasks: The planned task objects.
            max_steps: The most steps of each task.
        """
        if agent is not None:
            self._agent = self._agent or type(agent).__name__
            self._model = self._model or model_of(agent)
            self._provider = _known(getattr(agent, "provider", None))
        self._max_steps = max_steps
        self._tasks = [
            {"task_id": str(task_id), "domain": domain_of(task), "instruction": getattr(task, "instruction", None)}
            for task in tasks
            if (task_id := getattr(task, "task_id", None)) is not None
        ]
        self._open_run()

    @_quiet
    def start_task(self, task: Any) -> None:
        """Start a task in this thread."""
        self._finish_with_error("infrastructure", "the next task started before this one had finished")
        run = self._open_run()
        task_id = str(task.task_id)
        with self._lock:
            self._attempt_counts[task_id] = number = self._attempt_counts.get(task_id, 0) + 1
        opened = run.task(
            task_id,
            domain=domain_of(task),
            instruction=getattr(task, "instruction", None),
            worker=self._worker_name(),
            attempt=number,
            max_steps=getattr(task, "time_limit_steps", None) or self._max_steps,
        )
        opened.__enter__()
        attempt = _Attempt(opened)
        self._threads.attempt = attempt
        _attempts[run, task_id, number] = attempt

    @_quiet
    def record_step(
        self,
        observation: Any,
        action: Any,
        reasoning: str | None = None,
        agent_logs: Mapping[str, Any] | None = None,
        screenshot: Path | None = None,
    ) -> None:
        """Record a step. It is written once the environment has acted, or at once if that is not reported.

        Args:
            observation: What the agent saw before it acted, with its screenshot.
            action: The action of the agent.
            reasoning: Why the agent chose it.
            agent_logs: What the agent noted: model calls, timings in milliseconds, its plan.
            screenshot: The file of the screenshot, where OpenAdapt has stored it.
        """
        attempt = self._current_attempt()
        if attempt is None:
            return
        self._flush(attempt)
        logs = agent_logs if isinstance(agent_logs, Mapping) else {}
        self._record_calls(attempt, logs)
        fields = _action(action)
        raw = fields.get("raw_action")
        texts = [reasoning, *((raw.get("thought"), raw.get("reasoning")) if isinstance(raw, Mapping) else ())]
        attempt.pending = {
            "action": fields,
            "reasoning": next((t for t in (*texts, logs.get("plan_result")) if isinstance(t, str) and t), None),
            "screenshot": screenshot or _image(observation),
            "think_seconds": attempt.think if attempt.think is not None else _seconds(logs.get("agent_think_ms")),
        }
        attempt.logs, attempt.think = logs, None
        if fields.get("type") in TERMINAL_ACTIONS or not (self.timed or logs):
            self._flush(attempt)

    @_quiet
    def record_think_seconds(self, seconds: float) -> None:
        """Record how long the agent took to decide on the step that is recorded next."""
        if attempt := self._current_attempt():
            attempt.think = seconds

    @_quiet
    def record_env_seconds(self, seconds: float) -> None:
        """Record how long the environment took to act on the step that was recorded last."""
        if attempt := self._current_attempt():
            self._flush(attempt, seconds)

    @_quiet
    def finish_task(self, result: Any) -> None:
        """Finish the task of this thread."""
        attempt = self._current_attempt()
        if attempt is None:
            return
        self._flush(attempt)
        kind = getattr(result, "error_type", None)
        steps = getattr(result, "num_steps", None)
        attempt.task.finish(
            success=bool(getattr(result, "success", False)),
            score=getattr(result, "score", None),
            outcome=_OUTCOMES.get(kind, "evaluation_error") if kind else None,
            error=getattr(result, "error", None),
            reason=getattr(result, "reason", None),
            steps=steps if isinstance(steps, int) else None,  # the runner's number counts, whatever was recorded
        )
        self._close(attempt)

    @_quiet
    def abandon(self, error: BaseException) -> None:
        """Finish the task of this thread, if it is open, after an exception escaped from the runner: not measured."""
        if isinstance(error, Exception):
            kind = getattr(error, "error_type", None)
            self._finish_with_error(kind if kind in _OUTCOMES else "infrastructure", f"{type(error).__name__}: {error}")
        else:
            self._finish_with_error("interrupted", f"stopped by {type(error).__name__}")

    @_quiet
    def finish(self, status: str = "completed") -> None:
        """Finish the evaluation; the run finishes with the last recorder of this process."""
        with _runs_lock:
            shared = _runs.get(self._location.folder)
            if self.run is None or shared is None or self not in shared.users:
                return
            if status != "completed":
                shared.status = "aborted"
            shared.users.discard(self)
            if shared.users:
                return
            del _runs[self._location.folder]
        shared.run.finish("completed" if shared.status == "completed" else "aborted")

    # -- the run

    def _open_run(self) -> Run:
        with _runs_lock:
            if self.run is not None and not self.run._closed:
                return self.run
            shared = _runs.get(self._location.folder)
            started = self._run_started_fields()
            if shared is None:
                run = Run(self._location.folder, self._location.run_id, started, self._settings.fsync)
                shared = _runs[self._location.folder] = _SharedRun(run)
            else:  # the same event again adds this worker's planned tasks
                shared.run._write("run_started", started)
            shared.users.add(self)
            self.run = shared.run
        if self._location.worker is not None:
            self.run.worker(self._worker_name(), "idle", vm=self._location.worker)
        if count_call not in observers:
            observers.append(count_call)
        return self.run

    def _run_started_fields(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "run_id": self._location.run_id,
            "benchmark": self._benchmark,
            "model": self._model or UNKNOWN,
            "agent": self._agent,
            "attempts": 1,
            "budget_usd": settings.budget_usd,
            "baseline_run_id": settings.baseline,
            "tags": dict(settings.tags or {}),
            "tasks": self._tasks,
        }

    def _worker_name(self) -> str:
        base = self._settings.worker or self._location.worker
        if not self.parallel:
            return base or "main"
        thread = threading.current_thread().name
        number = re.search(r"_(\d+)$", thread)
        return f"{base or 'thread'}-{number[1] if number else thread}"

    # -- the task of this thread

    def _current_attempt(self) -> _Attempt | None:
        return getattr(self._threads, "attempt", None)

    def _flush(self, attempt: _Attempt, env_seconds: float | None = None) -> None:
        """Write the pending step."""
        step, attempt.pending = attempt.pending, None
        if step is not None:
            if env_seconds is None:
                env_seconds = _seconds(attempt.logs.get("env_execute_ms"))
            attempt.task.step(**step, env_seconds=env_seconds)

    def _finish_with_error(self, kind: str, error: str) -> None:
        attempt = self._current_attempt()
        if attempt is not None:
            self._flush(attempt)
            attempt.task.finish(outcome=_OUTCOMES[kind], error=error)
            self._close(attempt)

    def _close(self, attempt: _Attempt) -> None:
        attempt.task.__exit__(None, None, None)
        self._threads.attempt = None
        _attempts.pop((attempt.task.run, attempt.task.task_id, attempt.task.attempt), None)

    # -- tokens

    def _record_calls(self, attempt: _Attempt, logs: Mapping[str, Any]) -> None:
        """Record the model calls that only the ``agent_logs`` report.

        They hold the tokens of the last call; earlier ones, whose responses could not be parsed, are retries with
        unknown usage.
        """
        usage = logs.get("token_usage")
        if usage and attempt.calls == attempt.calls_before:
            model = self._model
            provider = self._provider or infer_provider(model)
            retries = sum(re.fullmatch(r"retry_\d+_response", key) is not None for key in logs)
            for _ in range(retries):
                attempt.task.llm_call(provider=provider, model=model, status="retry")
            attempt.task.llm_call(provider=provider, model=model, usage=usage)
        attempt.calls_before = attempt.calls


def _action(action: Any) -> dict[str, Any]:
    """Return the fields of an action that are not None."""
    if dataclasses.is_dataclass(action):
        names = [field.name for field in dataclasses.fields(action)]
        return {name: value for name in names if (value := getattr(action, name)) is not None}
    if isinstance(action, Mapping):
        return dict(action)
    return {"type": str(getattr(action, "type", type(action).__name__))}


def _image(observation: Any) -> bytes | str | None:
    image = getattr(observation, "screenshot", None)
    return image if image is not None else getattr(observation, "screenshot_path", None)


def _seconds(milliseconds: object) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else None
