"""A real Prometheus scrapes the real exporter while a run is written."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalgauge import track_run
from tests.exporter.waiting import wait_for
from tests.parts import prometheus
from tests.ports import free_port

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: evalgauge
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A server with an empty database."""

    def __init__(self, folder: Path, port: int, exporter_port: int) -> None:
        folder.mkdir()
        (folder / "prometheus.yml").write_text(CONFIG.format(port=exporter_port))
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                str(prometheus()),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        return [(row["metric"], float(row["value"][1])) for row in found["data"]["result"]]

    def number(self, expression: str) -> float | None:
        found = self.query(expression)
        return found[0][1] if found else None

    def wait_for_number(self, expression: str, wanted: float) -> None:
        """Wait until a query gives this number: a scrape that a busy machine does not finish leaves a gap."""

        def check() -> bool:
            found = self.number(expression)
            assert found == wanted, f"{expression} is {found}, not {wanted}"
            return True

        wait_for(check)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def start_exporter(results: Path, port: int, *options: str | Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "evalgauge_exporter", "serve", str(results)),
            *("--listen", f"127.0.0.1:{port}", *map(str, options)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert re.search(r"http://", process.stderr.readline())
    return process


@pytest.fixture
def exporter_port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, exporter_port: int) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path / "prometheus", free_port(), exporter_port)
    try:
        wait_for(server.ready)
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()


def test_promql_answers_equal_the_logs_totals_over_a_restart_and_leave_after_linger(
    tmp_path: Path, server: Prometheus, exporter_port: int
) -> None:
    results, config = tmp_path / "results", tmp_path / "evalgauge.toml"
    results.mkdir()
    config.write_text('linger = "never"\n')
    exporter = start_exporter(results, exporter_port, "--config", config)
    try:
        with track_run(results, benchmark="waa", model="m", run_id="night", tasks=[f"t{n}" for n in range(12)]) as run:
            for number in range(12):
                with run.task(f"t{number}", domain=f"d{number % 3}", worker="vm-1") as task:
                    for _ in range(number):
                        task.llm_call(provider="p", model="m", input_tokens=100, output_tokens=7)
                        task.step(action="click")
                    task.finish(success=number % 3 == 0)
                if number == 5:
                    server.wait_for_number('sum(agent_eval_run_tasks{status=~"success|failure"})', 6)
                    exporter.send_signal(signal.SIGKILL)
                    exporter.communicate()
                    exporter = start_exporter(results, exporter_port, "--config", config)
                    server.wait_for_number("up", 1)
                time.sleep(0.1)  # an evaluation takes time: it has to last for a few scrapes
        server.wait_for_number('agent_eval_run_state{state="completed"}', 1)
        server.wait_for_number('sum(agent_eval_run_tasks{status="success"})', 4)
        server.wait_for_number('sum(agent_eval_run_tasks{status="failure"})', 8)
        server.wait_for_number('agent_eval_run_tasks{domain="d1",status="failure"}', 4)
        server.wait_for_number('agent_eval_run_steps_total{action="click"}', 66)
        server.wait_for_number('agent_eval_run_tokens_total{kind="input"}', 6600)
        server.wait_for_number('agent_eval_run_tokens_total{kind="output"}', 462)
        server.wait_for_number("sum(agent_eval_run_task_duration_seconds_count)", 12)
        server.wait_for_number('sum(agent_eval_worker_tasks_total{worker_id="vm-1"})', 12)
        names = [name for name in server.get("/api/v1/label/__name__/values")["data"] if name.startswith("agent_eval")]
        grown = [name for name in names if re.search(r"_(total|bucket|count|sum)$", name)]
        assert len(grown) >= 8
        for name in grown:
            resets = server.query(f"resets({name}[10m])")
            assert resets
            assert all(count == 0 for _, count in resets), name
        config.write_text('linger = "1s"\n')
        exporter.send_signal(signal.SIGHUP)
        left = 'group by (__name__) ({__name__=~"agent_eval_(run_.+|exporter_build_info)"})'
        wait_for(lambda: [about["__name__"] for about, _ in server.query(left)] == ["agent_eval_exporter_build_info"])
        assert server.number('last_over_time(agent_eval_run_steps_total{action="click"}[10m])') == 66
    finally:
        exporter.send_signal(signal.SIGTERM)
        exporter.communicate()
