"""The file that holds the token of a guarded exporter."""

from __future__ import annotations

from pathlib import Path

from evalgauge_exporter.errors import TokenError


def read_token(path: Path) -> str:
    """The token in a file, without surrounding white space. Raises TokenError."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TokenError(f"{path}: the token can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TokenError(f"{path}: the token is no UTF-8 text") from error
    if len(token) < 16 or any(character.isspace() for character in token):
        raise TokenError(
            f"{path}: the token must be one word of 16 characters or more; make one with: openssl rand -hex 24"
        )
    return token
