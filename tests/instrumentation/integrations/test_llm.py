"""Model calls of the real clients, and of OpenTelemetry's real instrumentation, against a local server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from evalgauge import track_run
from evalgauge.events import LlmCall
from evalgauge.integrations.llm import GenAiSpans, capture
from evalgauge.runlog import read_events
from evalgauge.usage import UNKNOWN, Tokens
from tests.instrumentation.integrations.conftest import HERE, Program

# what the local server's answers say, cached tokens taken out of OpenAI's input (its API counts them inside)
CLAUDE = Tokens(11, 100, 7, 5)
CHAT = Tokens(30, 20, None, 6)
RESPONSES = Tokens(30, 10, None, 8)
EXPECTED: dict[str | None, list[tuple[str, Tokens]]] = {
    "claude": [("ok", CLAUDE)],
    "claude beta": [("ok", CLAUDE)],
    "claude stream": [("ok", CLAUDE)],
    "claude stream manager": [("ok", CLAUDE)],
    "claude left early": [("ok", CLAUDE._replace(output=1))],
    "claude raw": [("ok", CLAUDE)],
    "claude async": [("ok", CLAUDE)],
    "claude async stream": [("ok", CLAUDE)],
    "claude together": [("ok", CLAUDE)] * 3,
    "claude flaky": [("retry", UNKNOWN), ("ok", CLAUDE)],
    "claude broken": [("error", UNKNOWN)],
    "claude in a pool": [("ok", CLAUDE)] * 4,
    "claude in a thread": [("ok", CLAUDE)],
    "gpt": [("ok", CHAT)],
    "gpt stream": [("ok", CHAT)],
    "gpt stream, usage not asked for": [("ok", UNKNOWN)],
    "gpt raw": [("ok", CHAT)],
    "gpt raw stream": [("ok", CHAT)],
    "gpt async": [("ok", CHAT)],
    "gpt async stream": [("ok", CHAT)],
    "gpt flaky": [("retry", UNKNOWN), ("ok", CHAT)],
    "responses": [("ok", RESPONSES)],
    "responses stream": [("ok", RESPONSES)],
    "responses async": [("ok", RESPONSES)],
    None: [("ok", CHAT)],
}


def calls(folder: Path) -> list[LlmCall]:
    return [event for event in read_events(folder) if isinstance(event, LlmCall)]


def test_every_kind_of_call_is_booked_to_its_task_once(program: Program, tmp_path: Path) -> None:
    said = json.loads(program("-W", "error", str(HERE / "llm_calls.py"), "results").stdout)
    found: dict[str | None, list[tuple[str, Tokens]]] = {}
    for call in calls(tmp_path / "results" / "calls"):
        found.setdefault(call.task_id, []).append((call.status, call.tokens))
        assert call.worker_id == (None if call.task_id is None else "w")
        if call.model == "gpt-5.1":
            assert call.provider == "openai"
        if call.status == "ok":
            assert call.duration_seconds is not None
    assert found == EXPECTED
    answers = {name: answer for name, answer in said.items() if answer is not None}
    assert answers["claude stream"] == answers["claude async stream"] == 6, "the program gets every part of a stream"
    assert answers["gpt stream"] == answers["gpt raw stream"] == answers["gpt async stream"] == 3
    assert answers["claude counted"] == 11
    assert "claude counted" not in found
    assert answers["claude broken"] == "BadRequestError"
    assert answers["claude flaky"] == answers["gpt flaky"] == "click"


def test_what_opentelemetry_instruments_is_counted_and_never_twice(program: Program, tmp_path: Path) -> None:
    program(str(HERE / "span_calls.py"), "results")
    found: dict[str | None, Counter[Tokens]] = {}
    for call in calls(tmp_path / "results" / "spans"):
        found.setdefault(call.task_id, Counter())[call.tokens] += 1
    once = Counter({CLAUDE: 2, CHAT: 3, RESPONSES: 1})
    assert found == {"spans alone": once, "spans and capture": once}


class _Span(NamedTuple):
    name: str
    attributes: dict[str, Any]
    failed: bool = False
    scope: str = "somebody"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (
            _Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "AWS.bedrock",
                             "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 9,
                             "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.output_tokens": 2}),
            [("aws.bedrock", "m", Tokens(5, 4, None, 2), "ok")],
        ),
        (
            _Span("old", {"gen_ai.system": "openai", "llm.request.type": "chat", "gen_ai.response.model": "m-1",
                          "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 9,
                          "gen_ai.usage.completion_tokens": 2}),
            [("openai", "m-1", Tokens(9, None, None, 2), "ok")],
        ),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, True),
         [(None, "m", UNKNOWN, "error")]),
        (_Span("invoke_agent me", {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 9}), []),
        (_Span("GET /", {"http.request.method": "GET"}), []),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 9}, scope="evalgauge"), []),
    ],
)  # fmt: skip
def test_a_span_is_a_call_where_the_conventions_say_so(
    tmp_path: Path, span: _Span, expected: list[tuple[str | None, str | None, Tokens, str]]
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(GenAiSpans())  # type: ignore[arg-type]
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        with provider.get_tracer(span.scope).start_as_current_span(span.name, attributes=span.attributes) as opened:
            if span.failed:
                opened.set_status(Status(StatusCode.ERROR))
        task.finish(success=True)
    found = [(call.provider, call.model, call.tokens, call.status) for call in calls(tmp_path / "r")]
    assert found == expected


def test_spans_within_spans_are_one_call(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(GenAiSpans())  # type: ignore[arg-type]
    tracer = provider.get_tracer("somebody")
    chat: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 9,
    }
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        with tracer.start_as_current_span("chat m", attributes=chat), tracer.start_as_current_span("between"):
            with tracer.start_as_current_span("chat m", attributes=chat):
                pass
        with tracer.start_as_current_span("chat m", attributes=chat):
            pass
        task.finish(success=True)
    assert [call.tokens.input for call in calls(tmp_path / "r")] == [9, 9]


def test_a_span_that_ends_elsewhere_belongs_to_the_task_it_began_in(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(GenAiSpans())  # type: ignore[arg-type]
    chat: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 1}
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run:
        with run.task("one") as task:
            span = provider.get_tracer("somebody").start_span("chat m", attributes=chat)
            task.finish(success=True)
        with run.task("two") as task:
            span.end()
            task.finish(success=True)
    assert [call.task_id for call in calls(tmp_path / "r")] == ["one"]


def test_capture_without_the_packages_does_nothing_and_may_be_stopped_twice() -> None:
    use = capture().start()
    use.stop()
    use.stop()
    with capture() as other:
        other.start()
