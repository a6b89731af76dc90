"""The join of machines, workers and runs: which run used which machine for how long, and at what cost.

A worker's machine is the one it reported (``vm``), else the one with the worker's id as its name: a cloud's, one of the
configuration, one of OpenAdapt's registries. Where a cloud reports the machine's power states, they decide when it
bills (deallocated does not, stopped does); elsewhere it bills from the worker's first event to its last. A declared
machine that no worker names serves the runs that are running while it bills, in equal parts: a GPU box with the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

from evalgauge.pricing import PriceTable
from evalgauge_exporter.analysis.machine_costs import MachineCosts, MachineRow, classify_component
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import AZURE
from evalgauge_exporter.state.fleet_models import MachineRef, Rate
from evalgauge_exporter.state.intervals import Interval, difference, intersection, share_seconds, total_seconds, union
from evalgauge_exporter.state.models import Attempt, Worker
from evalgauge_exporter.state.run import RunState

HOUR = 3600.0

_finished_busy_times: WeakKeyDictionary[RunState, tuple[int, dict[str | None, list[Interval]]]] = WeakKeyDictionary()
"""Of finished runs: their version, and the busy intervals of each worker. The attempts of such a run may be unloaded,
and reading its files again each time would take long."""


class MachineUse(NamedTuple):
    """One run's use of one machine."""

    machine: MachineRef
    workers: tuple[str, ...]
    spans: tuple[Interval, ...]
    """From its workers' first event to their last; of workers that are running, to now."""
    live: bool
    """Whether one of its workers is running."""
    worker_rate: float | None
    named: bool


def resolve_machine(run_id: str, worker_id: str, worker: Worker, fleet: FleetState | None) -> MachineRef:
    """Return the machine that a worker runs on; one of its own where no known machine has its name."""
    found = None
    if fleet is not None:
        found = fleet.resolve(worker.vm) if worker.vm else fleet.resolve(worker_id)
    if found is not None:
        return found._replace(
            provider=found.provider or worker.provider,
            size=found.size or worker.vm_size,
        )
    provider = worker.provider
    if provider is None and (worker.vm_size or "").lower().startswith("standard_"):
        provider = AZURE
    key = f"named:{worker.vm.lower()}" if worker.vm else f"worker:{run_id}:{worker_id}"
    name = (worker.vm or "").rpartition("/")[2]  # of an ARM id the name alone
    return MachineRef(key, name or worker_id, provider, worker.vm_size, None)


def get_worker_span(run: RunState, worker: Worker, now: float, stall_after: float) -> tuple[Interval, bool]:
    """Return the interval from a worker's first event to its end, or to ``now`` and True while it is running."""
    if run.worker_state(worker, now, stall_after) in ("stopped", "lost"):
        if worker.state in ("stopped", "lost") and worker.stamp is not None:
            end = worker.stamp.ts
        elif (ended := run.ended_at) is not None:
            end = ended
        else:
            end = worker.last_seen
        return (worker.first_seen, max(worker.first_seen, end)), False
    return (worker.first_seen, max(worker.first_seen, now)), True


def get_worker_spans(run: RunState, worker: Worker, now: float, stall_after: float) -> tuple[list[Interval], bool]:
    """Return when a worker was present, and whether it is running.

    It is present from its first event to its end, without the time from when it stopped or was lost to when it was
    back, and without gaps of its writers longer than ``stall_after`` seconds: the night before a run was resumed.
    """
    whole, live = get_worker_span(run, worker, now, stall_after)
    there: list[tuple[float, float, bool]] = []  # from, to, whether its end was reported
    for writer, clock in worker.clocks.items():
        start = clock.since
        for stopped, back in clock.off:
            there.append((start, stopped, True))
            start = back
        ended = clock.state in ("stopped", "lost")
        there.append((start, clock.seen if ended else max(clock.seen, run.writers.get(writer, start)), ended))
    away: list[Interval] = []
    until, ended = whole[0], False
    for start, end, stopped in sorted(there):
        if start > until and (ended or start - until > stall_after):
            away.append((until, start))
        if end >= until:
            until, ended = end, stopped
    return difference([whole], away), live


def list_machine_uses(run: RunState, fleet: FleetState | None, now: float, stall_after: float) -> list[MachineUse]:
    """Return the machines that a run's workers are on, one row for each machine."""
    found: dict[str, MachineUse] = {}
    for worker_id, worker in run.workers.items():
        machine = resolve_machine(run.run_id, worker_id, worker, fleet)
        spans, live = get_worker_spans(run, worker, now, stall_after)
        named = not machine.key.startswith("worker:") or any((worker.vm_size, worker.provider, worker.rate))
        use = found.get(machine.key)
        if use is None:
            found[machine.key] = MachineUse(machine, (worker_id,), tuple(spans), live, worker.rate, named)
        else:
            found[machine.key] = MachineUse(
                use.machine._replace(
                    provider=use.machine.provider or machine.provider, size=use.machine.size or machine.size
                ),
                (*use.workers, worker_id),
                (*use.spans, *spans),
                use.live or live,
                use.worker_rate if use.worker_rate is not None else worker.rate,
                use.named or named,
            )
    return list(found.values())


def has_named_machines(run: RunState) -> bool:
    """Return whether a run's workers state anything of the machines that they are on."""
    return any(worker.vm or worker.vm_size or worker.provider or worker.rate for worker in run.workers.values())


def find_billed_intervals(
    use: Sequence[Interval], machine: MachineRef, fleet: FleetState | None, now: float
) -> list[Interval]:
    """Return when a machine billed while a run used it: all of that time except what is known to be free."""
    spans = union(use)
    if fleet is None or machine.vm is None:
        return spans if machine.declared is None else intersection(spans, _get_declared_span(machine, now))
    return difference(spans, machine.vm.list_free(fleet.get_known_until(machine.vm, now)))


def _get_declared_span(machine: MachineRef, now: float) -> list[Interval]:
    declared = machine.declared
    if declared is None:
        return []
    stop = now if declared.stop is None else min(now, declared.stop)
    return union([(declared.start, stop)])


class BusyTime:
    """The busy intervals of a run's workers; it goes through the attempts at most once, and only when asked."""

    def __init__(self, run: RunState, now: float, stall_after: float) -> None:
        self.run = run
        self._now = now
        self._stall_after = stall_after
        self._by_worker: dict[str | None, list[Interval]] | None = None

    def spans(self, workers: Iterable[str | None] | None = None) -> list[Interval]:
        """Return when these workers, or any, had an attempt."""
        if self._by_worker is None:
            self._by_worker = self._spans_by_worker()
        names = self._by_worker if workers is None else workers
        return union(span for name in names for span in self._by_worker.get(name, ()))

    def _spans_by_worker(self) -> dict[str | None, list[Interval]]:
        version, cached = _finished_busy_times.get(self.run, (None, {}))
        if version == self.run.version:
            return cached
        found: dict[str | None, list[Interval]] = {}
        for attempt in self.run.attempts.values():
            if attempt.started_at is not None:
                span = (attempt.started_at, self._end(attempt, attempt.started_at))
                found.setdefault(attempt.worker_id, []).append(span)
        if self.run.is_finished() and not self.run.open_attempts:
            _finished_busy_times[self.run] = (self.run.version, found)
        return found

    def within(self, workers: Iterable[str | None] | None, billed: list[Interval]) -> list[Interval]:
        """Return when these workers, or any, had an attempt while a machine billed."""
        return intersection(self.spans(workers), billed)

    def seconds(self, use: MachineUse, billed: list[Interval]) -> float:
        """Return the seconds in which the machine had a task while it billed."""
        if len(use.workers) > 1 and self.spans():  # their tasks overlap: time with several counts once
            return total_seconds(self.within(use.workers, billed))
        busy = 0.0
        for worker in (self.run.workers[name] for name in use.workers):
            busy += worker.busy_seconds
            if use.live and self.run.worker_state(worker, self._now, self._stall_after) == "busy":
                busy += max(0.0, self._now - worker.last_seen)
        return min(busy, total_seconds(billed))

    def _end(self, attempt: Attempt, start: float) -> float:
        if attempt.status != "running":
            return attempt.finished_at or start
        if self.run.status_of(attempt, self._now, self._stall_after) == "running":
            return self._now
        return min(self._now, self.run.writers.get(attempt.writer or "", start))


class MachineJoin:
    """Which runs use which machines at one time, joined once for all runs.

    Args:
        runs: All known runs.
        fleet: What is known of machines.
        now: Unix seconds.
        stall_after: Seconds of silence after which a run counts as stalled.
    """

    def __init__(self, runs: Iterable[RunState], fleet: FleetState, now: float, stall_after: float) -> None:
        self.fleet = fleet
        self.now = now
        self.stall_after = stall_after
        self._runs = runs
        self._users: dict[str, dict[RunState, list[Interval]]] | None = None
        self._joined_since = math.inf
        self._shares: dict[str, dict[RunState, float]] = {}
        self._declared_shares: dict[str, dict[RunState, float]] = {}

    def get_share(self, run: RunState, period: Interval | None, machine: MachineRef, billed: list[Interval]) -> float:
        """Return the share of the time in which a run uses a machine that counts for it, where others use it too."""
        total = total_seconds(billed)
        if period is None or not total or machine.key.startswith("worker:"):  # such a key is one worker's own
            return 1.0
        users = self._join(period).get(machine.key, {})
        if len(users) < 2:
            return 1.0
        if machine.key not in self._shares:
            self._shares[machine.key] = share_seconds(users)
        return self._shares[machine.key].get(run, total) / total

    def is_named(self, machine: MachineRef, period: Interval) -> bool:
        """Return whether the workers of a run that overlaps the period name a machine."""
        users = self._join(period).get(machine.key, {})
        return any(_overlaps(period, _get_period(run, self.now, self.stall_after)) for run in users)

    def get_declared_share(self, run: RunState, machine: MachineRef, billed: list[Interval]) -> float:
        """Return a run's share of a declared machine that no worker names, among all runs of its time."""
        if machine.key not in self._declared_shares:
            exists = _get_declared_span(machine, self.now)
            users = {other: intersection([period], exists) for other, period in self._periods}
            self._declared_shares[machine.key] = share_seconds(users)
        total = total_seconds(billed)
        return self._declared_shares[machine.key].get(run, total) / total if total else 1.0

    @cached_property
    def _periods(self) -> list[tuple[RunState, Interval]]:
        found = ((run, _get_period(run, self.now, self.stall_after)) for run in self._runs)
        return [(run, period) for run, period in found if period is not None]

    @cached_property
    def _since(self) -> float:
        """Runs that ended before this time overlap no running run: they are joined only for a run that has ended."""
        running = (period[0] for run, period in self._periods if run.status(self.now, self.stall_after) == "running")
        return min(running, default=self.now)

    def _join(self, period: Interval) -> dict[str, dict[RunState, list[Interval]]]:
        """Return the users of each machine, at least those that overlap a period."""
        if self._users is None or period[0] < self._joined_since:
            self._joined_since = self._since if period[0] >= self._since else -math.inf
            self._users, self._shares = {}, {}
            for run, own in self._periods:
                if own[1] < self._joined_since:
                    continue
                for use in list_machine_uses(run, self.fleet, self.now, self.stall_after):
                    billed = find_billed_intervals(use.spans, use.machine, self.fleet, self.now)
                    self._users.setdefault(use.machine.key, {})[run] = billed
        return self._users


def compute_run_machine_costs(
    run: RunState,
    fleet: FleetState | None,
    prices: PriceTable,
    now: float,
    stall_after: float,
    join: MachineJoin | None = None,
) -> MachineCosts:
    """Return the machines of a run with their hours and cost, busy and idle; without a price the cost is None.

    Time in which several runs use one machine is divided between them. A declared machine that no worker names is
    divided between all runs that are running meanwhile.

    Args:
        run: The run.
        fleet: What is known of machines.
        prices: The user's price table, used where there is no fleet.
        now: Unix seconds.
        stall_after: Seconds of silence after which a run counts as stalled.
        join: The machines of all known runs at this time; by default those of this run alone.
    """
    fleet = fleet if fleet is not None else FleetState(prices)
    join = join if join is not None else MachineJoin([run], fleet, now, stall_after)
    period = _get_period(run, now, stall_after)
    busy = BusyTime(run, now, stall_after)
    rows = []
    named = set()
    for use in list_machine_uses(run, fleet, now, stall_after):
        named.add(use.machine.key)
        billed = find_billed_intervals(use.spans, use.machine, fleet, now)
        rows.append(_make_run_row(busy, use, billed, join.get_share(run, period, use.machine, billed), fleet, now))
    if period is not None:
        for machine in fleet.list_declared():
            if machine.key in named or join.is_named(machine, period):
                continue
            billed = intersection([period], _get_declared_span(machine, now))
            if not billed:
                continue
            share = join.get_declared_share(run, machine, billed)
            rows.append(_make_served_row(busy, machine, billed, share, fleet, now))
    return MachineCosts(tuple(rows))


def _make_run_row(
    busy: BusyTime,
    use: MachineUse,
    billed: list[Interval],
    share: float,
    fleet: FleetState,
    now: float,
) -> MachineRow:
    run_id = busy.run.run_id
    working = busy.seconds(use, billed)
    hours = (working * share, (total_seconds(billed) - working) * share, 0.0)
    rate = fleet.get_rate(use.machine, now, use.worker_rate)
    return _make_row(use.machine, rate, hours, (run_id,), use.live and _is_billing(billed, now), use.named)


def _make_served_row(
    busy: BusyTime,
    machine: MachineRef,
    billed: list[Interval],
    share: float,
    fleet: FleetState,
    now: float,
) -> MachineRow:
    run_id = busy.run.run_id
    working = total_seconds(intersection(billed, busy.spans()))
    hours = (working * share, (total_seconds(billed) - working) * share, 0.0)
    return _make_row(machine, fleet.get_rate(machine, now), hours, (run_id,), _is_billing(billed, now), True)


def _is_billing(billed: Sequence[Interval], now: float) -> bool:
    return bool(billed) and billed[-1][1] >= now


def _make_row(
    machine: MachineRef,
    rate: Rate | None,
    seconds: tuple[float, float, float],
    run_ids: tuple[str, ...],
    billing: bool,
    named: bool,
) -> MachineRow:
    """A row; ``seconds`` busy, idle and unused."""
    busy, idle, unused = seconds
    return MachineRow(
        name=machine.name,
        component=classify_component(machine.provider, machine.size),
        provider=machine.provider,
        instance_type=machine.size,
        hourly_rate_usd=None if rate is None else rate.usd_per_hour,
        priced_by=None if rate is None else rate.priced_by,
        busy_hours=busy / HOUR,
        idle_hours=idle / HOUR,
        unused_hours=unused / HOUR,
        run_ids=run_ids,
        named=named,
        billing=billing,
        key=machine.key,
        ends_at=machine.vm.interruption.at if machine.vm is not None and machine.vm.interruption is not None else None,
    )


def _get_period(run: RunState, now: float, stall_after: float) -> Interval | None:
    if run.started_at is None:
        return None
    running = run.status(now, stall_after) == "running"
    end = run.ended_at if run.ended_at is not None else now if running else run.last_event_at
    return (run.started_at, end) if end > run.started_at else None


def _overlaps(one: Interval, other: Interval | None) -> bool:
    return other is not None and one[0] < other[1] and other[0] < one[1]


class _Tally:
    """The use that all runs made of one machine."""

    def __init__(self) -> None:
        self.spans: list[Interval] = []
        self.uses: list[tuple[BusyTime, MachineUse, list[Interval]]] = []
        """With the intervals in which the machine billed meanwhile."""
        self.served = 0.0
        """Of a machine that no worker names: seconds in which the runs that it served had a task."""
        self.run_ids: list[str] = []
        self.rate: float | None = None
        self.size: str | None = None
        self.provider: str | None = None

    def busy_seconds(self) -> float:
        """Return the seconds in which it had a task of any run; time with tasks of several runs counts once."""
        shared = sum(total_seconds(billed) for _, _, billed in self.uses) > total_seconds(union(self.spans)) + 1e-6
        if shared and all(busy.spans() for busy, _, _ in self.uses):
            return total_seconds(
                union(span for busy, use, billed in self.uses for span in busy.within(use.workers, billed))
            )
        return self.served + sum(busy.seconds(use, billed) for busy, use, billed in self.uses)


def compute_fleet_machine_costs(
    runs: Iterable[RunState], fleet: FleetState, now: float, stall_after: float
) -> Iterator[tuple[MachineRef, MachineRow]]:
    """Yield every known machine with its hours so far: busy for a run, idle within a run, used by no run.

    Hours count from when the machine's power state was first known (a declared machine's from its start). A machine
    that only a registry names has no known state: its hours are those in which runs used it.

    Args:
        runs: All known runs.
        fleet: What is known of machines.
        now: Unix seconds.
        stall_after: Seconds of silence after which a run counts as stalled.
    """
    machines = list(fleet.list_machines())
    since = min((_known_since(machine, now) for machine in machines), default=now)
    tallies: dict[str, _Tally] = {}
    serving: list[tuple[RunState, Interval]] = []
    for run in runs:
        period = _get_period(run, now, stall_after)
        if period is None or period[1] <= since:
            continue
        serving.append((run, period))
        busy_of = BusyTime(run, now, stall_after)
        for use in list_machine_uses(run, fleet, now, stall_after):
            tally = tallies.setdefault(use.machine.key, _Tally())
            billed = find_billed_intervals(use.spans, use.machine, fleet, now)
            tally.spans += billed
            tally.uses.append((busy_of, use, billed))
            tally.rate = use.worker_rate if use.worker_rate is not None else tally.rate
            tally.size, tally.provider = use.machine.size, use.machine.provider
            if use.live:
                tally.run_ids.append(run.run_id)
    for known in machines:
        tally = tallies.get(known.key) or _shared_machine_use(known, serving, now, stall_after)
        machine = known._replace(size=known.size or tally.size, provider=known.provider or tally.provider)
        used = union(tally.spans)
        exists = _get_declared_span(machine, now)
        if machine.vm is not None:
            exists = machine.vm.list_billing(fleet.get_known_until(machine.vm, now))
        busy = min(tally.busy_seconds(), total_seconds(used))
        unused = total_seconds(difference(exists, used))
        rate = fleet.get_rate(machine, now, tally.rate)
        billing = _is_billing(exists, now) or (bool(tally.run_ids) and _is_billing(used, now))
        yield (
            machine,
            _make_row(machine, rate, (busy, total_seconds(used) - busy, unused), tuple(tally.run_ids), billing, True),
        )


def _known_since(machine: MachineRef, now: float) -> float:
    if machine.vm is not None and machine.vm.changes:
        return machine.vm.changes[0][0]
    return machine.declared.start if machine.declared is not None else 0.0 if machine.registered is not None else now


def _shared_machine_use(
    machine: MachineRef, serving: list[tuple[RunState, Interval]], now: float, stall_after: float
) -> _Tally:
    """Return the use that the runs made of a machine that no worker names."""
    tally = _Tally()
    if machine.declared is None or machine.vm is not None:
        return tally
    exists = _get_declared_span(machine, now)
    busy: list[Interval] = []
    for run, period in serving:
        used = intersection([period], exists)
        if not used:
            continue
        tally.spans += used
        busy += intersection(BusyTime(run, now, stall_after).spans(), used)
        if run.status(now, stall_after) == "running":
            tally.run_ids.append(run.run_id)
    tally.served = total_seconds(union(busy))
    return tally
