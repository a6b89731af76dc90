"""The log that one process writes of a run: one file with one heartbeat, shared by its ``Run`` objects.

A run that is sent to a pool of processes is unpickled anew for each task; its process is still one writer.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from evalgauge.runlog import EVENTS_FOLDER, LogWriter, safe_name

HEARTBEAT_SECONDS = 30.0


class LogClient(Protocol):
    """A writer of events: a ``Run``."""

    def _notify(self, kind: str, fields: Mapping[str, Any]) -> None: ...


class ProcessLog:
    """This process's log of a run. Thread-safe; opened by the first event, closed when the last client leaves."""

    def __init__(self, folder: Path) -> None:
        """Make the log of the run in ``folder``; nothing is written yet."""
        self.folder = folder
        self.lost_events = 0
        """The number of events and screenshots that this process could not write."""
        self.failure_reported = False
        """Whether a failure to write was logged already."""
        self.workers: dict[str, str] = {}
        """The state of each worker that this process reported."""
        self._reset()
        _all_logs.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may write in the midst of a write
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer: LogWriter | None = None
        self._closing = threading.Event()

    def join(self, client: LogClient) -> None:
        """Register a client that writes here."""
        with self._lock:
            self._clients.add(client)

    def is_shared(self, client: LogClient) -> bool:
        """Whether other clients than this one write here."""
        with self._lock:
            return any(other is not client for other in self._clients)

    def workers_up(self) -> list[str]:
        """List the workers that this process reported and that are not stopped."""
        return [worker for worker, state in list(self.workers.items()) if state != "stopped"]

    def leave(self, client: LogClient) -> None:
        """Remove a client; after the last one the file is closed and the heartbeat stops."""
        with self._lock:
            self._clients.discard(client)
            if self._clients:
                return
            writer, self._writer = self._writer, None
            self._closing.set()
            self.workers.clear()  # whoever opens the file again has workers of its own
        if writer is not None:
            writer.close()

    def write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> None:
        """Append an event.

        Args:
            kind: The event's type.
            fields: Its fields.
            sync: Whether the line is forced to the disk before this returns.

        Raises:
            OSError: The line could not be written.
        """
        (self._writer or self._open_writer()).write(kind, fields, sync=sync)

    def deleted(self) -> bool:
        """Whether the open file was deleted: nothing more can be stored there."""
        writer = self._writer
        try:
            return writer is not None and writer.deleted()
        except OSError:  # closed meanwhile; the next event opens it again
            return False

    def _open_writer(self) -> LogWriter:
        with self._lock:
            if self._writer is None:
                self._writer = LogWriter(_file_for(self.folder))
                self._closing = threading.Event()
                beat_args = (self._writer, self._closing)
                threading.Thread(target=self._beat, args=beat_args, name="evalgauge-heartbeat", daemon=True).start()
            return self._writer

    def _beat(self, writer: LogWriter, closing: threading.Event) -> None:
        while not closing.wait(HEARTBEAT_SECONDS):
            lost = {"lost_events": self.lost_events} if self.lost_events else {}
            alive: list[str | None] = [*self.workers_up()]
            with self._lock:
                client: LogClient | None = next(iter(self._clients), None)
            for worker in alive or [None]:
                fields = {"worker_id": worker, **lost}
                try:
                    writer.write("heartbeat", fields)
                except OSError:
                    if closing.is_set():  # the file was closed meanwhile
                        return
                    self.lost_events += 1
                if client is not None:
                    client._notify("heartbeat", fields)

    def after_fork(self) -> None:
        """Prepare a forked child: it writes a file of its own, without the parent's workers."""
        writer = self._writer
        self._reset()
        self.workers, self.lost_events, self.failure_reported = {}, 0, False
        if writer is not None:
            writer.close_in_child()


_logs: weakref.WeakValueDictionary[str, ProcessLog] = weakref.WeakValueDictionary()
"""The log of each run by the run's folder."""
_all_logs: weakref.WeakSet[ProcessLog] = weakref.WeakSet()
"""All logs, those too that were replaced in ``_logs`` after their file was deleted."""
_files: dict[Path, Path] = {}
"""The file that this process last wrote in each run's folder."""
_numbers = count()
_logs_lock = threading.RLock()


def process_log(folder: Path) -> ProcessLog:
    """Return the log that this process writes of the run in ``folder``; a new one once its file was deleted."""
    try:
        key = os.path.abspath(folder)
    except (OSError, ValueError):  # the working directory was deleted
        key = str(folder)
    with _logs_lock:
        found = _logs.get(key)
        if found is None or found.deleted():
            found = _logs[key] = ProcessLog(Path(key))
        return found


def _file_for(folder: Path) -> Path:
    """Return this process's file in a run's folder: the one it had, unless that was deleted.

    Its name is unique, in other runs' folders too: the logs of several may be sent under one run id.
    """
    path = _files.get(folder)
    if path is None or not path.exists():
        path = _files[folder] = folder / EVENTS_FOLDER / f"{_process_name()}-{next(_numbers):x}.jsonl"
    return path


@lru_cache(maxsize=1)
def _process_name() -> str:
    host = socket.gethostname().split(".")[0]
    return safe_name(f"{host}-{os.getpid()}-{time.time_ns() // 1000:x}")


def _after_fork() -> None:
    global _logs_lock
    _logs_lock = threading.RLock()
    _process_name.cache_clear()
    _files.clear()
    for log in list(_all_logs):
        log.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
