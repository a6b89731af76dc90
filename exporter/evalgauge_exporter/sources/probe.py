"""Asking machines whether they answer: the WAA server's ``/probe``, a web address, a TCP port, VNC, a tunnel's end.

A probe has one deadline for everything, so that an answer that drips in takes no longer than one that never comes; only
looking up a name takes as long as the machine's resolver lets it. Nothing is followed to another address, nobody is
signed in to. Probes run side by side in a bounded number of threads of their own.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from evalgauge_exporter.sources.polling import STOP_SECONDS, Emit
from evalgauge_exporter.state.fleet_events import ProbeSeen, Refreshed

log = logging.getLogger("evalgauge.exporter")

THREADS = 16
"""Probes that run at one time."""
MOST_THREADS = 128
"""As many as that where 16 could not ask all targets within their intervals while all hang: a pool that is off."""
MAX_BYTES = 65536
MAX_DETAIL = 300
BANNER_SECONDS = 1.0
"""A VNC server speaks first; where nothing came for so long it may be noVNC's web page, which waits to be asked."""
CLOSED_SECONDS = 0.25
"""A tunnel's near end accepts, whatever is at its far end; it closes at once where nothing is."""
WAA_PATH = "/probe"

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r?\n?", re.IGNORECASE)
_RFB = re.compile(rb"RFB \d{3}\.\d{3}\n")
"""https://www.rfc-editor.org/rfc/rfc6143#section-7.1.1"""


class Target(NamedTuple):
    """Something that is probed."""

    name: str
    kind: str
    """``waa``, ``http``, ``tcp``, ``vnc`` or ``tunnel``."""
    target: str
    interval: float
    timeout: float
    configured: bool = True


class Answer(NamedTuple):
    """What a probe came to."""

    ok: bool
    seconds: float
    detail: str


class Address(NamedTuple):
    """Where a target is."""

    host: str
    port: int
    tls: bool
    path: str
    """What is asked for, with its query."""


def shown(target: str) -> str:
    """A target as people may see it: without user, password and query, which may be secrets."""
    scheme, separator, rest = target.partition("://") if "://" in target else ("", "", target)
    place, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def address_of(kind: str, target: str) -> Address:
    """Where a target is. Raises ValueError with one sentence where it can't be told."""
    text = target.strip()
    target = shown(text)
    is_url = "://" in text
    parts = urlsplit(text if is_url else f"tcp://{text}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{target!r} has no valid port; write host:port") from None
    if not parts.hostname or (is_url and parts.scheme not in ("http", "https")):
        raise ValueError(f"{target!r} is no address; write host:port, or an http or https URL")
    if port is None:
        if not is_url:
            raise ValueError(f"{target!r} names no port; write host:port")
        port = 443 if parts.scheme == "https" else 80
    if "@" in parts.netloc:
        raise ValueError(f"the target {target!r} names a user; a probe signs in nowhere, write it without")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if kind == "waa" and path == "/":
        path = WAA_PATH
    if any(not " " < letter < "\x7f" for letter in path + parts.hostname):
        raise ValueError(f"{target!r} holds letters that no address has")
    return Address(parts.hostname, port, parts.scheme == "https", path)


def probe(kind: str, target: str, timeout: float) -> Answer:
    """Ask once, for ``timeout`` seconds at most. Never raises."""
    began = time.monotonic()
    try:
        address = address_of(kind, target)
        ok, detail = _ask(kind, address, began + timeout)
    except TimeoutError:
        ok, detail = False, f"no answer in {timeout:g} s"
    except ConnectionRefusedError:
        ok, detail = False, "connection refused"
    except socket.gaierror:
        ok, detail = False, "the name is not known"
    except ssl.SSLError as error:
        ok, detail = False, f"TLS: {error.reason or error}"
    except (OSError, ValueError) as error:
        ok, detail = False, str(getattr(error, "strerror", None) or error)
    return Answer(ok, time.monotonic() - began, _line(detail))


def _ask(kind: str, address: Address, deadline: float) -> tuple[bool, str]:
    with _connected(address, deadline) as connection:
        if kind in ("waa", "http"):
            return _ask_web(connection, address, deadline, ok_below=300 if kind == "waa" else 400)
        if kind == "vnc":
            return _ask_vnc(connection, address, deadline)
        if kind == "tunnel":
            return _ask_tunnel(connection, deadline)
        return True, "connected"


@contextlib.contextmanager
def _connected(address: Address, deadline: float) -> Iterator[socket.socket]:
    with _open(address, deadline) as plain:
        if not address.tls:
            yield plain
            return
        plain.settimeout(_left(deadline))
        with _tls().wrap_socket(plain, server_hostname=address.host) as secure:
            yield secure


def _open(address: Address, deadline: float) -> socket.socket:
    """Connected to the first of the host's addresses that answers; each has its share of the time."""
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = ConnectionRefusedError()
    for rest, (family, kind, protocol, _, place) in zip(range(len(places), 0, -1), places, strict=True):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline) / rest)
            connection.connect(place)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


@functools.cache
def _tls() -> ssl.SSLContext:
    """The machine's certificates; reading them for each probe would take longer than the probe."""
    return ssl.create_default_context()


def _ask_web(connection: socket.socket, address: Address, deadline: float, ok_below: int) -> tuple[bool, str]:
    # HTTP/1.0: the answer comes in one piece and ends with the connection
    host = f"[{address.host}]" if ":" in address.host else address.host
    connection.sendall(
        f"GET {address.path} HTTP/1.0\r\nHost: {host}:{address.port}\r\nUser-Agent: evalgauge\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    answer = _read_answer(connection, deadline)
    status = _STATUS.match(answer)
    if status is None:
        return False, "it does not speak HTTP" if answer else "closed without an answer"
    body = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip()
    code = int(status[1])
    return code < ok_below, body if code < ok_below and body else f"status {code}"


def _ask_vnc(connection: socket.socket, address: Address, deadline: float) -> tuple[bool, str]:
    waiting = min(BANNER_SECONDS, _left(deadline) / 2)
    try:
        banner = _read(connection, time.monotonic() + waiting, most=12)
    except TimeoutError:
        ok, detail = _ask_web(connection, address, deadline, ok_below=400)
        return ok, "noVNC answers" if ok else detail
    return bool(_RFB.fullmatch(banner)), banner.decode("ascii", "replace").strip() or "closed without an answer"


def _ask_tunnel(connection: socket.socket, deadline: float) -> tuple[bool, str]:
    try:
        first = _read(connection, min(deadline, time.monotonic() + CLOSED_SECONDS), most=1)
    except TimeoutError:
        return True, "connected"
    return bool(first), "connected" if first else "nothing answers at the far end"


def _read_answer(connection: socket.socket, deadline: float) -> bytes:
    """An HTTP answer: to its end, or what came of it by the deadline. Raises TimeoutError where nothing came."""
    answer = b""
    try:
        while len(answer) < MAX_BYTES and not _whole(answer):
            part = _read(connection, deadline, most=1) + _at_hand(connection)
            if not part:
                break
            answer += part
    except TimeoutError:
        if not _STATUS.match(answer):
            raise
    return answer


def _whole(answer: bytes) -> bool:
    """Whether the answer tells its length and has it."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    told = _LENGTH.search(head) if blank else None
    return told is not None and len(body) >= int(told[1])


def _at_hand(connection: socket.socket) -> bytes:
    """What has come already."""
    connection.settimeout(0.0)
    try:
        return connection.recv(MAX_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError, ConnectionResetError):
        return b""


def _read(connection: socket.socket, deadline: float, most: int) -> bytes:
    """``most`` bytes, or what came until the other side closed. Raises TimeoutError where neither happens."""
    got = b""
    while len(got) < most:
        connection.settimeout(_left(deadline))
        try:
            part = connection.recv(most - len(got))
        except ConnectionResetError:
            break
        if not part:
            break
        got += part
    return got


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_DETAIL]


class ProbeSource:
    """Probes its targets, each at its own interval, from ``start`` to ``stop``."""

    source = "probe"

    def __init__(self, targets: Iterable[Target], emit: Emit, threads: int = MOST_THREADS) -> None:
        """``threads``: probes that run at one time at most."""
        self._emit = emit
        self._due: dict[Target, float] = dict.fromkeys(targets, 0.0)
        """When each is next, on the monotonic clock; infinity while it is being probed."""
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._work: queue.SimpleQueue[Target | None] = queue.SimpleQueue()
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._scheduler = threading.Thread(target=self._schedule, name="evalgauge-probe", daemon=True)

    def start(self) -> None:
        """Begin in the background."""
        self._scheduler.start()

    def stop(self) -> None:
        """End; returns soon, also while a probe hangs."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        until = time.monotonic() + STOP_SECONDS
        for thread in (self._scheduler, *self._threads):
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    def replace(self, targets: Iterable[Target]) -> None:
        """From now on these are the targets that nobody configured: what the registries name."""
        with self._changed:
            wanted = set(targets)
            for target in [known for known in self._due if not known.configured and known not in wanted]:
                del self._due[target]
            for target in wanted:
                self._due.setdefault(target, 0.0)
            self._changed.notify_all()

    def _schedule(self) -> None:
        while True:
            with self._changed:
                if self._stop.is_set():
                    break
                now = time.monotonic()
                ready = [target for target, due in self._due.items() if due <= now]
                if not ready:
                    wait = min(self._due.values(), default=math.inf) - now
                    self._changed.wait(None if wait == math.inf else wait)
                    continue
                for target in ready:
                    self._due[target] = math.inf
            for target in ready:
                self._work.put(target)
            for _ in range(self._wanted_threads() - len(self._threads)):
                thread = threading.Thread(target=self._probe_all, name="evalgauge-probing", daemon=True)
                self._threads.append(thread)
                thread.start()
        for _ in self._threads:
            self._work.put(None)

    def _wanted_threads(self) -> int:
        """So many that each target has its turn within its interval even while none of them answers."""
        hanging = math.ceil(sum(target.timeout / target.interval for target in self._due))
        return min(self._most, len(self._due), max(THREADS, hanging))

    def _probe_all(self) -> None:
        while (target := self._work.get()) is not None and not self._stop.is_set():
            answer = probe(target.kind, target.target, target.timeout)
            now = time.time()
            seen = ProbeSeen(
                ts=now,
                name=target.name,
                kind=target.kind,
                target=shown(target.target),
                interval=target.interval,
                ok=answer.ok,
                seconds=answer.seconds,
                detail=answer.detail,
                configured=target.configured,
            )
            with self._changed:
                if target in self._due:
                    self._due[target] = time.monotonic() + max(0.1, target.interval - answer.seconds)
                    self._changed.notify_all()
            if self._stop.is_set():
                return
            try:
                self._emit([seen, Refreshed(now, self.source, self.source, answer.seconds)])
            except Exception:
                log.exception("probe %s: its result was not taken in", target.name)
