"""The records of the fleet's state: a cloud machine's history, a reference to a machine, a price."""

from __future__ import annotations

from typing import NamedTuple

from evalgauge_exporter.state.fleet_events import AWS, MachineDeclared, RegisteredVm, VmInterruption
from evalgauge_exporter.state.intervals import Interval

GONE = "gone"
BILLING = frozenset({"starting", "running", "stopping", "stopped"})
"""Power states that cost money; https://learn.microsoft.com/azure/virtual-machines/states-billing.

AWS's states are mapped so that this holds for them too (its ``stopped`` is ``deallocated``), except ``starting``.
"""
FREE = frozenset({"deallocating", "deallocated", GONE})
"""Power states that do not cost money. In ``unknown`` a machine may do either."""


class Rate(NamedTuple):
    """The hourly price of a machine, and the table that states it."""

    usd_per_hour: float
    priced_by: str


class VmState:
    """A cloud machine: when it was in which power state."""

    __slots__ = ("changes", "group", "interruption", "name", "part", "provider", "scope", "vm_id")

    def __init__(self, vm_id: str, provider: str, scope: str, part: str) -> None:
        self.vm_id = vm_id
        self.provider = provider
        self.scope = scope
        self.part = part
        self.name = ""
        self.group = ""
        self.interruption: VmInterruption | None = None
        self.changes: list[tuple[float, str]] = []
        """``(since, state)``; the state is ``gone`` for a machine that no longer exists."""

    @property
    def state(self) -> str:
        """The power state at the last refresh, or ``gone``."""
        return self.changes[-1][1]

    def list_billing(self, until: float) -> list[Interval]:
        """Return when it is known to have billed, up to ``until`` (Unix seconds)."""
        return self.list_intervals(BILLING - {"starting"} if self.provider == AWS else BILLING, until)

    def list_free(self, until: float) -> list[Interval]:
        """Return when it is known not to have billed, up to ``until`` (Unix seconds)."""
        return self.list_intervals(FREE | {"starting"} if self.provider == AWS else FREE, until)

    def list_intervals(self, states: frozenset[str], until: float) -> list[Interval]:
        """Return when it was in one of these states, as far as is known, up to ``until`` (Unix seconds)."""
        ends = [since for since, _ in self.changes[1:]] + [until]
        spans: list[Interval] = []
        for (since, state), end in zip(self.changes, ends, strict=True):
            if state in states and end > since:
                if spans and spans[-1][1] == since:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((since, end))
        return spans


class CloudList:
    """When one list of a cloud account was last read, and at which intervals in seconds."""

    __slots__ = ("inventory_at", "inventory_interval", "listed", "status_at", "status_interval")

    def __init__(self) -> None:
        self.inventory_at: float | None = None
        self.inventory_interval = 0.0
        self.listed: set[str] = set()
        """Ids of the last inventory."""
        self.status_at: float | None = None
        self.status_interval = 0.0


class ScopeHealth:
    """The health of one source in one scope, such as a subscription."""

    __slots__ = ("detail", "last_success_at", "refresh_seconds", "up")

    def __init__(self) -> None:
        self.up = True
        self.last_success_at: float | None = None
        self.refresh_seconds: float | None = None
        self.detail: str | None = None
        """Why the last refresh failed."""


class MachineRef(NamedTuple):
    """A machine, with whatever is known of it."""

    key: str
    name: str
    provider: str | None
    size: str | None
    location: str | None
    vm: VmState | None = None
    declared: MachineDeclared | None = None
    registered: RegisteredVm | None = None
