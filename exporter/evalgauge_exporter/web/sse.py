"""The event stream: snapshots sent to browsers at each change. One snapshot is built for all clients of a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

KEEP_ALIVE_SECONDS = 15.0
MAX_AGE_SECONDS = 1.0
"""A snapshot of a running run is rebuilt after this many seconds even without an event: elapsed times change."""
MIN_BUILD_INTERVAL = 0.2
"""Minimum seconds between two builds for one run; events in between are in the next snapshot."""


class RenderedSnapshot(NamedTuple):
    """A snapshot as it is sent."""

    version: int
    """The version of the state that it shows."""
    payload: bytes
    """JSON."""
    final: bool
    """Whether the passing of time changes nothing in it, because the run has finished."""


class _Channel:
    """The newest snapshot of one run, shared by all of its clients."""

    def __init__(self) -> None:
        self.payload: bytes = b""
        self.version = -1
        self.final = False
        self.built_at = 0.0
        self.building: asyncio.Task[None] | None = None


class SnapshotBroadcaster:
    """Wakes the clients when the state changes, and sends all of them the same bytes.

    Args:
        build: Builds the snapshot of a run by its id (``None``: the selected run); called in a thread.
        version: Returns the current version of the state.
    """

    def __init__(self, build: Callable[[str | None], RenderedSnapshot], version: Callable[[], int]) -> None:
        self._build = build
        self._version = version
        self._channels: dict[str | None, _Channel] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = threading.Event()
        self.clients = 0
        """Open streams."""
        self.max_clients = 10_000
        """Streams beyond this number are refused; the page polls then."""
        self._boot = b"%x" % time.time_ns()  # versions restart at 0 with each start of the exporter

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop of the server, before the first client connects."""
        self._loop = loop

    def close(self) -> None:
        """End the streams of all clients, because the server is stopping."""
        self._closed.set()
        self._wake()

    def notify(self) -> None:
        """Wake the clients because the state has changed. Thread-safe."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def get(self, run_id: str | None) -> tuple[int, bytes]:
        """Return the version and the JSON of a run's current snapshot, built at most once for each state.

        Args:
            run_id: The run; ``None`` for the selected one.
        """
        channel = self._channels.setdefault(run_id, _Channel())
        wanted = self._version()
        aged = not channel.final and time.monotonic() - channel.built_at > MAX_AGE_SECONDS
        for _ in range(2):  # a build that had begun before this call may show an older state; the next one does not
            if channel.version < wanted or aged:
                if channel.building is None:
                    channel.building = asyncio.create_task(self._rebuild(run_id, channel))
                await asyncio.shield(channel.building)
                aged = False
        return channel.version, channel.payload

    async def _rebuild(self, run_id: str | None, channel: _Channel) -> None:
        try:
            wait = channel.built_at + MIN_BUILD_INTERVAL - time.monotonic()
            if channel.version >= 0 and wait > 0:
                await asyncio.sleep(wait)
            channel.version, channel.payload, channel.final = await asyncio.to_thread(self._build, run_id)
            channel.built_at = time.monotonic()
            if len(self._channels) > 100:
                self._channels = {key: kept for key, kept in self._channels.items() if kept.building is not None}
        finally:
            channel.building = None

    async def stream(self, run_id: str | None, interval: float) -> AsyncIterator[bytes]:
        """Stream server-sent events: a snapshot at once, then one at each change.

        Each one is complete, so a client that reconnects misses nothing.

        Args:
            run_id: The run; ``None`` for the selected one.
            interval: Minimum seconds between two snapshots.

        Yields:
            Encoded messages and comments.
        """
        self.clients += 1
        try:
            async for message in self._messages(run_id, interval):
                yield message
        finally:
            self.clients -= 1

    async def _messages(self, run_id: str | None, interval: float) -> AsyncIterator[bytes]:
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
                version, payload = await self.get(run_id)
                if version != sent:
                    sent, sent_at = version, time.monotonic()
                    yield b"id: %b-%d\ndata: %b\n\n" % (self._boot, version, payload)
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
                channel = self._channels.get(run_id)
                if channel is None or not channel.final:
                    sent = -1  # elapsed times have changed
