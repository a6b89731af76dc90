"""What ``import evalgauge`` offers: the tracker, the statistics, and runs as records for notebooks."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

import evalgauge
from evalgauge import load, stats, track_run
from evalgauge_exporter.export.table import COLUMNS

DATA = Path(__file__).parent / "data"


def test_everything_named_in_all_is_there() -> None:
    for module in (evalgauge, stats):
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert name == "__version__" or getattr(module, name).__doc__, f"{name} has no docstring"


def test_a_run_comes_back_as_plain_records(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", run_id="night", tasks=["a", "b"]) as run:
        with run.task("a", domain="office") as task:
            task.step(action="click")
            task.finish(success=True, score=1.0)
        with run.task("b") as task:
            task.finish(success=False, score=0.0)
    (loaded,) = load(tmp_path)
    assert (loaded.run_id, loaded.folder) == ("night", tmp_path / "night")
    assert (loaded.summary["success_rate"], loaded.summary["state"]) == (0.5, "completed")
    assert [(row["task_id"], row["outcome"], row["steps"]) for row in loaded.attempts] == [
        ("a", "success", 1),
        ("b", "failure", 0),
    ]
    assert set(COLUMNS) <= set(loaded.attempts[0])


def test_a_folder_of_another_tool_is_loaded_too() -> None:
    runs = list(load(DATA / "openadapt-0.98.0-mixed"))
    assert {run.summary["source"] for run in runs} == {"openadapt"}
    assert all(len(run.attempts) == run.summary["total_tasks"] > 0 for run in runs)


def test_the_records_are_what_the_command_exports(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", run_id="night") as run, run.task("a") as task:
        task.finish(success=True)
    (loaded,) = load(tmp_path / "night")
    command = [sys.executable, "-m", "evalgauge_exporter", "export", str(tmp_path / "night"), "--format", "csv"]
    printed = subprocess.run([*command, "--out", "-"], capture_output=True, text=True, check=True).stdout
    (row,) = csv.DictReader(io.StringIO(printed))
    assert row == {name: "" if value is None else str(value) for name, value in loaded.attempts[0].items()}


def test_copies_of_one_run_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for place in ("first", "second"):
        with track_run(tmp_path / place, benchmark="b", model="m", run_id="r") as run:
            run.task("t").finish(success=True)
    assert [run.run_id for run in load(tmp_path)] == ["r", "r@second.r"]


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name the folder that holds the runs"):
        next(load(tmp_path / "nowhere"))
