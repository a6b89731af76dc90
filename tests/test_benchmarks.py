"""What ``make bench`` promises: a section for each benchmark, and tables that survive a benchmark's failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.report import Measured, format_line, format_ratio, read_sections, save, write_section
from benchmarks.rows import Row, quantile

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def test_the_page_has_a_table_for_every_benchmark_and_for_nothing_else() -> None:
    tables = read_sections(PAGE)
    assert sorted(tables) == runner.available()
    empty = [name for name, table in tables.items() if len([row for row in table.splitlines() if row[:1] == "|"]) < 3]
    assert not empty, f"run make bench ARGS='{' '.join(empty)} --write docs/performance.md'"


def test_a_table_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- bench a -->\nold\n<!-- /bench -->\nbetween\n<!-- bench b -->\n<!-- /bench -->\nafter\n"
    )
    measured = Measured([Row("a | b", "1 s", "floor: 0.5 s", 2.0, "≤ 3"), Row("c", "5 MB", "", None)], 3.4, "")
    write_section(page, "a", measured)
    text = page.read_text()
    assert text.startswith("before\n<!-- bench a -->\n| what |")
    assert "| a \\| b | 1 s | floor: 0.5 s | 2.00 | ≤ 3 |\n| c | 5 MB |  |  |  |\n" in text
    assert "old" not in text
    assert text.endswith("<!-- /bench -->\nbetween\n<!-- bench b -->\n<!-- /bench -->\nafter\n")
    assert list(read_sections(page)) == ["a", "b"]
    write_section(page, "a", Measured([], 1.0, "MemoryError: \nall of it"))
    assert "**It did not finish:** MemoryError: all of it\n" in page.read_text()
    with pytest.raises(ValueError, match="no section for c"):
        write_section(page, "c", measured)


def test_what_was_measured_is_kept_as_json_beside_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    save(path, "a", Measured([Row("x", "1 s", "", 0.5)], 1.0, ""))
    save(path, "b", Measured([], 2.0, "it broke"))
    found = json.loads(path.read_text())
    assert found["a"]["rows"] == [{"what": "x", "measured": "1 s", "beside": "", "ratio": 0.5, "aim": ""}]
    assert found["b"]["failure"] == "it broke"


def test_a_row_as_a_line_says_what_it_is_compared_with() -> None:
    assert format_line(Row("reading", "2 s", "parsing: 1 s", 2.0, "≤ 3")) == (
        "reading: 2 s, ratio 2.00 (parsing: 1 s) [aim: ≤ 3]"
    )
    assert format_line(Row("reading", "2 s", "", None)) == "reading: 2 s"
    assert [format_ratio(ratio) for ratio in (12.345, 0.25, 0.00093, 0.0, -0.004)] == (
        ["12.35", "0.25", "0.0009", "0.00", "-0.004"]
    )


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert quantile([5.0, 1.0, 3.0], 0.0) == 1.0
    assert quantile(range(1, 101), 0.99) == 99
    assert quantile([2.0], 1.0) == 2.0


@pytest.mark.parametrize(
    ("then", "failure"),
    [
        ("pass", ""),
        ("raise ValueError('no such size')", "ValueError: no such size"),
        ("import os; os._exit(3)", "its process ended without a word"),
    ],
)
def test_what_was_measured_before_a_failure_stays(
    then: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "from benchmarks.rows import Row\n\ndef rows():\n    yield Row('a', '1 s', '', None)\n"
    (tmp_path / "some_benchmark.py").write_text(f"{body}    {then}\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[Row] = []
    measured = runner.run("some_benchmark", seen.append)
    assert measured.failure == failure
    assert measured.rows == seen == [Row("a", "1 s", "", None)]


def test_a_benchmark_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_benchmark.py").write_text("import time\n\ndef rows():\n    time.sleep(600)\n    yield\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert runner.run("some_benchmark", lambda _: None, limit=1.0).failure == "stopped after 1 s"
