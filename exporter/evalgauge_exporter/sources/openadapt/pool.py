"""Pool trees of openadapt-evals: ``<results>/<exp>/<exp>_<worker>/…``, a run with a folder for each worker."""

from __future__ import annotations

from pathlib import Path

from evalgauge.events import RunFinished
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import matches
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.sources.parsing import is_directory, list_names


class OpenAdaptPool:
    """Reads a pool tree: one run with a folder for each worker."""

    source = "openadapt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._members: dict[str, OpenAdaptSource] = {}
        self._seq = 0
        self._finished = False
        self._latest = 0.0

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def fingerprint(self) -> str | None:
        """Return the fingerprints of all workers' parts; None while one of them is running."""
        prefix = f"{self.folder.name}_"
        parts = [
            (name, OpenAdaptSource(self.folder / name).fingerprint())
            for name in sorted(list_names(self.folder))
            if name.startswith(prefix)
        ]
        if not parts or any(part is None for _, part in parts):
            return None
        return " ".join(f"{name}={part}" for name, part in parts)

    def watch_paths(self) -> list[Path]:
        """Return the tree's folder and those of each worker's part; empty once all workers have finished."""
        if self._finished:
            return []
        return [self.folder, *(path for member in self._members.values() for path in member.watch_paths())]

    def screenshot(self, task_id: str, step_idx: int) -> str | None:
        """Return the path of the screenshot before a step, of whichever worker has it; None where none has."""
        shots = (member.screenshot(task_id, step_idx) for member in self._members.values())
        return next((shot for shot in shots if shot is not None), None)

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened in the workers' folders since the last call."""
        result = ReadResult()
        try:
            if not is_directory(self.folder):
                result.missing = True
                return result
            self._find_members()
        except OSError as error:
            result.note_unreadable(error, self.folder)
        for member in self._members.values():
            part = member.read(full_scan=full_scan)
            if part.missing or part.restarted:
                result.restarted = True
                return result
            result.events += part.events
            result.problems += part.problems
            result.unreadable = result.unreadable or part.unreadable
        self._latest = max((event.ts for event in result.events), default=self._latest)
        finished = bool(self._members) and all(member.complete for member in self._members.values())
        if finished and not self._finished:
            self._seq += 1
            result.events.append(RunFinished(ts=self._latest, seq=self._seq, writer="pool", status="completed"))
        self._finished = finished
        return result

    def _find_members(self) -> None:
        prefix = f"{self.folder.name}_"
        for name in sorted(list_names(self.folder) - self._members.keys()):
            if name.startswith(prefix) and matches(self.folder / name, list_names(self.folder / name)):
                self._members[name] = OpenAdaptSource(self.folder / name, worker=name.removeprefix(prefix))
