"""Run logs, and what they lack of OpenAdapt's own files where a run's folder holds both.

``evalgauge.integrations.openadapt`` writes its log into the folder that OpenAdapt makes. Such a folder is one run, and
the log is what is read. OpenAdapt's files fill in

- whole tasks that the log does not know: they ran before ``instrument()``, or in a process without it;
- benchmark, model and the number of tasks, and a task's domain and instruction, where the log does not say them;
- the screenshot of a step that was logged without one (OpenAdapt calls it ``screenshots/step_<index>.png``);
- the lines that a task logged;
- the end of the run, where its log was never finished and the files know the end of every task that the log began: a
  ``summary.json`` of another origin ends no run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import known_text, matches, matches_pool, names_in
from evalgauge_exporter.sources.openadapt.pool import OpenAdaptPool
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.sources.runlog import RunLogSource


class _Logged:
    """What the log says of a task."""

    __slots__ = ("attempts", "domain", "instruction", "lines")

    def __init__(self) -> None:
        self.domain = self.instruction = self.lines = False
        self.attempts: dict[int, float] = {}
        """When the log first spoke of each attempt, in Unix seconds; none where the task did not begin in it."""


class FilledRunLogSource(RunLogSource):
    """One run's log, filled from OpenAdapt's files where such are beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._files: OpenAdaptSource | OpenAdaptPool | None = None
        self._begun = False
        """True once something of the log was read."""
        self._settled = False
        """True once the log was read to its end."""
        self._log_start: RunStarted | None = None
        """The log's first start of the run; what later ones add is in it."""
        self._tasks: dict[str, _Logged] = {}
        self._filed: RunStarted | None = None
        """The run as the files have it, until that was compared with the log."""
        self._held: dict[str, list[Event]] = {}
        """What the files say of tasks of which it is not settled yet whether the log has them."""
        self._filled: set[str] = set()
        """The tasks that are told from the files."""
        self._contradicted = False
        """True where the log began a task after that was told from the files."""
        self._ended: set[str] = set()
        """The tasks of which the files tell an end."""
        self._end: RunFinished | None = None
        """The end of the run as the files tell it, until the log tells it too."""
        self._end_told = False
        """True while the run is over only because the files say so."""
        self._resumed = 0.0
        """When the log last said that the run was taken up again, in Unix seconds."""

    def fingerprint(self) -> str | None:
        """That of the log files and, where OpenAdapt's are beside them, of those too."""
        log = super().fingerprint()
        files = self._files or self._beside()
        return log if log is None or files is None else f"{log} | {files.fingerprint()}"

    def watch_paths(self) -> list[Path]:
        """The folders of the log and of the files, while the run goes on."""
        log = super().watch_paths()
        return [*log, *self._files.watch_paths()] if log and self._files is not None else log

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """The log's new lines, and what the files say that it does not."""
        if self._files is None and (full_scan or not self._settled):
            files = self._beside()
            if files is not None and self._begun:
                return ReadResult(restarted=True)  # what was read so far was not compared
            self._files = files
        # The files first: a task that they know to be over began in the log before that, if it is there at all.
        filling = None if self._files is None else self._files.read(full_scan=full_scan)
        reading = super().read(full_scan=full_scan)
        self._begun |= bool(reading.events)
        if filling is not None and not reading.missing and not reading.restarted:
            reading.problems += filling.problems
            reading.events = [self._compared(event) for event in reading.events]
            for event in filling.events:
                self._hold(event)
            if filling.restarted or self._contradicted:
                reading.restarted = True
            elif not reading.has_more:
                reading.events += self._lacking(sure=full_scan or not self._settled)
        self._settled |= not reading.has_more
        return reading

    def _beside(self) -> OpenAdaptSource | OpenAdaptPool | None:
        names = names_in(self.folder)
        if matches(self.folder, names):
            return OpenAdaptSource(self.folder)
        return OpenAdaptPool(self.folder) if matches_pool(self.folder, names) else None

    def _compared(self, event: Event) -> Event:
        """Note what the log says; the event, with its screenshot where that is only among the files."""
        if isinstance(event, RunStarted):
            before = self._log_start
            self._end_told = False
            self._resumed = self._resumed if before is None else max(self._resumed, event.ts)
            self._log_start = (
                event
                if before is None
                else before._replace(
                    benchmark=before.benchmark or event.benchmark,
                    model=before.model or event.model,
                    total_tasks=before.total_tasks or event.total_tasks or len(event.tasks) or None,
                )
            )
            for planned in event.tasks:
                self._describes(planned.task_id, planned.domain, planned.instruction)
        elif isinstance(event, TaskStarted):
            self._describes(event.task_id, event.domain, event.instruction)
        elif isinstance(event, LogLine):
            self._describes(event.task_id).lines = True
        if isinstance(event, TaskStarted | Step | TaskFinished):  # a start may be in a line that can't be read
            self._describes(event.task_id).attempts.setdefault(event.attempt, event.ts)
            self._contradicted |= event.task_id in self._filled
            self._contradicted |= self._end_told and event.task_id not in self._ended
        if isinstance(event, Step) and event.screenshot is None and event.attempt == 1 and self._files is not None:
            return event._replace(screenshot=self._files.screenshot(event.task_id, event.step_idx))
        return event

    def _describes(self, task_id: str, domain: str | None = None, instruction: str | None = None) -> _Logged:
        logged = self._tasks.setdefault(task_id, _Logged())
        logged.domain |= bool(known_text(domain))
        logged.instruction |= bool(instruction)
        return logged

    def _hold(self, event: Event) -> None:
        """Keep what the files say until it is settled whether the log says it too."""
        if isinstance(event, RunStarted):
            self._filed = event
        elif isinstance(event, RunFinished):
            self._end = event
        elif isinstance(event, TaskStarted | Step | LlmCall | LogLine | TaskFinished) and event.task_id is not None:
            self._held.setdefault(event.task_id, []).append(event)
            if isinstance(event, TaskFinished):
                self._ended.add(event.task_id)

    def _over_in_files(self) -> RunFinished | None:
        """The end that the files tell, if it is that of all that the log has."""
        end = self._end
        if end is None or not self._ended or end.ts < self._resumed:
            return None
        began = (task_id for task_id, logged in self._tasks.items() if logged.attempts)
        return end if self._ended.issuperset(began) else None

    def _lacking(self, *, sure: bool) -> Iterator[Event]:
        """What the files say and the log does not. ``sure``: the log has had the time to say that the run is over."""
        start = self._log_start or self._filed
        if self._filed is not None:
            yield self._filed if self._log_start is None else self._lacking_of_run(self._log_start, self._filed)
            self._filed = None
        end = self._over_in_files() if sure and not self._over else None
        over = self._over or end is not None
        for task_id, told in list(self._held.items()):
            logged = self._tasks.get(task_id)
            if logged is not None and logged.attempts:
                yield from self._lacking_of_task(logged, told, start)
            elif over or isinstance(told[-1], TaskFinished):
                self._filled.add(task_id)
                yield from told
            else:
                continue
            del self._held[task_id]
        if end is not None:
            self._over = self._end_told = True
            yield end

    def _lacking_of_run(self, log: RunStarted, files: RunStarted) -> RunStarted:
        """Of the files' start of the run what the log's has not; at the log's time, so that it starts nothing anew."""
        counted = log.tasks or log.total_tasks is not None
        return files._replace(
            ts=log.ts,
            benchmark=None if known_text(log.benchmark) else files.benchmark,
            model=None if known_text(log.model) else files.model,
            total_tasks=None if counted else files.total_tasks,
        )

    def _lacking_of_task(self, logged: _Logged, told: list[Event], start: RunStarted | None) -> Iterator[Event]:
        """Of a task that the log has: how it is described, and the lines that its last attempt logged until then."""
        latest = told[-1].ts
        attempt = max((n for n, at in logged.attempts.items() if at <= latest), default=min(logged.attempts))
        for event in told:
            if isinstance(event, TaskStarted) and start is not None:
                domain = None if logged.domain else event.domain
                instruction = None if logged.instruction else event.instruction
                if domain or instruction:
                    planned = (PlannedTask(event.task_id, domain, instruction),)
                    yield start._replace(
                        seq=event.seq, writer=event.writer, benchmark=None, model=None, total_tasks=None, tasks=planned
                    )
            elif isinstance(event, LogLine) and not logged.lines:
                yield event._replace(worker_id=None, attempt=attempt)
