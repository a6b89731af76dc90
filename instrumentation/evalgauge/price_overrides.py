"""The user's price table, which takes precedence over every other: models by token, machines by hour."""

from __future__ import annotations

import difflib
import fnmatch
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from evalgauge.errors import PriceTableError

_ABSURD = 10**9


PART_KINDS = (
    "reasoning",
    "input_audio",
    "cache_read_audio",
    "output_audio",
    "input_image",
    "cache_read_image",
    "output_image",
)
"""Parts of the four kinds of tokens that may have a price of their own."""
MODIFIERS = ("service_tier", "speed", "region")
"""What else a price may depend on, beside batch processing; a row without one is for calls without it."""


@dataclass(frozen=True)
class ModelOverride:
    """A row of the user's table: the price of the models whose name fits ``match``."""

    match: str
    provider: str | None
    input: Decimal
    """USD per million tokens, as are the next four and ``parts``; None: no price."""
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    output: Decimal
    batch: bool
    parts: Mapping[str, Decimal]
    """Prices of ``PART_KINDS``."""
    tools: Mapping[str, Decimal]
    """USD per 1,000 uses of a server tool, by its name."""
    modifiers: tuple[str | None, str | None, str | None]
    """Values of ``MODIFIERS`` that the row is for."""

    def fits(self, provider: str | None, model: str) -> bool:
        """Whether this row is for that model; a row with a provider needs a call that names it."""
        return _fits(self.match, model) and _same_name(self.provider, provider)


@dataclass(frozen=True)
class MachineOverride:
    """A row of the user's table: the hourly price of the machines whose size fits ``match``."""

    match: str
    provider: str | None
    usd_per_hour: Decimal

    def fits(self, provider: str | None, size: str) -> bool:
        """Whether this row is for that size; a row with a provider needs a machine that names it."""
        return _fits(self.match, size) and _same_name(self.provider, provider)


@dataclass(frozen=True)
class Overrides:
    """A user's price table; of the rows that fit, the first in the file applies."""

    table: str
    """The name of the table in results: ``overrides``, its name (else the file's) and its version if it has one."""
    models: tuple[ModelOverride, ...] = ()
    machines: tuple[MachineOverride, ...] = ()


def _fits(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


def _same_name(wanted: str | None, given: object) -> bool:
    return wanted is None or (isinstance(given, str) and given.strip().lower() == wanted.lower())


def load_overrides(path: str | os.PathLike[str]) -> Overrides:
    """Read a user's price table, a TOML file.

    .. code-block:: toml

        name = "team prices"        # optional, as is version
        version = "2026-10"

        [[model]]
        provider = "anthropic"      # optional; with it the row is for calls that name this provider
        match = "claude-*"          # * ? [] as in file names, case does not matter
        input = 3.0                 # USD per million tokens, as are the next nine
        output = 15.0
        cache_read = 0.3            # optional: a call with tokens of a kind without a price is unpriced
        cache_write = 3.75
        cache_write_1h = 6.0        # cache writes with a lifetime of one hour
        reasoning = 15.0            # optional: the price of output otherwise
        input_image = 3.0           # optional: the price of input otherwise
        cache_read_image = 0.3      # optional: the price of cache_read otherwise
        input_audio = 6.0           # optional, as are cache_read_audio, output_audio and output_image
        batch = false               # optional; true: the row is for batch calls, which no other row prices
        service_tier = "flex"       # optional, as are speed and region: the row is for calls of that tier only
        tools = { web_search = 10 } # optional: USD per 1,000 uses

        [[machine]]
        provider = "azure"          # optional
        match = "Standard_D4ds_v5"
        usd_per_hour = 0.226

    Args:
        path: The file.

    Raises:
        PriceTableError: The file cannot be read or is invalid; the message is one line.
    """
    file = Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise PriceTableError(f"{file}: {reason}; name a TOML file with prices") from None
    except ValueError as error:  # TOML's and UTF-8's errors are ValueErrors
        reason = " ".join(str(error).split())
        raise PriceTableError(f"{file}: not valid TOML: {reason}; fix it there") from None
    _known_keys(table, ("name", "version", "model", "machine"), str(file))
    label = [_text(table, key, str(file)) for key in ("name", "version")]
    return Overrides(
        " ".join(["overrides", label[0] or file.name, *([label[1]] if label[1] else [])]),
        tuple(_model_row(row, where) for row, where in _rows(table, "model", file)),
        tuple(_machine_row(row, where) for row, where in _rows(table, "machine", file)),
    )


def _rows(table: Mapping[str, Any], key: str, file: Path) -> list[tuple[Mapping[str, Any], str]]:
    rows = table.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PriceTableError(f"{file}: {key!r} is not a list of tables; write [[{key}]] above each row")
    return [(row, f"{file}: [[{key}]] {number}") for number, row in enumerate(rows, 1)]


def _model_row(row: Mapping[str, Any], where: str) -> ModelOverride:
    cached = ("cache_read", "cache_write", "cache_write_1h")
    _known_keys(
        row, ("provider", "match", "input", *cached, "output", *PART_KINDS, "batch", *MODIFIERS, "tools"), where
    )
    batch = row.get("batch", False)
    if not isinstance(batch, bool):
        raise PriceTableError(f"{where}: 'batch' is {batch}; write true or false")
    unit = "USD per million tokens"
    fresh, output = (_needed(row, key, unit, where) for key in ("input", "output"))
    cache_read, cache_write, cache_write_1h = (_money(row, key, unit, where) for key in cached)
    tools = row.get("tools", {})
    if not isinstance(tools, dict):
        raise PriceTableError(f"{where}: 'tools' is {tools!r}; write a table such as {{ web_search = 10 }}")
    return ModelOverride(
        _match(row, where),
        _text(row, "provider", where),
        fresh,
        cache_read,
        cache_write,
        cache_write_1h,
        output,
        batch,
        {kind: price for kind in PART_KINDS if (price := _money(row, kind, unit, where)) is not None},
        {tool: _needed(tools, tool, "USD per 1,000 uses", f"{where}: tools") for tool in tools},
        (_text(row, "service_tier", where), _text(row, "speed", where), _text(row, "region", where)),
    )


def _machine_row(row: Mapping[str, Any], where: str) -> MachineOverride:
    _known_keys(row, ("provider", "match", "usd_per_hour"), where)
    price = _needed(row, "usd_per_hour", "USD an hour", where)
    return MachineOverride(_match(row, where), _text(row, "provider", where), price)


def _known_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
            raise PriceTableError(f"{where}: unknown key {key!r}; {advice}")


def _text(table: Mapping[str, Any], key: str, where: str) -> str | None:
    text = table.get(key)
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise PriceTableError(f"{where}: {key!r} is {text!r}; write a text in quotes, or leave it out")
    return " ".join(text.split())


def _match(row: Mapping[str, Any], where: str) -> str:
    pattern = _text(row, "match", where)
    if pattern is None:
        raise PriceTableError(f"{where}: 'match' is missing; add the name, or a pattern such as \"name-*\"")
    return pattern


def _needed(row: Mapping[str, Any], key: str, unit: str, where: str) -> Decimal:
    price = _money(row, key, unit, where)
    if price is None:
        raise PriceTableError(f"{where}: {key!r} is missing; add it, in {unit}")
    return price


def _money(row: Mapping[str, Any], key: str, unit: str, where: str) -> Decimal | None:
    price = row.get(key)
    if price is None:
        return None
    if isinstance(price, (int, Decimal)) and not isinstance(price, bool):
        amount = Decimal(price)
        if amount.is_finite() and 0 <= amount < _ABSURD:
            return amount
    raise PriceTableError(f"{where}: {key!r} is {price}; write a number of {unit}, 0 or more, without quotes")
