"""Readers of files that others wrote.

Nothing in a file raises: what is unusable is reported and skipped. What does not exist is None; what can't be read for
the moment (no permission, an I/O error, no free descriptor) raises OSError, so that it is never taken as missing.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
from pydantic_core import from_json

from evalgauge.runlog import MAX_LINE

MAX_FILE = 256 << 20
"""Bytes: a larger file is not read."""
MAX_PARSED = 512 << 20
"""Bytes of memory that a parsed document may take, as estimated from the number of its values."""
_VALUE_BYTES = 80
"""Bytes of memory of a parsed value, beside its text."""
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_NO_FILE = frozenset({errno.EISDIR, errno.ENXIO, errno.ENODEV})
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""How files are opened: opening a pipe would wait for a writer."""
_PART = 1 << 20
"""Bytes that are read at once of a file that grows."""
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape sequence of a JSON text; the group is one of a lone surrogate."""

Report = Callable[[str, str], None]
"""Takes a problem: one word, the ``reason`` label under which it is counted, and a sentence for people."""

_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for another one, which Git LFS has not fetched."""
_POINTER_BYTES = 1024
"""The most that such a file has, by its specification."""
_PLAIN = re.compile(r"[\w-][\w.@ -]{0,254}\Z")


class FileFingerprint(NamedTuple):
    """What changes when a file does: time of the last change in nanoseconds, size in bytes, inode."""

    mtime_ns: int
    size: int
    inode: int


def is_absent(error: OSError) -> bool:
    """Return whether an error means that a file does not exist; any other says that it can't be read for now."""
    return error.errno in _ABSENT


def stat_path(path: Path | str) -> os.stat_result | None:
    """Return the status of a file or folder, following links; None where it does not exist.

    Raises:
        OSError: It can't be looked at for the moment.
    """
    try:
        return os.stat(path)
    except ValueError:  # a name with a null byte
        return None
    except OSError as error:
        if is_absent(error):
            return None
        raise


def fingerprint(path: Path | str) -> FileFingerprint | None:
    """Return the fingerprint of a file, None where it does not exist; raises OSError as ``stat_path`` does."""
    found = stat_path(path)
    return None if found is None else FileFingerprint(found.st_mtime_ns, found.st_size, found.st_ino)


def get_mtime(path: Path) -> float | None:
    """Return when a file was last changed, in Unix seconds; None where it does not exist; raises as ``stat_path``."""
    found = stat_path(path)
    return None if found is None else found.st_mtime_ns / 1e9


def is_regular_file(path: Path) -> bool:
    """Return whether a path is a regular file or a link to one; raises OSError as ``stat_path`` does."""
    found = stat_path(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_directory(path: Path) -> bool:
    """Return whether a path is a folder or a link to one; raises OSError as ``stat_path`` does."""
    found = stat_path(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def list_names(folder: Path) -> frozenset[str]:
    """Return the names in a folder, none where it does not exist.

    Raises:
        OSError: It can't be listed for the moment.
    """
    try:
        return frozenset(os.listdir(folder))
    except OSError as error:
        if is_absent(error):
            return frozenset()
        raise


def list_folders(folder: Path | str) -> list[str]:
    """Return the names of the folders in a folder, sorted and without hidden ones; none where it does not exist.

    Hidden is what begins with a dot, and what macOS adds to an archive.

    Raises:
        OSError: It, or a link in it, can't be looked at for the moment.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not is_hidden(entry.name) and is_folder(entry))
    except OSError as error:
        if is_absent(error):
            return []
        raise


def is_hidden(name: str) -> bool:
    """Return whether a folder of this name holds nothing for people: it begins with a dot, or macOS made it."""
    return name.startswith(".") or name == "__MACOSX"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads nowhere or in a circle is not.

    Raises:
        OSError: What a link leads to can't be looked at for the moment.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if is_absent(error):
            return False
        raise


def parse_json(data: bytes | bytearray) -> Any:
    """Parse JSON, also with a byte order mark and the lone surrogates that ``json.dump`` writes, which are no JSON.

    Raises:
        ValueError: It is no JSON, or would need more than ``MAX_PARSED`` bytes of memory.
    """
    if exceeds_memory(data):
        raise ValueError(f"would need more than {MAX_PARSED >> 20} MiB of memory")
    try:
        return msgspec.json.decode(data)  # takes two thirds of the time of from_json, but no NaN
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        return from_json(data)
    except ValueError as error:
        try:
            text = data.decode("utf-8-sig", "surrogatepass").encode("utf-8", "replace")
            return from_json(_ESCAPE.sub(_replace_lone_surrogate, text))
        except ValueError:
            raise error from None


def exceeds_memory(data: bytes | bytearray) -> bool:
    """Return whether a document may take more than ``MAX_PARSED`` once parsed: a value for each comma and bracket."""
    if len(data) * (1 + _VALUE_BYTES) <= MAX_PARSED:
        return False
    return len(data) + _VALUE_BYTES * sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_PARSED


def _replace_lone_surrogate(escape: re.Match[bytes]) -> bytes:
    return b"?" if escape[1] is not None else escape[0]


def _read_regular(path: Path | str, most: int) -> bytes | None:
    """Return the first ``most`` bytes of a file, None where it is no regular one; raises OSError and ValueError."""
    descriptor = os.open(path, _FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        # no file object: one that is asked for all that may be there makes room for so much
        data = os.read(descriptor, min(found.st_size + 1, most))
        if len(data) == found.st_size or len(data) == most:
            return data
        parts = [data]
        left = most - len(data)
        while left and (data := os.read(descriptor, min(left, _PART))):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_bytes(path: Path | str, report: Report, limit: int = MAX_FILE) -> bytes | None:
    """Return the content of a regular file.

    Args:
        path: The file.
        report: Takes the problem where it is no regular file or too large.
        limit: The most bytes that it may have.

    Returns:
        The content; None where the file does not exist or was reported.

    Raises:
        OSError: It can't be read for the moment.
    """
    try:
        data = _read_regular(path, limit + 1)
    except ValueError:  # a name with a null byte
        return None
    except OSError as error:
        if is_absent(error):
            return None
        if error.errno in _NO_FILE:
            report("unreadable", f"{path}: not a regular file")
            return None
        raise
    if data is None:
        report("unreadable", f"{path}: not a regular file")
        return None
    if len(data) > limit:
        report("long_file", f"{path}: larger than {limit >> 20} MiB")
        return None
    if _is_pointer(data):
        report("git_lfs", f"{path}: only a pointer of Git LFS; `git lfs pull` fetches the file")
        return None
    return data


def _is_pointer(data: bytes) -> bool:
    return data.startswith(_POINTER) and len(data) < _POINTER_BYTES


def read_head(path: Path | str, length: int) -> bytes:
    """Return the first bytes of a regular file, none where there is no such file; raises as ``read_bytes`` does."""
    try:
        head = _read_regular(path, length) or b""
        return b"" if _is_pointer(head) else head
    except ValueError:  # a name with a null byte
        return b""
    except OSError as error:
        if is_absent(error) or error.errno in _NO_FILE:
            return b""
        raise


def read_object(path: Path | str, report: Report) -> dict[str, Any] | None:
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
