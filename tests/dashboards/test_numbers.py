"""Numbers of the dashboards in situations that are rare in life, computed by real promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from evalgauge_dashboards import verdicts
from tests.dashboards.reading import fill_variables, targets
from tests.dashboards.rule_series import Series, calls, compared, cost, info, run, tasks
from tests.parts import promtool


def query(uid: str, panel: int, ref: str = "A", *, run: str = "new") -> str:
    """What a panel asks of a run, or of all runs that a pattern matches."""
    (text,) = [t["expr"] for b, p, t in targets() if (b["uid"], p["id"], t["refId"]) == (uid, panel, ref)]
    return fill_variables(text, {"run": run, "benchmark": ".*", "model": ".*"})


def assert_number(
    folder: Path, expression: str, given: tuple[Series, ...], at: str, *expected: tuple[str, float]
) -> None:
    """The expression has exactly these series, written as ``({labels}, value)``, at a time from 0."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in given],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": at,
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected],
            }
        ],
    }
    path = folder / "numbers.json"
    path.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "seconds"), [(run("new", "running"), 7200), (run("new", "stalled", progress="0+60x10 600x600"), 600)]
)
def test_time_passes_for_a_run_that_is_running_and_not_for_one_that_was_killed(
    what: tuple[Series, ...], seconds: float, tmp_path: Path
) -> None:
    assert_number(tmp_path, query("evalgauge-evaluation", 6), what, "2h", ("{}", seconds))


@pytest.mark.parametrize(
    ("failed", "place"),
    [(9, verdicts.TOO_FEW), (20, verdicts.WORSE)],
)
def test_a_verdict_needs_as_many_tasks_as_the_exporters_own(failed: int, place: int, tmp_path: Path) -> None:
    given = (info("new", "m"), *run("new", "running"), *compared("new", -0.5, 0.01), *tasks("new", failure=failed))
    expression = query("evalgauge-comparison", 20, "verdict")
    assert_number(tmp_path, expression, given, "5m", ('{run_id="new"}', place))


def test_a_model_whose_calls_have_no_price_is_not_the_cheapest(tmp_path: Path) -> None:
    given = (
        *(info("new", "m"), *tasks("new", success=10), cost("new", 5), *calls("new", "m", ok=100)),
        *(info("cheap", "unpriced"), *tasks("cheap", success=10), cost("cheap", 0.01)),
        *calls("cheap", "x", ok=100, unpriced=90),
    )
    assert_number(tmp_path, query("evalgauge-comparison", 15, "success", run=".+"), given, "5m", ('{model="m"}', 0.5))
