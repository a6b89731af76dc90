"""Virtual machines of an Azure subscription: what they are (slowly) and their power states (fast).

Azure has two lists. The inventory knows size, tags and creation time and no power state; the list with
``statusOnly=true`` knows power states and not the rest. They are joined by the lower-cased id, since they do not agree
on its case. Both take a request a page, however many machines there are; a scale set takes one more.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from evalgauge.metrics import POWER_STATES
from evalgauge_exporter.config.model import Azure
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    RateLimitSeen,
    Skipped,
    VmInfo,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)

if TYPE_CHECKING:
    from azure.mgmt.compute import ComputeManagementClient

MAX_ROWS = 100_000
"""A longer list is one whose pages lead in a circle."""
LOW_HEADROOM = 30
"""Where Azure would take fewer requests than this, the next refresh waits twice as long."""
_HYBRID = ("windows_server", "windows_client")
_POWER = "powerstate/"
_DONE = "provisioningstate/succeeded"


class AzureVmSource(PollingSource):
    """The machines of one subscription, without limit of their number."""

    source = "azure_vm"

    def __init__(self, table: Azure, emit: Emit, *, on_new: Callable[[], None] = lambda: None) -> None:
        """``on_new`` is called, from the source's thread, when the inventory was read: there may be new sizes."""
        super().__init__(table.subscription_id, table.status_interval, emit)
        self.table = table
        self._on_new = on_new
        self._groups = frozenset(group.lower() for group in table.resource_groups)
        self._tags = {name.lower(): name for name in table.tags}
        """Azure does not tell tags apart by case."""
        self._client: ComputeManagementClient | None = None
        self._known: set[str] = set()
        """Ids of the last inventory."""
        self._missed: set[str] = set()
        """Ids that had a power state and were in no inventory, not even in one read for their sake."""
        self._scale_sets: list[tuple[str, str]] = []
        self._inventory_at: float | None = None
        self._left: dict[str, int] = {}

    def next_delay(self) -> float:
        """Twice the interval while Azure would take few more requests."""
        low = any(left < LOW_HEADROOM for left in self._left.values())
        return self.interval * 2 if low else self.interval

    def poll(self) -> float:
        """Refresh once; see `BackgroundSource.look`."""
        before = self._inventory_at
        wait = super().poll()
        if self._inventory_at != before:
            self._on_new()
        return wait

    def refresh(self) -> Iterator[FleetEvent]:
        """The inventory where it is due or lacks a machine, and the power states."""
        self._left = {}
        client = self._connected()
        failures: list[RefreshError] = []
        due = self._inventory_at is None or time.monotonic() - self._inventory_at >= self.table.inventory_interval
        if due:
            yield from self._tried(self._inventory(client), failures)
        powers = list(self._tried(self._powers(client), failures))
        yield from powers
        unknown = self._unknown(powers)
        if unknown and not due and not failures:
            yield from self._tried(self._inventory(client), failures)
            self._missed |= unknown - self._known
        if self._left:
            yield RateLimitSeen(time.time(), self.scope, dict(self._left))
        if failures:
            raise max(failures, key=lambda failure: failure.retry_after or 0.0)

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> ComputeManagementClient:
        if self._client is None:
            sign_in = arm.credential(self.table.credential)
            try:
                from azure.mgmt.compute import ComputeManagementClient
            except ImportError as error:
                raise RefreshError("not_installed", f"{error.name} is not installed; {arm.EXTRA}") from error
            self._client = ComputeManagementClient(
                sign_in,
                self.table.subscription_id,
                base_url=self.table.base_url,
                **arm.client_options(self.table.credential, self.table.base_url),
            )
        return self._client

    def _tried(self, events: Iterator[FleetEvent], failures: list[RefreshError]) -> Iterator[FleetEvent]:
        """The events of one list; a failure is noted, so that the other list is read all the same."""
        try:
            yield from events
        except Exception as error:
            failures.append(arm.classify_error(error, f"the machines of subscription {self.scope}", time.time()))

    def _unknown(self, events: Iterable[FleetEvent]) -> set[str]:
        """Ids that the inventory lacks; it forgets those that are gone, what comes back may be another machine."""
        unknown: set[str] = set()
        for event in events:
            if isinstance(event, VmPowerStates):
                present = {power.vm_id for power in event.powers}
                unknown = present - self._known - self._missed
                self._known &= present
                self._missed &= present
        return unknown

    def _noted(self, response: Any) -> None:
        for bucket, left in arm.parse_rate_limits(response.http_response.headers).items():
            self._left[bucket] = min(left, self._left.get(bucket, left))

    def _wanted(self, group: str) -> bool:
        return not self._groups or group in self._groups

    # -- the inventory

    def _inventory(self, client: ComputeManagementClient) -> Iterator[FleetEvent]:
        vms: list[VmInfo] = []
        for raw in _bounded(client.virtual_machines.list_all(raw_response_hook=self._noted)):
            if (vm := self._read(raw, self._vm)) is None:
                yield Skipped(time.time(), self.source, "malformed")
            elif self._wanted(vm.resource_group):
                vms.append(vm)
        sets: list[tuple[str, str]] = []
        for scale_set in _bounded(client.virtual_machine_scale_sets.list_all(raw_response_hook=self._noted)):
            found = self._read(scale_set, _scale_set)
            if found is not None and self._wanted(found[0]):
                sets.append(found)
        self._scale_sets = sets
        for group, name in sets:
            for member in self._members(client, group, name):
                if (vm := self._read(member, self._vm)) is None:
                    yield Skipped(time.time(), self.source, "malformed")
                else:
                    vms.append(vm)
        self._known = {vm.vm_id for vm in vms}
        self._inventory_at = time.monotonic()
        yield VmInventory(time.time(), self.scope, self.table.inventory_interval, tuple(vms))

    def _read(self, raw: Any, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(raw)
        except (AttributeError, TypeError, ValueError, KeyError, IndexError):
            return None

    def _vm(self, raw: Any) -> VmInfo:
        vm_id = str(raw.id).lower()
        group = _group_of(vm_id)
        hardware, system, disk = raw.hardware_profile, raw.os_profile, raw.storage_profile
        size = (hardware.vm_size if hardware else None) or (raw.sku.name if getattr(raw, "sku", None) else None)
        os_type = disk.os_disk.os_type if disk and disk.os_disk else None
        licence = _text(getattr(raw, "license_type", None) or _property(raw, "licenseType")).lower()
        priority = _text(getattr(raw, "priority", None) or _property(raw, "priority")).lower()
        tags: Mapping[str, object] = raw.tags or {}
        return VmInfo(
            vm_id=vm_id,
            name=str(raw.name),
            resource_group=group,
            subscription_id=self.scope,
            location=_text(raw.location).lower(),
            size=_text(size),
            created_at=arm.unix_time(getattr(raw, "time_created", None) or _property(raw, "timeCreated")),
            tags={self._tags[tag.lower()]: str(value) for tag, value in tags.items() if tag.lower() in self._tags},
            spot=priority in ("spot", "low"),
            windows=_text(os_type).lower() == "windows" and licence not in _HYBRID,
            computer_name=(system.computer_name if system else None) or None,
        )

    def _members(self, client: ComputeManagementClient, group: str, name: str, **options: str) -> Iterator[Any]:
        """The machines of a scale set; none where it was deleted since the inventory was read."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            listed = client.virtual_machine_scale_set_vms.list(group, name, raw_response_hook=self._noted, **options)
            yield from _bounded(listed)
        except ResourceNotFoundError:
            self._scale_sets = [known for known in self._scale_sets if known != (group, name)]

    # -- power states

    def _powers(self, client: ComputeManagementClient) -> Iterator[FleetEvent]:
        powers: list[VmPowerState] = []
        singles = _bounded(client.virtual_machines.list_all(status_only="true", raw_response_hook=self._noted))
        members = (self._members(client, group, name, expand="instanceView") for group, name in list(self._scale_sets))
        for raw in itertools.chain(singles, *members):
            if (power := self._read(raw, _power)) is None:
                yield Skipped(time.time(), self.source, "malformed")
            elif self._wanted(power.resource_group):
                powers.append(power)
        yield VmPowerStates(time.time(), self.scope, self.table.status_interval, tuple(powers))


def _bounded(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows of a list. Raises RefreshError where it does not end."""
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise RefreshError("malformed", "Azure's list of machines does not end")
        yield row


def _power(raw: Any) -> VmPowerState:
    vm_id = str(raw.id).lower()
    view = raw.instance_view
    statuses = [status for status in ((view.statuses if view else None) or ()) if status.code]
    codes = {status.code.lower(): status for status in statuses}
    state = next((code.removeprefix(_POWER) for code in codes if code.startswith(_POWER)), "unknown")
    done = codes.get(_DONE)
    return VmPowerState(
        vm_id=vm_id,
        name=str(raw.name),
        resource_group=_group_of(vm_id),
        state=state if state in POWER_STATES else "unknown",
        since=arm.unix_time(done.time) if done is not None else None,
    )


def _scale_set(raw: Any) -> tuple[str, str] | None:
    """Resource group and name; None for a set whose machines are in the list of machines anyway."""
    mode = _text(getattr(raw, "orchestration_mode", None) or _property(raw, "orchestrationMode"))
    return None if mode.lower() == "flexible" else (_group_of(str(raw.id).lower()), str(raw.name))


def _group_of(vm_id: str) -> str:
    """The resource group in an id. Raises IndexError or ValueError where there is none."""
    parts = vm_id.split("/")
    return parts[parts.index("resourcegroups") + 1]


def _property(raw: Any, name: str) -> Any:
    """A property that not every version of the package names."""
    properties = raw.get("properties") if isinstance(raw, Mapping) else None
    return properties.get(name) if isinstance(properties, Mapping) else None


def _text(value: Any) -> str:
    """A text, also of an enumeration's member; ``""`` for nothing."""
    return str(getattr(value, "value", value) or "")
