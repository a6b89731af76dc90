"""Model calls from OpenTelemetry's GenAI spans, so that calls of instrumented libraries are counted.

    provider = TracerProvider()
    provider.add_span_processor(GenAiSpans())

Attribute names are those of the OpenTelemetry semantic conventions for generative AI, and older ones that are still in
use (``gen_ai.system``, ``llm.request.type``). No OpenTelemetry package is imported: any object with its methods is a
span processor.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from evalgauge.model_names import resolve_answered_model
from evalgauge.tracker import Run, Task, _open_runs, current_task
from evalgauge.usage import NOTHING, is_refusal

OWN_SCOPE = "evalgauge"
"""The instrumentation scope of the spans that evalgauge itself makes for recorded calls."""
CALLS = frozenset(
    {
        *("chat", "text_completion", "generate_content", "completion", "embeddings", "embedding"),
        *("responses", "messages"),  # Sentry
        *("acompletion", "atext_completion", "aresponses", "aembedding", "anthropic_messages"),  # LiteLLM
    }
)
"""Operations that are one model call. The span of an agent or a workflow sums up the calls within it."""

is_wrapped_call: ContextVar[bool] = ContextVar("evalgauge_is_wrapped_call", default=False)
"""True while a wrapped client makes a call: spans that start then describe that call."""
_last_span: ContextVar[int | None] = ContextVar("evalgauge_last_span", default=None)
_spans: dict[int, _OpenSpan] = {}
_lock = threading.RLock()  # a finalizer may record a call while it is held


class _OpenSpan:
    """A span that has started."""

    def __init__(self, target: Task | Run | None, counted: bool) -> None:
        self.target = target
        self.counted = counted
        """Whether the call that it describes is counted already."""


def current_target() -> Task | Run | None:
    """Return what a model call made here belongs to: the current task, else the only run of this process, else None."""
    task = current_task.get()
    if task is not None:
        return task
    runs = [run for run in list(_open_runs) if not run._closed]
    return runs[0] if len(runs) == 1 else None


def mark_current_span_counted() -> None:
    """Mark the span that describes the call of a wrapped client, which counts it: it is not counted twice."""
    if not _spans:
        return
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context().span_id
    with _lock:
        for span_id in (_last_span.get(), current):
            if span_id is not None and span_id in _spans:
                _spans[span_id].counted = True


class GenAiSpans:
    """A span processor that records each finished model call for the task it was made in.

    A call that ``capture`` or a span within this one has counted is not counted again.
    """

    def on_start(self, span: Any, parent_context: object = None) -> None:
        """Store the task in which the span started: it may end elsewhere."""
        span_id = span.get_span_context().span_id
        with _lock:
            _spans[span_id] = _OpenSpan(current_target(), is_wrapped_call.get())
        _last_span.set(span_id)

    def on_end(self, span: Any) -> None:
        """Record the call that the span describes."""
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
                _record_call(opened.target, span, attributes)
        if opened.counted and span.parent is not None:
            with _lock:
                if span.parent.span_id in _spans:
                    _spans[span.parent.span_id].counted = True

    def _on_ending(self, span: Any) -> None:
        """Do nothing; the SDK calls this just before a span ends."""

    def shutdown(self) -> None:
        """Do nothing: nothing is buffered."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing is buffered."""
        return True


_NAMES = (
    ("gen_ai.response.model", "llm.model_name", "embedding.model_name"),
    ("gen_ai.request.model",),
    ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
)
_REFUSALS = frozenset(
    {
        *("RateLimitError", "BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError"),
        *("UnprocessableEntityError", "OverloadedError", "ContentPolicyViolationError", "ContextWindowExceededError"),
        *("ThrottlingException", "ValidationException", "AccessDeniedException", "ResourceNotFoundException"),
    }
)
"""Exceptions of the clients of Anthropic, OpenAI, LiteLLM and Amazon Bedrock that stand for a request refused."""


def _is_refused(attributes: Mapping[str, Any]) -> bool:
    error = str(attributes.get("error.type", "")).rpartition(".")[2][:60]
    status = int(error) if len(error) == 3 and error.isdecimal() else attributes.get("http.response.status_code")
    return is_refusal(status) or error in _REFUSALS


def _is_call(attributes: Mapping[str, Any]) -> bool:
    operation = attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type")
    if operation is None and (kind := attributes.get("openinference.span.kind")) is not None:
        return kind in ("LLM", "EMBEDDING")
    if operation is not None:
        return str(operation) in CALLS
    counted = any(name.startswith("gen_ai.usage.") for name in attributes)
    return counted and ("gen_ai.request.model" in attributes or "gen_ai.response.model" in attributes)


def _record_call(target: Task | Run, span: Any, attributes: Mapping[str, Any]) -> None:
    failed = "error.type" in attributes or getattr(span.status, "is_ok", True) is False
    took = None if span.end_time is None or span.start_time is None else (span.end_time - span.start_time) / 1e9
    answered, asked, provider = (
        next((str(found) for name in names if (found := attributes.get(name))), None) for names in _NAMES
    )
    target.llm_call(
        provider=None if provider is None else provider.lower(),
        model=resolve_answered_model(asked, answered),
        usage=NOTHING if failed and _is_refused(attributes) else attributes,
        duration_seconds=took,
        status="error" if failed else "ok",
    )
