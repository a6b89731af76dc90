"""What is computed about runs: which tasks the ETA takes as going on, why there is none, and what is compared."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from itertools import permutations
from typing import cast

import msgspec
import pytest

from evalgauge.events import (
    Event,
    Outcome,
    PlannedTask,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    WorkerState,
    WorkerStateName,
)
from evalgauge_exporter.analysis import run_analysis
from evalgauge_exporter.analysis.eta import Eta
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState, State, fold

T0 = 1_795_290_000.0
STALL = 600.0


def started(at: float, task: str, worker: str = "a", attempt: int = 1) -> Event:
    return TaskStarted(ts=T0 + at, seq=0, writer="w", task_id=task, attempt=attempt, worker_id=worker)


def ended(
    at: float, task: str, worker: str = "a", seconds: float | None = 100.0, outcome: str = "success", attempt: int = 1
) -> Event:
    return TaskFinished(
        ts=T0 + at,
        seq=0,
        writer="w",
        task_id=task,
        attempt=attempt,
        worker_id=worker,
        outcome=cast(Outcome, outcome),
        steps=1,
        duration_seconds=seconds,
    )


def state_of(at: float, worker: str, state: str) -> Event:
    return WorkerState(ts=T0 + at, seq=0, writer="w", worker_id=worker, state=cast(WorkerStateName, state))


def run_of(
    events: Iterable[Event],
    run_id: str = "r",
    tasks: int | tuple[PlannedTask, ...] = 20,
    at: float = 0.0,
    attempts: int = 1,
    model: str = "m",
) -> RunState:
    begin = RunStarted(
        ts=T0 + at,
        seq=0,
        writer="w",
        run_id=run_id,
        benchmark="waa",
        model=model,
        tasks=() if isinstance(tasks, int) else tasks,
        total_tasks=tasks if isinstance(tasks, int) else None,
        attempts=attempts,
    )
    told = [begin, *events]
    return fold(
        run_id, "runlog", [msgspec.structs.replace(event, seq=number) for number, event in enumerate(told, start=1)]
    )


def analysis_of(*runs: RunState) -> RunAnalysis:
    state = State()
    state.runs = {run.run_id: run for run in runs}
    return RunAnalysis(state, stall_after=STALL)


def by_two_workers(rounds: int = 5) -> list[Event]:
    """Tasks of 100 s, two at a time."""
    told: list[Event] = []
    for turn in range(rounds):
        for worker in ("a", "b"):
            told += [started(100 * turn, f"{worker}{turn}", worker)]
        for worker in ("a", "b"):
            told += [ended(100 * (turn + 1), f"{worker}{turn}", worker)]
    return told


def known(eta: Eta | None) -> Eta:
    assert eta is not None
    return eta


def test_a_task_whose_worker_is_lost_is_repeated_by_the_remaining_workers() -> None:
    told = [*by_two_workers(), started(500, "a5"), started(500, "b5", "b"), state_of(510, "b", "lost")]
    run = run_of(told, tasks=12)
    # one worker: 50 s of its own task, then 100 s of the lost one
    assert known(analysis_of(run).eta(run, T0 + 550)).p50 == pytest.approx(150, rel=0.1)
    both = run_of(told[:-1], tasks=12)
    assert known(analysis_of(both).eta(both, T0 + 550)).p50 < 100


def one_by_one(seconds: Iterable[tuple[str, float]]) -> list[Event]:
    told: list[Event] = []
    at = 0.0
    for task, duration in seconds:
        told += [started(at, task), ended(at + duration, task, seconds=duration)]
        at += duration
    return told


def nightly(seconds: dict[str, float], finished: bool, run_id: str, at: float) -> RunState:
    """A run of named tasks, all of which or the first twelve have ended."""
    told = one_by_one(list(seconds.items())[: None if finished else 12])
    told = [msgspec.structs.replace(event, ts=event.ts + at) for event in told]
    if finished:
        told.append(RunFinished(ts=told[-1].ts, seq=0, writer="w"))
    else:
        told.append(msgspec.structs.replace(started(0, list(seconds)[12]), ts=told[-1].ts))
    return run_of(told, run_id, tuple(PlannedTask(task_id=task, domain="d") for task in seconds), at)


QUICK_THEN_SLOW = {f"t{at:02d}": (50.0 + 9 * (at % 4)) * (8.0 if at >= 12 or at % 3 == 0 else 1.0) for at in range(30)}


def test_an_earlier_run_shows_how_long_each_task_takes() -> None:
    now = nightly({task: seconds * 1.5 for task, seconds in QUICK_THEN_SLOW.items()}, False, "now", 1e6)
    left = sum(seconds * 1.5 for seconds in list(QUICK_THEN_SLOW.values())[12:])
    at = now.last_event_at
    eta = known(analysis_of(nightly(QUICK_THEN_SLOW, True, "before", 0.0), now).eta(now, at))
    assert eta.p50 == pytest.approx(left, rel=0.1)
    assert eta.p90 < 1.6 * eta.p10
    assert known(analysis_of(now).eta(now, at)).p50 < 0.7 * left


def test_an_earlier_run_in_which_other_tasks_were_slow_changes_little() -> None:
    now = nightly(QUICK_THEN_SLOW, False, "now", 1e6)
    seconds = sorted(QUICK_THEN_SLOW.values())
    other = {task: seconds[11 * at % 30] for at, task in enumerate(QUICK_THEN_SLOW)}
    found = analysis_of(nightly(other, True, "before", 0.0), now)
    at = now.last_event_at
    assert known(found.eta(now, at)).p50 == pytest.approx(known(analysis_of(now).eta(now, at)).p50, rel=0.2)


def test_an_earlier_run_that_was_resumed_counts_as_a_whole() -> None:
    whole = nightly(QUICK_THEN_SLOW, True, "before", 0.0)
    before = nightly(dict(list(QUICK_THEN_SLOW.items())[:12]), True, "before", 0.0)
    now = nightly(QUICK_THEN_SLOW, False, "now", 1e6)
    found = analysis_of(before, now)
    at = now.last_event_at
    first = found.eta(now, at)
    told = one_by_one(list(QUICK_THEN_SLOW.items())[12:])
    resumed = [msgspec.structs.replace(event, ts=event.ts + 1e5) for event in told]
    for event in [*resumed, RunFinished(ts=resumed[-1].ts, seq=0, writer="w")]:
        before.apply(event)
    now.version += 1  # an event that changes nothing of this
    assert first != found.eta(now, at) == analysis_of(whole, now).eta(now, at)


def test_each_attempt_is_collected_once_with_an_earlier_run() -> None:
    before = nightly(QUICK_THEN_SLOW, True, "before", 0.0)
    now = nightly(QUICK_THEN_SLOW, False, "now", 1e6)
    found = analysis_of(before, now)
    at = now.last_event_at
    first = known(found.eta(now, at))
    now.version += 1  # an event that changes nothing of this
    assert known(found.eta(now, at)) == first


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([], "an estimate needs 3 finished tasks, there are none"),
        ([started(0, "x"), ended(100, "x")], "an estimate needs 3 finished tasks, there is 1"),
        (
            [ended(100 + n, f"x{n}", outcome="interrupted") for n in range(5)],
            "an estimate needs 3 finished tasks, there are none",
        ),
        ([*by_two_workers(), RunFinished(ts=T0 + 500, seq=0, writer="w", status="completed")], "the run is completed"),
    ],
)
def test_a_missing_estimate_has_a_reason(told: list[Event], reason: str) -> None:
    run = run_of(told)
    found = analysis_of(run)
    assert found.eta(run, T0 + 550) is None
    assert found.eta_reason(run, T0 + 550) == reason


def test_an_estimate_has_no_reason() -> None:
    run = run_of([*by_two_workers(), started(500, "a5")])
    assert analysis_of(run).eta_reason(run, T0 + 550) is None


def test_of_parallel_repeats_a_quick_failure_is_no_loss_while_the_first_is_running() -> None:
    tasks = [f"t{number}" for number in range(12)]
    baseline = run_of([ended(100 + n, task) for n, task in enumerate(tasks)], "before", attempts=2)
    told: list[Event] = []
    for task in tasks:
        told += [started(1000, task, attempt=1), started(1001, task, "b", attempt=2)]
    told += [ended(1010, task, "b", 9.0, "failure", attempt=2) for task in tasks]
    now = run_of(told, "now", at=900, attempts=2)
    found = analysis_of(baseline, now).compare(baseline, now, T0 + 1100)
    assert (found.paired_tasks, found.anytime_p_worse) == (12, 1.0)
    assert found.verdict == "no_significant_difference"


def test_a_baseline_is_the_run_that_is_named_then_the_configured_one_then_the_last_like_it() -> None:
    def over(run_id: str, at: float, model: str = "m") -> RunState:
        told = [ended(at + 100, "x"), RunFinished(ts=T0 + at + 200, seq=0, writer="w", status="completed")]
        return run_of(told, run_id, at=at, model=model)

    first, last, other = over("first", 0), over("last", 1000), over("other", 2000, "another model")
    run = run_of([], at=3000)
    state = State()
    state.runs = {each.run_id: each for each in (other, last, first, run)}
    assert RunAnalysis(state, stall_after=STALL).baseline(run) is last
    for key in ("waa/m", "waa"):
        assert RunAnalysis(state, stall_after=STALL, baselines={key: "first"}).baseline(run) is first
    run.baseline_run_id = "other"
    assert RunAnalysis(state, stall_after=STALL, baselines={"waa": "first"}).baseline(run) is other
    run.baseline_run_id = "gone"
    assert RunAnalysis(state, stall_after=STALL).baseline(run) is last
    assert RunAnalysis(state, stall_after=STALL).baseline(first) is None


def test_a_run_that_is_read_again_and_again_is_cached_only_once() -> None:
    found, states = analysis_of(), []
    for _ in range(200):
        run = run_of(by_two_workers())
        found.state.runs = {"r": run}
        found.eta(run, T0 + 520)
        found.costs(run, T0 + 520)
        found.costs(run, T0 + 1_000_000)
        states.append(weakref.ref(run))
    del run
    gc.collect()
    assert sum(state() is not None for state in states) < 20


def test_comparisons_of_any_two_runs_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_analysis, "MAX_COMPARISONS", 3)
    runs = [run_of([ended(100, "t")], str(number)) for number in range(12)]
    found = analysis_of(*runs)
    for number, (baseline, run) in enumerate(permutations(runs, 2)):
        assert found.compare(baseline, run, T0 + 1000 + number).paired_tasks == 1
    assert len(found._compared) < 60 < number
    assert len(found._asked) == len(found._compared)
