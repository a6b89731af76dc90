"""JSON of the site's parts: by msgspec, and where that fails by the standard library, which takes far longer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_FAILURES = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for half a surrogate pair, a number of more than 64 bits, a key that is no text, deep nesting."""


def encode_compact(value: object, *, sort: bool = False) -> bytes:
    """Encode a value as JSON without spaces; a number that JSON does not have becomes null.

    Args:
        value: The value; what JSON has no type for is encoded as its text.
        sort: Whether the keys of objects are sorted, so that equal values have equal JSON.
    """
    try:
        return msgspec.json.encode(value, enc_hook=str, order="sorted" if sort else None)
    except _FAILURES:
        text = json.dumps(_replace_non_finite(value), separators=(",", ":"), sort_keys=sort, default=str)
        return text.encode("ascii")


def decode_compact(data: bytes) -> Any:
    """Decode what :func:`encode_compact` returned."""
    try:
        return msgspec.json.decode(data)
    except _FAILURES:
        return json.loads(data)


def encode_for_script(value: object) -> bytes:
    """Encode a value of any size as ASCII JSON that can't end a script element or begin a comment."""
    data = encode_compact(value)
    if not data.isascii():
        data = _NON_ASCII.sub(lambda found: encode_basestring_ascii(found[0])[1:-1], data.decode()).encode("ascii")
    return data.replace(b"<", b"\\u003c")


def _replace_non_finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    return value
