"""Prices of calls: genai-prices' own calculation and sums by hand from published prices are the independent truth."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, __version__, calc_price
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
)
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import costs
from evalgauge.errors import PriceTableError
from evalgauge.events import LlmCall
from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import STATED, UNKNOWN_USAGE, MachinePrice, Price, PriceTable
from evalgauge.usage import NOTHING, UNKNOWN, CallUsage, TokenUsage, parse_call, parse_usage

AT = datetime(2026, 2, 1, 12, tzinfo=UTC).timestamp()
TABLE = f"genai-prices {__version__}"


@cache
def book() -> PriceTable:
    return PriceTable()


def cost(provider: str | None, model: str | None, used: TokenUsage, at: float = AT, *, batch: bool = False) -> float:
    price = book().price(provider, model, used, at=at, batch=batch)
    assert price.state == "priced"
    assert price.usd is not None
    return float(price.usd)


def priced_by_genai(
    provider: str,
    model: str,
    used: TokenUsage,
    at: float,
    context: dict[str, str] | None = None,
    for_an_hour: int = 0,
) -> Decimal:
    fresh, cache_read, cache_write, output = (count or 0 for count in used)
    usage = Usage(
        input_tokens=fresh + cache_read + cache_write,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=for_an_hour,
        output_tokens=output,
    )
    when = datetime.fromtimestamp(at, UTC)
    return calc_price(
        usage, model, provider_id=provider, genai_request_timestamp=when, price_context=context
    ).total_price


def test_the_worked_example_of_sonnet_costs_half_a_dollar() -> None:
    assert cost("anthropic", "claude-sonnet-4-5", TokenUsage(125_000, None, None, 8_500)) == pytest.approx(
        0.5025, abs=1e-12
    )


def test_gpt_5_1_costs_its_published_prices() -> None:
    for used, per_million in (
        (TokenUsage(1_000_000, 0, None, 0), 1.25),
        (TokenUsage(0, 1_000_000, None, 0), 0.125),
        (TokenUsage(0, 0, None, 1_000_000), 10),
    ):
        assert cost("openai", "gpt-5.1", used) == pytest.approx(per_million, abs=1e-12)


# USD per million tokens, from the providers' price pages; the counts are those of one call in each SDK's shape
SHAPES = [
    pytest.param(
        "anthropic",
        "claude-sonnet-4-5",
        {
            "input_tokens": 2_095,
            "cache_read_input_tokens": 18_000,
            "cache_creation_input_tokens": 1_200,
            "output_tokens": 503,
        },
        (2_095 * 3 + 18_000 * 0.30 + 1_200 * 3.75 + 503 * 15) / 1e6,
        id="anthropic",
    ),
    pytest.param(
        "openai",
        "gpt-5.1",
        {
            "prompt_tokens": 20_006,
            "completion_tokens": 300,
            "total_tokens": 20_306,
            "prompt_tokens_details": {"cached_tokens": 19_200},
            "completion_tokens_details": {"reasoning_tokens": 128},
        },
        (806 * 1.25 + 19_200 * 0.125 + 300 * 10) / 1e6,
        id="openai chat",
    ),
    pytest.param(
        "openai",
        "gpt-5.1",
        {"input_tokens": 20_006, "input_tokens_details": {"cached_tokens": 19_200}, "output_tokens": 300},
        (806 * 1.25 + 19_200 * 0.125 + 300 * 10) / 1e6,
        id="openai responses",
    ),
    pytest.param(
        "google",
        "gemini-2.5-pro",
        {
            "prompt_token_count": 10_000,
            "cached_content_token_count": 6_000,
            "candidates_token_count": 400,
            "thoughts_token_count": 600,
        },
        (4_000 * 1.25 + 6_000 * 0.125 + 1_000 * 10) / 1e6,
        id="gemini",
    ),
    pytest.param(
        "anthropic",
        "claude-sonnet-4-5",
        {
            "gen_ai.usage.input_tokens": 21_295,
            "gen_ai.usage.cache_read.input_tokens": 18_000,
            "gen_ai.usage.cache_creation.input_tokens": 1_200,
            "gen_ai.usage.output_tokens": 503,
        },
        (2_095 * 3 + 18_000 * 0.30 + 1_200 * 3.75 + 503 * 15) / 1e6,
        id="opentelemetry",
    ),
    pytest.param(
        "anthropic",
        "claude-sonnet-4-5",
        {"input_tokens": 1_500, "output_tokens": 42},
        (1_500 * 3 + 42 * 15) / 1e6,
        id="openadapt",
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "usd"), SHAPES)
def test_a_call_costs_the_sum_by_hand_in_each_shape(
    provider: str, model: str, usage: dict[str, Any], usd: float
) -> None:
    assert cost(provider, model, parse_usage(usage)) == pytest.approx(usd, abs=1e-9, rel=0)


def every_entry() -> Iterator[tuple[str, str, ModelInfo]]:
    """Provider, model id and the entry that this id leads to; a few ids of regional entries lead to none."""
    snapshot = get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            with suppress(LookupError):
                yield provider.id, model.id, snapshot.find_provider_model(model.id, None, provider.id, None)[1]


def test_every_listed_model_is_priced_as_genai_prices_does_or_has_no_price_for_tokens() -> None:
    used = TokenUsage(1_000, 300, 20, 77)
    moment = datetime.fromtimestamp(AT, UTC)
    states = {"priced": 0, "unpriced": 0}
    for provider, model, entry in every_entry():
        price = book().price(provider, model, used, at=AT)
        states[price.state] += 1
        if price.usd is None:
            rates = entry.get_prices(moment)
            mixed = rates.output_audio_mtok or rates.output_image_mtok  # how much of the output is that, is not known
            searches = "-search-" in model  # and what that costs is not listed
            assert rates.input_mtok is None or rates.output_mtok is None or mixed or searches, (provider, model)
        else:
            assert abs(price.usd - priced_by_genai(provider, model, used, AT)) <= Decimal("1e-12"), (provider, model)
            assert price.table == TABLE
    assert states["priced"] > 1_000
    assert states["unpriced"] > 50


CONDITIONAL = [
    (provider, model)
    for provider, model, entry in every_entry()
    if isinstance(entry.prices, list) or "tiers" in repr(entry.prices) or entry.price_variants
]
counts = st.one_of(
    st.integers(0, 1_000), st.integers(0, 600_000), st.sampled_from([199_999, 200_000, 200_001, 272_001])
)
times = st.integers(
    int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 6, 1, tzinfo=UTC).timestamp())
)
usages = st.builds(TokenUsage, counts, counts, counts, counts)


@given(st.sampled_from(CONDITIONAL), usages, times)
def test_tiers_and_historic_prices_equal_those_of_genai_prices(
    entry: tuple[str, str], used: TokenUsage, at: int
) -> None:
    price = book().price(*entry, used, at=at)
    if price.usd is not None:
        assert abs(price.usd - priced_by_genai(*entry, used, at)) <= Decimal("1e-12")


@given(st.sampled_from(CONDITIONAL), usages, times)
def test_a_batch_price_is_that_of_genai_prices_and_never_the_standard_one_in_its_place(
    entry: tuple[str, str], used: TokenUsage, at: int
) -> None:
    price = book().price(*entry, used, at=at, batch=True)
    moment = datetime.fromtimestamp(at, UTC)
    model = get_snapshot().find_provider_model(entry[1], None, entry[0], None)[1]
    known = any(
        row.when == {"processing": "batch"} and (row.constraint is None or row.constraint.active(moment))
        for row in model.price_variants or ()
    )
    if not known:
        assert price.state == "unpriced"
    elif price.usd is not None:
        expected = priced_by_genai(*entry, used, at, {"processing": "batch"})
        assert abs(price.usd - expected) <= Decimal("1e-12")


def test_a_long_prompt_pays_the_higher_tier_for_all_of_its_tokens() -> None:
    at_most = TokenUsage(100_000, 100_000, 0, 1_000)
    assert cost("anthropic", "claude-sonnet-4-5", at_most) == pytest.approx(0.3 + 0.03 + 0.015, abs=1e-12)
    above = TokenUsage(100_001, 100_000, 0, 1_000)
    assert cost("anthropic", "claude-sonnet-4-5", above) == pytest.approx(0.600006 + 0.06 + 0.0225, abs=1e-12)


@given(st.sampled_from(CONDITIONAL), usages, times, counts)
def test_one_hour_cache_writes_cost_what_genai_prices_states(
    entry: tuple[str, str], used: TokenUsage, at: int, for_an_hour: int
) -> None:
    for_an_hour = min(for_an_hour, used.cache_write or 0)
    price = book().price(*entry, CallUsage(used, for_an_hour), at=at)
    if price.usd is not None:
        expected = priced_by_genai(*entry, used, at, for_an_hour=for_an_hour)
        assert abs(price.usd - expected) <= Decimal("1e-12")


def test_a_cache_write_for_an_hour_costs_twice_the_input() -> None:
    used = TokenUsage(0, 0, 1_000_000, 0)
    assert book().price("anthropic", "claude-opus-4-5", used, at=AT).usd == Decimal("6.25")
    assert book().price("anthropic", "claude-opus-4-5", CallUsage(used, 1_000_000), at=AT).usd == 10
    assert book().price("anthropic", "claude-opus-4-5", CallUsage(used, 400_000), at=AT).usd == Decimal("7.75")
    # more than were written, or fewer than none, cannot be
    assert book().price("anthropic", "claude-opus-4-5", CallUsage(used, 10**8), at=AT).usd == 10
    assert book().price("anthropic", "claude-opus-4-5", CallUsage(used, -5), at=AT).usd == Decimal("6.25")


def test_a_price_by_the_hour_follows_the_time_of_the_call() -> None:
    used = TokenUsage(1_000_000, None, None, 0)
    by_hour = [
        cost("deepseek", "deepseek-chat", used, datetime(2025, 7, 1, h, tzinfo=UTC).timestamp()) for h in (12, 20)
    ]
    assert by_hour == pytest.approx([0.27, 0.135])


def test_batch_halves_the_price_of_sonnet_once_its_batch_price_is_known() -> None:
    used = TokenUsage(125_000, None, None, 8_500)
    late = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert cost("anthropic", "claude-sonnet-4-5", used, late, batch=True) == pytest.approx(0.25125)
    assert book().price("anthropic", "claude-sonnet-4-5", used, at=AT, batch=True).state == "unpriced"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929"),
        (None, "claude-sonnet-4-5-20250929"),
        ("Anthropic", "Claude-Sonnet-4-5"),
        ("anthropic", "anthropic/claude-sonnet-4-5"),
        (None, "anthropic/claude-sonnet-4-5"),
        ("", "claude-sonnet-4-5"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        (None, "openrouter/anthropic/claude-sonnet-4.5"),
        ("litellm", "anthropic/claude-sonnet-4-5"),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929"),
    ],
)
def test_a_model_is_found_by_the_names_that_logs_have_for_it(provider: str | None, model: str) -> None:
    assert cost(provider, model, TokenUsage(1_000_000 // 8, None, None, 0)) == pytest.approx(0.375)


@pytest.mark.parametrize(
    ("provider", "model", "listed_under"),
    [
        ("azure.ai.openai", "gpt-5.1-2025-11-13", "azure"),
        ("azure_openai", "gpt-4o", "azure"),
        ("x_ai", "grok-4", "x-ai"),
        ("gcp.gen_ai", "gemini-2.5-pro", "google"),
        (None, "models/gemini-2.5-pro", "google"),
        (None, "gemini/gemini-2.5-pro", "google"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        (None, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("mistral_ai", "mistral-large-latest", "mistral"),
        ("openai.responses", "gpt-5.1", "openai"),
        ("az.ai.inference", "gpt-4o", "azure"),
        (None, "azure_ai/gpt-4o", "azure"),
        (None, "openai:gpt-5.1", "openai"),
        ("vertex_ai", "projects/p/locations/global/publishers/google/models/gemini-2.5-pro", "google"),
        ("Anthropic", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        (
            None,
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws",
        ),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
    ],
)
def test_a_provider_is_known_by_the_names_of_the_conventions(
    provider: str | None, model: str, listed_under: str
) -> None:
    used = TokenUsage(3_000, None, None, 500)
    bare = re.split("[/:]", model, maxsplit=1)[-1] if model.startswith("openai:") else model.rpartition("/")[2]
    assert cost(provider, model, used) == pytest.approx(float(priced_by_genai(listed_under, bare, used, AT)), abs=1e-12)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-99"),
        (None, "my-finetune"),
        ("unheard-of", "gpt-5.1"),
        ("openai", "anthropic/claude-sonnet-4-5"),
        ("openai", None),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"),
        ("azure", "our-deployment"),
        ("openai", "gpt-4o-search-preview"),
        (None, "gpt-oss:20b"),
        (None, ""),
        (None, None),
        ("github-copilot", "gpt-4o"),  # listed without a price: part of a subscription
        ("openai", 7),
        (["openai"], "gpt-9000"),
    ],
)
def test_what_no_table_prices_is_unpriced_and_never_free(provider: Any, model: Any) -> None:
    assert book().price(provider, model, TokenUsage(10, None, None, 1), at=AT).state == "unpriced"


def test_an_entry_marked_as_free_costs_nothing() -> None:
    price = book().price("openrouter", "deepseek-chat:free", TokenUsage(10, None, None, 1), at=AT)
    assert price == Price("priced", Decimal(0), TABLE)


def test_usage_that_was_not_reported_is_unknown_and_not_zero() -> None:
    for used in (
        UNKNOWN,
        TokenUsage(None, None, None, 5),
        TokenUsage(5, None, None, None),
        TokenUsage(None, 9, 9, None),
    ):
        assert book().price("anthropic", "claude-sonnet-4-5", used, at=AT) == UNKNOWN_USAGE
    assert book().price(None, None, UNKNOWN, at=AT) == UNKNOWN_USAGE


def test_zero_tokens_that_were_reported_cost_a_real_zero() -> None:
    assert cost("anthropic", "claude-sonnet-4-5", NOTHING) == 0
    stated = CallUsage(NOTHING, cost_usd=0.5)  # something was used all the same
    assert book().price("anthropic", "claude-sonnet-4-5", stated, at=AT)[1:3] == (Decimal("0.5"), STATED)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-sonnet-4-5"), ("perplexity", "sonar-pro"), (None, "a-model-of-no-table"), (None, None)],
)
def test_a_request_that_was_refused_costs_nothing_whatever_its_model_costs(
    provider: str | None, model: str | None
) -> None:
    refused = LlmCall(ts=AT, provider=provider, model=model, input_tokens=0, output_tokens=0, status="retry")
    assert book().price_of(refused) == Price("priced", Decimal(0), None)
    answered = LlmCall(ts=AT, provider=None, model="a-model-of-no-table", input_tokens=0, output_tokens=0)
    assert book().price_of(answered).state == "unpriced", "a server may write zeros where it does not count"


def test_output_of_a_model_that_draws_or_speaks_has_to_be_told_apart() -> None:
    drawn = CallUsage(TokenUsage(10, None, None, 1_000))
    unknown = book().price("google", "gemini-2.5-flash-image", drawn, at=AT)
    assert (unknown.state, unknown.usd) == ("unpriced", None)
    assert unknown.reason == "how many of the output tokens are output_image tokens is not reported"
    for images, usd in ((0, 0.002503), (1_000, 0.030003)):
        known = drawn._replace(output_image_tokens=images)
        assert book().price("google", "gemini-2.5-flash-image", known, at=AT).usd == Decimal(str(usd))


def test_cached_images_cost_what_the_table_states_for_them(tmp_path: Path) -> None:
    used = CallUsage(
        TokenUsage(400, 600, None, 0),
        input_image_tokens=300,
        cache_read_image_tokens=500,
        cache_read_audio_tokens=0,
        output_audio_tokens=0,
    )
    price = book().price("openai", "gpt-realtime", used, at=AT)
    assert price.usd == (100 * 4 + 300 * 5 + 100 * Decimal("0.4") + 500 * Decimal("0.5")) / 1_000_000
    own = '[[model]]\nmatch = "gpt-*"\ninput = 4\noutput = 9\ncache_read = 0.4\ncache_read_image = 1'
    price = overridden(tmp_path, own).price("openai", "gpt-realtime", used, at=AT)
    assert price.usd == (400 * 4 + 100 * Decimal("0.4") + 500) / 1_000_000


def test_a_request_s_fee_that_depends_on_its_search_is_not_that_of_the_largest() -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 439, "total_tokens": 447, "search_context_size": "low"}
    price = book().price("perplexity", "sonar-pro", parse_call(usage), at=AT)
    assert (price.state, price.reason) == ("unpriced", "no price for the tool search_context_low")
    stated = {**usage, "cost": {"request_cost": 0.006, "total_cost": 0.012609}}
    price = book().price("perplexity", "sonar-pro", parse_call(stated), at=AT)
    assert (price.usd, price.table) == (Decimal("0.012609"), STATED)
    high = book().price("perplexity", "sonar-pro", parse_call({**usage, "search_context_size": "high"}), at=AT)
    assert high.usd == Decimal("0.020609")


def test_a_model_without_output_needs_no_output_count() -> None:
    assert cost("openai", "text-embedding-3-small", TokenUsage(1_000_000, None, None, None)) == pytest.approx(0.02)
    assert book().price("openai", "text-embedding-3-small", TokenUsage(1, None, None, 1), at=AT).state == "unpriced"


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1e300, 1e300])
def test_a_time_that_cannot_be_leaves_only_prices_that_changed_unknown(at: float) -> None:
    assert book().price("deepseek", "deepseek-chat", TokenUsage(1, None, None, 1), at=at).state == "unpriced"
    assert cost("openai", "gpt-5.1", TokenUsage(1_000_000, None, None, 0), at) == pytest.approx(1.25)


TIER_FREE = [("openai", "gpt-5.1"), ("azure", "gpt-4o"), ("mistral", "mistral-large-latest")]


@given(st.sampled_from(TIER_FREE), st.lists(usages, min_size=1, max_size=8))
def test_splitting_calls_does_not_change_the_sum_of_a_model_without_tiers(
    entry: tuple[str, str], calls: list[TokenUsage]
) -> None:
    apart = sum(cost(*entry, call) for call in calls)
    together = TokenUsage(*(sum(call[kind] or 0 for call in calls) for kind in range(4)))
    assert apart == pytest.approx(cost(*entry, together), rel=1e-12, abs=1e-12)


@given(st.sampled_from([*TIER_FREE, ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro")]), usages, usages)
def test_cost_grows_with_tokens(entry: tuple[str, str], used: TokenUsage, more: TokenUsage) -> None:
    grown = TokenUsage(*((count or 0) + (extra or 0) for count, extra in zip(used, more, strict=True)))
    assert cost(*entry, grown) >= cost(*entry, used) >= 0


def listed(**prices: Any) -> PriceTable:
    """A table over a snapshot of genai-prices with one model, ``m-1`` of ``p``."""
    model = ModelInfo(id="m-1", match=ClauseStartsWith("m-"), prices=ModelPrice(**prices))
    return snapshot_of(model)


def snapshot_of(model: ModelInfo) -> PriceTable:
    provider = Provider(id="p", name="P", api_pattern="https://p", models=[model])
    table = PriceTable()
    set_custom_snapshot(DataSnapshot([provider], from_auto_update=False))
    try:
        table.price("p", "m-0", TokenUsage(1, None, None, 1), at=AT)  # it takes the snapshot at its first price
    finally:
        set_custom_snapshot(None)
    return table


def test_a_zero_that_the_table_states_is_a_price_and_a_negative_one_is_none() -> None:
    used = TokenUsage(5, None, None, 5)
    assert listed(input_mtok=Decimal(0), output_mtok=Decimal(0)).price("p", "m-1", used, at=AT).usd == 0
    for prices in (
        {},
        {"input_mtok": Decimal(-1), "output_mtok": Decimal(1)},
        {"input_mtok": Decimal("NaN"), "output_mtok": Decimal(1)},
        {"input_mtok": Decimal(1)},
        {"output_mtok": Decimal(1)},
        {"input_mtok": TieredPrices(Decimal(1), [Tier(9, Decimal(-1))]), "output_mtok": Decimal(1)},
    ):
        assert listed(**prices).price("p", "m-1", used, at=AT).state == "unpriced"


def test_a_price_for_each_request_is_added() -> None:
    table = listed(input_mtok=Decimal(1), output_mtok=Decimal(2), requests_kcount=Decimal(5))
    assert table.price("p", "m-1", TokenUsage(1_000, None, None, 500), at=AT).usd == Decimal("0.007")


def test_a_price_that_starts_on_a_day_holds_from_midnight_utc() -> None:
    first, second = (ModelPrice(input_mtok=Decimal(price), output_mtok=Decimal(0)) for price in (1, 2))
    change = ConditionalPrice(StartDateConstraint(date(2026, 1, 5)), prices=second)
    table = snapshot_of(ModelInfo("m-1", ClauseStartsWith("m-"), prices=[ConditionalPrice(prices=first), change]))
    midnight = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
    used = TokenUsage(1_000_000, None, None, 0)
    # out of order, as retried and replayed calls come
    by_time = [table.price("p", "m-1", used, at=midnight + after).usd for after in (0, -1, 1, -86_400, 86_400)]
    assert by_time == [2, 1, 2, 1, 2]


def test_importing_the_module_does_not_import_the_optional_price_list() -> None:
    code = "import sys, evalgauge.pricing, evalgauge.cost_tracker; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_optional_price_list_only_the_users_table_prices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    used = TokenUsage(1_000_000, None, None, 0)
    assert PriceTable().price("openai", "gpt-5.1", used, at=AT).state == "unpriced"
    table = overridden(tmp_path, '[[model]]\nmatch = "gpt-*"\ninput = 7\noutput = 8')
    assert table.price("openai", "gpt-5.1", used, at=AT).usd == 7
    assert table.price("openai", "o3", used, at=AT).state == "unpriced"


def overridden(folder: Path, text: str) -> PriceTable:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return PriceTable(load_overrides(path))


RATES = """
name = "team prices"
version = "2026-10"

[[model]]
provider = "anthropic"
match = "claude-sonnet-*"
input = 1.5
output = 7.25
cache_read = 0.1

[[model]]
match = "claude-*"
input = 100
output = 200

[[model]]
match = "claude-*"
input = 50
output = 100
batch = true

[[machine]]
provider = "azure"
match = "Standard_D4ds_v5"
usd_per_hour = 0.226

[[machine]]
match = "Standard_D*"
usd_per_hour = 1
"""


def test_the_users_table_wins_and_its_first_fitting_row_holds(tmp_path: Path) -> None:
    table = overridden(tmp_path, RATES)
    used = TokenUsage(1_000_000, 1_000_000, 0, 1_000_000)
    own = "overrides team prices 2026-10"
    assert table.price("Anthropic", "Claude-Sonnet-4-5", used, at=AT) == Price("priced", Decimal("8.85"), own)
    # the first row is for calls that name its provider
    unnamed = table.price(None, "claude-sonnet-4-5", TokenUsage(10_000, 0, 0, 0), at=AT)
    assert unnamed == Price("priced", Decimal(1), own)
    assert table.price("openai", "gpt-5.1", used, at=AT).table == TABLE


def test_tokens_of_a_kind_that_the_users_table_does_not_price_make_the_call_unpriced(tmp_path: Path) -> None:
    table = overridden(tmp_path, RATES)
    assert table.price("anthropic", "claude-sonnet-4-5", TokenUsage(1, 1, 1, 1), at=AT).state == "unpriced"
    assert table.price("anthropic", "claude-opus-4-5", TokenUsage(1, 1, None, 1), at=AT).state == "unpriced"
    writes = '[[model]]\nmatch = "claude-*"\ninput = 1\noutput = 1\ncache_write = 2'
    table = overridden(tmp_path, writes)
    used = TokenUsage(0, 0, 1_000_000, 0)
    assert table.price("anthropic", "claude-opus-4-5", used, at=AT).usd == 2
    assert table.price("anthropic", "claude-opus-4-5", CallUsage(used, 1), at=AT).state == "unpriced"
    table = overridden(tmp_path, f"{writes}\ncache_write_1h = 4")
    assert table.price("anthropic", "claude-opus-4-5", CallUsage(used, 500_000), at=AT).usd == 3


def test_batch_calls_of_a_model_in_the_users_table_need_a_batch_row(tmp_path: Path) -> None:
    table = overridden(tmp_path, RATES)
    late = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert table.price(None, "claude-sonnet-4-5", TokenUsage(20_000, 0, 0, 0), at=late, batch=True).usd == 1
    table = overridden(tmp_path, '[[model]]\nmatch = "claude-*"\ninput = 1\noutput = 1')
    assert (
        table.price("anthropic", "claude-sonnet-4-5", TokenUsage(1, 0, 0, 0), at=late, batch=True).state == "unpriced"
    )


def test_a_zero_in_the_users_table_is_a_price(tmp_path: Path) -> None:
    table = overridden(tmp_path, '[[model]]\nmatch = "qwen*"\ninput = 0\noutput = 0.0')
    assert table.price(None, "Qwen3-VL", TokenUsage(5, None, None, 5), at=AT) == Price(
        "priced",
        Decimal(0),
        "overrides prices.toml",
    )


def test_machines_are_priced_by_the_users_table_alone(tmp_path: Path) -> None:
    table = overridden(tmp_path, RATES)
    own = "overrides team prices 2026-10"
    assert table.machine("azure", "standard_d4ds_v5") == MachinePrice(Decimal("0.226"), own)
    assert table.machine("aws", "Standard_D4ds_v5") == MachinePrice(Decimal(1), own)
    assert table.machine(None, "Standard_D4ds_v5") == MachinePrice(Decimal(1), own)
    assert table.machine("azure", "Standard_E4") is None
    assert table.machine("azure", None) is None
    assert PriceTable().machine("azure", "Standard_D4ds_v5") is None


def test_an_empty_table_changes_nothing(tmp_path: Path) -> None:
    table = overridden(tmp_path, "")
    assert table.price("openai", "gpt-5.1", TokenUsage(8, None, None, 0), at=AT).usd == Decimal("0.00001")
    assert table.machine("azure", "x") is None


ROW = '[[model]]\nmatch = "a"\ninput = 1\noutput = 1\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modle = 1", "unknown key 'modle'; did you mean 'model'?"),
        ("zzz = 1", "unknown key 'zzz'; the keys are name, version, model, machine"),
        (ROW + "cache_reed = 1", "[[model]] 1: unknown key 'cache_reed'; did you mean 'cache_read'?"),
        (ROW + '[[machine]]\nmatch = "b"\nusd_per_hr = 1', "[[machine]] 1: unknown key 'usd_per_hr'; did you mean"),
        (ROW + '[[model]]\nmatch = "b"\ninput = 1', "[[model]] 2: 'output' is missing; add it, in USD per million"),
        ("[[model]]\ninput = 1\noutput = 1", "[[model]] 1: 'match' is missing"),
        ('[[machine]]\nmatch = "b"', "[[machine]] 1: 'usd_per_hour' is missing; add it, in USD an hour"),
        (ROW + "cache_read = -0.5", "[[model]] 1: 'cache_read' is -0.5; write a number"),
        (ROW + "cache_read = nan", "'cache_read' is NaN; write a number"),
        (ROW + "cache_read = inf", "'cache_read' is Infinity; write a number"),
        (ROW + "cache_read = true", "'cache_read' is True; write a number"),
        (
            ROW + 'cache_read = "0.3"',
            "'cache_read' is 0.3; write a number of USD per million tokens, 0 or more, without",
        ),
        (ROW + "batch = 1", "'batch' is 1; write true or false"),
        (ROW + "provider = 3", "'provider' is 3; write a text in quotes"),
        ('[[machine]]\nmatch = " "\nusd_per_hour = 1', "'match' is ' '; write a text in quotes"),
        ("version = 3", "'version' is 3; write a text in quotes"),
        ("[model]\ninput = 1", "'model' is not a list of tables; write [[model]] above each row"),
        ("model = [1]", "'model' is not a list of tables"),
        ("name = ", "not valid TOML: "),
    ],
)
def test_an_error_in_the_table_is_one_line_with_file_key_and_fix(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PriceTableError) as caught:
        load_overrides(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    for path, expected in (
        (tmp_path / "none.toml", "no such file or directory; name a TOML file"),
        (tmp_path, "is a directory; name a TOML file"),
        (tmp_path / "latin.toml", "not valid TOML: "),
    ):
        with pytest.raises(PriceTableError, match=expected):
            load_overrides(path)


TIER_ROWS = """
[[model]]
match = "our-*"
input = 10
output = 20

[[model]]
match = "our-*"
service_tier = "flex"
input = 5
output = 10
tools = { web_search = 4 }

[[model]]
match = "our-*"
region = "us"
input = 11
output = 22
input_audio = 100
reasoning = 30
"""


def test_a_row_with_a_modifier_prices_the_calls_that_have_it(tmp_path: Path) -> None:
    table = overridden(tmp_path, TIER_ROWS)
    million = TokenUsage(1_000_000, None, None, 1_000_000)

    def usd(**more: Any) -> Decimal | None:
        return table.price(None, "our-model", CallUsage(million, **more), at=AT).usd

    assert usd() == 30
    assert usd(service_tier="flex") == 15
    assert usd(service_tier="flex", server_tools={"web_search": 500}) == 17
    assert usd(server_tools={"web_search": 500}) is None
    assert usd(region="us", input_audio_tokens=500_000, reasoning_tokens=100_000) == Decimal("5.5") + 50 + 3 + Decimal(
        "19.8"
    )
    assert usd(service_tier="priority") is None
    assert usd(service_tier="flex", region="us") is None
    assert usd(speed="fast") is None


def test_an_unpriced_call_has_the_reason() -> None:
    used = TokenUsage(100, None, None, 10)
    for model, usage, reason in (
        ("claude-99", CallUsage(used), "no price for the model"),
        ("claude-opus-4-8", CallUsage(used, region="us"), "no price for region us"),
        ("claude-opus-4-8", CallUsage(used, service_tier="priority"), "no price for service tier priority"),
        ("claude-opus-4-8", CallUsage(used, input_audio_tokens=5), "no price for input_audio tokens"),
        ("claude-opus-4-8", CallUsage(used, server_tools={"laundry": 1}), "no price for the tool laundry"),
        ("claude-opus-4-8", CallUsage(used, batch=True), "no price for processing batch"),
    ):
        price = book().price("anthropic", model, usage, at=AT)
        assert (price.state, price.reason) == ("unpriced", reason)


def test_a_sum_of_calls_is_never_priced_into_a_tier() -> None:
    used = TokenUsage(1_000_000, None, None, 0)
    assert cost("google", "gemini-2.5-pro", used) == pytest.approx(2.5)
    for requests in (0, 7):
        assert book().price("google", "gemini-2.5-pro", CallUsage(used, requests=requests), at=AT).usd == Decimal(
            "1.25"
        )


def test_calls_that_a_sum_lists_are_priced_one_by_one() -> None:
    calls = (CallUsage(TokenUsage(300_000, None, None, 0)), CallUsage(TokenUsage(100_000, None, None, 0)))
    usage = CallUsage(TokenUsage(400_000, None, None, 0), requests=2, calls=calls)
    assert book().price("google", "gemini-2.5-pro", usage, at=AT).usd == Decimal("0.875")


def test_a_stated_cost_counts_only_without_an_own_price() -> None:
    used = TokenUsage(1_000_000, None, None, 0)
    own = book().price("openai", "gpt-5.1", CallUsage(used, cost_usd=9.0), at=AT)
    assert own == Price("priced", Decimal("1.25"), TABLE, None, Decimal("9.0"))
    unlisted = book().price("openai", "my-finetune", CallUsage(used, cost_usd=9.0), at=AT)
    assert unlisted == Price("priced", Decimal("9.0"), STATED, "no price for the model", Decimal("9.0"))
    unknown = book().price("openai", "gpt-5.1", CallUsage(cost_usd=0.5), at=AT)
    assert (unknown.state, unknown.usd, unknown.reason) == ("priced", Decimal("0.5"), "usage is not known")


@pytest.mark.parametrize("shape", costs.SHAPES, ids=lambda shape: shape.name)
def test_every_shape_costs_what_it_costs_by_hand(shape: costs.Shape) -> None:
    price = costs.price_shape(shape, book())
    assert price.state == shape.state
    if shape.usd_per_million is not None:
        assert price.usd is not None
        assert float(price.usd) == pytest.approx(shape.usd_per_million / 1e6, abs=1e-12)


@pytest.mark.parametrize(
    ("provider", "model", "listed_under", "bare"),
    [
        ("azureai", "gpt-4o", "azure", "gpt-4o"),
        ("openai", "azure/gpt-5.1", "azure", "gpt-5.1"),
        ("grok", "grok-4", "x-ai", "grok-4"),
        ("anthropic", "vertex/claude-sonnet-4-5", "google", "claude-sonnet-4-5"),
        (
            "anthropic",
            "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("google", "vertex/gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ],
)
def test_inspects_names_of_hosted_models_are_priced(provider: str, model: str, listed_under: str, bare: str) -> None:
    used = TokenUsage(3_000, None, None, 500)
    assert cost(provider, model, used) == pytest.approx(float(priced_by_genai(listed_under, bare, used, AT)), abs=1e-12)
