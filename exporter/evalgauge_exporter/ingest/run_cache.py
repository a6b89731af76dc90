"""Cache of what was read of runs: a start parses neither finished runs again nor what was read of a large running one.

One file a run holds its state as it was folded. That of a finished run is without its attempts, and valid while the
run's files look the same (names, sizes, times). That of a running one is a checkpoint: the whole state, and how far its
source had read; it is valid while the source finds its files as they were, only longer.

A file names what its content depends on beside the run (the code, the prices) and ends in a digest of all of it: one
that was made by other code, or is damaged, is as good as none. It is written aside and renamed, so that a kill leaves
the old one. Losing it costs a slower start and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import pickle
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

from evalgauge_exporter.sources.base import ResumableSource, RunSource
from evalgauge_exporter.state.run import Pricer, RunState

log = logging.getLogger("evalgauge.exporter")

CHECKPOINT_EVENTS = 5_000
"""Events that a running run must have had since its last checkpoint: to read these again takes no time."""
_NAMES = "names"
"""The file of the names that are exposed of runs with too many."""
_TEMPORARY_SECONDS = 3600.0
"""A file that was being written so long ago is a leftover of a process that was killed."""
_RECORDS = ("evalgauge.events", "evalgauge.runlog", "evalgauge_exporter.state.", "evalgauge_exporter.sources.")
"""Beginnings of the modules whose classes a file may hold."""
_BUILT_OF = {
    ("collections", "Counter"),
    ("collections", "deque"),
    ("decimal", "Decimal"),
    ("msgspec._utils", "rebuild"),
}
"""What else a file may hold; ``rebuild`` makes a struct of its fields."""


_Entry = tuple[str | None, object, dict[str, Any]]
"""The content of a run's file: the fingerprint of a finished run's files, or the position of the source of a running
one; and the fields of its state.
"""


class CachedRun(NamedTuple):
    """A run as it was cached."""

    run: RunState
    fingerprint: str | None
    """The fingerprint of the files of a finished run, which is without its attempts; None for a running one, which its
    source continues to read."""


class RunCache:
    """The cache of runs.

    Args:
        folder: The folder of the cache's files; None for no cache.
        key: What they depend on beside the runs' files: the code and the prices.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder
        self._key = key
        self._saved: dict[Path, str | int] = {}
        """What is known to be in each run's file: the fingerprint, or the version of the state in a checkpoint."""
        self._names: dict[str, dict[str, list[Any]]] = self._read(_NAMES) or {}

    def get(
        self, place: Path, source: RunSource, fingerprint: str | None, run_id: str, pricer: Pricer
    ) -> CachedRun | None:
        """Return a cached run; ``source`` continues where a running one had been read to.

        Args:
            place: The run's place.
            source: A new source of the run.
            fingerprint: The fingerprint of its files, None where it is not known.
            run_id: The id that the run gets.
            pricer: Prices its further calls.

        Returns:
            None where the run is not cached or its files have changed.
        """
        entry: _Entry | None = self._read(_file_name(place))
        if entry is None:
            return None
        finished, position, state = entry
        if finished is not None:
            is_valid = finished == fingerprint
        else:
            is_valid = isinstance(source, ResumableSource) and source.resume(position)
        if not is_valid:
            return None
        run = RunState.restore(state, run_id, pricer)
        self._saved[place] = run.version if finished is None else finished
        return CachedRun(run, finished)

    def put(self, place: Path, fingerprint: str, run: RunState) -> None:
        """Cache a finished run."""
        if self._saved.get(place) != fingerprint:
            entry: _Entry = (fingerprint, None, run.dump(attempts=False))
            if self._write(_file_name(place), entry):
                self._saved[place] = fingerprint

    def put_running(self, place: Path, source: RunSource, run: RunState, lock: AbstractContextManager[object]) -> None:
        """Write a checkpoint of a running run, if enough events are new. Called in the thread that folds its events.

        Args:
            place: The run's place.
            source: Its source, which has read what ``run`` holds.
            run: Its state.
            lock: Held for a moment, while what views may change is copied.
        """
        saved = self._saved.get(place)
        if run.version - (saved if isinstance(saved, int) else 0) < CHECKPOINT_EVENTS:
            return
        position = source.position() if isinstance(source, ResumableSource) else None
        if position is None:
            return
        with lock:
            entry: _Entry = (None, position, run.dump(attempts=True))
        if self._write(_file_name(place), entry):
            self._saved[place] = run.version

    def get_names(self, place: Path) -> dict[str, list[Any]]:
        """Return the names that were exposed of a run with too many, by kind."""
        return self._names.get(str(place), {})

    def put_names(self, names: dict[Path, dict[str, list[Any]]]) -> None:
        """Remember the names that are exposed of the runs with too many."""
        known = self._names | {str(place): found for place, found in names.items()}
        if known != self._names and self._write(_NAMES, known):
            self._names = known

    def drop_others(self, places: Collection[Path]) -> None:
        """Delete what is cached of runs in other places than these."""
        if self._folder is None:
            return
        existing = {_NAMES, *map(_file_name, places)}
        now = time.time()
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    is_being_written = "." in entry.name and now - entry.stat().st_mtime < _TEMPORARY_SECONDS
                    if entry.name not in existing and not is_being_written:
                        os.unlink(entry)
        except OSError as error:
            log.debug("the cache of runs is not tidied: %s", error)
        self._saved = {place: saved for place, saved in self._saved.items() if place in places}
        existing = set(map(str, places))
        self._names = {place: names for place, names in self._names.items() if place in existing}

    def _header(self) -> bytes:
        return f"evalgauge {self._key}\n".encode("utf-8", "surrogateescape")

    def _read(self, name: str) -> Any:
        """Return the content of a file; None where there is none, or it was made by other code or is damaged."""
        if self._folder is None:
            return None
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return None
        header, size = self._header(), hashlib.sha256().digest_size
        if not content.startswith(header) or hashlib.sha256(content[:-size]).digest() != content[-size:]:
            return None
        try:
            return _Unpickler(io.BytesIO(content[len(header) : -size])).load()
        except Exception as error:  # a damaged pickle raises anything; the digest leaves little of that
            log.debug("%s can't be used: %s", self._folder / name, error)
            return None

    def _write(self, name: str, value: object) -> bool:
        """Write a file; return False where that is not possible: nothing is cached from then on."""
        if self._folder is None:
            return False
        new = self._folder / f"{name}.{os.getpid()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                writer = _DigestWriter(file)
                writer.write(self._header())
                pickle.Pickler(writer, protocol=5).dump(value)  # in parts: other threads run between them
                file.write(writer.digest())
            new.replace(self._folder / name)
        except BaseException as error:
            with contextlib.suppress(OSError):
                new.unlink()  # a disk that is full must not keep half a file
            if not isinstance(error, OSError):
                raise
            log.info("runs are not cached for the next start: %s", error)
            self._folder = None
            return False
        return True


class _DigestWriter:
    """Writes to a file, with a digest of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.digest: Callable[[], bytes] = self._digest.digest

    def write(self, data: bytes) -> int:
        """Write bytes."""
        self._digest.update(data)
        return self._file.write(data)


class _Unpickler(pickle.Unpickler):
    """Reads records of events, states and sources, and nothing that runs other code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a file may hold.

        Raises:
            pickle.UnpicklingError: It may not hold this.
        """
        is_path = module.partition(".")[0] == "pathlib"
        if (module, name) in _BUILT_OF:
            return super().find_class(module, name)
        if "." not in name and (is_path or module.startswith(_RECORDS)):
            found = super().find_class(module, name)
            own = isinstance(found, type) and found.__module__ == module
            if own and (not is_path or issubclass(found, PurePath)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a run")


def _file_name(place: Path) -> str:
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
