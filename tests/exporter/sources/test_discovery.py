"""Every format is found by what is in a folder, and named by where it lies."""

import shutil
from pathlib import Path

from evalgauge import track_run
from evalgauge_exporter.sources.discovery import Discovery, Found, run_names
from tests.exporter.runs import exporter_of
from tests.exporter.sources import (
    test_agentlab,
    test_atif,
    test_mobileworld,
    test_openadapt_jsonl,
    test_openadapt_models,
    test_osworld,
    test_waa,
)
from tests.exporter.sources.reading import DATA, write

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
    with track_run(root, benchmark="b", model="m", run_id="mine"):
        pass


def names(found: list[Found]) -> dict[str, str]:
    for run in found:
        run.source.read()
    return dict(zip(run_names(found), (run.source.source for run in found), strict=True))


def test_every_format_is_found_by_what_is_in_its_folder(tmp_path: Path) -> None:
    make_all(tmp_path)
    discovery = Discovery([tmp_path])
    found, problems = discovery.look()
    assert problems == []
    assert names(found) == EXPECTED
    assert discovery.look() == ([], []), "what is known is not found again"


def test_a_run_that_is_gone_and_comes_back_is_new(tmp_path: Path) -> None:
    shutil.copytree(DATA / "inspect-0.3.285", tmp_path / "logs")
    discovery = Discovery([tmp_path])
    found, _ = discovery.look()
    discovery.forget(found[0].folder)
    again, _ = discovery.look()
    assert [run.folder for run in again] == [found[0].folder]


def test_the_exporter_follows_them_all_without_a_complaint(tmp_path: Path) -> None:
    make_all(tmp_path)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(30)
    exporter.stop()
    assert {run_id: run.source for run_id, run in exporter.state.runs.items()} == EXPECTED
    assert not any(health.errors for health in exporter.state.sources.values())
