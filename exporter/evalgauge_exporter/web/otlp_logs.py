"""OTLP logs receiver: stores run logs that other machines send as OTLP log records.

``POST /v1/logs`` in both encodings of OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp). A record is a
line of a run log: its body is the line; ``evalgauge.run_id``, ``evalgauge.writer`` and ``evalgauge.seq`` identify it.
It is appended to ``<folder>/<run_id>/events/<writer>.jsonl``, where the sources find it, and only then acknowledged. A
record that is stored already, by run, writer and seq, is skipped, so senders may repeat a request that failed. A
Collector in between may batch, reorder and merge resources.

A sender has the token but is not trusted beyond that: names are checked, sizes bounded, lines parsed and encoded anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect

from evalgauge.events import VERSION
from evalgauge.runlog import EVENTS_FOLDER, encode, safe_name
from evalgauge_exporter.errors import RecordError
from evalgauge_exporter.web.auth import is_bearer

log = logging.getLogger("evalgauge.exporter")

PATH = "/v1/logs"
MAX_BODY = 8 << 20
"""Bytes of a request body as sent."""
MAX_CONTENT = 16 << 20
"""Bytes of a request body once it is decompressed."""
_CHUNK = 4 << 10
"""Bytes that are decompressed at once."""
MAX_RECORD = 4 << 20
"""Characters of one log line."""
SORT_INTERVAL = 60.0
"""Minimum seconds between two rewrites of a log that arrived out of order."""
MAX_SORTED_BYTES = 256 << 20
"""Bytes: a larger log stays in the order of its arrival, which only blurs how long workers were busy."""
MAX_IN_FLIGHT = 64 << 20
"""Bytes of all request bodies that are being received together; beyond it senders are asked to wait."""
MAX_CONCURRENT = 2
"""Requests that are decompressed and stored at the same time; others wait."""
MAX_RUNS = 10_000
"""Runs in the folder."""
MAX_WRITERS = 2_000
"""Writers of one run."""
MAX_OPEN_LOGS = 500
"""Logs whose stored sequence numbers are cached; others are read again when a record for them arrives."""
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_SEQ = re.compile(rb'\{"v":\d+,"seq":(\d{1,18}),')


class LogLine(NamedTuple):
    """A valid record: one line of a run log."""

    run_id: str
    writer: str
    seq: int
    data: bytes
    """The encoded event, without a newline."""


class StoreResult(NamedTuple):
    """Counts of a request's records."""

    added: int
    known: int
    """Stored already by an earlier request."""
    rejected: int
    reason: str
    """Why the first one was rejected; empty where none was."""


class _Log:
    """One log file and the sequence numbers that it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._below = 0
        """Every number below this one is stored."""
        self._others: set[int] = set()
        self._torn = False
        self._last = -1
        self._mixed = False
        """Whether the lines are not in the order of their numbers."""
        self._sorted_at = -SORT_INTERVAL
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("rb") as file:
                for raw in file:
                    self._torn = not raw.endswith(b"\n")
                    seq = _SEQ.match(raw)
                    if seq and not self._torn:  # a torn line was not acknowledged: its sender sends it again
                        self._mark_stored(int(seq[1]))

    def __contains__(self, seq: int) -> bool:
        return seq < self._below or seq in self._others

    def _mark_stored(self, seq: int) -> None:
        self._mixed = self._mixed or seq < self._last
        self._last = max(self._last, seq)
        self._others.add(seq)
        while self._below in self._others:
            self._others.discard(self._below)
            self._below += 1

    def add(self, lines: list[LogLine]) -> int:
        """Append the lines that are not stored yet, in the order of their numbers, and sync them to the disk.

        Args:
            lines: Lines of this log, in any order.

        Returns:
            The number of lines appended.

        Raises:
            OSError: The file can't be written.
        """
        fresh: dict[int, bytes] = {line.seq: line.data for line in lines if line.seq not in self}
        if not fresh:
            return 0
        data = b"".join(fresh[seq] + b"\n" for seq in sorted(fresh))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            data = b"\n" + data if self._torn else data
            self._torn = True
            done = 0
            while done < len(data):
                done += os.write(fd, data[done:])
            self._torn = False
            os.fsync(fd)
        finally:
            os.close(fd)
        for seq in sorted(fresh):
            self._mark_stored(seq)
        self._sort_file(b'"type":"run_finished"' in data)
        return len(fresh)

    def _sort_file(self, run_finished: bool) -> None:
        """Rewrite a file that arrived out of order once it has no gap, at most once in ``SORT_INTERVAL``.

        Numbers that are missing when the run has finished will not arrive: their lines could not be written.
        """
        now = time.monotonic()
        if not self._mixed or not (run_finished or (not self._others and now - self._sorted_at >= SORT_INTERVAL)):
            return
        if self.path.stat().st_size > MAX_SORTED_BYTES:
            return
        lines = {int(found[1]): raw for raw in self.path.read_bytes().splitlines() if (found := _SEQ.match(raw))}
        beside = self.path.with_suffix(".sorting")
        with beside.open("wb") as file:
            file.writelines(lines[seq] + b"\n" for seq in sorted(lines))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._mixed, self._sorted_at = False, now


class ReceivedLogs:
    """The folder of received run logs. Thread-safe; one process at a time.

    Args:
        folder: The folder that holds the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._logs: OrderedDict[tuple[str, str], _Log] = OrderedDict()

    def store(self, records: Iterator[LogLine | RecordError]) -> StoreResult:
        """Append the records that are new.

        Args:
            records: Lines, and an error for each invalid record.

        Raises:
            OSError: A log can't be written; the request must not be acknowledged.
        """
        by_log: dict[tuple[str, str], list[LogLine]] = {}
        rejected, reason = 0, ""
        for record in records:
            if isinstance(record, RecordError):
                rejected += 1
                reason = reason or str(record)
            else:
                by_log.setdefault((record.run_id, record.writer), []).append(record)
        added = known = 0
        with self._lock:
            for key, lines in by_log.items():
                try:
                    count = self._log(*key).add(lines)
                except RecordError as refused:
                    rejected += len(lines)
                    reason = reason or str(refused)
                    continue
                added += count
                known += len(lines) - count
        return StoreResult(added, known, rejected, reason)

    def _log(self, run_id: str, writer: str) -> _Log:
        key = (run_id, writer)
        found = self._logs.get(key)
        if found is None or not found.path.exists():
            run = self.folder / run_id
            if not run.exists() and _count_entries(self.folder) >= MAX_RUNS:
                raise RecordError(f"the folder holds {MAX_RUNS} runs already")
            path = run / EVENTS_FOLDER / f"{writer}.jsonl"
            if not path.exists() and _count_entries(path.parent) >= MAX_WRITERS:
                raise RecordError(f"the run {run_id} has {MAX_WRITERS} writers already")
            found = self._logs[key] = _Log(path)
            while len(self._logs) > MAX_OPEN_LOGS:
                self._logs.popitem(last=False)
        self._logs.move_to_end(key)
        return found


def _count_entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


# -- the request


def logs_router(folder: Path, token: str | None) -> APIRouter:
    """Build the route ``POST /v1/logs``.

    Args:
        folder: Where received runs are stored.
        token: The bearer token that senders need; ``None`` refuses every request with 403.
    """
    router = APIRouter()
    received = ReceivedLogs(folder)
    limit = anyio.CapacityLimiter(MAX_CONCURRENT)
    memory = _Budget(MAX_IN_FLIGHT)

    @router.post(
        PATH,
        tags=["machines"],
        summary="Receive run logs as OTLP logs, JSON or protobuf, optionally gzip",
        responses={
            401: {"description": "No token, or a wrong one."},
            403: {"description": "Receiving is off."},
            413: {"description": "Too large."},
            415: {"description": "Neither JSON nor protobuf."},
            503: {"description": "The log can't be stored now; send it again."},
        },
    )
    async def take(request: Request) -> Response:
        _authorise(request, token)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, PROTOBUF):
            raise HTTPException(415, f"content-type must be {JSON} or {PROTOBUF}")
        with memory.reserve(_declared_size(request)):
            try:
                body = await _read_body(request)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to read it
            try:
                stored = await anyio.to_thread.run_sync(
                    _store_body, received, body, request.headers.get("content-encoding"), kind, limiter=limit
                )
            except OSError as error:
                log.error("received logs can't be written to %s: %s", folder, error)
                raise HTTPException(503, "the log can't be written now", {"retry-after": "10"}) from error
        if stored.rejected:
            log.warning("%d received records were rejected: %s", stored.rejected, stored.reason)
        return Response(_encode_result(stored, kind), media_type=kind)

    return router


def _authorise(request: Request, token: str | None) -> None:
    if token is None:
        raise HTTPException(403, "receiving logs is off; start the exporter with --receive and --token-file")
    if not is_bearer(request.headers.get("authorization", ""), token):
        raise HTTPException(
            401, "a token is needed: send it as Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
        )


class _Budget:
    """The bytes that all requests together may hold in memory. Belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self._left = size

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve bytes while the block runs. Raises ``HTTPException`` 503 where too few are left."""
        if size > self._left:
            raise HTTPException(503, "too many logs are being received; send it again", {"retry-after": "2"})
        self._left -= size
        try:
            yield
        finally:
            self._left += size


def _declared_size(request: Request) -> int:
    """Return the bytes that the body of a request can have, by its ``content-length``."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return MAX_BODY
    if len(length) > 12 or int(length) > MAX_BODY:
        raise HTTPException(413, f"a request may have {MAX_BODY >> 20} MiB")
    return int(length)


async def _read_body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise HTTPException(413, f"a request may have {MAX_BODY >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _store_body(received: ReceivedLogs, body: bytes, encoding: str | None, kind: str) -> StoreResult:
    content = _decompress(body, (encoding or "identity").strip().lower())
    return received.store(_parse_json(content) if kind == JSON else _parse_protobuf(content))


def _decompress(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise HTTPException(415, "content-encoding must be gzip or none")
    content, rest, unpacking = bytearray(), memoryview(body), None
    while rest:  # a gzip body may consist of several members
        unpacking = unpacking or zlib.decompressobj(wbits=31)
        piece = rest[:_CHUNK]  # small: its rest is copied at the end of each member, and there may be very many
        try:
            content += unpacking.decompress(piece, MAX_CONTENT + 1 - len(content))
        except zlib.error as error:
            raise HTTPException(400, "the body is not gzip") from error
        if len(content) > MAX_CONTENT:
            raise HTTPException(413, f"a request may have {MAX_CONTENT >> 20} MiB once it is decompressed")
        rest = rest[len(piece) - len(unpacking.unused_data) :]
        unpacking = None if unpacking.eof else unpacking
    if unpacking is not None:
        raise HTTPException(400, "the gzip body is truncated")
    return bytes(content)


def _encode_result(stored: StoreResult, kind: str) -> bytes:
    if kind == PROTOBUF:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        answer = ExportLogsServiceResponse()
        if stored.rejected:
            answer.partial_success.rejected_log_records = stored.rejected
            answer.partial_success.error_message = stored.reason
        encoded: bytes = answer.SerializeToString()
        return encoded
    if not stored.rejected:
        return b"{}"
    return to_json({"partialSuccess": {"rejectedLogRecords": str(stored.rejected), "errorMessage": stored.reason}})


# -- the records


def _parse_json(content: bytes) -> Iterator[LogLine | RecordError]:
    try:
        request = from_json(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(request, dict):
        raise HTTPException(400, "the body is not an ExportLogsServiceRequest")
    for resource in _as_objects(request.get("resourceLogs")):
        outer = _parse_json_attributes(_as_object(resource.get("resource")).get("attributes"))
        for scope in _as_objects(resource.get("scopeLogs")):
            for record in _as_objects(scope.get("logRecords")):
                attributes = {**outer, **_parse_json_attributes(record.get("attributes"))}
                yield _parse_record(attributes, _as_object(record.get("body")).get("stringValue"))


def _as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parse_json_attributes(attributes: object) -> dict[str, Any]:
    found = {}
    for pair in _as_objects(attributes):
        value = _as_object(pair.get("value"))
        found[str(pair.get("key"))] = value.get("stringValue", value.get("intValue"))
    return found


def _parse_protobuf(content: bytes) -> Iterator[LogLine | RecordError]:
    try:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    except ModuleNotFoundError as error:
        raise HTTPException(415, "protobuf needs pip install 'evalgauge[otel]' here; send JSON") from error
    try:
        request = ExportLogsServiceRequest.FromString(content)
    except Exception as error:  # DecodeError of a package that has no types
        raise HTTPException(400, "the body is not an ExportLogsServiceRequest") from error
    for resource in request.resource_logs:
        outer = {pair.key: _read_value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {**outer, **{pair.key: _read_value(pair.value) for pair in record.attributes}}
                yield _parse_record(attributes, _read_value(record.body))


def _read_value(value: Any) -> str | int | None:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in ("string_value", "int_value") else None


def _parse_record(attributes: Mapping[str, Any], body: object) -> LogLine | RecordError:
    """Parse a record and encode its event anew; return the error for an invalid one."""
    try:
        run_id = _check_name(attributes.get("evalgauge.run_id"), "evalgauge.run_id")
        writer = _check_name(attributes.get("evalgauge.writer"), "evalgauge.writer")
        if not isinstance(body, str):
            raise RecordError("a record whose body is not a line of a run log")
        if len(body) > MAX_RECORD:
            raise RecordError(f"a line of more than {MAX_RECORD >> 20} MiB")
        try:
            event = from_json(body)
        except (ValueError, RecursionError) as error:
            raise RecordError("a record whose body is not JSON") from error
        seq = event.get("seq") if isinstance(event, dict) else None
        version = event.get("v", VERSION) if isinstance(event, dict) else None
        if type(version) is not int or not 0 <= version < 1 << 53:
            raise RecordError("a record whose body is not an event")
        if type(seq) is not int or not 0 <= seq < 1 << 53 or not isinstance(event.get("type"), str):
            raise RecordError("a record whose body is not an event")
        if _is_outside(event.get("screenshot")):
            event["screenshot"] = None
        data = encode({"v": event.pop("v", VERSION), "seq": event.pop("seq"), **event})
    except RecordError as refused:
        return refused
    return LogLine(run_id, writer, seq, data)


def _check_name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value or safe_name(value) != value:
        raise RecordError(f"{what} is {str(value)[:60]!r}, which can't be the name of a folder")
    return value


def _is_outside(screenshot: object) -> bool:
    """Whether a screenshot's path leads out of the folder of the run."""
    if not isinstance(screenshot, str):
        return False
    path = PurePosixPath(screenshot.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in screenshot
