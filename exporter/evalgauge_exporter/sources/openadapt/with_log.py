"""Run logs, completed by OpenAdapt's own files where a run's folder holds both.

``evalgauge.integrations.openadapt`` writes its log into the folder that OpenAdapt makes. Such a folder is one run, and
the log takes precedence. OpenAdapt's files fill in

- whole tasks that the log does not have: they ran before ``instrument()``, or in a process without it;
- benchmark, model and the number of tasks, and a task's domain and instruction, where the log does not state them;
- the screenshot of a step that was logged without one (OpenAdapt calls it ``screenshots/step_<index>.png``);
- the lines that a task logged;
- the end of the run, where its log was never finished and the files have the end of every task that the log started: a
  ``summary.json`` of another origin ends no run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalgauge.events import (
    Event,
    LlmCall,
    LogLine,
    PlannedTask,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
)
from evalgauge.values import parse_id
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import matches, matches_pool
from evalgauge_exporter.sources.openadapt.pool import OpenAdaptPool
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.sources.parsing import list_names
from evalgauge_exporter.sources.runlog import RunLogSource


class _Logged:
    """What the log states of a task."""

    __slots__ = ("attempts", "domain", "instruction", "lines")

    def __init__(self) -> None:
        self.domain = self.instruction = self.lines = False
        self.attempts: dict[int, float] = {}
        """The first event of each attempt in the log, in Unix seconds; empty where the task did not start in it."""


class FilledRunLogSource(RunLogSource):
    """Reads one run's log, completed by OpenAdapt's files where they lie beside it."""

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read; arguments as of :class:`RunLogSource`."""
        super().__init__(folder, success_threshold=success_threshold)
        self._files: OpenAdaptSource | OpenAdaptPool | None = None
        self._log_started = False
        """True once something of the log was read."""
        self._log_read = False
        """True once the log was read to its end."""
        self._log_start: RunStarted | None = None
        """The log's first start of the run, with what later ones add."""
        self._tasks: dict[str, _Logged] = {}
        self._files_start: RunStarted | None = None
        """The start of the run by the files, until it was compared with the log."""
        self._held: dict[str, list[Event]] = {}
        """Events of the files by task, of tasks of which it is not known yet whether the log has them."""
        self._filled: set[str] = set()
        """The tasks whose events were taken from the files."""
        self._contradicted = False
        """True where the log started a task after its events were taken from the files."""
        self._finished_ids: set[str] = set()
        """The tasks that finished by the files."""
        self._end: RunFinished | None = None
        """The end of the run by the files."""
        self._ended_by_files = False
        """True while the run has finished by the files only."""
        self._log_latest = 0.0
        """The time of the log's last event, in Unix seconds: the run did not finish before it."""
        self._resumed = 0.0
        """When the run was last resumed by the log, in Unix seconds."""

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the log files and of OpenAdapt's where they lie beside them."""
        log = super().fingerprint()
        files = self._files or self._find_files()
        return log if log is None or files is None else f"{log} | {files.fingerprint()}"

    def watch_paths(self) -> list[Path]:
        """Return the folders of the log and of the files while the run is running."""
        log = super().watch_paths()
        return [*log, *self._files.watch_paths()] if log and self._files is not None else log

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the events of the log's new lines, and those of the files that it does not have."""
        unreadable: OSError | None = None
        if self._files is None and (full_scan or not self._log_read):
            try:
                files = self._find_files()
            except OSError as error:
                files, unreadable = None, error
            if files is not None and self._log_started:
                return ReadResult(restarted=True)  # what was read so far was not compared with them
            self._files = files
        # The files first: a task that finished by them started in the log before that, if the log has it at all.
        filling = None if self._files is None else self._files.read(full_scan=full_scan)
        result = super().read(full_scan=full_scan)
        self._log_started |= bool(result.events)
        if unreadable is not None:
            result.note_unreadable(unreadable, self.folder)
        if filling is not None and not result.missing and not result.restarted:
            result.problems += filling.problems
            result.unreadable = result.unreadable or filling.unreadable
            result.events = [self._note_logged(event) for event in result.events]
            for event in filling.events:
                self._hold(event)
            if filling.restarted or self._contradicted:
                result.restarted = True
            elif not result.has_more:
                result.events += self._complete(sure=full_scan or not self._log_read)
        self._log_read |= not result.has_more
        return result

    def position(self) -> dict[str, Any] | None:
        """Return how far the logs were read; None where there are files beside them, which are read anew."""
        return super().position() if self._files is None else None

    def _find_files(self) -> OpenAdaptSource | OpenAdaptPool | None:
        names = list_names(self.folder)
        if matches(self.folder, names):
            return OpenAdaptSource(self.folder)
        return OpenAdaptPool(self.folder) if matches_pool(self.folder, names) else None

    def _note_logged(self, event: Event) -> Event:
        """Note what the log states; return the event, with its screenshot where only the files have that."""
        self._log_latest = max(self._log_latest, event.ts)
        if isinstance(event, RunStarted):
            before = self._log_start
            self._ended_by_files = False
            self._resumed = self._resumed if before is None else max(self._resumed, event.ts)
            self._log_start = (
                event
                if before is None
                else msgspec.structs.replace(
                    before,
                    benchmark=before.benchmark or event.benchmark,
                    model=before.model or event.model,
                    total_tasks=before.total_tasks or event.total_tasks or len(event.tasks) or None,
                )
            )
            for planned in event.tasks:
                self._note_description(planned.task_id, planned.domain, planned.instruction)
        elif isinstance(event, TaskStarted):
            self._note_description(event.task_id, event.domain, event.instruction)
        elif isinstance(event, LogLine):
            self._note_description(event.task_id).lines = True
        if isinstance(event, TaskStarted | Step | TaskFinished):  # a start may be in a line that can't be read
            self._note_description(event.task_id).attempts.setdefault(event.attempt, event.ts)
            self._contradicted |= event.task_id in self._filled
            self._contradicted |= self._ended_by_files and event.task_id not in self._finished_ids
        if isinstance(event, Step) and event.screenshot is None and event.attempt == 1 and self._files is not None:
            return msgspec.structs.replace(event, screenshot=self._files.screenshot(event.task_id, event.step_idx))
        return event

    def _note_description(self, task_id: str, domain: str | None = None, instruction: str | None = None) -> _Logged:
        logged = self._tasks.setdefault(task_id, _Logged())
        logged.domain |= bool(parse_id(domain))
        logged.instruction |= bool(instruction)
        return logged

    def _hold(self, event: Event) -> None:
        """Hold an event of the files back until it is known whether the log has it too."""
        if isinstance(event, RunStarted):
            self._files_start = event
        elif isinstance(event, RunFinished):
            self._end = event
        elif isinstance(event, TaskStarted | Step | LlmCall | LogLine | TaskFinished) and event.task_id is not None:
            self._held.setdefault(event.task_id, []).append(event)
            if isinstance(event, TaskFinished):
                self._finished_ids.add(event.task_id)

    def _find_end(self) -> RunFinished | None:
        """Return the end of the run by the files, if they have the end of every task that the log started."""
        end = self._end
        if end is None or not self._finished_ids or end.ts < self._resumed:
            return None
        began = (task_id for task_id, logged in self._tasks.items() if logged.attempts)
        return end if self._finished_ids.issuperset(began) else None

    def _complete(self, *, sure: bool) -> Iterator[Event]:
        """Yield what the log lacks; ``sure``: the log has had the time to state that the run has finished."""
        start = self._log_start or self._files_start
        if self._files_start is not None:
            log = self._log_start
            yield self._files_start if log is None else self._complete_run_start(log, self._files_start)
            self._files_start = None
        end = self._find_end() if sure and not self._finished else None
        finished = self._finished or end is not None
        for task_id, events in list(self._held.items()):
            logged = self._tasks.get(task_id)
            if logged is not None and logged.attempts:
                yield from self._complete_task(logged, events, start)
            elif finished or isinstance(events[-1], TaskFinished):
                self._filled.add(task_id)
                yield from events
            else:
                continue
            del self._held[task_id]
        if end is not None:
            self._finished = self._ended_by_files = True
            yield msgspec.structs.replace(end, ts=max(end.ts, self._log_latest))

    def _complete_run_start(self, log: RunStarted, files: RunStarted) -> RunStarted:
        """Return what the log's start of the run lacks; at the log's time, so that it does not restart the run."""
        counted = log.tasks or log.total_tasks is not None
        return msgspec.structs.replace(
            files,
            ts=log.ts,
            benchmark=None if parse_id(log.benchmark) else files.benchmark,
            model=None if parse_id(log.model) else files.model,
            total_tasks=None if counted else files.total_tasks,
        )

    def _complete_task(self, logged: _Logged, events: list[Event], start: RunStarted | None) -> Iterator[Event]:
        """Yield what the log lacks of a task that it has: its description, and the lines of its last attempt."""
        latest = events[-1].ts
        attempt = max((n for n, at in logged.attempts.items() if at <= latest), default=min(logged.attempts))
        for event in events:
            if isinstance(event, TaskStarted) and start is not None:
                domain = None if logged.domain else event.domain
                instruction = None if logged.instruction else event.instruction
                if domain or instruction:
                    planned = (PlannedTask(event.task_id, domain, instruction),)
                    yield msgspec.structs.replace(
                        start,
                        seq=event.seq,
                        writer=event.writer,
                        benchmark=None,
                        model=None,
                        total_tasks=None,
                        tasks=planned,
                    )
            elif isinstance(event, LogLine) and not logged.lines:
                yield msgspec.structs.replace(event, worker_id=None, attempt=attempt)
