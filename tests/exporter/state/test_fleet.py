from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from evalgauge import metrics as m
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    Job,
    JobsSeen,
    PriceKey,
    PriceSeen,
    ProbeSeen,
    RateLimitSeen,
    Refreshed,
    RefreshFailed,
    RegisteredVm,
    RegistrySeen,
    Skipped,
    TunnelDeclared,
    VmInfo,
    VmInterruption,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views import fleet as views
from evalgauge_exporter.views.exposition import format_sample
from tests.exporter.machine_events import HOUR, SIZE, STALL, T0, Story, box, fleet_of, inventory, powers, price

Samples = dict[tuple[str, tuple[str, ...]], float | int]


def samples(fleet: FleetState, at: float = 0.0) -> Samples:
    """Every sample by name and label values; fails where two have the same."""
    found: Samples = {}
    for metric, values, value in views.collect_fleet_samples(fleet, T0 + at):
        assert format_sample(metric, values, value)
        assert (metric.name, tuple(values)) not in found
        found[metric.name, tuple(values)] = value
    return found


def named(found: Samples, metric: m.Metric) -> dict[tuple[str, ...], float | int]:
    return {values: value for (name, values), value in found.items() if name == metric.name}


def probed(
    ok: bool = True, at: float = 0.0, *, name: str = "waa-00", kind: str = "waa", configured: bool = True
) -> ProbeSeen:
    detail = "Service is operational" if ok else "connection refused"
    return ProbeSeen(T0 + at, name, kind, "20.1.2.3:5000", 30.0, ok, 0.25, detail, configured)


def job(
    job_id: str, status: str, created: float = 0.0, started: float | None = None, ended: float | None = None
) -> Job:
    began = None if started is None else T0 + started
    end = None if ended is None else T0 + ended
    url = f"https://ml.azure.com/{job_id}"
    return Job(job_id, f"job {job_id}", status, "Command", T0 + created, began, end, "gpu-cluster", url)


def jobs(*rows: Job, at: float = 0.0, scope: str = "sub/rg/ws") -> JobsSeen:
    counts = {"running": 0, "completed": 0}
    for row in rows:
        counts[row.status] += 1
    return JobsSeen(T0 + at, scope, "ws", 60.0, counts, rows)


WAA = RegisteredVm("waa-00", "20.1.2.3", "azureuser", 8006, 5000, "winarena", "localhost", None, None, None, None, None)


WAA_LABELS = ("waa-00", "agents", "agents", "azure")
GPU_LABELS = ("gpu", "lambda_labs", "lambda_labs", "lambda_labs")


def test_a_machine_has_its_power_state_its_size_and_its_price() -> None:
    found = samples(fleet_of(inventory("waa-00"), powers(0, {"waa-00": "stopped"}), price(0.226)))
    states = named(found, m.VM_POWER_STATE)
    assert {values[4]: value for values, value in states.items()} == {
        state: int(state == "stopped") for state in m.POWER_STATES
    }
    assert named(found, m.VM_INFO) == {(*WAA_LABELS, "eastus", SIZE): 1}
    assert named(found, m.VM_CREATED) == {WAA_LABELS: T0 - 100}
    assert named(found, m.VM_PRICE) == {(*WAA_LABELS, "azure retail prices"): 0.226}


def test_a_machine_without_a_price_has_no_price_series() -> None:
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), price(None))
    assert not named(samples(fleet), m.VM_PRICE)


def test_the_price_is_that_of_the_machines_kind() -> None:
    fleet = fleet_of(
        inventory("spot", spot=True),
        powers(0, {"spot": "running"}),
        price(0.2),
        price(0.05, spot=True),
    )
    assert list(named(samples(fleet), m.VM_PRICE).values()) == [0.05]


@pytest.mark.parametrize(("after", "shown"), [(179.0, True), (181.0, False)])
def test_what_azure_reported_vanishes_after_three_intervals(after: float, shown: bool) -> None:
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}), price(0.2))
    fleet.apply(RefreshFailed(T0 + 60, "azure_vm", "sub-1", 0.1, "server_error", "it answers 503"))
    found = samples(fleet, after)
    assert {bool(named(found, metric)) for metric in (m.VM_INFO, m.VM_POWER_STATE, m.VM_PRICE, m.VM_CREATED)} == {shown}
    assert named(found, m.SOURCE_UP) == {("azure_vm",): 0}
    assert named(found, m.SOURCE_ERRORS) == {("azure_vm", "server_error"): 1}


def test_an_old_inventory_hides_its_own_data_and_not_the_power_state() -> None:
    fleet = fleet_of(inventory("waa-00"), powers(1801, {"waa-00": "running"}), price(0.2))
    found = samples(fleet, 1801)
    assert named(found, m.VM_POWER_STATE)
    assert not named(found, m.VM_INFO)


def test_machines_come_back_when_azure_answers_again() -> None:
    fleet = fleet_of(inventory("waa-00"), powers(0, {"waa-00": "running"}))
    assert not named(samples(fleet, HOUR), m.VM_POWER_STATE)
    fleet.apply(powers(HOUR, {"waa-00": "running"}))
    assert named(samples(fleet, HOUR), m.VM_POWER_STATE)


def test_a_machine_that_vanished_has_no_series_and_keeps_its_history() -> None:
    fleet = fleet_of(inventory("a", "b"), powers(0, {"a": "running", "b": "running"}), powers(60, {"b": "running"}))
    assert {values[0] for values in named(samples(fleet, 60), m.VM_POWER_STATE)} == {"b"}
    gone = next(vm for vm in fleet.vms.values() if vm.name == "a")
    assert gone.changes == [(T0, "running"), (T0 + 60, "gone")]


def test_machines_of_two_subscriptions_with_one_name_and_group_have_different_labels() -> None:
    fleet = fleet_of(powers(0, {"waa": "running"}), powers(0, {"waa": "stopped"}, subscription="sub-2"))
    groups = {values[1] for values in named(samples(fleet), m.VM_POWER_STATE)}
    assert groups == {"sub-1/agents", "sub-2/agents"}


def test_a_change_is_dated_by_the_operation_that_made_it() -> None:
    fleet = fleet_of(
        powers(0, {"a": "running"}, since=-500.0),
        powers(60, {"a": "running"}, since=-500.0),
        powers(120, {"a": "deallocated"}, since=75.0),
        powers(180, {"a": "stopped"}, since=75.0),  # no operation since the last look: it is dated by this one
    )
    (vm,) = fleet.vms.values()
    assert vm.changes == [(T0 - 500, "running"), (T0 + 75, "deallocated"), (T0 + 180, "stopped")]


def test_the_history_of_a_restless_machine_is_bounded() -> None:
    fleet = fleet_of(*(powers(float(n), {"a": "running" if n % 2 else "stopped"}) for n in range(2500)))
    (vm,) = fleet.vms.values()
    assert len(vm.changes) == 1000
    assert vm.changes[-1] == (T0 + 2499, "running")


def test_prices_are_wanted_for_machines_that_are_there_and_that_nothing_else_prices() -> None:
    pool = WAA._replace(name="pool-0", size="Standard_E8s_v5", location="East US")
    fleet = fleet_of(
        inventory("a", "b", "gone", size=SIZE),
        powers(0, {"a": "running", "b": "running", "gone": "running"}),
        powers(60, {"a": "running", "b": "deallocated"}),
        box(),
        RegistrySeen(T0, "r", (WAA, pool)),
    )
    assert fleet.list_price_keys() == {PriceKey("eastus", SIZE), PriceKey("eastus", "Standard_E8s_v5")}


def test_a_declared_machine_is_shown_as_billing_until_its_stop() -> None:
    fleet = fleet_of(box("gpu", start=0, stop=HOUR))
    for at, state in ((60.0, "running"), (HOUR + 1, "deallocated")):
        found = samples(fleet, at)
        assert [values for values, value in named(found, m.VM_POWER_STATE).items() if value] == [(*GPU_LABELS, state)]
        assert named(found, m.VM_INFO) == {(*GPU_LABELS, "", "gpu_1x_a100"): 1}
        assert named(found, m.VM_PRICE) == {(*GPU_LABELS, "configuration"): 1.5}


def test_jobs_are_counted_by_status_while_they_are_fresh() -> None:
    fleet = fleet_of(jobs(job("a", "running"), job("b", "completed"), job("c", "completed")))
    assert named(samples(fleet), m.AZURE_ML_JOBS) == {("ws", "running"): 1, ("ws", "completed"): 2}
    assert not named(samples(fleet, 181), m.AZURE_ML_JOBS)


def test_workspaces_of_one_name_are_counted_together() -> None:
    fleet = fleet_of(jobs(job("a", "running")), jobs(job("b", "running"), scope="sub/other/ws"))
    assert named(samples(fleet), m.AZURE_ML_JOBS)["ws", "running"] == 2


def test_a_probe_has_its_result_and_its_duration() -> None:
    found = samples(fleet_of(probed(), probed(ok=False, kind="vnc")))
    assert named(found, m.PROBE_SUCCESS) == {("waa-00", "waa"): 1, ("waa-00", "vnc"): 0}
    assert named(found, m.PROBE_DURATION) == {("waa-00", "waa"): 0.25, ("waa-00", "vnc"): 0.25}
    assert not named(samples(fleet_of(probed()), 91), m.PROBE_SUCCESS)


def test_a_registrys_machine_is_called_silent_only_once_it_answered() -> None:
    fleet = fleet_of(probed(ok=False, configured=False))
    assert not named(samples(fleet), m.PROBE_SUCCESS)
    fleet.apply(probed(ok=True, configured=False))
    fleet.apply(probed(ok=False, configured=False))
    assert named(samples(fleet), m.PROBE_SUCCESS) == {("waa-00", "waa"): 0}


def test_a_source_is_up_where_all_its_places_are() -> None:
    fleet = fleet_of(
        powers(),
        Refreshed(T0, "azure_vm", "sub-1", 0.5),
        powers(5, subscription="sub-2"),
        Refreshed(T0 + 5, "azure_vm", "sub-2", 2.5),
        Skipped(T0, "azure_vm", "malformed"),
    )
    found = samples(fleet)
    assert named(found, m.SOURCE_UP) == {("azure_vm",): 1}
    assert named(found, m.SOURCE_LAST_SUCCESS) == {("azure_vm",): T0}
    assert named(found, m.SOURCE_REFRESH_DURATION) == {("azure_vm",): 2.5}
    assert named(found, m.SOURCE_ERRORS) == {("azure_vm", "malformed"): 1}
    fleet.apply(RefreshFailed(T0 + 60, "azure_vm", "sub-2", 0.1, "timeout", "no answer"))
    assert named(samples(fleet), m.SOURCE_UP) == {("azure_vm",): 0}


def test_a_place_that_never_answered_has_no_last_success() -> None:
    fleet = fleet_of(RefreshFailed(T0, "azure_ml", "ws", 0.1, "forbidden", "the role does not allow it"))
    assert not named(samples(fleet), m.SOURCE_LAST_SUCCESS)


SAME: list[VmInventory | VmPowerStates | PriceSeen | ProbeSeen | JobsSeen | Refreshed] = [
    inventory("a"),
    powers(0, {"a": "running"}),
    price(0.2),
    probed(),
    jobs(job("j", "running")),
    Refreshed(T0, "azure_vm", "sub-1", 0.5),
]


@pytest.mark.parametrize("event", SAME, ids=lambda event: type(event).__name__)
def test_what_is_seen_again_as_it_was_changes_no_version(
    event: VmInventory | VmPowerStates | PriceSeen | ProbeSeen | JobsSeen | Refreshed,
) -> None:
    fleet = fleet_of(*SAME)
    versions = fleet.version, fleet.costs_version
    fleet.apply(event._replace(ts=T0 + 60))
    assert (fleet.version, fleet.costs_version) == versions


@pytest.mark.parametrize(
    ("event", "costs"),
    [
        (inventory("a", size="Standard_E8s_v5"), True),
        (powers(60, {"a": "stopped"}), True),
        (powers(60), True),
        (powers(60, {"a": "running", "b": "running"}), True),
        (price(0.3), True),
        (box(), True),
        (RegistrySeen(T0, "r", (WAA,)), True),
        (probed(ok=False), False),
        (jobs(job("j", "completed")), False),
        (RefreshFailed(T0, "azure_vm", "sub-1", 0.5, "timeout", "no answer"), False),
        (TunnelDeclared("t", 5001, "a:5000"), False),
    ],
)
def test_what_is_new_changes_the_version_and_that_of_costs_where_it_bears_on_them(
    event: FleetEvent, costs: bool
) -> None:
    fleet = fleet_of(*SAME)
    version, costs_version = fleet.version, fleet.costs_version
    fleet.apply(event)
    assert fleet.version > version
    assert (fleet.costs_version > costs_version) is costs


def test_each_machine_says_how_many_runs_use_it_and_with_how_many_tasks() -> None:
    fleet = fleet_of(powers(0, {"busy": "running", "idle": "running", "left": "running", "none": "running"}), box())
    runs = [
        Story("a").worker(0, "w1", vm="busy").worker(0, "w2", vm="busy").task(0, None, "w1").task(0, None, "w2").run(),
        Story("b").worker(0, "v", vm="idle").run(),
        Story("c").worker(0, "u", vm="left").end(10).run(),
    ]
    found = {
        (metric, *labels[:2]): value
        for metric, labels, value in views.collect_machine_use_samples(fleet, runs, T0 + 60, STALL)
    }
    told = {name: (found[m.VM_RUNS, name, group], found[m.VM_BUSY_WORKERS, name, group]) for _, name, group in found}
    assert told == {"busy": (1, 2), "idle": (1, 0), "left": (0, 0), "none": (0, 0), "gpu": (2, 2)}


def test_each_of_several_machines_of_the_name_that_a_worker_gives_counts_as_used() -> None:
    fleet = fleet_of(
        powers(0, {"vm-1": "running", "left": "running"}, group="east", subscription="sub-1"),
        powers(0, {"VM-1": "running"}, group="west", subscription="sub-2"),
    )
    runs = [Story("a").worker(0, "w1", vm="vm-1").task(0, None, "w1").run(), Story("b").worker(0, "vm-1").run()]
    found = {
        (metric, *labels[:2]): value
        for metric, labels, value in views.collect_machine_use_samples(fleet, runs, T0 + 60, STALL)
    }
    assert {
        key[1:]: (value, found[m.VM_BUSY_WORKERS, *key[1:]]) for key, value in found.items() if key[0] is m.VM_RUNS
    } == {
        ("vm-1", "east"): (2, 1),
        ("VM-1", "west"): (2, 1),
        ("left", "east"): (0, 0),
    }


def test_each_of_several_machines_of_the_computer_name_that_a_worker_gives_counts_as_used() -> None:
    fleet = fleet_of(inventory("a", "b", computer_name="win11"), powers(0, {"a": "running", "b": "running"}))
    run = Story().worker(0, "w1", vm="WIN11").task(0, None, "w1").run()
    found = [(metric, value) for metric, _, value in views.collect_machine_use_samples(fleet, [run], T0 + 60, STALL)]
    assert found == [(m.VM_RUNS, 1), (m.VM_BUSY_WORKERS, 1)] * 2


def test_rate_limits_are_exposed_by_bucket_while_they_are_current() -> None:
    fleet = fleet_of(powers(0, {"a": "running"}), RateLimitSeen(T0, "sub-1", {"subscription-reads": 11999}))
    assert named(samples(fleet), m.AZURE_RATELIMIT) == {("sub-1", "subscription-reads"): 11999}
    assert not named(samples(fleet, HOUR), m.AZURE_RATELIMIT)


# -- /api

VM_KEYS = {
    "name",
    "ssh_host",
    "ssh_user",
    "vnc_port",
    "waa_port",
    "docker_container",
    "internal_ip",
    "status",
    "last_checked",
    "vnc_reachable",
    "waa_probe_status",
    "tunnels",
}
JOB_KEYS = {"job_id", "display_name", "status", "started_at", "azure_dashboard_url", "is_live"}
TASK_KEYS = {
    "task_id",
    "task_type",
    "status",
    "phase",
    "title",
    "description",
    "progress_percent",
    "elapsed_seconds",
    "metadata",
}


def plain(answer: object) -> object:
    """The answer as JSON carries it; fails where it can't."""
    return json.loads(json.dumps(answer, allow_nan=False))


def api_vms(fleet: FleetState, *runs: RunState, at: float = 0.0) -> list[dict[str, object]]:
    answer = views.list_vms(fleet, runs, T0 + at, STALL)
    assert plain(answer) == answer
    return answer


def test_machines_have_openadapts_keys_and_state_price_and_cost() -> None:
    fleet = fleet_of(
        inventory("waa-00"),
        powers(0, {"waa-00": "running"}),
        powers(HOUR, {"waa-00": "running"}),
        price(0.2),
        RegistrySeen(T0, "r", (WAA,)),
        TunnelDeclared("waa-00", 5001, "20.1.2.3:5000"),
        probed(at=HOUR),
        probed(ok=False, at=HOUR, kind="vnc"),
        probed(at=HOUR, kind="tunnel"),
    )
    run = Story("run-a").worker(0, "waa-00").task(0, None, "waa-00").worker(HOUR - 60, "waa-00", "busy").run()
    (row,) = api_vms(fleet, run, at=HOUR)
    assert set(row) >= VM_KEYS
    assert (row["ssh_host"], row["vnc_port"], row["waa_port"]) == ("20.1.2.3", 8006, 5000)
    assert (row["status"], row["vnc_reachable"], row["waa_probe_status"]) == ("online", False, "Service is operational")
    assert (row["power_state"], row["size"], row["location"]) == ("running", SIZE, "eastus")
    assert row["hourly_rate_usd"] == 0.2
    assert row["cost_usd"] == pytest.approx(0.2)
    assert row["cost_busy_usd"] == pytest.approx(0.2)
    assert row["run_ids"] == ["run-a"]
    assert list(row["tunnels"]) == ["waa-00"]  # type: ignore[call-overload]  # a mapping by name
    assert row["last_checked"] == "2026-11-21T20:40:00Z"


def test_a_machine_that_only_a_registry_names_has_nothing_made_up() -> None:
    (row,) = api_vms(fleet_of(RegistrySeen(T0, "r", (WAA,))))
    assert row["status"] == "unknown"
    for key in ("power_state", "hourly_rate_usd", "cost_usd", "size", "last_checked", "vnc_reachable"):
        assert row[key] is None


def test_a_power_state_that_is_too_old_is_not_shown() -> None:
    (row,) = api_vms(fleet_of(powers(0, {"a": "running"})), at=HOUR)
    assert row["power_state"] is None


def test_two_registries_add_up_to_one_machine() -> None:
    pool = RegisteredVm("waa-00", None, None, None, None, None, None, SIZE, "eastus", "agents", "ready", None)
    fleet = fleet_of(RegistrySeen(T0, "a", (WAA,)), RegistrySeen(T0, "b", (pool,)))
    (row,) = api_vms(fleet)
    assert (row["ssh_host"], row["size"]) == ("20.1.2.3", SIZE)
    fleet.apply(RegistrySeen(T0, "a", ()))
    (row,) = api_vms(fleet)
    assert row["ssh_host"] is None


def test_a_machine_that_is_gone_is_not_listed() -> None:
    assert api_vms(fleet_of(powers(0, {"a": "running"}), powers(60)), at=60) == []


def test_tunnels_say_whether_something_answers() -> None:
    fleet = fleet_of(
        TunnelDeclared("up", 5001, "a:5000"),
        TunnelDeclared("down", 5002, "b:5000"),
        TunnelDeclared("new", 5003, "c:5000"),
        probed(name="up", kind="tunnel"),
        probed(ok=False, name="down", kind="tunnel"),
    )
    answer = views.list_tunnels(fleet, T0)
    assert plain(answer) == answer
    assert {name: (row["active"], row["error"]) for name, row in answer.items()} == {
        "up": (True, None),
        "down": (False, "connection refused"),
        "new": (False, "not probed yet"),
    }
    assert answer["up"]["remote_endpoint"] == "a:5000"
    assert {"active", "local_port", "remote_endpoint", "pid", "error"} <= set(answer["up"])


def test_the_waa_server_that_answers_is_the_one_that_is_shown() -> None:
    fleet = fleet_of(
        RegistrySeen(T0, "r", (WAA,)),
        probed(ok=False, name="other"),
        probed(configured=False),
        probed(kind="tcp", name="third"),
    )
    answer = views.get_probe_vm(fleet, T0)
    assert plain(answer) == answer
    assert (answer["responding"], answer["vm_ip"], answer["container"]) == (True, "20.1.2.3", "winarena")
    assert answer["probe_result"] == "Service is operational"
    assert len(answer["probes"]) == 3
    assert not views.get_probe_vm(fleet, T0, "other")["responding"]


def test_without_probes_nothing_responds() -> None:
    answer = views.get_probe_vm(FleetState(), T0)
    assert (answer["responding"], answer["vm_ip"], answer["probes"]) == (False, None, [])


def test_the_newest_jobs_are_shown_with_their_duration() -> None:
    rows = [job(f"j{n}", "completed", created=float(n), started=float(n), ended=n + 600.0) for n in range(12)]
    live = job("live", "running", created=100.0, started=120.0)
    answer = views.list_azure_jobs(fleet_of(jobs(*rows, live)), T0 + 180)
    assert plain(answer) == answer
    assert [row["job_id"] for row in answer[:2]] == ["live", "j11"]
    assert len(answer) == 10
    assert set(answer[0]) >= JOB_KEYS
    assert (answer[0]["is_live"], answer[0]["duration_minutes"]) == (True, 1.0)
    assert (answer[1]["is_live"], answer[1]["duration_minutes"]) == (False, 10.0)


def test_background_work_is_runs_machines_and_containers() -> None:
    fleet = fleet_of(powers(0, {"new": "starting", "old": "running"}), probed(ok=False, at=0), probed(name="b"))
    run = Story("run-a").task(0, 30, "w").task(30, None, "w").run()
    answer = views.list_tasks(fleet, [run, Story("done").end(10).run()], T0 + 60, STALL)
    assert plain(answer) == answer
    told: Sequence[tuple[object, ...]] = [
        (row["task_id"], row["task_type"], row["status"], row["phase"]) for row in answer
    ]
    assert told == [
        ("run:run-a", "benchmark_run", "running", "evaluating"),
        ("vm:new", "vm_provision", "running", "starting"),
        ("waa:waa-00", "docker_container", "running", "waiting"),
        ("waa:b", "docker_container", "completed", "ready"),
    ]
    assert answer[0]["progress_percent"] == 50.0
    assert set(answer[0]) >= TASK_KEYS


def test_a_source_that_hangs_is_not_up_once_its_machines_are_too_old() -> None:
    fleet = fleet_of(powers(0, {"a": "running"}), Refreshed(T0, "azure_vm", "sub-1", 0.5))
    up = [named(samples(fleet, at=at), m.SOURCE_UP)["azure_vm",] for at in (180.0, 181.0)]
    assert up == [1, 0]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("10.0.0.4:5000", "10.0.0.4"),
        ("http://10.0.0.4:5000/probe", "10.0.0.4"),
        ("http://vm/", "vm"),
        ("[::1]:5000", "::1"),
        ("nothing", None),
    ],
)
def test_the_address_of_the_waa_server_is_its_host(target: str, host: str | None) -> None:
    fleet = fleet_of(ProbeSeen(T0, "vm", "waa", target, 30.0, True, 0.1, "ok", True))
    assert views.get_probe_vm(fleet, T0)["vm_ip"] == host


def test_probes_and_tunnels_belong_to_a_machine_whatever_their_case() -> None:
    fleet = fleet_of(
        inventory("waa-00"),
        powers(0, {"waa-00": "running"}),
        TunnelDeclared("Waa-00", 5001, "vm:5000"),
        ProbeSeen(T0, "WAA-00", "waa", "h:1", 30.0, True, 0.1, "ready", True),
    )
    (row,) = views.list_vms(fleet, [], T0, STALL)
    assert (row["status"], row["waa_probe_status"], list(row["tunnels"])) == ("online", "ready", ["Waa-00"])


def test_an_outage_of_one_subscription_renames_no_machine_of_another() -> None:
    fleet = fleet_of(
        powers(0, {"same": "running"}),
        powers(0, {"same": "running"}, subscription="sub-2"),
        powers(600, {"same": "running"}),
    )
    for at in (0.0, 600.0):
        assert ("same", "sub-1/agents") in {values[:2] for values in named(samples(fleet, at=at), m.VM_POWER_STATE)}
    assert {values[:2] for values in named(samples(fleet, at=600), m.VM_POWER_STATE)} == {("same", "sub-1/agents")}
    assert [row["subscription_id"] for row in views.list_vms(fleet, [], T0, STALL)] == ["sub-1", "sub-2"]


# -- several clouds


def aws_fleet(*names: str, state: str = "running", spot: bool = False) -> FleetState:
    """Instances of AWS in one region, of which some may have the same name."""
    ids = [f"i-{number:02}" for number in range(len(names))]
    infos = tuple(
        VmInfo(vm_id, name, "us-east-1", "us-east-1", "m5.xlarge", T0, {}, spot, False, zone="us-east-1a")
        for vm_id, name in zip(ids, names, strict=True)
    )
    states = tuple(VmPowerState(vm_id, name, "us-east-1", state, T0) for vm_id, name in zip(ids, names, strict=True))
    return fleet_of(
        VmInventory(T0, "default", 60.0, infos, "us-east-1", "aws"),
        VmPowerStates(T0, "default", 60.0, states, "us-east-1", "aws"),
    )


def test_machines_of_two_clouds_have_the_same_series_with_their_provider() -> None:
    fleet = aws_fleet("waa-00")
    fleet.apply(inventory("waa-00"))
    fleet.apply(powers(0, {"waa-00": "running"}))
    key = PriceKey("us-east-1", "m5.xlarge", provider="aws")
    fleet.apply(PriceSeen(T0, key, 86400.0, 0.192, "aws price list"))
    found = samples(fleet)
    assert set(named(found, m.VM_INFO)) == {
        (*WAA_LABELS, "eastus", SIZE),
        ("waa-00", "us-east-1", "us-east-1", "aws", "us-east-1", "m5.xlarge"),
    }
    assert named(found, m.VM_PRICE) == {("waa-00", "us-east-1", "us-east-1", "aws", "aws price list"): 0.192}
    assert fleet.list_price_keys("aws") == {key}
    assert fleet.list_price_keys() == {PriceKey("eastus", SIZE)}


def test_instances_that_share_a_name_have_their_ids_as_labels() -> None:
    found = samples(aws_fleet("pool", "pool", "single"))
    assert {values[0] for values in named(found, m.VM_INFO)} == {"i-00", "i-01", "single"}


def test_the_outage_of_one_list_hides_no_machine_of_another() -> None:
    fleet = aws_fleet("east")
    west = VmPowerState("i-99", "west", "eu-west-1", "running", T0)
    fleet.apply(VmPowerStates(T0, "default", 60.0, (west,), "eu-west-1", "aws"))
    fleet.apply(VmPowerStates(T0 + 600, "default", 60.0, (west,), "eu-west-1", "aws"))
    assert {values[0] for values in named(samples(fleet, 600), m.VM_POWER_STATE)} == {"west"}
    fleet.apply(Refreshed(T0 + 600, "aws_ec2", "default", 0.5))
    assert named(samples(fleet, 600), m.SOURCE_UP) == {("aws_ec2",): 0}


def test_a_list_that_lacks_a_machine_says_nothing_of_the_machines_of_another() -> None:
    fleet = aws_fleet("east")
    fleet.apply(VmPowerStates(T0, "default", 60.0, (), "eu-west-1", "aws"))
    assert [vm.state for vm in fleet.vms.values()] == ["running"]


def test_an_interruption_is_exposed_until_the_machine_runs_again() -> None:
    fleet = aws_fleet("spot", spot=True)
    fleet.apply(VmInterruption(T0, "i-00", T0 + 120, "marked-for-termination"))
    labels = ("spot", "us-east-1", "us-east-1", "aws")
    assert named(samples(fleet), m.VM_INTERRUPTION) == {labels: T0 + 120}
    (row,) = api_vms(fleet)
    assert row["interruption"] == {"at": "2026-11-21T19:42:00Z", "detail": "marked-for-termination"}
    assert (row["provider"], row["group"], row["instance_id"], row["spot"]) == ("aws", "us-east-1", "i-00", True)
    for at, state in ((60.0, "deallocated"), (120.0, "running")):
        power = VmPowerState("i-00", "spot", "us-east-1", state, None)
        fleet.apply(VmPowerStates(T0 + at, "default", 60.0, (power,), "us-east-1", "aws"))
    assert not named(samples(fleet, 120), m.VM_INTERRUPTION)


def test_a_machine_that_is_not_for_evaluations_can_cause_no_alert_unless_a_worker_is_on_it() -> None:
    fleet = fleet_of(inventory("web", "agent"), powers(0, {"web": "running", "agent": "running"}))
    for vm_id, info in fleet.inventory.items():
        fleet.inventory[vm_id] = info._replace(evaluation=info.name == "agent")
    run = Story("a").worker(0, "w1", vm="web").run()
    for runs, used in (([], {"agent"}), ([run], {"agent", "web"})):
        found = views.collect_machine_use_samples(fleet, runs, T0, STALL)
        assert {labels[0] for metric, labels, _ in found if metric is m.VM_RUNS} == used
    assert {values[0] for values in named(samples(fleet), m.VM_INFO)} == {"agent", "web"}  # listed all the same
    assert {row["name"]: row["evaluation"] for row in api_vms(fleet)} == {"agent": True, "web": False}
