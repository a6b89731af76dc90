"""What OSWorld and Windows Agent Arena write alike: one folder a task, with ``traj.jsonl`` and ``result.txt``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import NEAR, FolderSource, TaskFiles
from evalgauge_exporter.sources.osworld.actions import action_of
from evalgauge_exporter.sources.parsing import file_time, parse_timestamp, read_bytes, read_objects, resolve_relative

TRAJECTORY = "traj.jsonl"
RESULT = "result.txt"
_PICTURE = re.compile(r"[^/\\]+\.(?:png|jpe?g)\Z", re.IGNORECASE)
_PEEKED = 6
"""So many entries of a folder are looked into to find out what it is."""


def peek(folder: Path) -> list[Path]:
    """Some of the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            found: list[Path] = []
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    found.append(Path(entry.path))
                    if len(found) == _PEEKED:
                        break
    except OSError:
        return []
    return found


def task_kind(folder: Path) -> str | None:
    """``waa`` or ``osworld`` for a task's folder, by what is in it; None for any other folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    if TRAJECTORY not in names and (RESULT not in names or "traj.json" in names):
        return None
    if "traj.html" in names or any(name.startswith("screenshot-step_") for name in names):
        return "waa"
    return "osworld"


def tree_kind(folder: Path, levels: int) -> str | None:
    """What the tasks so many levels below a folder are (2: within domains, 3: within trials); None for no tasks."""
    if levels == 0:
        return task_kind(folder)
    return next((kind for below in peek(folder) if (kind := tree_kind(below, levels - 1)) is not None), None)


class OSWorldLayoutSource(FolderSource):
    """A run of one of the two; what they write differently is left to them."""

    task_files = (TRAJECTORY, RESULT)
    levels = 2

    def max_steps(self) -> int | None:
        """What the run allows for a task."""
        return None

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """The start, a step for each action, and the end by what ``result.txt`` says or an ``Error`` line does.

        A screenshot was taken after the action beside which it is written: it is what the next action saw.
        """
        tale = AttemptBuilder(self.source, files.task_id, files.attempt)
        lines = read_objects(files.folder / TRAJECTORY, self.report)
        start = next((at for line in lines if (at := self.time_of(line)) is not None), None)
        written = file_time(files.folder / RESULT)
        if start is None:
            start = written if written is not None else file_time(files.folder)
        tale.started(start, files.domain, None, self.max_steps())
        below = self.relative(files.folder)
        shot = self._first_shot(files.folder, below)
        error = None
        for line in lines:
            if "Error" in line:
                error = str(line["Error"])
            elif line.get("action") is not None or line.get("actions"):
                before = resolve_relative(self.folder, below, line.get("screenshot_file_before_exec"))
                tale.step(
                    self.time_of(line),
                    action_of(line["action"] if line.get("action") is not None else line["actions"]),
                    reasoning=self.reasoning(files.folder, line),
                    screenshot=before or shot,
                )
            shot = resolve_relative(self.folder, below, self.picture(line)) or shot
        self._end(tale, files, written, error)
        return tale

    def time_of(self, line: dict[str, Any]) -> float | None:
        """When a line was written; forks write microseconds or not."""
        at = parse_timestamp(line.get("action_timestamp"))
        return at if at is not None else parse_timestamp(line.get("timestamp"))

    def picture(self, line: dict[str, Any]) -> object:
        """The name of the screenshot beside a line."""
        return line.get("screenshot_file")

    def reasoning(self, _folder: Path, line: dict[str, Any]) -> str | None:
        """Why the agent acted."""
        for name in ("thought", "response", "natural_language_action"):
            if isinstance(said := line.get(name), str) and said:
                return said
        return None

    def _first_shot(self, folder: Path, below: str) -> str | None:
        """The screenshot after the reset, which some forks keep and no line names."""
        try:
            names = [name for name in os.listdir(folder) if name.startswith(("step_0_", "step_0.", "step_reset"))]
        except OSError:
            return None
        pictures = sorted(name for name in names if _PICTURE.match(name))
        return f"{below}/{pictures[0]}" if pictures else None

    def _end(self, tale: AttemptBuilder, files: TaskFiles, written: float | None, error: str | None) -> None:
        at = written if written is not None and 0 <= written - tale.latest <= NEAR else None
        data = None if written is None else read_bytes(files.folder / RESULT, self.report, 4096)
        said = "" if data is None else data.decode("utf-8", "replace").strip()
        if said:
            score = score_of(said)
            if score is None:
                self.report("foreign_file", f"{files.folder / RESULT}: {said[:60]!r} is no score")
                tale.finished(at, "evaluation_error", error=f"result.txt says {said[:200]!r}")
            else:
                tale.measured(at, score, self.threshold, error=error)
        elif error is not None:
            # the runner's exception: it says not whose fault it was, and the benchmark leaves such tasks out
            tale.finished(None, "infrastructure_error", error=error)


def score_of(said: str) -> float | None:
    """The score in a ``result.txt``: a number, ``True`` or ``False``."""
    if said in ("True", "False"):
        return float(said == "True")
    try:
        score = float(said.split()[0])
    except ValueError:
        return None
    return score if abs(score) < 1e9 else None
