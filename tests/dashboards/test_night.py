"""The night of ``scripts/night.py``, over which dashboards are looked at, has what its runs are named after."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

from tests.exporter.cli.invoking import evalgauge

SCRIPT = Path(__file__).parents[2] / "scripts" / "night.py"


def test_each_run_of_the_night_is_what_it_is_named_after(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("night", SCRIPT)
    assert spec
    assert spec.loader
    night = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(night)
    night.write_night(tmp_path, time.time())
    rows = {row["run_id"]: row for row in json.loads(evalgauge("runs", tmp_path, "--json").stdout)["runs"]}
    assert set(rows) == {run.run_id for run in night.NIGHT}
    assert len(rows) >= 12
    states = {name: row["state"] for name, row in rows.items()}
    assert states["healthy"] == states["regression"] == states["sixty-workers"] == states["just-started"] == "running"
    assert (states["killed"], states["stopped-by-hand"], states["dead-pool"]) == ("stalled", "aborted", "completed")
    assert rows["dead-pool"]["outcomes"]["infrastructure_error"] > 20
    assert rows["expired-key"]["outcomes"]["agent_error"] > 50
    assert rows["regression"]["success_rate"] < rows["last-week"]["success_rate"]
    assert rows["unpriced"]["unpriced_calls"] > 0 == rows["unpriced"]["unknown_usage_calls"]
    assert rows["no-usage"]["unknown_usage_calls"] > 0 == rows["no-usage"]["unpriced_calls"]
    assert rows["partial-scores"]["mean_score"] > rows["partial-scores"]["success_rate"] + 0.3
    assert "3" in rows["repeats"]["pass_ratios"]
    assert rows["over-budget"]["cost_usd"] > 1.5
    assert rows["just-started"]["finished_tasks"] == 0
