"""Result trees of OSWorld and its forks.

``<results>/<action space>/<observation>/<model>/<domain>/<task>/{traj.jsonl, result.txt, step_<n>_<time>.png}``, with
``args.json`` beside the domains: the model's folder is the run. What to know of them:

- Nothing says how many tasks there are, nor that a run is over.
- ``action_timestamp`` has microseconds or has none, by fork; it is naive local time. Several lines can share one
  ``step_num``: each is an action of its own.
- An exception of the runner is a line ``{"Error": …}`` and no ``result.txt``; ``result.txt`` holds a number or
  ``True``. ``all_result.json`` is no JSON and is not read.
- No tokens are recorded.
"""

from __future__ import annotations

from pathlib import Path

from evalgauge_exporter.sources.folders import RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import OSWorldLayoutSource, task_kind, tree_kind
from evalgauge_exporter.sources.parsing import parse, parse_count, parse_id, read_bytes

ARGUMENTS = "args.json"


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder with entries of these names is one run."""
    return tree_kind(folder, 2) == "osworld" or (ARGUMENTS in names and _is_new(folder))


def _is_new(folder: Path) -> bool:
    """Whether a folder without any task yet is a run that begins."""
    data = read_bytes(folder / ARGUMENTS, lambda *_: None, 1 << 20)
    try:
        content = parse(data) if data is not None else None
    except ValueError:
        return False
    return isinstance(content, dict) and {"action_space", "observation_type", "model"} <= content.keys()


class OSWorldSource(OSWorldLayoutSource):
    """The run of one model."""

    source = "osworld"
    run_files = (ARGUMENTS,)

    def tasks(self) -> dict[str, TaskFiles]:
        """Each task's folder, by domain and name."""
        found: dict[str, TaskFiles] = {}
        names: set[str] = set()
        for domain in self.subfolders(self.folder):
            folder = self.folder / domain
            for name in self.subfolders(folder):
                key = f"{domain}/{name}"
                task_id = key if name in names else name
                names.add(name)
                if (files := self.seen.get(key)) is None:
                    if domain == "summary" and task_kind(folder / name) is None:
                        continue
                    files = TaskFiles(task_id, folder / name, 1, domain)
                found[key] = files
        return found

    def info(self) -> RunInfo:
        """What ``args.json`` says; without it the folders' names do."""
        arguments = self.content(self.folder / ARGUMENTS) or {}
        tags = {
            name: value
            for name in ("action_space", "observation_type")
            if (value := parse_id(arguments.get(name))) is not None
        }
        return RunInfo("osworld", parse_id(arguments.get("model")) or parse_id(self.folder.name), tags=tags)

    def max_steps(self) -> int | None:
        """What ``args.json`` allows."""
        return parse_count((self.content(self.folder / ARGUMENTS) or {}).get("max_steps"))
