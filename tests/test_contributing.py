"""The recipes of CONTRIBUTING.md: each is carried out on a copy of the packages, and its check is run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("instrumentation", "exporter", "dashboards")
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", PAGE, re.DOTALL | re.MULTILINE))
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|(?P<check>Check)"
    r"|In `(?P<file>[^`]+)`, (?P<where>before|after) the line `(?P<line>[^`\n]+)`):"
    r"\n\n```python\n(?P<code>.*?)```$",
    re.DOTALL | re.MULTILINE,
)


def carry_out(recipe: str, root: Path) -> str:
    """Make the changes of a recipe below ``root``; return its check."""
    check = ""
    for step in STEP.finditer(recipe):
        if step["check"]:
            check = step["code"]
        elif step["new"]:
            assert not (root / step["new"]).exists()
            (root / step["new"]).write_text(step["code"], encoding="utf-8")
        else:
            path = root / step["file"]
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            places = [number for number, line in enumerate(lines) if line.startswith(step["line"])]
            assert len(places) == 1, f"{step['file']} has {len(places)} lines that begin with {step['line']!r}"
            at = places[0] + (step["where"] == "after")
            path.write_text("".join([*lines[:at], step["code"], *lines[at:]]), encoding="utf-8")
    return check


def test_there_are_the_four_recipes() -> None:
    assert list(RECIPES) == ["A new source", "A new metric", "A new panel", "A new event"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_as_it_is_written(name: str, tmp_path: Path) -> None:
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "generated"))
    check = carry_out(RECIPES[name], tmp_path)
    assert check
    assert sum(len(step["code"].splitlines()) for step in STEP.finditer(RECIPES[name])) < 100
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(tmp_path / folder) for folder in FOLDERS)}
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
