"""The file with the bearer token that protects the exporter."""

from __future__ import annotations

from pathlib import Path

from evalgauge_exporter.errors import TokenError


def read_token(path: Path) -> str:
    """Return the token in a file, without surrounding white space.

    Raises:
        TokenError: The file can't be read, or its content is not a token.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TokenError(f"{path}: the token can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TokenError(f"{path}: the token is not UTF-8 text") from error
    if len(token) < 16 or any(character.isspace() for character in token):
        raise TokenError(
            f"{path}: the token must be one word of 16 characters or more; make one with: openssl rand -hex 24"
        )
    return token
