"""What the file system itself tells of changes (inotify and its kin, through watchfiles)."""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path

from watchfiles import watch

log = logging.getLogger("evalgauge.exporter")

SETTLE_SECONDS = 0.25
"""What is watched is changed no more often than this."""


class Watcher:
    """Tells in which of a changing set of folders something changed."""

    def __init__(self, changes: queue.SimpleQueue[set[Path]]) -> None:
        self._changes = changes
        self._folders: frozenset[Path] = frozenset()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._since = 0.0

    def watch(self, folders: list[Path]) -> None:
        """From now on watch these folders, not what is below them."""
        wanted = frozenset(folders)
        if wanted == self._folders or time.monotonic() - self._since < SETTLE_SECONDS:
            return
        self.stop()
        self._folders, self._since = wanted, time.monotonic()
        there = [folder for folder in wanted if folder.is_dir()]
        if not there:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(there, self._stop), name="evalgauge-watch", daemon=True)
        self._thread.start()
        self._changes.put(set(there))  # what changed before the watch began

    def stop(self) -> None:
        """Watch nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._folders = frozenset()

    def _run(self, folders: list[Path], stop: threading.Event) -> None:
        try:
            for changes in watch(
                *folders,
                watch_filter=None,
                debounce=40,
                step=10,
                rust_timeout=200,
                yield_on_timeout=True,
                stop_event=stop,
                recursive=False,
                ignore_permission_denied=True,
                raise_interrupt=False,
            ):
                if changes:
                    paths = [Path(path) for _, path in changes]
                    self._changes.put({*paths, *(path.parent for path in paths)})
        except Exception as error:  # no notices on this file system, or too many watches: polling goes on
            log.info("no notices of changes (%s); runs are polled instead", error)
