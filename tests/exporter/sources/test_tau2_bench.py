"""Results of tau2-bench in both forms, written as its ``Results`` writes itself."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge_exporter.sources import tau2_bench
from evalgauge_exporter.sources.tau2_bench import open_run
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, snapshot, write


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def simulation(task: str, trial: int, reward: float | None, why: str = "user_stop", **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    call = {"id": "c", "name": "get_order", "arguments": {"order_id": "#1"}, "requestor": "assistant"}
    messages = [
        {"role": "assistant", "content": "Hi!", "timestamp": "2026-01-05T10:00:01", "usage": None, "cost": 0.0},
        {"role": "user", "content": "hello", "timestamp": "2026-01-05T10:00:02", "usage": usage, "cost": 0.001},
        {"role": "assistant", "tool_calls": [call], "timestamp": "2026-01-05T10:00:04", "usage": usage, "cost": 0.01},
        {"role": "tool", "id": "c", "content": "{}", "requestor": "assistant", "timestamp": "2026-01-05T10:00:05"},
    ]
    return {
        "id": f"{task}-{trial}",
        "task_id": task,
        "timestamp": "2026-01-05T10:01:00",
        "start_time": "2026-01-05T10:00:00",
        "end_time": "2026-01-05T10:01:00",
        "duration": 59.5,
        "termination_reason": why,
        "agent_cost": 0.01,
        "user_cost": 0.001,
        "reward_info": None if reward is None else {"reward": reward, "reward_basis": ["DB"]},
        "messages": messages,
        "trial": trial,
        **more,
    }


SIMULATIONS = [simulation("7", 0, 1.0), simulation("7", 1, 0.0, "max_steps"), simulation("8", 0, None)]


def document(simulations: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    info = {
        "git_commit": "abc",
        "num_trials": 2,
        "max_steps": 200,
        "max_errors": 10,
        "user_info": {"implementation": "user_simulator", "llm": "gpt-4.1"},
        "agent_info": {"implementation": "llm_agent", "llm": "anthropic/claude-sonnet-4-5"},
        "environment_info": {"domain_name": "retail", "policy": "be kind"},
        **more,
    }
    tasks = [{"id": "7", "user_scenario": {}}, {"id": "8", "user_scenario": {}}]
    content = {"timestamp": "2026-01-05T10:00:00.5", "info": info, "tasks": tasks}
    return {**content, "simulations": SIMULATIONS} if simulations is None else {**content, "simulations": simulations}


def make_document(root: Path) -> Path:
    return write(root / "night.json", json.dumps(document(), indent=2))


def make_folder(root: Path) -> Path:
    content = document()
    for each in content.pop("simulations"):
        write(root / "simulations" / f"{each['id']}.json", json.dumps(each, indent=2))
    write(root / "results.json", json.dumps(content, indent=2))
    return root


@pytest.mark.parametrize("make", [make_document, make_folder])
def test_both_forms_give_the_same_run(tmp_path: Path, make: Any) -> None:
    run = folded(open_run(make(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1, "interrupted": 1, "pending": 1}
    assert (run.benchmark, run.model, run.agent) == ("tau2-bench", "claude-sonnet-4-5", "llm_agent")
    assert (run.attempts_planned, run.total) == (2, 4)
    assert run.started_at == datetime(2026, 1, 5, 10).timestamp(), "naive times are local"
    attempt = run.attempts["7", 1]
    assert (attempt.score, attempt.duration_seconds, attempt.domain) == (1.0, 59.5, "retail")
    assert run.attempts["7", 2].reason == "ended by max_steps"
    assert {key: used.tokens for key, used in run.usage.items()} == {
        ("anthropic", "claude-sonnet-4-5"): [300, 0, 0, 30],
        ("openai", "gpt-4.1"): [300, 0, 0, 30],
    }


def test_a_greeting_is_a_step_and_no_model_call(tmp_path: Path) -> None:
    events, _ = drain(open_run(make_document(tmp_path)))
    mine = [event for event in events if getattr(event, "task_id", None) == "8"]
    assert [event.action for event in mine if isinstance(event, Step)] == [
        {"type": "message", "text": "Hi!"},
        {"type": "get_order", "order_id": "#1"},
    ]
    assert len([event for event in mine if isinstance(event, LlmCall)]) == 2


@pytest.mark.parametrize(
    ("reward", "why", "outcome"),
    [
        (0.9999999, "agent_stop", "success"),
        (0.5, "user_stop", "failure"),
        (0.0, "infrastructure_error", "infrastructure_error"),
        (None, "context_window_exceeded", "infrastructure_error"),
        (0.0, "too_many_errors", "failure"),
        (None, "agent_error", "agent_error"),
        (None, "user_stop", "interrupted"),
    ],
)
def test_outcomes(tmp_path: Path, reward: float | None, why: str, outcome: str) -> None:
    write(tmp_path / "x.json", json.dumps(document([simulation("1", 0, reward, why)])))
    events, _ = drain(open_run(tmp_path / "x.json"))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == [outcome]


def test_a_voice_run_has_ticks_and_a_model_in_two_parts(tmp_path: Path) -> None:
    chunk = {"role": "assistant", "content": "I will check", "contains_speech": True}
    ticks = [{"tick_id": 0, "agent_chunk": {"role": "assistant", "contains_speech": False}}]
    ticks.append({"tick_id": 1, "agent_chunk": chunk})
    content = document(
        [simulation("1", 0, 1.0, messages=None, ticks=ticks)],
        agent_info={"implementation": "audio", "llm": "openai:gpt-realtime"},
        audio_native_config={"provider": "openai", "model": "gpt-realtime"},
    )
    run = folded(open_run(write(tmp_path / "x.json", json.dumps(content))))
    assert run.attempts["1", 1].steps == 1
    assert run.model == "gpt-realtime"
    assert run.usage["openai", "gpt-realtime"].unknown == 1
    assert run.usage["openai", "gpt-4.1"].unknown == 1


def test_simulations_that_come_one_by_one_are_followed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    late = folder / "simulations" / "7-1.json"
    content = late.read_bytes()
    late.unlink()
    source = open_run(folder)
    before = source.fingerprint()
    events, _ = drain(source)
    write(late, content[:100])
    events += drain(source)[0]
    write(late, content)
    events += drain(source)[0]
    assert source.fingerprint() != before
    live, anew = snapshot(fold("run", "tau2_bench", events)), snapshot(folded(open_run(folder)))
    for part in ("attempts", "counts", "usage", "steps"):
        assert live[part] == anew[part]
    assert fold("run", "tau2_bench", events).status(NOW, STALL) == "stalled", "one attempt was never made"


def test_an_index_says_which_simulations_count(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    content = json.loads((folder / "results.json").read_bytes())
    content["simulation_index"] = [{"id": "7-0", "task_id": "7", "trial": 0}]
    write(folder / "results.json", json.dumps(content))
    assert [event.task_id for event in drain(open_run(folder))[0] if isinstance(event, TaskFinished)] == ["7"]


def test_other_documents_are_none(tmp_path: Path) -> None:
    assert tau2_bench.matches_file(make_document(tmp_path))
    assert tau2_bench.matches(make_folder(tmp_path / "run"), names(tmp_path / "run"))
    contents: list[Any] = [{"timestamp": "x", "info": {}}, {"timestamp": "x", "info": {"version": 1}, "tasks": []}, []]
    for content in contents:
        path = write(tmp_path / "results.json", json.dumps(content))
        assert not tau2_bench.matches_file(path)
        assert not tau2_bench.matches(tmp_path, names(tmp_path))


def test_a_document_that_was_written_again_with_its_keys_in_order_is_the_same_run(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", json.dumps(document()))
    again = write(tmp_path / "b.json", json.dumps(document(), sort_keys=True, indent=1))
    assert tau2_bench.matches_file(again)
    assert snapshot(folded(open_run(again)))["counts"] == snapshot(folded(open_run(first)))["counts"]
    assert not tau2_bench.matches_file(write(tmp_path / "c.json", json.dumps({"info": {"agent_info": 1}, "tasks": []})))
