"""The shapes of usage objects, each recognised by marks of its own.

| shape | recognised by | cached tokens | reasoning |
|---|---|---|---|
| OpenTelemetry attributes (also Pydantic AI's) | ``gen_ai.usage.…`` | inside input | inside output |
| Gemini, Vertex: UsageMetadata | ``promptTokenCount``, ``prompt_token_count`` | inside | beside |
| Gemini Interactions | ``total_input_tokens`` | inside | beside |
| Bedrock Converse: TokenUsage | ``inputTokens`` | beside | inside |
| Bedrock InvokeModel and its stream metrics | ``inputTokenCount`` | beside | inside |
| AI SDK: LanguageModelUsage | ``cachedInputTokens``, ``inputTokenDetails`` | inside | inside |
| Claude Agent SDK: ``model_usage`` | ``cacheCreationInputTokens``, ``costUSD`` | beside | inside |
| OpenAI chat completions: CompletionUsage | ``prompt_tokens`` | inside | inside |
| xAI SDK: SamplingUsage | ``prompt_text_tokens`` with it | inside | beside |
| Perplexity: UsageInfo | ``citation_tokens``, ``num_search_queries`` | – | beside |
| OpenAI responses: ResponseUsage | ``input_tokens_details`` | inside | inside |
| OpenAI Agents: Usage | ``request_usage_entries`` with it | inside | inside |
| Codex: ``codex exec --json`` | ``cached_input_tokens`` | inside | inside |
| LangChain: UsageMetadata; OpenAI realtime | ``input_token_details`` | inside | inside |
| Pydantic AI: RequestUsage, RunUsage | ``cache_audio_read_tokens`` | inside | inside |
| Anthropic: Usage | ``cache_read_input_tokens``, ``cache_creation…`` | beside | inside |
| Inspect: ModelUsage | ``input_tokens_cache_read``, ``…_write`` | beside | inside |
| evalgauge's run log | ``cache_read_tokens``, ``cache_write_tokens`` | beside | inside |
| Cohere: Usage | ``billed_units`` | – | – |
| Ollama | ``prompt_eval_count`` | – | – |
| Harbor: AgentContext | ``n_input_tokens`` | inside | inside |
| plain | ``input_tokens`` and ``output_tokens`` alone | – | inside |

Azure, Groq, Mistral, DeepSeek, Moonshot, OpenRouter and LiteLLM speak OpenAI's shape with names of their own for cached
tokens and costs. Where a total is reported, it decides between inside and beside (``evalgauge.usage``).
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

    def has(self, *names: str) -> bool:
        for name in names:  # noqa: SIM110 - twice as fast as any()
            if self.get(name) is not None:
                return True
        return False

    def part(self, *names: str) -> _Fields:
        """Return the first nested object that is reported; without one, an empty one."""
        for name in names:
            if value := self.get(name):
                return _Fields(value)
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
    for name in ("x_groq", "amazon-bedrock-invocationMetrics"):  # wrappers around the usage
        if (inner := fields.get(name)) is not None:
            fields = _Fields(inner)
            if name == "x_groq":
                fields = fields.part("usage")
    reading = _recognise(fields)
    if reading is not None:
        _add_modifiers(fields, reading)
    return reading


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
        cached = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
        return _read(f.part("details"), reading, cache_read=cached, reasoning="reasoning_tokens")
    return _opentelemetry(f)


def _read(f: _Fields, reading: Reading, **names: str | tuple[str, ...]) -> Reading:
    """Set fields of ``reading`` to counts, each by its name in the usage, or by the first of several that is there."""
    for field_name, name in names.items():
        setattr(reading, field_name, f.count(name) if isinstance(name, str) else f.count(*name))
    return reading


def _requests(f: _Fields) -> int:
    found = f.count("requests")
    return 1 if found is None else found


# -- shapes with input_tokens


def _input_tokens(f: _Fields) -> Reading:
    def read(reading: Reading, **names: str) -> Reading:
        return _read(f, reading, input="input_tokens", output="output_tokens", total="total_tokens", **names)

    if f.get("input_tokens_details") or f.get("output_tokens_details"):
        reading = read(Reading("OpenAI responses", requests=_requests(f)))
        _add_details(reading, f.part("input_tokens_details"), f.part("output_tokens_details"))
        entries = f.get("request_usage_entries")
        if isinstance(entries, list | tuple) and len(entries) == reading.requests:
            reading.entries = tuple(entries)
        return reading
    for shape, given, made in (
        ("LangChain", "input_token_details", "output_token_details"),
        ("DashScope", "prompt_tokens_details", "completion_tokens_details"),
    ):
        if f.get(given) or f.get(made):
            return _add_details(read(Reading(shape)), f.part(given), f.part(made))
    if f.has("cached_input_tokens"):
        return read(Reading("Codex"), cache_read="cached_input_tokens", reasoning="reasoning_output_tokens")
    if f.has("input_tokens_cache_read", "input_tokens_cache_write"):
        return read(
            Reading("Inspect", cached_inside=False),
            cache_read="input_tokens_cache_read",
            cache_write="input_tokens_cache_write",
            reasoning="reasoning_tokens",
        )
    if f.has("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "iterations"):
        return _anthropic(f)
    own = {"cache_read": "cache_read_tokens", "cache_write": "cache_write_tokens"}
    if f.has("cache_audio_read_tokens"):
        reading = read(Reading("Pydantic AI", requests=_requests(f)), **own, cache_read_audio="cache_audio_read_tokens")
        reading.reasoning = f.part("details").count("reasoning_tokens")
        reading.input_audio = _minus(f.count("input_audio_tokens"), reading.cache_read_audio)
        reading.output_audio = f.count("output_audio_tokens")
        return reading
    plain = Reading("plain", cached_inside=False, requests=_requests(f))
    return read(plain, **own, reasoning="reasoning_tokens")


_TIER_DETAILS: Final = (
    ("flex", "flex_cache_read", "flex_reasoning"),
    ("priority", "priority_cache_read", "priority_reasoning"),
)
"""LangChain's details of a service tier: its name, and what was cached and what reasoned in it."""


def _add_details(reading: Reading, given: _Fields, made: _Fields) -> Reading:
    """Add OpenAI's and LangChain's details of input and output."""
    if given is _EMPTY and made is _EMPTY:
        return reading
    _read(
        given,
        reading,
        cache_read=("cached_tokens", "cache_read", "flex_cache_read", "priority_cache_read"),
        cache_write=("cache_write_tokens", "cache_creation", "cache_creation_tokens"),
        cache_write_1h="ephemeral_1h_input_tokens",
        input_image=("image_tokens", "image"),
    )
    # LangChain sets the sum to 0 where it has Anthropic's cache writes by their lifetime
    reading.cache_write = reading.cache_write or _by_lifetime(given) or reading.cache_write
    reading.cache_read_audio = given.part("cached_tokens_details").count("audio_tokens")
    reading.input_audio = _minus(given.count("audio_tokens", "audio"), reading.cache_read_audio)
    _read(
        made,
        reading,
        reasoning=("reasoning_tokens", "reasoning", "flex_reasoning", "priority_reasoning"),
        output_audio=("audio_tokens", "audio"),
        output_image=("image_tokens", "image"),
    )
    for tier, cached, reasoned in _TIER_DETAILS:
        if given.has(tier, cached) or made.has(tier, reasoned):
            reading.service_tier = tier
    return reading


def _anthropic(f: _Fields) -> Reading:
    reading = _read(
        f,
        Reading("Anthropic", cached_inside=False),
        input="input_tokens",
        output="output_tokens",
        cache_read="cache_read_input_tokens",
        cache_write="cache_creation_input_tokens",
        total="total_tokens",
    )
    written = f.part("cache_creation")
    if reading.cache_write is None:
        reading.cache_write = _by_lifetime(written)
    reading.cache_write_1h = written.count("ephemeral_1h_input_tokens")
    iterations = f.get("iterations")
    # a long context was summed up: that is billed, but not in the counts of the message
    for each in map(_Fields, iterations if isinstance(iterations, list) else ()):
        if each.get("type") == "compaction":
            spent = _anthropic(each)
            for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h"):
                setattr(reading, name, _plus(getattr(reading, name), getattr(spent, name)))
    return reading


def _by_lifetime(f: _Fields) -> int | None:
    """Anthropic's cache writes, counted by their lifetime."""
    if f is _EMPTY:
        return None
    return _plus(f.count("ephemeral_5m_input_tokens"), f.count("ephemeral_1h_input_tokens"))


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
        return reading
    details = f.part("prompt_tokens_details")
    reading = read(Reading("OpenAI chat completions"))
    _add_details(reading, details, f.part("completion_tokens_details"))
    if reading.cache_read is None:  # DeepSeek; Moonshot, Together and ATIF; LiteLLM
        reading.cache_read = f.count("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    if reading.cache_write is None:
        reading.cache_write = f.count("cache_creation_input_tokens")
    if reading.cache_write is None:
        reading.cache_write = _by_lifetime(f.part("cache_creation"))
    for written in (details.part("cache_creation_token_details"), f.part("cache_creation")):
        if reading.cache_write_1h is None and written is not _EMPTY:
            reading.cache_write_1h = written.count("ephemeral_1h_input_tokens")
    if reading.reasoning is None:
        reading.reasoning = f.count("reasoning_tokens")
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
        output=(names["candidates"], names["response"]),
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
    if given.get("audio"):
        reading.cache_read_audio = cached.get("audio", 0) if cached or not reading.cache_read else None
        reading.input_audio = _minus(given["audio"], reading.cache_read_audio)
    reading.input_image = _minus(given.get("image"), cached.get("image"))
    reading.output_audio, reading.output_image = made.get("audio"), made.get("image")


# -- shapes with inputTokens


def _camel_case(f: _Fields) -> Reading:
    if f.has("cachedInputTokens", "reasoningTokens", "inputTokenDetails", "promptTokens", "completionTokens"):
        reading = _read(
            f,
            Reading("AI SDK"),
            input=("inputTokens", "promptTokens"),
            output=("outputTokens", "completionTokens"),
            cache_read="cachedInputTokens",
            reasoning="reasoningTokens",
            total="totalTokens",
        )
        if f.has("inputTokenDetails"):  # since version 6
            _read(f.part("inputTokenDetails"), reading, cache_read="cacheReadTokens", cache_write="cacheWriteTokens")
            _read(f.part("outputTokenDetails"), reading, reasoning="reasoningTokens")
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
    "cache_read": ("cache_read.input_tokens", "cache_read_input_tokens", "details.cache_read_tokens"),
    "cache_write": (
        "cache_creation.input_tokens",
        "cache_write.input_tokens",
        "cache_creation_input_tokens",
        "details.cache_write_tokens",
    ),
    "reasoning": ("reasoning.output_tokens", "reasoning_tokens", "details.reasoning_tokens"),
    "input_audio": ("details.input_audio_tokens",),
    "output_audio": ("details.output_audio_tokens",),
    "total": ("total_tokens",),
}
"""Attributes of spans, without their prefix, by the fields of ``Reading``."""
_SPAN_NAMES: Final = {kind: tuple(f"gen_ai.usage.{name}" for name in names) for kind, names in _SPAN.items()}


def _opentelemetry(f: _Fields) -> Reading | None:
    reading = _read(f, Reading("OpenTelemetry"), **_SPAN_NAMES)
    return None if reading.input is None and reading.output is None else reading


# -- modifiers of the price, which any shape may have


MODIFIERS: Final = frozenset(
    {
        *("service_tier", "serviceTier", "trafficType", "traffic_type", "speed", "inference_geo", "server_tool_use"),
        *("webSearchRequests", "num_sources_used", "cost", "cost_details", "is_byok", "cost_in_usd_ticks"),
        *("costUSD", "total_cost", "cost_usd", "gen_ai.usage.cost", "operation.cost"),
    }
)
"""The names of all fields that a modifier is read from; most usage objects have none of them."""


def _add_modifiers(f: _Fields, reading: Reading) -> None:
    if f.names is not None and MODIFIERS.isdisjoint(f.names):
        return
    tier = f.text("service_tier") or f.text("serviceTier")
    if not tier:
        traffic = f.text("trafficType") or f.text("traffic_type")
        tier = _GEMINI_TRAFFIC.get(traffic, traffic)
    reading.batch = tier == "batch"
    if tier and not reading.batch and tier not in STANDARD_TIERS:
        reading.service_tier = tier
    speed = f.text("speed")
    reading.speed = speed if speed not in ("", "standard") else None
    region = f.text("inference_geo")
    reading.region = region if region not in STANDARD_REGIONS else None
    if (server_tools := f.part("server_tool_use")) is not _EMPTY:
        for tool in ("web_search", "code_execution"):  # a web fetch is free
            if count := server_tools.count(f"{tool}_requests"):
                reading.server_tools[tool] = count
    if count := f.count("webSearchRequests"):
        reading.server_tools["web_search"] = count
    if count := f.count("num_sources_used"):
        reading.server_tools["sources"] = count
    if reading.cost_usd is None:
        reading.cost_usd = _stated_cost(f)


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
    for name in ("costUSD", "total_cost", "cost_usd", "gen_ai.usage.cost", "operation.cost"):
        if (value := f.get(name)) is not None and (found := parse_non_negative(value)):
            return found
    return None


def _plus(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _minus(count: int | None, part: int | None) -> int | None:
    return None if count is None else max(0, count - (part or 0))
