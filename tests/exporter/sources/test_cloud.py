"""The interface of clouds, with a cloud that a plug-in adds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources import cloud as clouds
from evalgauge_exporter.sources.cloud import Cloud, CloudReader, CloudSource, load_cloud, matches_tags
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    Refreshed,
    RefreshFailed,
    VmInfo,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)

NOW = 1_795_290_000.0


class Sky(Cloud):
    """A cloud whose lists a test sets."""

    provider = "sky"

    def __init__(self, account: str, lists: dict[str, dict[str, str] | RefreshError] | None = None) -> None:
        self.scope = account
        self.lists = lists if lists is not None else {"north": {"a": "running"}}
        self.parts_error: RefreshError | None = None
        self.skew = 0.0
        self.inventories = 0

    @contextmanager
    def open(self) -> Iterator[CloudReader]:
        yield SkyReader(self)

    def identify(self) -> str:
        return f"signed in as {self.scope}"


class SkyReader(CloudReader):
    def __init__(self, sky: Sky) -> None:
        self.sky = sky
        self.skew = sky.skew

    def list_parts(self) -> Iterator[str]:
        yield from self.sky.lists
        if self.sky.parts_error is not None:
            raise self.sky.parts_error

    def _read(self, part: str) -> dict[str, str]:
        found = self.sky.lists[part]
        if isinstance(found, RefreshError):
            raise found
        return found

    def read_inventory(self, part: str) -> Iterator[VmInfo | None]:
        self.sky.inventories += 1
        for name in self._read(part):
            yield VmInfo(f"{part}/{name}", name, part, part, "small", NOW, {}, False, False)

    def read_states(self, part: str) -> Iterator[VmPowerState | None]:
        for name, state in self._read(part).items():
            yield VmPowerState(f"{part}/{name}", name, part, state, NOW)


def poll(source: CloudSource, events: list[FleetEvent]) -> float:
    events.clear()
    return source.poll()


def make(sky: Sky) -> tuple[CloudSource, list[FleetEvent]]:
    events: list[FleetEvent] = []
    return CloudSource(sky, events.extend), events


def refuse(part: str, reason: str = "forbidden", retry_after: float | None = None) -> RefreshError:
    return RefreshError(reason, f"{part} is {reason}", retry_after)


def test_a_cloud_of_a_plug_in_is_read_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("sky", f"{__name__}:Sky", clouds.ENTRY_POINTS)
    monkeypatch.setattr(clouds, "entry_points", lambda group: EntryPoints([point]))
    sky = load_cloud("sky", {"account": "mine"})
    fleet = FleetState()
    events: list[FleetEvent] = []
    CloudSource(sky, events.extend).poll()
    for event in events:
        fleet.apply(event)
    (vm,) = fleet.vms.values()
    assert (vm.name, vm.provider, vm.scope, vm.state) == ("a", "sky", "sky/mine", "running")
    assert fleet.health["cloud", "sky/mine"].up
    with pytest.raises(ValueError, match=r"kind 'sea': there is no such plug-in \(sky\)"):
        load_cloud("sea", {})
    with pytest.raises(ValueError, match="kind 'sky': TypeError"):
        load_cloud("sky", {"colour": "blue"})


def test_a_plug_in_that_is_no_cloud_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("dict", "builtins:dict", clouds.ENTRY_POINTS)
    monkeypatch.setattr(clouds, "entry_points", lambda group: EntryPoints([point]))
    with pytest.raises(ValueError, match="returns no Cloud"):
        load_cloud("dict", {})


def test_a_list_that_fails_hides_no_other_and_all_failures_are_named() -> None:
    sky = Sky("mine", {"north": {"a": "running"}, "south": refuse("south"), "east": refuse("east"), "west": {}})
    source, events = make(sky)
    assert poll(source, events) == 60.0
    states = {event.part: event.powers for event in events if isinstance(event, VmPowerStates)}
    assert set(states) == {"north", "west"}
    failed = events[-1]
    assert isinstance(failed, RefreshFailed)
    assert failed.detail == "south is forbidden; east is forbidden"


def test_when_everything_fails_the_pauses_grow() -> None:
    source, events = make(Sky("mine", {"north": refuse("north", "server_error")}))
    assert [poll(source, events) for _ in range(3)] == [60.0, 120.0, 240.0]


def test_too_many_requests_end_the_refresh_though_a_part_succeeded() -> None:
    sky = Sky("mine", {"north": {"a": "running"}, "south": refuse("south", "throttled", 500.0), "east": {}})
    source, events = make(sky)
    assert poll(source, events) == 500.0
    assert not [event for event in events if isinstance(event, VmPowerStates) and event.part == "east"]


def test_lists_that_were_found_before_an_error_and_those_known_from_before_are_read() -> None:
    sky = Sky("mine", {"north": {"a": "running"}})
    source, events = make(sky)
    sky.inventory_interval = 0.0
    poll(source, events)
    sky.parts_error = refuse("the list of lists")
    sky.lists["south"] = {"b": "running"}
    assert poll(source, events) == 60.0
    assert {event.part for event in events if isinstance(event, VmPowerStates)} == {"north", "south"}


def test_the_machines_of_a_list_that_is_gone_are_gone_and_hold_nothing_up() -> None:
    sky = Sky("mine", {"north": {"a": "running"}, "south": {"b": "running"}})
    sky.inventory_interval = 0.0
    source, events = make(sky)
    fleet = FleetState()
    for _ in range(2):
        poll(source, events)
        for event in events:
            fleet.apply(event)
        sky.lists.pop("south", None)
    assert {vm.name: vm.state for vm in fleet.vms.values()} == {"a": "running", "b": "gone"}
    (last,) = [event for event in events if isinstance(event, Refreshed)]
    assert fleet.is_current("cloud", "mine", last.ts)
    (empty,) = [event for event in events if isinstance(event, VmPowerStates) and event.part == "south"]
    assert empty.interval == math.inf


def test_the_inventory_is_read_when_it_is_due_or_lacks_a_machine() -> None:
    sky = Sky("mine")
    source, events = make(sky)
    poll(source, events)
    poll(source, events)
    assert sky.inventories == 1
    found = sky.lists["north"]
    assert isinstance(found, dict)
    found["b"] = "running"
    poll(source, events)
    (inventory,) = [event for event in events if isinstance(event, VmInventory)]
    assert {vm.name for vm in inventory.vms} == {"a", "b"}
    poll(source, events)
    assert sky.inventories == 2


@pytest.mark.parametrize(("skew", "since"), [(1.0, NOW), (-3.0, NOW), (3600.0, NOW + 3600.0), (-60.0, NOW - 60.0)])
def test_times_are_corrected_where_the_clocks_differ_by_more_than_some_seconds(skew: float, since: float) -> None:
    sky = Sky("mine")
    sky.skew = skew
    source, events = make(sky)
    poll(source, events)
    (states,) = [event for event in events if isinstance(event, VmPowerStates)]
    (inventory,) = [event for event in events if isinstance(event, VmInventory)]
    assert (states.powers[0].since, inventory.vms[0].created_at) == (since, since)


def test_access_is_checked_list_by_list() -> None:
    sky = Sky("mine", {"north": {"a": "running"}, "south": refuse("south")})
    assert {access.what: access.reason for access in sky.check_access()} == {
        "inventory north": None,
        "power states north": None,
        "inventory south": "forbidden",
        "power states south": "forbidden",
    }


@pytest.mark.parametrize(
    ("wanted", "tags", "matches"),
    [
        ((), {}, True),
        (("a",), {"a": "x"}, True),
        (("a",), {"b": "x"}, False),
        (("a=x",), {"a": "X"}, True),
        (("a=x", "B"), {"b": ""}, True),
        (("a=x",), {"a": "y"}, False),
    ],
)
def test_tags_match_by_name_or_by_name_and_value(wanted: tuple[str, ...], tags: dict[str, str], matches: bool) -> None:
    assert matches_tags(wanted, tags) is matches
