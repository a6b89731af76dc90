"""Logs that travel: ``evalgauge.send`` to ``/v1/logs``, straight, broken off, and through what a Collector does."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from google.protobuf.json_format import Parse  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from evalgauge import send as sending
from evalgauge import track_run
from evalgauge.errors import SendError
from evalgauge.events import TaskFinished
from evalgauge.runlog import LogWriter, log_files, read_events
from evalgauge.send import send
from evalgauge_exporter.web import otlp_logs as receive
from evalgauge_exporter.web.otlp_logs import JSON, PROTOBUF, logs_router
from evalgauge_exporter.web.server import listening_socket
from tests.exporter.sources.certificate import certificate, server_context
from tests.exporter.waiting import wait_for
from tests.instrumentation.otel.test_observer import evaluate, scraped
from tests.ports import free_port

TOKEN = "a-token-of-the-tests"


@contextlib.contextmanager
def exporter(folder: Path, port: int = 0, token: str | None = TOKEN) -> Iterator[str]:
    """A web server with the receiver; its address."""
    app = FastAPI()
    app.include_router(logs_router(folder, token))
    bound = listening_socket("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@contextlib.contextmanager
def relay(answer: Callable[[bytes], tuple[int, bytes]], pem: Path | None = None) -> Iterator[str]:
    """A server that answers each request as the test decides; with the certificate ``pem`` it speaks TLS."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
            status, reply = answer(body)
            self.send_response(status)
            self.send_header("content-length", str(len(reply)))
            self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that leaves is no news
    if pem is not None:
        server.socket = server_context(pem).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if pem else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stored(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in log_files(folder) for line in path.read_bytes().splitlines()]


def test_the_receiver_has_the_run_that_was_written(tmp_path: Path) -> None:
    evaluate(tmp_path / "here")
    with exporter(tmp_path / "there") as url:
        first = send(tmp_path / "here" / "night", url, TOKEN)
        assert first.lines == len(stored(tmp_path / "here" / "night"))
        assert (first.rejected, first.skipped, first.finished) == (0, 0, True)
        assert send(tmp_path / "here" / "night", f"{url}/v1/logs/", TOKEN).lines == 0, "all of it was acknowledged"
        assert send(tmp_path / "here" / "night", url, TOKEN, again=True).lines == first.lines
    assert stored(tmp_path / "there" / "night") == stored(tmp_path / "here" / "night")
    here, there = ({key: value for key, value in scraped(tmp_path / where).items() if "_run_" in key[0]}
                   for where in ("here", "there"))  # fmt: skip
    assert there == here, "the views can't tell that it travelled"


def test_two_machines_are_one_run_under_one_name(tmp_path: Path) -> None:
    with exporter(tmp_path / "there") as url:
        for machine in ("one", "two"):
            with track_run(tmp_path / machine, benchmark="b", model="m", run_id="night") as run:
                with run.task(f"t-{machine}", worker=machine) as task:
                    task.finish(success=True)
            send(tmp_path / machine / "night", url, TOKEN, run_id="both")
    assert len(log_files(tmp_path / "there" / "both")) == 2
    events = list(read_events(tmp_path / "there" / "both"))
    assert {event.task_id for event in events if isinstance(event, TaskFinished)} == {"t-one", "t-two"}


def test_an_exporter_that_is_down_for_a_while_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BATCH_LINES", 7)
    evaluate(tmp_path / "here")
    port = free_port()
    waits: list[float] = []
    with contextlib.ExitStack() as stack:

        def comes_back(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                stack.enter_context(exporter(tmp_path / "there", port))

        sent = send(tmp_path / "here" / "night", f"http://127.0.0.1:{port}", TOKEN, sleep=comes_back)
    assert len(waits) == 3
    assert waits == sorted(waits), "each wait is longer than the one before"
    assert sent.finished
    assert stored(tmp_path / "there" / "night") == stored(tmp_path / "here" / "night")


def test_it_gives_up_with_one_line_and_the_next_call_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH_LINES", 5)
    evaluate(tmp_path / "here")
    with exporter(tmp_path / "there") as url:
        client = iter(range(1000))

        def breaks(body: bytes) -> tuple[int, bytes]:
            if next(client) >= 3:
                return 503, b'{"error": "later"}'
            return _forward(url, body)

        with relay(breaks) as between:
            with pytest.raises(SendError, match=r"^http://127.* could not be reached for \d+ s: 503 later$"):
                send(tmp_path / "here" / "night", between, TOKEN, give_up_after=5, sleep=lambda _: None)
            assert len(stored(tmp_path / "there" / "night")) == 15
            client = iter([0] * 1000)
            again = send(tmp_path / "here" / "night", between, TOKEN)
    assert again.lines == len(stored(tmp_path / "here" / "night")) - 15
    assert stored(tmp_path / "there" / "night") == stored(tmp_path / "here" / "night")


def _forward(url: str, body: bytes, kind: str = JSON) -> tuple[int, bytes]:
    import urllib.request

    headers = {"content-type": kind, "authorization": f"Bearer {TOKEN}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/logs", body, headers), timeout=60) as answer:
        return answer.status, b"{}"


def test_a_collector_in_between_may_batch_reorder_repeat_and_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BATCH_LINES", 6)
    evaluate(tmp_path / "here")
    evaluate(tmp_path / "here", run_id="morning")
    held: list[bytes] = []

    def hold(body: bytes) -> tuple[int, bytes]:
        held.append(body)
        return 200, b"{}"

    with relay(hold) as collector:
        for run in ("night", "morning"):
            send(tmp_path / "here" / run, collector, TOKEN)
    records = [
        record
        for body in held
        for resource in Parse(body, ExportLogsServiceRequest()).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    records += records[::3]
    random.Random(5).shuffle(records)
    with exporter(tmp_path / "there") as url:
        for start in range(0, len(records), 11):
            merged = ExportLogsServiceRequest()
            merged.resource_logs.add().scope_logs.add().log_records.extend(records[start : start + 11])
            _forward(url, merged.SerializeToString(), PROTOBUF)
    for run in ("night", "morning"):
        theirs = sorted(stored(tmp_path / "there" / run), key=lambda event: event["seq"])
        assert theirs == stored(tmp_path / "here" / run)


def _line(seq: int, kind: str = "step") -> receive.LogLine:
    return receive.LogLine("r", "w", seq, b'{"v":1,"seq":%d,"type":"%s"}' % (seq, kind.encode()))


def test_a_log_that_came_out_of_order_is_put_in_order_once_it_is_whole(tmp_path: Path) -> None:
    log = receive._Log(tmp_path / "events" / "w.jsonl")
    log.add([_line(0), _line(2)])
    log.add([_line(4, "run_finished")])
    log.add([_line(3)])
    assert [event["seq"] for event in stored(tmp_path)] == [0, 2, 4, 3]
    assert receive._Log(tmp_path / "events" / "w.jsonl").add([_line(0), _line(3), _line(1)]) == 1
    assert [event["seq"] for event in stored(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_line_that_could_not_be_written_does_not_keep_a_log_out_of_order(tmp_path: Path) -> None:
    log = receive._Log(tmp_path / "events" / "w.jsonl")
    log.add([_line(0), _line(3)])
    log.add([_line(2)])
    log.add([_line(4, "run_finished")])
    assert [event["seq"] for event in stored(tmp_path)] == [0, 2, 3, 4]
    assert log.add([_line(1)]) == 1, "though it comes after all"


def test_a_restarted_exporter_knows_what_it_has_and_closes_off_a_torn_line(tmp_path: Path) -> None:
    evaluate(tmp_path / "here")
    with exporter(tmp_path / "there") as url:
        send(tmp_path / "here" / "night", url, TOKEN)
    (log,) = log_files(tmp_path / "there" / "night")
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    with exporter(tmp_path / "there") as url:
        send(tmp_path / "here" / "night", url, TOKEN, again=True)
    lines = log.read_bytes().splitlines()
    assert [line for line in lines if line in whole.splitlines()] == whole.splitlines()
    assert len(lines) == len(whole.splitlines()) + 1, "the torn one stands alone, and readers skip it"


def test_following_sends_a_run_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "here" / "night"
    writer = LogWriter(folder / "events" / "w.jsonl")
    pending = iter([*(("step", {"task_id": f"t{n}"}) for n in range(3)), ("run_finished", {"status": "completed"})])
    counts: list[int] = []

    with exporter(tmp_path / "there") as url:

        def meanwhile(_: float) -> None:
            counts.append(len(stored(tmp_path / "there" / "night")))
            kind, fields = next(pending)
            writer.write(kind, fields)

        sent = send(folder, url, TOKEN, follow=True, sleep=meanwhile)
    assert counts == [0, 1, 2, 3]
    assert (sent.lines, sent.finished) == (4, True)
    writer.close()


def test_what_another_process_wrote_just_before_the_end_is_sent_too(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    other, first = (LogWriter(folder / "events" / f"{name}.jsonl") for name in ("a", "b"))
    other.write("task_started", {"task_id": "t"})
    first.write("run_started", {"run_id": "night"})
    received: list[bytes] = []

    def meanwhile(body: bytes) -> tuple[int, bytes]:
        if not received:  # the log of the other is read already
            other.write("task_finished", {"task_id": "t", "outcome": "success"})
            first.write("run_finished", {"status": "completed"})
        received.append(body)
        return 200, b"{}"

    with relay(meanwhile) as url:
        sent = send(folder, url, TOKEN, follow=True)
    assert (sent.lines, sent.finished) == (4, True)
    other.close()
    first.close()


def test_a_run_that_was_resumed_is_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    for name, kinds in (("b", ("run_started", "run_finished", "heartbeat")), ("a", ("run_started",))):
        writer = LogWriter(folder / "events" / f"{name}.jsonl")
        for kind in kinds:
            writer.write(kind, {})
        writer.close()
    with relay(lambda _: (200, b"{}")) as url:
        assert send(folder, url, TOKEN) == (4, 0, 0, False)
        writer = LogWriter(folder / "events" / "a.jsonl")
        writer.write("run_finished", {})
        writer.write("heartbeat", {})  # a heart may beat once more
        writer.close()
        assert send(folder, url, TOKEN, follow=True) == (2, 0, 0, True)


def test_a_run_that_was_resumed_by_the_same_process_is_not_finished(tmp_path: Path) -> None:
    track_run(tmp_path, benchmark="b", model="m", run_id="night").finish()
    with relay(lambda _: (200, b"{}")) as url:
        with track_run(tmp_path, benchmark="b", model="m", run_id="night") as run:
            assert not send(run.folder, url, TOKEN).finished
        assert send(run.folder, url, TOKEN).finished


def test_a_followed_run_outlives_a_long_outage(tmp_path: Path) -> None:
    evaluate(tmp_path)
    waited: list[float] = []
    answers = iter([503] * 30)
    with relay(lambda _: (next(answers, 200), b"{}")) as url:
        sent = send(tmp_path / "night", url, TOKEN, follow=True, sleep=waited.append)
    assert sent.finished
    assert sum(waited) > sending.GIVE_UP_AFTER


def test_a_tls_error_that_no_retry_can_fix_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(tmp_path)
    pem = certificate(tmp_path)
    with relay(lambda _: (200, b"{}")) as url, pytest.raises(SendError, match=r"no connection to .*WRONG_VERSION"):
        send(tmp_path / "night", url.replace("http:", "https:"), TOKEN)
    with relay(lambda _: (200, b"{}"), pem) as url:
        with pytest.raises(SendError, match=r"no connection to .*CERTIFICATE_VERIFY_FAILED"):
            send(tmp_path / "night", url, TOKEN)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # how one's own authority is made known
        assert send(tmp_path / "night", url, TOKEN).finished


def test_what_is_no_event_is_skipped_and_what_is_being_written_waits(tmp_path: Path) -> None:
    folder = tmp_path / "here" / "night"
    path = folder / "events" / "w.jsonl"
    path.parent.mkdir(parents=True)
    good = b'{"v":1,"seq":0,"ts":1,"type":"heartbeat"}\n'
    path.write_bytes(b"not json\n\n[1]\n" + b"x" * (sending.LONGEST_LINE + 5) + b"\n" + good + b'{"v":1,"seq":1,')
    with exporter(tmp_path / "there") as url:
        assert send(folder, url, TOKEN) == (1, 0, 3, False)
        with path.open("ab") as file:
            file.write(b'"ts":2,"type":"run_finished"}\n')
        assert send(folder, url, TOKEN) == (1, 0, 0, True)
    assert [event["seq"] for event in stored(tmp_path / "there" / "night")] == [0, 1]


@pytest.mark.parametrize(
    ("url", "token", "message"),
    [
        ("127.0.0.1:1", TOKEN, "is not an address"),
        ("ftp://x", TOKEN, "is not an address"),
        ("http://127.0.0.1:1", "two words", "one ASCII word"),
        ("http://127.0.0.1:1", "", "one ASCII word"),
    ],
)
def test_wrong_addresses_and_tokens_are_one_line(tmp_path: Path, url: str, token: str, message: str) -> None:
    evaluate(tmp_path)
    with pytest.raises(SendError, match=message) as raised:
        send(tmp_path / "night", url, token)
    assert "\n" not in str(raised.value)
    with pytest.raises(SendError, match="no run log found"):
        send(tmp_path / "no", "http://127.0.0.1:1", TOKEN)


def test_a_refusal_is_not_retried_and_a_redirect_is_not_followed(tmp_path: Path) -> None:
    evaluate(tmp_path / "here")
    with exporter(tmp_path / "there") as url:
        with pytest.raises(SendError, match=r"refuses: 401"):
            send(tmp_path / "here" / "night", url, "another-token")
    with exporter(tmp_path / "there", token=None) as url, pytest.raises(SendError, match=r"refuses: 403"):
        send(tmp_path / "here" / "night", url, TOKEN)
    with relay(lambda body: (307, b"")) as url, pytest.raises(SendError, match="refuses: 307"):
        send(tmp_path / "here" / "night", url, TOKEN)


def test_a_server_that_answers_200_to_everything_has_acknowledged_nothing(tmp_path: Path) -> None:
    evaluate(tmp_path / "here")
    for reply in (b"<html>welcome", b"", b"[]"):
        with relay(lambda _, reply=reply: (200, reply)) as url, pytest.raises(SendError, match="not an OTLP receiver"):  # type: ignore[misc]
            send(tmp_path / "here" / "night", url, TOKEN)
    assert not list(tmp_path.rglob(".sent-*"))


# -- the receiver alone


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(logs_router(tmp_path / "there", TOKEN))
    with TestClient(app, headers={"authorization": f"Bearer {TOKEN}"}) as opened:
        yield opened


def asked(*records: tuple[object, object, object]) -> bytes:
    """A request with records of (run id, writer, body)."""
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"body": {"stringValue": body}, "attributes": [
            {"key": "evalgauge.run_id", "value": {"stringValue": run}},
            {"key": "evalgauge.writer", "value": {"stringValue": writer}}]}
        for run, writer, body in records]}]}]}).encode()  # fmt: skip


GOOD = '{"v":1,"seq":0,"ts":1.0,"type":"step","task_id":"t","screenshot":"screenshots/t/1/step_0000.png"}'


@pytest.mark.parametrize(
    ("run", "writer", "body", "reason"),
    [
        ("../etc", "w", GOOD, "evalgauge.run_id is '../etc', which can't be the name of a folder"),
        ("..", "w", GOOD, "can't be the name of a folder"),
        ("", "w", GOOD, "can't be the name of a folder"),
        ("r", "/etc/passwd", GOOD, "can't be the name of a folder"),
        ("r", "w\x00", GOOD, "can't be the name of a folder"),
        ("r" * 121, "w", GOOD, "can't be the name of a folder"),
        (None, "w", GOOD, "can't be the name of a folder"),
        ("r", "w", None, "not a line of a run log"),
        ("r", "w", "{", "not JSON"),
        ("r", "w", "[" * 10_000, "not JSON"),
        ("r", "w", '"text"', "not an event"),
        ("r", "w", '{"seq": -1, "type": "step"}', "not an event"),
        ("r", "w", '{"seq": true, "type": "step"}', "not an event"),
        ("r", "w", '{"seq": 1, "type": "step", "v": "x"}', "not an event"),
        ("r", "w", '{"seq": 0, "type": "step", "x": "' + "y" * receive.MAX_RECORD + '"}', "MiB"),
    ],
)
def test_a_hostile_record_is_refused_with_one_line_and_the_others_are_stored(
    client: TestClient, tmp_path: Path, run: object, writer: object, body: object, reason: str
) -> None:
    answer = client.post("/v1/logs", content=asked((run, writer, body), ("fine", "w", GOOD)),
                         headers={"content-type": JSON})  # fmt: skip
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedLogRecords"] == "1"
    assert reason in partial["errorMessage"]
    assert "\n" not in partial["errorMessage"]
    assert [path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").rglob("*.jsonl")] == [
        "fine/events/w.jsonl"
    ]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff\xff", {"content-type": PROTOBUF}, 400),
        (b"x", {"content-type": "text/plain"}, 415),
        (b"x", {"content-encoding": "br"}, 415),
        (b"x", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content-encoding": "gzip"}, 400),
        (gzip.compress(b" " * (receive.MAX_CONTENT + 10)), {"content-encoding": "gzip"}, 413),
        (b" " * (receive.MAX_BODY + 1), {}, 413),
        (b"{}", {"authorization": "Bearer no"}, 401),
        (b"{}", {"authorization": ""}, 401),
        (b"{}", {"authorization": f"Basic {TOKEN}"}, 401),
    ],
)
def test_a_hostile_request_is_refused_with_one_line(
    client: TestClient, tmp_path: Path, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/logs", content=content, headers={"content-type": JSON, **headers})
    assert answer.status_code == status
    assert len(answer.json()["detail"].splitlines()) == 1
    assert not (tmp_path / "there").exists()


def test_gzip_in_several_members_is_one_body(client: TestClient, tmp_path: Path) -> None:
    body = asked(("r", "w", GOOD))
    for content, status in (
        (gzip.compress(body[:50], mtime=0) + gzip.compress(body[50:]), 200),
        (gzip.compress(body, mtime=0) + b"no member", 400),
        (gzip.compress(body, mtime=0) + gzip.compress(body)[:-1], 400),
        (gzip.compress(b"", mtime=0) * 200_000 + gzip.compress(body), 200),
        (gzip.compress(b" " * receive.MAX_CONTENT, mtime=0) * 2, 413),
    ):
        headers = {"content-type": JSON, "content-encoding": "gzip"}
        assert client.post("/v1/logs", content=content, headers=headers).status_code == status
    assert [event["seq"] for event in stored(tmp_path / "there" / "r")] == [0]


def test_a_body_in_parts_is_cut_off_too(client: TestClient) -> None:
    parts = (b" " * (1 << 20) for _ in range(receive.MAX_BODY // (1 << 20) + 2))
    assert client.post("/v1/logs", content=parts, headers={"content-type": JSON}).status_code == 413


def test_a_path_out_of_the_runs_folder_is_removed_from_a_line(client: TestClient, tmp_path: Path) -> None:
    for seq, shot in enumerate(["/etc/passwd", "../../x.png", "a/../../b", "C:\\x", "..\\x", "shots/a.png"]):
        body = json.dumps({"v": 1, "seq": seq, "ts": 1.0, "type": "step", "task_id": "t", "screenshot": shot})
        client.post("/v1/logs", content=asked(("r", "w", body)), headers={"content-type": JSON})
    assert [event["screenshot"] for event in stored(tmp_path / "there" / "r")] == [None] * 5 + ["shots/a.png"]


def test_foreign_records_in_protobuf_are_counted_as_rejected(client: TestClient) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "somebody else's log"
    answer = client.post("/v1/logs", content=request.SerializeToString(), headers={"content-type": PROTOBUF})
    assert answer.headers["content-type"] == PROTOBUF
    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 1


def test_lines_that_cannot_be_written_are_requested_again(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file where the folder should be")
    answer = client.post("/v1/logs", content=asked(("r", "w", GOOD)), headers={"content-type": JSON})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(st.integers(0, 12), max_size=8), max_size=8))
def test_any_repetition_in_any_order_stores_each_number_once(tmp_path: Path, requests: list[list[int]]) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    for number, seqs in enumerate(requests):
        if number % 3 == 0:
            received = receive.ReceivedLogs(folder)  # as after a restart
        received.store(iter([_line(seq) for seq in seqs]))
    found = [event["seq"] for event in stored(folder / "r")]
    assert sorted(found) == sorted({seq for seqs in requests for seq in seqs})
