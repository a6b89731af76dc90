"""Jobs of Harbor, and other folders of ATIF trajectories.

A job is ``<job>/{config.json, result.json}`` and ``<job>/<trial>/{config.json, result.json, agent/trajectory.json}``, a
trial of several steps ``<trial>/steps/<step>/agent/trajectory.json``. Others write ``<run>/<task>/trajectory.json``; a
folder with a ``trajectory.json`` in it is a run of one task. Traps of Harbor's:

- A job may run several agents: each is a run of its own, named below the folder.
- The attempts at a task have random names: they are numbered in the order in which they are found.
- ``result.json`` of a trial is written when it finishes, and the trajectory often just before. A trial with a reward
  was measured, whatever else went wrong in it; one without was not, unless the agent ran out of time or failed. Where a
  copy, or a job that has ended, lacks it, the verifier's ``reward.txt`` has the reward.
- Times carry their zone, in older releases none: then they are local.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalgauge.atif import (
    choose_calls,
    find_instruction,
    find_start,
    parse_agent,
    read_calls,
    read_total,
    resolve_model,
)
from evalgauge.events import EndStatus
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.atif.harbor import (
    add_stated_finish,
    add_trial_finish,
    format_agent_name,
    list_agents,
    list_contexts,
    list_objects,
    parse_base_name,
    parse_trial_model,
)
from evalgauge_exporter.sources.atif.trajectories import add_call, add_turns
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import (
    get_mtime,
    is_directory,
    is_regular_file,
    list_names,
    parse_json,
    read_bytes,
    read_head,
    read_object,
)
from evalgauge_exporter.sources.sampling import Vote, most_fit

TRAJECTORY = "trajectory.json"
_WHERE = (TRAJECTORY, f"agent/{TRAJECTORY}")
_CONFIG = "config.json"
_RESULT = "result.json"
_VERIFIER_OUTPUT = "verifier/test-stdout.txt"
_REWARD = "verifier/reward.txt"
_SCHEMA = re.compile(rb'"schema_version"\s*:\s*"ATIF-v')
_MAX_PARTS = 50
"""Documents that continue one another, of one trial."""


def discover_jobs(folder: Path, names: frozenset[str]) -> list[Path]:
    """Return the runs of a folder that is marked as a job by its ``config.json``.

    They are the folder itself, or one for each agent of a job with several, named below it.
    """
    content = _read_silently(folder / _CONFIG) if _CONFIG in names else None
    if content is None or "job_name" not in content or "agents" not in content:
        return []
    agents = list_agents(content)
    return [folder] if len(agents) < 2 else [folder / agent for agent in agents]


def fits(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder holds a trajectory, or most folders in it are trials or hold one."""
    return (TRAJECTORY in names and _is_atif(folder / TRAJECTORY)) or most_fit(folder, _vote) is True


def _is_atif(path: Path) -> bool:
    return _SCHEMA.search(read_head(path, 1 << 16)) is not None


def _vote(folder: Path) -> Vote:
    return _is_trial(folder) if list_names(folder) else None


def _is_trial(folder: Path) -> bool:
    if any(_is_atif(folder / where) for where in _WHERE):
        return True
    names = list_names(folder)
    if _CONFIG in names and not names.isdisjoint(("trial.log", "verifier")):
        return True
    head = read_head(folder / _RESULT, 1 << 12) if _RESULT in names else b""
    return b'"trial_name"' in head and b'"task_name"' in head


def _read_silently(path: Path) -> dict[str, Any] | None:
    data = read_bytes(path, lambda *_: None, 4 << 20)
    try:
        content = parse_json(data) if data is not None else None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class AtifSource(FolderSource):
    """Reads a job, or the part of it that one agent did."""

    source = "atif"
    run_files = (_CONFIG, _RESULT)
    task_files = (*_WHERE, _RESULT)

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The job's folder, or below it the name of one of its agents.
            success_threshold: The least reward of a success.
        """
        is_folder = is_directory(place)
        super().__init__(place if is_folder else place.parent, success_threshold=success_threshold)
        self._agent = None if is_folder else place.name
        self._single = is_folder and is_regular_file(place / TRAJECTORY)
        self.levels = 0 if self._single else 1
        self._configured: tuple[str | None, str | None] = (None, None)
        """Agent and model by the first trial's configuration, for trials without the job's own files."""
        self._stated: tuple[str | None, str | None] = (None, None)
        """Agent and model by the first trajectory."""

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each trial's folder by its name."""
        if self._single:
            return {"": self.known_tasks.get("") or self._make_files(self.folder, self.folder.name, 1)}
        found: dict[str, TaskFiles] = {}
        times: dict[str, int] = {}
        fresh: list[tuple[str, str]] = []
        for name in self.list_subfolders(self.folder):
            before = self.known_tasks.get(name)
            if before is None:
                if (task_id := self._find_task_id(self.folder / name)) is not None:
                    fresh.append((name, task_id))
                continue
            found[name] = before
            times[before.task_id] = max(times.get(before.task_id, 0), before.attempt)
        for name, task_id in fresh:
            times[task_id] = times.get(task_id, 0) + 1
            found[name] = self._make_files(self.folder / name, task_id, times[task_id])
        return found

    def read_info(self) -> RunInfo:
        """Return what the job's files state, else what the trajectories do."""
        config = self.read_cached(self.folder / _CONFIG) or {} if not self._single else {}
        result = self.read_cached(self.folder / _RESULT) or {} if not self._single else {}
        agents = list_objects(config.get("agents"))
        mine = next((agent for agent in agents if self._agent in (None, format_agent_name(agent))), {})
        total = parse_count(result.get("n_total_trials"))
        if total is not None and self._agent is not None:
            total = total // max(1, len(list_agents(config)))
        datasets = list_objects(config.get("datasets"))
        benchmark = None
        if datasets:
            benchmark = parse_id(datasets[0].get("name")) or parse_base_name(datasets[0].get("path"))
        model = parse_id(mine.get("model_name")) or self._configured[1] or self._stated[1]
        return RunInfo(
            benchmark,
            resolve_model(model)[1],
            parse_id(mine.get("name")) or self._configured[0] or self._stated[0],
            parse_timestamp(result.get("started_at")),
            total,
        )

    def final_status(self) -> EndStatus | None:
        """Return the status by the job's ``result.json``, once that has the time of the end."""
        if self._single:
            return None
        result = self.read_cached(self.folder / _RESULT) or {}
        if parse_timestamp(result.get("finished_at")) is None:
            return None
        stats = result.get("stats")
        stats = stats if isinstance(stats, dict) else {}
        done = parse_count(stats.get("n_completed_trials", stats.get("n_trials")))
        total = parse_count(result.get("n_total_trials"))
        return "aborted" if done is not None and total is not None and done < total else "completed"

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the agent's turns, and the end where there is a result or no trial at all."""
        result = read_object(files.folder / _RESULT, self.report)
        result = result if result is not None and ("trial_name" in result or "verifier_result" in result) else None
        documents, whole = self._read_documents(files.folder)
        if not whole and result is None:
            return None
        harbor = result is not None or is_regular_file(files.folder / _CONFIG)
        if not documents and not harbor:
            return None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        start = next((at for document, _ in documents if (at := find_start(document)) is not None), None)
        if start is None:
            start = parse_timestamp((result or {}).get("started_at"))
        times = (get_mtime(files.folder / name) for name in (_CONFIG, TRAJECTORY, ""))
        file_time = next((at for at in times if at is not None), None)
        instruction = next((text for document, _ in documents if (text := find_instruction(document))), None)
        attempt.add_start(start, files.domain, instruction, file_time=file_time)
        if documents and self._stated == (None, None):
            self._stated = parse_agent(documents[0][0])
        self._add_turns_and_calls(attempt, documents, result, harbor)
        if result is not None:
            has_verified = is_regular_file(files.folder / _VERIFIER_OUTPUT)
            add_trial_finish(attempt, result, self.threshold, has_verified=has_verified)
        elif harbor and self._has_ended() and (reward := self._read_reward(files.folder)) is not None:
            attempt.add_scored_finish(None, reward, self.threshold)
        elif not harbor:
            add_stated_finish(attempt, [document for document, _ in documents], self.threshold)
        return attempt

    def _has_ended(self) -> bool:
        """Return whether the job has ended; one without files of its own is a copy of results."""
        return self.final_status() is not None or not any(
            self.read_cached(self.folder / name) for name in self.run_files
        )

    def _read_reward(self, trial: Path) -> float | None:
        """Return the reward that the verifier wrote, for a trial whose result is missing."""
        data = read_bytes(trial / _REWARD, self.report, 4096)
        try:
            return None if data is None else parse_float(float(data))
        except ValueError:
            return None

    def _add_turns_and_calls(
        self,
        attempt: AttemptBuilder,
        documents: list[tuple[dict[str, Any], str]],
        result: dict[str, Any] | None,
        harbor: bool,
    ) -> None:
        calls = [call for document, _ in documents for call in read_calls(document)]
        counted = calls
        if result is not None:
            model = parse_trial_model(result) or resolve_model(self.read_info().model)
            counted = choose_calls(calls, list_contexts(result), model)
        if not counted and (result is not None or not harbor):
            counted = [total for document, _ in documents if (total := read_total(document)) is not None]
        for document, below in documents:
            add_turns(document, attempt, self.folder, below, with_calls=counted is calls)
        for call in counted if counted is not calls else ():
            add_call(attempt, call)

    def _make_files(self, folder: Path, task_id: str, attempt: int) -> TaskFiles:
        task = {} if self._single else self._read_config(folder).get("task")
        domain = parse_id(task.get("source")) if isinstance(task, dict) else None
        return TaskFiles(task_id, folder, attempt, domain)

    def _read_config(self, folder: Path) -> Mapping[str, Any]:
        """Return the configuration of a trial, which its result repeats."""
        config = self.read_cached(folder / _CONFIG)
        return config if config is not None else as_object((self.read_cached(folder / _RESULT) or {}).get("config"))

    def _find_task_id(self, folder: Path) -> str | None:
        """Return the task of a trial; None where the folder is no trial, or another agent's."""
        if not _is_trial(folder):
            return None
        config = self._read_config(folder)
        agent, task = config.get("agent"), config.get("task")
        if self._agent is not None and (not isinstance(agent, dict) or format_agent_name(agent) != self._agent):
            return None
        if isinstance(agent, dict) and self._configured == (None, None):
            self._configured = parse_id(agent.get("name")), parse_id(agent.get("model_name"))
        task = task if isinstance(task, dict) else {}
        return (
            parse_id(task.get("name"))
            or parse_base_name(task.get("path"))
            or folder.name.rpartition("__")[0]
            or folder.name
        )

    def _read_documents(self, folder: Path) -> tuple[list[tuple[dict[str, Any], str]], bool]:
        """Return the trajectories of a trial in order, each with its folder; and whether all could be read."""
        paths = [folder / where for where in _WHERE if is_regular_file(folder / where)][:1]
        if not paths and is_directory(folder / "steps"):
            found = (
                (folder / "steps" / step / f"agent/{TRAJECTORY}") for step in self.list_subfolders(folder / "steps")
            )
            paths = sorted((path for path in found if is_regular_file(path)), key=lambda path: get_mtime(path) or 0.0)
        documents: list[tuple[dict[str, Any], str]] = []
        for path in paths:
            here, seen = path, {path}
            while len(documents) < _MAX_PARTS:
                document = read_object(here, self.report)
                if document is None:
                    return documents, False
                documents.append((document, self.relative_path(here.parent)))
                following = document.get("continued_trajectory_ref")
                if not isinstance(following, str) or Path(following).name != following:
                    break
                here = here.parent / following
                if here in seen or not is_regular_file(here):
                    break
                seen.add(here)
        return documents, True
