"""Reports of openadapt-flow, written as its ``RunReport`` writes itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge.usage import UNKNOWN
from evalgauge_exporter.sources.openadapt import flow
from evalgauge_exporter.sources.openadapt.flow import OpenAdaptFlowSource
from tests.exporter.sources.reading import drain, folded, outcomes, write


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def report(success: bool = True, **more: Any) -> dict[str, Any]:
    step = {
        "step_id": "step_000",
        "intent": "click 'Save'",
        "ok": True,
        "resolution": {"rung": "template", "point": [10, 20], "confidence": 1.0, "elapsed_ms": 5.0},
        "error": None,
        "before_png": "steps/step_000_before.png",
        "elapsed_ms": 500.0,
    }
    failed = {**step, "step_id": "step_001", "intent": "type 'x'", "resolution": None, "elapsed_ms": 250.0}
    if not success:
        failed |= {"ok": False, "error": "not found"}
    return {
        "workflow_name": "add-note",
        "started_at": "2026-07-08T17:30:00+00:00",
        "params": {},
        "results": [step, failed],
        "success": success,
        "model_calls": 0,
        "total_ms": 800.0,
        **more,
    }


def write_report(folder: Path, content: dict[str, Any]) -> None:
    write(folder / "report.json", json.dumps(content, indent=2))
    write(folder / "steps" / "step_000_before.png", b"\x89PNG\r\n\x1a\n")


def make_run(root: Path) -> Path:
    write_report(root / "replay-1", report())
    write_report(root / "replay-2", report(success=False, model_calls=2, est_model_cost_usd=0.01))
    return root


def test_each_replay_is_a_task_of_the_run(tmp_path: Path) -> None:
    run = folded(OpenAdaptFlowSource(make_run(tmp_path)))
    assert outcomes(run) == {"success": 1, "failure": 1}
    assert (run.benchmark, run.model, run.agent) == ("add-note", "unknown", "openadapt-flow")
    good, bad = run.attempts["replay-1", 1], run.attempts["replay-2", 1]
    assert (good.steps, good.duration_seconds, good.error) == (2, 0.8, None)
    assert bad.error == "step_001: not found"
    assert run.started_at == 1783531800.0


def test_steps_have_their_place_their_screenshot_and_what_they_took(tmp_path: Path) -> None:
    events, _ = drain(OpenAdaptFlowSource(make_run(tmp_path)))
    click, text = [event for event in events if isinstance(event, Step) and event.task_id == "replay-1"]
    assert click.action == {"type": "click", "intent": "click 'Save'", "x": 10.0, "y": 20.0, "rung": "template"}
    assert click.screenshot == "replay-1/steps/step_000_before.png"
    assert (click.env_seconds, text.ts - click.ts) == (0.5, 0.25)
    assert text.action["type"] == "type"


def test_model_calls_are_counted_with_unknown_tokens(tmp_path: Path) -> None:
    events, _ = drain(OpenAdaptFlowSource(make_run(tmp_path)))
    calls = [event for event in events if isinstance(event, LlmCall)]
    assert [(call.requests, call.tokens, call.cost_usd) for call in calls] == [(2, UNKNOWN, 0.01)]


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, "failure"),
        ({"transaction_outcome": "FAILED_PLATFORM"}, "infrastructure_error"),
        ({"transaction_outcome": "CANCELED"}, "interrupted"),
        ({"canceled": True}, "interrupted"),
        ({"transaction_outcome": "HALTED_BEFORE_EFFECT"}, "failure"),
    ],
)
def test_what_is_not_a_success(tmp_path: Path, more: dict[str, Any], outcome: str) -> None:
    write_report(tmp_path, report(success=False, **more))
    events, _ = drain(OpenAdaptFlowSource(tmp_path))
    assert [event.outcome for event in events if isinstance(event, TaskFinished)] == [outcome]


def test_a_folder_with_a_report_is_a_run_of_one_task(tmp_path: Path) -> None:
    run = make_run(tmp_path) / "replay-1"
    assert flow.matches(run, names(run))
    assert list(folded(OpenAdaptFlowSource(run)).attempts) == [("replay-1", 1)]


def test_a_folder_is_a_run_where_most_of_its_folders_are_replays(tmp_path: Path) -> None:
    assert flow.matches(make_run(tmp_path / "runs"), names(tmp_path / "runs"))
    assert not flow.matches(tmp_path, names(tmp_path))
    for name in ("bundle", "notes"):
        write(tmp_path / "runs" / name / "page.html", "")
    assert not flow.matches(tmp_path / "runs", names(tmp_path / "runs"))


def test_reports_of_other_tools_are_none(tmp_path: Path) -> None:
    contents: list[Any] = [{"summary": {}, "tests": []}, {"workflow_name": "x"}, {"django-1": {"resolved": True}}, []]
    for content in contents:
        write(tmp_path / "report.json", json.dumps(content))
        assert not flow.matches(tmp_path, names(tmp_path))
