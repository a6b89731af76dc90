"""Answers that many ask for at once: one is made for all who asked before its making began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class RequestCoalescer:
    """Makes the answers to equal questions one after the other.

    Who asks while one is made gets the next, with all others who came meanwhile: no answer is older than its question.
    Belongs to one event loop; keeps nothing once it is answered.
    """

    def __init__(self) -> None:
        self._next: dict[Hashable, asyncio.Task[Any]] = {}
        """Those that wait for their turn, by question: they may still be joined."""
        self._made: dict[Hashable, asyncio.Task[Any]] = {}
        """Those whose making has begun."""

    async def get(self, question: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives in a thread, or raises there; of those who share an answer the first one's is used."""
        task: asyncio.Task[T] | None = self._next.get(question)
        if task is None:
            task = self._next[question] = asyncio.create_task(self._in_turn(question, make))
        return await asyncio.shield(task)  # one who goes away does not take it from the others

    async def _in_turn(self, question: Hashable, make: Callable[[], T]) -> T:
        if (before := self._made.get(question)) is not None:
            await asyncio.wait([before])
        self._made[question] = self._next.pop(question)
        try:
            return await asyncio.to_thread(make)
        finally:
            del self._made[question]
