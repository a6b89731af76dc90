"""The fleet's part of the state: machines, prices, jobs and probes, folded from the events of `fleet_events`.

What a cloud reported is current for three intervals of its list; after that it is no longer shown. A machine's power
states are kept as a history, from which the cost of a run that used it is computed afterwards too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from evalgauge.pricing import PriceTable
from evalgauge_exporter.state.fleet_events import (
    AZURE,
    FleetEvent,
    JobsSeen,
    MachineDeclared,
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
    VmPowerStates,
)
from evalgauge_exporter.state.fleet_models import (
    BILLING,
    GONE,
    CloudList,
    MachineRef,
    Rate,
    ScopeHealth,
    VmState,
)

CLOUD_SOURCES = ("azure_vm", "aws_ec2", "cloud")
"""The ``source`` labels of clouds; ``cloud`` is that of plug-ins."""
LOCAL = ("localhost", "127.0.0.1", "::1")
STALE_INTERVALS = 3
MAX_CHANGES = 1000
"""Changes of the power state that are kept for each machine."""
MAX_GONE = 2000
"""Machines that no longer exist and are kept, for the cost of the runs that used them."""


class FleetState:
    """The state of the fleet. Whoever reads or writes it holds the lock of the state it belongs to.

    Args:
        prices: The user's price table.
    """

    def __init__(self, prices: PriceTable | None = None) -> None:
        self.table = prices if prices is not None else PriceTable()
        self.version = 0
        """Grows when something changed that is shown, so not when a machine was read again without a change."""
        self.costs_version = 0
        """Grows when costs changed by more than time: a state, a price, a name."""
        self.lists: dict[tuple[str, str, str], CloudList] = {}
        """By (provider, scope, part)."""
        self.inventory: dict[str, VmInfo] = {}
        """By machine id; of machines that are gone too, as long as they are kept."""
        self.vms: dict[str, VmState] = {}
        self.jobs: dict[str, JobsSeen] = {}
        self.probes: dict[tuple[str, str], ProbeSeen] = {}
        """The last result by (name, kind)."""
        self.answered: set[tuple[str, str]] = set()
        """The probes that have ever succeeded."""
        self.prices: dict[PriceKey, PriceSeen] = {}
        self.rate_limits: dict[str, RateLimitSeen] = {}
        self.registries: dict[str, tuple[RegisteredVm, ...]] = {}
        self.declared: dict[str, MachineDeclared] = {}
        """By name in lower case."""
        self.tunnels: dict[str, TunnelDeclared] = {}
        self.health: dict[tuple[str, str], ScopeHealth] = {}
        """By (source, scope)."""
        self.errors: dict[tuple[str, str], int] = {}
        """By (source, reason)."""
        self._names: dict[str, list[str]] | None = None
        self._registered: dict[str, RegisteredVm] | None = None

    # -- folding

    def apply(self, event: FleetEvent) -> None:
        """Fold one event."""
        _FOLDS[type(event)](self, event)

    def _changed(self, *, costs: bool = False) -> None:
        self.version += 1
        if costs:
            self.costs_version += 1

    def _get_list(self, event: VmInventory | VmPowerStates) -> CloudList:
        return self.lists.setdefault((event.provider, event.scope, event.part), CloudList())

    def _fold_inventory(self, event: VmInventory) -> None:
        found = self._get_list(event)
        found.inventory_at, found.inventory_interval = event.ts, event.interval
        listed = {vm.vm_id: vm for vm in event.vms}
        if any(self.inventory.get(vm_id) != vm for vm_id, vm in listed.items()):
            self._changed(costs=True)
        for vm_id in found.listed - listed.keys() - self.vms.keys():
            self.inventory.pop(vm_id, None)
        self.inventory |= listed
        found.listed = set(listed)
        self._names = None

    def _fold_power_states(self, event: VmPowerStates) -> None:
        found = self._get_list(event)
        previous = found.status_at
        found.status_at, found.status_interval = event.ts, event.interval
        where = (event.provider, event.scope, event.part)
        present = set()
        changed = False
        for vm_id, name, group, state, since in event.powers:
            present.add(vm_id)
            vm = self.vms.get(vm_id)
            if vm is None:
                vm = self.vms[vm_id] = VmState(vm_id, *where)
                self._names = None
            if vm.name != name:
                self._names = None
            vm.name, vm.group, vm.part = name, group, event.part
            if not vm.changes:
                changed = True
                vm.changes.append((min(since, event.ts) if since is not None else event.ts, state))
            elif vm.state != state:  # an operation that ended since the last refresh made the change
                changed = True
                dated = since is not None and previous is not None and previous < since <= event.ts
                vm.changes.append((since if dated and since is not None else event.ts, state))
                if state in ("starting", "running"):
                    vm.interruption = None  # it was about the time before
                if len(vm.changes) > MAX_CHANGES:
                    del vm.changes[0]
        gone = [vm for vm in self.vms.values() if (vm.provider, vm.scope, vm.part) == where and vm.vm_id not in present]
        for vm in gone:
            if vm.state != GONE:
                changed = True
                vm.changes.append((event.ts, GONE))
        if changed:
            self._changed(costs=True)
        for vm in sorted(gone, key=lambda vm: vm.changes[-1][0])[: max(0, len(gone) - MAX_GONE)]:
            del self.vms[vm.vm_id]
            self.inventory.pop(vm.vm_id, None)
            self._names = None

    def _fold_interruption(self, event: VmInterruption) -> None:
        vm = self.vms.get(event.vm_id)
        if vm is None or (vm.interruption is not None and vm.interruption.detail == event.detail):
            return
        vm.interruption = event
        self._changed(costs=True)

    def _fold_jobs(self, event: JobsSeen) -> None:
        before = self.jobs.get(event.scope)
        if before is None or (before.counts, before.newest) != (event.counts, event.newest):
            self._changed()
        self.jobs[event.scope] = event

    def _fold_probe(self, event: ProbeSeen) -> None:
        before = self.probes.get((event.name, event.kind))
        if before is None or (before.ok, before.detail) != (event.ok, event.detail):
            self._changed()
        self.probes[event.name, event.kind] = event
        if event.ok:
            self.answered.add((event.name, event.kind))

    def _fold_price(self, event: PriceSeen) -> None:
        before = self.prices.get(event.key)
        if before is None or before.usd_per_hour != event.usd_per_hour:
            self._changed(costs=True)
        self.prices[event.key] = event

    def _fold_rate_limit(self, event: RateLimitSeen) -> None:
        self.rate_limits[event.scope] = event

    def _fold_registry(self, event: RegistrySeen) -> None:
        if event.machines:
            self.registries[event.path] = event.machines
        else:
            self.registries.pop(event.path, None)
        self._registered = None
        self._changed(costs=True)

    def _fold_declared_machine(self, event: MachineDeclared) -> None:
        self.declared[event.name.lower()] = event
        self._changed(costs=True)

    def _fold_tunnel(self, event: TunnelDeclared) -> None:
        self.tunnels[event.name] = event
        self._changed()

    def _health(self, event: Refreshed | RefreshFailed) -> ScopeHealth:
        health = self.health.setdefault((event.source, event.scope), ScopeHealth())
        health.refresh_seconds = event.seconds
        return health

    def _fold_refreshed(self, event: Refreshed) -> None:
        health = self._health(event)
        if not health.up:
            self._changed()
        health.up, health.last_success_at, health.detail = True, event.ts, None

    def _fold_refresh_failed(self, event: RefreshFailed) -> None:
        health = self._health(event)
        if health.up:
            self._changed()
        health.up, health.detail = False, event.detail
        self._count(event.source, event.reason)

    def _fold_skipped(self, event: Skipped) -> None:
        self._count(event.source, event.reason)

    def _count(self, source: str, reason: str) -> None:
        self.errors[source, reason] = self.errors.get((source, reason), 0) + 1

    # -- what depends on the time of reading

    def is_power_current(self, vm: VmState, now: float) -> bool:
        """Return whether its power state is not older than three intervals."""
        return self._is_list_current((vm.provider, vm.scope, vm.part), now)

    def get_known_until(self, vm: VmState, now: float) -> float:
        """Return up to when its last power state may be assumed, in Unix seconds."""
        if vm.state == GONE or self.is_power_current(vm, now):
            return now
        return self.lists[vm.provider, vm.scope, vm.part].status_at or now

    def list_present_vms(self, now: float) -> Iterator[VmState]:
        """Yield the cloud machines that exist and whose power state is current."""
        for vm in self.vms.values():
            if vm.changes and vm.state != GONE and self.is_power_current(vm, now):
                yield vm

    def get_info(self, vm: VmState, now: float) -> VmInfo | None:
        """Return its row of the inventory, None where that is older than three intervals."""
        at = self.lists[vm.provider, vm.scope, vm.part]
        if at.inventory_at is None or now - at.inventory_at > STALE_INTERVALS * at.inventory_interval:
            return None
        return self.inventory.get(vm.vm_id)

    def is_for_evaluation(self, vm: VmState) -> bool:
        """Return whether a VM is for evaluations, as far as its tags decide; before its inventory is read, it is."""
        info = self.inventory.get(vm.vm_id)
        return info is None or info.evaluation

    def list_current_probes(self, now: float) -> Iterator[ProbeSeen]:
        """Yield the results that are not older than three intervals."""
        for probe in self.probes.values():
            if now - probe.ts <= STALE_INTERVALS * probe.interval:
                yield probe

    def list_shown_probes(self, now: float) -> Iterator[ProbeSeen]:
        """Yield the current results; those of a registry's machines only once they have ever answered."""
        for probe in self.list_current_probes(now):
            if probe.configured or (probe.name, probe.kind) in self.answered:
                yield probe

    def is_account_current(self, scope: str, now: float) -> bool:
        """Return whether the power states of all lists of a cloud account are not older than three intervals."""
        lists = [key for key in self.lists if key[1] == scope]
        return bool(lists) and all(self._is_list_current(key, now) for key in lists)

    def _is_list_current(self, key: tuple[str, str, str], now: float) -> bool:
        at = self.lists.get(key)
        return (
            at is not None and at.status_at is not None and now - at.status_at <= STALE_INTERVALS * at.status_interval
        )

    def are_jobs_current(self, scope: str, now: float) -> bool:
        """Return whether a workspace's jobs are not older than three intervals."""
        jobs = self.jobs.get(scope)
        return jobs is not None and now - jobs.ts <= STALE_INTERVALS * jobs.interval

    def is_current(self, source: str, scope: str, now: float) -> bool:
        """Return whether a source's data of a scope is not older than three intervals, where it has an interval."""
        if source in CLOUD_SOURCES:
            return self.is_account_current(scope, now)
        return source != "azure_ml" or self.are_jobs_current(scope, now)

    # -- prices

    def get_rate(self, machine: MachineRef, now: float, worker_rate: float | None = None) -> Rate | None:
        """Return a machine's hourly price, None where nothing prices it.

        The user's table comes first, then the configuration, what its worker reported, and the list price.

        Args:
            machine: What is priced.
            now: Unix seconds.
            worker_rate: USD an hour that a worker on it reported.
        """
        override = self.table.machine(machine.provider, machine.size)
        if override is not None:
            return Rate(float(override.usd_per_hour), override.table)
        if machine.declared is not None:
            return Rate(machine.declared.usd_per_hour, "configuration")
        if worker_rate is not None:
            return Rate(worker_rate, "worker")
        key = self.get_price_key(machine)
        seen = self.prices.get(key) if key is not None else None
        if seen is None or seen.usd_per_hour is None or now - seen.ts > STALE_INTERVALS * seen.interval:
            return None
        return Rate(seen.usd_per_hour, seen.priced_by)

    def get_price_key(self, machine: MachineRef) -> PriceKey | None:
        """Return the key of its list price, None where too little is known of it."""
        if machine.provider is None or not machine.size or not machine.location:
            return None
        vm = self.inventory.get(machine.vm.vm_id) if machine.vm is not None else None
        location = machine.location.lower().replace(" ", "")
        if vm is None:
            return PriceKey(location, machine.size, provider=machine.provider)
        if not vm.list_priced:
            return None
        zone = vm.zone if vm.spot else ""
        return PriceKey(location, machine.size, vm.spot, vm.windows, machine.provider, zone)

    def list_price_keys(self, provider: str = AZURE) -> set[PriceKey]:
        """Return the keys of the list prices to look up: of a cloud's machines that the user's table does not price."""
        wanted = set()
        for machine in self.list_machines():
            if machine.vm is not None and machine.vm.state == GONE:
                continue
            if machine.provider != provider or self.table.machine(provider, machine.size) is not None:
                continue
            if (key := self.get_price_key(machine)) is not None:
                wanted.add(key)
        return wanted

    # -- machines by name

    def has_machines(self) -> bool:
        """Return whether any machine is known or declared."""
        return bool(self.vms or self.inventory or self.registries or self.declared)

    def list_machines(self) -> Iterator[MachineRef]:
        """Yield every machine: Azure's (with those that are gone), declared ones, then those only registries name."""
        for vm in self.vms.values():
            yield self.machine_of_vm(vm)
        yield from self.list_declared()
        names = {vm.name.lower() for vm in self.vms.values()}
        for registered in self.list_registered():
            found = self.resolve(registered.name)
            known = found is not None and (found.vm is not None or found.declared is not None)
            if not known and registered.name.lower() not in names:
                yield self._of_registered(registered)

    def list_declared(self) -> Iterator[MachineRef]:
        """Yield the machines of the configuration that are no VM of a cloud: each machine counts once."""
        for declared in self.declared.values():
            machine = self.machine_of_declared(declared)
            if machine.vm is None:
                yield machine

    def resolve(self, name: str) -> MachineRef | None:
        """Return the machine with a name: a VM's name, id or alias, a declared name, a registry's name or address.

        Of several VMs with one name it is the one in the registry's resource group, else the only one that bills;
        otherwise it is ambiguous, and the result is None.
        """
        registered = self._registry().get(name.lower())
        words = [name]
        if registered is not None:
            addresses = (registered.host, registered.internal_ip)
            words += [registered.name, *(address for address in addresses if address and address not in LOCAL)]
        for word in words:
            if (declared := self.declared.get(word.lower())) is not None:
                return self.machine_of_declared(declared)
            if (vm := self._vm_named(word, registered)) is not None:
                return self.machine_of_vm(vm)
        return self._of_registered(registered) if registered is not None else None

    def list_aliases(self, vm: VmState) -> set[str]:
        """Return the names that a worker may use for a VM, in lower case: its name, its id and its aliases."""
        info = self.inventory.get(vm.vm_id)
        return {vm.name.lower(), vm.vm_id.lower(), *(name.lower() for name in (info.aliases if info else ()) if name)}

    def get_registered(self, name: str) -> RegisteredVm | None:
        """Return a machine's row in the registries, by its name or address."""
        return self._registry().get(name.lower())

    def list_registered(self) -> Iterator[RegisteredVm]:
        """Yield the machines of all registries, each name once."""
        names = set()
        for machine in self._registry().values():
            if machine.name.lower() not in names:
                names.add(machine.name.lower())
                yield machine

    def _vm_named(self, name: str, registered: RegisteredVm | None) -> VmState | None:
        if self._names is None:
            self._names = {}
            for vm in self.vms.values():
                for alias in self.list_aliases(vm):
                    self._names.setdefault(alias, []).append(vm.vm_id)
        found = [self.vms[vm_id] for vm_id in self._names.get(name.lower(), ())]
        if len(found) > 1 and registered is not None and registered.resource_group:
            found = [vm for vm in found if vm.group == registered.resource_group.lower()] or found
        if len(found) > 1:
            found = [vm for vm in found if vm.state in BILLING]
        return found[0] if len(found) == 1 else None

    def _registry(self) -> Mapping[str, RegisteredVm]:
        if self._registered is None:
            known: dict[str, RegisteredVm] = {}
            addresses: dict[str, set[str]] = {}
            for machines in self.registries.values():
                for machine in machines:
                    name = machine.name.lower()
                    known[name] = _merge(known.get(name), machine)
                    if machine.host:
                        addresses.setdefault(machine.host.lower(), set()).add(name)
            for host, sharing in addresses.items():
                if len(sharing) == 1:
                    known.setdefault(host, known[next(iter(sharing))])
            self._registered = known
        return self._registered

    def machine_of_vm(self, vm: VmState) -> MachineRef:
        """Return the reference to a cloud's VM."""
        info = self.inventory.get(vm.vm_id)
        size, location = (info.size, info.location) if info is not None else (None, None)
        registered = self._registry().get(vm.name.lower())
        declared = None
        if self.declared:  # its price holds, and the cloud's word on when it bills
            rows = (self.declared.get(alias) for alias in self.list_aliases(vm))
            declared = next((row for row in rows if row is not None and self._vm_named(row.name, None) is vm), None)
        return MachineRef(vm.vm_id, vm.name, vm.provider, size, location, vm, declared, registered)

    def machine_of_declared(self, declared: MachineDeclared) -> MachineRef:
        """Return the reference to a machine of the configuration, which may be a VM of a cloud."""
        if (vm := self._vm_named(declared.name, None)) is not None:
            return self.machine_of_vm(vm)
        key, registered = f"declared:{declared.name}", self._registry().get(declared.name.lower())
        return MachineRef(
            key,
            declared.name,
            declared.provider,
            declared.instance_type,
            None,
            declared=declared,
            registered=registered,
        )

    def _of_registered(self, registered: RegisteredVm) -> MachineRef:
        provider = AZURE if registered.size and registered.size.lower().startswith("standard_") else None
        key = f"named:{registered.name.lower()}"
        return MachineRef(key, registered.name, provider, registered.size, registered.location, registered=registered)


def _merge(one: RegisteredVm | None, other: RegisteredVm) -> RegisteredVm:
    """Merge the rows of one machine in two files; the one that was read later wins."""
    if one is None:
        return other
    return one._replace(**{field: value for field, value in other._asdict().items() if value is not None})


_FOLDS: Mapping[type, Callable[..., None]] = {
    VmInventory: FleetState._fold_inventory,
    VmPowerStates: FleetState._fold_power_states,
    VmInterruption: FleetState._fold_interruption,
    JobsSeen: FleetState._fold_jobs,
    ProbeSeen: FleetState._fold_probe,
    PriceSeen: FleetState._fold_price,
    RateLimitSeen: FleetState._fold_rate_limit,
    RegistrySeen: FleetState._fold_registry,
    MachineDeclared: FleetState._fold_declared_machine,
    TunnelDeclared: FleetState._fold_tunnel,
    Refreshed: FleetState._fold_refreshed,
    RefreshFailed: FleetState._fold_refresh_failed,
    Skipped: FleetState._fold_skipped,
}
