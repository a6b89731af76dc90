"""Names of models: ``provider/model`` split, and the provider that a bare name implies."""

from __future__ import annotations

from typing import Final, NamedTuple

_MAKERS: Final = (
    ("claude", "anthropic"),
    ("gpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("chatgpt", "openai"),
    ("computer-use", "openai"),
    ("gemini", "google"),
    ("mistral", "mistral"),
    ("grok", "x-ai"),
    ("deepseek", "deepseek"),
)


class ModelName(NamedTuple):
    """A model and the provider that serves it; None is what the name does not state."""

    provider: str | None
    model: str | None


def split_model_name(name: str | None) -> ModelName:
    """Split ``provider/model`` at its first slash.

    Args:
        name: A model's name as tools write it, such as ``anthropic/claude-sonnet-4-5``.

    Returns:
        The provider and the rest; without a provider, or without a rest, the whole name as the model.
    """
    provider, slash, model = (name or "").partition("/")
    return ModelName(provider, model) if slash and provider and model else ModelName(None, name or None)


def resolve_answered_model(requested: str | None, answered: str | None) -> str | None:
    """Return the name of the model that answered.

    Args:
        requested: The name in the request. Amazon Bedrock's, ``global.anthropic.claude-…``, states where inference
            runs, which changes the price.
        answered: The name in the answer: that of Anthropic there.
    """
    if answered and requested and f"anthropic.{answered}" in requested:
        return requested
    return answered or requested


def infer_provider(model: str | None) -> str | None:
    """Infer the provider from how a model's maker names its models; None where the name implies none."""
    if not model:
        return None
    name = model.lower()
    return next((provider for prefix, provider in _MAKERS if name.startswith(prefix)), None)
