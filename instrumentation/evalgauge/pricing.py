"""Prices of model calls and machines: the user's table, then genai-prices' tables.

Each call is in one of three money states. ``priced``: its price is known. ``unpriced``: no table has a price for the
model, for a kind of its tokens, for a tool that it used, or for a modifier (batch, service tier, speed, region).
``unknown_usage``: what was used is not known. Only a priced call has an amount: nothing is taken as 0 or as the price
of some default model. A call without an own price is priced by the cost that its provider or tool states, if any.

genai-prices is optional (the ``exporter`` extra) and imported when the first call is priced; without it only the
user's table prices anything. A lookup there takes some 150 µs, so what it finds is cached for each model.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from evalgauge.events import LlmCall
from evalgauge.model_names import split_model_name
from evalgauge.price_overrides import MODIFIERS, ModelOverride, Overrides
from evalgauge.usage import CallUsage, TokenUsage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

State = Literal["priced", "unpriced", "unknown_usage"]


STATED: Final = "stated"
"""The name of the table of a call that is priced by the cost that its provider or tool states."""


class Price(NamedTuple):
    """The cost of one call, or of a sum of calls."""

    state: State
    usd: Decimal | None
    """None unless the state is ``priced``."""
    table: str | None
    """Name and version of the price table, such as ``genai-prices 0.2.3`` or ``overrides prices.toml``; ``stated``."""
    reason: str | None = None
    """Why a call is unpriced, or priced as stated."""
    stated_usd: Decimal | None = None
    """The cost that the provider or tool states, if it does."""


class MachinePrice(NamedTuple):
    """The price of a machine while it exists, in USD an hour, and the table that states it."""

    usd_per_hour: Decimal
    table: str


UNPRICED: Final = Price("unpriced", None, None)
UNKNOWN_USAGE: Final = Price("unknown_usage", None, None)
FREE: Final = Price("priced", Decimal(0), None)
"""The price of a request that was refused, whatever model it was for."""

_CACHED_MODELS = 4096  # names come from logs: more than any run has, and a bound on what a hostile log can fill

# the names that the OpenTelemetry conventions, Inspect and SDK wrappers have for providers, where genai-prices has
# another or would take a reseller for the maker of the model
_PROVIDERS = {
    "x_ai": "x-ai",
    "xai": "x-ai",
    "grok": "x-ai",
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.inference": "azure",
    "foundry": "azure",
    "microsoft.foundry": "azure",
    "azure_ai": "azure",
    "azureai": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azureopenai": "azure",
    "anthropic_bedrock": "aws",
    "anthropic-bedrock": "aws",
    "bedrock_converse": "aws",
    "anthropic_vertex": "google",
    "anthropic-vertex": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "z.ai": "zai",
    "z-ai": "zai",
    "litellm_proxy": "litellm",
}
_API_OF_PROVIDER = re.compile(r"\.(?:chat|responses|messages|completion|embedding|image)\Z")
"""The suffix of the AI SDK's names of providers: ``openai.responses``."""
_ALWAYS_SEARCHES = re.compile(r"\bgpt-.*-search-(?:preview|api)\Z")
"""OpenAI's models that search the web for each answer; the fee for that is not in their entries, or in usage."""
_RESOURCE = re.compile(r"\A(?:projects/.*/)?(?:publishers/[^/]+/)?models/")
"""Google's prefixes of the names of models."""
_HOSTS = {"azure": "azure", "bedrock": "aws", "vertex": "google"}
"""Inspect's names of models that another provider hosts: ``openai/azure/…``, ``anthropic/bedrock/…``."""
# models in Amazon Bedrock are named by region (optional), maker and model: us.anthropic.claude-…
_BEDROCK_MODEL = re.compile(r"(?:[a-z]{2,8}\.)?[a-z0-9]+\.[a-z]")


class _Rates(NamedTuple):
    """USD a token by kind, None where there is no price; USD for the call itself, and for each use of a server tool."""

    input: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    """Of cache writes with a lifetime of one hour."""
    output: Decimal | None
    call: Decimal = Decimal(0)
    parts: Mapping[str, Decimal] = MappingProxyType({})
    """Of parts of these kinds that have a price of their own (``evalgauge.price_overrides.PART_KINDS``)."""
    tools: Mapping[str, Decimal] = MappingProxyType({})
    mixed_output: tuple[str, ...] = ()
    """Parts of the output that have to be reported, as the model makes them and they cost much more than text."""


class _Tariff(NamedTuple):
    base: _Rates
    tiers: tuple[tuple[int, _Rates], ...] = ()
    """(input tokens above which the rates apply to all tokens of the call, rates), the highest first."""


_PARTS: Final = (
    # (part, the kind that it is a part of, whether it costs what that kind does where it has no price of its own)
    ("input_audio", "input", False),
    ("input_image", "input", True),
    ("cache_read_audio", "cache_read", False),
    ("cache_read_image", "cache_read", True),
    ("reasoning", "output", True),
    ("output_audio", "output", False),
    ("output_image", "output", False),
)


_NO_PARTS: Final = (None,) * 8


class _NoPrice(Exception):
    """Something that was used has no price; the message is the reason."""


def _amount(tariff: _Tariff, usage: CallUsage) -> Decimal:
    """Return the sum of tokens × rate and of the server tools. Raises _NoPrice where something used has no rate."""
    tokens = usage.tokens
    rates = tariff.base
    if tariff.tiers and usage.requests == 1:  # no single call of a sum need have reached a tier
        all_input = (tokens.input or 0) + (tokens.cache_read or 0) + (tokens.cache_write or 0)
        rates = next((tier for start, tier in tariff.tiers if all_input > start), rates)
    if usage[1:9] == _NO_PARTS and not usage.server_tools and not rates.mixed_output:  # most calls: kept fast
        total = rates.call
        if usage.requests > 1:
            total *= usage.requests
        of_kinds = (rates.input, rates.cache_read, rates.cache_write, rates.output)
        for index, count in enumerate(tokens):
            if count:
                rate = of_kinds[index]
                total += (rate if rate is not None else _rate(None, f"{tokens._fields[index]} tokens")) * count
        return total
    counts = {kind: count or 0 for kind, count in zip(tokens._fields, tokens, strict=True)}
    counts["cache_write_1h"] = min(max(usage.cache_write_1h_tokens or 0, 0), counts["cache_write"])
    counts["cache_write"] -= counts["cache_write_1h"]
    total = rates.call * max(1, usage.requests) + _take_parts(rates, usage, counts)
    for kind, count in counts.items():
        if count:
            total += _rate(getattr(rates, kind), f"{kind} tokens") * count
    for tool, uses in (usage.server_tools or {}).items():
        if uses:
            total += _rate(rates.tools.get(tool), f"the tool {tool}") * uses
    return total


def _take_parts(rates: _Rates, usage: CallUsage, counts: dict[str, int]) -> Decimal:
    """Take the parts that have a price of their own out of ``counts``, and return what they cost."""
    total = Decimal(0)
    for part, kind, same_price in _PARTS:
        count: int | None = getattr(usage, f"{part}_tokens")
        if count is None and counts[kind] and part in rates.mixed_output:
            raise _NoPrice(f"how many of the output tokens are {part} tokens is not reported")
        if not count or (same_price and part not in rates.parts):
            continue
        rate = _rate(rates.parts.get(part), f"{part} tokens")
        if kind == "input" and counts["cache_read"] and getattr(usage, f"cache_read{part[5:]}_tokens") is None:
            raise _NoPrice(f"how many of the {part} tokens were cached is not reported")
        if count > counts[kind]:
            raise _NoPrice(f"more {part} tokens than {kind} tokens")
        counts[kind] -= count
        total += rate * count
    return total


def _rate(rate: Decimal | None, what: str) -> Decimal:
    if rate is None:
        raise _NoPrice(f"no price for {what}")
    return rate


def _override_tariff(row: ModelOverride) -> _Tariff:
    cached = (row.cache_read, row.cache_write, row.cache_write_1h)
    read, write, write_1h = (None if price is None else price.scaleb(-6) for price in cached)
    parts = {kind: price.scaleb(-6) for kind, price in row.parts.items()}
    tools = {tool: price.scaleb(-3) for tool, price in row.tools.items()}
    fresh, output = row.input.scaleb(-6), row.output.scaleb(-6)
    return _Tariff(_Rates(fresh, read, write, write_1h, output, parts=parts, tools=tools))


class _Request(NamedTuple):
    """What a price is looked up by."""

    provider: str | None
    model: str
    batch: bool = False
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None

    def context(self) -> dict[str, str]:
        """The modifiers, as genai-prices names them in its variants."""
        named = {name: value for name in MODIFIERS if (value := getattr(self, name)) is not None}
        return {"processing": "batch", **named} if self.batch else named

    def describe(self) -> str:
        """The reason of a call for which no price was found."""
        modifiers = [f"{name.replace('_', ' ')} {value}" for name, value in self.context().items()]
        return " and ".join(["no price for " + (", ".join(modifiers) if modifiers else "the model")])


class _Schedule:
    """The tariffs of one model. Which of them applies depends on the conditions that are met at a time."""

    def __init__(
        self,
        table: str,
        look_up: Callable[[datetime], _Tariff | None],
        conditions: Iterable[StartDateConstraint | TimeOfDateConstraint] = (),
    ) -> None:
        self.table = table
        self._look_up = look_up
        self._conditions = tuple(conditions)
        # the conditions that are met decide, so each combination is looked up once and not each time
        self._tariffs: dict[tuple[bool, ...], _Tariff | None] = {}

    def at(self, when: float) -> _Tariff | None:
        """Return the tariff at a Unix time; None where there is none, or where it depends on an invalid time."""
        met: tuple[bool, ...] = ()
        instant = _EPOCH
        if self._conditions:
            try:
                instant = datetime.fromtimestamp(when, UTC)
            except (TypeError, ValueError, OverflowError, OSError):
                return None
            met = tuple(condition.active(instant) for condition in self._conditions)
        if met not in self._tariffs:
            self._tariffs[met] = self._look_up(instant)
        return self._tariffs[met]


_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class PriceTable:
    """The prices of calls and machines: the user's table first, then genai-prices.

    Safe to share between threads. A table never changes its prices after it was made.

    Args:
        overrides: The user's price table.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        self._overrides = overrides
        self._lock = threading.Lock()
        self._book: _GenaiPrices | None = None
        self._schedules: dict[tuple[object, ...], _Schedule | None] = {}
        """By the values of a ``_Request``."""

    def price_of(self, call: LlmCall) -> Price:
        """Return the price of a logged call; as :meth:`price`, and 0 for a request that was refused."""
        if call.status != "ok" and call.input_tokens == call.output_tokens == 0 and not call.cost_usd:
            return FREE
        return self.price(call.provider, call.model, call.usage, at=call.ts)

    def price(
        self,
        provider: str | None,
        model: str | None,
        usage: TokenUsage | CallUsage,
        *,
        at: float,
        batch: bool = False,
    ) -> Price:
        """Return the price of a call. Never raises, for any provider, model, count or time.

        The own price counts where usage is known and a table has it; else the stated cost, as the table ``stated``.
        Rates are those of the day and the hour of the call, and of the tier that all input of the call falls in; a sum
        of calls is priced at the base tier, as no single call need have reached another. A modifier (batch, service
        tier, speed, region) needs a price of its own: without one for that time, the call is unpriced. Cached tokens
        and images in the input that genai-prices has no own price for are priced as input, and reasoning as output, as
        its own ``calc_price`` does; audio, and images in the output, are unpriced. A model that is listed without
        prices is free only where its entry states it. Usage is unknown where input was not reported, or output of a
        model that has a price for output, or where a cost is stated for no tokens.

        Args:
            provider: Who served the call; None infers it from the model's name.
            model: The model that answered.
            usage: What was used; its ``calls`` are priced one by one.
            at: Unix time of the call.
            batch: Whether the call was part of a batch, if the usage does not state it.
        """
        if isinstance(usage, TokenUsage):
            usage = CallUsage(usage, batch=batch)
        elif batch and not usage.batch:
            usage = usage._replace(batch=True)
        if usage.calls:
            own = self._sum_of_calls(provider, model, usage, at)
        else:
            own = self._own_price(provider, model, usage, at)
        if usage.cost_usd is None:
            return own
        stated = Decimal(str(usage.cost_usd))
        if own.state == "priced":
            return own._replace(stated_usd=stated)
        return Price("priced", stated, STATED, own.reason or "usage is not known", stated)

    def _sum_of_calls(self, provider: str | None, model: str | None, usage: CallUsage, at: float) -> Price:
        prices = []
        for call in usage.calls:
            shared = call._replace(
                batch=usage.batch, service_tier=usage.service_tier, speed=usage.speed, region=usage.region
            )
            prices.append(self._own_price(provider, model, shared, at))
        failed = next((price for price in prices if price.usd is None), None)
        if failed is not None:
            return failed
        return prices[0]._replace(usd=sum((price.usd for price in prices if price.usd is not None), Decimal(0)))

    def _own_price(self, provider: str | None, model: str | None, usage: CallUsage, at: float) -> Price:
        tokens = usage.tokens
        if tokens.input is None:
            return UNKNOWN_USAGE
        if usage.cost_usd and not (any(tokens) or usage.server_tools):
            return UNKNOWN_USAGE  # something was used all the same
        if not isinstance(model, str) or not model:
            return UNKNOWN_USAGE if tokens.output is None else Price("unpriced", None, None, "the model is not named")
        named = provider if isinstance(provider, str) and provider else None
        key = (named, model, usage.batch, usage.service_tier, usage.speed, usage.region)
        try:
            schedule = self._schedules[key]
        except KeyError:
            schedule = self._find(_Request(*key))
        tariff = None if schedule is None else schedule.at(at)
        if tokens.output is None and (tariff is None or tariff.base.output is not None):
            return UNKNOWN_USAGE
        if schedule is None or tariff is None:
            return Price("unpriced", None, None, _Request(*key).describe())
        try:
            return Price("priced", _amount(tariff, usage), schedule.table)
        except _NoPrice as reason:
            return Price("unpriced", None, None, str(reason))

    def machine(self, provider: str | None, size: str | None) -> MachinePrice | None:
        """Return the hourly price of a machine by the user's table; None where it has none.

        Args:
            provider: The cloud, as ``azure``.
            size: The machine type.
        """
        if self._overrides is None or not isinstance(size, str):
            return None
        for row in self._overrides.machines:
            if row.fits(provider, size):
                return MachinePrice(row.usd_per_hour, self._overrides.table)
        return None

    def _find(self, request: _Request) -> _Schedule | None:
        with self._lock:
            schedule = self._overridden(request) or self._listed(request)
            if len(self._schedules) >= _CACHED_MODELS:
                self._schedules.clear()
            self._schedules[request] = schedule
            return schedule

    def _overridden(self, request: _Request) -> _Schedule | None:
        models = self._overrides.models if self._overrides else ()
        rows = [row for row in models if row.fits(request.provider, request.model)]
        if self._overrides is None or not rows:
            return None
        # a user who prices a model prices it in full: its batch calls are never priced by the other table
        wanted = (request.batch, (request.service_tier, request.speed, request.region))
        row = next((row for row in rows if (row.batch, row.modifiers) == wanted), None)
        tariff = None if row is None else _override_tariff(row)
        return _Schedule(self._overrides.table, lambda _: tariff)

    def _listed(self, request: _Request) -> _Schedule | None:
        if self._book is None:
            try:
                self._book = _GenaiPrices()
            except ImportError:
                return None
        return self._book.schedule(request)


class _GenaiPrices:
    """The price tables of the genai-prices package, as they are when this is made."""

    def __init__(self) -> None:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot

        self._snapshot: DataSnapshot = get_snapshot()
        self._provider_ids = {"bedrock", "google-gla", "google-vertex", *(row.id for row in self._snapshot.providers)}
        self._table = f"genai-prices {genai_prices.__version__}"
        if self._snapshot.from_auto_update:
            self._table += f" updated {self._snapshot.timestamp:%Y-%m-%d}"

    def schedule(self, request: _Request) -> _Schedule | None:
        found = self._find(request.provider, _RESOURCE.sub("", request.model.strip(), 1))
        if found is None:
            return None
        provider, model = found
        if _ALWAYS_SEARCHES.search(model.id):
            return None
        dated = model.prices if isinstance(model.prices, list) else []
        conditions = [row.constraint for row in dated if row.constraint is not None]
        context = request.context()
        if not context:
            return _Schedule(
                self._table, lambda instant: _tariff(model.get_prices(instant), _says_free(model)), conditions
            )
        # an entry of another provider, which this one falls back to, does not state this one's other prices
        own = any(model is listed for listed in provider.models)
        variants = [row for row in model.price_variants or () if row.when == context] if own else []

        def modified_tariff(instant: datetime) -> _Tariff | None:
            if any(row.constraint is None or row.constraint.active(instant) for row in variants):
                return _tariff(model.get_prices(instant, context), False)
            return None

        conditions += [row.constraint for row in variants if row.constraint is not None]
        return _Schedule(self._table, modified_tariff, conditions)

    def _find(self, provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
        if provider is not None:
            provider = _API_OF_PROVIDER.sub("", provider.strip().lower())
            provider = _PROVIDERS.get(provider, provider)
            host, hosted = split_model_name(model)
            if host in _HOSTS and hosted is not None and not self._look_up(provider, model):
                provider, model = _HOSTS[host], hosted
            if found := self._look_up(provider, model):
                return found
            if provider == "anthropic" and "anthropic.claude" in model:  # Anthropic's client for Amazon Bedrock
                return self._look_up("aws", model)
            # a gateway's spelling, provider/model, of the provider that was named
            maker, rest = split_model_name(model)
            return self._look_up(provider, rest or "") if maker is not None and self._same(provider, maker) else None
        # a provider in the model's name states more than the name of the model does
        order = ("litellm", None) if "/" in model else (None,)
        for guess in (*order, "aws") if _BEDROCK_MODEL.match(model.lower()) else order:
            if found := self._look_up(guess, model):
                return found
        # azure_ai/…, and Pydantic AI's and LangChain's anthropic:…
        for separator in "/:":
            maker, _, rest = model.partition(separator)
            if rest and (maker in _PROVIDERS or maker in self._provider_ids):
                return self._find(maker, rest)
        return None

    def _look_up(self, provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
        try:
            return self._snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return None

    def _same(self, provider: str, other: str) -> bool:
        try:
            one, two = (self._snapshot.find_provider(None, name, None) for name in (provider, other))
        except LookupError:
            return False
        return one is two


_KINDS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
_PART_KEYS: Final = {
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "cache_read_image": "cache_image_read_mtok",
    "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok",
    "output_image": "output_image_mtok",
}
_TOOL_KEYS: Final = {
    "web_search": ("web_searches_kcount", 1000),
    "file_search": ("storage_searches_kcount", 1000),
    "x_search": ("social_searches_kcount", 1000),
    "code_execution": ("code_executions_kcount", 1000),
    "search_units": ("rerank_searches_kcount", 1000),
    "citation_tokens": ("output_citation_mtok", 1_000_000),
    "audio_seconds": ("input_audio_hours", 3600),
}
"""genai-prices' keys by the names of server tools, and how many uses the price is for."""


def _says_free(model: ModelInfo) -> bool:
    """Whether an entry without prices says that it is free; others are retired, or part of a subscription."""
    return model.id.endswith(":free") or (model.name or "").lower().endswith("(free)")


def _tariff(prices: ModelPrice, free: bool) -> _Tariff | None:
    """Return the rates of a genai-prices entry; None where it has none for tokens, or an invalid one."""
    kinds = [getattr(prices, f"{kind}_mtok") for kind in _KINDS]
    call = prices.requests_kcount
    if all(price is None for price in kinds):
        nothing = Decimal(0)
        return _Tariff(_Rates(nothing, nothing, nothing, nothing, nothing)) if free and call is None else None
    parts = {kind: price for kind, key in _PART_KEYS.items() if (price := getattr(prices, key)) is not None}
    tools = {tool: price for tool, (key, _) in _TOOL_KEYS.items() if (price := getattr(prices, key)) is not None}
    listed = [*kinds, call, *parts.values(), *tools.values()]
    tiers = [tier for price in listed for tier in getattr(price, "tiers", ())]

    def rates(all_input: int) -> _Rates | None:
        at_size = [_in_tier(price, all_input) for price in listed]
        if any(price is not None and not (price.is_finite() and price >= 0) for price in at_size):
            return None
        fresh, cache_read, cache_write, cache_write_1h, output = (
            None if price is None else price.scaleb(-6) for price in at_size[:5]
        )
        cache_write = fresh if cache_write is None else cache_write
        rest = [price or Decimal(0) for price in at_size[6:]]
        return _Rates(
            fresh,
            fresh if cache_read is None else cache_read,
            cache_write,
            cache_write if cache_write_1h is None else cache_write_1h,
            output,
            (at_size[5] or Decimal(0)).scaleb(-3),
            {kind: price.scaleb(-6) for kind, price in zip(parts, rest, strict=False)},
            {tool: price / _TOOL_KEYS[tool][1] for tool, price in zip(tools, rest[len(parts) :], strict=True)},
            tuple(part for part in ("output_audio", "output_image") if part in parts),
        )

    base = rates(0)
    above = [(start, rates(start + 1)) for start in sorted({tier.start for tier in tiers}, reverse=True)]
    known = tuple((start, tier) for start, tier in above if tier is not None)
    return None if base is None or len(known) < len(above) else _Tariff(base, known)


def _in_tier(price: Decimal | TieredPrices | None, all_input: int) -> Decimal | None:
    """Return the price for a call with so many input tokens: that of the highest tier that starts below it."""
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier for tier in price.tiers if all_input > tier.start]
    return max(reached, key=lambda tier: tier.start).price if reached else price.base
