"""Comparisons in a replay site: those of the exporter."""

import pytest

from evalgauge.events import Event, decode
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.replay.comparisons import compare_runs, prepare_run
from evalgauge_exporter.state.run import RunState, State, fold

STALL = 600.0


def run_of(run_id: str, finished_at: float, failures_at: float | None) -> RunState:
    """A run of 40 tasks that began at once: 20 end as successes, the others as failures, or run on."""
    plan = [{"task_id": f"t{number}"} for number in range(40)]
    events: list[tuple[str, float, dict[str, object]]] = [("run_started", 1000.0, {"benchmark": "b", "tasks": plan})]
    events += [("task_started", 1001.0, {"task_id": f"t{number}"}) for number in range(40)]
    for number in range(40):
        at = finished_at if number < 20 else failures_at
        if at is not None:
            outcome = "success" if number < 20 else "failure"
            fields: dict[str, object] = {"task_id": f"t{number}", "outcome": outcome, "duration_seconds": at - 1001.0}
            events.append(("task_finished", at, fields))
    if failures_at is not None:
        events.append(("run_finished", failures_at + 1, {}))
    read: list[Event] = [
        decode({"v": 1, "seq": seq, "ts": ts, "type": kind, **fields}, "w")
        for seq, (kind, ts, fields) in enumerate(events)
    ]
    return fold(run_id, "runlog", read)


def test_slow_failures_that_are_still_running_are_compared_as_the_exporter_does() -> None:
    before, running = run_of("before", 1300.0, 2800.0), run_of("running", 1300.0, None)
    now = 1360.0
    state = State()
    state.runs = {"before": before, "running": running}
    expected = RunAnalysis(state, stall_after=STALL).compare(before, running, now)
    compared = {(one["a"], one["b"]): one for one in compare_runs([prepare_run(run, now) for run in (before, running)])}
    found = compared["before", "running"]
    assert found["p_value"] == expected.anytime_p_value
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((expected.ci_low, expected.ci_high))
    assert expected.expected_delta is not None
    assert expected.ci_high is not None
    assert expected.ci_high > 0
