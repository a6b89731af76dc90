"""The events of a sample of an Inspect log.

Traps of the format: token counts are disjoint; a model call that was answered from Inspect's own cache cost nothing and
is not counted; calls that a scorer made are calls of the task but not steps. Images, and texts of more than 100
characters in events, are attachments, named by a hash. What writes logs afterwards (vitals) gives events the time of
that, which ``working_time`` betrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalgauge.events import Outcome, RequestStatus, Role
from evalgauge.integrations.inspect.outcomes import DOMAIN_KEYS, SCORING_SPANS, SUBMIT_TOOLS, parse_score
from evalgauge.model_names import ModelName, split_model_name
from evalgauge.usage import NOTHING, CallUsage, parse_call
from evalgauge.values import parse_count, parse_id, parse_non_negative, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import add_unjudged_finish, as_object
from evalgauge_exporter.sources.inspect.sample_document import ModelOutput, SampleDocument, SampleEvent
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import parse_json

_ATTACHMENTS = ("attachment://", "tc://")
"""How a text begins that stands for an attachment; the second in old logs."""
_IMAGES = {
    b'"data:image/png': ".png",
    b'"data:image/jpeg': ".jpg",
    b'"data:image/webp': ".webp",
    b'"data:image/gif': ".gif",
}
"""Suffixes of images by how their JSON begins."""
_HEAD = max(map(len, _IMAGES))
_CLOCK_TOLERANCE = 0.5
"""Seconds that a model call may take longer than its sample."""
_MAX_EVENTS = 200_000
_ONLY_SCORE = "score"
"""The name of a score whose scorer the sample does not name."""
_NO_RESULT = SampleEvent()
_NO_OUTPUT = ModelOutput()


def add_sample(
    sample: SampleDocument,
    attempt: AttemptBuilder,
    below: str,
    threshold: float,
    scorers: list[str],
    run_start: float = 0.0,
) -> None:
    """Add the events of a sample.

    Args:
        sample: The sample.
        attempt: Takes the events.
        below: The path below which its images are named.
        threshold: The least score of a success.
        scorers: The names of the scorers; the first one that scored counts.
        run_start: When the run began, for samples of old logs, which state no time; Unix seconds.
    """
    events = (sample.events or [])[:_MAX_EVENTS]
    if not _has_true_times(events):
        for event in events:
            event.timestamp = event.completed = None
    start = parse_timestamp(sample.started_at)
    if start is None:
        start = next((at for event in events if (at := parse_timestamp(event.timestamp)) is not None), run_start)
    metadata = as_object(sample.metadata)
    domain = next((value for name in DOMAIN_KEYS if (value := parse_id(metadata.get(name)))), None)
    attachments = _Attachments(sample, below)
    first = attachments.list_images(sample.input)
    attempt.add_start(start, domain, _join_text(sample.input))
    for role, text in _list_prompts(sample):
        attempt.add_message(start, role, text)
    _add_events(events, sample, attempt, attachments, first[-1] if first else None)
    end = parse_timestamp(sample.completed_at)
    total = parse_non_negative(sample.total_time)
    if end is None:
        end = start + total if total is not None else attempt.latest
    _add_end(sample, attempt, end, total, threshold, scorers)


def _add_events(
    events: list[SampleEvent],
    sample: SampleDocument,
    attempt: AttemptBuilder,
    attachments: _Attachments,
    shot: str | None,
) -> None:
    scoring, scoring_steps = _find_scoring_spans(events), 0
    results = {event.id: event for event in events if event.event == "tool" and isinstance(event.id, str)}
    called = False
    for event in events:
        if event.event == "step" and event.type in SCORING_SPANS:  # what old logs have in the place of spans
            scoring_steps += 1 if event.action == "begin" else -1
        if event.event != "model":
            continue
        called |= _add_call(event, attempt)
        choices = event.output.choices if event.output is not None else None
        if event.span_id in scoring or scoring_steps > 0 or not isinstance(choices, list) or not choices or event.error:
            continue
        message = choices[0].get("message") if isinstance(choices[0], dict) else None
        if isinstance(message, dict):
            shot = _add_turn(event, attachments.resolve(message), results, attempt, attachments, shot)
    if not called:
        _add_total_usage(sample, attempt)


def _add_turn(
    event: SampleEvent,
    message: dict[str, Any],
    results: dict[str, SampleEvent],
    attempt: AttemptBuilder,
    attachments: _Attachments,
    shot: str | None,
) -> str | None:
    """Add a turn of the agent: a step for each tool that it called, else one with its message.

    Returns:
        The latest screenshot: what the next step saw.
    """
    at = parse_timestamp(event.completed) or parse_timestamp(event.timestamp)
    text = _join_text(message.get("content"))
    reasoning = _find_reasoning(message) or text
    think = parse_non_negative(event.working_time)
    calls = message.get("tool_calls")
    calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if not calls:
        action = {"type": "message", "text": (text or "")[:4000]}
        attempt.add_step(at, action, reasoning=reasoning, screenshot=shot, think_seconds=think)
    for index, call in enumerate(calls):
        result = results.get(str(call.get("id")), _NO_RESULT)
        attempt.add_step(
            parse_timestamp(result.timestamp) or at,
            _parse_tool_call(call),
            reasoning=reasoning if index == 0 else None,
            observation=_find_observation(attachments.resolve(result.result), attachments.resolve(result.error)),
            screenshot=shot,
            think_seconds=think if index == 0 else None,
            env_seconds=result.working_time,
        )
        seen = attachments.list_images(result.result)
        shot = seen[-1] if seen else shot
    return shot


def _parse_tool_call(call: dict[str, Any]) -> dict[str, Any]:
    name = parse_id(call.get("function")) or "unknown"
    arguments = call.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else {}
    kind = arguments.get("action")
    if isinstance(kind, str) and kind and len(kind) <= 60:  # one tool for all actions of a computer
        return {**parse_action({**arguments, "action_type": kind}), "tool": name}
    return {**arguments, "type": "done" if name in SUBMIT_TOOLS else name}


def _add_call(event: SampleEvent, attempt: AttemptBuilder) -> bool:
    """Add a model call; return False where it was answered from the cache."""
    if event.cache == "read":
        return False
    at = parse_timestamp(event.completed) or parse_timestamp(event.timestamp)
    provider, model = split_model_name(parse_id(event.model))
    for _ in range(min(parse_count(event.retries) or 0, 100)):
        # requests that were refused (rate limits, timeouts): they produced nothing
        attempt.add_call(at, provider, model, NOTHING, status="retry")
    output = event.output or _NO_OUTPUT
    status: RequestStatus = "error" if event.error else "ok"
    counted = parse_call(output.usage, provider=provider, model=model)
    attempt.add_call(at, provider, model, counted, status=status, duration_seconds=output.time)
    return True


def _add_total_usage(sample: SampleDocument, attempt: AttemptBuilder) -> None:
    """Add the tokens of a sample without events (Inspect can leave them out): a sum of calls for each model."""
    for model, usage in parse_model_usage(sample.model_usage):
        attempt.add_call(None, *model, usage)


def parse_model_usage(model_usage: object) -> list[tuple[ModelName, CallUsage]]:
    """Parse sums of calls by model, as a sample and a log's header state them."""
    stated = model_usage.items() if isinstance(model_usage, dict) else ()
    return [(split_model_name(parse_id(model)), parse_call(usage)._replace(requests=0)) for model, usage in stated]


def _add_end(
    sample: SampleDocument,
    attempt: AttemptBuilder,
    at: float,
    total: float | None,
    threshold: float,
    scorers: list[str],
) -> None:
    stated_scores = as_object(sample.scores) or {_ONLY_SCORE: sample.score}
    scores = {name: score for name, score in stated_scores.items() if isinstance(score, dict)}
    name = next((name for name in scorers if name in scores), next(iter(scores), None))
    stated = scores.get(name, {}) if name is not None else {}
    answer, target = stated.get("answer"), sample.target
    more: dict[str, Any] = {
        "duration_seconds": total,
        "scores": _parse_scores(scores),
        "scorer": _headline_name(name, stated.get("value")),
        "answer": answer if isinstance(answer, str) else None,
        "target": "\n".join(map(str, target)) if isinstance(target, list) else target,
        "reason": stated.get("explanation"),
    }
    limit = sample.limit
    if isinstance(limit, dict) and limit.get("type"):
        more["reason"] = f"limit: {limit['type']}"
    error = sample.error
    if error:
        more["error"] = str(error.get("message") if isinstance(error, dict) else error) or "error"
    value = stated.get("value")
    score = parse_score(value)
    if score is not None:
        # with an error too where Inspect was told to score such samples: it counts them then
        attempt.add_scored_finish(at, score, threshold, **more)
    elif error:
        # whose error it was is not stated; Inspect leaves such samples out of its metrics
        outcome: Outcome = "interrupted" if "Cancelled" in more["error"] else "infrastructure_error"
        attempt.add_finish(at, outcome, **more)
    elif value is None or _is_unscored(value):
        add_unjudged_finish(attempt, at, "not scored", outcome_from_score=True, **more)
    else:
        error = f"{str(value)[:200]!r} is no score"
        attempt.add_finish(at, "evaluation_error", **{**more, "error": error, "outcome_from_score": True})


def _headline_name(scorer: str | None, value: object) -> str | None:
    """Return the name of the headline score: its scorer, or its key where the scorer gave several."""
    return str(next(iter(value), scorer)) if isinstance(value, dict) else scorer


def _is_unscored(value: object) -> bool:
    """Return whether a value is Inspect's for a sample that its scorer left out: not a number."""
    first = next(iter(value.values()), None) if isinstance(value, dict) else value
    return isinstance(first, float) and first != first


def _parse_scores(scores: Mapping[str, Any]) -> dict[str, float] | None:
    """Return every number that the scorers gave, by scorer or key, where there are several."""
    found: dict[str, float] = {}
    count = 0
    for name, score in scores.items():
        value = score.get("value")
        parts = value.items() if isinstance(value, dict) else ((name, value),)
        count += len(parts)
        found.update((str(key), number) for key, part in parts if (number := parse_score(part)) is not None)
    return found if count > 1 else None


def _list_prompts(sample: SampleDocument) -> list[tuple[Role, str]]:
    """Return what the agent was told before it answered: with the messages that solvers added, else the input."""
    task = sample.input
    messages: Iterable[Any] = task if isinstance(task, list) else ()
    if sample.messages is not None:
        messages = (parse_json(bytes(message)) for message in sample.messages)
    prompts: list[tuple[Role, str]] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "user"):
            break
        text = _join_text(message.get("content"))
        prompts += [(role, text)] if text else []
    if not prompts and isinstance(task, str) and task:
        prompts.append(("user", task))
    return prompts


def _find_observation(content: object, error: object) -> str | None:
    """Return what a tool gave back, or how it failed."""
    message = as_object(error).get("message")
    text = _join_text(content) if isinstance(content, str | list) else None if content is None else str(content)
    return text or (message if isinstance(message, str) else None)


def _has_true_times(events: list[SampleEvent]) -> bool:
    """Return whether the times of a sample's events can be: no model call took longer than all of them together."""
    longest = max((event.working_time for event in events if isinstance(event.working_time, float)), default=0.0)
    for part in (events[:1] + events[-1:], events):  # mostly the first and the last show it: there may be thousands
        stamps = (stamp for event in part for stamp in (event.timestamp, event.completed))
        times = [at for at in map(parse_timestamp, stamps) if at is not None]
        if times and longest <= max(times) - min(times) + _CLOCK_TOLERANCE:
            return True
    return not times


def _find_scoring_spans(events: list[SampleEvent]) -> set[str]:
    """Return the ids of the spans in which samples are scored, and of those within them."""
    found: set[str] = set()
    for event in events:
        if event.event != "span_begin" or not isinstance(event.id, str):
            continue
        if event.type in SCORING_SPANS or event.parent_id in found:
            found.add(event.id)
    return found


def _join_text(content: object) -> str | None:
    if isinstance(content, str):
        return content or None
    parts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            text = part.get("text") if isinstance(part.get("text"), str) else _join_text(part.get("content"))
            parts += [text] if text and part.get("role") in (None, "user") else []
    return "\n".join(parts) or None


def _find_reasoning(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    parts = [part.get("reasoning") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "\n".join(part for part in parts if isinstance(part, str) and part) or None


class _Attachments:
    """The images and the long texts of a sample."""

    def __init__(self, sample: SampleDocument, below: str) -> None:
        self._below = below
        self._contents = sample.attachments or {}

    def list_images(self, content: object) -> list[str]:
        """Return the paths of the images in a content."""
        found: list[str] = []
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            image = part.get("image")
            if (name := _attachment_name(image)) is not None:
                if (suffix := self._find_suffix(name)) is not None:
                    found.append(f"{self._below}/{name}{suffix}")
            elif isinstance(part.get("content"), list):
                found += self.list_images(part["content"])
        return found

    def resolve(self, value: Any) -> Any:
        """Return a value with the texts that are attachments in their places; images are left out."""
        if isinstance(value, dict):
            return {key: self.resolve(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        name = _attachment_name(value)
        content = None if name is None else self._contents.get(name)
        if name is None or content is None or self._find_suffix(name) is not None:
            return value
        try:
            return parse_json(bytes(content))
        except ValueError:
            return value

    def _find_suffix(self, name: str) -> str | None:
        content = self._contents.get(name)
        head = b"" if content is None else bytes(memoryview(content)[:_HEAD])
        return next((suffix for start, suffix in _IMAGES.items() if head.startswith(start)), None)


def _attachment_name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return next((value.removeprefix(start) for start in _ATTACHMENTS if value.startswith(start)), None)
