"""Formats that other packages add, by the entry-point group ``evalgauge.sources`` (docs/sources.md).

An entry point names a ``Format``, a ``FileFormat`` or a list of them. What such a package does wrong is a problem of
its own runs: it is reported, and all other runs are found and read as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from evalgauge.runlog import Problem
from evalgauge_exporter.sources.base import FileFormat, Format, ReadResult, RunSource
from evalgauge_exporter.sources.parsing import stat_path

log = logging.getLogger("evalgauge.exporter")

GROUP = "evalgauge.sources"
Result = TypeVar("Result")


def load_formats() -> tuple[list[Format | FileFormat], list[Problem]]:
    """Return the formats of all packages that are installed, and the problems of those that can't be loaded."""
    formats: list[Format | FileFormat] = []
    problems: list[Problem] = []
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    for _, point in sorted(points.items()):
        try:
            formats += _load(point)
        except Exception as error:  # whatever a package does when it is imported, evalgauge goes on without it
            log.debug("%s", point, exc_info=True)
            detail = f"the plug-in {point.name} ({point.value}) can't be used: {type(error).__name__}: {error}"
            problems.append(Problem("plugin", detail))
    return formats, problems


def _load(point: EntryPoint) -> Iterator[Format | FileFormat]:
    loaded = point.load()
    single = isinstance(loaded, Format | FileFormat) or not isinstance(loaded, Iterable)
    for form in [loaded] if single else list(loaded):
        if not isinstance(form, Format | FileFormat):
            raise TypeError(f"it has to be a Format or a FileFormat, or a list of them, not {type(form).__name__}")
        suffix: object = form.suffix if isinstance(form, FileFormat) else "."
        if not isinstance(suffix, str) or not suffix:
            raise TypeError("the suffix of a FileFormat is a text such as '.jsonl'")
        yield form._replace(source=partial(_make_guarded, form.source, point.name))


def _make_guarded(make: Callable[..., RunSource], name: str, place: Path, **options: Any) -> RunSource:
    try:
        source = make(place, **options)
    except Exception as error:  # as in load_formats
        log.debug("%s", place, exc_info=True)
        return GuardedSource(None, name, place, f"{type(error).__name__}: {error}")
    return GuardedImageSource(source, name, place) if hasattr(source, "image") else GuardedSource(source, name, place)


class GuardedSource:
    """A source of a plug-in: what it raises is a problem of its run and of nothing else."""

    def __init__(self, source: RunSource | None, name: str, place: Path, error: str | None = None) -> None:
        """Guard a source.

        Args:
            source: The source; None where it could not be made.
            name: The name of the entry point.
            place: The run's place.
            error: Why there is no source.
        """
        self._inner = source
        self._name = name
        self._place = place
        self._error = error
        stated = getattr(source, "source", None)
        self.source: str = stated if isinstance(stated, str) and stated else name
        folder = getattr(source, "folder", None)
        self.folder: Path = folder if isinstance(folder, Path) else place

    @property
    def declared_run_id(self) -> str | None:
        """The run id that the run itself states."""
        return self._call(lambda source: source.declared_run_id, None)

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened since the last call; an exception is a problem, reported once."""
        empty = ReadResult(missing=stat_path(self._place) is None)
        answer: object = self._call(lambda source: source.read(full_scan=full_scan), empty)
        result = answer if isinstance(answer, ReadResult) else empty
        if result is not answer:
            self._error = f"read returned {type(answer).__name__}, not a ReadResult"
        if self._error is not None:
            result.problems.append(Problem("defect", f"{self._place}: plug-in {self._name}: {self._error}"))
            self._error = None
        return result

    def fingerprint(self) -> str | None:
        """Return what changes when any file of the run does."""
        return self._call(lambda source: source.fingerprint(), None)

    def watch_paths(self) -> list[Path]:
        """Return the folders in which files change while the run is running."""
        return self._call(lambda source: list(source.watch_paths()), [])

    def _call(self, ask: Callable[[RunSource], Result], default: Result) -> Result:
        if self._inner is None:
            return default
        try:
            return ask(self._inner)
        except Exception as error:  # as in load_formats
            log.debug("%s", self._place, exc_info=True)
            self._error = f"{type(error).__name__}: {error}"
            return default


class GuardedImageSource(GuardedSource):
    """A source of a plug-in that has its screenshots elsewhere than in files."""

    def image(self, screenshot: str) -> bytes | None:
        """Return the bytes of a step's screenshot; None where there is no such image."""
        image = getattr(self._inner, "image", None)
        return self._call(lambda _: image(screenshot) if callable(image) else None, None)
