"""Run folders that openadapt-evals writes, of every release since 0.1.0.

``<results>/<run>/{metadata.json, summary.json, tasks/<task>/{task.json, execution.json, screenshots/}}`` and the
``benchmark_live.json`` of a run that is running (``pool``: the tree of a pool). Traps of the format:

- ``execution.json`` is written when a task finishes, ``summary.json`` when a run does; a killed run has neither.
- ``success_rate`` in a summary means different things in different releases. It is not read: outcomes are counted.
- ``num_steps`` leaves out the terminal step that ``steps`` holds.
- Under ``parallel > 1`` an execution can lie in another task's folder, or be lost: its own ``task_id`` counts, and
  what is lost is filled in from the summary.
- ``domain`` and ``model_id`` may be ``unknown``: the domain is then what the task's configuration names first.
- ``created_at`` is naive local time; steps carry Unix seconds; the live file has no times at all and is rewritten in
  place, so that a reader may see half of it.
- The token counts of a step are those of the last model call; those of the calls before it, whose answers could not
  be parsed, are not recorded: they are retries with unknown usage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import (
    Event,
    Heartbeat,
    LlmCall,
    LogLine,
    RequestStatus,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    WorkerState,
    token_fields,
)
from evalgauge.model_names import infer_provider
from evalgauge.runlog import Problem
from evalgauge.usage import UNKNOWN, TokenUsage, parse_usage
from evalgauge.values import parse_count, parse_float, parse_id, parse_text, parse_timestamp
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.folders import MTIME_TOLERANCE
from evalgauge_exporter.sources.openadapt.files import (
    FinishedTask,
    TaskFolder,
    find_domain,
    list_steps,
    make_step,
    parse_log_lines,
    parse_outcome,
    sanitize_folder_name,
)
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, get_mtime, list_folders, read_object

LIVE_FILE = "benchmark_live.json"


class OpenAdaptSource:
    """One run folder; within a pool the part of one worker."""

    source = "openadapt"

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        """Start with nothing read.

        Args:
            folder: The run's folder.
            worker: The worker whose part of a pool this is; screenshots are then relative to the pool's folder.
        """
        self.folder = folder
        self._prefix = "" if worker is None else f"{folder.name}/"
        self.complete = False
        """True once the summary was read."""
        self._worker = worker
        self._writer = worker or "openadapt"
        self._seq = 0
        self._tasks: dict[str, TaskFolder] = {}
        self._finished: set[str] = set()
        self._live_step_counts: dict[str, int] = {}
        self._listed: int | None = None
        self._metadata: FileFingerprint | None = None
        self._summary: FileFingerprint | None = None
        self._live: tuple[Path, FileFingerprint] | None = None
        self._live_total: int | None = None
        self._announced: tuple[str | None, str | None, int | None] | None = None
        self._benchmark: str | None = None
        self._model: str | None = None
        self._created_at: float | None = None
        self._latest: float | None = None
        """The latest time in a document, in Unix seconds."""
        self._mtimes_valid: bool | None = None
        """Whether file times agree with the times in the documents; those of a copied tree do not."""
        self._beat = 0.0
        self._reported: set[tuple[Path | str, FileFingerprint | None]] = set()

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def fingerprint(self) -> str | None:
        """Return times and sizes of what changes when the run gains something; None while it is running."""
        if fingerprint(self.folder / "summary.json") is None:
            return None
        marks = [fingerprint(self.folder / name) for name in ("metadata.json", "summary.json", "tasks")]
        return " ".join("-" if mark is None else f"{mark.size}:{mark.mtime_ns}" for mark in marks)

    def watch_paths(self) -> list[Path]:
        """Return the folders of the run, of its open tasks and of the live file; none once the run has finished."""
        if self.complete:
            return []
        open_tasks = [Path(task.path) for task in self._tasks.values() if task.read is None][-20:]
        shots = [path / "screenshots" for path in open_tasks[-4:]]
        live = [self._live[0].parent] if self._live else [self.folder.parent, self.folder.parent.parent]
        folders = [self.folder, self.folder / "tasks", *open_tasks, *shots, *live]
        return list(dict.fromkeys(folders))

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the tasks that started or finished since the last call, and the steps that the live file shows."""
        result = ReadResult()
        try:
            self._read(full_scan, result)
        except OSError as error:
            result.note_unreadable(error, self.folder)
        return result

    def _read(self, full_scan: bool, result: ReadResult) -> None:
        """Read into ``result``; what an OSError leaves undone is done at the next call."""
        written_at = get_mtime(self.folder)
        if written_at is None:
            result.missing = True
            return
        metadata = fingerprint(self.folder / "metadata.json")
        if metadata != self._metadata and self._read_metadata(metadata, result):
            return
        self._list_tasks(result)
        finished = self._read_tasks(full_scan, result)
        if result.restarted:
            return
        if not self.complete and self._announced != (self._benchmark, self._model, self._live_total):
            self._add_run_start(result, written_at)
        for item in finished:
            self._add_task(item, result)
        self._read_summary(result)
        if not self.complete:
            self._add_open_tasks(result)
            if self._worker is None:
                self._read_live(result, written_at)

    def screenshot(self, task_id: str, step_idx: int) -> str | None:
        """Return the path of the screenshot before a step, relative to the run's folder; None where there is none."""
        task = self._tasks.get(sanitize_folder_name(task_id))
        if task is None or task.task_id != task_id:
            return None
        shot = f"screenshots/step_{step_idx:03d}.png"
        return f"{self._task_path(task)}/{shot}" if os.path.isfile(f"{task.path}/{shot}") else None

    # -- reading the files

    def _read_file(self, path: Path | str, mark: FileFingerprint | None, result: ReadResult) -> dict[str, Any] | None:
        """Return the object in a file; a problem with it is reported once for each state of the file."""
        if mark is None:
            return None

        def report(reason: str, detail: str) -> None:
            if (path, mark) not in self._reported:
                self._reported.add((path, mark))
                result.problems.append(Problem(reason, detail))

        return read_object(path, report)

    def _read_metadata(self, mark: FileFingerprint | None, result: ReadResult) -> bool:
        """Read metadata.json; return True where it is that of another run than before."""
        content = self._read_file(self.folder / "metadata.json", mark, result)
        if content is None:
            return False
        created_at = parse_timestamp(content.get("created_at"))
        if self._metadata is not None and created_at != self._created_at:
            result.restarted = True
            return True
        self._metadata = mark
        self._created_at = created_at
        self._benchmark = parse_id(content.get("benchmark_name"))
        self._model = parse_id(content.get("model_id")) or self._model
        return False

    def _list_tasks(self, result: ReadResult) -> None:
        """Find new task folders."""
        folder = self.folder / "tasks"
        try:
            now = fingerprint(folder)
            if now is None or now.mtime_ns == self._listed:
                return
            for name in list_folders(folder):
                if name not in self._tasks:
                    self._tasks[name] = TaskFolder(f"{folder}/{name}")
            self._listed = now.mtime_ns
        except OSError as error:
            result.note_unreadable(error, folder)

    def _read_tasks(self, full_scan: bool, result: ReadResult) -> list[FinishedTask]:
        finished: list[FinishedTask] = []
        for task in self._tasks.values():
            if task.read is not None and not full_scan:
                continue
            try:
                item = self._read_execution(task, result)
            except OSError as error:
                result.note_unreadable(error, task.path)
                continue
            if result.restarted:
                return []
            if item is not None:
                finished.append(item)
        if finished:
            self._set_times(finished)
            known = {task.task_id: task for task in self._tasks.values()}
            finished = [item.resolve_description(known) for item in finished]
            finished.sort(key=lambda item: (item.started, item.finished))
        return finished

    def _read_execution(self, task: TaskFolder, result: ReadResult) -> FinishedTask | None:
        """Read a task's files; return it where it has finished since the last call."""
        execution = fingerprint(f"{task.path}/execution.json")
        if task.read is not None:
            result.restarted = execution != task.read  # a finished task was rewritten or deleted
            return None
        self._read_task(task, result)
        content = self._read_file(f"{task.path}/execution.json", execution, result)
        if content is None or execution is None:
            return None
        task.read = execution
        task.model = parse_id(content.get("model_id"))
        self._model = self._model or task.model
        return FinishedTask(task, content, execution.mtime_ns / 1e9)

    def _read_task(self, task: TaskFolder, result: ReadResult) -> None:
        mark = fingerprint(f"{task.path}/task.json")
        if mark is None or mark == task.task_read:
            return
        content = self._read_file(f"{task.path}/task.json", mark, result)
        if content is None:
            return
        task.task_read = mark
        task.task_id = parse_id(content.get("task_id")) or task.task_id
        task.domain = find_domain(content)
        instruction = content.get("instruction")
        task.instruction = instruction if isinstance(instruction, str) else None
        task.max_steps = parse_count(content.get("time_limit_steps"))

    def _set_times(self, finished: list[FinishedTask]) -> None:
        """Set when each task started and finished: by its steps' times, else by its files' where those are valid."""
        for item in finished:
            if item.first_step is not None and item.last_step is not None:
                if self._mtimes_valid is None:
                    self._mtimes_valid = 0 <= item.written_at - item.last_step <= MTIME_TOLERANCE
                self._latest = max(self._latest or 0.0, item.last_step)
        mtimes_valid = self._mtimes_valid is not False
        previous = self._created_at
        for item in sorted(finished, key=lambda item: item.written_at):
            began = item.task.task_read.mtime_ns / 1e9 if item.task.task_read is not None else None
            if item.first_step is not None:
                near = began is not None and mtimes_valid and 0 <= item.first_step - began <= MTIME_TOLERANCE
                item.started = began if near and began is not None else item.first_step - item.think_seconds
                item.finished = item.last_step or item.started
                if item.duration is not None:
                    item.finished = item.started + item.duration
            else:
                item.finished = item.written_at if mtimes_valid else (previous or item.written_at)
                item.started = item.finished - (item.duration or 0.0)
            previous = max(previous or 0.0, item.finished)
            self._latest = max(self._latest or 0.0, item.finished)

    # -- making events

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _add_run_start(self, result: ReadResult, written_at: float) -> None:
        """Add the start of the run, again whenever more is known of it; ``written_at``: the folder's time."""
        first = self._announced is None
        self._announced = (self._benchmark, self._model, self._live_total)
        at = self._created_at
        if at is None:
            at = self._latest if self._latest is not None else written_at
        result.events.append(
            RunStarted(
                ts=at,
                seq=self._next_seq(),
                writer=self._writer,
                benchmark=self._benchmark,
                model=self._model,
                tasks=(),
                total_tasks=self._live_total,
                attempts=1,
            )
        )
        if first and self._worker is not None:
            result.events.append(
                WorkerState(
                    ts=at,
                    seq=self._next_seq(),
                    writer=self._writer,
                    worker_id=self._worker,
                    state="idle",
                    vm=self._worker,
                )
            )

    def _add_open_tasks(self, result: ReadResult) -> None:
        """Add the starts of the tasks that have no end yet; the times of their folders count as signs of life."""
        for task in self._tasks.values():
            if task.read is not None or task.task_read is None or task.task_id in self._finished:
                continue
            if not task.announced:
                task.announced = True
                result.events.append(self._make_task_start(task, self._resolve_mtime(task.task_read.mtime_ns / 1e9)))
            shots = fingerprint(f"{task.path}/screenshots")
            if shots is not None and self._mtimes_valid is not False:
                at = self._resolve_mtime(shots.mtime_ns / 1e9)
                if at > self._beat:
                    self._beat = at
                    result.events.append(
                        Heartbeat(
                            ts=at, seq=self._next_seq(), writer=self._writer, worker_id=self._worker, lost_events=0
                        )
                    )

    def _resolve_mtime(self, at: float) -> float:
        """Return a file's time where it is valid, else the latest time that is known from the documents."""
        if self._mtimes_valid is False or (self._created_at is not None and at < self._created_at):
            return self._latest or self._created_at or at
        return at

    def _make_task_start(self, task: TaskFolder, at: float) -> TaskStarted:
        ids: dict[str, Any] = {"writer": self._writer, "task_id": task.task_id, "worker_id": self._worker}
        return TaskStarted(
            ts=at,
            seq=self._next_seq(),
            **ids,
            domain=task.domain,
            instruction=task.instruction,
            max_steps=task.max_steps,
        )

    def _add_task(self, item: FinishedTask, result: ReadResult) -> None:
        task, content = item.task, item.content
        task_id = parse_id(content.get("task_id")) or task.task_id
        if task_id in self._finished:
            result.problems.append(Problem("duplicate_task", f"{task.path}: task {task_id[:80]!r} has finished before"))
            return
        self._finished.add(task_id)
        if not item.described.announced:
            item.described.announced = True
            result.events.append(self._make_task_start(item.described, item.started))
        recorded = list_steps(content)
        shown = self._live_step_counts.pop(task_id, 0)
        for index, step in enumerate(recorded):
            result.events += self._make_step_events(task_id, index, step, item, shown)
        latest = max(item.finished, item.written_at)
        for seconds, level, message in parse_log_lines(content):
            at = min(item.started + seconds, latest)  # a time in the future would keep the run running
            result.events.append(
                LogLine(
                    ts=at,
                    seq=self._next_seq(),
                    writer=self._writer,
                    task_id=task_id,
                    attempt=1,
                    worker_id=self._worker,
                    level=level,
                    message=message,
                )
            )
        outcome = parse_outcome(content)
        result.events.append(
            TaskFinished(
                ts=item.finished,
                seq=self._next_seq(),
                writer=self._writer,
                task_id=task_id,
                attempt=1,
                worker_id=self._worker,
                outcome=outcome,
                score=parse_float(content.get("score")),
                steps=parse_count(content.get("num_steps")),
                duration_seconds=item.duration,
                error=parse_text(content.get("error")),
                reason=parse_text(content.get("reason")),
            )
        )

    def _task_path(self, task: TaskFolder) -> str:
        """Return a task's folder relative to the run's."""
        return f"{self._prefix}tasks/{task.name}"

    def _make_step_events(
        self, task_id: str, index: int, step: Mapping[str, Any], item: FinishedTask, shown: int
    ) -> Iterator[Event]:
        logs = step.get("agent_logs")
        logs = logs if isinstance(logs, dict) else {}
        at = parse_float(step.get("timestamp")) or item.started
        if index >= shown:  # the live file has not shown it yet
            yield make_step(
                at, self._next_seq(), self._writer, task_id, self._worker, index, step, logs, self._task_path(item.task)
            )
        if "token_usage" not in logs:
            return
        model = item.task.model or self._model
        provider = infer_provider(model)
        calls: list[tuple[RequestStatus, TokenUsage]] = [
            *(("retry", UNKNOWN) for key in logs if key.startswith("retry_") and key.endswith("_response")),
            ("ok", parse_usage(logs["token_usage"])),
        ]
        for status, usage in calls:
            ids: dict[str, Any] = {"task_id": task_id, "worker_id": self._worker}
            yield LlmCall(
                ts=at,
                seq=self._next_seq(),
                writer=self._writer,
                provider=provider,
                model=model,
                **token_fields(usage),
                status=status,
                **ids,
            )

    def _read_summary(self, result: ReadResult) -> None:
        """Add the tasks whose execution.json was lost, and the end of the run."""
        mark = fingerprint(self.folder / "summary.json")
        if mark is None or mark == self._summary:
            return
        if self._created_at is not None and mark.mtime_ns / 1e9 < self._created_at and self._mtimes_valid is not False:
            return  # of an earlier run in this folder
        content = self._read_file(self.folder / "summary.json", mark, result)
        if content is None:
            return
        self._summary = mark
        late = self._latest or self._created_at or mark.mtime_ns / 1e9
        described = {task.task_id: task for task in self._tasks.values()}
        rows = content.get("tasks")
        for row in rows if isinstance(rows, list) else ():
            task_id = parse_id(row.get("task_id")) if isinstance(row, dict) else None
            if task_id is None or task_id in self._finished:
                continue
            self._finished.add(task_id)
            task = described.get(task_id)
            if task is not None and not task.announced:
                task.announced = True
                result.events.append(self._make_task_start(task, late))
            result.events.append(
                TaskFinished(
                    ts=late,
                    seq=self._next_seq(),
                    writer=self._writer,
                    task_id=task_id,
                    attempt=1,
                    worker_id=self._worker,
                    outcome=parse_outcome(row),
                    score=parse_float(row.get("score")),
                    steps=parse_count(row.get("num_steps")),
                    error=parse_text(row.get("error")),
                    reason=parse_text(row.get("reason")),
                )
            )
        self.complete = True
        if self._worker is not None:
            result.events.append(
                WorkerState(ts=late, seq=self._next_seq(), writer=self._writer, worker_id=self._worker, state="stopped")
            )
        else:
            result.events.append(RunFinished(ts=late, seq=self._next_seq(), writer=self._writer, status="completed"))

    def _read_live(self, result: ReadResult, written_at: float) -> None:
        """Add what the live file says: the number of tasks, and the steps of the task that is running."""
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            path = folder / LIVE_FILE
            mark = fingerprint(path)
            if mark is None:
                continue
            if self._live == (path, mark):
                return
            at = mark.mtime_ns / 1e9
            if self._created_at is not None and at < self._created_at - 1:
                continue  # of an earlier run
            content = read_object(path, lambda *_: None)
            if content is None or content.get("status") != "running":
                return  # half of it, perhaps: it is rewritten in place, and the next look finds it whole
            current = content.get("current_task")
            current = current if isinstance(current, dict) else {}
            task_id = parse_id(current.get("task_id"))
            mine = task_id is not None and any(
                task.task_id == task_id and task.task_read is not None for task in self._tasks.values()
            )
            if not mine or task_id is None:
                return  # of another run in the same folder
            self._live = (path, mark)
            at = self._resolve_mtime(at)
            total = parse_count(content.get("total_tasks"))
            if total is not None and total != self._live_total:
                self._live_total = total
                self._add_run_start(result, written_at)
            if task_id in self._finished:
                return
            shown = self._live_step_counts.get(task_id, 0)
            steps = list_steps(current)
            for index in range(shown, len(steps)):
                result.events.append(
                    make_step(at, self._next_seq(), self._writer, task_id, None, index, steps[index], {}, None)
                )
            self._live_step_counts[task_id] = max(shown, len(steps))
            return
