"""Bounds on the connections of clients: in all, for each address, and in time.

A connection without a request in progress is idle. When a bound is reached, the oldest idle connection makes room for
the new one, so clients that send nothing can't lock others out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_SECONDS = 10.0
"""Seconds within which the head of a request must arrive."""
BODY_SECONDS = 60.0
"""Seconds within which the body of a request must arrive after its head."""
STALLED_SECONDS = 60.0
"""Seconds without progress after which a client that does not read its response is dropped."""
MAX_CONNECTIONS = 10_000
RESERVED_SHARE = 4
"""One of so many file descriptors is reserved for logs, sites and the metrics."""
MIN_RESERVED = 64


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it; 1,024 where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return MAX_CONNECTIONS * 2 if soft == resource.RLIM_INFINITY else soft


class ConnectionLimits:
    """The bounds of one server. Belongs to its event loop.

    Args:
        descriptors: File descriptors that the process may open.
    """

    def __init__(self, descriptors: int) -> None:
        reserved = max(MIN_RESERVED, descriptors // RESERVED_SHARE)
        self.total = max(8, min(MAX_CONNECTIONS, descriptors - reserved))
        self.per_address = max(6, self.total * 7 // 8)
        self.streams = max(4, self.per_address * 3 // 4)
        """Event streams, which are never idle."""
        self.backlog = min(128, reserved // 2)
        """Connections that are accepted at once, before a bound can close any of them."""
        self._open: Counter[str] = Counter()
        self._idle: dict[str, dict[LimitedProtocol, None]] = {}

    def admit(self, connection: LimitedProtocol) -> bool:
        """Count a new connection, closing an idle one where a bound is reached; False where none is idle."""
        address = connection.address
        while self._open[address] >= self.per_address:
            if not self._evict(address):
                return False
        while self._open.total() >= self.total:
            if not self._evict(max(self._idle, key=self._open.__getitem__, default=address)):
                return False
        self._open[address] += 1
        return True

    def release(self, connection: LimitedProtocol) -> None:
        """Count a connection as closed."""
        self.set_idle(connection, False)
        address = connection.address
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def set_idle(self, connection: LimitedProtocol, idle: bool) -> None:
        """Note whether a connection has no request in progress."""
        address = connection.address
        if idle:
            self._idle.setdefault(address, {}).setdefault(connection)
        elif (connections := self._idle.get(address)) is not None:
            connections.pop(connection, None)
            if not connections:
                del self._idle[address]

    def _evict(self, address: str) -> bool:
        idle = self._idle.get(address, {})
        # one that has been served before, such as Prometheus's, is closed only where all have been
        oldest = next((one for one in idle if not one.was_served), next(iter(idle), None))
        if oldest is None:
            return False
        oldest.abort()
        return True


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with the bounds of ``limits`` and time limits for heads, bodies and responses."""

    limits: ConnectionLimits
    allowed_names: frozenset[str] = frozenset()
    """Subject alternative names of client certificates; empty where every verified certificate may connect."""
    address = ""
    _counted = False
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    was_served = False
    """Whether a request was answered on the connection."""
    _body_of: object = None
    """The request whose body has a deadline."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Admit a connection and wait for its first head."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if not self._is_allowed(transport) or not self.limits.admit(self):
            transport.abort()
            return
        self._counted = True
        self._update()
        self._set_deadline(HEAD_SECONDS)

    def _is_allowed(self, transport: asyncio.Transport) -> bool:
        ssl_object = transport.get_extra_info("ssl_object")
        certificate = ssl_object.getpeercert() if self.allowed_names and ssl_object is not None else None
        if not certificate:  # the context has asked for one where it is required
            return True
        return any(name in self.allowed_names for _, name in certificate.get("subjectAltName", ()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes and set the deadline of what is still missing."""
        if not self._counted:
            return
        super().data_received(data)
        if self._update():
            if self._deadline is None:
                self._set_deadline(HEAD_SECONDS)
        elif not self.cycle.more_body:
            self._set_deadline(None)
        elif self._body_of is not self.cycle:
            self._body_of = self.cycle
            self._set_deadline(BODY_SECONDS)

    def on_response_complete(self) -> None:
        """Count the connection as idle again; uvicorn's keep-alive limit holds until the next head begins."""
        super().on_response_complete()
        self.was_served = True
        self._set_deadline(None)
        if self._counted:
            self._update()

    def pause_writing(self) -> None:
        """Start the time limit of a client that does not read."""
        self.flow.pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.abort)

    def resume_writing(self) -> None:
        """End the time limit of a client that reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self.flow.resume_writing()

    def abort(self) -> None:
        """Close the connection at once and count it as closed."""
        self._release()
        self.transport.abort()

    def _release(self) -> None:
        self._set_deadline(None)
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self._counted:
            self._counted = False
            self.limits.release(self)

    def _update(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        idle = cycle is None or cycle.response_complete
        self.limits.set_idle(self, idle)
        return idle

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.abort)


def limited_protocol(limits: ConnectionLimits, allowed_names: tuple[str, ...] = ()) -> type[Any]:
    """Return a protocol class with these bounds.

    Args:
        limits: The bounds.
        allowed_names: A client's certificate must have one of these subject alternative names; none allows all.
    """
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits, "allowed_names": frozenset(allowed_names)})
