"""The layout that was first proposed for OpenAdapt: the traces of several models in each task's folder.

``<run>/{metadata.json, summary.json, tasks/<task>/{task.json, <model>.json, screenshots/}}``. Each model is a run of
its own, named after the folder and the model, so that models can be compared. A step's ``timestamp`` may be Unix
seconds, a date, or seconds since the task started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge.events import EndStatus, PlannedTask
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.openadapt.files import parse_outcome
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import (
    get_mtime,
    is_regular_file,
    list_folders,
    list_names,
    read_object,
    resolve_relative,
)

_OTHER_FILES = {"task.json", "execution.json", "metadata.json", "summary.json"}
_SAMPLED = 40
"""The number of task folders that are searched for the names of models."""


def discover_runs(folder: Path, names: frozenset[str]) -> list[Path]:
    """Return the runs in a folder, one for each model: ``<folder>/<model>``, a name and not the path of a file."""
    if "tasks" not in names or not names & {"metadata.json", "summary.json"}:
        return []
    models: set[str] = set()
    for task in list_folders(folder / "tasks")[:_SAMPLED]:
        try:
            inside = list_names(folder / "tasks" / task)
        except OSError:  # one task that can't be looked into makes the run no other
            continue
        if "execution.json" in inside:
            return []
        if "task.json" in inside:
            models |= {name[:-5] for name in inside - _OTHER_FILES if name.endswith(".json") and name > "."}
    return [folder / model for model in sorted(models) if not model.startswith(".")]


class OpenAdaptModelSource(FolderSource):
    """Reads the run of one model."""

    source = "openadapt"
    run_files = ("metadata.json", "summary.json")
    tree = "tasks"

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The run's folder and below it the model's name.
            success_threshold: Not used: the format states the outcome.
        """
        super().__init__(place.parent, success_threshold=success_threshold)
        self._model = place.name
        self.task_files = (f"{place.name}.json",)
        self._model_id: str | None = None
        self._planned: tuple[PlannedTask, ...] = ()
        self._planned_count = 0

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each task's folder by its name."""
        below = self.folder / "tasks"
        return {
            name: self.known_tasks.get(name) or TaskFiles(name, below / name) for name in self.list_subfolders(below)
        }

    def read_info(self) -> RunInfo:
        """Return what ``metadata.json`` says, and every task that has a folder."""
        content = self.read_cached(self.folder / "metadata.json") or {}
        names = (parse_id(content.get(key)) for key in ("benchmark_name", "benchmark", "name"))
        benchmark = next((name for name in names if name), None)
        created = next((at for name in ("created_at", "timestamp") if (at := parse_timestamp(content.get(name)))), None)
        if self._planned_count != len(self.known_tasks):
            self._planned_count = len(self.known_tasks)
            described = ((name, self._read_task(name)) for name in self.known_tasks)
            self._planned = tuple(
                PlannedTask(parse_id(task.get("task_id")) or name, parse_id(task.get("domain")))
                for name, task in described
            )
        return RunInfo(benchmark, self._model_id or self._model, None, created, planned=self._planned)

    def final_status(self) -> EndStatus | None:
        """Return ``completed`` once there is a summary."""
        return None if self.read_cached(self.folder / "summary.json") is None else "completed"

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the start, the steps of the trace and the end."""
        path = files.folder / f"{self._model}.json"
        content = read_object(path, self.report)
        if content is None:
            return None
        task = self._read_task(files.folder.name)
        self._model_id = self._model_id or parse_id(content.get("model_id"))
        trace = content.get("trace")
        steps = [step for step in trace if isinstance(step, dict)] if isinstance(trace, list) else []
        seconds = parse_float(content.get("execution_time"))
        start = self._find_start(steps, seconds, path)
        attempt = AttemptBuilder(
            self.source, parse_id(task.get("task_id")) or parse_id(content.get("task_id")) or files.task_id
        )
        instruction = task.get("description") or task.get("instruction") or task.get("name")
        attempt.add_start(
            start,
            parse_id(task.get("domain")),
            instruction,
            parse_count(task.get("max_steps")),
        )
        for step in steps:
            attempt.add_step(
                _parse_step_time(step, start),
                parse_action(step.get("action")),
                reasoning=step.get("reasoning"),
                screenshot=self._find_screenshot(files.folder, step.get("screenshot_path")),
            )
        end = attempt.latest if seconds is None or seconds < 0 else max(start + seconds, attempt.latest)
        attempt.add_finish(
            end,
            parse_outcome(content),
            score=content.get("score"),
            steps=parse_count(content.get("steps_taken")),
            duration_seconds=seconds,
            error=content.get("error_message"),
        )
        return attempt

    def _read_task(self, name: str) -> dict[str, Any]:
        return self.read_cached(self.folder / "tasks" / name / "task.json") or {}

    def _find_start(self, steps: list[dict[str, Any]], seconds: float | None, path: Path) -> float:
        for step in steps:
            at = parse_timestamp(step.get("timestamp"))
            if at is not None and at > 1e8:
                return at
        created = parse_timestamp((self.read_cached(self.folder / "metadata.json") or {}).get("created_at"))
        if created is not None:
            return created
        written = get_mtime(path) or 0.0
        return written - (seconds if seconds is not None and 0 <= seconds < written else 0.0)

    def _find_screenshot(self, folder: Path, name: object) -> str | None:
        """Return a screenshot's path, which may be given relative to the task's folder or to the run's."""
        below = resolve_relative(self.folder, self.relative_path(folder), name)
        if below is not None and is_regular_file(self.folder / below):
            return below
        above = resolve_relative(self.folder, "", name)
        return above if above is not None and is_regular_file(self.folder / above) else below


def _parse_step_time(step: dict[str, Any], start: float) -> float | None:
    at = step.get("timestamp")
    found = parse_timestamp(at)
    if found is not None and found > 1e8:
        return found
    passed = parse_float(at)
    return start + passed if passed is not None and 0 <= passed <= 1e8 else None
