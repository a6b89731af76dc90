"""What OpenAdapt's run folders look like: which folders are runs, and what their JSON files say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge.events import Step, log_level
from evalgauge.metrics import OUTCOMES
from evalgauge.values import TEXT_LENGTH
from evalgauge_exporter.sources.parsing import parse_float, parse_non_negative

MOST_LINES = 2000
"""Lines of one task's log that are read."""

_ERROR_TYPES = {
    "agent": "agent_error",
    "infrastructure": "infrastructure_error",
    "evaluation": "evaluation_error",
    "interrupted": "interrupted",
}


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder with entries of these names is one run."""
    if "tasks" not in names:
        return False
    if "metadata.json" in names or "summary.json" in names:
        return _is_openadapt(folder)
    return False


def _is_openadapt(folder: Path) -> bool:
    """Leave alone what only looks alike: a folder whose tasks hold other files than those of this format."""
    tasks = folder / "tasks"
    try:
        with os.scandir(tasks) as entries:
            for entry in entries:
                inside = Path(entry.path)
                if (inside / "execution.json").exists() or (inside / "task.json").exists():
                    return not _several_models(inside)
    except OSError:
        return False
    return True


def _several_models(task: Path) -> bool:
    """Whether a task's folder is of the layout with a file for each model."""
    names = [name for name in names_in(task) if name.endswith(".json")]
    return "execution.json" not in names and any(name != "task.json" for name in names)


def matches_pool(folder: Path, names: frozenset[str]) -> bool:
    """Whether a folder is a pool tree: all that is in it are runs that are named ``<folder>_<worker>``."""
    members = [name for name in names if name.startswith(f"{folder.name}_")]
    if not members or "tasks" in names or "metadata.json" in names:
        return False
    others = [name for name in names if name not in members and (folder / name / "tasks").is_dir()]
    return not others and any(matches(folder / name, names_in(folder / name)) for name in members)


def names_in(folder: Path) -> frozenset[str]:
    """The names in a folder; none where it can't be read."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def folder_name(task_id: str) -> str:
    """What OpenAdapt calls a task's folder."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in task_id)


class Signature(NamedTuple):
    """What changes when a file does."""

    mtime_ns: int
    size: int
    inode: int


def signature_of(path: Path) -> Signature | None:
    """The file's signature; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino)


class TaskFolder:
    """What was read of one folder under ``tasks/``."""

    __slots__ = ("domain", "instruction", "max_steps", "model", "path", "read", "started", "task_id", "task_read")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.task_id = path.name
        self.domain: str | None = None
        self.instruction: str | None = None
        self.max_steps: int | None = None
        self.model: str | None = None
        self.task_read: Signature | None = None
        self.read: Signature | None = None
        """Of the execution.json that was read, None before there was one."""
        self.started = False


class Ended:
    """A task's execution.json, and when the task began and ended in Unix seconds."""

    def __init__(self, task: TaskFolder, content: dict[str, Any], file_time: float) -> None:
        self.task = task
        self.described = task
        self.content = content
        self.file_time = file_time
        self.started = self.finished = 0.0
        duration = number_of(content.get("total_time_seconds"))
        self.duration = duration if duration is not None and duration >= 0 else None
        times = [at for step in steps_of(content) if (at := number_of(step.get("timestamp"))) is not None]
        self.first_step = times[0] if times else None
        self.last_step = times[-1] if times else None
        first = steps_of(content)[:1]
        logs = first[0].get("agent_logs") if first else None
        think = number_of(logs.get("agent_think_ms")) if isinstance(logs, dict) else None
        self.think = (think or 0.0) / 1000

    def described_by(self, known: Mapping[str, TaskFolder]) -> Ended:
        """With the description of the task that it is about, which may lie in another folder than the execution."""
        task_id = known_text(self.content.get("task_id"))
        if task_id is not None and task_id != self.task.task_id:
            stranger = TaskFolder(self.task.path)
            stranger.task_id = task_id
            self.described = known.get(task_id, stranger)
        return self


def outcome_of(content: Mapping[str, Any]) -> str:
    """The outcome that an execution or a summary's row states: its error type, else whether it was a success."""
    kind = content.get("error_type")
    if isinstance(kind, str) and kind:
        return _ERROR_TYPES.get(kind, kind if kind in OUTCOMES else "evaluation_error")
    return "success" if content.get("success") is True else "failure"


def domain_of(task: Mapping[str, Any]) -> str | None:
    """A task's domain, with what its configuration names where the domain is ``unknown``."""
    config = task.get("raw_config")
    config = config if isinstance(config, dict) else {}
    apps = config.get("related_apps")
    candidates = [task.get("domain"), config.get("domain"), *(apps[:1] if isinstance(apps, list) else ())]
    candidates += [config.get("snapshot"), task.get("initial_state_ref")]
    return next((known for candidate in candidates if (known := known_text(candidate)) is not None), None)


def step_event(
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
    """A step as an event; ``folder``: the task's, from the run's folder on; None where the screenshot is not known.

    OpenAdapt's ApiAgent gives no reasoning: what it thought is in the model's reply, which its notes keep.
    """
    action, shot = step.get("action"), step.get("screenshot_path")
    think, env = number_of(logs.get("agent_think_ms")), number_of(logs.get("env_execute_ms"))
    return Step(
        at,
        seq,
        writer,
        task_id,
        1,
        worker,
        index,
        action if isinstance(action, dict) else {},
        words_of(step.get("reasoning")) or words_of(logs.get("plan_result")),
        f"{folder}/{shot}" if folder is not None and isinstance(shot, str) else None,
        None if think is None else think / 1000,
        None if env is None else env / 1000,
        None,
    )


def steps_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recorded steps, whatever else the list holds left out."""
    steps = content.get("steps")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def log_lines(content: Mapping[str, Any]) -> list[tuple[float, str, str]]:
    """Seconds since the task began, level and message of what was logged; of very much the last ``MOST_LINES``."""
    lines = content.get("logs")
    told: list[tuple[float, str, str]] = []
    for line in lines[-MOST_LINES:] if isinstance(lines, list) else ():
        message = words_of(line.get("message")) if isinstance(line, dict) else None
        if message is not None:
            told.append(
                (parse_non_negative(line.get("timestamp")) or 0.0, log_level(line.get("level")), message[:TEXT_LENGTH])
            )
    return told


def known_text(value: object) -> str | None:
    """A text that says something: not empty and not ``unknown``."""
    return value[:512] if isinstance(value, str) and value and value.lower() != "unknown" else None


def words_of(value: object) -> str | None:
    """A text, None for anything else."""
    return value if isinstance(value, str) and value else None


def number_of(value: object) -> float | None:
    """A number that can be meant, None for anything else."""
    found = parse_float(value)
    return found if found is not None and abs(found) < 1e15 else None


def count_of(value: object) -> int | None:
    """A whole number that is not negative, None for anything else."""
    return value if type(value) is int and value >= 0 else None


def local_time(value: object) -> float | None:
    """Unix seconds of a naive ISO time, which is local; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
