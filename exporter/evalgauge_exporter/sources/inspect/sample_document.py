"""The document of a sample, decoded in one step to the fields that are read.

Most of a sample is what nothing here reads: the conversation so far in each model call, the request and the response of
the provider's API, the schemas of the tools, the states of the store. It is skipped while the JSON is parsed and never
becomes an object. Values of which little is read stay JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct
from pydantic_core import to_json

from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.parsing import parse_json


class ModelOutput(Struct, gc=False):
    """What a model answered."""

    choices: Any = None
    usage: Any = None
    time: Any = None


class SampleEvent(Struct, gc=False):
    """An event of a sample's transcript, of any kind; each kind has some of these fields."""

    event: Any = None
    """Its kind."""
    id: Any = None
    span_id: Any = None
    parent_id: Any = None
    type: Any = None
    action: Any = None
    timestamp: Any = None
    completed: Any = None
    working_time: Any = None
    cache: Any = None
    model: Any = None
    retries: Any = None
    error: Any = None
    output: ModelOutput | None = None
    result: Any = None


class SampleDocument(Struct, gc=False):
    """A sample. A value may be of any type but where it is stated."""

    id: Any = None
    epoch: Any = None
    input: Any = None
    target: Any = None
    metadata: Any = None
    messages: list[Raw] | None = None
    """The conversation, each message as JSON."""
    scores: Any = None
    score: Any = None
    """The one score of a sample, in old logs."""
    transcript: Any = None
    """Events and attachments, in old logs."""
    model_usage: Any = None
    started_at: Any = None
    completed_at: Any = None
    total_time: Any = None
    error: Any = None
    limit: Any = None
    events: list[SampleEvent] | None = None
    attachments: dict[str, Raw] | None = None
    """Long texts and images by their hash, each as JSON."""


_decode = msgspec.json.Decoder(SampleDocument).decode


def parse_sample(data: bytes) -> SampleDocument | None:
    """Parse a sample.

    Args:
        data: The document.

    Returns:
        The sample; None where the document is no JSON object.

    Raises:
        ValueError: It is no JSON, or would need too much memory.
        RecursionError: It is nested too deeply.
    """
    try:
        sample = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # NaN, which Inspect writes for a score that is missing, or a value of another type
        content = parse_json(data)
        if not isinstance(content, dict):
            return None
        sample = _make_sample(content)
    if isinstance(sample.transcript, dict) and not sample.events:
        old = _make_sample({"events": sample.transcript.get("events"), "attachments": sample.transcript.get("content")})
        sample.events, sample.attachments, sample.transcript = old.events, old.attachments, None
    return sample


def _make_sample(content: dict[str, Any]) -> SampleDocument:
    """Return the sample that a parsed document holds; values of another type than stated count as not given."""
    fields = {name: content.get(name) for name in SampleDocument.__struct_fields__}
    messages, events = fields["messages"], fields["events"]
    fields["messages"] = [to_raw(each) for each in messages] if isinstance(messages, list) else None
    found = [each for each in events if isinstance(each, dict)] if isinstance(events, list) else []
    fields["events"] = [_make_event(each) for each in found]
    fields["attachments"] = {name: to_raw(each) for name, each in as_object(fields["attachments"]).items()}
    return SampleDocument(**fields)


def _make_event(content: dict[str, Any]) -> SampleEvent:
    fields = {name: content.get(name) for name in SampleEvent.__struct_fields__}
    output = fields["output"]
    if output is not None:
        output = as_object(output)
        fields["output"] = ModelOutput(**{name: output.get(name) for name in ModelOutput.__struct_fields__})
    return SampleEvent(**fields)


def to_raw(value: object) -> Raw:
    """Return a value that was parsed as JSON again, with NaN where it has that."""
    return Raw(to_json(value, inf_nan_mode="constants"))
