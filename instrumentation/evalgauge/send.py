"""Sends a run's log to an exporter elsewhere, as OTLP logs over HTTP: no shared folder, nothing to install.

Each line of the log is one log record: its body is the line, its attributes ``evalgauge.run_id``, ``evalgauge.writer``
and ``evalgauge.seq`` say where it belongs. JSON is one of the two encodings that OTLP has
(https://opentelemetry.io/docs/specs/otlp/#otlphttp), so a Collector in between takes it like any other.

The log on disk is what is read, and what was acknowledged is noted beside it: a process that is killed, an exporter
that is away for a night and a network that breaks off lose nothing. What arrives twice is stored once. Screenshots
stay where they are.
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
"""Lines of about so many bytes go in one request."""
BATCH_LINES = 1000
LONGEST_LINE = 4 << 20
"""Bytes: a longer line is not sent. The tracker cuts long texts well below."""
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same is sent again."""
LONGEST_WAIT = 60.0
GIVE_UP_AFTER = 300.0
"""Seconds of trying in vain, unless the run is followed."""
_BEGINS = re.compile(rb'\{"v":\d+,"seq":\d+,"ts":([-+.\deE]+),"type":"run_started"')
"""How the log of a process begins that began the run, or began it again."""


class Sent(NamedTuple):
    """What one call of ``send`` did."""

    lines: int
    """Lines that were acknowledged."""
    rejected: int
    """Lines that the receiver would not have; they are not sent again."""
    skipped: int
    """Lines that are no events: torn, foreign or too long."""
    over: bool
    """Whether everything was sent and the run has ended."""


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
) -> Sent:
    """Send what the receiver at ``url`` has not acknowledged of the run in ``run_dir`` yet.

    ``url``: an exporter's or a Collector's address, with or without ``/v1/logs``. ``token``: sent as a bearer token.
    ``run_id``: the name the run gets there; None is the folder's name. ``follow``: go on until the run has ended,
    looking for new lines every ``interval`` seconds. ``give_up_after``: seconds of trying in vain; None is 300, and for
    ever with ``follow``: whoever follows a run outlives the receiver's night. ``again``: send everything anew, as after
    a Collector lost what it had acknowledged.

    Raises SendError where ``run_dir`` has no log, the receiver refuses, or nothing gets through for so long.
    """
    folder = Path(run_dir)
    if not log_files(folder) and not follow:
        raise SendError(f"{folder}: there is no log; name a run's folder, which holds {EVENTS_FOLDER}/*.jsonl")
    name = run_id or folder.absolute().name
    if safe_name(name) != name:
        raise SendError(f"the run id {name!r} can't be a folder's name; give another with run_id")
    if give_up_after is None:
        give_up_after = math.inf if follow else GIVE_UP_AFTER
    target = _Target(url, token, give_up_after, sleep)
    notes = _Notes(folder / EVENTS_FOLDER, target.url, name)
    if again:
        notes.offsets.clear()
    lines = rejected = skipped = 0
    over = False
    while True:
        last = over  # what other processes wrote before the end, but after their logs were read, is still to come
        sent = 0
        for path in log_files(folder):
            for batch, bad, end in _batches(path, notes.offsets.get(path.name, 0)):
                rejected += target.post(_request(batch, name, path.stem)) if batch else 0
                notes.acknowledge(path.name, end)
                sent += len(batch)
                skipped += bad
        lines += sent
        over = _over(log_files(folder))
        if over == last and (over or not follow):
            return Sent(lines - rejected, rejected, skipped, over)
        if not sent and not over:
            sleep(interval)


# -- reading


def _batches(path: Path, offset: int) -> Iterator[tuple[list[_Line], int, int]]:
    """The whole lines behind ``offset``: lists of events, how many lines are none, and where each list ends."""
    batch: list[_Line] = []
    size = bad = 0
    with path.open("rb") as file:
        if offset > os.fstat(file.fileno()).st_size:  # another file than the one that was sent
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


def _over(logs: list[Path]) -> bool:
    """Whether the run has ended, and was not begun again since."""
    begun = ended = -math.inf
    for path in logs:
        with path.open("rb") as file:
            start = _BEGINS.match(file.read(200))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4096))
            tail = file.read()
        if start:
            begun = max(begun, float(start[1]))
        for raw in tail.splitlines()[-10:]:  # a heartbeat may come after the end
            if _BEGINS.match(raw) and (line := _line(raw)) is not None:  # by the same process
                begun = max(begun, line.ts)
            elif b'"run_finished"' in raw and (line := _line(raw)) is not None:
                ended = max(ended, line.ts)
    return ended > -math.inf and ended >= begun


class _Notes:
    """How far each file was acknowledged by one receiver, kept beside the log."""

    def __init__(self, folder: Path, url: str, run_id: str) -> None:
        digest = hashlib.sha256(f"{url}\n{run_id}".encode()).hexdigest()[:12]
        self._path = folder / f".sent-{digest}.json"
        self._complained = False
        self.offsets: dict[str, int] = {}
        try:
            noted = from_json(self._path.read_bytes())
            if isinstance(noted, dict) and isinstance(noted.get("offsets"), dict):
                self.offsets = {str(k): v for k, v in noted["offsets"].items() if type(v) is int and v >= 0}
        except (OSError, ValueError):
            pass  # nothing was sent yet, or it is not known: what is sent twice is stored once

    def acknowledge(self, name: str, offset: int) -> None:
        self.offsets[name] = offset
        beside = self._path.with_suffix(f".{os.getpid()}")
        try:
            beside.write_text(json.dumps({"offsets": self.offsets}), encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("%s can't be written (%s); the next time everything is sent again", self._path, error)


# -- sending


def _request(batch: list[_Line], run_id: str, writer: str) -> bytes:
    """An ExportLogsServiceRequest in OTLP's JSON."""
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
    asked = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]}
    return json.dumps(asked, separators=(",", ":")).encode("ascii")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to somebody else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class _Target:
    """Where the log goes."""

    def __init__(self, url: str, token: str, give_up_after: float, sleep: Callable[[float], object]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SendError(f"{url!r} is no address; write it as https://host:port")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SendError("the token must be one word")
        path = parts.path.rstrip("/")
        self.url = parts._replace(path=path if path.endswith(LOGS_PATH) else path + LOGS_PATH).geturl()
        self._token = token
        self._give_up_after = give_up_after
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, body: bytes) -> int:
        """Send one request until it is acknowledged; how many of its records the receiver would not have."""
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
                    return _rejected(body)
                except (ValueError, TypeError) as error:  # a page of something else that says 200 to everything
                    raise SendError(f"{self.url} answers, but is no OTLP receiver: {body[:60]!r}") from error
            except urllib.error.HTTPError as error:
                said, after = _sentence(error), error.headers.get("retry-after")
                if error.code not in RETRIED:
                    hint = " (is this token the receiver's?)" if error.code == 401 else ""
                    raise SendError(f"{self.url} refuses: {error.code} {said}{hint}") from error
                problem = f"{error.code} {said}"
            except (OSError, HTTPException) as error:
                if _never_goes_well(error):
                    raise SendError(f"{self.url} can't be spoken to: {getattr(error, 'reason', error)}") from error
                problem, after = str(getattr(error, "reason", error)) or type(error).__name__, None
            if waited >= self._give_up_after:
                raise SendError(f"{self.url} could not be reached for {waited:.0f} s: {problem}")
            wait = min(float(after), LONGEST_WAIT) if after and after.isdigit() else pause * random.uniform(0.75, 1.25)
            log.info("%s: %s; trying again in %.1f s", self.url, problem, wait)
            self._sleep(wait)
            waited += max(wait, 0.1)
            pause = min(pause * 2, LONGEST_WAIT)


def _never_goes_well(error: Exception) -> bool:
    """Whether trying again is in vain: a certificate that is not trusted, or a server without TLS."""
    reason = getattr(error, "reason", None)
    return isinstance(reason, ssl.SSLCertVerificationError) or (
        isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER"
    )


def _sentence(error: urllib.error.HTTPError) -> str:
    """What the receiver says, as one line."""
    try:
        body = error.read(1000)
        told = from_json(body)
        text = (
            str(told.get("error") or told.get("message") or told.get("detail") or "") if isinstance(told, dict) else ""
        )
    except (OSError, ValueError, HTTPException):
        text = ""
    return " ".join((text or str(error.reason)).split())[:200]


def _rejected(answer: bytes) -> int:
    """How many records a partial success left out. Raises ValueError where the answer is no OTLP receiver's."""
    told = from_json(answer)
    if not isinstance(told, dict):
        raise ValueError("no JSON object")
    partial = told.get("partialSuccess")
    said: Mapping[str, Any] = partial if isinstance(partial, dict) else {}
    count = int(said.get("rejectedLogRecords") or 0)
    if count:
        log.warning("%d lines were refused: %s", count, str(said.get("errorMessage"))[:200])
    return count
