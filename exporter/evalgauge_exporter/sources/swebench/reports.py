"""Verdicts of the SWE-bench harness, wherever they lie around the predictions that they judge.

The harness writes ``<model>.<its run id>.json`` where it was called, which may be beside the run's folder or in it, and
``logs/run_evaluation/<its run id>/<model>/<instance>/report.json`` while it works. OpenHands calls the first
``output.report.json``, SWE-agent before 1.0 wrote ``results.json``. Traps:

- Results that were submitted to the leaderboard have their trajectories in ``trajs``, beside ``results/results.json``
  and ``logs/<instance>/report.json``. The first names what is resolved: all else that was attempted is not.
- A report in the parent folder may be about another run: it counts where its name begins with this run's model, and of
  several of one model the one whose run id is the run's folder, if there is such a one.
- Reports may disagree about an instance (judged twice, with other patches). Then nothing is known of it.
- ``error_ids`` are instances on which the harness itself failed: not judged, though they count as not resolved there.
- An empty patch is a verdict: not resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.parsing import (
    FileFingerprint,
    fingerprint,
    is_directory,
    list_folders,
    list_names,
    parse_json,
    read_bytes,
    read_head,
)

LOGS = "logs/run_evaluation"
SUBMITTED = "trajs"
_OTHERS = ""
"""The name under which the verdict on all other instances stands."""
_MAX_REPORT = 16 << 20
_MAX_CANDIDATES = 200
_KEYS = (b'"resolved_ids"', b'"resolved"')
_NO_REPORT = re.compile(r"\.traj\.json\Z|\Apreds\.json\Z|\Ametadata\.json\Z|\Aargs\.json\Z")


class Verdict(NamedTuple):
    """What the harness found about an instance: whether it is resolved, or why that is not known."""

    resolved: bool | None
    reason: str | None = None


class Reports:
    """The reports that concern one run; they are read again where they change."""

    def __init__(self, folder: Path) -> None:
        """Start with nothing read.

        Args:
            folder: The run's folder.
        """
        self._folder = folder
        self._read: dict[Path, tuple[FileFingerprint | None, Mapping[str, Verdict]]] = {}
        self._ranks: list[list[Mapping[str, Verdict]]] = []
        self._logs: list[Path] = []
        self._submitted: Mapping[str, Verdict] = {}
        self.paths: list[Path] = []
        """The files that were read."""

    def refresh(self, models: Iterable[str]) -> None:
        """Look for reports.

        Args:
            models: The names under which the run's predictions go.
        """
        names = {model.replace("/", "__") for model in models}
        parent = self._folder.absolute().parent
        own = [*_json_files(self._folder), *_json_files(self._folder / "results")]
        beside = [path for path in _json_files(parent) if any(path.name.startswith(f"{name}.") for name in names)]
        folder_name = self._folder.absolute().name
        beside = [path for path in beside if path.name.endswith(f".{folder_name}.json")] or beside
        self.paths, self._ranks = [], []
        for rank in (own, beside):
            found = [verdicts for path in rank if (verdicts := self._load(path))]
            self._ranks.append(found)
        self._logs = [
            path
            for base in (self._folder, parent)
            for each in _folders(base / LOGS)
            for name in sorted(names)
            if is_directory(path := each / name)
        ]
        self._logs.append(self._folder / "eval_outputs")
        if folder_name == SUBMITTED:
            self._logs.append(parent / "logs")
            self._submitted = self._load(parent / "results" / "results.json")

    def verdict(self, instance: str) -> Verdict | None:
        """Return the verdict on an instance; None where there is none yet."""
        for rank in self._ranks:
            if verdicts := {found[instance] for found in rank if instance in found}:
                return _agreed(verdicts)
        verdicts = set()
        for folder in self._logs:
            path = folder / instance / "report.json"
            if (found := self._load(path).get(instance)) is not None:
                verdicts.add(found)
        return _agreed(verdicts) if verdicts else self._submitted.get(instance, self._submitted.get(_OTHERS))

    def _load(self, path: Path) -> Mapping[str, Verdict]:
        now = fingerprint(path)
        before = self._read.get(path)
        if before is None or before[0] != now:
            before = self._read[path] = (now, {} if now is None else _parse_report(path))
        if before[1]:
            self.paths.append(path)
        return before[1]


def _agreed(verdicts: set[Verdict]) -> Verdict:
    known = {verdict for verdict in verdicts if verdict.resolved is not None} or verdicts
    if len({verdict.resolved for verdict in known}) > 1:
        return Verdict(None, "reports of the SWE-bench harness disagree about it")
    return min(known, key=lambda verdict: verdict.reason or "")


def _json_files(folder: Path) -> list[Path]:
    names = sorted(name for name in list_names(folder) if name.endswith(".json") and not _NO_REPORT.search(name))
    return [folder / name for name in names[:_MAX_CANDIDATES]]


def _folders(folder: Path) -> list[Path]:
    return [folder / name for name in list_folders(folder)[:_MAX_CANDIDATES]]


def _parse_report(path: Path) -> dict[str, Verdict]:
    """Return the verdicts in a file; none where it is no report."""
    if not read_head(path, 64).lstrip().startswith(b"{"):
        return {}
    data = read_bytes(path, lambda *_: None, _MAX_REPORT)
    if data is None or not any(key in data for key in _KEYS):
        return {}
    try:
        content = parse_json(data)
    except ValueError:
        return {}  # it is being written
    if not isinstance(content, dict):
        return {}
    if "resolved_ids" in content:
        return _parse_summary(content)
    if isinstance(content.get("resolved"), list) and ("generated" in content or "no_generation" in content):
        return _parse_old_summary(content)
    return {
        instance: Verdict(entry["resolved"], _tests_of(entry))
        for instance, entry in content.items()
        if isinstance(entry, dict) and isinstance(entry.get("resolved"), bool)
    }


def _ids(content: Mapping[str, Any], key: str) -> list[str]:
    ids = content.get(key)
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []


def _parse_summary(content: Mapping[str, Any]) -> dict[str, Verdict]:
    """Return the verdicts of a report of the harness (``swebench.harness.reporting``, schema versions 1 and 2)."""
    found = {instance: Verdict(False) for instance in _ids(content, "unresolved_ids")}
    found |= {instance: Verdict(False, "empty patch") for instance in _ids(content, "empty_patch_ids")}
    found |= {instance: Verdict(None, "the SWE-bench harness failed on it") for instance in _ids(content, "error_ids")}
    return found | {instance: Verdict(True) for instance in _ids(content, "resolved_ids")}


def _parse_old_summary(content: Mapping[str, Any]) -> dict[str, Verdict]:
    """Return the verdicts of a report as SWE-agent before 1.0 made it."""
    found = {_OTHERS: Verdict(False)}
    found |= {instance: Verdict(False, "empty patch") for instance in _ids(content, "no_generation")}
    found |= {
        instance: Verdict(None, "the SWE-bench harness has no log of it") for instance in _ids(content, "no_logs")
    }
    found |= {instance: Verdict(False) for key in ("generated", "applied") for instance in _ids(content, key)}
    return found | {instance: Verdict(True) for instance in _ids(content, "resolved")}


def _tests_of(entry: Mapping[str, Any]) -> str | None:
    """Return what the tests of an instance gave, in a sentence."""
    parts: list[str] = []
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        tests = as_object(as_object(entry.get("tests_status")).get(name))
        failed, passed = tests.get("failure"), tests.get("success")
        if isinstance(failed, list) and isinstance(passed, list) and failed:
            parts.append(f"{len(failed)} of {len(failed) + len(passed)} {name} tests failed")
    return "; ".join(parts) or None
