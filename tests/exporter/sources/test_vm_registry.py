"""The registry files that OpenAdapt 0.98.0 itself wrote, and what becomes of broken ones."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from evalgauge_exporter.sources import vm_registry as registries
from evalgauge_exporter.sources.vm_registry import VmRegistrySource, read_registry
from evalgauge_exporter.state.fleet_events import FleetEvent, Refreshed, RefreshFailed, RegistrySeen

WRITTEN = Path(__file__).parents[2] / "data" / "infra_formats"


class Watch:
    """A source and what it emitted at its last look."""

    def __init__(self, *roots: Path) -> None:
        self.source = VmRegistrySource(roots, self._emit)
        self.events: list[FleetEvent] = []

    def _emit(self, events: object) -> None:
        self.events = list(events)  # type: ignore[call-overload]  # a sequence of events

    def look(self) -> dict[str, list[str]]:
        self.source.poll()
        return {
            Path(event.path).name: [machine.name for machine in event.machines]
            for event in self.events
            if isinstance(event, RegistrySeen)
        }


def put(folder: Path, name: str, content: str, age: float = 60.0) -> Path:
    file = folder / name
    file.write_text(content)
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def test_a_list_of_machines_is_read_with_its_ports() -> None:
    (machine,) = read_registry(WRITTEN / "vm_registry.json")
    assert (machine.name, machine.host, machine.ssh_user) == ("azure-waa-vm", "20.1.2.3", "azureuser")
    assert (machine.vnc_port, machine.waa_port) == (8006, 5000)
    assert (machine.docker_container, machine.internal_ip) == ("winarena", "localhost")
    assert machine.size is None


def test_a_pool_is_read_with_its_size_and_region() -> None:
    machines = read_registry(WRITTEN / "vm_pool_registry.json")
    assert [machine.name for machine in machines] == ["waa-pool-00", "waa-pool-01", "waa-pool-02"]
    first = machines[0]
    assert (first.size, first.location, first.resource_group) == ("Standard_D4ds_v5", "eastus", "openadapt-agents")
    assert (first.host, first.ssh_user, first.status) == ("20.1.2.3", "azureuser", "running")
    assert first.current_task == "chrome:2ae9ba84-3a0d-4d4c-8338-3a1478dc5fe3-wos"


def test_a_paused_pool_is_not_probed(tmp_path: Path) -> None:
    pool = json.loads((WRITTEN / "vm_pool_registry.json").read_text())
    machines = read_registry(put(tmp_path, "vm_pool_registry.json", json.dumps({**pool, "status": "paused"})))
    assert {(machine.waa_port, machine.vnc_port) for machine in machines} == {(None, None)}


def test_of_a_name_that_is_there_twice_the_last_holds(tmp_path: Path) -> None:
    rows = [{"name": "vm", "ssh_host": "a"}, {"name": "vm", "ssh_host": "b"}]
    (machine,) = read_registry(put(tmp_path, "vm_registry.json", json.dumps(rows)))
    assert machine.host == "b"


def test_rows_and_fields_of_the_wrong_type_are_left_out(tmp_path: Path) -> None:
    rows = ["text", {}, {"name": ""}, {"name": 7}, {"name": "vm", "ssh_host": 5, "waa_port": "5000", "vnc_port": 70000}]
    (machine,) = read_registry(put(tmp_path, "vm_registry.json", json.dumps(rows)))
    assert machine.name == "vm"
    assert (machine.host, machine.waa_port, machine.vnc_port) == (None, None, None)


def test_registries_are_found_in_a_served_folder_and_directly_below(tmp_path: Path) -> None:
    below = tmp_path / "benchmark_results"
    below.mkdir()
    shutil.copy(WRITTEN / "vm_registry.json", tmp_path)
    shutil.copy(WRITTEN / "vm_pool_registry.json", below)
    watch = Watch(tmp_path)
    assert watch.look() == {
        "vm_registry.json": ["azure-waa-vm"],
        "vm_pool_registry.json": ["waa-pool-00", "waa-pool-01", "waa-pool-02"],
    }
    assert isinstance(watch.events[-1], Refreshed)


def test_a_registry_below_is_followed_once_it_was_found(tmp_path: Path) -> None:
    below = tmp_path / "benchmark_results"
    below.mkdir()
    file = put(below, "vm_registry.json", '[{"name": "a"}]')
    watch = Watch(tmp_path)
    assert watch.look() == {"vm_registry.json": ["a"]}
    put(below, "vm_registry.json", '[{"name": "a"}, {"name": "b"}]')
    assert watch.look() == {"vm_registry.json": ["a", "b"]}
    file.unlink()
    assert watch.look() == {"vm_registry.json": []}


def test_folders_that_come_later_are_found_within_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(tmp_path)
    watch.look()
    (tmp_path / "new").mkdir()
    put(tmp_path / "new", "vm_registry.json", '[{"name": "a"}]')
    assert watch.look() == {}
    monkeypatch.setattr(registries, "SEARCH_SECONDS", 0.0)
    assert watch.look() == {"vm_registry.json": ["a"]}


def test_an_unchanged_registry_is_not_emitted_again(tmp_path: Path) -> None:
    put(tmp_path, "vm_registry.json", '[{"name": "a"}]')
    watch = Watch(tmp_path)
    assert watch.look() == {"vm_registry.json": ["a"]}
    assert watch.look() == {}
    put(tmp_path, "vm_registry.json", '[{"name": "a"}, {"name": "b"}]')
    assert watch.look() == {"vm_registry.json": ["a", "b"]}


def test_a_registry_that_is_deleted_has_no_machines_any_more(tmp_path: Path) -> None:
    file = put(tmp_path, "vm_registry.json", '[{"name": "a"}]')
    watch = Watch(tmp_path)
    watch.look()
    file.unlink()
    assert watch.look() == {"vm_registry.json": []}
    assert watch.look() == {}


@pytest.mark.parametrize(
    "content", ["", "{", "7", '"text"', "{}", '{"workers": 3}', "\x00", pytest.param("[" * 100_000, id="nested")]
)
def test_a_broken_registry_is_a_failure_once_and_hides_no_other(tmp_path: Path, content: str) -> None:
    put(tmp_path, "vm_registry.json", content)
    put(tmp_path, "vm_pool_registry.json", '{"workers": [{"name": "p"}]}')
    watch = Watch(tmp_path)
    assert watch.look() == {"vm_pool_registry.json": ["p"]}
    failed = watch.events[-1]
    assert isinstance(failed, RefreshFailed)
    assert failed.reason == "malformed"
    watch.look()
    assert isinstance(watch.events[-1], Refreshed)


def test_a_registry_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    below = tmp_path / "benchmark_results"
    below.mkdir()
    put(below, "vm_registry.json", '[{"name": ', age=0.0)
    assert watch.look() == {}
    assert isinstance(watch.events[-1], Refreshed)
    put(below, "vm_registry.json", '[{"name": "a"}]', age=0.0)
    assert watch.look() == {"vm_registry.json": ["a"]}


def test_a_folder_that_is_not_there_has_no_registries(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "nowhere")
    assert watch.look() == {}
    assert isinstance(watch.events[-1], Refreshed)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vm_registry.json")
    put(tmp_path, "vm_pool_registry.json", '{"workers": [{"name": "p"}]}')
    assert Watch(tmp_path).look() == {"vm_pool_registry.json": ["p"]}


def test_half_a_character_in_a_name_is_replaced(tmp_path: Path) -> None:
    (machine,) = read_registry(put(tmp_path, "vm_registry.json", '[{"name": "\\ud800x", "ssh_host": "h"}]'))
    assert machine.name == "?x"
