"""The run log on disk: ``<results>/<run_id>/events/<writer>.jsonl``, one JSON object a line.

Each process writes a file of its own. A line is one ``write(2)`` to a descriptor opened with ``O_APPEND``, so it is
there whole once the call has returned: a process that is killed afterwards loses nothing that was acknowledged. A
write that was cut off (a full disk, a lost machine) leaves a last line without its newline: readers wait for the rest
of it, and the next writer of that file ends it, after which readers count it as ``torn_line`` and continue.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from evalgauge.errors import InvalidEvent
from evalgauge.events import VERSION, Event, decode, decode_line

log = logging.getLogger("evalgauge")

EVENTS_FOLDER = "events"
SEGMENT = re.compile(r"(.+)\.(\d{6})\.jsonl")
"""The name of a segment of a log in a bucket: the writer, and the number of the segment from 0."""
MAX_LINE = 8 << 20
"""Bytes; readers skip a longer line and count it as ``long_line``."""
LONGEST_WRITTEN = 2 << 20
"""Bytes; texts and lists of a longer line are cut when it is written."""
_CUTS = ((20_000, 50_000), (1_000, 2_000), (600, 100))
"""What remains of a line that is too long: (characters of each text, values in total), tried in order."""
_CHUNK = 1 << 20
_HEAD = 1024
"""Bytes at the beginning of a log by which it is recognised."""
_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)


def safe_name(text: str, length: int = 120) -> str:
    """Turn a text into the name of a file or folder.

    Args:
        text: Any text.
        length: The most characters of the name.

    Returns:
        Letters, digits and ``._@+-``; never empty or hidden, and never a path out of its folder.
    """
    name = re.sub(r"[^A-Za-z0-9._@+-]", "_", text).lstrip(".")[:length]
    return name or "_"


def encode(fields: Mapping[str, Any]) -> bytes:
    """Encode one line of the log. Never raises for any value.

    Args:
        fields: The fields of an event.

    Returns:
        Strict JSON in ASCII, without a newline. Values that JSON has no type for are texts, numbers that are not
        finite are null, lone surrogates are ``?``; what is too long is cut, and ``…`` marks the cut.
    """
    try:
        text = _encoder.encode(fields)
    except (TypeError, ValueError, RecursionError):
        text = _encoder.encode(_JsonConverter().convert(fields))
    if "\\ud" in text:  # perhaps half a surrogate pair, which strict readers refuse
        text = _encoder.encode(_JsonConverter().convert(json.loads(text)))
    for length, values in _CUTS:
        if len(text) <= LONGEST_WRITTEN:
            break
        text = _encoder.encode(_JsonConverter(length, values).convert(fields))
    return text.encode("ascii")


class _JsonConverter:
    """Converts any value to JSON's types: at most ``values`` of them, texts cut to ``length`` characters."""

    def __init__(self, length: int | None = None, values: int = 500_000) -> None:
        self._length = length
        self._left = values

    def convert(self, value: object, depth: int = 0) -> Any:
        """Convert a value."""
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -1 << 63 <= value < 1 << 64 else None
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if depth > 20:
            return "…"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(value, depth)
        if callable(item := getattr(value, "item", None)):  # a NumPy number
            try:
                number = item()
            except (TypeError, ValueError):
                number = None
            if isinstance(number, bool | int | float | str):
                return self.convert(number, depth + 1)
        return self._text(text_of(value)[:1000])

    def _text(self, text: str) -> str:
        if self._length is not None and len(text) > self._length:
            text = text[: self._length] + "…"
        return text.encode("utf-8", "replace").decode("utf-8")

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if self._left <= 0:
                plain["…"] = None
                break
            plain[self._text(text_of(key))] = self.convert(item, depth + 1)
        return plain

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        plain: list[Any] = []
        for item in value:
            if self._left <= 0:
                plain.append("…")
                break
            plain.append(self.convert(item, depth + 1))
        return plain


def text_of(value: object) -> str:
    """Return ``str(value)``, or the name of its class where that raises."""
    try:
        return str(value)
    except Exception:
        return type(value).__name__


class LogWriter:
    """Appends events to one file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open a log for appending; ``seq`` continues where the file ended, and a torn last line is ended.

        Args:
            path: The file; it and its folder are created where they do not exist.

        Raises:
            OSError: The file could not be opened.
        """
        self.path = path
        self._lock = threading.RLock()  # a signal's handler may write in the midst of a write
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        found = os.fstat(self._fd)
        self._linked = found.st_nlink > 0  # some file systems always say 0
        length = 64 << 10
        tail = _tail(self._fd, found.st_size, length)
        while (last := _last_seq(tail)) < 0 and len(tail) == length:  # the last line is longer than that
            length *= 8
            tail = _tail(self._fd, found.st_size, length)
        self._torn = bool(tail) and not tail.endswith(b"\n")
        self._seq = last + 1

    def write(self, kind: str, fields: Mapping[str, Any], *, sync: bool = False) -> int:
        """Append one event.

        Args:
            kind: The event's type.
            fields: Its fields; they override ``ts``, the current time.
            sync: Whether the line is forced to the disk before this returns.

        Returns:
            The event's ``seq``.

        Raises:
            OSError: The line could not be written, or the file was deleted or closed.
        """
        with self._lock:
            fd, seq = self._fd, self._seq
            if self.deleted():
                raise FileNotFoundError(errno.ENOENT, "the log was deleted", str(self.path))
            self._seq = seq + 1  # at once: no other line may have this number, whatever becomes of this one
            line = encode({"v": VERSION, "seq": seq, "ts": time.time(), "type": kind, **fields}) + b"\n"
            if self._torn:
                line = b"\n" + line
            done = os.write(fd, line)
            while done < len(line):  # a disk that is nearly full takes a part
                self._torn = True
                done += os.write(fd, line[done:])
            self._torn = False
        if sync:
            os.fsync(fd)
        return seq

    def deleted(self) -> bool:
        """Whether the file was deleted. Raises OSError once it is closed."""
        return self._linked and os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Close the file; a later ``write`` raises OSError."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def close_in_child(self) -> None:
        """Close the descriptor in a forked process, where the thread that held the lock does not exist."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _tail(fd: int, size: int, length: int) -> bytes:
    start = max(0, size - length)
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
    """Something in a source that was skipped: ``reason`` is one word for counting, ``detail`` a sentence for people."""

    reason: str
    detail: str


def _open_now(path: str, flags: int) -> int:
    """Open a file for reading; a pipe that has taken the place of a log is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class LineReader:
    """Follows a file of lines: each ``read`` gives the lines that were appended since the last one, whole ones only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replaced = False
        """True once the file became shorter or another file: what was read before is no longer valid."""
        self.offset = 0
        """Bytes that were read."""
        self.long_lines = 0
        """Lines of more than ``MAX_LINE`` bytes, which are skipped."""
        self._mark = (0, 0, 0)
        """Inode, size and time of the file when it was last read."""
        self._head = b""
        """The first bytes of the file: one that was rewritten in place begins in another way."""
        self._tail = b""
        """The last bytes that were read."""
        self._rest = b""
        self._skipping = False

    def read(self, limit: int = 8 << 20) -> tuple[list[bytes], bool]:
        """Return the lines in the next ``limit`` bytes, without their ends and empty ones, and whether there is more.

        Raises:
            OSError: The file can't be read; FileNotFoundError where it does not exist.
        """
        lines: list[bytes] = []
        found = os.stat(self.path)  # much cheaper than to open what has not changed
        mark = (found.st_ino, found.st_size, found.st_mtime_ns)
        if mark == self._mark and found.st_size == self.offset:
            return lines, False
        with open(self.path, "rb", buffering=0, opener=_open_now) as file:
            head = file.read(_HEAD)
            if self.offset:
                same = found.st_ino == self._mark[0] and head.startswith(self._head)
                self.replaced |= not same or found.st_size < self.offset
            if self.replaced:
                return lines, False
            self._mark, self._head = mark, head
            end = min(found.st_size, self.offset + limit)
            while self.offset < end:
                if self._skipping:
                    self.offset = _next_data(file.fileno(), self.offset, found.st_size)
                file.seek(self.offset)
                chunk = file.read(min(_CHUNK, max(0, end - self.offset)))
                if not chunk:
                    break
                self.offset += len(chunk)
                self._tail = (self._tail + chunk[-_HEAD:])[-_HEAD:]
                lines += self._split(chunk)
        return lines, self.offset < found.st_size

    def is_continued(self) -> bool:
        """Return whether the file is the one that was read, with or without more at its end.

        Raises:
            OSError: The file can't be read; FileNotFoundError where it does not exist.
        """
        with open(self.path, "rb", buffering=0, opener=_open_now) as file:
            found = os.fstat(file.fileno())
            if self.replaced or found.st_size < self.offset or (self.offset and found.st_ino != self._mark[0]):
                return False
            begins_same = file.read(len(self._head)) == self._head
            file.seek(self.offset - len(self._tail))
            return begins_same and file.read(len(self._tail)) == self._tail

    def _split(self, chunk: bytes) -> list[bytes]:
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        if len(self._rest) > MAX_LINE:
            self.long_lines += not self._skipping
            self._rest, self._skipping = b"", True
        return [line for line in lines if line]


class LogReader:
    """Follows one log file: each ``read`` gives the events that were appended since the last one."""

    def __init__(self, path: Path, writer: str | None = None) -> None:
        self.path = path
        segment = SEGMENT.fullmatch(path.name)
        self.writer = writer or (segment[1] if segment is not None else path.stem)
        self._reader = LineReader(path)
        self._details: dict[str, str] = {}
        self._last_ts: float | None = None

    @property
    def replaced(self) -> bool:
        """True once the file became shorter or another file: what was read before is no longer valid."""
        return self._reader.replaced

    @property
    def offset(self) -> int:
        """Bytes that were read."""
        return self._reader.offset

    def is_continued(self) -> bool:
        """Return whether the file is the one that was read, with or without more at its end.

        Raises:
            OSError: The file can't be read; FileNotFoundError where it does not exist.
        """
        return self._reader.is_continued()

    def read(self, limit: int = 8 << 20) -> tuple[list[Event], list[Problem], bool]:
        """Return events and problems of the next ``limit`` bytes, and whether there is more.

        Raises:
            OSError: The file can't be read; FileNotFoundError where it does not exist.
        """
        events: list[Event] = []
        problems: list[Problem] = []
        before, writer = self._reader.long_lines, self.writer
        lines, has_more = self._reader.read(limit)
        if self._reader.long_lines > before:
            problems.append(self._problem("long_line", f"a line of more than {MAX_LINE >> 20} MiB"))
        undated: list[Event] = []  # those before the first line with a time
        last = self._last_ts
        for line in lines:
            try:
                event = decode_line(line, writer)
                ts = event.ts or None  # 0: a clock that was never set
            except InvalidEvent as error:
                problems.append(self._problem(error.reason, str(error)))
                dated = self._date_event(line) if error.reason == "bad_field" else None
                if dated is None:
                    continue
                event, ts = dated, None
            except (ValueError, RecursionError):
                reason = "torn_line" if line.startswith(b"{") else "foreign_line"
                problems.append(self._problem(reason, f"not a line of a run log: {line[:60]!r}"))
                continue
            events.append(event)
            if ts is not None:
                last = ts
                if undated:
                    _date_all(undated, ts)
            elif last is not None:
                event.ts = last
            else:
                undated.append(event)
        if undated:
            last = self._modified_at()
            _date_all(undated, last)
        self._last_ts = last
        return events, problems, has_more

    def _modified_at(self) -> float:
        try:
            return os.stat(self.path).st_mtime
        except OSError:  # it was removed just now
            return time.time()

    def _date_event(self, line: bytes) -> Event | None:
        """Return the event of a line whose time can't be right, with another one; None where more is wrong.

        A clock that is set to another century does not cost an outcome.
        """
        try:
            return decode({**from_json(line), "ts": 1.0}, self.writer)
        except InvalidEvent:
            return None

    def _problem(self, reason: str, detail: str) -> Problem:
        """Return a problem in the words of the first of its kind in this file: all count, the file is named once."""
        return Problem(reason, self._details.setdefault(reason, f"{self.path}: {detail}"))


def _date_all(undated: list[Event], ts: float) -> None:
    for event in undated:
        event.ts = ts
    undated.clear()


def _next_data(fd: int, offset: int, size: int) -> int:
    """Return where the next data of a sparse file is, at or after ``offset``; its size where there is none."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:  # ENXIO: a hole up to the end; other file systems do not know of holes
        return size if error.errno == errno.ENXIO else offset


def log_files(run_folder: Path) -> list[Path]:
    """Return the log files of a run's folder in order of their names; empty where it has none."""
    try:
        with os.scandir(run_folder / EVENTS_FOLDER) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".jsonl"))
    except OSError:
        return []
    return [run_folder / EVENTS_FOLDER / name for name in names]


def read_events(run_folder: Path) -> Iterator[Event]:
    """Read every event of a run's folder, file by file; lines that are no events are skipped with a warning."""
    for path in log_files(run_folder):
        reader, more = LogReader(path), True
        named: set[Problem] = set()
        while more:
            events, problems, more = reader.read()
            for problem in dict.fromkeys(problems):
                if problem not in named:
                    log.warning("skipped: %s", problem.detail)
            named.update(problems)
            yield from events
