"""Reports of openadapt-flow, which replays recorded workflows: ``<run>/<replay>/{report.json, steps/*.png}``.

Traps:

- A report is one replay of one workflow. The replays in one folder are the tasks of one run: each may have other
  parameters. A folder with a report of its own is a run with one task.
- ``success`` states whether the replay did what the workflow asks; there is no score. Newer releases also state
  ``transaction_outcome``, where ``FAILED_PLATFORM`` is the tool's own failure and ``CANCELED`` no outcome at all.
- Steps have no times but how long they took; ``before_png`` is what was on the screen before the step.
- ``model_calls`` is a number, their cost an estimate, their tokens are unknown. Mostly there are none.
- A report appears when its replay has ended; until then nothing in the folder tells of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import Outcome
from evalgauge.usage import UNKNOWN
from evalgauge.values import parse_count, parse_float, parse_id, parse_non_negative, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import (
    get_mtime,
    is_regular_file,
    list_names,
    read_head,
    read_object,
    resolve_relative,
)
from evalgauge_exporter.sources.sampling import Vote, most_fit

REPORT = "report.json"
_HEAD = re.compile(rb'\A\s*\{\s*"workflow_name"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"started_at"\s*:')
_INTENT = re.compile(r"\s*([A-Za-z_]{1,40})")


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is one run: it has a report, or most of the folders in it do."""
    if REPORT in names and _is_report(folder / REPORT):
        return True
    return most_fit(folder, _vote) is True


def _vote(below: Path) -> Vote:
    return _is_report(below / REPORT) if list_names(below) else None


def _is_report(path: Path) -> bool:
    return _HEAD.match(read_head(path, 1 << 13)) is not None


class OpenAdaptFlowSource(FolderSource):
    """Reads the replays in one folder."""

    source = "openadapt_flow"
    task_files = (REPORT,)

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The folder of a replay, or the one of several.
            success_threshold: Not used: the format states what is a success.
        """
        super().__init__(place, success_threshold=success_threshold)
        self._single = is_regular_file(place / REPORT)
        self.levels = 0 if self._single else 1
        self._workflows: dict[str, None] = {}

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each replay by the name of its folder."""
        if self._single:
            return {"": TaskFiles(self.folder.absolute().name, self.folder)}
        return {
            name: self.known_tasks.get(name) or TaskFiles(name, self.folder / name)
            for name in self.list_subfolders(self.folder)
            if is_regular_file(self.folder / name / REPORT)
        }

    def read_info(self) -> RunInfo:
        """Return the workflow, where it is one for all replays."""
        one = next(iter(self._workflows), None) if len(self._workflows) == 1 else None
        return RunInfo(one or "openadapt-flow", None, "openadapt-flow")

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the steps and the end that a report states."""
        report = read_object(files.folder / REPORT, self.report)
        if report is None or "workflow_name" not in report:
            return None
        workflow = parse_id(report.get("workflow_name"))
        if workflow is not None:
            self._workflows[workflow] = None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        start = parse_timestamp(report.get("started_at"))
        start = start if start is not None else get_mtime(files.folder / REPORT) or 0.0
        attempt.add_start(start, workflow)
        results = report.get("results")
        steps = [result for result in (results if isinstance(results, list) else ()) if isinstance(result, dict)]
        at = start
        below = self.relative_path(files.folder)
        for step in steps:
            seconds = (parse_non_negative(step.get("elapsed_ms")) or 0.0) / 1000
            at += seconds
            attempt.add_step(
                at,
                _parse_action(step),
                screenshot=self._screenshot(below, step.get("before_png")),
                env_seconds=seconds if step.get("elapsed_ms") is not None else None,
            )
        calls, cost = parse_count(report.get("model_calls")) or 0, report.get("est_model_cost_usd")
        if calls:
            attempt.add_call(at, None, None, UNKNOWN, requests=calls, cost_usd=cost)
        total = parse_non_negative(report.get("total_ms"))
        end = start + total / 1000 if total is not None else at
        attempt.add_finish(end, _outcome_of(report), steps=len(steps), error=_error_of(report, steps))
        return attempt

    def _screenshot(self, below: str, name: object) -> str | None:
        path = resolve_relative(self.folder, below, name)
        return path if path is not None and is_regular_file(self.folder / path) else None


def _parse_action(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step's action: its intent, such as ``click 'Password'``, and where on the screen it was done."""
    intent = step.get("intent")
    intent = intent if isinstance(intent, str) else ""
    word = _INTENT.match(intent)
    action: dict[str, Any] = {"type": word[1].lower() if word else "unknown", "intent": intent}
    resolution = step.get("resolution")
    if isinstance(resolution, dict):
        point = resolution.get("point")
        if isinstance(point, list) and len(point) == 2:
            x, y = (parse_float(value) for value in point)
            if x is not None and y is not None:
                action |= {"x": x, "y": y}
        if (rung := parse_id(resolution.get("rung"))) is not None:
            action["rung"] = rung
    return action


def _outcome_of(report: Mapping[str, Any]) -> Outcome:
    if report.get("success") is True:
        return "success"
    if report.get("canceled") is True or report.get("transaction_outcome") == "CANCELED":
        return "interrupted"
    return "infrastructure_error" if report.get("transaction_outcome") == "FAILED_PLATFORM" else "failure"


def _error_of(report: Mapping[str, Any], steps: list[dict[str, Any]]) -> object:
    if report.get("success") is True:
        return None
    failed = next((step for step in steps if step.get("error")), None)
    return None if failed is None else f"{failed.get('step_id')}: {failed['error']}"
