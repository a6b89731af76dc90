"""Result trees of OSWorld and its forks.

``<results>/<action space>/<observation>/<model>/<domain>/<task>/{traj.jsonl, result.txt, step_<n>_<time>.png}``, with
``args.json`` beside the domains: the model's folder is the run. Traps of the format:

- Neither the number of tasks nor the end of a run is recorded.
- ``action_timestamp`` has microseconds in some forks; it is naive local time. Several lines can share one
  ``step_num``: each is an action of its own.
- An exception of the runner is a line ``{"Error": …}`` and no ``result.txt``; ``result.txt`` holds a number or
  ``True``. ``all_result.json`` is not JSON and is not read.
- No tokens are recorded.
"""

from __future__ import annotations

from pathlib import Path

from evalgauge.values import parse_count, parse_id
from evalgauge_exporter.sources.folders import RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import (
    SUMMARY,
    OSWorldLayoutSource,
    detect_task_format,
    detect_tree_format,
    may_hold_task,
)
from evalgauge_exporter.sources.parsing import parse_json, read_bytes

ARGUMENTS = "args.json"


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder with entries of these names is marked as a run by its ``args.json``."""
    return ARGUMENTS in names and _has_arguments(folder)


def fits(folder: Path, _names: frozenset[str]) -> bool:
    """Return whether most folders in a folder hold tasks of this format."""
    return detect_tree_format(folder, 2) == "osworld"


def _has_arguments(folder: Path) -> bool:
    """Return whether the ``args.json`` of a folder is that of a run, which may have no task yet."""
    data = read_bytes(folder / ARGUMENTS, lambda *_: None, 1 << 20)
    try:
        content = parse_json(data) if data is not None else None
    except ValueError:
        return False
    return isinstance(content, dict) and {"action_space", "observation_type", "model"} <= content.keys()


class OSWorldSource(OSWorldLayoutSource):
    """Reads the run of one model."""

    source = "osworld"
    run_files = (ARGUMENTS,)

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each task's folder, by domain and name."""
        found: dict[str, TaskFiles] = {}
        names: set[str] = set()
        for domain in self.list_subfolders(self.folder):
            folder = self.folder / domain
            for name in self.list_subfolders(folder):
                key = f"{domain}/{name}"
                if (files := self.known_tasks.get(key)) is None:
                    is_task = detect_task_format if domain == SUMMARY else may_hold_task
                    if not is_task(folder / name):
                        continue
                    files = TaskFiles(key if name in names else name, folder / name, 1, domain)
                names.add(name)
                found[key] = files
        return found

    def read_info(self) -> RunInfo:
        """Return what ``args.json`` states, else the folders' names."""
        arguments = self.read_cached(self.folder / ARGUMENTS) or {}
        tags = {
            name: value
            for name in ("action_space", "observation_type")
            if (value := parse_id(arguments.get(name))) is not None
        }
        return RunInfo("osworld", parse_id(arguments.get("model")) or parse_id(self.folder.name), tags=tags)

    def max_steps(self) -> int | None:
        """Return the limit in ``args.json``."""
        return parse_count((self.read_cached(self.folder / ARGUMENTS) or {}).get("max_steps"))
