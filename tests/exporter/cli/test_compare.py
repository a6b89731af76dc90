"""``evalgauge compare``: for people, for programs, and for pipelines."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evalgauge import track_run
from tests.exporter.cli.invoking import complaint, evalgauge, evalgauge_process
from tests.exporter.runs import small_run

GOOD, BAD = "s" * 20, "f" * 10 + "s" * 10


@pytest.fixture
def results(tmp_path: Path) -> Path:
    small_run(tmp_path, "good", outcomes=GOOD)
    small_run(tmp_path, "bad", outcomes=BAD)
    small_run(tmp_path, "same", outcomes="f" + "s" * 19)
    return tmp_path


@pytest.mark.parametrize(
    ("runs", "options", "code", "message"),
    [
        (("good", "bad"), [], 3, "The candidate is significantly worse than the baseline (10 tasks solved only by the"),
        (("bad", "good"), [], 0, "The candidate is significantly better than the baseline"),
        (("good", "same"), [], 0, "No significant difference"),
        (("good", "same"), ["--fail-on", "any-drop"], 3, "No significant difference"),
        (("good", "bad"), ["--fail-on", "never"], 0, "significantly worse"),
        (("good", "bad"), ["--min-pairs", "50"], 4, "Too few tasks for a verdict: 20"),
    ],
)
def test_the_verdict_is_a_sentence_and_an_exit_code(
    results: Path, runs: tuple[str, str], options: list[str], code: int, message: str
) -> None:
    done = evalgauge("compare", results, *runs, *options)
    assert done.returncode == code, done.stderr
    assert message in done.stdout


def test_every_difference_is_candidate_minus_baseline(results: Path) -> None:
    printed = evalgauge("compare", results, "good", "bad").stdout
    assert "−50 points" in printed
    assert "30 to 70%" in printed  # Wilson's, of ten of twenty
    assert "+50 points" in evalgauge("compare", results, "bad", "good").stdout
    assert "baseline" in printed
    assert "candidate" in printed


def test_an_incomplete_run_gets_no_verdict_unless_it_is_already_worse(results: Path) -> None:
    small_run(results, "running", outcomes="s" * 12, finish=False)
    running = evalgauge("compare", results, "good", "running")
    assert running.returncode == 4
    assert "The candidate is running." in running.stdout
    assert "A run is still running: p is anytime-valid" in running.stdout
    assert "12 of 20 tasks compared (60%), fewer than --min-coverage 80%." in running.stdout
    assert "8 tasks measured only in the baseline, not compared." in running.stdout
    small_run(results, "crashed", outcomes="f" * 20, finish=False)
    assert evalgauge("compare", results, "good", "crashed").returncode == 3


def test_runs_of_different_benchmarks_get_no_verdict(results: Path) -> None:
    with track_run(results, benchmark="osworld", model="m", run_id="other") as run:
        for number in range(20):
            with run.task(f"t{number}") as task:
                task.finish(success=True)
    done = evalgauge("compare", results, "good", "other")
    assert done.returncode == 4
    assert "The benchmarks differ: waa and osworld." in done.stdout


def test_a_candidate_that_covers_few_tasks_passes_only_if_that_is_allowed(results: Path) -> None:
    small_run(results, "subset", outcomes="s" * 12)
    assert evalgauge("compare", results, "good", "subset").returncode == 4
    assert evalgauge("compare", results, "good", "subset", "--min-coverage", "0.6").returncode == 0


def test_json_is_the_api_answer_with_the_checks(results: Path) -> None:
    done = evalgauge("compare", results, "good", "bad", "--json")
    assert done.returncode == 3
    whole = json.loads(done.stdout)
    body = whole["comparison"]
    assert body["delta"]["success_rate"] == 0.5
    assert body["significance"]["verdict"] == "worse"
    assert body["significance"]["paired_tasks"] == 20
    assert body["run_a"]["run_id"] == "good"
    assert [(check["name"], check["result"]) for check in whole["checks"]] == [
        ("comparison", "failed"),
        ("coverage", "passed"),
    ]


def scored_run(results: Path, run_id: str, scores: list[float]) -> None:
    with track_run(results, benchmark="scored", model="m", run_id=run_id) as run:
        for number, score in enumerate(scores):
            with run.task(f"t{number}") as task:
                task.finish(score=score)


def test_the_verdict_can_be_about_the_mean_score(results: Path) -> None:
    scored_run(results, "before", [0.9] * 20)
    scored_run(results, "after", [0.4] * 20)
    rates = evalgauge("compare", results, "before", "after")
    assert "No significant difference" in rates.stdout, "no task of either is a success"
    scores = evalgauge("compare", results, "before", "after", "--metric", "score")
    assert scores.returncode == 3, scores.stdout
    assert "The candidate's mean score is significantly worse (−0.500; p < 0.001)." in scores.stdout
    assert evalgauge("compare", results, "after", "before", "--metric", "score").returncode == 0


def test_scores_on_another_scale_have_no_success_rate_to_compare(results: Path) -> None:
    scored_run(results, "before", [7.0, 9.0] * 10)
    scored_run(results, "after", [3.0, 5.0] * 10)
    done = evalgauge("compare", results, "before", "after")
    assert done.returncode == 4
    assert "there is no success rate; use --metric score" in done.stdout
    scores = evalgauge("compare", results, "before", "after", "--metric", "score", "--json")
    assert scores.returncode == 3
    answer = json.loads(scores.stdout)
    assert (answer["coverage"], answer["comparison"]["delta"]["success_rate"]) == (1.0, None)
    assert "before: scores reach 9" in answer["comparison"]["significance"]["reason"]


def test_runs_without_scores_have_none_to_compare(results: Path) -> None:
    done = evalgauge("compare", results, "good", "bad", "--metric", "score")
    assert done.returncode == 4
    assert "No verdict: no task has scores in both runs." in done.stdout


def test_power_says_what_so_many_tasks_can_show(results: Path) -> None:
    found = json.loads(evalgauge("power", "--tasks", "154", "--json").stdout)
    assert 0.1 < found["drop"] < 0.2
    assert found["rate"] == 0.5
    half = json.loads(evalgauge("power", "--tasks", "154", "--baseline", results / "bad", "--json").stdout)
    assert half["rate"] == 0.5
    assert "154 tasks show a drop of " in evalgauge("power", "--tasks", "154").stdout
    assert "cannot show any drop" in evalgauge("power", "--tasks", "3").stdout
    small_run(results, "none", outcomes="fff")
    refused = evalgauge("power", "--tasks", "10", "--baseline", results / "none")
    assert "has no success" in complaint(refused, 1)


def test_the_leaderboard_ranks_models_and_compares_each_two(results: Path) -> None:
    small_run(results, "weak", model="claude-haiku-4-5", outcomes="f" * 18 + "ss")
    small_run(results, "running", model="m", outcomes="s", finish=False)
    printed = evalgauge("leaderboard", results).stdout
    assert printed.index("claude-sonnet-4-5") < printed.index("claude-haiku-4-5")
    assert "claude-haiku-4-5 against claude-sonnet-4-5" in printed
    assert "worse" in printed
    boards = json.loads(evalgauge("leaderboard", results, "--json").stdout)
    assert "claude-haiku-4-5" in json.dumps(boards)
    assert "no grouping" in complaint(evalgauge("leaderboard", results, "--by", "colour"), 1)


def test_runs_are_named_by_path_too(results: Path) -> None:
    done = evalgauge("compare", results / "good", results / "bad")
    assert done.returncode == 3, done.stderr


def test_several_candidates_are_corrected_for_their_number(results: Path) -> None:
    done = evalgauge("compare", results, "good", "bad", "same", "--json")
    assert done.returncode == 3
    first, second = json.loads(done.stdout)["comparisons"]
    assert first["adjusted_p_value"] == pytest.approx(2 * first["comparison"]["significance"]["p_value"])
    assert second["adjusted_p_value"] == 1
    assert "adjusted p" in evalgauge("compare", results, "good", "bad", "same").stdout


def test_a_folder_alone_is_not_a_comparison(results: Path) -> None:
    assert "name the baseline and then the candidate" in complaint(evalgauge("compare", results), 2)


def test_junit_has_a_case_for_each_check(results: Path) -> None:
    root = ElementTree.fromstring(evalgauge("compare", results, "good", "bad", "--format", "junit").stdout.encode())
    assert [case.get("name") for case in root.iter("testcase")] == ["comparison", "coverage"]
    assert "significantly worse" in (next(root.iter("failure")).get("message") or "")


def test_github_gets_annotations_and_a_job_summary(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = evalgauge("compare", results, "good", "bad", "--format", "github")
    assert done.stdout.splitlines()[0].startswith("::error title=bad against good%3A comparison::The candidate is")
    assert (tmp_path / "summary.md").read_text().startswith("### bad against good\n")


def test_a_narrow_terminal_gets_every_label(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = evalgauge("compare", results, "good", "bad").stdout.splitlines()
    start = lines.index("success rate")
    assert lines[start + 1 : start + 4] == ["  baseline: 100%", "  candidate: 50%", "  difference: −50 points"]
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_a_console_of_another_encoding_loses_no_output(
    results: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = evalgauge_process("compare", results, "good", "bad")
    assert done.returncode == 3, done.stderr
    assert "-50 points" in done.stdout


def test_an_unknown_run_is_one_line_with_the_nearest_ids(results: Path) -> None:
    assert "did you mean good?" in complaint(evalgauge("compare", results, "goood", "bad"), 1)
