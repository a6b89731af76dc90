"""What a run costs: model calls, machines, and what will come of it. Pure functions of the state.

A model call is in one of three money states: priced, unpriced (tokens known, no price known), unknown usage (no tokens
reported). A machine is priced or it is not. Nothing unknown is ever counted as 0: a sum is that of what is known, and
beside it stands how much is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from evalgauge_exporter.analysis.eta import Eta
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState

RATE_MINUTES = 15
"""Money per hour is what was spent in so many minutes before now."""


class MachineCost(NamedTuple):
    """What one machine cost a run."""

    name: str
    component: str
    """``vm`` or ``gpu``."""
    provider: str | None
    instance_type: str | None
    hourly_rate_usd: float | None
    hours: float
    """Hours that it billed for the run, idle ones included."""
    busy_hours: float
    cost_usd: float | None
    """None where no price is known."""
    priced_by: str | None
    billing: bool
    """Whether it bills now."""


class RunCosts(NamedTuple):
    """All in US dollars; None where nothing is known."""

    llm: float | None
    vm: float | None
    gpu: float | None
    total: float | None
    unpriced_calls: int
    unknown_usage_calls: int
    unpriced_machines: int
    per_hour: float | None
    """Money per hour now; 0 once the run is over."""
    per_success: float | None
    """Everything that was spent, failed attempts included, over the successes."""
    projected_total: float | None
    """At the run's end, if the tasks to come cost what those that ended did; None before 3 attempts ended."""
    budget: float | None
    budget_hit_at: float | None
    """Unix seconds; now where it is spent. None where there is no budget, it lasts to the projected end, or the run is
    over."""
    machines: tuple[MachineCost, ...]


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return float(sum(known)) if known else None


def llm_cost(run: RunState) -> float | None:
    """The known cost of the run's model calls."""
    known = [usage.cost_usd for usage in run.usage.values() if usage.cost_usd is not None]
    return float(sum(known, Decimal(0))) if known else None


def llm_per_hour(run: RunState, now: float) -> float | None:
    """What model calls cost an hour at present: of the newest minutes, or of the run's life where that is shorter."""
    if llm_cost(run) is None or run.started_at is None:
        return None
    since = max(now - RATE_MINUTES * 60, run.started_at)
    hours = max(now - since, 60.0) / 3600
    spent = 0.0
    for minute, usd in run.spent_by_minute.items():
        # of the minute that is half before, half of its money; the run's first minute is all the run's
        inside = 1.0 if since == run.started_at else (minute + 1) - since / 60
        spent += float(usd) * min(max(inside, 0.0), 1.0)
    return spent / hours


def projected_llm(run: RunState, pending: int, running: Sequence[Attempt]) -> float | None:
    """The model calls' cost at the end, if each attempt to come costs what the mean of those that ended did.

    Calls that belong to no task (a judge's, say) are spread over the attempts that ended: they will go on too. An
    attempt that ended without a call cost nothing; one of whose calls none has a price tells nothing. None before three
    attempts ended.
    """
    known = llm_cost(run)
    ended = [a for a in run.attempts.values() if a.finished and a.status != "interrupted" and not _unpriced(a)]
    if known is None or len(ended) < 3:
        return None
    of_tasks = sum((a.cost_usd for a in run.attempts.values() if a.cost_usd is not None), Decimal(0))
    per_task = float(sum((a.cost_usd for a in ended if a.cost_usd is not None), Decimal(0))) / len(ended)
    aside = max(0.0, known - float(of_tasks)) / len(ended)
    begun = sum(max(0.0, per_task - float(a.cost_usd or 0)) + aside for a in running)
    return known + (per_task + aside) * pending + begun


def _unpriced(attempt: Attempt) -> bool:
    """Whether calls were made of which none has a known cost."""
    return attempt.calls > 0 and attempt.cost_usd is None


def run_costs(
    run: RunState, machines: Sequence[MachineCost], eta: Eta | None, now: float, stall_after: float
) -> RunCosts:
    """Everything about a run's money as of ``now``."""
    statuses = run.statuses(now, stall_after)
    going = run.status(now, stall_after) == "running"
    llm = llm_cost(run)
    vm = _sum([machine.cost_usd for machine in machines if machine.component == "vm"])
    gpu = _sum([machine.cost_usd for machine in machines if machine.component == "gpu"])
    total = _sum([llm, vm, gpu])
    machine_rate = _sum([machine.hourly_rate_usd for machine in machines if machine.billing])
    per_hour = _sum([llm_per_hour(run, now), machine_rate]) if going else None if total is None else 0.0
    projected = total
    if going and total is not None:
        calls = projected_llm(run, statuses.get("pending", 0), run.running_attempts(now, stall_after))
        left = (machine_rate or 0.0) * eta.p50 / 3600 if eta is not None else None
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
        budget_hit_at=_budget_hit(run.budget_usd, total, per_hour, projected, now) if going else None,
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
