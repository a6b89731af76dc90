"""Hourly list prices of cloud machines: looked up when a machine is new, then as often as they may change.

They are cached on disk, so that a restart asks for nothing that is still valid.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.cloud import PriceList
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, PriceKey, PriceSeen

log = logging.getLogger("evalgauge.exporter")

DAY = 86400.0
VALID_LIFETIMES = 3
"""A price is used for so many of its lifetimes while the list is down; `fleet` does the same."""
MAX_LOOKUPS = 200
"""Lookups in one refresh: more than any fleet has sizes."""
OF_ONE_LOOKUP = ("refused", "not_found", "malformed")
"""Reasons of failures after which other sizes may still have a price."""

_Cached = dict[str, Any]
"""``at``: Unix seconds of the lookup; ``usd``: USD an hour by variant."""


def name_variant(spot: bool, windows: bool) -> str:
    """Return the key of a kind of price: ``regular``, ``spot``, each also with `` windows``."""
    return ("spot" if spot else "regular") + (" windows" if windows else "")


class PriceSource(PollingSource):
    """A source of the prices of the machines that exist.

    Args:
        prices: The list.
        cache_dir: Where prices are cached, None for the user's cache folder.
        wanted: Returns the prices to look up; called from the source's thread.
        emit: Takes the events.
    """

    source = "prices"

    def __init__(
        self, prices: PriceList, cache_dir: Path | None, wanted: Callable[[], Iterable[PriceKey]], emit: Emit
    ) -> None:
        super().__init__(prices.provider, DAY, emit)
        self._prices = prices
        self._wanted = wanted
        self._file = (cache_dir or default_cache_dir()) / f"{prices.name.replace(' ', '-')}.json"
        self._cached: dict[str, _Cached] | None = None
        self._next = DAY

    def next_delay(self) -> float:
        """Return the seconds until the first price has to be looked up again."""
        return self._next

    def refresh(self) -> Iterator[FleetEvent]:
        """Yield what is cached, then look up what is missing or no longer valid."""
        if self._cached is None:
            self._cached = self._load()
        cached = self._cached
        keys: dict[str, list[PriceKey]] = {}
        lifetimes: dict[str, float] = {}
        for key in sorted(set(self._wanted())):
            name, lifetimes_of_key = self._prices.get_lookup(key)
            keys.setdefault(name, []).append(key)
            lifetimes[name] = lifetimes_of_key
        for name in keys.keys() & cached.keys():  # older ones too: they are used for three lifetimes
            yield from self._make_events(keys[name], cached[name], lifetimes[name])
        now = time.time()
        due = [name for name in keys if now - cached.get(name, {"at": 0.0})["at"] >= lifetimes[name]][:MAX_LOOKUPS]
        failure: RefreshError | None = None
        try:
            if due:
                with self._prices.open() as look_up:
                    for name in due:
                        if self.stopping:
                            return
                        try:
                            usd = dict(look_up(keys[name][0]))
                        except RefreshError as error:
                            failure = error
                            if error.reason not in OF_ONE_LOOKUP:
                                raise
                            continue
                        cached[name] = {"at": time.time(), "usd": usd}
                        yield from self._make_events(keys[name], cached[name], lifetimes[name])
        finally:
            if due:
                self._save(cached)
        if failure is not None:
            raise failure
        left = [lifetimes[name] - (time.time() - cached[name]["at"]) for name in keys if name in cached]
        self._next = max(60.0, min(left, default=DAY))

    def _make_events(self, keys: Iterable[PriceKey], cached: _Cached, lifetime: float) -> Iterator[PriceSeen]:
        for key in keys:
            usd = cached["usd"].get(name_variant(key.spot, key.windows))
            yield PriceSeen(cached["at"], key, lifetime, usd, self._prices.get_source(key))

    def _load(self) -> dict[str, _Cached]:
        try:
            content = parse_json(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        now = time.time()
        return {
            str(name): row
            for name, row in content.items()
            if isinstance(row, dict)
            and isinstance(row.get("at"), (int, float))
            and 0 <= now - row["at"] <= VALID_LIFETIMES * DAY
            and isinstance(row.get("usd"), dict)
            and all(isinstance(price, (int, float)) and price > 0 for price in row["usd"].values())
        }

    def _save(self, cached: dict[str, _Cached]) -> None:
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(cached), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:  # the prices are looked up again at the next start
            log.info("prices can't be cached on disk: %s", error)


def default_cache_dir() -> Path:
    """Return the user's cache folder for evalgauge."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "evalgauge"
    except RuntimeError:  # a user without a home
        return Path("/tmp/evalgauge-cache")
