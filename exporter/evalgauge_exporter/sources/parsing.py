"""Readers of files that others wrote: nothing in them raises, what is unusable is reported and skipped."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic_core import from_json

from evalgauge.runlog import MAX_LINE, encode

MAX_FILE = 256 << 20
"""Bytes: a larger file is not read."""

Report = Callable[[str, str], None]
"""Takes a problem: one word, the ``reason`` label under which it is counted, and a sentence for people."""

_PLAIN = re.compile(r"[\w-][\w.@ -]{0,254}\Z")


class FileFingerprint(NamedTuple):
    """What changes when a file does: time of the last change in nanoseconds, size in bytes, inode."""

    mtime_ns: int
    size: int
    inode: int


def fingerprint(path: Path) -> FileFingerprint | None:
    """Return the fingerprint of a file, None where it can't be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return FileFingerprint(found.st_mtime_ns, found.st_size, found.st_ino)


def get_mtime(path: Path) -> float | None:
    """Return when a file was last changed, in Unix seconds; None where it can't be looked at."""
    found = fingerprint(path)
    return None if found is None else found.mtime_ns / 1e9


def parse_json(data: bytes) -> Any:
    """Parse JSON, also with the lone surrogates that ``json.dump`` writes, which are no JSON.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return from_json(data)
    except ValueError as error:
        try:  # half a surrogate pair is no JSON, but ``json.dump`` writes it
            return from_json(encode({"": json.loads(data)}))[""]
        except (ValueError, RecursionError):
            raise error from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads nowhere or in a circle is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a regular file or a link to one; reading from a pipe would block."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for a writer


def read_bytes(path: Path, report: Report, limit: int = MAX_FILE) -> bytes | None:
    """Return the content of a regular file.

    Args:
        path: The file.
        report: Takes the problem where it can't be read or is too large.
        limit: The most bytes that it may have.

    Returns:
        The content; None where the file does not exist or was reported.
    """
    try:
        with open(path, "rb", opener=_open_nonblocking) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                report("unreadable", f"{path}: not a regular file")
                return None
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        report("unreadable", f"{path}: {getattr(error, 'strerror', None) or error}")
        return None
    if len(data) > limit:
        report("long_file", f"{path}: larger than {limit >> 20} MiB")
        return None
    return data


def read_object(path: Path, report: Report) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where the file does not exist, or was reported."""
    data = read_bytes(path, report)
    if data is None:
        return None
    try:
        content = parse_json(data)
    except ValueError:
        report("torn_file", f"{path}: not whole JSON")
        return None
    if not isinstance(content, dict):
        report("foreign_file", f"{path}: not a JSON object")
        return None
    return content


def read_objects(path: Path, report: Report) -> list[dict[str, Any]]:
    """Return the JSON objects of a file with one on each line; a last line without its end is still being written."""
    data = read_bytes(path, report)
    if data is None:
        return []
    lines = data.split(b"\n")
    last = lines.pop()
    objects: list[dict[str, Any]] = []
    for line in lines:
        if line.strip() and (content := parse_line(line, path, report)) is not None:
            objects.append(content)
    if last.strip():
        try:
            content = parse_json(last)
        except ValueError:
            return objects
        if isinstance(content, dict):
            objects.append(content)
    return objects


def parse_line(line: bytes, path: Path, report: Report) -> dict[str, Any] | None:
    """Return the JSON object on a line; None where there is none, which is reported."""
    if len(line) > MAX_LINE:
        report("long_line", f"{path}: a line of more than {MAX_LINE >> 20} MiB")
        return None
    try:
        content = parse_json(line)
    except ValueError:
        report("torn_line" if line.lstrip().startswith(b"{") else "foreign_line", f"{path}: {line[:60]!r}")
        return None
    if not isinstance(content, dict):
        report("foreign_line", f"{path}: {line[:60]!r}")
        return None
    return content


def resolve_relative(folder: Path, start: str, name: object) -> str | None:
    """Resolve the name of a file that a document of the run gives.

    Args:
        folder: The run's folder.
        start: The subfolder of the document, relative to ``folder``.
        name: The name as the document gives it: relative to ``start``, or absolute.

    Returns:
        The path relative to ``folder``; None for what leaves the folder, is a URL, or is no text.
    """
    if not isinstance(name, str) or not name or len(name) > 1024 or "\0" in name or ":" in name.split("/")[0]:
        return None
    if _PLAIN.match(name) and start not in ("", "."):
        return f"{start}/{name}"
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute():
        try:
            path, start = path.relative_to(folder.absolute().as_posix()), ""
        except ValueError:
            return None
    parts: list[str] = []
    for part in (*PurePosixPath(start).parts, *path.parts):
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or None
