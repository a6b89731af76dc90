"""The Harbor plugin, called with stand-ins for jobs and trials.

Harbor needs Python 3.12. The stand-ins here have the names of its own classes' fields, as of Harbor 0.25.0:
``harbor.job.Job``, ``harbor.models.trial.config.{TrialConfig, TaskConfig, AgentConfig}``,
``harbor.trial.hooks.TrialHookEvent`` and ``harbor.models.trial.result.TrialResult``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace as Of
from typing import Any

import pytest

from evalgauge.events import LlmCall
from evalgauge.integrations.harbor import EvalgaugePlugin
from evalgauge.pricing import PriceTable
from evalgauge.runlog import read_events
from evalgauge.tracker import _open_runs
from evalgauge_exporter.sources.atif.source import AtifSource
from evalgauge_exporter.sources.discovery import Discovery
from tests.asynchronous import run

STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENDED = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
MODEL = "anthropic/claude-sonnet-4-5"


@pytest.fixture(autouse=True)
def nothing_set_and_nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs here may end in the middle; their runs do not outlive the test."""
    monkeypatch.delenv("EVALGAUGE_RESULTS", raising=False)
    before = set(_open_runs)
    yield
    for left in set(_open_runs) - before:
        left.finish("aborted")


class Job:
    """Stands in for ``harbor.job.Job``."""

    def __init__(
        self, folder: Path, tasks: tuple[str, ...] = ("hello",), attempts: int = 1, models: tuple[str, ...] = (MODEL,)
    ) -> None:
        agents = [Of(name="terminus-2", import_path=None, model_name=model) for model in models]
        dataset = Of(name="terminal-bench", path=None)
        self.config = Of(job_name="nightly", jobs_dir=folder, agents=agents, datasets=[dataset], n_attempts=attempts)
        self.job_dir = folder / "nightly"
        self.job_dir.mkdir(parents=True, exist_ok=True)
        (self.job_dir / "config.json").write_text('{"job_name": "nightly", "agents": []}')
        self._existing_trial_results: list[Any] = []
        self._trial_configs = [
            Of(
                trial_name=f"{task}__{agent.model_name[-1]}{number}",
                trials_dir=self.job_dir,
                agent=agent,
                task=Of(name=None, path=folder / task, source="terminal-bench", get_local_path=lambda: folder / "none"),
            )
            for number in range(attempts)
            for task in tasks
            for agent in agents
        ]
        self.started: list[Any] = []
        self.ended: list[Any] = []

    def on_trial_started(self, hook: Any) -> None:
        self.started.append(hook)

    def on_trial_ended(self, hook: Any) -> None:
        self.ended.append(hook)

    def begin(self, index: int = 0) -> None:
        trial = self._trial_configs[index]
        for hook in self.started:
            run(hook(Of(trial_name=trial.trial_name, config=trial, result=None)))

    def end(self, index: int = 0, **fields: Any) -> None:
        trial = self._trial_configs[index]
        for hook in self.ended:
            run(hook(Of(trial_name=trial.trial_name, config=trial, result=result(trial, **fields))))


def result(trial: Any, **fields: Any) -> Any:
    rewards = fields.pop("rewards", None)
    return Of(
        **{
            "trial_name": trial.trial_name,
            "config": trial,
            "agent_info": Of(name="terminus-2", model_info=Of(name="claude-sonnet-4-5", provider="anthropic")),
            "agent_result": None,
            "verifier_result": None if rewards is None else Of(rewards=rewards),
            "exception_info": None,
            "step_results": None,
            "started_at": STARTED,
            "finished_at": ENDED,
            **fields,
        }
    )


def spent(given: int | None, cached: int | None, output: int | None) -> Any:
    return Of(n_input_tokens=given, n_cache_tokens=cached, n_output_tokens=output, model_usage=None)


def failed(kind: str) -> Any:
    return Of(exception_type=kind, exception_message="why")


def started(job: Job, **settings: Any) -> EvalgaugePlugin:
    plugin = EvalgaugePlugin(**settings)
    run(plugin.on_job_start(job))
    return plugin


def finish(plugin: EvalgaugePlugin, done: int = 1, total: int = 1) -> None:
    run(plugin.on_job_end(Of(stats=Of(n_completed_trials=done), n_total_trials=total)))


def lines(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    found = [json.loads(line) for path in folder.glob("events/*.jsonl") for line in path.read_text().splitlines()]
    return [line for line in found if line["type"] == kind or not kind]


def test_a_trial_is_an_attempt_with_its_reward_and_the_run_lies_in_the_jobs_own_folder(tmp_path: Path) -> None:
    job = Job(tmp_path)
    plugin = started(job)
    job.begin()
    job.end(rewards={"reward": 1.0})
    finish(plugin)
    written = lines(job.job_dir)
    assert [line["type"] for line in written] == ["run_started", "task_started", "task_finished", "run_finished"]
    first, finished, last = written[0], written[2], written[3]
    assert (first["run_id"], first["benchmark"], first["agent"]) == ("nightly", "terminal-bench", "terminus-2")
    assert first["model"] == "claude-sonnet-4-5"
    assert [task["task_id"] for task in first["tasks"]] == ["hello"]
    assert (finished["task_id"], finished["attempt"]) == ("hello", 1)
    assert (finished["outcome"], finished["score"], last["status"]) == ("success", 1.0, "completed")


def test_a_folder_with_a_log_and_harbors_files_is_found_as_one_run(tmp_path: Path) -> None:
    job = Job(tmp_path)
    finish(started(job))
    found, problems = Discovery([tmp_path]).scan()
    assert [(run.folder, run.source.source) for run in found] == [(job.job_dir, "runlog")]
    assert problems == []


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"rewards": {"reward": 0.4}}, "failure"),
        ({"rewards": {"reward": 1}, "exception_info": failed("AgentTimeoutError")}, "success"),
        ({"exception_info": failed("AgentTimeoutError")}, "agent_error"),
        ({"exception_info": failed("NonZeroAgentExitCodeError")}, "agent_error"),
        ({"exception_info": failed("EnvironmentStartTimeoutError")}, "infrastructure_error"),
        ({"exception_info": failed("AgentSetupTimeoutError")}, "infrastructure_error"),
        ({"exception_info": failed("VerifierTimeoutError")}, "evaluation_error"),
        ({"exception_info": failed("CancelledError")}, "interrupted"),
        ({}, "evaluation_error"),
    ],
)
def test_the_outcome_follows_from_the_reward_or_without_one_from_the_exception(
    tmp_path: Path, fields: dict[str, Any], outcome: str
) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    job.end(**fields)
    assert [line["outcome"] for line in lines(job.job_dir, "task_finished")] == [outcome]


def test_cached_tokens_are_subtracted_from_the_input_that_harbor_reports(tmp_path: Path) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    job.end(rewards={"reward": 0}, agent_result=spent(1000, 400, 50))
    (call,) = lines(job.job_dir, "llm_call")
    assert (call["input_tokens"], call["cache_read_tokens"], call["output_tokens"]) == (600, 400, 50)
    assert (call["provider"], call["model"], call["task_id"]) == ("anthropic", "claude-sonnet-4-5", "hello")


def test_a_trial_that_reports_no_tokens_is_unknown_usage_and_not_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    job.end(agent_result=spent(None, None, None))
    (call,) = lines(job.job_dir, "llm_call")
    assert (call["input_tokens"], call["output_tokens"]) == (None, None)


def trajectory(job: Job, picture: str = "shot.png", output: int = 5) -> None:
    folder = job.job_dir / job._trial_configs[0].trial_name / "agent"
    folder.mkdir(parents=True)
    (folder / "shot.png").write_bytes(b"\x89PNG")
    seen = [{"type": "image", "source": {"path": picture}}]
    turn = {"source": "agent", "message": "go", "metrics": {"prompt_tokens": 100, "completion_tokens": output}}
    steps = [
        {"source": "user", "message": seen},
        {**turn, "tool_calls": [{"function_name": "bash", "arguments": {"command": "ls"}}]},
        {**turn, "tool_calls": [{"function_name": "done", "arguments": {}}]},
    ]
    (folder / "trajectory.json").write_text(json.dumps({"schema_version": "ATIF-v1.6", "steps": steps}))


def test_a_trajectorys_steps_and_calls_are_recorded_if_they_add_up_to_harbors_sums(tmp_path: Path) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    trajectory(job)
    job.end(rewards={"reward": 1}, agent_result=spent(200, 0, 10))
    steps = lines(job.job_dir, "step")
    assert [step["action"]["type"] for step in steps] == ["bash", "done"]
    assert steps[0]["screenshot"] == f"{job._trial_configs[0].trial_name}/agent/shot.png"
    assert [call["input_tokens"] for call in lines(job.job_dir, "llm_call")] == [100, 100]
    assert lines(job.job_dir, "task_finished")[0]["steps"] == 1


def test_harbors_sum_is_recorded_if_the_trajectory_differs(tmp_path: Path) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    trajectory(job, output=7)
    job.end(rewards={"reward": 1}, agent_result=spent(200, 0, 10))
    assert [call["output_tokens"] for call in lines(job.job_dir, "llm_call")] == [10]


def test_an_image_outside_the_trial_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    job = Job(tmp_path)
    started(job, results=str(tmp_path / "results"))
    job.begin()
    trajectory(job, picture="../../../secret.png")
    job.end(rewards={"reward": 1})
    assert {step["screenshot"] for step in lines(tmp_path / "results" / "nightly", "step")} == {None}


def test_a_trajectory_that_is_not_json_loses_the_steps_but_not_the_outcome(tmp_path: Path) -> None:
    job = Job(tmp_path)
    started(job)
    job.begin()
    trajectory(job)
    (job.job_dir / job._trial_configs[0].trial_name / "agent" / "trajectory.json").write_text("{")
    job.end(rewards={"reward": 1})
    assert [line["outcome"] for line in lines(job.job_dir, "task_finished")] == ["success"]


def test_attempts_are_numbered_as_they_start_and_a_retry_is_the_same_attempt(tmp_path: Path) -> None:
    job = Job(tmp_path, attempts=2)
    started(job)
    job.begin(1)
    job.end(1, exception_info=failed("EnvironmentStartTimeoutError"))
    job.begin(0)
    job.begin(1)
    numbers = [(line["attempt"], line["worker_id"]) for line in lines(job.job_dir, "task_started")]
    assert numbers == [(1, "harbor-1"), (2, "harbor-1"), (1, "harbor-2")]


def test_a_resumed_job_is_recorded_with_its_finished_trials(tmp_path: Path) -> None:
    job = Job(tmp_path, attempts=2)
    job._existing_trial_results = [result(job._trial_configs[1], rewards={"reward": 1})]
    started(job)
    job.begin(0)
    (before,) = lines(job.job_dir, "task_finished")
    assert (before["attempt"], before["outcome"]) == (1, "success")
    assert (before["ts"], before["duration_seconds"]) == (ENDED.timestamp(), 300.0)
    assert [line["attempt"] for line in lines(job.job_dir, "task_started")] == [1, 2]


def test_a_resumed_job_with_its_log_continues_the_interrupted_attempt(tmp_path: Path) -> None:
    results = tmp_path / "results"
    first = Job(tmp_path, attempts=2)
    plugin = started(first, results=results)
    first.begin(0)
    first.begin(1)
    first.end(1, rewards={"reward": 1})
    finish(plugin, done=1, total=2)
    again = Job(tmp_path, attempts=2)
    again._existing_trial_results = [result(again._trial_configs[1], rewards={"reward": 1})]
    started(again, results=results)
    again.begin(0)
    assert sorted(line["attempt"] for line in lines(results / "nightly", "task_started")) == [1, 1, 2]
    assert [line["status"] for line in lines(results / "nightly", "run_finished")] == ["aborted"]


def test_a_job_of_two_models_is_two_runs_in_a_results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", str(tmp_path / "results"))
    job = Job(tmp_path, models=("a/x", "a/y"))
    started(job)
    job.begin(1)
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["nightly.terminus-2__a_x", "nightly.terminus-2__a_y"]
    assert [len(lines(tmp_path / "results" / name, "task_started")) for name in names] == [0, 1]
    assert not (job.job_dir / "events").exists()


def test_a_job_of_two_models_without_a_results_folder_is_left_to_its_own_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(tmp_path, models=("a/x", "a/y"))
    started(job)
    assert job.started == []
    assert "EVALGAUGE_RESULTS" in caplog.text


def test_off_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", "off")
    job = Job(tmp_path)
    started(job)
    assert job.started == []
    assert not (job.job_dir / "events").exists()


def test_nothing_is_raised_into_harbor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin = EvalgaugePlugin(colour="red")
    run(plugin.on_job_start(object()))
    job = Job(tmp_path)
    run(plugin.on_job_start(job))
    for hook in (*job.started, *job.ended):
        run(hook(object()))
    run(plugin.on_job_end(None))
    assert "colour" in caplog.text
    assert "cannot be recorded" in caplog.text


def test_nothing_of_harbor_is_imported() -> None:
    code = "import sys, evalgauge.integrations.harbor; print([name for name in sys.modules if name == 'harbor'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_plugin_and_source_count_the_same_calls_of_the_same_trajectory(tmp_path: Path) -> None:
    job = Job(tmp_path)
    plugin = started(job)
    trial = job._trial_configs[0]
    folder = Path(trial.trials_dir) / trial.trial_name
    written = {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200}
    turns = [
        {
            "step_id": number,
            "timestamp": f"2026-03-01T12:00:0{number}Z",
            "source": "agent",
            "message": "look",
            "metrics": {"prompt_tokens": 4530, "completion_tokens": 200, "cached_tokens": 4000, "extra": extra},
        }
        for number, extra in enumerate(({"cache_creation_input_tokens": 500, "cache_creation": written}, None))
    ]
    short = {**turns[1], "metrics": {"prompt_tokens": 9, "completion_tokens": 1}}
    document = {
        "schema_version": "ATIF-v1.8",
        "agent": {"name": "terminus-2", "version": "1", "model_name": MODEL},
        "steps": turns,
        "subagent_trajectories": [{"agent": {"name": "sub"}, "steps": [short]}],
    }
    (folder / "agent").mkdir(parents=True)
    (folder / "agent" / "trajectory.json").write_text(json.dumps(document))
    (folder / "config.json").write_text(json.dumps({"task": {"name": "hello"}, "agent": {"name": "terminus-2"}}))
    sums = {"n_input_tokens": 9069, "n_cache_tokens": 8000, "n_output_tokens": 401}
    info = {"model_info": {"name": "claude-sonnet-4-5", "provider": "anthropic"}}
    stated = {"trial_name": trial.trial_name, "agent_result": sums, "agent_info": info}
    (folder / "result.json").write_text(json.dumps({**stated, "verifier_result": {"rewards": {"reward": 1}}}))
    job.begin()
    job.end(rewards={"reward": 1.0}, agent_result=Of(**sums, model_usage=None))
    finish(plugin)
    recorded = [event for event in read_events(job.job_dir) if isinstance(event, LlmCall)]
    read = [event for event in AtifSource(job.job_dir).read().events if isinstance(event, LlmCall)]
    assert len(recorded) == 3
    assert [(call.provider, call.model, call.usage) for call in recorded] == [
        (call.provider, call.model, call.usage) for call in read
    ]
    table = PriceTable()
    usd = [float(sum(table.price_of(call).usd or 0 for call in calls)) for calls in (recorded, read)]
    # per M: 30x$3 + 4000x$0.3 + 300x$3.75 + 200x$6 + 200x$15; 530x$3 + 4000x$0.3 + 200x$15; 9x$3 + $15
    assert usd == [pytest.approx(0.006615 + 0.00579 + 0.000042)] * 2


def test_messages_and_tool_results_of_a_trajectory_are_recorded(tmp_path: Path) -> None:
    job = Job(tmp_path)
    plugin = started(job)
    trial = job._trial_configs[0]
    folder = Path(trial.trials_dir) / trial.trial_name / "agent"
    folder.mkdir(parents=True)
    calls = [{"tool_call_id": name, "function_name": "bash", "arguments": {"cmd": name}} for name in ("ls", "pwd")]
    results = [
        {"source_call_id": "pwd", "content": "/root"},
        {"source_call_id": "ls", "content": [{"type": "text", "text": "a.txt"}]},
        {"source_call_id": "pwd", "content": "again"},
    ]
    steps = [
        {"source": "system", "message": "You are an agent."},
        {"source": "user", "message": "List the files.", "timestamp": "2026-03-01T12:00:00Z"},
        {"source": "agent", "message": "", "tool_calls": calls, "observation": {"results": results}},
        {"source": "agent", "message": "done", "observation": {"results": ["torn", {"content": 7}]}},
    ]
    (folder / "trajectory.json").write_text(json.dumps({"schema_version": "ATIF-v1.8", "steps": steps}))
    job.begin()
    job.end(rewards={"reward": 1.0})
    finish(plugin)
    assert [(line["role"], line["text"]) for line in lines(job.job_dir, "message")] == [
        ("system", "You are an agent."),
        ("user", "List the files."),
    ]
    seen = [(line["action"]["type"], line.get("observation")) for line in lines(job.job_dir, "step")]
    assert seen == [("bash", "a.txt"), ("bash", "/root\nagain"), ("message", None)]


def test_the_log_goes_into_the_first_of_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    job = Job(tmp_path)
    finish(started(job))
    assert lines(tmp_path / "first" / "nightly")
    assert not (tmp_path / "second").exists()
