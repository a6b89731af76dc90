from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.events import LlmCall, RunFinished, RunStarted, Step, TaskFinished, TaskStarted, token_fields
from evalgauge.events import PlannedTask as Planned
from evalgauge.pricing import Price
from evalgauge.usage import TokenUsage
from evalgauge_exporter.export.table import COLUMNS, csv_text, task_rows
from evalgauge_exporter.state.run import RunState, fold


def make_run(*, over: bool) -> RunState:
    planned = (Planned("a", "mail"), Planned("b", "web"), Planned("c", None))
    events: list[Any] = [
        RunStarted(
            ts=1.0, seq=1, writer="w", run_id="r", benchmark="bench", model="gpt-5.1", tasks=planned, attempts=1
        ),
        TaskStarted(ts=2.0, seq=2, writer="w", task_id="a", attempt=1),
        LlmCall(
            ts=3.0,
            seq=3,
            writer="w",
            provider="openai",
            model="gpt-5.1",
            **token_fields(TokenUsage(5, 3, None, 2)),
            status="ok",
            task_id="a",
            attempt=1,
        ),
        Step(ts=4.0, seq=4, writer="w", task_id="a", attempt=1, step_idx=0, action={"type": "click"}),
        TaskFinished(
            ts=9.0,
            seq=5,
            writer="w",
            task_id="a",
            attempt=1,
            outcome="failure",
            score=0.5,
            duration_seconds=7.0,
            error="=1+1",
            reason="-2",
        ),
        TaskStarted(ts=10.0, seq=6, writer="w", task_id="b", attempt=1),
    ]
    if over:
        events.append(RunFinished(ts=20.0, seq=7, writer="w", status="aborted"))
    return fold("r", "runlog", events, lambda _: Price("priced", Decimal("0.25"), "table"))


def test_rows_have_the_columns_and_what_is_unknown_is_none() -> None:
    first, second, third = task_rows(make_run(over=False))
    assert list(first) == list(COLUMNS)
    assert tuple(first.values()) == (
        *("r", "a", 1, "mail", "gpt-5.1", "failure", 0.5, 1, 7.0),
        *(5, 3, None, 2, 0.25, "=1+1", "-2", None),
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
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
