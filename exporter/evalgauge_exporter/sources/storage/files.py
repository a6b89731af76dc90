"""Opening of files that may be placeholders of a bucket's mirror.

Where no bucket is read these are the plain operations.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Protocol

from evalgauge_exporter.sources import parsing

BLOCK = 1 << 20
"""Bytes that are asked for at once of a remote file."""
CACHED_BLOCKS = 16


class RemoteFiles(Protocol):
    """A mirror, as this module needs it."""

    folder: Path
    arguments: tuple[str, Path, int]
    """What makes the same mirror in another process."""

    def is_placeholder(self, path: Path) -> bool:
        """Return whether a file's content is in the bucket alone."""

    def fetch(self, path: Path) -> None:
        """Download the content of a file if it is a placeholder. Raises OSError."""

    def read_range(self, path: Path, start: int, end: int) -> bytes:
        """Return a part of a placeholder's content. Raises OSError."""


_mirrors: list[RemoteFiles] = []


def register(mirror: RemoteFiles) -> None:
    """Make the placeholders of a mirror known."""
    _mirrors.append(mirror)


def list_registered() -> list[tuple[str, Path, int]]:
    """Return the arguments of the mirrors, for another process."""
    return [mirror.arguments for mirror in _mirrors]


def read_head(path: Path, length: int) -> bytes:
    """Return the first bytes of a regular file, as `parsing.read_head`; of a placeholder those in the bucket."""
    if not is_placeholder(path):
        return parsing.read_head(path, length)
    with open_binary(path) as file:
        return file.read(length)


def _find(path: Path) -> RemoteFiles | None:
    return next((mirror for mirror in _mirrors if path.is_relative_to(mirror.folder)), None)


def is_mirrored(path: Path) -> bool:
    """Return whether a file or folder is a local copy of a bucket's."""
    return _find(path) is not None


def is_placeholder(path: Path) -> bool:
    """Return whether a file's content is in a bucket alone, so that what is on the disk must not be read."""
    return (mirror := _find(path)) is not None and mirror.is_placeholder(path)


def fetch(path: Path) -> None:
    """Download a file's content where it is in a bucket alone.

    Raises:
        OSError: It can't be downloaded.
    """
    if (mirror := _find(path)) is not None:
        mirror.fetch(path)


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading; of a placeholder only the parts that are read are downloaded.

    Raises:
        OSError: It can't be opened.
    """
    mirror = _find(path)
    if mirror is None or not mirror.is_placeholder(path):
        return path.open("rb")
    return io.BufferedReader(_RemoteFile(mirror, path), BLOCK)


class _RemoteFile(io.RawIOBase):
    """A file in a bucket, read in blocks; the last of them are kept."""

    def __init__(self, mirror: RemoteFiles, path: Path) -> None:
        self._mirror = mirror
        self._path = path
        self._size = path.stat().st_size
        self._position = 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("negative seek position")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer
        block, start = divmod(self._position, BLOCK)
        if not len(view) or self._position >= self._size:
            return 0
        if block not in self._blocks:
            if len(self._blocks) >= CACHED_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            end = min(self._size, (block + 1) * BLOCK)
            self._blocks[block] = self._mirror.read_range(self._path, block * BLOCK, end)
        part = self._blocks[block][start : start + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)
