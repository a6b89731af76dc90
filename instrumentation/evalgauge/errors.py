"""Exceptions of evalgauge."""

from __future__ import annotations


class EvalgaugeError(Exception):
    """Base class of every exception of evalgauge, its exporter and its dashboards."""
