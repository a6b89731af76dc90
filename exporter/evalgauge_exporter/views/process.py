"""What Prometheus' own client exposes of a process: CPU time, memory, open files, start time."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

_REGISTRY = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)


def render_process(openmetrics: bool) -> str:
    """Return the ``process_*`` metrics of this process, in one of the two formats and without an end mark."""
    text = (generate_openmetrics if openmetrics else generate_latest)(_REGISTRY).decode()
    return text.removesuffix("# EOF\n")
