"""One run that is collected: its source, its state, and how far it was read.

What goes wrong in a run ends here. What can't be read for the moment leaves the state as it is and marks it; a run
whose files were rewritten is read again from its beginning, part by part, while the old state is shown; a defect in
the reading of a run has it read again after growing pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import msgspec

from evalgauge.events import Event
from evalgauge.runlog import Problem
from evalgauge_exporter.ingest.run_cache import CachedRun, RunCache
from evalgauge_exporter.sources.backoff import Backoff, is_defect
from evalgauge_exporter.sources.base import ReadResult, RunSource
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.state.run import Pricer, RunState

log = logging.getLogger("evalgauge.exporter")

SLICE = 2000
"""Events that are folded before a waiting view gets the lock."""
CLOCK_TOLERANCE = 300.0
"""Seconds by which the clock of a writer may be ahead of this machine's."""
MISSING_TWICE = 2
"""Reads in a row that must find a run missing before it is dropped."""


class TrackedRun:
    """A run and how far it was read. Used by one thread.

    Args:
        found: The run and its source.
        run: Its state, as views show it.
        pricer: Prices the calls of a state that is built anew.
        lock: Held while events are folded into a state that views may read.
        cached_fingerprint: The fingerprint of the files of a run whose state comes from the cache.
    """

    def __init__(
        self,
        found: FoundRun,
        run: RunState,
        pricer: Pricer,
        lock: threading.RLock,
        cached_fingerprint: str | None = None,
    ) -> None:
        self.found = found
        self.run = run
        self.cached_fingerprint = cached_fingerprint
        """The fingerprint of the files of a run that was taken from the cache and not read, else None."""
        self.has_more = cached_fingerprint is None
        """Whether there is more to read at once."""
        self.caught_up = cached_fingerprint is not None
        """Whether everything that was there was read once. Before that no view shows the run: after a restart of the
        exporter its counters would seem to have fallen."""
        self.is_deleted = False
        self.backoff = Backoff()
        self._pricer = pricer
        self._lock = lock
        self._missing = 0
        self._rebuild: tuple[RunSource, RunState] | None = None
        """The source and the state of a run that is being read again from its beginning."""
        self._broken = False
        """Whether the source raised: what it has read since then is not certain."""
        self._ahead: set[str] = set()
        """Writers whose clock is ahead."""

    @property
    def is_settled(self) -> bool:
        """Whether the run is finished and was read to its end."""
        run = self.run
        is_read = self.caught_up and not self.has_more and run.unreadable is None
        return is_read and run.is_finished() and not run.open_attempts

    @property
    def is_resumable(self) -> bool:
        """Whether the state is all that the source has read, as far as that is known."""
        is_read = self.caught_up and self.run.unreadable is None and self.cached_fingerprint is None
        return is_read and self._rebuild is None and not self._broken

    def save(self, cache: RunCache) -> bool:
        """Cache the run as far as it was read.

        Returns:
            Whether it is finished and cached, so that its attempts can be unloaded.
        """
        found = self.found
        try:
            if self.is_settled:
                fingerprint = self.cached_fingerprint or found.source.fingerprint()
                if fingerprint is not None:
                    cache.put(found.folder, fingerprint, self.run)
                return fingerprint is not None
            if self.is_resumable:
                cache.put_running(found.folder, found.source, self.run, self._lock)
        except BaseException as error:
            if not is_defect(error):
                raise
            log.debug("%s", found.folder, exc_info=True)
        return False

    def read(self, *, full_scan: bool = False) -> list[Problem]:
        """Read the next part of the run and fold it.

        Args:
            full_scan: Also check the files that are not expected to change any more.

        Returns:
            The problems; among them each thing that can't be read, once.
        """
        problems: list[Problem] = []
        try:
            self._read(full_scan, problems)
        except OSError as error:
            self._note_unreadable(f"{error.filename or self.found.folder}: {error.strerror or error}", problems)
            self.has_more = False
        except BaseException as error:  # a defect in reading one run must not stop the reading of all others
            if not is_defect(error):
                raise
            log.debug("%s", self.found.folder, exc_info=True)
            problems.append(Problem("defect", f"{self.found.folder}: {type(error).__name__}: {error}"))
            self._give_up()
            self._broken, self.caught_up = True, True
        return problems

    def read_again(self) -> RunState:
        """Return the state after reading the run from its beginning, with a source of its own.

        Raises:
            OSError: It can't be read for the moment.
        """
        source = self.found.open_source()
        run = RunState(self.found.path_id, source.source, self._pricer)
        has_more = True
        while has_more:
            result = source.read()
            if result.unreadable is not None:
                raise OSError(result.unreadable)
            fold_events(run, result.events)
            has_more = result.has_more and not result.missing and not result.restarted
        return run

    def _read(self, full_scan: bool, problems: list[Problem]) -> None:
        if self._rebuild is not None or self._broken:
            self._read_rebuild(problems)
        elif self.cached_fingerprint is not None:
            if self.found.source.fingerprint() != self.cached_fingerprint:
                self._start_rebuild()
            else:
                self._note_unreadable(None, problems)
        else:
            result = self.found.source.read(full_scan=full_scan)
            problems += result.problems
            if self._check_missing(result, problems):
                return
            if result.restarted:
                self._start_rebuild()
                return
            self._note_unreadable(result.unreadable, problems)
            self.has_more = result.has_more
            self.caught_up |= not result.has_more
            self._fold(self.run, result.events, self._lock, problems)
            self.backoff.reset()

    def _start_rebuild(self) -> None:
        source = self.found.open_source()
        run = RunState(self.run.run_id, source.source, self._pricer)
        run.adopt_names({kind: names.chosen for kind, names in self.run.names.items()})
        self._rebuild = (source, run)
        self._broken = False
        self.has_more = True

    def _read_rebuild(self, problems: list[Problem]) -> None:
        if self._rebuild is None:
            self._start_rebuild()
        assert self._rebuild is not None
        source, run = self._rebuild
        result = source.read()
        problems += result.problems
        if self._check_missing(result, problems) or result.restarted:
            self._give_up()  # it is still changing: it is read again later
            return
        self._note_unreadable(result.unreadable, problems)
        if result.unreadable is not None and self.run.version:
            self._give_up()  # the old state is more than what can be read now
            return
        self._fold(run, result.events, nullcontext(), problems)
        if not result.has_more:
            run.version += self.run.version + 1
            run.unreadable, run.unreadable_since = self.run.unreadable, self.run.unreadable_since
            self.found = self.found._replace(source=source)
            self.run, self._rebuild, self.cached_fingerprint = run, None, None
            self.has_more, self.caught_up = False, True
            self.backoff.reset()

    def _give_up(self) -> None:
        """Leave the state as it is and try again after a pause."""
        self._rebuild = None
        self.has_more = False
        self.backoff.fail()

    def _check_missing(self, result: ReadResult, problems: list[Problem]) -> bool:
        """Return whether the run is missing; it is deleted once it was missing in consecutive reads."""
        self._missing = self._missing + 1 if result.missing else 0
        if self._missing >= MISSING_TWICE and not self.is_deleted:
            self.is_deleted = True
            problems.append(Problem("deleted", f"{self.found.folder}: the run was deleted"))
        if result.missing:
            self.has_more = False
        return result.missing

    def _note_unreadable(self, detail: str | None, problems: list[Problem]) -> None:
        if (detail is None) == (self.run.unreadable is None):
            return  # what is noted stays until all can be read: it is one problem
        with self._lock:
            self.run.unreadable = detail
            self.run.unreadable_since = None if detail is None else time.time()
            self.run.version += 1 if self.run.version else 0
        if detail is not None:
            problems.append(Problem("unreadable", detail))

    def _fold(
        self, run: RunState, events: list[Event], lock: AbstractContextManager[object], problems: list[Problem]
    ) -> None:
        for start in range(0, len(events), SLICE):
            with lock:
                ahead = fold_events(run, events[start : start + SLICE])
            for writer in sorted(ahead - self._ahead):
                self._ahead.add(writer)
                detail = f"{self.found.folder}: the clock of {writer[:80]!r} is ahead; its times are not used"
                problems.append(Problem("clock_ahead", detail))


def open_run(found: FoundRun, cache: RunCache, pricer: Pricer, lock: threading.RLock) -> TrackedRun:
    """Return the record of a run that was found: from the cache as far as its files have not changed.

    Args:
        found: The run and its source, which has read nothing.
        cache: The cache.
        pricer: Prices the run's calls.
        lock: Held while events are folded into a state that views may read.
    """
    try:
        fingerprint = found.source.fingerprint()
    except BaseException as error:
        if not is_defect(error):
            raise
        log.debug("%s", found.folder, exc_info=True)
        fingerprint = None
    cached = cache.get(found.folder, found.source, fingerprint, found.path_id, pricer)
    if cached is None:
        run = RunState(found.path_id, found.source.source, pricer)
        run.adopt_names(cache.get_names(found.folder))
        cached = CachedRun(run, None)
    tracked = TrackedRun(found, cached.run, pricer, lock, cached.fingerprint)
    if cached.fingerprint is not None:
        cached.run.unload(tracked.read_again)
    return tracked


def fold_events(run: RunState, events: Iterable[Event]) -> set[str]:
    """Fold events into a run's state.

    An event from the future must not keep a dead run alive, nor count as time in which a worker was busy: it is dated
    as the writer's last credible event.

    Args:
        run: Takes the events.
        events: The events, in order.

    Returns:
        The writers whose clock is ahead of this machine's by more than ``CLOCK_TOLERANCE``.
    """
    ahead: set[str] = set()
    now = time.time()
    latest = now + CLOCK_TOLERANCE
    for event in events:
        if event.ts > latest:
            ahead.add(event.writer)
            event = msgspec.structs.replace(event, ts=run.writers.get(event.writer) or run.last_event_at or now)
        run.apply(event)
    return ahead
