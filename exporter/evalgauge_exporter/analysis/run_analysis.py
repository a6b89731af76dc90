"""Cached analyses of runs: ETA, costs and comparisons, each computed once per version of a run."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from evalgauge_exporter.analysis.comparison import Comparison, Trial, compare
from evalgauge_exporter.analysis.costs import MachineCost, RunCosts, TaskCosts, find_task_costs, run_costs
from evalgauge_exporter.analysis.curves import Curves
from evalgauge_exporter.analysis.eta import MIN_FINISHED, DurationStats, Eta, FinishedAttempt, RunningAttempt, estimate
from evalgauge_exporter.analysis.rates import (
    OpenTaskEstimates,
    Results,
    Scope,
    add_estimates,
    collect_open_tasks,
    estimate_open_tasks,
    exact_results,
)
from evalgauge_exporter.analysis.task_groups import Agreement, TaskGroups
from evalgauge_exporter.analysis.trials import measured_trials, running_since
from evalgauge_exporter.state.models import UNKNOWN, Attempt
from evalgauge_exporter.state.run import RunState, State

RESULTS_SECONDS = 5.0
"""Age up to which the results of a run are used again while none of its tasks starts or ends."""
ETA_SECONDS = 1.0
"""Age up to which an ETA is used again while the run has no event."""
RENEW_SECONDS, RENEW_SHARE, RENEW_MAX_SECONDS = 5.0, 0.02, 60.0
"""Estimates of a running run are renewed in the background when a task has started or ended; else when they are as old
as this share of the run's time, but between these bounds: the time of the open tasks passes."""
ASKED_SECONDS = 300.0
"""Comparisons of running runs that nobody has asked for for this long are not renewed."""
MAX_COMPARISONS = 10_000
"""Comparisons that are cached after an eviction: of many runs any two may be asked for."""
MAX_CURVES = 100
"""Runs whose curves are cached."""

Machines = Callable[[RunState, float], list[MachineCost]]


class BaselineComparison(NamedTuple):
    """A run compared with its baseline."""

    baseline: RunState
    comparison: Comparison


class _Results(NamedTuple):
    """The results of a run, and what they are of."""

    run: RunState
    tasks_version: int
    status: str
    until: float
    """Unix seconds at which an attempt may become interrupted without an event."""
    exact: Mapping[Scope, Results]
    open_tasks: Mapping[Scope, OpenTaskEstimates]
    found: Mapping[Scope, Results]
    """``exact`` with ``open_tasks``."""


_NO_ESTIMATES: Mapping[Scope, OpenTaskEstimates] = {}


class _OpenTasks(NamedTuple):
    """What was estimated of the open tasks of a running run."""

    run: RunState
    tasks_version: int
    at: float
    """Unix seconds."""
    found: Mapping[Scope, OpenTaskEstimates]


class _Eta(NamedTuple):
    """The time left of a running run from ``at`` on."""

    run: RunState
    version: int
    at: float
    """Unix seconds."""
    eta: Eta | None
    finished: int
    """Finished attempts that it is based on."""

    def at_time(self, now: float) -> Eta | None:
        """Return the time left from ``now`` on."""
        if self.eta is None or now <= self.at:
            return self.eta
        return Eta(*(max(0.0, seconds - (now - self.at)) for seconds in self.eta))


class _EtaInputs(NamedTuple):
    """What an ETA is computed from, without the state."""

    version: int
    stats: DurationStats
    fresh: list[FinishedAttempt]
    """To be added to ``stats``."""
    earlier: DurationStats | None
    earlier_fresh: list[FinishedAttempt]
    running: list[RunningAttempt]
    again: list[RunningAttempt]
    pending: Mapping[str, int]
    limit: float | None

    def compute(self, run: RunState, now: float) -> _Eta:
        """Return the estimate; the durations of the attempts that are new are added first."""
        for attempt in self.fresh:
            self.stats.add(attempt)
        if self.earlier is not None:
            for attempt in self.earlier_fresh:
                self.earlier.add(attempt)
        eta = estimate(
            now, self.stats, self.running, self.pending, again=self.again, earlier=self.earlier, limit=self.limit
        )
        return _Eta(run, self.version, now, eta, self.stats.count)


class _History(NamedTuple):
    """The durations of a run's finished attempts, by domain or by the groups of an earlier run."""

    run: RunState
    groups: TaskGroups | None
    stats: DurationStats
    seen: int
    """Attempts of the run's log that were collected."""
    tasks_version: int
    """That of the run when they were."""


class _Histories:
    """The durations of the finished attempts of runs, each attempt collected once."""

    def __init__(self) -> None:
        self.by_domain: dict[int, _History] = {}
        self.by_group: dict[int, _History] = {}
        self.groups: dict[int, tuple[RunState, int, TaskGroups]] = {}
        """Of runs that are earlier ones of others, with the version of their tasks: they may have been resumed."""
        self.agreements: dict[int, tuple[RunState, Agreement, int]] = {}
        """How a run agrees with its earlier one, and how many attempts of its log this is based on."""

    def caches(self) -> tuple[dict[int, Any], ...]:
        """Return what is cached, by the id of a run."""
        return self.by_domain, self.by_group, self.groups, self.agreements

    def find_groups(self, run: RunState, earlier: RunState) -> TaskGroups | None:
        """Return the groups of an earlier run's tasks; None where the run does not agree with it."""
        cached = self.groups.get(id(earlier))
        if cached is None or cached[:2] != (earlier, earlier.tasks_version):
            durations = ((a.task_id, a.duration_seconds) for a in earlier.finish_log if a.status != "interrupted")
            known = ((task_id, seconds) for task_id, seconds in durations if seconds is not None)
            cached = self.groups[id(earlier)] = (earlier, earlier.tasks_version, TaskGroups(known))
        groups = cached[2]
        found = self.agreements.get(id(run))
        if found is None or found[0] is not run or found[1].groups is not groups:
            found = (run, Agreement(groups), 0)
        _, agreement, seen = found
        for attempt in sorted(run.finish_log[seen:], key=lambda a: a.finished_at or 0.0):
            if attempt.duration_seconds is not None and attempt.status != "interrupted":
                agreement.add(attempt.task_id, attempt.duration_seconds)
        self.agreements[id(run)] = (run, agreement, len(run.finish_log))
        return groups if agreement else None

    def collect(self, run: RunState, groups: TaskGroups | None) -> tuple[DurationStats, list[FinishedAttempt]]:
        """Return the durations of a run's attempts that were collected before, and the attempts to be added."""
        histories = self.by_domain if groups is None else self.by_group
        cached = histories.get(id(run))
        if cached is not None and (cached.run is not run or cached.groups is not groups):
            cached = None
        if cached is not None and cached.tasks_version == run.tasks_version:
            return cached.stats, []  # those of a finished run may not be in memory
        if cached is None:
            stats = DurationStats()
            fresh = sorted(run.finish_log, key=lambda a: a.finished_at or 0.0)  # the logs were read one by one
        else:
            stats = cached.stats
            fresh = run.finish_log[cached.seen :]
        histories[id(run)] = _History(run, groups, stats, len(run.finish_log), run.tasks_version)
        return stats, [
            FinishedAttempt(_group_of(a, groups), a.duration_seconds, a.finished_at or run.last_event_at, a.worker_id)
            for a in fresh
            if a.duration_seconds is not None and a.status != "interrupted"
        ]


def _group_of(attempt: Attempt, groups: TaskGroups | None) -> str:
    return attempt.domain if groups is None else groups.name(attempt.task_id, attempt.domain)


class _Comparison(NamedTuple):
    """A comparison, and what it is of."""

    baseline: RunState
    run: RunState
    versions: tuple[int, int]
    at: float
    """Unix seconds."""
    comparison: Comparison


class RunAnalysis:
    """Analyses of all runs, with a cache. Callers hold the state's lock.

    The estimates of running runs take long. They are computed when they are asked for, unless :meth:`renew` is called
    regularly by a thread: then those of before are used until it has newer ones.

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
        self.is_renewed = False
        """Whether a thread calls :meth:`renew`."""
        self._completed: dict[tuple[str, str | None], list[RunState]] = {}
        self._completed_of: tuple[int, ...] = ()
        self._completed_at = (-1, -1)
        self._trials: dict[int, tuple[RunState, int, list[Trial]]] = {}
        self._compared: dict[tuple[int, int, bool], _Comparison] = {}
        self._asked: dict[tuple[int, int, bool], float] = {}
        """When each comparison was last asked for, Unix seconds."""
        self._costs: dict[int, tuple[RunState, int, int, RunCosts]] = {}
        self._task_costs: dict[int, tuple[RunState, TaskCosts]] = {}
        self._results: dict[int, _Results] = {}
        self._open_tasks: dict[int, _OpenTasks] = {}
        self._etas: dict[int, _Eta] = {}
        self._curves: dict[int, tuple[RunState, Curves]] = {}
        self._histories = _Histories()
        self._renewed_histories = _Histories()
        """Those of the thread that renews estimates: it adds to them without the lock."""
        self._evict_threshold = 16

    def is_finished(self, run: RunState, now: float) -> bool:
        """Return whether the run is not running: completed, aborted or stalled."""
        return run.status(now, self.stall_after) != "running"

    # -- results

    def results(self, run: RunState, now: float) -> Results:
        """Return the rates and scores of the run."""
        return self.all_results(run, now)[None]

    def domain_results(self, run: RunState, now: float) -> dict[str, Results]:
        """Return the rates and scores of the run by domain."""
        return {domain: found for domain, found in self.all_results(run, now).items() if domain is not None}

    def all_results(self, run: RunState, now: float) -> Mapping[Scope, Results]:
        """Return the rates and scores of the run, under ``None``, and of its domains; the same object until they
        change.
        """
        status = run.status(now, self.stall_after)
        cached = self._results.get(id(run))
        if (
            cached is None
            or (cached.run, cached.tasks_version, cached.status) != (run, run.tasks_version, status)
            or now >= cached.until
        ):
            until = next_silence(run, now, self.stall_after)
            exact = exact_results(run, now, self.stall_after)
            cached = _Results(run, run.tasks_version, status, until, exact, _NO_ESTIMATES, exact)
        open_tasks = self._estimate_open_tasks(run, cached.exact, now) if status == "running" else _NO_ESTIMATES
        if open_tasks is not cached.open_tasks:
            cached = cached._replace(open_tasks=open_tasks, found=self._add_open_tasks(run, cached.exact, open_tasks))
        self._results[id(run)] = cached
        self._evict_removed()
        return cached.found

    def _add_open_tasks(
        self, run: RunState, exact: Mapping[Scope, Results], open_tasks: Mapping[Scope, OpenTaskEstimates]
    ) -> dict[Scope, Results]:
        """Return results with estimates, those of domains and runs that have no open task any more left out."""
        scopes: set[Scope] = {attempt.domain for attempt in run.open_attempts.values()}
        scopes |= {domain for (domain, status), count in run.counts.items() if status == "pending" and count}
        scopes |= {domain for domain, count in run.unstarted.items() if count}
        scopes |= {None} if scopes or run.unnamed_count else set()
        return add_estimates(exact, {scope: found for scope, found in open_tasks.items() if scope in scopes})

    def _estimate_open_tasks(
        self, run: RunState, exact: Mapping[Scope, Results], now: float
    ) -> Mapping[Scope, OpenTaskEstimates]:
        cached = self._open_tasks.get(id(run))
        if (
            cached is None
            or cached.run is not run
            or not (
                self.is_renewed or (cached.tasks_version == run.tasks_version and now - cached.at <= RESULTS_SECONDS)
            )
        ):
            found = estimate_open_tasks(collect_open_tasks(run, exact, now, self.stall_after))
            cached = self._keep_open_tasks(_OpenTasks(run, run.tasks_version, now, found))
        return cached.found

    def _keep_open_tasks(self, new: _OpenTasks) -> _OpenTasks:
        """Cache estimates; equal ones stay the same object, so that what shows them does not count as changed."""
        cached = self._open_tasks.get(id(new.run))
        if cached is not None and cached.run is new.run and cached.found == new.found:
            new = new._replace(found=cached.found)
        self._open_tasks[id(new.run)] = new
        return new

    def curves(self, run: RunState) -> Curves:
        """Return the curves over the run's measured attempts."""
        cached = self._curves.get(id(run))
        if cached is None or cached[0] is not run:
            if len(self._curves) >= MAX_CURVES:
                self._curves.clear()
            cached = self._curves[id(run)] = (run, Curves())
            self._evict_removed()
        cached[1].update(run)
        return cached[1]

    # -- ETA

    def eta(self, run: RunState, now: float) -> Eta | None:
        """Return the seconds left from ``now``; None where no estimate is possible and once the run is finished."""
        return None if self.is_finished(run, now) else self._estimate_eta(run, now).at_time(now)

    def _estimate_eta(self, run: RunState, now: float) -> _Eta:
        cached = self._etas.get(id(run))
        if (
            cached is None
            or cached.run is not run
            or not (self.is_renewed or (cached.version == run.version and 0 <= now - cached.at < ETA_SECONDS))
        ):
            cached = self._etas[id(run)] = self._collect_eta(run, now, self._histories).compute(run, now)
            self._evict_removed()
        return cached

    def _collect_eta(self, run: RunState, now: float, histories: _Histories) -> _EtaInputs:
        """Return what the ETA of a run is computed from."""
        before = self._previous_run(run, same_model=True) or self._previous_run(run, same_model=False)
        groups = None if before is None else histories.find_groups(run, before)
        running, again = self._split_running(run, now, groups)
        pending: Counter[str] = Counter()
        if groups is None:
            for (domain, status), count in run.task_counts(now, self.stall_after).items():
                if status == "pending":
                    pending[domain] += count
        else:
            for task_id, domain, count in run.pending_tasks():
                pending[groups.name(task_id, domain)] += count
            pending[UNKNOWN] += run.unnamed_count
        earlier: DurationStats | None = None
        earlier_fresh: list[FinishedAttempt] = []
        if groups is not None:
            earlier = groups.stats
        elif before is not None:
            earlier, earlier_fresh = histories.collect(before, None)
        stats, fresh = histories.collect(run, groups)
        return _EtaInputs(run.version, stats, fresh, earlier, earlier_fresh, running, again, pending, _time_limit(run))

    def eta_reason(self, run: RunState, now: float) -> str | None:
        """Return why there is no ETA; None where there is one."""
        if self.is_finished(run, now):
            return f"the run is {run.status(now, self.stall_after)}"
        found = self._estimate_eta(run, now)
        if found.eta is not None:
            return None
        if found.finished < MIN_FINISHED:
            verb = "is" if found.finished == 1 else "are"
            return f"an estimate needs {MIN_FINISHED} finished tasks, there {verb} {found.finished or 'none'}"
        return "no worker is making progress"

    def _split_running(
        self, run: RunState, now: float, groups: TaskGroups | None
    ) -> tuple[list[RunningAttempt], list[RunningAttempt]]:
        """Return the running attempts, and those to be repeated because their worker stopped or was lost."""
        running: list[RunningAttempt] = []
        again: list[RunningAttempt] = []
        for attempt in run.running_attempts(now, self.stall_after):
            worker = None if attempt.worker_id is None else run.workers.get(attempt.worker_id)
            lost = worker is not None and run.worker_state(worker, now, self.stall_after) in ("stopped", "lost")
            until = worker.stamp.ts if lost and worker is not None and worker.stamp is not None else now
            elapsed = max(0.0, until - (now if attempt.started_at is None else attempt.started_at))
            limit = _limit_of(attempt, elapsed)
            group = _group_of(attempt, groups)
            (again if lost else running).append(RunningAttempt(group, elapsed, attempt.worker_id, limit))
        return running, again

    # -- costs

    def costs(self, run: RunState, now: float) -> RunCosts:
        """Return the run's costs."""
        finished = self.is_finished(run, now)
        cached = self._costs.get(id(run))
        if finished and cached is not None and cached[:3] == (run, run.version, self.prices_version):
            return cached[3]
        task_costs = None if finished else self._find_task_costs(run)
        costs = run_costs(run, self._machines(run, now), self.eta(run, now), now, self.stall_after, task_costs)
        if finished:
            self._costs[id(run)] = (run, run.version, self.prices_version, costs)
            self._evict_removed()
        return costs

    def _find_task_costs(self, run: RunState) -> TaskCosts:
        cached = self._task_costs.get(id(run))
        if cached is None or cached[0] is not run or not self.is_renewed:
            cached = self._task_costs[id(run)] = (run, find_task_costs(run))
        return cached[1]

    # -- renewal

    def list_due(self, now: float) -> list[RunState]:
        """Return the running runs whose estimates are due to be renewed, those with the oldest first.

        Args:
            now: The present, Unix seconds.
        """
        due = []
        for run in self.state.runs.values():
            if self.is_finished(run, now):
                continue
            found, eta = self._open_tasks.get(id(run)), self._etas.get(id(run))
            if found is None or found.run is not run or eta is None or eta.run is not run:
                due.append((0.0, run))
            elif found.tasks_version != run.tasks_version or now - found.at > self._renew_after(run, now):
                due.append((found.at, run))
        return [run for _, run in sorted(due, key=lambda item: item[0])]

    def _renew_after(self, run: RunState, now: float) -> float:
        lasted = now - (run.started_at or now)
        return min(max(RENEW_SECONDS, RENEW_SHARE * lasted), RENEW_MAX_SECONDS)

    def renew(self, run: RunState) -> None:
        """Renew the estimates of a run, and its comparisons that are in use.

        Called by one thread and without the lock, which is taken only to read the state and to cache what was computed.

        Args:
            run: A run that is running.
        """
        now = time.time()
        with self.state.lock:
            exact = exact_results(run, now, self.stall_after)
            tasks_version = run.tasks_version
            collected = collect_open_tasks(run, exact, now, self.stall_after)
        found = _OpenTasks(run, tasks_version, now, estimate_open_tasks(collected))
        with self.state.lock:
            inputs = self._collect_eta(run, now, self._renewed_histories)
        eta = inputs.compute(run, now)
        with self.state.lock:
            self._keep_open_tasks(found)
            self._etas[id(run)] = eta
            self._task_costs[id(run)] = (run, find_task_costs(run))
            self._evict_removed()
            stale = self._list_stale_comparisons(run, now)
        for baseline, candidate in stale:
            self.prepare_comparison(baseline, candidate)

    def _list_stale_comparisons(self, run: RunState, now: float) -> list[tuple[RunState, RunState]]:
        """Return the pairs of baseline and run, of which ``run`` is either, whose comparison is in use and outdated."""
        return [
            (cached.baseline, cached.run)
            for key, cached in self._compared.items()
            if run in (cached.baseline, cached.run)
            and now - self._asked.get(key, 0.0) < ASKED_SECONDS
            and not self._is_current(cached, key[2], now)
        ]

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
        is_renewed = self.is_renewed and not finished and now - self._asked.get(key, 0.0) < ASKED_SECONDS
        self._asked[key] = now
        cached = self._compared.get(key)
        if cached is None or not (is_renewed or self._is_current(cached, finished, now)):
            cached = self._compared[key] = self._collect_comparison(baseline, run, now)()
            self._evict_removed()
        return cached.comparison

    def _is_current(self, cached: _Comparison, finished: bool, now: float) -> bool:
        versions = (cached.baseline.tasks_version, cached.run.tasks_version)
        return cached.versions == versions and (finished or 0 <= now - cached.at <= RESULTS_SECONDS)

    def prepare_comparison(self, baseline: RunState, run: RunState) -> None:
        """Compare two runs, if they have changed since they were compared. Called without the lock, which is taken only
        to read the state: comparing large runs takes long.

        Args:
            baseline: The run to compare with.
            run: The run.
        """
        now = time.time()
        with self.state.lock:
            finished = self.is_finished(baseline, now) and self.is_finished(run, now)
            key = (id(baseline), id(run), finished)
            cached = self._compared.get(key)  # it holds both runs, so that no other has the id of one of them
            if cached is not None and self._is_current(cached, finished, now):
                return
            compute = self._collect_comparison(baseline, run, now)
        found = compute()
        with self.state.lock:
            self._compared[key] = found

    def _collect_comparison(self, baseline: RunState, run: RunState, now: float) -> Callable[[], _Comparison]:
        """Return a function that compares two runs as they are now, without the state."""
        versions = (baseline.tasks_version, run.tasks_version)
        compute = partial(
            compare,
            self.trials(baseline),
            self.trials(run),
            finished=self.is_finished(baseline, now) and self.is_finished(run, now),
            min_pairs=self._min_pairs,
            running_a=running_since(baseline, now, self.stall_after),
            running_b=running_since(run, now, self.stall_after),
            now=now,
        )
        return lambda: _Comparison(baseline, run, versions, now, compute())

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
        """Drop what is cached of removed runs, and old comparisons, each time the number of results has doubled."""
        if self._cached_count() < self._evict_threshold:
            return
        present = {id(run) for run in self.state.runs.values()}
        for cache in self._caches():
            for key in [key for key in cache if key not in present]:
                del cache[key]
        latest = sorted(self._compared, key=lambda pair: self._asked.get(pair, 0.0))[-MAX_COMPARISONS:]
        kept = [pair for pair in latest if pair[0] in present and pair[1] in present]
        self._compared = {pair: self._compared[pair] for pair in kept}
        self._asked = {pair: self._asked[pair] for pair in kept if pair in self._asked}
        self._evict_threshold = 2 * self._cached_count() + 16

    def _cached_count(self) -> int:
        return sum(len(cache) for cache in self._caches()) + len(self._compared)

    def _caches(self) -> tuple[dict[int, Any], ...]:
        """Return the caches by the id of a run."""
        results = (self._results, self._open_tasks, self._etas, self._costs, self._task_costs, self._curves)
        return (*results, *self._histories.caches(), *self._renewed_histories.caches(), self._trials)


def next_silence(run: RunState, now: float, stall_after: float) -> float:
    """Return when, in Unix seconds, an open attempt, a worker or the run may next count as dead without an event."""
    last = [ts for ts in (run.last_event_at, *run.writers.values()) if now - ts <= stall_after]
    return min(last, default=math.inf) + stall_after


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
