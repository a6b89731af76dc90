"""Building: the same each time, fresh in the repository, and stale files are named."""

from __future__ import annotations

import json
from pathlib import Path

from evalgauge_dashboards import panel_links
from evalgauge_dashboards.build import build, find_stale, render_files

ROOT = Path(__file__).parents[2]
TITLES = ("evaluation", "comparison", "fleet")
EXPECTED = {
    *(f"dashboards/{name}.json" for name in TITLES),
    "alerting/evalgauge.json",
    "prometheus/rules.yml",
}


def test_the_generated_files_are_up_to_date() -> None:
    assert find_stale(ROOT / "dashboards" / "generated") == [], "run: make docs"


def test_the_page_of_panels_is_up_to_date() -> None:
    assert (ROOT / "docs" / "panels.md").read_text() == panel_links.render_markdown(), "run: make docs"


def test_building_twice_gives_the_same_bytes() -> None:
    assert render_files() == render_files()


def test_build_writes_every_file_and_says_which(tmp_path: Path) -> None:
    written = build(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == EXPECTED
    assert all(path.read_text().endswith("\n") for path in written)
    assert find_stale(tmp_path) == []


def test_what_is_stale_is_named(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "dashboards" / "fleet.json").unlink()
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    with (tmp_path / "prometheus" / "rules.yml").open("a") as file:
        file.write("# by hand\n")
    assert find_stale(tmp_path) == [
        "dashboards/fleet.json is missing",
        "prometheus/rules.yml differs from what the code generates",
        "dashboards/old.json is no longer generated",
    ]


def test_the_dashboards_lead_to_the_exporter_that_they_are_built_for(tmp_path: Path) -> None:
    build(tmp_path, exporter_url="https://eval.example.org/gauge/")
    assert find_stale(tmp_path, exporter_url="https://eval.example.org/gauge/") == []
    assert find_stale(tmp_path) == [f"dashboards/{name}.json differs from what the code generates" for name in TITLES]
    for name in TITLES:
        variables = json.loads((tmp_path / "dashboards" / f"{name}.json").read_text())["templating"]["list"]
        (box,) = [variable for variable in variables if variable["name"] == "exporter"]
        assert box["query"] == box["current"]["value"] == "https://eval.example.org/gauge"  # a path follows it


def test_other_runbook_links_change_the_alerts_and_nothing_else(tmp_path: Path) -> None:
    build(tmp_path, "https://example.org/docs")
    assert find_stale(tmp_path, "https://example.org/docs") == []
    assert find_stale(tmp_path) == [
        "alerting/evalgauge.json differs from what the code generates",
        "prometheus/rules.yml differs from what the code generates",
    ]
