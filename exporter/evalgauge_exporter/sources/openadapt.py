"""Run folders that openadapt-evals writes, of every release since 0.1.0.

``<results>/<run>/{metadata.json, summary.json, tasks/<task>/{task.json, execution.json, screenshots/}}``, the pool
tree ``<results>/<exp>/<exp>_<worker>/…`` and the ``benchmark_live.json`` of a run that goes on. What to know of them:

- ``execution.json`` is written when a task ends, ``summary.json`` when a run ends; a killed run has neither.
- ``success_rate`` in a summary means different things in different releases. It is not read: outcomes are counted.
- ``num_steps`` leaves out the terminal step that ``steps`` holds.
- Under ``parallel > 1`` an execution can lie in another task's folder, or be lost: its own ``task_id`` counts, and
  what is lost is filled in from the summary.
- ``domain`` and ``model_id`` may be ``unknown``: the domain is then what the task's configuration names first.
- ``created_at`` is naive local time; steps carry Unix seconds; the live file has no times at all and is not replaced
  as a whole, so that a reader may meet half of it.
- The token counts of a step are those of the last model call; those of the calls before it, whose answers could not
  be parsed, are nowhere: they are retries with unknown usage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from evalgauge.events import (
    Event,
    Heartbeat,
    LlmCall,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.metrics import OUTCOMES
from evalgauge.runlog import Problem
from evalgauge.usage import UNKNOWN, tokens
from evalgauge_exporter.providers import provider_of
from evalgauge_exporter.sources import Reading

LIVE_FILE = "benchmark_live.json"
MAX_FILE = 256 << 20
"""Bytes: a larger JSON file is not read."""
NEAR = 900.0
"""Seconds within which a file's time is believed to belong to what its content says."""

_ERROR_TYPES = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
    "interrupted": "interrupted",
}


def recognised(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder with entries of these names is one run."""
    if "tasks" not in names:
        return False
    if "metadata.json" in names or "summary.json" in names:
        return _is_openadapt(folder)
    return False


def _is_openadapt(folder: Path) -> bool:
    """Leave alone what only looks alike: a folder whose tasks hold other files than those of this format."""
    tasks = folder / "tasks"
    try:
        with os.scandir(tasks) as entries:
            for entry in entries:
                inside = Path(entry.path)
                if (inside / "execution.json").exists() or (inside / "task.json").exists():
                    return not _several_models(inside)
    except OSError:
        return False
    return True


def _several_models(task: Path) -> bool:
    """Whether a task's folder is of the layout with a file for each model."""
    names = [entry.name for entry in os.scandir(task) if entry.name.endswith(".json")]
    return "execution.json" not in names and any(name != "task.json" for name in names)


def recognised_pool(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is a pool tree: all that is in it are runs that are named ``<folder>_<worker>``."""
    members = [name for name in names if name.startswith(f"{folder.name}_")]
    if not members or "tasks" in names or "metadata.json" in names:
        return False
    others = [name for name in names if name not in members and (folder / name / "tasks").is_dir()]
    return not others and any(recognised(folder / name, _names(folder / name)) for name in members)


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


class _Signature(NamedTuple):
    """What changes when a file does."""

    mtime_ns: int
    size: int
    inode: int


def _signature(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Signature(found.st_mtime_ns, found.st_size, found.st_ino)


class _TaskFolder:
    """What was read of one folder under ``tasks/``."""

    __slots__ = ("domain", "instruction", "max_steps", "model", "path", "read", "started", "task_id", "task_read")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.task_id = path.name
        self.domain: str | None = None
        self.instruction: str | None = None
        self.max_steps: int | None = None
        self.model: str | None = None
        self.task_read: _Signature | None = None
        self.read: _Signature | None = None
        """Of the execution.json that was read, None before there was one."""
        self.started = False


class OpenAdaptSource:
    """One run folder; within a pool the part of one worker."""

    source = "openadapt"

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        self.folder = folder
        self.complete = False
        """True once the summary was read."""
        self._worker = worker
        self._writer = worker or "openadapt"
        self._seq = 0
        self._tasks: dict[str, _TaskFolder] = {}
        self._finished: set[str] = set()
        self._live_steps: dict[str, int] = {}
        self._listed: int | None = None
        self._metadata: _Signature | None = None
        self._summary: _Signature | None = None
        self._live: tuple[Path, _Signature] | None = None
        self._live_total: int | None = None
        self._announced: tuple[str | None, str | None, int | None] | None = None
        self._benchmark: str | None = None
        self._model: str | None = None
        self._created_at: float | None = None
        self._latest: float | None = None
        """The latest time that a content gave."""
        self._trusted: bool | None = None
        """Whether file times agree with the contents' times; a copied tree's do not."""
        self._beat = 0.0
        self._complained: set[tuple[Path, _Signature | None]] = set()

    @property
    def own_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def signature(self) -> str | None:
        """Times and sizes of what changes when the run gains something; None while it goes on."""
        if _signature(self.folder / "summary.json") is None:
            return None
        marks = [_signature(self.folder / name) for name in ("metadata.json", "summary.json", "tasks")]
        return " ".join("-" if mark is None else f"{mark.size}:{mark.mtime_ns}" for mark in marks)

    def watched(self) -> list[Path]:
        """The run's folder, its tasks, the open ones among them, and where the live file lies; none once it is over."""
        if self.complete:
            return []
        open_tasks = [task.path for task in self._tasks.values() if task.read is None][-20:]
        shots = [path / "screenshots" for path in open_tasks[-4:]]
        live = [self._live[0].parent] if self._live else [self.folder.parent, self.folder.parent.parent]
        folders = [self.folder, self.folder / "tasks", *open_tasks, *shots, *live]
        return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]

    def read(self, *, thorough: bool = False) -> Reading:
        """The tasks that began or ended since the last call, and the steps of the one that the live file shows."""
        reading = Reading()
        if not self.folder.is_dir():
            reading.gone = True
            return reading
        metadata = _signature(self.folder / "metadata.json")
        if metadata != self._metadata and self._read_metadata(metadata, reading):
            return reading
        self._list_tasks(reading)
        ended = self._read_tasks(thorough, reading)
        if reading.replaced:
            return reading
        if not self.complete and self._announced != (self._benchmark, self._model, self._live_total):
            self._emit_start(reading)
        for item in ended:
            self._emit_task(item, reading)
        self._read_summary(reading)
        if not self.complete:
            self._emit_open(reading)
            if self._worker is None:
                self._read_live(reading)
        return reading

    # -- reading the files

    def _json(self, path: Path, signature: _Signature | None, reading: Reading) -> dict[str, Any] | None:
        """The object in a file; what is none becomes one problem for each state of the file."""
        if signature is None:
            return None
        reason = detail = None
        try:
            if signature.size > MAX_FILE:
                reason, detail = "long_file", f"larger than {MAX_FILE >> 20} MiB"
            else:
                content = from_json(path.read_bytes())
                if isinstance(content, dict):
                    return content
                reason, detail = "foreign_file", "no JSON object"
        except OSError as error:
            reason, detail = "unreadable", str(error.strerror or error)
        except (ValueError, RecursionError) as error:
            reason, detail = "torn_file", f"no whole JSON: {str(error)[:80]}"
        if (path, signature) not in self._complained:
            self._complained.add((path, signature))
            reading.problems.append(Problem(reason, f"{path}: {detail}"))
        return None

    def _read_metadata(self, signature: _Signature | None, reading: Reading) -> bool:
        """Take in metadata.json; True where it tells of another run than before."""
        content = self._json(self.folder / "metadata.json", signature, reading)
        if content is None:
            return False
        created_at = _local_time(content.get("created_at"))
        if self._metadata is not None and created_at != self._created_at:
            reading.replaced = True
            return True
        self._metadata = signature
        self._created_at = created_at
        self._benchmark = _known(content.get("benchmark_name"))
        self._model = _known(content.get("model_id")) or self._model
        return False

    def _list_tasks(self, reading: Reading) -> None:
        """Look for new task folders."""
        folder = self.folder / "tasks"
        try:
            listed = folder.stat().st_mtime_ns
            if listed == self._listed:
                return
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name not in self._tasks and entry.is_dir():
                        self._tasks[entry.name] = _TaskFolder(Path(entry.path))
            self._listed = listed
        except FileNotFoundError:
            return
        except OSError as error:
            reading.problems.append(Problem("unreadable", f"{folder}: {error.strerror or error}"))

    def _read_tasks(self, thorough: bool, reading: Reading) -> list[_Ended]:
        ended: list[_Ended] = []
        for task in self._tasks.values():
            if task.read is not None and not thorough:
                continue
            execution = _signature(task.path / "execution.json")
            if task.read is not None:
                if execution != task.read:  # a finished task was written anew, or taken away
                    reading.replaced = True
                    return []
                continue
            self._read_task(task, reading)
            if execution is None:
                continue
            content = self._json(task.path / "execution.json", execution, reading)
            if content is None:
                continue
            task.read = execution
            task.model = _known(content.get("model_id"))
            self._model = self._model or task.model
            ended.append(_Ended(task, content, execution.mtime_ns / 1e9))
        if ended:
            self._date(ended)
            known = {task.task_id: task for task in self._tasks.values()}
            ended = [item.described_by(known) for item in ended]
            ended.sort(key=lambda item: (item.started, item.finished))
        return ended

    def _read_task(self, task: _TaskFolder, reading: Reading) -> None:
        signature = _signature(task.path / "task.json")
        if signature is None or signature == task.task_read:
            return
        content = self._json(task.path / "task.json", signature, reading)
        if content is None:
            return
        task.task_read = signature
        task.task_id = _known(content.get("task_id")) or task.task_id
        task.domain = domain_of(content)
        instruction = content.get("instruction")
        task.instruction = instruction if isinstance(instruction, str) else None
        limit = content.get("time_limit_steps")
        task.max_steps = limit if type(limit) is int and limit >= 0 else None

    def _date(self, ended: list[_Ended]) -> None:
        """Say when each task began and ended: by its steps' times; by its files' where those can be believed."""
        for item in ended:
            if item.first_step is not None and item.last_step is not None:
                if self._trusted is None:
                    self._trusted = 0 <= item.file_time - item.last_step <= NEAR
                self._latest = max(self._latest or 0.0, item.last_step)
        believed = self._trusted is not False
        carried = self._created_at
        for item in sorted(ended, key=lambda item: item.file_time):
            began = item.task.task_read.mtime_ns / 1e9 if item.task.task_read is not None else None
            if item.first_step is not None:
                near = began is not None and believed and 0 <= item.first_step - began <= NEAR
                item.started = began if near and began is not None else item.first_step - item.think
                item.finished = item.last_step or item.started
                if item.duration is not None:
                    item.finished = item.started + item.duration
            else:
                item.finished = item.file_time if believed else (carried or item.file_time)
                item.started = item.finished - (item.duration or 0.0)
            carried = max(carried or 0.0, item.finished)
            self._latest = max(self._latest or 0.0, item.finished)

    # -- making events

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _emit_start(self, reading: Reading) -> None:
        """Say what the run is; said again where more is learned."""
        first = self._announced is None
        self._announced = (self._benchmark, self._model, self._live_total)
        at = self._created_at
        if at is None:
            at = self._latest if self._latest is not None else self.folder.stat().st_mtime
        reading.events.append(
            RunStarted(
                at, self._next(), self._writer, None, self._benchmark, self._model, None, (), self._live_total, 1, None,
                None, {},
            )
        )  # fmt: skip
        if first and self._worker is not None:
            reading.events.append(
                WorkerState(at, self._next(), self._writer, self._worker, "idle", self._worker, None, None, None)
            )

    def _emit_open(self, reading: Reading) -> None:
        """Tasks that have a task.json and no end; what their folders' times say keeps the run alive."""
        for task in self._tasks.values():
            if task.read is not None or task.task_read is None or task.task_id in self._finished:
                continue
            if not task.started:
                task.started = True
                reading.events.append(self._task_started(task, self._file_time(task.task_read.mtime_ns / 1e9)))
            shots = _signature(task.path / "screenshots")
            if shots is not None and self._trusted is not False:
                at = self._file_time(shots.mtime_ns / 1e9)
                if at > self._beat:
                    self._beat = at
                    reading.events.append(Heartbeat(at, self._next(), self._writer, self._worker, 0))

    def _file_time(self, at: float) -> float:
        """A file's time where it can be believed, else the latest that is known from the contents."""
        if self._trusted is False or (self._created_at is not None and at < self._created_at):
            return self._latest or self._created_at or at
        return at

    def _task_started(self, task: _TaskFolder, at: float) -> TaskStarted:
        return TaskStarted(
            at, self._next(), self._writer, task.task_id, 1, self._worker, task.domain, task.instruction, task.max_steps
        )

    def _emit_task(self, item: _Ended, reading: Reading) -> None:
        task, content = item.task, item.content
        task_id = _known(content.get("task_id")) or task.task_id
        if task_id in self._finished:
            reading.problems.append(Problem("duplicate_task", f"{task.path}: task {task_id[:80]!r} has ended before"))
            return
        self._finished.add(task_id)
        if not item.described.started:
            item.described.started = True
            reading.events.append(self._task_started(item.described, item.started))
        recorded = _steps(content)
        shown = self._live_steps.pop(task_id, 0)
        for index, step in enumerate(recorded):
            reading.events += self._step(task_id, index, step, item, shown)
        outcome = outcome_of(content)
        reading.events.append(
            TaskFinished(
                item.finished,
                self._next(),
                self._writer,
                task_id,
                1,
                self._worker,
                outcome,
                _number(content.get("score")),
                _count(content.get("num_steps")),
                item.duration,
                _words(content.get("error")),
                _words(content.get("reason")),
            )
        )

    def _step(self, task_id: str, index: int, step: Mapping[str, Any], item: _Ended, shown: int) -> Iterator[Event]:
        logs = step.get("agent_logs")
        logs = logs if isinstance(logs, dict) else {}
        at = _number(step.get("timestamp")) or item.started
        if index >= shown:  # the live file has not shown it yet
            yield _step_event(
                at, self._next(), self._writer, task_id, self._worker, index, step, logs, item.task.path.name
            )
        if "token_usage" not in logs:
            return
        model = item.task.model or self._model
        provider = provider_of(model)
        for status, usage in [
            *(("retry", UNKNOWN) for key in logs if key.startswith("retry_") and key.endswith("_response")),
            ("ok", tokens(logs["token_usage"])),
        ]:
            yield LlmCall(
                at, self._next(), self._writer, provider, model, usage, None, status, False, task_id, 1, self._worker
            )

    def _read_summary(self, reading: Reading) -> None:
        """The end of the run; and the tasks whose execution.json was lost."""
        signature = _signature(self.folder / "summary.json")
        if signature is None or signature == self._summary:
            return
        if self._created_at is not None and signature.mtime_ns / 1e9 < self._created_at and self._trusted is not False:
            return  # of the run that lay in this folder before
        content = self._json(self.folder / "summary.json", signature, reading)
        if content is None:
            return
        self._summary = signature
        late = self._latest or self._created_at or signature.mtime_ns / 1e9
        described = {task.task_id: task for task in self._tasks.values()}
        rows = content.get("tasks")
        for row in rows if isinstance(rows, list) else ():
            task_id = _known(row.get("task_id")) if isinstance(row, dict) else None
            if task_id is None or task_id in self._finished:
                continue
            self._finished.add(task_id)
            task = described.get(task_id)
            if task is not None and not task.started:
                task.started = True
                reading.events.append(self._task_started(task, late))
            reading.events.append(
                TaskFinished(
                    late,
                    self._next(),
                    self._writer,
                    task_id,
                    1,
                    self._worker,
                    outcome_of(row),
                    _number(row.get("score")),
                    _count(row.get("num_steps")),
                    None,
                    _words(row.get("error")),
                    _words(row.get("reason")),
                )
            )
        self.complete = True
        if self._worker is not None:
            reading.events.append(
                WorkerState(late, self._next(), self._writer, self._worker, "stopped", None, None, None, None)
            )
        else:
            reading.events.append(RunFinished(late, self._next(), self._writer, "completed"))

    def _read_live(self, reading: Reading) -> None:
        """The live file: how many tasks there are, and the steps of the task that runs now."""
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            path = folder / LIVE_FILE
            signature = _signature(path)
            if signature is None:
                continue
            if self._live == (path, signature):
                return
            at = signature.mtime_ns / 1e9
            if self._created_at is not None and at < self._created_at - 1:
                continue  # of an earlier run
            try:
                content = from_json(path.read_bytes())
            except (OSError, ValueError):
                return  # half of it: it is written in place, and the next look will find the whole
            if not isinstance(content, dict) or content.get("status") != "running":
                return
            current = content.get("current_task")
            current = current if isinstance(current, dict) else {}
            task_id = _known(current.get("task_id"))
            mine = task_id is not None and any(
                task.task_id == task_id and task.task_read is not None for task in self._tasks.values()
            )
            if not mine or task_id is None:
                return  # of another run in the same folder
            self._live = (path, signature)
            at = self._file_time(at)
            total = _count(content.get("total_tasks"))
            if total is not None and total != self._live_total:
                self._live_total = total
                self._emit_start(reading)
            if task_id in self._finished:
                return
            shown = self._live_steps.get(task_id, 0)
            steps = _steps(current)
            for index in range(shown, len(steps)):
                reading.events.append(
                    _step_event(at, self._next(), self._writer, task_id, None, index, steps[index], {}, None)
                )
            self._live_steps[task_id] = max(shown, len(steps))
            return


class _Ended:
    """A task's execution.json, and when the task began and ended in Unix seconds."""

    def __init__(self, task: _TaskFolder, content: dict[str, Any], file_time: float) -> None:
        self.task = task
        self.described = task
        self.content = content
        self.file_time = file_time
        self.started = self.finished = 0.0
        duration = _number(content.get("total_time_seconds"))
        self.duration = duration if duration is not None and duration >= 0 else None
        times = [at for step in _steps(content) if (at := _number(step.get("timestamp"))) is not None]
        self.first_step = times[0] if times else None
        self.last_step = times[-1] if times else None
        first = _steps(content)[:1]
        logs = first[0].get("agent_logs") if first else None
        think = _number(logs.get("agent_think_ms")) if isinstance(logs, dict) else None
        self.think = (think or 0.0) / 1000

    def described_by(self, known: Mapping[str, _TaskFolder]) -> _Ended:
        """With the description of the task that it is about, which may lie in another folder than the execution."""
        task_id = _known(self.content.get("task_id"))
        if task_id is not None and task_id != self.task.task_id:
            stranger = _TaskFolder(self.task.path)
            stranger.task_id = task_id
            self.described = known.get(task_id, stranger)
        return self


class OpenAdaptPool:
    """A pool tree: one run, a folder for each worker."""

    source = "openadapt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._members: dict[str, OpenAdaptSource] = {}
        self._seq = 0
        self._over = False
        self._latest = 0.0

    @property
    def own_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def signature(self) -> str | None:
        """The signatures of all workers' parts; None while one of them goes on."""
        prefix = f"{self.folder.name}_"
        parts = [
            (name, OpenAdaptSource(self.folder / name).signature())
            for name in sorted(_names(self.folder))
            if name.startswith(prefix)
        ]
        if not parts or any(part is None for _, part in parts):
            return None
        return " ".join(f"{name}={part}" for name, part in parts)

    def watched(self) -> list[Path]:
        """The tree's folder and what each worker's part watches; empty once all workers are done."""
        if self._over:
            return []
        return [self.folder, *(path for member in self._members.values() for path in member.watched())]

    def read(self, *, thorough: bool = False) -> Reading:
        """What happened in the workers' folders since the last call."""
        reading = Reading()
        names = _names(self.folder)
        if not names:
            reading.gone = not self.folder.is_dir()
            return reading
        prefix = f"{self.folder.name}_"
        for name in sorted(names):
            if (
                name not in self._members
                and name.startswith(prefix)
                and recognised(self.folder / name, _names(self.folder / name))
            ):
                self._members[name] = OpenAdaptSource(self.folder / name, worker=name.removeprefix(prefix))
        for member in self._members.values():
            part = member.read(thorough=thorough)
            if part.gone or part.replaced:
                reading.replaced = True
                return reading
            reading.events += part.events
            reading.problems += part.problems
        self._latest = max((event.ts for event in reading.events), default=self._latest)
        over = bool(self._members) and all(member.complete for member in self._members.values())
        if over and not self._over:
            self._seq += 1
            reading.events.append(RunFinished(self._latest, self._seq, "pool", "completed"))
        self._over = over
        return reading


def outcome_of(content: Mapping[str, Any]) -> str:
    """The outcome that an execution or a summary's row states: its error type, else whether it was a success."""
    kind = content.get("error_type")
    if isinstance(kind, str) and kind:
        return _ERROR_TYPES.get(kind, kind if kind in OUTCOMES else "evaluation_error")
    return "success" if content.get("success") is True else "failure"


def domain_of(task: Mapping[str, Any]) -> str | None:
    """A task's domain, with what its configuration names where the domain is ``unknown``."""
    config = task.get("raw_config")
    config = config if isinstance(config, dict) else {}
    apps = config.get("related_apps")
    candidates = [task.get("domain"), config.get("domain"), *(apps[:1] if isinstance(apps, list) else ())]
    candidates += [config.get("snapshot"), task.get("initial_state_ref")]
    return next((known for candidate in candidates if (known := _known(candidate)) is not None), None)


def _step_event(
    at: float,
    seq: int,
    writer: str,
    task_id: str,
    worker: str | None,
    index: int,
    step: Mapping[str, Any],
    logs: Mapping[str, Any],
    folder: str | None,
) -> Step:
    action, shot = step.get("action"), step.get("screenshot_path")
    think, env = _number(logs.get("agent_think_ms")), _number(logs.get("env_execute_ms"))
    return Step(
        at,
        seq,
        writer,
        task_id,
        1,
        worker,
        index,
        action if isinstance(action, dict) else {},
        step["reasoning"] if isinstance(step.get("reasoning"), str) else None,
        f"tasks/{folder}/{shot}" if folder is not None and isinstance(shot, str) else None,
        None if think is None else think / 1000,
        None if env is None else env / 1000,
        None,
    )


def _steps(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = content.get("steps")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _known(value: object) -> str | None:
    return value[:512] if isinstance(value, str) and value and value.lower() != "unknown" else None


def _words(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < 1e15 else None  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _local_time(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
