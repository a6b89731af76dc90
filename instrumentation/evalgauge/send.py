"""Sending of a run log to an exporter on another machine, as OTLP logs over HTTP: no shared folder is needed.

Each line of the log is one log record: its body is the line, its attributes ``evalgauge.run_id``, ``evalgauge.writer``
and ``evalgauge.seq`` state where it belongs. JSON is one of OTLP's two encodings
(https://opentelemetry.io/docs/specs/otlp/#otlphttp), so a Collector in between accepts it.

The log on disk is what is sent, and a file beside it stores how far it was acknowledged: a process that is killed, an
exporter that is down for a night and a network that fails lose nothing. What arrives twice is stored once. Screenshots
are not sent.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import math
import os
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic_core import from_json

from evalgauge import __version__
from evalgauge.errors import SendError
from evalgauge.runlog import EVENTS_FOLDER, log_files, safe_name

log = logging.getLogger("evalgauge")

LOGS_PATH = "/v1/logs"
BATCH_BYTES = 1 << 20
"""Approximate size of the lines in one request."""
BATCH_LINES = 1000
LONGEST_LINE = 4 << 20
"""Bytes; a longer line is not sent. The tracker cuts long texts well below."""
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes after which the same request is sent again."""
LONGEST_WAIT = 60.0
"""Seconds between two tries."""
GIVE_UP_AFTER = 300.0
"""Seconds of failed tries, unless the run is followed."""
_RUN_STARTED = re.compile(rb'\{"v":\d+,"seq":\d+,"ts":([-+.\deE]+),"type":"run_started"')
"""How the log of a process begins that started or resumed the run."""


class SendResult(NamedTuple):
    """The result of one call of ``send``."""

    lines: int
    """Lines that were acknowledged."""
    rejected: int
    """Lines that the receiver rejected; they are not sent again."""
    skipped: int
    """Lines that are no events: torn, foreign or too long."""
    finished: bool
    """Whether everything was sent and the run has finished."""


class _Line(NamedTuple):
    text: str
    seq: int
    ts: float


def send(
    run_dir: str | os.PathLike[str],
    url: str,
    token: str,
    *,
    run_id: str | None = None,
    follow: bool = False,
    interval: float = 2.0,
    give_up_after: float | None = None,
    again: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> SendResult:
    """Send what the receiver has not acknowledged yet of a run.

    Args:
        run_dir: The run's folder.
        url: The address of an exporter or a Collector, with or without ``/v1/logs``.
        token: Sent as a bearer token.
        run_id: The run's id at the receiver; None is the folder's name.
        follow: Continue until the run has finished.
        interval: Seconds between two looks for new lines, with ``follow``.
        give_up_after: Seconds of failed tries after which to give up; None is 300, and forever with ``follow``: a
            followed run outlives any outage of the receiver.
        again: Send everything anew, for a receiver that lost what it had acknowledged.
        sleep: Waits for a number of seconds.

    Returns:
        What was sent.

    Raises:
        SendError: ``run_dir`` has no log, the receiver refuses, or it could not be reached for ``give_up_after``.
    """
    folder = Path(run_dir)
    if not log_files(folder) and not follow:
        raise SendError(f"{folder}: no run log found; name the folder of a run, which holds {EVENTS_FOLDER}/*.jsonl")
    name = run_id or folder.absolute().name
    if safe_name(name) != name:
        raise SendError(f"the run id {name!r} is not a valid folder name; pass another with run_id")
    if give_up_after is None:
        give_up_after = math.inf if follow else GIVE_UP_AFTER
    target = _Target(url, token, give_up_after, sleep)
    progress = _Acknowledged(folder / EVENTS_FOLDER, target.url, name)
    if again:
        progress.offsets.clear()
    lines = rejected = skipped = 0
    finished = False
    while True:
        last = finished  # other processes may have written before the end, but after their logs were read
        sent = 0
        for path in log_files(folder):
            for batch, bad, end in _batches(path, progress.offsets.get(path.name, 0)):
                rejected += target.post(_request(batch, name, path.stem)) if batch else 0
                progress.acknowledge(path.name, end)
                sent += len(batch)
                skipped += bad
        lines += sent
        finished = is_finished(log_files(folder))
        if finished == last and (finished or not follow):
            return SendResult(lines - rejected, rejected, skipped, finished)
        if not sent and not finished:
            sleep(interval)


# -- reading


def _batches(path: Path, offset: int) -> Iterator[tuple[list[_Line], int, int]]:
    """Read the complete lines after ``offset``: batches of events, how many lines were skipped, and the end offset."""
    batch: list[_Line] = []
    size = bad = 0
    with path.open("rb") as file:
        if offset > os.fstat(file.fileno()).st_size:  # the file was replaced
            offset = 0
        file.seek(offset)
        while raw := file.readline(LONGEST_LINE + 1):
            offset += len(raw)
            if not raw.endswith(b"\n"):
                if len(raw) <= LONGEST_LINE:  # being written
                    offset -= len(raw)
                    break
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST_LINE)
                    offset += len(raw)
                bad += 1
                continue
            line = _line(raw)
            if line is None:
                bad += bool(raw.strip())
                continue
            batch.append(line)
            size += len(raw)
            if size >= BATCH_BYTES or len(batch) >= BATCH_LINES:
                yield batch, bad, offset
                batch, size, bad = [], 0, 0
    if batch or bad:
        yield batch, bad, offset


def _line(raw: bytes) -> _Line | None:
    try:
        event = from_json(raw)
        text = raw.decode("utf-8").strip()
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or type(event.get("seq")) is not int or event["seq"] < 0:
        return None
    ts = event.get("ts")
    return _Line(text, event["seq"], float(ts) if isinstance(ts, int | float) else 0.0)


def is_finished(logs: list[Path]) -> bool:
    """Return whether the run of these log files has finished and was not resumed since."""
    started = finished = -math.inf
    for path in logs:
        with path.open("rb") as file:
            start = _RUN_STARTED.match(file.read(200))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4096))
            tail = file.read()
        if start:
            started = max(started, float(start[1]))
        for raw in tail.splitlines()[-10:]:  # a heartbeat may follow the end
            if _RUN_STARTED.match(raw) and (line := _line(raw)) is not None:  # by the same process
                started = max(started, line.ts)
            elif b'"run_finished"' in raw and (line := _line(raw)) is not None:
                finished = max(finished, line.ts)
    return finished > -math.inf and finished >= started


class _Acknowledged:
    """How far one receiver has acknowledged each file, stored beside the log."""

    def __init__(self, folder: Path, url: str, run_id: str) -> None:
        digest = hashlib.sha256(f"{url}\n{run_id}".encode()).hexdigest()[:12]
        self._path = folder / f".sent-{digest}.json"
        self._warned = False
        self.offsets: dict[str, int] = {}
        try:
            stored = from_json(self._path.read_bytes())
            if isinstance(stored, dict) and isinstance(stored.get("offsets"), dict):
                self.offsets = {str(k): v for k, v in stored["offsets"].items() if type(v) is int and v >= 0}
        except (OSError, ValueError):
            pass  # nothing was sent yet, or it is not known: the receiver stores once what is sent twice

    def acknowledge(self, name: str, offset: int) -> None:
        self.offsets[name] = offset
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps({"offsets": self.offsets}), encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning("%s cannot be written (%s); the next call sends everything again", self._path, error)


# -- sending


def _request(batch: list[_Line], run_id: str, writer: str) -> bytes:
    """Return an ExportLogsServiceRequest in OTLP's JSON encoding."""
    records = [
        {
            "timeUnixNano": str(int(line.ts * 1e9)),
            "body": {"stringValue": line.text},
            "attributes": [
                {"key": "evalgauge.run_id", "value": {"stringValue": run_id}},
                {"key": "evalgauge.writer", "value": {"stringValue": writer}},
                {"key": "evalgauge.seq", "value": {"intValue": str(line.seq)}},
            ],
        }
        for line in batch
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "evalgauge"}}]}
    scope = {"name": "evalgauge.send", "version": __version__}
    request = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]}
    return json.dumps(request, separators=(",", ":")).encode("ascii")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: they would send the token to another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class _Target:
    """The receiver of the log."""

    def __init__(self, url: str, token: str, give_up_after: float, sleep: Callable[[float], object]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SendError(f"{url!r} is not an address; write it as https://host:port")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SendError("the token must be one ASCII word without spaces")
        path = parts.path.rstrip("/")
        self.url = parts._replace(path=path if path.endswith(LOGS_PATH) else path + LOGS_PATH).geturl()
        self._token = token
        self._give_up_after = give_up_after
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, body: bytes) -> int:
        """Send one request until it is acknowledged; return how many of its records the receiver rejected."""
        request = urllib.request.Request(
            self.url,
            gzip.compress(body, 6),
            {
                "content-type": "application/json",
                "content-encoding": "gzip",
                "authorization": f"Bearer {self._token}",
                "user-agent": f"evalgauge/{__version__}",
            },
        )
        waited, pause = 0.0, 0.5
        while True:
            try:
                with self._opener.open(request, timeout=30) as answer:
                    body = answer.read(1 << 16)
                try:
                    return _rejected_records(body)
                except (ValueError, TypeError) as error:  # another kind of server that answers 200 to everything
                    raise SendError(f"{self.url} answers, but is not an OTLP receiver: {body[:60]!r}") from error
            except urllib.error.HTTPError as error:
                message, after = _error_message(error), error.headers.get("retry-after")
                if error.code not in RETRIED:
                    hint = " (is this token the receiver's?)" if error.code == 401 else ""
                    raise SendError(f"{self.url} refuses: {error.code} {message}{hint}") from error
                problem = f"{error.code} {message}"
            except (OSError, HTTPException) as error:
                if _is_permanent(error):
                    raise SendError(f"no connection to {self.url}: {getattr(error, 'reason', error)}") from error
                problem, after = str(getattr(error, "reason", error)) or type(error).__name__, None
            if waited >= self._give_up_after:
                raise SendError(f"{self.url} could not be reached for {waited:.0f} s: {problem}")
            wait = min(float(after), LONGEST_WAIT) if after and after.isdigit() else pause * random.uniform(0.75, 1.25)
            log.info("%s: %s; next try in %.1f s", self.url, problem, wait)
            self._sleep(wait)
            waited += max(wait, 0.1)
            pause = min(pause * 2, LONGEST_WAIT)


def _is_permanent(error: Exception) -> bool:
    """Whether another try would fail too: an untrusted certificate, or a server without TLS."""
    reason = getattr(error, "reason", None)
    return isinstance(reason, ssl.SSLCertVerificationError) or (
        isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER"
    )


def _error_message(error: urllib.error.HTTPError) -> str:
    """Return the receiver's error message as one line."""
    try:
        body = error.read(1000)
        answer = from_json(body)
        texts = [answer.get(key) for key in ("error", "message", "detail")] if isinstance(answer, dict) else []
        text = next((str(text) for text in texts if text), "")
    except (OSError, ValueError, HTTPException):
        text = ""
    return " ".join((text or str(error.reason)).split())[:200]


def _rejected_records(answer: bytes) -> int:
    """Return how many records a partial success rejected. Raises ValueError if no OTLP receiver answers like this."""
    fields = from_json(answer)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    found = fields.get("partialSuccess")
    partial: Mapping[str, Any] = found if isinstance(found, dict) else {}
    count = int(partial.get("rejectedLogRecords") or 0)
    if count:
        log.warning("%d lines were rejected: %s", count, str(partial.get("errorMessage"))[:200])
    return count
