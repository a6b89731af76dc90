"""Probes over real sockets on 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from evalgauge_exporter.sources import probe as probes
from evalgauge_exporter.sources.http import tls_context
from evalgauge_exporter.sources.probe import (
    MAX_CONCURRENT,
    ProbeSource,
    Target,
    parse_target,
    probe,
    probe_all,
    redact_target,
)
from evalgauge_exporter.state.fleet_events import FleetEvent, ProbeSeen
from tests.exporter.sources.certificate import certificate, server_context
from tests.ports import free_port

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{"message": "operational"}\n'

Talk = Callable[[socket.socket], object]

PATIENT = 60.0
"""Seconds that something which comes is waited for, on a machine that is busy."""


@contextlib.contextmanager
def serve_tcp(talk: Talk) -> Iterator[str]:
    """A server that holds each connection while ``talk`` does, and then closes it; gives its host:port."""
    server = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in (acceptor, *threads):
            thread.join()


def answer_with(answer: bytes, requests: list[bytes] | None = None) -> Talk:
    def talk(connection: socket.socket) -> None:
        request = connection.recv(4096)
        if requests is not None:
            requests.append(request)
        connection.sendall(answer)

    return talk


def until_closed(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def find_closed_address() -> str:
    """An address at which nothing listens."""
    return f"127.0.0.1:{free_port()}"


def test_the_answer_of_a_waa_server_that_is_ready_is_the_detail() -> None:
    requests: list[bytes] = []
    with serve_tcp(answer_with(OK, requests)) as address:
        answer = probe("waa", address, PATIENT)
    assert (answer.ok, answer.detail) == (True, '{"message": "operational"}')
    assert answer.seconds > 0
    assert requests[0].startswith(b"GET /probe HTTP/1.1\r\n")
    assert f"Host: {address}\r\n".encode() in requests[0]


@pytest.mark.parametrize(
    ("kind", "status", "ok"),
    [("waa", 200, True), ("waa", 302, False), ("waa", 503, False), ("http", 302, True), ("http", 404, False)],
)
def test_the_status_decides(kind: str, status: int, ok: bool) -> None:
    with serve_tcp(answer_with(b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n" % status)) as address:
        answer = probe(kind, address, PATIENT)
    assert (answer.ok, answer.detail) == (ok, f"status {status}")


def test_a_url_is_asked_for_with_its_path_and_query() -> None:
    requests: list[bytes] = []
    with serve_tcp(answer_with(OK, requests)) as address:
        assert probe("http", f"http://{address}/health?deep=1", PATIENT).ok
    assert requests[0].startswith(b"GET /health?deep=1 HTTP/1.1\r\n")


def test_an_answer_of_known_length_ends_when_it_is_complete() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(OK)
        until_closed(connection)

    with serve_tcp(talk) as address:
        assert probe("http", address, 600.0).ok


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "closed without an HTTP answer"),
        (b"220 mail.example\r\n\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "it does not speak HTTP"),
    ],
)
def test_an_answer_that_is_not_http_is_a_failure(said: bytes, detail: str) -> None:
    with serve_tcp(answer_with(said)) as address:
        answer = probe("http", address, PATIENT)
    assert (answer.ok, answer.detail) == (False, detail)


def test_a_connection_closed_without_a_word_is_no_answer() -> None:
    with serve_tcp(answer_with(b"")) as address:
        answer = probe("waa", address, PATIENT)
    assert (answer.ok, answer.detail) == (False, "closed without an HTTP answer")


@pytest.mark.parametrize("kind", ["waa", "http", "tcp", "vnc", "tunnel"])
def test_an_address_at_which_nothing_listens_refuses(kind: str) -> None:
    answer = probe(kind, find_closed_address(), PATIENT)
    assert (answer.ok, answer.detail) == (False, "connection refused")


@pytest.mark.parametrize("kind", ["waa", "http", "vnc"])
def test_a_server_that_says_nothing_costs_its_timeout_and_no_more(kind: str) -> None:
    with serve_tcp(until_closed) as address:
        answer = probe(kind, address, 0.3)
    assert (answer.ok, answer.detail) == (False, "no answer in 0.3 s")


def test_an_answer_that_drips_in_costs_the_timeout_and_no_more() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with serve_tcp(drip) as address:
        answer = probe("http", address, 0.3)
        stop.set()
    assert (answer.ok, answer.detail) == (False, "no answer in 0.3 s")


def test_a_vnc_server_is_known_by_its_banner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "BANNER_SECONDS", PATIENT)
    with serve_tcp(lambda connection: connection.sendall(b"RFB 003.008\n")) as address:
        answer = probe("vnc", address, 2 * PATIENT)
    assert (answer.ok, answer.detail) == (True, "RFB 003.008")


def test_novnc_is_known_by_its_web_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "BANNER_SECONDS", 0.2)
    with serve_tcp(answer_with(OK)) as address:
        answer = probe("vnc", address, PATIENT)
    assert (answer.ok, answer.detail) == (True, "noVNC answers")


def test_another_banner_is_no_vnc() -> None:
    with serve_tcp(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")) as address:
        assert not probe("vnc", address, PATIENT).ok


def test_an_open_port_is_enough_for_tcp() -> None:
    with serve_tcp(until_closed) as address:
        assert probe("tcp", address, PATIENT).ok


def test_a_tunnel_with_nothing_at_its_far_end_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_tcp(until_closed) as address:
        assert probe("tunnel", address, PATIENT).ok
    monkeypatch.setattr(probes, "CLOSED_SECONDS", PATIENT)
    with serve_tcp(lambda connection: None) as address:
        answer = probe("tunnel", address, 2 * PATIENT)
    assert (answer.ok, answer.detail) == (False, "nothing answers at the far end")


def test_a_hostile_answer_is_one_short_line() -> None:
    body = b"HTTP/1.0 200 OK\r\n\r\n" + b"\xff\n\r\t<script>" * 5000
    with serve_tcp(answer_with(body)) as address:
        answer = probe("http", address, PATIENT)
    assert answer.ok
    assert len(answer.detail) <= 300
    assert "\n" not in answer.detail


@pytest.mark.parametrize(
    ("kind", "target", "host", "port", "tls", "path"),
    [
        ("waa", "10.0.0.4:5000", "10.0.0.4", 5000, False, "/probe"),
        ("waa", "http://vm:5000/other", "vm", 5000, False, "/other"),
        ("http", "https://example.org", "example.org", 443, True, "/"),
        ("http", "http://example.org/a?b=c", "example.org", 80, False, "/a?b=c"),
        ("tcp", "[::1]:22", "::1", 22, False, "/"),
    ],
)
def test_a_target_is_a_host_and_a_port_or_a_url(
    kind: str, target: str, host: str, port: int, tls: bool, path: str
) -> None:
    assert parse_target(kind, target) == (host, port, tls, path)


@pytest.mark.parametrize(
    "target", ["", "host", ":80", "host:port", "host:99999", "ftp://host:21", "http://a b:80", "http://h/\r\nX: y"]
)
def test_an_invalid_target_is_refused_with_the_reason(target: str) -> None:
    with pytest.raises(ValueError, match=r"write host:port|characters that no address has"):
        parse_target("http", target)
    assert not probe("http", target, 1.0).ok


class Watch:
    """A running source and what it told, by target name."""

    def __init__(self, targets: Sequence[Target], limit: int = 16) -> None:
        self.seen: list[ProbeSeen] = []
        self.told = threading.Condition()
        self.source = ProbeSource(targets, self._emit, limit)

    def _emit(self, events: Sequence[FleetEvent]) -> None:
        with self.told:
            self.seen += [event for event in events if isinstance(event, ProbeSeen)]
            self.told.notify_all()

    def wait_for(self, *names: str) -> dict[str, bool]:
        with self.told:
            assert self.told.wait_for(lambda: {one.name for one in self.seen} >= set(names), PATIENT)
            return {one.name: one.ok for one in self.seen}


def test_probes_run_side_by_side() -> None:
    everyone = threading.Barrier(8)

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        everyone.wait(PATIENT)  # passes only once all eight are being asked
        connection.sendall(OK)

    with serve_tcp(talk) as address:
        watch = Watch([Target(f"vm-{n}", "waa", address, 600.0, PATIENT) for n in range(8)])
        watch.source.start()
        assert all(watch.wait_for(*(f"vm-{n}" for n in range(8))).values())
        watch.source.stop()


def test_no_more_than_the_bound_run_at_one_time() -> None:
    lock = threading.Lock()
    now = most = 0

    def talk(connection: socket.socket) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        connection.recv(4096)
        with lock:
            now -= 1
        connection.sendall(OK)

    with serve_tcp(talk) as address:
        watch = Watch([Target(f"vm-{n}", "waa", address, 600.0, PATIENT) for n in range(20)], limit=3)
        watch.source.start()
        watch.wait_for(*(f"vm-{n}" for n in range(20)))
        watch.source.stop()
    assert most <= 3


def test_a_target_is_probed_again_after_its_interval() -> None:
    with serve_tcp(answer_with(OK)) as address:
        watch = Watch([Target("vm", "waa", address, 0.05, PATIENT)])
        watch.source.start()
        with watch.told:
            assert watch.told.wait_for(lambda: len(watch.seen) >= 3, PATIENT)
        watch.source.stop()
    assert all(one.ok for one in watch.seen)


def test_a_target_that_hangs_holds_up_no_other() -> None:
    release = threading.Event()
    with serve_tcp(lambda _: bool(release.wait(PATIENT))) as silent, serve_tcp(answer_with(OK)) as address:
        watch = Watch(
            [Target("hangs", "waa", silent, 600.0, PATIENT), Target("ok", "waa", address, 600.0, PATIENT)], limit=2
        )
        watch.source.start()
        assert watch.wait_for("ok") == {"ok": True}
        release.set()
        watch.source.stop()


def test_the_targets_of_registries_come_and_go() -> None:
    with serve_tcp(answer_with(OK)) as address:
        configured = Target("mine", "waa", address, 600.0, PATIENT)
        watch = Watch([configured])
        watch.source.start()
        watch.wait_for("mine")
        watch.source.replace([Target("new", "waa", address, 600.0, PATIENT, configured=False)])
        watch.wait_for("mine", "new")
        watch.source.replace([])
        assert watch.source._targets == {configured}
        watch.source.stop()


def test_a_source_without_targets_stops() -> None:
    watch = Watch([])
    watch.source.start()
    watch.source.stop()
    watch.source._thread.join()


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("10.0.0.4:5000", "10.0.0.4:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("http://vm/health?key=hunter2#x", "http://vm/health"),
        ("https://me:hunter2@vm:8443/health", "https://vm:8443/health"),
        ("me:hunter2@vm:5000", "vm:5000"),
    ],
)
def test_a_target_is_shown_without_what_may_be_secret(target: str, seen: str) -> None:
    assert redact_target(target) == seen


def test_a_target_with_a_user_is_refused_without_repeating_the_password() -> None:
    answer = probe("http", "http://me:hunter2@127.0.0.1:1/", 1.0)
    assert "names a user" in answer.detail
    assert "hunter2" not in answer.detail


def test_the_result_of_a_probe_shows_no_query() -> None:
    with serve_tcp(answer_with(OK)) as address:
        watch = Watch([Target("vm", "http", f"http://{address}/?key=hunter2", 600.0, PATIENT)])
        watch.source.start()
        assert watch.wait_for("vm") == {"vm": True}
        watch.source.stop()
    assert "hunter2" not in repr(watch.seen)


def test_another_address_is_not_followed_to() -> None:
    asked: list[bytes] = []
    with serve_tcp(answer_with(OK, asked)) as elsewhere:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n".encode()
        with serve_tcp(answer_with(moved)) as address:
            assert not probe("waa", address, PATIENT).ok
            assert probe("http", address, PATIENT).detail == "status 302"
    assert not asked


def test_an_answer_without_end_is_read_as_far_as_is_shown() -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with serve_tcp(flood) as address:
        answer = probe("http", address, PATIENT)
    assert answer.ok
    assert len(answer.detail) <= 300


def test_all_addresses_of_a_host_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two take no connection: their queues are full. The third answers."""
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serve_tcp(answer_with(OK)))
        port = int(address.rpartition(":")[2])
        hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
        for host in hosts[:2]:
            full = stack.enter_context(socket.socket())
            full.bind((host, port))
            full.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        for kind in ("waa", "tcp"):
            assert probe(kind, f"three.example:{port}", PATIENT).ok
        found.pop()
        answers = [probe(kind, f"two.example:{port}", 0.4) for kind in ("waa", "tcp")]
    assert {(answer.ok, answer.detail) for answer in answers} == {(False, "no answer in 0.4 s")}


def test_a_name_that_does_not_resolve_is_a_failure() -> None:
    assert probe("tcp", "no-such-host.invalid:80", PATIENT).detail == "the name is not known"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_that_nobody_vouches_for_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    pem = certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = server_context(pem)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            answer_with(OK)(secure)

    tls_context.cache_clear()
    with serve_tcp(talk) as address:
        answer = probe("http", f"https://{address}/", PATIENT)
    tls_context.cache_clear()
    assert answer.ok is trusted
    assert answer.detail == '{"message": "operational"}' if trusted else "CERTIFICATE_VERIFY_FAILED" in answer.detail


def test_a_name_that_takes_long_to_look_up_costs_its_timeout_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(PATIENT) and [])
    with serve_tcp(answer_with(OK)) as address:
        slow = Target("slow", "tcp", "slow.example:80", 600.0, 0.1)
        watch = Watch([slow, Target("ok", "waa", address, 600.0, PATIENT)])
        watch.source.start()
        assert watch.wait_for("slow", "ok") == {"slow": False, "ok": True}
        watch.source.stop()
        release.set()


def test_hundreds_of_targets_that_hang_are_probed_side_by_side() -> None:
    with serve_tcp(until_closed) as address:
        targets = [Target(f"vm-{n}", "waa", address, 60.0, 0.5) for n in range(2 * MAX_CONCURRENT)]
        answers = probe_all(targets)
    assert [answer.detail for answer in answers] == ["no answer in 0.5 s"] * len(targets)
