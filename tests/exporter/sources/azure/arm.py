"""A Resource Manager on 127.0.0.1: machines, scale sets, jobs, the Resource Graph, and faults."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
COMPUTE = "/providers/Microsoft.Compute/"


class Fault(NamedTuple):
    """An answer that is not the right one."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b'{"error": {"code": "Fault", "message": "as the test wants"}}'


def vm(
    name: str,
    *,
    group: str = "agents",
    size: str = "Standard_D4ds_v5",
    location: str = "eastus",
    power: str | None = "running",
    os_type: str = "Linux",
    since: str | None = None,
    tags: Mapping[str, str] | None = None,
    subscription: str = SUBSCRIPTION,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A virtual machine with everything that ARM knows of it; what a list leaves out the server takes away."""
    statuses: list[dict[str, Any]] = [{"code": "ProvisioningState/succeeded", "level": "Info", "time": since}]
    if power is not None:
        statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
    return {
        "id": f"/subscriptions/{subscription}/resourceGroups/{group}{COMPUTE}virtualMachines/{name}",
        "name": name,
        "type": "Microsoft.Compute/virtualMachines",
        "location": location,
        "tags": dict(tags or {}),
        "properties": {
            "timeCreated": "2026-11-20T08:00:00.1234567+00:00",
            "hardwareProfile": {"vmSize": size},
            "osProfile": {"computerName": name},
            "storageProfile": {"osDisk": {"osType": os_type}},
            "provisioningState": "Succeeded",
            "instanceView": {"statuses": statuses},
            **(more or {}),
        },
    }


class ArmServer:
    """Serves while a ``with`` block runs; what it holds may be changed meanwhile."""

    def __init__(
        self, vms: Sequence[dict[str, Any]] = (), *, page_size: int = 100, tls: ssl.SSLContext | None = None
    ) -> None:
        self.vms = list(vms)
        self.scale_sets: dict[str, list[dict[str, Any]]] = {}
        """Machines by the name of their uniform scale set, all in the resource group ``agents``."""
        self.jobs: list[Any] = []
        self.page_size = page_size
        self.headers: dict[str, str] = {"x-ms-ratelimit-remaining-subscription-reads": "11999"}
        self.faults: deque[Fault] = deque()
        """Given to the next requests, one each."""
        self.fault: Fault | None = None
        """Given to every request."""
        self.refused: dict[str, Fault] = {}
        """Given to the requests with these words in their address."""
        self.elsewhere: str | None = None
        """An address that each list names as its next page."""
        self.clock = 0.0
        """Seconds that its clock is ahead."""
        self.circular = False
        """Whether each list's next page is its first."""
        self.upper_case_status = False
        """Whether the list of power states shouts its ids, as the real one does at times."""
        self.hold: threading.Event | None = None
        """Requests wait for it."""
        self.held = threading.Event()
        """Set once a request waits."""
        self.requests: list[str] = []
        self.bodies: list[Any] = []
        """The JSON of each POST."""
        self.signed: list[str | None] = []
        """The Authorization header of each request."""
        self._scheme = "http" if tls is None else "https"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answerer())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its base address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def requested(self, words: str) -> int:
        """How many requests had these words in their address."""
        return sum(words in request for request in self.requests)

    def _answerer(self) -> type[BaseHTTPRequestHandler]:
        arm = self

        class Answerer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_POST(self) -> None:
                arm.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.do_GET()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + arm.clock)

            def do_GET(self) -> None:
                arm.requests.append(self.path)
                arm.signed.append(self.headers["Authorization"])
                if arm.hold is not None:
                    arm.held.set()
                    arm.hold.wait()
                fault = arm.faults.popleft() if arm.faults else arm.fault
                fault = fault or next((fault for words, fault in arm.refused.items() if words in self.path), None)
                status, headers, body = fault or (200, arm.headers, arm._body(self.path))
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Type", "application/json")
                    if "Content-Length" in headers:  # a fault, which is cut off there
                        self.close_connection = True
                    else:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # the client went away
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Answerer

    def _body(self, path: str) -> bytes:
        parts = urlsplit(path)
        if parts.path.endswith("/Microsoft.ResourceGraph/resources"):
            start = int(self.bodies[-1]["options"].get("$skipToken", "0"))
            members = [row for members in self.scale_sets.values() for row in members]
            rows = [_as_graph_row(row) for row in [*self.vms, *members]]
            graph: dict[str, Any] = {"data": rows[start : start + self.page_size], "totalRecords": len(rows)}
            if self.circular or start + self.page_size < len(rows):
                graph["$skipToken"] = "0" if self.circular else str(start + self.page_size)
            return json.dumps(graph).encode()
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        rows = self._rows(parts.path, query)
        start = int(query.get("page", "0")) * self.page_size
        answer: dict[str, Any] = {"value": rows[start : start + self.page_size]}
        if self.elsewhere is not None:
            answer["nextLink"] = self.elsewhere
        elif self.circular:
            answer["nextLink"] = self.url + path
        elif start + self.page_size < len(rows):
            following = {**query, "page": str(start // self.page_size + 1)}
            answer["nextLink"] = f"{self.url}{parts.path}?{urlencode(following)}"
        return json.dumps(answer).encode()

    def _rows(self, path: str, query: Mapping[str, str]) -> list[Any]:
        if path.endswith("/virtualMachines") and "/virtualMachineScaleSets/" in path:
            name = path.split("/")[-2]
            return [_without(row, ()) for row in self.scale_sets[name]]
        if path.endswith("/virtualMachineScaleSets"):
            prefix = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/agents{COMPUTE}virtualMachineScaleSets/"
            return [
                {
                    "id": prefix + name,
                    "name": name,
                    "location": "eastus",
                    "properties": {"orchestrationMode": "Uniform"},
                }
                for name in self.scale_sets
            ]
        if path.endswith("/virtualMachines"):
            if query.get("statusOnly") != "true":
                return [_without(row, ("instanceView",)) for row in self.vms]
            keep = [
                _without(row, ("hardwareProfile", "osProfile", "storageProfile", "timeCreated")) for row in self.vms
            ]
            for row in keep:
                if isinstance(row, dict):
                    row.pop("tags", None)
                    row["id"] = row["id"].upper() if self.upper_case_status else row["id"]
            return keep
        if path.endswith("/jobs"):
            return list(self.jobs)
        raise AssertionError(f"nothing of the kind is served: {path}")


def _as_graph_row(row: Any) -> Any:
    """A machine as the Resource Graph has it: the power state is under ``extended``."""
    bare = _without(row, ("instanceView",))
    codes = [status["code"] for status in row["properties"]["instanceView"]["statuses"]]
    power = next((code for code in codes if code.startswith("PowerState/")), None)
    extended = {"extended": {"instanceView": {"powerState": {"code": power}}}}
    return {**bare, "properties": {**bare["properties"], **extended}}


def _without(row: Any, names: Sequence[str]) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get("properties"), dict):
        return row
    return {**row, "properties": {key: value for key, value in row["properties"].items() if key not in names}}
