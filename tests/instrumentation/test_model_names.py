"""Splitting ``provider/model``, and inferring a provider from a bare name."""

import pytest

from evalgauge.model_names import infer_provider, resolve_answered_model, split_model_name


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4-5", "openrouter", "anthropic/claude-sonnet-4-5"),
        ("gpt-5", None, "gpt-5"),
        ("/gpt-5", None, "/gpt-5"),
        ("openai/", None, "openai/"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_name_is_split_at_its_first_slash(name: str | None, provider: str | None, model: str | None) -> None:
    assert split_model_name(name) == (provider, model)


@pytest.mark.parametrize(
    ("model", "provider"),
    [("Claude-Sonnet-4-5", "anthropic"), ("o3-mini", "openai"), ("gemini-2.5-pro", "google"), ("grok-4", "x-ai")],
)
def test_the_maker_is_inferred_from_how_it_names_its_models(model: str, provider: str) -> None:
    assert infer_provider(model) == provider


@pytest.mark.parametrize(
    ("requested", "answered", "name"),
    [
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929",
         "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("gpt-4o-mini", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("our-deployment", "gpt-4o", "gpt-4o"),
        ("gpt-4o", None, "gpt-4o"),
        ("gpt-4o", "", "gpt-4o"),
        (None, "gpt-4o", "gpt-4o"),
    ],
)  # fmt: skip
def test_the_model_that_answered_counts_except_where_the_request_names_its_region(
    requested: str | None, answered: str | None, name: str
) -> None:
    assert resolve_answered_model(requested, answered) == name


@pytest.mark.parametrize("model", [None, "", "my-own-model"])
def test_a_name_of_no_known_maker_implies_no_provider(model: str | None) -> None:
    assert infer_provider(model) is None
