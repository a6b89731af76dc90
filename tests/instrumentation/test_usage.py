"""Token counts out of the usage objects of SDKs.

The examples have the fields of each SDK's types; genai-prices' extractors, which were written from the providers'
documentation, are the independent reading of the same responses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from genai_prices import Usage, extract_usage
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from evalgauge import usage as usage_module
from evalgauge.usage import (
    MAX_COUNT,
    UNKNOWN,
    UNKNOWN_CALL,
    CallUsage,
    TokenUsage,
    is_refusal,
    parse_call,
    parse_usage,
)
from evalgauge.usage_shapes import MODIFIERS

ANTHROPIC = {
    "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 248},
    "cache_creation_input_tokens": 248,
    "cache_read_input_tokens": 1800,
    "input_tokens": 21,
    "output_tokens": 503,
    "server_tool_use": None,
    "service_tier": "standard",
}
OPENAI_CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 1920},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
}
OPENAI_RESPONSES = {
    "input_tokens": 75,
    "input_tokens_details": {"cached_tokens": 25},
    "output_tokens": 1186,
    "output_tokens_details": {"reasoning_tokens": 1024},
    "total_tokens": 1261,
}
GEMINI = {
    "prompt_token_count": 1000,
    "cached_content_token_count": 600,
    "candidates_token_count": 40,
    "thoughts_token_count": 60,
    "tool_use_prompt_token_count": 11,
    "total_token_count": 1111,
    "prompt_tokens_details": [{"modality": "TEXT", "token_count": 1000}],
}
BEDROCK = {
    "inputTokens": 9,
    "outputTokens": 357,
    "totalTokens": 37575,
    "cacheReadInputTokens": 0,
    "cacheWriteInputTokens": 37209,
}
OPENTELEMETRY = {
    "gen_ai.provider.name": "anthropic",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 70,
    "gen_ai.usage.cache_creation.input_tokens": 20,
    "gen_ai.usage.output_tokens": 7,
}
OWN = {"input_tokens": 5, "cache_read_tokens": 70, "cache_write_tokens": None, "output_tokens": 7}
OPENADAPT = {"input_tokens": 1500, "output_tokens": 42}

EXAMPLES = [
    pytest.param(ANTHROPIC, TokenUsage(21, 1800, 248, 503), id="anthropic"),
    pytest.param(OPENAI_CHAT, TokenUsage(86, 1920, None, 300), id="openai chat"),
    pytest.param(OPENAI_RESPONSES, TokenUsage(50, 25, None, 1186), id="openai responses"),
    pytest.param(GEMINI, TokenUsage(411, 600, None, 100), id="gemini"),
    pytest.param(BEDROCK, TokenUsage(9, 0, 37209, 357), id="bedrock"),
    pytest.param(OWN, TokenUsage(5, 70, None, 7), id="own"),
    pytest.param(OPENADAPT, TokenUsage(1500, None, None, 42), id="openadapt"),
]


class Model(BaseModel):
    """A pydantic model that takes any field, as those of the SDKs do."""

    model_config = ConfigDict(extra="allow")


def as_model(usage: Mapping[str, Any]) -> Model:
    return Model(**{key: as_model(value) if isinstance(value, dict) else value for key, value in usage.items()})


def as_object(usage: Mapping[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**{k: as_object(v) if isinstance(v, dict) else v for k, v in usage.items()})


class Slots:
    """An object that has no ``__dict__``, as those of protocol buffers."""

    __slots__ = ("candidates_token_count", "prompt_token_count")

    def __init__(self, prompt: int, candidates: int) -> None:
        self.prompt_token_count, self.candidates_token_count = prompt, candidates


@pytest.mark.parametrize(("usage", "expected"), EXAMPLES)
def test_each_shape_is_read_alike_as_mapping_model_and_object(usage: dict[str, Any], expected: TokenUsage) -> None:
    assert parse_usage(usage) == expected
    assert parse_usage(MappingProxyType(usage)) == expected
    assert parse_usage(as_model(usage)) == expected
    assert parse_usage(as_object(usage)) == expected


def test_fields_that_a_model_declares_are_read_as_those_it_does_not() -> None:
    class Details(BaseModel):
        cached_tokens: int | None = None

    class CompletionUsage(BaseModel):
        prompt_tokens: int
        completion_tokens: int
        total_tokens: int
        prompt_tokens_details: Details | None = None

    plain = CompletionUsage(prompt_tokens=10, completion_tokens=2, total_tokens=12)
    assert parse_usage(plain) == TokenUsage(10, None, None, 2)
    plain.prompt_tokens_details = Details(cached_tokens=4)
    assert parse_usage(plain) == TokenUsage(6, 4, None, 2)


def test_an_object_without_a_dict_is_read() -> None:
    assert parse_usage(Slots(10, 3)) == TokenUsage(10, None, None, 3)


def test_opentelemetry_attributes_count_cached_tokens_inside_the_input() -> None:
    assert parse_usage(OPENTELEMETRY) == TokenUsage(10, 70, 20, 7)
    assert parse_usage({"gen_ai.usage.prompt_tokens": 8, "gen_ai.usage.completion_tokens": 3}) == TokenUsage(
        8, None, None, 3
    )


def test_gemini_json_is_read_as_the_python_names_are() -> None:
    usage = {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 4, "thoughtsTokenCount": 6}
    assert parse_usage(usage) == TokenUsage(40, 60, None, 10)
    assert parse_usage({"promptTokenCount": 5, "responseTokenCount": 7}) == TokenUsage(5, None, None, 7)


def test_a_gemini_call_that_only_thought_has_output() -> None:
    usage = {"prompt_token_count": 12, "candidates_token_count": None, "thoughts_token_count": 99}
    assert parse_usage(usage) == TokenUsage(12, None, None, 99)


def test_nested_cache_writes_are_added_where_their_sum_is_not_reported() -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "cache_creation": {"ephemeral_5m_input_tokens": 10}}
    assert parse_usage(usage).cache_write == 10
    usage["cache_creation"] = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 5}
    assert parse_usage(usage).cache_write == 15


def test_compaction_that_anthropic_counts_apart_is_added() -> None:
    # BetaUsage: a compaction entry's tokens are not included in the top-level fields, those of a message are
    message = {"type": "message", "input_tokens": 23000, "output_tokens": 1000}
    compaction = {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500, "cache_read_input_tokens": 7}
    usage = {"input_tokens": 23000, "output_tokens": 1000, "iterations": [compaction, message]}
    assert parse_usage(usage) == TokenUsage(203000, 7, None, 4500)
    assert parse_usage({**usage, "iterations": [message]}) == TokenUsage(23000, None, None, 1000)
    assert parse_usage({**usage, "iterations": []}) == TokenUsage(23000, None, None, 1000)


def test_one_hour_cache_writes_of_compaction_are_counted_too() -> None:
    written = {"cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_1h_input_tokens": 40}}
    compaction = {"type": "compaction", "input_tokens": 180, "output_tokens": 3, **written}
    message = {"type": "message", "input_tokens": 23, "output_tokens": 1, **written}
    usage = {"input_tokens": 23, "output_tokens": 1, **written, "iterations": [compaction, message]}
    assert parse_usage(usage).cache_write == 100
    assert parse_call(usage).cache_write_1h_tokens == 80
    assert parse_call({**usage, "iterations": [7]}).cache_write_1h_tokens == 40


def test_usage_of_pydantic_ai_and_genai_prices_counts_cached_tokens_inside_the_input() -> None:
    fields = {"input_tokens": 100, "cache_write_tokens": 20, "cache_read_tokens": 70, "output_tokens": 7}
    assert parse_usage({**fields, "input_audio_tokens": 0, "cache_audio_read_tokens": 0}) == TokenUsage(10, 70, 20, 7)
    assert parse_usage(Usage(**fields)) == TokenUsage(10, 70, 20, 7)


def test_langchain_and_dashscope_count_cached_tokens_inside_the_input() -> None:
    langchain = {
        "input_tokens": 350,
        "output_tokens": 2,
        "input_token_details": {"cache_creation": 200, "cache_read": 100},
    }
    assert parse_usage(langchain) == TokenUsage(50, 100, 200, 2)
    # what langchain-anthropic makes of Anthropic's usage: the sum is 0 where the parts are there
    by_life = {"cache_creation": 0, "ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}
    assert parse_usage({**langchain, "input_token_details": {**by_life, "cache_read": 100}}) == TokenUsage(
        50, 100, 200, 2
    )
    dashscope = {"input_tokens": 300, "output_tokens": 20, "prompt_tokens_details": {"cached_tokens": 256}}
    assert parse_usage(dashscope) == TokenUsage(44, 256, None, 20)


def test_other_chat_completions_providers_name_cached_tokens_in_their_own_way() -> None:
    deepseek = {
        "prompt_tokens": 50,
        "completion_tokens": 1,
        "prompt_cache_hit_tokens": 30,
        "prompt_cache_miss_tokens": 20,
    }
    assert parse_usage(deepseek) == TokenUsage(20, 30, None, 1)
    openrouter = {
        "prompt_tokens": 50,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5},
    }
    assert parse_usage(openrouter) == TokenUsage(35, 10, 5, 1)


CHAT = {"prompt_tokens": 900, "completion_tokens": 70, "total_tokens": 970}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 0}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**CHAT, **DETAILS, "num_cached_tokens": 600}, (300, 600, None, 70)),
        ({**CHAT, "prompt_token_details": {"cached_tokens": 600}}, (300, 600, None, 70)),
        ({**CHAT, "prompt_tokens_cached": 600, "successful_requests": 2}, (300, 600, None, 70)),
        ({**CHAT, "cached_prompt_tokens": 600, "cache_creation_tokens": 200}, (100, 600, 200, 70)),
        ({**CHAT, **DETAILS, "cached_tokens": 600}, (300, 600, None, 70)),
        (
            {**CHAT, "prompt_tokens_details": {"cache_creation_input_tokens": 200, "cached_tokens": 0}},
            (700, 0, 200, 70),
        ),
        (
            {**CHAT, "prompt_tokens_details": {"cache_creation": {"ephemeral_5m_input_tokens": 200}}},
            (700, None, 200, 70),
        ),
        ({"usage": {"inputTokens": 8, "outputTokens": 2, "totalTokens": 10}, "metrics": {}}, (8, None, None, 2)),
        ({"token_usage": CHAT, "model_name": "m"}, (900, None, None, 70)),
        ({"prompt_token_count": 25, "generation_token_count": 50}, (25, None, None, 50)),
        (
            {"inputTokens": {"total": 900, "noCache": 300, "cacheRead": 600}, "outputTokens": {"total": 70}},
            (300, 600, None, 70),
        ),
        (
            {"inputTokens": 900, "outputTokens": 70, "cacheReadTokens": 600, "cacheWriteTokens": 200},
            (100, 600, 200, 70),
        ),
        ({"inputTokens": 900, "outputTokens": 70, "totalTokens": 970, "cachedReadTokens": 600}, (300, 600, None, 70)),
        ({"inputTokens": 9, "outputTokens": 7, "cacheReadTokens": 6, "cacheCreationTokens": 2}, (9, 6, 2, 7)),
        (
            {"promptTokens": 900, "completionTokens": 70, "promptTokensDetails": {"cachedTokens": 600}},
            (300, 600, None, 70),
        ),
        (
            {"input_tokens": 900, "output_tokens": 70, "input_tokens_details": [{"cached_tokens": 600}]},
            (300, 600, None, 70),
        ),
        (
            {"input_tokens": 900, "cached_input_tokens": 600, "cache_write_input_tokens": 200, "output_tokens": 70},
            (100, 600, 200, 70),
        ),
        ({"input_tokens": 900, "cache_read_tokens": 600, "output_tokens": 70, "details": {}}, (300, 600, None, 70)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 7,
                "cache_read_input_tokens": 600,
                "output_tokens_details": {"thinking_tokens": 5},
            },
            (9, 600, None, 7),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 7,
                "cache_creation_input_tokens": 0,
                "cache_creation": {"ephemeral_1h_input_tokens": 30},
            },
            (9, None, 30, 7),
        ),
        ({"input": 9, "output": 7, "total": 616, "cache_read_input_tokens": 600}, (9, 600, None, 7)),
        ({"input": 9, "output": 7, "input_cached_tokens": 600, "output_reasoning_tokens": 5}, (9, 600, None, 12)),
        ({"input": 9, "output": 7, "reasoning": 5, "cache": {"read": 600, "write": 2}}, (9, 600, 2, 12)),
        (
            {
                "llm.token_count.prompt": 900,
                "llm.token_count.completion": 7,
                "llm.token_count.prompt_details.cache_read": 600,
            },
            (300, 600, None, 7),
        ),
        (
            {"gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 7, "ai.usage.cachedInputTokens": 600},
            (300, 600, None, 7),
        ),
        # the total decides where Traceloop has it under its own name
        (
            {
                "gen_ai.usage.prompt_tokens": 900,
                "gen_ai.usage.completion_tokens": 7,
                "gen_ai.usage.cache_read_input_tokens": 600,
                "llm.usage.total_tokens": 1507,
            },
            (900, 600, None, 7),
        ),
        # cached tokens beside the input, and not in the total: what else is not in it is not known
        (
            {
                "gen_ai.usage.input_tokens": 12,
                "gen_ai.usage.output_tokens": 40,
                "gen_ai.usage.total_tokens": 52,
                "gen_ai.usage.cache_read.input_tokens": 1000,
            },
            UNKNOWN,
        ),
        ({"input": "a prompt", "output": "an answer"}, UNKNOWN),
        ({"usage": CHAT, "output": [{"type": "web_search_call"}]}, UNKNOWN),  # a response, with more than tokens to pay
    ],
)
def test_counts_are_found_under_the_names_of_each_tool(usage: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    assert parse_usage(usage) == expected


def test_only_what_was_read_from_a_cache_may_be_inside_the_input() -> None:
    # LiteLLM of 2025 with Bedrock: the prompt holds the reads alone, the total everything
    details = {"prompt_tokens_details": {"cached_tokens": 1000}, "cache_creation_input_tokens": 500}
    usage = {"prompt_tokens": 1010, "completion_tokens": 5, "total_tokens": 1515, **details}
    assert parse_usage(usage) == TokenUsage(10, 1000, 500, 5)


@pytest.mark.parametrize("prefix", ["cache_read", "details.cache_read", "input_tokens.cached", "cache_read.input"])
def test_spans_of_each_tool_name_cached_tokens_inside_the_input(prefix: str) -> None:
    name = f"gen_ai.usage.{prefix}" + ("" if prefix.endswith("cached") else "_tokens")
    usage = {"gen_ai.usage.input_tokens": 900, name: 600, "gen_ai.usage.output_tokens": 7}
    assert parse_usage(usage) == TokenUsage(300, 600, None, 7)


def test_a_result_of_the_claude_agent_sdk_is_a_sum_of_calls_with_its_cost() -> None:
    result = {"subtype": "success", "num_turns": 9, "total_cost_usd": 0.75, "usage": ANTHROPIC, "result": "done"}
    read = parse_call(result)
    assert (read.tokens, read.requests, read.cost_usd) == (parse_usage(ANTHROPIC), 0, 0.75)


def test_the_ai_sdk_before_6_leaves_out_what_claude_writes_to_a_cache() -> None:
    usage = {"inputTokens": 900, "outputTokens": 70, "totalTokens": 970, "cachedInputTokens": 600}
    assert parse_call(usage, provider="openai", model="gpt-5.1").tokens == TokenUsage(300, 600, None, 70)
    assert parse_call(usage, provider="anthropic", model="claude-sonnet-4-5").tokens == UNKNOWN
    since = {**usage, "inputTokenDetails": {"cacheReadTokens": 600, "cacheWriteTokens": 0}}
    assert parse_call(since, provider="anthropic", model="claude-sonnet-4-5").tokens == TokenUsage(300, 600, 0, 70)


def test_thoughts_of_gemini_in_openai_s_shape_are_output_even_where_there_is_no_other() -> None:
    usage = {"prompt_tokens": 100, "total_tokens": 600}
    assert parse_call(usage, provider="google", model="gemini-2.5-pro").tokens == TokenUsage(100, None, None, 500)
    assert parse_call({**usage, "total_tokens": 100}, model="gemini-embedding-001").tokens.output == 0


@pytest.mark.parametrize(
    ("more", "tools"),
    [
        ({"prompt_tokens_details": {"web_search_requests": 2}}, {"web_search": 2}),
        (
            {"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1, "mcp_calls": 4}},
            {"web_search": 2, "x_search": 1},
        ),
        ({"search_context_size": "low"}, {"search_context_low": 1}),
        ({"search_context_size": "high"}, None),
        ({"num_server_side_tools_used": 3}, {"server_side_tools": 3}),
    ],
)
def test_tools_that_are_billed_by_the_piece_are_counted(more: dict[str, Any], tools: dict[str, int] | None) -> None:
    assert parse_call({**CHAT, **more}).server_tools == tools


def test_an_advisor_of_anthropic_s_is_billed_at_the_prices_of_its_own_model() -> None:
    iterations = [{"type": "message", "input_tokens": 9}, {"type": "advisor_message", "input_tokens": 800}]
    read = parse_call({**ANTHROPIC, "iterations": iterations})
    assert read.tokens == parse_usage(ANTHROPIC)
    assert read.server_tools == {"advisor": 1}


def test_cached_images_are_told_from_fresh_ones() -> None:
    cached = {"text_tokens": 100, "audio_tokens": 20, "image_tokens": 500}
    given = {"text_tokens": 200, "audio_tokens": 50, "image_tokens": 750, "cached_tokens": 620}
    usage = {
        "input_tokens": 1000,
        "output_tokens": 9,
        "input_token_details": {**given, "cached_tokens_details": cached},
    }
    read = parse_call(usage)
    assert (read.input_image_tokens, read.cache_read_image_tokens) == (250, 500)
    assert (read.input_audio_tokens, read.cache_read_audio_tokens) == (30, 20)


@pytest.mark.parametrize(
    ("status", "refused"), [(429, True), (400, True), (529, True), (500, False), (200, False), (None, False)]
)
def test_a_request_is_refused_by_4xx_and_by_overload(status: object, refused: bool) -> None:
    assert is_refusal(status) is refused


def test_codex_counts_cached_tokens_inside_the_input() -> None:
    usage = {"input_tokens": 26549, "cached_input_tokens": 22272, "output_tokens": 1590}
    assert parse_usage(usage) == TokenUsage(4277, 22272, None, 1590)


def test_nova_names_cached_tokens_in_its_own_way() -> None:
    usage = {"inputTokens": 4, "outputTokens": 38, "cacheReadInputTokenCount": 7, "cacheWriteInputTokenCount": 8}
    assert parse_usage(usage) == TokenUsage(4, 7, 8, 38)


def test_a_gemini_call_whose_total_is_its_prompt_has_no_output() -> None:
    assert parse_usage({"promptTokenCount": 9, "totalTokenCount": 9}) == TokenUsage(9, None, None, 0)
    assert parse_usage({"promptTokenCount": 9, "totalTokenCount": 10}) == UNKNOWN
    used = {"prompt_token_count": 9, "tool_use_prompt_token_count": 2, "total_token_count": 11}
    assert parse_usage(used) == TokenUsage(11, None, None, 0)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**ANTHROPIC, "cache_creation": {"ephemeral_1h_input_tokens": 200, "ephemeral_5m_input_tokens": 48}}, 200),
        (ANTHROPIC, 0),
        ({"input_tokens": 350, "input_token_details": {"ephemeral_1h_input_tokens": 50}}, 50),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cache_creation_token_details": {"ephemeral_1h_input_tokens": 5}},
            },
            5,
        ),
        ({**BEDROCK, "cacheDetails": [{"ttl": "1h", "inputTokens": 9}, {"ttl": "5m", "inputTokens": 1}]}, 9),
        (
            {
                "prompt_tokens": 9,
                "cache_creation": {"ephemeral_1h_input_tokens": 5},
                "prompt_tokens_details": {"cache_creation_token_details": {"ephemeral_1h_input_tokens": 5}},
            },
            5,  # in two places, and yet one count
        ),
        ({**ANTHROPIC, "cache_creation": {"ephemeral_1h_input_tokens": -1}}, None),
        ({**BEDROCK, "cacheDetails": [7]}, None),
        (OPENAI_CHAT, None),
        (OPENAI_RESPONSES, None),
        (TokenUsage(1, 2, 3, 4), None),
        (None, None),
        ("usage", None),
    ],
)
def test_one_hour_cache_writes_are_read(usage: Any, expected: int | None) -> None:
    assert parse_call(usage).cache_write_1h_tokens == expected
    if isinstance(usage, dict):
        for form in (as_model(usage), as_object(usage)):
            assert parse_call(form).cache_write_1h_tokens == expected


def test_a_usage_object_states_that_it_is_of_a_batch() -> None:
    assert parse_call({**ANTHROPIC, "service_tier": "batch"}).batch
    assert not parse_call(ANTHROPIC).batch
    assert not parse_call(None).batch


def test_reasoning_that_the_total_shows_to_be_beside_the_completion_is_output() -> None:
    # the example of xAI's documentation: 32 + 9 + 94 = 135
    xai = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    assert parse_usage(xai).output == 103
    assert parse_usage({**xai, "completion_tokens": 103}).output == 103


def test_zeros_in_the_names_of_another_shape_do_not_hide_the_counts() -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "input_tokens": 0, "output_tokens": 0}
    assert parse_usage(usage) == TokenUsage(50, None, None, 7)
    assert parse_usage({"input_tokens": 0, "output_tokens": 0}) == TokenUsage(0, None, None, 0)


def test_cached_tokens_that_exceed_the_input_are_taken_as_beside_it() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 150}}
    assert parse_usage(usage) == TokenUsage(100, 150, None, 1)


def test_cached_tokens_are_kept_where_the_input_was_not_reported() -> None:
    assert parse_usage({"prompt_tokens": None, "completion_tokens": 1, "cached_tokens": 3}) == TokenUsage(
        None, 3, None, 1
    )
    assert parse_usage({"cache_read_tokens": 3}) == TokenUsage(None, 3, None, None)


@pytest.mark.parametrize(
    "usage", [None, {}, [], "input_tokens", 7, object(), {"tokens": 5}, {"input_tokens": None}, MagicMock(), TokenUsage]
)
def test_an_unknown_shape_is_unknown_and_not_zero(usage: object) -> None:
    assert parse_usage(usage) == UNKNOWN


def test_an_object_that_raises_is_unknown() -> None:
    class Broken:
        @property
        def input_tokens(self) -> int:
            raise RuntimeError("stream is closed")

    assert parse_usage(Broken()) == UNKNOWN


BAD_COUNTS = [-1, True, math.nan, math.inf, 1.5, MAX_COUNT + 1, 10**30, "12", b"12", [], {}, Decimal(3), 1j]


@pytest.mark.parametrize("count", BAD_COUNTS, ids=repr)
def test_a_count_that_cannot_be_makes_the_usage_unknown(count: object) -> None:
    for usage in (
        {"input_tokens": count, "output_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": count},
        {"input_tokens": 5, "output_tokens": 5, "cache_read_input_tokens": count},
        TokenUsage(5, count, None, 5),  # type: ignore[arg-type]
    ):
        assert parse_usage(usage) == UNKNOWN


def test_the_first_unknown_usage_of_a_kind_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usage_module, "_logged", set())
    for _ in range(3):
        parse_usage({"tokens": 5})
        parse_usage({"input_tokens": -1, "output_tokens": 5})
        parse_usage({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 99})
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "token usage of an unknown shape (keys tokens)",
        "token usage with an invalid count: input_tokens is -1",
        "token usage whose kinds do not add up to the total (OpenAI chat completions)",
    ]


def test_whole_floats_and_other_integers_are_counts() -> None:
    numpy = pytest.importorskip("numpy")
    read = parse_usage({"input_tokens": 12.0, "output_tokens": numpy.int64(3)})
    assert read == TokenUsage(12, None, None, 3)
    assert [type(count) for count in read if count is not None] == [int, int]


def test_tokens_are_read_as_they_are() -> None:
    assert parse_usage(TokenUsage(1, None, 3, 4)) == TokenUsage(1, None, 3, 4)


counts = st.integers(0, 10**6)


@given(fresh=counts, cache_read=counts, cache_write=counts, output=counts)
def test_every_shape_of_one_call_gives_the_same_tokens(
    fresh: int, cache_read: int, cache_write: int, output: int
) -> None:
    everything = fresh + cache_read + cache_write
    expected = TokenUsage(fresh, cache_read, cache_write, output)
    inside = {"cached_tokens": cache_read, "cache_write_tokens": cache_write}
    shapes: list[dict[str, Any]] = [
        {
            "input_tokens": fresh,
            "cache_read_input_tokens": cache_read,
            "cache_creation_input_tokens": cache_write,
            "output_tokens": output,
        },
        {"prompt_tokens": everything, "completion_tokens": output, "prompt_tokens_details": inside},
        {"input_tokens": everything, "output_tokens": output, "input_tokens_details": inside},
        {
            "gen_ai.usage.input_tokens": everything,
            "gen_ai.usage.cache_read.input_tokens": cache_read,
            "gen_ai.usage.cache_creation.input_tokens": cache_write,
            "gen_ai.usage.output_tokens": output,
        },
        {
            "inputTokens": fresh,
            "cacheReadInputTokens": cache_read,
            "cacheWriteInputTokens": cache_write,
            "outputTokens": output,
        },
        dict(zip(("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"), expected, strict=True)),
    ]
    assert [parse_usage(shape) for shape in shapes] == [expected] * len(shapes)


@given(fresh=counts, cache_read=counts, cache_write=counts, output=counts, thoughts=counts)
def test_responses_are_read_as_genai_prices_reads_them(
    fresh: int, cache_read: int, cache_write: int, output: int, thoughts: int
) -> None:
    everything = fresh + cache_read
    responses: list[tuple[str, str, dict[str, Any]]] = [
        (
            "anthropic",
            "default",
            {
                "model": "claude-sonnet-4-5",
                "usage": {
                    **ANTHROPIC,
                    "input_tokens": fresh,
                    "cache_read_input_tokens": cache_read,
                    "cache_creation_input_tokens": cache_write,
                    "cache_creation": {"ephemeral_5m_input_tokens": cache_write},
                    "output_tokens": output,
                },
            },
        ),
        (
            "openai",
            "chat",
            {
                "model": "gpt-5.1",
                "usage": {
                    "prompt_tokens": everything,
                    "prompt_tokens_details": {"cached_tokens": cache_read},
                    "completion_tokens": output,
                },
            },
        ),
        (
            "openai",
            "responses",
            {
                "model": "gpt-5.1",
                "usage": {
                    "input_tokens": everything,
                    "input_tokens_details": {"cached_tokens": cache_read},
                    "output_tokens": output,
                },
            },
        ),
        (
            "google",
            "default",
            {
                "modelVersion": "gemini-2.5-pro",
                "usageMetadata": {
                    "promptTokenCount": everything,
                    "cachedContentTokenCount": cache_read,
                    "candidatesTokenCount": output,
                    "thoughtsTokenCount": thoughts,
                },
            },
        ),
    ]
    for provider, flavor, response in responses:
        theirs = extract_usage(response, provider_id=provider, api_flavor=flavor).usage
        read = parse_usage(response.get("usage") or response["usageMetadata"])
        # theirs counts all input, cached too
        assert sum(count or 0 for count in read[:3]) == theirs.reported_value("input_tokens"), provider
        assert (read.cache_read or 0) == theirs.reported_value("cache_read_tokens"), provider
        assert (read.cache_write or 0) == theirs.reported_value("cache_write_tokens"), provider
        assert read.output == theirs.reported_value("output_tokens"), provider


anything: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "12", "x"]),
    st.just({"cached_tokens": -3}),
)
names = st.sampled_from(
    sorted({name for example in EXAMPLES for name in example.values[0]} | OPENTELEMETRY.keys())  # type: ignore[union-attr]
)


@given(st.dictionaries(names, anything))
def test_no_usage_raises_or_gives_a_count_that_cannot_be(usage: dict[str, object]) -> None:
    read = parse_usage(usage)
    assert all(count is None or (type(count) is int and 0 <= count <= 3 * MAX_COUNT) for count in read)


@given(
    *(st.integers(1, 1000) for _ in range(4)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["chat", "responses", "inspect", "gemini", "xai"]),
)
def test_the_total_decides_what_is_inside_and_what_beside(
    fresh: int, cached: int, output: int, reasoning: int, cached_inside: bool, reasoning_inside: bool, shape: str
) -> None:
    given_input = fresh + cached if cached_inside else fresh
    given_output = output + reasoning if reasoning_inside else output
    total = fresh + cached + output + reasoning
    usages: dict[str, dict[str, Any]] = {
        "chat": {
            "prompt_tokens": given_input,
            "completion_tokens": given_output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": total,
        },
        "responses": {
            "input_tokens": given_input,
            "output_tokens": given_output,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": total,
        },
        "inspect": {
            "input_tokens": given_input,
            "output_tokens": given_output,
            "input_tokens_cache_read": cached,
            "reasoning_tokens": reasoning,
            "total_tokens": total,
        },
        "gemini": {
            "promptTokenCount": given_input,
            "candidatesTokenCount": given_output,
            "cachedContentTokenCount": cached,
            "thoughtsTokenCount": reasoning,
            "totalTokenCount": total,
        },
        "xai": {
            "prompt_tokens": given_input,
            "completion_tokens": given_output,
            "cached_prompt_text_tokens": cached,
            "reasoning_tokens": reasoning,
            "total_tokens": total,
        },
    }
    read = parse_usage(usages[shape])
    assert sum(count or 0 for count in read) == total
    if cached != reasoning:  # else another reading has the same sum
        assert read == TokenUsage(fresh, cached, None, output + reasoning)


@given(*(st.integers(0, 50) for _ in range(5)))
def test_whatever_is_known_adds_up_to_the_total(
    prompt: int, cached: int, output: int, reasoning: int, total: int
) -> None:
    read = parse_usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": total,
        }
    )
    if read.input is not None and total:
        assert sum(count or 0 for count in read) == total


def test_a_stated_cost_is_known_where_the_kinds_do_not_add_up() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 99, "cost": 0.25, "is_byok": False}
    assert parse_call(usage) == CallUsage(cost_usd=0.25)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.5}, 0.5),
        ({"cost": 0, "is_byok": False}, 0.0),
        ({"cost": 0}, None),  # a tool writes it for a model that it does not know
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0.01, "is_byok": True}, None),
        ({"cost": {"total_cost": 0.75}}, 0.75),
        ({"cost_in_usd_ticks": 25_000_000}, 0.0025),
        ({"total_cost": 1.5}, 1.5),
        ({"total_cost_usd": 1.2}, 1.2),
        ({"response_cost": 0.3}, 0.3),
        ({"gen_ai.usage.total_cost": 0.4}, 0.4),
        ({"cost_usd": -1}, None),
        ({"cost": True}, None),
        ({"cost": "free"}, None),
    ],
)
def test_stated_costs_are_read_by_each_name(usage: dict[str, Any], usd: float | None) -> None:
    read = parse_call({"prompt_tokens": 10, "completion_tokens": 5, **usage})
    assert read.cost_usd == pytest.approx(usd)
    assert read.tokens == TokenUsage(10, None, None, 5)


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": "Priority"}, "priority"),
        ({"service_tier": "default"}, None),
        ({"service_tier": "standard"}, None),
        ({"serviceTier": {"type": "flex"}}, "flex"),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"service_tier": 7}, None),
        ({"serviceTier": "SERVICE_TIER_FLEX"}, "flex"),
        ({"openai.response.service_tier": "flex", "openai.request.service_tier": "auto"}, "flex"),
        ({"openai.request.service_tier": "flex"}, "flex"),
        ({"openai.request.service_tier": "priority"}, "priority (requested)"),  # it may have been served as default
        ({"openai.request.service_tier": "auto"}, None),
        ({"gen_ai.openai.response.service_tier": "default", "gen_ai.openai.request.service_tier": "priority"}, None),
    ],
)
def test_a_service_tier_is_read_by_each_name(usage: dict[str, Any], tier: str | None) -> None:
    assert parse_call({"inputTokens": 10, "outputTokens": 5, **usage}).service_tier == tier


def test_every_name_that_a_modifier_is_read_from_is_listed() -> None:
    asked: set[str] = set()

    class Recorder(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    plain = {"input_tokens": 1, "output_tokens": 1}
    parse_call(Recorder(plain))
    known = set(asked)
    for cost in ({}, {"cost": 1.0}, {"cost": {"total_cost": 1.0}}):
        parse_call(Recorder({**plain, "speed": "fast", **cost}))
    assert {"service_tier", "speed", "is_byok", "operation.cost"} <= asked - known <= MODIFIERS


def test_sums_say_how_many_calls_they_stand_for() -> None:
    agents = {"requests": 2, "input_tokens": 30, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 1}}
    entries = [{"input_tokens": 10, "output_tokens": 2}, {"input_tokens": 20, "output_tokens": 3}]
    assert parse_call(agents).requests == 2
    with_cached = [{**entry, "input_tokens_details": {"cached_tokens": i}} for i, entry in enumerate(entries)]
    calls = parse_call({**agents, "request_usage_entries": with_cached}).calls
    assert [call.tokens for call in calls] == [TokenUsage(10, 0, None, 2), TokenUsage(19, 1, None, 3)]
    # entries that are not the whole of the sum are not used
    assert parse_call({**agents, "request_usage_entries": entries}).calls == ()
    assert parse_call({**agents, "request_usage_entries": with_cached[:1]}).calls == ()
    assert parse_call({"n_input_tokens": 5, "n_output_tokens": 1}).requests == 0


def test_the_fields_of_an_event_are_those_that_are_reported() -> None:
    assert UNKNOWN_CALL.as_fields() == dict.fromkeys(
        ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    )
    usage = {**ANTHROPIC, "service_tier": "batch", "server_tool_use": {"web_search_requests": 2}}
    assert parse_call(usage).as_fields() == {
        "input_tokens": 21,
        "cache_read_tokens": 1800,
        "cache_write_tokens": 248,
        "output_tokens": 503,
        "cache_write_1h_tokens": 0,
        "server_tools": {"web_search": 2},
        "batch": True,
    }
