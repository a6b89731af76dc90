"""Runs for the replay's tests: logs and screenshots just as they are wanted."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalgauge_exporter.sources.discovery import Discovery, FoundRun

START = 1_790_000_000.0
"""Unix seconds at which the runs begin."""
RESULT_FIELDS = ("score", "scores", "answer", "target", "steps", "duration_seconds", "error", "reason")
LATER = START + 100_000.0
"""A time at which all of them have finished."""


def png(width: int = 8, height: int = 5, shade: int = 200, label: int = 0) -> bytes:
    """A grey picture; ``label`` makes another file of the same picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes([shade]) * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"tEXt", b"Comment\0" + f"{label:08d}".encode())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def step(index: int, action: Mapping[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """A step's event without its task."""
    return {"type": "step", "step_idx": index, "action": action, **fields}


def call(**fields: Any) -> dict[str, Any]:
    """A model call's event without its task."""
    return {
        "type": "llm_call",
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "input_tokens": 1000,
        "output_tokens": 100,
        **fields,
    }


def task(
    task_id: str, outcome: str, events: Iterable[Mapping[str, Any]] = (), *, attempt: int = 1, **fields: Any
) -> list[dict[str, Any]]:
    """The events of an attempt, its start and its end too; ``fields`` belong to one of both."""
    begun: dict[str, Any] = {
        key: fields[key] for key in ("domain", "instruction", "max_steps", "worker_id") if key in fields
    }
    ended: dict[str, Any] = {key: fields[key] for key in RESULT_FIELDS if key in fields}
    between: list[Mapping[str, Any]] = [
        {"type": "task_started", **begun},
        *events,
    ]
    if outcome != "running":
        between.append({"type": "task_finished", "outcome": outcome, **ended})
    return [{**event, "task_id": task_id, "attempt": attempt} for event in between]


def write_run(
    results: Path,
    run_id: str,
    events: Iterable[Mapping[str, Any]],
    *,
    writer: str = "w",
    model: str = "claude-sonnet-4-5",
    benchmark: str = "waa",
    finished: bool = True,
    start: float = START,
    **started: Any,
) -> Path:
    """Write a run's log, one event a second; its folder."""
    folder = results / run_id
    (folder / "events").mkdir(parents=True, exist_ok=True)
    first = {"type": "run_started", "run_id": run_id, "benchmark": benchmark, "model": model, **started}
    lines = [first, *events, *([{"type": "run_finished", "status": "completed"}] if finished else [])]
    with (folder / "events" / f"{writer}.jsonl").open("w", encoding="utf-8") as log:
        for seq, event in enumerate(lines):
            log.write(json.dumps({"v": 1, "seq": seq, "ts": start + seq, **event}) + "\n")
    return folder


def found(*folders: Path) -> list[FoundRun]:
    """The runs below these folders."""
    return Discovery(list(folders)).scan()[0]


def part(path: Path) -> Any:
    """What a file of the site's data hands over."""
    text = path.read_text("ascii")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def rows(site: Path, key: str) -> list[dict[str, Any]]:
    """The rows of a run's task table."""
    table = part(site / "data" / key / "tasks.js")
    parts = [part(site / "data" / key / f"rows-{number}.js")["rows"] for number in range(table["parts"])]
    return [dict(zip(table["columns"], row, strict=True)) for rows in parts for row in rows]


def contents(site: Path, task_id: str, run: int = 0, attempt: int = 1) -> Any:
    """The part of an attempt, of a run by its place in the index."""
    key = part(site / "data" / "index.js")["runs"][run]["key"]
    row = next(row for row in rows(site, key) if (row["task_id"], row["attempt"]) == (task_id, attempt))
    return part(site / "data" / key / f"{row['key']}.js")
