"""The tracker, which a benchmark runner calls: three lines make a run observable.

    with track_run("results", benchmark="waa", model="claude-sonnet-4-5", tasks=tasks) as run:
        with run.task("notepad_1", domain="notepad", worker="vm-001") as task:
            task.step(action={"type": "click", "x": 0.4, "y": 0.2}, screenshot=png, reasoning=text)
            task.finish(success=True, score=1.0)

Nothing here raises into the benchmark: what cannot be written is counted in ``Run.lost_events`` and reported once
(logger ``evalgauge``), and the evaluation continues. Everything may be called from any thread; a process that was
forked from one with an open run, or that unpickled the run, writes a log file of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack, get_args

from evalgauge.budget import Budget, OnBudget
from evalgauge.errors import BudgetExceeded
from evalgauge.events import OBSERVATION_LENGTH, TERMINAL_ACTIONS, Role, parse_log_level
from evalgauge.file_writer import background_files, write_whole
from evalgauge.git_state import read_git_tags
from evalgauge.instance_metadata import find_cloud_machine
from evalgauge.metrics import WORKER_STATES
from evalgauge.normalize import (
    LlmCallFields,
    action_fields,
    llm_events,
    outcome_of,
    parse_attempt,
    planned_tasks,
    split_run_started,
)
from evalgauge.process_log import process_log
from evalgauge.redact import Redactor, cover_image, create_redactor
from evalgauge.resume import read_finished_tasks
from evalgauge.run_lock import RunLock
from evalgauge.runlog import EVENTS_FOLDER, safe_name, text_of
from evalgauge.screenshots import Screenshot, freeze_image, path_beside_log, path_inside
from evalgauge.values import TEXT_LENGTH

log = logging.getLogger("evalgauge")

Fsync = Literal["task", "always", "never"]

ROLES: tuple[str, ...] = get_args(Role)
REASONING_LENGTH = 200_000
"""Characters; a longer reasoning or error is cut."""

Observer = Callable[["Run", str, Mapping[str, Any]], None]

observers: list[Observer] = []
"""Called with each event after it was written: the run, the event's type and its fields. OpenTelemetry is one."""

before_run: list[Callable[[], None]] = []
"""Called before this process starts or joins a run, so that an observer can start itself. None may raise."""

current_task: ContextVar[Task | None] = ContextVar("evalgauge_task", default=None)
"""The task in whose ``with`` block the code runs: a captured model call belongs to it."""

_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()
_unfinished: set[Run | Task] = set()
"""Strong references to what this process has to finish even if the caller drops it: its own runs, and open tasks."""


def track_run(
    results: str | os.PathLike[str],
    *,
    benchmark: str,
    model: str,
    agent: str | None = None,
    tasks: Iterable[str | Mapping[str, Any]] | int = (),
    run_id: str | None = None,
    attempts: int = 1,
    budget_usd: float | None = None,
    baseline: str | None = None,
    tags: Mapping[str, str] | None = None,
    fsync: Fsync = "task",
    on_budget: OnBudget = None,
    redact: object = None,
    git: bool = True,
) -> Run:
    """Start a run, or join the one that ``run_id`` names. Never raises for what it is given, but for ``redact``.

    A process that joins a running run does not finish it; if the process that started the run has died, the one that
    joins takes it over.

    Args:
        results: The results folder; the run's folder is made in it.
        benchmark: The benchmark's name.
        model: The model's name.
        agent: The agent's name, where the model does not identify it.
        tasks: The planned tasks: ids, mappings with ``task_id``, ``domain`` and ``instruction``, or their number.
        run_id: The run's id and the name of its folder; None makes one up.
        attempts: How often each task is attempted.
        budget_usd: The run's budget in US dollars, for the alert.
        baseline: The id of the run to compare with.
        tags: Free texts by name.
        fsync: When lines are forced to the disk: ``task`` (when a task or the run finishes), ``always`` or ``never``.
        on_budget: What happens once the budget is spent: ``warn`` logs it once; ``raise`` raises ``BudgetExceeded``
            from ``run.task``, ``task.step`` and ``task.llm_call``; None does nothing.
        redact: What is masked before it is written: True for secrets, the path of a rule file, a function of a text, or
            an ``evalgauge.redact.Redactor``.
        git: Whether the commit of the working directory is recorded, as the tags ``git_commit`` and ``git_dirty``.

    Returns:
        The run, a context manager.

    Raises:
        RedactError: ``redact`` can't be used: nothing is written rather than written unmasked.
    """
    redactor = create_redactor(redact)
    given = "" if run_id is None else text_of(run_id)
    name = safe_name(given) if given else _new_run_id(text_of(benchmark), text_of(model))
    if given and name != given:
        log.warning("run id %r is not a valid folder name; the run is named %r", given, name)
    started = {
        "run_id": name,
        "benchmark": benchmark,
        "model": model,
        "agent": agent,
        "attempts": attempts,
        "budget_usd": budget_usd,
        "baseline_run_id": baseline,
        "tags": {**(read_git_tags() if git else {}), **_tags(tags)},
        **planned_tasks(tasks),
    }
    try:
        folder = Path(results)
    except TypeError:
        log.error("the results folder %r is not a path; nothing is recorded", results)
        folder = Path(os.devnull)
    return Run(folder / name, name, started, fsync, on_budget, redactor)


def _new_run_id(benchmark: str, model: str) -> str:
    return safe_name(f"{benchmark}-{model}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")


def _tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    try:
        return {} if tags is None else {text_of(name): text_of(value) for name, value in dict(tags).items()}
    except Exception:  # whatever a mapping of the caller's raises
        log.warning("tags is %s, not a mapping; the tags are not recorded", text_of(tags)[:60])
        return {}


class Run:
    """A run that this process records. Made by ``track_run``."""

    def __init__(
        self,
        folder: Path,
        run_id: str,
        started: Mapping[str, Any] | None,
        fsync: Fsync,
        on_budget: OnBudget = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.run_id = run_id
        self.folder = folder
        """The folder with the log and the screenshots of the run."""
        self._fsync = fsync
        self._redactor = redactor
        budget = started.get("budget_usd") if started is not None else None
        self._budget = Budget(folder, budget if isinstance(budget, int | float) else None, on_budget)
        self._lock = threading.RLock()
        self._log = process_log(folder)
        self._joined = False
        self._pid = os.getpid()
        self._finishing = False
        self._closed = False
        self._open: set[Task] = set()
        self._ownership: RunLock | None = None
        self.started = started
        """The fields of ``run_started``; None where the run came from another process."""
        if started is not None:
            for prepare in before_run:
                prepare()
            try:
                self._ownership = RunLock.acquire(self.folder / EVENTS_FOLDER)
                if self._ownership is not None:
                    _unfinished.add(self)
                    self._write("run_started", started, sync=self._fsync != "never")
            except Exception as error:
                self._record_failure(error)
        _open_runs.add(self)

    @property
    def lost_events(self) -> int:
        """The number of events and screenshots that this process could not write."""
        return self._log.lost_events

    @property
    def spent_usd(self) -> float:
        """The known cost of the run so far in US dollars, of every process: see ``evalgauge.budget``."""
        return self._budget.spent_usd()

    @property
    def over_budget(self) -> bool:
        """Whether the run's budget is spent; False without a budget."""
        return self._budget.is_exceeded()

    def finished_tasks(self, *, errored: bool = True) -> set[str]:
        """Return the ids of the tasks that have finished, in any process, so that a runner can resume.

        Args:
            errored: Whether attempts that ended in an infrastructure or evaluation error count as finished.
        """
        return read_finished_tasks(self.folder, errored=errored)

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[Any, ...]]:
        budget = (self._budget.limit_usd, self._budget.on_budget)
        return _unpickle, (self.folder, self.run_id, self._fsync, budget, self._redactor)

    def task(
        self,
        task_id: str,
        *,
        domain: str | None = None,
        instruction: str | None = None,
        worker: str | None = None,
        attempt: int = 1,
        max_steps: int | None = None,
        time_limit_seconds: float | None = None,
    ) -> Task:
        """Start an attempt at a task. Never raises.

        Args:
            task_id: The task's id.
            domain: The task's domain; needed where the planned tasks do not state it.
            instruction: What the agent is asked to do; likewise.
            worker: The machine, process or thread that runs the attempt.
            attempt: The number of the attempt, from 1.
            max_steps: The most steps that the agent may take.
            time_limit_seconds: How long the attempt may take.

        Returns:
            The attempt, a context manager.
        """
        self._budget.check()
        name = None if worker is None else text_of(worker)
        if name is not None and name not in self._log.workers and find_cloud_machine() is not None:
            self.worker(name, "idle")
        limits = {"max_steps": max_steps, "time_limit_seconds": time_limit_seconds}
        return Task(self, text_of(task_id), parse_attempt(attempt), name, domain, instruction, limits)

    def worker(
        self,
        worker_id: str,
        state: str,
        *,
        vm: str | None = None,
        vm_size: str | None = None,
        provider: str | None = None,
        hourly_rate_usd: float | None = None,
    ) -> None:
        """Record the state of a worker, and the machine it is on.

        Args:
            worker_id: The worker's id.
            state: ``starting``, ``idle``, ``busy``, ``stopped`` or ``lost``.
            vm: The machine's name, or its id in its cloud. Without it, the machine that this process runs on, where
                ``EVALGAUGE_INSTANCE_METADATA`` is ``on`` and the machine's metadata service answers.
            vm_size: The machine's size, such as ``Standard_D4ds_v5``.
            provider: The machine's provider, such as ``azure``.
            hourly_rate_usd: The machine's price in US dollars an hour.
        """
        if state not in WORKER_STATES:
            log.warning("unknown worker state %r, not recorded; the states are %s", state, ", ".join(WORKER_STATES))
            return
        worker_id = text_of(worker_id)
        if vm is None and (own := find_cloud_machine()) is not None:
            vm, vm_size, provider = own.vm, vm_size or own.vm_size, provider or own.provider
        machine = {"vm": vm, "vm_size": vm_size, "provider": provider, "hourly_rate_usd": hourly_rate_usd}
        self._write("worker_state", {"worker_id": worker_id, "state": state, **machine})
        self._log.workers[worker_id] = state

    def llm_call(self, **call: Unpack[LlmCallFields]) -> None:
        """Record a model call that belongs to no task; arguments as for ``Task.llm_call``."""
        self._record_call(call, {})

    def _record_call(self, call: LlmCallFields, ids: Mapping[str, Any]) -> None:
        try:
            events = llm_events(call)
        except Exception as error:
            self._record_failure(error)
            return
        for event in events:
            self._write("llm_call", {**event, **ids})
        self._budget.check()

    def finish(self, status: Literal["completed", "aborted"] = "completed") -> None:
        """Finish the run. Never raises.

        Open tasks of this process finish as ``interrupted``; what is still to be written beside the log is waited for.
        In a process that only joined, the run stays open, and its workers are stopped.

        Args:
            status: How the run finished.
        """
        with self._lock:
            if self._finishing:  # by a signal's handler too, in the midst of this
                return
            self._finishing = True
            for task in list(self._open):
                task.finish(outcome="interrupted", reason="the run ended while the task was open")
            background_files.flush(stop=True)
            if self._ownership is not None:
                self._write("run_finished", {"status": status}, sync=self._fsync != "never")
            elif self._joined and not self._log.is_shared(self):
                for worker_id in self._log.workers_up():  # else their silence is taken for their loss
                    self._write("worker_state", {"worker_id": worker_id, "state": "stopped"})
            self._closed = True
        _open_runs.discard(self)
        _unfinished.discard(self)
        try:
            if self._ownership is not None:
                self._ownership.release()
                self._ownership = None
            self._log.leave(self)
        except Exception as error:
            self._record_failure(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.finish("completed" if kind is None else "aborted")

    def _write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> None:
        """Append an event; a failure is counted, and reported once."""
        try:
            if self._closed:
                raise ValueError("the run was finished before")
            if not self._joined:
                self._log.join(self)
                self._joined = True
            if self._redactor is not None:
                fields = self._redactor.redact_event(fields)
            for part in split_run_started(fields) if kind == "run_started" else (fields,):
                self._log.write(kind, part, sync=sync or self._fsync == "always")
        except Exception as error:
            self._record_failure(error)
            if self._redactor is not None:  # nobody gets what could not be masked
                return
        self._notify(kind, fields)

    def _notify(self, kind: str, fields: Mapping[str, Any]) -> None:
        for observer in observers:
            try:
                observer(self, kind, fields)
            except Exception:
                log.exception("run %s: an observer of its events failed and was removed", self.run_id)
                with contextlib.suppress(ValueError):  # another thread may have removed it
                    observers.remove(observer)
                break

    def _record_failure(self, error: Exception, what: str = "an event") -> None:
        self._log.lost_events += 1
        if not self._log.failure_reported:
            self._log.failure_reported = True
            log.error(
                "run %s: %s could not be written to %s (%s); the evaluation continues, lost events are counted",
                self.run_id,
                what,
                self.folder,
                text_of(error) or type(error).__name__,
            )

    def _record_lost_screenshot(self, error: Exception) -> None:
        self._record_failure(error, "a screenshot")

    def _after_fork(self) -> None:
        """Prepare a forked child: it has a log of its own and finishes neither the run nor its tasks."""
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._budget = Budget(self.folder, self._budget.limit_usd, self._budget.on_budget)
        self._joined = False
        for task in self._open:
            task._lock = threading.RLock()
        self._open = set()
        if self._ownership is not None:
            self._ownership.forget()
            self._ownership = None


def _unpickle(
    folder: Path, run_id: str, fsync: Fsync, budget: tuple[float | None, OnBudget], redactor: Redactor | None
) -> Run:
    run = Run(folder, run_id, None, fsync, budget[1], redactor)
    run._budget.limit_usd = budget[0]
    return run


class Task:
    """An attempt at a task that is being recorded. Made by ``Run.task``."""

    def __init__(
        self,
        run: Run,
        task_id: str,
        attempt: int,
        worker: str | None,
        domain: str | None,
        instruction: str | None,
        limits: Mapping[str, float | None],
    ) -> None:
        self.run = run
        self.task_id = task_id
        self.attempt = attempt
        self.worker = worker
        self._domain = None if domain is None else text_of(domain)
        self._ids = {"task_id": task_id, "attempt": attempt, "worker_id": worker}
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._steps = 0
        self._has_files = False
        self._last_action = ""
        self._finished = False
        self._token: Token[Task | None] | None = None
        self._started_at = time.monotonic()
        run._open.add(self)
        _unfinished.add(self)
        run._write("task_started", {**self._ids, "domain": domain, "instruction": instruction, **limits})
        if worker is not None:
            run._log.workers[worker] = "busy"

    def step(
        self,
        *,
        action: Any,
        reasoning: str | None = None,
        observation: object = None,
        screenshot: Screenshot | None = None,
        think_seconds: float | None = None,
        env_seconds: float | None = None,
        first_action_correct: bool | None = None,
    ) -> None:
        """Record one step: what the agent did, why, and what it saw before. Never raises.

        Args:
            action: A mapping with ``type``, a dataclass or pydantic model with such fields, the type alone, or a call
                in code such as ``click('a51')``, whose function is the type.
            reasoning: Why the agent acted.
            observation: What the agent got to see as text, such as a tool's output or an accessibility tree; one of
                more than ``evalgauge.events.OBSERVATION_LENGTH`` characters is stored in a file beside the log.
            screenshot: What the agent saw before; see ``evalgauge.screenshots.Screenshot`` for the forms.
            think_seconds: How long the agent took to decide.
            env_seconds: How long the environment took to act.
            first_action_correct: Whether the first action was correct, where the runner judges it.
        """
        try:
            fields = action_fields(action)
            with self._lock:
                index = self._steps
                self._steps += 1
                self._last_action = text_of(fields.get("type", "")).lower()
            event: dict[str, Any] = {
                **self._ids,
                "step_idx": index,
                "action": fields,
                "reasoning": reasoning[:REASONING_LENGTH] if isinstance(reasoning, str) else reasoning,
                "screenshot": None if screenshot is None else self._save_screenshot(screenshot, index),
                "think_seconds": think_seconds,
                "env_seconds": env_seconds,
            }
            if observation is not None:
                event.update(self._store_observation(self._mask(observation), index))
            if first_action_correct is not None:
                event["first_action_correct"] = bool(first_action_correct)
        except Exception as error:
            self.run._record_failure(error)
            return
        self.run._write("step", event)
        self.run._budget.check()

    def llm_call(self, **call: Unpack[LlmCallFields]) -> None:
        """Record a model call made for this task. Never raises.

        Args:
            **call: The fields of ``evalgauge.normalize.LlmCallFields``: ``provider`` and ``model``; ``usage``, the
                SDK's usage object as it is, or the disjoint counts ``input_tokens``, ``cache_read_tokens``,
                ``cache_write_tokens`` and ``output_tokens``; ``cost_usd``, a cost that the provider states;
                ``duration_seconds``; ``status``, one of ``ok``, ``error`` and ``retry``; ``batch`` and
                ``service_tier``, which change the price; and more.
        """
        self.run._record_call(call, self._ids)

    def message(self, role: str, text: str) -> None:
        """Record what the agent was told, beside its instruction. Never raises.

        Args:
            role: ``system`` for the system prompt, ``user`` for what the user says.
            text: The text; it is cut to ``evalgauge.events.OBSERVATION_LENGTH`` characters.
        """
        try:
            if role not in ROLES:
                log.warning("unknown role %r, recorded as user; the roles are %s", text_of(role), ", ".join(ROLES))
                role = "user"
            event = {**self._ids, "role": role, "text": self._mask(text)[:OBSERVATION_LENGTH]}
        except Exception as error:
            self.run._record_failure(error)
            return
        self.run._write("message", event)

    def log(self, message: str, *, level: str = "info") -> None:
        """Record a log line, which the replay shows beside the steps. Never raises.

        Args:
            message: The text; it is cut to ``evalgauge.values.TEXT_LENGTH`` characters.
            level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
        """
        try:
            event = {**self._ids, "level": parse_log_level(level), "message": str(message)[:TEXT_LENGTH]}
        except Exception as error:
            self.run._record_failure(error)
            return
        self.run._write("log", event)

    def finish(
        self,
        *,
        success: bool | None = None,
        score: float | None = None,
        scores: Mapping[str, float] | None = None,
        outcome: str | None = None,
        error: str | None = None,
        reason: str | None = None,
        answer: object = None,
        target: object = None,
        steps: int | None = None,
    ) -> None:
        """Finish the attempt, once its screenshots are written. Only the first call counts. Never raises.

        Args:
            success: Whether the task succeeded.
            score: The score in the benchmark's own scale; without ``success``, 1 or more is a success.
            scores: Every score by its scorer's name, where there are several; without ``score``, the first is it.
            outcome: The outcome itself, in place of ``success`` and ``score``. Without all three, an ``error`` is an
                ``agent_error``, and nothing at all is ``interrupted``: not measured.
            error: What went wrong.
            reason: Why the attempt has this outcome.
            answer: What the agent answered.
            target: What would have been right.
            steps: The number of steps, where it differs from the steps recorded.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
            if steps is None:
                steps = self._steps - (self._last_action in TERMINAL_ACTIONS)
        self.run._open.discard(self)
        _unfinished.discard(self)
        if self.worker is not None:
            self.run._log.workers[self.worker] = "idle"
        try:
            by_scorer = {text_of(name): float(value) for name, value in dict(scores or {}).items()}
            scorer = next(iter(by_scorer), None) if score is None else None
            if scorer is not None:
                score = by_scorer[scorer]
            event = {
                **self._ids,
                "outcome": outcome_of(success, score, outcome, error),
                "score": None if score is None else float(score),
                "steps": steps,
                "duration_seconds": round(time.monotonic() - self._started_at, 6),
                "error": None if error is None else text_of(error)[:REASONING_LENGTH],
                "reason": None if reason is None else text_of(reason)[:REASONING_LENGTH],
            }
            if score is not None:
                event["outcome_from_score"] = success is None and outcome is None
            if by_scorer:
                event["scores"] = by_scorer
            if scorer is not None:
                event["scorer"] = scorer
            for name, text in (("answer", answer), ("target", target)):
                if text is not None:
                    event[name] = self._mask(text)[:OBSERVATION_LENGTH]
        except Exception as problem:
            self.run._record_failure(problem)
            event = {**self._ids, "outcome": "evaluation_error", "steps": steps, "error": text_of(problem)}
        if self._has_files:  # a pool of processes kills its workers once their results are there
            background_files.flush()
        self.run._write("task_finished", event, sync=self.run._fsync == "task")

    def __enter__(self) -> Self:
        self._token = current_task.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            try:
                current_task.reset(self._token)
            except ValueError:  # left in another context than it was entered in
                current_task.set(None)
        if self._pid != os.getpid():
            return  # a forked child that leaves the block does not end its parent's task
        if kind is not None and issubclass(kind, BudgetExceeded):
            self.finish(outcome="interrupted", reason=text_of(value))
        elif kind is not None and issubclass(kind, Exception):
            self.finish(outcome="agent_error", error=f"{kind.__name__}: {text_of(value)}")
        else:
            reason = "the task was left without an outcome" if kind is None else f"stopped by {kind.__name__}"
            self.finish(outcome="interrupted", reason=reason)

    def _mask(self, value: object) -> str:
        """Return a text without secrets, before it is cut: half a secret is not recognised any more."""
        text = text_of(value)
        return text if self.run._redactor is None else self.run._redactor.redact_text(text)

    def _store_observation(self, text: str, index: int) -> dict[str, str]:
        """Return the fields of an observation; a long one is stored beside the log."""
        if len(text) <= OBSERVATION_LENGTH:
            return {"observation": text}
        fields = {"observation": text[:OBSERVATION_LENGTH]}
        try:
            path = path_beside_log("observations", self.task_id, self.attempt, f"step_{index:04d}.txt")
            write_whole(self.run.folder / path, text.encode("utf-8", "replace"))
            fields["observation_file"] = path
        except Exception as error:
            self.run._record_failure(error, "an observation")
        return fields

    def _save_screenshot(self, screenshot: Screenshot, index: int) -> str | None:
        """Store a screenshot beside the log soon; return its path relative to the run's folder, None if it is no image.

        A file that is in the run's folder already stays where it is. One that can't be written later is counted then.
        """
        run = self.run
        try:
            redactor = run._redactor
            boxes = [] if redactor is None else redactor.boxes_for(self.task_id, self._domain)
            if not boxes and (path := path_inside(screenshot, run.folder)) is not None:
                return path
            image = freeze_image(screenshot)
            suffix = "png" if boxes else image.suffix
            path = path_beside_log("screenshots", self.task_id, self.attempt, f"step_{index:04d}.{suffix}")
            encode = (lambda: cover_image(image.encode(), boxes)) if boxes else image.encode
            self._has_files = True
            background_files.write(run.folder / path, encode, image.size, run._record_lost_screenshot)
            return path
        except Exception as error:
            run._record_lost_screenshot(error)
            return None


def abort_open_runs() -> None:
    """Abort, at interpreter exit, the runs that nobody finished."""
    for run in list(_open_runs):
        if run._pid == os.getpid():
            run.finish("aborted")


def _after_fork() -> None:
    for run in list(_open_runs):
        run._after_fork()
    _unfinished.clear()


atexit.register(abort_open_runs)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
