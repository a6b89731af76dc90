"""What a run costs, against sums by hand: what is spent, per hour, per success, at the end, and until the budget."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from evalgauge import track_run
from evalgauge.events import (
    Event,
    LlmCall,
    Outcome,
    RequestStatus,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    token_fields,
)
from evalgauge.pricing import UNKNOWN_USAGE, UNPRICED, Price
from evalgauge.usage import TokenUsage
from evalgauge_exporter.analysis.costs import MachineCost, RunCosts, run_costs
from evalgauge_exporter.analysis.eta import Eta
from evalgauge_exporter.state.run import RunState, fold
from tests.exporter.runs import exporter_of

T0 = 1_795_290_000.0  # the start of a minute
HOUR = 3600.0
STALL = 600.0


def price(call: LlmCall) -> Price:
    """Input tokens are cents; the model without a price and the call without tokens are what they are."""
    if call.model == "unheard-of":
        return UNPRICED
    if call.tokens.input is None:
        return UNKNOWN_USAGE
    return Price("priced", Decimal(call.tokens.input) / 100, "cents")


class Story:
    """A run told event by event; times are seconds from ``T0``."""

    def __init__(self, budget: float | None = None, tasks: int | None = None) -> None:
        self._events: list[Event] = [
            RunStarted(
                ts=T0,
                seq=1,
                writer="w",
                run_id="r",
                benchmark="waa",
                model="m",
                tasks=(),
                total_tasks=tasks,
                attempts=1,
                budget_usd=budget,
            ),
        ]

    def call(
        self, at: float, cents: int | None, task: str | None = None, model: str = "m", status: str = "ok"
    ) -> Story:
        counted = TokenUsage(cents, None, None, 0)
        call = LlmCall(
            ts=T0 + at,
            seq=self._seq(),
            writer="w",
            provider="p",
            model=model,
            **token_fields(counted),
            status=cast(RequestStatus, status),
            task_id=task,
            attempt=1,
        )
        self._events.append(call)
        return self

    def begin(self, at: float, task: str) -> Story:
        self._events.append(TaskStarted(ts=T0 + at, seq=self._seq(), writer="w", task_id=task, attempt=1))
        return self

    def end(self, at: float, task: str, outcome: str = "success") -> Story:
        ended = TaskFinished(
            ts=T0 + at,
            seq=self._seq(),
            writer="w",
            task_id=task,
            attempt=1,
            outcome=cast(Outcome, outcome),
            steps=1,
            duration_seconds=10.0,
        )
        self._events.append(ended)
        return self

    def task(self, at: float, task: str, cents: int, outcome: str = "success") -> Story:
        return self.begin(at, task).call(at, cents, task).end(at + 10, task, outcome)

    def over(self, at: float) -> Story:
        self._events.append(RunFinished(ts=T0 + at, seq=self._seq(), writer="w", status="completed"))
        return self

    def _seq(self) -> int:
        return len(self._events) + 1

    def run(self) -> RunState:
        return fold("r", "runlog", self._events, price)


def costs(story: Story, at: float, eta: Eta | None = None, machines: tuple[MachineCost, ...] = ()) -> RunCosts:
    return run_costs(story.run(), machines, eta, T0 + at, STALL)


def machine(name: str, rate: float | None, hours: float, billing: bool = True, component: str = "vm") -> MachineCost:
    cost = None if rate is None else rate * hours
    return MachineCost(name, component, None, None, rate, hours, 0.0, cost, None, billing)


def test_retries_errors_failed_attempts_and_calls_of_no_task_are_costs() -> None:
    story = Story().begin(0, "a").call(1, 100, "a").call(2, 50, "a", status="retry").call(3, 25, "a", status="error")
    story.end(10, "a", "failure").task(20, "b", 200).call(40, 5).call(41, None, "b").call(42, 1, "b", "unheard-of")
    found = costs(story, 60)
    assert (found.llm, found.total) == (3.80, 3.80)
    assert (found.unpriced_calls, found.unknown_usage_calls) == (1, 1)
    assert found.per_success == 3.80


def test_nothing_known_is_null_and_not_zero() -> None:
    found = costs(Story().begin(0, "a").call(1, None, "a").end(10, "a"), 20)
    assert (found.llm, found.vm, found.gpu, found.total) == (None, None, None, None)
    assert (found.per_hour, found.per_success, found.projected_total, found.budget_hit_at) == (None, None, None, None)


def test_there_is_no_cost_per_success_without_a_success() -> None:
    assert costs(Story().task(0, "a", 100, "failure"), 20).per_success is None


def test_components_add_up_and_machines_without_a_price_are_counted() -> None:
    machines = (machine("a", 0.5, 2.0), machine("b", None, 2.0), machine("g", 3.0, 1.0, component="gpu"))
    found = costs(Story().task(0, "a", 100), 20, machines=machines)
    assert (found.llm, found.vm, found.gpu, found.total) == (1.0, 1.0, 3.0, 5.0)
    assert found.unpriced_machines == 1


def test_cost_per_hour_covers_the_last_quarter_of_an_hour_and_the_billing_machines() -> None:
    story = Story().task(0, "a", 9_000)
    for minute in range(60, 120):
        story.call(minute * 60.0, 10)
    machines = (machine("a", 0.5, 2.0), machine("b", 7.0, 1.0, billing=False))
    # ten cents a minute is six dollars an hour, wherever in a minute one looks
    for second in (0.0, 20.0, 59.0):
        found = costs(story, 119 * 60.0 + second, machines=machines)
        assert found.per_hour == pytest.approx(6.5, rel=0.07)  # the minute that runs is spent at its start here
    assert costs(story.over(120 * 60.0), 121 * 60.0, machines=machines).per_hour == 0


def test_a_minute_half_outside_the_window_counts_half() -> None:
    story = Story().call(0, 6_000).call(HOUR, 1)  # sixty dollars in minute 0
    assert costs(story, 15 * 60.0 - 1).per_hour == pytest.approx(60 / (899 / 3600), rel=1e-3)
    assert costs(story, 15 * 60.0 + 30).per_hour == pytest.approx(4 * (30 + 0.01), rel=1e-6)
    assert costs(story, 16 * 60.0).per_hour == pytest.approx(0.04, rel=1e-6)


def test_a_run_of_some_seconds_counts_as_a_minute() -> None:
    assert costs(Story().call(0, 100), 1).per_hour == 60.0


def test_the_projection_is_the_cost_so_far_and_the_mean_cost_for_each_pending_attempt() -> None:
    story = Story(tasks=10)
    for number, cents in enumerate((100, 200, 300, 400)):
        story.task(number * 20.0, f"t{number}", cents, "success" if number else "failure")
    story.begin(100, "t4").call(101, 40, "t4")
    found = costs(story, 110, Eta(100.0, 7200.0, 9000.0), (machine("a", 0.5, 1.0),))
    # 10.40 spent; 2.50 for each of 5 pending; 2.10 more for the one that runs; half a dollar an hour for two hours
    assert found.projected_total == pytest.approx(10.40 + 0.50 + 5 * 2.50 + 2.10 + 1.0)


def test_the_projection_counts_a_machine_up_to_its_interruption() -> None:
    story = Story().task(0, "a", 100).task(20, "b", 100).task(40, "c", 100)
    for ends_in, left in ((None, 1.0), (3600.0, 0.5), (0.0, 0.0), (-60.0, 0.0), (90_000.0, 1.0)):
        spot = machine("spot", 0.5, 1.0)._replace(ends_at=None if ends_in is None else T0 + 60 + ends_in)
        found = costs(story, 60, Eta(100.0, 7200.0, 9000.0), (spot,))
        assert found.projected_total == pytest.approx(3.0 + 0.5 + left)


def test_a_running_attempt_above_the_mean_lowers_no_projection() -> None:
    story = Story().task(0, "a", 100).task(20, "b", 100).task(40, "c", 100).begin(60, "d").call(61, 500, "d")
    assert costs(story, 70, Eta(1.0, 2.0, 3.0)).projected_total == pytest.approx(8.0)


def test_calls_that_name_no_task_continue_at_the_rate_of_the_tasks() -> None:
    story = Story(tasks=8)
    for number in range(4):
        story.begin(number * 20.0, f"t{number}").call(number * 20.0, 30).end(number * 20.0 + 10, f"t{number}")
    assert costs(story, 80, Eta(1.0, 2.0, 3.0)).projected_total == pytest.approx(8 * 0.30)


def test_attempts_without_a_call_lower_the_mean_and_those_without_a_price_do_not() -> None:
    story = Story(tasks=8).task(0, "a", 100).task(20, "b", 100)
    story.begin(40, "c").end(50, "c", "infrastructure_error")
    story.begin(60, "d").call(61, 1, "d", "unheard-of").end(70, "d")
    assert costs(story, 80, Eta(1.0, 2.0, 3.0)).projected_total == pytest.approx(2.0 + 4 * 2 / 3)


def test_there_is_no_projection_before_three_finished_attempts_or_without_an_eta_for_the_machines() -> None:
    two = Story(tasks=9).task(0, "a", 100).task(20, "b", 100)
    assert costs(two, 40, Eta(1.0, 2.0, 3.0)).projected_total is None
    three = two.task(40, "c", 100)
    assert costs(three, 60, None).projected_total == pytest.approx(9.0)
    assert costs(three, 60, None, (machine("a", 0.5, 1.0),)).projected_total is None


def test_the_projection_of_a_finished_run_is_its_cost() -> None:
    found = costs(Story(tasks=9).task(0, "a", 100).over(30), 9_000)
    assert (found.projected_total, found.per_hour) == (1.0, 0.0)


def test_the_budget_is_hit_when_the_rest_is_spent_at_the_present_rate() -> None:
    story = Story(budget=3.0, tasks=100)
    for minute in range(10):
        story.task(minute * 60.0, f"t{minute}", 10)
    found = costs(story, 600, Eta(1.0, 5400.0, 9e3))
    assert found.total == 1.0
    assert found.per_hour == pytest.approx(6.0)
    assert found.budget_hit_at == pytest.approx(T0 + 600 + 2.0 / 6.0 * HOUR)


def test_a_budget_that_lasts_is_never_hit_and_one_that_is_spent_is_hit_now() -> None:
    def story(budget: float) -> Story:
        story = Story(budget=budget, tasks=5)
        for number in range(4):
            story.task(number * 20.0, f"t{number}", 100)
        return story

    assert costs(story(5.0), 90, Eta(1.0, 20.0, 30.0)).budget_hit_at is None
    assert costs(story(4.0), 90, Eta(1.0, 20.0, 30.0)).budget_hit_at == T0 + 90
    # nothing was spent for a while: it is spent all the same
    quiet = story(4.0).begin(3 * HOUR, "late")
    assert costs(quiet, 3 * HOUR + 1).per_hour == 0.0
    assert costs(quiet, 3 * HOUR + 1).budget_hit_at == T0 + 3 * HOUR + 1
    assert costs(story(4.0).over(95), 100).budget_hit_at is None


def test_the_tracker_the_log_and_the_exporter_agree_with_the_sum_by_hand(tmp_path: Path) -> None:
    anthropic = {
        "input_tokens": 1_000,
        "cache_read_input_tokens": 20_000,
        "cache_creation_input_tokens": 3_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000},
        "output_tokens": 500,
    }
    openai = {"input_tokens": 5_000, "input_tokens_details": {"cached_tokens": 4_000}, "output_tokens": 100}
    with track_run(tmp_path, benchmark="waa", model="m", tasks=["a"], run_id="r", fsync="never") as run:
        with run.task("a") as task:
            task.llm_call(provider="anthropic", model="claude-opus-4-5", usage=anthropic)
            task.llm_call(provider="openai", model="gpt-5.1", usage=openai, status="retry")
            task.finish(success=False)
    exporter = exporter_of(tmp_path)
    exporter.start()
    try:
        assert exporter.wait_ready(60)
        with exporter.state.lock:
            total = exporter.analysis.costs(exporter.state.runs["r"], T0).total
    finally:
        exporter.stop()
    opus = (1_000 * 5 + 20_000 * 0.5 + 1_000 * 6.25 + 2_000 * 10 + 500 * 25) / 1e6
    gpt = (1_000 * 1.25 + 4_000 * 0.125 + 100 * 10) / 1e6
    assert total == pytest.approx(opus + gpt, abs=1e-9, rel=0)
