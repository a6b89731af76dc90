from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.events import LlmCall, RunFinished, RunStarted, Step, TaskFinished, TaskStarted
from evalgauge.events import PlannedTask as Planned
from evalgauge.pricing import Price
from evalgauge.usage import TokenUsage
from evalgauge_exporter.export.table import COLUMNS, csv_text, json_text, task_rows
from evalgauge_exporter.state.run import RunState, fold


def make_run(*, over: bool) -> RunState:
    planned = (Planned("a", "mail"), Planned("b", "web"), Planned("c", None))
    events: list[Any] = [
        RunStarted(1.0, 1, "w", "r", "bench", "gpt-5.1", None, planned, None, 1, None, None, {}),
        TaskStarted(2.0, 2, "w", "a", 1, None, None, None, None),
        LlmCall(3.0, 3, "w", "openai", "gpt-5.1", TokenUsage(5, 3, None, 2), None, "ok", False, "a", 1, None),
        Step(4.0, 4, "w", "a", 1, None, 0, {"type": "click"}, None, None, None, None, None),
        TaskFinished(9.0, 5, "w", "a", 1, None, "failure", 0.5, None, 7.0, "=1+1", "-2"),
        TaskStarted(10.0, 6, "w", "b", 1, None, None, None, None),
    ]
    if over:
        events.append(RunFinished(20.0, 7, "w", "aborted"))
    return fold("r", "runlog", events, lambda _: Price("priced", Decimal("0.25"), "table"))


def test_rows_have_the_columns_and_what_is_unknown_is_none() -> None:
    first, second, third = task_rows(make_run(over=False))
    assert list(first) == list(COLUMNS)
    assert tuple(first.values()) == (
        *("r", "a", 1, "mail", "gpt-5.1", "failure", 0.5, 1, 7.0),
        *(5, 3, None, 2, 0.25, "=1+1", "-2"),
    )
    assert (second["outcome"], second["steps"], second["cost_usd"]) == ("running", 0, None)
    assert (third["outcome"], third["steps"], third["domain"]) == ("pending", None, "unknown")


def test_attempts_that_were_open_when_the_run_ended_are_interrupted() -> None:
    assert [row["outcome"] for row in task_rows(make_run(over=True))] == ["failure", "interrupted", "pending"]


def test_csv_reads_back_and_formulas_are_escaped() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(task_rows(make_run(over=False))), newline="")))
    assert rows[0]["error"] == "'=1+1"
    assert rows[0]["reason"] == "'-2"
    assert rows[0]["score"] == "0.5"
    assert rows[0]["cache_write_tokens"] == ""
    assert len(rows) == 3


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "  =1", "\n=1", "＝1", "=HYPERLINK(1)"])
def test_no_cell_begins_a_formula(text: str) -> None:
    (cells,) = list(csv.reader(io.StringIO(csv_text([{"task_id": text, "score": -1.5}]), newline="")))[1:]
    assert cells[COLUMNS.index("task_id")] == "'" + text
    assert cells[COLUMNS.index("score")] == "-1.5"


@given(st.text())
def test_any_text_is_one_cell(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    written = csv_text([{"task_id": "a", "error": text, "reason": "b"}])
    (row,) = list(csv.DictReader(io.StringIO(written, newline="")))
    assert row["error"].removeprefix("'").replace("\r\n", "\n") == text.replace("\0", "").removeprefix("'").replace(
        "\r\n", "\n"
    )
    assert row["reason"] == "b"


def test_json_reads_back() -> None:
    rows = task_rows(make_run(over=True))
    assert json.loads(json_text(rows)) == rows
