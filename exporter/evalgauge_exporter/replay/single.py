"""One page with everything in it, to send by mail: for a task, or a small run."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.attempts import annotate_steps, attempt_content
from evalgauge_exporter.replay.comparisons import compared, comparisons
from evalgauge_exporter.replay.names import attempt_key, key_of
from evalgauge_exporter.replay.page import render_single_page
from evalgauge_exporter.replay.reading import ReadRun, listed_prices, read_run, shots_of
from evalgauge_exporter.replay.screenshots import Picture
from evalgauge_exporter.replay.tables import STALL_AFTER, TaskTable, run_summary
from evalgauge_exporter.sources.discovery import FoundRun, name_runs
from evalgauge_exporter.state.run import Pricer

LARGE = 25_000_000
"""Bytes above which mail servers refuse a page and browsers are slow with it."""

_KINDS = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".bmp": "bmp"}


def single_file(
    runs: Sequence[FoundRun],
    out: Path,
    *,
    task: str | None = None,
    now: float | None = None,
    pricer: Pricer | None = None,
) -> int:
    """Write one HTML file with the runs, or with one task of them, pictures and all; its size in bytes.

    Raises ReplayError where no run has the task and where ``out`` is a folder, OSError where the file can't be
    written. A file above ``LARGE`` is worth a warning, which is the caller's.
    """
    if out.is_dir():
        raise ReplayError(f"{out} is a folder; name the file for the page")
    at = time.time() if now is None else now
    price = pricer or listed_prices()
    read = [read_run(found, price) for found in runs]
    ids = name_runs([run.found for run in read])
    known = {task_id for run in read for task_id, _ in run.state.attempts}
    if task is not None and task not in known:
        near = get_close_matches(task, known, 3, 0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ReplayError(f"no run has a task {task!r}{hint}")
    parts: dict[str, object] = {}
    summaries = []
    for run, run_id in zip(read, ids, strict=True):
        run.state.run_id = run_id
        key = key_of(run_id)
        summaries.append(run_summary(run.state, key, at))
        parts |= _run_parts(run, key, at, task)
    parts["comparisons"] = {"comparisons": comparisons([compared(run.state, at) for run in read])}
    parts["index"] = {"generated_at": at, "runs": summaries, "only_task": task}
    document = render_single_page(parts)
    half = out.with_name(f".{out.name}.half")
    try:
        half.write_bytes(document)
        os.replace(half, out)
    finally:
        half.unlink(missing_ok=True)
    return len(document)


def _run_parts(run: ReadRun, key: str, now: float, task: str | None) -> dict[str, object]:
    shots = shots_of(run)
    table = TaskTable(run.state, now)
    parts: dict[str, Any] = {}
    for attempt in run.state.attempts.values():
        if task is not None and attempt.task_id != task:
            continue
        trajectory = run.trajectories.take(attempt.task_id, attempt.attempt)
        traits = annotate_steps(trajectory, shots, _inline)
        table.add(attempt, traits)
        status = run.state.status_of(attempt, now, STALL_AFTER)
        if trajectory.steps or status != "pending":
            name = f"{key}/{attempt_key(attempt.task_id, attempt.attempt)}"
            parts[name] = attempt_content(attempt, status, trajectory, traits)
    parts[f"{key}/tasks"] = table.content()
    return parts


def _inline(shot: Picture | None, path: str, _position: int) -> dict[str, str]:
    if shot is not None:
        try:
            content = base64.b64encode(shot.read()).decode()
        except OSError:
            shot = None
        else:
            return {"screenshot": f"data:image/{_KINDS.get(shot.suffix, 'png')};base64,{content}"}
    return {"missing": path[:500]}
