"""``evalgauge compare``: for people, for programs, and for pipelines."""

import json
from pathlib import Path

import pytest

from tests.exporter.cli.test_main import complaint, evalgauge
from tests.exporter.runs import small_run

GOOD, BAD = "s" * 20, "f" * 10 + "s" * 10


@pytest.fixture
def results(tmp_path: Path) -> Path:
    small_run(tmp_path, "good", outcomes=GOOD)
    small_run(tmp_path, "bad", outcomes=BAD)
    small_run(tmp_path, "same", outcomes="f" + "s" * 19)
    return tmp_path


@pytest.mark.parametrize(
    ("runs", "options", "code", "says"),
    [
        (("good", "bad"), [], 3, "B is significantly worse than A (10 tasks only A solved, 0 only B"),
        (("bad", "good"), [], 0, "B is significantly better than A"),
        (("good", "same"), [], 0, "No significant difference"),
        (("good", "same"), ["--fail-on", "any-drop"], 3, "No significant difference"),
        (("good", "bad"), ["--fail-on", "never"], 0, "significantly worse"),
        (("good", "bad"), ["--min-pairs", "50"], 0, "Too few tasks for a verdict: 20"),
    ],
)
def test_the_verdict_is_a_sentence_and_an_exit_code(
    results: Path, runs: tuple[str, str], options: list[str], code: int, says: str
) -> None:
    done = evalgauge("compare", results, *runs, *options)
    assert done.returncode == code, done.stderr
    assert says in done.stdout


def test_remarks_follow_the_verdict(results: Path) -> None:
    said = evalgauge("compare", results, "good", "bad").stdout
    assert "30 to 70%" in said  # Wilson's, of ten of twenty
    dropped = evalgauge("compare", results, "good", "same", "--fail-on", "any-drop").stdout
    assert "1 task only A solved" in dropped
    assert "Exit 3: B succeeded less often over these tasks, and --fail-on is any-drop." in dropped
    small_run(results, "running", outcomes="f", finish=False)
    running = evalgauge("compare", results, "good", "running")
    assert "Too few tasks for a verdict: 1 was measured" in running.stdout
    assert "A run is still running: p is anytime-valid, so it may be looked at repeatedly." in running.stdout
    assert "19 tasks measured only in A, not counted above." in running.stdout


def test_json_equals_the_api_answer(results: Path) -> None:
    done = evalgauge("compare", results, "good", "bad", "--json")
    assert done.returncode == 3
    body = json.loads(done.stdout)["comparison"]
    assert body["delta"]["success_rate"] == 0.5
    assert body["significance"]["verdict"] == "worse"
    assert body["significance"]["paired_tasks"] == 20
    assert body["run_a"]["run_id"] == "good"


def test_an_unknown_run_is_one_line_with_the_nearest_ids(results: Path) -> None:
    said = complaint(evalgauge("compare", results, "goood", "bad"), 1)
    assert "did you mean good?" in said
