"""An independent reading of OpenAdapt run folders: plain json, no code of evalgauge. What the exporter must equal."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = {"agent": "agent_error", "infrastructure": "infrastructure_error", "evaluation": "evaluation_error"}


@dataclass
class Truth:
    """What a run's files say."""

    outcomes: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)
    measured_steps: list[int] = field(default_factory=list)

    @property
    def success_rate(self) -> float:
        return self.outcomes["success"] / (
            self.outcomes["success"] + self.outcomes["failure"] + self.outcomes["agent_error"]
        )

    @property
    def success_rate_all(self) -> float:
        return self.outcomes["success"] / self.outcomes.total()


def outcome(row: dict[str, Any]) -> str:
    return KINDS[row["error_type"]] if row.get("error_type") else "success" if row["success"] else "failure"


def truth(run: Path) -> Truth:
    """Executions as they are, wherever they lie; a task that has none, from the summary."""
    found = Truth()
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(run.glob("tasks/*/execution.json")):
        execution = json.loads(path.read_text())
        rows[execution["task_id"]] = execution
        found.durations.append(execution["total_time_seconds"])
        for step in execution["steps"]:
            found.actions[step["action"]["type"]] += 1
            logs = step.get("agent_logs") or {}
            if "token_usage" in logs:
                found.calls["ok"] += 1
                found.calls["retry"] += sum(1 for key in logs if key.startswith("retry_") and key.endswith("_response"))
                found.tokens["input"] += logs["token_usage"]["input_tokens"]
                found.tokens["output"] += logs["token_usage"]["output_tokens"]
    for row in json.loads((run / "summary.json").read_text())["tasks"]:
        rows.setdefault(row["task_id"], row)
    for row in rows.values():
        kind = outcome(row)
        found.outcomes[kind] += 1
        if kind in ("success", "failure", "agent_error"):
            found.measured_steps.append(row["num_steps"])
    return found
