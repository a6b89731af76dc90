"""Finding runs: what is in a folder says which format it is. Runs are looked for three levels deep.

A level that holds nothing but folders does not count as one (``<results>/<action space>/<observation>/<model>``), up to
``DEEPEST``. A run has a place: its folder; the file that it is (an Inspect log); or, where one folder holds several
runs, the folder with the name of one of them below it.
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
from evalgauge_exporter.sources import agentlab, mobileworld, runlog
from evalgauge_exporter.sources.atif import source as atif
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.inspect import log as inspect_log
from evalgauge_exporter.sources.openadapt import files as openadapt_files
from evalgauge_exporter.sources.openadapt import jsonl as openadapt_jsonl
from evalgauge_exporter.sources.openadapt import models as openadapt_models
from evalgauge_exporter.sources.openadapt import pool as openadapt_pool
from evalgauge_exporter.sources.openadapt import run_folder as openadapt
from evalgauge_exporter.sources.openadapt import with_log as openadapt_log
from evalgauge_exporter.sources.osworld import osworld, waa
from evalgauge_exporter.sources.parsing import is_file, is_folder, sanitize_id

log = logging.getLogger("evalgauge.exporter")

DEPTH = 3
DEEPEST = 7


def single_run(recognised: Callable[[Path, frozenset[str]], bool]) -> Callable[[Path, frozenset[str]], list[Path]]:
    """Of a format whose folders each hold one run."""
    return lambda folder, names: [folder] if recognised(folder, names) else []


class Format(NamedTuple):
    """A format of run folders: which runs a folder with entries of these names holds, and what reads one."""

    discover_runs: Callable[[Path, frozenset[str]], list[Path]]
    source: Callable[..., RunSource]
    scored: bool = True
    """Whether the source takes ``success_threshold``."""


class FileFormat(NamedTuple):
    """A format of runs that are a file each."""

    suffix: str
    matches: Callable[[Path], bool]
    source: Callable[..., RunSource]
    scored: bool = True


FORMATS: tuple[Format, ...] = (
    # a folder that holds both a run log and OpenAdapt's files is one run, and the log is what is read first
    Format(single_run(runlog.matches), openadapt_log.FilledRunLogSource, scored=False),
    Format(single_run(openadapt_files.matches_pool), openadapt_pool.OpenAdaptPool, scored=False),
    Format(single_run(openadapt_files.matches), openadapt.OpenAdaptSource, scored=False),
    Format(openadapt_models.discover_runs, openadapt_models.OpenAdaptModelSource),
    Format(atif.discover_runs, atif.AtifSource),
    Format(agentlab.discover_runs, agentlab.AgentLabSource),
    Format(single_run(mobileworld.matches), mobileworld.MobileWorldSource),
    Format(single_run(waa.matches), waa.WaaSource),
    Format(single_run(osworld.matches), osworld.OSWorldSource),
)
FILES: tuple[FileFormat, ...] = (
    FileFormat(".eval", inspect_log.matches_file, inspect_log.InspectLogSource),
    FileFormat(".jsonl", openadapt_jsonl.matches_file, openadapt_jsonl.OpenAdaptJsonlSource, scored=False),
)


class Found(NamedTuple):
    """A run that was found, and its name within the served folder."""

    root: Path
    folder: Path
    """The run's place; where its screenshots are says ``source.folder``."""
    source: RunSource
    make: Callable[[Path], RunSource]

    @property
    def path_id(self) -> str:
        """The run's id where its format has none: its path below the served folder, the parts joined by dots."""
        relative = self.folder.relative_to(self.root)
        if any(self.folder.name.endswith(form.suffix) for form in FILES) and self.folder.is_file():
            relative = relative.with_name(relative.stem)
        return sanitize_id(".".join(relative.parts) if relative.parts else self.folder.absolute().name)

    def fresh(self) -> RunSource:
        """A source of its own, which reads the run from its beginning."""
        return self.make(self.folder)


class _Place(NamedTuple):
    """A folder that is looked at."""

    root: Path
    folder: Path
    real: str
    """Where it really is: links may lead to one folder in several ways, or in a circle."""
    depth: int
    level: int


class Discovery:
    """Looks for runs below the served folders, again and again; a run that is known costs nothing.

    A folder that is reached in several ways (a link ``latest``, a folder that is served beside its parent) is looked
    at once, by its own path where that is below a served folder.
    """

    def __init__(self, roots: list[Path], success_threshold: float = 1.0) -> None:
        self._roots = roots
        self._threshold = success_threshold
        self._known: set[Path] = set()
        self._whole: set[Path] = set()
        """The folders that are a run: nothing is looked for in them."""
        self._complained: set[Path] = set()
        self._problems: list[Problem] = []
        self._visited: set[str] = set()
        self._not_entered: set[str] = set()
        """The visited ones that lie too deep for what is below them; another way there may be shorter."""
        self._links: list[_Place] = []

    def forget(self, folder: Path) -> None:
        """A run is gone: should its folder come back, it is new."""
        self._known.discard(folder)
        self._whole.discard(folder)

    def scan(self) -> tuple[list[Found], list[Problem]]:
        """The runs that were not there at the last look, and the folders that can't be read."""
        found: list[Found] = []
        self._problems, self._visited, self._not_entered, self._links = [], set(), set(), []
        starts = [_Place(root, root, os.path.realpath(root), 0, 0) for root in self._roots]
        for places in (starts, self._links):  # a link's folder may hold links, which come to the list meanwhile
            for start in places:
                for place, make in self._walk(start):
                    if place not in self._known:
                        self._known.add(place)
                        found.append(Found(start.root, place, make(place), make))
        return found, self._problems

    def _walk(self, place: _Place) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        folder = place.folder
        again = place.real in self._visited
        if again and place.real not in self._not_entered:
            return
        self._visited.add(place.real)
        if folder in self._whole:
            return
        names: set[str] = set()
        below: dict[str, bool] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_folder(entry):
                        names.add(entry.name)
                        if not entry.name.startswith("."):
                            below[entry.name] = entry.is_symlink()
                    elif is_file(entry):
                        names.add(entry.name)
        except OSError as error:
            self._complain(folder, "unreadable", error.strerror or str(error))
            return
        frozen = frozenset(names)
        for form in () if again else FORMATS:
            if places := self._places(form, folder, frozen):
                if places == [folder]:
                    self._whole.add(folder)
                make = partial(form.source, success_threshold=self._threshold) if form.scored else form.source
                yield from ((found, make) for found in places)
                return
        if not again:
            yield from self._files(folder, sorted(names - below.keys()))
        nothing_else = sum(not name.startswith(".") for name in names) == len(below)
        if (place.depth < DEPTH or nothing_else) and place.level < DEEPEST:
            self._not_entered.discard(place.real)
            yield from self._walk_below(place, below, place.depth + (not nothing_else))
        else:
            self._not_entered.add(place.real)

    def _walk_below(
        self, place: _Place, below: dict[str, bool], depth: int
    ) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        """Look at the folders in one; ``below`` says of each whether it is a link."""
        for name in sorted(below):
            path = place.folder / name
            if below[name]:
                self._links.append(_Place(place.root, path, os.path.realpath(path), depth, place.level + 1))
            else:
                real = os.path.join(place.real, name)
                yield from self._walk(_Place(place.root, path, real, depth, place.level + 1))

    def _places(self, form: Format, folder: Path, names: frozenset[str]) -> list[Path]:
        try:
            return form.discover_runs(folder, names)
        except Exception as error:  # what a stranger's files make of one format must not hide all other runs
            log.debug("%s", folder, exc_info=True)
            self._complain(folder, "defect", f"{type(error).__name__}: {error}")
            return []

    def _complain(self, folder: Path, reason: str, detail: str) -> None:
        if folder not in self._complained:
            self._complained.add(folder)
            self._problems.append(Problem(reason, f"{folder}: {detail}"))

    def _files(self, folder: Path, names: list[str]) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        for name in names:
            for form in FILES:
                if not name.endswith(form.suffix):
                    continue
                place = folder / name
                if place not in self._known and form.matches(place):
                    make = partial(form.source, success_threshold=self._threshold) if form.scored else form.source
                    yield place, make


def run_names(found: list[Found], own_ids: list[str | None] | None = None) -> list[str]:
    """The run ids of these runs: what each states itself, else its path; those that share one also say where they lie.

    ``own_ids``: what they state, where that is known better than by their sources.

    A shared id becomes ``<id>@<results folder>``, with as much of the folders' paths as tells them apart.
    """
    stated = own_ids if own_ids is not None else [run.source.declared_run_id for run in found]
    plain = [own or run.path_id for own, run in zip(stated, found, strict=True)]
    names = list(plain)
    for name in (name for name, count in Counter(plain).items() if count > 1):
        same = [index for index, other in enumerate(plain) if other == name]
        roots = [found[index].root.absolute() for index in same]
        places = roots if len(set(roots)) == len(roots) else [found[index].folder.absolute() for index in same]
        for index, place in zip(same, places, strict=True):
            others = [other for other in places if other != place]
            names[index] = f"{name}@{_telling_apart(place, others)}"
    return names


def _telling_apart(place: Path, others: list[Path]) -> str:
    for length in range(1, len(place.parts) + 1):
        tail = place.parts[-length:]
        if all(other.parts[-length:] != tail for other in others):
            break
    return sanitize_id(".".join(part.strip("/\\:") for part in tail if part.strip("/\\:")))
