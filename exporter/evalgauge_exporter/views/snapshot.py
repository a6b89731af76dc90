"""JSON views of the state for the API and the live page. Callers hold the state's lock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec

from evalgauge.metrics import MEASURED_OUTCOMES, TASK_STATUSES
from evalgauge_exporter.analysis.comparison import Comparison
from evalgauge_exporter.analysis.costs import MachineCost
from evalgauge_exporter.analysis.curves import Curves
from evalgauge_exporter.analysis.rates import success_rate_reason
from evalgauge_exporter.analysis.run_analysis import BaselineComparison, RunAnalysis
from evalgauge_exporter.analysis.summary import NO_RESULTS, elapsed, result_fields, summarize
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.curve_points import CurveText, curve_points
from evalgauge_exporter.views.schemas import run as shapes

STATED_TOLERANCE = 0.05
"""Share by which a stated cost may differ from the own price before both are shown."""
POINTS = 200
"""Points of a curve over a run's tasks, at most."""
MAX_TEXTS = 20
"""Runs of which the JSON of long curves is cached."""
QUEUE = 100
"""Pending tasks that are listed."""
RECENT = 15
"""Runs in the live page's list."""
RUN_IDS = 200
"""Run ids in the live page's selector."""
CURRENT = 100
"""Running tasks that are listed."""
WORKERS = 500
"""Workers that are listed."""
SEQUENTIAL_TEST = "anytime-valid Beta-binomial mixture martingale"
"""The test behind the p-value of a running run."""


def newest_first(runs: Iterable[RunState]) -> list[RunState]:
    """Return the runs, the one that started last first."""
    return sorted(runs, key=_start, reverse=True)


def default_run(analysis: RunAnalysis, now: float) -> RunState | None:
    """Return the run that is selected where none is named: the newest running one, else the newest."""
    runs = analysis.state.runs.values()
    running = (run for run in runs if not analysis.is_finished(run, now))
    return max(running, key=_start, default=None) or max(runs, key=_start, default=None)


def _start(run: RunState) -> tuple[float, str]:
    return run.started_at or 0.0, run.run_id


def status(run: RunState | None, analysis: RunAnalysis, now: float) -> shapes.Status:
    """Return the progress of a run."""
    if run is None:
        return shapes.Status(current_job=None, queue=[])
    waiting: list[shapes.QueuedTask] = []
    length = run.statuses(now, analysis.stall_after).get("pending", 0)
    if length:
        for attempt in run.attempts.values():
            if attempt.status == "pending":
                waiting.append(shapes.QueuedTask(task_id=attempt.task_id, status="pending", domain=attempt.domain))
                if len(waiting) == QUEUE:
                    break
    return shapes.Status(current_job=_job(run, analysis, now), queue=waiting, queue_length=length)


def _job(run: RunState, analysis: RunAnalysis, now: float) -> shapes.CurrentJob:
    stall_after = analysis.stall_after
    statuses = dict.fromkeys(TASK_STATUSES, 0) | run.statuses(now, stall_after)
    eta = analysis.eta(run, now)
    usual = run.mean_steps
    current = [
        shapes.RunningTask(
            task_id=attempt.task_id,
            instruction=attempt.instruction,
            step=attempt.recorded_steps,
            total_steps_estimate=attempt.max_steps or (None if usual is None else max(1, round(usual))),
            attempt=attempt.attempt,
            domain=attempt.domain,
            worker_id=attempt.worker_id,
            elapsed_seconds=max(0.0, now - (attempt.started_at or now)),
            max_steps=attempt.max_steps,
        )
        for attempt in run.running_attempts(now, stall_after)[-CURRENT:]
    ]
    paired = analysis.baseline(run)
    return shapes.CurrentJob(
        run_id=run.run_id,
        model_id=run.model,
        status=run.status(now, stall_after),
        total_tasks=run.total,
        completed_tasks=run.finished_count,
        attempts_planned=run.attempts_planned,
        current_task=shapes.CurrentTask.model_validate(current[-1].model_dump()) if current else None,
        elapsed_seconds=elapsed(run, now, stall_after),
        eta_seconds=None if eta is None else eta.p50,
        avg_task_seconds=_mean_duration(run),
        benchmark=run.benchmark,
        agent=run.agent,
        source=run.source,
        started_at=run.started_at,
        ended_at=run.ended_at,
        unreadable=run.unreadable,
        last_progress_at=run.last_progress_at or None,
        statuses=statuses,
        eta=None if eta is None else shapes.EtaBounds(**eta._asdict()),
        eta_reason=analysis.eta_reason(run, now),
        current_tasks=current,
        budget_usd=run.budget_usd,
        baseline_run_id=None if paired is None else paired.run_id,
        tags=run.tags,
    )


def _mean_duration(run: RunState) -> float | None:
    """Return the mean seconds of the attempts' recorded ends."""
    count = sum(sum(histogram.counts) for histogram in run.durations.values())
    return sum(histogram.micros for histogram in run.durations.values()) / count / 1e6 if count else None


# -- costs


def costs(run: RunState | None, analysis: RunAnalysis, now: float) -> shapes.Costs:
    """Return the costs of a run."""
    if run is None:
        return _no_costs()
    money = analysis.costs(run, now)
    vms = [machine for machine in money.machines if machine.component == "vm"]
    gpus: dict[str, list[MachineCost]] = {}
    for machine in money.machines:
        if machine.component == "gpu":
            gpus.setdefault(machine.provider or "unknown", []).append(machine)
    return shapes.Costs(
        azure_vm=shapes.AzureVm(
            instance_type=_common([machine.instance_type for machine in vms]),
            hourly_rate_usd=_known_sum([machine.hourly_rate_usd for machine in vms]),
            hours_elapsed=sum(machine.hours for machine in vms) if vms else None,
            cost_usd=money.vm,
            vms=[_machine(machine) for machine in vms],
        ),
        api_calls=_api_calls(run),
        gpu_time={
            provider: shapes.GpuTime(
                instance_type=_common([machine.instance_type for machine in machines]),
                hourly_rate_usd=_known_sum([machine.hourly_rate_usd for machine in machines]),
                hours_elapsed=sum(machine.hours for machine in machines),
                cost_usd=_known_sum([machine.cost_usd for machine in machines]),
            )
            for provider, machines in gpus.items()
        },
        total_cost_usd=money.total,
        unpriced_calls=money.unpriced_calls,
        unknown_usage_calls=money.unknown_usage_calls,
        unpriced_machines=money.unpriced_machines,
        cost_per_hour_usd=money.per_hour,
        cost_per_success_usd=money.per_success,
        projected_total_usd=money.projected_total,
        budget_usd=money.budget,
        budget_hit_at=money.budget_hit_at,
        by_component=shapes.Components(llm=money.llm, vm=money.vm, gpu=money.gpu),
    )


def _no_costs() -> shapes.Costs:
    nothing = shapes.AzureVm(instance_type=None, hourly_rate_usd=None, hours_elapsed=None, cost_usd=None, vms=[])
    return shapes.Costs(
        azure_vm=nothing,
        api_calls={},
        gpu_time={},
        total_cost_usd=None,
        unpriced_calls=0,
        unknown_usage_calls=0,
        unpriced_machines=0,
        cost_per_hour_usd=None,
        cost_per_success_usd=None,
        projected_total_usd=None,
        budget_usd=None,
        budget_hit_at=None,
        by_component=shapes.Components(),
    )


def _machine(machine: MachineCost) -> shapes.Machine:
    return shapes.Machine(
        name=machine.name,
        provider=machine.provider,
        instance_type=machine.instance_type,
        hourly_rate_usd=machine.hourly_rate_usd,
        hours_elapsed=machine.hours,
        busy_hours=machine.busy_hours,
        cost_usd=machine.cost_usd,
        priced_by=machine.priced_by,
        billing=machine.billing,
    )


def _common(values: list[str | None]) -> str | None:
    different = {value for value in values if value is not None}
    return different.pop() if len(different) == 1 else ("mixed" if different else None)


def _known_sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _api_calls(run: RunState) -> dict[str, shapes.ApiCalls]:
    providers: dict[str, list[shapes.ModelCost]] = {}
    for (provider, model), usage in run.usage.items():
        fresh, cache_read, cache_write, output = usage.tokens
        row = shapes.ModelCost(
            model=model,
            requests=sum(usage.requests.values()),
            input_tokens=fresh + cache_read + cache_write,
            cache_read_tokens=cache_read,
            cache_write_tokens=cache_write,
            output_tokens=output,
            cost_usd=None if usage.cost_usd is None else float(usage.cost_usd),
            unpriced_calls=usage.unpriced,
            unknown_usage_calls=usage.unknown,
            priced_by=list(usage.tables),
            unpriced_reasons=dict(usage.reasons),
        )
        if usage.stated_usd is not None and usage.compared_usd is not None:
            stated, compared = float(usage.stated_usd), float(usage.compared_usd)
            if abs(stated - compared) > STATED_TOLERANCE * max(stated, compared):
                row.stated_cost_usd, row.compared_cost_usd = stated, compared
        providers.setdefault(provider, []).append(row)
    calls: dict[str, shapes.ApiCalls] = {}
    for provider, rows in providers.items():
        rows.sort(key=lambda row: row.input_tokens + row.output_tokens, reverse=True)
        calls[provider] = shapes.ApiCalls(
            model=rows[0].model,
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cost_usd=_known_sum([row.cost_usd for row in rows]),
            cache_read_tokens=sum(row.cache_read_tokens for row in rows),
            cache_write_tokens=sum(row.cache_write_tokens for row in rows),
            models=rows,
        )
    return calls


# -- results


def metrics(run: RunState | None, analysis: RunAnalysis, now: float, *, points: int = POINTS) -> shapes.Metrics:
    """Return the rates and steps of a run over its measured attempts.

    Args:
        run: The run; None where there is none.
        analysis: The analyses of the runs.
        now: The present, Unix seconds.
        points: The most points of each curve, at least two.
    """
    if run is None:
        return _no_metrics()
    fields = result_fields(run, analysis.results(run, now), run.status(now, analysis.stall_after))
    first = run.first_actions
    judged = sum(first.values())
    curves = analysis.curves(run)
    rate_curve, steps_curve = curve_points(curves, points)
    return shapes.Metrics(
        **dict(fields),
        success_rate_over_time=[
            shapes.RateAt.model_validate(point) for point in rate_curve if fields.success_rate_reason is None
        ],
        avg_steps_per_task=[shapes.StepsAt.model_validate(point) for point in steps_curve],
        domain_breakdown=domains(run, analysis, now),
        episode_success_metrics=shapes.EpisodeMetrics(
            first_action_accuracy=first["true"] / judged if judged else None,
            episode_success_rate=fields.success_rate,
            avg_steps_to_success=curves.steps_to_success.mean,
            avg_steps_to_failure=curves.steps_to_failure.mean,
        ),
        measured_tasks=len(curves.rates),
        avg_steps=run.mean_steps,
    )


class MetricsRenderer:
    """Renders ``metrics`` as JSON. Its curves may be long: their points are encoded once.

    Args:
        points: The most points of each curve, at least two.
    """

    def __init__(self, points: int) -> None:
        self._points = points
        self._texts: WeakKeyDictionary[Curves, CurveText] = WeakKeyDictionary()

    def __call__(self, run: RunState | None, analysis: RunAnalysis, now: float) -> bytes:
        """Return the JSON; arguments as of ``metrics``."""
        made = metrics(run, analysis, now, points=2).model_dump(mode="json")
        if run is not None:
            curves = analysis.curves(run)
            if curves not in self._texts and len(self._texts) >= MAX_TEXTS:
                self._texts.clear()
            rates, steps = self._texts.setdefault(curves, CurveText(self._points)).render(curves)
            made["avg_steps_per_task"] = steps
            made["success_rate_over_time"] = rates if made["success_rate_reason"] is None else []
        return msgspec.json.encode(made)


def _no_metrics() -> shapes.Metrics:
    return shapes.Metrics(
        **dict(NO_RESULTS),
        success_rate_over_time=[],
        avg_steps_per_task=[],
        domain_breakdown={},
        episode_success_metrics=shapes.EpisodeMetrics(
            first_action_accuracy=None, episode_success_rate=None, avg_steps_to_success=None, avg_steps_to_failure=None
        ),
        measured_tasks=0,
        avg_steps=None,
    )


def domains(run: RunState, analysis: RunAnalysis, now: float) -> dict[str, shapes.Domain]:
    """Return the results by domain, sorted by name."""
    counts: dict[str, dict[str, int]] = {}
    for (domain, name), count in run.task_counts(now, analysis.stall_after).items():
        counts.setdefault(domain, {})[name] = count
    steps = analysis.curves(run).steps_by_domain
    breakdown: dict[str, shapes.Domain] = {}
    results = analysis.domain_results(run, now)
    for domain in sorted(counts):
        statuses = counts[domain]
        found = results.get(domain)
        rate = None if found is None else found.rate_interval
        score = None if found is None else found.score_interval
        breakdown[domain] = shapes.Domain(
            total=sum(statuses.values()),
            success=statuses.get("success", 0),
            rate=None if found is None or found.success_rate is None else found.success_rate.value,
            avg_steps=steps[domain].mean if domain in steps else None,
            finished=sum(n for name, n in statuses.items() if name not in ("pending", "running")),
            measured=sum(statuses.get(name, 0) for name in MEASURED_OUTCOMES),
            rate_low=None if rate is None else rate.low,
            rate_high=None if rate is None else rate.high,
            rate_estimate=None if found is None else found.expected_rate,
            mean_score=None if found is None or found.score is None else found.score.value,
            score_low=None if score is None else score.low,
            score_high=None if score is None else score.high,
        )
    return breakdown


def workers(run: RunState | None, analysis: RunAnalysis, now: float) -> shapes.Workers:
    """Return the workers of a run."""
    rows: list[shapes.WorkerRow] = []
    for worker_id, worker in list(run.workers.items())[:WORKERS] if run is not None else ():
        state = run.worker_state(worker, now, analysis.stall_after) if run is not None else "lost"
        current = next(reversed(worker.current))[0] if worker.current and state == "busy" else None
        rows.append(
            shapes.WorkerRow(
                worker_id=worker_id,
                status=state,
                current_task=current,
                tasks_completed=worker.tasks_completed,
                uptime_seconds=max(0.0, worker.last_seen - worker.first_seen),
                idle_time_seconds=worker.idle_seconds,
                busy_seconds=worker.busy_seconds,
                last_seen=worker.last_seen,
                vm=worker.vm,
            )
        )
    return shapes.Workers(
        total_workers=len(run.workers) if run is not None else 0,
        active_workers=sum(1 for row in rows if row.status == "busy"),
        idle_workers=sum(1 for row in rows if row.status == "idle"),
        workers=rows,
    )


# -- several runs


def render_listed_run(run: RunState, analysis: RunAnalysis, now: float) -> bytes:
    """Return the row of a run in the list of all runs as JSON, without the seconds that it has taken."""
    summary = summarize(run, now, analysis.stall_after, analysis.results(run, now))
    changed = {"created_at": _iso_time(summary.created_at), "elapsed_seconds": None}
    return shapes.ListedRun(**dict(summary) | changed).model_dump_json().encode()


def _iso_time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def recent(analysis: RunAnalysis, now: float) -> list[shapes.RecentRun]:
    """Return the newest runs, each compared with its baseline or the previous run."""
    rows: list[shapes.RecentRun] = []
    for run in newest_first(analysis.state.runs.values())[:RECENT]:
        paired = analysis.compare_with_previous(run, now)
        summary = summarize(run, now, analysis.stall_after, analysis.results(run, now)).model_dump()
        money = analysis.costs(run, now)
        rows.append(
            shapes.RecentRun(
                **summary | {"cost_usd": money.total},
                unpriced_machines=money.unpriced_machines,
                comparison=None if paired is None else _recent_comparison(paired),
            )
        )
    return rows


def _recent_comparison(paired: BaselineComparison) -> shapes.RunComparison:
    found = paired.comparison
    return shapes.RunComparison(
        baseline_run_id=paired.baseline.run_id,
        delta=_negated(found.success_delta),
        ci_low=_negated(found.ci_high),
        ci_high=_negated(found.ci_low),
        p_value=_p_value(found),
        paired_tasks=found.paired_tasks,
        verdict=found.verdict,
    )


def _negated(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


def _p_value(found: Comparison) -> float | None:
    """Return the p-value that the verdict is based on; None without pairs."""
    if not found.paired_tasks:
        return None
    return found.p_value if found.finished else found.anytime_p_value


def compare(a: RunState, b: RunState, analysis: RunAnalysis, now: float) -> shapes.Comparison:
    """Return the comparison of run ``b`` with its baseline ``a``."""
    found = analysis.compare(a, b, now)
    reasons = ((run.run_id, success_rate_reason(run)) for run in (a, b))
    return shapes.Comparison(
        comparison=shapes.Compared(
            run_a=_run_metrics(a, analysis, now),
            run_b=_run_metrics(b, analysis, now),
            delta=_delta(found, 1),
            change=_delta(found, -1),
            score=_score(found),
            significance=shapes.Significance(
                test=found.test if found.finished else SEQUENTIAL_TEST,
                p_value=_p_value(found),
                ci_low=found.ci_low,
                ci_high=found.ci_high,
                estimate=found.expected_delta,
                final_low=found.final_low,
                final_high=found.final_high,
                paired_tasks=found.paired_tasks,
                only_a_succeeded=found.only_a_succeeded,
                only_b_succeeded=found.only_b_succeeded,
                verdict=found.verdict,
                anytime_p_value=found.anytime_p_value if found.paired_tasks else None,
                pairs_needed=found.pairs_needed,
                noise_floor=found.noise_floor,
                only_in_a=found.only_in_a,
                only_in_b=found.only_in_b,
                reason="; ".join(f"{run_id}: {reason}" for run_id, reason in reasons if reason is not None) or None,
            ),
        )
    )


def _delta(found: Comparison, sign: int) -> shapes.Delta:
    """Return the differences A − B (sign 1) or B − A (sign −1)."""

    def signed(value: float | None) -> float | None:
        return None if value is None else 0.0 + sign * value

    return shapes.Delta(
        success_rate=signed(found.success_delta),
        score=None if found.score is None else signed(found.score.difference),
        avg_steps=None if found.steps is None else signed(found.steps.difference),
        duration_seconds=None if found.duration_seconds is None else signed(found.duration_seconds.difference),
        cost_usd=None if found.cost_usd is None else signed(found.cost_usd.difference),
        domain_deltas={
            name: shapes.DomainDelta(
                success_rate=signed(domain.success_delta),
                ci_low=signed(domain.ci_low if sign > 0 else domain.ci_high),
                ci_high=signed(domain.ci_high if sign > 0 else domain.ci_low),
                paired_tasks=domain.paired_tasks,
                p_value=domain.adjusted_p_value,
                verdict=domain.verdict,
            )
            for name, domain in found.domains.items()
        },
    )


def _score(found: Comparison) -> shapes.ScoreSignificance | None:
    score = found.score
    if score is None:
        return None
    return shapes.ScoreSignificance(
        test="sign-flip over tasks" if found.finished else SEQUENTIAL_TEST,
        p_value=score.p_value if found.finished else score.anytime_p_value,
        anytime_p_value=score.anytime_p_value,
        ci_low=None if score.interval is None else score.interval.low,
        ci_high=None if score.interval is None else score.interval.high,
        estimate=score.expected_difference,
        paired_tasks=score.pairs,
        mean_a=score.mean_a,
        mean_b=score.mean_b,
        verdict=score.verdict,
    )


def _run_metrics(run: RunState, analysis: RunAnalysis, now: float) -> shapes.RunMetrics:
    return shapes.RunMetrics(run_id=run.run_id, model_id=run.model, **metrics(run, analysis, now).model_dump())


# -- the live page


def snapshot(run: RunState | None, analysis: RunAnalysis, now: float, grafana_url: str | None) -> shapes.Snapshot:
    """Return everything that the live page shows."""
    progress = status(run, analysis, now)
    results = metrics(run, analysis, now)
    return shapes.Snapshot(
        version=analysis.state.version,
        generated_at=now,
        run_id=None if run is None else run.run_id,
        current_job=progress.current_job,
        queue=progress.queue,
        queue_length=progress.queue_length,
        costs=costs(run, analysis, now),
        metrics=results,
        workers=workers(run, analysis, now),
        domain_breakdown=results.domain_breakdown,
        runs=recent(analysis, now),
        all_run_ids=[other.run_id for other in newest_first(analysis.state.runs.values())[:RUN_IDS]],
        total_runs=len(analysis.state.runs),
        links=shapes.Links(
            grafana_url=None if grafana_url is None else _dashboard_url(grafana_url, run),
            replay=None if run is None else f"/replay/{quote(run.run_id, safe='')}/",
        ),
    )


def dashboard_url(base: str) -> str:
    """Return the address of a run's dashboard without the run's quoted id at its end.

    Args:
        base: The address of Grafana.
    """
    return f"{base.rstrip('/')}/d/evalgauge-evaluation?var-run="


def _dashboard_url(base: str, run: RunState | None) -> str:
    return dashboard_url(base).partition("?")[0] if run is None else dashboard_url(base) + quote(run.run_id, safe="")
