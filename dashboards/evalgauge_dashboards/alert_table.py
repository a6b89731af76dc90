"""The rows of a table of firing alerts, and its column of severities."""

from __future__ import annotations

from evalgauge_dashboards import panels as p
from evalgauge_dashboards.panels import Column, Query
from evalgauge_dashboards.promql import ALERTS, Expression, LabelMatch, select

SEVERITIES = {"critical": "critical", "warning": "warning", "info": "bound"}
"""The worst first, with their colours."""


def alert_rows(*by: str, **where: LabelMatch) -> tuple[Expression, Column]:
    """Select the firing alerts, a row for each, with its key in the label ``alert``.

    Args:
        *by: Labels in which two alerts of one name may differ; the rows have them.
        **where: Matchers of the alerts.

    Returns:
        The rows, and the column of the severity, by which they can be ordered.
    """
    labels = ("alertname", *by)
    firing = select(ALERTS, alertstate="firing", **where).max("severity", *labels)
    rows = firing.join_labels("alert", *labels)
    worst, *others = (
        select(ALERTS, alertstate="firing", severity=severity, **where).max(*labels) * 0 + rank
        for rank, severity in enumerate(SEVERITIES, 1)
    )
    ranked = worst
    for other in others:
        ranked = ranked.or_(other)
    severity = Query(ranked.join_labels("alert", *labels).min("alert"), ref="severity")
    return rows, Column("Severity", severity, p.style_mapped(p.map_words(SEVERITIES)) | {"custom.width": 100})
