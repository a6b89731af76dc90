"""Hourly prices of Azure machines from the Retail Prices API, which needs no sign-in.

A size has several rows in the price list. The one that applies is in US dollars, for an hour's consumption, valid now,
not Low Priority, and Spot or with a Windows licence only where the machine is. Where no row applies there is no price.
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from evalgauge_exporter.sources.azure.client import parse_time
from evalgauge_exporter.sources.cloud import PriceList
from evalgauge_exporter.sources.http import HttpSession
from evalgauge_exporter.sources.prices import DAY, name_variant
from evalgauge_exporter.state.fleet_events import AZURE, PriceKey

API_VERSION = "2023-01-01-preview"
TIMEOUT_SECONDS = 20.0
REFRESH_SECONDS = 300.0
MAX_REQUESTS = 500


class AzurePriceList(PriceList):
    """The Azure Retail Prices API.

    Args:
        url: Its address.
    """

    provider = AZURE
    name = "azure retail prices"

    def __init__(self, url: str) -> None:
        self._url = url

    def get_lookup(self, key: PriceKey) -> tuple[str, float]:
        """Return the lookup of a size in a region, which has all its variants and is valid for a day."""
        return f"{self._url} {key.location} {key.size}", DAY

    @contextmanager
    def open(self) -> Iterator[Callable[[PriceKey], Mapping[str, float]]]:
        """Return the lookup for one refresh, bounded in time and in requests."""
        with HttpSession(
            self._url, seconds=REFRESH_SECONDS, request_seconds=TIMEOUT_SECONDS, max_requests=MAX_REQUESTS
        ) as session:
            yield lambda key: self._look_up(session, key)

    def _look_up(self, session: HttpSession, key: PriceKey) -> dict[str, float]:
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
        began = parse_time(row.get("effectiveStartDate"))
        ended = parse_time(row.get("effectiveEndDate"))
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
