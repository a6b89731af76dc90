"""Clients that misbehave: they are bounded in number and time, and others are served meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from evalgauge_exporter.web import connections, server
from evalgauge_exporter.web.errors import find_similar, unknown_run_error
from evalgauge_exporter.web.server import serving
from tests.exporter.runs import exporter_of, small_run

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Half: "


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An exporter that may open few files."""
    monkeypatch.setattr(server, "raise_descriptor_limit", lambda: connections.MIN_RESERVED + 20)
    small_run(tmp_path, "r")
    with serving(exporter_of(tmp_path)) as url:
        yield url


def connect(base: str, sent: bytes = b"") -> socket.socket:
    parts = urlsplit(base)
    assert parts.hostname is not None
    client = socket.create_connection((parts.hostname, parts.port or 0), timeout=60)
    client.sendall(sent)
    return client


def read_all(client: socket.socket) -> bytes:
    """What comes until the other side closes the connection; a TimeoutError where it does not."""
    answer = b""
    try:
        while received := client.recv(1000):
            answer += received
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, b"\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(base: str, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with connect(base, sent) as client:
        assert b" 200 " not in read_all(client)


def test_a_second_head_that_does_not_come_ends_the_connection(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(base, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        assert client.recv(12) == b"HTTP/1.1 200"
        monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)  # the first one has had all the time that it needed
        client.sendall(HALF_A_HEAD)
        assert read_all(client).endswith(b"ok\n")


def test_a_body_that_does_not_come_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 1.0)
    secret = tmp_path / "token"
    secret.write_text("a-token-of-enough-letters")
    with serving(exporter_of(tmp_path, token_file=secret)) as base:
        head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken="
        with connect(base, head) as client:
            assert read_all(client) == b""


def test_clients_that_send_nothing_lock_nobody_out(base: str) -> None:
    silent = [connect(base, HALF_A_HEAD if number % 2 else b"") for number in range(200)]
    try:
        assert httpx.get(f"{base}/metrics", timeout=60).status_code == 200
    finally:
        for client in silent:
            client.close()


def test_a_client_that_is_served_regularly_is_not_the_one_that_makes_room(base: str) -> None:
    with httpx.Client(base_url=base, timeout=60) as regular:
        assert regular.get("/healthz").status_code == 200
        silent = [connect(base) for _ in range(40)]
        try:
            first = regular.get("/healthz").extensions["network_stream"]
            assert regular.get("/healthz").extensions["network_stream"] is first
        finally:
            for client in silent:
                client.close()


def test_streams_beyond_the_bound_are_refused_and_the_page_can_poll(base: str) -> None:
    head = b"GET /api/benchmark-sse HTTP/1.1\r\nHost: localhost\r\n\r\n"
    streams: list[socket.socket] = []
    try:
        while not streams or streams[-1].recv(12) == b"HTTP/1.1 200":
            assert len(streams) < 20
            streams.append(connect(base, head))
        assert len(streams) > 4
        assert httpx.get(f"{base}/api/benchmark/frame", timeout=60).status_code == 200
    finally:
        for client in streams:
            client.close()


def test_similar_names_cost_the_same_however_many_and_long_names_there_are() -> None:
    names = [f"{number:06d}{'ab' * 300}" for number in range(50_000)]
    compared = []

    class Counted(str):
        __slots__ = ()

        def __getitem__(self, key: object) -> str:
            compared.append(self)
            return str.__getitem__(self, key)  # type: ignore[index]

    assert find_similar("zz", map(Counted, names)) == []
    assert len(compared) <= 1000
    assert "did you mean run_1?" in str(unknown_run_error("run-1", ["other", "run_1"]).detail)


def test_a_name_is_similar_to_itself_but_for_case_and_marks() -> None:
    assert find_similar("GPT-5 run", ["claude", "gpt-5_run", "x"]) == ["gpt-5_run"]
    assert find_similar("", ["claude"]) == []
