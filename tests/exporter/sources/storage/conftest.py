from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto.server")

from moto.server import ThreadedMotoServer

from tests.exporter.sources.storage.buckets import Door, TestBucket, make_blob, make_s3, run_azurite

NAMES = (f"bucket-{number:04}" for number in itertools.count())


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture(scope="session")
def azurite_port() -> Iterator[int]:
    with run_azurite() as port:
        yield port


@pytest.fixture(params=["s3", "blob"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestBucket]:
    """An empty bucket of each cloud."""
    kind = request.param
    port = request.getfixturevalue("moto_port" if kind == "s3" else "azurite_port")
    with Door("127.0.0.1", port) as door:
        made = (make_s3 if kind == "s3" else make_blob)(door, next(NAMES), monkeypatch)
        door.requests.clear()
        yield made


@pytest.fixture
def s3(moto_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestBucket]:
    """An empty bucket of S3."""
    with Door("127.0.0.1", moto_port) as door:
        made = make_s3(door, next(NAMES), monkeypatch)
        door.requests.clear()
        yield made
