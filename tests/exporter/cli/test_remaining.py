"""``evalgauge remaining`` and ``evalgauge schema``: for runners that resume, and runners in other languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from evalgauge import track_run
from evalgauge.events import decode
from evalgauge_exporter.cli.schema import runlog_schema
from evalgauge_exporter.demo.player import write_finished_run
from evalgauge_exporter.demo.scenario import plan
from tests.exporter.cli.invoking import evalgauge
from tests.exporter.runs import small_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", tasks=["a", "b", "c", "d"], attempts=2) as run:
        for name in "ab":
            run.task(name, attempt=1).finish(success=True)
        run.task("a", attempt=2).finish(outcome="infrastructure_error")
        run.task("c", attempt=1)
    return tmp_path


def test_each_attempt_that_is_left_is_a_line(results: Path) -> None:
    done = evalgauge("remaining", results, "r")
    assert done.stdout.splitlines() == ["b\t2", "c\t1", "c\t2", "d\t1", "d\t2"]
    assert evalgauge("remaining", results / "r", "--errored").stdout.splitlines()[0] == "a\t2"


def test_json_has_the_status_of_each(results: Path) -> None:
    body = json.loads(evalgauge("remaining", results / "r", "--json").stdout)
    statuses = {(row["task_id"], row["attempt"]): row["status"] for row in body["remaining"]}
    assert statuses[("c", 1)] == "interrupted"
    assert statuses[("d", 1)] == "pending"
    assert (body["run_id"], body["unnamed"]) == ("r", 0)


def test_tasks_without_an_id_are_counted(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", tasks=5) as run:
        run.task("a").finish(success=True)
    done = evalgauge("remaining", tmp_path)
    assert done.stdout == ""
    assert "4 more tasks planned without an id" in done.stderr


def test_a_run_of_another_format_has_remaining_tasks_too(tmp_path: Path) -> None:
    assert evalgauge("remaining", ROOT / "tests" / "data" / "inspect-0.3.285" / "tools.eval").returncode == 0


VALIDATOR = Draft202012Validator(runlog_schema())


def lines(*folders: Path) -> list[dict[str, Any]]:
    paths = [path for folder in folders for path in folder.rglob("events/*.jsonl")]
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def test_every_line_that_the_tracker_and_the_demo_write_fits_the_schema(tmp_path: Path, results: Path) -> None:
    small_run(tmp_path / "more", "small", outcomes="sfaie")
    write_finished_run(tmp_path / "demo", "demo", plan(20), model="m", speed=60, ended_at=1e9)
    written = lines(tmp_path, results, tmp_path / "demo")
    assert {line["type"] for line in written} >= {"run_started", "task_started", "step", "llm_call", "task_finished"}
    for line in written:
        assert not list(VALIDATOR.iter_errors(line)), line


def test_every_log_of_the_tests_fits_the_schema() -> None:
    written = lines(ROOT / "tests" / "data")
    for line in written:
        assert not list(VALIDATOR.iter_errors(line)), line


@pytest.mark.parametrize(
    "line",
    [
        {"type": "step", "task_id": "t"},
        {"v": 1, "seq": 1, "ts": 1.0, "type": "step"},
        {"v": 2, "seq": 1, "ts": 1.0, "type": "heartbeat"},
        {"v": 1, "seq": 1, "ts": 1.0, "type": "task_finished", "task_id": "t", "outcome": "won"},
        {"v": 1, "seq": 1, "ts": "now", "type": "heartbeat"},
        {"v": 1, "seq": 1, "ts": 1.0, "type": "party"},
    ],
)
def test_a_line_that_is_no_event_does_not_fit(line: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(line))


def test_the_command_prints_the_schema_and_what_fits_is_read() -> None:
    schema = json.loads(evalgauge("schema", "runlog").stdout)
    assert schema == json.loads(json.dumps(runlog_schema()))
    Draft202012Validator.check_schema(schema)
    line = {"v": 1, "seq": 1, "ts": 1.0, "type": "run_started", "run_id": "r", "tasks": 3}
    assert not list(VALIDATOR.iter_errors(line))
    assert decode(line, "w").seq == 1
