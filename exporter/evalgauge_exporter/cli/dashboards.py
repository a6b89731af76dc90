"""``evalgauge dashboards``: Grafana dashboards, alerts and Prometheus rules as files."""

from __future__ import annotations

import click

from evalgauge_dashboards.cli import build_command


@click.group("dashboards")
def command() -> None:
    """Build the Grafana dashboards, alerts and rules."""


command.add_command(build_command)
