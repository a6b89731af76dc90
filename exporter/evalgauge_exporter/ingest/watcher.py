"""Notifications of the file system about changes (inotify and its like, through watchfiles)."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path

from watchfiles import watch

log = logging.getLogger("evalgauge.exporter")

SETTLE_SECONDS = 0.25
"""Seconds between two changes of the set of watched folders."""


class Watcher:
    """Notifies of changes in a set of folders, which may itself change.

    Args:
        changes: Takes the paths that changed and their folders.
    """

    def __init__(self, changes: queue.SimpleQueue[set[Path]]) -> None:
        self._changes = changes
        self._folders: frozenset[Path] = frozenset()
        self._polled: frozenset[Path] = frozenset()
        """Folders with names that are no text: an event of such a name ends the notifications of all folders."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._since = 0.0

    def watch(self, folders: list[Path]) -> None:
        """Watch those of these folders that exist from now on, without what is below them."""
        if time.monotonic() - self._since < SETTLE_SECONDS:
            return
        wanted = frozenset(folder for folder in folders if _is_text(folder) and os.path.isdir(folder)) - self._polled
        if wanted == self._folders:
            return
        self.stop()
        self._folders, self._since = wanted, time.monotonic()
        if not wanted:
            return
        self._stop = threading.Event()
        args = (sorted(wanted), self._stop)
        self._thread = threading.Thread(target=self._run, args=args, name="evalgauge-watch", daemon=True)
        self._thread.start()
        self._changes.put(set(wanted))  # what changed before the watch began

    def stop(self) -> None:
        """Stop watching."""
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
        except Exception as error:
            if new := {folder for folder in folders if _has_other_names(folder)} - self._polled:
                self._polled |= new  # the others are watched again at the next call
                return
            # no notifications on this file system, or too many watches
            log.info("no notifications of changes (%s); runs are polled instead", error)


def _is_text(folder: Path) -> bool:
    """Return whether a path is text: watchfiles takes no other, and would watch none of the rest."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_other_names(folder: Path) -> bool:
    """Return whether a folder holds a name that is no text."""
    try:
        return any(not _is_text(Path(name)) for name in os.listdir(folder))
    except OSError:
        return False
