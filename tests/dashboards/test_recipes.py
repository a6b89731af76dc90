"""docs/promql.md: each expression gives what the API says, in a real Prometheus with the past of known runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of
from tests.exporter.waiting import wait_for
from tests.parts import prometheus, promtool
from tests.ports import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "promql.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n(?:.*?)```promql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
SONNET, HAIKU = "claude-sonnet-4-5", "claude-haiku-4-5"
HOUR, DAY = 3600.0, 86400.0
TASKS = [{"task_id": f"t{n}", "domain": ("chrome", "vlc", "gimp")[n % 3]} for n in range(36)]
MACHINE = 'vm="idle-vm",resource_group="rg",group="rg",provider="azure"'
WASTED_HOURS, PRICE = 3, 0.5

Row = dict[str, str]
Found = dict[tuple[str, ...], float]


def write_run(
    results: Path,
    run_id: str,
    start: float,
    *,
    model: str,
    solved: int,
    finish: bool = True,
    done: int = len(TASKS),
    step: float = 60.0,
    **about: Any,
) -> None:
    """A run whose tasks follow each other on two workers, the first ones solved; a call of each is retried."""
    lines: list[dict[str, Any]] = [{"type": "run_started", "ts": start, "run_id": run_id, "benchmark": "waa"}]
    lines[0] |= {"model": model, "tasks": TASKS, "attempts": 1, **about}
    for worker in ("w1", "w2"):
        lines.append({"type": "worker_state", "ts": start, "worker_id": worker, "state": "idle", "vm": f"vm-{worker}"})
    for number in range(1, lines[0]["attempts"] + 1):
        for n, task in enumerate(TASKS[:done]):
            at = start + ((number - 1) * len(TASKS) + n) * step
            named = {"task_id": task["task_id"], "attempt": number, "worker_id": f"w{n % 2 + 1}"}
            lines.append({"type": "task_started", "ts": at, **named, "domain": task["domain"]})
            for status in ("retry", "ok", "ok"):
                call = {"provider": "anthropic", "model": "house-7b" if n == 0 and model == HAIKU else model}
                tokens = {
                    "input_tokens": 1000,
                    "cache_read_tokens": 3000,
                    "cache_write_tokens": 0,
                    "output_tokens": 200,
                }
                lines.append({"type": "llm_call", "ts": at + 10, **named, **call, **tokens, "status": status})
                lines[-1]["duration_seconds"] = 3.0
            broken = n % 2 == 1 and n % 9 == 3
            good = (n + number) % len(TASKS) < solved
            outcome = "infrastructure_error" if broken else "success" if good else "failure"
            lines.append({"type": "task_finished", "ts": at + step - 1, **named, "outcome": outcome})
            lines[-1] |= {"duration_seconds": step - 10, "score": None if broken else 0.25 + 0.5 * good}
    if finish:
        ended = start + lines[0]["attempts"] * len(TASKS) * step
        lines.append({"type": "run_finished", "ts": ended, "status": "completed"})
    folder = results / run_id / "events"
    folder.mkdir(parents=True)
    text = "".join(json.dumps({"v": 1, "seq": seq} | line) + "\n" for seq, line in enumerate(lines))
    (folder / "host-1.jsonl").write_text(text)


class Lab:
    """The runs, the API that tells of them, and a Prometheus that has their past, at the Unix seconds ``now``."""

    def __init__(self, api: TestClient, url: str, now: float) -> None:
        self._api, self._url, self._now = api, url, now
        self.runs: dict[str, dict[str, Any]] = {run["run_id"]: run for run in self.get("/api/benchmark/runs")["runs"]}

    def get(self, path: str) -> dict[str, Any]:
        answer = self._api.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, question: str, *labels: str) -> Found:
        """The result of a recipe by the values of its labels."""
        (expression,) = [text for title, text in RECIPES.items() if title.startswith(question)]
        form = urllib.parse.urlencode({"query": expression, "time": self._now})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{form}", timeout=60) as answer:
            found = json.load(answer)["data"]["result"]
        return {tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in found}

    def metrics(self, run_id: str) -> dict[str, Any]:
        return self.get(f"/api/benchmark/metrics?run_id={run_id}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder, now = tmp_path_factory.mktemp("recipes"), time.time() // 60 * 60
    results = folder / "results"
    write_run(results, "old", now - 5 * DAY, model=SONNET, solved=30, tags={"commit": "aaa"})
    write_run(results, "cheap", now - 2 * DAY, model=HAIKU, solved=12, attempts=2, step=30.0, tags={"commit": "aaa"})
    about: dict[str, Any] = {"baseline_run_id": "old", "budget_usd": 5.0, "tags": {"commit": "bbb"}}
    write_run(results, "new", now - 20 * HOUR, model=SONNET, solved=6, **about)
    write_run(results, "live", now - 20 * 60 - 30, model=SONNET, solved=30, done=20, finish=False)
    settings = folder / "evalgauge.toml"
    settings.write_text('[limits]\ntags = ["commit"]\n')
    history = folder / "history.om"
    export = ["export", str(results), "--format", "openmetrics", "--out", str(history), "--config", str(settings)]
    run([sys.executable, "-m", "evalgauge_exporter", *export])
    add_machine(history, now)
    run([str(promtool()), "tsdb", "create-blocks-from", "openmetrics", str(history), str(folder / "data")])
    (folder / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    arguments += ["--storage.tsdb.retention.time=1y", f"--web.listen-address={address}", "--log.level=error"]
    exporter = exporter_of(results)
    exporter.start()
    process = subprocess.Popen([prometheus(), *arguments])
    try:
        exporter.wait_ready()
        wait_for(lambda: is_ready(f"http://{address}/-/ready"))
        yield Lab(TestClient(create_app(exporter), base_url="http://127.0.0.1"), f"http://{address}", now)
    finally:
        process.terminate()
        process.wait(60)
        exporter.stop()


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def add_machine(history: Path, now: float) -> None:
    """A machine that was used for some hours, then unused for three, then deallocated an hour ago."""
    series: dict[str, Callable[[float], float]] = {
        f'agent_eval_vm_price_usd_per_hour{{{MACHINE},priced_by="list"}}': lambda age: PRICE,
        f'agent_eval_vm_power_state{{{MACHINE},state="running"}}': lambda age: age > 1,
        f'agent_eval_vm_power_state{{{MACHINE},state="deallocated"}}': lambda age: age <= 1,
        f"agent_eval_vm_runs{{{MACHINE}}}": lambda age: age > 1 + WASTED_HOURS,
    }
    lines, typed = [], set()
    for name, value in series.items():
        family = name.partition("{")[0]
        lines += [f"# TYPE {family} gauge\n"] if family not in typed else []
        typed.add(family)
        for minute in range(23 * 60, -1, -4):
            lines.append(f"{name} {float(value(minute / 60))} {now - minute * 60:.3f}\n")
    text = history.read_text(encoding="utf-8").removesuffix("# EOF\n")
    history.write_text(text + "".join(lines) + "# EOF\n", encoding="utf-8")


FINISHED = ("old", "cheap", "new")
EVERY = (*FINISHED, "live")


def cost(lab: Lab, run_id: str) -> float:
    return float(lab.get(f"/api/benchmark/costs?run_id={run_id}")["total_cost_usd"])


def test_there_are_twenty_questions_and_each_is_tested_here() -> None:
    assert len(RECIPES) >= 20
    asked = set(re.findall(r'lab\.ask\(\n?\s*"([^"]+)"', Path(__file__).read_text(encoding="utf-8")))
    untested = [title for title in RECIPES if not any(title.startswith(question) for question in asked)]
    assert untested == []


def test_running_runs_and_their_progress(lab: Lab) -> None:
    assert lab.ask("Which runs are running?", "run_id") == {("live",): 1}
    assert lab.ask("What share of its attempts", "run_id") == {("live",): pytest.approx(20 / 36)}
    left = lab.ask("How many minutes are left?", "run_id")
    assert 0 <= left["live",] < 60


def test_rates(lab: Lab) -> None:
    rates = lab.ask("What is the success rate of each run this week", "run_id", "bound")
    for run_id in FINISHED:
        for bound, key in (("estimate", "success_rate"), ("low", "success_rate_low"), ("high", "success_rate_high")):
            assert rates[run_id, bound] == pytest.approx(lab.runs[run_id][key]), (run_id, bound)
    domains = lab.ask("What is the success rate by domain over the last ten runs", "domain")
    expected = Counter[str]()
    for run_id in EVERY:
        for domain, values in lab.metrics(run_id)["domain_breakdown"].items():
            expected[domain] += values["rate_estimate"] / len(EVERY)
    # between the export and this answer the open tasks of the running run have become older
    assert domains == {(domain,): pytest.approx(rate, abs=0.05) for domain, rate in expected.items()}
    commits = lab.ask("What is the success rate by commit", "value")
    mean = (lab.runs["old"]["success_rate"] + lab.runs["cheap"]["success_rate"]) / 2
    assert commits == {("aaa",): pytest.approx(mean), ("bbb",): pytest.approx(lab.runs["new"]["success_rate"])}


def test_comparisons_and_scores(lab: Lab) -> None:
    found = lab.get("/api/benchmark/compare?runs=old,new")["comparison"]
    worse = lab.ask("Which runs are significantly worse", "run_id", "baseline_run_id")
    assert worse["new", "old"] == pytest.approx(-found["delta"]["success_rate"])
    domains = lab.ask("In which domains does a run differ", "domain")
    for domain, delta in found["delta"]["domain_deltas"].items():
        assert domains[domain,] == pytest.approx(-delta["success_rate"])
    scores = lab.ask("What is the mean score", "run_id")
    assert scores == {(run_id,): pytest.approx(lab.runs[run_id]["mean_score"], abs=1e-6) for run_id in EVERY}


def test_money(lab: Lab) -> None:
    costs = lab.ask("What did each run cost", "run_id")
    assert costs == {(run_id,): pytest.approx(cost(lab, run_id)) for run_id in EVERY}
    success = lab.ask("What does a success cost, by model", "model")
    for model, ids in ((SONNET, ("old", "new", "live")), (HAIKU, ("cheap",))):
        successes = sum(lab.runs[run_id]["outcomes"]["success"] for run_id in ids)
        assert success[model,] == pytest.approx(sum(cost(lab, run_id) for run_id in ids) / successes)
    spent = lab.ask("What was spent in the last 24 hours")
    assert spent == {(): pytest.approx(cost(lab, "new") + cost(lab, "live"))}
    assert lab.ask("What share of its budget", "run_id") == {("new",): pytest.approx(cost(lab, "new") / 5)}
    incomplete = lab.ask("Which runs cost more than is shown", "run_id")
    assert incomplete == {("cheap",): lab.runs["cheap"]["unpriced_calls"] + lab.runs["cheap"]["unknown_usage_calls"]}


def test_model_calls(lab: Lab) -> None:
    assert lab.ask("What share of the input comes from a cache", "model") == {
        (model,): pytest.approx(0.75) for model in (SONNET, HAIKU, "house-7b")
    }
    retried = lab.ask("What share of the model calls fails or is retried", "model")
    assert retried == {(model,): pytest.approx(1 / 3) for model in (SONNET, HAIKU, "house-7b")}
    median = lab.ask("How long does a model call take", "model")
    assert all(2 < seconds <= 4 for seconds in median.values()), "within the bucket that holds 3 s"
    assert len(median) == 3


def test_tasks_workers_and_machines(lab: Lab) -> None:
    slowest = lab.ask("How long do the slowest tasks take", "domain")
    assert set(slowest) == {("chrome",), ("vlc",), ("gimp",)}
    assert all(30 < seconds <= 60 for seconds in slowest.values()), "within the bucket that holds 50 s"
    speed = lab.ask("Which workers are slow", "run_id", "worker_id")
    assert speed["new", "w1"] == pytest.approx(HOUR / 59, rel=0.02), "a task takes a minute less a second"
    assert speed["cheap", "w1"] > speed["new", "w1"]
    broken = lab.ask("Which machines do attempts fail on", "vm")
    assert broken == {("vm-w2",): sum(lab.runs[r]["outcomes"].get("infrastructure_error", 0) for r in EVERY)}
    wasted = lab.ask("How many dollars were wasted on machines")
    assert wasted[()] == pytest.approx(WASTED_HOURS * PRICE, rel=0.05)


def test_repeats(lab: Lab) -> None:
    ratios = lab.ask("Does repeating help", "run_id", "k", "kind")
    api = lab.runs["cheap"]["pass_ratios"]
    for k, values in api.items():
        assert ratios["cheap", k, "any"] == pytest.approx(values["pass_at_k"])
        assert ratios["cheap", k, "all"] == pytest.approx(values["pass_hat_k"])
    assert {run_id for run_id, _, _ in ratios} == {"cheap"}
