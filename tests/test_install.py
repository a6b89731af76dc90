"""Installing the wheel into empty environments, as users do: by pip, by uv, with each extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parts import skip_or_fail

ROOT = Path(__file__).parents[1]
UV = [sys.executable, "-m", "uv", "--no-progress"]
DEMO = ["demo", "--once", "--tasks", "20", "--speed", "6000", "--port", "0", "--no-browser", "--results", "results"]


def run(command: Sequence[str | Path], folder: Path, timeout: float = 600) -> str:
    """Run a command that must not see this environment; its output. Without an index the test is skipped."""
    outside = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=timeout, env=outside)
    if done.returncode and re.search("No matching distribution|Failed to fetch|dns error|No solution", done.stderr):
        skip_or_fail(f"no package index answers: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT], out)
    (path,) = out.glob("*.whl")
    return path


def test_pip_installs_a_demo_that_works(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    run([tmp_path / "env/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[exporter]"], tmp_path)
    printed = run([tmp_path / "env/bin/evalgauge", *DEMO], tmp_path)
    assert "20 of 20 tasks" in printed
    assert "env/bin/evalgauge runs results" in printed
    assert len(run([tmp_path / "env/bin/evalgauge", "runs", "results"], tmp_path).splitlines()) >= 5


def test_uv_runs_a_demo_without_installing_it(wheel: Path, tmp_path: Path) -> None:
    printed = run([*UV, "tool", "run", "--from", f"{wheel}[exporter]", "evalgauge", *DEMO], tmp_path)
    assert "20 of 20 tasks" in printed
    assert (tmp_path / "results").is_dir()


def sizes() -> list[tuple[str, float]]:
    """The extras and their megabytes in docs/install.md."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    return [(name, float(size)) for name, size in re.findall(r"^\| (?:`(\w+)`|\(none\)) \|.*\| (\d+) \|$", page, re.M)]


@pytest.mark.parametrize(("extra", "megabytes"), sizes(), ids=lambda value: str(value) or "none")
def test_the_size_of_each_extra_is_documented(wheel: Path, tmp_path: Path, extra: str, megabytes: float) -> None:
    """All that an environment holds, the tracker included; a fifth more or less is no news."""
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    run([*UV, "pip", "install", "--quiet", "--target", tmp_path / "all", requirement], tmp_path)
    files = [path for path in (tmp_path / "all").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    assert size == pytest.approx(megabytes, rel=0.2, abs=2), f"{extra or 'no extra'}: {size:.0f} MB"


def test_every_extra_has_its_size() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for name, _ in sizes()} == {"", *extras}
