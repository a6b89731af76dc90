"""Programs that some tests need besides Python. Without them a test is skipped; under CI it fails."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(__file__).parents[1] / ".cache" / "prometheus" / "bin"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def prometheus() -> Path:
    """Return Prometheus 3 or newer: on PATH, else where ``scripts/fetch-prometheus.sh`` puts it."""
    return _find_program("prometheus")


def promtool() -> Path:
    """Return promtool 3 or newer, from the same places."""
    return _find_program("promtool")


def azurite() -> Path:
    """Return Azurite's blob service: on PATH, else where ``scripts/fetch-azurite.sh`` puts it."""
    installed = Path(__file__).parents[1] / ".cache" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if found := shutil.which("azurite-blob"):
        return Path(found)
    if installed.is_file():
        return installed
    return skip_or_fail("azurite-blob is neither on PATH nor in .cache/azurite: run scripts/fetch-azurite.sh")


def chromium() -> Path:
    """Return Chromium or Chrome on PATH."""
    for name in CHROMIUMS:
        if found := shutil.which(name):
            return Path(found)
    return skip_or_fail(f"none of {', '.join(CHROMIUMS)} is on PATH: install Chromium")


def _find_program(name: str) -> Path:
    on_path = shutil.which(name)
    for candidate in (Path(on_path) if on_path else None, CACHE / name):
        if candidate and candidate.is_file() and _major_version(candidate) >= 3:
            return candidate
    return skip_or_fail(f"{name} 3 or newer is neither on PATH nor in {CACHE}: run scripts/fetch-prometheus.sh")


@functools.cache
def _major_version(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.", done.stdout + done.stderr)
    return int(version[1]) if version else 0


def skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
