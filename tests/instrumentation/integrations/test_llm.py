"""Model calls of the real clients, and of OpenTelemetry's real instrumentation, against a local server."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from evalgauge import track_run
from evalgauge.events import LlmCall
from evalgauge.integrations.llm import GenAiSpans, capture
from evalgauge.integrations.llm.client_calls import Call, is_call
from evalgauge.runlog import read_events
from evalgauge.tracker import Task, current_task
from evalgauge.usage import NOTHING, UNKNOWN, TokenUsage
from tests.instrumentation.integrations.conftest import HERE, Program

# what the local server's answers say, cached tokens taken out of OpenAI's input (its API counts them inside)
CLAUDE = TokenUsage(11, 100, 7, 5)
CHAT = TokenUsage(30, 20, None, 6)
RESPONSES = TokenUsage(30, 10, None, 8)
EXPECTED: dict[str | None, list[tuple[str, TokenUsage]]] = {
    "claude": [("ok", CLAUDE)],
    "claude beta": [("ok", CLAUDE)],
    "claude stream": [("ok", CLAUDE)],
    "claude stream, zeros at its end": [("ok", CLAUDE)],
    "claude stream manager": [("ok", CLAUDE)],
    "claude left early": [("ok", CLAUDE._replace(output=1))],
    "claude left by with": [("ok", CLAUDE._replace(output=1))],
    "claude left by async with": [("ok", CLAUDE._replace(output=1))],
    "claude closed unread": [("ok", UNKNOWN)],
    "claude cancelled": [("error", UNKNOWN)],
    "claude raw": [("ok", CLAUDE)],
    "claude async": [("ok", CLAUDE)],
    "claude async stream": [("ok", CLAUDE)],
    "claude together": [("ok", CLAUDE)] * 3,
    "claude flaky": [("retry", UNKNOWN), ("ok", CLAUDE)],
    "claude broken": [("error", NOTHING)],
    "claude in a pool": [("ok", CLAUDE)] * 4,
    "claude in a thread": [("ok", CLAUDE)],
    "gpt": [("ok", CHAT)],
    "gpt stream": [("ok", CHAT)],
    "gpt stream, usage not asked for": [("ok", UNKNOWN)],
    "gpt raw": [("ok", CHAT)],
    "gpt raw stream": [("ok", CHAT)],
    "gpt async": [("ok", CHAT)],
    "gpt async stream": [("ok", CHAT)],
    "gpt read later": [("ok", CHAT)],
    "gpt read later, async stream": [("ok", CHAT)],
    "gpt lines alone": [("ok", UNKNOWN)],
    "gpt flaky": [("retry", UNKNOWN), ("ok", CHAT)],
    "responses": [("ok", RESPONSES)],
    "responses stream": [("ok", RESPONSES)],
    "responses async": [("ok", RESPONSES)],
    "responses in the background": [("ok", RESPONSES)],
    "embeddings": [("ok", TokenUsage(4, None, None, 0))],
    None: [("ok", CHAT)],
}


def calls(folder: Path) -> list[LlmCall]:
    return [event for event in read_events(folder) if isinstance(event, LlmCall)]


def test_every_kind_of_call_is_recorded_once_for_its_task(program: Program, tmp_path: Path) -> None:
    answered = json.loads(program("-W", "error", str(HERE / "llm_calls.py"), "results").stdout)
    found: dict[str | None, list[tuple[str, TokenUsage]]] = {}
    for call in calls(tmp_path / "results" / "calls"):
        found.setdefault(call.task_id, []).append((call.status, call.tokens))
        assert call.worker_id == (None if call.task_id is None else "w")
        if call.model == "gpt-5.1":
            assert call.provider == "openai"
        untimed = call.status == "retry" or call.task_id == "responses in the background"
        assert (call.duration_seconds is None) == untimed, "how long a failed try took is not known"
    assert found == EXPECTED
    answers = {name: answer for name, answer in answered.items() if answer is not None}
    assert answers["claude stream"] == answers["claude async stream"] == 6, "the program gets every part of a stream"
    assert answers["gpt stream"] == answers["gpt raw stream"] == answers["gpt async stream"] == 3
    assert answers["claude counted"] == 11
    assert "claude counted" not in found
    assert answers["claude broken"] == "BadRequestError"
    assert answers["claude flaky"] == answers["gpt flaky"] == answers["gpt read later"] == "click"
    assert answers["gpt read later, async stream"] == 3


def test_calls_instrumented_by_opentelemetry_are_counted_once(program: Program, tmp_path: Path) -> None:
    program(str(HERE / "span_calls.py"), "results")
    found: dict[str | None, Counter[TokenUsage]] = {}
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
            [("aws.bedrock", "m", TokenUsage(5, 4, None, 2), "ok")],
        ),
        (
            _Span("old", {"gen_ai.system": "openai", "llm.request.type": "chat", "gen_ai.response.model": "m-1",
                          "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 9,
                          "gen_ai.usage.completion_tokens": 2}),
            [("openai", "m-1", TokenUsage(9, None, None, 2), "ok")],
        ),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, True),
         [(None, "m", UNKNOWN, "error")]),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "error.type": "429"}),
         [(None, "m", NOTHING, "error")]),
        (_Span("chat m", {"llm.request.type": "chat", "gen_ai.request.model": "m",
                          "error.type": "openai.RateLimitError"}),
         [(None, "m", NOTHING, "error")]),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "error.type": "timeout"}),
         [(None, "m", UNKNOWN, "error")]),
        (_Span("ChatCompletion", {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.provider": "openai",
                                  "llm.token_count.prompt": 9, "llm.token_count.completion": 2}),
         [("openai", "m", TokenUsage(9, None, None, 2), "ok")]),
        (_Span("Agent", {"openinference.span.kind": "AGENT", "llm.model_name": "m", "llm.token_count.prompt": 9}), []),
        (_Span("invoke_agent me", {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 9}), []),
        (_Span("GET /", {"http.request.method": "GET"}), []),
        (_Span("chat m", {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 9}, scope="evalgauge"), []),
    ],
)  # fmt: skip
def test_a_span_is_a_call_where_the_conventions_define_one(
    tmp_path: Path, span: _Span, expected: list[tuple[str | None, str | None, TokenUsage, str]]
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


def test_a_span_that_ends_elsewhere_belongs_to_the_task_it_started_in(tmp_path: Path) -> None:
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


def test_what_another_library_wrapped_meanwhile_stays_and_is_not_wrapped_twice(tmp_path: Path) -> None:
    stock = threading.Thread.start
    names: list[str] = []
    with capture():
        ours = threading.Thread.start
        monkey = pytest.MonkeyPatch()

        def theirs(self: threading.Thread) -> None:
            names.append(self.name)
            ours(self)

        monkey.setattr(threading.Thread, "start", theirs)
    assert threading.Thread.start is theirs
    with track_run(tmp_path, benchmark="b", model="m") as run, run.task("t") as task:
        assert _task_in_a_thread("while nothing is captured") is None
        with capture():
            assert threading.Thread.start is theirs
            assert _task_in_a_thread("while it is again") is task
        task.finish(success=True)
    assert [name for name in names if name.startswith("while")] == [
        "while nothing is captured",
        "while it is again",
    ]
    monkey.undo()
    with capture():
        pass
    assert threading.Thread.start is stock


def _task_in_a_thread(name: str) -> Task | None:
    found: list[Task | None] = []
    thread = threading.Thread(target=lambda: found.append(current_task.get()), name=name)
    thread.start()
    thread.join()
    return found[0]


CLIENT = """
class SyncAPIClient:
    base_url = "https://api.anthropic.com"
    def request(self, options, *, cast_to=None, stream=False):
        return {"model": "claude-later", "usage": {"input_tokens": 3, "output_tokens": 2}}
"""


def test_an_unknown_client_gets_a_warning_and_partial_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for package, client in (("openai", None), ("anthropic", CLIENT)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        if client is not None:
            (tmp_path / package / "_base_client.py").write_text(client)
        for name in (package, f"{package}._base_client"):
            monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with capture(), track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
            client = sys.modules["anthropic._base_client"].SyncAPIClient()
            asked = SimpleNamespace(method="post", url="/v1/messages", json_data={"model": "claude"})
            client.request(asked, cast_to=dict)
            client.request(options=asked)
            task.finish(success=True)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("openai", "anthropic")]:
            monkeypatch.delitem(sys.modules, name)
    assert [(call.model, call.tokens.output) for call in calls(tmp_path / "r")] == [("claude-later", 2)] * 2
    assert [record.message for record in caplog.records][:2] == [
        "unknown version of anthropic (retries of SyncAPIClient); its retries are not counted",
        "unknown version of anthropic (AsyncAPIClient.request); its model calls are not counted",
    ]
    assert [record.message.partition(" (")[0] for record in caplog.records][2:] == ["unknown version of openai"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/v1/messages", True),
        ("/v1/messages?beta=true", True),
        ("/v1/complete", True),
        ("/chat/completions", True),
        ("/responses", True),
        ("https://llm.example.org/v1/embeddings", True),
        ("/images/generations", True),
        ("/audio/transcriptions", True),
        ("/v1/messages/count_tokens", False),
        ("/v1/messages/batches", False),
        ("/threads/thread_1/messages", False),
        ("/uploads/upload_1/complete", False),
        ("/responses/resp_1/cancel", False),
        ("/files", False),
    ],
)
def test_only_what_calls_a_model_is_a_call(url: str, expected: bool) -> None:
    assert is_call(SimpleNamespace(method="post", url=url)) is expected
    assert not is_call(SimpleNamespace(method="get", url=url))


def recorded_call(tmp_path: Path, parts: list[dict[str, Any]], url: str = "http://gateway.example/v1") -> LlmCall:
    """The call that a client at ``url`` makes, whose response comes in these parts."""
    client = SimpleNamespace(base_url=url)
    options = SimpleNamespace(method="post", url="/chat/completions", json_data={"model": "auto"})
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        call = Call("openai", client, options)
        for part in parts:
            call.read_part(part)
        call.record()
        task.finish(success=True)
    (found,) = calls(tmp_path / "r")
    return found


def test_counts_in_a_stream_are_cumulative_and_the_larger_stands(tmp_path: Path) -> None:
    start = {
        "message": {
            "usage": {"input_tokens": 90, "output_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 7}}
        }
    }
    end = {"usage": {"input_tokens": 0, "output_tokens": 40, "cache_creation": {"ephemeral_5m_input_tokens": 0}}}
    found = recorded_call(tmp_path, [start, end, {"usage": {"output_tokens": 12}}, {"usage": None}])
    assert found.tokens == TokenUsage(90, None, 7, 40)


@pytest.mark.parametrize(
    ("url", "model", "provider"),
    [
        ("http://gateway.example/v1", "gemini-2.5-pro", "google"),
        ("http://gateway.example/v1", "claude-sonnet-4-5", "anthropic"),
        ("http://gateway.example/v1", "llama-3.3-70b", "gateway.example"),
        ("http://gateway.example/v1", "deepseek-r1", "gateway.example"),  # open weights: anybody serves them
        ("https://api.x.ai/v1", "grok-4", "x-ai"),
    ],
)
def test_behind_a_gateway_the_model_that_answered_names_the_provider(
    tmp_path: Path, url: str, model: str, provider: str
) -> None:
    found = recorded_call(tmp_path, [{"model": model, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}], url)
    assert (found.provider, found.model) == (provider, model)


@pytest.mark.parametrize(
    ("host", "model", "region"),
    [
        ("us-east5-aiplatform.googleapis.com", "claude-sonnet-4-5@20250929", "us-east5"),
        ("us-east5-aiplatform.googleapis.com", "anthropic/claude-haiku-4-5", "us-east5"),
        ("us-east5-aiplatform.googleapis.com", "claude-opus-5", "us-east5"),
        ("us-central1-aiplatform.googleapis.com", "google/gemini-3.5-flash", "us-central1"),
        ("aiplatform.eu.rep.googleapis.com", "claude-opus-4-8", "eu"),
        ("us-east5-aiplatform.googleapis.com", "claude-sonnet-4@20250514", None),
        ("us-east5-aiplatform.googleapis.com", "claude-opus-4-1-20250805", None),
        ("us-east5-aiplatform.googleapis.com", "claude-sonnet-4", None),
        ("us-east5-aiplatform.googleapis.com", "claude-3-5-sonnet-v2@20241022", None),
        ("us-central1-aiplatform.googleapis.com", "google/gemini-2.5-pro", None),
        ("us-central1-aiplatform.googleapis.com", "gemini-2.0-flash", None),
        ("us-central1-aiplatform.googleapis.com", "meta/llama-3.3-70b-instruct-maas", None),
        ("aiplatform.googleapis.com", "claude-sonnet-4-5", None),
        ("api.anthropic.com", "claude-sonnet-4-5", None),
    ],
)
def test_a_region_of_vertex_is_recorded_where_the_model_costs_more_there(
    tmp_path: Path, host: str, model: str, region: str | None
) -> None:
    usage = {"input_tokens": 5, "output_tokens": 2}
    found = recorded_call(tmp_path, [{"model": model, "usage": usage}], f"https://{host}/v1")
    assert found.region == region
    assert found.provider == ("anthropic" if host == "api.anthropic.com" else "google")


@pytest.mark.parametrize(("status", "usage"), [(429, NOTHING), (529, NOTHING), (500, UNKNOWN), (None, UNKNOWN)])
def test_a_request_that_was_refused_used_nothing(tmp_path: Path, status: int | None, usage: TokenUsage) -> None:
    client = SimpleNamespace(base_url="http://gateway.example/v1")
    options = SimpleNamespace(method="post", url="/chat/completions", json_data={"model": "m"})
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        Call("openai", client, options).record_failure("retry", status)
        task.finish(success=True)
    assert [(call.status, call.tokens) for call in calls(tmp_path / "r")] == [("retry", usage)]


def test_the_tier_that_served_a_call_and_the_tools_it_used_are_recorded(tmp_path: Path) -> None:
    searches = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "file_search_call"},
        {"type": "image_generation_call"},
        {"type": "message"},
    ]
    response = {"service_tier": "flex", "output": searches, "usage": {"input_tokens": 9, "output_tokens": 1}}
    found = recorded_call(tmp_path, [{"response": {"output": searches[:1]}}, {"response": response}])
    assert found.service_tier == "flex"
    assert found.server_tools == {"web_search": 1, "file_search": 1, "image_generation": 1}


def test_a_picture_that_only_the_usage_of_tools_states_is_recorded(tmp_path: Path) -> None:
    drawn = {"image_gen": {"output_tokens": 7024, "output_tokens_details": {"image_tokens": 7024}}}
    response = {"output": [], "usage": {"input_tokens": 9, "output_tokens": 1}, "tool_usage": drawn}
    assert recorded_call(tmp_path, [response]).server_tools == {"image_generation": 1}


def test_moonshots_last_chunk_holds_the_usage_in_its_choice(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "cached_tokens": 4}
    found = recorded_call(tmp_path, [{"choices": []}, {"choices": [{"delta": {}, "usage": usage}]}])
    assert found.tokens == TokenUsage(5, 4, None, 2)


def test_groqs_last_chunk_holds_the_usage(tmp_path: Path) -> None:
    chunk = {"x_groq": {"id": "r", "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}}}
    assert recorded_call(tmp_path, [{"choices": []}, chunk]).tokens == TokenUsage(8, None, None, 2)
