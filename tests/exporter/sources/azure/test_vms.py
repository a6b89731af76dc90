"""Machines of Azure, read from a Resource Manager on 127.0.0.1."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.config.model import Azure
from evalgauge_exporter.sources import http, polling
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.azure.vms import ArmReader, AzureCloud, read_power_state
from evalgauge_exporter.sources.cloud import CloudSource
from evalgauge_exporter.sources.http import parse_retry_after
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    PriceKey,
    RateLimitSeen,
    Refreshed,
    RefreshFailed,
    VmInventory,
    VmPowerStates,
)
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, Fault, vm


class Watch:
    """A source, the events it emitted, and their fold."""

    def __init__(self, server: ArmServer, **keys: object) -> None:
        self.events: list[FleetEvent] = []
        self.fleet = FleetState()
        self.emitted = threading.Event()
        table = Azure.model_validate(
            {"subscription_id": SUBSCRIPTION, "base_url": server.url, "credential": "none", **keys}
        )
        self.cloud = AzureCloud(table)
        self.source = CloudSource(self.cloud, self._emit)

    def _emit(self, events: Iterable[FleetEvent]) -> None:
        for event in events:
            self.events.append(event)
            self.fleet.apply(event)
        self.emitted.set()

    def last(self, kind: type) -> FleetEvent:
        return next(event for event in reversed(self.events) if isinstance(event, kind))

    def states(self) -> dict[str, str]:
        return {one.name: one.state for one in self.fleet.vms.values()}

    def failed(self) -> RefreshFailed:
        event = self.events[-1]
        assert isinstance(event, RefreshFailed), event
        return event


@contextmanager
def watching(server: ArmServer, **keys: object) -> Iterator[Watch]:
    watch = Watch(server, **keys)
    with server:
        try:
            yield watch
        finally:
            watch.source.close()


def test_a_machine_is_joined_from_two_lists_that_disagree_on_case() -> None:
    server = ArmServer([vm("waa-00", group="Agents", tags={"team": "eval", "secret": "x"}, location="EastUS")])
    server.upper_case_status = True
    with watching(server, tags=["team"]) as watch:
        watch.source.poll()
    (known,) = watch.fleet.vms.values()
    info = watch.fleet.inventory[known.vm_id]
    assert (known.state, known.group) == ("running", "agents")
    assert (info.size, info.location, dict(info.tags)) == ("Standard_D4ds_v5", "eastus", {"team": "eval"})
    assert info.created_at == pytest.approx(1795161600.123456)  # 2026-11-20T08:00:00.123456Z, of date(1)
    assert isinstance(watch.events[-1], Refreshed)


@pytest.mark.parametrize("power", ["starting", "running", "stopping", "stopped", "deallocating", "deallocated"])
def test_every_power_state_comes_through(power: str) -> None:
    with watching(ArmServer([vm("a", power=power)])) as watch:
        watch.source.poll()
    assert watch.states() == {"a": power}


def test_a_machine_without_power_state_is_unknown() -> None:
    bare = vm("bare")
    del bare["properties"]["instanceView"]
    with watching(ArmServer([vm("a", power=None), vm("b", power="melting"), bare])) as watch:
        watch.source.poll()
    assert watch.states() == {"a": "unknown", "b": "unknown", "bare": "unknown"}


def test_all_pages_are_read_with_one_request_a_page() -> None:
    server = ArmServer([vm(f"waa-{number:03}") for number in range(250)], page_size=100)
    with watching(server) as watch:
        watch.source.poll()
        first = len(server.requests)
        watch.source.poll()
    assert len(watch.fleet.vms) == 250
    assert first == 3 + 1 + 3  # the inventory, the scale sets, the power states
    assert len(server.requests) - first == 3  # the inventory is not due again


def test_the_inventory_is_read_again_for_a_machine_that_it_lacks_but_once() -> None:
    server = ArmServer([vm("a")])
    with watching(server) as watch:
        watch.source.poll()
        server.vms.append(vm("b", size="Standard_NC24ads_A100_v4"))
        watch.source.poll()
        new = next(one for one in watch.fleet.vms.values() if one.name == "b")
        assert watch.fleet.inventory[new.vm_id].size == "Standard_NC24ads_A100_v4"
        inventories = server.requested("virtualMachines?") - server.requested("statusOnly")
        watch.source.poll()
        assert server.requested("virtualMachines?") - server.requested("statusOnly") == inventories


def test_a_machine_that_vanished_is_gone_at_the_next_look() -> None:
    server = ArmServer([vm("a"), vm("b")])
    with watching(server) as watch:
        watch.source.poll()
        del server.vms[0]
        watch.source.poll()
    assert watch.states() == {"a": "gone", "b": "running"}


def test_only_the_named_resource_groups_count_whatever_their_case() -> None:
    server = ArmServer([vm("a", group="AGENTS"), vm("b", group="other")])
    with watching(server, resource_groups=["Agents"]) as watch:
        watch.source.poll()
    assert watch.states() == {"a": "running"}
    seen = watch.last(VmInventory)
    assert isinstance(seen, VmInventory)
    assert [one.name for one in seen.vms] == ["a"]


def test_the_machines_of_a_scale_set_are_there_too_and_leave_with_it() -> None:
    server = ArmServer([vm("single")])
    member = vm("pool_0", size="Standard_D8s_v5")
    member["id"] = member["id"].replace("virtualMachines/pool_0", "virtualMachineScaleSets/pool/virtualMachines/0")
    server.scale_sets["pool"] = [member]
    with watching(server) as watch:
        watch.source.poll()
        assert watch.states() == {"single": "running", "pool_0": "running"}
        sizes = {one.name: watch.fleet.inventory[one.vm_id].size for one in watch.fleet.vms.values()}
        assert sizes["pool_0"] == "Standard_D8s_v5"
        server.faults.extend([Fault(200, body=b'{"value": []}'), Fault(404)])  # deleted between two inventories
        watch.source.poll()
        assert isinstance(watch.events[-1], Refreshed)
        assert watch.states()["pool_0"] == "gone"


@pytest.mark.parametrize(
    ("os_type", "properties", "spot", "windows"),
    [
        ("Linux", {}, False, False),
        ("Windows", {}, False, True),
        ("Windows", {"licenseType": "Windows_Server"}, False, False),  # brings its own licence
        ("Linux", {"priority": "Spot"}, True, False),
        ("Linux", {"priority": "Low"}, True, False),
        ("Linux", {"priority": "Regular"}, False, False),
    ],
)
def test_what_the_price_depends_on_is_read(os_type: str, properties: dict[str, str], spot: bool, windows: bool) -> None:
    with watching(ArmServer([vm("a", os_type=os_type, more=properties)])) as watch:
        watch.source.poll()
    (key,) = watch.fleet.list_price_keys()
    assert key == PriceKey("eastus", "Standard_D4ds_v5", spot, windows)


def test_the_first_state_is_known_since_the_last_operation() -> None:
    with watching(ArmServer([vm("a", since="2026-11-20T09:30:00.5000000+00:00")])) as watch:
        watch.source.poll()
    assert watch.fleet.vms.popitem()[1].changes == [(1795167000.5, "running")]


def test_too_many_requests_are_answered_by_waiting_as_long_as_asked() -> None:
    server = ArmServer([vm("a")])
    with watching(server, status_interval="1s") as watch:
        assert watch.source.poll() == 1.0
        server.faults.append(Fault(429, {"Retry-After": "77"}))
        requests = len(server.requests)
        assert watch.source.poll() == 77.0
        assert len(server.requests) == requests + 1  # not tried again by itself
        assert (watch.failed().reason, watch.fleet.health["azure_vm", SUBSCRIPTION].up) == ("throttled", False)
        assert watch.source.poll() == 1.0
    assert watch.fleet.health["azure_vm", SUBSCRIPTION].up
    assert watch.fleet.errors == {("azure_vm", "throttled"): 1}


def test_a_server_that_fails_is_asked_less_and_less_often() -> None:
    server = ArmServer([vm("a")])
    with watching(server, status_interval="60s", inventory_interval="1h") as watch:
        watch.source.poll()
        server.fault = Fault(503)
        waits = [watch.source.poll() for _ in range(5)]
        server.fault = None
        assert watch.source.poll() == 60.0
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]
    assert watch.fleet.errors["azure_vm", "server_error"] == 5
    assert watch.states() == {"a": "running"}  # what was known is kept; how long it is shown is for the views


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(401), "signed_out"),
        (Fault(403), "forbidden"),
        (Fault(404), "not_found"),
        (Fault(400), "refused"),
        (Fault(500), "server_error"),
        (Fault(200, body=b"<html>proxy</html>"), "malformed"),
        (Fault(200, body=b"[1, 2]"), "malformed"),
        (Fault(200, body=b'{"value": 7}'), "malformed"),
        (Fault(200, body=b'{"value": [{"id": '), "malformed"),
    ],
)
def test_an_answer_that_is_no_list_says_what_it_is(fault: Fault, reason: str) -> None:
    server = ArmServer([vm("a")])
    server.fault = fault
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == reason
    assert "\n" not in watch.failed().detail
    assert not watch.fleet.vms


def test_a_server_that_is_not_there_is_a_failure() -> None:
    server = ArmServer()
    with watching(server) as watch:
        pass
    watch.source.poll()
    watch.source.close()
    assert watch.failed().reason == "unreachable"


def test_a_server_that_is_too_slow_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "REQUEST_SECONDS", 0.2)
    server = ArmServer([vm("a")])
    server.hold = threading.Event()
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == "timeout"


def test_one_malformed_machine_does_not_hide_the_others() -> None:
    broken = vm("broken")
    broken["id"] = "no id of a machine"
    odd = vm("odd")
    odd["properties"]["hardwareProfile"] = None
    odd["properties"]["timeCreated"] = "yesterday"
    with watching(ArmServer([vm("a"), broken, odd])) as watch:
        watch.source.poll()
    assert watch.states() == {"a": "running", "odd": "running"}
    assert watch.fleet.errors["azure_vm", "malformed"] >= 1


def test_power_states_are_read_though_the_inventory_fails() -> None:
    server = ArmServer([vm("a")])
    server.faults.append(Fault(500))
    with watching(server) as watch:
        watch.source.poll()
    assert watch.states() == {"a": "running"}
    assert watch.failed().reason == "server_error"


def test_headroom_is_the_least_of_all_answers_and_slows_it_down() -> None:
    server = ArmServer([vm("a")])
    server.headers["x-ms-ratelimit-remaining-resource"] = (
        "Microsoft.Compute/HighCostGet3Min;159,Microsoft.Compute/HighCostGet30Min;12"
    )
    with watching(server, status_interval="60s") as watch:
        assert watch.source.poll() == 120.0
    seen = watch.last(RateLimitSeen)
    assert isinstance(seen, RateLimitSeen)
    assert seen.left == {
        "subscription-reads": 11999,
        "Microsoft.Compute/HighCostGet3Min": 159,
        "Microsoft.Compute/HighCostGet30Min": 12,
    }


def test_stopping_does_not_wait_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "STOP_SECONDS", 0.1)
    server = ArmServer([vm("a")])
    server.hold = threading.Event()
    with watching(server) as watch:
        watch.source.start()
        assert server.held.wait(60)
        watch.source.stop()
        server.hold.set()
        watch.source._thread.join()
    assert not watch.events  # what came after the stop is not told


def test_it_refreshes_in_the_background_until_it_is_stopped() -> None:
    server = ArmServer([vm("a")])
    with watching(server) as watch:
        watch.source.interval = 0.01
        watch.source.start()
        while sum(isinstance(event, VmPowerStates) for event in list(watch.events)) < 3:
            watch.emitted.clear()
            assert watch.emitted.wait(60)
        watch.source.stop()
    assert isinstance(watch.events[-1], Refreshed)


def test_a_machine_that_was_made_again_under_its_name_is_read_anew() -> None:
    server = ArmServer([vm("a"), vm("b")])
    with watching(server, inventory_interval="1h") as watch:
        watch.source.poll()
        server.vms = [vm("b")]
        watch.source.poll()
        server.vms = [vm("a", size="Standard_D8ds_v5"), vm("b")]
        watch.source.poll()
    assert {one.name: one.size for one in watch.fleet.inventory.values()} == {
        "a": "Standard_D8ds_v5",
        "b": "Standard_D4ds_v5",
    }


def test_only_the_named_tags_leave_azure_whatever_their_case() -> None:
    server = ArmServer([vm("a", tags={"Owner": "me", "password": "hunter2"})])
    with watching(server, tags=["owner", "team"]) as watch:
        watch.source.poll()
    assert [one.tags for one in watch.fleet.inventory.values()] == [{"owner": "me"}]
    assert "hunter2" not in repr(watch.events)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "77"}, 77.0),
        ({"Retry-After": "Sat, 21 Nov 2026 20:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 19:00:00 GMT"}, 0.0),
        ({"x-ms-retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_parsed_in_seconds_or_as_a_date(headers: dict[str, str], wait: float | None) -> None:
    assert parse_retry_after(headers, now=1_795_291_200.0) == wait


def test_a_pause_is_bounded_whatever_is_asked_for() -> None:
    server = ArmServer([vm("a")])
    server.fault = Fault(429, {"Retry-After": "99999999"})
    with watching(server) as watch:
        assert watch.source.poll() == 6 * 3600.0


@pytest.mark.parametrize("graph", [False, True])
def test_pages_that_lead_in_a_circle_come_to_an_end(graph: bool) -> None:
    server = ArmServer([vm("a"), vm("b")])
    server.circular = True
    with watching(server, resource_graph=graph, scale_sets=False) as watch:
        watch.source.poll()
    assert watch.failed().reason == "endless"
    assert "the pages of the list lead in a circle" in watch.failed().detail
    assert len(server.requests) <= 4
    assert not watch.fleet.vms


def test_a_list_that_does_not_end_is_bounded_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ROWS", 50)
    with watching(ArmServer([vm(f"vm-{n}") for n in range(60)], page_size=10)) as watch:
        watch.source.poll()
    assert watch.failed().reason == "endless"


def test_a_refresh_is_bounded_in_requests_empty_pages_included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "MAX_REQUESTS", 5)
    server = ArmServer([vm(f"vm-{n}") for n in range(30)], page_size=1)
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == "endless"
    assert len(server.requests) == 5


def test_a_refresh_is_bounded_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "REFRESH_SECONDS", 0.3)
    server = ArmServer([vm("a")])
    server.hold = threading.Event()
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == "timeout"


def test_an_answer_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 1000)
    server = ArmServer()
    server.fault = Fault(200, body=b" " * 2000)
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == "malformed"
    assert "larger than" in watch.failed().detail


def test_an_answer_that_is_cut_off_is_a_failure() -> None:
    server = ArmServer()
    server.fault = Fault(200, {"Content-Length": "500"}, b'{"value": [')
    with watching(server) as watch:
        watch.source.poll()
    assert watch.failed().reason == "malformed"
    assert "cut off" in watch.failed().detail
    assert not watch.fleet.vms


def test_the_next_page_is_never_asked_for_at_another_host() -> None:
    with ArmServer([vm("b")]) as other:
        server = ArmServer([vm("a")])
        server.elsewhere = f"{other.url}/subscriptions/x/virtualMachines"
        with watching(server) as watch:
            watch.source.poll()
        assert not other.requests
    assert watch.failed().reason == "malformed"
    assert "another host" in watch.failed().detail


def test_a_role_without_scale_set_rights_still_shows_the_machines() -> None:
    server = ArmServer([vm("a"), vm("b", power="deallocated")])
    server.refused["virtualMachineScaleSets"] = Fault(403)
    with watching(server, status_interval="60s", inventory_interval="1h") as watch:
        waits = [watch.source.poll() for _ in range(5)]
        assert watch.states() == {"a": "running", "b": "deallocated"}
        now = time.time()
        shown = {vm.name: watch.fleet.get_info(vm, now) for vm in watch.fleet.list_present_vms(now)}
    assert {info.size for info in shown.values() if info is not None} == {"Standard_D4ds_v5"}
    assert watch.fleet.list_price_keys() == {PriceKey("eastus", "Standard_D4ds_v5")}
    assert watch.failed().reason == "forbidden"
    assert "Microsoft.Compute/virtualMachineScaleSets/read" in watch.failed().detail
    assert waits == [60.0] * 5  # a longer pause would let the machines' data grow too old


@pytest.mark.parametrize(
    ("refused", "states", "sizes", "right"),
    [
        ("statusOnly", {"pool_0": "running"}, 2, "virtualMachines/read"),
        ("/virtualMachines?api", {"single": "running", "pool_0": "running"}, 1, "virtualMachines/read"),
        ("pool/virtualMachines", {"single": "running"}, 1, "virtualMachineScaleSets/virtualMachines/read"),
        ("instanceView", {"single": "running"}, 2, "virtualMachineScaleSets/virtualMachines/read"),
    ],
)
def test_each_list_succeeds_or_fails_by_itself(refused: str, states: dict[str, str], sizes: int, right: str) -> None:
    server = ArmServer([vm("single")])
    member = vm("pool_0")
    member["id"] = member["id"].replace("virtualMachines/pool_0", "virtualMachineScaleSets/pool/virtualMachines/0")
    server.scale_sets["pool"] = [member]
    if refused == "/virtualMachines?api":  # the inventory of the single machines alone
        server.faults.extend([answer_of(server, scale_sets=True), Fault(403)])
    else:
        server.refused[refused] = Fault(403)
    with watching(server) as watch:
        watch.source.poll()
    assert watch.states() == states
    assert len(watch.fleet.inventory) == sizes
    assert (watch.failed().reason, right in watch.failed().detail) == ("forbidden", True)


def answer_of(server: ArmServer, *, scale_sets: bool) -> Fault:
    """The right answer, to stand in the queue of faults."""
    prefix = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute"
    return Fault(200, {}, server._body(f"{prefix}/virtualMachineScaleSets"))


def test_too_many_requests_end_the_whole_refresh() -> None:
    server = ArmServer([vm("a")])
    server.faults.append(Fault(429, {"Retry-After": "77"}))
    with watching(server, status_interval="1s") as watch:
        assert watch.source.poll() == 77.0
    assert len(server.requests) == 1
    assert watch.failed().reason == "throttled"


def test_without_scale_sets_none_are_asked_for() -> None:
    server = ArmServer([vm("a")])
    with watching(server, scale_sets=False) as watch:
        watch.source.poll()
    assert not server.requested("virtualMachineScaleSets")
    assert isinstance(watch.events[-1], Refreshed)


def test_one_query_of_the_resource_graph_stands_for_all_lists() -> None:
    server = ArmServer([vm(f"waa-{n:03}", power="deallocated" if n else "running") for n in range(250)], page_size=100)
    member = vm("pool_0")
    member["id"] = member["id"].replace("virtualMachines/pool_0", "virtualMachineScaleSets/pool/virtualMachines/0")
    server.scale_sets["pool"] = [member]
    with watching(server, resource_graph=True) as watch:
        watch.source.poll()
        assert len(server.requests) == 3
        states = watch.states()
    assert len(states) == 251
    assert (states["waa-000"], states["waa-001"], states["pool_0"]) == ("running", "deallocated", "running")
    assert len(watch.fleet.inventory) == 251
    assert server.bodies[0]["subscriptions"] == [SUBSCRIPTION]
    assert isinstance(watch.events[-1], Refreshed)


@pytest.mark.parametrize(
    ("tags", "evaluation"),
    [({}, False), ({"Purpose": "EVAL"}, True), ({"purpose": "web"}, False), ({"benchmark": "waa"}, True)],
)
def test_a_machine_is_for_evaluations_where_a_tag_says_so(tags: dict[str, str], evaluation: bool) -> None:
    with watching(ArmServer([vm("a", tags=tags)]), evaluation_tags=["purpose=eval", "Benchmark"]) as watch:
        watch.source.poll()
    assert [info.evaluation for info in watch.fleet.inventory.values()] == [evaluation]


def test_without_evaluation_tags_every_machine_is_for_evaluations() -> None:
    with watching(ArmServer([vm("a")])) as watch:
        watch.source.poll()
    assert [info.evaluation for info in watch.fleet.inventory.values()] == [True]


@pytest.mark.parametrize("name", ["waa-00", "worker-7", "WIN11", "11aa-22bb"])
def test_a_worker_is_found_by_name_by_tag_by_computer_name_and_by_id(name: str) -> None:
    machine = vm("waa-00", tags={"evalgauge-worker": "worker-7"}, more={"vmId": "11aa-22bb"})
    machine["properties"]["osProfile"]["computerName"] = "win11"
    with watching(ArmServer([machine, vm("other")]), worker_tag="evalgauge-worker") as watch:
        watch.source.poll()
    for reported in (name, machine["id"]):
        found = watch.fleet.resolve(reported)
        assert found is not None
        assert found.name == "waa-00"


def test_times_of_a_clock_that_differs_are_corrected() -> None:
    server = ArmServer([vm("a", since="2026-11-20T09:30:00+00:00")])
    server.clock = 7200.0
    with watching(server) as watch:
        watch.source.poll()
    ((since, _),) = watch.fleet.vms.popitem()[1].changes
    assert since == pytest.approx(1795167000.0 - 7200.0, abs=5.0)


def test_access_is_checked_by_asking_and_names_the_rights() -> None:
    server = ArmServer([vm("a")])
    server.refused["virtualMachineScaleSets"] = Fault(403)
    with watching(server) as watch:
        found = {access.what: access.reason for access in watch.cloud.check_access()}
        assert watch.cloud.identify() == "no sign-in is needed"
    assert found == {
        "Microsoft.Compute/virtualMachines/read": None,
        "Microsoft.Compute/virtualMachines/read (power states)": None,
        "Microsoft.Compute/virtualMachineScaleSets/read": "forbidden",
    }


def test_a_thousand_machines_take_twenty_one_requests_and_then_ten() -> None:
    server = ArmServer([vm(f"waa-{number:04}") for number in range(1000)], page_size=100)
    with watching(server) as watch:
        watch.source.poll()
        first = len(server.requests)
        watch.source.poll()
    assert (first, len(server.requests) - first) == (21, 10)
    assert len(watch.fleet.vms) == len(watch.fleet.inventory) == 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = (
    "hardwareProfile",
    "storageProfile",
    "osProfile",
    "instanceView",
    "timeCreated",
    "licenseType",
    "priority",
)
KEYS = ("id", "name", "location", "tags", "sku")


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON),
    st.dictionaries(st.sampled_from(PROPERTIES), JSON) | JSON,
    st.booleans(),
)
def test_a_row_of_any_kind_is_read_or_left_out_and_never_a_defect(
    row: dict[str, object], properties: object, has_id: bool
) -> None:
    cloud = AzureCloud(
        Azure(subscription_id=SUBSCRIPTION, credential="none", tags=("a",), worker_tag="w", evaluation_tags=("x=y",))
    )
    if has_id:
        row["id"] = vm("a")["id"]
    with cloud.client.open() as session:
        reader = ArmReader(cloud, session)
        for convert in (cloud.read_vm, read_power_state):
            for found in reader.convert(iter([{**row, "properties": properties}, properties]), convert):
                assert found is None or found.vm_id
