"""ATIF trajectories: a job in the very files that Harbor 0.24.0's own models write, and synthetic ones of other makers.

The job's trials did not run (they need Docker): what is in them was made up, the files are real.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Message, RunStarted, Step, TaskFinished
from evalgauge_exporter.sources.atif.harbor import add_trial_finish
from evalgauge_exporter.sources.atif.source import AtifSource
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import DATA, NOW, STALL, drain, folded, outcomes, places, snapshot, write

JOB = DATA / "harbor-0.24.0" / "2026-11-21__20-00-00"


def trajectory(version: str = "1.8", **more: Any) -> dict[str, Any]:
    turn = {
        "step_id": 2,
        "timestamp": "2026-11-21T20:00:10Z",
        "source": "agent",
        "message": "clicking",
        "tool_calls": [{"tool_call_id": "a", "function_name": "click", "arguments": {"x": 0.5, "y": 0.25}}],
        "metrics": {"prompt_tokens": 100, "completion_tokens": 7, "cached_tokens": 60},
    }
    user = {"step_id": 1, "timestamp": "2026-11-21T20:00:00Z", "source": "user", "message": "Open the mail"}
    agent = {"name": "cua", "version": "1", "model_name": "openai/gpt-5.1"}
    return {"schema_version": f"ATIF-v{version}", "agent": agent, "steps": [user, turn], **more}


def write_json(path: Path, content: object) -> Path:
    return write(path, json.dumps(content))


def test_totals_are_those_of_the_jobs_own_result() -> None:
    stats = json.loads((JOB / "result.json").read_text())["stats"]
    run = folded(AtifSource(JOB))
    counted = outcomes(run)
    rewards = stats["evals"]["terminus-2__claude-sonnet-4-5__desk-tasks"]["reward_stats"]["reward"]
    assert counted["success"] == len(rewards["1.0"])
    assert counted["failure"] == len(rewards["0.0"])
    assert sum(counted.values()) == stats["n_completed_trials"]
    assert len([a for a in run.attempts.values() if a.error]) == stats["n_errored_trials"]
    ((key, usage),) = run.usage.items()
    assert key == ("anthropic", "claude-sonnet-4-5")
    fresh, cached, written, output = usage.tokens
    assert fresh + cached == stats["n_input_tokens"]
    assert (cached, written, output) == (stats["n_cache_tokens"], 0, stats["n_output_tokens"])
    assert run.status(NOW, STALL) == "completed"
    assert (run.benchmark, run.model, run.agent) == ("desk-tasks", "claude-sonnet-4-5", "terminus-2")


def test_a_reward_measures_a_trial_and_without_one_the_exception_says_whose_fault_it_was() -> None:
    run = folded(AtifSource(JOB))
    assert {task: attempt.status for (task, _), attempt in run.attempts.items()} == {
        "tidy-desk": "success",
        "sort-mail": "failure",
        "slow-task": "agent_error",
        "late-success": "success",
        "no-judge": "evaluation_error",
        "no-box": "infrastructure_error",
    }
    assert run.attempts["slow-task", 1].error == "AgentTimeoutError: it went wrong"
    assert run.attempts["tidy-desk", 1].duration_seconds == 60.0
    assert run.attempts["tidy-desk", 1].domain == "desk-tasks"


def test_steps_have_their_actions_reasons_and_the_pictures_that_came_before() -> None:
    events, _ = drain(AtifSource(JOB))
    steps = [event for event in events if isinstance(event, Step) and event.task_id == "tidy-desk"]
    assert [step.action["type"] for step in steps] == ["left_click"] * 3
    assert steps[1].action["coordinate"] == [10, 21]
    assert [step.reasoning for step in steps] == ["I do 0", "because 1", "I do 2"]
    assert [step.screenshot for step in steps] == [
        None,
        "tidy-desk__ab0/agent/images/step_0.png",
        "tidy-desk__ab0/agent/images/step_1.png",
    ]
    assert all((JOB / step.screenshot).is_file() for step in steps if step.screenshot)


def test_a_running_job_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    job = tmp_path / "job"
    order = [
        "no-box__ab35",
        "no-judge__ab30",
        "late-success__ab20",
        "tidy-desk__ab0",
        "sort-mail__ab5",
        "slow-task__ab10",
    ]
    for name in order:
        write(job / name / "config.json", (JOB / name / "config.json").read_bytes(), 1.7e9)
        (job / name / "agent").mkdir()
        (job / name / "verifier").mkdir()
    shutil.copy(JOB / "config.json", job)
    source = AtifSource(job)
    events, problems = drain(source)
    assert fold("run", "atif", events).statuses(1.7e9 + 1, STALL) == {"running": 6}
    for name in order:
        if (JOB / name / "agent" / "trajectory.json").exists():
            shutil.copy(JOB / name / "agent" / "trajectory.json", job / name / "agent")
            events += drain(source)[0]
        shutil.copy(JOB / name / "result.json", job / name)
        events += drain(source)[0]
    shutil.copy(JOB / "result.json", job)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "atif", events)), snapshot(folded(AtifSource(job)))
    assert problems == []
    for part in ("attempts", "counts", "steps", "usage", "durations", "ended", "ended_at"):
        assert live[part] == anew[part]
    assert source.watch_paths() == []


def test_a_job_with_several_agents_is_a_run_for_each(tmp_path: Path) -> None:
    job = tmp_path / "job"
    agents = [{"name": "a", "model_name": "openai/gpt-5.1"}, {"name": "b", "model_name": None}]
    write_json(job / "config.json", {"job_name": "job", "agents": agents})
    write_json(job / "result.json", {"n_total_trials": 4, "started_at": "2026-11-21T20:00:00Z", "stats": {}})
    for index, agent in enumerate([*agents, agents[0]]):
        trial = job / f"mail__x{index}"
        write_json(trial / "config.json", {"agent": agent, "task": {"path": "tasks/mail"}, "trial_name": trial.name})
        write_json(trial / "agent" / "trajectory.json", trajectory())
        write_json(trial / "result.json", {"trial_name": trial.name, "verifier_result": {"rewards": {"x": index}}})
    found = places(job)
    assert [place.name for place in found] == ["a__openai_gpt-5.1", "b"]
    first, second = (folded(AtifSource(place)) for place in found)
    assert [(key, a.score) for key, a in first.attempts.items()] == [(("mail", 1), 0.0), (("mail", 2), 2.0)]
    assert [(key, a.score) for key, a in second.attempts.items()] == [(("mail", 1), 1.0)]
    assert (first.agent, first.model, first.total) == ("a", "gpt-5.1", 2)


def test_a_trial_of_several_steps_counts_them_all(tmp_path: Path) -> None:
    trial = tmp_path / "job" / "mail__x"
    write_json(trial / "config.json", {"agent": {"name": "a"}, "task": {"name": "org/mail"}})
    write(trial / "trial.log", "")
    write(trial / "steps" / "one" / "agent" / "trajectory.json", json.dumps(trajectory("1.4")), 1.7e9)
    write(trial / "steps" / "two" / "agent" / "trajectory.json", json.dumps(trajectory("1.4")), 1.7e9 + 9)
    steps = [
        {"step_name": name, "verifier_result": {"rewards": {"reward": reward}}}
        for name, reward in (("one", 1), ("two", 0))
    ]
    write_json(trial / "result.json", {"trial_name": "mail__x", "step_results": steps})
    run = folded(AtifSource(tmp_path / "job"))
    attempt = run.attempts["org/mail", 1]
    assert (attempt.recorded_steps, attempt.calls, attempt.score, attempt.status) == (2, 2, 0.5, "failure")


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(9)])
def test_a_folder_of_trajectories_of_any_version_is_a_run(tmp_path: Path, version: str) -> None:
    final = {"final_metrics": {"total_prompt_tokens": 100}, "extra": {"reward": 1.0}}
    write_json(tmp_path / "run" / "mail" / "trajectory.json", trajectory(version, **final))
    write_json(tmp_path / "run" / "web" / "trajectory.json", trajectory(version, final_metrics={}))
    assert places(tmp_path / "run") == [tmp_path / "run"]
    run = folded(AtifSource(tmp_path / "run"))
    assert outcomes(run) == {"success": 1, "interrupted": 1}
    assert run.attempts["web", 1].reason == "the trajectory states no score"
    assert run.usage["openai", "gpt-5.1"].tokens == [80, 120, 0, 14]
    assert run.attempts["mail", 1].instruction == "Open the mail"


def test_a_folder_with_a_trajectory_in_it_is_a_run_of_one_task(tmp_path: Path) -> None:
    write_json(tmp_path / "mail" / "trajectory.json", trajectory(extra={"success": False}))
    assert places(tmp_path / "mail") == [tmp_path / "mail"]
    assert outcomes(folded(AtifSource(tmp_path / "mail"))) == {"failure": 1}


def test_copied_steps_are_none_and_subagents_calls_are_calls(tmp_path: Path) -> None:
    document = trajectory(continued_trajectory_ref="more.json", extra={"reward": 0})
    document["subagent_trajectories"] = [{**trajectory(), "trajectory_id": "sub"}]
    following = trajectory(extra={"reward": 1})
    following["steps"][1]["is_copied_context"] = True
    write_json(tmp_path / "run" / "mail" / "trajectory.json", document)
    write_json(tmp_path / "run" / "mail" / "more.json", following)
    events, _ = drain(AtifSource(tmp_path / "run"))
    assert len([event for event in events if isinstance(event, Step)]) == 1
    assert len([event for event in events if isinstance(event, LlmCall)]) == 2
    assert fold("run", "atif", events).attempts["mail", 1].score == 1.0


def test_totals_stand_in_where_the_steps_have_no_tokens(tmp_path: Path) -> None:
    document = trajectory(extra={"reward": 1})
    del document["steps"][1]["metrics"]
    document["final_metrics"] = {"total_prompt_tokens": 100, "total_completion_tokens": 9, "total_cached_tokens": 30}
    write_json(tmp_path / "run" / "mail" / "trajectory.json", document)
    assert folded(AtifSource(tmp_path / "run")).usage["openai", "gpt-5.1"].tokens == [70, 30, 0, 9]


def test_pictures_outside_the_run_are_left_out(tmp_path: Path) -> None:
    document = trajectory(extra={"reward": 1})
    image = {"type": "image", "source": {"media_type": "image/png", "path": "../../../secret.png"}}
    document["steps"][0]["message"] = [{"type": "text", "text": "see"}, image]
    write_json(tmp_path / "run" / "mail" / "trajectory.json", document)
    events, _ = drain(AtifSource(tmp_path / "run"))
    assert [event.screenshot for event in events if isinstance(event, Step)] == [None]


def test_a_job_is_a_run_before_its_first_trial(tmp_path: Path) -> None:
    write_json(
        tmp_path / "config.json", {"job_name": "job", "agents": [{"name": "a"}], "datasets": [{"path": "x/desk"}]}
    )
    write_json(tmp_path / "result.json", {"n_total_trials": 3, "started_at": "2026-11-21T20:00:00Z"})
    assert places(tmp_path) == [tmp_path]
    (event,) = drain(AtifSource(tmp_path))[0]
    assert isinstance(event, RunStarted)
    assert (event.benchmark, event.total_tasks) == ("desk", 3)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "trajectory.json", {"steps": []})
    write_json(tmp_path / "config.json", {"agents": []})
    assert places(tmp_path) == []


def test_what_the_agent_was_told_and_got_to_see_is_text(tmp_path: Path) -> None:
    document = trajectory()
    document["steps"][1]["observation"] = {"results": [{"source_call_id": "a", "content": "3 mails"}]}
    document["steps"].append({"source": "user", "message": "go on", "timestamp": "2026-11-21T20:00:20Z"})
    document["steps"].append({"source": "agent", "message": "done", "timestamp": "2026-11-21T20:00:30Z"})
    write_json(tmp_path / "trajectory.json", document)
    events, _ = drain(AtifSource(tmp_path))
    said = [
        (event.role, event.text) if isinstance(event, Message) else event.observation
        for event in events
        if isinstance(event, (Message, Step))
    ]
    assert said == [("user", "Open the mail"), "3 mails", ("user", "go on"), None]


@pytest.mark.parametrize("phase", ["started", "output", "agent", None])
def test_what_is_raised_while_the_verifier_runs_is_no_fault_of_the_machine(tmp_path: Path, phase: str | None) -> None:
    trial = tmp_path / "job" / "t__abc"
    result: dict[str, Any] = {
        "trial_name": "t__abc",
        "started_at": "2026-11-21T20:00:00Z",
        "finished_at": "2026-11-21T20:10:00Z",
        "verifier_result": None,
        "exception_info": {"exception_type": "ValueError", "exception_message": "no key"},
    }
    if phase == "started":
        result["verifier"] = {"started_at": "2026-11-21T20:09:00Z"}
    elif phase == "output":
        result["agent_result"] = {"n_input_tokens": 5}
    elif phase == "agent":
        result["agent_execution"] = {"started_at": "2026-11-21T20:01:00Z"}
    write_json(tmp_path / "job" / "config.json", {"job_name": "job", "agents": [{"name": "a"}]})
    write_json(trial / "config.json", {"task": {"path": "tasks/t"}, "agent": {"name": "a"}})
    write(trial / "verifier" / "test-stdout.txt", "")
    write_json(trial / "result.json", result)
    run = folded(AtifSource(tmp_path / "job"))
    assert run.attempts["t", 1].status == (
        "evaluation_error" if phase in ("started", "output") else "infrastructure_error"
    )
    assert run.attempts["t", 1].steps is None


def test_several_rewards_are_scores(tmp_path: Path) -> None:
    rewards = {"reward": 0.5, "style": 1.0}
    attempt = AttemptBuilder("atif", "t")
    add_trial_finish(attempt, {"verifier_result": {"rewards": rewards}}, 1.0)
    (end,) = attempt.events
    assert isinstance(end, TaskFinished)
    assert (end.score, end.scores, end.outcome) == (0.5, rewards, "failure")


def make_trials(root: Path, **rewards: float | None) -> Path:
    """Trials as they are published: of each its result, which holds its configuration, and nothing of the job."""
    for task, reward in rewards.items():
        config = {"task": {"path": f"tasks/{task}"}, "agent": {"name": "a", "model_name": "openai/gpt-5.1"}}
        stated = {"rewards": {"reward": reward}}
        result = {"task_name": task, "trial_name": f"{task}__x", "config": config, "verifier_result": stated}
        write_json(root / f"renamed-{task}" / "result.json", {**result, "started_at": "2026-01-26T02:12:06"})
    return root


def test_results_of_trials_without_anything_else_are_a_run(tmp_path: Path) -> None:
    job = make_trials(tmp_path / "job", mail=1.0, web=0.0)
    assert places(tmp_path) == [job]
    run = folded(AtifSource(job))
    assert {key[0]: attempt.status for key, attempt in run.attempts.items()} == {"mail": "success", "web": "failure"}
    assert (run.model, run.agent) == ("gpt-5.1", "a")


def test_the_reward_of_a_trial_without_a_result_is_in_the_verifiers_file(tmp_path: Path) -> None:
    for task, reward in (("mail", "1.0\n"), ("web", "0"), ("desk", "none"), ("disk", "")):
        write_json(tmp_path / "job" / f"{task}__x" / "config.json", {"task": {"name": task}})
        write(tmp_path / "job" / f"{task}__x" / "verifier" / "reward.txt", reward)
    run = folded(AtifSource(tmp_path / "job"))
    assert {key[0]: attempt.status for key, attempt in run.attempts.items()} == {
        "mail": "success", "web": "failure", "desk": "running", "disk": "running"
    }  # fmt: skip
    write_json(tmp_path / "job" / "config.json", {"job_name": "job", "agents": []})
    running = folded(AtifSource(tmp_path / "job"))
    assert {attempt.status for attempt in running.attempts.values()} == {"running"}, "its result is still to come"
