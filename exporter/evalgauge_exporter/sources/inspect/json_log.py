"""Logs of Inspect as one JSON document: ``--log-format json``, once the default and what R's vitals writes.

The document is what the members of an ``.eval`` file are put together, so the reader of those reads it. Traps:

- It is rewritten as a whole while the run is running; a torn one is read at the next change.
- ``samples`` is missing or empty with ``--no-log-samples``: see ``header``.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pydantic_core import to_json

from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.inspect.eval_zip import LogReader
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.sources.parsing import parse_json, read_bytes, read_head

SUFFIX = ".json"
_HEAD = re.compile(rb'\A\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:\s*"[a-z]+"\s*,\s*"eval"\s*:\s*\{')
_OLD_HEAD = re.compile(rb'\A\s*\{\s*"(?:version|status|eval)"\s*:')
_MAX_LOG = 512 << 20


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
        try:
            content = parse_json(data)
        except ValueError as error:
            raise EvalZipError("torn_file", "not whole JSON") from error
        if not isinstance(content, dict):
            raise EvalZipError("foreign_file", "not a JSON object")
        self._parts = dict(_split(content))
        self.members = {name: JsonMember(zlib.crc32(part), len(part)) for name, part in self._parts.items()}

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
        """
        return self._parts[name]


def _split(content: dict[str, Any]) -> list[tuple[str, bytes]]:
    samples = content.pop("samples", None)
    parts: list[tuple[str, bytes]] = []
    for index, sample in enumerate(samples if isinstance(samples, list) else ()):
        known = isinstance(sample, dict)
        name = f"{sample.get('id')}_epoch_{sample.get('epoch')}" if known else str(index)
        # ids are any text: the number keeps the names apart
        parts.append((f"samples/{index}_{name.replace('/', '_')}.json", to_json(sample, inf_nan_mode="constants")))
    parts.append(("reductions.json", to_json(content.pop("reductions", None), inf_nan_mode="constants")))
    parts.append(("header.json", to_json(content, inf_nan_mode="constants")))
    return parts


class InspectJsonLogSource(InspectLogSource):
    """Reads one JSON log."""

    def _open(self) -> LogReader:
        return JsonLogReader(self._path)
