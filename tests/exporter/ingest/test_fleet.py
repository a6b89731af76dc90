"""The fleet's sources working together, against servers on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evalgauge import metrics as m
from evalgauge_exporter.config.model import Config, load_config
from evalgauge_exporter.ingest.fleet import (
    FleetSources,
    declare_machine,
    list_configured_targets,
    list_registry_targets,
)
from evalgauge_exporter.sources.prices import PriceSource
from evalgauge_exporter.sources.vm_registry import VmRegistrySource
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.views.fleet import collect_fleet_samples, get_probe_vm
from tests.exporter.machine_events import T0
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, vm
from tests.exporter.sources.azure.test_ml_jobs import job
from tests.exporter.sources.azure.test_prices import PriceList
from tests.exporter.sources.test_probe import OK, answer_with, serve_tcp

MACHINE = {
    "name": "gpu",
    "provider": "lambda_labs",
    "instance_type": "gpu_1x_a100",
    "hourly_rate_usd": 1.29,
    "start": "2026-11-21T19:40:00Z",
}


class Running:
    """The sources of a configuration, and a way to wait for what they find."""

    def __init__(self, config: Config) -> None:
        self.fleet = FleetState()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.sources = FleetSources(config, self.fleet, self.lock, self._tell)

    def _tell(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 60)


@contextmanager
def running(config: Config) -> Iterator[Running]:
    fleet = Running(config)
    fleet.sources.start()
    try:
        yield fleet
    finally:
        fleet.sources.stop()


def test_a_new_machine_is_priced_and_shown(tmp_path: Path) -> None:
    with ArmServer([vm("waa-00")]) as server, PriceList() as prices:
        server.jobs = [job("a")]
        azure = {"subscription_id": SUBSCRIPTION, "base_url": server.url, "credential": "none"}
        config = load_config(
            azure=[azure],
            azure_ml=[{**azure, "resource_group": "ml", "workspace": "ws"}],
            prices={"azure_retail_url": prices.url, "cache_dir": tmp_path},
            machine=[MACHINE],
        )
        with running(config) as fleet:
            fleet.wait(lambda: bool(fleet.fleet.prices and fleet.fleet.jobs))
            with fleet.lock:
                at = max(event.ts for event in fleet.fleet.prices.values())
                found = {
                    (metric.name, values[0]): value for metric, values, value in collect_fleet_samples(fleet.fleet, at)
                }
    assert found[m.VM_PRICE.name, "waa-00"] == 0.226
    assert found[m.VM_PRICE.name, "gpu"] == 1.29
    assert found[m.AZURE_ML_JOBS.name, "ws"] is not None
    assert found[m.SOURCE_UP.name, "azure_vm"] == found[m.SOURCE_UP.name, "prices"] == 1


def test_a_registrys_machines_are_probed(tmp_path: Path) -> None:
    with serve_tcp(answer_with(OK)) as address:
        host, _, port = address.rpartition(":")
        row = {"name": "azure-waa-vm", "ssh_host": host, "waa_port": int(port), "docker_container": "winarena"}
        (tmp_path / "vm_registry.json").write_text(json.dumps([row]))
        with running(load_config(results=[tmp_path])) as fleet:
            fleet.wait(lambda: ("azure-waa-vm", "waa") in fleet.fleet.answered)
            with fleet.lock:
                at = fleet.fleet.probes["azure-waa-vm", "waa"].ts
                answer = get_probe_vm(fleet.fleet, at)
    assert (answer["responding"], answer["vm_ip"], answer["container"]) == (True, host, "winarena")


def test_tunnels_and_probes_of_the_configuration_are_probed() -> None:
    with serve_tcp(lambda connection: connection.recv(1)) as address:
        port = int(address.rpartition(":")[2])
        config = load_config(
            tunnel=[{"name": "waa-00", "local_port": port, "remote": "20.1.2.3:5000"}],
            probe=[{"name": "waa-00", "kind": "tcp", "target": address}],
        )
        with running(config) as fleet:
            fleet.wait(lambda: fleet.fleet.answered == {("waa-00", "tunnel"), ("waa-00", "tcp")})
    assert fleet.fleet.tunnels["waa-00"].remote == "20.1.2.3:5000"


def test_a_registry_adds_no_probe_where_the_configuration_has_one(tmp_path: Path) -> None:
    (tmp_path / "vm_registry.json").write_text('[{"name": "vm", "ssh_host": "h", "waa_port": 5000, "vnc_port": 8006}]')
    config = load_config(results=[tmp_path], probe=[{"name": "vm", "kind": "waa", "target": "127.0.0.1:5001"}])
    fleet = Running(config)
    next(source for source in fleet.sources.sources if isinstance(source, VmRegistrySource)).poll()
    targets = list_registry_targets(fleet.fleet, list_configured_targets(config))
    assert [(target.name, target.kind, target.target, target.configured) for target in targets] == [
        ("vm", "vnc", "h:8006", False)
    ]


def test_nobody_asks_for_prices_where_nothing_of_azure_is_configured(tmp_path: Path) -> None:
    def asks(config: Config) -> bool:
        return any(isinstance(source, PriceSource) for source in Running(config).sources.sources)

    assert not asks(load_config(results=[tmp_path]))
    assert asks(load_config(azure=[{"subscription_id": SUBSCRIPTION}]))
    assert asks(load_config(prices={"cache_dir": tmp_path}))


def test_no_change_is_signalled_where_nothing_changed(tmp_path: Path) -> None:
    (tmp_path / "vm_registry.json").write_text('[{"name": "vm"}]')
    told: list[int] = []
    fleet = FleetState()
    sources = FleetSources(
        load_config(results=[tmp_path]), fleet, threading.RLock(), lambda: told.append(fleet.version)
    )
    (registry,) = [source for source in sources.sources if isinstance(source, VmRegistrySource)]
    registry.poll()
    assert told == [1]
    registry.poll()
    assert told == [1]


def test_a_machine_of_the_configuration_has_its_times() -> None:
    (machine,) = load_config(machine=[MACHINE]).machine
    assert declare_machine(machine).start == T0
    assert declare_machine(machine).stop is None


@pytest.mark.parametrize("change", [{"start": "soon"}, {"stop": "never"}, {"stop": "2026-11-20T00:00:00Z"}])
def test_a_machine_whose_times_are_none_is_refused_with_its_name(change: dict[str, str]) -> None:
    (machine,) = load_config(machine=[{**MACHINE, **change}]).machine
    with pytest.raises(ValueError, match="machine 'gpu'"):
        declare_machine(machine)
