"""Result trees of Windows Agent Arena, of any depth.

``[<experiment>/]<action space>/<observation>/<model>/<trial>/<domain>/<task>/{traj.jsonl, traj.html, result.txt, …}``:
the model's folder is the run and its trials are attempts; a trial's folder that is served by itself is a run as well.
Traps of the format:

- The first line is the reset (``step_num`` 0, no action). What the agent saw and answered lies in files of its own,
  which these fields name: ``screenshot``, ``accessibility_tree``, ``plan_result``, ``user_question``.
- Times have a resolution of one second and are naive local time.
- A task without ``result.txt`` did not finish: the benchmark's own summary counts it as an error and leaves it out.
- Neither the number of tasks, nor the end of a run, nor tokens are recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge_exporter.sources.folders import RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import OSWorldLayoutSource, detect_tree_format, may_hold_task
from evalgauge_exporter.sources.parsing import read_bytes

MAX_TEXT = 64 << 10
"""Bytes of a text file beside a step that are read."""


def fits(folder: Path, _names: frozenset[str]) -> bool:
    """Return whether most folders in a folder hold tasks, or trials with tasks, of this format."""
    return detect_tree_format(folder, 2) == "waa" or detect_tree_format(folder, 3) == "waa"


class WaaSource(OSWorldLayoutSource):
    """Reads the run of one model, or one trial of it."""

    source = "waa"

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Find out at which level the tasks lie; the arguments are those of ``FolderSource``."""
        super().__init__(folder, success_threshold=success_threshold)
        self._trials = detect_tree_format(folder, 2) is None
        self.levels = 3 if self._trials else 2

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each task's folder, by trial, domain and name. Trials are attempts, in their order."""
        found: dict[str, TaskFiles] = {}
        trials = sorted(self.list_subfolders(self.folder), key=_trial_sort_key) if self._trials else [""]
        for attempt, trial in enumerate(trials, 1):
            folder = self.folder / trial if trial else self.folder
            for domain in self.list_subfolders(folder):
                below = folder / domain
                for name in self.list_subfolders(below):
                    # the attempt is part of the key: a new trial before others renumbers them
                    key = f"{attempt}/{trial}/{domain}/{name}"
                    if (files := self.known_tasks.get(key)) is None and may_hold_task(below / name):
                        files = TaskFiles(name, below / name, attempt, domain)
                    if files is not None:
                        found[key] = files
        return found

    def read_info(self) -> RunInfo:
        """Return what the names of the folders state: nothing else names the model."""
        parts = self.folder.absolute().parts[-3:]
        if not self._trials:
            parts = self.folder.absolute().parts[-4:-1]
        tags = dict(zip(("action_space", "observation_type"), parts[:-1], strict=False))
        return RunInfo("waa", parts[-1] if parts else None, tags=tags)

    def screenshot_name(self, line: dict[str, Any]) -> object:
        """Return the name of the screenshot of a line."""
        return line.get("screenshot") or line.get("screenshot_file")

    def find_reasoning(self, folder: Path, line: dict[str, Any]) -> str | None:
        """Return what the agent answered, from the file beside the step."""
        for key in ("plan_result_full", "plan_result"):
            name = line.get(key)
            if not isinstance(name, str) or not name:
                continue
            if not name.endswith(".txt") or Path(name).name != name:
                return name
            data = read_bytes(folder / name, self.report, MAX_TEXT)
            if data is not None:
                return data.decode("utf-8", "replace")
        return super().find_reasoning(folder, line)


def _trial_sort_key(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() and len(name) < 10 else (1 << 40, name)
