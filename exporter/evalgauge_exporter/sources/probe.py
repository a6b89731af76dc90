"""Probes of machines: the WAA server's ``/probe``, HTTP, TCP, VNC and the near end of a tunnel.

A probe has one deadline for everything, from the name lookup to the last byte. It follows no redirect, uses no proxy
and signs in nowhere. All probes run side by side in one thread, on an event loop of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from re import compile as pattern
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

from evalgauge_exporter.sources.http import create_client, explain_error, fetch, tls_context
from evalgauge_exporter.sources.polling import STOP_SECONDS, Emit
from evalgauge_exporter.state.fleet_events import FleetEvent, ProbeSeen, Refreshed

log = logging.getLogger("evalgauge.exporter")
P = ParamSpec("P")
T = TypeVar("T")

MAX_CONCURRENT = 128
"""Probes that run at one time: each may hold a file descriptor until its timeout."""
MAX_BYTES = 65536
MAX_DETAIL = 300
BANNER_SECONDS = 1.0
"""A VNC server speaks first; where nothing came for so long it may be noVNC's web page, which waits to be asked."""
CLOSED_SECONDS = 0.25
"""A tunnel's near end accepts, whatever is at its far end; it closes at once where nothing is."""
WAA_PATH = "/probe"

_RFB = pattern(rb"RFB \d{3}\.\d{3}\n")
"""https://www.rfc-editor.org/rfc/rfc6143#section-7.1.1"""


class Target(NamedTuple):
    """Something that is probed; ``interval`` and ``timeout`` are in seconds."""

    name: str
    kind: str
    """``waa``, ``http``, ``tcp``, ``vnc`` or ``tunnel``."""
    target: str
    interval: float
    timeout: float
    configured: bool = True


class Answer(NamedTuple):
    """The result of a probe."""

    ok: bool
    seconds: float
    detail: str


class Address(NamedTuple):
    """The address of a target."""

    host: str
    port: int
    tls: bool
    path: str
    """The path of a URL, with its query."""

    @property
    def url(self) -> str:
        """The address as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def redact_target(target: str) -> str:
    """Return a target as people may see it: without user, password and query, which may be secrets."""
    scheme, separator, rest = target.partition("://") if "://" in target else ("", "", target)
    place, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def parse_target(kind: str, target: str) -> Address:
    """Return the address of a target.

    Raises:
        ValueError: It is no address; the message is one sentence that shows no secret.
    """
    text = target.strip()
    target = redact_target(text)
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
        raise ValueError(f"{target!r} contains characters that no address has")
    return Address(parts.hostname, port, parts.scheme == "https", path)


def probe(kind: str, target: str, timeout: float) -> Answer:
    """Probe a target once, for ``timeout`` seconds at most. Never raises."""
    return asyncio.run(_probe(kind, target, timeout))


def probe_all(targets: Iterable[Target]) -> list[Answer]:
    """Probe each target once, side by side, and return the answers in the order of the targets. Never raises."""
    limit = asyncio.Semaphore(MAX_CONCURRENT)

    async def one(target: Target) -> Answer:
        async with limit:
            return await _probe(target.kind, target.target, target.timeout)

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(*map(one, targets))

    return asyncio.run(all_of_them())


async def _probe(kind: str, target: str, timeout: float) -> Answer:
    began = time.monotonic()
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        ok, detail = await _KINDS[kind](parse_target(kind, target), deadline)
    except TimeoutError:
        ok, detail = False, f"no answer in {timeout:g} s"
    except ValueError as error:
        ok, detail = False, str(error)
    except Exception as error:
        ok, detail = False, explain_error(error)[1]
    return Answer(ok, time.monotonic() - began, " ".join(detail.split())[:MAX_DETAIL])


async def _ask_web(address: Address, deadline: float, ok_below: int = 400) -> tuple[bool, str]:
    async with create_client(proxies=False) as client:
        request = client.build_request("GET", address.url, headers={"Connection": "close"})
        status, _, body, _ = await fetch(client, request, deadline, MAX_BYTES)
    text = body.decode("utf-8", "replace").strip()
    return status < ok_below, text if status < ok_below and text else f"status {status}"


async def _ask_waa(address: Address, deadline: float) -> tuple[bool, str]:
    return await _ask_web(address, deadline, ok_below=300)


async def _ask_tcp(address: Address, deadline: float) -> tuple[bool, str]:
    await _read_first(address, deadline, 0, 0.0)
    return True, "connected"


async def _ask_vnc(address: Address, deadline: float) -> tuple[bool, str]:
    banner = await _read_first(address, deadline, 12, BANNER_SECONDS)
    if banner is None:
        ok, detail = await _ask_web(address, deadline)
        return ok, "noVNC answers" if ok else detail
    return bool(_RFB.fullmatch(banner)), banner.decode("ascii", "replace").strip() or "closed without a banner"


async def _ask_tunnel(address: Address, deadline: float) -> tuple[bool, str]:
    if await _read_first(address, deadline, 1, CLOSED_SECONDS) == b"":
        return False, "nothing answers at the far end"
    return True, "connected"


_KINDS: dict[str, Callable[[Address, float], Coroutine[Any, Any, tuple[bool, str]]]] = {
    "waa": _ask_waa,
    "http": _ask_web,
    "tcp": _ask_tcp,
    "vnc": _ask_vnc,
    "tunnel": _ask_tunnel,
}


async def _read_first(address: Address, deadline: float, most: int, seconds: float) -> bytes | None:
    """Connect and return the first ``most`` bytes, or what came until the other side closed.

    None where neither happened within ``seconds``, or within half of the time that was left. Raises TimeoutError where
    no connection was made by the deadline.
    """
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout_at(deadline):
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=tls_context() if address.tls else None, happy_eyeballs_delay=0.25
        )
    try:
        async with asyncio.timeout(min(seconds, (deadline - clock()) / 2)):
            return await reader.readexactly(most)
    except TimeoutError:
        return None
    except asyncio.IncompleteReadError as error:
        return error.partial
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


class _DaemonThreads(ThreadPoolExecutor):
    """Threads that do not keep the process from ending: a resolver that hangs may take half a minute."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="evalgauge-probing", daemon=True).start()
        return future


class ProbeSource:
    """A source that probes its targets, each at its own interval, from `start` to `stop`.

    Args:
        targets: What is configured.
        emit: Takes the events; it is called from other threads.
        limit: Probes that run at one time at most.
    """

    source = "probe"

    def __init__(self, targets: Iterable[Target], emit: Emit, limit: int = MAX_CONCURRENT) -> None:
        self._emit = emit
        self._limit = asyncio.Semaphore(limit)
        self._targets = frozenset(targets)
        self._changed = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="evalgauge-probe", daemon=True)

    def start(self) -> None:
        """Start probing in the background."""
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_DaemonThreads())
        self._thread.start()

    def stop(self) -> None:
        """Stop probing; returns soon, even while a probe hangs."""
        self._stopping = True
        self._notify()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def replace(self, targets: Iterable[Target]) -> None:
        """Replace the targets that nobody configured, which are those that the registries name."""
        self._targets = frozenset(target for target in self._targets if target.configured) | frozenset(targets)
        self._notify()

    def _notify(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._changed.set)

    def _run(self) -> None:
        assert self._loop is not None
        try:
            self._loop.run_until_complete(self._probe_targets())
        finally:
            self._loop.close()

    async def _probe_targets(self) -> None:
        tasks: dict[Target, asyncio.Task[None]] = {}
        while not self._stopping:
            self._changed.clear()
            for target in tasks.keys() - self._targets:
                tasks.pop(target).cancel()
            for target in self._targets - tasks.keys():
                tasks[target] = asyncio.create_task(self._probe_repeatedly(target))
            await self._changed.wait()
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _probe_repeatedly(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._limit:
                answer = await _probe(target.kind, target.target, target.timeout)
                now = time.time()
                seen = ProbeSeen(
                    ts=now,
                    name=target.name,
                    kind=target.kind,
                    target=redact_target(target.target),
                    interval=target.interval,
                    ok=answer.ok,
                    seconds=answer.seconds,
                    detail=answer.detail,
                    configured=target.configured,
                )
                try:  # in a thread: whoever takes it may wait for a lock, and the other probes' deadlines keep running
                    events: list[FleetEvent] = [seen, Refreshed(now, self.source, self.source, answer.seconds)]
                    await loop.run_in_executor(None, self._emit, events)
                except Exception:
                    log.exception("probe %s: its result could not be processed", target.name)
            await asyncio.sleep(max(0.1, target.interval - answer.seconds))
