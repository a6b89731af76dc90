"""The hook that Inspect finds by its entry point, in a real Inspect evaluation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from evalgauge.runlog import read_events
from evalgauge_exporter.state import fold

SCRIPT = Path(__file__).with_name("inspect_eval.py")


def evaluated(folder: Path, **environment: str) -> dict[str, Any]:
    """Inspect's own summary of the evaluation."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "logs")],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_installing_evalgauge_is_all_it_takes(tmp_path: Path) -> None:
    summary = evaluated(tmp_path)
    (folder,) = (tmp_path / "results").iterdir()
    run = fold(folder.name, "runlog", read_events(folder))
    now = run.last_event_at
    assert (run.benchmark, run.model) == ("words", "model")
    assert run.status(now, 600) == "completed"
    statuses = run.statuses(now, 600)
    assert sum(statuses.values()) == summary["samples"] == 6
    assert statuses["success"] / 6 == summary["accuracy"]
    usage = run.usage["mockllm", "model"]
    assert usage.tokens == [summary["input"], summary["cache_read"], 0, summary["output"]]
    assert usage.requests["ok"] == 12
    assert run.steps == {"press": 6}
    assert {attempt.domain for attempt in run.attempts.values()} == {"words"}


def test_it_can_be_told_where_and_not_at_all(tmp_path: Path) -> None:
    evaluated(tmp_path, EVALGAUGE_RESULTS=str(tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    evaluated(tmp_path, EVALGAUGE_RESULTS="off")
    assert not (tmp_path / "results").exists()
