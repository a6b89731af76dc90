"""``evalgauge check``: a gate for one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.analysis.costs import RunCosts
from evalgauge_exporter.analysis.summary import NO_RESULTS, RunSummary
from evalgauge_exporter.cli.check import Limits, judge
from evalgauge_exporter.cli.reports import Result, exit_code
from tests.exporter.cli.invoking import complaint, evalgauge
from tests.exporter.runs import small_run


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 0, "The run is completed."),
        (["--min-success", "70%"], 0, "The success rate is 75.0%, at least 70.0%."),
        (["--min-success", "0.8"], 3, "The success rate is 75.0%, less than 80.0%."),
        (["--max-infra", "0"], 3, "20.0% of the finished attempts could not be measured, more than 0.0%."),
        (["--max-infra", "20%"], 0, "at most 20.0%"),
        (["--max-cost", "0.01"], 3, "The run cost $0.02, more than $0.01."),
        (["--max-cost", "5"], 0, "The run cost $0.02, at most $5.00."),
        (["--min-coverage", "90%"], 4, "4 of 5 attempts measured (80%), fewer than --min-coverage 90%."),
    ],
)
def test_each_limit_is_a_sentence_and_an_exit_code(tmp_path: Path, options: list[str], code: int, message: str) -> None:
    small_run(tmp_path, "r", outcomes="sssfi")
    done = evalgauge("check", tmp_path / "r", *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stdout


def test_a_running_run_is_judged_only_by_what_can_no_longer_change(tmp_path: Path) -> None:
    small_run(tmp_path, "r", outcomes="ffff", finish=False)
    assert evalgauge("check", tmp_path, "r", "--min-success", "50%").returncode == 4
    assert evalgauge("check", tmp_path, "r", "--max-cost", "0.001").returncode == 3


def test_a_cost_that_is_partly_unknown_is_no_pass(tmp_path: Path) -> None:
    small_run(tmp_path, "r", model="nobody-knows-this-model", outcomes="ss")
    done = evalgauge("check", tmp_path, "r", "--max-cost", "5")
    assert done.returncode == 4
    assert "The cost of 2 model calls is unknown; the limit is $5.00." in done.stdout


def test_json_has_the_run_and_its_checks(tmp_path: Path) -> None:
    small_run(tmp_path, "a", outcomes="ss")
    small_run(tmp_path, "b", outcomes="ff")
    done = evalgauge("check", tmp_path, "--min-success", "1", "--format", "json")
    assert done.returncode == 3
    rows = {row["run"]["run_id"]: row["checks"] for row in json.loads(done.stdout)["runs"]}
    assert [check["result"] for check in rows["a"]] == ["passed"] * 3
    assert [check["result"] for check in rows["b"]] == ["passed", "passed", "failed"]


def test_a_share_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    small_run(tmp_path, "r")
    assert "write it as 0.7 or 70%" in complaint(evalgauge("check", tmp_path, "--min-success", "70"), 2)


MONEY = {"llm": 1.0, "vm": None, "gpu": None, "unknown_usage_calls": 0, "unpriced_machines": 0, "per_hour": 0.0}
MONEY |= {"per_success": None, "projected_total": None, "budget": None, "budget_hit_at": None}
SUMMARY = {"run_id": "r", "model_id": "m", "benchmark": "b", "created_at": 0.0, "success_rate_all": None}
SUMMARY |= {"avg_steps": None, "source": "runlog", "elapsed_seconds": None, "ended_at": None, "cost_usd": None}
SUMMARY |= {"attempts_planned": 1, "retries": 0, "tags": {}, "unreadable": None}


@given(
    state=st.sampled_from(["running", "completed", "aborted", "stalled"]),
    outcomes=st.fixed_dictionaries(
        {name: st.integers(0, 30) for name in ("success", "failure", "infrastructure_error", "interrupted")}
    ),
    pending=st.integers(0, 30),
    unpriced=st.integers(0, 2),
    limits=st.builds(Limits, st.floats(0, 1), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1)),
)
def test_a_gate_passes_only_a_complete_run_with_known_numbers(
    state: str, outcomes: dict[str, int], pending: int, unpriced: int, limits: Limits
) -> None:
    finished = sum(outcomes.values())
    measured = outcomes["success"] + outcomes["failure"]
    summary = RunSummary.model_validate(
        SUMMARY
        | NO_RESULTS.model_dump()
        | {
            "state": state,
            "outcomes": outcomes,
            "total_tasks": finished + pending,
            "finished_tasks": finished,
            "success_rate": outcomes["success"] / measured if measured else None,
            "unpriced_calls": unpriced,
            "unknown_usage_calls": 0,
        }
    )
    costs = RunCosts(**MONEY, total=1.0, unpriced_calls=unpriced, machines=[])  # type: ignore[arg-type]
    checks = list(judge(summary, costs, limits))
    code = exit_code(checks)
    if code == 0:
        assert state == "completed"
        assert measured
        assert not unpriced
        assert outcomes["success"] / measured >= (limits.min_success or 0)
        assert limits.max_cost is not None
        assert limits.max_cost >= 1
    assert (code == 3) == any(check.result is Result.FAILED for check in checks)
