"""Processes that are killed at any moment: what was acknowledged is there, once, and no counter falls.

``make kills`` does the same with 200 kills of writers, 50 of the exporter and 20 of a receiver.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from evalgauge import Run, track_run
from evalgauge.events import Step
from evalgauge.runlog import LogReader, log_files
from tests.exporter.runs import exporter_of
from tests.exporter.test_prometheus import Prometheus, start_exporter
from tests.exporter.waiting import wait_for
from tests.ports import free_port

KILLS = int(os.environ.get("EVALGAUGE_KILLS", "8"))
"""Kills of writers; a quarter of it of the exporter, a tenth of it of a receiver."""
TOGETHER = 4
"""Writers of one run that are killed while all of them write."""
TOKEN = "a-token-of-the-tests"
WRITER = """
import sys
from evalgauge import track_run
writer = int(sys.argv[2])
run = track_run(sys.argv[1], benchmark="b", model="m", run_id="r", fsync="never")
with run.task(f"t{writer}", worker=f"w{writer}") as task:
    for number in range(10_000_000):
        task.step(action={"type": "click", "writer": writer, "number": number}, reasoning="x" * (number % 3000))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


def start_writer(results: Path, number: int) -> subprocess.Popen[str]:
    """Start a process that writes steps to the run and prints the number of each one that was accepted."""
    command = [sys.executable, "-c", WRITER, str(results), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], wanted: int) -> int:
    """Kill a writer once it has printed ``wanted``; return the last number that it printed whole."""
    assert process.stdout is not None
    last = -1
    for line in process.stdout:
        if line.endswith("\n"):
            last = int(line)
        if last == wanted:
            process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return last


def test_writers_of_one_run_that_are_killed_lose_no_step_that_was_accepted(tmp_path: Path) -> None:
    moments = random.Random(12)
    accepted: dict[int, int] = {}
    for first in range(0, KILLS, TOGETHER):
        numbers = range(first, min(first + TOGETHER, KILLS))
        writers = {number: start_writer(tmp_path, number) for number in numbers}
        for number, process in writers.items():  # the others write on until it is their turn
            accepted[number] = kill_after(process, moments.randrange(1, 300))
    found: dict[int, list[int]] = collections.defaultdict(list)
    problems = []
    for path in log_files(tmp_path / "r"):
        events, reported, _ = LogReader(path).read(1 << 30)
        problems += reported
        for event in events:
            if isinstance(event, Step):
                found[event.action["writer"]].append(event.action["number"])
    assert problems == []
    for number, last in accepted.items():
        assert found[number] == list(range(len(found[number]))), "in order, each once"
        assert len(found[number]) > last > 0
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_caught_up(120)
    exporter.stop()
    assert exporter.state.runs["r"].steps["click"] == sum(map(len, found.values()))
    print(f"\n{len(accepted)} writers killed, {sum(accepted.values()) + len(accepted)} steps accepted, none lost")


def write_turn(run: Run, name: str, turn: int, turns: int) -> int:
    """Write one task with its share of 30 action types and 60 models of this writer; return the number of steps."""
    mine = range(turn * 30 // turns, (turn + 1) * 30 // turns)
    with run.task(f"{name}{turn}", worker=f"{name}{turn}", domain=f"{name}{turn}") as task:
        for number in (*range(mine.start), *mine):  # the older ones go on
            task.step(action=f"{name}{number}")
            for model in range(2):
                task.llm_call(provider="p", model=f"{name}{2 * number + model}", input_tokens=10)
        task.finish(success=True)
    return mine.stop


def wait_for_steps(server: Prometheus, wanted: int) -> None:
    """Wait until Prometheus has scraped all steps, those that are summed as other included."""
    server.wait_for_number("sum(agent_eval_run_steps_total)", wanted)


def test_no_counter_falls_for_prometheus_over_kills_of_the_exporter(tmp_path: Path) -> None:
    kills = max(2, KILLS // 4)
    moments = random.Random(7)
    results, port = tmp_path / "results", free_port()
    results.mkdir()
    server = Prometheus(tmp_path / "prometheus", free_port(), port)
    exporter = start_exporter(results, port)
    steps = 0
    try:
        wait_for(server.ready)
        late = track_run(results, benchmark="b", model="m", run_id="r", fsync="never")
        early = track_run(results, benchmark="b", model="m", run_id="r", fsync="never")
        for turn in range(kills):
            for run, name in ((early, "z"), (late, "a")):  # the one that is read first speaks last
                steps += write_turn(run, name, turn, kills)
            if turn % 2:  # else it is killed while it reads what was written
                wait_for_steps(server, steps)
            else:
                time.sleep(moments.uniform(0, 0.5))
            exporter.send_signal(signal.SIGKILL)
            exporter.communicate()
            exporter = start_exporter(results, port)
        wait_for_steps(server, steps)
        server.wait_for_number("sum(agent_eval_run_tokens_total)", 20 * steps)
        server.wait_for_number("count(agent_eval_run_steps_total)", 41)  # forty and what is summed as other
        names = [name for name in server.get("/api/v1/label/__name__/values")["data"] if name.startswith("agent_eval")]
        grown = [name for name in names if re.search(r"_(total|bucket|count|sum)$", name)]
        series = 0
        for name in grown:
            for labels, resets in server.query(f"resets({name}[1h])"):
                series += 1
                assert resets == 0, labels
        assert series > 60
        early.finish()
        late.finish()
        print(f"\n{kills} exporters killed, {steps} steps, {series} counters, resets() 0")
    finally:
        exporter.send_signal(signal.SIGTERM)
        exporter.communicate()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()


def start_receiver(folder: Path, token: Path, port: int) -> subprocess.Popen[bytes]:
    """Start an exporter that stores the logs that it receives in ``folder``."""
    command = [sys.executable, "-m", "evalgauge_exporter", "serve", str(folder), "--receive", str(folder)]
    command += ["--token-file", str(token), "--listen", f"127.0.0.1:{port}", "--log-level", "error"]
    with (folder.parent / "receiver.log").open("ab") as log:
        return subprocess.Popen(command, stderr=log)


def request_of(run: str, writer: str, numbers: range) -> bytes:
    """A request with one step for each number."""
    names = (("evalgauge.run_id", run), ("evalgauge.writer", writer))
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in names]
    lines = [
        {"v": 1, "seq": seq, "ts": 1.7e9 + seq, "type": "step", "task_id": "t", "action": {"type": "click"}}
        for seq in numbers
    ]
    records = [{"body": {"stringValue": json.dumps({**line, "reasoning": "x" * 200})}} for line in lines]
    return json.dumps(
        {"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": records}]}]}
    ).encode()


class Sender(threading.Thread):
    """Sends batch after batch, each until it is acknowledged, until it is stopped."""

    def __init__(self, url: str, writer: str) -> None:
        super().__init__()
        self.url, self.writer = url, writer
        self.acknowledged = 0
        self.refused: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            numbers = range(self.acknowledged, self.acknowledged + 1 + self.acknowledged % 50)
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            request = urllib.request.Request(self.url, request_of("r", self.writer, numbers), headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    if answer.status == 200 and answer.read() == b"{}":
                        self.acknowledged = numbers.stop
            except urllib.error.HTTPError as error:
                self.refused.append(error.code)
                error.close()
            except (OSError, http.client.HTTPException):  # it was killed, even in the middle of an answer
                self.stopped.wait(0.02)


@contextlib.contextmanager
def sending(url: str) -> Iterator[list[Sender]]:
    senders = [Sender(url, f"w{number}") for number in range(2)]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.stopped.set()
        for sender in senders:
            sender.join()


def wait_for_progress(senders: list[Sender]) -> None:
    """Wait until each sender has another batch acknowledged."""
    before = [sender.acknowledged for sender in senders]
    wait_for(lambda: all(sender.acknowledged > count for sender, count in zip(senders, before, strict=True)))


def test_a_receiver_that_is_killed_has_every_line_that_it_acknowledged_once(tmp_path: Path) -> None:
    kills = max(2, KILLS // 10)
    moments = random.Random(3)
    folder, token, port = tmp_path / "received", tmp_path / "token", free_port()
    folder.mkdir()
    token.write_text(TOKEN)
    token.chmod(0o600)
    receiver = start_receiver(folder, token, port)
    try:
        with sending(f"http://127.0.0.1:{port}/v1/logs") as senders:
            for _kill in range(kills):
                wait_for_progress(senders)
                time.sleep(moments.uniform(0, 0.3))
                receiver.send_signal(signal.SIGKILL)
                receiver.wait()
                receiver = start_receiver(folder, token, port)
            wait_for_progress(senders)
        for sender in senders:
            assert sender.refused == []
            events, _, _ = LogReader(folder / "r" / "events" / f"{sender.writer}.jsonl").read(1 << 30)
            numbers = [event.seq for event in events]
            assert numbers[: sender.acknowledged] == list(range(sender.acknowledged)), "each once and in order"
        total = sum(sender.acknowledged for sender in senders)
        print(f"\n{kills} receivers killed, {total} lines acknowledged, none lost or there twice")
    finally:
        receiver.send_signal(signal.SIGTERM)
        receiver.wait()
