"""The running sum, against sums by hand."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from genai_prices import __version__
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.cost_tracker import CostTracker
from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable

AT = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
TABLE = f"genai-prices {__version__}"

NO_VM: dict[str, Any] = {
    "instance_type": None,
    "hourly_rate_usd": None,
    "hours_elapsed": None,
    "cost_usd": None,
    "vms": [],
}


@cache
def prices() -> PriceTable:
    return PriceTable()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_calls_machines_and_gpus_add_up_to_the_sum_by_hand() -> None:
    tracker = CostTracker(prices())
    tracker.add_api_call("anthropic", 125_000, 8_500, "claude-sonnet-4-5", at=AT)
    tracker.add_api_call("openai", 1_000, 200, "gpt-5.1", cache_read_tokens=4_000, at=AT)
    tracker.add_machine("vm", provider="azure", instance_type="Standard_D4ds_v5", hourly_rate_usd=0.226, hours=2.5)
    tracker.add_machine("gpu", provider="lambda", instance_type="gpu_1x_a100", hourly_rate_usd=1.29, hours=0.5)
    expected = 0.5025 + (1_000 * 1.25 + 4_000 * 0.125 + 200 * 10) / 1e6 + 2.5 * 0.226 + 0.5 * 1.29
    assert tracker.get_total_cost() == pytest.approx(expected, abs=1e-9, rel=0)


def test_nothing_recorded_is_no_cost_and_not_zero() -> None:
    tracker = CostTracker(prices())
    assert tracker.get_total_cost() is None
    assert tracker.to_dict() == {
        "azure_vm": NO_VM,
        "api_calls": {},
        "gpu_time": {},
        "total_cost_usd": None,
        "unpriced_calls": 0,
        "unknown_usage_calls": 0,
        "unpriced_machines": 0,
    }


def test_what_has_no_price_is_counted_and_left_out_of_the_sum() -> None:
    tracker = CostTracker(prices())
    assert tracker.add_api_call("openai", 10, 1, "gpt-9000", at=AT).state == "unpriced"
    assert tracker.add_api_call("openai", 10, 1, at=AT).state == "unpriced"
    assert tracker.add_api_call("openai", None, None, "gpt-5.1", at=AT).state == "unknown_usage"
    assert tracker.get_total_cost() is None
    tracker.add_machine("vm", instance_type="Standard_D4ds_v5", hours=3)
    assert tracker.get_total_cost() is None
    tracker.add_api_call("openai", 1_000_000, 0, "gpt-5.1", at=AT)
    assert tracker.get_total_cost() == pytest.approx(1.25)
    costs = tracker.to_dict()
    counted = {key: costs[key] for key in ("unpriced_calls", "unknown_usage_calls", "unpriced_machines")}
    assert counted == {"unpriced_calls": 2, "unknown_usage_calls": 1, "unpriced_machines": 1}
    assert costs["azure_vm"]["cost_usd"] is None
    assert costs["azure_vm"]["hours_elapsed"] == 3


def test_a_free_call_costs_a_real_zero() -> None:
    tracker = CostTracker(prices())
    tracker.add_api_call("openai", 0, 0, "gpt-5.1", at=AT)
    assert tracker.get_total_cost() == 0.0


def test_costs_have_the_shape_of_the_api() -> None:
    tracker = CostTracker(prices())
    tracker.add_api_call("anthropic", 1_000, 100, "claude-sonnet-4-5", cache_read_tokens=5_000, at=AT)
    tracker.add_api_call("anthropic", 900, 50, "claude-opus-9", cache_write_tokens=10, at=AT)
    tracker.add_api_call(None, None, None, at=AT)
    costs = json.loads(json.dumps(tracker.to_dict(), allow_nan=False))
    sonnet = pytest.approx(0.006, abs=1e-12)  # 1,000 at $3, 5,000 at $0.30, 100 at $15 for a million
    assert costs["api_calls"]["anthropic"] == {
        "model": "claude-sonnet-4-5",
        "input_tokens": 6_910,
        "cache_read_tokens": 5_000,
        "cache_write_tokens": 10,
        "output_tokens": 150,
        "cost_usd": sonnet,
        "calls": 2,
        "unpriced_calls": 1,
        "unknown_usage_calls": 0,
        "price_tables": [TABLE],
        "models": {
            "claude-opus-9": {
                "input_tokens": 910,
                "cache_read_tokens": None,
                "cache_write_tokens": 10,
                "output_tokens": 50,
                "cost_usd": None,
                "calls": 1,
                "unpriced_calls": 1,
                "unknown_usage_calls": 0,
                "price_tables": [],
            },
            "claude-sonnet-4-5": {
                "input_tokens": 6_000,
                "cache_read_tokens": 5_000,
                "cache_write_tokens": None,
                "output_tokens": 100,
                "cost_usd": sonnet,
                "calls": 1,
                "unpriced_calls": 0,
                "unknown_usage_calls": 0,
                "price_tables": [TABLE],
            },
        },
    }
    unnamed = costs["api_calls"]["unknown"]
    assert unnamed["model"] is None
    assert unnamed["input_tokens"] is None
    assert unnamed["cost_usd"] is None
    assert unnamed["unknown_usage_calls"] == 1


def test_each_machine_is_listed_under_the_sums() -> None:
    tracker = CostTracker(prices())
    tracker.add_machine("vm", provider="azure", instance_type="D4", hourly_rate_usd=0.2, hours=1, name="waa-1")
    tracker.add_machine("vm", provider="azure", instance_type="D8", hourly_rate_usd=0.4, hours=3, name="waa-2")
    tracker.add_machine("gpu", provider="lambda", instance_type="a100", hourly_rate_usd=1.5, hours=2)
    tracker.add_machine("gpu", provider="runpod", instance_type="h100", hourly_rate_usd=3, hours=0.25)
    costs = tracker.to_dict()
    vm = costs["azure_vm"]
    assert {key: vm[key] for key in ("instance_type", "hours_elapsed")} == {"instance_type": "D8", "hours_elapsed": 4.0}
    assert vm["hourly_rate_usd"] == pytest.approx(0.6)
    assert vm["cost_usd"] == pytest.approx(1.4)
    assert [(row["name"], row["cost_usd"]) for row in vm["vms"]] == [("waa-1", 0.2), ("waa-2", pytest.approx(1.2))]
    assert {owner: row["cost_usd"] for owner, row in costs["gpu_time"].items()} == {"lambda": 3.0, "runpod": 0.75}
    assert [row["name"] for row in costs["gpu_time"]["runpod"]["gpus"]] == ["gpu-4"]


def test_a_running_machine_counts_until_it_stops() -> None:
    clock = Clock()
    tracker = CostTracker(prices(), clock=clock)
    machine = tracker.start_machine("vm", instance_type="D4", hourly_rate_usd=0.5)
    clock.now += 3_600
    assert tracker.get_total_cost() == pytest.approx(0.5)
    clock.now += 1_800
    assert machine.stop() == pytest.approx(1.5)
    clock.now += 3_600
    assert machine.stop() == pytest.approx(1.5)
    assert tracker.get_total_cost() == pytest.approx(0.75)


def test_a_machine_stops_with_its_block_even_when_the_work_fails() -> None:
    clock = Clock()
    tracker = CostTracker(prices(), clock=clock)

    def work() -> None:
        with tracker.start_machine("gpu", provider="lambda", hourly_rate_usd=2):
            clock.now += 1_800
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        work()
    clock.now += 1_800
    assert tracker.get_total_cost() == pytest.approx(1.0)


def test_a_clock_that_goes_back_gives_no_negative_cost() -> None:
    clock = Clock()
    tracker = CostTracker(prices(), clock=clock)
    machine = tracker.start_machine("vm", hourly_rate_usd=1)
    clock.now -= 7_200
    assert tracker.get_total_cost() == 0
    assert machine.stop() == 0


def test_machines_without_a_rate_take_it_from_the_users_table(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[machine]]\nprovider = "azure"\nmatch = "Standard_D4*"\nusd_per_hour = 0.226\n', encoding="utf-8")
    tracker = CostTracker(PriceTable(load_overrides(path)))
    tracker.add_machine("vm", provider="azure", instance_type="Standard_D4ds_v5", hours=10)
    tracker.add_machine("vm", provider="aws", instance_type="Standard_D4ds_v5", hours=10)
    costs = tracker.to_dict()
    assert costs["total_cost_usd"] == pytest.approx(2.26)
    assert costs["unpriced_machines"] == 1
    assert [row["price_table"] for row in costs["azure_vm"]["vms"]] == ["overrides prices.toml", None]


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "3", True, None])
def test_hours_and_rates_that_cannot_be_leave_the_cost_unknown(bad: Any) -> None:
    tracker = CostTracker(prices())
    tracker.add_machine("vm", instance_type="D4", hourly_rate_usd=bad, hours=1)
    tracker.add_machine("gpu", instance_type="a100", hourly_rate_usd=1, hours=bad)
    assert tracker.get_total_cost() is None
    assert json.loads(json.dumps(tracker.to_dict(), allow_nan=False))["unpriced_machines"] == 2


@pytest.mark.parametrize("bad", [-1, float("nan"), 10**10, "12", True])
def test_counts_that_cannot_be_are_unknown_usage(bad: Any) -> None:
    tracker = CostTracker(prices())
    assert tracker.add_api_call("openai", bad, 5, "gpt-5.1", at=AT).state == "unknown_usage"
    assert tracker.add_api_call("openai", 5, bad, "gpt-5.1", at=AT).state == "unknown_usage"
    assert tracker.get_total_cost() is None


def test_a_component_that_is_neither_vm_nor_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="'vm' or 'gpu', not 'tpu'"):
        CostTracker(prices()).add_machine("tpu", hours=1)  # type: ignore[arg-type]


def test_usage_is_taken_as_the_sdk_returned_it() -> None:
    tracker = CostTracker(prices())
    usage = {"prompt_tokens": 5_000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 4_000}}
    price = tracker.add_usage("openai", "gpt-5.1", usage, at=AT)
    assert price.usd is not None
    assert float(price.usd) == pytest.approx((1_000 * 1.25 + 4_000 * 0.125 + 200 * 10) / 1e6, abs=1e-12)
    row = tracker.to_dict()["api_calls"]["openai"]
    assert (row["input_tokens"], row["cache_read_tokens"]) == (5_000, 4_000)


calls = st.lists(
    st.tuples(
        st.sampled_from(
            [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5.1"), ("openai", "gpt-9000"), (None, None)]
        ),
        st.one_of(st.none(), st.integers(0, 400_000)),
        st.one_of(st.none(), st.integers(0, 20_000)),
        st.one_of(st.none(), st.integers(0, 400_000)),
    ),
    max_size=12,
)


@given(calls, st.randoms(use_true_random=False))
def test_the_order_of_calls_does_not_matter(made: list[Any], order: random.Random) -> None:
    results = []
    for _ in range(2):
        tracker = CostTracker(prices())
        for (provider, model), fresh, output, cached in made:
            tracker.add_api_call(provider, fresh, output, model, cache_read_tokens=cached, at=AT)
        results.append(tracker.to_dict())
        order.shuffle(made)
    assert results[0] == results[1]


def test_one_hour_cache_writes_and_batches_are_read_from_the_usage() -> None:
    late = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    usage = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 1_000_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 600_000, "ephemeral_1h_input_tokens": 400_000},
        "output_tokens": 0,
    }
    costs = CostTracker()
    opus = "claude-opus-4-5"
    assert costs.add_usage("anthropic", opus, usage, at=late).usd == Decimal("7.75")
    assert costs.add_usage("anthropic", opus, {**usage, "service_tier": "batch"}, at=late).usd == Decimal("3.875")
    by_counts = costs.add_api_call(
        "anthropic", 0, 0, opus, cache_write_tokens=1_000_000, cache_write_1h_tokens=400_000, at=late
    )
    assert by_counts.usd == Decimal("7.75")
    assert costs.get_total_cost() == 19.375


def test_calls_from_many_threads_are_all_counted() -> None:
    tracker = CostTracker(PriceTable())
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(250):
            tracker.add_api_call("openai", 100, 10, "gpt-5.1", at=AT)
            tracker.add_machine("vm", hourly_rate_usd=0.1, hours=0.01)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.to_dict()["api_calls"]["openai"]["calls"] == 2_000
    expected = 2_000 * ((100 * 1.25 + 10 * 10) / 1e6 + 0.001)
    assert tracker.get_total_cost() == pytest.approx(expected, abs=1e-9, rel=0)
