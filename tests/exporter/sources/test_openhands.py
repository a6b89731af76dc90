"""Results of OpenHands, its benchmarks since 1.0 and its resolver, written as these write them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge.usage import UNKNOWN
from evalgauge_exporter.sources.openhands import OpenHandsSource, matches_file
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import drain, folded, outcomes, snapshot, write

METADATA = {
    "agent_class": "CodeActAgent",
    "llm_config": {"model": "anthropic/claude-sonnet-4-5", "api_key": "**********"},
    "max_iterations": 50,
    "start_time": "2026-01-05 09:59:00",
    "dataset": "princeton-nlp/SWE-bench_Lite",
}
USAGE = {
    "model": "anthropic/claude-sonnet-4-5",
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "cache_read_tokens": 600,
    "cache_write_tokens": 300,
}


def history() -> list[dict[str, Any]]:
    return [
        {"id": 0, "timestamp": "2026-01-05T10:00:00", "source": "agent", "action": "system", "args": {"content": "p"}},
        {"id": 1, "timestamp": "2026-01-05T10:00:01", "source": "user", "action": "message", "args": {"content": "x"}},
        {"id": 2, "timestamp": "2026-01-05T10:00:05", "source": "agent", "action": "run",
         "args": {"command": "ls", "thought": "I look"}},
        {"id": 3, "timestamp": "2026-01-05T10:00:06", "source": "agent", "observation": "run", "content": "a.py"},
        {"id": 4, "timestamp": "2026-01-05T10:00:09", "source": "agent", "action": "finish", "args": {}},
    ]  # fmt: skip


def line(instance: str, result: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    metrics = {"accumulated_cost": 0.02, "costs": [], "token_usages": [USAGE, USAGE]}
    return {
        "instance_id": instance,
        "test_result": {"git_patch": "diff"} if result is None else result,
        "instruction": f"fix {instance}",
        "metadata": METADATA,
        "history": history(),
        "metrics": metrics,
        "error": None,
        **more,
    }


def issue(number: int, success: bool, as_text: bool = False) -> dict[str, Any]:
    content = {"owner": "o", "repo": "r", "number": number, "title": "t"}
    metrics = {"accumulated_cost": 0.05, "costs": [0.02, 0.03]}
    events = [
        {"content": "the task", "action": "message"},
        {"command": "ls", "thought": "I look", "action": "run"},
        {"content": "a.py", "observation": "run"},
    ]
    parts = {"issue": content, "metrics": metrics, "history": events}
    parts = {key: repr(part) for key, part in parts.items()} if as_text else dict(parts)
    return {
        "issue": parts["issue"], "issue_type": "issue", "instruction": "fix", "git_patch": "diff",
        "history": parts["history"], "metrics": parts["metrics"], "success": success,
        "result_explanation": "because", "error": None,
    }  # fmt: skip


def make_run(root: Path, *lines: dict[str, Any], name: str = "output.jsonl") -> Path:
    return write(root / name, "".join(json.dumps(each) + "\n" for each in lines))


def judged(root: Path, **resolved: bool) -> None:
    rows = [{"instance_id": name, "test_result": {"report": {"resolved": each}}} for name, each in resolved.items()]
    write(root / "output.swebench_eval.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def outcome_of(root: Path, row: dict[str, Any]) -> str:
    events, _ = drain(OpenHandsSource(make_run(root, row)))
    return next(event.outcome for event in events if isinstance(event, TaskFinished))


def test_a_line_is_an_attempt_with_its_calls_and_steps(tmp_path: Path) -> None:
    judged(tmp_path, a=True, b=False)
    run = folded(OpenHandsSource(make_run(tmp_path, line("a"), line("b"), line("c"))))
    assert outcomes(run) == {"success": 1, "failure": 1, "interrupted": 1}
    assert (run.model, run.agent) == ("claude-sonnet-4-5", "CodeActAgent")
    assert run.benchmark == "princeton-nlp/SWE-bench_Lite"
    assert run.usage["anthropic", "claude-sonnet-4-5"].tokens == [600, 3600, 1800, 300], "cached ones are in the prompt"
    attempt = run.attempts["a", 1]
    assert (attempt.steps, attempt.duration_seconds, attempt.max_steps) == (1, 9.0, 50)
    assert attempt.started_at == datetime(2026, 1, 5, 10).timestamp()


def test_what_the_agent_did_are_its_steps(tmp_path: Path) -> None:
    events, _ = drain(OpenHandsSource(make_run(tmp_path, line("a"))))
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.action for step in steps] == [{"type": "run", "command": "ls"}, {"type": "done"}]
    assert steps[0].reasoning == "I look"


def test_events_since_1_0_have_a_kind(tmp_path: Path) -> None:
    events = [
        {"kind": "SystemPromptEvent", "timestamp": "2026-01-05T10:00:00", "source": "agent"},
        {"kind": "ActionEvent", "timestamp": "2026-01-05T10:00:02", "source": "agent", "tool_name": "terminal",
         "thought": [{"type": "text", "text": "I look"}], "action": {"kind": "TerminalAction", "command": "ls"}},
        {"kind": "ObservationEvent", "timestamp": "2026-01-05T10:00:03", "observation": {"content": []}},
        {"kind": "ActionEvent", "timestamp": "2026-01-05T10:00:04", "source": "agent", "tool_name": "finish",
         "action": {"kind": "FinishAction", "message": "done"}},
    ]  # fmt: skip
    metadata = {"llm": {"model": "litellm_proxy/claude-sonnet-4-5"}, "dataset": "gaia", "eval_output_dir": "x"}
    row = line("a", {"score": True}, history=events, metadata=metadata)
    row = {"instance_id": row.pop("instance_id"), "attempt": 2, **row}
    path = make_run(tmp_path, row)
    assert matches_file(path)
    found, _ = drain(OpenHandsSource(path))
    assert [event.action["type"] for event in found if isinstance(event, Step)] == ["terminal", "done"]
    assert [event.outcome for event in found if isinstance(event, TaskFinished)] == ["success"]


def test_the_resolvers_lines_say_themselves_how_they_went(tmp_path: Path) -> None:
    path = make_run(tmp_path, issue(1, True), issue(2, False, as_text=True))
    assert matches_file(path)
    events, problems = drain(OpenHandsSource(path))
    run = fold("run", "openhands", events)
    assert problems == []
    assert {key[0]: attempt.status for key, attempt in run.attempts.items()} == {"o/r#1": "success", "o/r#2": "failure"}
    assert run.attempts["o/r#1", 1].reason == "because"
    assert [event.tokens for event in events if isinstance(event, LlmCall)] == [UNKNOWN] * 4
    assert [event.action for event in events if isinstance(event, Step)] == [{"type": "run", "command": "ls"}] * 2


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (line("a"), "interrupted"),
        (line("a", {"report": {"resolved": True}}), "success"),
        (line("a", {"resolved": False}), "failure"),
        (line("a", {"score": 0.5}), "failure"),
        (line("a", {"result": 1}), "success"),
        (line("a", error="RuntimeError: Agent reached maximum iteration in headless mode"), "agent_error"),
        (line("a", error="AgentStuckInLoopError: Agent got stuck in a loop"), "agent_error"),
        (line("a", error="ConnectionError: the runtime is gone"), "infrastructure_error"),
        (line("a", {"resolved": True}, error="a late one"), "success"),
    ],
)
def test_outcomes(tmp_path: Path, row: dict[str, Any], outcome: str) -> None:
    assert outcome_of(tmp_path, row) == outcome


def test_a_cost_of_zero_is_an_unknown_price_and_no_call(tmp_path: Path) -> None:
    path = make_run(
        tmp_path, line("a", metrics={"accumulated_cost": 0.0}), line("b", metrics={"accumulated_cost": 0.1})
    )
    calls = [event for event in drain(OpenHandsSource(path))[0] if isinstance(event, LlmCall)]
    assert [(call.task_id, call.tokens) for call in calls] == [("b", UNKNOWN)]


def test_tokens_that_are_only_summed_up_are_one_call(tmp_path: Path) -> None:
    total = {"model": "default", "prompt_tokens": 10, "completion_tokens": 2}
    path = make_run(tmp_path, line("a", metrics={"accumulated_token_usage": total}))
    assert folded(OpenHandsSource(path)).usage["anthropic", "claude-sonnet-4-5"].tokens == [10, 0, 0, 2]


def test_lines_that_come_one_by_one_are_followed_and_a_half_one_waits(tmp_path: Path) -> None:
    path = make_run(tmp_path, line("a", {"resolved": True}))
    source = OpenHandsSource(path)
    events, _ = drain(source)
    content = json.dumps(line("b", {"resolved": False}))
    with path.open("a") as file:
        file.write(content[:500])
    assert drain(source) == ([], [])
    with path.open("a") as file:
        file.write(content[500:] + "\n" + json.dumps(line("a", {"resolved": False})))
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "openhands", events)), snapshot(folded(OpenHandsSource(path)))
    for part in ("attempts", "counts", "usage", "steps"):
        assert live[part] == anew[part]
    assert set(fold("run", "openhands", events).attempts) == {("a", 1), ("a", 2), ("b", 1)}


def test_a_verdict_that_comes_later_replaces_the_run(tmp_path: Path) -> None:
    source = OpenHandsSource(make_run(tmp_path, line("a")))
    drain(source)
    before = source.fingerprint()
    judged(tmp_path, a=True)
    assert source.fingerprint() != before
    assert source.read(full_scan=True).restarted


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = make_run(tmp_path, line("a"), line("b"))
    source = OpenHandsSource(path)
    drain(source)
    make_run(tmp_path, line("c"))
    assert source.read().restarted
    path.unlink()
    assert source.read().missing


def test_damaged_lines_are_named_and_hide_no_other(tmp_path: Path) -> None:
    lines = [
        b'{"instance_id": "x", "test_',
        b"[1]",
        json.dumps({"test_result": {}}).encode(),
        json.dumps(line("a")).encode(),
    ]
    path = write(tmp_path / "output.jsonl", b"\n".join(lines) + b"\n")
    events, problems = drain(OpenHandsSource(path))
    assert [problem.reason for problem in problems] == ["torn_line", "foreign_line", "foreign_line"]
    assert [event.task_id for event in events if isinstance(event, TaskFinished)] == ["a"]


def test_what_judged_the_results_and_other_files_are_no_runs(tmp_path: Path) -> None:
    judged(tmp_path, a=True)
    other = make_run(tmp_path, line("a"), name="output.critic_attempt_1.jsonl")
    assert matches_file(other), "alone it is a run"
    make_run(tmp_path, line("a"))
    assert not matches_file(other)
    assert not matches_file(tmp_path / "output.swebench_eval.jsonl")
    for row in ({"instance_id": "a", "model_patch": "x"}, {"issue": "x", "labels": []}, {"_meta": True}):
        assert not matches_file(make_run(tmp_path / "other", row))


def test_tokens_of_a_release_without_them_are_in_the_answers_in_the_history(tmp_path: Path) -> None:
    def answered(number: int) -> dict[str, Any]:
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
        answer = {"model_response": {"id": f"r{number}", "usage": usage}}
        return {"id": number, "source": "agent", "action": "run", "args": {}, "tool_call_metadata": answer}

    seen = {"id": 9, "source": "agent", "observation": "run", "tool_call_metadata": answered(1)["tool_call_metadata"]}
    metrics = {"costs": [{"cost": 0.1}, {"cost": 0.2}, {"cost": 0.3}]}
    latencies = [{"response_id": "r1"}, {"response_id": "not kept"}, {"response_id": "r2"}]
    for calls, tokens in (
        (latencies, [(40, 60, None, 10), UNKNOWN, (40, 60, None, 10)]),
        (latencies[:2], [UNKNOWN] * 3),
    ):
        row = line("a", history=[answered(1), seen, answered(2)], metrics={**metrics, "response_latencies": calls})
        events, _ = drain(OpenHandsSource(make_run(tmp_path, row)))
        found = [event for event in events if isinstance(event, LlmCall)]
        assert [tuple(call.tokens) for call in found] == [tuple(each) for each in tokens]
        assert [call.cost_usd for call in found] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"report": {"resolved": True}}, "success"),
        ({"test_result": {"git_patch": "d", "result": {"resolved": 0}}}, "failure"),
        ({"test_result": {"result": {"resolved": 1}}}, "success"),
    ],
)
def test_older_releases_have_the_verdict_in_other_places(tmp_path: Path, more: dict[str, Any], outcome: str) -> None:
    assert outcome_of(tmp_path, {**line("a"), **more}) == outcome


def test_the_harness_leaves_a_report_for_each_instance(tmp_path: Path) -> None:
    write(tmp_path / "eval_outputs" / "a" / "report.json", json.dumps({"a": {"resolved": True}}))
    assert outcomes(folded(OpenHandsSource(make_run(tmp_path, line("a"), line("b"))))) == {
        "success": 1,
        "interrupted": 1,
    }


@pytest.mark.parametrize("second", ["instance", "swe_instance", "git_patch", "instruction"])
def test_a_line_of_any_release_is_recognised_and_a_data_set_is_not(tmp_path: Path, second: str) -> None:
    row = {"instance_id": 7, second: "x", "metadata": METADATA, "history": [], "error": None}
    assert matches_file(make_run(tmp_path, row))
    assert not matches_file(make_run(tmp_path, {"instance_id": "a", second: "x", "repo": "r", "base_commit": "c"}))


@pytest.mark.parametrize(
    ("points", "outcome"),
    [
        ({"total": 2, "result": 2}, "success"),
        ({"total": 4, "result": 1}, "failure"),
        ({"total": 0, "result": 0}, "interrupted"),
        ({"total": "x", "result": 0}, "interrupted"),
    ],
)
def test_checkpoints_are_a_score_where_a_task_has_any(tmp_path: Path, points: dict[str, Any], outcome: str) -> None:
    assert outcome_of(tmp_path, line("a", {"checkpoints": [], "final_score": points})) == outcome


def test_calls_that_no_metrics_count_are_those_of_the_history(tmp_path: Path) -> None:
    def acted(number: int, answer: str) -> dict[str, Any]:
        action = {"kind": "ExecuteBashAction", "command": "ls"}
        return {"kind": "ActionEvent", "id": f"a{number}", "action": action, "llm_response_id": answer}

    seen = {"kind": "ObservationEvent", "action_id": "a1", "observation": {"output": "a.py"}}
    row = line("a", history=[acted(1, "r1"), acted(2, "r1"), seen, acted(3, "r2")], metrics=None)
    events, _ = drain(OpenHandsSource(make_run(tmp_path, row)))
    [call] = [event for event in events if isinstance(event, LlmCall)]
    assert (call.tokens, call.requests, call.cost_usd) == (UNKNOWN, 2, None)
    assert [event.observation for event in events if isinstance(event, Step)] == ["a.py", None, None]
