"""Discovery of runs: the content of a folder shows which format it is. Runs are searched for three levels deep.

A level that holds nothing but folders does not count (``<results>/<action space>/<observation>/<model>``), up to
``MAX_LEVELS``. The place of a run is its folder; the file that it is (an Inspect log); or, where one folder holds
several runs, the folder with the name of one of them below it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evalgauge.runlog import Problem
from evalgauge.values import sanitize_id
from evalgauge_exporter.sources import (
    agentlab,
    cube,
    mobileworld,
    openhands,
    plugins,
    runlog,
    tau2_bench,
    tau_bench,
    terminal_bench,
)
from evalgauge_exporter.sources.atif import source as atif
from evalgauge_exporter.sources.base import FileFormat, Format, RunSource, match_single_run
from evalgauge_exporter.sources.inspect import json_log as inspect_json_log
from evalgauge_exporter.sources.inspect import log as inspect_log
from evalgauge_exporter.sources.openadapt import files as openadapt_files
from evalgauge_exporter.sources.openadapt import flow as openadapt_flow
from evalgauge_exporter.sources.openadapt import jsonl as openadapt_jsonl
from evalgauge_exporter.sources.openadapt import models as openadapt_models
from evalgauge_exporter.sources.openadapt import pool as openadapt_pool
from evalgauge_exporter.sources.openadapt import run_folder as openadapt
from evalgauge_exporter.sources.openadapt import with_log as openadapt_log
from evalgauge_exporter.sources.osworld import osworld, waa
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, is_file, is_folder
from evalgauge_exporter.sources.swebench import mini_swe_agent, swe_agent

log = logging.getLogger("evalgauge.exporter")

MAX_DEPTH = 3
MAX_LEVELS = 7

FORMATS: tuple[Format, ...] = (
    # a folder that holds both a run log and OpenAdapt's files is one run, and the log takes precedence
    Format(match_single_run(runlog.matches), openadapt_log.FilledRunLogSource, scored=False),
    Format(match_single_run(openadapt_files.matches_pool), openadapt_pool.OpenAdaptPool, scored=False),
    Format(match_single_run(openadapt_files.matches), openadapt.OpenAdaptSource, scored=False),
    Format(openadapt_models.discover_runs, openadapt_models.OpenAdaptModelSource),
    Format(atif.discover_runs, atif.AtifSource),
    Format(agentlab.discover_runs, agentlab.AgentLabSource),
    Format(match_single_run(mobileworld.matches), mobileworld.MobileWorldSource),
    Format(match_single_run(waa.matches), waa.WaaSource),
    Format(match_single_run(osworld.matches), osworld.OSWorldSource),
    Format(match_single_run(terminal_bench.matches), terminal_bench.TerminalBenchSource),
    Format(match_single_run(tau2_bench.matches), tau2_bench.open_run),
    Format(match_single_run(cube.matches), cube.CubeSource),
    Format(match_single_run(mini_swe_agent.matches), mini_swe_agent.MiniSweAgentSource),
    Format(match_single_run(swe_agent.matches), swe_agent.SweAgentSource),
    Format(match_single_run(openadapt_flow.matches), openadapt_flow.OpenAdaptFlowSource),
)
FILES: tuple[FileFormat, ...] = (
    FileFormat(".eval", inspect_log.matches_file, inspect_log.InspectLogSource),
    FileFormat(".jsonl", openadapt_jsonl.matches_file, openadapt_jsonl.OpenAdaptJsonlSource, scored=False),
    FileFormat(".jsonl", openhands.matches_file, openhands.OpenHandsSource),
    FileFormat(".json", inspect_json_log.matches_file, inspect_json_log.InspectJsonLogSource),
    FileFormat(".json", tau_bench.matches_file, tau_bench.TauBenchSource),
    FileFormat(".json", tau2_bench.matches_file, tau2_bench.open_run),
)


class FoundRun(NamedTuple):
    """A run that was found, and the served folder below which it lies."""

    root: Path
    folder: Path
    """The run's place; its screenshots are relative to ``source.folder``."""
    source: RunSource
    make: Callable[[Path], RunSource]

    @property
    def path_id(self) -> str:
        """The run's id where its format states none: its path below the served folder, the parts joined by dots."""
        relative = self.folder.relative_to(self.root)
        if self.folder.is_file():
            relative = relative.with_name(relative.stem)
        return sanitize_id(".".join(relative.parts) if relative.parts else self.folder.absolute().name)

    def open_source(self) -> RunSource:
        """Return a new source, which reads the run from its beginning."""
        return self.make(self.folder)


class _Place(NamedTuple):
    """A folder that is scanned."""

    root: Path
    folder: Path
    real: str
    """Its path without links: links may lead to one folder in several ways, or in a circle."""
    depth: int
    level: int


class Discovery:
    """Finds runs below the served folders, again and again; a run that is known costs nothing.

    A folder that is reached in several ways (a link ``latest``, a folder that is served beside its parent) is scanned
    once, by its own path where that is below a served folder.
    """

    def __init__(self, roots: list[Path], success_threshold: float = 1.0, *, follow_links: bool = True) -> None:
        """Start with nothing known.

        Args:
            roots: The served folders, or files that are a run each.
            success_threshold: The least score of a success, for the sources of formats that give scores only.
            follow_links: Whether links that lead out of the served folders are followed.
        """
        self._roots = roots
        self._real_roots = None if follow_links else [Path(os.path.realpath(root)) for root in roots]
        self._threshold = success_threshold
        self._known: set[Path] = set()
        self._run_folders: set[Path] = set()
        """The folders that are a run: nothing is searched for in them."""
        self._rejected: dict[Path, FileFingerprint | None] = {}
        """Files that are no run, as long as they do not change."""
        added, self._problems = plugins.load_formats()
        self._formats = (*FORMATS, *(form for form in added if isinstance(form, Format)))
        self._files = (*FILES, *(form for form in added if isinstance(form, FileFormat)))
        self._reported: set[Path] = set()
        self._visited: set[str] = set()
        self._depth_limited: set[str] = set()
        """The visited ones whose subfolders are too deep; another way to them may be shorter."""
        self._links: list[_Place] = []

    def forget(self, folder: Path) -> None:
        """Forget a run that no longer exists: should its folder come back, it is new."""
        self._known.discard(folder)
        self._run_folders.discard(folder)

    def scan(self) -> tuple[list[FoundRun], list[Problem]]:
        """Return the runs that were not there at the last scan, and problems such as folders that can't be read."""
        found: list[FoundRun] = []
        self._visited, self._depth_limited, self._links = set(), set(), []
        roots = [_Place(root, root, os.path.realpath(root), 0, 0) for root in self._roots]
        for places in (roots, self._links):  # a folder behind a link may add links to the list meanwhile
            for start in places:
                root, walked = start.root, self._walk(start)
                if root.is_file():  # a run can be a file, such as an Inspect log
                    root, walked = root.parent, self._match_files(root.parent, [root.name])
                for place, make in walked:
                    if place not in self._known:
                        self._known.add(place)
                        found.append(FoundRun(root, place, make(place), make))
        problems, self._problems = self._problems, []
        return found, problems

    def _walk(self, place: _Place) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        folder = place.folder
        again = place.real in self._visited
        if again and place.real not in self._depth_limited:
            return
        self._visited.add(place.real)
        if folder in self._run_folders:
            return
        names: set[str] = set()
        below: dict[str, bool] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self._may_follow(entry.path):
                        continue
                    if is_folder(entry):
                        names.add(entry.name)
                        if not entry.name.startswith("."):
                            below[entry.name] = entry.is_symlink()
                    elif is_file(entry):
                        names.add(entry.name)
        except OSError as error:
            self._report_once(folder, "unreadable", error.strerror or str(error))
            return
        frozen = frozenset(names)
        for form in () if again else self._formats:
            if places := self._match_folder(form, folder, frozen):
                if places == [folder]:
                    self._run_folders.add(folder)
                make = self._bind(form)
                yield from ((found, make) for found in places)
                return
        if not again:
            yield from self._match_files(folder, sorted(names - below.keys()))
        nothing_else = sum(not name.startswith(".") for name in names) == len(below)
        if (place.depth < MAX_DEPTH or nothing_else) and place.level < MAX_LEVELS:
            self._depth_limited.discard(place.real)
            yield from self._walk_below(place, below, place.depth + (not nothing_else))
        else:
            self._depth_limited.add(place.real)

    def _may_follow(self, link: str) -> bool:
        if self._real_roots is None:
            return True
        target = Path(os.path.realpath(link))
        if any(target.is_relative_to(root) for root in self._real_roots):
            return True
        self._report_once(Path(link), "link", "leads out of the served folders; follow_links = true allows it")
        return False

    def _walk_below(
        self, place: _Place, below: dict[str, bool], depth: int
    ) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        """Scan the folders in one; ``below`` states of each whether it is a link."""
        for name in sorted(below):
            path = place.folder / name
            if below[name]:
                self._links.append(_Place(place.root, path, os.path.realpath(path), depth, place.level + 1))
            else:
                real = os.path.join(place.real, name)
                yield from self._walk(_Place(place.root, path, real, depth, place.level + 1))

    def _match_folder(self, form: Format, folder: Path, names: frozenset[str]) -> list[Path]:
        try:
            return form.discover_runs(folder, names)
        except Exception as error:  # what foreign files make a format raise must not hide all other runs
            log.debug("%s", folder, exc_info=True)
            self._report_once(folder, "defect", f"{type(error).__name__}: {error}")
            return []

    def _report_once(self, folder: Path, reason: str, detail: str) -> None:
        if folder not in self._reported:
            self._reported.add(folder)
            self._problems.append(Problem(reason, f"{folder}: {detail}"))

    def _match_files(self, folder: Path, names: list[str]) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        for name in names:
            forms = [form for form in self._files if name.endswith(form.suffix)]
            place = folder / name
            if not forms or place in self._known:
                continue
            now = fingerprint(place)
            if place in self._rejected and self._rejected[place] == now:
                continue
            form = next((form for form in forms if self._matches_file(form, place)), None)
            if form is None:
                self._rejected[place] = now
                continue
            self._rejected.pop(place, None)
            yield place, self._bind(form)

    def _matches_file(self, form: FileFormat, place: Path) -> bool:
        try:
            return form.matches(place)
        except Exception as error:  # as in _match_folder
            log.debug("%s", place, exc_info=True)
            self._report_once(place, "defect", f"{type(error).__name__}: {error}")
            return False

    def _bind(self, form: Format | FileFormat) -> Callable[[Path], RunSource]:
        """Return what makes the source of a run, given its place."""
        return partial(form.source, success_threshold=self._threshold) if form.scored else form.source


def name_runs(found: list[FoundRun], own_ids: list[str | None] | None = None) -> list[str]:
    """Return the ids of runs: what each states, else its path; shared ids are made distinct.

    A shared id becomes ``<id>@<results folder>``, with as much of the folders' paths as distinguishes them.

    Args:
        found: The runs.
        own_ids: The ids that they state, where these are known better than by their sources.
    """
    stated = own_ids if own_ids is not None else [run.source.declared_run_id for run in found]
    ids = [declared or run.path_id for declared, run in zip(stated, found, strict=True)]
    names = list(ids)
    for name in (name for name, count in Counter(ids).items() if count > 1):
        same = [index for index, other in enumerate(ids) if other == name]
        roots = [found[index].root.absolute() for index in same]
        places = roots if len(set(roots)) == len(roots) else [found[index].folder.absolute() for index in same]
        for index, place in zip(same, places, strict=True):
            others = [other for other in places if other != place]
            names[index] = f"{name}@{_distinguish(place, others)}"
    return names


def _distinguish(place: Path, others: list[Path]) -> str:
    for length in range(1, len(place.parts) + 1):
        tail = place.parts[-length:]
        if all(other.parts[-length:] != tail for other in others):
            break
    return sanitize_id(".".join(part.strip("/\\:") for part in tail if part.strip("/\\:")))
