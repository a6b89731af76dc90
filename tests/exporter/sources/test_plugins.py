"""Formats that other packages add; docs/sources.md has one that is installed and run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from evalgauge_exporter.sources import plugins
from evalgauge_exporter.sources.base import FileFormat, Format, ReadResult, match_single_run
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.runlog import RunLogSource
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.sources.reading import write

ROOT = Path(__file__).parents[3]


class BrokenSource:
    """A source whose every method fails."""

    source = "broken"

    def __init__(self, place: Path) -> None:
        if place.name == "unmade":
            raise KeyError("what nobody thought of")
        self.folder = place

    @property
    def declared_run_id(self) -> str | None:
        raise RuntimeError("no id")

    def read(self, *, full_scan: bool = False) -> ReadResult:
        raise RuntimeError("no events")

    def fingerprint(self) -> str | None:
        raise RuntimeError("no fingerprint")

    def watch_paths(self) -> list[Path]:
        raise RuntimeError("no folders")


class PictureSource(BrokenSource):
    """One that also has screenshots of its own, and gives something else than a result."""

    def read(self, *, full_scan: bool = False) -> Any:
        return "nothing"

    def image(self, screenshot: str) -> bytes | None:
        if screenshot == "good":
            return b"x"
        raise RuntimeError("no such image")


def has_mark(folder: Path, names: frozenset[str]) -> bool:
    if "trap" in names:
        raise ZeroDivisionError("while it looked")
    return "mark" in names


def fails(path: Path) -> bool:
    raise ZeroDivisionError("while it looked")


BROKEN = Format(match_single_run(has_mark), BrokenSource, scored=False)
PICTURES = FileFormat(".pix", lambda path: True, PictureSource, scored=False)
FAILING_FILES = FileFormat(".bad", fails, RunLogSource, scored=False)
NOT_A_FORMAT = "text"
NO_SUFFIX = FileFormat("", fails, RunLogSource)
NAME = __name__


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends that packages with these entry points are installed."""

    def pretend(**points: str) -> None:
        found = [EntryPoint(name, value, plugins.GROUP) for name, value in points.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: found if group == plugins.GROUP else [])

    return pretend


def test_a_plug_in_that_fails_harms_no_other_run(tmp_path: Path, install: Any) -> None:
    install(
        a="no_such_package:FORMAT", b=f"{NAME}:NO_SUCH_NAME", c=f"{NAME}:NOT_A_FORMAT", d=f"{NAME}:NO_SUFFIX",
        e=f"{NAME}:BROKEN", f=f"{NAME}:FAILING_FILES", g=f"{NAME}:PICTURES",
    )  # fmt: skip
    small_run(tmp_path, "good")
    for name in ("made", "unmade"):
        write(tmp_path / name / "mark", "")
    write(tmp_path / "trapped" / "trap", "")
    for name in ("x.bad", "y.pix"):
        write(tmp_path / name, "x")
    looking = Discovery([tmp_path])
    found, problems = looking.scan()
    assert {run.folder.name for run in found} == {"good", "made", "unmade", "y.pix"}
    assert sorted(problem.reason for problem in problems) == ["defect"] * 2 + ["plugin"] * 4
    assert looking.scan() == ([], []), "it is said once"
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert exporter.state.runs["good"].is_finished()
    assert exporter.state.sources["broken"].errors["defect"] >= 1
    assert sum(health.errors.get("plugin", 0) for health in exporter.state.sources.values()) == 4


def test_what_a_source_of_a_plug_in_raises_is_a_problem_of_its_run(tmp_path: Path, install: Any) -> None:
    install(broken=f"{NAME}:BROKEN", pictures=f"{NAME}:PICTURES")
    for name in ("made", "unmade"):
        write(tmp_path / name / "mark", "")
    write(tmp_path / "y.pix", "x")
    sources = {run.folder.name: run.source for run in Discovery([tmp_path]).scan()[0]}
    for name, source in sources.items():
        result = source.read()
        assert (result.events, result.missing, len(result.problems)) == ([], False, 1), name
        assert (source.declared_run_id, source.fingerprint(), source.watch_paths()) == (None, None, [])
    assert "no events" in sources["made"].read().problems[0].detail
    assert sources["unmade"].source == "broken"
    pictures: Any = sources["y.pix"]
    assert (pictures.image("good"), pictures.image("bad")) == (b"x", None)
    assert not hasattr(sources["made"], "image")


def test_a_built_in_format_is_asked_first(tmp_path: Path, install: Any) -> None:
    install(greedy=f"{NAME}:GREEDY")
    small_run(tmp_path, "good")
    assert [run.source.source for run in Discovery([tmp_path / "good"]).scan()[0]] == ["runlog"]


GREEDY = [Format(match_single_run(lambda folder, names: True), BrokenSource, scored=False)]


def blocks(kind: str) -> list[str]:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def test_the_example_of_the_docs_is_installed_and_reads_a_run(tmp_path: Path) -> None:
    package, site, results = tmp_path / "package", tmp_path / "site", tmp_path / "results"
    write(package / "evalgauge_mybench.py", blocks("python")[0])
    write(package / "pyproject.toml", blocks("toml")[0])
    settings, outcome = blocks("json")
    write(results / "night" / "mybench.json", settings)
    write(results / "night" / "task-1" / "outcome.json", outcome)
    write(results / "night" / "task-2" / "outcome.json", json.dumps({**json.loads(outcome), "score": None}))
    write(results / "night" / "task-3" / "outcome.json", outcome.replace('"score": 1.0', '"score": 0.5'))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True, timeout=300, capture_output=True)
    command = [sys.executable, "-m", "evalgauge_exporter", "runs", "--json", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    listed = subprocess.run(command, check=True, timeout=120, capture_output=True, env=environment)
    (run,) = json.loads(listed.stdout)["runs"]
    assert (run["run_id"], run["source"], run["benchmark"]) == ("night", "mybench", "mybench")
    assert run["model_id"] == "claude-sonnet-4-5"
    assert run["outcomes"] == {"success": 1, "failure": 1, "evaluation_error": 1}
    assert run["cost_usd"] == pytest.approx(3 * (1200 * 3 + 80 * 15) / 1e6)
