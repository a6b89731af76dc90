"""Token counts of one model call, out of the usage object that an SDK returned.

Providers count in two ways: some report cached tokens beside the input, some inside it. What comes out here is always
disjoint, so that the four kinds can be added up and priced one by one. Standard library only: a runner calls this
once for each model call.

| shape | told by | cached tokens | source |
|---|---|---|---|
| OpenTelemetry attributes | ``gen_ai.usage.…`` keys | inside input | OpenTelemetry semantic conventions, GenAI spans |
| Google GenAI | ``prompt_token_count`` or ``promptTokenCount`` | inside | Gemini API, UsageMetadata |
| Amazon Bedrock | ``inputTokens`` | beside | Bedrock API, TokenUsage; Bedrock guide, prompt caching; Nova's own |
| OpenAI chat completions | ``prompt_tokens`` | inside | OpenAI API, CompletionUsage |
| OpenAI responses | ``input_tokens_details`` beside ``input_tokens`` | inside | OpenAI API, ResponseUsage |
| OpenAI's Codex | ``cached_input_tokens`` beside ``input_tokens`` | inside | ``codex exec --json``, Usage |
| LangChain | ``input_token_details`` beside ``input_tokens`` | inside | langchain-core, UsageMetadata |
| Pydantic AI, genai-prices | ``cache_audio_read_tokens`` beside ``input_tokens`` | inside | their class ``Usage`` |
| Anthropic messages | ``cache_read_input_tokens`` or ``cache_creation…`` | beside | Anthropic API, Usage |
| evalgauge's own | ``cache_read_tokens`` or ``cache_write_tokens`` | beside | the run log |
| plain | ``input_tokens`` and ``output_tokens`` alone | not reported | OpenAdapt's ``token_usage`` and others |

Reasoning tokens are output. What Anthropic spends on compaction, which it counts apart, is added. Audio and image
tokens are not told from text. How many of the cache writes live for an hour, :func:`cache_write_1h` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Final, NamedTuple

MAX_COUNT: Final = 10**9
"""A count above this in one call is taken for an error and not for tokens."""


class _Gemini(NamedTuple):
    prompt: str
    cached: str
    candidates: str
    response: str
    """What the live API has in place of candidates."""
    thoughts: str
    tool_results: str
    total: str


_GEMINI: Final = _Gemini(
    "prompt_token_count",
    "cached_content_token_count",
    "candidates_token_count",
    "response_token_count",
    "thoughts_token_count",
    "tool_use_prompt_token_count",
    "total_token_count",
)
_GEMINI_JSON: Final = _Gemini(
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "responseTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "totalTokenCount",
)

_Read = Callable[[str], Any]


class TokenUsage(NamedTuple):
    """Tokens of one call by kind: disjoint, so their sum is everything that was processed.

    None is a kind that the provider did not report; sums take it as 0. Input and output both None: usage is unknown.
    """

    input: int | None
    """Input neither read from a cache nor written to one."""
    cache_read: int | None
    cache_write: int | None
    output: int | None
    """Output with reasoning."""


UNKNOWN: Final = TokenUsage(None, None, None, None)


def parse_usage(usage: object) -> TokenUsage:
    """Read the token counts of one call from ``usage``: an SDK's object, a pydantic model or a mapping.

    A shape that is not known, None, and an object that raises when it is read give ``UNKNOWN``, never 0. A count that
    is negative, above ``MAX_COUNT``, not whole, a bool or a string makes that kind None. Where cached tokens should
    lie inside the input but exceed it, they cannot lie inside: input is then left as reported and they are taken
    as beside it, so no kind is ever negative and nothing that was reported is lost. Never raises.
    """
    if usage is None:
        return UNKNOWN
    if isinstance(usage, TokenUsage):
        return TokenUsage(*map(_count, usage))
    try:
        return _by_shape(_reader(usage))
    except Exception:
        # an SDK's object may raise anything from a property; a runner must not fall over its bookkeeping
        return UNKNOWN


def cache_write_1h(usage: object) -> int | None:
    """How many of the cache writes live for an hour, which costs more than the usual five minutes; None: not told.

    As Anthropic reports it (``cache_creation``), LangChain and LiteLLM hand it on, and Bedrock has it
    (``cacheDetails``); those of Anthropic's compaction too, as in :func:`tokens`. Never raises.
    """
    if usage is None or isinstance(usage, TokenUsage):
        return None
    try:
        read = _reader(usage)
        counted = _for_an_hour(read)
        if isinstance(iterations := read("iterations"), list):
            compactions = (each for each in map(_reader, iterations) if each("type") == "compaction")
            counted = _sum(counted, *map(_for_an_hour, compactions))
        return counted
    except Exception:
        return None  # as in tokens()


def _for_an_hour(read: _Read) -> int | None:
    if isinstance(written := read("cacheDetails"), list):
        rows = [_reader(row) for row in written]
        return _sum(*(_count(row("inputTokens")) for row in rows if row("ttl") == "1h"))
    places = [read("cache_creation"), read("input_token_details")]
    if (details := read("prompt_tokens_details")) is not None:
        places.append(_reader(details)("cache_creation_token_details"))
    # the first that tells: a gateway may hand on Anthropic's own beside that of its other shape
    told = (_count(_reader(place)("ephemeral_1h_input_tokens")) for place in places if place is not None)
    return next((count for count in told if count is not None), None)


def billed_as_batch(usage: object) -> bool:
    """Whether the usage says itself that the call was part of a batch, as Anthropic's does. Never raises."""
    try:
        return usage is not None and _reader(usage)("service_tier") == "batch"
    except Exception:
        return False  # as in tokens()


def _by_shape(read: _Read) -> TokenUsage:
    given, output = read("input_tokens"), read("output_tokens")
    if given or output:
        return _input_tokens(read, _count(given))
    if (prompt := read("prompt_tokens")) is not None or read("completion_tokens") is not None:
        # some proxies put zeros into the other shape's names, so zeros do not decide
        return _openai_chat(read, _count(prompt))
    if any(
        read(name) is not None for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    ):
        return _input_tokens(read, _count(given))
    for names in (_GEMINI, _GEMINI_JSON):
        if read(names.prompt) is not None or read(names.candidates) is not None:
            return _google(read, names)
    if read("inputTokens") is not None or read("outputTokens") is not None:
        return TokenUsage(
            _count(read("inputTokens")),
            _first(read, "cacheReadInputTokens", "cacheReadInputTokenCount"),
            _first(read, "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
            _count(read("outputTokens")),
        )
    return _opentelemetry(read)


def _input_tokens(read: _Read, total: int | None) -> TokenUsage:
    """The shapes that name input ``input_tokens``: what lies beside it tells which one it is."""
    output = _count(read("output_tokens"))
    # OpenAI responses; the others are OpenAI's realtime API and LangChain, and DashScope: they count alike
    details = read("input_tokens_details") or read("input_token_details") or read("prompt_tokens_details")
    if details:
        detail = _reader(details)
        cache_read = _first(detail, "cached_tokens", "cache_read")
        cache_write = _first(detail, "cache_write_tokens", "cache_creation")
        # LangChain sets the sum to 0 where it has Anthropic's cache writes by how long they live
        return _inclusive(total, cache_read, cache_write or _sum(_by_life(detail), cache_write), output)
    if (cache_read := _count(read("cached_input_tokens"))) is not None:
        return _inclusive(total, cache_read, None, output)
    cache_read, cache_write = _count(read("cache_read_input_tokens")), _count(read("cache_creation_input_tokens"))
    if cache_write is None and (nested := read("cache_creation")) is not None:
        cache_write = _by_life(_reader(nested))
    if isinstance(iterations := read("iterations"), list):
        return _with_compaction(TokenUsage(total, cache_read, cache_write, output), iterations)
    if cache_read is not None or cache_write is not None:
        return TokenUsage(total, cache_read, cache_write, output)
    cache_read, cache_write = _count(read("cache_read_tokens")), _count(read("cache_write_tokens"))
    if (cache_read or cache_write) and read("cache_audio_read_tokens") is not None:
        return _inclusive(total, cache_read, cache_write, output)
    return TokenUsage(total, cache_read, cache_write, output)


def _by_life(read: _Read) -> int | None:
    """Anthropic's cache writes, which it counts by how long they live."""
    return _sum(*(_count(read(f"ephemeral_{life}_input_tokens")) for life in ("5m", "1h")))


def _with_compaction(counts: TokenUsage, iterations: Any) -> TokenUsage:
    """Add what Anthropic spent on summing up a long context: billed, but not in the counts of the message."""
    for iteration in map(_reader, iterations):
        if iteration("type") == "compaction":
            spent = _input_tokens(iteration, _count(iteration("input_tokens")))
            counts = TokenUsage(*map(_sum, counts, spent))
    return counts


def _openai_chat(read: _Read, total: int | None) -> TokenUsage:
    """OpenAI's chat completions and the many that speak it; cached tokens are inside ``prompt_tokens``.

    Without OpenAI's details, the names of DeepSeek, Moonshot and LiteLLM are read. OpenAI's ``completion_tokens``
    holds the reasoning; xAI's does not, which its ``total_tokens`` shows (xAI API, reasoning).
    """
    output = _count(read("completion_tokens"))
    cache_read = cache_write = None
    if (details := read("prompt_tokens_details")) is not None:
        detail = _reader(details)
        cache_read = _count(detail("cached_tokens"))
        cache_write = _first(detail, "cache_write_tokens", "cache_creation_tokens")
    if cache_read is None:
        cache_read = _first(read, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    if cache_write is None:
        cache_write = _count(read("cache_creation_input_tokens"))
    if output is not None and total is not None and (details := read("completion_tokens_details")) is not None:
        reasoning = _count(_reader(details)("reasoning_tokens"))
        if reasoning and _count(read("total_tokens")) == total + output + reasoning:
            output += reasoning
    return _inclusive(total, cache_read, cache_write, output)


def _google(read: _Read, names: _Gemini) -> TokenUsage:
    """Gemini: the prompt holds the cached content; thoughts and the results of tools are counted beside the rest."""
    output = _sum(_first(read, names.candidates, names.response), _count(read(names.thoughts)))
    prompt, tool_results = _count(read(names.prompt)), _count(read(names.tool_results))
    if output is None and prompt is not None and _count(read(names.total)) == prompt + (tool_results or 0):
        output = 0  # a blocked prompt: its JSON leaves zeros out
    counts = _inclusive(prompt, _count(read(names.cached)), None, output)
    return counts if tool_results is None else counts._replace(input=_sum(counts.input, tool_results))


def _opentelemetry(read: _Read) -> TokenUsage:
    return _inclusive(
        _first(read, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        _first(read, "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        _first(
            read,
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        _first(read, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    )


def _inclusive(total: int | None, cache_read: int | None, cache_write: int | None, output: int | None) -> TokenUsage:
    """Tokens where ``total`` is all input, cached too."""
    cached = (cache_read or 0) + (cache_write or 0)
    if total is not None and cached <= total:
        total -= cached
    return TokenUsage(total, cache_read, cache_write, output)


def _reader(usage: object) -> _Read:
    """How to look a name up in ``usage``; a name that is not there reads as None."""
    if isinstance(usage, Mapping):
        return usage.get
    fields = getattr(usage, "__dict__", None)
    if fields is not None and hasattr(usage, "__pydantic_extra__"):
        # a pydantic model keeps its values here, and takes long to say that it has no such attribute
        extra = usage.__pydantic_extra__
        return {**fields, **extra}.get if extra else fields.get
    return lambda name: getattr(usage, name, None)


def _count(value: Any) -> int | None:
    """``value`` as a count of tokens, None where it cannot be one."""
    if type(value) is not int:
        # JSON and OTLP may turn whole numbers into floats; numpy's integers are Integral
        whole = value.is_integer() if isinstance(value, float) else isinstance(value, Integral)
        if not whole or isinstance(value, bool):
            return None
        value = int(value)
    return value if 0 <= value <= MAX_COUNT else None


def _first(read: _Read, *names: str) -> int | None:
    for name in names:
        if (count := _count(read(name))) is not None:
            return count
    return None


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
