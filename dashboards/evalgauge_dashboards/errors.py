"""Exceptions of the dashboards package.

- ``DashboardsError``
    - ``ExpressionError``: an expression that PromQL or the catalogue does not allow
    - ``OptionError``: an option of the command that cannot be used
    - ``PanelError``: a dashboard or panel that Grafana would not show as meant
    - ``TemplateError``: an alert's template that Grafana would read differently from Prometheus
"""

from __future__ import annotations

from evalgauge.errors import EvalgaugeError


class DashboardsError(EvalgaugeError, ValueError):
    """Base class of every exception of this package: the code asks for something that cannot be built."""


class ExpressionError(DashboardsError):
    """An expression that names a metric or label that does not exist, or that would mean something else."""


class OptionError(DashboardsError):
    """An option of the command that cannot be used."""


class PanelError(DashboardsError):
    """A dashboard or panel that Grafana would not show as meant."""


class TemplateError(DashboardsError):
    """An alert's template that Grafana would read differently from Prometheus."""
