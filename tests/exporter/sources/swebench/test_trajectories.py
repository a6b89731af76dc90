"""Trajectories of mini-swe-agent and SWE-agent, and what the SWE-bench harness found, written as these write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import Event, LlmCall, Step, TaskFinished
from evalgauge.usage import UNKNOWN
from evalgauge_exporter.sources.swebench import mini_swe_agent, swe_agent
from evalgauge_exporter.sources.swebench.mini_swe_agent import MiniSweAgentSource
from evalgauge_exporter.sources.swebench.swe_agent import SweAgentSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import drain, folded, outcomes, snapshot, write

AT = 1767607200.0


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def mini(status: str | None = "Submitted", submission: str = "diff --git a b", usage: bool = True) -> dict[str, Any]:
    def answer(number: int, command: str) -> dict[str, Any]:
        response = {"model": "claude-sonnet-4-5", "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
        extra = {"actions": [{"command": command}], "timestamp": AT + number, "cost": 0.01}
        return {
            "role": "assistant",
            "content": f"think {number}",
            "extra": {**extra, **({"response": response} if usage else {})},
        }

    messages = [
        {"role": "system", "content": "a prompt"},
        {"role": "user", "content": "fix it", "extra": {"timestamp": AT}},
        answer(1, "ls"),
        {"role": "user", "content": "a.py", "extra": {"raw_output": "a.py", "returncode": 0, "timestamp": AT + 2}},
        answer(3, "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
    ]
    info = {
        "model_stats": {"instance_cost": 0.02, "api_calls": 2},
        "config": {"agent": {"step_limit": 250}, "model": {"model_name": "anthropic/claude-sonnet-4-5"}},
        "mini_version": "2.0.0",
        "submission": submission,
        **({"exit_status": status} if status is not None else {}),
    }
    return {"info": info, "messages": messages, "trajectory_format": "mini-swe-agent-1.1"}


def swe(status: str = "submitted", submission: str | None = "diff", **stats: Any) -> dict[str, Any]:
    steps = [
        {
            "action": "open a.py",
            "observation": "[File: a.py]",
            "response": "r",
            "thought": "look",
            "execution_time": 0.5,
        },
        {"action": "submit\n", "observation": "diff", "response": "r", "thought": "done", "execution_time": 0.1},
    ]
    history = [
        {"role": "system", "content": "a prompt"},
        {"role": "user", "content": "a demonstration", "is_demo": True},
        {"role": "user", "content": "fix it"},
    ]
    numbers = {"instance_cost": 0.3, "tokens_sent": 5000, "tokens_received": 200, "api_calls": 2, **stats}
    info = {"exit_status": status, "submission": submission, "model_stats": numbers}
    config = json.dumps({"agent": {"model": {"name": "openai/gpt-4o"}}})
    return {"trajectory": steps, "history": history, "info": info, "replay_config": config, "environment": "main"}


def summary(resolved: list[str] = [], unresolved: list[str] = [], **more: list[str]) -> dict[str, Any]:  # noqa: B006
    ids = {"resolved_ids": resolved, "unresolved_ids": unresolved, "empty_patch_ids": [], "error_ids": [], **more}
    return {"total_instances": 5, "schema_version": 2, **ids}


def make_mini(root: Path, model: str = "anthropic/claude-sonnet-4-5") -> Path:
    run = root / "mini"
    for name in ("o__r-1", "o__r-2", "o__r-3"):
        write(run / name / f"{name}.traj.json", json.dumps(mini(), indent=2), AT + 60)
    predictions = {name: {"model_name_or_path": model, "instance_id": name} for name in ("o__r-1", "o__r-2", "o__r-3")}
    write(run / "preds.json", json.dumps(predictions))
    write(
        run / "anthropic__claude-sonnet-4-5.night.json",
        json.dumps(summary(["o__r-1"], ["o__r-2"], error_ids=["o__r-3"])),
    )
    return run


def make_swe(root: Path) -> Path:
    run = root / "gpt4o__swe-bench__default"
    for name in ("o__r-1", "o__r-2"):
        write(run / name / f"{name}.traj", json.dumps(swe(), indent=2), AT)
    predictions = {name: {"model_name_or_path": run.name, "instance_id": name} for name in ("o__r-1", "o__r-2")}
    write(run / "preds.json", json.dumps(predictions))
    write(root / f"{run.name}.check.json", json.dumps(summary(["o__r-1"], ["o__r-2"])))
    return run


def finishes(events: list[Event]) -> dict[str, str]:
    return {event.task_id: event.outcome for event in events if isinstance(event, TaskFinished)}


def outcome_of(root: Path, content: dict[str, Any], report: dict[str, Any] | None = None) -> str:
    write(root / "run" / "x" / "x.traj.json", json.dumps(content))
    if report is not None:
        write(root / "run" / "claude-sonnet-4-5.a.json", json.dumps(report))
    return finishes(drain(MiniSweAgentSource(root / "run"))[0])["x"]


def test_the_harness_says_what_is_resolved(tmp_path: Path) -> None:
    run = folded(MiniSweAgentSource(make_mini(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1, "evaluation_error": 1}
    assert (run.benchmark, run.model, run.agent) == ("swe-bench", "claude-sonnet-4-5", "mini-swe-agent")
    assert run.attempts["o__r-3", 1].error == "the SWE-bench harness failed on it"
    attempt = run.attempts["o__r-1", 1]
    assert (attempt.instruction, attempt.steps, attempt.max_steps) == ("fix it", 2, 250)
    assert (attempt.started_at, attempt.duration_seconds) == (AT, 3.0)
    assert run.usage["anthropic", "claude-sonnet-4-5"].tokens == [600, 0, 0, 60]


def test_steps_are_commands_and_the_last_says_that_the_agent_is_done(tmp_path: Path) -> None:
    events, _ = drain(MiniSweAgentSource(make_mini(tmp_path)))
    steps = [event for event in events if isinstance(event, Step) and event.task_id == "o__r-1"]
    assert [step.action["type"] for step in steps] == ["bash", "done"]
    assert (steps[0].action["code"], steps[0].reasoning, steps[0].ts) == ("ls", "think 1", AT + 1)


def test_commands_are_found_in_tool_calls_and_in_blocks_of_code(tmp_path: Path) -> None:
    content = mini()
    call = {"function": {"name": "bash", "arguments": '{"command": "pwd"}'}}
    content["messages"] = [
        {"role": "assistant", "content": "I look\n```bash\ncat a.py\n```", "timestamp": 1767607200},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": "that is all"},
    ]
    write(tmp_path / "x.traj.json", json.dumps(content))
    steps = [event for event in drain(MiniSweAgentSource(tmp_path))[0] if isinstance(event, Step)]
    assert [step.action for step in steps] == [
        {"type": "bash", "code": "cat a.py"},
        {"type": "bash", "code": "pwd"},
        {"type": "message", "text": "that is all"},
    ]


def test_calls_whose_answers_were_not_kept_have_unknown_tokens(tmp_path: Path) -> None:
    write(tmp_path / "x.traj.json", json.dumps(mini(usage=False)))
    calls = [event for event in drain(MiniSweAgentSource(tmp_path))[0] if isinstance(event, LlmCall)]
    assert [call.tokens for call in calls] == [UNKNOWN]


@pytest.mark.parametrize(
    ("status", "submission", "outcome"),
    [
        ("Submitted", "diff", "interrupted"),
        (None, "diff", "interrupted"),
        ("LimitsExceeded", "", "agent_error"),
        ("RepeatedFormatError", "", "agent_error"),
        ("RuntimeError", "", "infrastructure_error"),
        ("KeyboardInterrupt", "", "interrupted"),
    ],
)
def test_without_a_verdict_a_patch_says_nothing(
    tmp_path: Path, status: str | None, submission: str, outcome: str
) -> None:
    assert outcome_of(tmp_path, mini(status, submission)) == outcome


def test_a_trajectory_without_an_end_is_running(tmp_path: Path) -> None:
    content = mini("", "")
    write(tmp_path / "x" / "x.traj.json", json.dumps(content))
    source = MiniSweAgentSource(tmp_path)
    events, _ = drain(source)
    assert finishes(events) == {}
    assert fold("run", "mini_swe_agent", events).status(AT + 5, 600.0) == "running"
    write(tmp_path / "x" / "x.traj.json", json.dumps({**content, "info": mini()["info"]}))
    events += drain(source)[0]
    assert finishes(events) == {"x": "interrupted"}
    assert len([event for event in events if isinstance(event, Step)]) == 2, "nothing is told twice"


def test_an_environment_that_broke_stays_that_though_the_harness_counts_an_empty_patch(tmp_path: Path) -> None:
    report = summary(empty_patch_ids=["x"])
    assert outcome_of(tmp_path / "a", mini("LimitsExceeded", ""), report) == "failure"
    assert outcome_of(tmp_path / "b", mini("ConnectionError", ""), report) == "infrastructure_error"


def test_a_verdict_that_comes_later_replaces_the_run(tmp_path: Path) -> None:
    run = make_mini(tmp_path)
    report = run / "anthropic__claude-sonnet-4-5.night.json"
    content = report.read_bytes()
    report.unlink()
    source = MiniSweAgentSource(run)
    assert set(finishes(drain(source)[0]).values()) == {"interrupted"}
    before = source.fingerprint()
    write(report, content)
    assert source.fingerprint() != before
    assert source.read(full_scan=True).restarted


def test_a_report_beside_the_run_counts_for_its_own_model_only(tmp_path: Path) -> None:
    run = make_mini(tmp_path / "results")
    (run / "anthropic__claude-sonnet-4-5.night.json").unlink()
    write(run.parent / "gpt-5.night.json", json.dumps(summary(["o__r-1", "o__r-2", "o__r-3"])))
    assert set(finishes(drain(MiniSweAgentSource(run))[0]).values()) == {"interrupted"}
    write(run.parent / "anthropic__claude-sonnet-4-5.night.json", json.dumps(summary(["o__r-1"], ["o__r-2"])))
    assert finishes(drain(MiniSweAgentSource(run))[0]) == {
        "o__r-1": "success",
        "o__r-2": "failure",
        "o__r-3": "interrupted",
    }


def test_reports_that_disagree_say_nothing_unless_one_bears_the_runs_name(tmp_path: Path) -> None:
    run = make_mini(tmp_path)
    (run / "anthropic__claude-sonnet-4-5.night.json").unlink()
    for name, report in (("a", summary(["o__r-1"])), ("b", summary([], ["o__r-1"]))):
        write(tmp_path / f"anthropic__claude-sonnet-4-5.{name}.json", json.dumps(report))
    run_state = fold("run", "mini_swe_agent", drain(MiniSweAgentSource(run))[0])
    assert run_state.attempts["o__r-1", 1].error == "reports of the SWE-bench harness disagree about it"
    write(tmp_path / "anthropic__claude-sonnet-4-5.mini.json", json.dumps(summary(["o__r-1"])))
    assert finishes(drain(MiniSweAgentSource(run))[0])["o__r-1"] == "success"


def test_while_the_harness_works_its_log_folders_have_the_verdicts(tmp_path: Path) -> None:
    run = make_mini(tmp_path)
    (run / "anthropic__claude-sonnet-4-5.night.json").unlink()
    tests = {"FAIL_TO_PASS": {"success": ["a"], "failure": ["b"]}, "PASS_TO_PASS": {"success": ["c"], "failure": []}}
    logs = tmp_path / "logs" / "run_evaluation" / "night" / "anthropic__claude-sonnet-4-5"
    write(logs / "o__r-1" / "report.json", json.dumps({"o__r-1": {"resolved": False, "tests_status": tests}}))
    state = fold("run", "mini_swe_agent", drain(MiniSweAgentSource(run))[0])
    assert (state.attempts["o__r-1", 1].status, state.attempts["o__r-2", 1].status) == ("failure", "interrupted")
    assert state.attempts["o__r-1", 1].reason == "1 of 2 FAIL_TO_PASS tests failed"


def test_swe_agents_tokens_are_sums_and_its_model_is_in_a_text_in_the_file(tmp_path: Path) -> None:
    run = folded(SweAgentSource(make_swe(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1}
    assert (run.model, run.agent) == ("gpt-4o", "swe-agent")
    assert run.usage["openai", "gpt-4o"].tokens == [10_000, 0, 0, 400]
    attempt = run.attempts["o__r-1", 1]
    assert (attempt.steps, attempt.instruction, attempt.duration_seconds) == (2, "fix it", None)


def test_swe_agent_before_1_0_lays_its_files_flat_and_names_the_model_beside_them(tmp_path: Path) -> None:
    run = tmp_path / "gpt4__data__default__t-0.00__p-0.95__c-3.00__install-1"
    content = swe("exit_cost", None, tokens_sent=0, tokens_received=0)
    del content["replay_config"]
    write(run / "o__r-1.traj", json.dumps(content), AT)
    write(run / "o__r-2.traj", json.dumps(swe("submitted (exit_cost)")), AT)
    write(run / "all_preds.jsonl", json.dumps({"model_name_or_path": run.name, "instance_id": "o__r-2"}) + "\n")
    write(
        run / "results.json", json.dumps({"generated": ["o__r-2"], "no_generation": ["o__r-1"], "resolved": ["o__r-2"]})
    )
    assert swe_agent.matches(run, names(run))
    events, _ = drain(SweAgentSource(run))
    assert finishes(events) == {"o__r-1": "failure", "o__r-2": "success"}
    assert fold("run", "swe_agent", events).model == "gpt4"
    calls = {event.task_id: event for event in events if isinstance(event, LlmCall)}
    assert calls["o__r-1"].tokens == UNKNOWN
    write(run / "args.yaml", "agent:\n  model:\n    model_name: gpt-4-1106-preview\n")
    assert fold("run", "swe_agent", drain(SweAgentSource(run))[0]).model == "gpt-4-1106-preview"


def test_read_anew_gives_the_same(tmp_path: Path) -> None:
    run = make_mini(tmp_path)
    late = run / "o__r-3" / "o__r-3.traj.json"
    content = late.read_bytes()
    late.unlink()
    source = MiniSweAgentSource(run)
    events, _ = drain(source)
    write(late, content[: len(content) // 2])
    source.read()
    write(late, content)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "mini_swe_agent", events)), snapshot(folded(MiniSweAgentSource(run)))
    for part in ("attempts", "counts", "usage", "steps"):
        assert live[part] == anew[part]


def test_folders_that_hold_other_things_are_no_runs(tmp_path: Path) -> None:
    run, other = make_mini(tmp_path / "a"), make_swe(tmp_path / "b")
    assert mini_swe_agent.matches(run, names(run))
    assert swe_agent.matches(other, names(other))
    for folder in (run.parent, other.parent, run / "o__r-1" / "..", tmp_path):
        if folder.resolve() not in (run, other):
            assert not mini_swe_agent.matches(folder, names(folder))
            assert not swe_agent.matches(folder, names(folder))
    write(tmp_path / "c" / "water.traj", b"- of Ulm\x00\x01")
    write(tmp_path / "c" / "x.traj.json", json.dumps({"info": {}, "messages": [], "trajectory_format": "mine-1"}))
    assert not swe_agent.matches(tmp_path / "c", names(tmp_path / "c"))
    assert not mini_swe_agent.matches(tmp_path / "c", names(tmp_path / "c"))


def test_the_model_in_the_name_of_a_folder_stands_where_the_release_puts_it(tmp_path: Path) -> None:
    for name in ("default__claude-x__t-0.00__p-1.00__c-2.00___lite", "claude-x__data__default__t-0.00__p-0.95__c-3.00"):
        content = swe()
        del content["replay_config"]
        write(tmp_path / name / "a" / "a.traj", json.dumps(content))
        assert folded(SweAgentSource(tmp_path / name)).model == "claude-x"


@pytest.mark.parametrize("left", ["mini_version", "model_stats"])
def test_a_trajectory_that_does_not_name_its_format_is_recognised_by_what_it_states(tmp_path: Path, left: str) -> None:
    content = mini()
    del content["trajectory_format"]
    content["info"] = {left: content["info"][left]}
    write(tmp_path / "a" / "a.traj.json", json.dumps(content, indent=2))
    assert mini_swe_agent.matches(tmp_path, names(tmp_path))


def test_a_submission_has_its_verdicts_beside_its_trajectories(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        write(tmp_path / "trajs" / f"{name}.traj", json.dumps(swe()))
    write(
        tmp_path / "results" / "results.json", json.dumps({"no_generation": ["c"], "no_logs": ["d"], "resolved": ["a"]})
    )
    write(tmp_path / "logs" / "e" / "report.json", json.dumps({"e": {"resolved": True}}))
    events, _ = drain(SweAgentSource(tmp_path / "trajs"))
    assert finishes(events) == {
        "a": "success", "b": "failure", "c": "failure", "d": "evaluation_error", "e": "success"
    }  # fmt: skip


def test_of_several_attempts_at_an_instance_the_chosen_one_counts(tmp_path: Path) -> None:
    write(tmp_path / "a" / "a.traj", json.dumps({"attempts": [swe(), swe()], **swe()}))
    write(tmp_path / "b" / "b.traj", json.dumps({"attempts": [swe()]}))
    assert swe_agent.matches(tmp_path, names(tmp_path))
    run = folded(SweAgentSource(tmp_path))
    assert {key[0]: attempt.status for key, attempt in run.attempts.items()} == {"a": "interrupted", "b": "running"}
    assert (run.attempts["a", 1].steps, run.attempts["a", 1].calls) == (2, 2)


@pytest.mark.parametrize(
    ("status", "outcome"), [("RateLimitError", "infrastructure_error"), ("LimitsExceeded", "agent_error")]
)
def test_a_refused_call_is_no_limit_of_the_agent(tmp_path: Path, status: str, outcome: str) -> None:
    assert outcome_of(tmp_path, mini(status, "")) == outcome
