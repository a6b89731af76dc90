"""Pool trees of openadapt-evals: ``<results>/<exp>/<exp>_<worker>/…``, one run with a folder for each worker."""

from __future__ import annotations

from pathlib import Path

from evalgauge.events import RunFinished
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.openadapt.files import matches, names_in
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource


class OpenAdaptPool:
    """A pool tree: one run, a folder for each worker."""

    source = "openadapt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._members: dict[str, OpenAdaptSource] = {}
        self._seq = 0
        self._over = False
        self._latest = 0.0

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its folder."""
        return None

    def fingerprint(self) -> str | None:
        """The signatures of all workers' parts; None while one of them goes on."""
        prefix = f"{self.folder.name}_"
        parts = [
            (name, OpenAdaptSource(self.folder / name).fingerprint())
            for name in sorted(names_in(self.folder))
            if name.startswith(prefix)
        ]
        if not parts or any(part is None for _, part in parts):
            return None
        return " ".join(f"{name}={part}" for name, part in parts)

    def watch_paths(self) -> list[Path]:
        """The tree's folder and what each worker's part watches; empty once all workers are done."""
        if self._over:
            return []
        return [self.folder, *(path for member in self._members.values() for path in member.watch_paths())]

    def screenshot(self, task_id: str, step_idx: int) -> str | None:
        """As of ``OpenAdaptSource``, of whichever worker has it."""
        shots = (member.screenshot(task_id, step_idx) for member in self._members.values())
        return next((shot for shot in shots if shot is not None), None)

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """What happened in the workers' folders since the last call."""
        reading = ReadResult()
        names = names_in(self.folder)
        if not names:
            reading.missing = not self.folder.is_dir()
            return reading
        prefix = f"{self.folder.name}_"
        for name in sorted(names):
            if (
                name not in self._members
                and name.startswith(prefix)
                and matches(self.folder / name, names_in(self.folder / name))
            ):
                self._members[name] = OpenAdaptSource(self.folder / name, worker=name.removeprefix(prefix))
        for member in self._members.values():
            part = member.read(full_scan=full_scan)
            if part.missing or part.restarted:
                reading.restarted = True
                return reading
            reading.events += part.events
            reading.problems += part.problems
        self._latest = max((event.ts for event in reading.events), default=self._latest)
        over = bool(self._members) and all(member.complete for member in self._members.values())
        if over and not self._over:
            self._seq += 1
            reading.events.append(RunFinished(self._latest, self._seq, "pool", "completed"))
        self._over = over
        return reading
