"""Any run as a run log, and as ATIF: nothing that counts is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalgauge import track_run
from evalgauge.events import Step
from evalgauge.runlog import read_events
from evalgauge_exporter.errors import ConvertError
from evalgauge_exporter.export.atif import SCHEMA, to_atif
from evalgauge_exporter.export.runlog import convert
from evalgauge_exporter.sources.agentlab import AgentLabSource
from evalgauge_exporter.sources.atif.source import AtifSource
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.sources.mobileworld import MobileWorldSource
from evalgauge_exporter.sources.openadapt.jsonl import OpenAdaptJsonlSource
from evalgauge_exporter.sources.openadapt.models import OpenAdaptModelSource
from evalgauge_exporter.sources.openadapt.run_folder import OpenAdaptSource
from evalgauge_exporter.sources.osworld.osworld import OSWorldSource
from evalgauge_exporter.sources.osworld.waa import WaaSource
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState, fold
from tests.exporter.sources import test_mobileworld
from tests.exporter.sources.atif.test_source import JOB
from tests.exporter.sources.openadapt import test_jsonl as test_openadapt_jsonl
from tests.exporter.sources.openadapt import test_models as test_openadapt_models
from tests.exporter.sources.osworld import test_osworld, test_waa
from tests.exporter.sources.reading import DATA, drain, snapshot, write
from tests.exporter.sources.test_agentlab import STUDY

PNG = b"\x89PNG\r\n\x1a\n"


def make_jsonl(folder: Path) -> Path:
    rows = test_openadapt_jsonl.row("a", 1, 1.0) + test_openadapt_jsonl.row("b", 40, 0.0, error_type="agent")
    return write(folder / "full_eval_1.jsonl", test_openadapt_jsonl.meta(0, total=2) + rows)


RUNS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], RunSource]]] = {
    "openadapt": (lambda _: DATA / "openadapt-0.1.0" / "benchmark_results" / "waa_mock_20", OpenAdaptSource),
    "openadapt_models": (lambda at: test_openadapt_models.make_run(at) / "model_a", OpenAdaptModelSource),
    "openadapt_jsonl": (make_jsonl, OpenAdaptJsonlSource),
    "osworld": (test_osworld.make_run, OSWorldSource),
    "waa": (test_waa.make_run, WaaSource),
    "mobileworld": (test_mobileworld.make_run, MobileWorldSource),
    "agentlab": (lambda _: STUDY, AgentLabSource),
    "atif": (lambda _: JOB, AtifSource),
    "inspect": (lambda _: DATA / "inspect-0.3.285" / "tools.eval", InspectLogSource),
    "inspect_epochs": (lambda _: DATA / "inspect-0.3.285" / "epochs.eval", InspectLogSource),
    "inspect_killed": (lambda _: DATA / "inspect-0.3.285" / "killed.eval", InspectLogSource),
}


def found_at(place: Path, source: RunSource) -> FoundRun:
    return FoundRun(place.parent, place, source, type(source))


def read_log(run: Path) -> RunState:
    events, problems = drain(RunLogSource(run))
    assert problems == []
    return fold("run", "runlog", events)


@pytest.mark.parametrize("name", RUNS)
def test_folding_the_converted_log_gives_the_same_state_as_folding_the_source(name: str, tmp_path: Path) -> None:
    make, source = RUNS[name]
    place = make(tmp_path / "from")
    events, _ = drain(source(place))
    written = convert(found_at(place, source(place)), tmp_path / "to")
    assert written == len(events)
    (run,) = (tmp_path / "to").iterdir()
    assert snapshot(read_log(run)) == snapshot(fold("run", name, events))


@pytest.mark.parametrize("name", RUNS)
def test_screenshots_lie_where_the_converted_log_says(name: str, tmp_path: Path) -> None:
    make, source = RUNS[name]
    place = make(tmp_path / "from")
    original = source(place)
    shots = [event.screenshot for event in drain(original)[0] if isinstance(event, Step) and event.screenshot]
    convert(found_at(place, source(place)), tmp_path / "to")
    (run,) = (tmp_path / "to").iterdir()
    there = [shot for shot in shots if (run / shot).is_file()]
    if name.startswith("inspect"):
        assert len(there) == len(shots)
    else:
        assert there == [shot for shot in shots if (original.folder / shot).is_file()]
    assert all((run / shot).read_bytes().startswith(PNG) for shot in there)
    if name not in ("openadapt_jsonl", "inspect_epochs"):
        assert there


def test_a_run_log_with_workers_and_money_is_converted_too(tmp_path: Path) -> None:
    with track_run(tmp_path / "from", benchmark="b", model="m", tasks=["a", "b"], budget_usd=3, run_id="mine") as run:
        run.worker("w1", "idle", vm="vm-1", hourly_rate_usd=0.5)
        with run.task("a", domain="d", worker="w1") as task:
            task.llm_call(provider="openai", model="gpt-5.1", input_tokens=5, output_tokens=2, batch=True)
            task.step(action={"type": "click", "x": 0.5}, screenshot=PNG, first_action_correct=True)
            task.finish(success=True)
    place = tmp_path / "from" / "mine"
    convert(found_at(place, RunLogSource(place)), tmp_path / "to")
    assert snapshot(read_log(tmp_path / "to" / "mine")) == snapshot(read_log(place))
    assert list((tmp_path / "to" / "mine").rglob("*.png"))


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    place = test_osworld.make_run(tmp_path)
    found = found_at(place, OSWorldSource(place))
    convert(found, tmp_path / "to")
    before = sorted((tmp_path / "to").rglob("*"))
    with pytest.raises(ConvertError, match="exists already"):
        convert(found, tmp_path / "to")
    assert sorted((tmp_path / "to").rglob("*")) == before


def test_a_run_that_is_missing_or_empty_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConvertError, match="no events"):
        convert(found_at(tmp_path / "empty", OSWorldSource(tmp_path / "empty")), tmp_path / "to")
    with pytest.raises(ConvertError, match="no longer exists"):
        convert(found_at(tmp_path / "gone", OSWorldSource(tmp_path / "gone")), tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_pictures_outside_the_run_are_not_copied(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.png", PNG + b"secret")
    with track_run(tmp_path / "from", benchmark="b", model="m", run_id="mine") as run, run.task("a") as task:
        task.step(action="click")
        task.finish(success=True)
    place = tmp_path / "from" / "mine"
    (place / "link.png").symlink_to(secret)
    (log,) = (place / "events").glob("*.jsonl")
    lines = log.read_text().splitlines(keepends=True)
    for shot in ("../../secret.png", "link.png", "/etc/hostname", str(secret), "events/x.jsonl", "a\0.png"):
        lines.insert(-1, json.dumps({**json.loads(lines[2]), "screenshot": shot}) + "\n")
    log.write_text("".join(lines))
    convert(found_at(place, RunLogSource(place)), tmp_path / "to")
    copied = [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert {path.name for path in copied} <= {"secret.png", "link.png", log.name}
    assert not list((tmp_path / "to").rglob("*.png"))


@pytest.mark.parametrize("name", RUNS)
def test_a_trajectory_tells_what_the_run_did(name: str, tmp_path: Path) -> None:
    make, source = RUNS[name]
    original = source(make(tmp_path / "from"))
    events, _ = drain(original)
    run = fold("run", name, events)
    documents = to_atif(events, original.folder)
    begun = [attempt for attempt in run.attempts.values() if attempt.started_at is not None]
    assert len(documents) == len(begun)
    for document in documents:
        extra, steps = document["extra"], document["steps"]
        attempt = run.attempts[extra["task_id"], extra["attempt"]]
        turns = [step for step in steps if step["source"] == "agent"]
        assert document["schema_version"] == SCHEMA
        assert [step["step_id"] for step in steps] == list(range(1, len(steps) + 1))
        assert len(turns) == max(attempt.recorded_steps, attempt.calls > 0)
        assert extra.get("outcome") == (attempt.status if attempt.finished else None)
        assert sum(step.get("llm_call_count", 0) for step in turns) == attempt.calls
        fresh, read, write_, output = (count or 0 for count in attempt.tokens or (0, 0, 0, 0))
        assert document["final_metrics"].get("total_prompt_tokens", 0) == fresh + read + write_
        assert document["final_metrics"].get("total_completion_tokens", 0) == output
        for step in turns:
            calls = {call["tool_call_id"] for call in step.get("tool_calls", ())}
            for result in step.get("observation", {}).get("results", ()):
                assert result["source_call_id"] in calls
                for part in result["content"]:
                    assert (original.folder / part["source"]["path"]).is_file()


def test_an_exported_run_that_is_read_again_gives_the_same_outcomes_and_tokens(tmp_path: Path) -> None:
    events, _ = drain(AtifSource(JOB))
    before = fold("run", "atif", events)
    for document in to_atif(events, JOB):
        write(tmp_path / "run" / document["extra"]["task_id"] / "trajectory.json", json.dumps(document))
    after = fold("run", "atif", drain(AtifSource(tmp_path / "run"))[0])
    assert {key: (a.status, a.score, a.steps) for key, a in after.attempts.items()} == {
        key: (a.status, a.score, a.steps) for key, a in before.attempts.items()
    }
    assert [usage.tokens for usage in after.usage.values()] == [usage.tokens for usage in before.usage.values()]


def test_a_run_log_is_exported_with_its_instruction_and_pictures(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", agent="ours", run_id="mine") as run:
        with run.task("a", instruction="Open it") as task:
            for _ in range(2):
                task.llm_call(provider="openai", model="gpt-5.1", input_tokens=5, cache_read_tokens=3, output_tokens=2)
                task.step(action={"type": "click", "x": 0.5}, screenshot=PNG, reasoning="there")
            task.finish(success=False, error="no luck")
    (document,) = to_atif(read_events(tmp_path / "mine"), tmp_path / "mine")
    user, first, second = document["steps"]
    assert user["message"][0] == {"type": "text", "text": "Open it"}
    assert user["message"][1]["source"]["media_type"] == "image/png"
    assert first["tool_calls"][0]["function_name"] == "click"
    assert first["tool_calls"][0]["arguments"] == {"x": 0.5}
    assert first["metrics"] == {"prompt_tokens": 8, "completion_tokens": 2, "cached_tokens": 3}
    assert first["observation"]["results"][0]["content"][0]["source"]["path"].endswith("step_0001.png")
    assert "observation" not in second
    assert document["agent"]["name"] == "ours"
    assert document["extra"]["error"] == "no luck"
