"""A machine's hours and cost as a row, and which machines count as GPU time."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from evalgauge_exporter.analysis.costs import MachineCost
from evalgauge_exporter.state.fleet_events import AZURE

Component = Literal["vm", "gpu"]

# N is Azure's GPU family: https://learn.microsoft.com/azure/virtual-machines/sizes/overview
_AZURE_GPU = re.compile(r"(?:standard|basic)_n[cdgv]", re.IGNORECASE)
_AWS_GPU = re.compile(r"(?:p[2-9]|g[3-9]|gr[3-9])[a-z0-9-]*\.", re.IGNORECASE)
_GPU_WORDS = re.compile(
    r"(?:^|[^a-z0-9])(?:gpu|a2|a3|a4|g2|g4|[abhl]\d{2,3}[a-z]*|gh200|gb200|t4|l4|v100|p100|k80|mi\d{3}x?|rtx\w*|tpu\w*)"
    r"(?:$|[^a-z0-9])",
    re.IGNORECASE,
)


def classify_component(provider: str | None, instance_type: str | None) -> Component:
    """Return the cost component of a machine, ``gpu`` or ``vm``, by its type as its cloud names it."""
    if not instance_type:
        return "vm"
    if provider == AZURE or instance_type.lower().startswith(("standard_", "basic_")):
        return "gpu" if _AZURE_GPU.match(instance_type) else "vm"
    return "gpu" if _AWS_GPU.match(instance_type) or _GPU_WORDS.search(instance_type) else "vm"


class MachineRow(NamedTuple):
    """A machine's hours and cost, over a run or over all that is known. Hours are hours that bill."""

    name: str
    component: Component
    provider: str | None
    instance_type: str | None
    hourly_rate_usd: float | None
    """None: nothing prices it."""
    priced_by: str | None
    busy_hours: float
    """With a task of a run."""
    idle_hours: float
    """Used by a run, and without a task."""
    unused_hours: float
    """Used by no run; always 0 in a run's own rows."""
    run_ids: tuple[str, ...]
    """The runs that use it now; in a run's own rows that run alone."""
    named: bool
    """Whether a name, a type, a cloud or a price states that this is a machine. False for a mere worker id."""
    billing: bool
    """Whether it bills now; in a run's own rows: for that run."""
    key: str
    ends_at: float | None = None
    """When its cloud ends it, by a notice, in Unix seconds."""

    @property
    def hours(self) -> float:
        """All hours that bill."""
        return self.busy_hours + self.idle_hours + self.unused_hours

    @property
    def cost_usd(self) -> float | None:
        """US dollars, None where it has no price."""
        return self.cost_of(self.hours)

    def cost_of(self, hours: float) -> float | None:
        """Return the cost of so many hours in US dollars, None where the machine has no price."""
        return None if self.hourly_rate_usd is None else hours * self.hourly_rate_usd


class MachineCosts(NamedTuple):
    """The machines of a run, or all machines."""

    rows: tuple[MachineRow, ...]

    def list_known(self) -> list[MachineCost]:
        """Return the machines as `costs` adds them up, without workers that nothing states to be machines."""
        return [
            MachineCost(
                name=row.name,
                component=row.component,
                provider=row.provider,
                instance_type=row.instance_type,
                hourly_rate_usd=row.hourly_rate_usd,
                hours=row.hours,
                busy_hours=row.busy_hours,
                cost_usd=row.cost_usd,
                priced_by=row.priced_by,
                billing=row.billing,
                ends_at=row.ends_at,
            )
            for row in self.rows
            if row.named
        ]

    def cost_usd(self, component: Component) -> float | None:
        """Return the known cost of a component in US dollars, None where nothing of it is priced."""
        known = [row.cost_usd for row in self.rows if row.component == component and row.cost_usd is not None]
        return sum(known) if known else None

    def hours(self, component: Component) -> float:
        """Return the hours of a component, priced or not."""
        return sum(row.hours for row in self.rows if row.component == component)

    @property
    def unpriced(self) -> tuple[MachineRow, ...]:
        """The machines without a price, which are in no total."""
        return tuple(row for row in self.rows if row.named and row.hourly_rate_usd is None)
