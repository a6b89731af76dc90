"""``--scorer`` and ``--tag``, and what the configuration says of baselines that do not exist."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from evalgauge import track_run
from evalgauge_exporter.cli.doctor_checks import check_all
from evalgauge_exporter.config.model import load_config
from tests.exporter.cli.invoking import complaint, evalgauge
from tests.exporter.runs import small_run
from tests.exporter.sources.test_scorers import BOTH, scored_run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_PRICES__CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("command", ["runs", "check", "export", "compare", "leaderboard"])
def test_an_unknown_scorer_is_one_line_with_the_names_that_exist(tmp_path: Path, command: str) -> None:
    results = scored_run(tmp_path / "results", BOTH)
    scored_run(results, BOTH, run_id="s")
    runs = [results / "r", results / "s"] if command == "compare" else [results]
    more = ["--format", "csv", "--out", "-"] if command == "export" else []
    told = complaint(evalgauge(command, *runs, *more, "--scorer", "speed"), 1)
    *warnings, error = told.splitlines()
    assert error.endswith("in run r there is no score of 'speed'; there are scores of 'match', 'style'")
    assert len(warnings) == (2 if command == "runs" else 0)  # one for each run that has other scorers


def test_a_run_whose_only_score_has_no_name_has_no_scorer_to_choose(tmp_path: Path) -> None:
    results = scored_run(tmp_path / "results", {"score": 1.0})
    told = complaint(evalgauge("check", results, "--scorer", "style"), 1)
    assert "run r has one score, of a scorer that it does not name" in told


def test_runs_are_listed_with_the_chosen_scorer(tmp_path: Path) -> None:
    results = scored_run(tmp_path / "results", BOTH)
    (run,) = json.loads(evalgauge("runs", results, "--json", "--scorer", "style").stdout)["runs"]
    assert (run["scorer"], run["scorers"], run["mean_score"], run["success_rate"]) == (
        "style",
        ["match", "style"],
        0.4,
        0,
    )
    (run,) = json.loads(evalgauge("runs", results, "--json").stdout)["runs"]
    assert (run["scorer"], run["mean_score"], run["success_rate"]) == ("match", 1, 1)


def test_the_configuration_chooses_a_scorer_by_benchmark(tmp_path: Path) -> None:
    results = scored_run(tmp_path / "results", BOTH)
    file = tmp_path / "evalgauge.toml"
    file.write_text('[scorer]\ndesk = "style"\n')
    (run,) = json.loads(evalgauge("runs", results, "--json", "--config", file).stdout)["runs"]
    assert (run["scorer"], run["mean_score"]) == ("style", 0.4)


def test_the_variable_chooses_a_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_SCORER", "style")
    assert load_config().scorer == "style"


def test_every_score_is_exported(tmp_path: Path) -> None:
    results = scored_run(tmp_path / "results", BOTH, {"outcome": "success"})
    rows = list(csv.DictReader(io.StringIO(evalgauge("export", results, "--format", "csv", "--out", "-").stdout)))
    assert json.loads(rows[0]["scores"]) == BOTH["scores"]
    assert rows[1]["scores"] == ""
    tasks = json.loads(evalgauge("export", results, "--format", "json", "--out", "-").stdout)["tasks"]
    assert [task["scores"] for task in tasks] == [BOTH["scores"], None]


def test_runs_are_filtered_by_tag(tmp_path: Path) -> None:
    for run_id, tags in (("a", {"agent": "x", "split": "dev"}), ("b", {"agent": "x"})):
        track_run(tmp_path / "results", benchmark="w", model="m", run_id=run_id, tags=tags).finish()

    def listed(*tags: str) -> set[str]:
        options = [part for tag in tags for part in ("--tag", tag)]
        done = evalgauge("runs", tmp_path / "results", "--json", *options)
        return {run["run_id"] for run in json.loads(done.stdout)["runs"]}

    assert listed("agent=x") == {"a", "b"}
    assert listed("agent=x", "split=dev") == {"a"}
    assert listed("split=test") == set()
    assert "write NAME=VALUE" in complaint(evalgauge("runs", tmp_path / "results", "--tag", "split"), 1)


def test_doctor_names_baselines_that_do_not_exist(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "there")
    settings = load_config(
        results=(tmp_path / "results",), listen="127.0.0.1:0", baselines={"waa": "there", "web": "gone"}
    )
    (finding,) = [one for one in check_all(settings) if one.what == "baseline"]
    assert (finding.ok, finding.detail) == (False, "baselines: web = 'gone': there is no run with this id")
    settings = settings.model_copy(update={"baselines": {"waa": "there"}})
    (finding,) = [one for one in check_all(settings) if one.what == "baselines"]
    assert (finding.ok, finding.detail) == (True, "1 named, all exist")
