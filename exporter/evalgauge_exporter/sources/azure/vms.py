"""Virtual machines of an Azure subscription.

Azure has two lists. The inventory knows size, tags and creation time and no power state; the list with
``statusOnly=true`` knows power states and not the rest. They are joined by the lower-cased id, since they differ in its
case. Each takes one request a page, however many machines there are; a uniform scale set takes one more for each.
https://learn.microsoft.com/rest/api/compute/virtual-machines/list-all
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from evalgauge.metrics import POWER_STATES
from evalgauge_exporter.config.model import Azure
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.azure.prices import AzurePriceList
from evalgauge_exporter.sources.cloud import Access, Cloud, CloudReader, PriceList, matches_tags, try_access
from evalgauge_exporter.sources.http import HttpAnswer, HttpSession, read_json
from evalgauge_exporter.state.fleet_events import AZURE, VmInfo, VmPowerState

COMPUTE_VERSION = "2024-07-01"
GRAPH_VERSION = "2022-10-01"
SINGLE = ""
"""The part of the machines that are in no uniform scale set."""
_COMPUTE = "/providers/Microsoft.Compute"
_HYBRID = ("windows_server", "windows_client")
_POWER = "powerstate/"
_DONE = "provisioningstate/succeeded"
_GRAPH_QUERY = (
    "resources | where type =~ 'microsoft.compute/virtualmachines' "
    "| union (computeresources | where type =~ 'microsoft.compute/virtualmachinescalesets/virtualmachines') "
    "| project id, name, location, tags, sku, properties | order by id asc"
)


class AzureCloud(Cloud):
    """The machines of one subscription.

    Args:
        table: Its row of the configuration.
        prices_url: The address of the Retail Prices API.
    """

    provider = AZURE
    source = "azure_vm"

    def __init__(self, table: Azure, prices_url: str | None = None) -> None:
        self.scope = table.subscription_id
        self.inventory_interval = table.inventory_interval
        self.status_interval = table.status_interval
        self.table = table
        self.client = arm.ArmClient(table.base_url, table.credential)
        self._prices_url = prices_url
        self._scale_sets: list[str] = []

    @contextmanager
    def open(self) -> Iterator[CloudReader]:
        """Return the reader for one refresh, over the compute API or the Resource Graph."""
        with self.client.open() as session:
            yield GraphReader(self, session) if self.table.resource_graph else ArmReader(self, session)

    def identify(self) -> str:
        """Return who is signed in."""
        return self.client.identify()

    def check_access(self) -> Iterator[Access]:
        """Try each list that is read."""
        with self.open() as reader:
            if isinstance(reader, GraphReader):
                yield try_access("Microsoft.ResourceGraph/resources/read", lambda: reader.read_states(SINGLE))
                return
            action = "Microsoft.Compute/virtualMachines/read"
            yield try_access(action, lambda: reader.read_inventory(SINGLE))
            yield try_access(f"{action} (power states)", lambda: reader.read_states(SINGLE))
            if self.table.scale_sets:
                parts: list[str] = []

                def find_scale_sets() -> list[str]:
                    parts.extend(part for part in reader.list_parts() if part != SINGLE)
                    return parts

                yield try_access("Microsoft.Compute/virtualMachineScaleSets/read", find_scale_sets)
                for part in parts[:1]:
                    action = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/read"
                    yield try_access(action, partial(reader.read_states, part))

    def create_price_list(self) -> PriceList | None:
        """Return the Retail Prices API."""
        return AzurePriceList(self._prices_url) if self._prices_url else None

    def is_included(self, group: str) -> bool:
        """Return whether the machines of a resource group, in lower case, are read."""
        return not self.table.resource_groups or group in {name.lower() for name in self.table.resource_groups}

    def read_vm(self, row: Mapping[str, Any]) -> VmInfo:
        """Return a machine of a list.

        Raises:
            TypeError, ValueError, KeyError, AttributeError: It is no machine.
        """
        vm_id = str(row["id"]).lower()
        properties = _table(row["properties"])
        tags = {name.lower(): str(value) for name, value in _table(row.get("tags")).items()}  # Azure ignores their case
        size = _table(properties.get("hardwareProfile")).get("vmSize") or _table(row.get("sku")).get("name")
        os_type = _table(_table(properties.get("storageProfile")).get("osDisk")).get("osType")
        licence = str(properties.get("licenseType") or "").lower()
        aliases = (
            _table(properties.get("osProfile")).get("computerName"),
            properties.get("vmId"),
            tags.get(self.table.worker_tag.lower()) if self.table.worker_tag else None,
        )
        return VmInfo(
            vm_id=vm_id,
            name=str(row["name"]),
            group=_find_group(vm_id),
            location=str(row.get("location") or "").lower(),
            size=str(size or ""),
            created_at=arm.parse_time(properties.get("timeCreated")),
            tags={name: tags[name.lower()] for name in self.table.tags if name.lower() in tags},
            spot=str(properties.get("priority") or "").lower() in ("spot", "low"),
            windows=str(os_type or "").lower() == "windows" and licence not in _HYBRID,
            aliases=tuple(str(alias) for alias in aliases if alias),
            evaluation=matches_tags(self.table.evaluation_tags, tags),
        )


class _Reader(CloudReader):
    """What both readers share."""

    def __init__(self, cloud: AzureCloud, session: HttpSession) -> None:
        self.cloud = cloud
        self.session = session
        self.rate_limits: dict[str, int] = {}

    def note_answer(self, answer: HttpAnswer) -> None:
        """Note the clock and the remaining requests of an answer."""
        self.skew = self.session.skew
        for bucket, left in arm.parse_rate_limits(answer.headers).items():
            self.rate_limits[bucket] = min(left, self.rate_limits.get(bucket, left))

    def convert(self, rows: Iterator[Any], convert: Callable[[Mapping[str, Any]], Any]) -> Iterator[Any]:
        """Yield the converted rows of the included resource groups, None for one that can't be interpreted."""
        for row in rows:
            try:
                found = convert(row)
            except (AttributeError, TypeError, ValueError, KeyError):
                yield None
                continue
            if self.cloud.is_included(found.group):
                yield found


class ArmReader(_Reader):
    """One refresh over the compute API."""

    def list_parts(self) -> Iterator[str]:
        """Yield the single machines, and the uniform scale sets as ``group/name``."""
        yield SINGLE
        if not self.cloud.table.scale_sets:
            return
        right = "Microsoft.Compute/virtualMachineScaleSets/read"
        for row in self._get("the scale sets", right, "/virtualMachineScaleSets"):
            try:
                group = _find_group(str(row["id"]).lower())
                flexible = str(_table(row.get("properties")).get("orchestrationMode")).lower() == "flexible"
                name = str(row["name"])
            except (AttributeError, TypeError, ValueError, KeyError):
                continue
            if not flexible and self.cloud.is_included(group):  # those of a flexible one are in the list of machines
                yield f"{group}/{name}"

    def read_inventory(self, part: str) -> Iterator[VmInfo | None]:
        """Yield the machines of a list with everything but their power state."""
        rows = self._get_members(part) if part else self._get_singles("the machines")
        return self.convert(rows, self.cloud.read_vm)

    def read_states(self, part: str) -> Iterator[VmPowerState | None]:
        """Yield the power states of a list."""
        if part:
            return self.convert(self._get_members(part, **{"$expand": "instanceView"}), read_power_state)
        return self.convert(self._get_singles("the power states", statusOnly="true"), read_power_state)

    def _get_singles(self, what: str, **query: str) -> Iterator[Any]:
        return self._get(what, "Microsoft.Compute/virtualMachines/read", "/virtualMachines", **query)

    def _get_members(self, part: str, **query: str) -> Iterator[Any]:
        """Yield the machines of a scale set; none where it was deleted since the scale sets were listed."""
        group, _, name = part.partition("/")
        path = f"/virtualMachineScaleSets/{arm.quote_part(name)}/virtualMachines"
        right = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/read"
        try:
            yield from self._get(f"the machines of scale set {name}", right, path, group, **query)
        except RefreshError as error:
            if error.reason != "not_found":
                raise

    def _get(self, what: str, right: str, path: str, group: str = "", **query: str) -> Iterator[Any]:
        scope = f"/subscriptions/{arm.quote_part(self.cloud.scope)}"
        if group:
            scope += f"/resourceGroups/{arm.quote_part(group)}"
        url = self.cloud.client.build_url(f"{scope}{_COMPUTE}{path}", **{"api-version": COMPUTE_VERSION}, **query)
        try:
            subject = f"{what} of subscription {self.cloud.scope}"
            yield from self.session.get_pages(subject, url, "value", "nextLink", self.note_answer)
        except RefreshError as error:
            raise arm.name_right(right)(error) from error


class GraphReader(_Reader):
    """One refresh over the Azure Resource Graph: one query a thousand machines, with their power states.

    https://learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests
    """

    def __init__(self, cloud: AzureCloud, session: HttpSession) -> None:
        super().__init__(cloud, session)
        self._rows: list[Any] | None = None

    def list_parts(self) -> Iterator[str]:
        """Yield the one list."""
        yield SINGLE

    def read_inventory(self, part: str) -> Iterator[VmInfo | None]:
        """Yield the machines, scale sets included."""
        return self.convert(iter(self._query()), self.cloud.read_vm)

    def read_states(self, part: str) -> Iterator[VmPowerState | None]:
        """Yield the power states, from the same rows."""
        return self.convert(iter(self._query()), read_power_state)

    def _query(self) -> list[Any]:
        if self._rows is None:
            rows: list[Any] = []
            options: dict[str, object] = {"resultFormat": "objectArray", "$top": 1000}
            what = f"the Resource Graph of subscription {self.cloud.scope}"
            url = self.cloud.client.build_url(
                "/providers/Microsoft.ResourceGraph/resources", **{"api-version": GRAPH_VERSION}
            )
            while True:
                body = {"subscriptions": [self.cloud.scope], "query": _GRAPH_QUERY, "options": options}
                answer = self.session.post_json(what, url, body)
                self.note_answer(answer)
                page = read_json(answer, what)
                if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                    raise RefreshError("malformed", f"{what}: the answer has no list of 'data'")
                rows += page["data"]
                token = page.get("$skipToken")
                if not token:
                    break
                if token == options.get("$skipToken"):
                    raise RefreshError("endless", f"{what}: the pages of the list lead in a circle")
                options["$skipToken"] = token
            self._rows = rows
        return self._rows


def read_power_state(row: Mapping[str, Any]) -> VmPowerState:
    """Return the power state of a row.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: It is no machine.
    """
    vm_id = str(row["id"]).lower()
    properties = _table(row["properties"])
    view = _table(properties.get("instanceView"))
    statuses = {
        str(status["code"]).lower(): status
        for status in view.get("statuses") or ()
        if isinstance(status, Mapping) and status.get("code")
    }
    graph = _table(_table(_table(properties.get("extended")).get("instanceView")).get("powerState")).get("code")
    codes = [*statuses, *([str(graph).lower()] if graph else [])]
    state = next((code.removeprefix(_POWER) for code in codes if code.startswith(_POWER)), "unknown")
    return VmPowerState(
        vm_id=vm_id,
        name=str(row["name"]),
        group=_find_group(vm_id),
        state=state if state in POWER_STATES else "unknown",
        since=arm.parse_time(_table(statuses.get(_DONE)).get("time")),
    )


def _find_group(vm_id: str) -> str:
    """The resource group in an id. Raises IndexError or ValueError where there is none."""
    parts = vm_id.split("/")
    if "resourcegroups" not in parts[:-1]:
        raise ValueError("it names no resource group")
    return parts[parts.index("resourcegroups") + 1]


def _table(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one for null and for what is missing. Raises TypeError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError("it is no JSON object")
    return value
