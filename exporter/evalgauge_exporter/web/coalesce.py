"""Coalescing of concurrent equal requests: one computation serves all that asked before it began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class RequestCoalescer:
    """Computes the results for equal keys one after the other.

    A request that arrives during a computation shares the next one with all others that arrived meanwhile, so no
    result is older than its request. Belongs to one event loop; caches nothing once a result is delivered.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}
        """Computations that have not begun, by key: a request may still join them."""
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return a result that was computed after this call.

        Args:
            key: Equal keys share a computation.
            compute: Called in a thread; of the requests that share a result the first one's is used.

        Returns:
            What ``compute`` returns; what it raises is raised for every request that shares it.
        """
        task: asyncio.Task[T] | None = self._waiting.get(key)
        if task is None:
            task = self._waiting[key] = asyncio.create_task(self._run_in_turn(key, compute))
        return await asyncio.shield(task)  # a client that disconnects does not cancel it for the others

    async def _run_in_turn(self, key: Hashable, compute: Callable[[], T]) -> T:
        if (before := self._running.get(key)) is not None:
            await asyncio.wait([before])
        self._running[key] = self._waiting.pop(key)
        try:
            return await asyncio.to_thread(compute)
        finally:
            del self._running[key]
