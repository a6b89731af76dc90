"""The garbage collector beside a state that lives long."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from evalgauge_exporter.ingest.memory import exempt_from_collection, keep_collections_short, release_memory


class Node:
    """An object that holds itself."""

    alive = 0

    def __init__(self) -> None:
        Node.alive += 1
        self.itself = self

    def __del__(self) -> None:
        Node.alive -= 1


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    Node.alive = 0
    yield
    gc.unfreeze()


def test_what_is_exempt_is_collected_once_memory_is_released() -> None:
    node = Node()
    exempt_from_collection()
    del node
    gc.collect()
    assert Node.alive == 1
    release_memory()
    assert Node.alive == 0


def test_everything_is_looked_through_once_an_hour() -> None:
    waits: list[float] = []
    alive: list[int] = []

    def wait(seconds: float) -> bool:
        if not waits:
            Node()
            gc.freeze()
        waits.append(seconds)
        alive.append(Node.alive)
        return len(waits) == 60

    gc.disable()  # only what is tested collects
    try:
        keep_collections_short(wait)
    finally:
        gc.enable()
    assert sum(waits) == 3600
    assert alive == [1] * 59 + [0]
    assert gc.get_freeze_count() > 0
