"""Messages about invalid configurations, one line each: where the value was set, which key it is, what to write."""

from __future__ import annotations

import difflib
import os
import re
import typing
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

PREFIX = "EVALGAUGE_"

MAX_ERRORS = 5
"""Errors that a message names."""

KeyPath = tuple[int | str, ...]
"""The path of a key, such as ``("azure", 0, "tags")``."""

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w-]+)\s*\]")
_WORDS = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "model_type": "should be a table",
    "path_type": "should be a text",
    "string_too_short": "is empty",
    "string_type": "should be a text",
}
"""Pydantic's error types in words for people who do not know Python."""
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*=""")


class ConfigSources(typing.NamedTuple):
    """The sources of a configuration's values."""

    options: Mapping[str, Any]
    """Options of the command line."""
    file: Path | None
    text: str
    """Content of the file."""


def format_error(error: ValidationError, model: type[BaseModel], given: ConfigSources) -> str:
    """Return the message about all errors, in one line; unknown keys come first, as others often follow from them."""
    errors = error.errors(include_url=False, include_input=False)
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    tables = [one["loc"][:-1] for one in unknown]
    others = [
        one for one in errors if one not in unknown and not (one["type"] == "missing" and one["loc"][:-1] in tables)
    ]
    messages = [_format_one(one, model, given) for one in (*unknown, *others)]
    more = len(messages) - MAX_ERRORS
    return "; ".join(messages[:MAX_ERRORS]) + (f"; and {more} more" if more > 0 else "")


def _format_one(error: ErrorDetails, model: type[BaseModel], given: ConfigSources) -> str:
    place: KeyPath = error["loc"]
    words = _WORDS.get(error["type"], error["msg"].removeprefix("Value error, ").removeprefix("Input "))
    *before, key = place
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(key), _keys(model, tuple(before)), n=1, cutoff=0.7)
        words = f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else "see docs/configuration.md")
        place = tuple(before)
    elif error["type"] == "missing":
        words, place = f"{key!r} is missing", tuple(before)
    elif error["type"] == "tuple_type":
        words = f"write it as [[{key}]]" if _table(model, place) and not before else 'write a list: ["a", "b"]'
    where, named = locate(error["loc"], given)
    parts = [where, "" if named else _format_key(model, place), words]
    return ": ".join(part for part in parts if part)


def with_location(place: KeyPath, given: ConfigSources, words: str) -> str:
    """Return a message preceded by the place where the key's value was set."""
    where, _ = locate(place, given)
    return f"{where}: {words}" if where else words


def format_env_error(error: SettingsError) -> str:
    """Return the message about an environment variable that is not valid JSON."""
    found = re.search(r'field "(\w+)"', str(error))
    name = f"{PREFIX}{found[1].upper()}" if found else "a variable"
    return f"{name} is not valid JSON ({error.__cause__}); write it as in docs/configuration.md"


def locate(place: KeyPath, given: ConfigSources) -> tuple[str, bool]:
    """Return where a key's value was set (option, variable or file and line) and whether that names the key."""
    key = str(place[0])
    single = not any(isinstance(part, int) for part in place)
    if given.options.get(key) is not None:
        return f"--{key.replace('_', '-')}", single
    for name in ("__".join(str(part) for part in place[:2]), key):
        if any(f"{PREFIX}{name}".upper() == variable.upper() for variable in os.environ):
            return f"{PREFIX}{name.upper()}", single and (len(place) == 1 or name != key)
    if given.file is None:
        return "", False
    line = find_line(given.text, place)
    return f"{given.file}{'' if line is None else f':{line}'}", False


def find_line(text: str, place: KeyPath) -> int | None:
    """Return the number of the line that sets a key, else of its table's header, from 1; None if there is neither."""
    tables: Counter[str] = Counter()
    current: KeyPath = ()
    nearest = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            current = (header[2],)
            if header[1] == "[[":
                current = (header[2], tables[header[2]])
                tables[header[2]] += 1
            if current == place[: len(current)]:
                nearest = number
        elif key := _KEY.match(line):
            full = (*current, key[1] or key[2] or key[3])
            if full == place[: len(full)]:
                return number
    return nearest


def unknown_variables(model: type[BaseModel], others: Iterable[str]) -> dict[str, str]:
    """Return environment variables that look like keys but are unknown, each with the nearest known variable.

    Args:
        model: The configuration.
        others: Variables with the prefix that have another use.
    """
    keys = [f"{PREFIX}{name.upper()}" for name in model.model_fields]
    unknown = {}
    for variable in sorted(os.environ):
        name = variable.upper().partition("__")[0]
        if name.startswith(PREFIX) and name not in keys and name not in others:
            unknown[variable] = difflib.get_close_matches(name, keys, n=1, cutoff=0.0)[0]
    return unknown


def _format_key(model: type[BaseModel], place: KeyPath) -> str:
    """Return a key path as it is written in the file: ``[[azure]] 2: tags``, ``limits.runs``."""
    number = place[1] if len(place) > 1 else None
    if isinstance(number, int) and _table(model, place):
        first = f"[[{place[0]}]] {number + 1}"
        rest = ".".join(str(part) for part in place[2:] if isinstance(part, str))
        return f"{first}: {rest}" if rest else first
    return ".".join(str(part) for part in place if isinstance(part, str))


def _keys(model: type[BaseModel], place: KeyPath) -> list[str]:
    """Return the known keys of the table at ``place``."""
    return list((_table(model, place) or model).model_fields)


def _table(model: type[BaseModel], place: KeyPath) -> type[BaseModel] | None:
    """Return the table type that a key holds, alone or in a list; None where it holds none."""
    field: FieldInfo | None = model.model_fields.get(str(place[0])) if place else None
    if field is None:
        return None
    for candidate in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
