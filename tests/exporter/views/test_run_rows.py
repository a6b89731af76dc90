"""Rows of a list of runs: rendered once for each change, and current all the same."""

import json

from evalgauge_exporter.state.run import RunState, fold
from evalgauge_exporter.views.run_rows import RunRows
from evalgauge_exporter.views.snapshot import render_listed_run
from tests.exporter.analysis.test_run_analysis import analysis_of
from tests.exporter.state.test_run import event


def test_a_row_is_rendered_once_for_each_change_with_the_time_that_has_passed() -> None:
    hostile = 'x","elapsed_seconds":null,"y'
    runs = [
        fold(name, "runlog", [event("task_started", at, task_id="a")]) for name, at in ((hostile, 1000), ("s", 900))
    ]
    analysis = analysis_of(*runs)
    rendered: list[str] = []

    def render(run: RunState, now: float) -> bytes:
        rendered.append(run.run_id)
        return render_listed_run(run, analysis, now)

    rows = RunRows(analysis, render)
    for now in (1010.0, 1020.0):
        found = [json.loads(row) for row in rows.render(now)]
        assert [(row["run_id"], row["elapsed_seconds"]) for row in found] == [(hostile, now - 1000), ("s", now - 900)]
    assert rendered == [hostile, "s"]
    runs[1].apply(event("task_finished", 1025, task_id="a", outcome="success"))
    newest, changed = (json.loads(row) for row in rows.render(1030.0))
    assert rendered == [hostile, "s", "s"]
    assert changed["finished_tasks"] == 1
    assert newest["elapsed_seconds"] == 30
    assert [json.loads(row)["run_id"] for row in rows.render(1030.0, runs[1])] == ["s"]


def test_a_run_that_became_stalled_is_listed_as_stalled() -> None:
    run = fold("r", "runlog", [event("task_started", 1000, task_id="a")])
    analysis = analysis_of(run)
    rows = RunRows(analysis, lambda run, now: render_listed_run(run, analysis, now))
    assert [json.loads(rows.render(now)[0])["state"] for now in (1600.0, 1601.0)] == ["running", "stalled"]
