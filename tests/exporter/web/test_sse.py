"""The event stream: one frame for all, at each change, and nobody holds the others."""

import asyncio
import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evalgauge import Run, track_run
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web import sse as stream
from evalgauge_exporter.web.patches import find_patch
from evalgauge_exporter.web.server import serving
from evalgauge_exporter.web.sse import RenderedSnapshot, SnapshotBroadcaster
from tests.asynchronous import run
from tests.exporter.runs import exporter_of
from tests.exporter.scraping import scrape, value
from tests.exporter.web.test_patches import apply_patch


class Served:
    """A running run and the exporter that shows it."""

    def __init__(self, tracked: Run, exporter: Exporter, url: str) -> None:
        self.run, self.exporter, self.url = tracked, exporter, url


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", tasks=1000, fsync="never") as tracked:
        exporter = exporter_of(tmp_path)
        with serving(exporter) as url:
            assert exporter.wait_ready(60)
            yield Served(tracked, exporter, url)


class Client:
    """Reads an event stream as a browser does."""

    def __init__(self, url: str, query: str = "interval=0.2") -> None:
        self._answer = urllib.request.urlopen(f"{url}/api/benchmark-sse?{query}", timeout=60)

    def event(self) -> dict[str, str]:
        """The next event's fields; a comment is an event with the field ``""``."""
        fields: dict[str, str] = {}
        while True:
            line = self._answer.readline().decode().rstrip("\n")
            if not line and fields:
                return fields
            name, _, text = line.partition(":")
            if line:
                fields[name] = text.removeprefix(" ")

    def frame(self) -> dict[str, Any]:
        while True:
            fields = self.event()
            if "data" in fields:
                found: dict[str, Any] = json.loads(fields["data"])
                return found

    def close(self) -> None:
        self._answer.close()


def test_a_whole_frame_comes_on_connect(served: Served) -> None:
    with contextlib.closing(Client(served.url)) as client:
        assert client.event() == {"retry": "2000"}
        frame = client.frame()
    keys = {"current_job", "queue", "costs", "metrics", "workers", "domain_breakdown"}
    assert keys <= set(frame)
    assert frame["current_job"]["total_tasks"] == 1000


def test_a_change_comes_as_the_next_frame_and_the_last_state_always_gets_out(served: Served) -> None:
    with contextlib.closing(Client(served.url)) as client:
        client.frame()
        for number in range(50):
            with served.run.task(f"t{number}") as task:
                task.finish(success=True)
        frames = 0
        while client.frame()["current_job"]["completed_tasks"] < 50:
            frames += 1
        assert frames < 45, "what happened meanwhile is in one frame"


def test_frames_keep_the_interval() -> None:
    async def asked() -> None:
        begun: list[float] = []

        def build(_: str | None) -> RenderedSnapshot:
            begun.append(time.monotonic())
            return RenderedSnapshot(len(begun), b"{}", True)

        frames = SnapshotBroadcaster(build, lambda: len(begun) + 1)  # something has changed whenever it looks
        async for _ in frames.stream(None, 0.3):
            if len(begun) == 4:
                break
        assert all(later - earlier > 0.29 for earlier, later in itertools.pairwise(begun)), "no clock makes it less"

    run(asked())


def test_a_client_of_patches_gets_a_whole_frame_and_then_what_changes(served: Served) -> None:
    with contextlib.closing(Client(served.url, "interval=0.2&patch=1")) as client:
        client.event()
        first = client.event()
        assert "event" not in first
        frame = json.loads(first["data"])
        sizes = []
        for number in range(3):
            with served.run.task(f"t{number}") as task:
                task.finish(success=True)
            while frame["current_job"]["completed_tasks"] <= number:
                fields = client.event()
                if "data" in fields:
                    assert fields["event"] == "patch"
                    frame = apply_patch(frame, json.loads(fields["data"]))
                    sizes.append(len(fields["data"]))
        assert max(sizes) < len(first["data"]) / 2
        with contextlib.closing(Client(served.url, "patch=1")) as other:
            whole = other.frame()
        assert whole["current_job"]["completed_tasks"] == 3
        assert whole["domain_breakdown"] == frame["domain_breakdown"]
        assert whole["metrics"]["success_rate_over_time"] == frame["metrics"]["success_rate_over_time"]


def test_a_patch_is_made_once_for_all_and_one_who_missed_too_many_gets_a_whole_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MIN_BUILD_INTERVAL", 0.0)
    made: list[object] = []
    real = find_patch

    def counted(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        made.append(after["n"])
        return real(before, after)

    monkeypatch.setattr("evalgauge_exporter.web.sse.find_patch", counted)

    async def clients() -> None:
        version = 1
        source = SnapshotBroadcaster(
            lambda _: RenderedSnapshot(version, b'{"generated_at":1,"n":%d}' % version, True), lambda: version
        )
        loop = asyncio.get_running_loop()
        source.attach(loop)

        async def read(client: AsyncGenerator[bytes, None]) -> bytes:
            while True:
                event = await anext(client)
                if b"data: " in event:
                    return event.partition(b"-")[2]

        quick = [source.stream("r", 0.0, patches=True) for _ in range(3)]
        slow = source.stream("r", 0.0, patches=True)
        whole = b'1\ndata: {"generated_at":1,"n":1}\n\n'
        assert [await read(client) for client in (*quick, slow)] == [whole] * 4
        for version in range(2, stream.MAX_PATCHES + 3):
            source.notify()
            patch = b'%d\nevent: patch\ndata: {"n":[%d]}\n\n' % (version, version)
            assert [await read(client) for client in quick] == [patch] * 3
        assert made == list(range(2, stream.MAX_PATCHES + 3))
        assert await read(slow) == b'%d\ndata: {"generated_at":1,"n":%d}\n\n' % (version, version)
        for client in (*quick, slow):
            await client.aclose()

    run(clients())


def test_a_silent_run_is_sent_as_stalled(tmp_path: Path) -> None:
    tracked = track_run(tmp_path, benchmark="b", model="m", run_id="r")
    tracked.task("t", worker="w")
    with serving(exporter_of(tmp_path, stall_after="1s")) as url, contextlib.closing(Client(url)) as client:
        while (frame := client.frame())["current_job"] is None or frame["current_job"]["status"] != "stalled":
            pass
        assert frame["current_job"]["statuses"]["interrupted"] == 1
        assert frame["workers"]["workers"][0]["status"] == "lost"
    tracked.finish()


def test_the_server_stops_at_once_though_a_stream_is_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(exporter_of(tmp_path)) as url:
        client = Client(url)
        client.frame()
    client.close()
    assert "CancelledError" not in caplog.text


def test_ids_differ_from_frame_to_frame_and_from_start_to_start(served: Served) -> None:
    with contextlib.closing(Client(served.url)) as client:
        client.event()
        first = client.event()["id"]
        with served.run.task("t") as task:
            task.finish(success=True)
        assert client.event()["id"] != first
    with contextlib.closing(Client(served.url)) as again:
        again.event()
        assert again.event()["id"].partition("-")[0] == first.partition("-")[0]


def test_silence_is_filled_with_a_comment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    with contextlib.closing(Client(served.url)) as client:
        client.frame()
        assert "" in client.event()


def test_the_headers_of_the_stream_can_be_asked_for(served: Served) -> None:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("HEAD", "/api/benchmark-sse")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        answer.read()
        connection.request("GET", "/healthz")  # on the same connection: the answer before is over
        assert connection.getresponse().read() == b"ok\n"


def test_a_client_that_comes_back_gets_the_newest_state_at_once(served: Served) -> None:
    with contextlib.closing(Client(served.url)) as client:
        client.event()
        seen = client.event()["id"]
    with served.run.task("t") as task:
        task.finish(success=True)
    request = urllib.request.Request(f"{served.url}/api/benchmark-sse", headers={"last-event-id": seen})
    with urllib.request.urlopen(request, timeout=60) as answer:
        for line in answer:
            if line.startswith(b"data: ") and json.loads(line[6:])["current_job"]["completed_tasks"] == 1:
                break


def test_500_clients_at_once_get_the_same_frame_and_metrics_still_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = urlsplit(served.url).hostname, urlsplit(served.url).port
    built: list[str | None] = []
    insights = served.exporter.analysis
    real = insights.costs

    def counted(state: Any, now: float) -> Any:
        built.append(state.run_id)
        return real(state, now)

    monkeypatch.setattr(insights, "costs", counted)
    request = f"GET /api/benchmark-sse?interval=0.2 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    async def client() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        writer.write(request)
        await reader.readuntil(b"data: ")
        return reader, writer

    async def last(reader: asyncio.StreamReader) -> bool:
        while True:
            if b'"completed_tasks":1,' in await reader.readuntil(b"\n"):
                return True

    async def everyone() -> int:
        async with contextlib.AsyncExitStack() as stack:
            clients = await asyncio.gather(*(client() for _ in range(500)))
            for _, writer in clients:
                stack.callback(writer.close)
            built.clear()
            found = await asyncio.to_thread(scrape, served.url)
            assert value(found, "agent_eval_run_state", state="running") == 1
            with served.run.task("t") as task:
                task.finish(success=True)
            seen = await asyncio.wait_for(asyncio.gather(*(last(reader) for reader, _ in clients)), 120)
            return sum(seen)

    assert run(everyone()) == 500
    assert len(built) < 40, "one snapshot is built for all clients"


def test_a_client_that_reads_nothing_holds_nobody(served: Served) -> None:
    host, port = urlsplit(served.url).hostname, urlsplit(served.url).port
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            deaf = stack.enter_context(socket.create_connection((host, port)))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(f"GET /api/benchmark-sse?interval=0.2 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        client = stack.enter_context(contextlib.closing(Client(served.url)))
        client.frame()
        for number in range(20):
            with served.run.task(f"t{number}") as task:
                task.finish(success=True)
        while client.frame()["current_job"]["completed_tasks"] < 20:
            pass


def test_a_frame_is_built_once_however_many_ask() -> None:
    built: list[str | None] = []

    def build(run_id: str | None) -> RenderedSnapshot:
        built.append(run_id)
        return RenderedSnapshot(3, b"{}", True)

    async def ask() -> None:
        source = SnapshotBroadcaster(build, lambda: 3)
        answers = await asyncio.gather(*(source.get(None) for _ in range(100)), source.get("r"))
        assert set(answers) == {(3, b"{}")}

    run(ask())
    assert sorted(built, key=str) == [None, "r"]


def test_a_frame_that_could_not_be_built_is_tried_again() -> None:
    attempts: list[int] = []

    def build(run_id: str | None) -> RenderedSnapshot:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("not yet")
        return RenderedSnapshot(1, b"{}", True)

    async def ask() -> AsyncIterator[bytes]:
        source = SnapshotBroadcaster(build, lambda: 1)
        with pytest.raises(RuntimeError):
            await source.get(None)
        yield (await source.get(None))[1]

    async def collect() -> list[bytes]:
        return [payload async for payload in ask()]

    assert run(collect()) == [b"{}"]


def test_a_frame_is_never_older_than_its_question() -> None:
    async def asked() -> None:
        version, begun, go_on = 1, asyncio.Event(), threading.Semaphore(0)
        loop = asyncio.get_running_loop()

        def build(_: str | None) -> RenderedSnapshot:
            shows = version
            loop.call_soon_threadsafe(begun.set)
            assert go_on.acquire(timeout=30)
            return RenderedSnapshot(shows, b"%d" % shows, True)

        frames = SnapshotBroadcaster(build, lambda: version)
        first = asyncio.create_task(frames.get(None))
        await begun.wait()
        version = 2
        second = asyncio.create_task(frames.get(None))
        await asyncio.sleep(0)  # it has asked
        go_on.release(2)
        assert await first == (1, b"1")
        assert await second == (2, b"2")

    run(asked())
