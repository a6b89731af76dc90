"""What one process writes of a run: one file with one heartbeat, however many ``Run`` objects speak of the run there.

A run that is sent to a pool of processes is unpickled anew for every task; its process is one writer all the same.
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
    """What writes to a log: a ``Run``."""

    def _tell(self, kind: str, fields: Mapping[str, Any]) -> None: ...


class ProcessLog:
    """This process's log of a run. Thread-safe; opened by the first event, closed when the last speaker leaves."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the run's."""
        self.folder = folder
        self.lost_events = 0
        """How many events and screenshots this process could not write."""
        self.complained = False
        """Whether it was said that something was lost."""
        self.workers: dict[str, str] = {}
        """The state of each worker that this process spoke of."""
        self._begin()
        _all_logs.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may write in the midst of a write
        self._speakers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer: LogWriter | None = None
        self._wake = threading.Event()

    def join(self, speaker: LogClient) -> None:
        """From now on ``speaker`` writes here."""
        with self._lock:
            self._speakers.add(speaker)

    def leave(self, speaker: LogClient) -> None:
        """``speaker`` writes no more; after the last one the file is closed and the heart stops."""
        with self._lock:
            self._speakers.discard(speaker)
            if self._speakers:
                return
            writer, self._writer = self._writer, None
            self._wake.set()
            self.workers.clear()  # whoever opens the file again has workers of its own
        if writer is not None:
            writer.close()

    def write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> None:
        """Append an event. Raises OSError."""
        (self._writer or self._opened()).write(kind, fields, sync=sync)

    def deleted(self) -> bool:
        """Whether the file that is written is gone from its folder: nothing more can be stored there."""
        writer = self._writer
        try:
            return writer is not None and writer.deleted()
        except OSError:  # closed meanwhile: it is opened again
            return False

    def _opened(self) -> LogWriter:
        with self._lock:
            if self._writer is None:
                self._writer = LogWriter(_file_of(self.folder))
                self._wake = threading.Event()
                beating = (self._writer, self._wake)
                threading.Thread(target=self._beat, args=beating, name="evalgauge-heartbeat", daemon=True).start()
            return self._writer

    def _beat(self, writer: LogWriter, wake: threading.Event) -> None:
        while not wake.wait(HEARTBEAT_SECONDS):
            lost = {"lost_events": self.lost_events} if self.lost_events else {}
            alive: list[str | None] = [worker for worker, state in list(self.workers.items()) if state != "stopped"]
            with self._lock:
                speaker: LogClient | None = next(iter(self._speakers), None)
            for worker in alive or [None]:
                fields = {"worker_id": worker, **lost}
                try:
                    writer.write("heartbeat", fields)
                except OSError:
                    if wake.is_set():  # the file was closed meanwhile
                        return
                    self.lost_events += 1
                if speaker is not None:
                    speaker._tell("heartbeat", fields)

    def after_fork(self) -> None:
        """In a child process: a file of its own, which says nothing of the parent's workers."""
        writer = self._writer
        self._begin()
        self.workers, self.lost_events, self.complained = {}, 0, False
        if writer is not None:
            writer.close_in_child()


_logs: weakref.WeakValueDictionary[str, ProcessLog] = weakref.WeakValueDictionary()
"""The log of each run by the run's folder."""
_all_logs: weakref.WeakSet[ProcessLog] = weakref.WeakSet()
"""Those too whose file was deleted, after which another took their place."""
_files: dict[Path, Path] = {}
"""The file that this process wrote last in each run's folder."""
_numbers = count()
_logs_lock = threading.RLock()


def process_log(folder: Path) -> ProcessLog:
    """The log that this process writes of the run in ``folder``; another one once its file was deleted."""
    try:
        key = os.path.abspath(folder)
    except (OSError, ValueError):  # the working folder is gone
        key = str(folder)
    with _logs_lock:
        found = _logs.get(key)
        if found is None or found.deleted():
            found = _logs[key] = ProcessLog(Path(key))
        return found


def _file_of(folder: Path) -> Path:
    """The file of this process in a run's folder: the one it had, unless that was deleted.

    No other file has its name, in another run's folder either: logs of several may be sent away under one run id.
    """
    path = _files.get(folder)
    if path is None or not path.exists():
        path = _files[folder] = folder / EVENTS_FOLDER / f"{_process_name()}-{next(_numbers):x}.jsonl"
    return path


@lru_cache(maxsize=1)
def _process_name() -> str:
    host = socket.gethostname().split(".")[0]
    return safe_name(f"{host}-{os.getpid()}-{time.time_ns() // 1000:x}")


def _forked() -> None:
    global _logs_lock
    _logs_lock = threading.RLock()
    _process_name.cache_clear()
    _files.clear()
    for log in list(_all_logs):
        log.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
