"""The layout that was first proposed for OpenAdapt: the traces of several models in each task's folder.

``<run>/{metadata.json, summary.json, tasks/<task>/{task.json, <model>.json, screenshots/}}``. Each model is a run of
its own, named below the folder, so that they can be laid side by side. A step's ``timestamp`` may be Unix seconds, a
date, or seconds since the task began.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evalgauge.events import PlannedTask
from evalgauge.metrics import OUTCOMES
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.actions import action_of
from evalgauge_exporter.sources.parsing import (
    file_time,
    parse_count,
    parse_float,
    parse_id,
    parse_timestamp,
    read_object,
    resolve_relative,
)

_OTHER_FILES = {"task.json", "execution.json", "metadata.json", "summary.json"}
_SAMPLED = 40
"""So many task folders are looked into for the names of models."""
_ERROR_TYPES = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
}


def discover_runs(folder: Path, names: frozenset[str]) -> list[Path]:
    """The runs in a folder, one for each model: ``<folder>/<model>``, which is a name and no path to a file."""
    if "tasks" not in names or not names & {"metadata.json", "summary.json"}:
        return []
    models: set[str] = set()
    try:
        with os.scandir(folder / "tasks") as entries:
            for sampled, entry in enumerate(entries):
                if sampled == _SAMPLED:
                    break
                inside = set(os.listdir(entry.path)) if entry.is_dir() else set()
                if "execution.json" in inside:
                    return []
                if "task.json" in inside:
                    models |= {name[:-5] for name in inside - _OTHER_FILES if name.endswith(".json") and name > "."}
    except OSError:
        return []
    return [folder / model for model in sorted(models) if not model.startswith(".")]


class OpenAdaptModelSource(FolderSource):
    """What one model did."""

    source = "openadapt"
    run_files = ("metadata.json", "summary.json")
    tree = "tasks"

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """``place``: the run's folder and below it the model's name."""
        super().__init__(place.parent, success_threshold=success_threshold)
        self._model = place.name
        self.task_files = (f"{place.name}.json",)
        self._model_id: str | None = None
        self._planned: tuple[PlannedTask, ...] = ()
        self._planned_of = 0

    def tasks(self) -> dict[str, TaskFiles]:
        """Each task's folder by its name."""
        below = self.folder / "tasks"
        return {name: self.seen.get(name) or TaskFiles(name, below / name) for name in self.subfolders(below)}

    def info(self) -> RunInfo:
        """What ``metadata.json`` says, and every task that has a folder."""
        content = self.content(self.folder / "metadata.json") or {}
        benchmark = next(
            (said for name in ("benchmark_name", "benchmark", "name") if (said := parse_id(content.get(name)))), None
        )
        created = next((at for name in ("created_at", "timestamp") if (at := parse_timestamp(content.get(name)))), None)
        if self._planned_of != len(self.seen):
            self._planned_of = len(self.seen)
            described = ((name, self._task(name)) for name in self.seen)
            self._planned = tuple(
                PlannedTask(parse_id(task.get("task_id")) or name, parse_id(task.get("domain")))
                for name, task in described
            )
        return RunInfo(benchmark, self._model_id or self._model, None, created, planned=self._planned)

    def ended(self) -> str | None:
        """Once there is a summary, no more comes."""
        over = self.content(self.folder / "summary.json") is not None
        return "completed" if over else None

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """The steps of the trace and the end."""
        path = files.folder / f"{self._model}.json"
        content = read_object(path, self.report) if path.exists() else None
        if content is None:
            return None
        task = self._task(files.folder.name)
        self._model_id = self._model_id or parse_id(content.get("model_id"))
        trace = content.get("trace")
        steps = [step for step in trace if isinstance(step, dict)] if isinstance(trace, list) else []
        seconds = parse_float(content.get("execution_time"))
        start = self._start(steps, seconds, path)
        tale = AttemptBuilder(
            self.source, parse_id(task.get("task_id")) or parse_id(content.get("task_id")) or files.task_id
        )
        instruction = task.get("description") or task.get("instruction") or task.get("name")
        tale.started(
            start,
            parse_id(task.get("domain")),
            instruction if isinstance(instruction, str) else None,
            parse_count(task.get("max_steps")),
        )
        for step in steps:
            reasoning = step.get("reasoning")
            tale.step(
                _time(step, start),
                action_of(step.get("action")),
                reasoning=reasoning if isinstance(reasoning, str) else None,
                screenshot=self._shot(files.folder, step.get("screenshot_path")),
            )
        end = tale.latest if seconds is None or seconds < 0 else max(start + seconds, tale.latest)
        tale.finished(
            end,
            _outcome(content),
            score=content.get("score"),
            steps=parse_count(content.get("steps_taken")),
            duration_seconds=seconds,
            error=content.get("error_message"),
        )
        return tale

    def _task(self, name: str) -> dict[str, Any]:
        return self.content(self.folder / "tasks" / name / "task.json") or {}

    def _start(self, steps: list[dict[str, Any]], seconds: float | None, path: Path) -> float:
        for step in steps:
            at = parse_timestamp(step.get("timestamp"))
            if at is not None and at > 1e8:
                return at
        created = parse_timestamp((self.content(self.folder / "metadata.json") or {}).get("created_at"))
        if created is not None:
            return created
        written = file_time(path) or 0.0
        return written - (seconds if seconds is not None and 0 <= seconds < written else 0.0)

    def _shot(self, folder: Path, name: object) -> str | None:
        """A screenshot's path, which may be given from the task's folder or from the run's."""
        below = resolve_relative(self.folder, self.relative(folder), name)
        if below is not None and (self.folder / below).is_file():
            return below
        above = resolve_relative(self.folder, "", name)
        return above if above is not None and (self.folder / above).is_file() else below


def _time(step: dict[str, Any], start: float) -> float | None:
    at = step.get("timestamp")
    found = parse_timestamp(at)
    if found is not None and found > 1e8:
        return found
    passed = parse_float(at)
    return start + passed if passed is not None and 0 <= passed <= 1e8 else None


def _outcome(content: dict[str, Any]) -> str:
    kind = content.get("error_type")
    if isinstance(kind, str) and kind:
        return _ERROR_TYPES.get(kind, kind if kind in OUTCOMES else "evaluation_error")
    return "success" if content.get("success") is True else "failure"
