"""The address of every panel on its own page, for a page that embeds it or a message that links to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from evalgauge_dashboards.build import build_dashboards
from evalgauge_dashboards.dashboard import TITLES
from evalgauge_dashboards.options import Options


def list_panels(dashboard: Dashboard) -> list[Panel]:
    """List the panels of a dashboard without the headings of its rows."""
    return [panel for panel in dashboard.panels or [] if isinstance(panel, Panel)]


def panel_path(dashboard: str, panel: int, *, run: str = "RUN", start: str = "now-6h", end: str = "now") -> str:
    """Return the path of one panel's own page.

    Args:
        dashboard: The dashboard's uid.
        panel: The panel's id.
        run: A run id.
        start: The start of the time range, as Grafana writes it (``now-6h``) or in milliseconds since 1970.
        end: The end of the time range, likewise.
    """
    path = f"/d-solo/{dashboard}/{TITLES[dashboard].lower()}?orgId=1&panelId={panel}"
    return f"{path}&var-run={quote(run, safe='')}&from={quote(start, safe='')}&to={quote(end, safe='')}"


def render_markdown() -> str:
    """Render ``docs/panels.md``: every panel with its description and the path of its own page."""
    lines = [
        "# Panels",
        "",
        "Generated from the dashboards by `make docs`; the tests fail where it is stale. A path follows Grafana's",
        "address; `RUN` stands for a run id. How to embed a panel safely: [embedding.md](embedding.md).",
        "",
    ]
    for dashboard in build_dashboards(Options()):
        uid = dashboard.uid or ""
        lines += [f"## {TITLES[uid]}", "", f"{dashboard.description}", "", "| panel | shows | path |", "|---|---|---|"]
        lines += [
            f"| {panel.title} | {_escape_cell(panel.description)} | `{panel_path(uid, panel.id_val or 0)}` |"
            for panel in list_panels(dashboard)
        ]
        lines.append("")
    return "\n".join(lines)


def _escape_cell(text: Any) -> str:
    return str(text).replace("|", "\\|")
