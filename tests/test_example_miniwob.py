"""examples/miniwob.py: the arithmetic of its agent, its error messages, and a short real run."""

from __future__ import annotations

import importlib.util
import json
import operator
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parent.parent / "examples" / "miniwob.py"
TASKS = "login-user,count-shape,click-shades"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_miniwob", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_miniwob"] = module
    sys.path.insert(0, str(EXAMPLE.parent))  # as it is when the file is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLE.parent))
    return module


example = load()
agent = sys.modules["miniwob_agent"]


def run_example(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a run over three tasks printed, and its folder."""
    if shutil.which("chromium") is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium here: apt-get install chromium")
        pytest.skip("no chromium here: apt-get install chromium")
    results = tmp_path_factory.mktemp("results")
    done = run_example("--results", results, "--tasks", TASKS, "--episodes", "1", "--model", "by-rule")
    assert done.returncode == 0, done.stderr
    (folder,) = results.iterdir()
    return done.stdout, folder


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for path in folder.glob("events/*.jsonl") for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == kind]


def printed(output: str, name: str) -> str:
    found = re.search(rf"^{name}  +(\S+)$", output, re.MULTILINE)
    assert found is not None, output
    return found[1]


def test_the_log_says_what_the_run_printed(short_run: tuple[str, Path]) -> None:
    output, folder = short_run
    finished = events(folder, "task_finished")
    scores = [task["score"] for task in finished]
    assert printed(output, "tasks") == "3"
    assert printed(output, "attempts") == str(len(finished)) == "3"
    for outcome in ("success", "failure", "agent_error", "infrastructure_error"):
        assert printed(output, outcome) == str(sum(task["outcome"] == outcome for task in finished))
    assert printed(output, "steps") == str(sum(task["steps"] for task in finished))
    assert printed(output, "mean reward") == f"{sum(scores) / len(scores):.3f}"
    assert printed(output, "run").endswith(folder.name)
    assert [event["status"] for event in events(folder, "run_finished")] == ["completed"]


def test_it_logs_in_and_gives_up_where_it_has_no_rule(short_run: tuple[str, Path]) -> None:
    finished = {task["task_id"]: task for task in events(short_run[1], "task_finished")}
    assert (finished["login-user"]["outcome"], finished["login-user"]["score"]) == ("success", 1)
    assert finished["login-user"]["steps"] == 5
    assert finished["click-shades"]["outcome"] == "agent_error"
    assert "no rule for" in finished["click-shades"]["error"]


def test_every_step_has_a_screenshot_with_a_picture_and_clicks_lie_on_it(short_run: tuple[str, Path]) -> None:
    folder = short_run[1]
    steps = events(folder, "step")
    assert len(steps) >= 8
    for step in steps:
        png = (folder / step["screenshot"]).read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (320, 420)
        assert len(png) > 1000, "a blank page"
        if step["action"]["type"] == "click":
            assert 0 < step["action"]["x"] < 1
            assert 0 < step["action"]["y"] < 1
    last = {step["task_id"]: step["action"]["type"] for step in steps}
    assert last == {"login-user": "done", "count-shape": "done", "click-shades": "error"}


def test_the_run_names_its_benchmark_model_and_tasks(short_run: tuple[str, Path]) -> None:
    (started,) = events(short_run[1], "run_started")
    assert (started["benchmark"], started["model"], started["agent"]) == ("miniwob", "by-rule", "miniwob-scripted")
    assert ",".join(task["task_id"] for task in started["tasks"]) == TASKS
    instruction = events(short_run[1], "task_started")[0]["instruction"]
    assert instruction.startswith("Enter the username")


def test_without_a_browser_the_error_is_one_line(tmp_path: Path) -> None:
    done = run_example("--results", tmp_path / "results", "--chromium", "no-such-browser")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: no browser 'no-such-browser' here: apt-get install chromium, or name one with --chromium"
    ]
    assert not (tmp_path / "results").exists()


def test_without_the_package_the_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(example, "distribution", missing)
    with pytest.raises(SystemExit) as ended:
        example.main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Error: the package miniwob is missing: pip install miniwob\n"


def test_an_unknown_task_is_reported_with_similar_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        example.main(["--tasks", "click-tets"])
    assert ended.value.code == 2
    assert "no task 'click-tets'; near: click-test" in capsys.readouterr().err


def test_at_least_ten_tasks_are_run_by_default_and_all_exist() -> None:
    assert len(example.pages_of(list(example.TASKS))) >= 10


class Problem:
    """A screen with a sum on it, a field and a button."""

    def __init__(self, text: str) -> None:
        self._text = text

    def elements(self) -> list[Any]:
        return [
            agent.Element("div", "math-problem", self._text, "", "", 0.5, 0.4, 0.5, 0.1),
            agent.Element("input", "math-answer text", "", "", "", 0.5, 0.6, 0.2, 0.1),
            agent.Element("button", "subbtn submit", "Submit", "", "", 0.5, 0.8, 0.5, 0.1),
        ]


def answer(problem: str) -> int:
    typed = [move.action["text"] for move in agent.calculate(Problem(problem)) if move.action["type"] == "type"]
    assert len(typed) == 1
    return int(typed[0])


@given(st.integers(0, 99), st.sampled_from("+-x"), st.integers(0, 99))
def test_the_agent_adds_subtracts_and_multiplies(a: int, sign: str, b: int) -> None:
    result = {"+": operator.add, "-": operator.sub, "x": operator.mul}[sign](a, b)
    assert answer(f"{a} {sign} {b} =") == result


@given(st.integers(0, 99), st.sampled_from("+-"), st.integers(-99, 99), st.booleans())
def test_its_x_solves_the_equation(a: int, sign: str, total: int, x_first: bool) -> None:
    left, right = ("x", str(a)) if x_first else (str(a), "x")
    x = answer(f"{left} {sign} {right} = {total}")
    first, second = (x, a) if x_first else (a, x)
    assert (first + second if sign == "+" else first - second) == total
