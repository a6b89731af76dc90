"""Receivers of OTLP on 127.0.0.1: a small one that decodes what it gets, and a real database."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import parts
from tests.exporter.waiting import wait_for

ROOT = Path(__file__).parents[3]


class Received:
    """What came in, as OpenTelemetry's own protobuf classes."""

    def __init__(self) -> None:
        self.url = ""
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []

    def spans(self) -> list[Any]:
        """Every span."""
        return [s for r in self.traces for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]

    def by_instance(self) -> Iterator[tuple[str, Any]]:
        """Every metric as often as it came, with the id of the process that sent it."""
        for request in self.metrics:
            for resource in request.resource_metrics:
                about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        yield about["service.instance.id"], metric


@contextlib.contextmanager
def receiver() -> Iterator[Received]:
    """A receiver of traces and metrics, for as long as the block lasts."""
    received = Received()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                received.traces.append(ExportTraceServiceRequest.FromString(body))
            elif self.path == "/v1/metrics":
                received.metrics.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200 if self.path in ("/v1/traces", "/v1/metrics") else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Database:
    """A database that takes OTLP and answers PromQL."""

    def __init__(self, url: str, endpoint: str) -> None:
        self.url = url
        self.endpoint = endpoint

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an instant query."""
        if "opentelemetry" in self.endpoint:  # VictoriaMetrics shows what is new after a while, or when it is told to
            urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=60).close()
        asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression, 'nocache': 1})}"
        with urllib.request.urlopen(asked, timeout=60) as answer:
            found = json.load(answer)["data"]["result"]
        return [(row["metric"], float(row["value"][1])) for row in found]


@contextlib.contextmanager
def database(folder: Path, port: int) -> Iterator[Database]:
    """Prometheus where it has its OTLP receiver, which some distributions leave out; else VictoriaMetrics."""
    program = parts.prometheus()
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    url, listen = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
    if "web.enable-otlp-receiver" in said.stdout + said.stderr:
        (folder / "prometheus.yml").write_text("storage: {tsdb: {out_of_order_time_window: 30m}}\n")
        command = [str(program), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address={listen}", "--web.enable-otlp-receiver", "--log.level=error"]  # fmt: skip
        found, ready = Database(url, f"{url}/api/v1/otlp/v1/metrics"), "/-/ready"
    else:
        command = [str(_victoria_metrics()), f"-storageDataPath={folder / 'data'}", f"-httpListenAddr={listen}",
                   "-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s",
                   "-inmemoryDataFlushInterval=1s", "-loggerLevel=ERROR"]  # fmt: skip
        found, ready = Database(url, f"{url}/opentelemetry/v1/metrics"), "/health"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url + ready, timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(answers)
        yield found
    finally:
        process.kill()  # it has nothing to keep
        process.wait()


def _victoria_metrics() -> Path:
    cached = ROOT / ".cache" / "victoria-metrics" / "bin" / "victoria-metrics"
    if not shutil.which("victoria-metrics") and not cached.exists():
        subprocess.run([ROOT / "scripts" / "fetch-victoria-metrics.sh"], stdout=sys.stderr, check=False)
    path = shutil.which("victoria-metrics")
    if path or cached.exists():
        return Path(path or cached)
    reason = "no database with an OTLP receiver: Prometheus has none here; run scripts/fetch-victoria-metrics.sh"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
