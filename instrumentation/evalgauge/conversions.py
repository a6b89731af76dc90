"""What runners give, as fields of events: tasks, actions, screenshots, model calls, outcomes."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from evalgauge.metrics import OUTCOMES, REQUEST_STATUSES
from evalgauge.usage import UNKNOWN, Tokens, tokens

log = logging.getLogger("evalgauge")

Screenshot = bytes | bytearray | memoryview | str | os.PathLike[str] | Any
"""PNG, JPEG, GIF or WebP bytes, the path of such a file, a ``data:`` URL, or an object with ``save`` as Pillow's."""


class LlmCallFields(TypedDict, total=False):
    """What may be said of a model call."""

    provider: str | None
    model: str | None
    usage: object
    """The SDK's usage object as it came; else the four counts below, which are disjoint."""
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    duration_seconds: float | None
    status: str
    """``ok``, ``error`` or ``retry``."""
    batch: bool
    """Whether it is billed at the batch price."""


def planned_tasks(tasks: Iterable[Any] | int) -> dict[str, Any]:
    """The fields of ``run_started`` that say what will be done. Never raises."""
    if isinstance(tasks, int):
        return {"tasks": [], "total_tasks": max(0, tasks)}
    planned: list[dict[str, Any]] = []
    try:
        for task in tasks:
            if isinstance(task, Mapping):
                planned.append({key: task.get(key) for key in ("task_id", "domain", "instruction")})
            elif isinstance(task, str | int):
                planned.append({"task_id": str(task)})
            else:  # a runner's own task object
                planned.append({key: getattr(task, key, None) for key in ("task_id", "domain", "instruction")})
    except Exception:
        log.exception("the tasks of the run could not be listed; they will appear as they start")
    return {"tasks": planned}


def image_bytes(screenshot: Screenshot) -> bytes:
    """The bytes of a screenshot that is no path. Raises ValueError, or whatever the picture's ``save`` raises."""
    if isinstance(screenshot, bytes | bytearray | memoryview):
        return bytes(screenshot)
    if isinstance(screenshot, str):
        head, _, body = screenshot.partition(",")
        try:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else body.encode()
        except binascii.Error as error:
            raise ValueError(f"the screenshot's data URL is no base64: {error}") from error
    buffer = io.BytesIO()
    image: Any = screenshot
    image.save(buffer, "PNG")
    return buffer.getvalue()


def action_fields(action: Any) -> dict[str, Any]:
    """An action as a mapping with ``type``, in whatever shape the agent has it."""
    if isinstance(action, Mapping):
        return dict(action)
    if isinstance(action, str):
        return {"type": action}
    if dataclasses.is_dataclass(action) and not isinstance(action, type):
        return dataclasses.asdict(action)
    if callable(dump := getattr(action, "model_dump", None)):
        dumped = dump()
        return dict(dumped) if isinstance(dumped, Mapping) else {"type": str(dumped)}
    kind = getattr(action, "type", None)
    return {"type": str(kind) if kind is not None else type(action).__name__, "text": str(action)[:2000]}


def llm_fields(
    *,
    provider: str | None = None,
    model: str | None = None,
    usage: object = None,
    input_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    output_tokens: int | None = None,
    duration_seconds: float | None = None,
    status: str = "ok",
    batch: bool = False,
) -> dict[str, Any]:
    """The fields of an ``llm_call``."""
    if usage is not None:
        counted = tokens(usage)
    elif any(kind is not None for kind in (input_tokens, cache_read_tokens, cache_write_tokens, output_tokens)):
        counted = Tokens(input_tokens, cache_read_tokens, cache_write_tokens, output_tokens)
    else:
        counted = UNKNOWN
    if status not in REQUEST_STATUSES:
        log.warning("request status %r is none of %s; recorded as ok", status, ", ".join(REQUEST_STATUSES))
        status = "ok"
    event = {
        "provider": provider,
        "model": model,
        "input_tokens": counted.input,
        "cache_read_tokens": counted.cache_read,
        "cache_write_tokens": counted.cache_write,
        "output_tokens": counted.output,
        "duration_seconds": duration_seconds,
        "status": status,
    }
    return {**event, "batch": True} if batch else event


def outcome_of(success: bool | None, score: float | None, outcome: str | None, error: str | None) -> str:
    """The outcome that what was said at a task's end comes to (see ``Task.finish``)."""
    if outcome is not None:
        if outcome in OUTCOMES:
            return outcome
        log.warning("outcome %r is none of %s; success and score decide", outcome, ", ".join(OUTCOMES))
    if success is not None:
        return "success" if success else "failure"
    if score is not None:
        return "success" if float(score) >= 1 else "failure"
    return "interrupted" if error is None else "agent_error"
