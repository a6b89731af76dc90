"""Which runs a command is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalgauge_exporter.cli.errors import CliError, PathNotFound
from evalgauge_exporter.cli.run_selection import RunSelection, select_one
from tests.exporter.runs import small_run
from tests.exporter.sources.reading import DATA


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        small_run(tmp_path / "results", name)
    small_run(tmp_path / "more", "d")
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        (["results"], ["a", "b", "c"]),
        (["results/b"], ["b"]),
        (["results", "c", "a"], ["c", "a"]),
        (["results", "results/c"], ["c"]),
        (["c", "b"], ["c", "b"]),
        ([], ["a", "b", "c"]),
        (["more"], ["d"]),
        (["results/a", "more"], ["a", "d"]),
        (["results", "more"], ["a", "b", "c", "d"]),
        (["results/a", "results/a", "results"], ["a"]),
        (["results", "more", "d", "b"], ["d", "b"]),
    ],
)
def test_arguments_are_places_and_ids(results: Path, names: list[str], selected: list[str]) -> None:
    assert RunSelection(names).ids == selected


def test_a_run_can_be_a_file(tmp_path: Path) -> None:
    runs = RunSelection([str(DATA / "inspect-0.3.285" / "tools.eval")])
    assert runs.ids == ["tools"]
    assert runs.read("tools").source == "inspect"


def test_a_run_whose_folder_was_renamed_has_its_own_id(results: Path) -> None:
    (results / "a").rename(results / "renamed")
    assert RunSelection(["results", "a"]).ids == ["a"]
    runs = RunSelection(["results/renamed"])
    assert runs.read(select_one(runs)).run_id == "a"


def test_the_name_of_a_folder_is_enough_where_one_run_has_it(results: Path) -> None:
    small_run(results / "group" / "inner", "night")
    small_run(results / "other" / "inner", "morning")
    (results / "group" / "inner" / "night" / "events" / "more.jsonl").write_text("")
    assert RunSelection(["results", "night"]).ids == ["group.inner.night"]
    small_run(results / "again" / "inner", "night")
    with pytest.raises(CliError, match="no run 'night' in results"):
        RunSelection(["results", "night"])


def test_an_id_that_nothing_has_is_an_error_with_the_nearest(results: Path) -> None:
    small_run(results, "nightly-7")
    with pytest.raises(CliError, match="no run 'nightly-8' in results; did you mean nightly-7"):
        RunSelection(["nightly-8"])


def test_a_path_that_does_not_exist_is_no_id(results: Path) -> None:
    with pytest.raises(PathNotFound, match="results/z: no such file or folder"):
        RunSelection(["results/z"])


def test_without_results_the_error_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CliError, match="name the folder that holds the runs"):
        RunSelection(["a"])


def test_several_runs_where_one_is_meant_are_an_error_with_their_ids(results: Path) -> None:
    with pytest.raises(CliError, match=r"3 runs found \(a, b, c\); name one"):
        select_one(RunSelection(["results"]))


def test_prices_of_the_environment_hold_for_every_command(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(results, "own", model="our-model", outcomes="s")
    (tmp_path / "prices.toml").write_text('[[model]]\nmatch = "our-*"\ninput = 10.0\noutput = 20.0\n')
    monkeypatch.setenv("EVALGAUGE_PRICES__OVERRIDES", str(tmp_path / "prices.toml"))
    run = RunSelection(["own"]).read("own")
    assert [float(usage.cost_usd or 0) for usage in run.usage.values()] == [pytest.approx(0.012)]
