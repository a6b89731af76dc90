"""Machines, workers and runs joined: which run used which machine for how long, and what that cost.

A worker's machine is the one it named (``vm``), else the one that has its id as name: an Azure VM's, one of the
configuration's, one of OpenAdapt's registries'. Where Azure told the machine's power states, it costs what they say
(deallocated does not bill, stopped does); where not, it costs from the worker's first word to its last. A declared
machine that no worker names serves the runs that go on while it bills, in equal parts: a GPU box with the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from evalgauge.pricing import PriceTable
from evalgauge_exporter.analysis.machine_costs import MachineCosts, MachineRow, component_of
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_models import AZURE, BILLING, FREE, MachineRef, Rate
from evalgauge_exporter.state.intervals import Interval, difference, intersection, length, shares, union
from evalgauge_exporter.state.models import Attempt, Worker
from evalgauge_exporter.state.run import RunState

HOUR = 3600.0

_over: WeakKeyDictionary[RunState, tuple[int, dict[str | None, list[Interval]]]] = WeakKeyDictionary()
"""Of runs that are over: their version, and when each worker's attempts were worked at. Such a run may have let its
attempts go, and reading its files at each look would take long."""


class MachineUse(NamedTuple):
    """One run's use of one machine."""

    machine: MachineRef
    workers: tuple[str, ...]
    spans: tuple[Interval, ...]
    """From its workers' first word to their last, of those that go on to now."""
    live: bool
    """Whether one of them goes on."""
    worker_rate: float | None
    named: bool


def machine_of(run_id: str, worker_id: str, worker: Worker, fleet: FleetState | None) -> MachineRef:
    """The machine that a worker runs on; one of its own where nothing known has its name."""
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
    return MachineRef(key, worker.vm or worker_id, provider, worker.vm_size, None)


def worker_span(run: RunState, worker: Worker, now: float, stall_after: float) -> tuple[Interval, bool]:
    """From a worker's first word to when it ended, and whether it goes on (then the end is ``now``)."""
    if run.worker_state(worker, now, stall_after) in ("stopped", "lost"):
        if worker.state in ("stopped", "lost") and worker.stamp is not None:
            end = worker.stamp.ts
        elif (ended := run.ended_at) is not None:
            end = ended
        else:
            end = worker.last_seen
        return (worker.first_seen, max(worker.first_seen, end)), False
    return (worker.first_seen, max(worker.first_seen, now)), True


def worker_spans(run: RunState, worker: Worker, now: float, stall_after: float) -> tuple[list[Interval], bool]:
    """When a worker was there, and whether it goes on.

    From its first word to its end, without the time from when it stopped or was lost to when it was back, and without
    the silence of those who speak of it where that is longer than ``stall_after``: the night before a run was resumed.
    """
    whole, live = worker_span(run, worker, now, stall_after)
    there: list[tuple[float, float, bool]] = []  # from, to, whether it ended in so many words
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


def uses(run: RunState, fleet: FleetState | None, now: float, stall_after: float) -> list[MachineUse]:
    """The machines that a run's workers are on, one row for each."""
    found: dict[str, MachineUse] = {}
    for worker_id, worker in run.workers.items():
        machine = machine_of(run.run_id, worker_id, worker, fleet)
        spans, live = worker_spans(run, worker, now, stall_after)
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


def billed_in(use: Sequence[Interval], machine: MachineRef, fleet: FleetState | None, now: float) -> list[Interval]:
    """When a machine billed while a run used it: all that time but what is known to be free."""
    spans = union(use)
    if machine.declared is not None:
        return intersection(spans, _declared_span(machine, now))
    if fleet is None or machine.vm is None:
        return spans
    return difference(spans, machine.vm.within(FREE, fleet.known_until(machine.vm, now)))


def _declared_span(machine: MachineRef, now: float) -> list[Interval]:
    declared = machine.declared
    if declared is None:
        return []
    stop = now if declared.stop is None else min(now, declared.stop)
    return union([(declared.start, stop)])


class BusyTime:
    """When the attempts of a run were worked at; goes through them at most once, and only when asked."""

    def __init__(self, run: RunState, now: float, stall_after: float) -> None:
        self.run = run
        self._now = now
        self._stall_after = stall_after
        self._by_worker: dict[str | None, list[Interval]] | None = None

    def spans(self, workers: Iterable[str | None] | None = None) -> list[Interval]:
        """When any attempt at one of these workers was worked at, or any at all."""
        if self._by_worker is None:
            self._by_worker = self._spans_by_worker()
        names = self._by_worker if workers is None else workers
        return union(span for name in names for span in self._by_worker.get(name, ()))

    def _spans_by_worker(self) -> dict[str | None, list[Interval]]:
        version, kept = _over.get(self.run, (None, {}))
        if version == self.run.version:
            return kept
        found: dict[str | None, list[Interval]] = {}
        for attempt in self.run.attempts.values():
            if attempt.started_at is not None:
                span = (attempt.started_at, self._end(attempt, attempt.started_at))
                found.setdefault(attempt.worker_id, []).append(span)
        if self.run.is_finished() and not self.run.open_attempts:
            _over[self.run] = (self.run.version, found)
        return found

    def within(self, workers: Iterable[str | None] | None, billed: list[Interval]) -> list[Interval]:
        """When any attempt at one of these workers, or any at all, was worked at while a machine billed."""
        return intersection(self.spans(workers), billed)

    def seconds(self, use: MachineUse, billed: list[Interval]) -> float:
        """How long the machine had a task while it billed."""
        if len(use.workers) > 1 and self.spans():  # their tasks overlap: each moment counts once
            return length(self.within(use.workers, billed))
        busy = 0.0
        for worker in (self.run.workers[name] for name in use.workers):
            busy += worker.busy_seconds
            if use.live and self.run.worker_state(worker, self._now, self._stall_after) == "busy":
                busy += max(0.0, self._now - worker.last_seen)
        return min(busy, length(billed))

    def _end(self, attempt: Attempt, start: float) -> float:
        if attempt.status != "running":
            return attempt.finished_at or start
        if self.run.status_of(attempt, self._now, self._stall_after) == "running":
            return self._now
        return min(self._now, self.run.writers.get(attempt.writer or "", start))


def run_machine_cost(
    run: RunState,
    fleet: FleetState | None,
    prices: PriceTable,
    now: float,
    stall_after: float,
    runs: Iterable[RunState] = (),
) -> MachineCosts:
    """What a run's machines cost it as of ``now``: busy, and idle within the run; machines without a price have None.

    ``runs`` are all runs that are known: a moment in which several of them use one machine is shared between them, and
    a declared machine that no worker of theirs names is shared by all that go on.
    """
    fleet = fleet if fleet is not None else FleetState(prices)
    period = _period(run, now, stall_after)
    others = [
        other
        for other in runs
        if other is not run and period is not None and _overlap(period, _period(other, now, stall_after))
    ]
    own = uses(run, fleet, now, stall_after)
    theirs = [(other.run_id, use) for other in others for use in uses(other, fleet, now, stall_after)]
    busy = BusyTime(run, now, stall_after)
    rows = []
    for use in own:
        billed = billed_in(use.spans, use.machine, fleet, now)
        rivals = {
            other_id: billed_in(other.spans, other.machine, fleet, now)
            for other_id, other in theirs
            if other.machine.key == use.machine.key
        }
        rows.append(_run_row(busy, use, billed, rivals, fleet, now))
    named = {use.machine.key for use in own} | {use.machine.key for _, use in theirs}
    if period is not None:
        for machine in map(fleet.machine_of_declared, fleet.declared.values()):
            if machine.key in named:
                continue
            billed = intersection([period], _declared_span(machine, now))
            if not billed:
                continue
            rivals = {}
            for other in others:
                if (theirs_period := _period(other, now, stall_after)) is not None:
                    rivals[other.run_id] = intersection([theirs_period], _declared_span(machine, now))
            rows.append(_served_row(busy, machine, billed, rivals, fleet, now))
    return MachineCosts(tuple(rows))


def _run_row(
    busy: BusyTime,
    use: MachineUse,
    billed: list[Interval],
    rivals: dict[str, list[Interval]],
    fleet: FleetState,
    now: float,
) -> MachineRow:
    run_id = busy.run.run_id
    part = _part(run_id, billed, rivals)
    working = busy.seconds(use, billed)
    hours = (working * part, (length(billed) - working) * part, 0.0)
    rate = fleet.rate(use.machine, now, use.worker_rate)
    return _row(use.machine, rate, hours, (run_id,), use.live and _reaches(billed, now), use.named)


def _served_row(
    busy: BusyTime,
    machine: MachineRef,
    billed: list[Interval],
    rivals: dict[str, list[Interval]],
    fleet: FleetState,
    now: float,
) -> MachineRow:
    run_id = busy.run.run_id
    part = _part(run_id, billed, rivals)
    working = length(intersection(billed, busy.spans()))
    hours = (working * part, (length(billed) - working) * part, 0.0)
    return _row(machine, fleet.rate(machine, now), hours, (run_id,), _reaches(billed, now), True)


def _part(run_id: str, billed: list[Interval], rivals: dict[str, list[Interval]]) -> float:
    """The share of the time that a run has to bear, where others used the machine too."""
    total = length(billed)
    if not total or not any(rivals.values()):
        return 1.0
    return shares({**{f"other {name}": spans for name, spans in rivals.items()}, run_id: billed})[run_id] / total


def _reaches(billed: Sequence[Interval], now: float) -> bool:
    return bool(billed) and billed[-1][1] >= now


def _row(
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
        component=component_of(machine.provider, machine.size),
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
    )


def _period(run: RunState, now: float, stall_after: float) -> Interval | None:
    if run.started_at is None:
        return None
    going = run.status(now, stall_after) == "running"
    end = run.ended_at if run.ended_at is not None else now if going else run.last_event_at
    return (run.started_at, end) if end > run.started_at else None


def _overlap(one: Interval, other: Interval | None) -> bool:
    return other is not None and one[0] < other[1] and other[0] < one[1]


class _Tally:
    """What the runs did with one machine."""

    def __init__(self) -> None:
        self.spans: list[Interval] = []
        self.uses: list[tuple[BusyTime, MachineUse, list[Interval]]] = []
        """With when the machine billed meanwhile."""
        self.served = 0.0
        """Seconds in which runs that it served had a task: of a machine that no worker names."""
        self.run_ids: list[str] = []
        self.rate: float | None = None
        self.size: str | None = None
        self.provider: str | None = None

    def busy_seconds(self) -> float:
        """How long it had a task of any run; a moment with tasks of several runs counts once."""
        shared = sum(length(billed) for _, _, billed in self.uses) > length(union(self.spans)) + 1e-6
        if shared and all(busy.spans() for busy, _, _ in self.uses):
            return length(union(span for busy, use, billed in self.uses for span in busy.within(use.workers, billed)))
        return self.served + sum(busy.seconds(use, billed) for busy, use, billed in self.uses)


def fleet_machine_cost(
    runs: Iterable[RunState], fleet: FleetState, now: float, stall_after: float
) -> Iterator[tuple[MachineRef, MachineRow]]:
    """Every known machine with its hours so far: busy for a run, idle within one, used by none.

    Hours count from when the machine's power state was first known (a declared machine's from its start). Of a machine
    of which only a registry tells, no state is known: it has the hours in which runs used it.
    """
    machines = list(fleet.machines())
    since = min((_known_since(machine, now) for machine in machines), default=now)
    tallies: dict[str, _Tally] = {}
    serving: list[tuple[RunState, Interval]] = []
    for run in runs:
        period = _period(run, now, stall_after)
        if period is None or period[1] <= since:
            continue
        serving.append((run, period))
        busy_of = BusyTime(run, now, stall_after)
        for use in uses(run, fleet, now, stall_after):
            tally = tallies.setdefault(use.machine.key, _Tally())
            billed = billed_in(use.spans, use.machine, fleet, now)
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
        exists = _declared_span(machine, now) if machine.declared is not None else []
        if machine.vm is not None:
            exists = machine.vm.within(BILLING, fleet.known_until(machine.vm, now))
        busy = min(tally.busy_seconds(), length(used))
        unused = length(difference(exists, used))
        rate = fleet.rate(machine, now, tally.rate)
        billing = _reaches(exists, now) or (bool(tally.run_ids) and _reaches(used, now))
        yield machine, _row(machine, rate, (busy, length(used) - busy, unused), tuple(tally.run_ids), billing, True)


def _known_since(machine: MachineRef, now: float) -> float:
    if machine.vm is not None and machine.vm.changes:
        return machine.vm.changes[0][0]
    return machine.declared.start if machine.declared is not None else 0.0 if machine.registered is not None else now


def _shared_machine_use(
    machine: MachineRef, serving: list[tuple[RunState, Interval]], now: float, stall_after: float
) -> _Tally:
    """What the runs did with a machine that no worker names."""
    tally = _Tally()
    if machine.declared is None:
        return tally
    exists = _declared_span(machine, now)
    busy: list[Interval] = []
    for run, period in serving:
        used = intersection([period], exists)
        if not used:
            continue
        tally.spans += used
        busy += intersection(BusyTime(run, now, stall_after).spans(), used)
        if run.status(now, stall_after) == "running":
            tally.run_ids.append(run.run_id)
    tally.served = length(union(busy))
    return tally


def worker_machines(
    runs: Iterable[RunState], fleet: FleetState, now: float, stall_after: float
) -> Iterator[tuple[str, str, str]]:
    """``(run_id, worker_id, machine name)`` of the workers that go on and whose machine is known."""
    for run in runs:
        if run.status(now, stall_after) != "running":
            continue
        for use in uses(run, fleet, now, stall_after):
            if use.named and use.live:
                for worker_id in use.workers:
                    yield run.run_id, worker_id, use.machine.name
