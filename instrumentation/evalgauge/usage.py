"""Token counts and modifiers of the price of one model call, parsed from the usage object that an SDK returned.

Providers count in two ways: some report cached tokens beside the input, some inside it, and the same holds for
reasoning and output. What is returned here is always disjoint, so that the kinds can be added up and priced one by one.
Where a total is reported, the kinds must add up to it: a reading of the same shape that does is taken, and without one
the usage is unknown. The known shapes are in ``evalgauge.usage_shapes``. Standard library only: a runner calls this
once for each model call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple

from evalgauge.usage_shapes import MAX_COUNT, InvalidCount, Reading, parse_count_strictly, read_shape

__all__ = [
    "MAX_COUNT",
    "NOTHING",
    "UNKNOWN",
    "UNKNOWN_CALL",
    "CallUsage",
    "TokenUsage",
    "is_refusal",
    "parse_call",
    "parse_usage",
]

log = logging.getLogger("evalgauge")

_MAX_LOGGED = 20
"""Kinds of unknown usage that are logged; a hostile log could make any number of them."""
_logged: set[str] = set()


class TokenUsage(NamedTuple):
    """Tokens of one call by kind: disjoint, so their sum is everything that was processed.

    None is a kind that the provider did not report; sums take it as 0. Input and output both None: usage is unknown.
    """

    input: int | None
    """Input neither read from a cache nor written to one."""
    cache_read: int | None
    cache_write: int | None
    output: int | None
    """Output, reasoning included."""


UNKNOWN: Final = TokenUsage(None, None, None, None)
NOTHING: Final = TokenUsage(0, None, None, 0)
"""The usage of a request that was refused."""


def is_refusal(status: object) -> bool:
    """Return whether an HTTP status is that of a request that was refused before it was billed: 4xx, or overload."""
    return isinstance(status, int) and (400 <= status < 500 or status == 529)


class CallUsage(NamedTuple):
    """Everything that one usage object reports: the four disjoint kinds, parts of them, and modifiers of the price."""

    tokens: TokenUsage = UNKNOWN
    cache_write_1h_tokens: int | None = None
    """The part of ``cache_write`` with a lifetime of one hour."""
    cache_read_audio_tokens: int | None = None
    """The part of ``cache_read`` that is audio."""
    cache_read_image_tokens: int | None = None
    reasoning_tokens: int | None = None
    """The part of ``output`` that is reasoning."""
    input_audio_tokens: int | None = None
    """The part of ``input`` that is audio; so are the next three of ``input`` and ``output``."""
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    output_image_tokens: int | None = None
    requests: int = 1
    """The number of calls that the counts are the sum of; 0 is a sum of an unknown number."""
    cost_usd: float | None = None
    """The cost in US dollars that the provider or tool states."""
    service_tier: str | None = None
    """``flex``, ``priority`` and so on; None is the standard tier."""
    speed: str | None = None
    """``fast`` for a faster mode at another price."""
    region: str | None = None
    """Where inference ran, if that changes the price."""
    server_tools: Mapping[str, int] | None = None
    """Uses of tools that the provider bills by the piece, such as ``web_search``."""
    batch: bool = False
    """Whether the call is billed at the batch price."""
    calls: tuple[CallUsage, ...] = ()
    """The single calls, where a sum reports them too."""

    def as_fields(self) -> dict[str, Any]:
        """Return the fields of an ``llm_call`` event: the four kinds always, the others where they are reported."""
        fields: dict[str, Any] = dict(zip(_TOKEN_FIELDS, self.tokens, strict=True))
        if self[1:-1] == _DEFAULTS:  # most calls: kept fast
            return fields
        for name, value in zip(_FIELDS, self[1:-1], strict=True):
            if value is not None and value is not False:
                fields[name] = value
        if self.requests == 1:
            del fields["requests"]
        return fields


_TOKEN_FIELDS = tuple(f"{kind}_tokens" for kind in TokenUsage._fields)
_FIELDS = CallUsage._fields[1:-1]
_DEFAULTS = CallUsage()[1:-1]

UNKNOWN_CALL: Final = CallUsage()


def parse_usage(usage: object) -> TokenUsage:
    """Parse the four disjoint token counts of one call; as :func:`parse_call`, which also returns the rest."""
    return parse_call(usage).tokens


def parse_call(usage: object, *, provider: str | None = None, model: str | None = None) -> CallUsage:
    """Parse the usage object of one call, or of a sum of calls. Never raises.

    Args:
        usage: An SDK's object, a pydantic model or a mapping, in one of the shapes of ``evalgauge.usage_shapes``.
        provider: Who served the call; Gemini's count of thoughts is missing in OpenAI's shape but for the total.
        model: The model that answered; likewise.

    Returns:
        What is reported. Usage is unknown, never 0, for None, for an unknown shape, for an object that raises when it
        is read, for a count that is negative, above ``MAX_COUNT``, not whole, a bool or a text, and where the kinds do
        not add up to the reported total in any reading of the shape. Without a total, cached tokens that exceed the
        input that should include them are taken as beside it.
    """
    if usage is None:
        return UNKNOWN_CALL
    try:
        if isinstance(usage, CallUsage):
            return usage
        if isinstance(usage, TokenUsage):
            return CallUsage(TokenUsage(*map(parse_count_strictly, usage)))
        reading = read_shape(usage)
        if reading is None:
            if isinstance(usage, Mapping) and all(value is None for value in usage.values()):
                return UNKNOWN_CALL  # nothing is reported, in whatever shape
            return _log_unknown(f"of an unknown shape ({_describe(usage)})")
        if reading.is_gemini or "google" in (provider or "").lower() or "gemini" in (model or "").lower():
            reading.rest_is_reasoning = reading.shape == "OpenAI chat completions"
        if reading.shape == "AI SDK" and reading.cache_read and "claude" in (model or "").lower():
            return _log_unknown("of the AI SDK before version 6 without Claude's cache writes")
        return _resolve(reading)
    except InvalidCount as error:
        return _log_unknown(f"with an invalid count: {error}")
    except Exception:
        # an SDK's object may raise anything from a property; a runner must not fail because of its bookkeeping
        return _log_unknown(f"that cannot be read ({type(usage).__name__})")


def _resolve(reading: Reading) -> CallUsage:
    """Choose the reading whose kinds add up to the total, the documented one first."""
    tokens = next(_readings(reading), None)
    if tokens is None:
        _log_unknown(f"whose kinds do not add up to the total ({reading.shape})")
        return CallUsage(cost_usd=reading.cost_usd, requests=reading.requests)  # a stated cost is known all the same
    calls = tuple(parse_call(entry) for entry in reading.entries) if reading.entries else ()
    if calls and any(sum(call.tokens[kind] or 0 for call in calls) != (tokens[kind] or 0) for kind in range(4)):
        calls = ()
    return CallUsage(
        tokens,
        cache_write_1h_tokens=reading.cache_write_1h,
        cache_read_audio_tokens=reading.cache_read_audio,
        cache_read_image_tokens=reading.cache_read_image,
        reasoning_tokens=reading.reasoning,
        input_audio_tokens=reading.input_audio,
        output_audio_tokens=reading.output_audio,
        input_image_tokens=reading.input_image,
        output_image_tokens=reading.output_image,
        requests=reading.requests,
        cost_usd=reading.cost_usd,
        service_tier=reading.service_tier,
        speed=reading.speed,
        region=reading.region,
        server_tools=_drop_zeros(reading.server_tools) if reading.server_tools else None,
        batch=reading.batch,
        calls=calls,
    )


def _drop_zeros(counts: dict[str, int]) -> dict[str, int] | None:
    return {name: count for name, count in counts.items() if count} or None


def _readings(r: Reading) -> Iterator[TokenUsage]:
    """Yield the readings of the counts that are possible, in the order of preference."""
    cached = (r.cache_read or 0) + (r.cache_write or 0)
    beside = r.beside_input or 0
    insides = [cached, 0] if r.cached_inside else [0, cached]
    if r.total and r.cache_read and r.cache_write:
        insides.append(r.cache_read)  # and writes are beside: LiteLLM with Bedrock
    for reasoning_inside, inside in product((r.reasoning_inside, not r.reasoning_inside), insides):
        fresh = None if r.input is None else r.input - inside + beside
        if fresh is not None and fresh < beside:
            continue  # more cached tokens than input: they cannot be inside it
        output = r.output
        if r.reasoning:
            if reasoning_inside and output is not None and r.reasoning > output:
                continue
            output = output if reasoning_inside else (output or 0) + r.reasoning
        if r.total and fresh is not None:
            known = fresh + cached
            if output is None and r.total == known:
                output = 0  # nothing was generated, and the count was left out
            if output is None or known + output != r.total:
                continue
        yield TokenUsage(fresh, r.cache_read, r.cache_write, output)
    if r.rest_is_reasoning and r.total and r.input is not None:
        rest = r.total - r.input - (r.output or 0)
        if rest > 0:
            r.reasoning = rest + (r.reasoning or 0)
            fresh = r.input - (cached if cached <= r.input else 0)
            if fresh + cached == r.input:
                yield TokenUsage(fresh, r.cache_read, r.cache_write, (r.output or 0) + rest)


def _log_unknown(what: str) -> CallUsage:
    """Log the first usage of its kind that is unknown."""
    kind = what.partition(":")[0]
    if kind not in _logged and len(_logged) < _MAX_LOGGED:
        _logged.add(kind)
        log.warning("token usage %s; such calls count as unknown usage", what[:300])
    return UNKNOWN_CALL


def _describe(usage: object) -> str:
    if isinstance(usage, Mapping):
        return "keys " + ", ".join(sorted(str(key)[:40] for key in list(usage)[:8]))
    return type(usage).__name__
