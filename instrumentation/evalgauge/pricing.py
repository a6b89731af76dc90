"""What model calls and machines cost: genai-prices' tables under a table of the user's own.

Each call is in one of three money states. ``priced``: its price is known. ``unpriced``: nothing prices that model, or a
kind of its tokens. ``unknown_usage``: the provider did not report what was used. Only a priced call has an amount:
nothing is taken as 0 or as some default model's price.

genai-prices is optional (the ``exporter`` extra) and imported when the first call is priced; without it only the
user's table prices anything. A lookup there takes some 150 µs, so what it finds is kept for each model.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from evalgauge.events import LlmCall
from evalgauge.model_names import split_model_name
from evalgauge.price_overrides import ModelOverride, Overrides
from evalgauge.usage import TokenUsage

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


class Price(NamedTuple):
    """What one call cost."""

    state: State
    usd: Decimal | None
    """None unless the state is ``priced``."""
    table: str | None
    """Name and version of the table that priced it, such as ``genai-prices 0.2.3`` or ``overrides prices.toml``."""


class MachinePrice(NamedTuple):
    """What a machine costs while it exists, in USD an hour, and the table that says so."""

    usd_per_hour: Decimal
    table: str


UNPRICED: Final = Price("unpriced", None, None)
UNKNOWN_USAGE: Final = Price("unknown_usage", None, None)

_KEPT_MODELS = 4096  # names come from logs: more than any run has, and a bound on what a hostile log can fill

# the names that the OpenTelemetry conventions and SDK wrappers have for providers, where genai-prices has another or
# would take a reseller for the maker of the model
_PROVIDERS = {
    "x_ai": "x-ai",
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azureopenai": "azure",
    "anthropic_bedrock": "aws",
    "anthropic-bedrock": "aws",
    "anthropic_vertex": "google",
    "anthropic-vertex": "google",
}
# models in Amazon Bedrock are named by region (optional), maker and model: us.anthropic.claude-…
_BEDROCK_MODEL = re.compile(r"(?:[a-z]{2,8}\.)?[a-z0-9]+\.[a-z]")


class _Rates(NamedTuple):
    """USD a token by kind, None where there is no price, and USD for the call itself."""

    input: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    """Of cache writes that live for an hour."""
    output: Decimal | None
    call: Decimal = Decimal(0)


class _Tariff(NamedTuple):
    base: _Rates
    tiers: tuple[tuple[int, _Rates], ...] = ()
    """(input tokens above which the rates hold for all tokens of the call, rates), the highest first."""


def _amount(tariff: _Tariff, tokens: TokenUsage, cache_write_1h: int) -> Decimal | None:
    """The sum of tokens × rate; None where a kind that was used has no rate."""
    fresh, cache_read, cache_write, output = tokens
    for_an_hour = min(max(cache_write_1h, 0), cache_write or 0)
    rates = tariff.base
    if tariff.tiers:
        all_input = (fresh or 0) + (cache_read or 0) + (cache_write or 0)
        for start, tier in tariff.tiers:
            if all_input > start:
                rates = tier
                break
    total = rates.call
    for count, rate in (
        (fresh, rates.input),
        (cache_read, rates.cache_read),
        ((cache_write or 0) - for_an_hour, rates.cache_write),
        (for_an_hour, rates.cache_write_1h),
        (output, rates.output),
    ):
        if count:
            if rate is None:
                return None
            total += rate * count
    return total


def _override_tariff(row: ModelOverride) -> _Tariff:
    cached = (row.cache_read, row.cache_write, row.cache_write_1h)
    read, write, write_1h = (None if price is None else price.scaleb(-6) for price in cached)
    return _Tariff(_Rates(row.input.scaleb(-6), read, write, write_1h, row.output.scaleb(-6)))


class _Schedule:
    """The tariffs of one model. Which of them holds depends on the conditions that are met at a time."""

    def __init__(
        self,
        table: str,
        look_up: Callable[[datetime], _Tariff | None],
        conditions: Iterable[StartDateConstraint | TimeOfDateConstraint] = (),
    ) -> None:
        self.table = table
        self._look_up = look_up
        self._conditions = tuple(conditions)
        # what is met decides, so each combination is looked up once and not each moment
        self._tariffs: dict[tuple[bool, ...], _Tariff | None] = {}

    def at(self, when: float) -> _Tariff | None:
        """The tariff at a Unix time; None where there is none, or where it depends on a time that cannot be."""
        met: tuple[bool, ...] = ()
        moment = _EPOCH
        if self._conditions:
            try:
                moment = datetime.fromtimestamp(when, UTC)
            except (TypeError, ValueError, OverflowError, OSError):
                return None
            met = tuple(condition.active(moment) for condition in self._conditions)
        if met not in self._tariffs:
            self._tariffs[met] = self._look_up(moment)
        return self._tariffs[met]


_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class PriceTable:
    """The prices of calls and machines: the user's table first, then genai-prices.

    Safe to share between threads. One table keeps the prices that it began with.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        self._overrides = overrides
        self._lock = threading.Lock()
        self._book: _GenaiPrices | None = None
        self._schedules: dict[tuple[str | None, str, bool], _Schedule | None] = {}

    def price_of(self, call: LlmCall) -> Price:
        """What a call that was logged cost; as :meth:`price`."""
        return self.price(
            call.provider,
            call.model,
            call.tokens,
            at=call.ts,
            batch=call.batch,
            cache_write_1h=call.cache_write_1h_tokens,
        )

    def price(
        self,
        provider: str | None,
        model: str | None,
        tokens: TokenUsage,
        *,
        at: float,
        batch: bool = False,
        cache_write_1h: int | None = None,
    ) -> Price:
        """What a call at the Unix time ``at`` cost; never raises for any provider, model, count or time.

        Without a ``provider`` it is inferred from the model's name. Rates are those of the day and the hour of ``at``,
        of the tier that all input of the call falls in, and, for ``batch``, of batch processing: where no batch price
        is known for that time, the call is unpriced. Cached tokens that genai-prices has no own price for are priced
        as input, as its own ``calc_price`` does; in a user's table they are unpriced. A model that is listed without
        prices is free only where its entry says so. Usage is unknown where input was not reported, or output of a
        model that has a price for output. ``cache_write_1h`` says how many of the cache writes live for an hour; the
        others count as those of the shortest life, and every call as one of the standard service tier and speed.
        """
        if tokens.input is None:
            return UNKNOWN_USAGE
        if not isinstance(model, str) or not model:
            return UNKNOWN_USAGE if tokens.output is None else UNPRICED
        key = (provider if isinstance(provider, str) and provider else None, model, batch)
        try:
            schedule = self._schedules[key]
        except KeyError:
            schedule = self._find(*key)
        tariff = None if schedule is None else schedule.at(at)
        if tokens.output is None and (tariff is None or tariff.base.output is not None):
            return UNKNOWN_USAGE
        usd = None if tariff is None else _amount(tariff, tokens, cache_write_1h or 0)
        if schedule is None or usd is None:
            return UNPRICED
        return Price("priced", usd, schedule.table)

    def machine(self, provider: str | None, size: str | None) -> MachinePrice | None:
        """The hourly price of a machine of that provider and size, out of the user's table; None: not known."""
        if self._overrides is None or not isinstance(size, str):
            return None
        for row in self._overrides.machines:
            if row.fits(provider, size):
                return MachinePrice(row.usd_per_hour, self._overrides.table)
        return None

    def _find(self, provider: str | None, model: str, batch: bool) -> _Schedule | None:
        with self._lock:
            schedule = self._overridden(provider, model, batch) or self._listed(provider, model, batch)
            if len(self._schedules) >= _KEPT_MODELS:
                self._schedules.clear()
            self._schedules[provider, model, batch] = schedule
            return schedule

    def _overridden(self, provider: str | None, model: str, batch: bool) -> _Schedule | None:
        rows = [row for row in self._overrides.models if row.fits(provider, model)] if self._overrides else []
        if self._overrides is None or not rows:
            return None
        # a user who prices a model prices it in full: its batch calls are never priced by the other table
        row = next((row for row in rows if row.batch is batch), None)
        tariff = None if row is None else _override_tariff(row)
        return _Schedule(self._overrides.table, lambda _: tariff)

    def _listed(self, provider: str | None, model: str, batch: bool) -> _Schedule | None:
        if self._book is None:
            try:
                self._book = _GenaiPrices()
            except ImportError:
                return None
        return self._book.schedule(provider, model, batch)


class _GenaiPrices:
    """The price tables of the genai-prices package, as they are when this is made."""

    def __init__(self) -> None:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot

        self._snapshot: DataSnapshot = get_snapshot()
        self._table = f"genai-prices {genai_prices.__version__}"
        if self._snapshot.from_auto_update:
            self._table += f" updated {self._snapshot.timestamp:%Y-%m-%d}"

    def schedule(self, provider_name: str | None, model_name: str, batch: bool) -> _Schedule | None:
        found = self._find(provider_name, model_name.strip().removeprefix("models/"))
        if found is None:
            return None
        provider, model = found
        dated = model.prices if isinstance(model.prices, list) else []
        conditions = [row.constraint for row in dated if row.constraint is not None]
        if not batch:
            return _Schedule(
                self._table, lambda moment: _tariff(model.get_prices(moment), _says_free(model)), conditions
            )
        # an entry of another provider, which this one falls back to, does not tell this one's batch price
        own = any(model is listed for listed in provider.models)
        variants = [row for row in model.price_variants or () if row.when == _BATCH] if own else []

        def batch_tariff(moment: datetime) -> _Tariff | None:
            if any(row.constraint is None or row.constraint.active(moment) for row in variants):
                return _tariff(model.get_prices(moment, _BATCH), False)
            return None

        conditions += [row.constraint for row in variants if row.constraint is not None]
        return _Schedule(self._table, batch_tariff, conditions)

    def _find(self, provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
        if provider is not None:
            provider = _PROVIDERS.get(provider.strip().lower(), provider)
            if found := self._look_up(provider, model):
                return found
            # a gateway's spelling, provider/model, of the provider that was named
            maker, rest = split_model_name(model)
            return self._look_up(provider, rest or "") if maker is not None and self._same(provider, maker) else None
        # a provider in the model's name tells more than the name of the model does
        order = ("litellm", None) if "/" in model else (None,)
        for guess in (*order, "aws") if _BEDROCK_MODEL.match(model.lower()) else order:
            if found := self._look_up(guess, model):
                return found
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


_BATCH: Final = {"processing": "batch"}
_KINDS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


def _says_free(model: ModelInfo) -> bool:
    """Whether an entry without prices says that it is free; others are retired, or part of a subscription."""
    return model.id.endswith(":free") or (model.name or "").lower().endswith("(free)")


def _tariff(prices: ModelPrice, free: bool) -> _Tariff | None:
    """The rates of a genai-prices entry, None where it has none for tokens or one that cannot be."""
    kinds = [getattr(prices, f"{kind}_mtok") for kind in _KINDS]
    call = prices.requests_kcount
    if all(price is None for price in kinds):
        return _Tariff(_Rates(*[Decimal(0)] * 5)) if free and call is None else None
    tiers = [tier for price in (*kinds, call) for tier in getattr(price, "tiers", ())]

    def rates(all_input: int) -> _Rates | None:
        at_size = [_in_tier(price, all_input) for price in (*kinds, call)]
        if any(price is not None and not (price.is_finite() and price >= 0) for price in at_size):
            return None
        *by_token, per_call = at_size
        fresh, cache_read, cache_write, cache_write_1h, output = (
            None if price is None else price.scaleb(-6) for price in by_token
        )
        cache_write = fresh if cache_write is None else cache_write
        return _Rates(
            fresh,
            fresh if cache_read is None else cache_read,
            cache_write,
            cache_write if cache_write_1h is None else cache_write_1h,
            output,
            (per_call or Decimal(0)).scaleb(-3),
        )

    base = rates(0)
    above = [(start, rates(start + 1)) for start in sorted({tier.start for tier in tiers}, reverse=True)]
    known = tuple((start, tier) for start, tier in above if tier is not None)
    return None if base is None or len(known) < len(above) else _Tariff(base, known)


def _in_tier(price: Decimal | TieredPrices | None, all_input: int) -> Decimal | None:
    """The price that holds for a call with so much input: of the highest tier that starts below it."""
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier for tier in price.tiers if all_input > tier.start]
    return max(reached, key=lambda tier: tier.start).price if reached else price.base
