"""Logs of Inspect as one JSON document: ``--log-format json``, once the default and what R's vitals writes.

The document is what the members of an ``.eval`` file are put together, so the reader of those reads it. Traps:

- It is rewritten as a whole while the run is running; a torn one is read at the next change.
- ``samples`` is missing or empty with ``--no-log-samples``: see ``header``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import Raw, Struct

from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.inspect.eval_zip import LogReader
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.sources.inspect.sample_document import to_raw
from evalgauge_exporter.sources.parsing import MAX_PARSED, exceeds_memory, parse_json, read_bytes, read_head

SUFFIX = ".json"
_HEAD = re.compile(rb'\A\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:\s*"[a-z]+"\s*,\s*"eval"\s*:\s*\{')
_OLD_HEAD = re.compile(rb'\A\s*\{\s*"(?:version|status|eval)"\s*:')
_MAX_LOG = 512 << 20
_MAX_SPLIT = 1 << 30
"""Bytes of memory that the parts of a document may take, as estimated from the number of its commas."""
_RAW_BYTES = 80
_NULL = Raw(b"null")


def matches_file(path: Path) -> bool:
    """Return whether a file is such a log."""
    head = read_head(path, 1 << 13)
    if _HEAD.match(head) and b'"task"' in head and b'"created"' in head:
        return True
    return _OLD_HEAD.match(head) is not None and all(
        key in head for key in (b'"eval"', b'"task_version"', b'"model"', b'"dataset"')
    )


class JsonMember(NamedTuple):
    """A part of the document, as a member of an archive is described."""

    CRC: int
    file_size: int


class JsonLogReader:
    """The parts of a JSON log under the names that they have in an ``.eval`` file. A context manager."""

    def __init__(self, path: Path) -> None:
        """Read the document.

        Raises:
            EvalZipError: It is no whole JSON, not an object, or too large.
        """
        self.whole = True
        reasons: list[str] = []
        data = read_bytes(path, lambda reason, _: reasons.append(reason), _MAX_LOG)
        if data is None:
            raise EvalZipError(reasons[0] if reasons else "unreadable", "can't be read")
        self._parts = dict(_split(data))
        self.members = {
            name: JsonMember(zlib.crc32(part), memoryview(part).nbytes) for name, part in self._parts.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.clear()

    def read(self, name: str) -> bytes:
        """Return a part as JSON.

        Raises:
            KeyError: There is no part of this name.
            EvalZipError: It would need too much memory.
        """
        part = bytes(self._parts[name])
        if exceeds_memory(part):
            raise EvalZipError("long_file", f"{name}: would need more than {MAX_PARSED >> 20} MiB of memory")
        return part


class _Log(Struct, gc=False):
    """The parts of a log that are read, as JSON."""

    samples: list[Raw] | None = None
    reductions: Raw = _NULL
    eval: Raw = _NULL
    stats: Raw = _NULL
    results: Raw = _NULL
    status: Raw = _NULL


class _SampleKey(Struct, gc=False):
    id: Any = None
    epoch: Any = None


_decode_log = msgspec.json.Decoder(_Log).decode
_decode_key = msgspec.json.Decoder(_SampleKey).decode


def _split(data: bytes) -> Iterator[tuple[str, Raw | bytes]]:
    """Yield the parts of a log. Raises EvalZipError."""
    log = _parse(data)
    for index, sample in enumerate(log.samples or ()):
        try:
            key = _decode_key(sample)
            name = f"{key.id}_epoch_{key.epoch}"
        except (msgspec.MsgspecError, ValueError):
            name = str(index)
        # ids are any text: the number keeps the names apart
        yield f"samples/{index}_{name.replace('/', '_')}.json", sample
    yield "reductions.json", log.reductions
    head = {name.encode(): bytes(getattr(log, name)) for name in ("eval", "stats", "results", "status")}
    yield "header.json", b"{" + b",".join(b'"%b":%b' % part for part in head.items()) + b"}"


def _parse(data: bytes) -> _Log:
    if _RAW_BYTES * data.count(b",") > _MAX_SPLIT:
        raise EvalZipError("long_file", f"would need more than {_MAX_SPLIT >> 20} MiB of memory")
    try:
        return _decode_log(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # NaN, or a value of another type
    try:
        content = parse_json(data)
    except ValueError as error:
        raise EvalZipError("torn_file", "not whole JSON") from error
    if not isinstance(content, dict):
        raise EvalZipError("foreign_file", "not a JSON object")
    samples = content.pop("samples", None)
    parts = {
        name: to_raw(content[name]) for name in ("reductions", "eval", "stats", "results", "status") if name in content
    }
    return _Log(samples=[to_raw(sample) for sample in samples] if isinstance(samples, list) else None, **parts)


class InspectJsonLogSource(InspectLogSource):
    """Reads one JSON log."""

    def _open(self, members: Mapping[str, Any] | None = None) -> LogReader:
        return JsonLogReader(self._path)
