"""The layout that OSWorld and Windows Agent Arena share: task folders with ``traj.jsonl`` and ``result.txt``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evalgauge.values import parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import MTIME_TOLERANCE, FolderSource, TaskFiles
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import get_mtime, list_names, read_bytes, read_objects, resolve_relative
from evalgauge_exporter.sources.sampling import Vote, most_fit

TRAJECTORY = "traj.jsonl"
RESULT = "result.txt"
_IMAGE = re.compile(r"[^/\\]+\.(?:png|jpe?g)\Z", re.IGNORECASE)
_TASK_FILE = re.compile(r"traj\.|result\.txt\Z|.+\.(?:png|jpe?g|mp4|log)\Z", re.IGNORECASE)
SUMMARY = "summary"
"""A folder that OSWorld may write beside the domains."""


def detect_task_format(folder: Path) -> str | None:
    """Return ``waa`` or ``osworld`` for a task's folder, by what is in it; None for any other folder."""
    return _task_format(list_names(folder))


def _task_format(names: frozenset[str]) -> str | None:
    if TRAJECTORY not in names and (RESULT not in names or "traj.json" in names):
        return None
    if "traj.html" in names or any(name.startswith("screenshot-step_") for name in names):
        return "waa"
    return "osworld"


def detect_tree_format(folder: Path, levels: int) -> str | None:
    """Return the format of a folder most of whose subfolders hold tasks.

    Args:
        folder: The folder.
        levels: How many levels below it the tasks' folders lie: 2 within domains, 3 within trials.

    Returns:
        ``waa`` where at least one task is of Windows Agent Arena, else ``osworld``; None where most are no tasks.

    Raises:
        OSError: A folder can't be looked into for the moment.
    """
    seen: set[str] = set()

    def vote(below: Path, level: int) -> Vote:
        if level > 0:
            return None if below.name == SUMMARY else most_fit(below, lambda task: vote(task, level - 1))
        names = list_names(below)
        if (found := _task_format(names)) is not None:
            seen.add(found)
        return found is not None if names else None

    if most_fit(folder, lambda below: vote(below, levels - 1)) is not True:
        return None
    return "waa" if "waa" in seen else "osworld"


def may_hold_task(folder: Path) -> bool:
    """Return whether a folder in that of a domain may be a task's: it has a file of one, or is still empty."""
    names = list_names(folder)
    return not names or any(_TASK_FILE.match(name) for name in names)


class OSWorldLayoutSource(FolderSource):
    """Reads a run of this layout; subclasses implement what the two benchmarks write differently."""

    task_files = (TRAJECTORY, RESULT)
    levels = 2

    def max_steps(self) -> int | None:
        """Return the most steps that a task may have, None where that is not known."""
        return None

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the start, a step for each action, and the end by ``result.txt`` or an ``Error`` line.

        A screenshot was taken after the action on whose line it is named: it is what the next action saw.
        """
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        lines = read_objects(files.folder / TRAJECTORY, self.report)
        start = next((at for line in lines if (at := self.parse_time(line)) is not None), None)
        written = get_mtime(files.folder / RESULT)
        file_time = written if written is not None else get_mtime(files.folder)
        attempt.add_start(start, files.domain, None, self.max_steps(), file_time=file_time)
        below = self.relative_path(files.folder)
        shot = self._find_first_screenshot(files.folder, below)
        error = None
        for line in lines:
            if "Error" in line:
                error = str(line["Error"])
            elif line.get("action") is not None or line.get("actions"):
                before = resolve_relative(self.folder, below, line.get("screenshot_file_before_exec"))
                attempt.add_step(
                    self.parse_time(line),
                    parse_action(line["action"] if line.get("action") is not None else line["actions"]),
                    reasoning=self.find_reasoning(files.folder, line),
                    screenshot=before or shot,
                )
            shot = resolve_relative(self.folder, below, self.screenshot_name(line)) or shot
        self._add_end(attempt, files, written, error)
        return attempt

    def parse_time(self, line: dict[str, Any]) -> float | None:
        """Return the time of a line in Unix seconds; some forks write microseconds."""
        at = parse_timestamp(line.get("action_timestamp"))
        return at if at is not None else parse_timestamp(line.get("timestamp"))

    def screenshot_name(self, line: dict[str, Any]) -> object:
        """Return the name of the screenshot of a line."""
        return line.get("screenshot_file")

    def find_reasoning(self, _folder: Path, line: dict[str, Any]) -> str | None:
        """Return why the agent acted."""
        for name in ("thought", "response", "natural_language_action"):
            if isinstance(text := line.get(name), str) and text:
                return text
        return None

    def _find_first_screenshot(self, folder: Path, below: str) -> str | None:
        """Return the path of the screenshot after the reset, which some forks keep and no line names."""
        names = [name for name in list_names(folder) if name.startswith(("step_0_", "step_0.", "step_reset"))]
        images = sorted(name for name in names if _IMAGE.match(name))
        return f"{below}/{images[0]}" if images else None

    def _add_end(self, attempt: AttemptBuilder, files: TaskFiles, written: float | None, error: str | None) -> None:
        at = written if written is not None and 0 <= written - attempt.latest <= MTIME_TOLERANCE else None
        data = None if written is None else read_bytes(files.folder / RESULT, self.report, 4096)
        text = "" if data is None else data.decode("utf-8", "replace").strip()
        if text:
            score = parse_score(text)
            if score is None:
                self.report("foreign_file", f"{files.folder / RESULT}: {text[:60]!r} is not a score")
                attempt.add_finish(at, "evaluation_error", error=f"result.txt says {text[:200]!r}")
            else:
                attempt.add_scored_finish(at, score, self.threshold, error=error)
        elif error is not None:
            # an exception of the runner: whose fault it was is not stated, and the benchmark leaves such tasks out
            attempt.add_finish(None, "infrastructure_error", error=error)


def parse_score(text: str) -> float | None:
    """Parse the score in a ``result.txt``: a number, ``True`` or ``False``; None for anything else."""
    if text in ("True", "False"):
        return float(text == "True")
    try:
        score = float(text.split()[0])
    except ValueError:
        return None
    return score if abs(score) < 1e9 else None
