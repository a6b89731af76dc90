"""Finding runs: what is in a folder says which format it is. Runs are looked for three levels deep."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from evalgauge.runlog import Problem
from evalgauge_exporter.sources import RunSource, openadapt, runlog

DEPTH = 3


class Format(NamedTuple):
    """A format of run folders: how it is recognised by the names in a folder, and what reads it."""

    recognised: Callable[[Path, frozenset[str]], bool]
    source: Callable[[Path], RunSource]


FORMATS: tuple[Format, ...] = (
    # a folder that holds both a run log and another format's files is one run, and the log is what is read
    Format(runlog.recognised, runlog.RunLogSource),
    Format(openadapt.recognised_pool, openadapt.OpenAdaptPool),
    Format(openadapt.recognised, openadapt.OpenAdaptSource),
)


class Found(NamedTuple):
    """A run that was found, and its name within the served folder."""

    root: Path
    folder: Path
    source: RunSource

    @property
    def path_id(self) -> str:
        """The run's id where its format has none: its path below the served folder, the parts joined by dots."""
        relative = self.folder.relative_to(self.root).parts
        return ".".join(relative) if relative else self.folder.absolute().name


class Discovery:
    """Looks for runs below the served folders, again and again; a run that is known costs nothing."""

    def __init__(self, roots: list[Path]) -> None:
        self._roots = roots
        self._known: set[Path] = set()
        self._complained: set[Path] = set()

    def forget(self, folder: Path) -> None:
        """A run is gone: should its folder come back, it is new."""
        self._known.discard(folder)

    def look(self) -> tuple[list[Found], list[Problem]]:
        """The runs that were not there at the last look, and the folders that can't be read."""
        found: list[Found] = []
        problems: list[Problem] = []
        for root in self._roots:
            for folder, source in self._walk(root, 0, problems):
                self._known.add(folder)
                found.append(Found(root, folder, source))
        return found, problems

    def _walk(self, folder: Path, depth: int, problems: list[Problem]) -> Iterator[tuple[Path, RunSource]]:
        if folder in self._known:
            return
        names: set[str] = set()
        below: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    names.add(entry.name)
                    if entry.is_dir() and not entry.name.startswith("."):
                        below.append(entry.name)
        except OSError as error:
            if folder not in self._complained:
                self._complained.add(folder)
                problems.append(Problem("unreadable", f"{folder}: {error.strerror or error}"))
            return
        frozen = frozenset(names)
        for form in FORMATS:
            if form.recognised(folder, frozen):
                yield folder, form.source(folder)
                return
        if depth < DEPTH:
            for name in sorted(below):
                yield from self._walk(folder / name, depth + 1, problems)


def run_names(found: list[Found], own_ids: list[str | None] | None = None) -> list[str]:
    """The run ids of these runs: what each states itself, else its path; those that share one also say where they lie.

    ``own_ids``: what they state, where that is known better than by their sources.

    A shared id becomes ``<id>@<results folder>``, with as much of the folders' paths as tells them apart.
    """
    stated = own_ids if own_ids is not None else [run.source.own_id for run in found]
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
    return ".".join(part.strip("/\\:") for part in tail if part.strip("/\\:"))
