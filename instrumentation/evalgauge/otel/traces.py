"""Runs as traces: tasks are ``invoke_agent`` spans with steps and model calls below them, outcomes are span events.

Names are those of the OpenTelemetry semantic conventions for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai), pinned here and nowhere else.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from evalgauge.otel.values import sanitize_fields
from evalgauge.tracker import Run

TASKS_IN_ONE_TRACE = 500
"""A run with more planned tasks is not one trace, which trace stores would cut: each task is one, linked to the run."""
TEXT = 2000
"""Characters; a longer text in an attribute is cut."""
_planned: ContextVar[tuple[int, int] | None] = ContextVar("evalgauge_ids", default=None)


class RunIds(RandomIdGenerator):
    """Random ids, except for a run's span, whose ids are derived from the run id: every process can compute them."""

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        planned = _planned.get()
        return planned[0] if planned else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        planned = _planned.get()
        return planned[1] if planned else super().generate_span_id()


def run_ids(run_id: str) -> tuple[int, int]:
    """Return the trace id and the span id of a run."""
    digest = hashlib.sha256(f"evalgauge run {run_id}".encode()).digest()
    return int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")


class Traces:
    """Makes the spans of the runs that this process records. Thread-safe."""

    def __init__(self, tracer: Tracer, *, ids: bool) -> None:
        """Make spans with ``tracer``; ``ids`` says whether its ids come from ``RunIds``."""
        self._tracer = tracer
        self._ids = ids
        self._lock = threading.RLock()  # a signal handler may record an event during another one
        self._runs: dict[str, Span] = {}
        self._about: dict[str, dict[str, Any]] = {}
        self._tasks: dict[tuple[str, str, int], Span] = {}

    def record(self, run: Run, kind: str, fields: Mapping[str, Any], now: int) -> None:
        """Record an event that happened at ``now``, in Unix nanoseconds.

        Args:
            run: The run.
            kind: The event's type.
            fields: The event's fields.
            now: Unix nanoseconds.
        """
        with self._lock:
            about = self._about.get(run.run_id)
            if about is None:
                about = self._about[run.run_id] = sanitize_fields(run.started or {})
            if kind == "run_started":
                about.update(fields)
                self._begin_run(run, about, now)
            elif kind == "run_finished":
                self._end_run(run, fields, now)
            elif kind == "task_started":
                self._begin_task(run, about, fields, now)
            elif kind in ("step", "llm_call", "task_finished"):
                span = self._tasks.get(_key(run, fields))
                if kind == "step" and span is not None:
                    self._step(span, fields, now)
                elif kind == "llm_call":
                    self._call(span or self._runs.get(run.run_id), fields, now)
                elif span is not None:
                    del self._tasks[_key(run, fields)]
                    _end_task(span, about, fields, now)

    def close(self) -> None:
        """End the open spans, so that they are exported."""
        with self._lock:
            for span in (*self._tasks.values(), *self._runs.values()):
                span.end()
            self._tasks.clear()
            self._runs.clear()

    def _begin_run(self, run: Run, about: Mapping[str, Any], now: int) -> None:
        if run.run_id in self._runs:
            return
        token = _planned.set(run_ids(run.run_id) if self._ids else None)
        try:
            self._runs[run.run_id] = self._tracer.start_span(
                f"evaluation {about.get('benchmark') or 'unknown'}",
                context=trace.set_span_in_context(trace.INVALID_SPAN),
                start_time=now,
                attributes=_attributes(
                    {
                        "evalgauge.run_id": run.run_id,
                        "evalgauge.benchmark": about.get("benchmark"),
                        "gen_ai.request.model": about.get("model"),
                        "gen_ai.agent.name": about.get("agent"),
                        "evalgauge.planned_tasks": _planned_tasks(about),
                    }
                ),
            )
        finally:
            _planned.reset(token)

    def _end_run(self, run: Run, fields: Mapping[str, Any], now: int) -> None:
        for key in [key for key in self._tasks if key[0] == run.run_id]:
            self._tasks.pop(key).end(now)
        span = self._runs.pop(run.run_id, None)
        if span is not None:
            span.set_attribute("evalgauge.status", str(fields.get("status")))
            if fields.get("status") == "aborted":
                span.set_status(Status(StatusCode.ERROR, "aborted"))
            span.end(now)
        self._about.pop(run.run_id, None)

    def _begin_task(self, run: Run, about: Mapping[str, Any], fields: Mapping[str, Any], now: int) -> None:
        parent = self._runs.get(run.run_id)
        context = parent.get_span_context() if parent is not None else _remote(run.run_id)
        alone = _planned_tasks(about) > TASKS_IN_ONE_TRACE
        name = about.get("agent") or about.get("model") or "agent"
        self._tasks[_key(run, fields)] = self._tracer.start_span(
            f"invoke_agent {name}",
            context=trace.set_span_in_context(trace.INVALID_SPAN if alone else trace.NonRecordingSpan(context)),
            links=[trace.Link(context)] if alone else None,
            start_time=now,
            attributes=_attributes(
                {
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.agent.name": about.get("agent"),
                    "gen_ai.request.model": about.get("model"),
                    "evalgauge.run_id": run.run_id,
                    "evalgauge.benchmark": about.get("benchmark"),
                    "evalgauge.task_id": fields.get("task_id"),
                    "evalgauge.attempt": fields.get("attempt"),
                    "evalgauge.worker_id": fields.get("worker_id"),
                    "evalgauge.domain": fields.get("domain"),
                    "evalgauge.instruction": fields.get("instruction"),
                }
            ),
        )

    def _step(self, parent: Span, fields: Mapping[str, Any], now: int) -> None:
        action = fields.get("action")
        action = action if isinstance(action, Mapping) else {}
        kind = str(action.get("type") or "unknown")
        took = (fields.get("think_seconds") or 0.0) + (fields.get("env_seconds") or 0.0)
        self._tracer.start_span(
            f"execute_tool {kind}",
            context=trace.set_span_in_context(parent),
            start_time=max(0, now - int(took * 1e9)),
            attributes=_attributes(
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": kind,
                    "evalgauge.step_idx": fields.get("step_idx"),
                    "evalgauge.reasoning": fields.get("reasoning"),
                    "evalgauge.think_seconds": fields.get("think_seconds"),
                    "evalgauge.env_seconds": fields.get("env_seconds"),
                    "evalgauge.screenshot": fields.get("screenshot"),
                }
            ),
        ).end(now)

    def _call(self, parent: Span | None, fields: Mapping[str, Any], now: int) -> None:
        status = fields.get("status") or "ok"
        cached = [fields.get(f"{kind}_tokens") for kind in ("input", "cache_read", "cache_write")]
        known = [count for count in cached if count is not None]
        span = self._tracer.start_span(
            f"chat {fields.get('model') or 'unknown'}",
            context=trace.set_span_in_context(parent if parent is not None else trace.INVALID_SPAN),
            kind=SpanKind.CLIENT,
            start_time=max(0, now - int((fields.get("duration_seconds") or 0.0) * 1e9)),
            attributes=_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": fields.get("provider"),
                    "gen_ai.request.model": fields.get("model"),
                    # the conventions include cached tokens in the input
                    "gen_ai.usage.input_tokens": sum(known) if known else None,
                    "gen_ai.usage.cache_read.input_tokens": cached[1],
                    "gen_ai.usage.cache_creation.input_tokens": cached[2],
                    "gen_ai.usage.output_tokens": fields.get("output_tokens"),
                    "error.type": None if status == "ok" else status,
                }
            ),
        )
        if status != "ok":
            span.set_status(Status(StatusCode.ERROR, status))
        span.end(now)


def _end_task(span: Span, about: Mapping[str, Any], fields: Mapping[str, Any], now: int) -> None:
    outcome = str(fields.get("outcome"))
    verdict = {
        "gen_ai.evaluation.name": about.get("benchmark") or "unknown",
        "gen_ai.evaluation.score.value": fields.get("score"),
        "gen_ai.evaluation.score.label": outcome,
        "gen_ai.evaluation.explanation": fields.get("reason") or fields.get("error"),
    }
    span.add_event("gen_ai.evaluation.result", _attributes(verdict), now)
    span.set_attribute("evalgauge.outcome", outcome)
    if fields.get("steps") is not None:
        span.set_attribute("evalgauge.steps", fields["steps"])
    if outcome.endswith("_error"):
        span.set_attribute("error.type", outcome)
        span.set_status(Status(StatusCode.ERROR, str(fields.get("error") or outcome)[:TEXT]))
    span.end(now)


def _remote(run_id: str) -> SpanContext:
    trace_id, span_id = run_ids(run_id)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _planned_tasks(about: Mapping[str, Any]) -> int:
    tasks = about.get("tasks") or ()
    return max(len(tasks), about.get("total_tasks") or 0) * max(1, about.get("attempts") or 1)


def _key(run: Run, fields: Mapping[str, Any]) -> tuple[str, str, int]:
    return run.run_id, str(fields.get("task_id")), fields.get("attempt") or 1


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that have a value; long texts are cut."""
    return {
        name: value[:TEXT] if isinstance(value, str) else value
        for name, value in attributes.items()
        if isinstance(value, str | bool | int | float)
    }
