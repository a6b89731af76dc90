"""The views of the fleet: the samples of ``/metrics`` and the answers of the machine endpoints.

The endpoints have the shapes of OpenAdapt's own server, with power state, price and cost added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from evalgauge import metrics as m
from evalgauge.metrics import Metric
from evalgauge_exporter.analysis.machine_costs import MachineRow
from evalgauge_exporter.analysis.machine_usage import compute_fleet_machine_costs, list_machine_uses
from evalgauge_exporter.sources.probe import parse_target
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import Job, ProbeSeen
from evalgauge_exporter.state.fleet_models import GONE, MachineRef, VmState
from evalgauge_exporter.state.run import RunState

Sample = tuple[Metric, Sequence[str], float | int]
MachineLabels = tuple[str, str, str, str]
"""The values of ``evalgauge.metrics.MACHINE``."""

LIVE_JOBS = frozenset(
    {"notstarted", "starting", "provisioning", "preparing", "queued", "running", "finalizing", "cancelrequested"}
)
SHOWN_JOBS = 10


def collect_fleet_samples(fleet: FleetState, now: float) -> Iterator[Sample]:
    """Yield the fleet's samples as of ``now`` (Unix seconds), without what is older than three of its intervals."""
    yield from _collect_machines(fleet, now)
    jobs: Counter[tuple[str, str]] = Counter()
    for scope, seen in fleet.jobs.items():
        if fleet.are_jobs_current(scope, now):
            for status, count in seen.counts.items():
                jobs[seen.workspace, status] += count  # workspaces of one name in two groups are counted together
    for labels, count in jobs.items():
        yield m.AZURE_ML_JOBS, labels, count
    for probe in fleet.list_shown_probes(now):
        yield m.PROBE_SUCCESS, (probe.name, probe.kind), int(probe.ok)
        yield m.PROBE_DURATION, (probe.name, probe.kind), probe.seconds
    yield from _collect_sources(fleet, now)
    for scope, room in sorted(fleet.rate_limits.items()):
        if fleet.is_account_current(scope, now):
            for bucket, left in room.left.items():
                yield m.AZURE_RATELIMIT, (scope, bucket), left


def _collect_machines(fleet: FleetState, now: float) -> Iterator[Sample]:
    for labels, machine in list_shown_machines(fleet, now):
        power = _get_power_state(fleet, machine, now)
        for word in m.POWER_STATES:
            yield m.VM_POWER_STATE, (*labels, word), int(word == power)
        info = fleet.get_info(machine.vm, now) if machine.vm is not None else None
        if machine.vm is not None and info is None:
            continue
        yield m.VM_INFO, (*labels, machine.location or "", machine.size or ""), 1
        created = info.created_at if info is not None else machine.declared.start if machine.declared else None
        if created is not None:
            yield m.VM_CREATED, labels, created
        if machine.vm is not None and machine.vm.interruption is not None:
            yield m.VM_INTERRUPTION, labels, machine.vm.interruption.at
        if (rate := fleet.get_rate(machine, now)) is not None:
            yield m.VM_PRICE, (*labels, rate.priced_by), rate.usd_per_hour


def collect_machine_use_samples(
    fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float
) -> Iterator[Sample]:
    """Yield how many running runs use each machine, and how many of their workers on it have a task; zeros too.

    A declared machine that no worker names serves all running runs. Where a worker's machine may be any of several VMs
    with one name, each of them counts as used: an alert about a machine that works would be worse than none. Machines
    that are not for evaluations have no samples unless a worker is on them.

    Args:
        fleet: The machines.
        runs: All runs.
        now: Unix seconds.
        stall_after: Seconds of silence after which a run counts as stalled.
    """
    shown = list(list_shown_machines(fleet, now))
    if not shown:
        return
    active = [run for run in runs if run.status(now, stall_after) == "running"]
    used: dict[str, list[int]] = {}
    for run in active:
        for use in list_machine_uses(run, fleet, now, stall_after):
            if use.live:
                resolved = use.machine.vm is not None or use.machine.declared is not None
                tally = used.setdefault(use.machine.key if resolved else _ambiguous_key(use.machine.name), [0, 0])
                tally[0] += 1
                states = (run.worker_state(run.workers[name], now, stall_after) for name in use.workers)
                tally[1] += sum(state == "busy" for state in states)
    serving = (len(active), sum(len(run.running_attempts(now, stall_after)) for run in active))
    for labels, machine in shown:
        names = fleet.list_aliases(machine.vm) if machine.vm is not None else {machine.name}
        keys = [machine.key, *(_ambiguous_key(name) for name in sorted(names))]
        found = next((used[key] for key in keys if key in used), None)
        if found is None and machine.vm is not None and not fleet.is_for_evaluation(machine.vm):
            continue  # nobody waits for it to be used, so it has no series that an alert could fire on
        count, busy = found or (serving if machine.vm is None else (0, 0))
        yield m.VM_RUNS, labels, count
        yield m.VM_BUSY_WORKERS, labels, busy


def _ambiguous_key(name: str) -> str:
    return f"any named:{name.lower()}"


def list_shown_machines(fleet: FleetState, now: float) -> Iterator[tuple[MachineLabels, MachineRef]]:
    """Yield the machines that have series, with the labels that distinguish them."""
    labels = _label_vms([vm for vm in fleet.vms.values() if vm.changes and vm.state != GONE])
    for vm in fleet.list_present_vms(now):
        name, group = labels[vm.vm_id]
        yield (name, group, group, vm.provider), fleet.machine_of_vm(vm)
    taken = set(labels.values())
    for machine in fleet.list_declared():
        provider = machine.provider or ""
        if (machine.name, provider) not in taken:
            yield (machine.name, provider, provider, provider), machine


def _label_vms(vms: Sequence[VmState]) -> dict[str, tuple[str, str]]:
    """Return name and group by id.

    Where two accounts share both, the group names the account too; where that is not enough, as in a group of instances
    that have one name, the name is the machine's id. All known machines take part, so that an outage of one account
    renames no machine of another.
    """

    def count(labels: Mapping[str, tuple[str, str]]) -> Counter[tuple[str, str]]:
        return Counter((name.lower(), group) for name, group in labels.values())

    labels = {vm.vm_id: (vm.name, vm.group) for vm in vms}
    counts = count(labels)
    for vm in vms:
        if counts[vm.name.lower(), vm.group] > 1:
            labels[vm.vm_id] = (vm.name, f"{vm.scope}/{vm.group}")
    counts = count(labels)
    for vm in vms:
        name, group = labels[vm.vm_id]
        if counts[name.lower(), group] > 1:
            labels[vm.vm_id] = (vm.vm_id.rpartition("/")[2], vm.group)
    return labels


def _collect_sources(fleet: FleetState, now: float) -> Iterator[Sample]:
    """Yield one row for each kind of source: up where all its scopes are, the oldest success, the longest refresh.

    A scope whose data is no longer current is not up either: its refresh hangs, and has not failed yet.
    """
    by_source: dict[str, list[str]] = {}
    for source, scope in fleet.health:
        if source in m.SOURCES:
            by_source.setdefault(source, []).append(scope)
    for source, scopes in sorted(by_source.items()):
        healths = [fleet.health[source, scope] for scope in scopes]
        up = all(fleet.health[source, scope].up and fleet.is_current(source, scope, now) for scope in scopes)
        yield m.SOURCE_UP, (source,), int(up)
        successes = [health.last_success_at for health in healths if health.last_success_at is not None]
        if len(successes) == len(healths):
            yield m.SOURCE_LAST_SUCCESS, (source,), min(successes)
        durations = [health.refresh_seconds for health in healths if health.refresh_seconds is not None]
        if durations:
            yield m.SOURCE_REFRESH_DURATION, (source,), max(durations)
    for (source, reason), count in sorted(fleet.errors.items()):
        if source in m.SOURCES:
            yield m.SOURCE_ERRORS, (source, reason), count


# -- /api


def list_vms(fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float) -> list[dict[str, Any]]:
    """Return ``/api/vms``: every known machine, with its power state, price, cost so far and the runs that use it."""
    answer = []
    open_tunnels = list_tunnels(fleet, now)
    probes: dict[str, dict[str, ProbeSeen]] = {}
    for probe in fleet.list_current_probes(now):
        probes.setdefault(probe.name.lower(), {})[probe.kind] = probe
    for machine, cost in compute_fleet_machine_costs(runs, fleet, now, stall_after):
        if machine.vm is not None and machine.vm.state == GONE:
            continue
        row = _make_vm(fleet, machine, cost, probes.get(machine.name.lower(), {}), now)
        row["tunnels"] = {name: row for name, row in open_tunnels.items() if name.lower() == machine.name.lower()}
        answer.append(row)
    return sorted(answer, key=lambda row: (str(row["name"]), str(row["resource_group"])))


def _make_vm(
    fleet: FleetState, machine: MachineRef, cost: MachineRow, probes: dict[str, ProbeSeen], now: float
) -> dict[str, Any]:
    known = machine.registered
    info = fleet.get_info(machine.vm, now) if machine.vm is not None else None
    waa, vnc = probes.get("waa"), probes.get("vnc")
    group = machine.vm.group if machine.vm else known.resource_group if known else None
    interruption = machine.vm.interruption if machine.vm is not None else None
    asked = max((probe.ts for probe in probes.values()), default=None)
    return {
        "name": machine.name,
        "ssh_host": known.host if known else None,
        "ssh_user": known.ssh_user if known else None,
        "vnc_port": known.vnc_port if known else None,
        "waa_port": known.waa_port if known else None,
        "docker_container": known.docker_container if known else None,
        "internal_ip": known.internal_ip if known else None,
        "status": _get_status(list(probes.values())),
        "last_checked": _format_time(asked),
        "vnc_reachable": vnc.ok if vnc is not None else None,
        "waa_probe_status": waa.detail if waa is not None else None,
        "tunnels": {},
        "provider": machine.provider,
        "subscription_id": machine.vm.scope if machine.vm else None,
        "resource_group": group,
        "group": group,
        "location": machine.location,
        "size": cost.instance_type,
        "power_state": _get_power_state(fleet, machine, now),
        "created_at": _format_time(info.created_at if info else machine.declared.start if machine.declared else None),
        "tags": dict(info.tags) if info else {},
        "instance_id": machine.vm.vm_id if machine.vm else None,
        "spot": info.spot if info else None,
        "evaluation": fleet.is_for_evaluation(machine.vm) if machine.vm is not None else True,
        "interruption": None
        if interruption is None
        else {"at": _format_time(interruption.at), "detail": interruption.detail},
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


def _get_status(probes: Sequence[ProbeSeen]) -> str:
    if not probes:
        return "unknown"
    return "online" if any(probe.ok for probe in probes) else "offline"


def _get_power_state(fleet: FleetState, machine: MachineRef, now: float) -> str | None:
    """None where it is not known, which is not the same as Azure's ``unknown``."""
    if machine.vm is not None:
        return machine.vm.state if fleet.is_power_current(machine.vm, now) else None
    if machine.declared is None:
        return None
    bills = machine.declared.start <= now and (machine.declared.stop is None or now < machine.declared.stop)
    return "running" if bills else "deallocated"


def list_tunnels(fleet: FleetState, now: float) -> dict[str, dict[str, Any]]:
    """Return ``/api/tunnels``: the configured tunnels by name, and whether something answers through them."""
    answer = {}
    probes = {probe.name: probe for probe in fleet.list_current_probes(now) if probe.kind == "tunnel"}
    for name, tunnel in fleet.tunnels.items():
        probe = probes.get(name)
        answer[name] = {
            "active": probe.ok if probe is not None else False,
            "local_port": tunnel.local_port,
            "remote_endpoint": tunnel.remote,
            "pid": None,
            "error": "not probed yet" if probe is None else None if probe.ok else probe.detail,
            "last_checked": _format_time(probe.ts if probe is not None else None),
        }
    return answer


def get_probe_vm(fleet: FleetState, now: float, name: str | None = None) -> dict[str, Any]:
    """Return ``/api/probe-vm``: the WAA server of the machine ``name``, else of the first that answers, else the first.

    All probes are under ``probes``.
    """
    every = list(fleet.list_current_probes(now))
    waa = [probe for probe in every if probe.kind == "waa" and name in (None, probe.name)]
    chosen = next((probe for probe in waa if probe.ok), waa[0] if waa else None)
    machine = fleet.get_registered(chosen.name) if chosen is not None else None
    return {
        "responding": chosen.ok if chosen is not None else False,
        "vm_ip": (machine.host if machine else _get_host(chosen)) if chosen is not None else None,
        "container": machine.docker_container if machine else None,
        "probe_result": chosen.detail if chosen is not None else "no WAA server is probed",
        "last_checked": _format_time(chosen.ts if chosen is not None else None),
        "probes": [
            {
                "name": probe.name,
                "kind": probe.kind,
                "target": probe.target,
                "responding": probe.ok,
                "duration_seconds": probe.seconds,
                "probe_result": probe.detail,
                "last_checked": _format_time(probe.ts),
            }
            for probe in every
        ],
    }


def _get_host(probe: ProbeSeen) -> str | None:
    try:
        return parse_target(probe.kind, probe.target).host
    except ValueError:
        return None


def list_azure_jobs(fleet: FleetState, now: float) -> list[dict[str, Any]]:
    """Return ``/api/azure-jobs``: the newest jobs of all workspaces, the newest first."""
    jobs = [
        (job, seen.workspace)
        for scope, seen in fleet.jobs.items()
        if fleet.are_jobs_current(scope, now)
        for job in seen.newest
    ]
    jobs.sort(key=lambda row: row[0].created_at or 0.0, reverse=True)
    return [_make_job(job, workspace, now) for job, workspace in jobs[:SHOWN_JOBS]]


def _make_job(job: Job, workspace: str, now: float) -> dict[str, Any]:
    live = job.status in LIVE_JOBS
    end = job.ended_at if job.ended_at is not None else now if live else None
    minutes = (end - job.started_at) / 60 if end is not None and job.started_at is not None else None
    return {
        "job_id": job.job_id,
        "display_name": job.display_name,
        "status": job.status,
        "started_at": _format_time(job.started_at or job.created_at),
        "azure_dashboard_url": job.url,
        "is_live": live,
        "created_at": _format_time(job.created_at),
        "compute_target": job.compute,
        "duration_minutes": minutes,
        "job_type": job.job_type,
        "workspace": workspace,
    }


def list_tasks(fleet: FleetState, runs: Iterable[RunState], now: float, stall_after: float) -> list[dict[str, Any]]:
    """Return ``/api/tasks``, the work in the background: running runs, machines that start or stop, WAA servers."""
    answer = [_make_run_task(run, now, stall_after) for run in runs if run.status(now, stall_after) == "running"]
    for vm in fleet.list_present_vms(now):
        if vm.state in ("starting", "stopping", "deallocating"):
            answer.append(
                _make_task(
                    f"vm:{vm.name}",
                    "vm_provision",
                    "running",
                    vm.state,
                    f"{vm.name} is {vm.state}",
                    now - vm.changes[-1][0],
                    {"vm": vm.name, "resource_group": vm.group, "provider": vm.provider},
                )
            )
    for probe in fleet.list_shown_probes(now):
        if probe.kind == "waa":
            phase = "ready" if probe.ok else "waiting"
            title = f"The WAA server of {probe.name} " + ("answers" if probe.ok else "does not answer")
            status = "completed" if probe.ok else "running"
            answer.append(
                _make_task(
                    f"waa:{probe.name}", "docker_container", status, phase, title, None, {"detail": probe.detail}
                )
            )
    return answer


def _make_run_task(run: RunState, now: float, stall_after: float) -> dict[str, Any]:
    statuses = run.statuses(now, stall_after)
    done = sum(count for status, count in statuses.items() if status not in ("pending", "running"))
    row = _make_task(
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


def _make_task(
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


def _format_time(ts: float | None) -> str | None:
    return None if ts is None else datetime.fromtimestamp(ts, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
