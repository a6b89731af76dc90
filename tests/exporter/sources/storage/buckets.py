"""Buckets on 127.0.0.1: moto's S3 and Azurite, each behind a door that counts requests and has bad days."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from evalgauge_exporter.sources.storage.bucket import Bucket
from tests.parts import azurite

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every Azurite has: https://learn.microsoft.com/azure/storage/common/storage-use-azurite."""


class BucketFault(NamedTuple):
    """An answer that is not the right one."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Door:
    """A server that passes each request on, unless a test wants otherwise; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.requests: list[str] = []
        """Method and path of each request."""
        self.fault: BucketFault | None = None
        """Given to every request."""
        self.faults: dict[str, BucketFault] = {}
        """Given to requests with these words in their method and path."""
        self.hold: threading.Event | None = None
        """Requests wait for it."""
        self.on_request: Callable[[str], object] = lambda _: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answerer())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, words: str) -> int:
        """How many requests had these words in their method and path."""
        return sum(words in request for request in self.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answerer(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Answerer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                request = f"{self.command} {self.path}"
                door.requests.append(request)
                door.on_request(request)
                if door.hold is not None:
                    door.hold.wait()
                fault = door.fault or next((fault for words, fault in door.faults.items() if words in request), None)
                if fault is not None:
                    self._send(fault.status, list(fault.headers.items()), fault.body)
                    return
                connection = http.client.HTTPConnection(*door._target, timeout=60)
                try:
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    answer = connection.getresponse()
                    content = b"" if self.command == "HEAD" else answer.read()
                    skipped = ("transfer-encoding", "connection") + (
                        () if self.command == "HEAD" else ("content-length",)
                    )
                    headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
                    self._send(answer.status, headers, content)
                finally:
                    connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  # http.server names them

            def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                with contextlib.suppress(OSError):  # the client went away
                    self.send_response_only(status)
                    for name, value in headers:
                        self.send_header(name, value)
                    if not any(name.lower() == "content-length" for name, _ in headers):
                        self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Answerer


class TestBucket:
    """A bucket with what tests do to it."""

    __test__ = False

    def __init__(self, url: str, door: Door) -> None:
        self.url = url
        self.door = door
        self._bucket = Bucket(url)

    def put(self, files: Mapping[str, bytes | str]) -> None:
        """Write objects."""
        for key, content in files.items():
            self._bucket.put(key, content.encode() if isinstance(content, str) else content)

    def delete(self, *keys: str) -> None:
        """Delete objects."""
        import obstore

        obstore.delete(self._bucket._open(), list(keys))

    def list(self) -> dict[str, int]:
        """The size of each object."""
        return {found.key: found.size for found in self._bucket.list_objects()}

    def read(self, key: str) -> bytes:
        """The content of an object."""
        return self._bucket.read_range(key, 0, self.list()[key])

    def upload(self, folder: Path, prefix: str = "") -> None:
        """Write the files of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put({prefix + path.relative_to(folder).as_posix(): path.read_bytes()})


@contextlib.contextmanager
def run_azurite() -> Iterator[int]:
    """Run Azurite; its port."""
    process = subprocess.Popen(
        [
            azurite(),
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            "--silent",
            *("--blobPort", "0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
                yield int(found[1])
                return
        raise AssertionError("Azurite did not start")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def make_s3(door: Door, name: str, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    """A new bucket of S3."""
    for key, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": door.url,
    }.items():
        monkeypatch.setenv(key, value)
    connection = http.client.HTTPConnection(*door._target, timeout=30)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return TestBucket(f"s3://{name}/results", door)


def make_blob(door: Door, name: str, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    """A new container of Azure Blob Storage."""
    import base64
    import hashlib
    import hmac

    account = "devstoreaccount1"
    for key, value in {
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": door.url,
        "AZURE_STORAGE_ENDPOINT": f"{door.url}/{account}",
        "AZURE_STORAGE_ACCOUNT_NAME": account,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
    }.items():
        monkeypatch.setenv(key, value)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{key}:{value}\n" for key, value in headers.items())
    text = "PUT\n" + "\n" * 11 + f"{canonical}/{account}/{account}/{name}\nrestype:container"
    signature = hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
    connection = http.client.HTTPConnection(*door._target, timeout=30)
    connection.request("PUT", f"/{account}/{name}?restype=container", headers={**headers, "Content-Length": "0"})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()
    return TestBucket(f"az://{name}/results", door)
