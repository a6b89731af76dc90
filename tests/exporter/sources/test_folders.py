"""What the sources for trees of task folders share, seen through one of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from evalgauge.events import RunFinished, RunStarted, Step
from evalgauge.values import parse_timestamp
from evalgauge_exporter.sources.folders import IDLE_AFTER
from evalgauge_exporter.sources.osworld.osworld import OSWorldSource
from evalgauge_exporter.sources.parsing import resolve_relative
from evalgauge_exporter.sources.swebench.swe_agent import SweAgentSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.osworld.test_osworld import make_run
from tests.exporter.sources.reading import drain, folded, write


def task(run: Path, name: str, ago: float, result: str | None = "1.0") -> None:
    """A task whose only step was so many seconds ago."""
    at = time.time() - ago
    stamp = time.strftime("%Y%m%d@%H%M%S", time.localtime(at))
    write(run / "os" / name / "traj.jsonl", f'{{"step_num": 1, "action_timestamp": "{stamp}", "action": "WAIT"}}\n')
    if result is not None:
        write(run / "os" / name / "result.txt", result, at)


def test_a_finished_run_is_released_until_one_of_its_files_changes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    source = OSWorldSource(run)
    drain(source)
    assert drain(source, full_scan=True) == ([], [])
    assert source.known_tasks == {}
    assert drain(source, full_scan=True) == ([], [])
    write(run / "os" / "bbb-2" / "result.txt", "1.0\n")
    assert not source.read().restarted
    assert source.read(full_scan=True).restarted


@pytest.mark.parametrize("change", ["os/bbb-2/result.txt", "os/bbb-2/traj.jsonl", "args.json", "vlc/new/traj.jsonl"])
def test_the_fingerprint_changes_with_every_file(tmp_path: Path, change: str) -> None:
    run = make_run(tmp_path)
    before = OSWorldSource(run).fingerprint()
    assert before is not None
    assert OSWorldSource(run).fingerprint() == before
    write(run / change, "x")
    assert OSWorldSource(run).fingerprint() != before
    assert OSWorldSource(tmp_path / "none").fingerprint() is None


def test_a_run_whose_format_states_no_end_finishes_once_nothing_is_open_and_it_is_idle(tmp_path: Path) -> None:
    task(tmp_path, "a", IDLE_AFTER / 2)
    source = OSWorldSource(tmp_path)
    events, _ = drain(source)
    assert not fold("run", "osworld", events).is_finished()
    assert source.watch_paths() != []
    write(tmp_path / "os" / "a" / "result.txt", "1.0", time.time() - 2 * IDLE_AFTER)
    task(tmp_path, "a", 2 * IDLE_AFTER)
    assert fold("run", "osworld", drain(OSWorldSource(tmp_path))[0]).is_finished()
    task(tmp_path, "b", 2 * IDLE_AFTER, result=None)
    assert not fold("run", "osworld", drain(OSWorldSource(tmp_path))[0]).is_finished()


def test_the_times_of_copied_files_are_not_believed(tmp_path: Path) -> None:
    begin = time.time() - 1e6
    task(tmp_path, "a", 1e6)
    write(tmp_path / "os" / "b" / "result.txt", "0.0", begin + 100)
    run = folded(OSWorldSource(tmp_path))
    assert run.attempts["b", 1].started_at == begin + 100
    for path in tmp_path.rglob("*"):
        os.utime(path)
    run = folded(OSWorldSource(tmp_path))
    assert run.last_event_at == run.started_at == run.attempts["b", 1].started_at == int(begin)
    assert run.attempts["b", 1].duration_seconds is None
    assert run.is_finished()


def test_the_times_of_files_that_are_written_now_are_believed(tmp_path: Path) -> None:
    task(tmp_path, "a", 1e6)
    source = OSWorldSource(tmp_path)
    before, _ = drain(source)
    now = time.time()
    write(tmp_path / "os" / "b" / "result.txt", "0.0", now)
    (tmp_path / "os" / "c").mkdir()
    events, _ = drain(source)
    run = fold("run", "osworld", before + events)
    assert run.attempts["b", 1].started_at == now
    assert (run.attempts["c", 1].started_at or 0.0) >= now - 1


def test_steps_without_times_keep_those_at_which_they_were_first_seen(tmp_path: Path) -> None:
    path = tmp_path / "i-1" / "i-1.traj"
    now = time.time()
    steps = [{"action": f"ls {i}", "observation": "", "thought": "t"} for i in range(3)]
    content = {"environment": "e", "trajectory": steps[:2], "info": {}}
    write(path, json.dumps(content), now - 100)
    source = SweAgentSource(tmp_path)
    before, _ = drain(source)
    write(path, json.dumps({**content, "trajectory": steps}), now)
    events, _ = drain(source)
    assert [event.ts for event in before if isinstance(event, Step)] == [now - 100] * 2
    assert [event.ts for event in events if isinstance(event, Step)] == [now]


def test_a_finished_run_that_continues_is_running_again(tmp_path: Path) -> None:
    task(tmp_path, "a", 2 * IDLE_AFTER)
    source = OSWorldSource(tmp_path)
    events, _ = drain(source)
    assert isinstance(events[-1], RunFinished)
    task(tmp_path, "b", 5, result=None)
    more, _ = drain(source, full_scan=True)
    assert isinstance(more[0], RunStarted)
    run = fold("run", "osworld", events + more)
    assert run.status(time.time(), 600.0) == "running"
    assert run.started_at == events[0].ts


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1.75e9, 1.75e9),
        (1.75e12, 1.75e9),
        ("2026-01-05T10:00:00Z", 1767607200.0),
        ("2026-01-05T11:00:00+01:00", 1767607200.0),
        ("tomorrow", None),
        ("9999-12-31T00:00:00Z", None),
        (9e9, None),
        (0, None),
        (-1.0, None),
        (True, None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_times(value: object, seconds: float | None) -> None:
    assert parse_timestamp(value) == seconds


def test_compact_times_have_microseconds_or_none() -> None:
    plain = parse_timestamp("20260105@100000")
    assert plain is not None
    assert parse_timestamp("20260105@100000000250") == pytest.approx(plain + 0.00025, abs=1e-6)


@pytest.mark.parametrize(
    ("start", "name", "path"),
    [
        ("a/b", "c.png", "a/b/c.png"),
        ("a/b", "./../c.png", "a/c.png"),
        (".", "c.png", "c.png"),
        ("a", "../../c.png", None),
        ("a", "/etc/passwd", None),
        ("a", "https://example.org/c.png", None),
        ("a", "C:\\c.png", None),
        ("a", "x\\c.png", "a/x/c.png"),
        ("a", "c\0.png", None),
        ("a", "", None),
        ("a", None, None),
        ("a", 5, None),
    ],
)
def test_paths_stay_in_the_runs_folder(tmp_path: Path, start: str, name: object, path: str | None) -> None:
    assert resolve_relative(tmp_path, start, name) == path


def test_an_absolute_path_within_the_run_is_made_relative(tmp_path: Path) -> None:
    assert resolve_relative(tmp_path, "a", str(tmp_path / "b" / "c.png")) == "b/c.png"
    assert resolve_relative(tmp_path, "a", f"{tmp_path}/b/../../c.png") is None
