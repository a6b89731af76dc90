"""The budget of a run: what was spent, over all processes, and how a run stops itself."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import time
from pathlib import Path

import pytest

from evalgauge import Run, track_run
from evalgauge.errors import BudgetExceeded
from evalgauge.events import TaskFinished, WorkerState
from evalgauge.runlog import LogWriter, read_events

CALL = {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 100_000, "output_tokens": 0}
"""0.30 US dollars."""


def outcomes(run: Run) -> list[str]:
    return [event.outcome for event in read_events(run.folder) if isinstance(event, TaskFinished)]


def test_a_run_that_spent_its_budget_stops_itself(tmp_path: Path) -> None:
    run = track_run(tmp_path, benchmark="b", model="m", budget_usd=0.5, on_budget="raise")

    def evaluate() -> None:
        with run:
            for number in range(10):
                with run.task(f"t{number}") as task:
                    task.llm_call(**CALL)  # type: ignore[arg-type]
                    task.finish(success=True)

    with pytest.raises(BudgetExceeded, match=r"has spent \$0.60 of its budget of \$0.50"):
        evaluate()
    assert outcomes(run) == ["success", "interrupted"]
    assert run.over_budget
    assert run.spent_usd == pytest.approx(0.6)


def test_no_task_is_started_once_the_budget_is_spent(tmp_path: Path) -> None:
    run = track_run(tmp_path, benchmark="b", model="m", budget_usd=0.3, on_budget="raise")
    with pytest.raises(BudgetExceeded):
        run.llm_call(**CALL)  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded):
        run.task("t")
    run.finish()
    assert outcomes(run) == []


def test_a_warning_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track_run(tmp_path, benchmark="b", model="m", budget_usd=0.2, on_budget="warn") as run:
        for _ in range(3):
            run.llm_call(**CALL)  # type: ignore[arg-type]
    assert [record.levelname for record in caplog.records if "of its budget" in record.message] == ["WARNING"]


def test_without_a_budget_nothing_is_over_it(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", on_budget="raise") as run:
        run.llm_call(**CALL)  # type: ignore[arg-type]
        assert not run.over_budget
        assert run.spent_usd == pytest.approx(0.3)


def spend(run: Run) -> None:
    run.llm_call(**CALL)  # type: ignore[arg-type]
    run.finish()


def test_the_calls_of_every_process_count(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", budget_usd=0.5) as run:
        spend_process = multiprocessing.get_context("spawn").Process(target=spend, args=(run,))
        spend_process.start()
        spend_process.join(60)
        run.llm_call(**CALL)  # type: ignore[arg-type]
        assert run.spent_usd == pytest.approx(0.6)
        assert run.over_budget


def test_a_run_in_another_process_knows_its_budget(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", budget_usd=0.1, on_budget="raise") as run:
        copy: Run = pickle.loads(pickle.dumps(run))
        with pytest.raises(BudgetExceeded):
            copy.llm_call(**CALL)  # type: ignore[arg-type]


def test_own_prices_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.toml").write_text('[[model]]\nmatch = "our-*"\ninput = 10.0\noutput = 0.0\n')
    monkeypatch.setenv("EVALGAUGE_PRICES__OVERRIDES", str(tmp_path / "prices.toml"))
    with track_run(tmp_path, benchmark="b", model="m") as run:
        run.llm_call(provider="corp", model="our-model", input_tokens=1_000_000, output_tokens=1)
        assert run.spent_usd == pytest.approx(10.0)


def test_calls_without_a_price_are_named_and_not_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track_run(tmp_path, benchmark="b", model="m", budget_usd=0.01, on_budget="warn") as run:
        run.llm_call(provider="nobody", model="unknown-model", input_tokens=10**6, output_tokens=1)
        assert not run.over_budget
    assert "calls without a known price are not counted" in caplog.text


def test_prices_that_cannot_be_read_stop_no_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EVALGAUGE_PRICES__OVERRIDES", str(tmp_path / "missing.toml"))
    with track_run(tmp_path, benchmark="b", model="m", budget_usd=0.01, on_budget="raise") as run:
        with run.task("t") as task, caplog.at_level(logging.ERROR):
            task.llm_call(**CALL)  # type: ignore[arg-type]
            task.finish(success=True)
    assert outcomes(run) == ["success"]
    assert "can't be judged" in caplog.text


def test_machines_with_a_rate_cost_while_they_are_there(tmp_path: Path) -> None:
    start = time.time() - 7200
    writer = LogWriter(tmp_path / "r" / "events" / "w.jsonl")
    writer.write("run_started", {"ts": start, "run_id": "r", "budget_usd": 3.0})
    writer.write("worker_state", {"ts": start, "worker_id": "w", "state": "idle", "hourly_rate_usd": 2.0})
    writer.write("worker_state", {"ts": start + 3600, "worker_id": "w", "state": "stopped"})
    writer.write("heartbeat", {"ts": start + 7200})
    writer.close()
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", budget_usd=3.0) as run:
        assert run.spent_usd == pytest.approx(2.0)
        assert any(isinstance(event, WorkerState) for event in read_events(run.folder))
