"""Which company serves a model, where a format only names the model."""

from __future__ import annotations

_PREFIXES = (
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


def provider_of(model: str | None) -> str | None:
    """The provider by the model's name as its maker writes it; None where that says nothing."""
    if not model:
        return None
    name = model.lower()
    return next((provider for prefix, provider in _PREFIXES if name.startswith(prefix)), None)
