"""Experiments of cube-harness, synthetic: written as its ``storage.py``, ``eval_log.py`` and status files do."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge.usage import UNKNOWN
from evalgauge_exporter.sources import cube
from evalgauge_exporter.sources.cube import CubeSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import NOW, STALL, drain, folded, outcomes, snapshot, write

if sys.version_info >= (3, 14):
    from compression.zstd import compress
else:
    from backports.zstd import compress

AT = 1767607200.0
PNG = b"\x89PNG\r\n\x1a\nx"


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def observation(number: int, reward: float = 0.0, done: bool = False, error: str | None = None) -> dict[str, Any]:
    contents = [
        {"type": "text", "data": "a page", "name": None},
        {"type": "image", "data": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "name": "screenshot"},
    ]
    output = {"obs": {"contents": contents}, "reward": reward, "done": done, "error": error and {"error_type": error}}
    return {"output": output, "start_time": AT + number, "end_time": AT + number + 0.5}


def answer(number: int, *actions: dict[str, Any], error: str | None = None, tokens: int = 100) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens // 10, "cached_tokens": tokens // 2, "cost": 0.0}
    call = {
        "id": "c",
        "timestamp": "2026-01-05T10:00:00+00:00",
        "llm_config": {"model_name": "azure/gpt-5-mini"},
        "output": {"role": "assistant", "content": "I click"},
        "usage": {**usage, "cache_creation_tokens": 0},
    }
    output = {"actions": list(actions), "llm_calls": [call], "error": error and {"error_type": error}}
    return {"output": output, "start_time": AT + number, "end_time": AT + number + 0.25}


CLICK = {"id": "1", "name": "click", "arguments": {"x": 3, "y": 4}}
CODE = {"id": "2", "name": "run_pyautogui", "arguments": {"code": "pyautogui.click(5, 6)"}}
STEPS = [observation(0), answer(1, CLICK), observation(2), answer(3, CODE), observation(4, 1.0, True)]


def write_episode(
    run: Path, name: str, steps: list[dict[str, Any]], status: dict[str, Any] | None, **metadata: Any
) -> Path:
    folder = run / "episodes" / name
    for number, step in enumerate(steps):
        kind = "obs" if "obs" in step["output"] else "act"
        write(folder / "steps" / f"{number:03d}_{kind}.msgpack.zst", compress(msgspec.msgpack.encode(step)))
    task = name.rpartition("_ep")[0]
    content = {"id": name, "metadata": {"task_id": task}, "start_time": AT, "end_time": None, "reward_info": {}}
    write(folder / "episode.metadata.json", json.dumps({**content, **metadata}, indent=2))
    if status is not None:
        base = {"task_id": task, "episode_id": 0, "started_at": AT, "retry_count": 0}
        write(folder / "status.json", json.dumps({**base, **status}, indent=2))
    return folder


def write_experiment(run: Path, status: str = "COMPLETED") -> None:
    record = {
        "evaluation_id": run.name,
        "experiment_name": "osworld",
        "evaluation_timestamp": AT - 10,
        "agent": {
            "config_type": "cube_harness.agents.genny.GennyConfig",
            "config": {},
            "llm_model": "azure/gpt-5-mini",
        },
        "benchmark_name": "osworld-cube",
        "benchmark_subset": {"name": "osworld-cube", "n_tasks": 3},
    }
    write(run / "experiment_record.json", json.dumps(record, indent=2))
    state = {"status": status, "mode": "ray", "started_at": AT - 5, "total_episodes": 3}
    write(run / "experiment_status.json", json.dumps(state))


def make_run(root: Path) -> Path:
    run = root / "osworld_x"
    write_experiment(run)
    end = {"end_time": AT + 5, "reward_info": {"reward": 1.0, "done": True}}
    write_episode(run, "t1_ep0", STEPS, {"status": "COMPLETED", "ended_at": AT + 5, "reward": 1.0}, **end)
    partial = {"status": "MAX_STEPS_REACHED", "ended_at": AT + 9, "reward": 0.4}
    write_episode(run, "t1_ep2", STEPS[:2], partial)
    broken = {"status": "FAILED", "ended_at": AT + 3, "error_type": "TimeoutError", "error_message": "no answer"}
    write_episode(run, "t2_ep1", [*STEPS[:2], observation(2, error="TimeoutError")], broken)
    write_episode(run, "t2_ep1.archived_1767607000.5", STEPS, {"status": "FAILED"})
    return run


def test_episodes_of_one_task_are_its_attempts_and_partial_credit_is_no_success(tmp_path: Path) -> None:
    run = folded(CubeSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1, "infrastructure_error": 1}
    assert (run.benchmark, run.model, run.agent) == ("osworld-cube", "gpt-5-mini", "Genny")
    assert run.started_at == AT - 5
    assert (run.attempts["t1", 1].score, run.attempts["t1", 2].score) == (1.0, 0.4)
    assert run.attempts["t1", 2].reason == "out of steps"
    assert run.attempts["t2", 1].error == "TimeoutError: no answer"
    assert (run.attempts["t1", 1].steps, run.attempts["t1", 1].duration_seconds) == (2, 5.0)
    assert run.usage["azure", "gpt-5-mini"].tokens == [200, 200, 0, 40], "cached ones are in the prompt"
    assert run.status(NOW, STALL) == "completed"


def test_steps_have_the_screenshot_that_the_agent_saw(tmp_path: Path) -> None:
    source = CubeSource(make_run(tmp_path))
    events, _ = drain(source)
    click, code = [event for event in events if isinstance(event, Step) and (event.task_id, event.attempt) == ("t1", 1)]
    assert click.action == {"type": "click", "x": 3, "y": 4}
    assert (code.action["type"], code.action["x"]) == ("click", 5.0)
    assert (click.reasoning, click.think_seconds, click.env_seconds) == ("I click", 0.25, 0.5)
    assert click.screenshot == "episodes/t1_ep0/steps/000_obs.msgpack.zst/0.png"
    assert source.image(click.screenshot) == PNG
    assert source.image("episodes/t1_ep0/steps/000_obs.msgpack.zst/7.png") is None
    assert source.image("../../etc/passwd/0.png") is None


@pytest.mark.parametrize(
    ("status", "last", "outcome"),
    [
        ({"status": "FAILED"}, answer(5, error="BadRequestError"), "agent_error"),
        ({"status": "FAILED"}, observation(5, error="VmError"), "infrastructure_error"),
        ({"status": "CANCELLED"}, None, "interrupted"),
        ({"status": "STALE"}, None, "interrupted"),
        ({"status": "COMPLETED"}, None, "interrupted"),
        ({"status": "COMPLETED", "reward": 0.0}, None, "failure"),
    ],
)
def test_outcomes(tmp_path: Path, status: dict[str, Any], last: dict[str, Any] | None, outcome: str) -> None:
    steps = STEPS[:2] if last is None else [*STEPS[:2], last]
    write_episode(tmp_path, "t_ep0", steps, {"ended_at": AT + 9, **status})
    events, _ = drain(CubeSource(tmp_path))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == [outcome]


def test_without_its_steps_an_episode_has_the_sums_of_its_record(tmp_path: Path) -> None:
    run = tmp_path / "x"
    write_experiment(run)
    record = {
        "evaluation_id": "x", "sample_id": "t", "is_correct": True, "score": 0.5, "error": None, "n_agent_steps": 7,
        "wall_time_s": 30.0, "timestamp": AT, "task_description": "do it",
        "usage": {"input_tokens": 1000, "output_tokens": 50, "input_tokens_cache_read": 400, "n_llm_calls": 7},
    }  # fmt: skip
    write(run / "episodes" / "t_ep0" / "episode_record.json", json.dumps(record))
    state = folded(CubeSource(run))
    attempt = state.attempts["t", 1]
    assert (attempt.status, attempt.steps, attempt.duration_seconds) == ("failure", 7, 30.0)
    assert state.usage["azure", "gpt-5-mini"].tokens == [600, 400, 0, 50]


def test_a_call_of_no_tokens_at_all_stated_none(tmp_path: Path) -> None:
    steps = [observation(0), answer(1, CLICK, tokens=0), observation(2)]
    write_episode(tmp_path, "t_ep0", steps, {"status": "RUNNING"})
    events, _ = drain(CubeSource(tmp_path))
    assert [event.tokens for event in events if isinstance(event, LlmCall)] == [UNKNOWN]


def test_an_experiment_that_is_running_is_followed_and_read_anew_gives_the_same(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_experiment(run, "RUNNING")
    write_episode(run, "t3_ep3", [], {"status": "QUEUED"})
    source = CubeSource(run)
    events, _ = drain(source)
    assert not fold("run", "cube", events).is_finished()
    for count in range(1, len(STEPS)):
        write_episode(run, "t3_ep3", STEPS[:count], {"status": "RUNNING", "current_step": count})
        events += drain(source)[0]
    done = {"status": "COMPLETED", "ended_at": AT + 20, "reward": 1.0}
    write_episode(run, "t3_ep3", STEPS, done, end_time=AT + 20, reward_info={"reward": 1.0})
    write_experiment(run)
    events += drain(source)[0]
    live, anew = snapshot(fold("run", "cube", events)), snapshot(folded(CubeSource(run)))
    for part in ("attempts", "counts", "usage", "steps", "ended"):
        assert live[part] == anew[part]


def test_steps_that_lie_or_are_cut_off_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_episode(tmp_path, "t_ep0", STEPS, {"status": "COMPLETED", "ended_at": AT + 5, "reward": 1.0})
    whole = (folder / "steps" / "001_act.msgpack.zst").read_bytes()
    write(folder / "steps" / "001_act.msgpack.zst", whole[:20])
    write(folder / "steps" / "000_obs.msgpack.zst", b"no zstd")
    write(folder / "steps" / "002_obs.msgpack.zst", compress(b"\xc1" * 100))
    events, problems = drain(CubeSource(tmp_path))
    assert [problem.reason for problem in problems] == ["torn_file"] * 3
    assert len([event for event in events if isinstance(event, Step)]) == 1


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert cube.matches(run, names(run))
    for folder in (tmp_path, run / "episodes", run / "episodes" / "t1_ep0"):
        assert not cube.matches(folder, names(folder))
    (tmp_path / "podcast" / "episodes" / "one").mkdir(parents=True)
    assert not cube.matches(tmp_path / "podcast", names(tmp_path / "podcast"))
