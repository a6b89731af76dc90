"""A single HTML file that holds a task or a small run, screenshots included, to be sent by mail."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.attempts import annotate_steps, build_attempt_part
from evalgauge_exporter.replay.comparisons import compare_runs, prepare_run
from evalgauge_exporter.replay.names import make_attempt_key, make_key
from evalgauge_exporter.replay.page import render_single_page
from evalgauge_exporter.replay.reading import ReadRun, open_screenshots, read_run
from evalgauge_exporter.replay.screenshots import AnyScreenshot
from evalgauge_exporter.replay.tables import STALL_AFTER, TaskTable, summarise_run
from evalgauge_exporter.sources.discovery import FoundRun, name_runs
from evalgauge_exporter.state.run import Pricer

LARGE = 25_000_000
"""Bytes above which mail servers refuse a file and browsers become slow."""

_KINDS = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".bmp": "bmp"}


def write_single_file(
    runs: Sequence[FoundRun],
    out: Path,
    *,
    task: str | None = None,
    now: float | None = None,
    pricer: Pricer | None = None,
) -> int:
    """Write one HTML file with the runs, or one task of them, screenshots included.

    Args:
        runs: The runs.
        out: The file to write.
        task: Include only the task of this id.
        now: Unix seconds at which runs are judged as running or stalled; by default the current time.
        pricer: Prices model calls; by default the shipped price tables.

    Returns:
        The size of the file in bytes. Warning about one above ``LARGE`` is up to the caller.

    Raises:
        ReplayError: No run has the task, or ``out`` is a folder.
        OSError: The file can't be written.
    """
    if out.is_dir():
        raise ReplayError(f"{out} is a folder; name the file for the page")
    at = time.time() if now is None else now
    price = pricer or load_price_table().price_of
    read = [read_run(found, price) for found in runs]
    ids = name_runs([run.found for run in read])
    known = {task_id for run in read for task_id, _ in run.state.attempts}
    if task is not None and task not in known:
        near = get_close_matches(task, known, 3, 0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ReplayError(f"no run has a task {task!r}{hint}")
    parts: dict[str, object] = {}
    summaries = []
    for run, run_id in zip(read, ids, strict=True):
        run.state.run_id = run_id
        key = make_key(run_id)
        summaries.append(summarise_run(run.state, key, at))
        parts |= _run_parts(run, key, at, task)
    parts["comparisons"] = {"comparisons": compare_runs([prepare_run(run.state, at) for run in read])}
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
    shots = open_screenshots(run)
    table = TaskTable(run.state, now)
    parts: dict[str, Any] = {}
    for attempt in run.state.attempts.values():
        if task is not None and attempt.task_id != task:
            continue
        trajectory = run.trajectories.pop(attempt.task_id, attempt.attempt)
        features = annotate_steps(trajectory, shots, _inline)
        table.add(attempt, features)
        status = run.state.status_of(attempt, now, STALL_AFTER)
        if trajectory.steps or status != "pending":
            name = f"{key}/{make_attempt_key(attempt.task_id, attempt.attempt)}"
            parts[name] = build_attempt_part(attempt, status, trajectory, features)
    return parts | {f"{key}/{name}": part for name, part in table.build_parts().items()}


def _inline(shot: AnyScreenshot | None, path: str, _position: int) -> dict[str, str]:
    if shot is not None:
        try:
            content = base64.b64encode(shot.read()).decode()
        except OSError:
            shot = None
        else:
            return {"screenshot": f"data:image/{_KINDS.get(shot.suffix, 'png')};base64,{content}"}
    return {"missing": path[:500]}
