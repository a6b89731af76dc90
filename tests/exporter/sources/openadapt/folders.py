"""Run folders as openadapt-evals makes them, file by file."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def begin(run: Path, created_at: float, model: str = "unknown") -> None:
    iso = datetime.fromtimestamp(created_at).isoformat()
    write(run / "metadata.json", {"benchmark_name": "waa", "run_name": run.name, "model_id": model, "created_at": iso})


def task(run: Path, task_id: str, **fields: Any) -> None:
    described = {"task_id": task_id, "instruction": "do it", "domain": "notepad", "time_limit_steps": 15}
    write(run / "tasks" / task_id / "task.json", described | fields)


def execution(run: Path, task_id: str, *, folder: str = "", at: float = 1000.0, **fields: Any) -> None:
    steps = [{"step_idx": n, "action": {"type": kind}, "timestamp": at + n} for n, kind in enumerate(("click", "done"))]
    content = {
        "task_id": task_id,
        "model_id": "unknown",
        "success": True,
        "score": 1.0,
        "num_steps": 1,
        "total_time_seconds": 2.0,
        "error": None,
        "steps": steps,
    }
    write(run / "tasks" / (folder or task_id) / "execution.json", content | fields)
