"""The points of a run's curves, as objects and as JSON that grows with the run."""

import msgspec
import pytest

from evalgauge.events import Event, Outcome, TaskFinished
from evalgauge_exporter.analysis.curves import Curves
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.curve_points import CurveText, curve_points


def finished(number: int, ts: float, steps: int | None) -> Event:
    outcome: Outcome = "failure" if number % 3 else "success"
    return TaskFinished(ts=ts, seq=number, writer="w", task_id=f"t{number}", outcome=outcome, steps=steps)


@pytest.mark.parametrize("points", [2, 5, 8, 100])
@pytest.mark.parametrize("known_from", [0, 7, 1000])
def test_the_text_that_grows_is_that_of_all_points(points: int, known_from: int) -> None:
    run, curves, text = RunState("r", "runlog"), Curves(), CurveText(points)
    for number in range(40):
        if number != 20:
            run.apply(finished(number, 100.0 + number, number if number >= known_from else None))
        else:  # it ended before the others: the curves are computed anew
            run.apply(finished(number, 50.0, 3))
        if number % 7 != 5:  # several are new at once
            curves.update(run)
            expected = tuple(map(msgspec.json.encode, curve_points(curves, points)))
            assert tuple(map(bytes, text.render(curves))) == expected
            assert tuple(map(bytes, text.render(curves))) == expected


def test_a_run_without_attempts_has_no_points() -> None:
    curves = Curves()
    curves.update(RunState("r", "runlog"))
    assert curve_points(curves, 2) == ([], [])
    assert tuple(map(bytes, CurveText(2).render(curves))) == (b"[]", b"[]")
