"""OpenAdapt's run folders: every release's, pool trees, running ones, and what is wrong with them."""

import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import Event, Heartbeat, LogLine, RunStarted, Step, TaskFinished, TaskStarted
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.analysis.summary import summarize
from evalgauge_exporter.sources.discovery import Discovery, name_runs
from evalgauge_exporter.sources.openadapt.files import find_domain
from evalgauge_exporter.sources.openadapt.pool import OpenAdaptPool
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.state.run import RunState, State, fold
from evalgauge_exporter.views.exposition import Exposition
from evalgauge_exporter.views.limits import Limits
from tests.exporter.scraping import samples, total, value
from tests.exporter.sources.openadapt.folders import begin, execution, task, write
from tests.exporter.sources.openadapt.raw import truth

DATA = Path(__file__).parents[3] / "data"
RUNS = {
    "waa_mock_20": DATA / "openadapt-0.1.0" / "benchmark_results" / "waa_mock_20",
    "mock_eval_20261121_193054": DATA / "openadapt-0.98.0" / "benchmark_results" / "mock_eval_20261121_193054",
    "waa_mixed_48_seed2": DATA / "openadapt-0.98.0-mixed" / "benchmark_results" / "waa_mixed_48_seed2",
    "waa_mixed_48_parallel4": DATA / "openadapt-0.98.0-mixed" / "benchmark_results" / "waa_mixed_48_parallel4",
}
NOW, STALL = 1_800_000_000.0, 600.0


def read(source: OpenAdaptSource | OpenAdaptPool) -> list[Event]:
    reading = source.read()
    assert not reading.problems
    return reading.events


@pytest.mark.parametrize("name", RUNS)
def test_metrics_equal_what_the_raw_files_say(name: str) -> None:
    expected = truth(RUNS[name])
    run = fold(name, "openadapt", read(OpenAdaptSource(RUNS[name])))
    state = State()
    state.runs[name] = run
    exposition = Exposition(state, RunAnalysis(state, stall_after=STALL), Limits(), linger=None)
    found = samples(exposition.render(NOW).decode())
    for outcome in ("success", "failure", "agent_error", "infrastructure_error", "evaluation_error", "interrupted"):
        assert total(found, "agent_eval_run_tasks", status=outcome) == expected.outcomes[outcome]
    assert total(found, "agent_eval_run_tasks", status="pending") == 0
    assert value(found, "agent_eval_run_state", state="completed") == 1
    for action, count in expected.actions.items():
        assert value(found, "agent_eval_run_steps_total", action=action) == count
    for kind in ("input", "output"):
        assert total(found, "agent_eval_run_tokens_total", kind=kind) == expected.tokens[kind]
    for status in ("ok", "retry"):
        assert total(found, "agent_eval_run_llm_requests_total", status=status) == expected.calls[status]
    assert total(found, "agent_eval_run_unknown_usage_requests_total") == expected.calls["retry"]
    assert total(found, "agent_eval_run_task_duration_seconds_count") == len(expected.durations)
    assert total(found, "agent_eval_run_task_duration_seconds_sum") == pytest.approx(sum(expected.durations), abs=1e-4)
    row = summarize(run, NOW, STALL)
    assert row.success_rate == pytest.approx(expected.success_rate)
    assert row.success_rate_all == pytest.approx(expected.success_rate_all)
    assert row.avg_steps == pytest.approx(sum(expected.measured_steps) / len(expected.measured_steps))


def test_both_meanings_of_success_rate_are_distinguished() -> None:
    run = RUNS["waa_mixed_48_seed2"]
    row = summarize(fold("r", "openadapt", read(OpenAdaptSource(run))), NOW, STALL)
    summary = json.loads((run / "summary.json").read_text())
    assert row.success_rate == pytest.approx(summary["success_rate"]), "0.98 leaves infrastructure errors out"
    assert row.success_rate_all == pytest.approx(summary["num_success"] / summary["num_tasks"])


def test_executions_that_a_race_put_into_other_folders_count_for_their_own_task() -> None:
    run = fold("r", "openadapt", read(OpenAdaptSource(RUNS["waa_mixed_48_parallel4"])))
    assert len(run.attempts) == 48
    assert run.statuses(NOW, STALL).get("interrupted") is None


def test_reading_twice_gives_the_same_events() -> None:
    run = RUNS["waa_mixed_48_seed2"]
    assert read(OpenAdaptSource(run)) == read(OpenAdaptSource(run))


def test_nothing_new_is_no_event() -> None:
    source = OpenAdaptSource(RUNS["waa_mixed_48_seed2"])
    source.read()
    assert source.read().events == []
    assert source.read(full_scan=True).events == []
    assert source.watch_paths() == []


def test_a_run_id_is_the_path_below_the_served_folder() -> None:
    found, problems = Discovery([DATA / "openadapt-0.98.0-mixed"]).scan()
    assert problems == []
    assert name_runs(found) == ["benchmark_results.waa_mixed_48_parallel4", "benchmark_results.waa_mixed_48_seed2"]
    single, _ = Discovery([RUNS["waa_mock_20"]]).scan()
    assert name_runs(single) == ["waa_mock_20"]


def test_two_served_folders_with_one_id_both_appear(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(RUNS["waa_mock_20"], tmp_path / name / "run")
    found, _ = Discovery([tmp_path / "a", tmp_path / "b"]).scan()
    assert name_runs(found) == ["run@a", "run@b"]


def test_a_pool_tree_is_one_run_with_its_workers(tmp_path: Path) -> None:
    pool = tmp_path / "pool_20261121_193000"
    shutil.copytree(RUNS["waa_mixed_48_seed2"], pool / f"{pool.name}_waa-pool-00")
    shutil.copytree(RUNS["waa_mock_20"], pool / f"{pool.name}_waa-pool-01")
    found, _ = Discovery([tmp_path]).scan()
    assert name_runs(found) == [pool.name]
    run = fold("p", "openadapt", found[0].source.read().events)
    assert set(run.workers) == {"waa-pool-00", "waa-pool-01"}
    assert run.status(NOW, STALL) == "completed"
    assert run.workers["waa-pool-01"].outcomes["success"] == 20
    assert sum(run.statuses(NOW, STALL).values()) == 68
    assert all(worker.busy_seconds > 0 for worker in run.workers.values())


def test_the_screenshots_of_a_pool_are_relative_to_its_folder(tmp_path: Path) -> None:
    pool = tmp_path / "exp"
    begin(pool / "exp_w0", 1000)
    task(pool / "exp_w0", "a")
    step = {
        "step_idx": 0,
        "action": {"type": "click"},
        "timestamp": 1001.0,
        "screenshot_path": "screenshots/step_000.png",
    }
    execution(pool / "exp_w0", "a", steps=[step])
    shots = [event.screenshot for event in read(OpenAdaptPool(pool)) if isinstance(event, Step)]
    assert shots == ["exp_w0/tasks/a/screenshots/step_000.png"]


def test_what_a_task_logged_has_its_time_and_level(tmp_path: Path) -> None:
    begin(tmp_path, 1000)
    task(tmp_path, "a")
    lines = [
        {"timestamp": 0.5, "level": "INFO", "message": "Resetting environment"},
        {"timestamp": None, "level": ["?"], "message": "no time"},
        {"timestamp": 2.5, "level": "ERROR", "message": "x" * 5000},
        {"timestamp": 3, "level": "INFO"},
        "not a line",
    ]
    execution(tmp_path, "a", at=1001.0, logs=lines)
    told = [event for event in read(OpenAdaptSource(tmp_path)) if isinstance(event, LogLine)]
    assert [(event.ts, event.level, event.message[:21]) for event in told] == [
        (1001.5, "info", "Resetting environment"),
        (1001.0, "info", "no time"),
        (1003.5, "error", "x" * 21),
    ]
    assert len(told[2].message) == 4000


def test_a_line_of_a_time_to_come_keeps_no_run_going(tmp_path: Path) -> None:
    begin(tmp_path, 1000)
    task(tmp_path, "a")
    execution(tmp_path, "a", at=1001.0, logs=[{"timestamp": 1e12, "level": "INFO", "message": "at once"}])
    written = (tmp_path / "tasks" / "a" / "execution.json").stat().st_mtime_ns / 1e9
    told = [event for event in read(OpenAdaptSource(tmp_path)) if isinstance(event, LogLine)]
    assert [event.ts for event in told] == [written]


@pytest.mark.parametrize("name", RUNS)
def test_every_logged_line_of_recorded_tasks_is_an_event(name: str) -> None:
    executions = [json.loads(path.read_text()) for path in RUNS[name].glob("tasks/*/execution.json")]
    expected = sorted(line["message"] for content in executions for line in content.get("logs", ()))
    told = [event for event in read(OpenAdaptSource(RUNS[name])) if isinstance(event, LogLine)]
    assert sorted(event.message for event in told) == expected


def test_a_worker_that_joins_a_pool_later_takes_the_run_up_again(tmp_path: Path) -> None:
    pool = tmp_path / "exp"
    begin(pool / "exp_w0", 1000)
    execution(pool / "exp_w0", "a")
    write(pool / "exp_w0" / "summary.json", {"tasks": []})
    source, run = OpenAdaptPool(pool), RunState("p", "openadapt")
    for event in read(source):
        run.apply(event)
    assert run.status(1010, STALL) == "completed"
    begin(pool / "exp_w1", 1005)
    task(pool / "exp_w1", "b")
    for event in read(source):
        run.apply(event)
    assert run.status(1010, STALL) == "running"
    assert source.watch_paths()


def test_a_running_evaluation_is_followed_task_by_task(tmp_path: Path) -> None:
    results = tmp_path / "benchmark_results"
    live = tmp_path / "benchmark_live.json"
    run = results / "r"
    now = datetime.now().timestamp()
    begin(run, now - 5)
    task(run, "a")
    step = {"step_idx": 0, "action": {"type": "click"}, "reasoning": None, "screenshot_url": None}
    current = {"task_id": "a", "instruction": "do it", "domain": "notepad", "steps": [step], "result": None}
    write(live, {"status": "running", "total_tasks": 7, "tasks_completed": 0, "current_task": current})
    source, state = OpenAdaptSource(run), RunState("r", "openadapt")

    def look() -> list[Event]:
        events = read(source)
        for event in events:
            state.apply(event)
        return events

    assert [type(event) for event in look()][:2] == [RunStarted, TaskStarted]
    assert state.total == 7
    assert state.statuses(now, STALL) == {"pending": 6, "running": 1}
    assert state.steps == {"click": 1}
    assert tmp_path in source.watch_paths()

    live.write_text('{"status": "running", "total_ta')  # half of it
    assert look() == []
    current["steps"] = [step, {**step, "step_idx": 1, "action": {"type": "type"}}]
    write(live, {"status": "running", "total_tasks": 7, "tasks_completed": 0, "current_task": current})
    assert [type(event) for event in look()] == [Step]

    execution(run, "a", steps=[
        {"action": {"type": kind}, "timestamp": now - 4 + n} for n, kind in enumerate(("click", "type", "done"))
    ])  # fmt: skip
    assert [type(event) for event in look()] == [Step, TaskFinished], "what the live file showed is not counted again"
    assert state.steps == {"click": 1, "type": 1, "done": 1}
    assert state.statuses(now, STALL) == {"pending": 6, "success": 1}

    (run / "tasks" / "b" / "screenshots").mkdir(parents=True)
    task(run, "b")
    assert {type(event) for event in look()} == {TaskStarted, Heartbeat}
    write(run / "summary.json", {"tasks": []})
    look()
    assert state.status(now, STALL) == "completed"
    assert source.watch_paths() == []


def test_the_live_file_of_another_run_is_left_alone(tmp_path: Path) -> None:
    begin(tmp_path / "results" / "r", 1000)
    task(tmp_path / "results" / "r", "a")
    current = {"task_id": "elsewhere", "steps": [{"action": {"type": "click"}}]}
    write(tmp_path / "benchmark_live.json", {"status": "running", "total_tasks": 99, "current_task": current})
    run = fold("r", "openadapt", read(OpenAdaptSource(tmp_path / "results" / "r")))
    assert run.total == 1
    assert run.steps == {}


def test_a_killed_evaluation_is_stalled_and_not_running_for_ever(tmp_path: Path) -> None:
    run = tmp_path / "r"
    begin(run, 1000)
    execution(run, "a", at=1010)
    task(run, "b")
    for path in run.rglob("*.json"):
        os.utime(path, (1020, 1020))
    state = fold("r", "openadapt", read(OpenAdaptSource(run)))
    assert state.status(1100, STALL) == "running"
    assert state.status(5000, STALL) == "stalled"
    assert state.statuses(5000, STALL) == {"success": 1, "interrupted": 1}


def test_times_come_from_the_content_where_a_tree_was_copied(tmp_path: Path) -> None:
    shutil.copytree(RUNS["waa_mixed_48_seed2"], tmp_path / "r", copy_function=shutil.copyfile)
    state = fold("r", "openadapt", read(OpenAdaptSource(tmp_path / "r")))
    assert state.started_at is not None
    assert state.ended_at is not None
    assert 0 < state.ended_at - state.started_at < 60
    assert abs(state.last_event_at - 1795289917) < 60


def test_a_new_run_in_the_same_folder_replaces_the_old_one(tmp_path: Path) -> None:
    begin(tmp_path / "r", 1000)
    execution(tmp_path / "r", "a")
    source = OpenAdaptSource(tmp_path / "r")
    read(source)
    begin(tmp_path / "r", 5000)
    assert source.read().restarted


def test_a_rewritten_finished_task_is_read_again(tmp_path: Path) -> None:
    begin(tmp_path / "r", 1000)
    execution(tmp_path / "r", "a")
    source = OpenAdaptSource(tmp_path / "r")
    read(source)
    execution(tmp_path / "r", "a", success=False, reason="on second thoughts it was not")
    assert source.read(full_scan=True).restarted


def test_an_execution_that_is_no_json_is_named_once_and_read_when_it_is(tmp_path: Path) -> None:
    begin(tmp_path / "r", 1000)
    task(tmp_path / "r", "a")
    path = tmp_path / "r" / "tasks" / "a" / "execution.json"
    path.write_text('{"task_id": "a", "succ')
    source = OpenAdaptSource(tmp_path / "r")
    assert [problem.reason for problem in source.read().problems] == ["torn_file"]
    assert source.read().problems == []
    execution(tmp_path / "r", "a")
    assert [type(event) for event in read(source)][-1] is TaskFinished


@pytest.mark.parametrize(
    "content", ["[]", "3", '"x"', '{"steps": 3, "task_id": 7}', '{"steps": [1, {"action": 2}]}', "{}"]
)
def test_foreign_content_stops_nothing(tmp_path: Path, content: str) -> None:
    begin(tmp_path / "r", 1000)
    execution(tmp_path / "r", "good")
    for name in ("task.json", "execution.json"):
        path = tmp_path / "r" / "tasks" / "bad" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (tmp_path / "r" / "summary.json").write_text(content)
    reading = OpenAdaptSource(tmp_path / "r").read()
    run = fold("r", "openadapt", reading.events)
    assert run.attempts["good", 1].status == "success"


def test_a_deleted_run_is_missing(tmp_path: Path) -> None:
    begin(tmp_path / "r", 1000)
    source = OpenAdaptSource(tmp_path / "r")
    read(source)
    shutil.rmtree(tmp_path / "r")
    assert source.read().missing


@pytest.mark.parametrize(
    ("described", "domain"),
    [
        ({"domain": "notepad"}, "notepad"),
        ({"domain": "unknown", "raw_config": {"related_apps": ["vlc", "x"]}}, "vlc"),
        ({"domain": "", "raw_config": {"snapshot": "chrome"}}, "chrome"),
        ({"initial_state_ref": "writer"}, "writer"),
        ({"raw_config": ["x"]}, None),
    ],
)
def test_a_domain_that_is_unknown_is_what_the_configuration_names(
    described: dict[str, Any], domain: str | None
) -> None:
    assert find_domain(described) == domain


def test_the_model_is_what_the_executions_name_where_the_metadata_does_not(tmp_path: Path) -> None:
    begin(tmp_path / "r", 1000)
    execution(tmp_path / "r", "a", model_id="gpt-5.1")
    assert fold("r", "openadapt", read(OpenAdaptSource(tmp_path / "r"))).model == "gpt-5.1"


def test_the_models_reply_is_the_reasoning_where_the_agent_gave_none(tmp_path: Path) -> None:
    begin(tmp_path, 1000)
    task(tmp_path, "a")
    replies: list[dict[str, Any]] = [
        {"reasoning": None, "agent_logs": {"plan_result": "I can't.\nFAIL"}},
        {"reasoning": "mine", "agent_logs": {"plan_result": "reply"}},
        {"reasoning": None, "agent_logs": {"plan_result": ["?"]}},
    ]
    steps = [{"action": {"type": "click"}, "timestamp": 1001.0 + n, **reply} for n, reply in enumerate(replies)]
    execution(tmp_path, "a", steps=steps)
    told = [event.reasoning for event in read(OpenAdaptSource(tmp_path)) if isinstance(event, Step)]
    assert told == ["I can't.\nFAIL", "mine", None]
