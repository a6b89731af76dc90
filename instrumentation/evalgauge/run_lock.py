"""Who finishes a run: a lock that the system itself takes back from a process that died."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Self

fcntl: ModuleType | None
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows has no flock: there the process that made the file owns the run
    fcntl = None

OWNER_FILE = ".owner"


class RunLock:
    """The right to finish a run, held for as long as the process lives or until it is released."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    @classmethod
    def acquire(cls, folder: Path) -> Self | None:
        """Own the run whose log lies in ``folder``; None where a living process does. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / OWNER_FILE
        if fcntl is None:
            try:
                return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), path)
            except FileExistsError:
                return None
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:  # a file system without locks: whoever finds no other log began the run
            if any(folder.glob("*.jsonl")):
                os.close(fd)
                return None
        return cls(fd, path)

    def release(self) -> None:
        """Give the run up: the next process that joins it owns it."""
        self.forget()
        if fcntl is None:
            self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Close this process's descriptor; a forked child does so without taking the lock from its parent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
