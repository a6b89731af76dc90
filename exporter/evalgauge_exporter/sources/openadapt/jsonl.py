"""Files of ``openadapt-eval``: ``full_eval_<time>.jsonl``, a line for each task.

Traps of the format: a line with ``_meta`` stands at the beginning, and again where the run was resumed; ``success``
means a score above 0; ``steps`` is a number; what the agent did is not recorded, there are only pictures in
``screenshots/<first 12 characters of the task's id>/`` beside the file. Times are naive and local.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from evalgauge.events import RunFinished, RunStarted
from evalgauge.runlog import MAX_LINE, LineReader, Problem
from evalgauge.values import parse_count, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import parse_outcome
from evalgauge_exporter.sources.parsing import (
    fingerprint,
    get_mtime,
    is_absent,
    is_regular_file,
    parse_json,
    parse_line,
    read_head,
    resolve_relative,
)

_NAME = re.compile(r"full_eval.*\.jsonl\Z")
_META_KEYS = {"planner_model", "total_tasks"}

_MAX_STEPS = 1000
READ_BYTES = 8 << 20
"""Bytes that are read before other runs get their turn."""


def matches_file(path: Path) -> bool:
    """Return whether a file is such a log: by its first line, and by its name or the keys of that line."""
    if path.suffix != ".jsonl":
        return False
    line, end, _ = read_head(path, 1 << 16).partition(b"\n")
    try:
        first = parse_json(line) if end else None
    except ValueError:
        return False
    return (
        isinstance(first, dict)
        and first.get("_meta") is True
        and (_NAME.match(path.name) is not None or first.keys() >= _META_KEYS)
    )


class OpenAdaptJsonlSource:
    """Reads one file."""

    source = "openadapt"

    def __init__(self, place: Path) -> None:
        """Start with nothing read; ``place`` is the file."""
        self.folder = place.parent
        self._path = place
        self._lines = LineReader(place)
        self._written_at = 0.0
        """When the file was last changed, in Unix seconds."""
        self._seq = 0
        self._latest = 0.0
        self._total: int | None = None
        self._finished_ids: set[str] = set()
        self._finished = False
        self._model: str | None = None

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its file."""
        return None

    def fingerprint(self) -> str | None:
        """Return the file's size and time; None where there is no file."""
        found = fingerprint(self._path)
        return None if found is None else f"{found.size}:{found.mtime_ns}"

    def watch_paths(self) -> list[Path]:
        """Return the file's folder while the run is running."""
        return [] if self._finished else [self.folder]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the events of the lines that were appended since the last call."""
        result = ReadResult()
        before = self._lines.long_lines
        try:
            self._written_at = get_mtime(self._path) or 0.0
            lines, result.has_more = self._lines.read(READ_BYTES)
        except OSError as error:
            if is_absent(error):
                result.missing = True
            else:
                result.note_unreadable(error, self._path)
            return result
        result.restarted = self._lines.replaced
        if self._lines.long_lines > before:
            result.problems.append(Problem("long_line", f"{self._path}: a line of more than {MAX_LINE >> 20} MiB"))
        for line in lines:
            if line.strip():
                self._read_line(line, result)
        return result

    def _read_line(self, line: bytes, result: ReadResult) -> None:
        content = parse_line(line, self._path, lambda reason, detail: result.problems.append(Problem(reason, detail)))
        if content is None:
            return
        if content.get("_meta") is True:
            self._add_run_start(content, result)
        elif (task_id := parse_id(content.get("task_id"))) is not None:
            self._add_task(task_id, content, result)
        else:
            result.problems.append(Problem("foreign_line", f"{self._path}: a row without task_id"))

    def _add_run_start(self, meta: dict[str, Any], result: ReadResult) -> None:
        """Add a start of the run, or that it was resumed."""
        at = parse_timestamp(meta.get("run_started"))
        self._model = parse_id(meta.get("planner_model"))
        self._total = parse_count(meta.get("total_tasks"))
        self._finished = False
        tags = {
            name: value
            for name in ("grounder_model", "planner_provider", "grounder_provider")
            if (value := parse_id(meta.get(name))) is not None
        }
        start = at if at is not None else self._latest or self._written_at
        self._append(
            RunStarted(
                ts=max(start, self._latest),
                seq=0,
                writer=self.source,
                benchmark="waa",
                model=self._model,
                tasks=(),
                total_tasks=self._total,
                attempts=1,
                tags=tags,
            ),
            result,
        )

    def _add_task(self, task_id: str, row: dict[str, Any], result: ReadResult) -> None:
        attempt = AttemptBuilder(self.source, task_id)
        seconds = row.get("elapsed_seconds")
        end = parse_timestamp(row.get("finished_at"))
        start = parse_timestamp(row.get("started_at"))
        if start is None:
            start = end if end is not None else self._latest or self._written_at
        attempt.add_start(start)
        steps = parse_count(row.get("steps"))
        for index in range(min(steps or 0, _MAX_STEPS)):
            attempt.add_step(None, {"type": "unknown"}, screenshot=self._find_screenshot(task_id, index))
        reached, of = parse_count(row.get("milestones_passed")), parse_count(row.get("milestones_total"))
        attempt.add_finish(
            end,
            parse_outcome(row),
            score=row.get("score"),
            steps=steps,
            duration_seconds=seconds,
            error=row.get("error"),
            reason=None if reached is None or of is None else f"{reached} of {of} milestones",
        )
        for event in attempt.events:
            self._append(event, result)
        self._finished_ids.add(task_id)
        if self._total is not None and len(self._finished_ids) >= self._total and not self._finished:
            self._finished = True
            self._append(RunFinished(ts=self._latest, seq=0, writer=self.source, status="completed"), result)

    def _find_screenshot(self, task_id: str, index: int) -> str | None:
        """Return the path of what the agent saw before a step: the picture after the step before it."""
        name = "step_00_reset.png" if index == 0 else f"step_{index:02d}.png"
        below = resolve_relative(self.folder, "screenshots", f"{task_id[:12]}/{name}")
        return below if below is not None and is_regular_file(self.folder / below) else None

    def _append(self, event: Any, result: ReadResult) -> None:
        self._seq += 1
        self._latest = max(self._latest, event.ts)
        result.events.append(msgspec.structs.replace(event, seq=self._seq))
