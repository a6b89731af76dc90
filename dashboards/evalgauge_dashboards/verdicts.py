"""How a run compares with its baseline, as the exporter computed it."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import queries
from evalgauge_dashboards.promql import Expression, LabelMatch
from evalgauge_dashboards.queries import Bound
from evalgauge_dashboards.queries import shown as q

VERDICTS = {
    "better": "success",
    "worse": "failure",
    "no significant difference": "interrupted",
    "too few tasks": "pending",
}
"""The exporter's verdicts, each with the meaning whose colour it has."""
SHORT_VERDICTS = dict(zip(("better", "worse", "undecided", "few tasks"), VERDICTS.values(), strict=True))
"""The verdicts in words that fit a narrow column."""
BETTER, WORSE, UNDECIDED, TOO_FEW = range(1, 5)
SIGNIFICANT = 0.05


def select_difference(bound: Bound = "estimate", /, **where: LabelMatch) -> Expression:
    """Select each run's success rate minus its baseline's, over the tasks measured in both."""
    return q.value(m.COMPARISON_SUCCESS_DELTA, "run_id", bound=bound, **where)


def select_score_difference(bound: Bound = "estimate", /, **where: LabelMatch) -> Expression:
    """Select each run's mean score minus its baseline's, over the tasks with a score in both."""
    return q.value(m.COMPARISON_SCORE_DELTA, "run_id", bound=bound, **where)


def select_p_value(**where: LabelMatch) -> Expression:
    """Select each run's p-value: exact for a finished run, anytime-valid for a running one."""
    exact = q.value(m.COMPARISON_P_VALUE, "run_id", kind="exact", **where)
    anytime = q.value(m.COMPARISON_P_VALUE, "run_id", kind="anytime", **where)
    return exact.unless(q.running_runs(), on=("run_id",)).or_(anytime)


def compute_verdict(**where: LabelMatch) -> Expression:
    """Compute the place in `VERDICTS`, from 1, for each run that has a baseline."""
    delta, certain = select_difference(**where), select_p_value(**where) < SIGNIFICANT
    enough = q.tasks("run_id", status=m.MEASURED_OUTCOMES, **where) >= queries.MIN_PAIRS
    too_few = delta.unless(enough, on=("run_id",)) * 0 + TOO_FEW
    better = (delta > 0).where(certain, on=("run_id",)) * 0 + BETTER
    worse = (delta < 0).where(certain, on=("run_id",)) * 0 + WORSE
    return too_few.or_(better).or_(worse).or_(delta * 0 + UNDECIDED)
