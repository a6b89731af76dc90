"""The page of all runs, ``/runs/``: the replay's list of runs over the state of the exporter."""

from __future__ import annotations

import re
import time
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import RedirectResponse

from evalgauge_exporter.analysis.costs import RunCosts
from evalgauge_exporter.analysis.leaderboard import is_grouping
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.analysis.summary import RunSummary, summarize
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.replay.json_text import encode_for_script
from evalgauge_exporter.replay.page import load_script, load_style, render_chunk, render_index, wrap_chunk
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.leaderboard import leaderboards
from evalgauge_exporter.views.run_rows import RunRows
from evalgauge_exporter.views.snapshot import dashboard_url
from evalgauge_exporter.web.coalesce import RequestCoalescer
from evalgauge_exporter.web.replay_sites import SITE_POLICY

HOME = "../"
"""The relative address of the exporter from the page."""
_LEADERBOARD = re.compile(r"data/leaderboard/([0-9a-f]+)\.js")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def create_runs_router(exporter: Exporter) -> APIRouter:
    """Build the routes under ``/runs``.

    Args:
        exporter: The exporter whose runs are listed.
    """
    router = APIRouter()
    shared = RequestCoalescer()
    analysis = exporter.analysis
    rows = RunRows(
        analysis,
        lambda run, now: _render_row(run, analysis, now),
        lambda run, now: _shown_costs(analysis.costs(run, now)),
    )
    files = {
        "index.html": render_index(None),
        "assets/replay.js": load_script(),
        "assets/replay.css": load_style(),
        "data/comparisons.js": render_chunk("comparisons", {"comparisons": []}),
    }

    @router.get("/runs", include_in_schema=False)
    def without_slash() -> Response:
        return RedirectResponse("runs/")

    @router.get("/runs/{path:path}", tags=["machines"], summary="The page of all runs: search, filters, comparison")
    async def runs_page(path: str) -> Response:
        path = path or "index.html"
        if path == "data/index.js":
            content = await shared.get(path, lambda: wrap_chunk("index", render_index_part(exporter, rows)))
        elif (by := _parse_grouping(path)) is not None:
            content = await shared.get(path, lambda: _render_leaderboards(exporter, path, by))
        elif path in files:
            content = files[path]
        else:
            raise HTTPException(404, f"the page of runs has no file {path[:200]!r}")
        kind = _TYPES[path[path.rindex(".") :]]
        headers = {"cache-control": "no-cache", "content-security-policy": SITE_POLICY}
        return Response(content, media_type=kind, headers=headers)

    return router


def render_index_part(exporter: Exporter, rows: RunRows) -> bytes:
    """Return the index of all runs as JSON, in the format of a replay site's ``data/index.js``."""
    now = time.time()
    grafana = exporter.config.grafana_url
    served = {"home": HOME, "list": True, "dashboard": None if grafana is None else dashboard_url(grafana)}
    rest = encode_for_script({"generated_at": now, "served": served})
    return rest[:-1] + b',"runs":[' + b",".join(reversed(rows.render(now))) + b"]}"


def _render_row(run: RunState, analysis: RunAnalysis, now: float) -> bytes:
    summary = summarize(run, now, analysis.stall_after, analysis.results(run, now))
    entry = _index_entry(summary, analysis.costs(run, now), run.agent, run.version)
    return encode_for_script(entry | {"elapsed_seconds": None})


def _parse_grouping(path: str) -> str | None:
    """Return the grouping of ``data/leaderboard/HEX.js``, in UTF-8 and hexadecimal; ``None`` for another path."""
    found = _LEADERBOARD.fullmatch(path)
    if found is None:
        return None
    try:
        by = bytes.fromhex(found[1]).decode()
    except ValueError:
        return None
    return by if is_grouping(by) else None


def _render_leaderboards(exporter: Exporter, path: str, by: str) -> bytes:
    found = leaderboards(exporter.leaderboards, time.time(), by)
    return render_chunk(path.removeprefix("data/").removesuffix(".js"), found.model_dump(mode="json"))


def _shown_costs(costs: RunCosts) -> dict[str, Any]:
    return {
        "cost_usd": costs.total,
        "unpriced_calls": costs.unpriced_calls,
        "unknown_usage_calls": costs.unknown_usage_calls,
        "unpriced_machines": costs.unpriced_machines,
    }


def _index_entry(summary: RunSummary, costs: RunCosts, agent: str | None, version: int) -> dict[str, Any]:
    bounds = (summary.success_rate_low, summary.success_rate_high)
    return {
        "run_id": summary.run_id,
        "model": summary.model_id,
        "agent": agent,
        "benchmark": summary.benchmark,
        "source": summary.source,
        "state": summary.state,
        "unreadable": summary.unreadable,
        "started_at": summary.created_at,
        "ended_at": summary.ended_at,
        "elapsed_seconds": summary.elapsed_seconds,
        "total": summary.total_tasks,
        "finished": summary.finished_tasks,
        "success_rate": summary.headline_rate,
        "success_rate_all": summary.success_rate_all,
        "success_rate_reason": summary.success_rate_reason,
        "interval": None if None in bounds else list(bounds),
        "mean_score": summary.mean_score,
        "scorer": summary.scorer,
        "avg_steps": summary.avg_steps,
        **_shown_costs(costs),
        "tags": summary.tags,
        "version": version,
    }
