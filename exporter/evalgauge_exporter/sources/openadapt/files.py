"""The files of OpenAdapt's run folders: which folders are runs, and what the JSON files in them say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from evalgauge.events import LogLevel, Outcome, Step, parse_log_level
from evalgauge.values import TEXT_LENGTH, parse_float, parse_id, parse_non_negative
from evalgauge_exporter.sources.parsing import FileFingerprint, is_directory, list_folders, list_names

MAX_LOG_LINES = 2000
"""Lines of one task's log that are read."""

_ERROR_TYPES: dict[str, Outcome] = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
    **{outcome: outcome for outcome in get_args(Outcome)},
}
"""OpenAdapt's types of errors, and the names of outcomes where a file states one."""


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder with entries of these names is one run."""
    return "tasks" in names and bool(names & {"metadata.json", "summary.json"}) and _is_openadapt(folder)


def _is_openadapt(folder: Path) -> bool:
    """Return False for what only looks alike: a folder whose tasks hold other files than those of this format."""
    tasks = folder / "tasks"
    for name in list_folders(tasks):
        try:
            names = list_names(tasks / name)
        except OSError:  # one task that can't be looked into makes the run no other
            continue
        if not names.isdisjoint(("execution.json", "task.json")):
            return not _has_models(names)
    return is_directory(tasks)


def _has_models(names: frozenset[str]) -> bool:
    """Return whether the names in a task's folder are of the layout with a file for each model."""
    return "execution.json" not in names and any(name != "task.json" for name in names if name.endswith(".json"))


def matches_pool(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is a pool tree: all runs in it are named ``<folder>_<worker>``."""
    members = [name for name in names if name.startswith(f"{folder.name}_")]
    if not members or "tasks" in names or "metadata.json" in names:
        return False
    # not is_directory: a folder of something else that can't be entered is no reason not to read this one
    if any(name not in members and os.path.isdir(folder / name / "tasks") for name in names):
        return False
    return any(matches(folder / name, list_names(folder / name)) for name in members)


def sanitize_folder_name(task_id: str) -> str:
    """Return the name that OpenAdapt gives a task's folder."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in task_id)


class TaskFolder:
    """What was read of one folder under ``tasks/``."""

    __slots__ = (
        *("announced", "domain", "instruction", "max_steps", "model", "name", "path", "read", "task_id"),
        "task_read",
    )

    def __init__(self, path: str) -> None:
        self.path = path  # a text: files in it are asked for again and again, and paths are slow to make
        self.name = self.task_id = os.path.basename(path)
        self.domain: str | None = None
        self.instruction: str | None = None
        self.max_steps: int | None = None
        self.model: str | None = None
        self.task_read: FileFingerprint | None = None
        """The task.json that was read, None before there was one."""
        self.read: FileFingerprint | None = None
        """The execution.json that was read, None before there was one."""
        self.announced = False
        """True once the start of the task was emitted."""


class FinishedTask:
    """A task's execution.json, and when the task started and finished, in Unix seconds."""

    def __init__(self, task: TaskFolder, content: dict[str, Any], written_at: float) -> None:
        """Take what is known from the content; ``started`` and ``finished`` are set by who knows the run.

        Args:
            task: The folder in which the file lies.
            content: The file's content.
            written_at: The file's time in Unix seconds.
        """
        self.task = task
        self.described = task
        """The folder that describes the task: under ``parallel`` an execution may lie in another task's."""
        self.content = content
        self.written_at = written_at
        self.started = self.finished = 0.0
        self.duration = parse_non_negative(content.get("total_time_seconds"))
        steps = list_steps(content)
        times = [at for step in steps if (at := parse_float(step.get("timestamp"))) is not None]
        self.first_step = times[0] if times else None
        self.last_step = times[-1] if times else None
        logs = steps[0].get("agent_logs") if steps else None
        think = parse_float(logs.get("agent_think_ms")) if isinstance(logs, dict) else None
        self.think_seconds = (think or 0.0) / 1000

    def resolve_description(self, known: Mapping[str, TaskFolder]) -> FinishedTask:
        """Set ``described`` to the folder of the task that the content names; return self."""
        task_id = parse_id(self.content.get("task_id"))
        if task_id is not None and task_id != self.task.task_id:
            unknown = TaskFolder(self.task.path)
            unknown.task_id = task_id
            self.described = known.get(task_id, unknown)
        return self


def parse_outcome(content: Mapping[str, Any]) -> Outcome:
    """Return the outcome that an execution, a trace or a summary's row states: by error type, else by ``success``."""
    kind = content.get("error_type")
    if isinstance(kind, str) and kind:
        return _ERROR_TYPES.get(kind, "evaluation_error")
    return "success" if content.get("success") is True else "failure"


def find_domain(task: Mapping[str, Any]) -> str | None:
    """Return a task's domain; where it is ``unknown``, the first app or snapshot that its configuration names."""
    config = task.get("raw_config")
    config = config if isinstance(config, dict) else {}
    apps = config.get("related_apps")
    candidates = [task.get("domain"), config.get("domain"), *(apps[:1] if isinstance(apps, list) else ())]
    candidates += [config.get("snapshot"), task.get("initial_state_ref")]
    return next((domain for candidate in candidates if (domain := parse_id(candidate)) is not None), None)


def make_step(
    at: float,
    seq: int,
    writer: str,
    task_id: str,
    worker: str | None,
    index: int,
    step: Mapping[str, Any],
    logs: Mapping[str, Any],
    folder: str | None,
) -> Step:
    """Make the event of a step.

    OpenAdapt's ApiAgent gives no reasoning: what it thought is in the model's reply, which its ``agent_logs`` hold.

    Args:
        at: When it happened, in Unix seconds.
        seq: The event's number.
        writer: The event's writer.
        task_id: The task.
        worker: The worker, where there is one.
        index: The step's index, from 0.
        step: The step as OpenAdapt wrote it.
        logs: Its ``agent_logs``.
        folder: The task's folder relative to the run's; None where the screenshot is not known.
    """
    action, shot = step.get("action"), step.get("screenshot_path")
    think, env = parse_float(logs.get("agent_think_ms")), parse_float(logs.get("env_execute_ms"))
    texts = (step.get("reasoning"), logs.get("plan_result"))
    reasoning = next((text for text in texts if isinstance(text, str) and text), None)
    return Step(
        ts=at,
        seq=seq,
        writer=writer,
        task_id=task_id,
        attempt=1,
        worker_id=worker,
        step_idx=index,
        action=action if isinstance(action, dict) else {},
        reasoning=reasoning,
        screenshot=f"{folder}/{shot}" if folder is not None and isinstance(shot, str) else None,
        think_seconds=None if think is None else think / 1000,
        env_seconds=None if env is None else env / 1000,
    )


def list_steps(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the recorded steps; what else the list holds is left out."""
    steps = content.get("steps")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def parse_log_lines(content: Mapping[str, Any]) -> list[tuple[float, LogLevel, str]]:
    """Return what a task logged: seconds since its start, level, message; at most the last ``MAX_LOG_LINES``."""
    lines = content.get("logs")
    parsed: list[tuple[float, LogLevel, str]] = []
    for line in lines[-MAX_LOG_LINES:] if isinstance(lines, list) else ():
        message = line.get("message") if isinstance(line, dict) else None
        if isinstance(message, str) and message:
            seconds = parse_non_negative(line.get("timestamp")) or 0.0
            parsed.append((seconds, parse_log_level(line.get("level")), message[:TEXT_LENGTH]))
    return parsed
