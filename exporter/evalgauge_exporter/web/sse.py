"""The event stream: snapshots sent to browsers at each change. One snapshot is built for all clients of a run.

Clients that ask for patches get one whole frame, then what has changed: the difference of each two frames in a row is
computed once, for all of them. A client that missed some gets those that it missed, or a whole frame.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, NamedTuple

import msgspec

from evalgauge_exporter.web.patches import find_patch, mark_clocks

KEEP_ALIVE_SECONDS = 15.0
MAX_AGE_SECONDS = 1.0
"""A snapshot of a running run is rebuilt after this many seconds even without an event: elapsed times change."""
PATCH = "Whether only the first message is complete, and later ones are patches of it."
"""Describes the parameter of a stream's address."""
MAX_PATCHES = 20
"""Patches that are cached: a client that has missed more gets a whole frame."""
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
        self.patch_clients = 0
        self.adding = asyncio.Lock()
        self.frames = 0
        """Number of frames that were made for clients of patches."""
        self.frame: dict[str, Any] | None = None
        """The newest of them, with its clocks marked."""
        self.patches: deque[bytes] = deque(maxlen=MAX_PATCHES)
        """The events that led to it."""
        self._frame_of: bytes | None = None

    async def add_frame(self, boot: bytes) -> None:
        """Make a frame of the newest snapshot, and an event of what has changed since the one before."""
        async with self.adding:
            version, payload = self.version, self.payload
            if self._frame_of is not payload:
                frame, patch = await asyncio.to_thread(_make_frame, payload, self.frame)
                self.frame, self.frames, self._frame_of = frame, self.frames + 1, payload
                self.patches.append(b"id: %b-%d\nevent: patch\ndata: %b\n\n" % (boot, version, patch))

    def list_events(self, seen: int | None, boot: bytes) -> list[bytes]:
        """Return the events for a client that has seen so many frames; the whole frame where it needs that."""
        missed = None if seen is None else self.frames - seen
        if missed is None or missed > len(self.patches):
            whole = msgspec.json.encode(self.frame)
            return [b"id: %b-%d\ndata: %b\n\n" % (boot, self.version, whole)]
        return list(self.patches)[len(self.patches) - missed :]

    def forget_frame(self) -> None:
        """Free what only clients of patches need."""
        self.frame = self._frame_of = None
        self.patches.clear()


def _make_frame(payload: bytes, before: dict[str, Any] | None) -> tuple[dict[str, Any], bytes]:
    frame = mark_clocks(msgspec.json.decode(payload))
    return frame, msgspec.json.encode({} if before is None else find_patch(before, frame))


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
        return await self._get(self._channels.setdefault(run_id, _Channel()), run_id)

    async def _get(self, channel: _Channel, run_id: str | None) -> tuple[int, bytes]:
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
                used = ((key, kept) for key, kept in self._channels.items() if kept.building or kept.patch_clients)
                self._channels = dict(used)
        finally:
            channel.building = None

    async def stream(
        self, run_id: str | None, interval: float, *, patches: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Stream server-sent events: a snapshot at once, then one at each change.

        The first one is complete, and without ``patches`` each one: a client that reconnects misses nothing.

        Args:
            run_id: The run; ``None`` for the selected one.
            interval: Minimum seconds between two snapshots.
            patches: Whether only the first snapshot is complete, and what has changed follows as ``patch`` events.

        Yields:
            Encoded messages and comments.
        """
        self.clients += 1
        channel = self._channels.setdefault(run_id, _Channel())
        channel.patch_clients += patches
        try:
            async for message in self._messages(channel, run_id, interval, patches):
                yield message
        finally:
            self.clients -= 1
            channel.patch_clients -= patches
            if not channel.patch_clients:
                channel.forget_frame()

    async def _messages(
        self, channel: _Channel, run_id: str | None, interval: float, patches: bool
    ) -> AsyncIterator[bytes]:
        sent: int | None = None
        seen: int | None = None
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
                version, payload = await self._get(channel, run_id)
                if version == sent:
                    continue
                sent, sent_at = version, time.monotonic()
                if patches:
                    await channel.add_frame(self._boot)
                    events, seen = channel.list_events(seen, self._boot), channel.frames
                    for event in events:
                        yield event
                else:
                    yield b"id: %b-%d\ndata: %b\n\n" % (self._boot, version, payload)
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
                if not channel.final:
                    sent = -1  # elapsed times have changed
