"""The fold: what events come to, in whatever order the logs of several writers are read."""

import itertools
import pickle
import random
import tempfile
from collections.abc import Iterator, Sized
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalgauge import track_run
from evalgauge.events import Event, decode
from evalgauge.metrics import OUTCOMES
from evalgauge.pricing import PriceTable
from evalgauge.runlog import LogReader, log_files
from evalgauge_exporter.state.models import NEW_RECORD, WRITER_FIELDS, Attempt, EventTime, Usage
from evalgauge_exporter.state.names import ExposedNames
from evalgauge_exporter.state.run import RunState, fold

NOW, STALL = 10_000.0, 600.0
_seq = itertools.count()


def event(kind: str, ts: float, writer: str = "w", **fields: Any) -> Event:
    return decode({"v": 1, "seq": next(_seq), "ts": ts, "type": kind, **fields}, writer)


def folded(*events: Event) -> RunState:
    return fold("r", "runlog", events)


def test_planned_tasks_are_pending_until_they_start() -> None:
    run = folded(event("run_started", 1, tasks=[{"task_id": "a", "domain": "x"}, "b"], attempts=2))
    assert run.task_counts(2, STALL) == {("x", "pending"): 2, ("unknown", "pending"): 2}
    run.apply(event("task_started", 2, task_id="a", attempt=2))
    assert run.task_counts(3, STALL) == {("x", "pending"): 1, ("x", "running"): 1, ("unknown", "pending"): 2}
    run.apply(event("task_finished", 3, task_id="a", attempt=2, outcome="failure"))
    assert run.statuses(3, STALL) == {"pending": 3, "failure": 1}


def test_tasks_known_only_by_their_number_are_pending_in_domain_unknown() -> None:
    run = folded(event("run_started", 1, tasks=5), event("task_started", 2, task_id="a", domain="x"))
    assert run.task_counts(3, STALL) == {("unknown", "pending"): 4, ("x", "running"): 1}
    assert run.total == 5


def test_a_silent_run_is_stalled_until_it_speaks_again() -> None:
    run = folded(event("run_started", 1), event("task_started", 100, task_id="a", worker_id="v"))
    assert run.status(700, STALL) == "running"
    assert run.status(701, STALL) == "stalled"
    assert run.statuses(701, STALL) == {"interrupted": 1}
    assert run.worker_state(run.workers["v"], 701, STALL) == "lost"
    run.apply(event("heartbeat", 800))
    assert run.status(900, STALL) == "running"
    assert run.statuses(900, STALL) == {"running": 1}
    assert run.worker_state(run.workers["v"], 900, STALL) == "busy"


def test_a_run_that_cannot_be_read_does_not_fall_silent_and_one_that_was_silent_stays_so() -> None:
    run = folded(event("run_started", 1), event("task_started", 100, task_id="a", worker_id="v"))
    run.unreadable_since = 700
    assert run.status(5000, STALL) == "running"
    assert run.worker_state(run.workers["v"], 5000, STALL) == "busy"
    run.unreadable_since = 701
    assert run.status(5000, STALL) == "stalled"
    run.unreadable_since = 50
    assert run.status(5000, STALL) == "stalled", "something of it was read after that: a part of it is unreadable"


def test_the_tasks_of_a_dead_process_are_interrupted_while_others_go_on() -> None:
    run = folded(
        event("run_started", 1),
        event("task_started", 2, "p1", task_id="a", worker_id="v1"),
        event("task_started", 2, "p2", task_id="b", worker_id="v2"),
        event("heartbeat", 900, "p2"),
    )
    assert run.status(901, STALL) == "running"
    assert run.statuses(901, STALL) == {"interrupted": 1, "running": 1}
    assert [run.worker_state(worker, 901, STALL) for worker in run.workers.values()] == ["lost", "busy"]


def test_a_run_that_is_over_leaves_no_task_running_and_no_worker_busy() -> None:
    run = folded(
        event("task_started", 1, "p1", task_id="a", worker_id="v"),
        event("run_finished", 5, "p2", status="aborted"),
    )
    assert run.status(6, STALL) == "aborted"
    assert run.ended_at == 5
    assert run.statuses(6, STALL) == {"interrupted": 1}
    assert run.worker_state(run.workers["v"], 6, STALL) == "stopped"


def test_a_run_that_is_resumed_is_running() -> None:
    run = folded(
        event("run_started", 1, "p1"),
        event("run_finished", 5, "p1"),
        event("run_started", 9, "p2", model="m"),
        event("task_started", 10, "p2", task_id="a"),
    )
    assert run.status(11, STALL) == "running"
    assert run.ended_at is None
    assert run.started_at == 1


def test_a_process_that_joins_with_its_clock_ahead_does_not_reopen_a_finished_run() -> None:
    run = folded(
        event("run_started", 1, "p1"),
        event("run_finished", 50, "p1"),
        event("run_started", 300, "p2"),
        event("heartbeat", 310, "p2"),
    )
    assert run.status(320, STALL) == "completed"
    assert run.ended_at == 50


def test_a_result_is_not_hidden_by_the_start_of_a_writer_whose_clock_is_ahead() -> None:
    ahead = event("task_started", 610, "p2", task_id="a", worker_id="v2")
    redone = (
        event("task_started", 500, "p1", seq=1, task_id="a", worker_id="v1"),
        event("task_finished", 560, "p1", seq=2, task_id="a", worker_id="v1", outcome="success", score=1.0),
    )
    for run in (folded(ahead, *redone), folded(*redone, ahead), folded(redone[0], ahead, redone[1])):
        assert run.statuses(620, STALL) == {"success": 1}
        assert not run.open_attempts
        assert run.tallies.shares == {"unknown": {(1, 1, 1): 1}}


def test_an_unmeasured_result_is_replaced_by_the_retry_of_another_writer() -> None:
    run = folded(
        event("task_started", 1, "p1", task_id="a"),
        event("task_finished", 5, "p1", task_id="a", outcome="infrastructure_error"),
        event("task_started", 9, "p2", task_id="a"),
    )
    assert run.statuses(10, STALL) == {"running": 1}
    assert run.retries == 1


def test_attempts_may_be_numbered_from_zero() -> None:
    plan = event("run_started", 0, tasks=["a", "b"], attempts=2)
    finished = [event("task_finished", 5, task_id="a", attempt=n, outcome="success") for n in (0, 1)]
    for run in (folded(plan, *finished), folded(*finished, plan), folded(finished[1], plan, finished[0])):
        assert run.statuses(6, STALL) == {"success": 2, "pending": 2}
        assert sorted(run.attempts) == [("a", 0), ("a", 1), ("b", 0)], "what has not started is only counted"
        assert run.total == 4


def test_the_sums_over_tasks_are_those_of_the_attempts() -> None:
    run = folded(
        event("task_finished", 1, task_id="a", domain="d", attempt=1, outcome="success", score=1.0),
        event("task_finished", 2, task_id="a", attempt=2, outcome="failure", score=0.5),
        event("task_finished", 3, task_id="b", outcome="interrupted"),
    )
    assert run.tallies.shares == {"unknown": {(1, 2, 2): 1, (0, 0, 1): 1}}
    assert run.tallies.scores == {"unknown": (1, 2, 750_000_000, 750_000_000**2)}
    assert run.tallies.without_tasks().shares == run.tallies.shares


def test_an_attempt_that_is_tried_again_counts_once_and_its_worker_twice() -> None:
    run = folded(
        event("task_started", 1, task_id="a", worker_id="v"),
        event("task_finished", 11, task_id="a", worker_id="v", outcome="infrastructure_error", duration_seconds=10),
        event("task_started", 20, task_id="a", worker_id="v"),
        event("task_finished", 25, task_id="a", worker_id="v", outcome="success", duration_seconds=5),
    )
    assert run.statuses(30, STALL) == {"success": 1}
    assert run.retries == 1
    assert list(run.attempts["a", 1].earlier_results) == [(11, "infrastructure_error", None)]
    assert run.workers["v"].tasks_completed == 2
    (durations,) = run.durations.values()
    assert list(durations.cumulative())[-1] == ("+Inf", 2)
    assert durations.micros == 15_000_000


def test_a_start_leaves_nothing_of_the_record_before_but_the_earlier_results() -> None:
    attempt = Attempt("a", 1, None, None)
    attempt.set_record(dict.fromkeys(WRITER_FIELDS, "old"))
    stamp = EventTime(5.0, "w", 1)
    attempt.start(stamp, "v")
    begun = {"status": "running", "stamp": stamp, "started_at": 5.0, "writer": "w", "worker_id": "v"}
    assert attempt.take_record() == NEW_RECORD | begun | {"earlier_results": "old"}


def test_a_workers_time_is_busy_with_a_task_and_idle_between() -> None:
    run = folded(
        event("worker_state", 0, worker_id="v", state="starting", vm="vm-1", hourly_rate_usd=0.5),
        event("worker_state", 10, worker_id="v", state="idle"),
        event("task_started", 15, task_id="a", worker_id="v"),
        event("step", 20, task_id="a", worker_id="v"),
        event("task_finished", 35, task_id="a", worker_id="v", outcome="success"),
        event("heartbeat", 40, worker_id="v"),
        event("worker_state", 50, worker_id="v", state="stopped"),
        event("heartbeat", 90, worker_id="v"),
    )
    worker = run.workers["v"]
    assert (worker.busy_seconds, worker.idle_seconds) == (20, 20)
    assert (worker.vm, worker.rate, worker.state) == ("vm-1", 0.5, "stopped")


def test_a_clock_that_jumps_back_takes_no_time_away() -> None:
    run = folded(
        event("task_started", 1000, task_id="a", worker_id="v"),
        event("step", 1010, task_id="a", worker_id="v"),
        event("step", 10, task_id="a", worker_id="v"),
        event("task_finished", 20, task_id="a", worker_id="v", outcome="success"),
    )
    assert run.workers["v"].busy_seconds == 10
    assert run.statuses(1020, STALL) == {"success": 1}


def test_steps_are_what_the_runner_reports_else_what_was_recorded_without_the_terminal_one() -> None:
    steps = [event("step", n, task_id="a", action={"type": kind}) for n, kind in enumerate(("click", "type", "done"))]
    run = folded(event("task_started", 0, task_id="a"), *steps)
    assert run.attempts["a", 1].steps == 2
    run.apply(event("task_finished", 9, task_id="a", outcome="success"))
    assert run.attempts["a", 1].steps == 2
    run.apply(event("task_finished", 10, task_id="a", outcome="success", steps=7))
    assert run.attempts["a", 1].steps == 7
    assert run.steps == {"click": 1, "type": 1, "done": 1}


def test_too_many_action_types_are_counted_as_other() -> None:
    run = folded(*(event("step", n, task_id="a", action={"type": f"a{n}"}) for n in range(1100)))
    assert run.steps["other"] == 100
    assert sum(run.steps.values()) == 1100


def test_planned_attempts_are_counted_and_not_built() -> None:
    tasks = [{"task_id": f"t{n}", "domain": "d" if n % 2 else "e"} for n in range(1000)]
    run = folded(
        event("run_started", 0, tasks=tasks, attempts=1000),
        event("task_started", 1, task_id="t1", attempt=7),
        event("task_finished", 2, task_id="t1", attempt=7, outcome="success"),
    )
    assert run.total == 1_000_000
    assert run.loaded_attempts == 1001
    assert run.task_counts(3, STALL) == {("e", "pending"): 500_000, ("d", "pending"): 499_999, ("d", "success"): 1}
    again = folded(
        event("task_started", 1, task_id="t1", attempt=7),
        event("task_finished", 2, task_id="t1", attempt=7, outcome="success"),
        event("run_started", 0, tasks=tasks, attempts=1000),
    )
    assert again.task_counts(3, STALL) == run.task_counts(3, STALL)
    many = folded(event("run_started", 0, tasks=[f"t{n}" for n in range(100_010)]))
    assert (many.total, many.loaded_attempts) == (100_010, 100_000)


def test_a_task_that_gets_its_domain_later_takes_its_planned_attempts_with_it() -> None:
    run = folded(
        event("run_started", 0, tasks=["a"], attempts=3),
        event("task_started", 1, task_id="a", domain="desk"),
        event("run_started", 2, attempts=5),
    )
    assert run.task_counts(3, STALL) == {("desk", "running"): 1, ("desk", "pending"): 4}


@given(st.permutations(range(60)), st.integers(1, 50))
def test_which_names_are_exposed_does_not_depend_on_the_order_of_reading(order: list[int], most: int) -> None:
    names = ExposedNames(1000)
    for number in order:
        names.see(f"n{number}", 100.0 + number // 2)
    assert (
        list(names.choose(most))
        == [f"n{number}" for number in sorted(range(60), key=lambda n: (n // 2, f"n{n}"))][:most]
    )


def test_a_name_that_was_exposed_stays_exposed() -> None:
    names = ExposedNames(3)
    assert names.see("late", 9.0)
    assert list(names.choose(1)) == ["late"]
    assert names.see("early", 1.0)
    assert list(names.choose(1)) == ["late"]
    assert names.overflows()
    again = names.copy()
    assert list(again.choose(2)) == ["late", "early"]
    full = ExposedNames(1)
    full.adopt(["known"])
    assert full.see("a", 1.0)
    assert full.see("known", 2.0), "a name that was exposed is told apart, however many there are"
    assert not full.see("b", 1.0)


def test_calls_without_tokens_are_unknown_usage_and_not_nothing() -> None:
    run = folded(
        event("llm_call", 1, provider="p", model="m", input_tokens=5, cache_read_tokens=2, output_tokens=1),
        event("llm_call", 2, provider="p", model="m", status="error"),
        event("llm_call", 3, task_id="a", provider="p", model="m", status="retry", input_tokens=1, output_tokens=0),
    )
    usage = run.usage["p", "m"]
    assert usage.tokens == [6, 2, 0, 1]
    assert usage.requests == {"ok": 1, "error": 1, "retry": 1}
    assert (usage.unknown, usage.unpriced) == (1, 2)
    assert run.attempts["a", 1].tokens == [1, None, None, 0]


# -- whatever is called, and wherever it is cut

calls = st.lists(
    st.tuples(
        st.sampled_from(["task", "step", "llm", "log", "finish", "worker"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([*OUTCOMES, ""]),
        st.sampled_from(["click", "type", "done", "error"]),
    ),
    max_size=40,
)


def played(folder: Path, made: list[tuple[str, str, str, str]]) -> Path:
    with track_run(folder, benchmark="b", model="m", run_id="r", tasks=["a", "b"], fsync="never") as run:
        tasks: dict[str, Any] = {}
        for call, task_id, outcome, action in made:
            task = tasks.get(task_id)
            if call == "task" or task is None:
                tasks[task_id] = run.task(task_id, worker=f"w-{task_id}", domain="d")
            elif call == "step":
                task.step(action={"type": action})
            elif call == "llm":
                task.llm_call(provider="p", model="m", input_tokens=3, output_tokens=1)
            elif call == "log":
                task.log(outcome, level=action)
            elif call == "worker":
                run.worker(f"w-{task_id}", "idle")
            else:
                task.finish(outcome=outcome or None, success=True)
    return log_files(folder / "r")[0]


@given(calls, st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_log_cut_at_any_byte_folds_to_every_whole_line(made: list[tuple[str, str, str, str]], share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = played(Path(folder), made)
        whole = path.read_bytes()
        cut = round(share * len(whole))
        path.write_bytes(whole[:cut])
        events, problems, _ = LogReader(path).read()
        assert problems == []
        assert len(events) == whole[:cut].count(b"\n")
        run = fold("r", "runlog", events)
        assert sum(run.statuses(NOW, STALL).values()) == run.total
        assert sum(run.steps.values()) == sum(1 for e in events if type(e).__name__ == "Step")
        assert sum(run.counts.values()) == len(run.attempts)
        assert {key for key, a in run.attempts.items() if a.status == "running"} == set(run.open_attempts)


def interleavings(logs: list[list[Event]], chance: random.Random) -> Iterator[Event]:
    rest = [list(reversed(log)) for log in logs]
    while any(rest):
        yield chance.choice([log for log in rest if log]).pop()


def counted(run: RunState) -> dict[str, Any]:
    return {
        "statuses": run.task_counts(NOW, STALL),
        "steps": run.steps,
        "durations": {domain: found for domain, found in run.durations.items() if sum(found.counts)},
        "usage": {key: (u.tokens, u.requests, u.unknown, u.unpriced) for key, u in run.usage.items()},
        "workers": {
            name: (worker.busy_seconds, worker.idle_seconds, worker.outcomes, worker.last_seen)
            for name, worker in run.workers.items()
        },
        "status": run.status(NOW, STALL),
        "seen": (run.started_at, run.last_event_at, run.last_progress_at),
        "tallies": (run.tallies.shares, {name: sums for name, sums in run.tallies.scores.items() if sums.tasks}),
        "retries": run.retries,
    }


QUIET = ["worker_state", "heartbeat", "log"]
DOMAINS = st.sampled_from([None, "a", "b"])


@st.composite
def logs(draw: st.DrawFn) -> list[list[Event]]:
    """Logs of several writers, each with tasks of its own and one that all try, on clocks that are shared."""
    made: list[list[Event]] = []
    for number in range(draw(st.integers(2, 4))):
        writer, ts = f"p{number}", draw(st.integers(1, 50)) / 1.0
        plan = [{"task_id": task, "domain": draw(DOMAINS)} for task in ("shared", "t0", "never")]
        start = event("run_started", ts, writer, model="m", tasks=plan, attempts=draw(st.integers(1, 3)))
        log = [start] if number == 0 else []
        for _ in range(draw(st.integers(0, 12))):
            ts += draw(st.integers(1, 30)) + number / 10
            kind = draw(st.sampled_from(["task_started", "step", "llm_call", "task_finished", *QUIET]))
            task = draw(st.sampled_from([f"t{number}", "shared"]))
            fields: dict[str, Any] = {
                "task_id": task,
                "attempt": draw(st.integers(0, 3)),
                "domain": draw(DOMAINS),
                "worker_id": f"v{number}",
                "state": "idle",
                "action": "click",
                "message": "m",
            }
            outcome = draw(st.sampled_from(OUTCOMES))
            fields |= {"outcome": outcome, "duration_seconds": ts / 7, "provider": "p", "model": "m"}
            fields |= {"score": draw(st.sampled_from([0.0, 0.5, 1.0, 7.25]))}
            log.append(event(kind, ts, writer, **fields, input_tokens=2, output_tokens=1))
        if number == 0 and draw(st.booleans()):
            log.append(event("run_finished", ts + 1, writer))
        made.append(log)
    return made


@given(logs(), st.randoms(use_true_random=False))
def test_the_order_in_which_logs_are_read_changes_no_count(made: list[list[Event]], chance: random.Random) -> None:
    one_by_one = folded(*itertools.chain(*made))
    assert counted(folded(*interleavings(made, chance))) == counted(one_by_one)
    by_time = sorted(itertools.chain(*made), key=lambda e: (e.ts, e.writer, e.seq))
    assert counted(folded(*by_time)) == counted(one_by_one)
    domains = {(attempt.task_id, attempt.domain) for attempt in one_by_one.attempts.values()}
    assert len(domains) == one_by_one.task_count, "a task is in one domain"
    for run in (one_by_one, folded(*interleavings(made, chance)), folded(*by_time)):
        assert run.retries == sum(attempt.retries for attempt in run.attempts.values())
        assert run.names["workers"].first_seen == {name: worker.first_seen for name, worker in run.workers.items()}


@pytest.mark.parametrize("size", [100, 3000])
def test_an_event_touches_no_more_of_a_large_run(size: int) -> None:
    """Counted in calls to containers, not in time: folding one step does not walk over the attempts."""
    run = folded(event("run_started", 1, tasks=[f"t{n}" for n in range(size)]))

    class Watched(dict[Any, Any]):
        walks = 0

        def __iter__(self) -> Any:
            Watched.walks += 1
            return super().__iter__()

        def values(self) -> Any:
            Watched.walks += 1
            return super().values()

        def items(self) -> Any:
            Watched.walks += 1
            return super().items()

    run._attempts = Watched(run._attempts)
    run.counts = Watched(run.counts)
    for number in range(20):
        run.apply(event("task_started", 2 + number, task_id=f"t{number}", worker_id="v"))
        run.apply(event("step", 3 + number, task_id=f"t{number}", action="click"))
        run.apply(event("llm_call", 3 + number, task_id=f"t{number}", input_tokens=1, output_tokens=1))
        run.apply(event("task_finished", 4 + number, task_id=f"t{number}", outcome="success"))
    assert Watched.walks == 0


def test_a_sum_of_calls_counts_as_many_calls_as_it_stands_for() -> None:
    tokens: dict[str, Any] = {"provider": "p", "model": "m", "input_tokens": 10, "output_tokens": 1}
    run = folded(
        event("task_started", 1, task_id="a"),
        event("llm_call", 2, task_id="a", requests=3, **tokens),
        event("llm_call", 3, task_id="a", requests=0, **tokens),
        event("llm_call", 4, provider="p", model="m", requests=5),
    )
    usage = run.usage["p", "m"]
    assert usage.requests["ok"] == 3 + 1 + 5
    assert (usage.unpriced, usage.unknown) == (4, 5)
    assert run.attempts["a", 1].calls == 4


def test_reasons_and_stated_costs_are_summed_by_model() -> None:
    sonnet: dict[str, Any] = {"provider": "anthropic", "model": "claude-sonnet-4-5", "output_tokens": 0}
    events = [
        event("llm_call", 1.78e9, **sonnet, input_tokens=1_000_000, cost_usd=7.5),
        event("llm_call", 1.78e9, **sonnet, input_tokens=5, region="us"),
        event("llm_call", 1.78e9, **sonnet, input_tokens=5, region="us", cost_usd=0.25),
        event("llm_call", 1.78e9, **sonnet),
    ]
    run = fold("r", "runlog", events, PriceTable().price_of)
    usage = run.usage["anthropic", "claude-sonnet-4-5"]
    assert usage.cost_usd == Decimal("6.25")  # 1 M x $6 above 200,000 tokens, and $0.25 as stated
    assert (usage.unpriced, usage.unknown) == (1, 1)
    assert usage.reasons == {"no price for region us": 2}
    assert list(usage.tables)[1:] == ["stated"]
    assert (usage.stated_usd, usage.compared_usd) == (Decimal("7.5"), Decimal(6))
    restored = RunState.restore(pickle.loads(pickle.dumps(run.dump(attempts=False))), "r", PriceTable().price_of).usage[
        "anthropic", "claude-sonnet-4-5"
    ]
    assert {name: getattr(restored, name) for name in Usage.__slots__} == {
        name: getattr(usage, name) for name in Usage.__slots__
    }


def test_attempts_of_other_numbers_are_those_that_were_planned() -> None:
    plan = event("run_started", 1, tasks=["a"], attempts=2)
    ends = [event("task_finished", 2, task_id="a", attempt=number, outcome="success") for number in (2, 3)]
    for events in ([plan, *ends], [*ends, plan]):
        assert folded(*events).statuses(3, STALL) == {"success": 2}


class _NotGoneThrough(dict[tuple[str, int], Attempt]):
    def values(self) -> Any:
        raise AssertionError("the attempts at all tasks are gone through")


@pytest.mark.parametrize("is_plan_first", [True, False])
@pytest.mark.parametrize("numbers", [(7,), (42, 43)])
def test_attempts_of_other_numbers_are_found_without_a_look_at_other_tasks(
    numbers: tuple[int, ...], is_plan_first: bool
) -> None:
    tasks = [{"task_id": name, "domain": "x"} for name in "abc"]
    plan = event("run_started", 1, tasks=tasks, attempts=len(numbers))
    starts = [event("task_started", 2, task_id=name, attempt=n, domain="d") for name in "abc" for n in numbers]
    run = RunState("r", "runlog")
    run._attempts = _NotGoneThrough()
    for each in (plan, *starts) if is_plan_first else (*starts, plan):
        run.apply(each)
    assert run.task_counts(3, STALL) == {("d", "running"): len(starts)}


def test_what_an_unloaded_run_keeps_does_not_grow_with_its_tasks() -> None:
    def count_kept(tasks: int) -> dict[str, int]:
        names = [f"task-{number}" for number in range(tasks)]
        run = folded(
            event("run_started", 1, tasks=names),
            *(event("task_started", 2, task_id=name, domain="d") for name in names),
            *(event("task_finished", 3, task_id=name, outcome="success") for name in names),
        )
        run.unload(lambda: run)
        return {name: len(value) for name, value in vars(run).items() if isinstance(value, Sized)}

    assert count_kept(2) == count_kept(20)
