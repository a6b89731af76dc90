"""Calling the command in tests."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

from evalgauge_exporter.cli.main import main


def evalgauge(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, from its entry point to its exit code."""
    arguments = ["evalgauge", *map(str, args)]
    out, err = io.StringIO(newline=""), io.StringIO()
    code = 0
    with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def evalgauge_process(*args: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, for what a process has: signals, encodings, imports."""
    command = [sys.executable, "-m", "evalgauge_exporter", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line on stderr of a command that failed."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr
