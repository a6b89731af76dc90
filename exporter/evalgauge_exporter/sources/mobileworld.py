"""Log folders of MobileWorld.

``<log>/metadata.json`` and ``<log>/<task>/{traj.json, result.txt, screenshots/<task>-<n>-<step>.png}``. What to know of
them:

- ``traj.json`` is written anew, in place, at each step: a reader may meet half of it.
- There is no time but the run's ``timestamp`` (naive, local): a step happened when its screenshot was written.
- ``result.txt`` is ``score: x`` and ``reason: y``. ``token_usage`` is the sum over the task so far: it is counted once,
  when the task has ended, as one call.
- A task that is done again leaves ``<task>_backup_<time>`` behind; that is not read. Nothing says that a run is over.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evalgauge.usage import parse_usage
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.actions import action_of
from evalgauge_exporter.sources.osworld.layout import peek
from evalgauge_exporter.sources.parsing import file_time, parse, parse_float, parse_id, parse_timestamp, read_bytes
from evalgauge_exporter.sources.providers import provider_of

METADATA = "metadata.json"
TRAJECTORY = "traj.json"
RESULT = "result.txt"
_BACKUP = re.compile(r"_backup_\d{8}_\d{6}\Z")


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is one run: its folders hold trajectories of this format."""
    if not any((below / TRAJECTORY).is_file() for below in peek(folder)):
        return False
    return METADATA in names or any(_has_steps(below / TRAJECTORY) for below in peek(folder))


def _has_steps(path: Path) -> bool:
    """Whether a ``traj.json`` is of this format; others use the name too."""
    try:
        with path.open("rb") as file:
            return b'"traj"' in file.read(1 << 18)
    except OSError:
        return False


class MobileWorldSource(FolderSource):
    """One log folder."""

    source = "mobileworld"
    run_files = (METADATA,)
    task_files = (TRAJECTORY, RESULT)

    def tasks(self) -> dict[str, TaskFiles]:
        """Each task's folder by its name."""
        return {
            name: self.seen.get(name) or TaskFiles(name, self.folder / name)
            for name in self.subfolders(self.folder)
            if not _BACKUP.search(name)
        }

    def info(self) -> RunInfo:
        """What ``metadata.json`` says."""
        content = self.content(self.folder / METADATA) or {}
        tags = {"seed": str(content["seed"])} if isinstance(content.get("seed"), int) else {}
        return RunInfo(
            parse_id(content.get("suite_family")) or "mobileworld",
            parse_id(content.get("model_name")),
            parse_id(content.get("agent_type")),
            parse_timestamp(content.get("timestamp")),
            tags=tags,
        )

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """The start, the steps and, once there is a result, the tokens and the end."""
        data = read_bytes(files.folder / TRAJECTORY, self.report)
        try:
            content = parse(data) if data else None
        except ValueError:
            content = None  # being written: the next look finds the whole
        tale = AttemptBuilder(self.source, files.task_id)
        if not isinstance(content, dict):
            if not (files.folder / RESULT).is_file():
                return None
            content = {}
        parts = [(key, part) for key, part in content.items() if isinstance(part, dict) and "traj" in part]
        steps = [(key, step) for key, part in parts for step in _steps(part)]
        times = [self._shot(files, key, step)[1] for key, step in steps]
        goal = next((step["task_goal"] for _, step in steps if isinstance(step.get("task_goal"), str)), None)
        start = next((at for at in times if at is not None), None)
        tale.started(start if start is not None else file_time(files.folder / TRAJECTORY), None, goal)
        for (key, step), at in zip(steps, times, strict=True):
            prediction = step.get("prediction")
            tale.step(
                at,
                _action(step.get("action")),
                reasoning=prediction if isinstance(prediction, str) else None,
                screenshot=self._shot(files, key, step)[0],
            )
        self._end(tale, files, content, parts)
        return tale

    def _shot(self, files: TaskFiles, key: str, step: dict[str, Any]) -> tuple[str | None, float | None]:
        """The screenshot of a step and when it was written."""
        index = step.get("step")
        if type(index) is not int or "/" in key:
            return None, None
        name = f"screenshots/{files.folder.name}-{key}-{index}.png"
        at = file_time(files.folder / name)
        return (None, None) if at is None else (f"{self.relative(files.folder)}/{name}", at)

    def _end(
        self, tale: AttemptBuilder, files: TaskFiles, content: dict[str, Any], parts: list[tuple[str, Any]]
    ) -> None:
        data = read_bytes(files.folder / RESULT, self.report, 1 << 20)
        said = data.decode("utf-8", "replace").strip() if data is not None else ""
        if not said:
            return
        at = file_time(files.folder / RESULT)
        model = self.info().model
        spent = content.get("token_usage")
        for usage in [spent] if spent else [part.get("token_usage") for _, part in parts]:
            if usage:
                tale.call(None, provider_of(model), model, parse_usage(usage))
        first, _, rest = said.partition("\n")
        name, _, value = first.partition(":")
        try:
            score = parse_float(float(value)) if name.strip().lower() == "score" else None
        except ValueError:
            score = None
        reason = rest.strip().removeprefix("reason:").strip() or None
        if score is None:
            self.report("foreign_file", f"{files.folder / RESULT}: {said[:60]!r} is no score")
            tale.finished(at, "evaluation_error", error=f"result.txt says {said[:200]!r}")
        else:
            tale.measured(at, score, self.threshold, reason=reason)


def _steps(part: dict[str, Any]) -> list[dict[str, Any]]:
    steps = part["traj"]
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _action(value: object) -> dict[str, Any]:
    action = action_of(value)
    return {**action, "type": "done"} if action["type"] == "finished" else action
