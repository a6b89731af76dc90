from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from evalgauge import track_run
from evalgauge_exporter.cli.doctor_checks import Finding, check_all
from evalgauge_exporter.config.model import Config, load_config
from tests.exporter.cli.invoking import evalgauge
from tests.exporter.runs import small_run
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, Fault, vm
from tests.exporter.sources.azure.test_ml_jobs import job
from tests.exporter.sources.azure.test_prices import PriceList
from tests.exporter.sources.test_probe import OK, answer_with, find_closed_address, serve_tcp


def config(tmp_path: Path, text: str = "", **given: object) -> Config:
    file = tmp_path / "evalgauge.toml"
    file.write_text(text)
    given.setdefault("listen", "127.0.0.1:0")
    return load_config(file, **given)


def found(settings: Config, what: str) -> Finding:
    """The one finding whose subject begins so."""
    (finding,) = [finding for finding in check_all(settings) if finding.what.startswith(what)]
    assert (finding.fix is None) is (finding.ok is True)
    assert "\n" not in finding.what + finding.detail + (finding.fix or "")
    return finding


def test_a_folder_is_described_by_its_runs_and_by_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "results" / "notes").mkdir(parents=True)
    settings = config(tmp_path, 'results = ["results"]')
    finding = found(settings, "results")
    assert (finding.ok, finding.detail) == (None, "no run is recognised in it")
    small_run(tmp_path / "results", "mine")
    runs, others = [finding for finding in check_all(settings) if finding.what.startswith("results")]
    assert (runs.ok, runs.detail) == (True, "1 run (1 runlog)")
    assert (others.ok, others.detail) == (None, "no run is recognised in notes")


def test_the_command_checks_the_folders_that_it_is_given(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "mine")
    done = evalgauge("doctor", tmp_path / "results")
    assert f"results {tmp_path / 'results'}: 1 run (1 runlog)" in done.stdout


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    finding = found(config(tmp_path, 'results = ["nowhere", "evalgauge.toml"]'), f"results {tmp_path / 'nowhere'}")
    assert (finding.ok, finding.detail) == (False, "there is no such folder")
    finding = found(config(tmp_path, 'results = ["nowhere", "evalgauge.toml"]'), f"results {tmp_path / 'evalgauge'}")
    assert (finding.ok, finding.detail) == (False, "it is a file")


def test_without_a_folder_it_says_where_to_name_one(tmp_path: Path) -> None:
    assert found(config(tmp_path), "results").ok is None


def test_a_free_address_is_good(tmp_path: Path) -> None:
    assert found(config(tmp_path, listen=find_closed_address()), "listen").ok is True


def test_an_address_that_is_taken_is_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        threading.Thread(target=lambda: taken.accept()[0].close(), daemon=True).start()
        finding = found(config(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}"), "listen")
    assert (finding.ok, finding.detail) == (False, "address already in use")


def test_an_exporter_that_runs_there_already_is_no_error(tmp_path: Path) -> None:
    with serve_tcp(answer_with(b"HTTP/1.0 200 OK\r\n\r\nok\n")) as address:
        assert found(config(tmp_path, listen=address), "listen").ok is None


def test_listening_to_the_world_without_a_token_is_worth_a_look(tmp_path: Path) -> None:
    assert found(config(tmp_path, listen="0.0.0.0:0"), "token_file").ok is None
    assert not [one for one in check_all(config(tmp_path)) if one.what.startswith("token_file")]


@pytest.mark.parametrize(
    ("content", "mode", "ok"), [("s" * 24, 0o600, True), ("s" * 24, 0o644, None), ("s", 0o600, False)]
)
def test_a_token_file_holds_a_token_for_one_user(tmp_path: Path, content: str, mode: int, ok: bool | None) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    os.chmod(file, mode)
    assert found(config(tmp_path, 'token_file = "token"'), "token_file").ok is ok


def test_a_token_file_that_is_not_there_is_to_be_written(tmp_path: Path) -> None:
    assert found(config(tmp_path, 'token_file = "token"'), "token_file").ok is False


def test_price_overrides_are_read(tmp_path: Path) -> None:
    text = '[prices]\noverrides = "prices.toml"'
    assert found(config(tmp_path, text), "prices.overrides").ok is False
    (tmp_path / "prices.toml").write_text('[[machine]]\nmatch = "gpu*"\nusd_per_hour = 1.5\n')
    finding = found(config(tmp_path, text), "prices.overrides")
    assert (finding.ok, finding.detail) == (True, "prices 0 models and 1 machines")
    (tmp_path / "prices.toml").write_text("[[machine]]\nmatch = 3\n")
    assert found(config(tmp_path, text), "prices.overrides").ok is False


MACHINE = """
[[machine]]
name = "{name}"
provider = "lambda_labs"
instance_type = "gpu_1x_a100"
hourly_rate_usd = 1.29
start = "{start}"
"""


def test_declared_machines_have_times_that_are_some(tmp_path: Path) -> None:
    good, bad = MACHINE.format(name="a", start="2026-11-01T00:00:00Z"), MACHINE.format(name="b", start="soon")
    backwards = MACHINE.format(name="c", start="2026-11-02") + 'stop = "2026-11-01"\n'
    settings = config(tmp_path, good + bad + backwards)
    assert [found(settings, f"machine {name}").ok for name in "abc"] == [True, False, False]
    assert "write it as" in found(settings, "machine b").detail


def test_names_that_are_there_twice_are_found(tmp_path: Path) -> None:
    twice = MACHINE.format(name="a", start="2026-11-01T00:00:00Z") * 2
    assert [finding.ok for finding in check_all(config(tmp_path, twice)) if finding.what == "machine a"].count(
        False
    ) == 1
    probes = f'[[probe]]\nname = "p"\nkind = "tcp"\ntarget = "{find_closed_address()}"\n' * 2
    assert any("have this name" in finding.detail for finding in check_all(config(tmp_path, probes)))


def azure(server: ArmServer, prices: PriceList, tmp_path: Path, more: str = "") -> str:
    return (
        f'[prices]\nazure_retail_url = "{prices.url}"\ncache_dir = "cache"\n'
        f'[[azure]]\nsubscription_id = "{SUBSCRIPTION}"\nbase_url = "{server.url}"\ncredential = "none"\n{more}'
    )


def test_a_subscription_that_works_is_counted_and_its_prices_found(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with ArmServer([vm("a"), vm("b", size="Standard_X1")]) as server, PriceList() as prices:
        findings = list(check_all(config(tmp_path, azure(server, prices, tmp_path))))
    told = {finding.what: (finding.ok, finding.detail) for finding in findings}
    assert told[f"azure {SUBSCRIPTION} credentials"] == (True, "no sign-in is needed")
    assert told[f"azure {SUBSCRIPTION} Microsoft.Compute/virtualMachines/read"] == (True, "2 entries")
    assert told[f"azure {SUBSCRIPTION} Microsoft.Compute/virtualMachineScaleSets/read"] == (True, "0 entries")
    assert told[f"azure {SUBSCRIPTION} machines"] == (True, "2 machines, the power state of 2")
    assert told["price of Standard_D4ds_v5 in eastus"] == (True, "0.226 USD an hour")
    assert told["price of Standard_X1 in eastus"] == (False, "azure retail prices: there is none")
    assert not [finding for finding in findings if finding.what.startswith("prices.cache_dir")]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "sign in"), (403, "role"), (404, "names"), (429, "wait"), (500, "later")]
)
def test_each_refusal_of_a_subscription_has_a_fix(tmp_path: Path, status: int, words: str) -> None:
    server = ArmServer()
    server.fault = Fault(status)
    with server, PriceList() as prices:
        findings = list(check_all(config(tmp_path, azure(server, prices, tmp_path))))
    refused = [one for one in findings if one.what.startswith(f"azure {SUBSCRIPTION} Microsoft.Compute")]
    assert len(refused) == 3
    assert all(one.ok is False and words in (one.fix or "") for one in refused)


def test_a_subscription_that_shows_nothing_is_worth_a_look(tmp_path: Path) -> None:
    with ArmServer() as server, PriceList() as prices:
        assert found(config(tmp_path, azure(server, prices, tmp_path)), f"azure {SUBSCRIPTION} machines").ok is None


def test_a_resource_group_without_machines_is_worth_a_look(tmp_path: Path) -> None:
    with ArmServer([vm("a")]) as server, PriceList() as prices:
        settings = config(tmp_path, azure(server, prices, tmp_path, 'resource_groups = ["Agents", "typo"]\n'))
        (finding,) = [finding for finding in check_all(settings) if "resource group" in finding.what]
    assert (finding.what, finding.ok) == (f"azure {SUBSCRIPTION} resource group typo", None)


def test_a_price_list_that_is_down_is_found(tmp_path: Path) -> None:
    with ArmServer([vm("a")]) as server, PriceList() as prices:
        prices.faults.append(Fault(503))
        finding = found(config(tmp_path, azure(server, prices, tmp_path)), "prices")
    assert finding.ok is False


def test_signing_in_where_there_is_nothing_to_sign_in_with_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential

    def refuse(*_: object, **__: object) -> None:
        raise ClientAuthenticationError("no way to sign in is set up\nEnvironmentCredential: no")

    monkeypatch.setattr(DefaultAzureCredential, "get_token", refuse)
    settings = config(tmp_path, f'[[azure]]\nsubscription_id = "{SUBSCRIPTION}"\n')
    finding = found(settings, f"azure {SUBSCRIPTION}")
    assert finding.ok is False
    assert "az login" in (finding.fix or "")


def test_a_workspace_is_counted_or_refused(tmp_path: Path) -> None:
    server = ArmServer()
    server.jobs = [job("a"), job("b", "Completed")]
    text = (
        f'[[azure_ml]]\nsubscription_id = "{SUBSCRIPTION}"\nresource_group = "ml"\nworkspace = "ws"\n'
        f'base_url = "{server.url}"\ncredential = "none"\n'
    )
    with server:
        told = {finding.what: finding for finding in check_all(config(tmp_path, text))}
        assert (told["azure_ml ws"].ok, told["azure_ml ws"].detail) == (True, "2 jobs")
        server.fault = Fault(404)
        told = {finding.what: finding for finding in check_all(config(tmp_path, text))}
    assert told["azure_ml ws"].ok is False


def test_probes_and_tunnels_are_tried(tmp_path: Path) -> None:
    with serve_tcp(answer_with(OK)) as address:
        text = (
            f'[[probe]]\nname = "up"\nkind = "waa"\ntarget = "{address}"\n'
            f'[[probe]]\nname = "down"\nkind = "waa"\ntarget = "{find_closed_address()}"\n'
            f'[[probe]]\nname = "odd"\nkind = "tcp"\ntarget = "no port"\n'
            f'[[tunnel]]\nname = "waa"\nlocal_port = {find_closed_address().rpartition(":")[2]}\nremote = "vm:5000"\n'
        )
        settings = config(tmp_path, text)
        assert found(settings, "probe up").ok is True
        assert found(settings, "probe down").detail == "connection refused"
        assert "write host:port" in found(settings, "probe odd").detail
        assert found(settings, "tunnel waa").ok is False


def test_it_says_which_configuration_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    first, *_ = check_all(settings, tmp_path / "evalgauge.toml")
    assert (first.what, first.ok) == (f"configuration {tmp_path / 'evalgauge.toml'}", True)
    monkeypatch.chdir(tmp_path)
    first, *_ = check_all(settings)
    assert (first.ok, first.fix) == (None, "name it: --config evalgauge.toml")
    (tmp_path / "evalgauge.toml").unlink()
    assert found(settings, "configuration").ok is True


def test_a_variable_that_is_no_key_is_worth_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_LISTN", "hunter2")
    monkeypatch.setenv("EVALGAUGE_LIMITS__RUNS", "3")
    monkeypatch.setenv("EVALGAUGE_PORT", "9909")  # docker compose has it
    finding = found(config(tmp_path), "environment")
    assert (finding.what, finding.ok) == ("environment EVALGAUGE_LISTN", None)
    assert "EVALGAUGE_LISTEN" in (finding.fix or "")
    assert "hunter2" not in repr(finding)


def test_registries_of_the_served_folders_are_counted(tmp_path: Path) -> None:
    settings = config(tmp_path, 'results = ["results"]')
    (tmp_path / "results").mkdir()
    file = tmp_path / "results" / "vm_registry.json"
    file.write_text('[{"name": "a"}, {"name": "b"}]')
    assert found(settings, "registry").detail == "2 machines"
    file.write_text("{}")
    os.utime(file, (1.0, 1.0))
    finding = found(settings, "registry")
    assert finding.ok is False
    assert str(file) in finding.detail


def test_a_folder_for_received_runs_needs_a_token_and_can_be_made(tmp_path: Path) -> None:
    assert found(config(tmp_path, 'receive = "in"'), "receive").ok is False
    (tmp_path / "token").write_text("s" * 24)
    assert found(config(tmp_path, 'receive = "deep/in"\ntoken_file = "token"'), "receive").ok is True
    assert not (tmp_path / "deep").exists()
    assert found(config(tmp_path, 'receive = "token/in"\ntoken_file = "token"'), "receive").ok is False


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2-hunter2-hunter2")
    target = "http://me:hunter2@127.0.0.1:1/?key=hunter2"
    text = f'token_file = "token"\n[[probe]]\nname = "p"\nkind = "http"\ntarget = "{target}"\n'
    assert "hunter2" not in repr(list(check_all(config(tmp_path, text))))


def test_a_price_that_is_cached_and_looked_up_again_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with ArmServer([vm("a")]) as server, PriceList() as prices:
        settings = config(tmp_path, azure(server, prices, tmp_path))
        list(check_all(settings))
        file = tmp_path / "cache" / "azure-retail-prices.json"
        kept = {name: {**entry, "at": time.time() - 90_000} for name, entry in json.loads(file.read_text()).items()}
        file.write_text(json.dumps(kept))
        assert found(settings, "price of").detail == "0.226 USD an hour"


def test_a_right_that_is_missing_is_named_and_the_machines_are_counted_all_the_same(tmp_path: Path) -> None:
    server = ArmServer([vm("a")])
    server.refused["virtualMachineScaleSets"] = Fault(403)
    with server, PriceList() as prices:
        told = {one.what: one for one in check_all(config(tmp_path, azure(server, prices, tmp_path)))}
    right = told[f"azure {SUBSCRIPTION} Microsoft.Compute/virtualMachineScaleSets/read"]
    assert (right.ok, "docs/azure.md" in (right.fix or "")) == (False, True)
    assert told[f"azure {SUBSCRIPTION} Microsoft.Compute/virtualMachines/read"].ok is True
    assert told[f"azure {SUBSCRIPTION} machines"].detail == "1 machines, the power state of 1"


def test_a_plug_in_that_is_not_installed_is_found(tmp_path: Path) -> None:
    finding = found(config(tmp_path, '[[cloud]]\nkind = "elsewhere"\n'), "cloud")
    assert finding.ok is False
    assert "no such plug-in" in finding.detail


def test_a_baseline_that_a_run_names_has_to_exist_whether_one_is_configured_or_not(tmp_path: Path) -> None:
    results = tmp_path / "results"
    track_run(results, benchmark="waa", model="m", run_id="new", tasks=["a"], baseline="before").finish()
    finding = found(config(tmp_path, 'results = ["results"]'), "baseline")
    assert finding.ok is False
    assert "before" in finding.detail
    small_run(results, "before")
    assert found(config(tmp_path, 'results = ["results"]'), "baselines").ok is True
