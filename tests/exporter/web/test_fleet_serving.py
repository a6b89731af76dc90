"""The whole exporter with machines: what is configured is served, and what Azure does or says harms nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalgauge import metrics as m
from evalgauge_exporter.sources import polling as background
from evalgauge_exporter.web.server import serving
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import Samples, get, scrape, total, value
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, Fault, vm
from tests.exporter.sources.azure.test_prices import PriceList
from tests.exporter.sources.test_probe import find_closed_address
from tests.exporter.waiting import wait_for

MACHINE = {
    "name": "gpu",
    "provider": "lambda_labs",
    "instance_type": "gpu_1x_a100",
    "hourly_rate_usd": 1.29,
    "start": "2020-01-01T00:00:00Z",
}


def azure(server: ArmServer, **keys: object) -> dict[str, object]:
    return {"subscription_id": SUBSCRIPTION, "base_url": server.url, "credential": "none", **keys}


def of_azure(found: Samples) -> Samples:
    """What Azure alone can tell."""
    names = {m.VM_INFO.name, m.VM_POWER_STATE.name, m.VM_PRICE.name}
    return {key: number for key, number in found.items() if key[0] in names}


def scraped(url: str, condition: Callable[[Samples], object]) -> Samples:
    """/metrics once it is so."""
    return wait_for(lambda: [found for found in [scrape(url)] if condition(found)])[0]


def families(found: Samples) -> set[str]:
    """The names that have nothing to do with Azure."""
    return {name for name, _ in found if not name.startswith(("agent_eval_vm_", "agent_eval_azure_"))}


def test_machines_and_tunnels_of_the_configuration_are_served(tmp_path: Path) -> None:
    tunnel = {"name": "gpu", "local_port": int(find_closed_address().rpartition(":")[2]), "remote": "gpu:5000"}
    with serving(exporter_of(tmp_path, machine=[MACHINE], tunnel=[tunnel])) as url:
        found = scrape(url)
        assert value(found, m.VM_POWER_STATE.name, vm="gpu", state="running") == 1
        assert value(found, m.VM_PRICE.name, vm="gpu") == 1.29
        assert json.loads(get(f"{url}/api/tunnels")[1])["gpu"]["remote_endpoint"] == "gpu:5000"
        (row,) = json.loads(get(f"{url}/api/vms")[1])
    assert (row["name"], row["power_state"], row["billing"]) == ("gpu", "running", True)
    assert row["cost_busy_usd"] + row["cost_idle_usd"] + row["cost_unused_usd"] == pytest.approx(row["cost_usd"])


def test_hostile_text_of_a_registry_breaks_no_response(tmp_path: Path) -> None:
    rows = [
        {"name": name, "ssh_host": "127.0.0.1", "waa_port": 1} for name in ("\ud800", "\x1b[31m", "<script>", "a\nb")
    ]
    (tmp_path / "vm_registry.json").write_text(json.dumps(rows))
    with serving(exporter_of(tmp_path)) as url:
        wait_for(lambda: len(json.loads(get(f"{url}/api/probe-vm")[1])["probes"]) == 4)
        for path in ("api/vms", "api/probe-vm", "api/tunnels", "api/tasks", "api/azure-jobs", "metrics"):
            assert get(f"{url}/{path}")[0] == 200
        assert {row["name"] for row in json.loads(get(f"{url}/api/vms")[1])} == {"?", "\x1b[31m", "<script>", "a\nb"}


def test_an_azure_that_never_responds_delays_nothing(tmp_path: Path) -> None:
    small_run(tmp_path, outcomes="ss")
    server = ArmServer()
    server.fault = Fault(503)
    with server, PriceList() as prices:
        config = {"azure": [azure(server)], "prices": {"azure_retail_url": prices.url, "cache_dir": tmp_path / "cache"}}
        with serving(exporter_of(tmp_path, **config)) as url:
            found = scraped(
                url,
                lambda found: (
                    total(found, m.SOURCE_ERRORS.name) and total(found, m.RUN_TASKS.name, status="success") == 2
                ),
            )
            assert get(f"{url}/readyz")[0] == 200
    assert value(found, m.SOURCE_UP.name, source="azure_vm") == 0
    assert not of_azure(found)


def test_a_role_without_scale_set_rights_shows_machines_with_price_and_cost(tmp_path: Path) -> None:
    server = ArmServer([vm("waa-00")])
    server.refused["virtualMachineScaleSets"] = Fault(403)
    with server, PriceList() as prices:
        config = {"azure": [azure(server)], "prices": {"azure_retail_url": prices.url, "cache_dir": tmp_path / "cache"}}
        with serving(exporter_of(tmp_path, **config)) as url:
            found = scraped(url, lambda found: total(found, m.VM_PRICE.name))
            (row,) = json.loads(get(f"{url}/api/vms")[1])
    assert value(found, m.VM_PRICE.name, vm="waa-00", provider="azure") == 0.226
    assert value(found, m.VM_INFO.name, vm="waa-00", group="agents", size="Standard_D4ds_v5") == 1
    assert value(found, m.SOURCE_ERRORS.name, source="azure_vm", reason="forbidden") >= 1
    assert (row["size"], row["hourly_rate_usd"], row["power_state"]) == ("Standard_D4ds_v5", 0.226, "running")
    assert row["cost_usd"] is not None


def test_an_outage_of_azure_ends_its_series_and_changes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up, then down for longer than three intervals with a run being written meanwhile, then up again."""
    monkeypatch.setattr(background, "FIRST_BACKOFF", 0.2)
    monkeypatch.setattr(background, "MIDDLE_BACKOFF", 0.2)
    results = tmp_path / "results"
    run = small_run(results, outcomes="ss", finish=False)
    with ArmServer([vm("vm-0"), vm("vm-1"), vm("forgotten")]) as server, PriceList() as prices:
        config = {
            "azure": [azure(server, status_interval="1s", inventory_interval="1s")],
            "prices": {"azure_retail_url": prices.url, "cache_dir": tmp_path / "cache"},
        }
        with serving(exporter_of(results, **config)) as url:
            before = scraped(
                url,
                lambda found: (
                    total(found, m.VM_PRICE.name)
                    and total(found, m.RUN_TASKS.name, status="success") == 2
                    and not total(found, m.RUN_UNPRICED_MACHINES.name)  # until its price is there
                ),
            )
            assert value(before, m.SOURCE_UP.name, source="azure_vm") == 1

            server.fault = Fault(503)
            failures = total(scraped(url, lambda found: not of_azure(found)), m.SOURCE_ERRORS.name, source="azure_vm")
            with run.task("t2", domain="d0", worker="vm-0") as task:
                task.finish(success=True)
            during = scraped(
                url,
                lambda found: (
                    total(found, m.RUN_TASKS.name, status="success") == 3
                    and total(found, m.SOURCE_ERRORS.name, source="azure_vm") > failures + 2
                ),
            )
            assert not of_azure(during)
            assert value(during, m.SOURCE_UP.name, source="azure_vm") == 0
            assert families(during) >= families(before)
            vm_cost = {"run_id": "r", "component": "vm"}  # its workers still tell how long they had the machines
            assert value(during, m.RUN_COST.name, **vm_cost) > value(before, m.RUN_COST.name, **vm_cost)
            assert get(f"{url}/readyz")[0] == 200
            assert {row["power_state"] for row in json.loads(get(f"{url}/api/vms")[1])} == {None}

            server.fault = None
            after = scraped(url, lambda found: total(found, m.VM_PRICE.name))
            assert set(of_azure(after)) == set(of_azure(before))
            assert value(after, m.SOURCE_UP.name, source="azure_vm") == 1
    run.finish()
