"""The table of machines that two dashboards have."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import Expression, select
from evalgauge_dashboards.queries import MACHINE
from evalgauge_dashboards.queries import shown as q

POWER = {state: state for state in m.POWER_STATES} | {"stopped": "warning"}
"""The meaning of each power state: a stopped machine is billed and does nothing, unlike a stopped worker."""


def machine_rows() -> Expression:
    """Select every machine."""
    return select(m.VM_INFO).max(*MACHINE, "size", "location")


def by_machine(value: Expression) -> Expression:
    """Reduce to one value for each machine: a name is unique only within its resource group."""
    return value.join_labels("machine", *MACHINE).max("machine")


def machine_table(spec: PanelSpec, rows: Expression) -> Panel:
    """Build a table of machines, unused ones first."""
    power = q.state_number(m.VM_POWER_STATE, *MACHINE)
    # nobody said that the others are for evaluations, so nobody knows whether they are used
    in_use = q.billed_machines().where(q.value(m.VM_RUNS, *MACHINE) > 0, on=MACHINE)
    use = (q.idle_machines(queries.IDLE_WINDOW) * 0 + 3).or_(q.unused_machines() * 0 + 4).or_(in_use * 0 + 2)
    use = use.or_(q.billed_machines() * 0 + 1)
    return p.table(
        spec,
        "machine",
        [
            Column("Machine", "vm", {"custom.minWidth": 110}),
            Column("Group", "resource_group", {"custom.width": 80}),
            Column("Provider", "provider", {"custom.width": 75}),
            Column(
                "Power",
                Query(by_machine(power), ref="power"),
                p.style_mapped(p.map_words(POWER)) | {"custom.width": 105},
            ),
            Column(
                "Use",
                Query(by_machine(use), ref="use"),
                p.style_mapped(
                    p.map_words({"other": "unknown", "in use": "busy", "idle": "warning", "no run": "critical"})
                )
                | {"custom.width": 90},
            ),
            Column("Runs", Query(by_machine(q.value(m.VM_RUNS, *MACHINE)), ref="runs"), {"custom.width": 55}),
            Column("Busy", Query(by_machine(q.value(m.VM_BUSY_WORKERS, *MACHINE)), ref="busy"), {"custom.width": 55}),
            Column(
                "Per hour",
                Query(by_machine(q.value(m.VM_PRICE, *MACHINE)), ref="price"),
                {"unit": p.DOLLARS, "decimals": 3, "custom.width": 85, "noValue": "unknown"},
            ),
            Column("Size", "size", {"custom.minWidth": 135}),
            Column("Location", "location", {"custom.width": 80}),
            Column(
                "Ends",
                Query(by_machine(q.value(m.VM_INTERRUPTION, *MACHINE) * 1000), ref="ends"),
                {"unit": p.TIME, "custom.width": 140, **p.colour_series("warning")},
            ),
            Column(
                "Created",
                Query(by_machine(q.value(m.VM_CREATED, *MACHINE) * 1000), ref="created"),
                {"unit": p.TIME, "custom.width": 140},
            ),
        ],
        rows=rows.join_labels("machine", *MACHINE),
        sort=("Use", True),
    )
