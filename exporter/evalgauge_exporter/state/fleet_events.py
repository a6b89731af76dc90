"""The events that the fleet's sources make and that `fleet` folds.

A complete list is one event, so that what it lacks is known to be gone. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

AZURE = "azure"
AWS = "aws"


class PriceKey(NamedTuple):
    """What the hourly price of a cloud machine depends on."""

    location: str
    """Region as its cloud names it, lower case: ``eastus``, ``us-east-1``."""
    size: str
    spot: bool = False
    windows: bool = False
    """Whether a Windows licence is billed with it."""
    provider: str = AZURE
    zone: str = ""
    """Availability zone, where the price depends on it: the spot price of AWS."""


class VmInfo(NamedTuple):
    """A machine as the inventory describes it."""

    vm_id: str
    """The cloud's id. Azure: the ARM id in lower case, since its lists differ in case. AWS: the instance id."""
    name: str
    group: str
    """Azure: the resource group. AWS: the value of ``group_tag``, else the region."""
    location: str
    size: str
    created_at: float | None
    tags: Mapping[str, str]
    """Only those that the configuration allows."""
    spot: bool
    windows: bool
    aliases: tuple[str, ...] = ()
    """Other names that a worker may use for it: its computer name, its address, the value of ``worker_tag``."""
    evaluation: bool = True
    """Whether it is for evaluations. Others are shown, and cause no alert unless a worker names them."""
    zone: str = ""
    list_priced: bool = True
    """Whether the list price of its size applies; not for a licence or a tenancy that costs more."""


class VmInventory(NamedTuple):
    """The complete inventory of one list of a cloud account."""

    ts: float
    scope: str
    """The account: a subscription of Azure, a profile of AWS."""
    interval: float
    """Seconds between two such reads."""
    vms: tuple[VmInfo, ...]
    part: str = ""
    """Which of the account's lists: a scale set of Azure (``""``: the single machines), a region of AWS."""
    provider: str = AZURE


class VmPowerState(NamedTuple):
    """The power state of one machine."""

    vm_id: str
    name: str
    group: str
    state: str
    """One of ``evalgauge.metrics.POWER_STATES``."""
    since: float | None
    """When the cloud's last operation on it ended; since then it has been allocated, or not, as it is now."""


class VmPowerStates(NamedTuple):
    """The complete power states of one list of an account: a machine that left the list no longer exists."""

    ts: float
    scope: str
    interval: float
    powers: tuple[VmPowerState, ...]
    part: str = ""
    provider: str = AZURE


class VmInterruption(NamedTuple):
    """The notice of a cloud that it takes a spot machine back, or stops or retires a machine."""

    ts: float
    vm_id: str
    at: float
    """When the machine ends, or ended."""
    detail: str
    """The cloud's own word for it: ``marked-for-termination``."""


class Job(NamedTuple):
    """A job of an Azure ML workspace."""

    job_id: str
    display_name: str
    status: str
    """In lower case, as ``az ml job list`` users know them: ``running``, ``completed``."""
    job_type: str | None
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    compute: str | None
    url: str | None


class JobsSeen(NamedTuple):
    """The jobs of a workspace."""

    ts: float
    scope: str
    workspace: str
    interval: float
    counts: Mapping[str, int]
    """By status."""
    newest: tuple[Job, ...]
    """The newest first."""


class ProbeSeen(NamedTuple):
    """The result of one probe."""

    ts: float
    name: str
    kind: str
    target: str
    interval: float
    ok: bool
    seconds: float
    detail: str
    """What it answered, or why there is no answer, in one line."""
    configured: bool
    """False: the target is from a registry, and may not be reachable from here."""


class PriceSeen(NamedTuple):
    """A list price that was looked up."""

    ts: float
    key: PriceKey
    interval: float
    usd_per_hour: float | None
    """None: the price list has none."""
    priced_by: str = "azure retail prices"


class RateLimitSeen(NamedTuple):
    """How many more requests a cloud accepts now, by its buckets."""

    ts: float
    scope: str
    left: Mapping[str, int]


class RegisteredVm(NamedTuple):
    """A machine of one of OpenAdapt's registry files."""

    name: str
    host: str | None
    ssh_user: str | None
    vnc_port: int | None
    waa_port: int | None
    docker_container: str | None
    internal_ip: str | None
    size: str | None
    location: str | None
    resource_group: str | None
    status: str | None
    """A free text of the tool that wrote it."""
    current_task: str | None


class RegistrySeen(NamedTuple):
    """The machines of a registry file; none once it is gone."""

    ts: float
    path: str
    machines: tuple[RegisteredVm, ...]


class MachineDeclared(NamedTuple):
    """A machine of the configuration."""

    name: str
    provider: str
    instance_type: str
    usd_per_hour: float
    start: float
    stop: float | None


class TunnelDeclared(NamedTuple):
    """A tunnel of the configuration."""

    name: str
    local_port: int
    remote: str


class Refreshed(NamedTuple):
    """A successful refresh of a source."""

    ts: float
    source: str
    scope: str
    seconds: float


class RefreshFailed(NamedTuple):
    """A failed refresh: nothing, or not everything, could be read."""

    ts: float
    source: str
    scope: str
    seconds: float
    reason: str
    """A short word for the ``reason`` label: ``throttled``, ``forbidden``, ``timeout``, …"""
    detail: str


class Skipped(NamedTuple):
    """One row of a list that can't be interpreted and was left out; the rest was read."""

    ts: float
    source: str
    reason: str


FleetEvent = (
    VmInventory
    | VmPowerStates
    | VmInterruption
    | JobsSeen
    | ProbeSeen
    | PriceSeen
    | RateLimitSeen
    | RegistrySeen
    | MachineDeclared
    | TunnelDeclared
    | Refreshed
    | RefreshFailed
    | Skipped
)
