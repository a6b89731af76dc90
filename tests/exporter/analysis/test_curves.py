"""Curves that grow with a run, and are the same as if they were computed at its end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evalgauge_exporter.analysis.curves import Curves
from evalgauge_exporter.state.run import RunState
from tests.exporter.state.test_run import event

TASKS = st.sampled_from(["a", "b", "c", "d"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("task_started"), TASKS, st.integers(1, 2), st.sampled_from([None, "x", "y"])),
        st.tuples(st.just("step"), TASKS, st.integers(1, 2), st.sampled_from(["click", "done"])),
        st.tuples(
            st.just("task_finished"), TASKS, st.integers(1, 2), st.sampled_from(["success", "failure", "interrupted"])
        ),
    ),
    max_size=30,
)


def values(curves: Curves) -> tuple[object, ...]:
    domains = {name: (steps.count, steps.total) for name, steps in curves.steps_by_domain.items()}
    means = (curves.steps_to_success.mean, curves.steps_to_failure.mean)
    return curves.rates, curves.mean_steps, domains, means


@settings(max_examples=200)
@given(EVENTS, st.sets(st.integers(0, 30)), st.booleans())
def test_curves_that_grow_are_those_of_the_end(
    told: list[tuple[str, str, int, str | None]], looks: set[int], two_writers: bool
) -> None:
    run, curves = RunState("r", "runlog"), Curves()
    for number, (kind, task, attempt, what) in enumerate(told):
        ids = {"task_id": task, "attempt": attempt}
        writer = "v" if two_writers and number % 3 == 0 else "w"
        ts = 1000 - number % 2 + number
        if kind == "task_started":
            run.apply(event(kind, ts, writer, **ids, domain=what))
        elif kind == "step":
            run.apply(event(kind, ts, writer, **ids, action=what))
        else:
            run.apply(event(kind, ts, writer, **ids, outcome=what, steps=number % 5 or None))
        if number in looks:
            curves.update(run)
    curves.update(run)
    whole = Curves()
    whole.update(run)
    assert values(curves) == values(whole)
    assert len(curves.rates) == sum(attempt.measured for attempt in run.attempts.values())


def test_an_attempt_that_ends_last_is_added_and_nothing_is_computed_again() -> None:
    run, curves = RunState("r", "runlog"), Curves()
    for number in range(5):
        run.apply(event("task_finished", number, task_id=f"t{number}", outcome="success", steps=number))
    curves.update(run)
    kept = curves.rates
    run.apply(event("task_finished", 6, task_id="last", outcome="failure", steps=1))
    curves.update(run)
    assert curves.rates is kept
    assert kept[-1] == 5 / 6
