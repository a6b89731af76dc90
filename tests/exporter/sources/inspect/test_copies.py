"""Copies of an Inspect log, and the log of a later try, are one run with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalgauge_exporter.sources.discovery import COPY, Discovery
from tests.exporter.cli.invoking import evalgauge
from tests.exporter.runs import exporter_of
from tests.exporter.sources.inspect.test_json_log import document_of, make_json
from tests.exporter.sources.inspect.test_log import LOGS
from tests.exporter.waiting import wait_for


def tried_again(path: Path, created: str = "2036-01-01T00:00:00+00:00") -> Path:
    content: dict[str, Any] = document_of(LOGS / "tools.eval")
    content["eval"]["created"] = created
    return make_json(path, content)


def names_of(discovery: Discovery) -> list[str]:
    return [run.folder.name for run in discovery.scan()[0]]


def test_of_copies_one_is_taken_and_the_others_are_reported_once(tmp_path: Path) -> None:
    for name in ("a.eval", "copy of a.eval", "bundle/logs/a.eval", "b/logs/other.eval"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(LOGS / ("epochs.eval" if name.endswith("other.eval") else "tools.eval"), tmp_path / name)
    discovery = Discovery([tmp_path])
    found, problems = discovery.scan()
    assert [run.folder for run in found] == [tmp_path / "a.eval", tmp_path / "b" / "logs" / "other.eval"]
    assert [problem.reason for problem in problems] == [COPY, COPY]
    assert str(tmp_path / "a.eval") in problems[0].detail
    assert discovery.scan() == ([], [])
    (tmp_path / "a.eval").unlink()
    discovery.forget(tmp_path / "a.eval")
    assert names_of(discovery) == ["copy of a.eval"]


def test_the_log_of_a_later_try_replaces_the_earlier_one(tmp_path: Path) -> None:
    shutil.copy(LOGS / "tools.eval", tmp_path / "b.eval")
    discovery = Discovery([tmp_path])
    assert names_of(discovery) == ["b.eval"]
    tried_again(tmp_path / "a.json")
    assert names_of(discovery) == ["a.json"]
    assert discovery.withdrawn == [tmp_path / "b.eval"]
    discovery.forget(tmp_path / "b.eval")  # as the collector does with what is withdrawn
    assert names_of(discovery) == []
    tried_again(tmp_path / "0.json", "2035-01-01T00:00:00+00:00")
    assert names_of(discovery) == []
    assert names_of(Discovery([tmp_path])) == ["a.json"]


def test_evaluations_of_vitals_which_share_the_hash_of_their_task_are_runs_of_their_own(tmp_path: Path) -> None:
    content = document_of(LOGS / "tools.eval")
    for number, name in enumerate(("a.json", "b.json", "copy of b.json")):
        run_id, created = name[-6], f"2026-01-0{min(number, 1) + 1}T00:00:00+00:00"
        content["eval"] |= {"task_id": "add3e3e94f8e2faf092a58", "run_id": run_id, "created": created}
        make_json(tmp_path / name, content)
    assert names_of(Discovery([tmp_path])) == ["a.json", "b.json"]


def test_a_running_exporter_counts_an_evaluation_that_is_tried_again_once(tmp_path: Path) -> None:
    shutil.copy(LOGS / "tools.eval", tmp_path / "b.eval")
    exporter = exporter_of(tmp_path)
    exporter.start()
    try:
        assert exporter.wait_ready(60)
        assert list(exporter.state.runs) == ["b"]
        tried_again(tmp_path / "a.json")
        wait_for(lambda: list(exporter.state.runs) == ["a"])
    finally:
        exporter.stop()


@pytest.mark.parametrize("named", [["a.eval", "b.eval"], ["b.eval"]])
def test_a_copy_that_is_named_is_a_run(tmp_path: Path, named: list[str]) -> None:
    for name in ("a.eval", "b.eval"):
        shutil.copy(LOGS / "tools.eval", tmp_path / name)
    assert names_of(Discovery([tmp_path / name for name in named])) == named


def test_commands_note_what_they_leave_out(tmp_path: Path) -> None:
    for name in ("a.eval", "b.eval"):
        shutil.copy(LOGS / "tools.eval", tmp_path / name)
        os.utime(tmp_path / name)
    done = evalgauge("convert", tmp_path, "--out", tmp_path / "logs")
    assert done.returncode == 0
    assert done.stdout.startswith("a (inspect)")
    assert "b.eval" in done.stderr
    assert "is the one that counts" in done.stderr
