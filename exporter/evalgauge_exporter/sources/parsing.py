"""Reading what is in files that others wrote: nothing in them raises, what is no good is reported and skipped."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic_core import from_json

from evalgauge.runlog import MAX_LINE, encode
from evalgauge.values import ID_LENGTH, LARGEST, LATEST, TEXT_LENGTH

MAX_FILE = 256 << 20
"""Bytes: a larger file is not read."""

Report = Callable[[str, str], None]
"""Takes a problem: one word for counting, and a sentence."""

_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)@(\d\d)(\d\d)(\d\d)(\d{0,6})\Z", re.ASCII)
_PLAIN = re.compile(r"[\w-][\w.@ -]{0,254}\Z")


class FileFingerprint(NamedTuple):
    """What changes when a file does."""

    mtime_ns: int
    size: int
    inode: int


def fingerprint(path: Path) -> FileFingerprint | None:
    """The signature of a file, None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return FileFingerprint(found.st_mtime_ns, found.st_size, found.st_ino)


def file_time(path: Path) -> float | None:
    """When a file was written last, in Unix seconds."""
    found = fingerprint(path)
    return None if found is None else found.mtime_ns / 1e9


def parse(data: bytes) -> Any:
    """The JSON value in ``data``; also takes what Python's own writer lets through. Raises ValueError."""
    try:
        return from_json(data)
    except ValueError as error:
        try:  # half a surrogate pair is no JSON, but ``json.dump`` writes it
            return from_json(encode({"": json.loads(data)}))[""]
        except (ValueError, RecursionError):
            raise error from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads nowhere or in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a regular file or a link to one: to read from a pipe would mean to wait."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for whoever writes to it


def read_bytes(path: Path, report: Report, limit: int = MAX_FILE) -> bytes | None:
    """What is in a file; None where it is not there, can't be read or is too large."""
    try:
        with open(path, "rb", opener=_unblocked) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                report("unreadable", f"{path}: no regular file")
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
    """The JSON object in a file; None where there is none."""
    data = read_bytes(path, report)
    if data is None:
        return None
    try:
        content = parse(data)
    except ValueError:
        report("torn_file", f"{path}: no whole JSON")
        return None
    if not isinstance(content, dict):
        report("foreign_file", f"{path}: no JSON object")
        return None
    return content


def read_objects(path: Path, report: Report) -> list[dict[str, Any]]:
    """The JSON objects of a file with one on each line; a last line without its end is still being written."""
    data = read_bytes(path, report)
    if data is None:
        return []
    lines = data.split(b"\n")
    last = lines.pop()
    objects: list[dict[str, Any]] = []
    for line in lines:
        if line.strip() and (content := line_object(line, path, report)) is not None:
            objects.append(content)
    if last.strip():
        try:
            content = parse(last)
        except ValueError:
            return objects
        if isinstance(content, dict):
            objects.append(content)
    return objects


def line_object(line: bytes, path: Path, report: Report) -> dict[str, Any] | None:
    """The JSON object on a line; None, and reported, where there is none."""
    if len(line) > MAX_LINE:
        report("long_line", f"{path}: a line of more than {MAX_LINE >> 20} MiB")
        return None
    try:
        content = parse(line)
    except ValueError:
        content = None
        report("torn_line" if line.lstrip().startswith(b"{") else "foreign_line", f"{path}: {line[:60]!r}")
        return None
    if not isinstance(content, dict):
        report("foreign_line", f"{path}: {line[:60]!r}")
        return None
    return content


def parse_id(value: object) -> str | None:
    """An id or a name; None where it says nothing."""
    if type(value) is int:
        return str(value)
    return sanitize_id(value) if isinstance(value, str) and value and value.lower() != "unknown" else None


def sanitize_id(name: str) -> str:
    """A name as an id: cut to an id's length, without what only a file's name can hold."""
    return name[:ID_LENGTH].encode("utf-8", "replace").decode()


def parse_text(value: object) -> str | None:
    """A text for people, cut to what is kept of one."""
    return value[:TEXT_LENGTH] if isinstance(value, str) and value else None


def parse_float(value: object) -> float | None:
    """A finite number; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None  # false for NaN too


def parse_non_negative(value: object) -> float | None:
    """A number that is not negative."""
    found = parse_float(value)
    return found if found is not None and found >= 0 else None


def parse_count(value: object) -> int | None:
    """A whole number that is not negative."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def parse_timestamp(value: object) -> float | None:
    """Unix seconds of a time: seconds or milliseconds since 1970, ISO 8601, ``YYYYmmdd@HHMMSS`` with or without
    microseconds; a time without a zone is local. None where it is no time."""
    found = parse_float(value)
    if found is not None:
        found = found / 1000 if found > 1e11 else found
        return found if 0 < found < LATEST else None
    if not isinstance(value, str):
        return None
    try:
        if (compact := _COMPACT.match(value)) is not None:
            year, month, day, hour, minute, second = (int(part) for part in compact.groups()[:6])
            micro = int(compact[7].ljust(6, "0"))  # several times as fast as strptime
            found = datetime(year, month, day, hour, minute, second, micro).timestamp()
        else:
            found = datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return found if found < LATEST else None


def resolve_relative(folder: Path, start: str, name: object) -> str | None:
    """The path of a file relative to ``folder`` that a content in its subfolder ``start`` names.

    None for what leaves the folder, is a URL, or is no text.
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
