"""Export of a run's attempts as a table (CSV, JSON), for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from evalgauge_exporter.state.models import Attempt
from evalgauge_exporter.state.run import RunState

COLUMNS = (
    "run_id",
    "task_id",
    "attempt",
    "domain",
    "model",
    "outcome",
    "score",
    "steps",
    "duration_seconds",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
    "error",
    "reason",
    "scores",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def task_rows(run: RunState, now: float = 0.0, stall_after: float = 0.0) -> list[dict[str, Any]]:
    """Return one row per attempt with the keys ``COLUMNS``, sorted by task and attempt.

    ``outcome`` is an outcome, or ``pending`` or ``running`` for an attempt that has none yet; one that was open when
    the run ended, or whose writer is silent, is ``interrupted``. What is unknown is None. Tokens are disjoint kinds;
    ``cost_usd`` is the known cost of the attempt in US dollars. ``scores`` has every score by its scorer's name, where
    the format states several.

    Args:
        run: The run.
        now: The present, Unix seconds; with the default every writer counts as alive.
        stall_after: Seconds without an event after which a writer is silent.
    """
    return [_row(run, attempt, run.status_of(attempt, now, stall_after)) for attempt in run.iterate_attempts()]


def _row(run: RunState, attempt: Attempt, status: str) -> dict[str, Any]:
    counted = attempt.tokens or (None, None, None, None)
    started = attempt.started_at is not None
    values = (
        run.run_id,
        attempt.task_id,
        attempt.attempt,
        attempt.domain,
        run.model,
        status,
        attempt.score,
        attempt.steps if started else None,
        attempt.duration_seconds,
        *counted,
        None if attempt.cost_usd is None else float(attempt.cost_usd),
        attempt.error,
        attempt.reason,
        attempt.scores,
    )
    return dict(zip(COLUMNS, values, strict=True))


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV (RFC 4180) with a header line; None is an empty cell, scores by name are JSON.

    Text that a spreadsheet would read as a formula is preceded by an apostrophe, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection): ids, errors and reasons are written by agents.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row.get(name)) for name in COLUMNS] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return value
    value = value.replace("\0", "")
    return f"'{value}" if value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA) else value
