"""Cost of a tracker step to the runner."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row, best_of
from evalgauge import track_run
from evalgauge.runlog import log_files

STEPS = 20_000


def rows() -> Iterator[Row]:
    """One tracker step beside ``json.dumps`` and ``os.write`` of the same object."""
    action, reasoning = {"type": "click", "x": 0.41, "y": 0.22}, "The dialog is open, so I click on Save. " * 3
    with tempfile.TemporaryDirectory() as folder:
        with track_run(folder, benchmark="b", model="m", fsync="never") as run, run.task("t", worker="w") as task:

            def track() -> None:
                for _ in range(STEPS):
                    task.step(action=action, reasoning=reasoning, think_seconds=1.5, env_seconds=0.5)

            tracked = best_of(3, track) / STEPS
        event = json.loads(log_files(run.folder)[0].read_bytes().splitlines()[5])
        fd = os.open(Path(folder) / "floor", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        def write() -> None:
            for _ in range(STEPS):
                os.write(fd, json.dumps(event).encode() + b"\n")

        floor = best_of(3, write) / STEPS
        os.close(fd)
    yield Row(
        "one tracker step",
        f"{tracked * 1e6:.1f} µs",
        f"json.dumps and os.write: {floor * 1e6:.1f} µs",
        tracked / floor,
        "≤ 3",
    )
