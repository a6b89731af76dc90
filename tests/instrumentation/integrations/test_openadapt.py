"""The integration with openadapt-evals, with the real package in an environment of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, LogLine, RunFinished, RunStarted, Step, TaskFinished, TaskStarted
from evalgauge.integrations.openadapt import instrumentation
from evalgauge.runlog import log_files, read_events
from evalgauge_exporter.sources.openadapt.with_log import FilledRunLogSource
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import fold
from tests.instrumentation.integrations.conftest import HERE, ROOT, Program

RUN = str(HERE / "openadapt_run.py")
TASKS = 8
OUTCOMES = {
    "0.1.0": {"success": 2, "failure": 6},
    "0.30.0": {"success": 2, "failure": 5, "agent_error": 1},
    "0.87.0": {"success": 2, "failure": 5, "agent_error": 1},
    "0.98.0": {"success": 2, "failure": 2, "agent_error": 2, "infrastructure_error": 1, "evaluation_error": 1},
}
"""What a release says of the eight tasks: only the newest tells who is to blame for an exception."""


def events(folder: Path) -> list[Any]:
    found = list(read_events(folder))
    assert found, f"there is no log in {folder}"
    return found


SCENARIOS = ("sequential", "parallel", "no traces", "pool", "interrupted", "own loop", "later", "stock")


@pytest.fixture(scope="module")
def evaluated(program_in: Program, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder in which a release ran the eight tasks; of the newest, in every way. Each is run once."""

    @functools.cache
    def run(release: str) -> Path:
        folder = tmp_path_factory.mktemp("evaluated")
        scenarios = SCENARIOS if release == "0.98.0" else ("parallel",)
        done = program_in(folder, RUN, str(TASKS), *scenarios, release=release)
        assert ("interrupted" in done.stdout) == (release == "0.98.0")
        warned = "unknown version of openadapt-evals (0.98.0, _evaluate_sequential)" in done.stderr
        assert warned == (release == "0.98.0")
        return folder

    return run


@pytest.fixture
def results(evaluated: Callable[[str], Path]) -> Path:
    """The results folder of the newest release."""
    return evaluated("0.98.0") / "benchmark_results"


def of(found: list[Any], kind: type) -> list[Any]:
    return [event for event in found if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("0.98.0", "sequential"),
        ("0.98.0", "parallel"),
        ("0.87.0", "parallel"),
        ("0.30.0", "parallel"),
        ("0.1.0", "parallel"),
    ],
)
def test_the_logs_totals_are_those_of_openadapts_summary(
    evaluated: Callable[[str], Path], release: str, name: str
) -> None:
    where = evaluated(release)
    folder = where / "benchmark_results" / name
    summary = json.loads((folder / "summary.json").read_text())
    found = events(folder)
    (started,) = of(found, RunStarted)
    finished = of(found, TaskFinished)
    outcomes = Counter(event.outcome for event in finished)

    assert (started.run_id, started.benchmark) == (name, summary["benchmark_name"])
    assert (started.model, started.agent, started.budget_usd) == ("claude-of-the-test", "Agent", 5.0)
    assert len(started.tasks) == len(finished) == summary["num_tasks"] == TASKS
    assert outcomes == OUTCOMES[release]
    assert outcomes["success"] == summary.get("num_success")
    if release == "0.98.0":
        assert outcomes["agent_error"] == summary["num_agent_failures"]
        assert outcomes["infrastructure_error"] == summary["num_infrastructure_failures"]
        assert outcomes["evaluation_error"] == summary["num_evaluation_failures"]
    assert sum(event.steps for event in finished) / TASKS == summary["avg_steps"]
    assert [event.status for event in of(found, RunFinished)] == ["completed"]

    scored = {row["task_id"]: row["score"] for row in summary["tasks"]}
    assert {event.task_id: event.score for event in finished} == scored
    for path in folder.glob("tasks/*/execution.json"):
        assert json.loads(path.read_text())["task_id"] == path.parent.name, "no trace lies in another task's folder"
    assert len(list(folder.glob("tasks/*/execution.json"))) == TASKS
    live = json.loads((where / f"{name}_live.json").read_text())
    assert live == {"status": "complete", "total_tasks": TASKS, "tasks_completed": TASKS}


@pytest.mark.parametrize("name", ["sequential", "parallel"])
def test_steps_tokens_times_workers_and_domains_are_there(results: Path, name: str) -> None:
    folder = results / name
    found = events(folder)
    recorded = {
        json.loads(path.read_text())["task_id"]: json.loads(path.read_text())["steps"]
        for path in folder.glob("tasks/*/execution.json")
    }
    steps = of(found, Step)
    assert Counter(step.task_id for step in steps) == Counter({task: len(of) for task, of in recorded.items() if of})
    for step in steps:
        theirs = recorded[step.task_id][step.step_idx]
        assert step.action_type == theirs["action"]["type"]
        assert step.screenshot == f"tasks/{step.task_id}/{theirs['screenshot_path']}"
        assert (folder / step.screenshot).is_file()
        assert step.think_seconds is not None
        assert (step.env_seconds is None) == (step.action_type in ("done", "error"))
        assert step.reasoning == ("press it" if step.action_type == "click" else "I click")

    # the agent notes tokens on each step, and on the one at which it broke there is no step
    noted = sum(step["agent_logs"]["token_usage"]["input_tokens"] for of in recorded.values() for step in of)
    calls = of(found, LlmCall)
    assert sum(call.tokens.input for call in calls) == noted
    assert {(call.provider, call.model, call.status) for call in calls} == {("anthropic", "claude-of-the-test", "ok")}

    started = {event.task_id: event for event in of(found, TaskStarted)}
    workers = {event.worker_id for event in started.values()}
    assert workers == ({"main"} if name == "sequential" else {f"thread-{number}" for number in range(4)})
    described = [json.loads(path.read_text()) for path in folder.glob("tasks/*/task.json")]
    domains = {task["task_id"]: task["domain"] for task in described}
    assert {task: event.domain for task, event in started.items()} == {
        task: "notepad" if domain == "unknown" else domain for task, domain in domains.items()
    }
    assert "notepad" in {event.domain for event in started.values()}


def test_an_interrupted_evaluation_is_an_aborted_run(results: Path) -> None:
    found = events(results / "interrupted")
    assert [event.outcome for event in of(found, TaskFinished)] == ["success", "interrupted"]
    assert [event.status for event in of(found, RunFinished)] == ["aborted"]


def test_a_run_without_traces_is_recorded_with_its_screenshots(results: Path) -> None:
    folder = results / "untraced"
    steps = of(events(folder), Step)
    assert [step.action_type for step in steps] == ["click", "click", "done"] * 2
    assert not (folder / "tasks").exists()
    assert all((folder / step.screenshot).read_bytes().startswith(b"\x89PNG") for step in steps)


def test_the_workers_of_a_pool_are_one_run(results: Path) -> None:
    folder = results / "pool_1"
    found = events(folder)
    finished = of(found, TaskFinished)
    assert {event.worker_id for event in finished} == {"waa-pool-00", "waa-pool-01"}
    assert len(finished) == 4
    assert {event.run_id for event in of(found, RunStarted)} == {"pool_1"}
    assert all((folder / step.screenshot).is_file() for step in of(found, Step))
    assert not log_files(folder / "pool_1_waa-pool-00")


@pytest.mark.parametrize("name", ["sequential", "parallel", "pool_1"])
def test_the_log_and_openadapts_own_files_are_one_run_without_duplicates(results: Path, name: str) -> None:
    alone = fold(name, "runlog", RunLogSource(results / name).read().events)
    read = FilledRunLogSource(results / name).read()
    both = fold(name, "runlog", read.events)
    assert read.problems == []
    assert both.counts == alone.counts
    assert (both.steps, both.usage.keys(), both.started_at) == (alone.steps, alone.usage.keys(), alone.started_at)
    assert both.is_finished()
    assert of(read.events, LogLine)  # what OpenAdapt keeps of each task's log


def test_the_drop_in_classes_record_a_users_own_loop(results: Path) -> None:
    folder = results / "mine"
    summary = json.loads((folder / "summary.json").read_text())
    found = events(folder)
    outcomes = Counter(event.outcome for event in of(found, TaskFinished))
    assert outcomes == {"success": summary["num_success"], "failure": 1}
    assert [event.status for event in of(found, RunFinished)] == ["completed"]
    assert {step.reasoning for step in of(found, Step)} == {"because"}
    live = json.loads((results.parent / "mine_live.json").read_text())
    assert live["tasks_completed"] == summary["num_tasks"] == 2


def test_the_stock_runner_still_mixes_tasks_up(results: Path) -> None:
    """What is mended here is really broken there: without it, four threads lose or misplace traces."""
    paths = list((results / "stock").glob("tasks/*/execution.json"))

    def in_place(path: Path) -> bool:
        try:
            read = json.loads(path.read_text())
        except ValueError:  # two threads wrote it at once
            return False
        return bool(read["task_id"] == path.parent.name)

    assert sum(map(in_place, paths)) < TASKS
    assert not log_files(results / "stock")


def test_every_call_of_openadapts_own_agents_is_counted(program: Program, tmp_path: Path) -> None:
    """One of them keeps the tokens of the last of several tries, the other throws them away."""
    answered = json.loads(program(str(HERE / "agent_calls.py")).stdout.splitlines()[-1])
    assert answered["api"] == 6, "no answer can be parsed: three tries for each of two tasks"
    assert answered["computer_use"] > 0
    for name, count in answered.items():
        found = of(events(tmp_path / "benchmark_results" / name), LlmCall)
        assert len(found) == count
        assert all((call.provider, call.status, call.tokens) == ("anthropic", "ok", (11, 100, 7, 5)) for call in found)
        assert all(call.task_id and call.worker_id == "main" for call in found)


def test_an_unknown_release_is_recorded_as_far_as_possible(results: Path) -> None:
    found = events(results / "later")
    assert [event.outcome for event in of(found, TaskFinished)] == ["success", "failure"]
    assert {event.model for event in of(found, RunStarted)} == {"claude-of-the-test"}
    assert [event.status for event in of(found, RunFinished)] == ["completed"]
    assert all(step.think_seconds is not None for step in of(found, Step))


@pytest.mark.parametrize(("version", "warned"), [("0.98.0", False), ("0.99.0", True), ("1.0.0", True), (None, False)])
def test_a_newer_release_is_named_in_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str | None, warned: bool
) -> None:
    monkeypatch.setattr(instrumentation, "_version", lambda: version)
    instrumentation._warn_if_newer()
    assert (f"openadapt-evals {version} is newer" in caplog.text) == warned


def test_the_unmodified_command_is_recorded(program: Program, tmp_path: Path) -> None:
    mock = ("mock", "--tasks", "4", "--output", "benchmark_results", "--run-name", "by_command")
    program("-m", "evalgauge.integrations.openadapt", *mock)
    folder = tmp_path / "benchmark_results" / "by_command"
    summary = json.loads((folder / "summary.json").read_text())
    found = events(folder)
    assert Counter(event.outcome for event in of(found, TaskFinished)) == {"success": summary["num_success"]}
    assert summary["num_success"] == 4
    assert [event.status for event in of(found, RunFinished)] == ["completed"]


def test_importing_the_integration_imports_nothing_of_openadapt() -> None:
    code = (
        "import sys, evalgauge.integrations.openadapt\n"
        "heavy = {'openadapt_evals', 'openai', 'anthropic', 'opentelemetry'}\n"
        "sys.exit(any(name.partition('.')[0] in heavy for name in sys.modules))"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "instrumentation")}, check=True
    )
