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
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.cli.output import count_of
from evalgauge_exporter.config.bucket_urls import parse_bucket_url
from evalgauge_exporter.config.messages import unknown_variables
from evalgauge_exporter.config.model import AzureMl, Config
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.errors import RefreshError, TokenError
from evalgauge_exporter.ingest.collector import RunCollector
from evalgauge_exporter.ingest.fleet import create_clouds, declare_machine, list_configured_targets
from evalgauge_exporter.sources.azure.ml_jobs import AzureMlSource
from evalgauge_exporter.sources.azure.vms import AzureCloud
from evalgauge_exporter.sources.cloud import Cloud, CloudSource, PriceList
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.prices import PriceSource, default_cache_dir
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
from evalgauge_exporter.state.run import State

FILE = "evalgauge.toml"
MAX_NAMED = 5
"""Folders that a finding names."""
_OTHER_VARIABLES = frozenset(
    f"EVALGAUGE_{name}" for name in ("ALERT_KIND", "ALERT_URL", "DEBUG", "INSTANCE_METADATA", "PORT", "TOKEN")
)
"""Variables that are no keys of the configuration: of docker compose, of the command, of senders of runs."""
_SIGN_IN = {
    "azure": "sign in (az login), or set up a managed identity or a service principal: docs/azure.md",
    "aws": "sign in (aws sso login), or give the machine a role: docs/aws.md",
}
_FIXES = {
    "forbidden": "give the identity the role of docs/{}.md",
    "not_found": "check the ids and names in the configuration",
    "not_configured": "set it in the configuration; docs/{}.md",
    "throttled": "wait, and choose longer intervals",
    "timeout": "check the network, a proxy (HTTPS_PROXY) and the address in the configuration",
    "unreachable": "check the network, a proxy (HTTPS_PROXY) and the address in the configuration",
    "server_error": "try again later, and look at the status page of the cloud",
    "malformed": "check the address in the configuration: what answers there is not what it should be",
    "endless": "check the address in the configuration: what answers there is not what it should be",
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
    yield from _check_results(config)
    yield from _check_registries(config.results)
    yield from _check_baselines(config)
    yield _check_listen(config)
    yield from _check_token(config)
    yield from _check_receive(config)
    yield from _check_overrides(config)
    yield from _check_machines(config)
    fleet = FleetState(_price_table(config))
    yield from _check_clouds(config, fleet)
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


def _check_results(config: Config) -> Iterator[Finding]:
    for folder in config.results:
        what = f"results {folder}"
        if parse_bucket_url(folder) is not None:
            yield Finding(what, None, "a bucket, which is not read here", "read it with evalgauge runs")
            continue
        try:
            children = sorted(folder.iterdir())
        except FileNotFoundError:
            yield Finding(what, False, "there is no such folder", "make it, or name the folder that holds the runs")
        except NotADirectoryError:
            yield Finding(what, False, "it is a file", "name the folder that holds the runs")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            yield Finding(what, False, reason, "let the exporter's user read it")
        else:
            yield from _check_runs(what, folder, children, config)
    if not config.results:
        yield Finding("results", None, "no folder is configured", "set results, or name folders at evalgauge serve")


def _check_runs(what: str, folder: Path, children: list[Path], config: Config) -> Iterator[Finding]:
    """Yield how many runs of which format a folder has, and which of its folders are none."""
    found, problems = Discovery([folder], config.success_threshold, follow_links=config.follow_links).scan()
    formats = Counter(one.source.source for one in found)
    if found:
        listed = ", ".join(f"{count} {name}" for name, count in formats.most_common())
        yield _pass(what, f"{count_of(len(found), 'run')} ({listed})")
    else:
        detail = "no run is recognised in it" if children else "it is empty"
        fix = "name the folder that holds the runs, or one run; docs/sources.md describes the formats"
        yield Finding(what, None, detail, fix)
    for problem in problems:
        yield Finding(what, False, problem.detail, "rename or remove one, or let the exporter's user read it")
    places = {one.folder for one in found}
    known = places.union(*(place.parents for place in places))
    unknown = [
        child.name
        for child in children
        if child not in known and places.isdisjoint(child.parents) and os.path.isdir(child)
    ]
    if found and unknown:
        more = "" if len(unknown) <= MAX_NAMED else f" and {len(unknown) - MAX_NAMED} more"
        detail = f"no run is recognised in {', '.join(unknown[:MAX_NAMED])}{more}"
        yield Finding(what, None, detail, "runs are found three folders deep; docs/sources.md describes the formats")


def _check_registries(folders: Iterable[Path]) -> Iterator[Finding]:
    events: list[FleetEvent] = []
    VmRegistrySource(folders, events.extend).poll()
    for event in events:
        if isinstance(event, RegistrySeen):
            yield _pass(f"registry {event.path}", count_of(len(event.machines), "machine"))
        elif isinstance(event, RefreshFailed):
            yield Finding("registry", False, event.detail, "fix or remove it; OpenAdapt's tools write it again")


def _check_baselines(config: Config) -> Iterator[Finding]:
    """Check that the configured baselines exist, and those that the runs name: reads every run."""
    folders = [folder for folder in config.results if folder.is_dir()]
    if not folders:
        return
    state = State()
    collector = RunCollector(state, folders, stall_after=config.stall_after, follow_links=config.follow_links)
    collector.start()
    try:
        while not collector.caught_up.wait(1.0) and not collector.has_died():
            pass
    finally:
        collector.stop()
    missing = RunAnalysis(state, stall_after=config.stall_after, baselines=config.baselines).missing_baselines()
    for detail in missing:
        yield Finding("baseline", False, detail, "name the id of a run that exists; evalgauge runs lists them")
    named = {*config.baselines.values(), *(run.baseline_run_id for run in state.runs.values())} - {None}
    if named and not missing:
        yield _pass("baselines", f"{len(named)} named, all exist")


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


# -- clouds


def _check_clouds(config: Config, fleet: FleetState) -> Iterator[Finding]:
    try:
        clouds = create_clouds(config)
    except ValueError as error:
        yield Finding("cloud", False, str(error), "install the plug-in, or fix the [[cloud]] table")
        return
    for cloud in clouds:
        yield from _check_cloud(cloud, fleet)
        if isinstance(cloud, AzureCloud):
            yield from _check_groups(cloud, fleet)
    for cloud in {cloud.provider: cloud for cloud in clouds}.values():
        if (prices := cloud.create_price_list()) is not None:
            yield from _check_prices(prices, config, fleet)


def _check_cloud(cloud: Cloud, fleet: FleetState) -> Iterator[Finding]:
    """Check who is signed in and what is allowed, by asking; then read the machines as the exporter does."""
    what = f"{cloud.provider} {cloud.scope.removeprefix(f'{cloud.provider}/')}"
    try:
        yield _pass(f"{what} credentials", cloud.identify())
        refused = 0
        for access in cloud.check_access():
            fix = None if access.reason is None else _get_fix(access.reason, cloud.provider)
            yield Finding(f"{what} {access.what}", access.reason is None, access.detail, fix)
            refused += access.reason is not None
    except RefreshError as error:
        yield Finding(f"{what} credentials", False, error.detail, _get_fix(error.reason, cloud.provider))
        return
    events: list[FleetEvent] = []
    source = CloudSource(cloud, events.extend)
    try:
        source.poll()
    finally:
        source.close()
    for event in events:
        fleet.apply(event)
    found = sum(len(event.vms) for event in events if isinstance(event, VmInventory))
    known = sum(len(event.powers) for event in events if isinstance(event, VmPowerStates))
    if found or refused:
        yield _pass(f"{what} machines", f"{found} machines, the power state of {known}")
    else:
        fix = "check the resource groups or regions, and whether the role covers the machines"
        yield Finding(f"{what} machines", None, "there is no machine, or the role shows none", fix)


def _get_fix(reason: str, provider: str) -> str:
    if reason == "not_installed":
        return f"pip install 'evalgauge[{provider}]'"
    fixes = _SIGN_IN if reason == "signed_out" else _FIXES
    return fixes.get(provider if reason == "signed_out" else reason, f"see docs/{provider}.md").format(provider)


def _check_groups(cloud: AzureCloud, fleet: FleetState) -> Iterator[Finding]:
    present = {vm.group for vm in fleet.inventory.values()}
    for group in sorted(cloud.table.resource_groups) if present else ():
        if group.lower() not in present:
            yield Finding(f"azure {cloud.scope} resource group {group}", None, "no machine is in it", "check its name")


def _check_prices(prices: PriceList, config: Config, fleet: FleetState) -> Iterator[Finding]:
    wanted = fleet.list_price_keys(prices.provider)
    if not wanted:
        return
    events: list[FleetEvent] = []
    PriceSource(prices, config.prices.cache_dir, lambda: wanted, events.extend).poll()
    for event in events:
        if isinstance(event, RefreshFailed):
            fix = f"check the network and docs/{prices.provider}.md, or price machines in prices.overrides"
            yield Finding("prices", False, event.detail, fix)
    found = {event.key: event for event in events if isinstance(event, PriceSeen)}  # the last one holds
    for _, event in sorted(found.items()):
        kind = (" spot" if event.key.spot else "") + (" with Windows" if event.key.windows else "")
        what = f"price of {event.key.size}{kind} in {event.key.zone or event.key.location}"
        if event.usd_per_hour is None:
            fix = 'add a [[machine]] row to prices.overrides, with match = "' + event.key.size + '"'
            yield Finding(what, False, f"{event.priced_by}: there is none", fix)
        else:
            yield _pass(what, f"{event.usd_per_hour:g} USD an hour")
    folder = config.prices.cache_dir or default_cache_dir()
    if not os.access(folder, os.W_OK):
        fix = "let the exporter's user write there, or set prices.cache_dir"
        yield Finding(f"prices.cache_dir {folder}", None, "prices can't be cached there", fix)


def _check_workspace(table: AzureMl) -> Iterator[Finding]:
    what = f"azure_ml {table.workspace}"
    events: list[FleetEvent] = []
    source = AzureMlSource(table, events.extend)
    try:
        yield _pass(f"{what} credentials", source.client.identify())
    except RefreshError as error:
        yield Finding(f"{what} credentials", False, error.detail, _get_fix(error.reason, "azure"))
        return
    source.poll()
    for event in events:
        if isinstance(event, RefreshFailed):
            yield Finding(what, False, event.detail, _get_fix(event.reason, "azure"))
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
