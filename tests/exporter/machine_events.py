"""Events of machines and runs, for tests: times are seconds from ``T0`` unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from evalgauge.events import Event, RunFinished, RunStarted, TaskFinished, TaskStarted, WorkerState, WorkerStateName
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    MachineDeclared,
    PriceKey,
    PriceSeen,
    VmInfo,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)
from evalgauge_exporter.state.run import RunState, fold

T0 = 1_795_290_000.0
HOUR = 3600.0
STALL = 600.0
SUBSCRIPTION = "sub-1"
SIZE = "Standard_D4ds_v5"


def vm_id(name: str, group: str = "agents", subscription: str = SUBSCRIPTION) -> str:
    return (
        f"/subscriptions/{subscription}/resourcegroups/{group}"
        f"/providers/microsoft.compute/virtualmachines/{name.lower()}"
    )


def inventory(
    *names: str,
    at: float = 0.0,
    size: str = SIZE,
    group: str = "agents",
    subscription: str = SUBSCRIPTION,
    interval: float = 600.0,
    spot: bool = False,
    windows: bool = False,
    computer_name: str | None = None,
) -> VmInventory:
    vms = tuple(
        VmInfo(
            vm_id(name, group, subscription),
            name,
            group,
            "eastus",
            size,
            T0 - 100.0,
            {},
            spot,
            windows,
            (computer_name,) if computer_name else (),
        )
        for name in names
    )
    return VmInventory(T0 + at, subscription, interval, vms)


def powers(
    at: float = 0.0,
    states: Mapping[str, str] | None = None,
    *,
    interval: float = 60.0,
    group: str = "agents",
    subscription: str = SUBSCRIPTION,
    since: float | None = None,
) -> VmPowerStates:
    """The power states by the machines' names."""
    rows = tuple(
        VmPowerState(vm_id(name, group, subscription), name, group, state, None if since is None else T0 + since)
        for name, state in (states or {}).items()
    )
    return VmPowerStates(T0 + at, subscription, interval, rows)


def price(usd: float | None, size: str = SIZE, at: float = 0.0, spot: bool = False) -> PriceSeen:
    return PriceSeen(T0 + at, PriceKey("eastus", size, spot), 86400.0, usd)


def box(
    name: str = "gpu", usd: float = 1.5, start: float = 0.0, stop: float | None = None, kind: str = "gpu_1x_a100"
) -> MachineDeclared:
    return MachineDeclared(name, "lambda_labs", kind, usd, T0 + start, None if stop is None else T0 + stop)


def fleet_of(*events: FleetEvent) -> FleetState:
    fleet = FleetState()
    for event in events:
        fleet.apply(event)
    return fleet


class Story:
    """Writes a run's events in the order in which they are told; each worker is its own writer."""

    def __init__(self, run_id: str = "run-a", at: float = 0.0) -> None:
        self.run_id = run_id
        self.events: list[Event] = [
            RunStarted(
                ts=T0 + at,
                seq=1,
                writer="main",
                run_id=run_id,
                benchmark="waa",
                model="claude",
                agent=None,
                tasks=(),
                total_tasks=None,
                attempts=1,
                budget_usd=None,
                baseline_run_id=None,
                tags={},
            )
        ]

    def _next(self) -> int:
        return len(self.events) + 1

    def worker(
        self,
        at: float,
        worker_id: str,
        state: str = "idle",
        vm: str | None = None,
        size: str | None = None,
        provider: str | None = None,
        rate: float | None = None,
    ) -> Story:
        self.events.append(
            WorkerState(
                ts=T0 + at,
                seq=self._next(),
                writer=worker_id,
                worker_id=worker_id,
                state=cast(WorkerStateName, state),
                vm=vm,
                vm_size=size,
                provider=provider,
                hourly_rate_usd=rate,
            )
        )
        return self

    def task(self, start: float, end: float | None, worker_id: str, task_id: str | None = None) -> Story:
        name = task_id or f"task-{len(self.events)}"
        self.events.append(
            TaskStarted(ts=T0 + start, seq=self._next(), writer=worker_id, task_id=name, attempt=1, worker_id=worker_id)
        )
        if end is not None:
            self.events.append(
                TaskFinished(
                    ts=T0 + end,
                    seq=self._next(),
                    writer=worker_id,
                    task_id=name,
                    attempt=1,
                    worker_id=worker_id,
                    outcome="success",
                    score=1.0,
                    steps=1,
                )
            )
        return self

    def end(self, at: float) -> Story:
        self.events.append(RunFinished(ts=T0 + at, seq=self._next(), writer="main", status="completed"))
        return self

    def run(self) -> RunState:
        return fold(self.run_id, "runlog", self.events)
