"""Cached analyses of runs: ETA, costs and comparisons, each computed once per version of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from evalgauge_exporter.analysis.comparison import Comparison, Trial, compare
from evalgauge_exporter.analysis.costs import MachineCost, RunCosts, run_costs
from evalgauge_exporter.analysis.eta import MIN_FINISHED, DurationStats, Eta, FinishedAttempt, RunningAttempt, estimate
from evalgauge_exporter.analysis.rates import Results, domain_results, run_results
from evalgauge_exporter.analysis.trials import measured_trials
from evalgauge_exporter.state.models import UNKNOWN, Attempt
from evalgauge_exporter.state.run import RunState, State

RESULTS_SECONDS = 5.0
"""Age up to which the results of a run are used again while none of its tasks starts or ends."""

Machines = Callable[[RunState, float], list[MachineCost]]


class BaselineComparison(NamedTuple):
    """A run compared with its baseline."""

    baseline: RunState
    comparison: Comparison


class RunAnalysis:
    """Analyses of all runs, with a cache. Callers hold the state's lock.

    Args:
        state: The state of all runs.
        stall_after: Seconds without an event after which an unfinished run is stalled.
        baselines: Baseline run ids by ``benchmark/model`` or ``benchmark``.
        min_pairs: Pairs below which a comparison gives no verdict.
        machines: Returns what machines cost a run.
    """

    def __init__(
        self,
        state: State,
        *,
        stall_after: float,
        baselines: Mapping[str, str] | None = None,
        min_pairs: int = 10,
        machines: Machines = lambda run, now: [],
    ) -> None:
        self.state = state
        self.stall_after = stall_after
        self._min_pairs = min_pairs
        self._baselines = dict(baselines or {})
        self._machines = machines
        self.prices_version = 0
        """Grows when a machine's price or use changes: the costs of finished runs may have changed."""
        self._completed: dict[tuple[str, str | None], list[RunState]] = {}
        self._completed_of: tuple[int, ...] = ()
        self._completed_at = (-1, -1)
        self._histories: dict[int, tuple[RunState, DurationStats, int]] = {}
        self._trials: dict[int, tuple[RunState, int, list[Trial]]] = {}
        self._compared: dict[tuple[int, int, bool], tuple[RunState, RunState, int, int, Comparison, float]] = {}
        self._costs: dict[int, tuple[RunState, int, int, RunCosts]] = {}
        self._etas: dict[int, tuple[RunState, int, float, Eta | None]] = {}
        self._results: dict[int, tuple[RunState, tuple[int, str], float, tuple[Results, dict[str, Results]]]] = {}
        self._evict_threshold = 16

    def is_finished(self, run: RunState, now: float) -> bool:
        """Return whether the run is not running: completed, aborted or stalled."""
        return run.status(now, self.stall_after) != "running"

    # -- results

    def results(self, run: RunState, now: float) -> Results:
        """Return the rates and scores of the run."""
        return self._all_results(run, now)[0]

    def domain_results(self, run: RunState, now: float) -> dict[str, Results]:
        """Return the rates and scores of the run by domain."""
        return self._all_results(run, now)[1]

    def _all_results(self, run: RunState, now: float) -> tuple[Results, dict[str, Results]]:
        key = (run.tasks_version, run.status(now, self.stall_after))
        cached = self._results.get(id(run))
        if cached is None or cached[:2] != (run, key) or now - cached[2] > RESULTS_SECONDS:
            found = run_results(run, now, self.stall_after), domain_results(run, now, self.stall_after)
            cached = self._results[id(run)] = (run, key, now, found)
            self._evict_removed()
        return cached[3]

    # -- ETA

    def eta(self, run: RunState, now: float) -> Eta | None:
        """Return the seconds left from ``now``; None where no estimate is possible and once the run is finished."""
        if self.is_finished(run, now):
            return None
        cached = self._etas.get(id(run))
        if cached is not None and cached[0] is run and cached[1] == run.version and 0 <= now - cached[2] < 1.0:
            return cached[3]
        running, again = self._split_running(run, now)
        pending: dict[str, int] = {}
        for (domain, status), count in run.task_counts(now, self.stall_after).items():
            if status == "pending" and count > 0:
                pending[domain] = count
        before = self._previous_run(run, same_model=False)
        earlier = self._duration_stats(before) if before is not None else None
        stats, limit = self._duration_stats(run), _time_limit(run)
        eta = estimate(now, stats, running, pending, again=again, earlier=earlier, limit=limit)
        self._etas[id(run)] = (run, run.version, now, eta)
        self._evict_removed()
        return eta

    def eta_reason(self, run: RunState, now: float) -> str | None:
        """Return why there is no ETA; None where there is one."""
        if self.eta(run, now) is not None:
            return None
        if self.is_finished(run, now):
            return f"the run is {run.status(now, self.stall_after)}"
        finished = self._duration_stats(run).count
        if finished < MIN_FINISHED:
            verb = "is" if finished == 1 else "are"
            return f"an estimate needs {MIN_FINISHED} finished tasks, there {verb} {finished or 'none'}"
        return "no worker is making progress"

    def _split_running(self, run: RunState, now: float) -> tuple[list[RunningAttempt], list[RunningAttempt]]:
        """Return the running attempts, and those to be repeated because their worker stopped or was lost."""
        running: list[RunningAttempt] = []
        again: list[RunningAttempt] = []
        for attempt in run.running_attempts(now, self.stall_after):
            worker = None if attempt.worker_id is None else run.workers.get(attempt.worker_id)
            lost = worker is not None and run.worker_state(worker, now, self.stall_after) in ("stopped", "lost")
            until = worker.stamp.ts if lost and worker is not None and worker.stamp is not None else now
            elapsed = max(0.0, until - (now if attempt.started_at is None else attempt.started_at))
            limit = _limit_of(attempt, elapsed)
            (again if lost else running).append(RunningAttempt(attempt.domain, elapsed, attempt.worker_id, limit))
        return running, again

    def _duration_stats(self, run: RunState) -> DurationStats:
        cached = self._histories.get(id(run))
        if cached is None or cached[0] is not run:
            history, seen = DurationStats(), 0
            fresh = sorted(run.finish_log, key=lambda a: a.finished_at or 0.0)  # the logs were read one by one
        else:
            _, history, seen = cached
            fresh = run.finish_log[seen:]
        for attempt in fresh:
            if attempt.duration_seconds is not None and attempt.status != "interrupted":
                ended_at = attempt.finished_at or run.last_event_at
                history.add(FinishedAttempt(attempt.domain, attempt.duration_seconds, ended_at, attempt.worker_id))
        self._histories[id(run)] = (run, history, len(run.finish_log))
        return history

    # -- costs

    def costs(self, run: RunState, now: float) -> RunCosts:
        """Return the run's costs."""
        finished = self.is_finished(run, now)
        cached = self._costs.get(id(run))
        if finished and cached is not None and cached[:3] == (run, run.version, self.prices_version):
            return cached[3]
        costs = run_costs(run, self._machines(run, now), self.eta(run, now), now, self.stall_after)
        if finished:
            self._costs[id(run)] = (run, run.version, self.prices_version, costs)
            self._evict_removed()
        return costs

    # -- comparison

    def trials(self, run: RunState) -> list[Trial]:
        """Return the run's measured attempts."""
        cached = self._trials.get(id(run))
        if cached is not None and cached[0] is run and cached[1] == run.tasks_version:
            return cached[2]
        trials = measured_trials(run)
        self._trials[id(run)] = (run, run.tasks_version, trials)
        return trials

    def compare(self, baseline: RunState, run: RunState, now: float) -> Comparison:
        """Compare ``run`` with ``baseline`` over the tasks that both have measured."""
        finished = self.is_finished(baseline, now) and self.is_finished(run, now)
        key = (id(baseline), id(run), finished)
        cached = self._compared.get(key)
        versions = (baseline, run, baseline.tasks_version, run.tasks_version)
        if cached is not None and cached[:4] == versions and (finished or 0 <= now - cached[5] <= RESULTS_SECONDS):
            return cached[4]
        comparison = compare(
            self.trials(baseline),
            self.trials(run),
            finished=finished,
            min_pairs=self._min_pairs,
            running_a=self._running_since(baseline, now),
            running_b=self._running_since(run, now),
            now=now,
        )
        self._compared[key] = (*versions, comparison, now)
        self._evict_removed()
        return comparison

    def _running_since(self, run: RunState, now: float) -> dict[str, float]:
        """Return when each running task started: quick failures must not be ordered before slow successes."""
        begun: dict[str, float] = {}
        for attempt in run.running_attempts(now, self.stall_after):
            started = attempt.started_at or now
            begun[attempt.task_id] = min(started, begun.get(attempt.task_id, started))
        return begun

    def baseline(self, run: RunState) -> RunState | None:
        """Return the run's baseline: what the run names, what is configured, else the last completed run like it."""
        for name in self.named_baselines(run):
            if (named := self.state.runs.get(name)) is not None:
                return named
        return self._previous_run(run, same_model=True)

    def named_baselines(self, run: RunState) -> list[str]:
        """Return the baselines that the run or the configuration names, whether there are such runs or not."""
        names = (
            run.baseline_run_id,
            self._baselines.get(f"{run.benchmark}/{run.model}"),
            self._baselines.get(run.benchmark),
        )
        return [name for name in dict.fromkeys(names) if name is not None and name != run.run_id]

    def missing_baselines(self) -> list[str]:
        """Return a message for each baseline that the configuration or a run names and that does not exist."""
        runs = self.state.runs
        missing = [
            f"baselines: {key} = {name!r}: there is no run with this id"
            for key, name in sorted(self._baselines.items())
            if name not in runs
        ]
        missing += [
            f"run {run.run_id}: its baseline {run.baseline_run_id!r} does not exist"
            for run in runs.values()
            if run.baseline_run_id is not None and run.baseline_run_id not in runs
        ]
        return missing

    def compare_with_baseline(self, run: RunState, now: float) -> BaselineComparison | None:
        """Compare the run with its baseline; None where it has none."""
        baseline = self.baseline(run)
        return None if baseline is None else BaselineComparison(baseline, self.compare(baseline, run, now))

    def compare_with_previous(self, run: RunState, now: float) -> BaselineComparison | None:
        """Compare the run with its baseline, else with the last completed run of its benchmark, of any model."""
        other = self.baseline(run) or self._previous_run(run, same_model=False)
        return None if other is None else BaselineComparison(other, self.compare(other, run, now))

    def _previous_run(self, run: RunState, *, same_model: bool) -> RunState | None:
        if same_model and run.model == UNKNOWN:
            return None  # runs without a model's name may be of different models
        began = run.started_at or 0.0
        like = self._completed_runs().get((run.benchmark, run.model if same_model else None), ())
        return next((other for other in reversed(like) if other is not run and (other.started_at or 0.0) < began), None)

    def _completed_runs(self) -> dict[tuple[str, str | None], list[RunState]]:
        """Return completed runs by (benchmark, model) and by (benchmark, None), in the order in which they ended."""
        if self._completed_at == (self.state.version, len(self.state.runs)):
            return self._completed
        self._completed_at = (self.state.version, len(self.state.runs))
        completed = [
            run for run in self.state.runs.values() if run.is_finished() and run.status(0.0, 1.0) == "completed"
        ]
        key = tuple(id(run) for run in completed)
        if key != self._completed_of:
            self._completed_of, self._completed = key, {}
            for run in sorted(completed, key=lambda run: run.ended_at or 0.0):
                self._completed.setdefault((run.benchmark, run.model), []).append(run)
                self._completed.setdefault((run.benchmark, None), []).append(run)
        return self._completed

    def _evict_removed(self) -> None:
        """Drop cached results of removed runs, each time the number of cached results has doubled."""
        if self._cached_count() < self._evict_threshold:
            return
        present = {id(run) for run in self.state.runs.values()}
        self._trials = {key: cached for key, cached in self._trials.items() if key in present}
        self._compared = {
            key: cached for key, cached in self._compared.items() if key[0] in present and key[1] in present
        }
        self._histories = {key: cached for key, cached in self._histories.items() if key in present}
        self._costs = {key: cached for key, cached in self._costs.items() if key in present}
        self._etas = {key: cached for key, cached in self._etas.items() if key in present}
        self._results = {key: cached for key, cached in self._results.items() if key in present}
        self._evict_threshold = 2 * self._cached_count() + 16

    def _cached_count(self) -> int:
        caches = (self._trials, self._compared, self._histories, self._costs, self._etas, self._results)
        return sum(len(cache) for cache in caches)


STEP_SLACK = 1.2
"""A running task may take its remaining steps this much slower than those so far."""
MIN_STEPS = 5
"""Steps of a running task from which on its pace is known."""


def _time_limit(run: RunState) -> float | None:
    """Return the time limit of the run's tasks in seconds, where every started attempt that is open states one."""
    limits = [attempt.time_limit_seconds for attempt in run.open_attempts.values()]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _limit_of(attempt: Attempt, elapsed: float) -> float | None:
    """Return the most seconds that a running attempt may take, by its time limit and by its steps left at its pace."""
    limits = [] if attempt.time_limit_seconds is None else [attempt.time_limit_seconds]
    if attempt.max_steps is not None and attempt.recorded_steps >= MIN_STEPS:
        left = max(0, attempt.max_steps - attempt.recorded_steps + 1)
        limits.append(elapsed + STEP_SLACK * left * elapsed / attempt.recorded_steps)
    return min(limits, default=None)
