"""Log folders of MobileWorld.

``<log>/metadata.json`` and ``<log>/<task>/{traj.json, result.txt, screenshots/<task>-<n>-<step>.png}``. Traps of
the format:

- ``traj.json`` is rewritten in place at each step: a reader may see half of it.
- The only time is the run's ``timestamp`` (naive, local): a step happened when its screenshot was written.
- ``result.txt`` is ``score: x`` and ``reason: y``. ``token_usage`` is the sum over the task so far: it is counted once,
  when the task has finished, as one call.
- A task that is repeated leaves ``<task>_backup_<time>`` behind; that is not read. The end of a run is not recorded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evalgauge.model_names import infer_provider
from evalgauge.usage import parse_call
from evalgauge.values import parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import get_mtime, is_regular_file, list_names, parse_json, read_bytes, read_head
from evalgauge_exporter.sources.sampling import Vote, most_fit

METADATA = "metadata.json"
TRAJECTORY = "traj.json"
RESULT = "result.txt"
_BACKUP = re.compile(r"_backup_\d{8}_\d{6}\Z")


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder with entries of these names is marked as a run by its ``metadata.json``."""
    return METADATA in names and b'"suite_family"' in read_head(folder / METADATA, 1 << 16)


def fits(folder: Path, _names: frozenset[str]) -> bool:
    """Return whether most folders in a folder hold trajectories of this format."""
    return most_fit(folder, _vote) is True


def _vote(folder: Path) -> Vote:
    """Return whether a folder is a task's; other formats also use the name ``traj.json``."""
    names = list_names(folder)
    head = read_head(folder / TRAJECTORY, 1 << 18)
    return b'"traj"' in head if head or names - {TRAJECTORY} else None


class MobileWorldSource(FolderSource):
    """Reads one log folder."""

    source = "mobileworld"
    run_files = (METADATA,)
    task_files = (TRAJECTORY, RESULT)

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each task's folder by its name."""
        return {
            name: self.known_tasks.get(name) or TaskFiles(name, self.folder / name)
            for name in self.list_subfolders(self.folder)
            if not _BACKUP.search(name)
        }

    def read_info(self) -> RunInfo:
        """Return what ``metadata.json`` states."""
        content = self.read_cached(self.folder / METADATA) or {}
        tags = {"seed": str(content["seed"])} if isinstance(content.get("seed"), int) else {}
        return RunInfo(
            parse_id(content.get("suite_family")) or "mobileworld",
            parse_id(content.get("model_name")),
            parse_id(content.get("agent_type")),
            parse_timestamp(content.get("timestamp")),
            tags=tags,
        )

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the start, the steps and, once there is a result, the tokens and the end."""
        data = read_bytes(files.folder / TRAJECTORY, self.report)
        try:
            content = parse_json(data) if data else None
        except ValueError:
            content = None  # being written: the next read finds it whole
        attempt = AttemptBuilder(self.source, files.task_id)
        if not isinstance(content, dict):
            if not is_regular_file(files.folder / RESULT):
                return None
            content = {}
        parts = [(key, part) for key, part in content.items() if isinstance(part, dict) and "traj" in part]
        steps = [(key, step) for key, part in parts for step in _list_steps(part)]
        times = [self._find_screenshot(files, key, step)[1] for key, step in steps]
        goal = next((step["task_goal"] for _, step in steps if isinstance(step.get("task_goal"), str)), None)
        start = next((at for at in times if at is not None), None)
        file_time = start if start is not None else get_mtime(files.folder / TRAJECTORY)
        attempt.add_start(None, None, goal, file_time=file_time)
        for (key, step), at in zip(steps, times, strict=True):
            attempt.add_step(
                at,
                _parse_action(step.get("action")),
                reasoning=step.get("prediction"),
                screenshot=self._find_screenshot(files, key, step)[0],
            )
        self._add_end(attempt, files, content, parts)
        return attempt

    def _find_screenshot(self, files: TaskFiles, key: str, step: dict[str, Any]) -> tuple[str | None, float | None]:
        """Return the screenshot of a step and when it was written."""
        index = step.get("step")
        if type(index) is not int or "/" in key:
            return None, None
        name = f"screenshots/{files.folder.name}-{key}-{index}.png"
        at = get_mtime(files.folder / name)
        return (None, None) if at is None else (f"{self.relative_path(files.folder)}/{name}", at)

    def _add_end(
        self, attempt: AttemptBuilder, files: TaskFiles, content: dict[str, Any], parts: list[tuple[str, Any]]
    ) -> None:
        data = read_bytes(files.folder / RESULT, self.report, 1 << 20)
        text = data.decode("utf-8", "replace").strip() if data is not None else ""
        if not text:
            return
        at = get_mtime(files.folder / RESULT)
        model = self.read_info().model
        spent = content.get("token_usage")
        for usage in [spent] if spent else [part.get("token_usage") for _, part in parts]:
            if usage:
                attempt.add_call(None, infer_provider(model), model, parse_call(usage, model=model), requests=0)
        first, _, rest = text.partition("\n")
        name, _, value = first.partition(":")
        try:
            score = parse_float(float(value)) if name.strip().lower() == "score" else None
        except ValueError:
            score = None
        reason = rest.strip().removeprefix("reason:").strip() or None
        if score is None:
            self.report("foreign_file", f"{files.folder / RESULT}: {text[:60]!r} is not a score")
            attempt.add_finish(at, "evaluation_error", error=f"result.txt says {text[:200]!r}")
        else:
            attempt.add_scored_finish(at, score, self.threshold, reason=reason)


def _list_steps(part: dict[str, Any]) -> list[dict[str, Any]]:
    steps = part["traj"]
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _parse_action(value: object) -> dict[str, Any]:
    action = parse_action(value)
    return {**action, "type": "done"} if action["type"] == "finished" else action
