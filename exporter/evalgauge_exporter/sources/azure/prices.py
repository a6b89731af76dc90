"""Hourly prices of Azure machines from the Retail Prices API, which asks for no sign-in. Kept on disk for a day.

A size has several rows in the price list; the right one is in US dollars, for an hour's consumption, valid now, no
Low Priority, and Spot or with a Windows licence only where the machine is. Where no row fits there is no price.
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from evalgauge_exporter.config.model import Prices
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, PriceKey, PriceSeen

log = logging.getLogger("evalgauge.exporter")

DAY = 86400.0
API_VERSION = "2023-01-01-preview"
TIMEOUT_SECONDS = 20.0
MAX_BYTES = 8_000_000
MAX_PAGES = 10
MAX_SIZES = 200
"""Sizes that are looked up in one refresh: more than any fleet has."""

_Kept = dict[str, Any]
"""``at``: Unix seconds of the lookup; ``usd``: price by variant."""


class AzurePriceSource(PollingSource):
    """The prices of the machines that are there, looked up when one is new and then daily."""

    source = "prices"

    def __init__(self, table: Prices, wanted: Callable[[], Iterable[PriceKey]], emit: Emit) -> None:
        """``wanted`` tells what to look up; it is called from the source's thread."""
        super().__init__("azure", DAY, emit)
        self._url = table.azure_retail_url
        self._wanted = wanted
        self._file = (table.cache_dir or default_cache_dir()) / "azure-retail-prices.json"
        self._kept: dict[str, _Kept] | None = None
        self._next = DAY

    def next_delay(self) -> float:
        """Until the first price is a day old."""
        return self._next

    def refresh(self) -> Iterator[FleetEvent]:
        """Tell what is kept, then look up what is missing or older than a day."""
        if self._kept is None:
            self._kept = self._load()
        kept = self._kept
        sizes: dict[str, list[PriceKey]] = {}
        for key in sorted(set(self._wanted())):
            sizes.setdefault(self._name(key), []).append(key)
        for name in sizes.keys() & kept.keys():  # an older price too: it stands until it is three days old
            yield from _events(sizes[name], kept[name])
        due = [name for name in sizes if time.time() - kept.get(name, {"at": 0.0})["at"] >= DAY][:MAX_SIZES]
        failure: RefreshError | None = None
        try:
            for name in due:
                if self.stopping:
                    return
                try:
                    usd = self._look_up(sizes[name][0])
                except RefreshError as error:
                    failure = error
                    if error.reason in ("refused", "malformed"):  # this size; the others may have a price
                        continue
                    raise
                kept[name] = {"at": time.time(), "usd": usd}
                yield from _events(sizes[name], kept[name])
        finally:
            if due:
                self._save(kept)
        if failure is not None:
            raise failure
        ages = [time.time() - kept[name]["at"] for name in sizes if name in kept]
        self._next = max(60.0, DAY - max(ages, default=0.0))

    def _name(self, key: PriceKey) -> str:
        return f"{self._url} {key.location} {key.size}"

    def _look_up(self, key: PriceKey) -> dict[str, float]:
        """Prices by variant of a size in a region."""
        conditions = {
            "serviceName": "Virtual Machines",
            "armRegionName": key.location,
            "armSkuName": key.size,
            "priceType": "Consumption",
        }
        quoted = {name: value.replace("'", "''") for name, value in conditions.items()}
        words = " and ".join(f"{name} eq '{value}'" for name, value in quoted.items())
        url = f"{self._url}?api-version={API_VERSION}&$filter={quote(words)}"
        rows: list[Any] = []
        for _ in range(MAX_PAGES):
            answer = _get(url)
            items = answer.get("Items")
            if not isinstance(items, list):
                raise RefreshError("malformed", "the Azure price list: the answer has no list of prices")
            rows += items
            following = answer.get("NextPageLink")
            if not isinstance(following, str) or not following:
                break
            if urlsplit(following).hostname != urlsplit(self._url).hostname:
                raise RefreshError("malformed", "the Azure price list: its next page is said to be elsewhere")
            url = following
        found = {
            variant(spot, windows): choose(rows, key._replace(spot=spot, windows=windows), time.time())
            for spot in (False, True)
            for windows in (False, True)
        }
        return {name: usd for name, usd in found.items() if usd is not None}

    def _load(self) -> dict[str, _Kept]:
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

    def _save(self, kept: dict[str, _Kept]) -> None:
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(kept), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:  # the prices are looked up again at the next start
            log.info("prices are not kept on disk: %s", error)


def default_cache_dir() -> Path:
    """The user's cache folder for evalgauge."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "evalgauge"
    except RuntimeError:  # a user without a home
        return Path("/tmp/evalgauge-cache")


def variant(spot: bool, windows: bool) -> str:
    """The word for a kind of price in the cache."""
    return ("spot" if spot else "regular") + (" windows" if windows else "")


def choose(rows: Iterable[object], key: PriceKey, now: float) -> float | None:
    """The price in USD an hour that holds for a machine at a Unix time; None where no row is about it.

    Of rows that fit, the one of the primary meter holds, then the one that began last. A price of 0 is no price.
    """
    best: tuple[tuple[bool, float], float] | None = None
    for row in rows:
        if not isinstance(row, Mapping) or not _fits(row, key):
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


def _fits(row: Mapping[Any, Any], key: PriceKey) -> bool:
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


def _events(keys: Iterable[PriceKey], kept: _Kept) -> Iterator[PriceSeen]:
    for key in keys:
        yield PriceSeen(kept["at"], key, DAY, kept["usd"].get(variant(key.spot, key.windows)))


def _get(url: str) -> Mapping[str, Any]:
    """The JSON object at a URL. Raises RefreshError."""
    what = "the Azure price list"
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "evalgauge"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            body = _body(response, time.monotonic() + TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            wait = arm.retry_after(dict(error.headers), time.time())
        reason = "throttled" if error.code == 429 else "server_error" if error.code >= 500 else "refused"
        raise RefreshError(reason, f"{what}: answers {error.code}", wait) from error
    except TimeoutError as error:
        raise RefreshError("timeout", f"{what}: no answer in time") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RefreshError("unreachable", f"{what}: {getattr(error, 'reason', error)}") from error
    try:
        answer = parse_json(body) if len(body) <= MAX_BYTES else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise RefreshError("malformed", f"{what}: the answer is no price list")
    return answer


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """What is answered, as far as it matters. Raises TimeoutError where it drips in beyond the deadline."""
    body = b""
    while len(body) <= MAX_BYTES and (part := response.read1(65536)):
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError
    return body
