"""The hook that Inspect finds by its entry point, in a real Inspect evaluation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import Message, Step, TaskFinished
from evalgauge.runlog import read_events
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import drain

SCRIPT = Path(__file__).with_name("inspect_eval.py")


def evaluated(folder: Path, **environment: str) -> dict[str, Any]:
    """Inspect's own summary of the evaluation."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "logs")],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Where the evaluation was run, and Inspect's own summary of it."""
    folder = tmp_path_factory.mktemp("evaluation")
    return folder, evaluated(folder)


def test_installing_evalgauge_is_enough(evaluation: tuple[Path, dict[str, Any]]) -> None:
    where, summary = evaluation
    (folder,) = (where / "results").iterdir()
    run = fold(folder.name, "runlog", read_events(folder))
    now = run.last_event_at
    assert (run.benchmark, run.model) == ("words", "model")
    assert run.status(now, 600) == "completed"
    statuses = run.statuses(now, 600)
    assert sum(statuses.values()) == summary["samples"] == 10
    assert statuses["success"] / 6 == summary["accuracy"]
    assert (statuses["infrastructure_error"], statuses["interrupted"]) == (2, 2)
    usage = run.usage["mockllm", "model"]
    assert usage.tokens == [summary["input"], summary["cache_read"], 0, summary["output"]]
    assert usage.requests["ok"] == 12
    assert run.steps == {"press": 6, "message": 6}
    assert {attempt.domain for attempt in run.attempts.values()} == {"words", "unknown"}


def test_the_hook_records_the_same_as_inspects_own_log(evaluation: tuple[Path, dict[str, Any]]) -> None:
    (recorded,) = (evaluation[0] / "results").iterdir()
    (log,) = (evaluation[0] / "logs").iterdir()
    recorded_events = list(read_events(recorded))
    read, _ = drain(InspectLogSource(log))
    ours, theirs = fold("r", "runlog", recorded_events), fold("r", "inspect", read)
    for run in (ours, theirs):
        assert (run.benchmark, run.model, run.attempts_planned) == ("words", "model", 2)
    assert ours.steps == theirs.steps
    assert {key: _said(attempt) for key, attempt in ours.attempts.items()} == {
        key: _said(attempt) for key, attempt in theirs.attempts.items()
    }
    assert {who: (usage.tokens, usage.requests) for who, usage in ours.usage.items()} == {
        who: (usage.tokens, usage.requests) for who, usage in theirs.usage.items()
    }
    steps = [[event for event in events if isinstance(event, Step)] for events in (recorded_events, read)]
    for mine, of_inspect in zip(*(sorted(each, key=_place) for each in steps), strict=True):
        assert (mine.action, mine.reasoning) == (of_inspect.action, of_inspect.reasoning)
        assert (mine.screenshot is None) == (of_inspect.screenshot is None) == (mine.action_type == "press")


def test_messages_tool_results_and_scores_are_recorded(evaluation: tuple[Path, dict[str, Any]]) -> None:
    (recorded,) = (evaluation[0] / "results").iterdir()
    events = list(read_events(recorded))
    told = {(event.task_id, event.role, event.text) for event in events if isinstance(event, Message)}
    assert ("s0", "user", "Say yes.") in told
    presses = [event for event in events if isinstance(event, Step) and event.action_type == "press"]
    assert {step.observation for step in presses} == {"pressed Enter"}
    ends = [event for event in events if isinstance(event, TaskFinished) and event.outcome in ("success", "failure")]
    assert {end.target for end in ends} == {"yes"}
    assert {(end.answer, end.score) for end in ends} == {("yes", 1.0), ("no", 0.0)}
    assert all(end.scores == {"match": end.score} for end in ends)


def _said(attempt: Attempt) -> tuple[object, ...]:
    steps = attempt.steps or None  # of a sample that broke at once the log does not state that there were none
    return attempt.status, attempt.score, steps, attempt.domain, attempt.instruction, attempt.error


def _place(step: Step) -> tuple[str, int, int]:
    return step.task_id, step.attempt, step.step_idx


def test_the_results_folder_is_configurable_and_off_records_nothing(tmp_path: Path) -> None:
    evaluated(tmp_path, EVALGAUGE_RESULTS=str(tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    evaluated(tmp_path, EVALGAUGE_RESULTS="off")
    assert not (tmp_path / "results").exists()


def test_importing_the_package_imports_nothing_of_inspect() -> None:
    code = (
        "import sys, evalgauge.integrations.inspect.outcomes\n"
        "sys.exit(any(name.partition('.')[0] == 'inspect_ai' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
