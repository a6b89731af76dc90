"""``evalgauge prune``: what is deleted, and what never is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evalgauge.runlog import LogWriter
from tests.exporter.cli.invoking import complaint, evalgauge

DAY = 86400.0
PNG = b"\x89PNG\r\n\x1a\n"


def write_run(
    results: Path, run_id: str, age_days: float, *, outcomes: str = "sf", finish: bool = True, **started: object
) -> Path:
    """Write a run that ended so many days ago, with a screenshot for each task."""
    folder = results / run_id
    ts = time.time() - age_days * DAY
    writer = LogWriter(folder / "events" / "w.jsonl")
    writer.write("run_started", {"ts": ts, "run_id": run_id, "benchmark": "b", "model": "m", **started})
    for number, letter in enumerate(outcomes):
        shot = f"screenshots/t{number}/1/step_0000.png"
        (folder / shot).parent.mkdir(parents=True)
        (folder / shot).write_bytes(PNG)
        ids = {"ts": ts, "task_id": f"t{number}", "attempt": 1}
        writer.write("task_started", ids)
        writer.write("step", {**ids, "step_idx": 0, "action": {"type": "click"}, "screenshot": shot})
        writer.write("task_finished", {**ids, "outcome": {"s": "success", "f": "failure"}[letter]})
    if finish:
        writer.write("run_finished", {"ts": ts, "status": "completed"})
    writer.close()
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    write_run(folder, "old", 100)
    write_run(folder, "good", 100, outcomes="ss")
    write_run(folder, "new", 10, baseline_run_id="old")
    write_run(folder, "paper", 400, tags={"paper": "2026"})
    write_run(folder, "dead", 200, finish=False)
    return folder


def left(results: Path) -> set[str]:
    return {path.name for path in results.iterdir()}


def test_runs_that_ended_long_ago_are_deleted(results: Path) -> None:
    done = evalgauge("prune", results, "--older-than", "90d")
    assert done.returncode == 0, done.stderr
    assert left(results) == {"new"}
    assert "old: deleted run, " in done.stdout
    assert "4 runs of 5, " in done.stdout


def test_a_dry_run_deletes_nothing(results: Path) -> None:
    done = evalgauge("prune", results, "--older-than", "90d", "--dry-run")
    assert "old: would delete run" in done.stdout
    assert left(results) == {"old", "good", "new", "paper", "dead"}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("baselines", {"new", "old"}),
        ("tagged:paper", {"new", "paper"}),
        ("tagged:paper=2025", {"new"}),
        ("baselines, tagged:paper=2026", {"new", "old", "paper"}),
        ("failures", {"new", "old", "paper", "dead"}),
    ],
)
def test_what_is_to_be_kept_stays(results: Path, keep: str, kept: set[str]) -> None:
    assert evalgauge("prune", results, "--older-than", "90d", "--keep", keep).returncode == 0
    assert left(results) == kept


def test_of_a_run_with_failures_the_screenshots_of_the_failures_stay(results: Path) -> None:
    evalgauge("prune", results, "--older-than", "90d", "--keep", "failures")
    assert [path.parts[-3] for path in (results / "old").rglob("*.png")] == ["t1"]


def test_screenshots_alone_are_deleted_and_the_log_stays(results: Path) -> None:
    done = evalgauge("prune", results, "--older-than", "90d", "--screenshots-only")
    assert "old: deleted 2 screenshots, 16 B" in done.stdout
    assert not list((results / "old").rglob("*.png"))
    assert list((results / "old").rglob("*.jsonl"))
    assert len(list((results / "new").rglob("*.png"))) == 2


def test_a_running_run_is_never_deleted(tmp_path: Path) -> None:
    write_run(tmp_path, "running", 0, finish=False)
    evalgauge("prune", tmp_path, "--older-than", "0s")
    assert left(tmp_path) == {"running"}


def test_nothing_outside_of_a_run_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_bytes(PNG)
    folder = write_run(tmp_path / "results", "hostile", 100, outcomes="s")
    (folder / "link").symlink_to(tmp_path)
    writer = LogWriter(folder / "events" / "x.jsonl")
    for shot in ("../../precious.png", "link/precious.png", str(tmp_path / "precious.png"), "\0", "events/x.jsonl/a"):
        step = {"ts": 1.0, "task_id": "t0", "attempt": 1, "step_idx": 1, "action": {}, "screenshot": shot}
        writer.write("step", step)
    writer.close()
    assert evalgauge("prune", tmp_path / "results", "--older-than", "90d", "--screenshots-only").returncode == 0
    assert evalgauge("prune", tmp_path / "results", "--older-than", "90d").returncode == 0
    assert (tmp_path / "precious.png").exists()
    assert not folder.exists()


def test_a_run_that_holds_another_run_is_kept(tmp_path: Path) -> None:
    outer = write_run(tmp_path, "outer", 100)
    inner = write_run(outer / "screenshots", "inner", 1)
    done = evalgauge("prune", outer, outer / "screenshots", "--older-than", "90d")
    assert "outer: kept, inner lies in it" in done.stderr
    assert inner.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--older-than", "soon"], "write it as 30s, 10m, 1h30m or 7d"),
        (["--older-than", "1d", "--keep", "everything"], "write failures, baselines or tagged:NAME"),
    ],
)
def test_a_wrong_option_deletes_nothing(results: Path, options: list[str], message: str) -> None:
    assert message in complaint(evalgauge("prune", results, *options), 1)
    assert "old" in left(results)
