"""Every format is found by what is in a folder, and named by where it lies."""

import os
import shutil
from pathlib import Path

import pytest

from evalgauge import track_run
from evalgauge_exporter.sources import discovery
from evalgauge_exporter.sources.base import Format
from evalgauge_exporter.sources.discovery import Discovery, FoundRun, name_runs
from evalgauge_exporter.sources.runlog import RunLogSource
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.sources import (
    test_agentlab,
    test_cube,
    test_mobileworld,
    test_openhands,
    test_tau2_bench,
    test_tau_bench,
    test_terminal_bench,
)
from tests.exporter.sources.atif import test_source as test_atif
from tests.exporter.sources.inspect import test_json_log
from tests.exporter.sources.openadapt import test_flow
from tests.exporter.sources.openadapt import test_jsonl as test_openadapt_jsonl
from tests.exporter.sources.openadapt import test_models as test_openadapt_models
from tests.exporter.sources.osworld import test_osworld, test_waa
from tests.exporter.sources.reading import DATA, write
from tests.exporter.sources.swebench import test_trajectories

EXPECTED = {
    "osw.pyautogui.screenshot.gpt-5.1": "osworld",
    "waa.exp0.pyautogui.a11y_tree.gpt-4o": "waa",
    "mw": "mobileworld",
    "models.waa_eval_20260105_100000.model_a": "openadapt",
    "models.waa_eval_20260105_100000.model.b": "openadapt",
    "full_eval_1": "openadapt",
    "harbor.job": "atif",
    "studies.study": "agentlab",
    "logs.epochs": "inspect",
    "logs.tools": "inspect",
    "logs.killed": "inspect",
    "oa.waa_mock_20": "openadapt",
    "mine": "runlog",
    "json.tools": "inspect",
    "tb.2026-01-05__10-00-00": "terminal_bench",
    "swe.mini": "mini_swe_agent",
    "swe.gpt4o__swe-bench__default": "swe_agent",
    "hands.output": "openhands",
    f"tau.{test_tau_bench.NAME.removesuffix('.json')}": "tau_bench",
    "tau.night": "tau2_bench",
    "tau2": "tau2_bench",
    "replays": "openadapt_flow",
    "cubes.osworld_x": "cube",
}


def make_all(root: Path) -> None:
    """A run of each format."""
    test_osworld.make_run(root / "osw")
    test_waa.make_run(root / "waa")
    test_mobileworld.make_run(root / "mw")
    test_openadapt_models.make_run(root / "models")
    write(root / "full_eval_1.jsonl", test_openadapt_jsonl.meta(0))
    shutil.copytree(test_atif.JOB, root / "harbor" / "job")
    shutil.copytree(test_agentlab.STUDY, root / "studies" / "study")
    shutil.copytree(DATA / "inspect-0.3.285", root / "logs")
    shutil.copytree(DATA / "openadapt-0.1.0" / "benchmark_results", root / "oa")
    test_json_log.make_run(root / "json")
    test_terminal_bench.make_run(root / "tb")
    test_trajectories.make_mini(root / "swe")
    test_trajectories.make_swe(root / "swe")
    test_openhands.make_run(root / "hands", test_openhands.line("a"))
    test_tau_bench.make_run(root / "tau")
    test_tau2_bench.make_document(root / "tau")
    test_tau2_bench.make_folder(root / "tau2")
    test_flow.make_run(root / "replays")
    test_cube.make_run(root / "cubes")
    with track_run(root, benchmark="b", model="m", run_id="mine"):
        pass


def names(found: list[FoundRun]) -> dict[str, str]:
    for run in found:
        run.source.read()
    return dict(zip(name_runs(found), (run.source.source for run in found), strict=True))


def test_every_format_is_found_by_what_is_in_its_folder(tmp_path: Path) -> None:
    make_all(tmp_path)
    scanner = Discovery([tmp_path])
    found, problems = scanner.scan()
    assert problems == []
    assert names(found) == EXPECTED
    assert scanner.scan() == ([], []), "what is known is not found again"


def test_a_forgotten_run_that_comes_back_is_new(tmp_path: Path) -> None:
    shutil.copytree(DATA / "inspect-0.3.285", tmp_path / "logs")
    scanner = Discovery([tmp_path])
    found, _ = scanner.scan()
    scanner.forget(found[0].folder)
    again, _ = scanner.scan()
    assert [run.folder for run in again] == [found[0].folder]


def test_links_make_no_second_run_of_one(tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    small_run(results, "night-1")
    small_run(elsewhere / "deeper", "night-2")
    (results / "latest").symlink_to("night-1")
    (results / "circle").symlink_to(".")
    (results / "itself").symlink_to("itself")
    (results / "nowhere").symlink_to("not there")
    (results / "also").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(results)
    (elsewhere / "deeper" / "round").symlink_to(elsewhere)
    found, problems = Discovery([results]).scan()
    assert problems == []
    assert set(names(found)) == {"night-1", "night-2"}
    assert results / "night-1" in {run.folder for run in found}, "by its own path"


def test_a_folder_that_is_served_with_its_parent_is_found_once(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "r")
    found, _ = Discovery([tmp_path, tmp_path / "results", tmp_path / "results" / "r", tmp_path / "."]).scan()
    assert list(names(found)) == ["r"]


@pytest.mark.parametrize("way", ["served", "link"])
def test_a_run_that_lies_too_deep_is_found_by_a_shorter_way(tmp_path: Path, way: str) -> None:
    folder = tmp_path
    for name in ("a", "b", "c"):
        (folder / "notes.txt").write_text("no level of nothing but folders")
        folder /= name
        folder.mkdir()
    (folder / "notes.txt").write_text("nor this")
    small_run(folder, "deep")
    assert Discovery([tmp_path]).scan() == ([], [])
    if way == "link":
        (tmp_path / "shorter").symlink_to(folder)
    scanner = Discovery([tmp_path] if way == "link" else [tmp_path, folder])
    assert [run.folder.name for run in scanner.scan()[0]] == ["deep"]
    assert scanner.scan() == ([], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("run.jsonl", "log.eval", "metadata.json", "summary.json", "benchmark_live.json"):
        os.mkfifo(tmp_path / "other" / name)
    (tmp_path / "other" / "tasks").mkdir()
    small_run(tmp_path, "r")
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert "r" in exporter.state.runs


def test_a_format_that_raises_for_a_folder_hides_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path, _: frozenset[str]) -> list[Path]:
        if folder.name == "bad":
            raise ZeroDivisionError("what nobody thought of")
        return []

    small_run(tmp_path, "good")
    (tmp_path / "bad").mkdir()
    monkeypatch.setattr(discovery, "SAMPLED", (*discovery.SAMPLED, Format(fails, RunLogSource)))
    scanner = Discovery([tmp_path])
    found, problems = scanner.scan()
    assert list(names(found)) == ["good"]
    assert [problem.reason for problem in problems] == ["defect"]
    assert scanner.scan() == ([], []), "it is reported once"


def test_a_folder_whose_name_is_no_text_has_an_id_that_is(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9/events"
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes no such names")
    with open(folder + b"/w.jsonl", "wb") as file:
        file.write(b'{"v":1,"seq":0,"ts":1.0,"type":"heartbeat"}\n')
    found, _ = Discovery([tmp_path]).scan()
    assert list(names(found)) == ["caf?"]


def test_the_exporter_follows_them_all_without_a_complaint(tmp_path: Path) -> None:
    make_all(tmp_path)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    exporter.stop()
    assert {run_id: run.source for run_id, run in exporter.state.runs.items()} == EXPECTED
    assert not any(health.errors for health in exporter.state.sources.values())
