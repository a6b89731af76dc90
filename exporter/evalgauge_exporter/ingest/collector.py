"""Collection of runs: finds them, reads what is new, folds it into the state.

One thread does it. Notifications of the file system (watchfiles) make it read at once; since not every file system
sends them (network mounts, some container mounts), it also polls: running runs every second, new folders every two, all
other runs in turn.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from evalgauge.runlog import Problem
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.ingest.watcher import Watcher
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.discovery import Discovery, FoundRun, name_runs
from evalgauge_exporter.state.run import Pricer, RunState, State, unpriced

log = logging.getLogger("evalgauge.exporter")

POLL_SECONDS = 1.0
DISCOVER_SECONDS = 2.0
EAGER_SECONDS, EAGER_STEP = 1.0, 0.1
"""A new folder is not a run before its first file is there: after a change, runs are searched for more often."""
IDLE_SECONDS = 5.0
UNLOAD_SECONDS = 30.0
IDLE_BATCH = 200
"""The number of finished runs that are checked every ``IDLE_SECONDS``."""
MAX_WATCHED = 2000
"""Folders that are watched at once; the rest is polled."""
SLICE = 2000
"""Events that are folded before a waiting view gets the lock."""
MAX_LOGGED = 1000
"""Different problems that are logged; all are counted."""


class _TrackedRun:
    """A run and how far it was read."""

    def __init__(self, found: FoundRun, run: RunState) -> None:
        self.found = found
        self.run = run
        self.has_more = True
        self.fingerprint: str | None = None
        """The fingerprint of the files of a run that was taken from the cache and not read."""
        self.caught_up = False
        """Whether everything that was there was read once. Before that no view shows the run: after a restart of the
        exporter its counters would seem to have fallen."""


class RunCollector:
    """Keeps the state of the runs below ``roots`` up to date, from ``start`` to ``stop``."""

    def __init__(
        self,
        state: State,
        roots: Iterable[Path],
        *,
        stall_after: float,
        pricer: Pricer = unpriced,
        cache: RunCache | None = None,
        success_threshold: float = 1.0,
        loaded: int = 60,
        follow_links: bool = True,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is read before ``start``.

        Args:
            state: Takes the runs.
            roots: The served folders.
            stall_after: Seconds without an event after which a run is stalled.
            pricer: Prices model calls.
            cache: The cache of finished runs; by default nothing is cached.
            success_threshold: The least score of a success, for formats that give scores only.
            loaded: The number of finished runs whose attempts stay in memory.
            follow_links: Whether links that lead out of the served folders are followed.
            on_change: Called, from the collector's thread, whenever the state has changed.
        """
        self.state = state
        self.roots = [root.absolute() for root in roots]
        self._stall_after = stall_after
        self._pricer = pricer
        self._cache = cache or RunCache(None, "")
        self._max_loaded = loaded
        self._on_change = on_change
        self._discovery = Discovery(self.roots, success_threshold, follow_links=follow_links)
        self._runs: dict[Path, _TrackedRun] = {}
        self._logged: set[tuple[str, str]] = set()
        self._changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="evalgauge-follow", daemon=True)
        self._watcher = Watcher(self._changes)
        self._turn = 0
        self._running: set[int] = set()
        self._eager_until = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the threads; returns when they have ended."""
        self._stop.set()
        self._changes.put(set())
        if self._thread.is_alive():
            self._thread.join()
        self._watcher.stop()

    def source_of(self, run: RunState) -> FoundRun | None:
        """Return where a run is, for those that read it again from its beginning; None where it no longer exists."""
        return next((tracked.found for tracked in list(self._runs.values()) if tracked.run is run), None)

    # -- the loop

    def _loop(self) -> None:
        discovered = idle = polled = 0.0
        unloaded = -UNLOAD_SECONDS
        stalls_due = True
        while not self._stop.is_set():
            changed = self._await_change()
            if self._stop.is_set():
                return
            now = time.monotonic()
            try:
                if changed & set(self.roots):
                    self._eager_until = now + EAGER_SECONDS
                if now - discovered >= DISCOVER_SECONDS or now < self._eager_until:
                    discovered = now
                    self._find_runs()
                due = self._find_changed(changed)
                if now - polled >= POLL_SECONDS:
                    polled = now
                    due += [tracked for tracked in self._runs.values() if self._is_running(tracked)]
                    stalls_due = True
                if now - idle >= IDLE_SECONDS:
                    idle = now
                    self._read_all(self._next_idle_batch(), full_scan=True)
                self._read_all(dict.fromkeys(due))
                if not self.state.ready:
                    self._read_until_caught_up()
                    self._set_ready()
                if stalls_due:  # after what is due was read
                    stalls_due = False
                    self._notice_stalls()
                if now - unloaded >= UNLOAD_SECONDS:
                    unloaded = now
                    self._unload_finished()
                    self._cache.flush(set(self._runs))
                self._watcher.watch(self._list_watched_folders())
            except Exception:  # a defect must not end the collection of everything else
                log.exception("collecting runs failed; trying again")
                time.sleep(POLL_SECONDS)

    def _await_change(self) -> set[Path]:
        if not self.state.ready or any(tracked.has_more for tracked in self._runs.values()):
            return set()
        try:
            eager = time.monotonic() < self._eager_until
            changed = self._changes.get(timeout=EAGER_STEP if eager else POLL_SECONDS)
        except queue.Empty:
            return set()
        while True:  # changes that came meanwhile are handled at once
            try:
                changed |= self._changes.get_nowait()
            except queue.Empty:
                return changed

    def _find_changed(self, changed: set[Path]) -> list[_TrackedRun]:
        due = [tracked for tracked in self._runs.values() if tracked.has_more]
        if changed:
            due += [
                tracked
                for tracked in self._runs.values()
                if any(folder in changed for folder in tracked.found.source.watch_paths())
            ]
        return due

    def _notice_stalls(self) -> None:
        """Count a run that has become stalled as changed, though it had no event."""
        running = {id(tracked.run) for tracked in self._runs.values() if self._is_running(tracked)}
        if running != self._running:
            self._running = running
            with self.state.lock:
                self.state.version += 1
            self._on_change()

    def _is_running(self, tracked: _TrackedRun) -> bool:
        if not tracked.run.version:  # nothing is known of it yet: it starts
            return True
        return tracked.run.status(time.time(), self._stall_after) == "running"

    def _next_idle_batch(self) -> list[_TrackedRun]:
        runs = list(self._runs.values())
        if len(runs) <= IDLE_BATCH:
            return runs
        start = self._turn % len(runs)
        self._turn = start + IDLE_BATCH
        return (runs + runs)[start : start + IDLE_BATCH]

    def _list_watched_folders(self) -> list[Path]:
        folders = dict.fromkeys(self.roots)
        for tracked in self._runs.values():
            if self._is_running(tracked):
                folders.update(dict.fromkeys(tracked.found.source.watch_paths()))
        return list(folders)[:MAX_WATCHED]

    # -- finding and reading

    def _find_runs(self) -> None:
        found, problems = self._discovery.scan()
        self._report("runlog", problems)
        for new in found:
            self._runs[new.folder] = self._restore(new)
        if self.state.ready:
            self._read_all([self._runs[new.folder] for new in found])

    def _restore(self, found: FoundRun) -> _TrackedRun:
        """Return the record of a run that was found: from the cache if its files have not changed, else to be read."""
        fingerprint = found.source.fingerprint()
        if fingerprint is not None:
            run = self._cache.get(found.folder, fingerprint, found.path_id, self._pricer)
            if run is not None:
                tracked = _TrackedRun(found, run)
                tracked.caught_up, tracked.has_more, tracked.fingerprint = True, False, fingerprint
                run.unload(self._reader(found))
                return tracked
        return _TrackedRun(found, RunState(found.path_id, found.source.source, self._pricer))

    def _reader(self, found: FoundRun) -> Callable[[], RunState]:
        """Return what reads a finished run again, for its attempts."""

        def read() -> RunState:
            source = found.open_source()
            run = RunState(found.path_id, source.source, self._pricer)
            has_more = True
            while has_more:
                result = source.read()
                for event in result.events:
                    run.apply(event)
                has_more = result.has_more and not result.missing and not result.restarted
            return run

        return read

    def _unload_finished(self) -> None:
        """Cache the finished runs; unload the attempts of all but the newest."""
        finished = [
            f
            for f in self._runs.values()
            if f.caught_up and not f.has_more and f.run.is_finished() and not f.run.open_attempts
        ]
        finished.sort(key=lambda tracked: tracked.run.last_event_at, reverse=True)
        for number, tracked in enumerate(finished):
            if tracked.run.is_unloaded:
                continue
            fingerprint = tracked.fingerprint or tracked.found.source.fingerprint()
            if fingerprint is None:
                continue
            self._cache.put(tracked.found.folder, fingerprint, tracked.run)
            if number >= self._max_loaded:
                with self.state.lock:
                    tracked.run.unload(self._reader(tracked.found))

    def _read_until_caught_up(self) -> None:
        """Read everything that is there and was not cached, for the first time."""
        for number, tracked in enumerate(list(self._runs.values())):
            while tracked.has_more and not self._stop.is_set():
                self._read_all([tracked])
            if number % 20 == 0:
                self._unload_finished()

    def _set_ready(self) -> None:
        self._name_runs()
        with self.state.lock:
            self.state.ready = True
            self.state.version += 1
        self._on_change()

    def _read_all(self, due: Iterable[_TrackedRun], *, full_scan: bool = False) -> None:
        spent: dict[str, float] = {}
        changed = renamed = False
        for tracked in due:
            if self._stop.is_set():
                return
            start = time.perf_counter()
            source = tracked.found.source
            before = (tracked.run.declared_run_id, tracked.caught_up, tracked.run.version > 0)
            try:
                changed |= self._read(tracked, full_scan)
            except Exception as error:  # a defect in reading one run must not stop the reading of all others
                log.debug("%s", tracked.found.folder, exc_info=True)
                detail = f"{tracked.found.folder}: {type(error).__name__}: {error}"
                self._report(source.source, [Problem("defect", detail)])
                tracked.caught_up, tracked.has_more = True, False
            renamed |= (tracked.run.declared_run_id, tracked.caught_up, tracked.run.version > 0) != before
            spent[source.source] = spent.get(source.source, 0.0) + time.perf_counter() - start
        with self.state.lock:
            for name, seconds in spent.items():
                health = self.state.health(name)
                health.refresh_seconds, health.last_success_at, health.up = seconds, time.time(), True
        if renamed and self.state.ready:
            self._name_runs()
        if changed:
            self._on_change()

    def _read(self, tracked: _TrackedRun, full_scan: bool) -> bool:
        """Fold the new events of one run; return whether there were any."""
        source = tracked.found.source
        if tracked.fingerprint is not None:
            return self._check_cached(tracked)
        result = source.read(full_scan=full_scan)
        self._report(source.source, result.problems)
        if result.missing:
            self._report(source.source, [Problem("deleted", f"{tracked.found.folder}: the run was deleted")])
            self._drop(tracked)
            return True
        if result.restarted:
            self._restart(tracked)
            return True
        tracked.has_more = result.has_more
        tracked.caught_up |= not result.has_more
        self._fold(tracked.run, result)
        return bool(result.events)

    def _check_cached(self, tracked: _TrackedRun) -> bool:
        fingerprint = tracked.found.source.fingerprint()
        if fingerprint == tracked.fingerprint:
            return False
        if fingerprint is None and not tracked.found.folder.exists():
            self._drop(tracked)
        else:
            self._restart(tracked)
        return True

    def _fold(self, run: RunState, result: ReadResult) -> None:
        events = result.events
        for start in range(0, len(events), SLICE):
            with self.state.lock:
                for event in events[start : start + SLICE]:
                    run.apply(event)
                self.state.version += 1

    def _drop(self, tracked: _TrackedRun) -> None:
        self._runs.pop(tracked.found.folder, None)
        self._discovery.forget(tracked.found.folder)
        tracked.has_more = False
        self._name_runs()

    def _restart(self, tracked: _TrackedRun) -> None:
        """Read a run from its beginning; the old state is shown until the new one is complete."""
        found = tracked.found
        source = found.open_source()
        run = RunState(tracked.run.run_id, source.source, self._pricer)
        has_more = True
        while has_more and not self._stop.is_set():
            result = source.read()
            if result.missing or result.restarted:
                return  # it is still changing: the next read starts again
            self._report(source.source, result.problems)
            for event in result.events:
                run.apply(event)
            has_more = result.has_more
        run.version += tracked.run.version + 1
        tracked.found, tracked.run, tracked.has_more = found._replace(source=source), run, False
        tracked.fingerprint = None
        self._name_runs()

    def _name_runs(self) -> None:
        """Set the ids of all runs: a run that comes or goes can change whether an id is shared."""
        tracked = [run for run in self._runs.values() if run.caught_up and run.run.version]
        names = name_runs([run.found for run in tracked], [run.run.declared_run_id for run in tracked])
        with self.state.lock:
            self.state.runs = {}
            for name, run in zip(names, tracked, strict=True):
                if run.run.run_id != name:
                    run.run.run_id = name
                    run.run.version += 1
                self.state.runs[name] = run.run
            self.state.version += 1

    def _report(self, source: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            with self.state.lock:
                errors = self.state.health(source).errors
                errors[problem.reason] = errors.get(problem.reason, 0) + 1
                self.state.version += 1
            if (problem.reason, problem.detail) not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add((problem.reason, problem.detail))
                log.warning("skipped (%s): %s", problem.reason, problem.detail)
