"""Azure ML jobs, read from a Resource Manager on 127.0.0.1."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from evalgauge_exporter.config.model import AzureMl
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.azure.ml_jobs import STATUSES, AzureMlSource, read_job
from evalgauge_exporter.state.fleet_events import FleetEvent, JobsSeen, Refreshed, RefreshFailed, Skipped
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, Fault


def job(name: str, status: str = "Running", created: str = "2026-11-20T08:00:00Z", **properties: Any) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml/providers/x/workspaces/ws/jobs/{name}",
        "name": name,
        "systemData": {"createdAt": created},
        "properties": {
            "jobType": "Command",
            "displayName": f"the job {name}",
            "status": status,
            "computeId": f"/subscriptions/{SUBSCRIPTION}/computes/gpu-cluster",
            "services": {"Studio": {"endpoint": f"https://ml.azure.com/runs/{name}"}},
            "properties": {"StartTimeUtc": "2026-11-20 08:05:00"},
            **properties,
        },
    }


@contextmanager
def reading(server: ArmServer) -> Iterator[tuple[AzureMlSource, list[FleetEvent]]]:
    events: list[FleetEvent] = []

    def emit(new: Sequence[FleetEvent]) -> None:
        events.extend(new)

    table = AzureMl(
        subscription_id=SUBSCRIPTION,
        resource_group="ml",
        workspace="ws one",
        base_url=server.url,
        credential="none",
        interval=60.0,
    )
    source = AzureMlSource(table, emit)
    with server:
        try:
            yield source, events
        finally:
            source.close()


def test_jobs_are_counted_by_status_over_all_pages() -> None:
    server = ArmServer(page_size=10)
    server.jobs = [job(f"done-{n}", "Completed") for n in range(21)] + [job("now"), job("odd", "Dreaming")]
    with reading(server) as (source, events):
        assert source.poll() == 60.0
    seen = events[0]
    assert isinstance(seen, JobsSeen)
    assert {status: count for status, count in seen.counts.items() if count} == {
        "completed": 21,
        "running": 1,
        "unknown": 1,
    }
    assert set(seen.counts) == set(STATUSES)  # those that do not occur are there as zeros
    assert len(server.requests) == 3
    assert "/workspaces/ws%20one/jobs?api-version=2024-04-01&listViewType=ActiveOnly" in server.requests[0]


def test_the_newest_jobs_come_first_and_are_bounded() -> None:
    server = ArmServer(page_size=300)
    server.jobs = [job(f"job-{n:03}", created=f"2026-11-{1 + n // 24:02}T{n % 24:02}:00:00Z") for n in range(250)]
    with reading(server) as (source, events):
        source.poll()
    seen = events[0]
    assert isinstance(seen, JobsSeen)
    assert [one.job_id for one in seen.newest[:2]] == ["job-249", "job-248"]
    assert len(seen.newest) == 50


def test_a_job_is_read_with_its_times_and_links() -> None:
    read = read_job(job("a", "Running"))
    assert read is not None
    assert (read.display_name, read.status, read.compute) == ("the job a", "running", "gpu-cluster")
    assert read.url == "https://ml.azure.com/runs/a"
    assert (read.created_at, read.started_at, read.ended_at) == (1795161600.0, 1795161900.0, None)


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    read = read_job(job("a", services={"Studio": {"endpoint": "javascript:alert(1)"}}))
    assert read is not None
    assert read.url is None


def test_rows_that_are_no_jobs_are_counted_and_left_out() -> None:
    server = ArmServer()
    server.jobs = [job("a"), {"name": 3}, "text", {"name": "b", "properties": []}]
    with reading(server) as (source, events):
        source.poll()
    assert sum(isinstance(event, Skipped) for event in events) == 3
    assert isinstance(events[-1], Refreshed)


@pytest.mark.parametrize(
    ("fault", "reason", "wait"),
    [
        (Fault(429, {"Retry-After": "90"}), "throttled", 90.0),
        (Fault(429, {"x-ms-retry-after-ms": "150000"}), "throttled", 150.0),
        (Fault(403), "forbidden", 60.0),
        (Fault(404), "not_found", 60.0),
        (Fault(502), "server_error", 60.0),
        (Fault(200, body=b"no JSON"), "malformed", 60.0),
        (Fault(200, body=b'{"value": {}}'), "malformed", 60.0),
        (Fault(200, body=b'{"value": [], "nextLink": "http://127.0.0.2/jobs"}'), "malformed", 60.0),
    ],
)
def test_what_goes_wrong_has_a_word_and_a_pause(fault: Fault, reason: str, wait: float) -> None:
    server = ArmServer()
    server.fault = fault
    with reading(server) as (source, events):
        assert source.poll() == wait
    (event,) = events
    assert isinstance(event, RefreshFailed)
    assert event.reason == reason
    assert len(server.requests) == 1  # no retry of its own, and no request elsewhere


def test_a_workspace_that_is_too_slow_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "REQUEST_SECONDS", 0.2)
    server = ArmServer()
    server.hold = threading.Event()
    with reading(server) as (source, events):
        source.poll()
    (event,) = events
    assert isinstance(event, RefreshFailed)
    assert event.reason == "timeout"
