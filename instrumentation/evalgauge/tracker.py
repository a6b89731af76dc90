"""The tracker: what a benchmark runner calls. Three lines make a run visible.

    with track_run("results", benchmark="waa", model="claude-sonnet-4-5", tasks=tasks) as run:
        with run.task("notepad_1", domain="notepad", worker="vm-001") as task:
            task.step(action={"type": "click", "x": 0.4, "y": 0.2}, screenshot=png, reasoning=text)
            task.finish(success=True, score=1.0)

Nothing here raises into the benchmark: what can't be written is counted in ``Run.lost_events`` and said once in the
log (logger ``evalgauge``), and the evaluation goes on. Everything may be called from any thread; a process that was
forked from one with an open run, or that unpickled it, writes a log file of its own.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from evalgauge.conversions import (
    LlmCallFields,
    Screenshot,
    action_fields,
    image_bytes,
    llm_fields,
    outcome_of,
    planned_tasks,
)
from evalgauge.events import TERMINAL_ACTIONS
from evalgauge.metrics import WORKER_STATES
from evalgauge.ownership import Ownership
from evalgauge.runlog import EVENTS_FOLDER, LogWriter, safe_name

log = logging.getLogger("evalgauge")

Fsync = Literal["task", "always", "never"]

HEARTBEAT_SECONDS = 30.0
REASONING_LENGTH = 200_000
"""Characters of a step's reasoning that are kept."""

Observer = Callable[["Run", str, Mapping[str, Any]], None]

observers: list[Observer] = []
"""Each is told of every event after it was written: the run, the event's type and its fields. OpenTelemetry is one."""

current_task: ContextVar[Task | None] = ContextVar("evalgauge_task", default=None)
"""The task whose ``with`` block the code is in: what a model call that is captured belongs to."""

_MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()
_names = itertools.count()


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
) -> Run:
    """Begin a run, or join the one that ``run_id`` names, and return it; it is a context manager.

    ``tasks``: what will be done, as ids or mappings with ``task_id``, ``domain`` and ``instruction``, or just how many.
    ``attempts``: how often each is tried. ``budget_usd``: for the alert. ``baseline``: the run_id to compare with.
    ``fsync``: when a line is forced to the disk: at task and run ends, after each line, or never.

    A process that joins a run that is still going on does not finish it; where the process that started the run is
    gone, the one that joins takes it over.
    """
    name = safe_name(run_id) if run_id else _new_run_id(benchmark, model)
    if run_id and name != run_id:
        log.warning("run id %r can't be a folder's name; the run is called %r", run_id, name)
    started = {
        "run_id": name,
        "benchmark": benchmark,
        "model": model,
        "agent": agent,
        "attempts": attempts,
        "budget_usd": budget_usd,
        "baseline_run_id": baseline,
        "tags": dict(tags or {}),
        **planned_tasks(tasks),
    }
    return Run(Path(results) / name, name, started, fsync)


def _new_run_id(benchmark: str, model: str) -> str:
    return safe_name(f"{benchmark}-{model}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")


class Run:
    """A run that is being written. Made by ``track_run``."""

    def __init__(self, folder: Path, run_id: str, started: Mapping[str, Any] | None, fsync: Fsync) -> None:
        self.run_id = run_id
        self.folder = folder
        """Where the log and the screenshots of the run lie."""
        self.lost_events = 0
        """How many events this process could not write."""
        self._fsync = fsync
        self._lock = threading.Lock()
        self._writer: LogWriter | None = None
        self._pid = os.getpid()
        self._closed = False
        self._complained = False
        self._workers: dict[str, str] = {}
        self._open: set[Task] = set()
        self._wake = threading.Event()
        self._heart: threading.Thread | None = None
        self._ownership: Ownership | None = None
        self.started = started
        """What was said of the run when it began or was joined; None where the run came from another process."""
        if started is not None:
            _start_otel()
            self._quietly(lambda: self._claim(started))
        _open_runs.add(self)

    def _claim(self, started: Mapping[str, Any]) -> None:
        self._ownership = Ownership.claim(self.folder / EVENTS_FOLDER)
        if self._ownership is not None:
            self._write("run_started", started, sync=self._fsync != "never")

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[Any, ...]]:
        return Run, (self.folder, self.run_id, None, self._fsync)

    def task(
        self,
        task_id: str,
        *,
        domain: str | None = None,
        instruction: str | None = None,
        worker: str | None = None,
        attempt: int = 1,
        max_steps: int | None = None,
    ) -> Task:
        """Begin an attempt at a task and return it; it is a context manager."""
        return Task(self, str(task_id), attempt, worker, domain, instruction, max_steps)

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
        """Say what a worker does: ``starting``, ``idle``, ``busy``, ``stopped`` or ``lost``, and on which machine."""
        if state not in WORKER_STATES:
            log.warning("worker state %r is none of %s; not recorded", state, ", ".join(WORKER_STATES))
            return
        self._workers[worker_id] = state
        machine = {"vm": vm, "vm_size": vm_size, "provider": provider, "hourly_rate_usd": hourly_rate_usd}
        self._write("worker_state", {"worker_id": worker_id, "state": state, **machine})

    def llm_call(self, **call: Unpack[LlmCallFields]) -> None:
        """Record a model call that belongs to no task; the arguments are those of ``Task.llm_call``."""
        self._write("llm_call", llm_fields(**call))

    def finish(self, status: Literal["completed", "aborted"] = "completed") -> None:
        """End the run. Open tasks of this process end as ``interrupted``. A process that only joined ends nothing."""
        if self._closed:
            return
        for task in list(self._open):
            task.finish(outcome="interrupted", reason="the run ended while the task was open")
        if self._ownership is not None:
            self._write("run_finished", {"status": status}, sync=self._fsync != "never")
        self._closed = True
        self._wake.set()
        _open_runs.discard(self)
        self._quietly(self._release)

    def _release(self) -> None:
        if self._ownership is not None:
            self._ownership.release()
            self._ownership = None
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.finish("completed" if kind is None else "aborted")

    def _write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> None:
        """Append an event; whatever goes wrong is counted and said once."""
        try:
            writer = self._writer
            if writer is None:
                writer = self._opened()
            writer.write(kind, fields, sync=sync or self._fsync == "always")
        except Exception as error:
            self._failed(error)
        for observer in observers:
            try:
                observer(self, kind, fields)
            except Exception:
                log.exception("run %s: an observer of its events failed and is told no more", self.run_id)
                observers.remove(observer)
                break

    def _opened(self) -> LogWriter:
        with self._lock:
            if self._writer is None:
                host = socket.gethostname().split(".")[0]
                name = safe_name(f"{host}-{os.getpid()}-{time.time_ns() // 1000:x}-{next(_names)}")
                self._writer = LogWriter(self.folder / EVENTS_FOLDER / f"{name}.jsonl")
                self._heart = threading.Thread(target=self._beat, name="evalgauge-heartbeat", daemon=True)
                self._heart.start()
            return self._writer

    def _beat(self) -> None:
        while not self._wake.wait(HEARTBEAT_SECONDS):
            lost = {"lost_events": self.lost_events} if self.lost_events else {}
            alive: list[str | None] = [worker for worker, state in list(self._workers.items()) if state != "stopped"]
            for worker in alive or [None]:
                self._write("heartbeat", {"worker_id": worker, **lost})

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.lost_events += 1
        if not self._complained:
            self._complained = True
            log.error(
                "run %s: an event could not be written to %s (%s); the evaluation goes on, what is lost is counted",
                self.run_id,
                self.folder,
                error,
            )

    def _after_fork(self) -> None:
        """In a child process: a log of its own, and no claim on the end of the run."""
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._heart = None
        self._wake = threading.Event()
        self._open = set()
        writer, self._writer = self._writer, None
        if writer is not None:
            os.close(writer._fd)
        if self._ownership is not None:
            self._ownership.forget()
            self._ownership = None


class Task:
    """An attempt at a task that is being written. Made by ``Run.task``."""

    def __init__(
        self,
        run: Run,
        task_id: str,
        attempt: int,
        worker: str | None,
        domain: str | None,
        instruction: str | None,
        max_steps: int | None,
    ) -> None:
        self.run = run
        self.task_id = task_id
        self.attempt = attempt
        self.worker = worker
        self._ids = {"task_id": task_id, "attempt": attempt, "worker_id": worker}
        self._lock = threading.Lock()
        self._steps = 0
        self._last_action = ""
        self._finished = False
        self._token: Token[Task | None] | None = None
        self._began = time.monotonic()
        if worker is not None:
            run._workers[worker] = "busy"
        run._open.add(self)
        run._write("task_started", {**self._ids, "domain": domain, "instruction": instruction, "max_steps": max_steps})

    def step(
        self,
        *,
        action: Any,
        reasoning: str | None = None,
        screenshot: Screenshot | None = None,
        think_seconds: float | None = None,
        env_seconds: float | None = None,
        first_action_correct: bool | None = None,
    ) -> None:
        """Record one step: what the agent did, why, and what it saw before.

        ``action``: a mapping with ``type``, a dataclass or pydantic model that has such fields, or the type alone.
        ``think_seconds``: how long the agent took to decide; ``env_seconds``: how long the environment took to act.
        """
        try:
            fields = action_fields(action)
            with self._lock:
                index = self._steps
                self._steps += 1
                self._last_action = str(fields.get("type", "")).lower()
            event: dict[str, Any] = {
                **self._ids,
                "step_idx": index,
                "action": fields,
                "reasoning": reasoning[:REASONING_LENGTH] if isinstance(reasoning, str) else reasoning,
                "screenshot": None if screenshot is None else self._keep(screenshot, index),
                "think_seconds": think_seconds,
                "env_seconds": env_seconds,
            }
            if first_action_correct is not None:
                event["first_action_correct"] = bool(first_action_correct)
        except Exception as error:
            self.run._failed(error)
            return
        self.run._write("step", event)

    def llm_call(self, **call: Unpack[LlmCallFields]) -> None:
        """Record a model call made for this task.

        ``provider``, ``model``; ``usage``: the SDK's usage object as it came, or ``input_tokens``,
        ``cache_read_tokens``, ``cache_write_tokens`` and ``output_tokens`` (disjoint); ``duration_seconds``;
        ``status``: ``ok``, ``error`` or ``retry``; ``batch``: billed at the batch price.
        """
        try:
            event = llm_fields(**call)
        except Exception as error:
            self.run._failed(error)
            return
        self.run._write("llm_call", {**event, **self._ids})

    def finish(
        self,
        *,
        success: bool | None = None,
        score: float | None = None,
        outcome: str | None = None,
        error: str | None = None,
        reason: str | None = None,
        steps: int | None = None,
    ) -> None:
        """End the attempt. The first call counts. ``steps``: how many there were, where that is not what was recorded.

        The outcome is ``outcome`` where it is given, else what ``success`` says, else whether ``score`` is at least
        1, else ``agent_error`` where there is an ``error``, else ``interrupted``: nothing was measured.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
            if steps is None:
                steps = self._steps - (self._last_action in TERMINAL_ACTIONS)
        self.run._open.discard(self)
        if self.worker is not None:
            self.run._workers[self.worker] = "idle"
        try:
            event = {
                **self._ids,
                "outcome": outcome_of(success, score, outcome, error),
                "score": None if score is None else float(score),
                "steps": steps,
                "duration_seconds": round(time.monotonic() - self._began, 6),
                "error": None if error is None else str(error)[:REASONING_LENGTH],
                "reason": None if reason is None else str(reason)[:REASONING_LENGTH],
            }
        except Exception as problem:
            self.run._failed(problem)
            event = {**self._ids, "outcome": "evaluation_error", "steps": steps, "error": str(problem)}
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
        if kind is not None and issubclass(kind, Exception):
            self.finish(outcome="agent_error", error=f"{kind.__name__}: {value}")
        else:
            left = "the task was left without an outcome" if kind is None else f"stopped by {kind.__name__}"
            self.finish(outcome="interrupted", reason=left)

    def _keep(self, screenshot: Screenshot, index: int) -> str | None:
        """Store a screenshot beside the log; its path relative to the run's folder, None where it can't be stored."""
        try:
            if isinstance(screenshot, str | os.PathLike) and not str(screenshot).startswith("data:"):
                path = Path(screenshot)
                if path.is_absolute() and path.is_relative_to(self.run.folder.absolute()):
                    return path.relative_to(self.run.folder.absolute()).as_posix()
                data = path.read_bytes()  # copied, not linked: runners write the next one over it
            else:
                data = image_bytes(screenshot)
            suffix = next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "bin")
            name = safe_name(self.task_id)
            if name != self.task_id:
                name = f"{safe_name(self.task_id, 100)}-{hashlib.sha256(self.task_id.encode()).hexdigest()[:8]}"
            relative = f"screenshots/{name}/{self.attempt}/step_{index:04d}.{suffix}"
            target = self.run.folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except Exception as error:
            self.run._failed(error)
            return None
        return relative


def _start_otel() -> None:
    """Send runs by OTLP too where the environment says where to."""
    if any(name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("ENDPOINT") for name in os.environ):
        from evalgauge import otel

        otel.start_if_configured()


def _end_open_runs() -> None:
    """At the interpreter's end: a run that nobody finished was aborted."""
    for run in list(_open_runs):
        if run._pid == os.getpid():
            run.finish("aborted")


def _forked() -> None:
    for run in list(_open_runs):
        run._after_fork()


atexit.register(_end_open_runs)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
