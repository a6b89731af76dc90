"""The fleet's sources, put together as the configuration asks for: they fold their events into the fleet's state.

The prices of new machines are looked up, and the machines of a registry are probed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial

from evalgauge_exporter.config.model import Config, Machine
from evalgauge_exporter.ingest.buckets import BucketSource
from evalgauge_exporter.sources.aws import AwsCloud
from evalgauge_exporter.sources.azure.ml_jobs import AzureMlSource
from evalgauge_exporter.sources.azure.prices import AzurePriceList
from evalgauge_exporter.sources.azure.vms import AzureCloud
from evalgauge_exporter.sources.cloud import Cloud, CloudSource, load_cloud
from evalgauge_exporter.sources.polling import ManagedSource
from evalgauge_exporter.sources.prices import PriceSource
from evalgauge_exporter.sources.probe import ProbeSource, Target
from evalgauge_exporter.sources.storage.mirror import Mirror
from evalgauge_exporter.sources.vm_registry import VmRegistrySource
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import FleetEvent, MachineDeclared, PriceKey, RegistrySeen, TunnelDeclared

PROBE_INTERVAL = 30.0
PROBE_TIMEOUT = 5.0
"""Seconds, for tunnels and for the machines of registries, which have no row of their own."""


class FleetSources:
    """All sources of the fleet, from `start` to `stop`. Their threads fold what they find into the state.

    Args:
        config: What to read.
        fleet: The state that takes the events.
        lock: Guards ``fleet``.
        on_change: Called, from another thread, when ``fleet.version`` has changed.
        mirrors: The mirrors of buckets to keep up to date.

    Raises:
        ValueError: The start or stop of a machine is no time, or a cloud's plug-in is missing; the message is one line.
    """

    def __init__(
        self,
        config: Config,
        fleet: FleetState,
        lock: AbstractContextManager[object],
        on_change: Callable[[], None] = lambda: None,
        mirrors: Iterable[Mirror] = (),
    ) -> None:
        self._fleet = fleet
        self._lock = lock
        self._on_change = on_change
        self.sources: list[ManagedSource] = []
        given: list[FleetEvent] = [declare_machine(machine) for machine in config.machine]
        given += [TunnelDeclared(tunnel.name, tunnel.local_port, tunnel.remote) for tunnel in config.tunnel]
        with lock:
            for event in given:  # without on_change: its owner may not be complete yet
                fleet.apply(event)
        clouds = create_clouds(config)
        lists = [cloud.create_price_list() for cloud in clouds]
        if {"azure_retail_url", "cache_dir"} & config.prices.model_fields_set:  # for the machines of registries
            lists.append(AzurePriceList(config.prices.azure_retail_url))
        by_provider = {prices.provider: prices for prices in lists if prices is not None}
        self._prices = [
            PriceSource(prices, config.prices.cache_dir, partial(self._list_price_keys, provider), self._take)
            for provider, prices in by_provider.items()
        ]
        self.sources += self._prices
        self.sources += [CloudSource(cloud, self._take, on_new=self._look_up_prices) for cloud in clouds]
        for workspace in config.azure_ml:
            self.sources.append(AzureMlSource(workspace, self._take))
        self.buckets = [BucketSource(mirror, config.storage, config.stall_after, self._take) for mirror in mirrors]
        self.sources += self.buckets
        self._probe_registries = config.probe_registries
        self._configured = list_configured_targets(config)
        self._probes = ProbeSource(self._configured, self._take)
        self.sources += [self._probes, VmRegistrySource(config.results, self._registries_changed)]

    def start(self) -> None:
        """Start in the background."""
        for source in self.sources:
            source.start()

    def stop(self) -> None:
        """Stop; returns when all threads have ended, except those that wait for another's server."""
        for source in self.sources:
            source.stop()

    def _take(self, events: Sequence[FleetEvent]) -> None:
        if not events:
            return
        with self._lock:
            before = self._fleet.version
            for event in events:
                self._fleet.apply(event)
            changed = self._fleet.version != before
        if changed:
            self._on_change()

    def _list_price_keys(self, provider: str) -> set[PriceKey]:
        with self._lock:
            return self._fleet.list_price_keys(provider)

    def _look_up_prices(self) -> None:
        for prices in self._prices:
            prices.trigger()

    def _registries_changed(self, events: Sequence[FleetEvent]) -> None:
        self._take(events)
        if self._probe_registries and any(isinstance(event, RegistrySeen) for event in events):
            with self._lock:
                targets = list_registry_targets(self._fleet, self._configured)
            self._probes.replace(targets)
            self._look_up_prices()


def create_clouds(config: Config) -> list[Cloud]:
    """Return the cloud accounts of the configuration.

    Raises:
        ValueError: A plug-in is missing or does not accept its options; the message is one line.
    """
    clouds: list[Cloud] = [AzureCloud(table, config.prices.azure_retail_url) for table in config.azure]
    clouds += [AwsCloud(table) for table in config.aws]
    clouds += [load_cloud(table.kind, table.model_extra or {}) for table in config.cloud]
    return clouds


def declare_machine(machine: Machine) -> MachineDeclared:
    """Return a machine of the configuration as an event.

    Raises:
        ValueError: Its start or stop is no time, or they are in the wrong order; the message is one line.
    """
    times = {}
    for key, text in (("start", machine.start), ("stop", machine.stop)):
        if text is not None:
            try:
                times[key] = datetime.fromisoformat(text).timestamp()  # a naive time is local
            except ValueError:
                raise ValueError(
                    f"machine {machine.name!r}: {key} is {text!r}; write it as 2026-11-21T09:00:00Z"
                ) from None
    stop = times.get("stop")
    if stop is not None and stop < times["start"]:
        raise ValueError(f"machine {machine.name!r}: stop {machine.stop} is before start {machine.start}")
    return MachineDeclared(
        machine.name, machine.provider, machine.instance_type, machine.hourly_rate_usd, times["start"], stop
    )


def list_configured_targets(config: Config) -> list[Target]:
    """Return the targets that the configuration names, tunnels included."""
    targets = [
        Target(probe.name, probe.kind, probe.target, max(1.0, probe.interval), probe.timeout) for probe in config.probe
    ]
    targets += [
        Target(tunnel.name, "tunnel", f"127.0.0.1:{tunnel.local_port}", PROBE_INTERVAL, PROBE_TIMEOUT)
        for tunnel in config.tunnel
    ]
    return targets


def list_registry_targets(fleet: FleetState, configured: Iterable[Target]) -> list[Target]:
    """Return the targets of the registries: the WAA server and VNC of each machine.

    Args:
        fleet: The state, for the machines of the registries.
        configured: The targets of the configuration, which replace those of a registry with the same name and kind.
    """
    taken = {(target.name, target.kind) for target in configured}
    targets = []
    for machine in fleet.list_registered():
        host = f"[{machine.host}]" if machine.host and ":" in machine.host else machine.host
        for kind, port in (("waa", machine.waa_port), ("vnc", machine.vnc_port)):
            if host and port and (machine.name, kind) not in taken:
                targets.append(
                    Target(machine.name, kind, f"{host}:{port}", PROBE_INTERVAL, PROBE_TIMEOUT, configured=False)
                )
    return targets
