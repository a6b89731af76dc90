"""A link to every panel on its own, for a page that embeds it or a message that points at it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from evalgauge_dashboards import comparison, evaluation, fleet
from evalgauge_dashboards.dashboard import BOARDS


def boards() -> list[Dashboard]:
    """The three boards, in the order in which one reads them."""
    return [evaluation.build(), comparison.build(), fleet.build()]


def panels(board: Dashboard) -> list[Panel]:
    """The board's panels without the headings of its rows."""
    return [panel for panel in board.panels or [] if isinstance(panel, Panel)]


def link(board: str, panel: int, *, run: str = "RUN", start: str = "now-6h", end: str = "now") -> str:
    """The path of one panel alone, for a run and a time range (Grafana's words or milliseconds since 1970)."""
    place = f"/d-solo/{board}/{BOARDS[board].lower()}?orgId=1&panelId={panel}"
    return f"{place}&var-run={quote(run, safe='')}&from={quote(start, safe='')}&to={quote(end, safe='')}"


def markdown() -> str:
    """``docs/panels.md``: every panel with what it shows and the path of its own page."""
    lines = [
        "# Panels",
        "",
        "Made from the boards by `make docs`; the tests fail where it is stale. A path follows Grafana's address;",
        "`RUN` stands for a run id. What embedding opens up and how to do it safely: [embedding.md](embedding.md).",
        "",
    ]
    for board in boards():
        uid = board.uid or ""
        lines += [f"## {BOARDS[uid]}", "", f"{board.description}", "", "| panel | shows | path |", "|---|---|---|"]
        lines += [
            f"| {panel.title} | {_cell(panel.description)} | `{link(uid, panel.id_val or 0)}` |"
            for panel in panels(board)
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|")
