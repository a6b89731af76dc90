"""A simulated Azure on 127.0.0.1, which the exporter reads with its own sources: machines, prices, jobs of a workspace.

Answers are shaped as those of https://learn.microsoft.com/rest/api/compute/virtual-machines/list-all, of the list of
jobs of Azure ML and of the Retail Prices API.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from evalgauge_exporter.demo.player import VM_RATE_USD, VM_SIZE

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
LOCATION = "eastus"
WORKSPACE, WORKSPACE_GROUP = "evaluations", "ml"
PREVIEW_SIZE = "Standard_D4as_v99"
"""A size that is in no price list yet."""
PRICES = {VM_SIZE: VM_RATE_USD, "Standard_NC24ads_A100_v4": 3.673}
"""US dollars an hour: list prices in US East at the end of 2026."""
READS = 12_000
"""Requests that Azure accepts in an hour; each answer states how many are left."""
JOBS = {"Running": 3, "Queued": 2, "Completed": 12, "Failed": 1}


class Machine(NamedTuple):
    """A machine of the simulated subscription."""

    name: str
    size: str = VM_SIZE
    power: str = "running"
    days: float = 1.0
    """Its age in days."""
    evaluation: bool = True
    """Whether its tag states that it is for evaluations."""


OTHER_MACHINES = (
    Machine("vm-forgotten", days=9),
    Machine("vm-stopped", power="stopped", days=21),
    Machine("vm-new", power="starting", days=0.01),
    Machine("vm-template", power="deallocated", days=60),
    Machine("build-agent", size="Standard_NC24ads_A100_v4", days=200, evaluation=False),
)
"""Machines beside those of the workers: forgotten ones, and one of somebody else."""


class SimulatedAzure:
    """A server that answers while a ``with`` block runs.

    Args:
        workers: Names of the workers; each has a machine ``vm-<worker>``.
        sizes: The sizes of those that are not the usual one.
    """

    def __init__(self, workers: Iterable[str], sizes: Mapping[str, str]) -> None:
        own = (Machine(f"vm-{worker}", sizes.get(worker, VM_SIZE)) for worker in workers)
        self._machines = [*own, *OTHER_MACHINES]
        self._left = READS
        self._began = datetime.now(UTC)
        azure = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                azure._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing: the terminal shows the evaluation."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="evalgauge-azure", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def build_settings(self) -> dict[str, Any]:
        """Return the tables of the exporter's configuration that read it."""
        own = {"subscription_id": SUBSCRIPTION, "base_url": self.url, "credential": "none"}
        host = self.url.removeprefix("http://")
        polled = {"status_interval": "5s", "evaluation_tags": ("purpose=evaluation",), "scale_sets": False}
        return {
            "azure": [own | polled],
            "azure_ml": [
                own | {"resource_group": WORKSPACE_GROUP, "workspace": WORKSPACE, "interval": "5s"},
            ],
            "probe": [
                {"name": "vm-worker-1", "kind": "waa", "target": host, "interval": "5s"},
                {"name": "vm-worker-2", "kind": "waa", "target": host, "interval": "5s"},
                {"name": "vm-forgotten", "kind": "vnc", "target": host, "interval": "5s", "timeout": "1s"},
            ],
            "prices": {"azure_retail_url": f"{self.url}/api/retail/prices"},
        }

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self._left = self._left - 1 if self._left > READS // 2 else READS
        address = urlsplit(request.path)
        body = self._read(address.path, {name: values[0] for name, values in parse_qs(address.query).items()})
        content = json.dumps({} if body is None else body).encode()
        request.send_response(404 if body is None else 200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.send_header("x-ms-ratelimit-remaining-subscription-reads", str(self._left))
        with contextlib.suppress(ConnectionError):  # who asked went away
            request.end_headers()
            request.wfile.write(content)

    def _read(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        """Return the answer to a request, None where there is nothing."""
        match path.rpartition("/")[2]:
            case "virtualMachines":
                status = query.get("statusOnly") == "true"
                return {"value": [self._power(vm) if status else self._describe(vm) for vm in self._machines]}
            case "jobs":
                return {"value": [self._job(status, n) for status, count in JOBS.items() for n in range(count)]}
            case "prices":
                return {"Items": _find_prices(query.get("$filter", "")), "NextPageLink": None}
            case "probe":
                return {"status": "Probe successful"}
            case _:
                return None

    def _id(self, vm: Machine) -> str:
        group = "agents" if vm.evaluation else "build"
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
        return f"{scope}/providers/Microsoft.Compute/virtualMachines/{vm.name}"

    def _describe(self, vm: Machine) -> dict[str, Any]:
        return {
            "id": self._id(vm),
            "name": vm.name,
            "location": LOCATION,
            "tags": {"purpose": "evaluation" if vm.evaluation else "builds"},
            "properties": {
                "timeCreated": (self._began - timedelta(days=vm.days)).isoformat(),
                "hardwareProfile": {"vmSize": vm.size},
                "storageProfile": {"osDisk": {"osType": "Linux"}},
            },
        }

    def _power(self, vm: Machine) -> dict[str, Any]:
        statuses = [{"code": "ProvisioningState/succeeded"}, {"code": f"PowerState/{vm.power}"}]
        return {"id": self._id(vm), "name": vm.name, "properties": {"instanceView": {"statuses": statuses}}}

    def _job(self, status: str, number: int) -> dict[str, Any]:
        created = (self._began - timedelta(hours=number + 1)).isoformat()
        return {
            "name": f"{status.lower()}-{number}",
            "systemData": {"createdAt": created},
            "properties": {"jobType": "Command", "status": status, "displayName": f"training {number}"},
        }


def _find_prices(conditions: str) -> list[dict[str, Any]]:
    """Return the rows of the price list for the size that a filter names."""
    found = re.search(r"armSkuName eq '([^']*)'", conditions)
    size = found[1] if found else ""
    if size not in PRICES:
        return []
    return [
        {
            "currencyCode": "USD",
            "retailPrice": PRICES[size],
            "armRegionName": LOCATION,
            "armSkuName": size,
            "skuName": size,
            "meterName": size,
            "productName": "Virtual Machines",
            "serviceName": "Virtual Machines",
            "unitOfMeasure": "1 Hour",
            "type": "Consumption",
            "isPrimaryMeterRegion": True,
        }
    ]
