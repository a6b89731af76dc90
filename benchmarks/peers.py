"""Peers that are no dependency of evalgauge: environments in .cache, made when a benchmark first asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("mlflow==3.17.2", "inspect-ai==0.3.285")
QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "OPENADAPT_TELEMETRY_ENABLED": "false"}


class PeerMissing(Exception):
    """A peer can't be had; says why."""


def find_python() -> Path:
    """Return the interpreter of an environment with ``PACKAGES``.

    Raises:
        PeerMissing: They could not be installed.
    """
    folder = ROOT / ".cache" / "peers"
    python, ready, wanted = folder / "bin" / "python", folder / ".ready", "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        _run_uv("venv", "--clear", str(folder))
        _run_uv("pip", "install", "--python", str(python), *PACKAGES)
        ready.write_text(wanted)
    return python


def _run_uv(*arguments: str) -> None:
    try:
        subprocess.run(
            [Path(sys.executable).parent / "uv", *arguments], check=True, capture_output=True, text=True, timeout=180
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise PeerMissing(f"not installed: {said.strip().splitlines()[-1][:200]}") from error


def find_openadapt_python() -> Path:
    """Return the interpreter of an environment with openadapt-evals: ``OPENADAPT_PYTHON``, else one in .cache.

    Raises:
        PeerMissing: It could not be installed.
    """
    if given := os.environ.get("OPENADAPT_PYTHON"):
        return Path(given)
    script = [str(ROOT / "scripts" / "fetch-openadapt.sh")]
    made = subprocess.run(
        script, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )
    if " in /" not in made.stdout:
        raise PeerMissing(made.stdout.strip() or made.stderr.strip())
    return Path(made.stdout.rpartition(" in ")[2].strip()) / "bin" / "python"


def run_python(python: Path, code: str, *arguments: object) -> str:
    """Return what a program that uses a peer prints last.

    Raises:
        PeerMissing: The program failed.
    """
    command = [str(python), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissing(f"it failed: {done.stderr.strip().splitlines()[-1][:200]}")
    return done.stdout.strip().splitlines()[-1]
