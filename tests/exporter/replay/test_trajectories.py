"""The fold of steps and calls beside the state."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from evalgauge.events import LlmCall, Step, decode
from evalgauge.pricing import Price
from evalgauge_exporter.replay.trajectories import DEEPEST, Trajectories, Trajectory
from evalgauge_exporter.state.run import RunState
from tests.exporter.replay.factories import call, step, task


def a_cent(_: LlmCall) -> Price:
    return Price("priced", Decimal("0.01"), "test")


def folded(*logs: tuple[str, list[dict[str, Any]]], start: float = 100.0) -> Trajectories:
    """Each log is read as a whole, one event a second unless it says its own time."""
    state = RunState("r", "runlog", a_cent)
    trajectories = Trajectories(state, a_cent)
    for writer, lines in logs:
        for seq, line in enumerate(lines):
            event = decode({"v": 1, "seq": seq, "ts": start + seq, **line}, writer)
            state.apply(event)
            trajectories.apply(event)
    return trajectories


def test_calls_belong_to_the_step_that_they_decided() -> None:
    lines = task("t", "success", [call(), call(status="retry"), step(0, "click"), call(), step(1, "done"), call()])
    found = folded(("w", lines)).pop("t", 1)
    assert [len(one.get("calls", [])) for one in found.steps] == [2, 1]
    assert [one["status"] for one in found.steps[0]["calls"]] == ["ok", "retry"]
    assert len(found.calls) == 1


def test_a_call_with_the_time_of_the_step_belongs_to_the_step() -> None:
    lines = task("t", "success", [{**step(0, "click"), "ts": 7.5}, {**call(), "ts": 7.5}, {**step(1, "done"), "ts": 9}])
    found = folded(("w", lines)).pop("t", 1)
    assert [len(one.get("calls", [])) for one in found.steps] == [1, 0]
    assert found.steps[0]["calls"][0]["usd"] == 0.01


def test_steps_are_in_the_order_of_their_numbers() -> None:
    lines = task("t", "success", [step(2, "done"), step(0, "click"), step(1, "type")])
    assert [one["step_idx"] for one in folded(("w", lines)).pop("t", 1).steps] == [0, 1, 2]


def test_an_attempt_that_began_anew_has_only_its_new_steps() -> None:
    first = task("t", "running", [step(0, "click"), step(1, "type")])
    again = [{**line, "ts": 500 + n} for n, line in enumerate(task("t", "success", [step(0, "scroll")]))]
    for logs in ([("a", first), ("b", again)], [("b", again), ("a", first)]):
        steps = folded(*logs).pop("t", 1).steps
        assert [one["action"]["type"] for one in steps] == ["scroll"]


def test_what_comes_after_the_end_is_not_lost() -> None:
    lines = [*task("t", "success", [step(0, "click")]), {**step(1, "done"), "task_id": "t"}]
    assert [one["step_idx"] for one in folded(("w", lines)).pop("t", 1).steps] == [0, 1]


def test_a_packed_trajectory_is_the_same_again() -> None:
    trajectory = Trajectory()
    for line in task("t", "running", [step(0, {"type": "type", "text": "é\ud83d"}, reasoning="x", think_seconds=1.5)]):
        event = decode({"v": 1, "seq": 0, "ts": 1.0, **line}, "w")
        if isinstance(event, Step):
            trajectory.add_step(event)
    trajectory.pack()
    assert trajectory.steps == []
    trajectory.unpack()
    assert trajectory.steps[0]["action"]["text"].startswith("é")
    assert trajectory.steps[0]["think_seconds"] == 1.5


def test_no_text_is_cut() -> None:
    lines = task("t", "success", [step(0, {"type": "type", "text": "x" * 3_000_000}, reasoning="y" * 3_000_000)])
    found = folded(("w", lines)).pop("t", 1).steps[0]
    assert len(found["action"]["text"]) == len(found["reasoning"]) == 3_000_000


def test_an_action_that_nests_without_end_is_cut() -> None:
    action: dict[str, Any] = {"type": "click"}
    for _ in range(2 * DEEPEST):
        action = {"type": "click", "inner": action}
    found = folded(("w", task("t", "success", [step(0, action)]))).pop("t", 1).steps[0]["action"]
    assert str(found).count("inner") == DEEPEST + 1


def test_messages_observations_and_results_are_part_of_an_attempt() -> None:
    said = {"type": "message", "role": "system", "text": "You are an agent."}
    lines = task("t", "failure", [said, step(0, "bash", observation="total 0")], scores={"exact": 0.0}, answer="41")
    found = folded(("w", lines)).pop("t", 1)
    assert [tuple(message)[1:] for message in found.messages] == [("system", "You are an agent.")]
    assert found.steps[0]["observation"] == "total 0"
    assert found.result == {"answer": "41", "scores": {"exact": 0.0}}


def test_log_lines_have_their_time_and_level() -> None:
    line = {"type": "log", "level": "ERROR", "message": "the window is gone"}
    found = folded(("w", task("t", "success", [step(0, "click"), line]))).pop("t", 1)
    assert [tuple(line) for line in found.lines] == [(102.0, "error", "the window is gone")]
