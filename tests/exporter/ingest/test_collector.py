"""Following folders that change: what is written is seen, what is wrong is counted, what goes away is gone."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalgauge import track_run
from evalgauge_exporter.cli.main import cli
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.state.run import RunState
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import samples, total, value
from tests.exporter.waiting import wait_for


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    (tmp_path / "results").mkdir()
    exporter = exporter_of(tmp_path / "results")
    exporter.start()
    assert exporter.wait_ready(60)
    yield exporter
    exporter.stop()


def run_of(exporter: Exporter, run_id: str) -> RunState:
    wait_for(lambda: run_id in exporter.state.runs)
    return exporter.state.runs[run_id]


def test_a_run_appears_and_grows(exporter: Exporter, tmp_path: Path) -> None:
    with track_run(tmp_path / "results", benchmark="b", model="m", run_id="r", tasks=["a"]) as run:
        seen = run_of(exporter, "r")
        with run.task("a") as task:
            wait_for(lambda: "a" in str(seen.open_attempts))
            task.step(action="click")
            wait_for(lambda: seen.steps.get("click") == 1)
            task.finish(success=True)
    wait_for(lambda: seen.status(time.time(), 600) == "completed")
    assert seen.statuses(time.time(), 600) == {"success": 1}


def test_a_second_process_s_log_is_found(exporter: Exporter, tmp_path: Path) -> None:
    with track_run(tmp_path / "results", benchmark="b", model="m", run_id="r") as run:
        seen = run_of(exporter, "r")
        other = track_run(tmp_path / "results", benchmark="b", model="m", run_id="r")
        with other.task("from-the-other") as task:
            task.finish(success=True)
        wait_for(lambda: ("from-the-other", 1) in seen.attempts)
        other.finish()
        run.finish()


def test_what_is_wrong_in_a_log_is_counted_named_once_and_skipped(
    exporter: Exporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "evalgauge.exporter")
    run = small_run(tmp_path / "results", finish=False)
    log = next((run.folder / "events").glob("*.jsonl"))
    seen = run_of(exporter, "r")
    with log.open("ab") as file:
        file.write(b"garbage\ngarbage\n" + b'{"v":1,"ts":1,"type":"sneeze"}\n{"torn\n')
    run.finish()
    wait_for(lambda: seen.is_finished())
    wait_for(lambda: exporter.state.sources["runlog"].errors.get("torn_line"))  # counted after it was folded
    found = samples(exporter.exposition.render(time.time()).decode())
    assert value(found, "agent_eval_source_errors_total", source="runlog", reason="foreign_line") == 2
    assert value(found, "agent_eval_source_errors_total", source="runlog", reason="unknown_type") == 1
    assert value(found, "agent_eval_source_errors_total", source="runlog", reason="torn_line") == 1
    assert sum("garbage" in record.message for record in caplog.records) == 1
    assert total(found, "agent_eval_run_tasks", status="success") == 2


def test_a_log_that_can_not_be_read_harms_no_other(exporter: Exporter, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "bad" / "events"
    folder.mkdir(parents=True)
    (folder / "w.jsonl").mkdir()
    small_run(tmp_path / "results", "good")
    run_of(exporter, "good")
    wait_for(lambda: exporter.state.sources["runlog"].errors.get("unreadable", 0) > 0)


def test_a_run_that_is_deleted_disappears_and_is_counted(exporter: Exporter, tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", finish=False)
    run_of(exporter, "r")
    small_run(tmp_path / "results", "other")
    run_of(exporter, "other")
    run.folder.rename(tmp_path / "away")  # at once: a folder that is half deleted is found again, and deleted again
    wait_for(lambda: "r" not in exporter.state.runs)
    assert "other" in exporter.state.runs
    assert exporter.state.sources["runlog"].errors["deleted"] == 1
    run.finish()


def test_a_log_that_was_cut_is_read_from_its_beginning(exporter: Exporter, tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", finish=False)
    seen = run_of(exporter, "r")
    wait_for(lambda: len(seen.finish_log) == 3)
    log = next((run.folder / "events").glob("*.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    os.truncate(log, sum(map(len, lines[:6])))
    wait_for(lambda: len(exporter.state.runs["r"].finish_log) == 1)
    assert exporter.state.runs["r"].version > seen.version, "a view that kept the old state is stale"
    run.finish()


def test_a_run_found_empty_takes_its_own_name_once_it_says_it(exporter: Exporter, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "folder" / "events"
    folder.mkdir(parents=True)
    (folder / "w.jsonl").touch()
    small_run(tmp_path / "results", "other")
    run_of(exporter, "other")
    assert "folder" not in exporter.state.runs, "nothing is known of it"
    with (folder / "w.jsonl").open("ab") as file:
        file.write(b'{"v":1,"seq":0,"ts":1.0,"type":"run_started","run_id":"its-own"}\n')
    run_of(exporter, "its-own")
    assert "folder" not in exporter.state.runs


def test_two_served_folders_with_one_run_id_both_appear(tmp_path: Path) -> None:
    for name in ("a", "b"):
        small_run(tmp_path / name, "same")
    exporter = exporter_of(tmp_path / "a", tmp_path / "b")
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert set(exporter.state.runs) == {"same@a", "same@b"}


def test_an_empty_folder_is_ready_and_waits(exporter: Exporter, tmp_path: Path) -> None:
    assert exporter.state.runs == {}
    small_run(tmp_path / "results", "first")
    run_of(exporter, "first")


def test_runs_are_found_three_levels_deep_and_no_deeper(tmp_path: Path) -> None:
    small_run(tmp_path / "1" / "2", "three")
    small_run(tmp_path / "1" / "2" / "3", "four")
    for folder in ("", "1", "1/2", "1/2/3"):  # a level that holds nothing but folders does not count
        (tmp_path / folder / "notes.txt").touch()
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert set(exporter.state.runs) == {"three"}


def test_what_a_writer_could_not_write_is_known(exporter: Exporter, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "r" / "events"
    folder.mkdir(parents=True)
    (folder / "w.jsonl").write_text('{"v":1,"seq":0,"ts":1.0,"type":"heartbeat","lost_events":3}\n')
    run_of(exporter, "r")
    wait_for(lambda: exporter.state.runs["r"].lost_events)
    found = samples(exporter.exposition.render(time.time()).decode())
    assert value(found, "agent_eval_source_errors_total", reason="lost_by_writer") == 3
    assert value(found, "agent_eval_run_lost_events_total", run_id="r") == 3


def test_a_defect_in_the_reading_of_one_run_stops_that_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = RunLogSource.read

    def read(source: RunLogSource, *, full_scan: bool = False) -> ReadResult:
        if source.folder.name == "bad":
            raise ZeroDivisionError("what nobody thought of")
        return reading(source, full_scan=full_scan)

    monkeypatch.setattr(RunLogSource, "read", read)
    for name in ("bad", "good"):
        small_run(tmp_path, name)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    small_run(tmp_path, "later")
    run_of(exporter, "later")
    exporter.stop()
    assert set(exporter.state.runs) == {"good", "later"}
    assert exporter.state.sources["runlog"].errors["defect"] > 0


@pytest.mark.parametrize(
    "line",
    [
        '{"v":1,"seq":9,"ts":2.0,"type":"task_finished","task_id":"x","outcome":"success","score":1%s}' % ("0" * 400),
        '{"v":1,"seq":9,"ts":1%s,"type":"heartbeat"}' % ("0" * 400),
        '{"v":1,"seq":9,"ts":2.0,"type":"task_finished","task_id":"x","outcome":"success","duration_seconds":1e308}',
        '{"v":1,"seq":9,"ts":1795308290124,"type":"heartbeat"}',
        '{"v":2,"seq":9,"ts":2.0,"type":"heartbeat"}',
    ],
    ids=["a score", "a time", "a duration", "milliseconds", "the future"],
)
def test_a_line_of_nonsense_costs_itself_and_nothing_else(exporter: Exporter, tmp_path: Path, line: str) -> None:
    run = small_run(tmp_path / "results", "bad", finish=False)
    with next((run.folder / "events").glob("*.jsonl")).open("a") as file:
        file.write(line + "\n")
    run.finish()
    seen = run_of(exporter, "bad")
    wait_for(seen.is_finished)
    small_run(tmp_path / "results", "good")
    run_of(exporter, "good")
    done = evalgauge_runs(tmp_path / "results")
    assert {row["run_id"] for row in done} == {"good", "bad"}
    found = samples(exporter.exposition.render(time.time()).decode())
    assert value(found, "agent_eval_run_state", run_id="bad", state="completed") == 1


def evalgauge_runs(results: Path) -> list[dict[str, Any]]:
    done = CliRunner().invoke(cli, ["runs", str(results), "--json"], catch_exceptions=False)
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return runs
