"""Costs of a run: model calls, machines, rates and projections. Pure functions of the state.

A model call is in one of three money states: priced, unpriced (tokens known, no price known), unknown usage (no tokens
reported). A machine is priced or not. Nothing unknown is counted as 0: a sum is over what is known, and the number of
unknown items is reported beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from evalgauge_exporter.analysis.eta import Eta
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState

RATE_MINUTES = 15
"""The window, in minutes before now, over which spending per hour is measured."""


class MachineCost(NamedTuple):
    """Cost of one machine for a run."""

    name: str
    component: str
    """``vm`` or ``gpu``."""
    provider: str | None
    instance_type: str | None
    hourly_rate_usd: float | None
    hours: float
    """Billed hours for the run, idle time included."""
    busy_hours: float
    cost_usd: float | None
    """None where no price is known."""
    priced_by: str | None
    billing: bool
    """Whether it bills now."""
    ends_at: float | None = None
    """When its cloud ends it, by a notice, in Unix seconds."""

    def project_cost(self, until: float, now: float) -> float | None:
        """Return its cost from ``now`` to ``until`` (Unix seconds) in US dollars, None without a price."""
        if self.hourly_rate_usd is None or not self.billing:
            return None
        end = until if self.ends_at is None else min(until, self.ends_at)
        return self.hourly_rate_usd * max(0.0, end - now) / 3600


class RunCosts(NamedTuple):
    """Costs of a run in US dollars; None where nothing is known."""

    llm: float | None
    vm: float | None
    gpu: float | None
    total: float | None
    unpriced_calls: int
    unknown_usage_calls: int
    unpriced_machines: int
    per_hour: float | None
    """Present spending per hour; 0 once the run is finished."""
    per_success: float | None
    """Total cost, failed attempts included, divided by the successes."""
    projected_total: float | None
    """At the run's end, if pending tasks cost what finished ones did; None before 3 attempts finished."""
    budget: float | None
    budget_hit_at: float | None
    """Unix seconds; now where the budget is spent. None where there is no budget, it lasts to the projected end, or the
    run is finished."""
    machines: tuple[MachineCost, ...]


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return float(sum(known)) if known else None


def llm_cost(run: RunState) -> float | None:
    """Return the known cost of the run's model calls in US dollars."""
    known = [usage.cost_usd for usage in run.usage.values() if usage.cost_usd is not None]
    return float(sum(known, Decimal(0))) if known else None


def llm_per_hour(run: RunState, now: float) -> float | None:
    """Return the present cost of model calls per hour, over the last minutes or the run's whole time if shorter."""
    if llm_cost(run) is None or run.started_at is None:
        return None
    since = max(now - RATE_MINUTES * 60, run.started_at)
    hours = max(now - since, 60.0) / 3600
    spent = 0.0
    for minute, usd in run.spent_by_minute.items():
        # a minute that is half outside counts half; the run's first minute counts in full
        inside = 1.0 if since == run.started_at else (minute + 1) - since / 60
        spent += float(usd) * min(max(inside, 0.0), 1.0)
    return spent / hours


class TaskCosts(NamedTuple):
    """What an attempt at a task costs, in US dollars, from those that have finished."""

    finished: int
    """Number of them. One without a call cost nothing; one of whose calls none has a price is left out."""
    per_task: float
    """Their mean cost."""
    untasked: float
    """Calls that belong to no task, a judge's for example, for each of them."""


def find_task_costs(run: RunState) -> TaskCosts:
    """Return what an attempt of the run costs; it goes through all of them."""
    finished = [a for a in run.attempts.values() if a.finished and a.status != "interrupted" and not _unpriced(a)]
    if not finished:
        return TaskCosts(0, 0.0, 0.0)
    of_tasks = sum((a.cost_usd for a in run.attempts.values() if a.cost_usd is not None), Decimal(0))
    per_task = float(sum((a.cost_usd for a in finished if a.cost_usd is not None), Decimal(0))) / len(finished)
    return TaskCosts(len(finished), per_task, max(0.0, (llm_cost(run) or 0.0) - float(of_tasks)) / len(finished))


def projected_llm(run: RunState, costs: TaskCosts, pending: int, running: Sequence[Attempt]) -> float | None:
    """Return the projected cost of model calls at the run's end, in US dollars.

    Each pending attempt is taken to cost the mean of the finished ones. Calls that belong to no task continue at the
    rate of the finished attempts.

    Args:
        run: The run.
        costs: What an attempt costs.
        pending: Number of attempts that have not started.
        running: The running attempts.

    Returns:
        US dollars; None before three attempts finished and where nothing is priced.
    """
    known = llm_cost(run)
    if known is None or costs.finished < 3:
        return None
    started = sum(max(0.0, costs.per_task - float(a.cost_usd or 0)) + costs.untasked for a in running)
    return known + (costs.per_task + costs.untasked) * pending + started


def _unpriced(attempt: Attempt) -> bool:
    """Return whether the attempt made calls and none of them has a known cost."""
    return attempt.calls > 0 and attempt.cost_usd is None


def run_costs(
    run: RunState,
    machines: Sequence[MachineCost],
    eta: Eta | None,
    now: float,
    stall_after: float,
    task_costs: TaskCosts | None = None,
) -> RunCosts:
    """Return the costs of a run.

    Args:
        run: The run.
        machines: What each machine cost it.
        eta: The estimate of the time left, None where there is none.
        now: The present, Unix seconds.
        stall_after: Seconds without an event after which an unfinished run is stalled.
        task_costs: What an attempt costs, where it is known already.
    """
    statuses = run.statuses(now, stall_after)
    running = run.status(now, stall_after) == "running"
    llm = llm_cost(run)
    vm = _sum([machine.cost_usd for machine in machines if machine.component == "vm"])
    gpu = _sum([machine.cost_usd for machine in machines if machine.component == "gpu"])
    total = _sum([llm, vm, gpu])
    machine_rate = _sum([machine.hourly_rate_usd for machine in machines if machine.billing])
    per_hour = _sum([llm_per_hour(run, now), machine_rate]) if running else None if total is None else 0.0
    projected = total
    if running and total is not None:
        of_tasks = find_task_costs(run) if task_costs is None else task_costs
        calls = projected_llm(run, of_tasks, statuses.get("pending", 0), run.running_attempts(now, stall_after))
        left = None
        if eta is not None:
            left = _sum([machine.project_cost(now + eta.p50, now) for machine in machines]) or 0.0
        projected = None
        if (calls is not None or llm is None) and (left is not None or machine_rate is None):
            projected = (calls or 0.0) + (vm or 0.0) + (gpu or 0.0) + (left or 0.0)
    successes = statuses.get("success", 0)
    return RunCosts(
        llm=llm,
        vm=vm,
        gpu=gpu,
        total=total,
        unpriced_calls=sum(usage.unpriced for usage in run.usage.values()),
        unknown_usage_calls=sum(usage.unknown for usage in run.usage.values()),
        unpriced_machines=sum(1 for machine in machines if machine.cost_usd is None),
        per_hour=per_hour,
        per_success=total / successes if total is not None and successes else None,
        projected_total=projected,
        budget=run.budget_usd,
        budget_hit_at=_budget_hit(run.budget_usd, total, per_hour, projected, now) if running else None,
        machines=tuple(machines),
    )


def _budget_hit(
    budget: float | None, total: float | None, per_hour: float | None, projected: float | None, now: float
) -> float | None:
    if budget is None or total is None:
        return None
    if total >= budget:
        return now
    if not per_hour:
        return None
    if projected is not None and projected <= budget:
        return None
    return now + (budget - total) / per_hour * 3600
