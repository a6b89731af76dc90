from __future__ import annotations

import pickle
from collections.abc import Iterable
from decimal import Decimal
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.price_overrides import MachineOverride, Overrides
from evalgauge.pricing import PriceTable
from evalgauge_exporter.analysis.machine_costs import MachineCosts, MachineRow, classify_component
from evalgauge_exporter.analysis.machine_usage import (
    MachineJoin,
    compute_fleet_machine_costs,
    compute_run_machine_costs,
)
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    RegisteredVm,
    RegistrySeen,
    VmInfo,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)
from evalgauge_exporter.state.run import RunState, unpriced
from tests.exporter.machine_events import HOUR, SIZE, STALL, T0, Story, box, fleet_of, inventory, powers, price, vm_id

NO_PRICES = PriceTable()
OWN = PriceTable(Overrides("overrides mine", machines=(MachineOverride("Standard_D4*", None, Decimal("0.5")),)))


def cost(
    run: RunState,
    fleet: FleetState | None = None,
    at: float = HOUR,
    prices: PriceTable = NO_PRICES,
    runs: Iterable[RunState] = (),
) -> MachineCosts:
    join = MachineJoin(list(runs) or [run], fleet or FleetState(prices), T0 + at, STALL)
    return compute_run_machine_costs(run, fleet, prices, T0 + at, STALL, join)


def only(costs: MachineCosts) -> MachineRow:
    (row,) = costs.rows
    return row


def whole(machine: str, fleet: FleetState, *runs: RunState, at: float) -> MachineRow:
    return next(row for _, row in compute_fleet_machine_costs(runs, fleet, T0 + at, STALL) if row.name == machine)


@pytest.mark.parametrize(
    ("provider", "kind", "component"),
    [
        ("azure", "Standard_D4ds_v5", "vm"),
        (None, "Standard_E8s_v5", "vm"),
        ("azure", "Standard_NC24ads_A100_v4", "gpu"),
        ("azure", "Standard_ND96isr_H100_v5", "gpu"),
        ("azure", "Standard_NV6ads_A10_v5", "gpu"),
        ("lambda_labs", "gpu_1x_a100", "gpu"),
        ("lambda_labs", "gpu_8x_h100_sxm5", "gpu"),
        ("lambda_labs", "cpu_4x_general", "vm"),
        ("aws", "p4d.24xlarge", "gpu"),
        ("aws", "g5.xlarge", "gpu"),
        ("aws", "m7i.large", "vm"),
        ("gcp", "a2-highgpu-1g", "gpu"),
        ("gcp", "g2-standard-4", "gpu"),
        ("gcp", "n2-standard-8", "vm"),
        ("runpod", "NVIDIA RTX4090", "gpu"),
        ("office", None, "vm"),
    ],
)
def test_a_machine_is_a_gpu_by_its_type(provider: str | None, kind: str | None, component: str) -> None:
    assert classify_component(provider, kind) == component


def test_a_worker_with_a_price_costs_from_its_first_word_to_the_end_of_the_run() -> None:
    run = (
        Story()
        .worker(0, "w", vm="waa-00", size=SIZE, provider="azure", rate=0.2)
        .task(0, 0.5 * HOUR, "w")
        .end(2 * HOUR)
        .run()
    )
    row = only(cost(run, at=50 * HOUR))
    assert (row.name, row.component, row.instance_type) == ("waa-00", "vm", SIZE)
    assert (row.busy_hours, row.idle_hours, row.unused_hours) == (0.5, 1.5, 0.0)
    assert row.cost_usd == pytest.approx(0.4)
    assert row.priced_by == "worker"


def test_a_worker_without_a_price_has_hours_and_no_cost() -> None:
    costs = cost(Story().worker(0, "w", vm="waa-00").task(0, HOUR, "w").end(HOUR).run())
    row = only(costs)
    assert (row.hours, row.cost_usd, row.hourly_rate_usd) == (1.0, None, None)
    assert costs.cost_usd("vm") is None
    assert costs.hours("vm") == 1.0
    assert costs.unpriced == (row,)


def test_a_mere_worker_id_is_not_a_machine() -> None:
    costs = cost(Story().task(0, HOUR, "thread-1").end(HOUR).run())
    assert not only(costs).named
    assert not costs.unpriced
    assert costs.list_known() == []


def test_what_is_known_is_summed_and_the_rest_is_named() -> None:
    run = Story().worker(0, "a", vm="a", rate=0.5).worker(0, "b", vm="b").end(HOUR).run()
    costs = cost(run)
    assert costs.cost_usd("vm") == pytest.approx(0.5)
    assert [row.name for row in costs.unpriced] == ["b"]


@pytest.mark.parametrize("end", ["stopped", "lost"])
def test_a_worker_that_ended_costs_no_more(end: str) -> None:
    run = Story().worker(0, "w", vm="m", rate=1.0).worker(HOUR, "w", end).worker(2.99 * HOUR, "other").run()
    rows = {row.name: row for row in cost(run, at=3 * HOUR).rows}
    assert rows["m"].hours == 1.0


@pytest.mark.parametrize("end", ["stopped", "lost"])
def test_the_time_from_a_workers_stop_to_its_return_costs_nothing(end: str) -> None:
    story = Story().worker(0, "w", vm="m", rate=1.0).worker(HOUR, "w", end).worker(9 * HOUR, "w", end)
    story.worker(10 * HOUR, "w").task(10 * HOUR, 10.5 * HOUR, "w")
    back = only(cost(story.run(), at=10.5 * HOUR + 60))
    assert back.hours == pytest.approx(1.5 + 60 / HOUR)
    assert (back.billing, back.busy_hours) == (True, 0.5)
    run = story.end(11 * HOUR).run()
    assert only(cost(run, at=50 * HOUR)).hours == pytest.approx(2.0)
    kept = RunState.restore(pickle.loads(pickle.dumps(run.dump(attempts=False))), "run-a", unpriced)
    assert cost(kept, at=50 * HOUR) == cost(run, at=50 * HOUR)


def test_the_silence_before_a_run_is_resumed_costs_nothing_and_a_short_one_does() -> None:
    def resumed(at: float) -> RunState:
        story = Story().worker(0, "w", vm="m", rate=1.0).task(0, HOUR, "w")
        again = Story("again").worker(at, "w", vm="m").task(at, at + HOUR, "w").events
        story.events += [msgspec.structs.replace(event, writer="second") for event in again[1:]]  # a process of its own
        return story.end(at + HOUR).run()

    assert only(cost(resumed(20 * HOUR), at=50 * HOUR)).hours == pytest.approx(2.0)
    assert only(cost(resumed(HOUR + STALL / 2), at=50 * HOUR)).hours == pytest.approx(2 + STALL / 2 / HOUR)


def test_a_dead_run_costs_up_to_its_last_word() -> None:
    run = Story().worker(0, "w", vm="m", rate=1.0).task(0, None, "w").worker(HOUR, "w", "busy").run()
    assert only(cost(run, at=HOUR + STALL + 1)).hours == 1.0
    assert only(cost(run, at=HOUR + STALL - 1)).hours == pytest.approx(1 + (STALL - 1) / HOUR)


def test_a_running_task_is_busy_time_up_to_now() -> None:
    run = Story().worker(0, "w", vm="m", rate=1.0).task(60, None, "w").run()
    row = only(cost(run, at=360))
    assert [row.busy_hours * HOUR, row.idle_hours * HOUR] == pytest.approx([300, 60])


def test_two_workers_on_one_machine_are_billed_once_and_busy_when_either_is() -> None:
    run = (
        Story()
        .worker(0, "a", vm="m", rate=2.0)
        .worker(0, "b", vm="m")
        .task(0, 1800, "a")
        .task(900, 2700, "b")
        .end(HOUR)
        .run()
    )
    row = only(cost(run))
    assert (row.busy_hours, row.idle_hours, row.cost_usd) == (0.75, 0.25, 2.0)


def test_the_users_table_wins_over_the_worker_and_the_worker_over_the_retail_price() -> None:
    run = Story().worker(0, "w", vm="waa-00", rate=0.3).end(HOUR).run()
    unsaid = Story().worker(0, "w", vm="waa-00").end(HOUR).run()
    events = (inventory("waa-00"), powers(0, {"waa-00": "running"}), price(0.2))
    assert only(cost(run, fleet_of(*events))).priced_by == "worker"
    assert only(cost(unsaid, fleet_of(*events))).hourly_rate_usd == 0.2
    assert only(cost(unsaid, fleet_of(*events))).priced_by == "azure retail prices"
    own = FleetState(OWN)
    for event in events:
        own.apply(event)
    row = only(cost(run, own))
    assert (row.hourly_rate_usd, row.priced_by) == (0.5, "overrides mine")


def test_without_a_fleet_the_users_table_still_prices() -> None:
    run = Story().worker(0, "w", vm="m", size=SIZE).end(HOUR).run()
    assert only(cost(run, prices=OWN)).cost_usd == 0.5


def test_a_price_of_three_days_ago_is_no_price() -> None:
    run = Story().worker(0, "w", vm="waa-00").end(HOUR).run()
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), price(0.2))
    assert only(cost(run, fleet, at=73 * HOUR)).cost_usd is None


def test_deallocated_time_is_free_and_stopped_time_is_not() -> None:
    run = Story().worker(0, "w", vm="waa-00").end(4 * HOUR).run()
    fleet = fleet_of(
        inventory("waa-00", at=0),
        powers(0, {"waa-00": "running"}),
        powers(1 * HOUR, {"waa-00": "stopped"}),
        powers(2 * HOUR, {"waa-00": "deallocating"}),
        powers(2.1 * HOUR, {"waa-00": "deallocated"}),
        powers(3 * HOUR, {"waa-00": "starting"}),
        powers(3.1 * HOUR, {"waa-00": "running"}),
        price(1.0),
    )
    assert only(cost(run, fleet, at=4 * HOUR)).hours == pytest.approx(3.0)


def test_before_the_first_power_state_the_worker_decides() -> None:
    run = Story().worker(0, "w", vm="waa-00", rate=1.0).end(4 * HOUR).run()
    fleet = fleet_of(*(powers(hour * HOUR, {"waa-00": "deallocated"}) for hour in (3, 4)))
    assert only(cost(run, fleet, at=4 * HOUR)).hours == pytest.approx(3.0)


def test_an_hour_without_azure_changes_nothing_in_a_runs_cost() -> None:
    run = Story().worker(0, "w", vm="waa-00", rate=1.0).task(0, None, "w").worker(2 * HOUR, "w", "busy").run()
    watched = fleet_of(powers(0, {"waa-00": "running"}), powers(2 * HOUR, {"waa-00": "running"}))
    outage = fleet_of(powers(0, {"waa-00": "running"}), powers(HOUR, {"waa-00": "running"}))
    assert only(cost(run, outage, at=2 * HOUR)) == only(cost(run, watched, at=2 * HOUR))


def test_a_worker_is_joined_by_its_id_where_it_names_no_machine() -> None:
    run = Story().worker(0, "waa-pool-00").end(HOUR).run()
    fleet = fleet_of(inventory("WAA-Pool-00"), powers(0, {"WAA-Pool-00": "running"}), price(0.2))
    row = only(cost(run, fleet))
    assert (row.name, row.instance_type, row.named) == ("WAA-Pool-00", SIZE, True)
    assert row.cost_usd == pytest.approx(0.2)


def test_a_worker_is_joined_by_a_registrys_name_and_address() -> None:
    pool = RegisteredVm(
        "waa-pool-01", "20.1.2.4", None, None, None, None, None, SIZE, "eastus", "agents", "ready", None
    )
    fleet = fleet_of(RegistrySeen(T0, "pool.json", (pool,)), price(0.2))
    by_id = Story().worker(0, "waa-pool-01").end(HOUR).run()
    by_address = Story().worker(0, "w", vm="20.1.2.4").end(HOUR).run()
    for run in (by_id, by_address):
        row = only(cost(run, fleet))
        assert (row.name, row.provider, row.instance_type) == ("waa-pool-01", "azure", SIZE)
        assert row.cost_usd == pytest.approx(0.2)


def test_a_worker_is_joined_by_the_machines_computer_name() -> None:
    fleet = fleet_of(inventory("vm-7", computer_name="winarena7"), powers(0, {"vm-7": "running"}), price(0.2))
    run = Story().worker(0, "w", vm="WINARENA7").end(HOUR).run()
    assert only(cost(run, fleet)).name == "vm-7"


def test_of_two_machines_with_one_name_the_one_that_bills_is_meant() -> None:
    run = Story().worker(0, "w", vm="waa").end(HOUR).run()
    one = [inventory("waa", group="a"), inventory("waa", group="b", size="Standard_E8s_v5", subscription="sub-2")]
    states = [
        powers(0, {"waa": "deallocated"}, group="a"),
        powers(0, {"waa": "running"}, group="b", subscription="sub-2"),
    ]
    assert only(cost(run, fleet_of(*one, *states))).instance_type == "Standard_E8s_v5"
    both = [powers(0, {"waa": "running"}, group="a"), powers(0, {"waa": "running"}, group="b", subscription="sub-2")]
    assert only(cost(run, fleet_of(*one, *both))).instance_type is None  # nobody can say


def test_a_declared_machine_bills_from_its_start_to_its_stop() -> None:
    run = Story().worker(0, "w", vm="gpu").task(0, 3 * HOUR, "w").end(3 * HOUR).run()
    costs = cost(run, fleet_of(box(start=HOUR, stop=2 * HOUR)), at=9 * HOUR)
    row = only(costs)
    assert (row.component, row.provider, row.hours, row.cost_usd) == ("gpu", "lambda_labs", 1.0, 1.5)
    assert costs.cost_usd("gpu") == 1.5
    assert costs.cost_usd("vm") is None


def test_a_declared_machine_that_no_worker_names_serves_the_runs_that_go_on() -> None:
    one = Story("one", 0).worker(0, "w", vm="waa-00").task(0, HOUR, "w").end(2 * HOUR).run()
    two = Story("two", HOUR).worker(HOUR, "v", vm="waa-01").end(3 * HOUR).run()
    fleet = fleet_of(box(usd=1.0, start=-HOUR))
    gpu = {
        run.run_id: next(row for row in cost(run, fleet, 9 * HOUR, runs=[one, two]).rows if row.name == "gpu")
        for run in (one, two)
    }
    assert gpu["one"].hours == gpu["two"].hours == pytest.approx(1.5)  # one hour alone, one shared
    assert gpu["one"].busy_hours == pytest.approx(0.75)  # of its two hours one with a task
    total = whole("gpu", fleet, one, two, at=4 * HOUR)
    assert (total.hours, total.busy_hours, total.idle_hours, total.unused_hours) == (5.0, 1.0, 2.0, 2.0)


def test_a_declared_machine_that_a_worker_of_another_run_names_is_not_shared() -> None:
    owner = Story("owner").worker(0, "w", vm="gpu").end(HOUR).run()
    other = Story("other").worker(0, "v", vm="waa-00").end(HOUR).run()
    rows = cost(other, fleet_of(box()), runs=[owner, other]).rows
    assert [row.name for row in rows] == ["waa-00"]


def test_runs_on_one_machine_at_a_time_share_it() -> None:
    one = Story("one").worker(0, "w", vm="m", rate=1.0).end(2 * HOUR).run()
    two = Story("two", HOUR).worker(HOUR, "w", vm="m", rate=1.0).end(3 * HOUR).run()
    hours = [only(cost(run, at=9 * HOUR, runs=[one, two])).hours for run in (one, two)]
    assert hours == [pytest.approx(1.5), pytest.approx(1.5)]


def test_a_machines_hours_are_split_in_busy_idle_and_unused() -> None:
    run = Story("r", HOUR).worker(HOUR, "w", vm="waa-00").task(HOUR, 1.5 * HOUR, "w").end(2 * HOUR).run()
    fleet = fleet_of(
        inventory("waa-00", "idle-box"),
        powers(0, {"waa-00": "running", "idle-box": "stopped"}),
        powers(4 * HOUR, {"waa-00": "running", "idle-box": "stopped"}),
        price(1.0),
    )
    row = whole("waa-00", fleet, run, at=4 * HOUR)
    assert (row.busy_hours, row.idle_hours, row.unused_hours) == (0.5, 0.5, 3.0)
    assert row.cost_usd == pytest.approx(4.0)
    assert not row.run_ids  # no run uses it now
    forgotten = whole("idle-box", fleet, run, at=4 * HOUR)
    assert forgotten.unused_hours == 4.0
    assert forgotten.cost_usd == pytest.approx(4.0)


@pytest.mark.parametrize(("state", "billing"), [("running", True), ("stopped", True), ("deallocated", False)])
def test_a_machine_bills_now_where_its_state_does(state: str, billing: bool) -> None:
    run = Story("r").worker(0, "w", vm="waa-00", rate=0.5).task(0, None, "w").run()
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), powers(60, {"waa-00": state}))
    (mine,) = cost(run, fleet, at=120).list_known()
    assert (mine.billing, mine.hourly_rate_usd, mine.component) == (billing, 0.5, "vm")
    assert whole("waa-00", fleet, run, at=120).billing is billing


def test_a_run_that_is_over_bills_no_more() -> None:
    run = Story().worker(0, "w", vm="m", rate=0.5).end(60).run()
    assert not only(cost(run, at=120)).billing


def test_the_run_that_uses_a_machine_now_is_named() -> None:
    run = Story("r").worker(0, "w", vm="waa-00").task(0, None, "w").run()
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}))
    assert whole("waa-00", fleet, run, at=60).run_ids == ("r",)


def test_a_machine_that_is_gone_cost_a_run_what_it_cost() -> None:
    run = Story().worker(0, "w", vm="waa-00").end(2 * HOUR).run()
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), powers(HOUR), price(1.0))
    assert only(cost(run, fleet, at=5 * HOUR)).cost_usd == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.integers(0, 7200), st.integers(1, 1800)), max_size=6),
    st.lists(st.sampled_from(["running", "stopped", "deallocated", "unknown", "starting"]), min_size=1, max_size=6),
)
def test_the_parts_of_a_machines_time_never_exceed_it(tasks: list[tuple[int, int]], states: list[str]) -> None:
    story = Story().worker(0, "w", vm="m", rate=1.0)
    end = 0
    for start, duration in tasks:
        story.task(end + start, end + start + duration, "w")
        end += start + duration
    run = story.end(end + 60).run()
    looks = [powers(number * 1800.0, {"m": state}) for number, state in enumerate(states)]
    fleet = fleet_of(inventory("m"), *looks)
    now = max(end + 60, 1800.0 * len(states))
    mine = only(cost(run, fleet, at=now))
    total = whole("m", fleet, run, at=now)
    assert 0 <= mine.busy_hours <= mine.hours + 1e-9
    assert mine.hours * HOUR <= end + 60 + 1e-6
    assert total.busy_hours + total.idle_hours == pytest.approx(mine.hours)
    assert total.hours * HOUR <= now + 1e-6


def test_tasks_of_two_runs_at_one_time_on_one_machine_count_once() -> None:
    one, two = (
        Story(name).worker(0, f"w-{name}", vm="waa-00").task(0, HOUR / 2, f"w-{name}").end(HOUR).run() for name in "ab"
    )
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), powers(2 * HOUR, {"waa-00": "running"}))
    row = whole("waa-00", fleet, one, two, at=2 * HOUR)
    assert (row.busy_hours, row.idle_hours, row.unused_hours) == (0.5, 0.5, 1.0)
    parts = [only(cost(run, fleet, at=2 * HOUR, runs=[one, two])) for run in (one, two)]
    assert sum(part.busy_hours for part in parts) == pytest.approx(row.busy_hours)
    assert sum(part.hours for part in parts) == pytest.approx(row.busy_hours + row.idle_hours)


def test_runs_whose_attempts_were_let_go_are_read_again_only_once() -> None:
    read: list[str] = []

    def story(name: str) -> RunState:
        return Story(name).worker(0, "w", vm="waa-00").task(0, HOUR / 2, "w").end(HOUR).run()

    def again(name: str) -> RunState:
        read.append(name)
        return story(name)

    runs = {name: story(name) for name in "ab"}
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}))
    for _ in range(3):
        for name, run in runs.items():
            run.unload(partial(again, name))
        assert whole("waa-00", fleet, *runs.values(), at=2 * HOUR).busy_hours == 0.5
    assert sorted(read) == ["a", "b"]


@pytest.mark.parametrize("name", ["GPU-Box", "gpu-box"])
def test_a_declared_machine_is_joined_whatever_the_case(name: str) -> None:
    run = Story().worker(0, name).end(HOUR).run()
    mine = only(cost(run, fleet_of(box("Gpu-box", 2.0)), at=HOUR))
    assert mine.name == "Gpu-box"
    assert mine.cost_usd == pytest.approx(2.0)


def test_a_machine_that_is_declared_discovered_and_named_by_a_worker_counts_once() -> None:
    """The cloud decides when it bills, the configuration what it costs."""
    row = RegisteredVm("pool-0", "10.0.0.5", None, None, None, None, None, None, None, None, None, None)
    info = VmInfo("i-01", "waa-00", "us-east-1", "us-east-1", "m5.xlarge", T0, {}, False, False, ("10.0.0.5",))
    states = (VmPowerState("i-01", "waa-00", "us-east-1", "running", T0),)
    fleet = fleet_of(
        box("WAA-00", usd=2.0, start=-HOUR),
        RegistrySeen(T0, "r", (row,)),
        VmInventory(T0, "default", 600.0, (info,), "us-east-1", "aws"),
        VmPowerStates(T0, "default", 2 * HOUR, states, "us-east-1", "aws"),
    )
    for name in ("waa-00", "pool-0", "10.0.0.5", "i-01", None):
        story = Story("a").worker(0, name or "waa-00", vm=name).task(0, HOUR, name or "waa-00").end(HOUR)
        run = story.run()
        (machine,) = fleet.list_machines()
        ((_, row_of_fleet),) = compute_fleet_machine_costs([run], fleet, T0 + HOUR, STALL)
        costs = cost(run, fleet, runs=[run])
        assert (machine.key, row_of_fleet.hours, row_of_fleet.cost_usd) == ("i-01", 1.0, 2.0), name
        assert [(found.key, found.cost_usd) for found in costs.rows] == [("i-01", 2.0)], name


def test_machines_of_two_clouds_that_share_a_name_are_two_and_a_worker_is_on_neither() -> None:
    info = VmInfo("i-01", "waa-00", "us-east-1", "us-east-1", "m5.xlarge", T0, {}, False, False)
    states = (VmPowerState("i-01", "waa-00", "us-east-1", "running", T0),)
    fleet = fleet_of(
        inventory("waa-00"),
        powers(0, {"waa-00": "running"}),
        VmInventory(T0, "default", 600.0, (info,), "us-east-1", "aws"),
        VmPowerStates(T0, "default", 60.0, states, "us-east-1", "aws"),
    )
    assert fleet.resolve("waa-00") is None
    assert {machine.key for machine in fleet.list_machines()} == {"i-01", vm_id("waa-00")}
    by_id = fleet.resolve("i-01")
    assert by_id is not None
    assert by_id.provider == "aws"
