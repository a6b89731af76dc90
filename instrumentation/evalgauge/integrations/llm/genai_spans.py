"""Model calls out of OpenTelemetry's GenAI spans, so that whatever is instrumented already is counted.

    provider = TracerProvider()
    provider.add_span_processor(GenAiSpans())

Names are those of the OpenTelemetry semantic conventions for generative AI, and the older ones that are still in use
(``gen_ai.system``, ``llm.request.type``). No OpenTelemetry package is imported: a span processor is whatever has its
methods.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from evalgauge.tracker import Run, Task, _open_runs, current_task

OWN_SCOPE = "evalgauge"
"""The instrumentation scope of the spans that evalgauge itself makes of recorded calls."""
CALLS = frozenset({"chat", "text_completion", "generate_content", "completion", "embeddings"})
"""Operations that are one call of a model. An agent's or a workflow's span sums up the calls within it."""

calling: ContextVar[bool] = ContextVar("evalgauge_calling", default=False)
"""True while a wrapped client makes a call: spans that begin then are about that call."""
_last_span: ContextVar[int | None] = ContextVar("evalgauge_last_span", default=None)
_spans: dict[int, _Open] = {}
_lock = threading.RLock()  # a finalizer may book a call while it is held


class _Open:
    """A span that has begun."""

    def __init__(self, target: Task | Run | None, counted: bool) -> None:
        self.target = target
        self.counted = counted
        """Whether the call that it is about is counted already."""


def target_of_calls() -> Task | Run | None:
    """What a model call made here belongs to: the current task, else the only run of this process, else nothing."""
    task = current_task.get()
    if task is not None:
        return task
    runs = [run for run in list(_open_runs) if not run._closed]
    return runs[0] if len(runs) == 1 else None


def cover() -> None:
    """A wrapped client makes a call here and counts it: the span that is about it, if one has begun, does not."""
    if not _spans:
        return
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context().span_id
    with _lock:
        for span_id in (_last_span.get(), current):
            if span_id is not None and span_id in _spans:
                _spans[span_id].counted = True


class GenAiSpans:
    """A span processor that books each ended model call to the task it was made in.

    A call that ``capture`` counts, or that a span within this one counts, is not counted again.
    """

    def on_start(self, span: Any, parent_context: object = None) -> None:
        """Remember where the span began: it may end somewhere else."""
        span_id = span.get_span_context().span_id
        with _lock:
            _spans[span_id] = _Open(target_of_calls(), calling.get())
        _last_span.set(span_id)

    def on_end(self, span: Any) -> None:
        """Count the call that the span is about."""
        with _lock:
            opened = _spans.pop(span.get_span_context().span_id, None)
        if opened is None:
            return
        attributes: Mapping[str, Any] = span.attributes or {}
        scope = getattr(span, "instrumentation_scope", None)
        own = scope is not None and scope.name == OWN_SCOPE
        if not opened.counted and not own and _is_call(attributes):
            opened.counted = True
            if opened.target is not None:
                _book(opened.target, span, attributes)
        if opened.counted and span.parent is not None:
            with _lock:
                if span.parent.span_id in _spans:
                    _spans[span.parent.span_id].counted = True

    def _on_ending(self, span: Any) -> None:
        """Nothing: what the SDK calls just before a span ends."""

    def shutdown(self) -> None:
        """Nothing is held back."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back."""
        return True


def _is_call(attributes: Mapping[str, Any]) -> bool:
    operation = attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type")
    if operation is not None:
        return str(operation) in CALLS
    counted = any(name.startswith("gen_ai.usage.") for name in attributes)
    return counted and ("gen_ai.request.model" in attributes or "gen_ai.response.model" in attributes)


def _book(target: Task | Run, span: Any, attributes: Mapping[str, Any]) -> None:
    failed = "error.type" in attributes or getattr(span.status, "is_ok", True) is False
    took = None if span.end_time is None or span.start_time is None else (span.end_time - span.start_time) / 1e9
    model = attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model")
    provider = attributes.get("gen_ai.provider.name") or attributes.get("gen_ai.system")
    target.llm_call(
        provider=None if provider is None else str(provider).lower(),
        model=None if model is None else str(model),
        usage=attributes,
        duration_seconds=took,
        status="error" if failed else "ok",
    )
