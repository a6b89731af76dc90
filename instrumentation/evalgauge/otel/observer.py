"""OTLP export of the runs of this process while they run: metrics under the catalogue's names, and traces.

Needs the extra ``otel``. The standard environment variables configure it: if ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or the
variable of one signal) is set, the first ``track_run`` starts the export. ``OTEL_EXPORTER_OTLP_PROTOCOL`` (default
``http/protobuf``, or ``grpc``), ``…_HEADERS``, ``…_CERTIFICATE``, ``OTEL_METRIC_EXPORT_INTERVAL``,
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_METRICS_EXPORTER=none``, ``OTEL_TRACES_EXPORTER=none`` and
``OTEL_SDK_DISABLED`` have their standard meaning.

The log on disk remains the source of truth; what is sent is a view of it, made by the process that writes it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from evalgauge import tracker
from evalgauge.otel.values import sanitize_fields

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from evalgauge.otel.metrics import OtelMetrics
    from evalgauge.otel.traces import Traces
    from evalgauge.tracker import Run

log = logging.getLogger("evalgauge")

SCOPE = "evalgauge"
INTERVAL_MILLISECONDS = 15_000
"""The export interval of metrics where OTEL_METRIC_EXPORT_INTERVAL is not set."""
SHUTDOWN_SECONDS = 5.0
"""How long the process waits at exit for the last export: an unreachable endpoint must not block it."""
SIGNALS = ("METRICS", "TRACES")
_lock = threading.Lock()
_observer: OtelObserver | None = None
_tried = False


class OtelObserver:
    """An observer of the tracker that records metrics and traces. Made by ``start``."""

    def __init__(self, meter_provider: MeterProvider | None, tracer_provider: TracerProvider | None) -> None:
        self._providers = (meter_provider, tracer_provider)
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._senders: list[_Sender] = []
        self._metrics: OtelMetrics | None = None
        self._traces: Traces | None = None
        meters, tracers = self._providers
        own_ids = False
        if meters is None and tracers is None:
            meters, tracers, self._senders = _make_providers()
            own_ids = True
        if meters is not None:
            from evalgauge.otel.metrics import OtelMetrics

            self._metrics = OtelMetrics(meters.get_meter(SCOPE))
        if tracers is not None:
            from evalgauge.otel.traces import Traces

            self._traces = Traces(tracers.get_tracer(SCOPE), ids=own_ids)

    def __call__(self, run: Run, kind: str, fields: Mapping[str, Any]) -> None:
        """Record an event of a run."""
        if os.getpid() != self._pid and self._providers == (None, None):
            self._open()  # a forked process counts from zero, under an instance id of its own
            if "multiprocessing.util" in sys.modules:  # such a process exits without running atexit callbacks
                import_module("multiprocessing.util").Finalize(None, self.shut_down, exitpriority=0)
        now = time.time_ns()
        fields = sanitize_fields(fields)
        if self._metrics is not None:
            self._metrics.record(run, kind, fields, now / 1e9)
        if self._traces is not None:
            self._traces.record(run, kind, fields, now)

    def flush(self) -> None:
        """Send what was recorded so far; returns when it was sent, or after 10 seconds."""
        own = [sender.provider for sender in self._senders]
        for provider in own or [provider for provider in self._providers if provider is not None]:
            if hasattr(provider, "force_flush"):
                provider.force_flush(10_000)

    def shut_down(self) -> None:
        """End open spans and send everything, for at most ``SHUTDOWN_SECONDS``; the caller's providers stay open."""
        if os.getpid() != self._pid:
            return
        if self._traces is not None:
            self._traces.close()
        if not self._senders:
            self.flush()
        for sender in self._senders:
            sender.begin_shutdown()
        until = time.monotonic() + SHUTDOWN_SECONDS
        for sender in self._senders:
            sender.wait(until)
        self._senders.clear()


class _Sender:
    """A provider made here and the thread that shuts it down.

    The thread is started at once, because since Python 3.12 none can be started at interpreter exit. It is a daemon: if
    it hangs, the process exits all the same.
    """

    def __init__(self, provider: Any, exporter: Any, signal: str) -> None:
        self.provider = provider
        self._exporter = exporter
        self._signal = signal.lower()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"evalgauge-otlp-{self._signal}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._ending.wait()
        try:
            self.provider.shutdown()
        except Exception:
            log.exception("OTLP %s could not be shut down", self._signal)

    def begin_shutdown(self) -> None:
        """Start to send what is left."""
        self._ending.set()

    def wait(self, until: float) -> None:
        """Return when that is done, or when the monotonic clock shows ``until``."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            log.warning("the last OTLP %s could not be sent within %g s", self._signal, SHUTDOWN_SECONDS)
            self._exporter.shutdown()  # stops its retries


def start(
    *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> OtelObserver:
    """Start to export every run of this process. A second call returns the first one's observer.

    Args:
        meter_provider: The provider of the metrics; with None for both, the ``OTEL_…`` variables configure the export.
        tracer_provider: The provider of the traces.

    Returns:
        The observer of the tracker.

    Raises:
        ModuleNotFoundError: The extra ``otel`` is not installed.
    """
    global _observer
    with _lock:
        if _observer is None:
            try:
                _observer = OtelObserver(meter_provider, tracer_provider)
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"OpenTelemetry is not installed ({error.name}): pip install 'evalgauge[otel]'", name=error.name
                ) from error
            tracker.observers.append(_observer)
            atexit.register(_at_exit)
        return _observer


def stop() -> None:
    """Stop the export; what was recorded before is sent."""
    global _observer, _tried
    with _lock:
        observer, _observer, _tried = _observer, None, False
    if observer is not None:
        if observer in tracker.observers:
            tracker.observers.remove(observer)
        atexit.unregister(_at_exit)
        observer.shut_down()


def start_if_configured() -> None:
    """Start the export if the environment names an endpoint; ``track_run`` calls this. Tries once, never raises."""
    global _tried
    if _tried or _observer is not None:
        return
    if not any(_endpoint(signal) for signal in SIGNALS):
        return
    _tried = True
    if _disabled():
        return
    try:
        start()
    except ModuleNotFoundError as error:
        log.warning("an OTLP endpoint is set, but nothing is exported: %s", error)
    except Exception:
        log.exception("an OTLP endpoint is set, but nothing is exported")


def _at_exit() -> None:
    tracker.abort_open_runs()  # a run that nobody finished is aborted, and that is exported too
    stop()


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _endpoint(signal: str) -> str | None:
    names = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def _is_enabled(signal: str) -> bool:
    exporters = [name.strip() for name in os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")]
    if "otlp" not in exporters or _disabled():
        return False
    # where only one signal has an endpoint, the other is not sent to the default one
    return _endpoint(signal) is not None or not any(_endpoint(other) for other in SIGNALS)


def _make_providers() -> tuple[MeterProvider | None, TracerProvider | None, list[_Sender]]:
    """Make providers of our own, so that the program's own telemetry is not touched."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from evalgauge.otel.traces import RunIds

    resource = Resource({SERVICE_NAME: "evalgauge", SERVICE_INSTANCE_ID: str(uuid.uuid4())})
    if os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        resource = Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())})
    resource = Resource.create().merge(resource)
    meters = tracers = None
    senders = []
    if _is_enabled("METRICS"):
        exporter = _exporter("METRICS", "metric_exporter", "OTLPMetricExporter")
        set_interval = "OTEL_METRIC_EXPORT_INTERVAL" in os.environ
        reader = PeriodicExportingMetricReader(
            exporter, export_interval_millis=None if set_interval else INTERVAL_MILLISECONDS
        )
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        senders.append(_Sender(meters, exporter, "METRICS"))
    if _is_enabled("TRACES"):
        exporter = _exporter("TRACES", "trace_exporter", "OTLPSpanExporter")
        tracers = TracerProvider(resource=resource, id_generator=RunIds(), shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(exporter))
        senders.append(_Sender(tracers, exporter, "TRACES"))
    return meters, tracers, senders


def _exporter(signal: str, module: str, name: str) -> Any:
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    transport = "grpc" if protocol == "grpc" else "http"
    if protocol not in (None, "", "grpc", "http/protobuf"):
        log.warning("unknown OTLP protocol %r; http/protobuf is used", protocol)
    base = getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)
    pid = os.getpid()

    def export(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != pid:  # what a forked process inherited is sent by its parent
            return _success(signal)
        return base.export(self, batch, *args, **kwargs)

    return type(name, (base,), {"export": export})()


def _success(signal: str) -> Any:
    if signal == "METRICS":
        from opentelemetry.sdk.metrics.export import MetricExportResult

        return MetricExportResult.SUCCESS
    from opentelemetry.sdk.trace.export import SpanExportResult

    return SpanExportResult.SUCCESS
