"""The shapes of usage objects, each recognised by marks of its own.

| shape | recognised by | cached tokens | reasoning |
|---|---|---|---|
| OpenTelemetry (also Pydantic AI, Traceloop, Sentry) | ``gen_ai.usage.…`` | inside input | inside output |
| OpenInference attributes | ``llm.token_count.…`` | inside | inside |
| Gemini, Vertex: UsageMetadata | ``promptTokenCount``, ``prompt_token_count`` | inside | beside |
| Gemini Interactions | ``total_input_tokens`` | inside | beside |
| Bedrock Converse: TokenUsage | ``inputTokens`` | beside | inside |
| Bedrock InvokeModel and its stream metrics | ``inputTokenCount`` | beside | inside |
| AI SDK: LanguageModelUsage | ``cachedInputTokens``, ``inputTokenDetails``, nested ``inputTokens`` | inside | inside |
| Copilot SDK, Cursor, Grok CLI | ``cacheReadTokens``, ``cachedReadTokens`` | inside | inside |
| Claude Agent SDK: ``model_usage`` | ``cacheCreationInputTokens``, ``costUSD`` | beside | inside |
| OpenAI chat completions: CompletionUsage | ``prompt_tokens`` | inside | inside |
| xAI SDK: SamplingUsage | ``prompt_text_tokens`` with it | inside | beside |
| Perplexity: UsageInfo | ``citation_tokens``, ``num_search_queries`` | – | beside |
| OpenAI responses: ResponseUsage | ``input_tokens_details`` | inside | inside |
| OpenAI Agents: Usage | ``request_usage_entries`` with it | inside | inside |
| Codex: ``codex exec --json`` | ``cached_input_tokens`` | inside | inside |
| LangChain: UsageMetadata; OpenAI realtime | ``input_token_details`` | inside | inside |
| Pydantic AI: RequestUsage, RunUsage | ``cache_audio_read_tokens``, ``details`` | inside | inside |
| Anthropic: Usage | ``cache_read_input_tokens``, ``cache_creation…`` | beside | inside |
| Inspect: ModelUsage | ``input_tokens_cache_read``, ``…_write`` | beside | inside |
| evalgauge's run log | ``cache_read_tokens``, ``cache_write_tokens`` | beside | inside |
| Langfuse: usage details | ``input``, ``output`` | beside | beside |
| Cohere: Usage | ``billed_units`` | – | – |
| Ollama | ``prompt_eval_count`` | – | – |
| Harbor: AgentContext | ``n_input_tokens`` | inside | inside |
| plain | ``input_tokens`` and ``output_tokens`` alone | – | inside |

Azure, Groq, Mistral, DeepSeek, Moonshot, DashScope, OpenRouter, LiteLLM and CrewAI speak OpenAI's shape with names of
their own for cached tokens and costs. Where a count is reported under several names, the larger one stands. Where a
total is reported, it decides between inside and beside (``evalgauge.usage``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral
from typing import Any, Final

from evalgauge.values import parse_non_negative

MAX_COUNT: Final = 10**9
"""Tokens; a larger count of one call is an error."""

STANDARD_TIERS: Final = frozenset({"", "auto", "default", "standard", "on_demand", "on-demand"})
"""Names of the standard service tier."""
STANDARD_REGIONS: Final = frozenset({"", "global", "default", "not_available"})
"""Values of ``inference_geo`` (Anthropic) without a surcharge."""
_GEMINI_TRAFFIC: Final = {"on_demand_flex": "flex", "on_demand_priority": "priority", "traffic_type_unspecified": ""}
_TICKS_PER_USD: Final = 10**10  # xAI API, cost_in_usd_ticks


class InvalidCount(ValueError):
    """A count that cannot be one."""


@dataclass(slots=True)
class Reading:
    """The counts of a usage object as reported, and where its format counts cached and reasoning tokens."""

    shape: str
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    total: int | None = None
    beside_input: int | None = None
    """Input that the format counts apart from the prompt: results of tools (Gemini)."""
    cached_inside: bool = True
    """Whether the format documents cached tokens as part of the input."""
    reasoning_inside: bool = True
    """Whether the format documents reasoning tokens as part of the output."""
    rest_is_reasoning: bool = False
    """Whether what the total has beyond input and output is reasoning."""
    is_gemini: bool = False
    cache_write_1h: int | None = None
    cache_read_audio: int | None = None
    cache_read_image: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    output_image: int | None = None
    requests: int = 1
    cost_usd: float | None = None
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None
    server_tools: dict[str, int] = field(default_factory=dict)
    batch: bool = False
    entries: tuple[object, ...] = ()


class _Fields:
    """Access to the fields of a mapping, a pydantic model or any other object; a missing field is None."""

    __slots__ = ("get", "names")

    def __init__(self, usage: object) -> None:
        self.get: Callable[[str], Any]
        self.names: Collection[Any] | None = None
        """The names of a mapping's fields; None for other objects."""
        if isinstance(usage, Mapping):
            self.get, self.names = usage.get, usage
            return
        fields = getattr(usage, "__dict__", None)
        if fields is not None and hasattr(usage, "__pydantic_extra__"):
            # a pydantic model has its values here, and is slow to report a missing attribute
            extra = usage.__pydantic_extra__
            self.get = {**fields, **extra}.get if extra else fields.get
        else:
            self.get = lambda name: getattr(usage, name, None)

    def count(self, *names: str) -> int | None:
        """Return the first of the counts that is reported. Raises InvalidCount."""
        for name in names:
            value = self.get(name)
            if value is not None:
                if type(value) is int and 0 <= value <= MAX_COUNT:
                    return value
                return parse_count_strictly(value, name)
        return None

    def largest(self, *names: str) -> int | None:
        """Return the largest of the counts that are reported: names of one and the same count. Raises InvalidCount."""
        found: int | None = None
        get = self.get
        for name in names:
            value = get(name)
            if value is not None:
                if type(value) is not int or not 0 <= value <= MAX_COUNT:
                    value = parse_count_strictly(value, name) or 0
                if found is None or value > found:
                    found = value
        return found

    def has(self, *names: str) -> bool:
        for name in names:  # noqa: SIM110 - twice as fast as any()
            if self.get(name) is not None:
                return True
        return False

    def part(self, *names: str) -> _Fields:
        """Return the first nested object that is reported; without one, an empty one."""
        for name in names:
            if value := self.get(name):
                # OpenAI Agents serialises its details as a list of one
                return _Fields(value[0] if isinstance(value, list) else value)
        return _EMPTY

    def text(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            return ""
        if isinstance(value, Mapping):  # Bedrock: {"type": "flex"}
            value = value.get("type")
        value = getattr(value, "value", value)  # an enum
        return value.strip().lower()[:60] if isinstance(value, str) else ""


_EMPTY: Final = _Fields({})


def parse_count_strictly(value: Any, name: str = "count") -> int | None:
    """Parse a count of tokens; None stays None.

    Args:
        value: The count as it was reported.
        name: What is counted, for the message.

    Raises:
        InvalidCount: The value is negative, above ``MAX_COUNT``, not whole, a bool or no number.
    """
    if type(value) is not int:
        if value is None:
            return None
        # JSON and OTLP may turn whole numbers into floats; NumPy's integers are Integral
        whole = value.is_integer() if isinstance(value, float) else isinstance(value, Integral)
        if not whole or isinstance(value, bool):
            raise InvalidCount(f"{name} is {str(value)[:40]!r}")
        value = int(value)
    if not 0 <= value <= MAX_COUNT:
        raise InvalidCount(f"{name} is {str(value)[:40]}")
    return int(value)


def read_shape(usage: object) -> Reading | None:
    """Recognise the shape of a usage object and read it.

    Args:
        usage: An SDK's object, a pydantic model or a mapping.

    Returns:
        The counts as reported; None for an unknown shape.

    Raises:
        InvalidCount: A count cannot be one. An object's own properties may raise anything else.
    """
    fields = _Fields(usage)
    reading = _recognise(fields)
    if reading is None:
        is_response = fields.has("output", "content", "choices", "candidates")  # with tools that are billed, perhaps
        for name in _WRAPPERS[:2] if is_response else _WRAPPERS:
            if (inner := fields.get(name)) is not None:
                reading = read_shape(inner)
                if reading is not None and fields.has("num_turns"):  # the Claude Agent SDK's ResultMessage
                    reading.requests = 0
                break
    if reading is not None:
        _add_modifiers(fields, reading)
    return reading


_WRAPPERS: Final = ("x_groq", "amazon-bedrock-invocationMetrics", "usage", "token_usage")
"""Names of the usage in an object around it: parts of streams, Bedrock's metadata, LangChain's ``llm_output``."""


def _recognise(f: _Fields) -> Reading | None:
    if f.has("billed_units"):
        reading = _read(f.part("billed_units"), Reading("Cohere"), input="input_tokens", output="output_tokens")
        reading.server_tools["search_units"] = f.part("billed_units").count("search_units") or 0
        return reading
    if f.count("input_tokens") or f.count("output_tokens"):
        return _input_tokens(f)
    if f.has("prompt_tokens", "completion_tokens"):
        # some proxies put zeros into the other shape's names, so zeros do not decide
        return _chat(f)
    if f.has("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
        return _input_tokens(f)
    for names in (_GEMINI, _GEMINI_SNAKE):
        if f.has(names["prompt"], names["candidates"], names["response"]):
            return _gemini(f, names)
    if isinstance(f.get("input"), int) and f.has("output", "total"):
        return _langfuse(f)
    if f.has("total_input_tokens", "total_output_tokens"):
        return _interactions(f)
    if f.has("inputTokens", "outputTokens", "promptTokens", "completionTokens"):
        return _camel_case(f)
    if f.has("inputTokenCount", "outputTokenCount"):
        return _read(
            f,
            Reading("Bedrock InvokeModel", cached_inside=False),
            input="inputTokenCount",
            output="outputTokenCount",
            cache_read="cacheReadInputTokenCount",
            cache_write="cacheWriteInputTokenCount",
        )
    if f.has("prompt_eval_count", "eval_count"):
        return _read(f, Reading("Ollama"), input="prompt_eval_count", output="eval_count")
    if f.has("n_input_tokens", "n_output_tokens"):
        names = {"input": "n_input_tokens", "output": "n_output_tokens", "cache_read": "n_cache_tokens"}
        return _read(f, Reading("Harbor", requests=0), **names)
    if f.has("request_tokens", "response_tokens"):
        reading = _read(
            f,
            Reading("Pydantic AI before 0.7", requests=_requests(f)),
            input="request_tokens",
            output="response_tokens",
            total="total_tokens",
        )
        return _read(f.part("details"), reading, cache_read=_CACHE_READ, reasoning=_REASONING)
    return _opentelemetry(f)


def _read(f: _Fields, reading: Reading, **names: str | tuple[str, ...]) -> Reading:
    """Set fields of ``reading`` to counts, each by its name in the usage, or to the largest under several names."""
    for field_name, name in names.items():
        setattr(reading, field_name, f.count(name) if isinstance(name, str) else f.largest(*name))
    return reading


def _requests(f: _Fields) -> int:
    found = f.count("requests", "successful_requests")
    return 1 if found is None else found


_CACHE_READ: Final = (
    "cached_tokens",  # Moonshot, Together, ATIF
    "cache_read_input_tokens",  # Anthropic, LiteLLM
    "cache_read_tokens",  # Pydantic AI, OpenHands, evalgauge
    "cached_input_tokens",  # Codex
    "input_tokens_cache_read",  # Inspect
    "prompt_cache_hit_tokens",  # DeepSeek
    "num_cached_tokens",  # Mistral
    "cached_prompt_tokens",  # CrewAI
    "prompt_tokens_cached",  # LangChain's callback for OpenAI
)
_CACHE_WRITE: Final = (
    "cache_creation_input_tokens",
    "cache_write_tokens",
    "cache_write_input_tokens",
    "input_tokens_cache_write",
    "cache_creation_tokens",
    "cached_write_tokens",  # Envoy's gateway
)
_REASONING: Final = ("reasoning_tokens", "reasoning_output_tokens")


# -- shapes with input_tokens


def _input_tokens(f: _Fields) -> Reading:
    given = f.part("input_tokens_details", "input_token_details", "prompt_tokens_details")
    made = f.part("output_tokens_details", "output_token_details", "completion_tokens_details")
    if given is _EMPTY and f.has(
        "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "iterations"
    ):
        reading = Reading("Codex" if f.has("cached_input_tokens") else "Anthropic")
        reading.cached_inside = reading.shape == "Codex"
    elif given is not _EMPTY or made is not _EMPTY:
        reading = Reading("OpenAI responses")
    elif f.has("input_tokens_cache_read", "input_tokens_cache_write"):
        reading = Reading("Inspect", cached_inside=False)
    elif f.has("cached_input_tokens", "cached_prompt_tokens"):
        reading = Reading("Codex")
    elif f.has("cache_audio_read_tokens") or isinstance(f.get("details"), Mapping):
        reading = Reading("Pydantic AI")
    else:
        reading = Reading("plain", cached_inside=False)
    _read(f, reading, input="input_tokens", output="output_tokens", total="total_tokens")
    _add_parts(f, reading, given, made)
    if reading.shape == "Pydantic AI":
        reading.cache_read_audio = f.count("cache_audio_read_tokens")
        reading.reasoning = f.part("details").count("reasoning_tokens")
        reading.input_audio = _minus(f.count("input_audio_tokens"), reading.cache_read_audio)
        reading.output_audio = f.count("output_audio_tokens")
    elif reading.shape == "Anthropic":
        _add_iterations(f, reading)
    entries = f.get("request_usage_entries")
    if isinstance(entries, list | tuple) and len(entries) == reading.requests:
        reading.entries = tuple(entries)
    return reading


_TIER_DETAILS: Final = (
    ("flex", "flex_cache_read", "flex_reasoning"),
    ("priority", "priority_cache_read", "priority_reasoning"),
)
"""LangChain's details of a service tier: its name, and what was cached and what reasoned in it."""


def _add_parts(f: _Fields, reading: Reading, given: _Fields, made: _Fields) -> None:
    """Add what was cached, written to a cache and reasoned, and the details of input and output."""
    reading.requests = _requests(f)
    reading.cache_read = f.largest(*_CACHE_READ)
    reading.cache_write = f.largest(*_CACHE_WRITE)
    reading.reasoning = f.count(*_REASONING)
    written = f.part("cache_creation")
    if given is not _EMPTY:
        cached = given.largest(*_CACHE_READ, "cache_read", "flex_cache_read", "priority_cache_read")
        reading.cache_read = _larger(reading.cache_read, cached)
        reading.cache_write = _larger(reading.cache_write, given.largest(*_CACHE_WRITE))
        if (creation := given.get("cache_creation")) is not None:
            if isinstance(creation, Mapping):  # DashScope
                written = _Fields(creation)
            else:
                reading.cache_write = _larger(reading.cache_write, given.count("cache_creation"))
        if written is _EMPTY:
            written = given.part("cache_creation_token_details")
        if written is _EMPTY:
            written = given  # LangChain
        modalities = given.part("cached_tokens_details")
        reading.cache_read_audio = modalities.count("audio_tokens")
        reading.cache_read_image = modalities.count("image_tokens")
        reading.input_audio = _minus(given.count("audio_tokens", "audio"), reading.cache_read_audio)
        reading.input_image = _minus(given.count("image_tokens", "image"), reading.cache_read_image)
        if searches := given.count("web_search_requests"):  # LiteLLM
            reading.server_tools["web_search"] = searches
    if made is not _EMPTY:
        reasoned = made.count(
            "reasoning_tokens", "reasoning", "thinking_tokens", "flex_reasoning", "priority_reasoning"
        )
        reading.reasoning = reasoned if reasoned is not None else reading.reasoning
        reading.output_audio = made.count("audio_tokens", "audio")
        reading.output_image = made.count("image_tokens", "image")
    if written is not _EMPTY:
        # the sum may be 0 where writes are counted by their lifetime (LangChain)
        reading.cache_write = _larger(reading.cache_write, _by_lifetime(written))
        reading.cache_write_1h = written.count("ephemeral_1h_input_tokens")
    for tier, cached_in_tier, reasoned_in_tier in _TIER_DETAILS if f.has("input_token_details") else ():
        if given.has(tier, cached_in_tier) or made.has(tier, reasoned_in_tier):
            reading.service_tier = tier


def _add_iterations(f: _Fields, reading: Reading) -> None:
    """Add what Anthropic bills and does not count in a message's own counts."""
    iterations = f.get("iterations")
    for each in map(_Fields, iterations if isinstance(iterations, list) else ()):
        kind = each.get("type")
        if kind == "compaction":  # a long context was summed up
            spent = _input_tokens(each)
            for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h"):
                setattr(reading, name, _plus(getattr(reading, name), getattr(spent, name)))
        elif kind == "advisor_message":  # another model was asked, at its own prices
            reading.server_tools["advisor"] = reading.server_tools.get("advisor", 0) + 1


def _by_lifetime(f: _Fields) -> int | None:
    """Anthropic's cache writes, counted by their lifetime."""
    return _plus(f.count("ephemeral_5m_input_tokens"), f.count("ephemeral_1h_input_tokens"))


def _langfuse(f: _Fields) -> Reading:
    reading = _read(
        f,
        Reading("Langfuse", cached_inside=False, reasoning_inside=False),
        input="input",
        output="output",
        cache_read=(*_CACHE_READ, "input_cached_tokens", "input_cache_read", "cacheRead"),
        cache_write=(*_CACHE_WRITE, "input_cache_creation", "cacheWrite"),
        reasoning=("output_reasoning_tokens", "output_reasoning", "reasoning"),
        total=("total", "totalTokens"),
    )
    return _read(f.part("cache"), reading, cache_read="read", cache_write="write") if f.has("cache") else reading


# -- OpenAI's chat completions, and those who speak it


def _chat(f: _Fields) -> Reading:
    def read(reading: Reading, **names: str) -> Reading:
        return _read(f, reading, input="prompt_tokens", output="completion_tokens", total="total_tokens", **names)

    if f.has("prompt_text_tokens", "cached_prompt_text_tokens"):
        return read(
            Reading("xAI SDK", reasoning_inside=False),
            cache_read="cached_prompt_text_tokens",
            reasoning="reasoning_tokens",
            input_image="prompt_image_tokens",
        )
    if f.has("citation_tokens", "num_search_queries", "search_context_size"):
        reading = read(Reading("Perplexity", reasoning_inside=False), reasoning="reasoning_tokens")
        if reading.total is not None:
            reading.total += reading.reasoning or 0  # reasoning and citations are billed apart, and in no total
        reading.server_tools["web_search"] = f.count("num_search_queries") or 0
        reading.server_tools["citation_tokens"] = f.count("citation_tokens") or 0
        size = f.text("search_context_size")
        if size in ("low", "medium"):  # the fee for a request depends on it, and tables have that of the largest
            reading.server_tools[f"search_context_{size}"] = 1
        return reading
    reading = read(Reading("OpenAI chat completions"))
    given = f.part("prompt_tokens_details", "prompt_token_details", "input_tokens_details")
    _add_parts(f, reading, given, f.part("completion_tokens_details", "output_tokens_details"))
    seconds = parse_non_negative(f.get("prompt_audio_seconds"))
    if seconds:  # Mistral bills them by the second
        reading.server_tools["audio_seconds"] = max(1, round(seconds))
    return reading


# -- Google

_GEMINI: Final = {
    "prompt": "promptTokenCount",
    "cached": "cachedContentTokenCount",
    "candidates": "candidatesTokenCount",
    "response": "responseTokenCount",  # the live API has it in place of candidates
    "generation": "generationTokenCount",  # Llama in Bedrock InvokeModel
    "thoughts": "thoughtsTokenCount",
    "tool_results": "toolUsePromptTokenCount",
    "total": "totalTokenCount",
    "prompt_details": "promptTokensDetails",
    "cache_details": "cacheTokensDetails",
    "candidates_details": "candidatesTokensDetails",
    "response_details": "responseTokensDetails",
    "count": "tokenCount",
}
_GEMINI_SNAKE: Final = {
    key: "".join(f"_{char.lower()}" if char.isupper() else char for char in name) for key, name in _GEMINI.items()
}


def _gemini(f: _Fields, names: Mapping[str, str]) -> Reading:
    """Gemini: the prompt includes the cached content; thoughts and the results of tools are counted beside the rest."""
    reading = _read(
        f,
        Reading("Gemini", reasoning_inside=False, is_gemini=True),
        input=names["prompt"],
        output=(names["candidates"], names["response"], names["generation"]),
        cache_read=names["cached"],
        reasoning=names["thoughts"],
        beside_input=names["tool_results"],
        total=names["total"],
    )
    given = _by_modality(f.get(names["prompt_details"]), names["count"])
    cached = _by_modality(f.get(names["cache_details"]), names["count"])
    made = _by_modality(f.get(names["candidates_details"]) or f.get(names["response_details"]), names["count"])
    _set_modalities(reading, given, cached, made)
    return reading


def _interactions(f: _Fields) -> Reading:
    reading = _read(
        f,
        Reading("Gemini Interactions", reasoning_inside=False, is_gemini=True),
        input="total_input_tokens",
        output="total_output_tokens",
        cache_read="total_cached_tokens",
        reasoning="total_thought_tokens",
        beside_input="total_tool_use_tokens",
        total="total_tokens",
    )
    kinds = ("input_tokens_by_modality", "cached_tokens_by_modality", "output_tokens_by_modality")
    given, cached, made = (_by_modality(f.get(kind), "tokens") for kind in kinds)
    _set_modalities(reading, given, cached, made)
    return reading


def _by_modality(rows: object, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in map(_Fields, rows if isinstance(rows, list | tuple) else ()):
        modality = row.text("modality")
        found[modality] = found.get(modality, 0) + (row.count(name) or 0)
    return found


def _set_modalities(reading: Reading, given: dict[str, int], cached: dict[str, int], made: dict[str, int]) -> None:
    for name, modalities in (("audio", ("audio",)), ("image", ("image", "video", "document"))):  # billed alike
        used, from_cache = (sum(counts.get(modality, 0) for modality in modalities) for counts in (given, cached))
        if used:
            part = from_cache if cached or not reading.cache_read else None
            setattr(reading, f"cache_read_{name}", part)
            setattr(reading, f"input_{name}", _minus(used, part))
        if made:
            setattr(reading, f"output_{name}", sum(made.get(modality, 0) for modality in modalities))


# -- shapes with inputTokens


_CAMEL_READ: Final = ("cachedInputTokens", "cacheReadTokens", "cachedReadTokens", "cachedTokens")


def _camel_case(f: _Fields) -> Reading:
    if isinstance(f.get("inputTokens"), Mapping):  # providers of the AI SDK since version 6
        given, made = f.part("inputTokens"), f.part("outputTokens")
        reading = _read(given, Reading("AI SDK"), input="total", cache_read="cacheRead", cache_write="cacheWrite")
        return _read(made, reading, output="total", reasoning="reasoning")
    if f.has(
        *_CAMEL_READ, "cacheWriteTokens", "reasoningTokens", "inputTokenDetails", "promptTokens", "completionTokens"
    ):
        reading = _read(
            f,
            Reading("AI SDK"),
            input=("inputTokens", "promptTokens"),
            output=("outputTokens", "completionTokens"),
            cache_read=_CAMEL_READ,
            cache_write=("cacheWriteTokens", "cacheCreationTokens"),
            reasoning="reasoningTokens",
            total="totalTokens",
        )
        reading.cached_inside = not f.has("cacheCreationTokens")  # ccusage
        given = f.part("inputTokenDetails", "promptTokensDetails", "inputTokensDetails")
        if given is not _EMPTY:
            reading.shape = "AI SDK since version 6"
            reading.cache_read = _larger(reading.cache_read, given.largest(*_CAMEL_READ))
            reading.cache_write = _larger(reading.cache_write, given.count("cacheWriteTokens"))
        made = f.part("outputTokenDetails", "completionTokensDetails", "outputTokensDetails")
        if made is not _EMPTY:
            reading.reasoning = _larger(reading.reasoning, made.count("reasoningTokens"))
        return reading
    if f.has("cacheCreationInputTokens", "costUSD", "webSearchRequests"):
        return _read(
            f,
            Reading("Claude Agent SDK", cached_inside=False, requests=0),  # the calls of a whole query
            input="inputTokens",
            output="outputTokens",
            cache_read="cacheReadInputTokens",
            cache_write="cacheCreationInputTokens",
        )
    reading = _read(
        f,
        Reading("Bedrock Converse", cached_inside=False),
        input="inputTokens",
        output="outputTokens",
        cache_read=("cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write=("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        total="totalTokens",
    )
    written = f.get("cacheDetails")
    if isinstance(written, list):
        rows = [_Fields(row) for row in written]
        reading.cache_write_1h = _plus(*(row.count("inputTokens") for row in rows if row.get("ttl") == "1h"))
    return reading


# -- OpenTelemetry

_SPAN: Final[dict[str, tuple[str, ...]]] = {
    "input": ("input_tokens", "prompt_tokens"),
    "output": ("output_tokens", "completion_tokens"),
    "cache_read": (
        "cache_read.input_tokens",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "cached_input_tokens",
        "cached_tokens",
        "details.cache_read_tokens",
        "details.cache_read_input_tokens",
        "details.cached_tokens",
        "input_tokens.cached",
    ),
    "cache_write": (
        "cache_creation.input_tokens",
        "cache_write.input_tokens",
        "cache_creation_input_tokens",
        "cache_write_input_tokens",
        "cache_write_tokens",
        "details.cache_write_tokens",
        "details.cache_creation_input_tokens",
        "input_tokens.cache_write",
    ),
    "reasoning": (
        "reasoning.output_tokens",
        "reasoning_tokens",
        "details.reasoning_tokens",
        "details.thinking_tokens",
        "output_tokens.reasoning",
    ),
    "cache_read_audio": ("details.cache_audio_read_tokens",),
    "input_audio": ("details.input_audio_tokens", "input_audio_tokens"),
    "output_audio": ("details.output_audio_tokens", "output_audio_tokens"),
    "total": ("total_tokens",),
}
"""Attributes of spans, without their prefix, by the fields of ``Reading``."""
_SPAN_NAMES: Final = {kind: tuple(f"gen_ai.usage.{name}" for name in names) for kind, names in _SPAN.items()}
_SPAN_NAMES["cache_read"] += ("ai.usage.cachedInputTokens", "ai.usage.inputTokenDetails.cacheReadTokens")
_SPAN_NAMES["cache_write"] += ("ai.usage.inputTokenDetails.cacheWriteTokens",)
_SPAN_NAMES["total"] += ("llm.usage.total_tokens",)
_OPENINFERENCE: Final = {
    "input": "llm.token_count.prompt",
    "output": "llm.token_count.completion",
    "cache_read": "llm.token_count.prompt_details.cache_read",
    "cache_write": "llm.token_count.prompt_details.cache_write",
    "reasoning": "llm.token_count.completion_details.reasoning",
    "input_audio": "llm.token_count.prompt_details.audio",
    "output_audio": "llm.token_count.completion_details.audio",
    "total": "llm.token_count.total",
}


def _opentelemetry(f: _Fields) -> Reading | None:
    for shape, names in (("OpenTelemetry", _SPAN_NAMES), ("OpenInference", _OPENINFERENCE)):
        reading = _read(f, Reading(shape), **names)
        if reading.input is not None or reading.output is not None:
            reading.input_audio = _minus(reading.input_audio, reading.cache_read_audio)
            return reading
    return None


# -- modifiers of the price, which any shape may have


_TIERS: Final = (
    "service_tier",
    "serviceTier",
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
)
_REQUESTED_TIERS: Final = ("openai.request.service_tier", "gen_ai.openai.request.service_tier")
_COSTS: Final = (
    "costUSD",
    "total_cost",
    "cost_usd",
    "total_cost_usd",
    "response_cost",
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "gen_ai.cost.total_cost",
    "operation.cost",
    "llm.cost.total",
)
MODIFIERS: Final = frozenset(
    {
        *(*_TIERS, *_REQUESTED_TIERS),
        *("trafficType", "traffic_type", "speed", "inference_geo", "server_tool_use", "webSearchRequests"),
        *("num_sources_used", "server_side_tool_usage_details", "num_server_side_tools_used"),
        *("cost", "cost_details", "is_byok", "cost_in_usd_ticks", *_COSTS),
    }
)
"""The names of all fields that a modifier is read from; most usage objects have none of them."""


_XAI_TOOLS: Final = {
    "web_search_calls": "web_search",
    "x_search_calls": "x_search",
    "code_interpreter_calls": "code_execution",
    "file_search_calls": "file_search",
    "document_search_calls": "document_search",
}
"""xAI's tools that are billed by the piece, by the names of their counts."""


def resolve_requested_tier(tier: str) -> str:
    """Return the service tier of a call that only its request states: one that is better may have been refused."""
    return tier if tier in STANDARD_TIERS or tier == "flex" else f"{tier} (requested)"


def _add_modifiers(f: _Fields, reading: Reading) -> None:
    if f.names is not None and MODIFIERS.isdisjoint(f.names):
        return
    tier = next((found for name in _TIERS if (found := f.text(name))), "").removeprefix("service_tier_")
    if not tier:
        tier = next((resolve_requested_tier(found) for name in _REQUESTED_TIERS if (found := f.text(name))), "")
    if not tier:
        traffic = f.text("trafficType") or f.text("traffic_type")
        tier = _GEMINI_TRAFFIC.get(traffic, traffic)
    if tier == "batch":
        reading.batch = True
    elif tier not in STANDARD_TIERS:
        reading.service_tier = tier
    if (speed := f.text("speed")) not in ("", "standard"):
        reading.speed = speed
    if (region := f.text("inference_geo")) not in STANDARD_REGIONS:
        reading.region = region
    _add_server_tools(f, reading)
    if reading.cost_usd is None:
        reading.cost_usd = _stated_cost(f)


def _add_server_tools(f: _Fields, reading: Reading) -> None:
    if (server_tools := f.part("server_tool_use")) is not _EMPTY:
        for tool in ("web_search", "code_execution"):  # a web fetch is free
            if count := server_tools.count(f"{tool}_requests"):
                reading.server_tools[tool] = count
    if count := f.count("webSearchRequests"):
        reading.server_tools["web_search"] = count
    if (uses := f.part("server_side_tool_usage_details")) is not _EMPTY:
        for name, tool in _XAI_TOOLS.items():
            if count := uses.count(name):
                reading.server_tools[tool] = count
    elif count := f.count("num_server_side_tools_used"):
        reading.server_tools["server_side_tools"] = count
    if count := f.count("num_sources_used"):
        reading.server_tools["sources"] = count


def _stated_cost(f: _Fields) -> float | None:
    """Return the cost that the provider or the tool states, in US dollars.

    A 0 is not taken from tools, which write it for models without a price; OpenRouter's free models do cost 0.
    """
    cost = f.get("cost")
    if isinstance(cost, int | float | Decimal):
        charged = parse_non_negative(float(cost) if isinstance(cost, Decimal) else cost)
        upstream = parse_non_negative(f.part("cost_details").get("upstream_inference_cost"))
        if f.get("is_byok"):  # the charge is OpenRouter's fee, the provider bills the rest
            return None if charged is None or upstream is None else charged + upstream
        return charged if charged or f.has("is_byok") else None
    if cost is not None:  # Perplexity
        return parse_non_negative(_Fields(cost).get("total_cost")) or None
    ticks = f.get("cost_in_usd_ticks")
    if ticks is not None and (found := parse_non_negative(ticks)):
        return found / _TICKS_PER_USD
    for name in _COSTS:
        if (value := f.get(name)) is not None and (found := parse_non_negative(value)):
            return found
    return None


def _plus(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _larger(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _minus(count: int | None, part: int | None) -> int | None:
    return None if count is None else max(0, count - (part or 0))
