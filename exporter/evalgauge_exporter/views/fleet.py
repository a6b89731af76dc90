"""The fleet as people and Prometheus see it: the samples of ``/metrics`` and what the machine endpoints answer.

The endpoints have the shapes of OpenAdapt's own server, with power state, price and cost added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from evalgauge import metrics as m
from evalgauge.metrics import Metric
from evalgauge_exporter.analysis.machine_costs import MachineRow
from evalgauge_exporter.analysis.machine_usage import fleet_machine_cost, uses
from evalgauge_exporter.sources.probe import address_of
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import Job, ProbeSeen
from evalgauge_exporter.state.fleet_models import GONE, MachineRef, VmState
from evalgauge_exporter.state.run import RunState

Sample = tuple[Metric, Sequence[str], float | int]

LIVE_JOBS = frozenset(
    {"notstarted", "starting", "provisioning", "preparing", "queued", "running", "finalizing", "cancelrequested"}
)
SHOWN_JOBS = 10


def fleet_samples(fleet: FleetState, now: float) -> Iterator[Sample]:
    """What the fleet exposes as of ``now``: nothing that is older than three of its source's intervals."""
    yield from _machines(fleet, now)
    jobs: Counter[tuple[str, str]] = Counter()
    for scope, seen in fleet.jobs.items():
        if fleet.jobs_stand(scope, now):
            for status, count in seen.counts.items():
                jobs[seen.workspace, status] += count  # workspaces of one name in two groups are counted together
    for labels, count in jobs.items():
        yield m.AZURE_ML_JOBS, labels, count
    for probe in fleet.shown_probes(now):
        yield m.PROBE_SUCCESS, (probe.name, probe.kind), int(probe.ok)
        yield m.PROBE_DURATION, (probe.name, probe.kind), probe.seconds
    yield from _sources(fleet, now)
    for scope, room in sorted(fleet.headroom.items()):
        if fleet.subscription_stands(scope, now):
            for bucket, left in room.left.items():
                yield m.AZURE_RATELIMIT, (scope, bucket), left


def _machines(fleet: FleetState, now: float) -> Iterator[Sample]:
    for labels, machine in shown_machines(fleet, now):
        power = _power(fleet, machine, now)
        for word in m.POWER_STATES:
            yield m.VM_POWER_STATE, (*labels, word), int(word == power)
        info = fleet.info(machine.vm, now) if machine.vm is not None else None
        if machine.vm is not None and info is None:
            continue
        yield m.VM_INFO, (*labels, machine.location or "", machine.size or ""), 1
        created = info.created_at if info is not None else machine.declared.start if machine.declared else None
        if created is not None:
            yield m.VM_CREATED, labels, created
        if (rate := fleet.rate(machine, now)) is not None:
            yield m.VM_PRICE, (*labels, rate.priced_by), rate.usd_per_hour


def machine_use_samples(
    fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float
) -> Iterator[Sample]:
    """How many runs that go on use each machine, and how many of their workers on it have a task; zeros too.

    A declared machine that no worker names serves all runs that go on. Where a worker's machine may be any of several
    VMs of one name, each of them counts as used: an alarm about a machine that works would be worse than none.
    """
    going = [run for run in runs if run.status(now, stall_after) == "running"]
    used: dict[str, list[int]] = {}
    for run in going:
        for use in uses(run, fleet, now, stall_after):
            if use.live:
                told = use.machine.vm is not None or use.machine.declared is not None
                tally = used.setdefault(use.machine.key if told else _any_named(use.machine.name), [0, 0])
                tally[0] += 1
                states = (run.worker_state(run.workers[name], now, stall_after) for name in use.workers)
                tally[1] += sum(state == "busy" for state in states)
    serving = (len(going), sum(len(run.running_attempts(now, stall_after)) for run in going))
    for labels, machine in shown_machines(fleet, now):
        names = fleet.aliases(machine.vm) if machine.vm is not None else {machine.name}
        keys = [machine.key, *(_any_named(name) for name in sorted(names))]
        found = next((used[key] for key in keys if key in used), None)
        count, busy = found or (serving if machine.declared is not None else (0, 0))
        yield m.VM_RUNS, labels, count
        yield m.VM_BUSY_WORKERS, labels, busy


def _any_named(name: str) -> str:
    return f"any named:{name.lower()}"


def shown_machines(fleet: FleetState, now: float) -> Iterator[tuple[tuple[str, str], MachineRef]]:
    """The machines that have series, with the labels ``vm`` and ``resource_group`` that tell them apart."""
    labels = _labels([vm for vm in fleet.vms.values() if vm.changes and vm.state != GONE])
    for vm in fleet.present_vms(now):
        yield labels[vm.vm_id], fleet.machine_of_vm(vm)
    taken = set(labels.values())
    for declared in fleet.declared.values():
        if (declared.name, declared.provider) not in taken:
            yield (declared.name, declared.provider), fleet.machine_of_declared(declared)


def _labels(vms: Sequence[VmState]) -> dict[str, tuple[str, str]]:
    """Name and resource group by id; where two subscriptions have the same, the group also says which it is.

    Of all machines that are known, so that one subscription's outage renames no machine of the other.
    """
    plain = {vm.vm_id: (vm.name, vm.resource_group) for vm in vms}
    counts = Counter((name.lower(), group) for name, group in plain.values())
    return {
        vm.vm_id: (vm.name, f"{vm.scope}/{vm.resource_group}")
        if counts[vm.name.lower(), vm.resource_group] > 1
        else plain[vm.vm_id]
        for vm in vms
    }


def _sources(fleet: FleetState, now: float) -> Iterator[Sample]:
    """One row for each kind of source: up where all its places are, the oldest success, the longest refresh.

    A place is not up either once what it said no longer stands: its refresh hangs, and has not failed yet.
    """
    by_source: dict[str, list[str]] = {}
    for source, scope in fleet.health:
        if source in m.SOURCES:
            by_source.setdefault(source, []).append(scope)
    for source, scopes in sorted(by_source.items()):
        places = [fleet.health[source, scope] for scope in scopes]
        up = all(fleet.health[source, scope].up and fleet.stands(source, scope, now) for scope in scopes)
        yield m.SOURCE_UP, (source,), int(up)
        successes = [place.last_success_at for place in places if place.last_success_at is not None]
        if len(successes) == len(places):
            yield m.SOURCE_LAST_SUCCESS, (source,), min(successes)
        durations = [place.refresh_seconds for place in places if place.refresh_seconds is not None]
        if durations:
            yield m.SOURCE_REFRESH_DURATION, (source,), max(durations)
    for (source, reason), count in sorted(fleet.errors.items()):
        if source in m.SOURCES:
            yield m.SOURCE_ERRORS, (source, reason), count


# -- /api


def vms(fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float) -> list[dict[str, Any]]:
    """``/api/vms``: every machine that is known, with its power state, price, cost so far and the runs that use it."""
    answer = []
    open_tunnels = tunnels(fleet, now)
    probes: dict[str, dict[str, ProbeSeen]] = {}
    for probe in fleet.standing_probes(now):
        probes.setdefault(probe.name.lower(), {})[probe.kind] = probe
    for machine, cost in fleet_machine_cost(runs, fleet, now, stall_after):
        if machine.vm is not None and machine.vm.state == GONE:
            continue
        row = _vm(fleet, machine, cost, probes.get(machine.name.lower(), {}), now)
        row["tunnels"] = {name: row for name, row in open_tunnels.items() if name.lower() == machine.name.lower()}
        answer.append(row)
    return sorted(answer, key=lambda row: (str(row["name"]), str(row["resource_group"])))


def _vm(
    fleet: FleetState, machine: MachineRef, cost: MachineRow, probes: dict[str, ProbeSeen], now: float
) -> dict[str, Any]:
    known = machine.registered
    info = fleet.info(machine.vm, now) if machine.vm is not None else None
    waa, vnc = probes.get("waa"), probes.get("vnc")
    asked = max((probe.ts for probe in probes.values()), default=None)
    return {
        "name": machine.name,
        "ssh_host": known.host if known else None,
        "ssh_user": known.ssh_user if known else None,
        "vnc_port": known.vnc_port if known else None,
        "waa_port": known.waa_port if known else None,
        "docker_container": known.docker_container if known else None,
        "internal_ip": known.internal_ip if known else None,
        "status": _status(list(probes.values())),
        "last_checked": _iso(asked),
        "vnc_reachable": vnc.ok if vnc is not None else None,
        "waa_probe_status": waa.detail if waa is not None else None,
        "tunnels": {},
        "provider": machine.provider,
        "subscription_id": machine.vm.scope if machine.vm else None,
        "resource_group": machine.vm.resource_group if machine.vm else known.resource_group if known else None,
        "location": machine.location,
        "size": cost.instance_type,
        "power_state": _power(fleet, machine, now),
        "created_at": _iso(info.created_at if info else machine.declared.start if machine.declared else None),
        "tags": dict(info.tags) if info else {},
        "component": cost.component,
        "billing": cost.billing,
        "hourly_rate_usd": cost.hourly_rate_usd,
        "priced_by": cost.priced_by,
        "cost_usd": cost.cost_usd,
        "cost_busy_usd": cost.cost_of(cost.busy_hours),
        "cost_idle_usd": cost.cost_of(cost.idle_hours),
        "cost_unused_usd": cost.cost_of(cost.unused_hours),
        "hours": cost.hours,
        "busy_hours": cost.busy_hours,
        "idle_hours": cost.idle_hours,
        "unused_hours": cost.unused_hours,
        "run_ids": list(cost.run_ids),
    }


def _status(probes: Sequence[ProbeSeen]) -> str:
    if not probes:
        return "unknown"
    return "online" if any(probe.ok for probe in probes) else "offline"


def _power(fleet: FleetState, machine: MachineRef, now: float) -> str | None:
    """None where nobody tells: not known is not the same as Azure's ``unknown``."""
    if machine.vm is not None:
        return machine.vm.state if fleet.power_known(machine.vm, now) else None
    if machine.declared is None:
        return None
    bills = machine.declared.start <= now and (machine.declared.stop is None or now < machine.declared.stop)
    return "running" if bills else "deallocated"


def tunnels(fleet: FleetState, now: float) -> dict[str, dict[str, Any]]:
    """``/api/tunnels``: the configured tunnels by name, and whether something answers through them."""
    answer = {}
    probes = {probe.name: probe for probe in fleet.standing_probes(now) if probe.kind == "tunnel"}
    for name, tunnel in fleet.tunnels.items():
        probe = probes.get(name)
        answer[name] = {
            "active": probe.ok if probe is not None else False,
            "local_port": tunnel.local_port,
            "remote_endpoint": tunnel.remote,
            "pid": None,
            "error": "not probed yet" if probe is None else None if probe.ok else probe.detail,
            "last_checked": _iso(probe.ts if probe is not None else None),
        }
    return answer


def probe_vm(fleet: FleetState, now: float, name: str | None = None) -> dict[str, Any]:
    """``/api/probe-vm``: the WAA server of the machine ``name``, else of the first that answers, else of the first.

    All probes are under ``probes``.
    """
    every = list(fleet.standing_probes(now))
    waa = [probe for probe in every if probe.kind == "waa" and name in (None, probe.name)]
    chosen = next((probe for probe in waa if probe.ok), waa[0] if waa else None)
    machine = fleet.registered(chosen.name) if chosen is not None else None
    return {
        "responding": chosen.ok if chosen is not None else False,
        "vm_ip": (machine.host if machine else _host(chosen)) if chosen is not None else None,
        "container": machine.docker_container if machine else None,
        "probe_result": chosen.detail if chosen is not None else "no WAA server is probed",
        "last_checked": _iso(chosen.ts if chosen is not None else None),
        "probes": [
            {
                "name": probe.name,
                "kind": probe.kind,
                "target": probe.target,
                "responding": probe.ok,
                "duration_seconds": probe.seconds,
                "probe_result": probe.detail,
                "last_checked": _iso(probe.ts),
            }
            for probe in every
        ],
    }


def _host(probe: ProbeSeen) -> str | None:
    try:
        return address_of(probe.kind, probe.target).host
    except ValueError:
        return None


def azure_jobs(fleet: FleetState, now: float) -> list[dict[str, Any]]:
    """``/api/azure-jobs``: the newest jobs of all workspaces, the newest first."""
    jobs = [
        (job, seen.workspace)
        for scope, seen in fleet.jobs.items()
        if fleet.jobs_stand(scope, now)
        for job in seen.newest
    ]
    jobs.sort(key=lambda row: row[0].created_at or 0.0, reverse=True)
    return [_job(job, workspace, now) for job, workspace in jobs[:SHOWN_JOBS]]


def _job(job: Job, workspace: str, now: float) -> dict[str, Any]:
    live = job.status in LIVE_JOBS
    end = job.ended_at if job.ended_at is not None else now if live else None
    minutes = (end - job.started_at) / 60 if end is not None and job.started_at is not None else None
    return {
        "job_id": job.job_id,
        "display_name": job.display_name,
        "status": job.status,
        "started_at": _iso(job.started_at or job.created_at),
        "azure_dashboard_url": job.url,
        "is_live": live,
        "created_at": _iso(job.created_at),
        "compute_target": job.compute,
        "duration_minutes": minutes,
        "job_type": job.job_type,
        "workspace": workspace,
    }


def tasks(fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float) -> list[dict[str, Any]]:
    """``/api/tasks``: what goes on in the background: runs, machines that start or end, containers that come up."""
    answer = [_run_task(run, now, stall_after) for run in runs if run.status(now, stall_after) == "running"]
    for vm in fleet.present_vms(now):
        if vm.state in ("starting", "stopping", "deallocating"):
            answer.append(
                _task(
                    f"vm:{vm.name}",
                    "vm_provision",
                    "running",
                    vm.state,
                    f"{vm.name} is {vm.state}",
                    now - vm.changes[-1][0],
                    {"vm": vm.name, "resource_group": vm.resource_group},
                )
            )
    for probe in fleet.shown_probes(now):
        if probe.kind == "waa":
            phase = "ready" if probe.ok else "waiting"
            title = f"The WAA server of {probe.name} " + ("answers" if probe.ok else "does not answer")
            status = "completed" if probe.ok else "running"
            answer.append(
                _task(f"waa:{probe.name}", "docker_container", status, phase, title, None, {"detail": probe.detail})
            )
    return answer


def _run_task(run: RunState, now: float, stall_after: float) -> dict[str, Any]:
    statuses = run.statuses(now, stall_after)
    done = sum(count for status, count in statuses.items() if status not in ("pending", "running"))
    row = _task(
        f"run:{run.run_id}",
        "benchmark_run",
        "running",
        "evaluating",
        f"{run.benchmark} with {run.model}",
        now - run.started_at if run.started_at is not None else None,
        {"run_id": run.run_id, "total_tasks": run.total, "completed_tasks": done},
    )
    row["progress_percent"] = 100.0 * done / run.total if run.total else None
    return row


def _task(
    task_id: str, kind: str, status: str, phase: str, title: str, seconds: float | None, metadata: dict[str, Any]
) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "task_type": kind,
        "status": status,
        "phase": phase,
        "title": title,
        "description": title,
        "progress_percent": None,
        "elapsed_seconds": seconds,
        "metadata": metadata,
    }


def _iso(ts: float | None) -> str | None:
    return None if ts is None else datetime.fromtimestamp(ts, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
