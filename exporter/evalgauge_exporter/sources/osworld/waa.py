"""Result trees of Windows Agent Arena, of any depth.

``[<experiment>/]<action space>/<observation>/<model>/<trial>/<domain>/<task>/{traj.jsonl, traj.html, result.txt, …}``:
the model's folder is the run and its trials are attempts; a trial's folder that is served by itself is a run as well.
What to know of them:

- The first line is the reset (``step_num`` 0, no action). What the agent saw and said lies in files of their own, whose
  names stand where the content would: ``screenshot``, ``accessibility_tree``, ``plan_result``, ``user_question``.
- Times have a resolution of one second and are naive local time.
- A task without ``result.txt`` did not end: the benchmark's own summary counts it as an error and leaves it out.
- Nothing says how many tasks there are, nor that a run is over. No tokens are recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge_exporter.sources.folders import RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import OSWorldLayoutSource, tree_kind
from evalgauge_exporter.sources.parsing import read_bytes

LONGEST_TEXT = 64 << 10
"""Bytes of a text file beside a step that are read."""


def matches(folder: Path, _names: frozenset[str]) -> bool:
    """Whether a folder is one run: that of a model, or of one trial."""
    return tree_kind(folder, 2) == "waa" or tree_kind(folder, 3) == "waa"


class WaaSource(OSWorldLayoutSource):
    """The run of one model, or one trial of it."""

    source = "waa"

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        super().__init__(folder, success_threshold=success_threshold)
        self._trials = tree_kind(folder, 2) is None
        self.levels = 3 if self._trials else 2

    def tasks(self) -> dict[str, TaskFiles]:
        """Each task's folder, by trial, domain and name. Trials count as attempts in their order."""
        found: dict[str, TaskFiles] = {}
        trials = sorted(self.subfolders(self.folder), key=_trial_order) if self._trials else [""]
        for attempt, trial in enumerate(trials, 1):
            folder = self.folder / trial if trial else self.folder
            for domain in self.subfolders(folder):
                below = folder / domain
                for name in self.subfolders(below):
                    # the attempt is part of the key: a trial that comes before others makes them other attempts
                    key = f"{attempt}/{trial}/{domain}/{name}"
                    found[key] = self.seen.get(key) or TaskFiles(name, below / name, attempt, domain)
        return found

    def info(self) -> RunInfo:
        """What the folders are called: nothing else names the model."""
        parts = self.folder.absolute().parts[-3:]
        if not self._trials:
            parts = self.folder.absolute().parts[-4:-1]
        tags = dict(zip(("action_space", "observation_type"), parts[:-1], strict=False))
        return RunInfo("waa", parts[-1] if parts else None, tags=tags)

    def picture(self, line: dict[str, Any]) -> object:
        """The name of the screenshot beside a line."""
        return line.get("screenshot") or line.get("screenshot_file")

    def reasoning(self, folder: Path, line: dict[str, Any]) -> str | None:
        """What the agent answered, from the file beside the step."""
        for key in ("plan_result_full", "plan_result"):
            name = line.get(key)
            if not isinstance(name, str) or not name:
                continue
            if not name.endswith(".txt") or Path(name).name != name:
                return name
            data = read_bytes(folder / name, self.report, LONGEST_TEXT)
            if data is not None:
                return data.decode("utf-8", "replace")
        return super().reasoning(folder, line)


def _trial_order(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() and len(name) < 10 else (1 << 40, name)
