"""``scripts/fetch-prometheus.sh`` where nothing has to be fetched: what it finds and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "fetch-prometheus.sh"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script in a repository of its own, with nothing fetched."""
    (tmp_path / "scripts").mkdir()
    return Path(shutil.copy(SCRIPT, tmp_path / "scripts"))


def program(folder: Path, name: str, version: str) -> None:
    """A program that says its version as Prometheus does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{name}, version {version}+ds1 (branch: x, revision: y)' >&2\n")
    path.chmod(0o755)


def run(script: Path, *on_path: Path, ci: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs it where only the folders, and the few programs that it always needs, are on PATH."""
    tools = script.parents[1] / "tools"
    tools.mkdir()
    for tool in ("dirname", "sed"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    environment = {"PATH": os.pathsep.join(map(str, (*on_path, tools)))} | ({"CI": "1"} if ci else {})
    shell = str(shutil.which("sh"))
    return subprocess.run([shell, str(script)], env=environment, capture_output=True, text=True, check=False)


def test_what_is_on_the_path_is_taken(copy: Path, tmp_path: Path) -> None:
    for name in ("prometheus", "promtool"):
        program(tmp_path / "bin", name, "3.5.3")
    done = run(copy, tmp_path / "bin")
    assert (done.returncode, done.stdout) == (0, f"prometheus 3.5.3 in {tmp_path / 'bin'}\n")


def test_an_old_one_on_the_path_gives_way_to_the_fetched_one(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "prometheus"
    for name in ("prometheus", "promtool"):
        program(tmp_path / "bin", name, "2.42.0")
        program(cache / "bin", name, "3.7.0")
    (cache / "version").write_text("3.7.0\n")
    done = run(copy, tmp_path / "bin")
    assert (done.returncode, done.stdout) == (0, f"prometheus 3.7.0 in {cache / 'bin'}\n")


def test_a_cache_that_is_not_complete_is_not_believed(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "prometheus"
    program(cache / "bin", "prometheus", "3.7.0")
    (cache / "version").write_text("3.7.0\n")
    assert "no prometheus" in run(copy).stdout


@pytest.mark.parametrize(("ci", "status"), [(False, 0), (True, 1)])
def test_where_there_is_none_it_says_what_to_install_and_fails_under_ci_alone(
    copy: Path, tmp_path: Path, ci: bool, status: int
) -> None:
    program(tmp_path / "bin", "prometheus", "2.42.0")
    program(tmp_path / "bin", "promtool", "2.42.0")
    done = run(copy, tmp_path / "bin", ci=ci)
    assert done.returncode == status
    assert len(done.stdout.splitlines()) == 1
    assert "Install prometheus and promtool 3 or newer" in done.stdout
