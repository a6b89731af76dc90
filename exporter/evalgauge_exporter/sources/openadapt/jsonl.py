"""Files of ``openadapt-eval``: ``full_eval_<time>.jsonl``, a line for each task.

What to know of them: a line with ``_meta`` stands at the beginning, and again where the run was taken up; ``success``
is what the format says (it means a score above 0); ``steps`` is a number; what the agent did is not recorded, only
pictures in ``screenshots/<first 12 of the task's id>/`` beside the file. Times are naive and local.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evalgauge.events import RunFinished, RunStarted
from evalgauge.metrics import OUTCOMES
from evalgauge.runlog import Problem
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.parsing import (
    fingerprint,
    line_object,
    parse,
    parse_count,
    parse_id,
    parse_timestamp,
    resolve_relative,
)

_NAME = re.compile(r"full_eval.*\.jsonl\Z")
_META_KEYS = {"planner_model", "total_tasks"}
_ERROR_TYPES = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
}
_MOST_STEPS = 1000
PART = 8 << 20


def matches_file(path: Path) -> bool:
    """Whether a file is such a log: by its name, and where it was given another by its first line."""
    if path.suffix != ".jsonl":
        return False
    try:
        with path.open("rb") as file:
            line = file.readline(1 << 16)
        first = parse(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
        return False
    return (
        isinstance(first, dict)
        and first.get("_meta") is True
        and (_NAME.match(path.name) is not None or first.keys() >= _META_KEYS)
    )


class OpenAdaptJsonlSource:
    """One file."""

    source = "openadapt"

    def __init__(self, place: Path) -> None:
        """``place``: the file."""
        self.folder = place.parent
        self._path = place
        self._offset = 0
        self._inode: int | None = None
        self._seq = 0
        self._latest = 0.0
        self._total: int | None = None
        self._ended: set[str] = set()
        self._over = False
        self._model: str | None = None

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its file."""
        return None

    def fingerprint(self) -> str | None:
        """The file's size and time; None where there is none."""
        found = fingerprint(self._path)
        return None if found is None else f"{found.size}:{found.mtime_ns}"

    def watch_paths(self) -> list[Path]:
        """The folder of the file, while the run goes on."""
        return [] if self._over else [self.folder]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """The lines that were added since the last call."""
        reading = ReadResult()
        now = fingerprint(self._path)
        if now is None:
            reading.missing = True
            return reading
        if self._inode is not None and (now.inode != self._inode or now.size < self._offset):
            reading.restarted = True
            return reading
        self._inode = now.inode
        if now.size == self._offset:
            return reading
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(PART)
        except OSError as error:
            reading.problems.append(Problem("unreadable", f"{self._path}: {error.strerror or error}"))
            return reading
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == PART:
            reading.problems.append(Problem("long_line", f"{self._path}: a line of more than {PART >> 20} MiB"))
            whole = data
        self._offset += len(whole)
        reading.has_more = bool(whole) and self._offset < now.size
        for line in whole.split(b"\n"):
            if line.strip():
                self._take(line, reading)
        return reading

    def _take(self, line: bytes, reading: ReadResult) -> None:
        content = line_object(line, self._path, lambda reason, detail: reading.problems.append(Problem(reason, detail)))
        if content is None:
            return
        if content.get("_meta") is True:
            self._started(content, reading)
        elif (task_id := parse_id(content.get("task_id"))) is not None:
            self._task(task_id, content, reading)
        else:
            reading.problems.append(Problem("foreign_line", f"{self._path}: a row without task_id"))

    def _started(self, meta: dict[str, Any], reading: ReadResult) -> None:
        """The run began, or was taken up again."""
        at = parse_timestamp(meta.get("run_started"))
        self._model = parse_id(meta.get("planner_model"))
        self._total = parse_count(meta.get("total_tasks"))
        self._over = False
        tags = {
            name: said
            for name in ("grounder_model", "planner_provider", "grounder_provider")
            if (said := parse_id(meta.get(name))) is not None
        }
        start = at if at is not None else self._latest or self._file_time()
        self._append(
            RunStarted(
                max(start, self._latest), 0, self.source, None, "waa", self._model, None, (), self._total, 1, None,
                None, tags,
            ),
            reading,
        )  # fmt: skip

    def _task(self, task_id: str, row: dict[str, Any], reading: ReadResult) -> None:
        tale = AttemptBuilder(self.source, task_id)
        seconds = row.get("elapsed_seconds")
        end = parse_timestamp(row.get("finished_at"))
        start = parse_timestamp(row.get("started_at"))
        if start is None:
            start = end if end is not None else self._latest or self._file_time()
        tale.started(start)
        steps = parse_count(row.get("steps"))
        for index in range(min(steps or 0, _MOST_STEPS)):
            tale.step(None, {"type": "unknown"}, screenshot=self._shot(task_id, index))
        reached, of = parse_count(row.get("milestones_passed")), parse_count(row.get("milestones_total"))
        tale.finished(
            end,
            _outcome(row),
            score=row.get("score"),
            steps=steps,
            duration_seconds=seconds,
            error=row.get("error"),
            reason=None if reached is None or of is None else f"{reached} of {of} milestones",
        )
        for event in tale.events:
            self._append(event, reading)
        self._ended.add(task_id)
        if self._total is not None and len(self._ended) >= self._total and not self._over:
            self._over = True
            self._append(RunFinished(self._latest, 0, self.source, "completed"), reading)

    def _shot(self, task_id: str, index: int) -> str | None:
        """What the agent saw before a step: the picture after the step before it."""
        name = "step_00_reset.png" if index == 0 else f"step_{index:02d}.png"
        below = resolve_relative(self.folder, "screenshots", f"{task_id[:12]}/{name}")
        return below if below is not None and (self.folder / below).is_file() else None

    def _file_time(self) -> float:
        found = fingerprint(self._path)
        return 0.0 if found is None else found.mtime_ns / 1e9

    def _append(self, event: Any, reading: ReadResult) -> None:
        self._seq += 1
        self._latest = max(self._latest, event.ts)
        reading.events.append(event._replace(seq=self._seq))


def _outcome(row: dict[str, Any]) -> str:
    kind = row.get("error_type")
    if isinstance(kind, str) and kind:
        return _ERROR_TYPES.get(kind, kind if kind in OUTCOMES else "evaluation_error")
    return "success" if row.get("success") is True else "failure"
