"""The machine's metadata service, on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evalgauge import instance_metadata, track_run
from evalgauge.instance_metadata import CloudMachine, find_cloud_machine

AZURE_ID = "/subscriptions/1/resourceGroups/agents/providers/Microsoft.Compute/virtualMachines/waa-00"


class Metadata:
    """A metadata service that a test sets."""

    def __init__(self) -> None:
        self.aws: Any = None
        self.azure: Any = None
        self.hold: threading.Event | None = None
        self.requests = 0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    found = Metadata()

    class Answerer(BaseHTTPRequestHandler):
        def _answer(self, status: int, body: str) -> None:
            try:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())
            except OSError:
                pass  # the client went away

        def do_PUT(self) -> None:
            found.requests += 1
            wanted = self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
            self._answer(200 if wanted and found.aws is not None else 404, "secret-token")

        def do_GET(self) -> None:
            found.requests += 1
            if found.hold is not None:
                found.hold.wait()
            if self.path.startswith("/metadata/instance/compute"):
                allowed = found.azure is not None and self.headers["Metadata"] == "true"
                self._answer(200 if allowed else 404, json.dumps(found.azure))
            else:
                allowed = self.headers["X-aws-ec2-metadata-token"] == "secret-token"
                self._answer(200 if allowed else 401, json.dumps(found.aws))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(instance_metadata, "address", ("127.0.0.1", server.server_address[1]))
    monkeypatch.setattr(instance_metadata, "SECONDS", 60.0)
    monkeypatch.setenv(instance_metadata.VARIABLE, "on")
    find_cloud_machine.cache_clear()
    yield found
    find_cloud_machine.cache_clear()
    if found.hold is not None:
        found.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_instance_of_aws_has_its_id_and_type(service: Metadata) -> None:
    service.aws = {"instanceId": "i-0abc", "instanceType": "m5.xlarge", "region": "us-east-1"}
    assert find_cloud_machine() == CloudMachine("i-0abc", "m5.xlarge", "aws")


def test_a_machine_of_azure_has_its_resource_id_and_size(service: Metadata) -> None:
    service.azure = {"resourceId": AZURE_ID, "vmSize": "Standard_D4ds_v5", "name": "waa-00"}
    assert find_cloud_machine() == CloudMachine(AZURE_ID, "Standard_D4ds_v5", "azure")


@pytest.mark.parametrize("answer", [None, [], {}, {"instanceId": 3}, {"instanceId": ""}, "text"])
def test_an_answer_that_is_none_is_no_machine(service: Metadata, answer: object) -> None:
    service.aws = service.azure = answer
    assert find_cloud_machine() is None


def test_it_is_off_unless_it_is_switched_on(service: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    service.aws = {"instanceId": "i-0abc", "instanceType": "m5.xlarge"}
    for value in (None, "", "off", "0"):
        if value is None:
            monkeypatch.delenv(instance_metadata.VARIABLE)
        else:
            monkeypatch.setenv(instance_metadata.VARIABLE, value)
        find_cloud_machine.cache_clear()
        assert find_cloud_machine() is None
    assert service.requests == 0


def test_a_service_that_hangs_holds_nothing_up(service: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_metadata, "SECONDS", 0.1)
    service.hold = threading.Event()
    service.azure = {"resourceId": AZURE_ID, "vmSize": "Standard_D4ds_v5"}
    assert find_cloud_machine() is None


def test_a_worker_that_reports_no_machine_is_on_this_one(service: Metadata, tmp_path: Path) -> None:
    service.aws = {"instanceId": "i-0abc", "instanceType": "m5.xlarge"}
    with track_run(tmp_path, benchmark="waa", model="m", run_id="r") as run:
        run.worker("told", "idle", vm="vm-7")
        with run.task("a", worker="told") as task:
            task.finish(success=True)
        with run.task("b", worker="silent") as task:
            task.finish(success=True)
    (file,) = (tmp_path / "r" / "events").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    states = [line for line in lines if line["type"] == "worker_state"]
    assert [(one["worker_id"], one.get("vm"), one.get("vm_size"), one.get("provider")) for one in states] == [
        ("told", "vm-7", None, None),
        ("silent", "i-0abc", "m5.xlarge", "aws"),
    ]
