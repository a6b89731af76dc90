"""OpenTelemetry export of the runs of this process: metrics under the catalogue's names, and traces.

>>> from evalgauge import otel
>>> otel.start()  # doctest: +SKIP
"""

from evalgauge.otel.observer import OtelObserver, start, start_if_configured, stop

__all__ = ["OtelObserver", "start", "start_if_configured", "stop"]
