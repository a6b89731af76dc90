"""Costs: usage objects in every known shape, and how many of them are priced to the cent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from benchmarks.rows import Row
from evalgauge.pricing import Price, PriceTable
from evalgauge.usage import parse_call

AT = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()


class Shape(NamedTuple):
    """A usage object, and what it costs by hand."""

    name: str
    provider: str
    model: str
    usage: dict[str, Any]
    usd_per_million: float | None
    """US dollars times a million: the sum of tokens × USD per million tokens; None: not known, by rule."""
    state: str = "priced"


def sonnet(fresh: int, cache_read: int, cache_write: int, output: int, cache_write_1h: int = 0) -> float:
    """Return the price of a call of claude-sonnet-4-5."""
    return 3 * fresh + 0.3 * cache_read + 3.75 * cache_write + 6 * cache_write_1h + 15 * output


def gpt(fresh: int, cache_read: int, output: int) -> float:
    """Return the price of a call of gpt-5.1."""
    return 1.25 * fresh + 0.125 * cache_read + 10 * output


def gemini(fresh: int, cache_read: int, output: int) -> float:
    """Return the price of a call of gemini-2.5-pro below 200,000 tokens."""
    return 1.25 * fresh + 0.125 * cache_read + 10 * output


def grok(fresh: int, cache_read: int, output: int) -> float:
    """Return the price of a call of grok-4."""
    return 3 * fresh + 0.75 * cache_read + 15 * output


_CHAT = {"prompt_tokens": 3000, "completion_tokens": 400, "total_tokens": 3400}
_CACHED = {**_CHAT, "prompt_tokens_details": {"cached_tokens": 2000}}
_ANTHROPIC = {
    "input_tokens": 30,
    "cache_read_input_tokens": 4000,
    "cache_creation_input_tokens": 500,
    "output_tokens": 200,
}
SHAPES = (
    Shape("Anthropic", "anthropic", "claude-sonnet-4-5", _ANTHROPIC, sonnet(30, 4000, 500, 200)),
    Shape(
        "Anthropic, both lifetimes of cache writes",
        "anthropic",
        "claude-sonnet-4-5",
        {**_ANTHROPIC, "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200}},
        sonnet(30, 4000, 300, 200, 200),
    ),
    Shape(
        "Anthropic, web searches",
        "anthropic",
        "claude-sonnet-4-5",
        {**_ANTHROPIC, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5}},
        sonnet(30, 4000, 500, 200) + 2 * 10_000,
    ),
    Shape(
        "Anthropic, fast mode",
        "anthropic",
        "claude-opus-4-8",
        {"input_tokens": 900, "output_tokens": 70, "speed": "fast"},
        10 * 900 + 50 * 70,
    ),
    Shape(
        "Anthropic, regional inference",
        "anthropic",
        "claude-opus-4-8",
        {"input_tokens": 900, "output_tokens": 70, "inference_geo": "us"},
        None,
        "unpriced",
    ),
    Shape(
        "Anthropic, priority tier",
        "anthropic",
        "claude-sonnet-4-5",
        {**_ANTHROPIC, "service_tier": "priority"},
        None,
        "unpriced",
    ),
    Shape(
        "Claude Agent SDK",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "inputTokens": 7,
            "outputTokens": 90,
            "cacheReadInputTokens": 9000,
            "cacheCreationInputTokens": 1100,
            "webSearchRequests": 1,
            "costUSD": 0.5,
        },
        sonnet(7, 9000, 1100, 90) + 10_000,
    ),
    Shape("OpenAI chat", "openai", "gpt-5.1", _CACHED, gpt(1000, 2000, 400)),
    Shape("Azure", "azureai", "gpt-5.1", _CACHED, gpt(1000, 2000, 400)),
    Shape("Inspect's openai/azure", "openai", "azure/gpt-5.1", _CACHED, gpt(1000, 2000, 400)),
    Shape(
        "OpenAI chat, flex",
        "openai",
        "gpt-5.1",
        {**_CACHED, "service_tier": "flex"},
        gpt(1000, 2000, 400) / 2,
    ),
    Shape(
        "OpenAI chat, priority",
        "openai",
        "gpt-5.1",
        {**_CACHED, "service_tier": "priority"},
        gpt(1000, 2000, 400) * 2,
    ),
    Shape("OpenAI chat, batch", "openai", "gpt-5.1", {**_CACHED, "service_tier": "batch"}, gpt(1000, 2000, 400) / 2),
    Shape(
        "OpenAI responses",
        "openai",
        "gpt-5.1",
        {
            "input_tokens": 3000,
            "input_tokens_details": {"cached_tokens": 2000},
            "output_tokens": 400,
            "output_tokens_details": {"reasoning_tokens": 128},
            "total_tokens": 3400,
        },
        gpt(1000, 2000, 400),
    ),
    Shape(
        "OpenAI Agents, two calls below a tier",
        "openai",
        "gpt-5.4",
        {
            "requests": 2,
            "input_tokens": 400_000,
            "output_tokens": 60,
            "total_tokens": 400_060,
            "input_tokens_details": {"cached_tokens": 0},
            "request_usage_entries": [
                {"input_tokens": 200_000, "output_tokens": 30, "total_tokens": 200_030},
                {"input_tokens": 200_000, "output_tokens": 30, "total_tokens": 200_030},
            ],
        },
        2.5 * 400_000 + 15 * 60,
    ),
    Shape(
        "OpenAI Agents, one of two calls above a tier",
        "openai",
        "gpt-5.4",
        {
            "requests": 2,
            "input_tokens": 400_000,
            "output_tokens": 60,
            "total_tokens": 400_060,
            "input_tokens_details": {"cached_tokens": 0},
            "request_usage_entries": [
                {"input_tokens": 300_000, "output_tokens": 30, "total_tokens": 300_030},
                {"input_tokens": 100_000, "output_tokens": 30, "total_tokens": 100_030},
            ],
        },
        5 * 300_000 + 22.5 * 30 + 2.5 * 100_000 + 15 * 30,
    ),
    Shape(
        "Codex",
        "openai",
        "gpt-5.1",
        {"input_tokens": 3000, "cached_input_tokens": 2000, "output_tokens": 400, "reasoning_output_tokens": 50},
        gpt(1000, 2000, 400),
    ),
    Shape(
        "LangChain, flex",
        "openai",
        "gpt-5.1",
        {
            "input_tokens": 3000,
            "output_tokens": 400,
            "total_tokens": 3400,
            "input_token_details": {"flex_cache_read": 2000, "flex": 1000},
            "output_token_details": {"flex_reasoning": 100, "flex": 300},
        },
        gpt(1000, 2000, 400) / 2,
    ),
    Shape(
        "LangChain, Anthropic",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "input_tokens": 4530,
            "output_tokens": 200,
            "total_tokens": 4730,
            "input_token_details": {"cache_read": 4000, "cache_creation": 0, "ephemeral_1h_input_tokens": 500},
        },
        sonnet(30, 4000, 0, 200, 500),
    ),
    Shape(
        "AI SDK 5",
        "openai",
        "gpt-5.1",
        {
            "inputTokens": 3000,
            "outputTokens": 400,
            "totalTokens": 3400,
            "cachedInputTokens": 2000,
            "reasoningTokens": 9,
        },
        gpt(1000, 2000, 400),
    ),
    Shape(
        "AI SDK 6",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "inputTokens": 4530,
            "outputTokens": 200,
            "totalTokens": 4730,
            "inputTokenDetails": {"noCacheTokens": 30, "cacheReadTokens": 4000, "cacheWriteTokens": 500},
            "outputTokenDetails": {"textTokens": 200, "reasoningTokens": 0},
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape(
        "Pydantic AI RunUsage",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "requests": 3,
            "tool_calls": 2,
            "input_tokens": 4530,
            "cache_write_tokens": 500,
            "cache_read_tokens": 4000,
            "output_tokens": 200,
            "input_audio_tokens": 0,
            "cache_audio_read_tokens": 0,
            "output_audio_tokens": 0,
            "details": {},
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape(
        "Pydantic AI's spans",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "gen_ai.usage.input_tokens": 4530,
            "gen_ai.usage.output_tokens": 200,
            "gen_ai.usage.details.cache_read_tokens": 4000,
            "gen_ai.usage.details.cache_write_tokens": 500,
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape(
        "OpenTelemetry",
        "openai",
        "gpt-5.1",
        {
            "gen_ai.usage.input_tokens": 3000,
            "gen_ai.usage.cache_read.input_tokens": 2000,
            "gen_ai.usage.output_tokens": 400,
        },
        gpt(1000, 2000, 400),
    ),
    Shape(
        "Gemini",
        "google",
        "gemini-2.5-pro",
        {
            "promptTokenCount": 3000,
            "cachedContentTokenCount": 2000,
            "candidatesTokenCount": 100,
            "thoughtsTokenCount": 300,
            "toolUsePromptTokenCount": 50,
            "totalTokenCount": 3450,
        },
        gemini(1050, 2000, 400),
    ),
    Shape(
        "Gemini, audio in the input",
        "google",
        "gemini-2.5-flash",
        {
            "promptTokenCount": 1000,
            "candidatesTokenCount": 10,
            "totalTokenCount": 1010,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 200},
                {"modality": "AUDIO", "tokenCount": 800},
            ],
        },
        1 * 800 + 0.3 * 200 + 2.5 * 10,
    ),
    Shape(
        "Gemini, cached audio",
        "google",
        "gemini-2.5-flash",
        {
            "prompt_token_count": 1000,
            "cached_content_token_count": 500,
            "candidates_token_count": 10,
            "total_token_count": 1010,
            "prompt_tokens_details": [
                {"modality": "TEXT", "token_count": 200},
                {"modality": "AUDIO", "token_count": 800},
            ],
            "cache_tokens_details": [{"modality": "AUDIO", "token_count": 500}],
        },
        1 * 300 + 0.1 * 500 + 0.3 * 200 + 2.5 * 10,
    ),
    Shape(
        "Gemini, cached tokens of an unknown modality",
        "google",
        "gemini-2.5-flash",
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 500,
            "candidatesTokenCount": 10,
            "totalTokenCount": 1010,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 800}],
        },
        None,
        "unpriced",
    ),
    Shape(
        "Gemini, an image in the output",
        "google",
        "gemini-2.5-flash-image",
        {
            "promptTokenCount": 40,
            "candidatesTokenCount": 1300,
            "totalTokenCount": 1340,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
        },
        0.3 * 40 + 30 * 1290 + 2.5 * 10,
    ),
    Shape(
        "Gemini Interactions",
        "google",
        "gemini-2.5-pro",
        {
            "total_input_tokens": 3000,
            "total_cached_tokens": 2000,
            "total_output_tokens": 100,
            "total_thought_tokens": 300,
            "total_tool_use_tokens": 0,
            "total_tokens": 3400,
        },
        gemini(1000, 2000, 400),
    ),
    Shape(
        "Gemini behind OpenAI's shape",
        "google",
        "gemini-2.5-pro",
        {"prompt_tokens": 3000, "completion_tokens": 100, "total_tokens": 3400},
        gemini(3000, 0, 400),
    ),
    Shape(
        "Bedrock Converse",
        "aws.bedrock",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        {
            "inputTokens": 30,
            "outputTokens": 200,
            "totalTokens": 4730,
            "cacheReadInputTokens": 4000,
            "cacheWriteInputTokens": 500,
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape(
        "Bedrock Converse, a region",
        "anthropic",
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        {"inputTokens": 30, "outputTokens": 200, "totalTokens": 230},
        sonnet(30, 0, 0, 200) * 1.1,
    ),
    Shape(
        "Bedrock's stream metrics",
        "aws.bedrock",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        {
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 30,
                "outputTokenCount": 200,
                "cacheReadInputTokenCount": 4000,
                "cacheWriteInputTokenCount": 500,
                "invocationLatency": 900,
            }
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape(
        "xAI SDK",
        "grok",
        "grok-4",
        {
            "prompt_tokens": 320,
            "cached_prompt_text_tokens": 60,
            "completion_tokens": 90,
            "reasoning_tokens": 940,
            "prompt_text_tokens": 320,
            "prompt_image_tokens": 0,
            "total_tokens": 1350,
        },
        grok(260, 60, 1030),
    ),
    Shape(
        "xAI's API",
        "x-ai",
        "grok-4",
        {
            "prompt_tokens": 320,
            "completion_tokens": 90,
            "total_tokens": 1350,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 940},
        },
        grok(260, 60, 1030),
    ),
    Shape(
        "Inspect, Grok",
        "grok",
        "grok-4",
        {
            "input_tokens": 260,
            "input_tokens_cache_read": 60,
            "output_tokens": 90,
            "reasoning_tokens": 940,
            "total_tokens": 1350,
        },
        grok(260, 60, 1030),
    ),
    Shape(
        "Inspect, cached inside the input",
        "openai",
        "gpt-5.1",
        {"input_tokens": 3000, "input_tokens_cache_read": 2000, "output_tokens": 400, "total_tokens": 3400},
        gpt(1000, 2000, 400),
    ),
    Shape(
        "Inspect, thinking beside the output",
        "google",
        "gemini-2.5-pro",
        {"input_tokens": 3000, "output_tokens": 100, "reasoning_tokens": 300, "total_tokens": 3400},
        gemini(3000, 0, 400),
    ),
    Shape(
        "Harbor",
        "google",
        "gemini-2.5-pro",
        {"n_input_tokens": 900_000, "n_cache_tokens": 300_000, "n_output_tokens": 5_000, "cost_usd": 0.9},
        gemini(600_000, 300_000, 5_000),
    ),
    Shape("Mistral", "mistral", "mistral-large-latest", _CHAT, 2 * 3000 + 6 * 400),
    Shape(
        "Cohere v2",
        "cohere",
        "command-r-plus",
        {"billed_units": {"input_tokens": 500, "output_tokens": 40}, "tokens": {"input_tokens": 900}},
        2.5 * 500 + 10 * 40,
    ),
    Shape(
        "Groq's last chunk",
        "groq",
        "llama-3.3-70b-versatile",
        {"x_groq": {"id": "r", "usage": {"prompt_tokens": 3000, "completion_tokens": 400, "total_tokens": 3400}}},
        0.59 * 3000 + 0.79 * 400,
    ),
    Shape(
        "DeepSeek",
        "deepseek",
        "deepseek-chat",
        {**_CHAT, "prompt_cache_hit_tokens": 2000, "prompt_cache_miss_tokens": 1000},
        0.27 * 1000 + 0.07 * 2000 + 1.1 * 400,
    ),
    Shape(
        "Perplexity",
        "perplexity",
        "sonar-deep-research",
        {
            "prompt_tokens": 100,
            "completion_tokens": 3000,
            "total_tokens": 3100,
            "citation_tokens": 700,
            "num_search_queries": 8,
            "reasoning_tokens": 9000,
        },
        2 * 100 + 8 * 3000 + 3 * 9000 + 2 * 700 + 5_000 * 8,
    ),
    Shape(
        "OpenRouter, a model of no table",
        "openrouter",
        "openrouter/auto",
        {**_CHAT, "cost": 0.0042, "is_byok": False},
        4200,
    ),
    Shape(
        "LiteLLM, Anthropic",
        "anthropic",
        "claude-sonnet-4-5",
        {
            "prompt_tokens": 4530,
            "completion_tokens": 200,
            "total_tokens": 4730,
            "prompt_tokens_details": {"cached_tokens": 4000},
            "cache_read_input_tokens": 4000,
            "cache_creation_input_tokens": 500,
        },
        sonnet(30, 4000, 500, 200),
    ),
    Shape("Ollama", "ollama", "llama3.3", {"prompt_eval_count": 26, "eval_count": 298}, None, "unpriced"),
    Shape("no usage", "openai", "gpt-5.1", {}, None, "unknown_usage"),
    Shape("a negative count", "openai", "gpt-5.1", {**_CHAT, "prompt_tokens": -5}, None, "unknown_usage"),
    Shape("a total that nothing adds up to", "openai", "gpt-5.1", {**_CHAT, "total_tokens": 9}, None, "unknown_usage"),
)


def price_shape(shape: Shape, table: PriceTable) -> Price:
    """Return the price of a shape at ``AT``."""
    usage = parse_call(shape.usage, provider=shape.provider, model=shape.model)
    return table.price(shape.provider, shape.model, usage, at=AT)


def rows() -> Iterator[Row]:
    """Yield how many of the shapes are priced to the cent, and the others by rule."""
    table = PriceTable()
    prices = [(shape, price_shape(shape, table)) for shape in SHAPES]
    exact = [shape for shape, price in prices if shape.usd_per_million is not None]
    right = [
        shape
        for shape, price in prices
        if shape.usd_per_million is not None
        and price.usd is not None
        and abs(price.usd - Decimal(str(shape.usd_per_million)) / 1_000_000) < Decimal("1e-9")
    ]
    yield Row("priced to the cent", str(len(right)), f"{len(exact)} by hand", len(right) / len(exact), "1.00")
    for state in ("unpriced", "unknown_usage"):
        ruled = [(shape, price) for shape, price in prices if shape.state == state]
        held = sum(price.state == state for _, price in ruled)
        yield Row(f"{state} by rule", str(held), f"{len(ruled)}", held / len(ruled), "1.00")
    priced = sum(price.state == "priced" for _, price in prices)
    yield Row("shapes priced", str(priced), f"{len(SHAPES)} tried", priced / len(SHAPES), "–")
