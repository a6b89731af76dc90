"""Collection of runs: finds them, reads what is new, folds it into the state.

One thread does it. Notifications of the file system (watchfiles) make it read at once; since not every file system
sends them (network mounts, some container mounts), it also polls: running runs every second, new folders every two, all
other runs in turn. Every run is read in parts, in turns with the others.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from evalgauge.runlog import Problem
from evalgauge_exporter.ingest.memory import (
    collect_young,
    collection_paused,
    estimate_run_bytes,
    get_resident_bytes,
    release_memory,
)
from evalgauge_exporter.ingest.read_worker import WorkerSetup
from evalgauge_exporter.ingest.read_workers import MANY_RUNS, ReadWorkers, WorkerResult
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.ingest.tracked_run import TrackedRun, open_run
from evalgauge_exporter.ingest.watcher import Watcher
from evalgauge_exporter.sources.backoff import is_defect
from evalgauge_exporter.sources.discovery import Discovery, FoundRun, name_runs
from evalgauge_exporter.sources.scorers import ScorerChoice
from evalgauge_exporter.state.run import Pricer, RunState, State, unpriced

log = logging.getLogger("evalgauge.exporter")

POLL_SECONDS = 1.0
DISCOVER_SECONDS = 2.0
EAGER_SECONDS, EAGER_STEP = 1.0, 0.1
"""A new folder is not a run before its first file is there: after a change, runs are searched for more often."""
IDLE_SECONDS = 5.0
UNLOAD_SECONDS = 30.0
CHECKPOINT_SECONDS = 60.0
"""Seconds between two checkpoints of the running runs."""
UNLOAD_TURNS = 4
"""Turns with workers after which finished runs are unloaded."""
WORKER_POLL_SECONDS = 0.2
"""Seconds to wait for workers until the next look at whether to stop."""
WORKER_SECONDS = 10.0
"""Seconds that workers get when nothing else is left to read; then this process reads what they were reading, in parts:
one run that is very large, or hangs, must not delay the others.
"""
READY_SECONDS = 2.0
"""After this the exporter is ready once each run had its turn: a very large one is shown when it has been read."""
INITIAL_BATCH = 20
"""The number of runs that are read for the first time before the finished ones among them are unloaded."""
IDLE_BATCH = 200
"""The number of finished runs that are checked every ``IDLE_SECONDS``."""
MAX_WATCHED = 2000
"""Folders that are watched at once; the rest is polled."""
MAX_LOGGED = 1000
"""Different problems that are logged; all are counted."""
ENOUGH_MEMORY = 0.8
"""Runs that were unloaded whole are read again below this part of the limit."""
MORE_MEMORY = 1.05
"""Where there was nothing more to unload, memory is given back again once it has grown by this factor."""


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
        follow_links: bool = True,
        scorer: ScorerChoice = None,
        loaded: int = 60,
        memory_limit: int | None = None,
        worker_setup: WorkerSetup | None = None,
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
            follow_links: Whether links that lead out of the served folders are followed.
            scorer: The scorer whose score is the headline, or that of each benchmark; None leaves it to the formats.
            loaded: The number of finished runs whose attempts stay in memory.
            memory_limit: Bytes of resident memory beyond which runs are unloaded; None for no limit.
            worker_setup: Settings of the processes that read many runs; None where this process reads all of them.
            on_change: Called, from the collector's thread, whenever the state has changed.
        """
        self.state = state
        self.roots = [root.absolute() for root in roots]
        self.caught_up = threading.Event()
        """Set once every run that was there at the start was read to its end, or could not be read."""
        self._stall_after = stall_after
        self._pricer = pricer
        self._cache = cache or RunCache(None, "")
        self._max_loaded = loaded
        self._memory_limit = memory_limit
        self._worker_setup = worker_setup
        self._on_change = on_change
        self._discovery = Discovery(self.roots, success_threshold, follow_links=follow_links, scorer=scorer)
        self._runs: dict[Path, TrackedRun] = {}
        self._evicted: dict[Path, TrackedRun] = {}
        """Runs that were unloaded whole, for want of memory."""
        self._logged: set[tuple[str, str]] = set()
        self._changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="evalgauge-follow", daemon=True)
        self._watcher = Watcher(self._changes)
        self._turn = 0
        self._running: set[int] = set()
        self._eager_until = 0.0
        self._discovered = self._idled = self._polled = 0.0
        self._unloaded = -UNLOAD_SECONDS
        self._saved = time.monotonic()
        self._unrelieved = 0
        """Resident bytes that could not be given back: to try again each second would hold up everything else."""
        self._stalls_due = True

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

    def has_died(self) -> bool:
        """Return whether the thread has ended though nobody stopped it."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self._stop.is_set()

    @property
    def unread_runs(self) -> int:
        """Number of runs that were found and have not been read to their end for the first time."""
        return sum(tracked.has_more and not tracked.caught_up for tracked in list(self._runs.values()))

    def source_of(self, run: RunState) -> FoundRun | None:
        """Return where a run is, for those that read it again from its beginning; None where it no longer exists."""
        return next((tracked.found for tracked in list(self._runs.values()) if tracked.run is run), None)

    # -- the loop

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn_once(self._await_change())
            except BaseException as error:  # a defect must not end the collection of everything else
                if not is_defect(error):
                    raise
                self._log_failure(error)
                self._stop.wait(POLL_SECONDS)
        self._save_running()

    def _turn_once(self, changed: set[Path]) -> None:
        """Do everything that is due once; ``changed``: the paths that changed, as far as the file system tells."""
        if self._stop.is_set():
            return
        now = time.monotonic()
        if changed & set(self.roots):
            self._eager_until = now + EAGER_SECONDS
        if now - self._discovered >= DISCOVER_SECONDS or now < self._eager_until:
            self._discovered = now
            self._find_runs()
        if not self.state.ready:
            with collection_paused():
                self._read_initially()
        due = self._find_changed(changed)
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            due += [tracked for tracked in self._runs.values() if self._is_running(tracked)]
            self._stalls_due = True
            self._relieve_memory()
        if now - self._idled >= IDLE_SECONDS:
            self._idled = now
            self._read_all(self._next_idle_batch(), full_scan=True)
        self._read_all(dict.fromkeys(due))
        self._check_caught_up()
        if self._stalls_due:  # after what is due was read
            self._stalls_due = False
            self._notice_stalls()
            self._remember_names()
        if now - self._unloaded >= UNLOAD_SECONDS:
            self._unloaded = now
            self._unload_finished()
            if self._runs and all(root.exists() for root in self.roots):  # else a disk may not be mounted yet
                self._cache.drop_others({*self._runs, *self._evicted})
        if now - self._saved >= CHECKPOINT_SECONDS:
            self._saved = now
            self._save_running()
        self._watcher.watch(self._list_watched_folders())

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

    def _log_failure(self, error: BaseException) -> None:
        """Log a failure of the loop with its traceback once, and count each."""
        detail = f"collecting runs failed, trying again: {type(error).__name__}: {error}"
        if ("defect", detail) not in self._logged:
            log.error("%s", detail, exc_info=error)
            self._logged.add(("defect", detail))
        self._report("runlog", [Problem("defect", detail)])

    def _find_changed(self, changed: set[Path]) -> list[TrackedRun]:
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

    def _is_running(self, tracked: TrackedRun) -> bool:
        if not tracked.run.version:  # nothing is known of it yet: it starts
            return True
        return tracked.run.status(time.time(), self._stall_after) == "running"

    def _next_idle_batch(self) -> list[TrackedRun]:
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
        for place in self._discovery.withdrawn:
            self._evicted.pop(place, None)
            if (tracked := self._runs.get(place)) is not None:
                self._drop(tracked)
        for new in found:
            self._runs[new.folder] = self._open(new)
        if self.state.ready:
            self._read_all([self._runs[new.folder] for new in found])

    def _open(self, found: FoundRun) -> TrackedRun:
        return open_run(found, self._cache, self._pricer, self.state.lock)

    def _unload_finished(self) -> None:
        """Cache the finished runs; unload the attempts of all but the newest."""
        for number, tracked in enumerate(reversed(self._list_finished())):
            if tracked.save(self._cache) and number >= self._max_loaded:
                self._unload(tracked)

    def _save_running(self) -> None:
        """Write checkpoints of the runs that are not finished."""
        for tracked in self._runs.values():
            if not tracked.is_settled:
                tracked.save(self._cache)

    def _remember_names(self) -> None:
        """Write down which names are exposed of runs with too many: they must be the same after a restart."""
        chosen = {place: tracked.run.chosen_names() for place, tracked in self._runs.items()}
        self._cache.put_names({place: names for place, names in chosen.items() if names})

    def _list_finished(self) -> list[TrackedRun]:
        """Return the finished runs whose attempts are in memory, oldest first."""
        finished = [tracked for tracked in self._runs.values() if tracked.is_settled and not tracked.run.is_unloaded]
        return sorted(finished, key=lambda tracked: tracked.run.last_event_at)

    def _unload(self, tracked: TrackedRun) -> None:
        with self.state.lock:
            tracked.run.unload(tracked.read_again)

    def _read_initially(self) -> None:
        """Read the runs that were not cached for the first time, in turns, until all are or the exporter is ready."""
        start = time.monotonic()
        pending = [tracked for tracked in self._runs.values() if tracked.has_more]
        if self._worker_setup is not None and len(pending) >= MANY_RUNS:
            self._read_with_workers(self._worker_setup, pending)
            pending = [tracked for tracked in self._runs.values() if tracked.has_more]
        while pending and not self._stop.is_set():
            for start_at in range(0, len(pending), INITIAL_BATCH):
                self._read_all(pending[start_at : start_at + INITIAL_BATCH])
                self._tidy_up()
            pending = [tracked for tracked in pending if tracked.has_more]
            if time.monotonic() - start > READY_SECONDS:
                break
        self._name_runs()
        with self.state.lock:
            self.state.ready = True
            self.state.version += 1
        self._check_caught_up()
        self._on_change()

    def _read_with_workers(self, setup: WorkerSetup, pending: list[TrackedRun]) -> None:
        """Read runs for the first time, beside workers; what these fail at is still to be read then."""
        last_taken = time.monotonic()
        with ReadWorkers(setup, pending) as workers:
            for number in itertools.count(1):
                taken = workers.take()
                if taken:
                    last_taken = time.monotonic()
                elif not workers.active or time.monotonic() - last_taken > WORKER_SECONDS:
                    break
                if self._stop.is_set():
                    break
                self._read_all(taken)
                for result in workers.collect(0.0 if taken else WORKER_POLL_SECONDS):
                    self._take_over(result)
                if number % UNLOAD_TURNS == 0 or not taken:
                    self._tidy_up()

    def _tidy_up(self) -> None:
        """Give back the memory of what was read since the last time and need not stay."""
        self._unload_finished()
        collect_young()
        self._relieve_memory()

    def _take_over(self, result: WorkerResult) -> None:
        """Take a run that a worker has read out of the cache."""
        if result.problems is not None:
            tracked = self._open(result.tracked.found)
            if tracked.run.version:  # else it is read here, and its problems are found again
                self._runs[tracked.found.folder] = tracked
                self._report(tracked.found.source.source, result.problems)

    def _check_caught_up(self) -> None:
        if not self.caught_up.is_set() and not any(tracked.has_more for tracked in self._runs.values()):
            self.caught_up.set()
            self._on_change()

    def _read_all(self, due: Iterable[TrackedRun], *, full_scan: bool = False) -> None:
        """Read the next part of each of these runs that may be tried now."""
        spent: dict[str, float] = {}
        changed = renamed = False
        for tracked in due:
            if self._stop.is_set():
                return
            if not tracked.backoff.is_due() or tracked.found.folder not in self._runs:
                continue
            start = time.perf_counter()
            source = tracked.found.source.source
            before = (tracked.run, tracked.run.declared_run_id, tracked.caught_up, tracked.run.version > 0)
            version = tracked.run.version
            self._report(source, tracked.read(full_scan=full_scan))
            if tracked.is_deleted:
                self._drop(tracked)
                changed = True
            after = (tracked.run, tracked.run.declared_run_id, tracked.caught_up, tracked.run.version > 0)
            renamed |= before != after
            changed |= tracked.run.version != version
            spent[source] = spent.get(source, 0.0) + time.perf_counter() - start
        unreadable = {t.found.source.source for t in self._runs.values() if t.run.unreadable is not None}
        with self.state.lock:
            for name, seconds in spent.items():
                health = self.state.health(name)
                health.refresh_seconds, health.up = seconds, name not in unreadable
                if health.up:
                    health.last_success_at = time.time()
            self.state.version += changed
        if renamed and self.state.ready:
            self._name_runs()
        if changed:
            self._on_change()

    def _drop(self, tracked: TrackedRun) -> None:
        self._runs.pop(tracked.found.folder, None)
        self._discovery.forget(tracked.found.folder)
        self._name_runs()

    def _name_runs(self) -> None:
        """Set the ids of all runs: a run that comes or goes can change whether an id is shared."""
        shown = [tracked for tracked in self._runs.values() if tracked.caught_up and tracked.run.version]
        names = name_runs([tracked.found for tracked in shown], [tracked.run.declared_run_id for tracked in shown])
        with self.state.lock:
            for name, tracked in zip(names, shown, strict=True):
                if tracked.run.run_id != name:
                    tracked.run.run_id = name
                    tracked.run.version += 1
            # replaced at once: who looks a run up without the lock finds all of them
            self.state.runs = {name: tracked.run for name, tracked in zip(names, shown, strict=True)}
            self.state.version += 1

    # -- memory

    def _relieve_memory(self) -> None:
        """Unload runs while the process takes more memory than it may, the oldest first.

        At first the attempts of finished runs, which views read again when they need them; then whole runs, as long as
        runs are what takes the memory. These are read again when there is enough of it.
        """
        resident = get_resident_bytes()
        if self._memory_limit is None or resident is None:
            return
        if resident < self._memory_limit * ENOUGH_MEMORY:
            self._bring_back()
        finished = self._list_finished()
        if resident <= max(self._memory_limit, 0 if finished else self._unrelieved * MORE_MEMORY):
            return
        for tracked in finished:
            self._unload(tracked)
        release_memory()
        self._unrelieved = resident = get_resident_bytes() or 0
        taken = sum(estimate_run_bytes(tracked.run) for tracked in self._runs.values())
        if resident > self._memory_limit and taken > self._memory_limit // 2:
            now = time.time()
            oldest = min(
                self._runs.values(),
                key=lambda tracked: (
                    tracked.run.status(now, self._stall_after) == "running",
                    tracked.run.last_event_at,
                ),
            )
            self._evict(oldest)
            self._unrelieved = 0

    def _evict(self, tracked: TrackedRun) -> None:
        """Unload a whole run."""
        place = tracked.found.folder
        limit = (self._memory_limit or 0) >> 20
        detail = f"{place}: unloaded, as memory is above {limit} MiB; raise limits.memory, or serve fewer runs"
        self._report(tracked.found.source.source, [Problem("memory_limit", detail)])
        del self._runs[place]
        self._evicted[place] = TrackedRun(
            tracked.found._replace(source=tracked.found.open_source()),
            RunState(tracked.found.path_id, tracked.found.source.source, self._pricer),
            self._pricer,
            self.state.lock,
        )
        self._evicted[place].backoff.fail_for_long()
        self._name_runs()
        release_memory()

    def _bring_back(self) -> None:
        for place, tracked in list(self._evicted.items()):
            if tracked.backoff.is_due():
                del self._evicted[place]
                self._runs[place] = tracked
                return  # one at a time

    def _report(self, source: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            with self.state.lock:
                errors = self.state.health(source).errors
                errors[problem.reason] = errors.get(problem.reason, 0) + 1
                self.state.version += 1
            if (problem.reason, problem.detail) not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add((problem.reason, problem.detail))
                log.warning("skipped (%s): %s", problem.reason, problem.detail)
