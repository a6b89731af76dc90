"""Opening of files that somebody else can replace at any time, without following links out of a folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def open_beneath(folder: Path, relative: str) -> int:
    """Open a regular file below a folder for reading; no component of the path below the folder may be a link.

    The path is walked by descriptors (``openat`` with ``O_NOFOLLOW``), so a component that is swapped for a link
    meanwhile is an error and never followed. Where the system has no ``openat``, the resolved path is checked.

    Args:
        folder: The folder; links in its own path are followed.
        relative: The path below it, with ``/``.

    Returns:
        A file descriptor, which the caller closes.

    Raises:
        OSError: The file does not exist, is not a regular file, or a component is a link.
        ValueError: The path leads out of the folder or contains a null character.
    """
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a path below a folder: {relative[:200]!r}")
    if os.open in os.supports_dir_fd and _NOFOLLOW:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        try:
            for part in parts[:-1]:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW | _CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = below
            opened = os.open(parts[-1], os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
    else:
        path = folder.joinpath(*parts)
        if os.path.realpath(path) != os.path.join(os.path.realpath(folder), *parts):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        opened = os.open(path, os.O_RDONLY | _CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "not a regular file", str(folder / relative))
    return opened
