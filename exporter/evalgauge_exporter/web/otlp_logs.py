"""Takes run logs that other machines send as OTLP logs, and stores them as run logs like any other.

``POST /v1/logs`` in both encodings of OTLP (https://opentelemetry.io/docs/specs/otlp/#otlphttp). A record is a line of
a log: its body is the line, ``evalgauge.run_id``, ``evalgauge.writer`` and ``evalgauge.seq`` say where it belongs. It
is appended to ``<folder>/<run_id>/events/<writer>.jsonl``, where the sources find it, and only then acknowledged. What
was stored before, by run, writer and seq, is left out, so that senders may repeat what they are not sure of. A
Collector in between may batch, reorder and put resources together.

Whoever sends has the token and is believed for no more than that: names are checked, sizes bounded, lines parsed and
written anew.
"""

from __future__ import annotations

import hmac
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

from evalgauge.events import VERSION
from evalgauge.runlog import EVENTS_FOLDER, encode, safe_name
from evalgauge_exporter.errors import RecordError

log = logging.getLogger("evalgauge.exporter")

PATH = "/v1/logs"
MAX_BODY = 8 << 20
"""Bytes of a request as it comes."""
MAX_CONTENT = 16 << 20
"""Bytes of a request once it is unpacked."""
_PIECE = 4 << 10
"""Bytes that are unpacked at once."""
MAX_RECORD = 4 << 20
"""Characters of one line."""
SORT_EVERY = 60.0
"""Seconds between two times at which a log that came out of order is written anew."""
MAX_SORTED = 256 << 20
"""Bytes: a larger log is left in the order in which it came, which only blurs how long workers were busy."""
AT_ONCE = 2
"""Requests that are unpacked at the same time, others wait."""
MAX_RUNS = 10_000
MAX_WRITERS = 2_000
"""Of one run."""
KEPT = 500
"""Logs of which the stored numbers are kept in memory; others are read again when something comes for them."""
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_SEQ = re.compile(rb'\{"v":\d+,"seq":(\d{1,18}),')


class Line(NamedTuple):
    """A record that is a line of a log."""

    run_id: str
    writer: str
    seq: int
    data: bytes
    """Without its newline."""


class Stored(NamedTuple):
    """What became of a request's records."""

    added: int
    known: int
    rejected: int
    reason: str
    """Why the first one was rejected."""


class _Log:
    """One log file and which numbers are in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._below = 0
        """Every number below this one is there."""
        self._others: set[int] = set()
        self._torn = False
        self._last = -1
        self._mixed = False
        """Whether the lines are not in the order of their numbers."""
        self._sorted_at = -SORT_EVERY
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("rb") as file:
                for raw in file:
                    self._torn = not raw.endswith(b"\n")
                    seq = _SEQ.match(raw)
                    if seq and not self._torn:  # a torn line is not there: whoever sent it sends it again
                        self._note(int(seq[1]))

    def __contains__(self, seq: int) -> bool:
        return seq < self._below or seq in self._others

    def _note(self, seq: int) -> None:
        self._mixed = self._mixed or seq < self._last
        self._last = max(self._last, seq)
        self._others.add(seq)
        while self._below in self._others:
            self._others.discard(self._below)
            self._below += 1

    def add(self, lines: list[Line]) -> int:
        """Append the lines that are not there yet, in the order of their numbers; on the disk when this returns."""
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
            self._note(seq)
        self._put_in_order(b'"type":"run_finished"' in data)
        return len(fresh)

    def _put_in_order(self, over: bool) -> None:
        """Write the file anew in order, where something in between changed it and all is there, but not too often.

        Numbers that are missing when the run is over will not come: their lines could not be written.
        """
        now = time.monotonic()
        if not self._mixed or not (over or (not self._others and now - self._sorted_at >= SORT_EVERY)):
            return
        if self.path.stat().st_size > MAX_SORTED:
            return
        lines = {int(found[1]): raw for raw in self.path.read_bytes().splitlines() if (found := _SEQ.match(raw))}
        beside = self.path.with_suffix(".sorting")
        with beside.open("wb") as file:
            file.writelines(lines[seq] + b"\n" for seq in sorted(lines))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._mixed, self._sorted_at = False, now


class Received:
    """The folder into which what is received is written. Thread-safe; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._logs: OrderedDict[tuple[str, str], _Log] = OrderedDict()

    def store(self, records: Iterator[Line | RecordError]) -> Stored:
        """Append what is new. Raises OSError where it can't be written: then nothing is acknowledged."""
        by_log: dict[tuple[str, str], list[Line]] = {}
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
        return Stored(added, known, rejected, reason)

    def _log(self, run_id: str, writer: str) -> _Log:
        key = (run_id, writer)
        found = self._logs.get(key)
        if found is None or not found.path.exists():
            run = self.folder / run_id
            if not run.exists() and _count(self.folder) >= MAX_RUNS:
                raise RecordError(f"there are {MAX_RUNS} runs here already")
            path = run / EVENTS_FOLDER / f"{writer}.jsonl"
            if not path.exists() and _count(path.parent) >= MAX_WRITERS:
                raise RecordError(f"the run {run_id} has {MAX_WRITERS} writers already")
            found = self._logs[key] = _Log(path)
            while len(self._logs) > KEPT:
                self._logs.popitem(last=False)
        self._logs.move_to_end(key)
        return found


def _count(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


# -- the request


def logs_router(folder: Path, token: str | None) -> APIRouter:
    """``POST /v1/logs``, which stores below ``folder``; without a ``token`` it is off and says so."""
    router = APIRouter()
    received = Received(folder)
    limit = anyio.CapacityLimiter(AT_ONCE)

    @router.post(
        PATH,
        tags=["machines"],
        summary="Take run logs as OTLP logs, JSON or protobuf, gzip or not",
        responses={
            401: {"description": "No token, or another one."},
            403: {"description": "Receiving is off."},
            413: {"description": "Too large."},
            415: {"description": "Neither JSON nor protobuf."},
            503: {"description": "It can't be written now; send it again."},
        },
    )
    async def take(request: Request) -> Response:
        _authorise(request, token)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, PROTOBUF):
            raise HTTPException(415, f"content-type must be {JSON} or {PROTOBUF}")
        body = await _body(request)
        try:
            stored = await anyio.to_thread.run_sync(
                _take, received, body, request.headers.get("content-encoding"), kind, limiter=limit
            )
        except OSError as error:
            log.error("received logs can't be written to %s: %s", folder, error)
            raise HTTPException(503, "the log can't be written now", {"retry-after": "10"}) from error
        if stored.rejected:
            log.warning("%d received records were refused: %s", stored.rejected, stored.reason)
        return Response(_answer(stored, kind), media_type=kind)

    return router


def _authorise(request: Request, token: str | None) -> None:
    if token is None:
        raise HTTPException(403, "receiving logs is off; start the exporter with a folder and a token for it")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise HTTPException(
            401, "a token is needed: send it as Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
        )


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY:
        raise HTTPException(413, f"a request may have {MAX_BODY >> 20} MiB")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise HTTPException(413, f"a request may have {MAX_BODY >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _take(received: Received, body: bytes, encoding: str | None, kind: str) -> Stored:
    content = _unpacked(body, (encoding or "identity").strip().lower())
    return received.store(_json_records(content) if kind == JSON else _protobuf_records(content))


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise HTTPException(415, "content-encoding must be gzip or none")
    content, rest, unpacking = bytearray(), memoryview(body), None
    while rest:  # gzip may come in several members, which are one content
        unpacking = unpacking or zlib.decompressobj(wbits=31)
        piece = rest[:_PIECE]  # what is left of it is copied at the end of each member, of which there may be very many
        try:
            content += unpacking.decompress(piece, MAX_CONTENT + 1 - len(content))
        except zlib.error as error:
            raise HTTPException(400, "the body is no gzip") from error
        if len(content) > MAX_CONTENT:
            raise HTTPException(413, f"a request may have {MAX_CONTENT >> 20} MiB once it is unpacked")
        rest = rest[len(piece) - len(unpacking.unused_data) :]
        unpacking = None if unpacking.eof else unpacking
    if unpacking is not None:
        raise HTTPException(400, "the body is torn")
    return bytes(content)


def _answer(stored: Stored, kind: str) -> bytes:
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


def _json_records(content: bytes) -> Iterator[Line | RecordError]:
    try:
        asked = from_json(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is no JSON") from error
    if not isinstance(asked, dict):
        raise HTTPException(400, "the body is no ExportLogsServiceRequest")
    for resource in _listed(asked.get("resourceLogs")):
        outer = _json_attributes(_object(resource.get("resource")).get("attributes"))
        for scope in _listed(resource.get("scopeLogs")):
            for record in _listed(scope.get("logRecords")):
                attributes = {**outer, **_json_attributes(record.get("attributes"))}
                yield _record(attributes, _object(record.get("body")).get("stringValue"))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _json_attributes(value: object) -> dict[str, Any]:
    found = {}
    for pair in _listed(value):
        told = _object(pair.get("value"))
        found[str(pair.get("key"))] = told.get("stringValue", told.get("intValue"))
    return found


def _protobuf_records(content: bytes) -> Iterator[Line | RecordError]:
    try:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    except ModuleNotFoundError as error:
        raise HTTPException(415, "protobuf needs pip install 'evalgauge[otel]' here; send JSON") from error
    try:
        asked = ExportLogsServiceRequest.FromString(content)
    except Exception as error:  # DecodeError of a package that has no types
        raise HTTPException(400, "the body is no ExportLogsServiceRequest") from error
    for resource in asked.resource_logs:
        outer = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {**outer, **{pair.key: _value(pair.value) for pair in record.attributes}}
                yield _record(attributes, _value(record.body))


def _value(value: Any) -> str | int | None:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in ("string_value", "int_value") else None


def _record(attributes: Mapping[str, Any], body: object) -> Line | RecordError:
    """A record as a line of a log, written anew; what is wrong with it where it is none."""
    try:
        run_id = _name(attributes.get("evalgauge.run_id"), "evalgauge.run_id")
        writer = _name(attributes.get("evalgauge.writer"), "evalgauge.writer")
        if not isinstance(body, str):
            raise RecordError("a record without a line of a log as its body")
        if len(body) > MAX_RECORD:
            raise RecordError(f"a line of more than {MAX_RECORD >> 20} MiB")
        try:
            event = from_json(body)
        except (ValueError, RecursionError) as error:
            raise RecordError("a record whose body is no JSON") from error
        seq = event.get("seq") if isinstance(event, dict) else None
        if type(event.get("v", VERSION) if isinstance(event, dict) else None) is not int:
            raise RecordError("a record whose body is no event")
        if type(seq) is not int or not 0 <= seq < 1 << 53 or not isinstance(event.get("type"), str):
            raise RecordError("a record whose body is no event")
        if _is_outside(event.get("screenshot")):
            event["screenshot"] = None
        data = encode({"v": event.pop("v", VERSION), "seq": event.pop("seq"), **event})
    except RecordError as refused:
        return refused
    return Line(run_id, writer, seq, data)


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value or safe_name(value) != value:
        raise RecordError(f"{what} is {str(value)[:60]!r}, which can't be a folder's name")
    return value


def _is_outside(screenshot: object) -> bool:
    """Whether a path leads out of the run's folder."""
    if not isinstance(screenshot, str):
        return False
    path = PurePosixPath(screenshot.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in screenshot
