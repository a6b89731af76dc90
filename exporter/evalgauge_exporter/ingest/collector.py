"""Following the results folders: finds runs, reads what they gain, folds it into the state.

One thread does it. What the file system tells (watchfiles) makes it look at once; since not every file system tells
(network mounts, some container mounts), it also looks by itself: at runs that go on every second, at new folders
every two, at all others in turn.
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
from evalgauge_exporter.sources.discovery import Discovery, Found, run_names
from evalgauge_exporter.state.run import Pricer, RunState, State, unpriced

log = logging.getLogger("evalgauge.exporter")

POLL_SECONDS = 1.0
DISCOVER_SECONDS = 2.0
EAGER_SECONDS, EAGER_STEP = 1.0, 0.1
"""A folder that appears is no run before its first file is there: after a change, runs are looked for more often."""
IDLE_SECONDS = 5.0
UNLOAD_SECONDS = 30.0
IDLE_BATCH = 200
"""So many of the runs that are over are looked at every ``IDLE_SECONDS``."""
MAX_WATCHED = 2000
"""Folders that are watched at once; the rest is found by polling."""
SLICE = 2000
"""Events that are folded before a view that waits gets the lock."""
MAX_NAMED = 1000
"""Different problems that are named in the log; all are counted."""


class _TrackedRun:
    """A run that is followed."""

    def __init__(self, found: Found, run: RunState) -> None:
        self.found = found
        self.run = run
        self.more = True
        self.signature: str | None = None
        """Of the files, where the run was taken out of the archive and was not read."""
        self.level = False
        """Whether all that was there was read once. Before, nobody sees the run: after a restart of the exporter its
        counters would seem to have gone down."""


class RunCollector:
    """Keeps the state of the runs below ``roots`` up to date, from ``start`` to ``stop``."""

    def __init__(
        self,
        state: State,
        roots: Iterable[Path],
        *,
        stall_after: float,
        pricer: Pricer = unpriced,
        archive: RunCache | None = None,
        success_threshold: float = 1.0,
        loaded: int = 60,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``loaded``: so many of the runs that are over keep their attempts in memory.

        ``on_change`` is called, from the follower's thread, whenever the state has changed.
        """
        self.state = state
        self.roots = [root.absolute() for root in roots]
        self._stall_after = stall_after
        self._pricer = pricer
        self._archive = archive or RunCache(None, "")
        self._most_loaded = loaded
        self._on_change = on_change
        self._discovery = Discovery(self.roots, success_threshold)
        self._runs: dict[Path, _TrackedRun] = {}
        self._named: set[tuple[str, str]] = set()
        self._changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="evalgauge-follow", daemon=True)
        self._watcher = Watcher(self._changes)
        self._turn = 0
        self._going: set[int] = set()
        self._eager_until = 0.0

    def start(self) -> None:
        """Begin in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the threads have."""
        self._stop.set()
        self._changes.put(set())
        if self._thread.is_alive():
            self._thread.join()
        self._watcher.stop()

    def source_of(self, run: RunState) -> Found | None:
        """Where a run is, for those that read it again from its beginning; None where it is gone."""
        return next((followed.found for followed in list(self._runs.values()) if followed.run is run), None)

    # -- the loop

    def _loop(self) -> None:
        discovered = idle = polled = 0.0
        shelved = -UNLOAD_SECONDS
        silence_due = True
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
                    self._discover()
                due = self._touched(changed)
                if now - polled >= POLL_SECONDS:
                    polled = now
                    due += [followed for followed in self._runs.values() if self._goes_on(followed)]
                    silence_due = True
                if now - idle >= IDLE_SECONDS:
                    idle = now
                    self._read_all(self._idle_turn(), thorough=True)
                self._read_all(dict.fromkeys(due))
                if not self.state.ready:
                    self._read_until_level()
                    self._set_ready()
                if silence_due:  # once what is due was read
                    silence_due = False
                    self._notice_silence()
                if now - shelved >= UNLOAD_SECONDS:
                    shelved = now
                    self._unload_finished()
                    self._archive.flush(set(self._runs))
                self._watcher.watch(self._folders())
            except Exception:  # a defect must not end the following of everything else
                log.exception("following failed; trying again")
                time.sleep(POLL_SECONDS)

    def _await_change(self) -> set[Path]:
        if not self.state.ready or any(followed.more for followed in self._runs.values()):
            return set()
        try:
            eager = time.monotonic() < self._eager_until
            changed = self._changes.get(timeout=EAGER_STEP if eager else POLL_SECONDS)
        except queue.Empty:
            return set()
        while True:  # what came meanwhile is looked at in the same go
            try:
                changed |= self._changes.get_nowait()
            except queue.Empty:
                return changed

    def _touched(self, changed: set[Path]) -> list[_TrackedRun]:
        due = [followed for followed in self._runs.values() if followed.more]
        if changed:
            due += [
                followed
                for followed in self._runs.values()
                if any(folder in changed for folder in followed.found.source.watch_paths())
            ]
        return due

    def _notice_silence(self) -> None:
        """A run that has become stalled has changed, though nothing happened."""
        going = {id(followed.run) for followed in self._runs.values() if self._goes_on(followed)}
        if going != self._going:
            self._going = going
            with self.state.lock:
                self.state.version += 1
            self._on_change()

    def _goes_on(self, followed: _TrackedRun) -> bool:
        if not followed.run.version:  # nothing is known of it yet: it begins
            return True
        return followed.run.status(time.time(), self._stall_after) == "running"

    def _idle_turn(self) -> list[_TrackedRun]:
        runs = list(self._runs.values())
        if len(runs) <= IDLE_BATCH:
            return runs
        start = self._turn % len(runs)
        self._turn = start + IDLE_BATCH
        return (runs + runs)[start : start + IDLE_BATCH]

    def _folders(self) -> list[Path]:
        folders = dict.fromkeys(self.roots)
        for followed in self._runs.values():
            if self._goes_on(followed):
                folders.update(dict.fromkeys(followed.found.source.watch_paths()))
        return list(folders)[:MAX_WATCHED]

    # -- finding and reading

    def _discover(self) -> None:
        found, problems = self._discovery.scan()
        self._report("runlog", problems)
        for new in found:
            self._runs[new.folder] = self._known(new)
        if self.state.ready:
            self._read_all([self._runs[new.folder] for new in found])

    def _known(self, found: Found) -> _TrackedRun:
        """A run that was found: out of the archive where its files have not changed, else to be read."""
        signature = found.source.fingerprint()
        if signature is not None:
            run = self._archive.get(found.folder, signature, found.path_id, self._pricer)
            if run is not None:
                followed = _TrackedRun(found, run)
                followed.level, followed.more, followed.signature = True, False, signature
                run.unload(self._reader(found))
                return followed
        return _TrackedRun(found, RunState(found.path_id, found.source.source, self._pricer))

    def _reader(self, found: Found) -> Callable[[], RunState]:
        """Reads a run that is over again, for its attempts."""

        def read() -> RunState:
            source = found.fresh()
            run = RunState(found.path_id, source.source, self._pricer)
            more = True
            while more:
                reading = source.read()
                for event in reading.events:
                    run.apply(event)
                more = reading.has_more and not reading.missing and not reading.restarted
            return run

        return read

    def _unload_finished(self) -> None:
        """Archive the runs that are over; let the attempts of all but the newest go."""
        over = [
            f for f in self._runs.values() if f.level and not f.more and f.run.is_finished() and not f.run.open_attempts
        ]
        over.sort(key=lambda followed: followed.run.last_event_at, reverse=True)
        for number, followed in enumerate(over):
            if followed.run.is_unloaded:
                continue
            signature = followed.signature or followed.found.source.fingerprint()
            if signature is None:
                continue
            self._archive.put(followed.found.folder, signature, followed.run)
            if number >= self._most_loaded:
                with self.state.lock:
                    followed.run.unload(self._reader(followed.found))

    def _read_until_level(self) -> None:
        """The first reading: everything that is there and was not archived."""
        for number, followed in enumerate(list(self._runs.values())):
            while followed.more and not self._stop.is_set():
                self._read_all([followed])
            if number % 20 == 0:
                self._unload_finished()

    def _set_ready(self) -> None:
        self._name_runs()
        with self.state.lock:
            self.state.ready = True
            self.state.version += 1
        self._on_change()

    def _read_all(self, due: Iterable[_TrackedRun], *, thorough: bool = False) -> None:
        spent: dict[str, float] = {}
        changed = renamed = False
        for followed in due:
            if self._stop.is_set():
                return
            start = time.perf_counter()
            source = followed.found.source
            before = (followed.run.declared_run_id, followed.level, followed.run.version > 0)
            try:
                changed |= self._read(followed, thorough)
            except Exception as error:  # a defect in the reading of one run must not stop that of all others
                log.debug("%s", followed.found.folder, exc_info=True)
                detail = f"{followed.found.folder}: {type(error).__name__}: {error}"
                self._report(source.source, [Problem("defect", detail)])
                followed.level, followed.more = True, False
            renamed |= (followed.run.declared_run_id, followed.level, followed.run.version > 0) != before
            spent[source.source] = spent.get(source.source, 0.0) + time.perf_counter() - start
        with self.state.lock:
            for name, seconds in spent.items():
                health = self.state.health(name)
                health.refresh_seconds, health.last_success_at, health.up = seconds, time.time(), True
        if renamed and self.state.ready:
            self._name_runs()
        if changed:
            self._on_change()

    def _read(self, followed: _TrackedRun, thorough: bool) -> bool:
        """Take in what one run has gained; whether that was anything."""
        source = followed.found.source
        if followed.signature is not None:
            return self._look_at_archived(followed)
        reading = source.read(full_scan=thorough)
        self._report(source.source, reading.problems)
        if reading.missing:
            self._report(source.source, [Problem("deleted", f"{followed.found.folder}: the run was deleted")])
            self._drop(followed)
            return True
        if reading.restarted:
            self._restart(followed)
            return True
        followed.more = reading.has_more
        followed.level |= not reading.has_more
        self._fold(followed.run, reading)
        return bool(reading.events)

    def _look_at_archived(self, followed: _TrackedRun) -> bool:
        signature = followed.found.source.fingerprint()
        if signature == followed.signature:
            return False
        if signature is None and not followed.found.folder.exists():
            self._drop(followed)
        else:
            self._restart(followed)
        return True

    def _fold(self, run: RunState, reading: ReadResult) -> None:
        events = reading.events
        for start in range(0, len(events), SLICE):
            with self.state.lock:
                for event in events[start : start + SLICE]:
                    run.apply(event)
                self.state.version += 1

    def _drop(self, followed: _TrackedRun) -> None:
        self._runs.pop(followed.found.folder, None)
        self._discovery.forget(followed.found.folder)
        followed.more = False
        self._name_runs()

    def _restart(self, followed: _TrackedRun) -> None:
        """Read a run from its beginning; the old state is shown until the new one is whole."""
        found = followed.found
        source = found.fresh()
        run = RunState(followed.run.run_id, source.source, self._pricer)
        more = True
        while more and not self._stop.is_set():
            reading = source.read()
            if reading.missing or reading.restarted:
                return  # it changes still: the next look begins anew
            self._report(source.source, reading.problems)
            for event in reading.events:
                run.apply(event)
            more = reading.has_more
        run.version += followed.run.version + 1
        followed.found, followed.run, followed.more = found._replace(source=source), run, False
        followed.signature = None
        self._name_runs()

    def _name_runs(self) -> None:
        """Say which run has which id: a run that comes or goes can change whether an id is shared."""
        followed = [run for run in self._runs.values() if run.level and run.run.version]
        names = run_names([run.found for run in followed], [run.run.declared_run_id for run in followed])
        with self.state.lock:
            self.state.runs = {}
            for name, run in zip(names, followed, strict=True):
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
            if (problem.reason, problem.detail) not in self._named and len(self._named) < MAX_NAMED:
                self._named.add((problem.reason, problem.detail))
                log.warning("skipped (%s): %s", problem.reason, problem.detail)
