"""The quantities that dashboards and alerts show, one expression each, so that a panel and an alert agree.

A function is named after the quantity that its expression computes. ``by`` are the labels of the result, ``where`` the
matchers of the selections, as for `promql.select`.
"""

from __future__ import annotations

import functools
from typing import Literal

from evalgauge import metrics as m
from evalgauge_dashboards.promql import NOW, Expression, LabelMatch, Not, select

Z_95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
Z_99 = 2.575829
"""The same of a 99 % interval."""
BILLING = ("starting", "running", "stopping", "stopped")
"""Power states in which a machine is billed: a stopped machine is billed until it is deallocated."""
SPEND_WINDOW = "10m"
"""The window of the slope of the cost: a shorter one shows the noise between the ends of two tasks."""
IDLE_WINDOW = "10m"
"""On a dashboard a machine is idle after this time without a task: pauses between two tasks are shorter."""
UNCOSTED_LIMIT = 0.1
"""Share of a run's calls: where more have no known cost, the run's cost is not compared with others."""
MIN_PAIRS = 10
"""Measured tasks below which the exporter gives no verdict."""
MIN_FINISHED = 3
"""An estimate from fewer finished tasks than this is not shown."""
DAY = 86400.0


def tasks(*by: str, status: LabelMatch = m.TASK_STATUSES, **where: LabelMatch) -> Expression:
    """Task attempts in the given statuses."""
    if status == m.TASK_STATUSES:
        return select(m.RUN_TASKS, **where).sum(*by)
    return select(m.RUN_TASKS, status=status, **where).sum(*by)


def success_rate(*by: str, **where: LabelMatch) -> Expression:
    """success / (success + failure + agent_error), 0 to 1; no series where nothing was measured."""
    return tasks(*by, status="success", **where) / (tasks(*by, status=m.MEASURED_OUTCOMES, **where) > 0)


def success_rate_all(*by: str, **where: LabelMatch) -> Expression:
    """success / all finished attempts, 0 to 1; no series where none finished."""
    return tasks(*by, status="success", **where) / (tasks(*by, status=m.OUTCOMES, **where) > 0)


def success_bound(bound: Literal["low", "high"], z: float, *by: str, **where: LabelMatch) -> Expression:
    """A bound of the Wilson score interval of `success_rate`, for a normal quantile such as `Z_95`.

    Wilson (1927), J. Am. Stat. Assoc. 22:209, with s successes of n:
    (s + z²/2 ∓ z √(s (n - s) / n + z²/4)) / (n + z²).
    """
    success = tasks(*by, status="success", **where)
    measured = tasks(*by, status=m.MEASURED_OUTCOMES, **where) > 0
    failed = tasks(*by, status=tuple(o for o in m.MEASURED_OUTCOMES if o != "success"), **where)
    half = z * (success * failed / measured + z**2 / 4).sqrt()
    centre = success + z**2 / 2
    return (centre - half if bound == "low" else centre + half) / (measured + z**2)


def cost(*by: str, **where: LabelMatch) -> Expression:
    """Known cost in US dollars; the same where two exporters expose one run."""
    return select(m.RUN_COST, **where).max("run_id", "component").sum(*by)


def cost_per_success(*by: str, **where: LabelMatch) -> Expression:
    """US dollars for each success, failed attempts included; no series before the first success."""
    successes = tasks(*by, status="success", **where) > 0
    return cost(*by, **where) / successes


def work_share(*by: str, **where: LabelMatch) -> Expression:
    """Share of the tasks that is done, 0 to 1, a running one counted as half; no series before 3 have finished."""
    ended = tasks(*by, status=m.OUTCOMES, **where) >= MIN_FINISHED
    return (ended + tasks(*by, status="running", **where) * 0.5) / tasks(*by, **where)


def projected_cost(*by: str, **where: LabelMatch) -> Expression:
    """Cost at the end of the run in US dollars, as the exporter projects it."""
    return select(m.RUN_PROJECTED_COST, **where).max(*by)


def spend_per_hour(*by: str, **where: LabelMatch) -> Expression:
    """US dollars per hour, from the slope of the cost."""
    slope = select(m.RUN_COST, **where).over("deriv", SPEND_WINDOW).max("run_id", "component")
    return (slope.sum(*by) * 3600).clamp_min(0)


def uncosted_share(*by: str, **where: LabelMatch) -> Expression:
    """Share of the model calls without a known cost, 0 to 1: no known price, or no tokens reported."""
    calls = select(m.RUN_LLM_REQUESTS, **where).sum(*by) > 0
    uncosted = select(m.RUN_UNPRICED_REQUESTS, **where).sum(*by)
    return (uncosted + select(m.RUN_UNKNOWN_USAGE_REQUESTS, **where).sum(*by)) / calls


def running_runs(*by: str, **where: LabelMatch) -> Expression:
    """One series for each running run."""
    return select(m.RUN_STATE, state="running", **where).max(*(by or ("run_id",))).equals(1)


def seconds_since_progress() -> Expression:
    """Seconds since the last event of each run, heartbeats aside."""
    return NOW - select(m.RUN_LAST_PROGRESS).max("run_id")


def recent_runs(seconds: float = DAY) -> Expression:
    """One series for each run with an event in the last ``seconds``: old runs in the folder raise no alert."""
    return seconds_since_progress() < seconds


def recorded_steps(*by: str, **where: LabelMatch) -> Expression:
    """Recorded steps without the terminal ones."""
    return select(m.RUN_STEPS, action=Not(("done", "error")), **where).sum(*by)


def mean_steps(*by: str, **where: LabelMatch) -> Expression:
    """Recorded steps for each finished attempt."""
    return recorded_steps(*by, **where) / (tasks(*by, status=m.OUTCOMES, **where) > 0)


def state_number(metric: m.Metric, *by: str, **where: LabelMatch) -> Expression:
    """The state that each set of the labels ``by`` is in, as the place of its word in the catalogue, from 1."""
    words = dict(metric.values)["state"]
    terms = [select(metric, state=word, **where).max(*by) * place for place, word in enumerate(words, 1)]
    return functools.reduce(lambda one, other: one + other, terms)


def billing_machines(*by: str) -> Expression:
    """1 for each billed machine."""
    return select(m.VM_POWER_STATE, state=BILLING).sum(*by) > 0


def idle_machines(window: str | None = None) -> Expression:
    """Billed machines that a running run uses and whose workers have no task (at any time of the window)."""
    used = select(m.VM_RUNS).max("vm", "resource_group") > 0
    busy = select(m.VM_BUSY_WORKERS)
    waiting = (busy.over("max_over_time", window) if window else busy).max("vm", "resource_group").equals(0)
    machine = ("vm", "resource_group")
    return billing_machines(*machine).where(used, on=machine).where(waiting, on=machine)


def unused_machines() -> Expression:
    """Billed machines that no running run uses."""
    unused = select(m.VM_RUNS).max("vm", "resource_group").equals(0)
    return billing_machines("vm", "resource_group").where(unused, on=("vm", "resource_group"))


def hourly_price(machines: Expression) -> Expression:
    """US dollars per hour of the given machines whose price is known."""
    price = select(m.VM_PRICE).max("vm", "resource_group")
    return price.where(machines, on=("vm", "resource_group"))
