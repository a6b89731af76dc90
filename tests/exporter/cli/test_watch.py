"""``evalgauge watch``: the state of runs in a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalgauge import track_run
from evalgauge.runlog import LogWriter
from tests.exporter.cli.invoking import complaint, evalgauge
from tests.exporter.runs import small_run
from tests.exporter.waiting import wait_for


def write_running_run(log: Path) -> None:
    """A run whose open task has taken longer than all that have ended: what is estimated does not change any more."""
    writer, now = LogWriter(log), time.time()
    tasks = [{"task_id": f"t{number}"} for number in range(20)]
    about = {"run_id": "now", "benchmark": "waa", "model": "m\x1b[31m", "tasks": tasks, "budget_usd": 5}
    writer.write("run_started", {"ts": now - 300, **about})
    for number in range(4):
        task = {"task_id": f"t{number}", "worker_id": "vm-1"}
        writer.write("task_started", {"ts": now - 290 + 10 * number, **task})
        ended = {"outcome": "success"} if number else {"outcome": "infrastructure_error", "error": "no\nVM"}
        writer.write("task_finished", {"ts": now - 281 + 10 * number, **task, **ended, "duration_seconds": 9})
    writer.write("task_started", {"ts": now - 200, "task_id": "t9", "worker_id": "vm-2"})
    writer.close()


def test_a_running_run_is_shown_with_progress_workers_and_errors(tmp_path: Path) -> None:
    small_run(tmp_path, "before")
    write_running_run(tmp_path / "now" / "events" / "w.jsonl")
    done = evalgauge("watch", tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    assert "now  running" in done.stdout
    assert "4 of 20 tasks" in done.stdout
    assert "success rate  80% expected at the end, 3 measured tasks" in done.stdout
    assert "not measured  1 infrastructure_error" in done.stdout
    assert "budget $5.00" in done.stdout
    assert "vm-2" in done.stdout
    assert "t9" in done.stdout
    assert "t0: no VM" in done.stdout
    assert "before" not in done.stdout
    assert "\x1b[31m" not in done.stdout


def test_without_a_running_run_the_newest_is_shown_and_ids_pick(tmp_path: Path) -> None:
    small_run(tmp_path, "first")
    small_run(tmp_path, "second")
    assert "second  completed" in evalgauge("watch", tmp_path, "--once").stdout
    assert "first  completed" in evalgauge("watch", tmp_path, "first", "--once").stdout


def test_an_empty_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert f"No runs in {tmp_path} yet." in evalgauge("watch", tmp_path, "--once").stdout


def test_without_a_folder_the_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("watch", "runs"):
        assert "no runs: name the folder that holds the runs" in complaint(evalgauge(command), 1)


@pytest.mark.parametrize("columns", ["20", "40", "300"])
def test_any_width_has_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    small_run(tmp_path, "r")
    monkeypatch.setenv("COLUMNS", columns)
    printed = evalgauge("watch", tmp_path, "--once").stdout
    assert all(len(line) <= int(columns) for line in printed.splitlines())
    assert "67%" in printed


def test_in_a_terminal_new_events_appear_and_ctrl_c_ends(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", run_id="live", tasks=50) as run:
        main, other = pty.openpty()
        command = [sys.executable, "-m", "evalgauge_exporter", "watch", str(tmp_path)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        process = subprocess.Popen(command, stdin=other, stdout=other, stderr=subprocess.DEVNULL, env=environment)
        os.close(other)
        seen = ""

        def shows(text: str) -> bool:
            nonlocal seen
            if select.select([main], [], [], 1)[0]:
                seen += os.read(main, 65536).decode(errors="replace")
            return text in seen

        wait_for(lambda: shows("0 of 50"))
        for number in range(7):
            run.task(f"t{number}").finish(success=True)
        wait_for(lambda: shows("7 of 50"))
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the other end is closed: until then somebody has to read what it prints
            wait_for(lambda: not os.read(main, 65536))
        assert process.wait(180) == 0
        os.close(main)
