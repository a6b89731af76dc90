"""An exporter that is killed and started again while a run is written shows no counter that went down."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from evalgauge import track_run
from tests.exporter.scraping import Samples, counters, scrape, value
from tests.exporter.waiting import wait_for


def serve(results: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "evalgauge_exporter", "serve", str(results), "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = re.search(r"http://[\d.:]+", process.stderr.readline())
    assert said
    return process, said[0]


def ready(url: str) -> Samples:
    def answer() -> Samples | None:
        try:
            found = scrape(url)
        except OSError:
            return None
        return found if any(name == "agent_eval_run_info" for name, _ in found) else None

    found = wait_for(answer)
    assert found is not None
    return found


def test_counters_never_fall_over_restarts(tmp_path: Path) -> None:
    stop = threading.Event()

    def evaluate(worker: int) -> None:
        run = track_run(tmp_path, benchmark="b", model="m", run_id="r", fsync="never")
        number = 0
        while not stop.wait(0.002):
            number += 1
            with run.task(f"{worker}-{number}", worker=f"w{worker}", domain="d") as task:
                task.llm_call(provider="p", model="m", input_tokens=10, output_tokens=1)
                task.step(action=("click", "type")[number % 2], first_action_correct=bool(number % 3))
                task.finish(success=bool(number % 2))
        run.finish()

    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run:
        writers = [threading.Thread(target=evaluate, args=(n,)) for n in range(3)]
        for writer in writers:
            writer.start()
        before: Samples = {}
        try:
            for _ in range(4):
                process, url = serve(tmp_path)
                try:
                    for _ in range(5):
                        now = counters(ready(url))
                        for key, number in before.items():
                            assert now.get(key, 0) >= number, f"{key} went from {number} to {now.get(key)}"
                        before = now
                finally:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
        finally:
            stop.set()
            for writer in writers:
                writer.join()
    assert value(before, "agent_eval_run_llm_requests_total", status="ok") > 0
    assert run.lost_events == 0
