"""Events: lenient where nothing depends on it, strict where something does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge import events
from evalgauge.errors import InvalidEvent
from evalgauge.events import (
    TYPES,
    Event,
    Heartbeat,
    LlmCall,
    RunStarted,
    Step,
    TaskFinished,
    decode,
    decode_line,
)
from evalgauge.runlog import encode
from evalgauge.usage import CallUsage, TokenUsage

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def raw(kind: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "seq": 3, "ts": 1000.5, "type": kind, **fields}


def test_a_step_keeps_its_fields_and_skips_unknown_ones() -> None:
    event = decode(raw("step", task_id="a", action={"type": "Click", "x": 0.5}, step_idx=2, colour="blue"), "w")
    assert isinstance(event, Step)
    assert (event.ts, event.seq, event.writer, event.task_id, event.attempt) == (1000.5, 3, "w", "a", 1)
    assert event.action_type == "click"
    assert event.action["x"] == 0.5


def test_tokens_that_are_negative_or_no_numbers_count_as_not_reported() -> None:
    event = decode(raw("llm_call", input_tokens=-5, output_tokens="12", cache_read_tokens=True), "w")
    assert isinstance(event, LlmCall)
    assert event.tokens == TokenUsage(None, None, None, None)


def test_what_a_call_used_is_the_same_after_it_was_logged() -> None:
    given: dict[str, Any] = {
        **{name: index for index, name in enumerate(CallUsage._fields) if name.endswith("_tokens")},
        **{name: name for name in ("service_tier", "speed", "region")},
        "requests": 2,
        "cost_usd": 0.5,
        "server_tools": {"web_search": 1},
        "batch": True,
    }
    used = CallUsage(TokenUsage(100, 90, 80, 70), **given)
    assert all(value is not None for value in used)
    event = decode(raw("llm_call", **used.as_fields()), "w")
    assert isinstance(event, LlmCall)
    assert event.usage == used


@pytest.mark.parametrize("number", [10**400, 1e308, float("inf"), float("nan"), -(10**400)])
def test_an_absurd_number_counts_as_not_reported(number: float) -> None:
    event = decode(raw("task_finished", task_id="a", outcome="success", score=number, duration_seconds=number), "w")
    assert isinstance(event, TaskFinished)
    assert (event.score, event.duration_seconds) == (None, None)


def test_a_number_of_tasks_stands_for_tasks_without_names() -> None:
    event = decode(raw("run_started", tasks=154), "w")
    assert isinstance(event, RunStarted)
    assert event.total_tasks == 154
    assert event.tasks == ()


def test_tasks_may_be_ids_or_objects() -> None:
    event = decode(raw("run_started", tasks=["a", {"task_id": "b", "domain": "x"}, 7, {}]), "w")
    assert isinstance(event, RunStarted)
    assert [(task.task_id, task.domain) for task in event.tasks] == [("a", None), ("b", "x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ([1, 2], "foreign_line"),
        ("text", "foreign_line"),
        ({**raw("step", task_id="a"), "v": 2}, "unknown_version"),
        (raw("task_paused", task_id="a"), "unknown_type"),
        ({"v": 1, "seq": 1, "ts": 1.0}, "unknown_type"),
        ({**raw("heartbeat"), "ts": "yesterday"}, "bad_field"),
        ({**raw("heartbeat"), "ts": float("nan")}, "bad_field"),
        ({**raw("heartbeat"), "ts": 10**400}, "bad_field"),
        ({**raw("heartbeat"), "ts": 1.7e12}, "bad_field"),  # milliseconds
        ({**raw("heartbeat"), "ts": -1.0}, "bad_field"),
        (raw("step"), "bad_field"),
        (raw("task_finished", task_id="a", outcome="solved"), "bad_field"),
        (raw("worker_state", worker_id="w", state="asleep"), "bad_field"),
    ],
)
def test_an_object_that_is_no_event_is_refused_with_a_reason(line: object, reason: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(line, "w")
    assert refused.value.reason == reason


def test_a_line_without_a_version_is_of_the_first_one() -> None:
    assert isinstance(decode({"ts": 1, "type": "heartbeat"}, "w"), Heartbeat)


def test_long_texts_are_cut() -> None:
    event = decode(raw("task_finished", task_id="t" * 9999, outcome="failure", error="e" * 99_999), "w")
    assert isinstance(event, TaskFinished)
    assert len(event.task_id) == 512
    assert event.error is not None
    assert len(event.error) == 4000


FIELDS = [
    *("v", "seq", "ts", "task_id", "attempt", "worker_id", "action", "tasks", "tags", "outcome", "state", "score"),
    *(
        "input_tokens",
        "requests",
        "scores",
        "server_tools",
        "steps",
        "duration_seconds",
        "reasoning",
        "screenshot",
        "attempts",
        "budget_usd",
        "level",
        "role",
        "status",
    ),
]


EVENTS = st.sampled_from(TYPES)
GOOD = {"task_id": "a", "worker_id": "w", "outcome": "success", "state": "idle", "message": "m", "text": "t"}


@given(EVENTS, st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_whatever_the_fields_hold_an_event_is_made_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        event = decode({**raw(kind, **GOOD), **fields}, "w")
    except InvalidEvent as refused:
        assert refused.reason
    else:
        assert event.writer == "w"
        assert event.ts >= 0


@given(EVENTS, st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_a_line_is_decoded_alike_in_one_step_and_field_by_field(kind: str, fields: dict[str, Any]) -> None:
    line = encode({**raw(kind, **GOOD), **fields})
    assert decoded(lambda: decode_line(line, "w")) == decoded(lambda: decode(json.loads(line), "w"))


def decoded(make: Callable[[], Event]) -> Event | str:
    try:
        return make()
    except InvalidEvent as refused:
        return f"{refused.reason}: {refused}"


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_line_needs_no_second_look(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "decode", None)
    assert decode_line(encode(raw(kind, **GOOD)), "w").ts == 1000.5


def test_what_a_line_says_of_its_writer_is_not_believed() -> None:
    assert decode_line(encode(raw("heartbeat", writer="somebody else")), "w").writer == "w"
