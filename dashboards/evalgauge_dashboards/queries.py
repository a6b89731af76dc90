"""The quantities that dashboards and alerts show, one definition each, so that a panel and an alert agree.

A method of `Quantities` is named after the quantity that its expression computes. ``by`` are the labels of the result,
``where`` the matchers of the selections, as for `promql.select`. Sums are over deduplicated series: two exporters of
one folder count once.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, TypeAlias

from evalgauge import metrics as m
from evalgauge_dashboards.promql import (
    NOW,
    Expression,
    LabelMatch,
    Not,
    buckets,
    histogram_part,
    native_histogram,
    select,
)

Z_95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
BILLED = ("starting", "running", "stopping", "stopped")
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
MACHINE = ("vm", "resource_group", "provider")
"""The labels of a machine: its name is unique only within its group at its provider."""
Bound: TypeAlias = Literal["estimate", "low", "high"]
HOLD = "5m"
"""How long an alert uses the last sample: two failed scrapes at an interval of 60 s are shorter."""
LONGEST_GAP = "1h"
"""An exporter or a Prometheus that was down for less is not taken for the beginning of its series."""
HistogramPart: TypeAlias = Literal["sum", "count"]


@dataclasses.dataclass(frozen=True)
class Quantities:
    """Expressions of everything that is measured."""

    hold: str | None = None
    """For how long the last sample of a series counts after a failed scrape, which ends every series at once.
    Without it, as in a panel, a gap is shown as a gap."""

    def select(self, metric: m.Metric, **where: LabelMatch) -> Expression:
        """The series of a metric, each with its last sample; aggregate it before use."""
        selected = select(metric, **where)
        return selected.over("last_over_time", self.hold) if self.hold else selected

    def total(self, metric: m.Metric, *by: str, **where: LabelMatch) -> Expression:
        """The sum of a metric over everything but the labels ``by``, each series counted once."""
        return self.select(metric, **where).deduplicate().sum(*by)

    def value(self, metric: m.Metric, *by: str, **where: LabelMatch) -> Expression:
        """The largest value of a metric for each set of the labels ``by``."""
        return self.select(metric, **where).max(*by)

    def growth(
        self, metric: m.Metric, window: str, *by: str, part: HistogramPart | None = None, **where: LabelMatch
    ) -> Expression:
        """What a total grew by in the window; all of it where the series began in it (``increase`` sees 0 there).

        ``part`` is that of a histogram.
        """
        series = select(metric, **where) if part is None else histogram_part(metric, part, **where)
        now = series.over("last_over_time", self.hold) if self.hold else series
        now = now.deduplicate().sum(*by)
        # a gap in the scrapes at the start of the window is no beginning
        before = series.over("last_over_time", LONGEST_GAP, offset=window).deduplicate().sum(*by)
        return (now - before.or_(now * 0)).clamp_min(0)

    # -- tasks -------------------------------------------------------------------------------------------------

    def tasks(self, *by: str, status: LabelMatch = m.TASK_STATUSES, **where: LabelMatch) -> Expression:
        """Task attempts in the given statuses."""
        if status == m.TASK_STATUSES:
            return self.total(m.RUN_TASKS, *by, **where)
        return self.total(m.RUN_TASKS, *by, status=status, **where)

    def distinct_tasks(self, *by: str, **where: LabelMatch) -> Expression:
        """Tasks, each counted once however many attempts it has. A run that is only pushed has no such metric."""
        return self.total(m.RUN_DISTINCT_TASKS, *by, **where)

    def success_rate(self, *by: str, **where: LabelMatch) -> Expression:
        """success / (success + failure + agent_error), 0 to 1; no series where nothing was measured."""
        return self.tasks(*by, status="success", **where) / (self.tasks(*by, status=m.MEASURED_OUTCOMES, **where) > 0)

    def success_rate_all(self, *by: str, **where: LabelMatch) -> Expression:
        """success / all finished attempts, 0 to 1; no series where none finished."""
        return self.tasks(*by, status="success", **where) / (self.tasks(*by, status=m.OUTCOMES, **where) > 0)

    def success_bound(self, bound: Literal["low", "high"], z: float, *by: str, **where: LabelMatch) -> Expression:
        """A bound of the Wilson score interval of `success_rate`, for a normal quantile such as `Z_95`.

        Wilson (1927), J. Am. Stat. Assoc. 22:209, with s successes of n:
        (s + z²/2 ∓ z √(s (n - s) / n + z²/4)) / (n + z²).
        """
        success = self.tasks(*by, status="success", **where)
        measured = self.tasks(*by, status=m.MEASURED_OUTCOMES, **where) > 0
        failed = self.tasks(*by, status=tuple(o for o in m.MEASURED_OUTCOMES if o != "success"), **where)
        half = z * (success * failed / measured + z**2 / 4).sqrt()
        centre = success + z**2 / 2
        return (centre - half if bound == "low" else centre + half) / (measured + z**2)

    def rate(self, bound: Bound, *by: str, **where: LabelMatch) -> Expression:
        """Success rate of runs, 0 to 1: the mean over tasks, with its cluster-robust 95 % interval.

        A run that is only pushed has no such metric: then it is the share of the measured attempts.
        """
        attempts = self.success_rate(*by, **where)
        if bound != "estimate":
            attempts = self.success_bound(bound, Z_95, *by, **where)
        return self.value(m.RUN_SUCCESS_RATIO, *by, bound=bound, **where).or_(attempts)

    def domain_rate(self, bound: Bound, *by: str, **where: LabelMatch) -> Expression:
        """The same by domain, which is one of ``by``."""
        attempts = self.success_rate(*by, **where)
        if bound != "estimate":
            attempts = self.success_bound(bound, Z_95, *by, **where)
        return self.value(m.RUN_DOMAIN_SUCCESS_RATIO, *by, bound=bound, **where).or_(attempts)

    def mean_score(self, *by: str, **where: LabelMatch) -> Expression:
        """Mean score of the measured attempts, in the benchmark's own scale."""
        count = self.part(m.RUN_SCORE, "count", *by, **where)
        return self.part(m.RUN_SCORE, "sum", *by, **where) / (count > 0)

    def part(self, metric: m.Metric, which: HistogramPart, *by: str, **where: LabelMatch) -> Expression:
        """The sum or the count of a histogram or summary."""
        series = histogram_part(metric, which, **where)
        return (series.over("last_over_time", self.hold) if self.hold else series).deduplicate().sum(*by)

    def quantile(
        self, fraction: float, metric: m.Metric, window: str | None, *by: str, **where: LabelMatch
    ) -> Expression:
        """A quantile of a histogram, of everything or of what came in the window; of a classic or a native one."""
        classic, native = buckets(metric, **where), native_histogram(metric, **where)
        if window:
            classic, native = classic.rate(window), native.rate(window)
        return classic.deduplicate().sum(*by, "le").quantile(fraction).or_(native.sum(*by).native_quantile(fraction))

    def work_share(self, *by: str, **where: LabelMatch) -> Expression:
        """Share of the tasks that is done, 0 to 1, a running one counted as half; no series before 3 have finished."""
        finished = self.tasks(*by, status=m.OUTCOMES, **where) >= MIN_FINISHED
        return (finished + self.tasks(*by, status="running", **where) * 0.5) / self.tasks(*by, **where)

    def recorded_steps(self, *by: str, **where: LabelMatch) -> Expression:
        """Recorded steps without the terminal ones."""
        return self.total(m.RUN_STEPS, *by, action=Not(("done", "error")), **where)

    def mean_steps(self, *by: str, **where: LabelMatch) -> Expression:
        """Recorded steps for each finished attempt."""
        return self.recorded_steps(*by, **where) / (self.tasks(*by, status=m.OUTCOMES, **where) > 0)

    # -- runs --------------------------------------------------------------------------------------------------

    def running_runs(self, *by: str, **where: LabelMatch) -> Expression:
        """One series for each running run."""
        return self.value(m.RUN_STATE, *(by or ("run_id",)), state="running", **where).equals(1)

    def seconds_since_progress(self) -> Expression:
        """Seconds since the last event of each run, heartbeats aside."""
        return NOW - self.value(m.RUN_LAST_PROGRESS, "run_id")

    def recent_runs(self, seconds: float = DAY) -> Expression:
        """One series for each run with an event in the last ``seconds``: old runs in the folder raise no alert."""
        return self.seconds_since_progress() < seconds

    def state_number(self, metric: m.Metric, *by: str, **where: LabelMatch) -> Expression:
        """The state that each set of the labels ``by`` is in, as the place of its word in the catalogue, from 1."""
        words = dict(metric.values)["state"]
        terms = [self.value(metric, *by, state=word, **where) * place for place, word in enumerate(words, 1)]
        return functools.reduce(lambda one, other: one + other, terms)

    # -- cost --------------------------------------------------------------------------------------------------

    def cost(self, *by: str, **where: LabelMatch) -> Expression:
        """Known cost in US dollars."""
        return self.total(m.RUN_COST, *by, **where)

    def cost_per_success(self, *by: str, **where: LabelMatch) -> Expression:
        """US dollars for each success, failed attempts included; no series before the first success."""
        return self.cost(*by, **where) / (self.tasks(*by, status="success", **where) > 0)

    def projected_cost(self, *by: str, **where: LabelMatch) -> Expression:
        """Cost at the end of the run in US dollars, as the exporter projects it."""
        return self.value(m.RUN_PROJECTED_COST, *by, **where)

    def spend_per_hour(self, *by: str, **where: LabelMatch) -> Expression:
        """US dollars per hour, from the slope of the cost."""
        slope = select(m.RUN_COST, **where).over("deriv", SPEND_WINDOW).deduplicate()
        return (slope.sum(*by) * 3600).clamp_min(0)

    def uncosted_calls(self, *by: str, **where: LabelMatch) -> Expression:
        """Model calls without a known cost: no known price, or no tokens reported."""
        return self.total(m.RUN_UNPRICED_REQUESTS, *by, **where) + self.total(
            m.RUN_UNKNOWN_USAGE_REQUESTS, *by, **where
        )

    def uncosted_share(self, *by: str, **where: LabelMatch) -> Expression:
        """Share of the model calls without a known cost, 0 to 1."""
        return self.uncosted_calls(*by, **where) / (self.total(m.RUN_LLM_REQUESTS, *by, **where) > 0)

    # -- machines ----------------------------------------------------------------------------------------------

    def billed_machines(self) -> Expression:
        """1 for each billed machine."""
        return self.value(m.VM_POWER_STATE, *MACHINE, state=BILLED) > 0

    def idle_machines(self, window: str | None = None) -> Expression:
        """Billed machines that a running run uses and whose workers have no task (at any time of the window)."""
        used = self.value(m.VM_RUNS, *MACHINE) > 0
        if window:
            busy = select(m.VM_BUSY_WORKERS).over("max_over_time", window).max(*MACHINE)
        else:
            busy = self.value(m.VM_BUSY_WORKERS, *MACHINE)
        return self.billed_machines().where(used, on=MACHINE).where(busy.equals(0), on=MACHINE)

    def unused_machines(self) -> Expression:
        """Billed machines that no running run uses."""
        return self.billed_machines().where(self.value(m.VM_RUNS, *MACHINE).equals(0), on=MACHINE)

    def hourly_price(self, machines: Expression) -> Expression:
        """US dollars per hour of the given machines whose price is known."""
        return self.value(m.VM_PRICE, *MACHINE).where(machines, on=MACHINE)


shown = Quantities()
"""What a panel shows: a gap in the scrapes is a gap."""
held = Quantities(hold=HOLD)
"""What an alert is evaluated on: a failed scrape changes nothing."""
