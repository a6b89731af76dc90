"""The environment with the real packages, which is built once."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
ENVIRONMENT = ROOT / ".cache" / "openadapt-0.98.0"

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment() -> Path:
    """Where the environment with openadapt-evals lies; the test is skipped where it can't be had, under CI it fails."""
    if not (ENVIRONMENT / ".ready").exists():
        subprocess.run(
            [ROOT / "scripts" / "fetch-openadapt.sh"], env={**os.environ, "PYTHON": sys.executable}, check=False
        )
    if not (ENVIRONMENT / ".ready").exists():
        reason = f"openadapt-evals can't be had: run scripts/fetch-openadapt.sh and see {ENVIRONMENT}.log"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return ENVIRONMENT


@pytest.fixture(scope="session")
def program_in(environment: Path) -> Program:
    """Runs Python there, in a folder, with this repository's evalgauge and a release of openadapt-evals."""

    def run(folder: Path, *arguments: str, release: str = "0.98.0") -> subprocess.CompletedProcess[str]:
        before = [] if release == "0.98.0" else [str(environment / "releases" / release)]
        paths = os.pathsep.join([*before, str(ROOT / "instrumentation")])
        quiet = {"DO_NOT_TRACK": "1", "OPENADAPT_TELEMETRY_ENABLED": "false", "PYTHONPATH": paths}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
        done = subprocess.run(
            [environment / "bin" / "python", *arguments],
            cwd=folder,
            env={**inherited, **quiet},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def program(program_in: Program, tmp_path: Path) -> Program:
    """The same in an empty folder."""
    return functools.partial(program_in, tmp_path)
