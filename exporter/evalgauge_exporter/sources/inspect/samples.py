"""The events of a sample of an Inspect log.

Traps of the format: token counts are disjoint; a model call that was answered from Inspect's own cache cost nothing and
is not counted; calls that a scorer made are calls of the task but not steps. Images, and texts of more than 100
characters in events, are attachments, named by a hash. What writes logs afterwards (vitals) gives events the time of
that, which ``working_time`` betrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalgauge.events import OBSERVATION_LENGTH, Outcome, RequestStatus, Role
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
_MAX_DEPTH = 64
"""Levels within a content or a tool's arguments that are looked into: Python's own limit would cost the sample."""
_MAX_RESOLVED = 16 << 20
"""Characters of attachments that are read in the places of a sample: one long text can be named in very many."""
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
    attempt.add_start(start, domain, attachments.join_text(sample.input, OBSERVATION_LENGTH))
    for role, text in _list_prompts(sample, attachments):
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
            shot = _add_turn(event, message, results, attempt, attachments, shot)
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
    text = attachments.join_text(message.get("content"))
    reasoning = attachments.find_reasoning(message) or text
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
            _parse_tool_call(call, attachments),
            reasoning=reasoning if index == 0 else None,
            observation=_find_observation(result.result, result.error, attachments),
            screenshot=shot,
            think_seconds=think if index == 0 else None,
            env_seconds=result.working_time,
        )
        seen = attachments.list_images(result.result)
        shot = seen[-1] if seen else shot
    return shot


def _parse_tool_call(call: dict[str, Any], attachments: _Attachments) -> dict[str, Any]:
    name = parse_id(call.get("function")) or "unknown"
    arguments = attachments.resolve(call.get("arguments"))
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


def _list_prompts(sample: SampleDocument, attachments: _Attachments) -> list[tuple[Role, str]]:
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
        text = attachments.join_text(message.get("content"), OBSERVATION_LENGTH)
        prompts += [(role, text)] if text else []
    if not prompts and isinstance(task, str) and task:
        prompts.append(("user", attachments.resolve_text(task, OBSERVATION_LENGTH)))
    return prompts


def _find_observation(content: object, error: object, attachments: _Attachments) -> str | None:
    """Return what a tool gave back, or how it failed."""
    if content is None or isinstance(content, str | list):
        text = attachments.join_text(content, OBSERVATION_LENGTH)
    else:
        text = str(attachments.resolve(content, OBSERVATION_LENGTH))
    return text or attachments.join_text(as_object(error).get("message"), OBSERVATION_LENGTH)


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


class _Attachments:
    """The images and the long texts of a sample, and its contents with these in their places."""

    def __init__(self, sample: SampleDocument, below: str) -> None:
        self._below = below
        self._contents = sample.attachments or {}
        self._texts: dict[str, str | None] = {}
        """Attachments that were parsed, by name; None for what is no text."""
        self._left = _MAX_RESOLVED

    def list_images(self, content: object, depth: int = _MAX_DEPTH) -> list[str]:
        """Return the paths of the images in a content."""
        found: list[str] = []
        for part in content if isinstance(content, list) and depth else ():
            if not isinstance(part, dict):
                continue
            image = part.get("image")
            if (name := _attachment_name(image)) is not None:
                if (suffix := self._find_suffix(name)) is not None:
                    found.append(f"{self._below}/{name}{suffix}")
            elif isinstance(part.get("content"), list):
                found += self.list_images(part["content"], depth - 1)
        return found

    def join_text(self, content: object, length: int | None = None, depth: int = _MAX_DEPTH) -> str | None:
        """Return the text of a content; of each attachment, ``length`` characters where they are all that is kept."""
        if isinstance(content, str):
            return self.resolve_text(content, length) or None
        parts: list[str] = []
        for part in content if isinstance(content, list) and depth else ():
            if isinstance(part, dict) and part.get("role") in (None, "user"):
                stated = part.get("text")
                inner = stated if isinstance(stated, str) else part.get("content")
                text = self.join_text(inner, length, depth - 1)
                parts += [text] if text else []
        return "\n".join(parts) or None

    def find_reasoning(self, message: dict[str, Any]) -> str | None:
        """Return the reasoning in the content of a message."""
        content = message.get("content")
        content = content if isinstance(content, list) else []
        parts = [part.get("reasoning") for part in content if isinstance(part, dict)]
        return "\n".join(self.resolve_text(part) for part in parts if isinstance(part, str) and part) or None

    def resolve(self, value: Any, length: int | None = None, depth: int = _MAX_DEPTH) -> Any:
        """Return a value with the texts that are attachments in their places."""
        if isinstance(value, dict) and depth:
            return {key: self.resolve(each, length, depth - 1) for key, each in value.items()}
        if isinstance(value, list) and depth:
            return [self.resolve(each, length, depth - 1) for each in value]
        return self.resolve_text(value, length) if isinstance(value, str) else value

    def resolve_text(self, text: str, length: int | None = None) -> str:
        """Return the text that is an attachment; a name of none, or of an image, or of too much text, as it is."""
        name = _attachment_name(text)
        found = None if name is None else self._parse_text(name)
        if found is None or len(found := found[:length]) > self._left:
            return text
        self._left -= len(found)
        return found

    def _parse_text(self, name: str) -> str | None:
        if name not in self._texts:
            content = self._contents.get(name)
            try:
                parsed = None if content is None or self._find_suffix(name) else parse_json(bytes(content))
            except ValueError:
                parsed = None
            self._texts[name] = parsed if isinstance(parsed, str) else None
        return self._texts[name]

    def _find_suffix(self, name: str) -> str | None:
        content = self._contents.get(name)
        head = b"" if content is None else bytes(memoryview(content)[:_HEAD])
        return next((suffix for start, suffix in _IMAGES.items() if head.startswith(start)), None)


def _attachment_name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return next((value.removeprefix(start) for start in _ATTACHMENTS if value.startswith(start)), None)
