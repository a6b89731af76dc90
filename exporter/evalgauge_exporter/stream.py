"""The event stream: frames pushed to browsers at each change. One frame is built for all clients of a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

KEEP_ALIVE_SECONDS = 15.0
LINGER_SECONDS = 0.2
"""The shortest time between two frames of one run: what happens meanwhile is in the next."""


class _Channel:
    """The newest frame of one run, for everyone who looks at it."""

    def __init__(self) -> None:
        self.payload: bytes = b""
        self.version = -1
        self.built_at = 0.0
        self.building: asyncio.Task[None] | None = None


class Stream:
    """Wakes the clients when the state changes, and gives all of them the same bytes."""

    def __init__(self, build: Callable[[str | None], tuple[int, bytes]], version: Callable[[], int]) -> None:
        """``build`` makes a run's frame (state version, JSON), in a thread; ``version`` is the state's now."""
        self._build = build
        self._version = version
        self._channels: dict[str | None, _Channel] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._boot = b"%x" % time.time_ns()  # versions begin anew with each start of the exporter

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop; called when the server starts."""
        self._loop = loop

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
        if channel.version != self._version():
            if channel.building is None:
                channel.building = asyncio.create_task(self._rebuild(run_id, channel))
            await asyncio.shield(channel.building)
        return channel.version, channel.payload

    async def _rebuild(self, run_id: str | None, channel: _Channel) -> None:
        try:
            wait = channel.built_at + LINGER_SECONDS - time.monotonic()
            if channel.version >= 0 and wait > 0:
                await asyncio.sleep(wait)
            channel.version, channel.payload = await asyncio.to_thread(self._build, run_id)
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
        while True:
            changed = self._changed
            if sent != self._version():
                wait = sent_at + interval - time.monotonic()
                if sent is not None and wait > 0:
                    await asyncio.sleep(wait)
                version, payload = await self.frame(run_id)
                if version != sent:
                    sent, sent_at = version, time.monotonic()
                    yield b"id: %b-%d\ndata: %b\n\n" % (self._boot, version, payload)
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
