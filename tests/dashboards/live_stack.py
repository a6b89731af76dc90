"""A live stack for the dashboards: real runs, the real exporter that reads them, a real Prometheus that scrapes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evalgauge import track_run
from evalgauge.tracker import Run
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, vm
from tests.exporter.sources.azure.test_ml_jobs import job
from tests.exporter.sources.azure.test_prices import PriceList
from tests.ports import free_port

DOMAINS = ("chrome", "vlc")
TASKS = [{"task_id": f"{domain}_{n}", "domain": domain} for domain in DOMAINS for n in range(20)]
DONE = 30
"""Finished tasks of the running run: all of chrome and half of vlc."""
SOLVED = [task["task_id"] for task in TASKS[:DONE] if task["domain"] == "vlc"][::2]
"""The tasks that it solved; the baseline solved all tasks."""
BUDGET = 0.25
MACHINES = (vm("w1"), vm("forgotten"), vm("template", power="deallocated"))
"""One that the run uses, one that is billed and unused, one that costs nothing."""
HOURLY = 0.226
"""US dollars an hour of each, as the list on 127.0.0.1 says."""
COMPARED_ANSWERS = (
    "/api/benchmark/runs",
    "/api/benchmark/costs?run_id=new",
    "/api/benchmark/compare?runs=base,new",
)
"""What the dashboards are compared with, asked for just before the moment that queries are about."""
STARTUP = 180.0
"""Seconds that a process may take until it answers."""


@dataclasses.dataclass(frozen=True)
class LiveStack:
    """The addresses of the two processes."""

    exporter: str
    prometheus: str
    moment: float | None = None
    """Unix seconds that queries are about; None for the present, which a scrape that fails may leave without data."""
    step: float = 1.0
    """Seconds between the steps of a query over time."""
    answers: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """What the JSON API answered, by path."""

    def query(self, expression: str, *, seconds: float = 0) -> list[dict[str, Any]]:
        """The result of a query: at the moment, or over the last ``seconds`` before it.

        Raises:
            AssertionError: with Prometheus' own words where it refuses the query.
        """
        now = time.time() if self.moment is None else self.moment
        form = {"query": expression, "time": now}
        if seconds:
            form = {"query": expression, "start": now - seconds, "end": now, "step": self.step}
        path = "query_range" if seconds else "query"
        answer = fetch_json(f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(form)}")
        assert answer["status"] == "success", f"{answer.get('error')}: {expression}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def query_scalar(self, expression: str) -> float:
        """The value of a query that has exactly one series."""
        (series,) = self.query(expression)
        return float(series["value"][1])

    def api(self, path: str) -> dict[str, Any]:
        """An answer of the exporter's JSON API: always the first one, as queries are about one moment too."""
        if path not in self.answers:
            self.answers[path] = fetch_json(self.exporter + path)
        return self.answers[path]


@contextlib.contextmanager
def run_live_stack(folder: Path, program: Path, rules: Path) -> Iterator[LiveStack]:
    """Run both processes for as long as the block lasts; one of the runs in ``folder/results`` is running meanwhile."""
    results = folder / "results"
    exporter, prometheus = (f"127.0.0.1:{free_port()}" for _ in range(2))
    scrape = _write_prometheus(folder, program, rules, exporter, prometheus)
    _baseline_run(results)
    command = "from evalgauge_exporter.cli.main import main; main()"
    settings = folder / "evalgauge.toml"
    serve = [sys.executable, "-c", command, "serve", str(results), "--listen", exporter, "--config", str(settings)]
    here = LiveStack(f"http://{exporter}", f"http://{prometheus}")
    with ArmServer(MACHINES) as arm, PriceList() as prices, contextlib.ExitStack() as stack:
        _configure(settings, arm, prices, exporter)
        step = stack.enter_context(_running_run(results))
        processes = (
            stack.enter_context(_process(serve, folder / "serve.log")),
            stack.enter_context(_process(scrape, folder / "scrape.log")),
        )

        def until(condition: Callable[[], bool], what: str) -> None:
            wait_until(condition, lambda: what, processes)

        until(lambda: _answers(f"{here.exporter}/readyz"), "the exporter is ready")
        until(lambda: _answers(f"{here.prometheus}/-/ready"), "Prometheus is ready")
        # rates need growth between two scrapes, machines are read and priced in the background, and the rules judge
        # what was scraped
        until(lambda: here.query_scalar("sum_over_time(up[20s])") >= 2, "two scrapes")
        step()

        def is_complete() -> bool:
            nonlocal here
            # the time of a scrape that succeeded: at any other time there may be a gap
            here = dataclasses.replace(here, moment=None)
            here = dataclasses.replace(here, moment=here.query_scalar("timestamp(up) and up == 1"))
            growth = here.query_scalar("increase(agent_eval_worker_busy_seconds_total{run_id='new'}[20s])")
            prices = here.query_scalar("count(agent_eval_vm_price_usd_per_hour)")
            return growth > 0 and prices >= 2 and bool(here.query('ALERTS{alertstate="firing"}'))

        until(is_complete, "growth, machines, prices and an alert that fires")
        for path in COMPARED_ANSWERS:
            here.api(path)
        until(is_complete, "the same after the answers of the API")
        yield here


@contextlib.contextmanager
def run_demo_stack(folder: Path, program: Path, rules: Path) -> Iterator[LiveStack]:
    """Run ``evalgauge demo`` and a Prometheus that scrapes it for as long as the block lasts."""
    port = free_port()
    exporter, prometheus = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
    # an interval is what a scrape may take, on a machine that does much besides
    scrape = _write_prometheus(folder, program, rules, exporter, prometheus, interval="3s")
    command = "from evalgauge_exporter.cli.main import main; main()"
    demo = [sys.executable, "-c", command, "demo", "--results", str(folder / "results"), "--no-browser"]
    demo += ["--port", str(port)]
    here = LiveStack(f"http://{exporter}", f"http://{prometheus}")
    with _process(demo, folder / "demo.log") as demoing, _process(scrape, folder / "scrape.log") as scraping:
        processes = demoing, scraping
        wait_until(lambda: here.query_scalar("sum_over_time(up[20s])") >= 2, lambda: "two scrapes", processes)
        yield here


def _write_prometheus(
    folder: Path, program: Path, rules: Path, exporter: str, listen: str, *, interval: str = "1s"
) -> list[str]:
    """Write the configuration of a Prometheus that scrapes the exporter; return its command."""
    # an alert may take a minute to be judged in earnest; here a second has to do
    (folder / "rules.yml").write_text(rules.read_text().replace("interval: 1m", "interval: 1s"))
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": interval, "scrape_timeout": interval},
                "rule_files": ["rules.yml"],
                "scrape_configs": [{"job_name": "evalgauge", "static_configs": [{"targets": [exporter]}]}],
            }
        )
    )
    command = [str(program), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    return [*command, f"--web.listen-address={listen}", "--log.level=warn"]


def wait_until(
    condition: Callable[[], bool],
    what: Callable[[], str],
    processes: Sequence[subprocess.Popen[bytes]] = (),
    seconds: float = STARTUP,
) -> None:
    """Wait until a condition holds; a request that fails or finds nothing means that it does not.

    Raises:
        AssertionError: with ``what`` is missing, after a long time or once a process has ended.
    """
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, LookupError):
            if condition():
                return
        assert all(process.poll() is None for process in processes), f"a process ended before {what()}"
        pause.wait(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what()}")


def _configure(path: Path, arm: ArmServer, prices: PriceList, target: str) -> None:
    arm.jobs = [job("a"), job("b", "Completed")]
    subscription = f'subscription_id = "{SUBSCRIPTION}"\nbase_url = "{arm.url}"\ncredential = "none"\n'
    path.write_text(
        f'[prices]\nazure_retail_url = "{prices.url}"\ncache_dir = "{path.parent}"\n'
        f"[[azure]]\n{subscription}"
        f'[[azure_ml]]\n{subscription}resource_group = "ml"\nworkspace = "ws"\n'
        f'[[probe]]\nname = "self"\nkind = "tcp"\ntarget = "{target}"\ninterval = "1s"\n'
    )


def _baseline_run(results: Path) -> None:
    with track_run(
        results, benchmark="waa", model="claude-sonnet-4-5", tasks=TASKS, run_id="base", fsync="never"
    ) as run:
        for task in TASKS:
            _attempt(run, task, solved=True)


@contextlib.contextmanager
def _running_run(results: Path) -> Iterator[Callable[[], None]]:
    with track_run(
        results,
        benchmark="waa",
        model="claude-sonnet-4-5",
        tasks=TASKS,
        run_id="new",
        baseline="base",
        budget_usd=BUDGET,
        fsync="never",  # a task that took long would change what is expected of those that are open
    ) as run:
        run.worker("w1", "idle", vm="w1", vm_size="Standard_D4ds_v5", provider="azure")
        for task in TASKS[:DONE]:
            _attempt(run, task, solved=task["task_id"] in SOLVED)
        last = TASKS[DONE]
        with run.task(last["task_id"], domain=last["domain"], worker="w1") as going:
            going.step(action={"type": "click", "x": 0.5, "y": 0.5})
            yield lambda: going.step(action={"type": "click", "x": 0.5, "y": 0.6})
            going.finish(success=True)


def _attempt(run: Run, task: dict[str, str], *, solved: bool) -> None:
    with run.task(task["task_id"], domain=task["domain"], worker="w1", max_steps=15) as attempt:
        for step in range(2):
            usage = {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 5000}
            attempt.llm_call(provider="anthropic", model="claude-sonnet-4-5", usage=usage)
            attempt.step(action={"type": "click", "x": 0.4, "y": 0.2}, first_action_correct=None if step else solved)
        attempt.finish(success=solved, score=float(solved))


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"})
    try:
        yield process
    except AssertionError as error:
        error.add_note(f"{command[0]} said:\n{log.read_text()[-2000:]}")
        raise
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)


def fetch_json(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        # Prometheus says in the body what is wrong with a query
        found = json.load(error)
    return found
