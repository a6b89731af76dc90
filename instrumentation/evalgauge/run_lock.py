"""The lock of the process that finishes a run; the operating system releases it when that process dies."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Self

fcntl: ModuleType | None
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows has no flock: there the process that created the file owns the run
    fcntl = None

OWNER_FILE = ".owner"


class RunLock:
    """The right to finish a run, held until it is released or the process dies."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    @classmethod
    def acquire(cls, folder: Path) -> Self | None:
        """Acquire the run whose log is in ``folder``.

        Returns:
            The lock; None where a live process holds it.

        Raises:
            OSError: The folder or the lock file could not be created.
        """
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
        except OSError:  # a file system without locks: the process that finds no other log started the run
            if any(folder.glob("*.jsonl")):
                os.close(fd)
                return None
        return cls(fd, path)

    def release(self) -> None:
        """Release the run; the next process that joins owns it."""
        self.forget()
        if fcntl is None:
            self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Close this process's descriptor; in a forked child this leaves the parent its lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
