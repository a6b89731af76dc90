"""``/metrics`` over HTTP: both formats, compressed where that is asked for, with the process itself."""

import gzip
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import samples, value

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    small_run(tmp_path)
    exporter = exporter_of(tmp_path)
    exporter.start()
    exporter.wait_ready()
    exporter.stop()
    return TestClient(create_app(exporter), base_url="http://127.0.0.1")


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
@pytest.mark.parametrize(
    ("asked", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0", False), ("identity", False)],
)
def test_the_metrics_are_compressed_where_that_is_asked_for(
    client: TestClient, accept: str, asked: str, zipped: bool
) -> None:
    with client.stream("GET", "/metrics", headers={"accept": accept, "accept-encoding": asked}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is zipped
    assert "accept-encoding" in answer.headers["vary"]
    text = (gzip.decompress(raw) if zipped else raw).decode()
    assert "agent_eval_run_info{" in text
    assert text.endswith("# EOF\n") is (accept == OPENMETRICS)


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
def test_the_process_itself_is_exposed(client: TestClient, accept: str) -> None:
    text = client.get("/metrics", headers={"accept": accept}).text
    found = samples(text, openmetrics=accept == OPENMETRICS)
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert value(found, "process_open_fds") >= 3
    assert value(found, "process_start_time_seconds") > 0
    assert value(found, "process_cpu_seconds_total") > 0
    assert text.count("# EOF") == (accept == OPENMETRICS)
