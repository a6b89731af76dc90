"""What pipelines use: action.yml and the pytest recipe."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalgauge.events import RunFinished, Step, TaskFinished, TaskStarted
from evalgauge.runlog import read_events
from tests.exporter.runs import small_run

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())


def judge(tmp_path: Path, command: str, args: str) -> subprocess.CompletedProcess[str]:
    """Run the judging step of the action as a runner would, with the installed command."""
    step = ACTION["runs"]["steps"][1]
    assert {name: value.strip("${ }") for name, value in step["env"].items()} == {
        "EVALGAUGE_COMMAND": "inputs.command",
        "EVALGAUGE_ARGS": "inputs.args",
    }
    program = tmp_path / "runner" / "evalgauge" / "bin" / "evalgauge"
    if not program.exists():
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m evalgauge_exporter "$@"\n')
        program.chmod(0o755)
    environment = {
        **os.environ,
        "RUNNER_TEMP": str(tmp_path / "runner"),
        "EVALGAUGE_COMMAND": command,
        "EVALGAUGE_ARGS": args,
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(shell, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)


def test_the_action_fails_the_job_and_annotates_it(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "good", outcomes="s" * 20)
    small_run(tmp_path / "results", "bad", outcomes="f" * 20)
    done = judge(tmp_path, "compare", "results good bad")
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("::error title=bad against good")
    assert "### bad against good" in (tmp_path / "summary.md").read_text()
    assert judge(tmp_path, "check", "results good --min-success 90%").returncode == 0


def test_the_inputs_of_the_action_are_not_run_by_the_shell(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "good")
    assert judge(tmp_path, "check", "results $(touch ran) ; touch ran").returncode != 0
    assert judge(tmp_path, "doctor; touch ran", "").returncode == 2
    assert not (tmp_path / "ran").exists()
    assert all("${{" not in step["run"] for step in ACTION["runs"]["steps"])


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-actions", "action.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_for_github_are_valid(schema: str, pattern: str) -> None:
    files = [str(path) for path in ROOT.glob(pattern)]
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_use_actions_by_their_digest_and_grant_nothing_by_default() -> None:
    for path in (ROOT / ".github" / "workflows").iterdir():
        used = re.findall(r"uses: (\S+)", path.read_text())
        assert used
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used), path.name
        assert yaml.safe_load(path.read_text())["permissions"] in ({}, {"contents": "read"})


TESTS = """
import pytest

def test_success(task): task.step(action="click")
def test_failure(task): assert 1 == 2
def test_error(task): raise ValueError("no model")
def test_skipped(task): pytest.skip("not today")
def test_without_a_task(): assert True
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "examples" / "pytest_tasks" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:inspect_ai", *options]
    environment = {**os.environ, "MODEL": "m"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)


def test_each_test_with_a_task_is_recorded_with_its_outcome(recipe: Path) -> None:
    done = run_pytest(recipe)
    assert "2 failed, 2 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    (folder,) = (recipe / "results").iterdir()
    events = list(read_events(folder))
    finished = {event.task_id: event for event in events if isinstance(event, TaskFinished)}
    assert {name: event.outcome for name, event in finished.items()} == {
        "test_success": "success",
        "test_failure": "failure",
        "test_error": "agent_error",
        "test_skipped": "interrupted",
    }
    assert "assert 1 == 2" in (finished["test_failure"].reason or "")
    assert "ValueError: no model" in (finished["test_error"].error or "")
    assert {event.domain for event in events if isinstance(event, TaskStarted)} == {"test_it"}
    assert any(isinstance(event, Step) for event in events)
    assert [event.status for event in events if isinstance(event, RunFinished)] == ["completed"]


def test_the_example_of_the_recipe_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "pytest_tasks", tmp_path / "tests")
    done = run_pytest(tmp_path, "tests")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert len(list((tmp_path / "results").iterdir())) == 1
