"""Summary, domains and task table of a run: what the page loads before a task is opened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from evalgauge.metrics import MEASURED_OUTCOMES, OUTCOMES
from evalgauge_exporter.analysis.comparison import Interval
from evalgauge_exporter.analysis.rates import Results, domain_results, run_results
from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.replay.clusters import FailedAttempt, cluster_failures
from evalgauge_exporter.replay.features import TrajectoryFeatures
from evalgauge_exporter.replay.names import make_attempt_key
from evalgauge_exporter.replay.survival import compute_action_mix, estimate_survival
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState

STALL_AFTER = 600.0
"""Seconds without an event after which a run that has not reported its end is stalled."""
_INSTRUCTION = 240
"""Characters of an instruction in the task table; the part of the attempt has all of it."""

ROWS_PER_PART = 2000
"""Rows of a task table in one file."""

COLUMNS = (
    "task_id",
    "attempt",
    "domain",
    "instruction",
    "outcome",
    "score",
    "steps",
    "duration_seconds",
    "tokens",
    "cost_usd",
    "uncosted_calls",
    "error",
    "reason",
    "scores",
    "max_steps",
    "trouble",
    "cluster",
    "key",
)


def interval_bounds(interval: Interval | None) -> list[float] | None:
    """Return lower and upper bound, ``None`` for no interval."""
    return None if interval is None else list(interval)


def score_fields(results: Results | None) -> dict[str, Any]:
    """Return the mean score with its 95 % interval, null where there are no scores."""
    score = None if results is None else results.score
    bounds = None if results is None else interval_bounds(results.score_interval)
    return {"mean_score": None if score is None else score.value, "score_interval": bounds}


def summarise_run(state: RunState, key: str, now: float) -> dict[str, Any]:
    """Return the entry of a run in the index of the site.

    Args:
        state: The run.
        key: Its name within the site.
        now: Unix seconds at which it is judged as running or stalled.
    """
    results = run_results(state, now, STALL_AFTER)
    found = summarize(state, now, STALL_AFTER, results)
    costs = [usage.cost_usd for usage in state.usage.values() if usage.cost_usd is not None]
    return {
        "run_id": state.run_id,
        "key": key,
        "model": state.model,
        "agent": state.agent,
        "benchmark": state.benchmark,
        "source": state.source,
        "state": found.state,
        "started_at": found.created_at,
        "ended_at": found.ended_at,
        "elapsed_seconds": found.elapsed_seconds,
        "total": found.total_tasks,
        "listed": len(state.attempts),
        "finished": found.finished_tasks,
        "outcomes": {name: found.outcomes.get(name, 0) for name in OUTCOMES},
        "success_rate": found.success_rate,
        "success_rate_all": found.success_rate_all,
        "success_rate_estimate": found.success_rate_estimate,
        "success_rate_reason": found.success_rate_reason,
        "interval": interval_bounds(results.rate_interval),
        **score_fields(results),
        "scorer": found.scorer,
        "pass_ratios": found.model_dump()["pass_ratios"],
        "retries": state.retries,
        "avg_steps": found.avg_steps,
        "cost_usd": float(sum(costs)) if costs else None,
        "unpriced_calls": sum(usage.unpriced for usage in state.usage.values()),
        "unknown_usage_calls": sum(usage.unknown for usage in state.usage.values()),
        "price_tables": sorted({table for usage in state.usage.values() for table in usage.tables}),
        "tokens": [sum(usage.tokens[kind] for usage in state.usage.values()) for kind in range(4)]
        if state.usage
        else None,
        "calls": sum(sum(usage.requests.values()) for usage in state.usage.values()),
        "budget_usd": state.budget_usd,
        "baseline": state.baseline_run_id,
        "tags": dict(list(state.tags.items())[:20]),
        "domains": _summarise_domains(state.task_counts(now, STALL_AFTER), domain_results(state, now, STALL_AFTER)),
        "version": state.version,
    }


def _summarise_domains(
    task_counts: Mapping[tuple[str, str], int], results: Mapping[str, Results]
) -> list[dict[str, Any]]:
    by_domain: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (domain, status), count in task_counts.items():
        by_domain[domain][status] += count
    domains = []
    for name, counts in sorted(by_domain.items(), key=lambda item: (-item[1].total(), item[0])):
        found = results.get(name)
        domains.append(
            {
                "domain": name,
                "counts": counts,
                "success_rate": None if found is None or found.success_rate is None else found.success_rate.value,
                "interval": None if found is None else interval_bounds(found.rate_interval),
                **score_fields(found),
            }
        )
    return domains


class TaskTable:
    """The task table of one run, with clusters of failures, the survival curve and the mix of actions.

    Args:
        state: The run.
        now: Unix seconds at which its attempts are judged.
    """

    def __init__(self, state: RunState, now: float) -> None:
        self._state = state
        self._now = now
        self._cases: list[FailedAttempt] = []
        self._ends: list[tuple[int, bool]] = []
        self._won: list[Mapping[str, int]] = []
        self._lost: list[Mapping[str, int]] = []
        self.rows: list[list[Any]] = []

    def add(self, attempt: Attempt, features: TrajectoryFeatures) -> None:
        """Add the row of an attempt."""
        status = self._state.status_of(attempt, self._now, STALL_AFTER)
        if status in OUTCOMES and status != "success":
            self._cases.append(FailedAttempt(len(self.rows), attempt, status, features))
        if status in MEASURED_OUTCOMES:
            if attempt.steps is not None:
                self._ends.append((attempt.steps, status != "success"))
            (self._won if status == "success" else self._lost).append(Counter(features.actions))
        instruction = attempt.instruction
        self.rows.append(
            [
                attempt.task_id,
                attempt.attempt,
                attempt.domain,
                instruction if instruction is None or len(instruction) <= _INSTRUCTION else instruction[:_INSTRUCTION],
                status,
                attempt.score,
                attempt.steps if attempt.started_at is not None else None,
                attempt.duration_seconds,
                attempt.tokens,
                None if attempt.cost_usd is None else float(attempt.cost_usd),
                attempt.uncosted_calls,
                attempt.error,
                attempt.reason,
                attempt.scores,
                attempt.max_steps,
                features.first_problem,
                None,
                make_attempt_key(attempt.task_id, attempt.attempt),
            ]
        )

    def build_parts(self) -> dict[str, dict[str, Any]]:
        """Return the table as ``data/<run>/`` holds it: ``tasks``, and the rows in parts ``rows-0``, ``rows-1``, …"""
        clusters = cluster_failures(self._cases)
        column = COLUMNS.index("cluster")
        for number, one in enumerate(clusters):
            for row in one.rows:
                self.rows[row][column] = number
        slices = [self.rows[at : at + ROWS_PER_PART] for at in range(0, len(self.rows), ROWS_PER_PART)]
        head = {
            "columns": COLUMNS,
            "parts": len(slices),
            "clusters": [
                {"outcome": one.outcome, "kind": one.kind, "label": one.label, "count": len(one.rows)}
                for one in clusters
            ],
            "survival": [list(point) for point in estimate_survival(self._ends)],
            "action_mix": [share._asdict() for share in compute_action_mix(self._won, self._lost)],
        }
        return {"tasks": head, **{f"rows-{number}": {"rows": rows} for number, rows in enumerate(slices)}}
