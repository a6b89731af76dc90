"""The event stream: frames pushed to browsers at each change. One frame is built for all clients of a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

KEEP_ALIVE_SECONDS = 15.0
FRESH_SECONDS = 1.0
"""A frame of a run that goes on is built anew after so long, even if nothing happened: time passes in it."""
LINGER_SECONDS = 0.2
"""The shortest time between two frames of one run: what happens meanwhile is in the next."""


class RenderedSnapshot(NamedTuple):
    """A frame as it is sent."""

    version: int
    """Of the state that it shows."""
    payload: bytes
    """JSON."""
    final: bool
    """Whether time alone changes nothing in it: the run is over."""


class _Channel:
    """The newest frame of one run, for everyone who looks at it."""

    def __init__(self) -> None:
        self.payload: bytes = b""
        self.version = -1
        self.settled = False
        self.built_at = 0.0
        self.building: asyncio.Task[None] | None = None


class SnapshotBroadcaster:
    """Wakes the clients when the state changes, and gives all of them the same bytes."""

    def __init__(self, build: Callable[[str | None], RenderedSnapshot], version: Callable[[], int]) -> None:
        """``build`` makes a run's frame, in a thread; ``version`` is the state's now."""
        self._build = build
        self._version = version
        self._channels: dict[str | None, _Channel] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = threading.Event()
        self._boot = b"%x" % time.time_ns()  # versions begin anew with each start of the exporter

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop; called when the server starts."""
        self._loop = loop

    def close(self) -> None:
        """End every client's stream: the server stops."""
        self._closed.set()
        self._wake()

    def changed(self) -> None:
        """Something has changed. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def frame(self, run_id: str | None) -> tuple[int, bytes]:
        """The frame of a run as of now; built at most once for each state, however many ask."""
        channel = self._channels.setdefault(run_id, _Channel())
        wanted = self._version()
        aged = not channel.settled and time.monotonic() - channel.built_at > FRESH_SECONDS
        for _ in range(2):  # one whose building had begun may show what was before; the next does not
            if channel.version < wanted or aged:
                if channel.building is None:
                    channel.building = asyncio.create_task(self._rebuild(run_id, channel))
                await asyncio.shield(channel.building)
                aged = False
        return channel.version, channel.payload

    async def _rebuild(self, run_id: str | None, channel: _Channel) -> None:
        try:
            wait = channel.built_at + LINGER_SECONDS - time.monotonic()
            if channel.version >= 0 and wait > 0:
                await asyncio.sleep(wait)
            channel.version, channel.payload, channel.settled = await asyncio.to_thread(self._build, run_id)
            channel.built_at = time.monotonic()
            if len(self._channels) > 100:
                self._channels = {key: kept for key, kept in self._channels.items() if kept.building is not None}
        finally:
            channel.building = None

    async def events(self, run_id: str | None, interval: float) -> AsyncIterator[bytes]:
        """Server-sent events: a frame at once, then one at each change, no sooner than ``interval`` seconds later.

        Each is whole, so a client that comes back misses nothing whatever it had.
        """
        sent: int | None = None
        sent_at = 0.0
        yield b"retry: 2000\n\n"
        while not self._closed.is_set():
            changed = self._changed
            if sent != self._version():
                wait = sent_at + interval - time.monotonic()
                if sent is not None and wait > 0:
                    await asyncio.sleep(wait)
                if self._closed.is_set():
                    return
                version, payload = await self.frame(run_id)
                if version != sent:
                    sent, sent_at = version, time.monotonic()
                    yield b"id: %b-%d\ndata: %b\n\n" % (self._boot, version, payload)
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
                channel = self._channels.get(run_id)
                if channel is None or not channel.settled:
                    sent = -1  # the clock went on
