"""Hourly prices of Azure machines from the Retail Prices API, which needs no sign-in, cached on disk for a day.

A size has several rows in the price list. The one that applies is in US dollars, for an hour's consumption, valid now,
not Low Priority, and Spot or with a Windows licence only where the machine is. Where no row applies there is no price.
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalgauge_exporter.config.model import Prices
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.http import HttpSession
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, PriceKey, PriceSeen

log = logging.getLogger("evalgauge.exporter")

DAY = 86400.0
API_VERSION = "2023-01-01-preview"
TIMEOUT_SECONDS = 20.0
REFRESH_SECONDS = 300.0
MAX_REQUESTS = 500
MAX_SIZES = 200
"""Sizes that are looked up in one refresh: more than any fleet has."""

OF_ONE_SIZE = ("refused", "not_found", "malformed")
"""Reasons of failures after which other sizes may still have a price."""

_Cached = dict[str, Any]
"""``at``: Unix seconds of the lookup; ``usd``: USD an hour by variant."""


class AzurePriceSource(PollingSource):
    """A source of the prices of the machines that exist, looked up when one is new and then daily.

    Args:
        table: Where the price list and the cache are.
        wanted: Returns the prices to look up; called from the source's thread.
        emit: Takes the events.
    """

    source = "prices"

    def __init__(self, table: Prices, wanted: Callable[[], Iterable[PriceKey]], emit: Emit) -> None:
        super().__init__("azure", DAY, emit)
        self._url = table.azure_retail_url
        self._wanted = wanted
        self._file = (table.cache_dir or default_cache_dir()) / "azure-retail-prices.json"
        self._cached: dict[str, _Cached] | None = None
        self._next = DAY

    def next_delay(self) -> float:
        """Return the seconds until the first price is a day old."""
        return self._next

    def refresh(self) -> Iterator[FleetEvent]:
        """Yield what is cached, then look up what is missing or older than a day."""
        if self._cached is None:
            self._cached = self._load()
        cached = self._cached
        sizes: dict[str, list[PriceKey]] = {}
        for key in sorted(set(self._wanted())):
            sizes.setdefault(self._cache_key(key), []).append(key)
        for name in sizes.keys() & cached.keys():  # an older price too: it stands until it is three days old
            yield from _make_events(sizes[name], cached[name])
        due = [name for name in sizes if time.time() - cached.get(name, {"at": 0.0})["at"] >= DAY][:MAX_SIZES]
        failure: RefreshError | None = None
        session = HttpSession(
            self._url, seconds=REFRESH_SECONDS, request_seconds=TIMEOUT_SECONDS, max_requests=MAX_REQUESTS
        )
        try:
            with session:
                for name in due:
                    if self.stopping:
                        return
                    try:
                        usd = self._look_up(session, sizes[name][0])
                    except RefreshError as error:
                        failure = error
                        if error.reason not in OF_ONE_SIZE:
                            raise
                        continue
                    cached[name] = {"at": time.time(), "usd": usd}
                    yield from _make_events(sizes[name], cached[name])
        finally:
            if due:
                self._save(cached)
        if failure is not None:
            raise failure
        ages = [time.time() - cached[name]["at"] for name in sizes if name in cached]
        self._next = max(60.0, DAY - max(ages, default=0.0))

    def _cache_key(self, key: PriceKey) -> str:
        return f"{self._url} {key.location} {key.size}"

    def _look_up(self, session: HttpSession, key: PriceKey) -> dict[str, float]:
        """Return the prices of a size in a region by variant."""
        conditions = {
            "serviceName": "Virtual Machines",
            "armRegionName": key.location,
            "armSkuName": key.size,
            "priceType": "Consumption",
        }
        quoted = {name: value.replace("'", "''") for name, value in conditions.items()}
        words = " and ".join(f"{name} eq '{value}'" for name, value in quoted.items())
        url = f"{self._url}?api-version={API_VERSION}&$filter={quote(words)}"
        rows = list(session.get_pages("the Azure price list", url, "Items", "NextPageLink"))
        found = {
            name_variant(spot, windows): choose_price(rows, key._replace(spot=spot, windows=windows), time.time())
            for spot in (False, True)
            for windows in (False, True)
        }
        return {name: usd for name, usd in found.items() if usd is not None}

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
            and 0 <= now - row["at"] <= 3 * DAY
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


def name_variant(spot: bool, windows: bool) -> str:
    """Return the key of a kind of price in the cache."""
    return ("spot" if spot else "regular") + (" windows" if windows else "")


def choose_price(rows: Iterable[object], key: PriceKey, now: float) -> float | None:
    """Return the price of a machine in USD an hour, None where no row applies to it.

    Of several rows that apply, those of the primary meter come first, then the one that became valid last. A price of 0
    is no price.

    Args:
        rows: Of the price list's ``Items``.
        key: What the price depends on.
        now: Unix seconds at which the price is valid.
    """
    best: tuple[tuple[bool, float], float] | None = None
    for row in rows:
        if not isinstance(row, Mapping) or not _applies(row, key):
            continue
        price = row.get("retailPrice")
        began = arm.unix_time(row.get("effectiveStartDate"))
        ended = arm.unix_time(row.get("effectiveEndDate"))
        if not isinstance(price, (int, float)) or isinstance(price, bool) or not 0 < price < 10_000:
            continue
        if (began is not None and began > now) or (ended is not None and ended <= now):
            continue
        rank = (row.get("isPrimaryMeterRegion") is not False, began or 0.0)
        if best is None or rank > best[0]:
            best = (rank, float(price))
    return None if best is None else best[1]


def _applies(row: Mapping[Any, Any], key: PriceKey) -> bool:
    def text(name: str) -> str:
        return str(row.get(name) or "").strip()

    sku, meter, product = text("skuName").lower(), text("meterName").lower(), text("productName").lower()
    spot = sku.endswith(" spot") or meter.endswith(" spot")
    return (
        text("currencyCode") in ("USD", "")
        and text("type") in ("Consumption", "")
        and text("unitOfMeasure") == "1 Hour"
        and text("armRegionName").lower() == key.location
        and text("armSkuName").lower() == key.size.lower()
        and not row.get("tierMinimumUnits")
        and not (sku.endswith(" low priority") or meter.endswith(" low priority"))
        and "cloud services" not in product
        and "cloudservices" not in product
        and "dedicated host" not in product
        and spot is key.spot
        and product.endswith(" windows") is key.windows
    )


def _make_events(keys: Iterable[PriceKey], cached: _Cached) -> Iterator[PriceSeen]:
    for key in keys:
        yield PriceSeen(cached["at"], key, DAY, cached["usd"].get(name_variant(key.spot, key.windows)))
