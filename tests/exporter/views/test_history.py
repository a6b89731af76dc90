"""The history of past runs: what was true at each time, in files that promtool and Prometheus take."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalgauge.events import Event
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.run import fold
from evalgauge_exporter.views.history import LINGER, LOOKBACK, MAX_INTERVAL, PastRun, write_history
from tests.exporter.state.test_run import event
from tests.exporter.waiting import wait_for
from tests.parts import prometheus, promtool
from tests.ports import free_port

DAY = 86400.0
START = time.time() // 3600 * 3600 - 40 * DAY + 600
"""Forty days ago, ten minutes past the hour."""
TASKS = [{"task_id": f"t{n}", "domain": "chrome" if n % 2 else "vlc"} for n in range(40)]


def past_run(run_id: str, start: float, *, rate: float, minutes: float = 40, baseline: str | None = None) -> PastRun:
    """A run of forty tasks, one after the other, the first ones solved."""
    events: list[Event] = [
        event("run_started", start, benchmark="waa", model="m", tasks=TASKS, baseline_run_id=baseline, budget_usd=5.0)
    ]
    for n, task in enumerate(TASKS):
        at = start + n * minutes * 60 / len(TASKS)
        events.append(event("task_started", at, task_id=task["task_id"], domain=task["domain"], worker_id="w"))
        outcome = "success" if n < rate * len(TASKS) else "failure"
        ended = at + minutes * 60 / len(TASKS) - 1
        events.append(
            event(
                "task_finished", ended, task_id=task["task_id"], worker_id="w", outcome=outcome, duration_seconds=50.0
            )
        )
    events.append(event("run_finished", start + minutes * 60, status="completed"))
    return PastRun(fold(run_id, "runlog", events), events)


def history_of(*runs: PastRun) -> str:
    out = io.StringIO()
    assert write_history(runs, out, stall_after=600) == []
    return out.getvalue()


def test_every_series_is_in_one_piece_and_grows_in_time() -> None:
    text = history_of(past_run("old", START, rate=0.75), past_run("new", START + DAY, rate=0.5, baseline="old"))
    assert text.endswith("# EOF\n")
    last: dict[str, float] = {}
    families = []
    for line in text.splitlines()[:-1]:
        if line.startswith("# TYPE"):
            families.append(line.split(" ")[2])
        elif not line.startswith("#"):
            series, _, at = line.rsplit(" ", 2)
            assert series.startswith(families[-1])
            assert float(at) > last.get(series, 0.0)
            last[series] = float(at)
    assert len(set(families)) == len(families)
    assert {"agent_eval_run_tasks", "agent_eval_run_budget_usd", "agent_eval_comparison_success_delta"} <= set(families)
    assert not any("baseline_success" in name for name in families), "several runs have one baseline"


@pytest.mark.parametrize("minutes", [40, 43, 3300, 3900])
def test_a_value_that_does_not_change_is_repeated_as_often_as_prometheus_needs_it(minutes: float) -> None:
    text = history_of(past_run("old", START, rate=1, minutes=minutes))
    times = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("agent_eval_run_budget")]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) <= LOOKBACK < 300
    assert times[-1] - (START + minutes * 60) == pytest.approx(LINGER, abs=MAX_INTERVAL)


def test_what_machines_cost_is_in_the_past_too_and_a_shared_one_is_paid_once() -> None:
    def with_machine(run_id: str) -> PastRun:
        events = past_run(run_id, START, rate=1).events
        worker = event("worker_state", START, worker_id="w", state="idle", vm="vm", hourly_rate_usd=3.0)
        found = [events[0], worker, *events[1:]]
        return PastRun(fold(run_id, "runlog", found), found)

    def last_cost(*runs: PastRun) -> list[float]:
        out = io.StringIO()
        write_history(runs, out, stall_after=600, fleet=FleetState())
        costs: dict[str, float] = {}
        for line in out.getvalue().splitlines():
            if line.startswith("agent_eval_run_cost_usd"):
                series, value, _ = line.rsplit(" ", 2)
                costs[series] = float(value)
        return list(costs.values())

    assert last_cost(with_machine("one")) == [pytest.approx(2.0, rel=0.01)]
    assert last_cost(with_machine("one"), with_machine("two")) == [pytest.approx(1.0, rel=0.01)] * 2


def test_nothing_is_written_for_a_time_that_is_still_to_come() -> None:
    # a Prometheus with such a block refuses what it scrapes
    text = history_of(past_run("new", time.time() - 2460, rate=1))
    times = [float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")]
    assert times
    assert max(times) <= time.time()


def test_a_run_that_took_place_at_no_known_time_is_left_out_and_named() -> None:
    run = past_run("old", START, rate=1)
    run.state.started_at = None
    out = io.StringIO()
    assert write_history([run], out, stall_after=600) == ["old"]
    assert out.getvalue() == "# EOF\n"


@pytest.fixture(scope="module")
def backfilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus whose past comes from the file."""
    folder = tmp_path_factory.mktemp("backfill")
    text = history_of(past_run("old", START, rate=0.75), past_run("new", START + DAY, rate=0.25, baseline="old"))
    (folder / "history.om").write_text(text)
    command: list[str | Path] = [
        promtool(),
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        folder / "history.om",
        folder / "data",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    arguments += ["--storage.tsdb.retention.time=10y", f"--web.listen-address={address}", "--log.level=error"]
    process = subprocess.Popen([prometheus(), *arguments])
    try:
        wait_for(lambda: ready(f"http://{address}/-/ready"))
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(60)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def query(url: str, expression: str, at: float) -> dict[str, float]:
    """The value of each run at a time."""
    form = urllib.parse.urlencode({"query": expression, "time": at})
    with urllib.request.urlopen(f"{url}/api/v1/query?{form}", timeout=60) as answer:
        found = json.load(answer)["data"]["result"]
    return {series["metric"].get("run_id", ""): float(series["value"][1]) for series in found}


SUCCESSES = 'sum by (run_id) (agent_eval_run_tasks{status="success"})'


def test_prometheus_answers_what_was_true_at_each_time(backfilled: str) -> None:
    assert query(backfilled, SUCCESSES, START - 60) == {}
    assert query(backfilled, SUCCESSES, START + 60 * 10 + 30) == {"old": 10}
    assert query(backfilled, SUCCESSES, START + 60 * 39) == {"old": 30}
    running = 'max by (run_id) (agent_eval_run_state{state="running"})'
    assert query(backfilled, running, START + 600) == {"old": 1}
    assert query(backfilled, running, START + 60 * 50) == {"old": 0}
    assert query(backfilled, SUCCESSES, START + DAY / 2) == {}, "it is gone, as if it were no longer exposed"
    late = START + DAY + 60 * 45
    delta = query(backfilled, 'max by (run_id) (agent_eval_comparison_success_delta{bound="estimate"})', late)
    assert delta["new"] == pytest.approx(-0.5)


def test_a_dashboard_finds_the_runs_of_last_month_with_a_step_of_an_hour(backfilled: str) -> None:
    found = query(backfilled, f"last_over_time({SUCCESSES}[90d:1h])", time.time())
    assert found == {"old": 30, "new": 10}
