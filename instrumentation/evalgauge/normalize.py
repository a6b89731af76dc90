"""Conversion of what runners pass (tasks, actions, model calls, outcomes) to the fields of events."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex, TypedDict

from evalgauge.metrics import OUTCOMES, REQUEST_STATUSES
from evalgauge.runlog import encode, text_of
from evalgauge.usage import CallUsage, TokenUsage, parse_call
from evalgauge.usage_shapes import STANDARD_TIERS
from evalgauge.values import ID_LENGTH, TEXT_LENGTH

log = logging.getLogger("evalgauge")

PART_BYTES = 1 << 20
"""Approximate size of the planned tasks of one ``run_started``; more tasks go into further events."""

_CALL = re.compile(r"\s*(?:\w+\.)*(\w+)\s*\(")


class LlmCallFields(TypedDict, total=False):
    """The arguments of ``Task.llm_call``."""

    provider: str | None
    model: str | None
    usage: object
    """The SDK's usage object as it is; else the counts below, of which the first four are disjoint."""
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    cache_write_1h_tokens: int | None
    """The part of the cache writes with a lifetime of one hour, which costs more."""
    cache_read_audio_tokens: int | None
    cache_read_image_tokens: int | None
    reasoning_tokens: int | None
    """The part of the output that is reasoning."""
    input_audio_tokens: int | None
    output_audio_tokens: int | None
    input_image_tokens: int | None
    output_image_tokens: int | None
    requests: int
    """The number of calls that the counts are the sum of; 0 is a sum of an unknown number."""
    cost_usd: float | None
    """The cost in US dollars that the provider or a tool states; the usage object may state it too."""
    service_tier: str | None
    """``flex``, ``priority`` and so on; ``batch`` is the same as ``batch=True``."""
    speed: str | None
    region: str | None
    """Where inference ran, if that changes the price."""
    server_tools: Mapping[str, int] | None
    """Uses of tools that the provider bills by the piece, such as ``{"web_search": 2}``."""
    duration_seconds: float | None
    status: str
    """``ok``, ``error`` or ``retry``."""
    batch: bool
    """Whether it is billed at the batch price."""


def planned_tasks(tasks: Iterable[Any] | int | None) -> dict[str, Any]:
    """Return the fields of ``run_started`` that state the planned tasks. Never raises.

    Args:
        tasks: Ids, mappings or objects with ``task_id``, ``domain`` and ``instruction``, or the number of tasks.
    """
    if isinstance(tasks, int):
        return {"tasks": [], "total_tasks": max(0, tasks)}
    planned: list[dict[str, Any]] = []
    try:
        for task in (tasks,) if isinstance(tasks, str) else tasks or ():
            if isinstance(task, Mapping):
                planned.append(_planned_task(task.get("task_id"), task.get("domain"), task.get("instruction")))
            elif isinstance(task, str | int):
                planned.append({"task_id": str(task)})
            else:  # a runner's own task object
                about = (getattr(task, "domain", None), getattr(task, "instruction", None))
                planned.append(_planned_task(getattr(task, "task_id", None), *about))
    except Exception:
        log.exception("the tasks of the run could not be listed; each appears when it starts")
    return {"tasks": planned}


def _planned_task(task_id: object, domain: object, instruction: object) -> dict[str, Any]:
    texts = (("task_id", task_id, ID_LENGTH), ("domain", domain, ID_LENGTH), ("instruction", instruction, TEXT_LENGTH))
    return {key: None if value is None else text_of(value)[:length] for key, value, length in texts}


def split_run_started(started: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Split the fields of ``run_started`` over as many events as its tasks need: a line has a maximum length."""
    tasks = started.get("tasks") or []
    first, size = 0, 0
    part: Mapping[str, Any] = started
    for index, task in enumerate(tasks):
        size += len(encode(task))
        if size > PART_BYTES:
            yield {**part, "tasks": tasks[first : index + 1]}
            first, size = index + 1, 0
            part = {key: started.get(key) for key in ("run_id", "attempts")}
    if part is started or first < len(tasks):
        yield {**part, "tasks": tasks[first:]}


def parse_attempt(value: SupportsIndex) -> int:
    """Parse the number of an attempt, NumPy integers too; 1 for anything else and for a negative number."""
    try:
        number = value.__index__()
    except Exception:
        log.warning("the attempt %s is not a whole number; recorded as 1", text_of(value)[:60])
        return 1
    return number if number >= 0 else 1


def action_fields(action: Any) -> dict[str, Any]:
    """Return an action as a mapping with ``type``, in any of the forms that ``Task.step`` takes."""
    if isinstance(action, Mapping):
        return dict(action)
    if isinstance(action, str):
        call = _CALL.match(action)  # agents that act in code: click('a51'), pyautogui.click(10, 20)
        return {"type": action} if call is None else {"type": call[1], "text": action}
    if dataclasses.is_dataclass(action) and not isinstance(action, type):
        return dataclasses.asdict(action)
    if callable(dump := getattr(action, "model_dump", None)):
        dumped = dump()
        return dict(dumped) if isinstance(dumped, Mapping) else {"type": str(dumped)}
    kind = getattr(action, "type", None)
    return {"type": text_of(kind) if kind is not None else type(action).__name__, "text": text_of(action)[:2000]}


def llm_events(call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of an ``llm_call`` event, or of one for each call where a usage object lists several.

    Args:
        call: The fields of ``LlmCallFields``; what is passed beside ``usage`` takes precedence over what that states.
    """
    about = {key: call.get(key) for key in ("provider", "model", "duration_seconds")}
    status = call.get("status", "ok")
    if status not in REQUEST_STATUSES:
        log.warning("unknown request status %r, recorded as ok; known are %s", status, ", ".join(REQUEST_STATUSES))
        status = "ok"
    usage = call.get("usage")
    if usage is not None:
        parsed = parse_call(usage, provider=about["provider"], model=about["model"])
    else:
        parsed = CallUsage(TokenUsage(*(call.get(f"{kind}_tokens") for kind in TokenUsage._fields)))
    stated = {name: call[name] for name in _STATED if call.get(name) is not None}
    if tier := text_of(stated.get("service_tier", "")).lower():
        stated["batch"] = stated.get("batch") or tier == "batch"
        stated["service_tier"] = None if tier == "batch" or tier in STANDARD_TIERS else tier
    parsed = parsed._replace(**stated)
    if parsed.calls and parsed.cost_usd is None:  # a cost is stated for the sum only
        shared = {name: value for name in _SHARED if (value := getattr(parsed, name))}
        return [{**about, **each._replace(**shared).as_fields(), "status": status} for each in parsed.calls]
    return [{**about, **parsed.as_fields(), "status": status}]


_STATED = tuple(name for name in CallUsage._fields if name not in ("tokens", "calls"))
_SHARED = ("service_tier", "speed", "region", "batch")


def outcome_of(success: bool | None, score: float | None, outcome: str | None, error: str | None) -> str:
    """Return the outcome that the arguments of ``Task.finish`` imply.

    Args:
        success: Whether the attempt succeeded.
        score: Its score; from 1 on it is a success.
        outcome: The outcome, if the runner states one.
        error: What went wrong.
    """
    if outcome is not None:
        if outcome in OUTCOMES:
            return outcome
        log.warning("unknown outcome %r, success and score decide; the outcomes are %s", outcome, ", ".join(OUTCOMES))
    if success is not None:
        return "success" if success else "failure"
    if score is not None:
        if math.isnan(float(score)):  # the evaluation gave no number
            return "evaluation_error"
        return "success" if float(score) >= 1 else "failure"
    return "interrupted" if error is None else "agent_error"
