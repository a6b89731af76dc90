"""One reading of ``EVALGAUGE_RESULTS`` for what the exporter serves and for what integrations write into."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evalgauge import results_folders
from evalgauge.results_folders import OFF, first_results_folder, parse_results_folders
from evalgauge_exporter.config.model import load_config


@pytest.mark.parametrize(
    ("text", "folders", "written"),
    [
        ("/runs", ["/runs"], "/runs"),
        (os.pathsep.join(["/runs", "", "/more"]), ["/runs", "/more"], "/runs"),
        ('["/a b", "/more"]', ["/a b", "/more"], "/a b"),
        ('["s3://bucket/runs", "/runs"]', ["s3://bucket/runs", "/runs"], "/runs"),
        ("s3://bucket/runs", ["s3://bucket/runs"], OFF),
    ],
)
def test_exporter_and_integrations_read_the_variable_alike(
    monkeypatch: pytest.MonkeyPatch, text: str, folders: list[str], written: str
) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", text)
    assert parse_results_folders(text) == folders
    assert load_config().results == tuple(map(Path, folders))
    assert first_results_folder() == written


def test_without_the_variable_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", "")
    assert first_results_folder() is None
    monkeypatch.delenv("EVALGAUGE_RESULTS")
    assert first_results_folder() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("az://container", "names no local folder"),
        ('["/runs"', "Expecting"),
        (json.dumps([1]), "should be a list of folders"),
    ],
)
def test_a_value_that_names_no_folder_to_write_into_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    results_folders._first_local.cache_clear()
    monkeypatch.setenv("EVALGAUGE_RESULTS", text)
    assert [first_results_folder(), first_results_folder()] == [OFF, OFF]
    (record,) = caplog.records
    assert record.getMessage().startswith("EVALGAUGE_RESULTS")
    assert words in record.getMessage()
