"""The run log on disk: ``<results>/<run_id>/events/<writer>.jsonl``, one JSON object a line.

Each process writes a file of its own. A line is one ``write(2)`` to a descriptor opened with ``O_APPEND``, so it is
there whole once the call returned: a process that is killed afterwards loses nothing that was acknowledged. What is
cut off (a full disk, a lost machine) is a last line without its newline: readers wait for the rest of it, and the
next writer of that file closes it off, after which readers count it as ``torn_line`` and go on.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from evalgauge.events import VERSION, Event, InvalidEvent, decode

log = logging.getLogger("evalgauge")

EVENTS_FOLDER = "events"
MAX_LINE = 8 << 20
"""Bytes: a longer line is skipped by readers and counted as ``long_line``. The tracker cuts long texts well below."""
_CHUNK = 1 << 20
_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)


def safe_name(text: str, length: int = 120) -> str:
    """A name for a file or folder: letters, digits and ``._@+-``; never empty, hidden or a way out of its folder."""
    name = re.sub(r"[^A-Za-z0-9._@+-]", "_", text).lstrip(".")[:length]
    return name or "_"


def encode(fields: Mapping[str, Any]) -> bytes:
    """One line of the log without its newline: strict JSON in ASCII, whatever the values are.

    What JSON has no word for is written as text, a number that is not finite as null, a lone surrogate as ``?``.
    """
    try:
        text = _encoder.encode(fields)
    except (TypeError, ValueError, RecursionError):
        text = _encoder.encode(_plain(fields))
    if "\\ud" in text:  # perhaps half a surrogate pair, which strict readers refuse
        text = _encoder.encode(_plain(json.loads(text)))
    return text.encode("ascii")


def _plain(value: object, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > 20:
        return "…"
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    if callable(item := getattr(value, "item", None)):  # a NumPy number
        try:
            number = item()
        except (TypeError, ValueError):
            number = str(value)
        if isinstance(number, bool | int | float | str):
            return _plain(number, depth + 1)
    return _plain(str(value)[:1000])


class LogWriter:
    """Appends events to one file. Thread-safe. ``write`` raises OSError; whoever calls it decides what that means."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` for appending, close off a torn last line and go on counting ``seq`` where it ended."""
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        size = os.fstat(self._fd).st_size
        tail = _tail(self._fd, size)
        self._torn = bool(tail) and not tail.endswith(b"\n")
        self._seq = _last_seq(tail) + 1

    def write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> int:
        """Append one event now; return its ``seq``. With ``sync`` it is on the disk when this returns."""
        with self._lock:
            seq = self._seq
            line = encode({"v": VERSION, "seq": seq, "ts": time.time(), "type": kind, **fields}) + b"\n"
            if self._torn:
                line = b"\n" + line
            done = os.write(self._fd, line)
            while done < len(line):  # a disk that is nearly full takes a part
                self._torn = True
                done += os.write(self._fd, line[done:])
            self._torn = False
            self._seq = seq + 1
            fd = self._fd
        if sync:
            os.fsync(fd)
        return seq

    def close(self) -> None:
        """Close the file; a later ``write`` raises OSError."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def _tail(fd: int, size: int) -> bytes:
    start = max(0, size - (64 << 10))
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, size - start)


def _last_seq(tail: bytes) -> int:
    for line in reversed(tail.split(b"\n")):
        try:
            raw = from_json(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and type(raw.get("seq")) is int:
            return int(raw["seq"])
    return -1


class Problem(NamedTuple):
    """Something in a source that was skipped: ``reason`` is a word for counting, ``detail`` a sentence for people."""

    reason: str
    detail: str


class LogReader:
    """Follows one log file: each ``read`` gives what was appended since the last one, whole lines only."""

    def __init__(self, path: Path, writer: str | None = None) -> None:
        self.path = path
        self.writer = writer or path.stem
        self.replaced = False
        """True once the file became shorter or another file: what was read before no longer stands."""
        self._offset = 0
        self._inode = 0
        self._rest = b""
        self._skipping = False

    def read(self, limit: int = 8 << 20) -> tuple[list[Event], list[Problem], bool]:
        """Events and problems of the next ``limit`` bytes at most, and whether there was more.

        Raises OSError where the file can't be read, FileNotFoundError where it is gone.
        """
        events: list[Event] = []
        problems: list[Problem] = []
        found = os.stat(self.path)  # much cheaper than to open what has not changed
        if self._inode and (found.st_ino != self._inode or found.st_size < self._offset):
            self.replaced = True
            return events, problems, False
        self._inode = found.st_ino
        if found.st_size == self._offset:
            return events, problems, False
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._offset)
            end = min(found.st_size, self._offset + limit)
            while self._offset < end:
                chunk = file.read(min(_CHUNK, end - self._offset))
                if not chunk:
                    break
                self._offset += len(chunk)
                self._take(chunk, events, problems)
        return events, problems, self._offset < found.st_size

    def _take(self, chunk: bytes, events: list[Event], problems: list[Problem]) -> None:
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            if not self._skipping:
                problems.append(Problem("long_line", f"{self.path}: a line of more than {MAX_LINE >> 20} MiB"))
            self._rest, self._skipping = b"", True
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        writer = self.writer
        for line in lines:
            if not line:
                continue
            try:
                events.append(decode(from_json(line), writer))
            except InvalidEvent as error:
                problems.append(Problem(error.reason, f"{self.path}: {error}"))
            except (ValueError, RecursionError):
                reason = "torn_line" if line.startswith(b"{") else "foreign_line"
                problems.append(Problem(reason, f"{self.path}: not a line of a run log: {line[:60]!r}"))


def log_files(run_folder: Path) -> list[Path]:
    """The log files of a run's folder in order of their names; empty where it has none."""
    try:
        with os.scandir(run_folder / EVENTS_FOLDER) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".jsonl"))
    except OSError:
        return []
    return [run_folder / EVENTS_FOLDER / name for name in names]


def read_events(run_folder: Path) -> Iterator[Event]:
    """Every event of a run's folder, file by file; what is no event is skipped with a line in the log."""
    for path in log_files(run_folder):
        reader, more = LogReader(path), True
        while more:
            events, problems, more = reader.read()
            for problem in problems:
                log.warning("skipped: %s", problem.detail)
            yield from events
