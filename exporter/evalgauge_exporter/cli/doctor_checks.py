"""The checks of ``evalgauge doctor``: each configured part is tried the way the exporter uses it."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from evalgauge.errors import PriceTableError
from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable
from evalgauge_exporter.config.messages import unknown_variables
from evalgauge_exporter.config.model import Azure, AzureMl, Config
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.errors import RefreshError, TokenError
from evalgauge_exporter.ingest.fleet import declare_machine, list_configured_targets
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.azure.ml_jobs import AzureMlSource
from evalgauge_exporter.sources.azure.prices import AzurePriceSource, default_cache_dir
from evalgauge_exporter.sources.azure.vms import AzureVmSource
from evalgauge_exporter.sources.probe import Target, probe, probe_all, redact_target
from evalgauge_exporter.sources.vm_registry import VmRegistrySource
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    JobsSeen,
    PriceSeen,
    RefreshFailed,
    RegistrySeen,
    VmInventory,
    VmPowerStates,
)

FILE = "evalgauge.toml"
_OTHER_VARIABLES = frozenset(f"EVALGAUGE_{name}" for name in ("ALERT_KIND", "ALERT_URL", "DEBUG", "PORT", "TOKEN"))
"""Variables that are no keys of the configuration: of docker compose, of the command, of senders of runs."""
_FIXES = {
    "not_installed": arm.EXTRA,
    "signed_out": "sign in (az login), or set up a managed identity or a service principal: docs/azure.md",
    "forbidden": "give the identity the role of docs/azure.md at the subscription or the resource group",
    "not_found": "check the ids and names in the configuration",
    "throttled": "wait, and choose longer intervals",
    "timeout": "check the network, a proxy (HTTPS_PROXY) and base_url",
    "unreachable": "check the network, a proxy (HTTPS_PROXY) and base_url",
    "server_error": "try again later; https://status.azure.com",
    "malformed": "check base_url: what answers there is not what it should be",
}


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    ok: bool | None
    """None: it works, and deserves attention all the same."""
    detail: str
    fix: str | None
    """What to do; None where nothing is wrong."""


def check_all(config: Config, file: Path | None = None) -> Iterator[Finding]:
    """Check every configured part, in the order in which one would fix them. Never raises for what it finds.

    Args:
        config: The configuration.
        file: The file that it was read from.
    """
    yield _check_configuration(file)
    yield from _check_variables()
    yield from _check_results(config.results)
    yield from _check_registries(config.results)
    yield _check_listen(config)
    yield from _check_token(config)
    yield from _check_receive(config)
    yield from _check_overrides(config)
    yield from _check_machines(config)
    fleet = FleetState(_price_table(config))
    for azure in config.azure:
        yield from _check_azure(azure, fleet)
    if config.azure:
        yield from _check_prices(config, fleet)
    for workspace in config.azure_ml:
        yield from _check_workspace(workspace)
    yield from _check_probes(list_configured_targets(config))


def _pass(what: str, detail: str) -> Finding:
    return Finding(what, True, detail, None)


def _check_configuration(file: Path | None) -> Finding:
    if file is not None:
        return _pass(f"configuration {file}", "read")
    if Path(FILE).is_file():
        return Finding("configuration", None, f"{FILE} is in this folder and is not read", f"name it: --config {FILE}")
    return _pass("configuration", "no file is named: defaults and environment variables apply")


def _check_variables() -> Iterator[Finding]:
    for name, near in unknown_variables(Config, _OTHER_VARIABLES).items():
        yield Finding(
            f"environment {name}", None, "there is no such key", f"{near} is the nearest; see docs/configuration.md"
        )


def _check_results(folders: Iterable[Path]) -> Iterator[Finding]:
    empty = True
    for folder in folders:
        empty = False
        what = f"results {folder}"
        try:
            count = sum(1 for _ in folder.iterdir())
        except FileNotFoundError:
            yield Finding(what, False, "there is no such folder", "make it, or name the folder that holds the runs")
        except NotADirectoryError:
            yield Finding(what, False, "it is a file", "name the folder that holds the runs")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            yield Finding(what, False, reason, "let the exporter's user read it")
        else:
            yield _pass(what, f"readable, {count} entr{'y' if count == 1 else 'ies'}")
    if empty:
        yield Finding("results", None, "no folder is configured", "set results, or name folders at evalgauge serve")


def _check_registries(folders: Iterable[Path]) -> Iterator[Finding]:
    events: list[FleetEvent] = []
    VmRegistrySource(folders, events.extend).poll()
    for event in events:
        if isinstance(event, RegistrySeen):
            yield _pass(f"registry {event.path}", f"{len(event.machines)} machines")
        elif isinstance(event, RefreshFailed):
            yield Finding("registry", False, event.detail, "fix or remove it; OpenAdapt's tools write it again")


def _check_listen(config: Config) -> Finding:
    what = f"listen {config.listen}"
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((config.host, config.port))
    except OSError as error:
        if probe("http", f"http://{_get_reachable(config)}/healthz", 2.0).detail == "ok":
            return Finding(what, None, "an exporter answers there already", "stop it before you start another")
        reason = (error.strerror or str(error)).lower()
        return Finding(what, False, reason, "choose another address with listen, or --listen HOST:PORT")
    return _pass(what, "free")


def _get_reachable(config: Config) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    return f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_token(config: Config) -> Iterator[Finding]:
    file = config.token_file
    if file is None:
        if not _is_loopback(config.host):
            fix = "set token_file, or listen on 127.0.0.1 behind a proxy that authenticates"
            yield Finding("token_file", None, f"everyone who reaches {config.listen} can read all runs", fix)
        return
    what = f"token_file {file}"
    try:
        read_token(file)
        mode = file.stat().st_mode
    except (TokenError, OSError) as error:
        yield Finding(what, False, " ".join(str(error).split()), "write a token into it: openssl rand -hex 24")
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH) and os.name == "posix":
        yield Finding(what, None, "other users of this machine can read it", f"chmod 600 {file}")
    else:
        yield _pass(what, "holds a token")


def _check_receive(config: Config) -> Iterator[Finding]:
    folder = config.receive
    if folder is None:
        return
    what = f"receive {folder}"
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if config.token_file is None:
        yield Finding(what, False, "it needs a token that senders have", "set token_file")
    elif not there.is_dir() or not os.access(there, os.W_OK):
        yield Finding(what, False, "runs can't be stored there", "let the exporter's user write there")
    else:
        yield _pass(what, "can be written")


def _price_table(config: Config) -> PriceTable:
    try:
        return load_price_table(config)
    except PriceTableError:
        return PriceTable()


def _check_overrides(config: Config) -> Iterator[Finding]:
    if config.prices.overrides is None:
        return
    what = f"prices.overrides {config.prices.overrides}"
    try:
        table = load_overrides(config.prices.overrides)
    except PriceTableError as error:
        detail, _, fix = str(error).partition("; ")
        yield Finding(what, False, detail, fix or "fix it there; docs/configuration.md has the keys")
        return
    yield _pass(what, f"prices {len(table.models)} models and {len(table.machines)} machines")


def _check_machines(config: Config) -> Iterator[Finding]:
    for name, count in Counter(machine.name.lower() for machine in config.machine).items():
        if count > 1:
            yield Finding(f"machine {name}", False, f"it occurs {count} times", "give each machine its own name")
    for machine in config.machine:
        try:
            bills = declare_machine(machine)
        except ValueError as error:
            yield Finding(f"machine {machine.name}", False, str(error), "fix it in the configuration")
            continue
        now = time.time()
        state = "bills" if bills.start <= now and (bills.stop is None or now < bills.stop) else "does not bill now"
        yield _pass(f"machine {machine.name}", f"{state}, {machine.hourly_rate_usd:g} USD an hour")


# -- Azure


def _check_azure(table: Azure, fleet: FleetState) -> Iterator[Finding]:
    what = f"azure {table.subscription_id}"
    signed_in = _sign_in(what, table)
    yield signed_in
    if signed_in.ok is False:
        return
    events: list[FleetEvent] = []
    source = AzureVmSource(table, events.extend)
    try:
        source.poll()
    finally:
        source.close()
    for event in events:
        fleet.apply(event)
    found = sum(len(event.vms) for event in events if isinstance(event, VmInventory))
    known = sum(len(event.powers) for event in events if isinstance(event, VmPowerStates))
    failed = [event for event in events if isinstance(event, RefreshFailed)]
    for event in failed:
        yield Finding(f"{what} role", False, event.detail, _FIXES.get(event.reason, "see docs/azure.md"))
    if not failed and not found:
        fix = "check resource_groups, and whether the role covers the machines"
        yield Finding(f"{what} role", None, "there is no machine, or the role shows none", fix)
    elif not failed:
        yield _pass(f"{what} role", f"{found} machines, the power state of {known}")
    missing = set(table.resource_groups) - {group for group in table.resource_groups if _has_group(fleet, group)}
    for group in sorted(missing) if not failed and found else ():
        yield Finding(f"{what} resource group {group}", None, "no machine is in it", "check its name")


def _has_group(fleet: FleetState, group: str) -> bool:
    return any(vm.resource_group == group.lower() for vm in fleet.inventory.values())


def _sign_in(what: str, table: Azure | AzureMl) -> Finding:
    what = f"{what} credentials"
    if table.credential == "none":
        return _pass(what, "none are needed")
    try:
        sign_in = arm.credential(table.credential)
        try:
            sign_in.get_token(*arm.scopes(table.base_url))
        except Exception as error:  # each way to sign in has errors of its own
            raise arm.classify_error(error, "Azure", time.time()) from error
    except RefreshError as error:
        return Finding(what, False, error.detail, _FIXES.get(error.reason, _FIXES["signed_out"]))
    return _pass(what, "a token was given")


def _check_prices(config: Config, fleet: FleetState) -> Iterator[Finding]:
    wanted = fleet.list_price_keys()
    if not wanted:
        return
    events: list[FleetEvent] = []
    AzurePriceSource(config.prices, lambda: wanted, events.extend).poll()
    for event in events:
        if isinstance(event, RefreshFailed):
            fix = "check prices.azure_retail_url and the network, or price machines in prices.overrides"
            yield Finding("prices", False, event.detail, fix)
    found = {event.key: event for event in events if isinstance(event, PriceSeen)}  # the last one holds
    for _, event in sorted(found.items()):
        kind = (" spot" if event.key.spot else "") + (" with Windows" if event.key.windows else "")
        what = f"price of {event.key.size}{kind} in {event.key.location}"
        if event.usd_per_hour is None:
            fix = 'add a [[machine]] row to prices.overrides, with match = "' + event.key.size + '"'
            yield Finding(what, False, "the retail price list has none", fix)
        else:
            yield _pass(what, f"{event.usd_per_hour:g} USD an hour")
    folder = config.prices.cache_dir or default_cache_dir()
    if not os.access(folder, os.W_OK):
        fix = "let the exporter's user write there, or set prices.cache_dir"
        yield Finding(f"prices.cache_dir {folder}", None, "prices can't be cached there", fix)


def _check_workspace(table: AzureMl) -> Iterator[Finding]:
    what = f"azure_ml {table.workspace}"
    signed_in = _sign_in(what, table)
    yield signed_in
    if signed_in.ok is False:
        return
    events: list[FleetEvent] = []
    source = AzureMlSource(table, events.extend)
    try:
        source.poll()
    finally:
        source.close()
    for event in events:
        if isinstance(event, RefreshFailed):
            yield Finding(what, False, event.detail, _FIXES.get(event.reason, "see docs/azure.md"))
        elif isinstance(event, JobsSeen):
            yield _pass(what, f"{sum(event.counts.values())} jobs")


# -- probes


def _check_probes(targets: list[Target]) -> Iterator[Finding]:
    for (name, kind), count in Counter((target.name, target.kind) for target in targets).items():
        if count > 1:
            what = f"{'tunnel' if kind == 'tunnel' else 'probe'} {name}"
            yield Finding(what, False, f"{count} of kind {kind} have this name", "give each its own name")
    if not targets:
        return
    for target, answer in zip(targets, probe_all(targets), strict=True):
        if target.kind == "tunnel":
            what, fix = f"tunnel {target.name} at {target.target}", "open it, or fix local_port"
        else:
            what = f"probe {target.name} ({target.kind} {redact_target(target.target)})"
            fix = "start what should answer there, or fix target; a firewall or a closed tunnel has the same effect"
        yield Finding(what, answer.ok, answer.detail, None if answer.ok else fix)
