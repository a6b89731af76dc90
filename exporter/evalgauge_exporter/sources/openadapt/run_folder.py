"""Run folders that openadapt-evals writes, of every release since 0.1.0.

``<results>/<run>/{metadata.json, summary.json, tasks/<task>/{task.json, execution.json, screenshots/}}`` and the
``benchmark_live.json`` of a run that goes on (``openadapt_pool``: the tree of a pool). What to know of them:

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
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from evalgauge.events import (
    Event,
    Heartbeat,
    LlmCall,
    LogLine,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.runlog import Problem
from evalgauge.usage import UNKNOWN, parse_usage
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import (
    Ended,
    Signature,
    TaskFolder,
    count_of,
    domain_of,
    folder_name,
    known_text,
    local_time,
    log_lines,
    number_of,
    outcome_of,
    signature_of,
    step_event,
    steps_of,
    words_of,
)
from evalgauge_exporter.sources.providers import provider_of

LIVE_FILE = "benchmark_live.json"
MAX_FILE = 256 << 20
"""Bytes: a larger JSON file is not read."""
NEAR = 900.0
"""Seconds within which a file's time is believed to belong to what its content says."""


class OpenAdaptSource:
    """One run folder; within a pool the part of one worker."""

    source = "openadapt"

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        """``worker``: whose part of a pool this is; its screenshots are then told from the pool's folder on."""
        self.folder = folder
        self._below = "" if worker is None else f"{folder.name}/"
        self.complete = False
        """True once the summary was read."""
        self._worker = worker
        self._writer = worker or "openadapt"
        self._seq = 0
        self._tasks: dict[str, TaskFolder] = {}
        self._finished: set[str] = set()
        self._live_steps: dict[str, int] = {}
        self._listed: int | None = None
        self._metadata: Signature | None = None
        self._summary: Signature | None = None
        self._live: tuple[Path, Signature] | None = None
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
        self._complained: set[tuple[Path, Signature | None]] = set()

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def fingerprint(self) -> str | None:
        """Times and sizes of what changes when the run gains something; None while it goes on."""
        if signature_of(self.folder / "summary.json") is None:
            return None
        marks = [signature_of(self.folder / name) for name in ("metadata.json", "summary.json", "tasks")]
        return " ".join("-" if mark is None else f"{mark.size}:{mark.mtime_ns}" for mark in marks)

    def watch_paths(self) -> list[Path]:
        """The run's folder, its tasks, the open ones among them, and where the live file lies; none once it is over."""
        if self.complete:
            return []
        open_tasks = [task.path for task in self._tasks.values() if task.read is None][-20:]
        shots = [path / "screenshots" for path in open_tasks[-4:]]
        live = [self._live[0].parent] if self._live else [self.folder.parent, self.folder.parent.parent]
        folders = [self.folder, self.folder / "tasks", *open_tasks, *shots, *live]
        return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """The tasks that began or ended since the last call, and the steps of the one that the live file shows."""
        reading = ReadResult()
        if not self.folder.is_dir():
            reading.missing = True
            return reading
        metadata = signature_of(self.folder / "metadata.json")
        if metadata != self._metadata and self._read_metadata(metadata, reading):
            return reading
        self._list_tasks(reading)
        ended = self._read_tasks(full_scan, reading)
        if reading.restarted:
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

    def screenshot(self, task_id: str, step_idx: int) -> str | None:
        """The picture that OpenAdapt keeps of what was seen before a step, from the run's folder on; None for none."""
        task = self._tasks.get(folder_name(task_id))
        if task is None or task.task_id != task_id:
            return None
        shot = f"screenshots/step_{step_idx:03d}.png"
        return f"{self._place(task)}/{shot}" if (task.path / shot).is_file() else None

    # -- reading the files

    def _json(self, path: Path, signature: Signature | None, reading: ReadResult) -> dict[str, Any] | None:
        """The object in a file; what is none becomes one problem for each state of the file."""
        if signature is None:
            return None
        reason = detail = None
        try:
            if signature.size > MAX_FILE:
                reason, detail = "long_file", f"larger than {MAX_FILE >> 20} MiB"
            elif not path.is_file():  # a pipe would be waited for
                reason, detail = "foreign_file", "no file"
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

    def _read_metadata(self, signature: Signature | None, reading: ReadResult) -> bool:
        """Take in metadata.json; True where it tells of another run than before."""
        content = self._json(self.folder / "metadata.json", signature, reading)
        if content is None:
            return False
        created_at = local_time(content.get("created_at"))
        if self._metadata is not None and created_at != self._created_at:
            reading.restarted = True
            return True
        self._metadata = signature
        self._created_at = created_at
        self._benchmark = known_text(content.get("benchmark_name"))
        self._model = known_text(content.get("model_id")) or self._model
        return False

    def _list_tasks(self, reading: ReadResult) -> None:
        """Look for new task folders."""
        folder = self.folder / "tasks"
        try:
            listed = folder.stat().st_mtime_ns
            if listed == self._listed:
                return
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name not in self._tasks and entry.is_dir():
                        self._tasks[entry.name] = TaskFolder(Path(entry.path))
            self._listed = listed
        except FileNotFoundError:
            return
        except OSError as error:
            reading.problems.append(Problem("unreadable", f"{folder}: {error.strerror or error}"))

    def _read_tasks(self, thorough: bool, reading: ReadResult) -> list[Ended]:
        ended: list[Ended] = []
        for task in self._tasks.values():
            if task.read is not None and not thorough:
                continue
            execution = signature_of(task.path / "execution.json")
            if task.read is not None:
                if execution != task.read:  # a finished task was written anew, or taken away
                    reading.restarted = True
                    return []
                continue
            self._read_task(task, reading)
            if execution is None:
                continue
            content = self._json(task.path / "execution.json", execution, reading)
            if content is None:
                continue
            task.read = execution
            task.model = known_text(content.get("model_id"))
            self._model = self._model or task.model
            ended.append(Ended(task, content, execution.mtime_ns / 1e9))
        if ended:
            self._date(ended)
            known = {task.task_id: task for task in self._tasks.values()}
            ended = [item.described_by(known) for item in ended]
            ended.sort(key=lambda item: (item.started, item.finished))
        return ended

    def _read_task(self, task: TaskFolder, reading: ReadResult) -> None:
        signature = signature_of(task.path / "task.json")
        if signature is None or signature == task.task_read:
            return
        content = self._json(task.path / "task.json", signature, reading)
        if content is None:
            return
        task.task_read = signature
        task.task_id = known_text(content.get("task_id")) or task.task_id
        task.domain = domain_of(content)
        instruction = content.get("instruction")
        task.instruction = instruction if isinstance(instruction, str) else None
        limit = content.get("time_limit_steps")
        task.max_steps = limit if type(limit) is int and limit >= 0 else None

    def _date(self, ended: list[Ended]) -> None:
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

    def _emit_start(self, reading: ReadResult) -> None:
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

    def _emit_open(self, reading: ReadResult) -> None:
        """Tasks that have a task.json and no end; what their folders' times say keeps the run alive."""
        for task in self._tasks.values():
            if task.read is not None or task.task_read is None or task.task_id in self._finished:
                continue
            if not task.started:
                task.started = True
                reading.events.append(self._task_started(task, self._file_time(task.task_read.mtime_ns / 1e9)))
            shots = signature_of(task.path / "screenshots")
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

    def _task_started(self, task: TaskFolder, at: float) -> TaskStarted:
        return TaskStarted(
            at, self._next(), self._writer, task.task_id, 1, self._worker, task.domain, task.instruction, task.max_steps
        )

    def _emit_task(self, item: Ended, reading: ReadResult) -> None:
        task, content = item.task, item.content
        task_id = known_text(content.get("task_id")) or task.task_id
        if task_id in self._finished:
            reading.problems.append(Problem("duplicate_task", f"{task.path}: task {task_id[:80]!r} has ended before"))
            return
        self._finished.add(task_id)
        if not item.described.started:
            item.described.started = True
            reading.events.append(self._task_started(item.described, item.started))
        recorded = steps_of(content)
        shown = self._live_steps.pop(task_id, 0)
        for index, step in enumerate(recorded):
            reading.events += self._step(task_id, index, step, item, shown)
        latest = max(item.finished, item.file_time)
        for seconds, level, message in log_lines(content):
            at = min(item.started + seconds, latest)  # a time to come would keep the run going
            reading.events.append(LogLine(at, self._next(), self._writer, task_id, 1, self._worker, level, message))
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
                number_of(content.get("score")),
                count_of(content.get("num_steps")),
                item.duration,
                words_of(content.get("error")),
                words_of(content.get("reason")),
            )
        )

    def _place(self, task: TaskFolder) -> str:
        """Where a task's folder lies, from the run's folder on."""
        return f"{self._below}tasks/{task.path.name}"

    def _step(self, task_id: str, index: int, step: Mapping[str, Any], item: Ended, shown: int) -> Iterator[Event]:
        logs = step.get("agent_logs")
        logs = logs if isinstance(logs, dict) else {}
        at = number_of(step.get("timestamp")) or item.started
        if index >= shown:  # the live file has not shown it yet
            yield step_event(
                at, self._next(), self._writer, task_id, self._worker, index, step, logs, self._place(item.task)
            )
        if "token_usage" not in logs:
            return
        model = item.task.model or self._model
        provider = provider_of(model)
        for status, usage in [
            *(("retry", UNKNOWN) for key in logs if key.startswith("retry_") and key.endswith("_response")),
            ("ok", parse_usage(logs["token_usage"])),
        ]:
            yield LlmCall(
                at, self._next(), self._writer, provider, model, usage, None, status, False, task_id, 1, self._worker
            )

    def _read_summary(self, reading: ReadResult) -> None:
        """The end of the run; and the tasks whose execution.json was lost."""
        signature = signature_of(self.folder / "summary.json")
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
            task_id = known_text(row.get("task_id")) if isinstance(row, dict) else None
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
                    number_of(row.get("score")),
                    count_of(row.get("num_steps")),
                    None,
                    words_of(row.get("error")),
                    words_of(row.get("reason")),
                )
            )
        self.complete = True
        if self._worker is not None:
            reading.events.append(
                WorkerState(late, self._next(), self._writer, self._worker, "stopped", None, None, None, None)
            )
        else:
            reading.events.append(RunFinished(late, self._next(), self._writer, "completed"))

    def _read_live(self, reading: ReadResult) -> None:
        """The live file: how many tasks there are, and the steps of the task that runs now."""
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            path = folder / LIVE_FILE
            signature = signature_of(path)
            if signature is None or signature.size > MAX_FILE or not path.is_file():
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
            task_id = known_text(current.get("task_id"))
            mine = task_id is not None and any(
                task.task_id == task_id and task.task_read is not None for task in self._tasks.values()
            )
            if not mine or task_id is None:
                return  # of another run in the same folder
            self._live = (path, signature)
            at = self._file_time(at)
            total = count_of(content.get("total_tasks"))
            if total is not None and total != self._live_total:
                self._live_total = total
                self._emit_start(reading)
            if task_id in self._finished:
                return
            shown = self._live_steps.get(task_id, 0)
            steps = steps_of(current)
            for index in range(shown, len(steps)):
                reading.events.append(
                    step_event(at, self._next(), self._writer, task_id, None, index, steps[index], {}, None)
                )
            self._live_steps[task_id] = max(shown, len(steps))
            return
