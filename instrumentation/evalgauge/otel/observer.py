"""The runs of this process sent by OTLP while they go on: metrics under the catalogue's names, and traces.

Needs the extra ``otel``. Set the standard variables and nothing else: where ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or the
variable of one signal) is set, the first ``track_run`` starts this. ``OTEL_EXPORTER_OTLP_PROTOCOL`` (``http/protobuf``
unless ``grpc`` is asked for), ``…_HEADERS``, ``…_CERTIFICATE``, ``OTEL_METRIC_EXPORT_INTERVAL``, ``OTEL_SERVICE_NAME``,
``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_METRICS_EXPORTER=none``, ``OTEL_TRACES_EXPORTER=none`` and ``OTEL_SDK_DISABLED``
mean what they mean everywhere.

The log on disk stays what counts: what is sent here is a view of it, made by the process that writes it.
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
from evalgauge.otel.values import taken

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from evalgauge.otel.metrics import OtelMetrics
    from evalgauge.otel.traces import Traces
    from evalgauge.tracker import Run

log = logging.getLogger("evalgauge")

SCOPE = "evalgauge"
INTERVAL_MILLISECONDS = 15_000
"""How often metrics are sent where OTEL_METRIC_EXPORT_INTERVAL does not say."""
LAST_SECONDS = 5.0
"""How long the end of the process waits for what is left to be sent: an endpoint that is gone must not hold it up."""
SIGNALS = ("METRICS", "TRACES")
_lock = threading.Lock()
_observer: OtelObserver | None = None
_looked = False


class OtelObserver:
    """An observer of the tracker that measures and traces what happens. Made by ``start``."""

    def __init__(self, meter_provider: MeterProvider | None, tracer_provider: TracerProvider | None) -> None:
        self._given = (meter_provider, tracer_provider)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._senders: list[_Sender] = []
        self._measures: OtelMetrics | None = None
        self._traces: Traces | None = None
        meters, tracers = self._given
        own_ids = False
        if meters is None and tracers is None:
            meters, tracers, self._senders = _providers()
            own_ids = True
        if meters is not None:
            from evalgauge.otel.metrics import OtelMetrics

            self._measures = OtelMetrics(meters.get_meter(SCOPE))
        if tracers is not None:
            from evalgauge.otel.traces import Traces

            self._traces = Traces(tracers.get_tracer(SCOPE), ids=own_ids)

    def __call__(self, run: Run, kind: str, fields: Mapping[str, Any]) -> None:
        """Take in an event of a run."""
        if os.getpid() != self._pid and self._given == (None, None):
            self._begin()  # a forked process counts from nothing, under an instance id of its own
            if "multiprocessing.util" in sys.modules:  # such a process ends without what atexit has
                import_module("multiprocessing.util").Finalize(None, self.shut_down, exitpriority=0)
        now = time.time_ns()
        fields = taken(fields)
        if self._measures is not None:
            self._measures.take(run, kind, fields, now / 1e9)
        if self._traces is not None:
            self._traces.take(run, kind, fields, now)

    def flush(self) -> None:
        """Send what there is now; returns once it was sent or that took too long."""
        own = [sender.provider for sender in self._senders]
        for provider in own or [provider for provider in self._given if provider is not None]:
            if hasattr(provider, "force_flush"):
                provider.force_flush(10_000)

    def shut_down(self) -> None:
        """End open spans and send everything, for at most ``LAST_SECONDS``; providers that were given stay open."""
        if os.getpid() != self._pid:
            return
        if self._traces is not None:
            self._traces.close()
        if not self._senders:
            self.flush()
        for sender in self._senders:
            sender.end()
        until = time.monotonic() + LAST_SECONDS
        for sender in self._senders:
            sender.wait(until)
        self._senders.clear()


class _Sender:
    """A provider of our own and the thread that shuts it down.

    The thread is there from the beginning, as none can be started at the end of the process since Python 3.12. It is a
    daemon: one that hangs is left behind.
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

    def end(self) -> None:
        """Begin to send what is left."""
        self._ending.set()

    def wait(self, until: float) -> None:
        """Return once that is done, or at ``until`` of the monotonic clock."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            log.warning("the last OTLP %s could not be sent within %g s", self._signal, LAST_SECONDS)
            self._exporter.shutdown()  # no more tries


def start(
    *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> OtelObserver:
    """Send every run of this process from now on, to where the ``OTEL_…`` variables say or through the given providers.

    Returns the observer; a second call returns the first one's. Raises ModuleNotFoundError where the extra ``otel`` is
    not installed.
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
    """Send what is left, and nothing more."""
    global _observer, _looked
    with _lock:
        observer, _observer, _looked = _observer, None, False
    if observer is not None:
        if observer in tracker.observers:
            tracker.observers.remove(observer)
        atexit.unregister(_at_exit)
        observer.shut_down()


def start_if_configured() -> None:
    """Start where the environment names an endpoint: what ``track_run`` calls. Tries once; never raises."""
    global _looked
    if _looked or _observer is not None:
        return
    if not any(_endpoint(signal) for signal in SIGNALS):
        return
    _looked = True
    if _disabled():
        return
    try:
        start()
    except ModuleNotFoundError as error:
        log.warning("an OTLP endpoint is set, but nothing is sent there: %s", error)
    except Exception:
        log.exception("an OTLP endpoint is set, but nothing is sent there")


def _at_exit() -> None:
    tracker.abort_open_runs()  # a run that nobody finished is aborted, and that is sent too
    stop()


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _endpoint(signal: str) -> str | None:
    names = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def _wanted(signal: str) -> bool:
    exporters = [name.strip() for name in os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")]
    if "otlp" not in exporters or _disabled():
        return False
    # where only one signal has an endpoint, the other is not sent to the default one
    return _endpoint(signal) is not None or not any(_endpoint(other) for other in SIGNALS)


def _providers() -> tuple[MeterProvider | None, TracerProvider | None, list[_Sender]]:
    """Providers of our own, so that nothing of the program's own telemetry is touched."""
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
    if _wanted("METRICS"):
        exporter = _exporter("METRICS", "metric_exporter", "OTLPMetricExporter")
        set_interval = "OTEL_METRIC_EXPORT_INTERVAL" in os.environ
        reader = PeriodicExportingMetricReader(
            exporter, export_interval_millis=None if set_interval else INTERVAL_MILLISECONDS
        )
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        senders.append(_Sender(meters, exporter, "METRICS"))
    if _wanted("TRACES"):
        exporter = _exporter("TRACES", "trace_exporter", "OTLPSpanExporter")
        tracers = TracerProvider(resource=resource, id_generator=RunIds(), shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(exporter))
        senders.append(_Sender(tracers, exporter, "TRACES"))
    return meters, tracers, senders


def _exporter(signal: str, module: str, name: str) -> Any:
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    transport = "grpc" if protocol == "grpc" else "http"
    if protocol not in (None, "", "grpc", "http/protobuf"):
        log.warning("the OTLP protocol %r is not known here; http/protobuf is used", protocol)
    base = getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)
    pid = os.getpid()

    def export(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != pid:  # what a forked process inherited is its parent's to send
            return _success(signal)
        return base.export(self, batch, *args, **kwargs)

    return type(name, (base,), {"export": export})()


def _success(signal: str) -> Any:
    if signal == "METRICS":
        from opentelemetry.sdk.metrics.export import MetricExportResult

        return MetricExportResult.SUCCESS
    from opentelemetry.sdk.trace.export import SpanExportResult

    return SpanExportResult.SUCCESS
