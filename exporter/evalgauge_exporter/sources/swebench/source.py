"""What the sources for SWE-agent and mini-swe-agent share: a trajectory an instance, and a verdict from elsewhere.

The outcome is the verdict of the SWE-bench harness (``reports``). Without one, that an agent submitted a patch says
nothing; that it ended without a patch is its error, or that of what it ran on.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evalgauge.model_names import ModelName
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import add_unjudged_finish, digest_files
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import fingerprint, is_directory, is_regular_file, list_names, read_object
from evalgauge_exporter.sources.sampling import Vote, most_fit
from evalgauge_exporter.sources.swebench.reports import Reports, Verdict

_AGENT_EXITS = re.compile(
    r"(?<!rate)(?<!rate_)limit|exceeded|format|forfeit|exit_(?:cost|context|total_execution_time|command_timeout)|early_exit",
    re.IGNORECASE,
)
"""Ends that are the agent's own: its budget is used up, or the model does not follow the format."""
_INTERRUPTED = re.compile(r"keyboardinterrupt|userinterruption|cancel", re.IGNORECASE)


def find_trajectories(folder: Path, names: frozenset[str], suffix: str, fits: Callable[[Path], bool]) -> bool:
    """Return whether a folder is a run: a trajectory lies in it, or in most of the folders in it.

    Args:
        folder: The folder.
        names: The names of its entries.
        suffix: How trajectories' names end.
        fits: Whether a file is one.
    """
    if any(name.endswith(suffix) and fits(folder / name) for name in names):
        return True

    def vote(below: Path) -> Vote:
        if fits(below / f"{below.name}{suffix}"):
            return True
        return False if list_names(below) and not has_predictions else None

    has_predictions = bool(names & {"preds.json", "all_preds.jsonl"})
    return most_fit(folder, vote) is True


class TrajectorySource(FolderSource):
    """Reads a folder of trajectories: ``<run>/<instance><suffix>`` or ``<run>/<instance>/<instance><suffix>``."""

    suffix: str
    task_files = ()

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            folder: The run's folder.
            success_threshold: Not used: an instance is resolved or not.
        """
        super().__init__(folder, success_threshold=success_threshold)
        self._reports = Reports(folder)
        self._reports_digest = ""
        self._predicted: dict[str, str] = {}
        self.model = ModelName(None, None)
        """The model, as far as it is known."""
        self.agent: str | None = None

    # -- what a format implements

    @abstractmethod
    def add_trajectory(self, content: Mapping[str, Any], attempt: AttemptBuilder, path: Path) -> int:
        """Add the start, the steps and the model calls of a trajectory; return the number of steps."""

    @abstractmethod
    def add_sum(self, content: Mapping[str, Any], attempt: AttemptBuilder, steps: int) -> None:
        """Add the sum of the model calls of a trajectory that has ended, where they are not known one by one."""

    @abstractmethod
    def read_predictions(self) -> dict[str, str]:
        """Return the instances with a prediction, each with the name of the model that it is for."""

    @abstractmethod
    def has_finished(self, content: Mapping[str, Any]) -> bool:
        """Return whether a trajectory states that it has ended."""

    # -- FolderSource

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each trajectory by its path in the run."""
        found: dict[str, TaskFiles] = {}
        for name in sorted(name for name in list_names(self.folder) if name.endswith(self.suffix)):
            found[name] = self.known_tasks.get(name) or TaskFiles(name.removesuffix(self.suffix), self.folder / name)
        for name in self.list_subfolders(self.folder):
            key = f"{name}/{name}{self.suffix}"
            if is_regular_file(self.folder / key):
                found[key] = self.known_tasks.get(key) or TaskFiles(name, self.folder / key)
        self._predicted = self.read_predictions()
        names_of_model = {*self._predicted.values(), *(name for name in self._model_names() if name)}
        self._reports.refresh(names_of_model)
        self._reports_digest = digest_files(self._reports.paths)
        return found

    def _model_names(self) -> list[str]:
        if self.model.model is None:
            return []
        return (
            [self.model.model, f"{self.model.provider}/{self.model.model}"]
            if self.model.provider
            else [self.model.model]
        )

    def attempt_fingerprint(self, files: TaskFiles) -> object:
        """Return what changes when a trajectory does, or when the verdicts do."""
        return fingerprint(files.folder), self._reports_digest, files.task_id in self._predicted

    def fingerprint(self) -> str | None:
        """Return a digest of the times and sizes of trajectories, predictions and reports."""
        if not is_directory(self.folder):
            return None
        tasks = self.list_tasks()
        names = ("preds.json", "all_preds.jsonl")
        run_files = [self.folder / name for name in names]
        return digest_files([*(files.folder for files in tasks.values()), *run_files, *self._reports.paths])

    def read_info(self) -> RunInfo:
        """Return the model and the agent, as the trajectories state them."""
        return RunInfo("swe-bench" if self._reports.paths else None, self.model.model, self.agent)

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the events of a trajectory, with the verdict on it."""
        content = read_object(files.folder, self.report)
        if content is None:
            return None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        steps = self.add_trajectory(content, attempt, files.folder)
        verdict = self._reports.verdict(files.task_id)
        if verdict is not None or files.task_id in self._predicted or self.has_finished(content):
            self.add_sum(content, attempt, steps)
            info = content.get("info")
            _add_finish(attempt, info if isinstance(info, dict) else {}, verdict, steps)
        return attempt


def _add_finish(attempt: AttemptBuilder, info: Mapping[str, Any], verdict: Verdict | None, steps: int) -> None:
    status = info.get("exit_status")
    status = status if isinstance(status, str) and status else None
    submitted = isinstance(info.get("submission"), str) and bool(info["submission"].strip())
    more: dict[str, Any] = {
        "steps": steps,
        "reason": verdict.reason if verdict is not None else None,
        "answer": info.get("submission"),
    }
    if status is not None and not status.lower().startswith("submitted"):
        more["error"] = status
    if not submitted and status is not None and _INTERRUPTED.search(status):
        attempt.add_finish(None, "interrupted", **more)
    elif not submitted and status is not None and status.lower() != "submitted" and not _AGENT_EXITS.search(status):
        # an exception of the agent, the model's API or the environment: which, the format does not tell
        attempt.add_finish(None, "infrastructure_error", **more)
    elif verdict is not None and verdict.resolved is not None:
        attempt.add_finish(None, "success" if verdict.resolved else "failure", **more)
    elif verdict is not None:
        attempt.add_finish(None, "evaluation_error", **{**more, "error": verdict.reason, "reason": None})
    elif not submitted and status is not None and status.lower() != "submitted":
        attempt.add_finish(None, "agent_error", **more)
    else:
        add_unjudged_finish(attempt, None, "no verdict of the SWE-bench harness yet", **more)
