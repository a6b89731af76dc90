"""A process that is killed at any moment loses no line that was acknowledged."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from evalgauge.events import Step
from evalgauge.runlog import LogReader, log_files
from evalgauge_exporter.state.run import fold

WRITER = """
import sys
from evalgauge import track_run
run = track_run(sys.argv[1], benchmark="b", model="m", run_id="r", fsync="never")
task = run.task("t", worker="w")
for number in range(10_000_000):
    task.step(action={"type": "click", "number": number}, reasoning="x" * (number % 3000))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_every_acknowledged_line_is_there_after_a_kill(tmp_path: Path) -> None:
    moments = random.Random(20)
    for round_number in range(20):
        results = tmp_path / str(round_number)
        wanted = moments.randrange(1, 400)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(results)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= wanted:
                    break
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().splitlines()
        acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else wanted
        (path,) = log_files(results / "r")
        events, problems, _ = LogReader(path).read(1 << 30)
        numbers = [event.action["number"] for event in events if isinstance(event, Step)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > acknowledged
        assert problems == []
        assert fold("r", "runlog", events).steps["click"] == len(numbers)
