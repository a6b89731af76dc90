"""A sample of an Inspect log as the tale of an attempt.

What to know of them: token counts are disjoint; a model call that came from Inspect's own cache cost nothing and is no
call; calls that a scorer made are calls of the task and no steps of it; pictures are attachments, named by a hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalgauge.integrations.inspect.outcomes import DOMAINS, SCORING, SUBMITS, score_of
from evalgauge.model_names import split_model_name
from evalgauge.usage import TokenUsage, parse_usage
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.osworld.actions import action_of
from evalgauge_exporter.sources.parsing import parse_count, parse_id, parse_non_negative, parse_timestamp

ATTACHMENT = "attachment://"
_IMAGES = {"data:image/png": ".png", "data:image/jpeg": ".jpg", "data:image/webp": ".webp", "data:image/gif": ".gif"}
_MOST_EVENTS = 200_000


def named(model: object) -> tuple[str | None, str | None]:
    """Provider and model of a name like ``anthropic/claude-sonnet-4-5``."""
    return split_model_name(parse_id(model))


def tell_sample(
    sample: Mapping[str, Any], tale: AttemptBuilder, below: str, threshold: float, scorers: list[str]
) -> None:
    """Tell a sample. ``below``: where its pictures are to be found; ``scorers``: their names, the first one counts."""
    events = sample.get("events")
    events = [event for event in events[:_MOST_EVENTS] if isinstance(event, dict)] if isinstance(events, list) else []
    start = parse_timestamp(sample.get("started_at"))
    if start is None:
        start = next((at for event in events if (at := parse_timestamp(event.get("timestamp"))) is not None), 0.0)
    metadata = sample.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    domain = next((said for name in DOMAINS if (said := parse_id(metadata.get(name)))), None)
    shots = _Shots(sample, below)
    first = shots.of(sample.get("input"))
    tale.started(start, domain, _text(sample.get("input")))
    _tell_events(events, sample, tale, shots, first[-1] if first else None)
    ended = parse_timestamp(sample.get("completed_at"))
    total = parse_non_negative(sample.get("total_time"))
    if ended is None:
        ended = start + total if total is not None else tale.latest
    _end(sample, tale, ended, total, threshold, scorers)


def _tell_events(
    events: list[dict[str, Any]], sample: Mapping[str, Any], tale: AttemptBuilder, shots: _Shots, shot: str | None
) -> None:
    scoring = _scoring_spans(events)
    results = {
        event["id"]: event for event in events if event.get("event") == "tool" and isinstance(event.get("id"), str)
    }
    called = False
    for event in events:
        if event.get("event") != "model":
            continue
        called |= _tell_call(event, tale)
        output = event.get("output")
        choices = output.get("choices") if isinstance(output, dict) else None
        if event.get("span_id") in scoring or not isinstance(choices, list) or not choices or event.get("error"):
            continue
        message = choices[0].get("message") if isinstance(choices[0], dict) else None
        if isinstance(message, dict):
            shot = _tell_turn(event, message, results, tale, shots, shot)
    if not called:
        _tell_sums(sample, tale)


def _tell_turn(
    event: dict[str, Any],
    message: dict[str, Any],
    results: dict[str, dict[str, Any]],
    tale: AttemptBuilder,
    shots: _Shots,
    shot: str | None,
) -> str | None:
    """A turn of the agent: a step for each tool that it called, else one that says what it said."""
    at = parse_timestamp(event.get("completed")) or parse_timestamp(event.get("timestamp"))
    said = _text(message.get("content"))
    reasoning = _reasoning(message) or said
    think = parse_non_negative(event.get("working_time"))
    calls = message.get("tool_calls")
    calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if not calls:
        told = {"type": "message", "text": (said or "")[:4000]}
        tale.step(at, told, reasoning=reasoning, screenshot=shot, think_seconds=think)
    for index, call in enumerate(calls):
        result = results.get(str(call.get("id")), {})
        tale.step(
            parse_timestamp(result.get("timestamp")) or at,
            _action(call),
            reasoning=reasoning if index == 0 else None,
            screenshot=shot,
            think_seconds=think if index == 0 else None,
            env_seconds=result.get("working_time"),
        )
        seen = shots.of(result.get("result"))
        shot = seen[-1] if seen else shot
    return shot


def _action(call: dict[str, Any]) -> dict[str, Any]:
    name = parse_id(call.get("function")) or "unknown"
    arguments = call.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else {}
    kind = arguments.get("action")
    if isinstance(kind, str) and kind and len(kind) <= 60:  # one tool for everything that a computer does
        return {**action_of({**arguments, "action_type": kind}), "tool": name}
    return {**arguments, "type": "done" if name in SUBMITS else name}


def _tell_call(event: dict[str, Any], tale: AttemptBuilder) -> bool:
    """Count a model call; whether it was one."""
    if event.get("cache") == "read":
        return False
    at = parse_timestamp(event.get("completed")) or parse_timestamp(event.get("timestamp"))
    provider, model = named(event.get("model"))
    for _ in range(min(parse_count(event.get("retries")) or 0, 100)):
        # attempts that were turned away (rate limits, timeouts): nothing was made of them
        tale.call(at, provider, model, TokenUsage(0, None, None, 0), status="retry")
    output = event.get("output")
    usage = output.get("usage") if isinstance(output, dict) else None
    status = "error" if event.get("error") else "ok"
    seconds = output.get("time") if isinstance(output, dict) else None
    tale.call(at, provider, model, usage_of(usage), status=status, duration_seconds=seconds)
    return True


def usage_of(usage: object) -> TokenUsage:
    """Token counts by Inspect's names."""
    if not isinstance(usage, dict):
        return parse_usage(None)
    return parse_usage(
        {
            "input_tokens": usage.get("input_tokens"),
            "cache_read_tokens": usage.get("input_tokens_cache_read"),
            "cache_write_tokens": usage.get("input_tokens_cache_write"),
            "output_tokens": usage.get("output_tokens"),
        }
    )


def _tell_sums(sample: Mapping[str, Any], tale: AttemptBuilder) -> None:
    """A sample without events, as they are left out on demand: its sums, one call for each model."""
    usage = sample.get("model_usage")
    for model, spent in usage.items() if isinstance(usage, dict) else ():
        tale.call(None, *named(model), usage_of(spent))


def _end(
    sample: Mapping[str, Any],
    tale: AttemptBuilder,
    at: float,
    total: float | None,
    threshold: float,
    scorers: list[str],
) -> None:
    more: dict[str, Any] = {"duration_seconds": total}
    limit = sample.get("limit")
    if isinstance(limit, dict) and limit.get("type"):
        more["reason"] = f"limit: {limit['type']}"
    error = sample.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else error
        # it may be the agent's or the environment's; Inspect leaves such samples out of its metrics
        cancelled = "Cancelled" in str(message)
        outcome = "interrupted" if cancelled else "infrastructure_error"
        tale.finished(at, outcome, error=str(message) or "error", **more)
        return
    scores = sample.get("scores")
    scores = scores if isinstance(scores, dict) else {}
    name = next((name for name in scorers if name in scores), next(iter(scores), None))
    stated = scores.get(name) if name is not None else None
    stated = stated if isinstance(stated, dict) else {}
    explanation = stated.get("explanation")
    if isinstance(explanation, str):
        more.setdefault("reason", explanation)
    score = score_of(stated.get("value"))
    if score is None:
        tale.finished(at, "evaluation_error", error="the sample has no score", **more)
    else:
        tale.measured(at, score, threshold, **more)


def _scoring_spans(events: list[dict[str, Any]]) -> set[str]:
    """The spans in which samples are scored, and those within them."""
    found: set[str] = set()
    for event in events:
        span = event.get("id")
        if event.get("event") != "span_begin" or not isinstance(span, str):
            continue
        if event.get("type") in SCORING or event.get("parent_id") in found:
            found.add(span)
    return found


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content or None
    parts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            said = part.get("text") if isinstance(part.get("text"), str) else _text(part.get("content"))
            parts += [said] if said and part.get("role") in (None, "user") else []
    return "\n".join(parts) or None


def _reasoning(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    parts = [part.get("reasoning") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "\n".join(part for part in parts if isinstance(part, str) and part) or None


class _Shots:
    """Where the pictures of a sample are to be found."""

    def __init__(self, sample: Mapping[str, Any], below: str) -> None:
        attachments = sample.get("attachments")
        self._below = below
        self._suffixes = {
            name: suffix
            for name, content in (attachments.items() if isinstance(attachments, dict) else ())
            if isinstance(content, str)
            and (suffix := next((suffix for head, suffix in _IMAGES.items() if content.startswith(head)), None))
        }

    def of(self, content: object) -> list[str]:
        """The pictures in a content."""
        found: list[str] = []
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            image = part.get("image")
            if isinstance(image, str) and image.startswith(ATTACHMENT):
                name = image.removeprefix(ATTACHMENT)
                found += [f"{self._below}/{name}{self._suffixes[name]}"] if name in self._suffixes else []
            elif isinstance(part.get("content"), list):
                found += self.of(part["content"])
        return found
