"""Estimates of running runs that a thread renews: answers never wait for them."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalgauge import track_run
from evalgauge.events import Event, RunFinished
from evalgauge_exporter.analysis import run_analysis
from evalgauge_exporter.analysis.renewal import RenewalThread
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState
from tests.exporter.analysis.test_run_analysis import T0, analysis_of, by_two_workers, ended, run_of, started
from tests.exporter.runs import exporter_of
from tests.exporter.waiting import wait_for


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: T0 + 560)


def later(event: Event) -> Event:
    """The event as the last one of its writer."""
    return msgspec.structs.replace(event, seq=1000)


def test_a_renewed_analysis_answers_with_exact_counts_and_the_estimates_of_before(clock: None) -> None:
    run = run_of([*by_two_workers(), started(500, "a5"), started(500, "b5", "b")])
    found = analysis_of(run)
    found.renew(run)
    found.is_renewed = True
    before, eta = found.results(run, T0 + 550), found.eta(run, T0 + 560)
    run.apply(later(ended(560, "a5", outcome="failure")))
    after = found.results(run, T0 + 561)
    assert (before.measured, after.measured) == (10, 11)
    assert after.running is before.running
    assert found.eta(run, T0 + 560) == eta
    assert found.list_due(T0 + 561) == [run]
    found.renew(run)
    assert found.list_due(T0 + 561) == []
    renewed = found.results(run, T0 + 561).running
    assert renewed is not None
    assert before.running is not None
    assert renewed.mean < before.running.mean


def test_an_estimate_becomes_due_with_time_alone(clock: None) -> None:
    run = run_of([*by_two_workers(), started(500, "a5")])
    found = analysis_of(run)
    assert found.list_due(T0 + 560) == [run], "nothing was estimated"
    found.renew(run)
    assert found.list_due(T0 + 564) == []
    assert found.list_due(T0 + 560 + run_analysis.RENEW_MAX_SECONDS + 1) == [run]


def test_the_time_left_shrinks_while_an_estimate_is_used_again(clock: None) -> None:
    run = run_of([*by_two_workers(), started(500, "a5"), started(500, "b5", "b")])
    found = analysis_of(run)
    found.renew(run)
    found.is_renewed = True
    first, later = found.eta(run, T0 + 560), found.eta(run, T0 + 590)
    assert first is not None
    assert later is not None
    assert later.p50 == pytest.approx(first.p50 - 30)


def test_nothing_is_provisional_once_no_task_is_left(clock: None) -> None:
    run = run_of([*by_two_workers(), started(500, "a5")], tasks=11)
    found = analysis_of(run)
    found.renew(run)
    found.is_renewed = True
    assert found.results(run, T0 + 560).running is not None
    run.apply(later(ended(560, "a5")))
    assert found.results(run, T0 + 561).running is None


def compared_half_way() -> tuple[RunAnalysis, RunState, RunState]:
    """An analysis that a thread renews, a finished run, and one that was compared with it after six of twelve tasks."""
    tasks = [f"t{number}" for number in range(12)]
    baseline = run_of([ended(100 + n, task) for n, task in enumerate(tasks)], "before")
    run = run_of([ended(500 + n, task) for n, task in enumerate(tasks[:6])], "now", at=400)
    found = analysis_of(baseline, run)
    found.is_renewed = True
    assert found.compare(baseline, run, T0 + 560).paired_tasks == 6
    return found, baseline, run


def test_a_comparison_is_renewed_while_it_is_asked_for(clock: None) -> None:
    found, baseline, run = compared_half_way()
    run.apply(later(ended(560, "t7")))
    assert found.compare(baseline, run, T0 + 560).paired_tasks == 6
    found.renew(run)
    assert found.compare(baseline, run, T0 + 560).paired_tasks == 7


def test_a_comparison_that_nobody_has_asked_for_is_computed_anew(clock: None) -> None:
    found, baseline, run = compared_half_way()
    run.apply(later(ended(600, "t7")))
    assert found.compare(baseline, run, T0 + 561 + run_analysis.ASKED_SECONDS).paired_tasks == 7


def test_a_comparison_is_renewed_where_only_the_baseline_is_running(clock: None) -> None:
    tasks = [f"t{number}" for number in range(12)]
    baseline = run_of([ended(500 + n, task) for n, task in enumerate(tasks[:6])], "running", at=400)
    end = RunFinished(ts=T0 + 200, seq=0, writer="w")
    run = run_of([*(ended(100 + n, task) for n, task in enumerate(tasks)), end], "finished")
    found = analysis_of(baseline, run)
    found.is_renewed = True
    assert found.compare(baseline, run, T0 + 560).paired_tasks == 6
    baseline.apply(later(ended(560, "t7")))
    found.renew(baseline)
    assert found.compare(baseline, run, T0 + 560).paired_tasks == 7


def test_the_thread_outlives_what_is_called_in_it(caplog: pytest.LogCaptureFixture) -> None:
    run = run_of([started(0, "x")])
    found = analysis_of(run)
    found.stall_after = 1e12
    found.state.ready = True
    rounds = threading.Semaphore(0)

    def fail() -> None:
        rounds.release()
        raise ZeroDivisionError("of some kind")

    thread = RenewalThread(found, fail, lambda: None)
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert rounds.acquire(timeout=60)
        run.tasks_version += 1
        thread.notify()
        assert rounds.acquire(timeout=60)
        thread.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "renewing the estimates failed: ZeroDivisionError: of some kind"
    ]


def test_a_run_whose_estimate_fails_harms_no_other_and_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [run_of([started(0, "x")], name) for name in ("bad", "good")]
    found = analysis_of(*runs)
    found.stall_after = 1e12
    found.state.ready = True
    renewed: list[str] = []
    real = RunAnalysis.renew

    def renew(analysis: RunAnalysis, run: RunState) -> None:
        if run.run_id == "bad":
            raise ZeroDivisionError("of some kind")
        real(analysis, run)
        renewed.append(run.run_id)

    monkeypatch.setattr(RunAnalysis, "renew", renew)
    first = threading.Event()
    thread = RenewalThread(found, lambda: None, first.set)
    with caplog.at_level(logging.ERROR):
        thread.start()
        thread.notify()
        assert first.wait(60)
        runs[1].tasks_version += 1
        thread.notify()
        wait_for(lambda: renewed.count("good") >= 2)
        thread.stop()
    assert [record.getMessage() for record in caplog.records if "estimates of run" in record.getMessage()] == [
        "the estimates of run 'bad' failed: ZeroDivisionError: of some kind"
    ]


def test_the_exporter_is_ready_once_its_first_answer_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", tasks=3, fsync="never") as tracked:
        with tracked.task("t") as task:
            task.finish(success=True)
        exporter = exporter_of(tmp_path)
        go_on = threading.Event()
        real = exporter.exposition.render

        def slow(*given: Any, **named: Any) -> bytes:
            assert go_on.wait(60)
            return real(*given, **named)

        monkeypatch.setattr(exporter.exposition, "render", slow)
        exporter.start()
        try:
            wait_for(lambda: exporter.state.ready)
            assert not exporter.is_ready()
            go_on.set()
            assert exporter.wait_ready(60)
            assert exporter.analysis.list_due(0.0) == []
        finally:
            exporter.stop()


def test_the_exporter_is_ready_though_its_first_answer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = exporter_of(tmp_path)

    def fail(*given: Any, **named: Any) -> bytes:
        raise ZeroDivisionError("of some kind")

    monkeypatch.setattr(exporter.exposition, "render", fail)
    exporter.start()
    try:
        assert exporter.wait_ready(60)
    finally:
        exporter.stop()
