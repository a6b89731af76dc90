"""Runs of Terminal-Bench 1, written as its harness writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, TaskFinished, TaskStarted
from evalgauge_exporter.sources import terminal_bench
from evalgauge_exporter.sources.terminal_bench import TerminalBenchSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, places, snapshot, write

RUN = "2026-01-05__10-00-00"
START = 1767607200.0


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def trial(task: str, resolved: bool | None, mode: str = "unset", number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": f"id-{task}",
        "trial_name": f"{task}.{number}-of-2.{RUN}",
        "task_id": task,
        "instruction": f"do {task}",
        "is_resolved": resolved,
        "failure_mode": mode,
        "parser_results": {"test_one": "passed", "test_two": "passed" if resolved else "failed"},
        "total_input_tokens": 1000,
        "total_output_tokens": 100,
        "trial_started_at": "2026-01-05T10:00:30+00:00",
        "trial_ended_at": "2026-01-05T10:05:00+00:00",
        "agent_ended_at": "2026-01-05T10:04:00+00:00",
        **more,
    }


def write_trial(run: Path, result: dict[str, Any]) -> Path:
    return write(run / result["task_id"] / result["trial_name"] / "results.json", json.dumps(result, indent=4))


def write_metadata(run: Path, **more: Any) -> None:
    metadata = {
        "run_id": RUN,
        "dataset_name": "terminal-bench-core",
        "dataset_version": "0.1.1",
        "agent_name": "terminus",
        "task_ids": ["a", "b"],
        "n_attempts": 2,
        "dataset_size": 2,
        "model_name": "anthropic/claude-sonnet-4",
        "start_time": "2026-01-05T09:00:00+00:00",
        "end_time": "2026-01-05T11:00:00+00:00",
        **more,
    }
    write(run / "run_metadata.json", json.dumps(metadata, indent=4))


def make_run(root: Path) -> Path:
    run = root / RUN
    write_metadata(run)
    results = [trial("a", True), trial("a", False, number=2), trial("b", True, "agent_timeout")]
    results.append(trial("b", None, "test_timeout", 2, total_input_tokens=0, total_output_tokens=0))
    for result in results:
        write_trial(run, result)
    write(run / "results.json", json.dumps({"id": "r", "results": results, "accuracy": 0.5}, indent=4))
    return run


def test_the_tests_decide_and_not_the_failure_mode(tmp_path: Path) -> None:
    run = folded(TerminalBenchSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 2, "failure": 1, "evaluation_error": 1}
    assert (run.benchmark, run.model, run.agent) == ("terminal-bench-core", "claude-sonnet-4", "terminus")
    assert (run.attempts_planned, run.total) == (2, 4)
    assert run.attempts["b", 1].error == "agent_timeout"
    assert run.attempts["a", 2].reason == "1 of 2 tests failed: test_two"
    assert run.attempts["a", 1].duration_seconds == 270.0
    assert run.started_at == START + 30, "the run starts with its first trial"
    assert run.status(NOW, STALL) == "completed"


def test_tokens_that_no_agent_reported_are_unknown_and_not_zero(tmp_path: Path) -> None:
    run = folded(TerminalBenchSource(make_run(tmp_path)))
    usage = run.usage["anthropic", "claude-sonnet-4"]
    assert usage.tokens == [3000, 0, 0, 300]
    assert usage.unknown == 1


def test_an_agent_without_a_model_calls_none(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_metadata(run, agent_name="oracle", model_name=None)
    assert not folded(TerminalBenchSource(run)).usage


@pytest.mark.parametrize(
    ("resolved", "mode", "outcome"),
    [
        (True, "unknown_agent_error", "success"),
        (False, "agent_timeout", "failure"),
        (False, "unknown_agent_error", "agent_error"),
        (False, "context_length_exceeded", "agent_error"),
        (None, "fatal_llm_parse_error", "agent_error"),
        (False, "agent_installation_failed", "infrastructure_error"),
        (None, "agent_installation_failed", "infrastructure_error"),
        (None, "parse_error", "evaluation_error"),
        (None, "unset", "evaluation_error"),
    ],
)
def test_outcomes(tmp_path: Path, resolved: bool | None, mode: str, outcome: str) -> None:
    write_metadata(tmp_path)
    write_trial(tmp_path, trial("a", resolved, mode))
    events, _ = drain(TerminalBenchSource(tmp_path))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == [outcome]


def test_a_run_that_is_running_is_followed_and_read_anew_gives_the_same(tmp_path: Path) -> None:
    write_metadata(tmp_path, end_time=None)
    first = trial("a", True)
    (tmp_path / "a" / first["trial_name"]).mkdir(parents=True)
    source = TerminalBenchSource(tmp_path)
    events, _ = drain(source)
    assert [type(event) for event in events[1:]] == [TaskStarted]
    assert not fold("run", "terminal_bench", events).is_finished()
    write_trial(tmp_path, first)
    for number in (1, 2):
        write_trial(tmp_path, trial("b", False, number=number))
    write_trial(tmp_path, trial("a", False, number=2))
    write_metadata(tmp_path)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "terminal_bench", events)), snapshot(folded(TerminalBenchSource(tmp_path)))
    for part in ("counts", "usage", "steps", "ended"):
        assert live[part] == anew[part]
    assert live["ended"]


def test_published_results_without_the_folders_of_the_trials_are_read(tmp_path: Path) -> None:
    results = [trial("a", True), trial("b", False)]
    write(tmp_path / "results.json", json.dumps({"id": "r", "results": results}))
    assert terminal_bench.matches(tmp_path, names(tmp_path))
    assert outcomes(folded(TerminalBenchSource(tmp_path))) == {"success": 1, "failure": 1}


def test_a_trial_of_a_finished_run_without_a_result_is_not_made_up(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "c" / f"c.1-of-1.{RUN}").mkdir(parents=True)
    assert ("c", 1) not in folded(TerminalBenchSource(run)).attempts


def test_calls_are_calls_of_their_trial(tmp_path: Path) -> None:
    events, _ = drain(TerminalBenchSource(make_run(tmp_path)))
    assert {event.task_id for event in events if isinstance(event, LlmCall)} == {"a", "b"}


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert terminal_bench.matches(run, names(run))
    for folder in (tmp_path, run / "a", run / "a" / f"a.1-of-2.{RUN}"):
        assert not terminal_bench.matches(folder, names(folder))


def test_trials_whose_own_results_are_missing_are_those_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    whole = outcomes(folded(TerminalBenchSource(run)))
    for gone in (run / "a" / f"a.1-of-2.{RUN}", run / "b" / f"b.1-of-2.{RUN}"):
        (gone / "results.json").unlink()
    (run / "b" / f"b.1-of-2.{RUN}").rmdir()
    assert outcomes(folded(TerminalBenchSource(run))) == whole
    write_metadata(run, end_time=None)
    now = outcomes(folded(TerminalBenchSource(run)))
    assert "success" not in now, "while it is running its results are not read"


def test_trials_without_any_file_of_their_run_are_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "results")
    write(tmp_path / "results" / "other" / "results.json", (run / "results.json").read_bytes())
    for name in ("run_metadata.json", "results.json"):
        (run / name).unlink()
    assert places(tmp_path) == [run, tmp_path / "results" / "other"], "and a folder of runs is none"
    assert outcomes(folded(TerminalBenchSource(run))) == {"success": 2, "failure": 1, "evaluation_error": 1}
