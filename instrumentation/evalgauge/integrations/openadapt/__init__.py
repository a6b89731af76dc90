"""openadapt-evals: one line before an evaluation, or none, and its runs are recorded while they run.

    from evalgauge.integrations import openadapt

    openadapt.instrument()
    results = evaluate_agent_on_benchmark(agent, adapter, config=config)

The command needs no line of code: ``python -m evalgauge.integrations.openadapt mock --tasks 20`` is
``openadapt-evals mock --tasks 20``. A loop of your own uses ``TraceCollector`` and ``LiveTracker`` in place of
``ExecutionTraceCollector`` and ``LiveEvaluationTracker``; these two are made when first asked for, because their bases
are openadapt-evals' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalgauge.integrations.openadapt.instrumentation import Instrumented, instrument, main

if TYPE_CHECKING:
    TraceCollector: type[Any]
    LiveTracker: type[Any]

__all__ = ["Instrumented", "LiveTracker", "TraceCollector", "instrument", "main"]


def __getattr__(name: str) -> Any:
    if name in ("TraceCollector", "LiveTracker"):
        from evalgauge.integrations.openadapt import classes

        return classes.trace_collector() if name == "TraceCollector" else classes.live_tracker()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
