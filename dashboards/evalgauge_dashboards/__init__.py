"""Grafana dashboards, alerts and Prometheus rules as code, built from the metric catalogue.

>>> from pathlib import Path
>>> from evalgauge_dashboards.build import build
>>> paths = build(Path("generated"))  # doctest: +SKIP

- ``promql``: expressions that can name only metrics and labels of the catalogue
- ``queries``: one expression for each quantity, shared by panels and alerts
- ``panels``, ``colours``: Grafana's panels with this project's defaults
- ``variables``, ``dashboard``, ``run_table``: what the dashboards have in common
- ``evaluation`` (with ``stats``), ``comparison``, ``fleet``: the dashboards
- ``alerts``, ``thresholds``: the alerts, in Prometheus' and in Grafana's form
- ``options``, ``build``, ``panel_links``, ``cli``: the generated files, the list of panels, the command
"""
