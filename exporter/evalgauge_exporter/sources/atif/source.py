"""Jobs of Harbor, and other folders of ATIF trajectories.

A job is ``<job>/{config.json, result.json}`` and ``<job>/<trial>/{config.json, result.json, agent/trajectory.json}``, a
trial of several steps ``<trial>/steps/<step>/agent/trajectory.json``. Others write ``<run>/<task>/trajectory.json``; a
folder with a ``trajectory.json`` in it is a run of one task. What to know of Harbor's:

- A job may run several agents: each is a run of its own, named below the folder.
- The attempts at a task have random names: they are numbered in the order in which they appear.
- ``result.json`` of a trial is written when it ends, and the trajectory often just before. A trial with a reward was
  measured, whatever else went wrong in it; one without is not, unless the agent ran out of time or failed.
- Times carry their zone. Money is not read: it is a fallback's where the agent states none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evalgauge.events import LlmCall
from evalgauge_exporter.sources.atif.harbor import (
    agent_name,
    agents_of,
    end_alone,
    end_trial,
    last_part,
    objects_in,
    tell_sums,
)
from evalgauge_exporter.sources.atif.trajectories import agent_of, begun_at, instruction_of, named, tell, tell_totals
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import peek
from evalgauge_exporter.sources.parsing import (
    file_time,
    parse,
    parse_count,
    parse_id,
    parse_timestamp,
    read_bytes,
    read_object,
)

TRAJECTORY = "trajectory.json"
_WHERE = (TRAJECTORY, f"agent/{TRAJECTORY}")
_CONFIG = "config.json"
_RESULT = "result.json"
_SCHEMA = re.compile(rb'"schema_version"\s*:\s*"ATIF-v')
_MOST_PARTS = 50
"""Documents that continue one another."""


def discover_runs(folder: Path, names: frozenset[str]) -> list[Path]:
    """The runs in a folder: itself, or for a job with several agents one for each, named below it."""
    if TRAJECTORY in names and _is_atif(folder / TRAJECTORY):
        return [folder]
    inside = peek(folder)
    if not any(_is_trial(below) for below in inside) and not (_CONFIG in names and _is_job(folder)):
        return []
    agents = agents_of(_quiet(folder / _CONFIG) if _CONFIG in names else None)
    return [folder] if len(agents) < 2 else [folder / agent for agent in agents]


def _is_atif(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _SCHEMA.search(file.read(1 << 16)) is not None
    except (OSError, ValueError):
        return False


def _is_trial(folder: Path) -> bool:
    if any(_is_atif(folder / where) for where in _WHERE):
        return True
    return (folder / _CONFIG).is_file() and any((folder / name).exists() for name in ("trial.log", "verifier"))


def _is_job(folder: Path) -> bool:
    content = _quiet(folder / _CONFIG)
    return content is not None and "job_name" in content and "agents" in content


def _quiet(path: Path) -> dict[str, Any] | None:
    data = read_bytes(path, lambda *_: None, 4 << 20)
    try:
        content = parse(data) if data is not None else None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class AtifSource(FolderSource):
    """A job, or the part of it that one agent did."""

    source = "atif"
    run_files = (_CONFIG, _RESULT)
    task_files = (*_WHERE, _RESULT)

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """``place``: the job's folder, or below it the name of one of its agents."""
        alone = place.is_dir()
        super().__init__(place if alone else place.parent, success_threshold=success_threshold)
        self._agent = None if alone else place.name
        self._single = alone and (place / TRAJECTORY).is_file()
        self.levels = 0 if self._single else 1
        self._stated: tuple[str | None, str | None] = (None, None)
        """Agent and model, as the first trajectory states them."""

    def tasks(self) -> dict[str, TaskFiles]:
        """Each trial's folder by its name."""
        if self._single:
            return {"": self.seen.get("") or self._files(self.folder, self.folder.name, 1)}
        found: dict[str, TaskFiles] = {}
        times: dict[str, int] = {}
        fresh: list[tuple[str, str]] = []
        for name in self.subfolders(self.folder):
            before = self.seen.get(name)
            if before is None:
                if (task_id := self._task_id(self.folder / name)) is not None:
                    fresh.append((name, task_id))
                continue
            found[name] = before
            times[before.task_id] = max(times.get(before.task_id, 0), before.attempt)
        for name, task_id in fresh:
            times[task_id] = times.get(task_id, 0) + 1
            found[name] = self._files(self.folder / name, task_id, times[task_id])
        return found

    def info(self) -> RunInfo:
        """What the job's files say; else what the trajectories do."""
        config = self.content(self.folder / _CONFIG) or {} if not self._single else {}
        result = self.content(self.folder / _RESULT) or {} if not self._single else {}
        agents = objects_in(config.get("agents"))
        mine = next((agent for agent in agents if self._agent in (None, agent_name(agent))), {})
        total = parse_count(result.get("n_total_trials"))
        if total is not None and self._agent is not None:
            total = total // max(1, len(agents_of(config)))
        datasets = objects_in(config.get("datasets"))
        benchmark = None
        if datasets:
            benchmark = parse_id(datasets[0].get("name")) or last_part(datasets[0].get("path"))
        model = parse_id(mine.get("model_name")) or self._stated[1]
        return RunInfo(
            benchmark,
            named(model)[1],
            parse_id(mine.get("name")) or self._stated[0],
            parse_timestamp(result.get("started_at")),
            total,
        )

    def ended(self) -> str | None:
        """What the job's ``result.json`` says, once it has a time of the end."""
        if self._single:
            return None
        result = self.content(self.folder / _RESULT) or {}
        if parse_timestamp(result.get("finished_at")) is None:
            return None
        stats = result.get("stats")
        stats = stats if isinstance(stats, dict) else {}
        done = parse_count(stats.get("n_completed_trials", stats.get("n_trials")))
        total = parse_count(result.get("n_total_trials"))
        return "aborted" if done is not None and total is not None and done < total else "completed"

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """The agent's turns, and the end where there is a result or the trajectory is all there is."""
        result = read_object(files.folder / _RESULT, self.report) if (files.folder / _RESULT).is_file() else None
        result = result if result is not None and ("trial_name" in result or "verifier_result" in result) else None
        documents, whole = self._documents(files.folder)
        if not whole and result is None:
            return None
        harbor = result is not None or (files.folder / _CONFIG).is_file()
        if not documents and not harbor:
            return None
        tale = AttemptBuilder(self.source, files.task_id, files.attempt)
        start = next((at for document, _ in documents if (at := begun_at(document)) is not None), None)
        if start is None:
            start = parse_timestamp((result or {}).get("started_at")) or file_time(files.folder / _CONFIG)
        if start is None:
            start = file_time(files.folder / TRAJECTORY) or file_time(files.folder)
        instruction = next((said for document, _ in documents if (said := instruction_of(document))), None)
        tale.started(start, files.domain, instruction)
        calls = 0
        for document, below in documents:
            if self._stated == (None, None):
                self._stated = agent_of(document)
            before = len(tale.events)
            tell(document, tale, self.folder, below)
            told = sum(isinstance(event, LlmCall) for event in tale.events[before:])
            if not told and (result is not None or not harbor):
                tell_totals(document, tale)
                told = sum(isinstance(event, LlmCall) for event in tale.events[before:])
            calls += told
        if result is not None:
            if not calls:
                tell_sums(tale, result, self.info().model)
            end_trial(tale, result, self.threshold)
        elif not harbor:
            end_alone(tale, [document for document, _ in documents], self.threshold)
        return tale

    def _files(self, folder: Path, task_id: str, attempt: int) -> TaskFiles:
        config = None if self._single else self.content(folder / _CONFIG)
        task = (config or {}).get("task")
        domain = parse_id(task.get("source")) if isinstance(task, dict) else None
        return TaskFiles(task_id, folder, attempt, domain)

    def _task_id(self, folder: Path) -> str | None:
        """The task of a trial; None where the folder is none, or another agent's."""
        if not _is_trial(folder):
            return None
        config = self.content(folder / _CONFIG) or {}
        agent, task = config.get("agent"), config.get("task")
        if self._agent is not None and (not isinstance(agent, dict) or agent_name(agent) != self._agent):
            return None
        task = task if isinstance(task, dict) else {}
        return (
            parse_id(task.get("name")) or last_part(task.get("path")) or folder.name.rpartition("__")[0] or folder.name
        )

    def _documents(self, folder: Path) -> tuple[list[tuple[dict[str, Any], str]], bool]:
        """The trajectories of a trial in their order, each with the folder it lies in; and whether all are whole."""
        paths = [folder / where for where in _WHERE if (folder / where).is_file()][:1]
        if not paths and (folder / "steps").is_dir():
            found = ((folder / "steps" / step / f"agent/{TRAJECTORY}") for step in self.subfolders(folder / "steps"))
            paths = sorted((path for path in found if path.is_file()), key=lambda path: file_time(path) or 0.0)
        documents: list[tuple[dict[str, Any], str]] = []
        for path in paths:
            here, seen = path, {path}
            while len(documents) < _MOST_PARTS:
                document = read_object(here, self.report)
                if document is None:
                    return documents, False
                documents.append((document, self.relative(here.parent)))
                following = document.get("continued_trajectory_ref")
                if not isinstance(following, str) or Path(following).name != following:
                    break
                here = here.parent / following
                if here in seen or not here.is_file():
                    break
                seen.add(here)
        return documents, True
