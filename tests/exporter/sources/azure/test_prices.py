"""Retail prices from a price list on 127.0.0.1. Rows are shaped as in the API's documentation."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from evalgauge_exporter.sources.azure import prices as azure_prices
from evalgauge_exporter.sources.azure.prices import AzurePriceList, choose_price
from evalgauge_exporter.sources.prices import DAY, PriceSource
from evalgauge_exporter.state.fleet_events import FleetEvent, PriceKey, PriceSeen, Refreshed, RefreshFailed
from tests.exporter.sources.azure.arm import Fault
from tests.exporter.sources.test_probe import serve_tcp

D4 = PriceKey("eastus", "Standard_D4ds_v5")
NOW = 1795290000.0  # 2026-11-21


def row(price: float, *, kind: str = "", windows: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2021-11-01T00:00:00Z",
        "meterName": f"D4ds v5{kind}",
        "productName": "Virtual Machines Ddsv5 Series" + (" Windows" if windows else ""),
        "skuName": f"D4ds v5{kind}",
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "Standard_D4ds_v5",
        **more,
    }


LIST = [
    row(0.0452, kind=" Spot"),
    row(0.41, windows=True),
    row(0.09, kind=" Low Priority"),
    row(0.226),
    row(0.0820, kind=" Spot", windows=True),
    row(0.3, kind=" Low Priority", windows=True),
    row(1187.0, type="Reservation", unitOfMeasure="1 Hour", reservationTerm="1 Year"),
]


class PriceList:
    """A retail price list that serves while a ``with`` block runs."""

    def __init__(self, rows: Sequence[Any] = LIST, page_size: int = 100) -> None:
        self.rows = list(rows)
        self.page_size = page_size
        self.faults: deque[Fault] = deque()
        self.filters: list[str] = []
        price_list = self

        class Answerer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = price_list._answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/retail/prices"

    def _answer(self, path: str) -> Fault:
        if self.faults:
            return self.faults.popleft()
        query = parse_qs(urlsplit(path).query)
        self.filters.append(query["$filter"][0])
        start = int(query.get("$skip", ["0"])[0])
        answer: dict[str, Any] = {"Items": self.rows[start : start + self.page_size], "NextPageLink": None}
        if start + self.page_size < len(self.rows):
            answer["NextPageLink"] = f"{self.url}?$filter=more&$skip={start + self.page_size}"
        return Fault(200, {}, json.dumps(answer).encode())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def prices() -> Iterator[PriceList]:
    with PriceList() as server:
        yield server


def look(server: PriceList, folder: Path, *keys: PriceKey) -> tuple[float, list[FleetEvent]]:
    events: list[FleetEvent] = []
    wait = PriceSource(AzurePriceList(server.url), folder, lambda: keys, events.extend).poll()
    return wait, events


def found(events: Sequence[FleetEvent]) -> dict[PriceKey, float | None]:
    return {event.key: event.usd_per_hour for event in events if isinstance(event, PriceSeen)}


@pytest.mark.parametrize(
    ("spot", "windows", "price"),
    [(False, False, 0.226), (False, True, 0.41), (True, False, 0.0452), (True, True, 0.082)],
)
def test_the_row_is_the_one_that_fits_the_machine(spot: bool, windows: bool, price: float) -> None:
    assert choose_price(LIST, D4._replace(spot=spot, windows=windows), NOW) == price


@pytest.mark.parametrize(
    "wrong",
    [
        row(0.5, armRegionName="westus"),
        row(0.5, armSkuName="Standard_D8ds_v5"),
        row(0.5, currencyCode="EUR"),
        row(0.5, unitOfMeasure="1/Month"),
        row(0.5, type="DevTestConsumption"),
        row(0.5, productName="Ddsv5 Series Cloud Services"),
        row(0.5, productName="Ddsv5 Series Dedicated Host"),
        row(0.5, effectiveStartDate="2027-01-01T00:00:00Z"),
        row(0.5, effectiveEndDate="2025-01-01T00:00:00Z"),
        row(0.0),
        row(-1.0),
        row(0.5, retailPrice="0.5"),
        row(0.5, tierMinimumUnits=100.0),
        {"retailPrice": 0.5},
        "0.5",
    ],
)
def test_rows_about_something_else_are_no_price(wrong: object) -> None:
    assert choose_price([wrong], D4, NOW) is None


def test_of_several_rows_the_primary_meter_holds_and_then_the_newest() -> None:
    old, new = row(0.2), row(0.25, effectiveStartDate="2026-01-01T00:00:00Z")
    other_meter = row(0.9, effectiveStartDate="2026-06-01T00:00:00Z", isPrimaryMeterRegion=False)
    assert choose_price([old, new, other_meter], D4, NOW) == 0.25
    assert choose_price([new, other_meter, old], D4, NOW) == 0.25


def test_a_size_is_asked_for_once_for_all_its_variants(prices: PriceList, tmp_path: Path) -> None:
    windows = D4._replace(windows=True)
    _, events = look(prices, tmp_path, D4, windows)
    assert found(events) == {D4: 0.226, windows: 0.41}
    assert prices.filters == [
        "serviceName eq 'Virtual Machines' and armRegionName eq 'eastus' "
        "and armSkuName eq 'Standard_D4ds_v5' and priceType eq 'Consumption'"
    ]


def test_all_pages_are_read(tmp_path: Path) -> None:
    with PriceList(page_size=3) as server:
        _, events = look(server, tmp_path, D4)
    assert found(events) == {D4: 0.226}
    assert len(server.filters) == 3


def test_a_size_that_is_not_listed_has_no_price_and_is_not_asked_for_again(tmp_path: Path) -> None:
    with PriceList([]) as server:
        _, events = look(server, tmp_path, D4)
        look(server, tmp_path, D4)
    assert found(events) == {D4: None}
    assert len(server.filters) == 1


def test_prices_are_cached_on_disk_for_a_day(prices: PriceList, tmp_path: Path) -> None:
    look(prices, tmp_path, D4)
    wait, events = look(prices, tmp_path, D4)
    assert found(events) == {D4: 0.226}
    assert len(prices.filters) == 1
    assert DAY - 60 < wait <= DAY
    file = tmp_path / "azure-retail-prices.json"
    kept = {name: {**entry, "at": time.time() - DAY - 1} for name, entry in json.loads(file.read_text()).items()}
    file.write_text(json.dumps(kept))
    look(prices, tmp_path, D4)
    assert len(prices.filters) == 2


def test_yesterdays_price_stands_while_the_price_list_is_down(prices: PriceList, tmp_path: Path) -> None:
    look(prices, tmp_path, D4)
    file = tmp_path / "azure-retail-prices.json"
    at = time.time() - DAY - 100
    file.write_text(json.dumps({name: {**entry, "at": at} for name, entry in json.loads(file.read_text()).items()}))
    prices.faults.append(Fault(503))
    wait, events = look(prices, tmp_path, D4)
    assert found(events) == {D4: 0.226}
    seen, failed = events
    assert isinstance(seen, PriceSeen)
    assert seen.ts == at  # it grows old: three days after it was looked up it holds no more
    assert isinstance(failed, RefreshFailed)
    assert wait == 60.0


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 3}', '{"a": {"at": "x"}}', '{"a": {"at": 1, "usd": {"regular": -1}}}']
)
def test_a_broken_file_is_as_none(prices: PriceList, tmp_path: Path, content: str) -> None:
    (tmp_path / "azure-retail-prices.json").write_text(content)
    _, events = look(prices, tmp_path, D4)
    assert found(events) == {D4: 0.226}


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(prices: PriceList, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, events = look(prices, tmp_path / "file" / "below", D4)
    assert found(events) == {D4: 0.226}
    assert isinstance(events[-1], Refreshed)


@pytest.mark.parametrize(
    ("fault", "reason", "wait"),
    [
        (Fault(429, {"Retry-After": "600"}), "throttled", 600.0),
        (Fault(500), "server_error", 60.0),
        (Fault(404), "not_found", 60.0),
        (Fault(200, body=b"<html>"), "malformed", 60.0),
        (Fault(200, body=b"[]"), "malformed", 60.0),
        (Fault(200, body=b'{"Items": 3}'), "malformed", 60.0),
        (Fault(200, body=b'{"Items": [], "NextPageLink": "http://example.org/"}'), "malformed", 60.0),
    ],
)
def test_what_goes_wrong_has_a_word_and_a_pause(
    prices: PriceList, tmp_path: Path, fault: Fault, reason: str, wait: float
) -> None:
    prices.faults.append(fault)
    waited, events = look(prices, tmp_path, D4)
    (failed,) = events
    assert isinstance(failed, RefreshFailed)
    assert (failed.reason, waited) == (reason, wait)


def test_a_price_list_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    server = PriceList()
    with server:
        pass
    _, events = look(server, tmp_path, D4)
    assert isinstance(events[-1], RefreshFailed)
    assert events[-1].reason == "unreachable"


def test_nothing_is_asked_where_nothing_is_wanted(prices: PriceList, tmp_path: Path) -> None:
    _, events = look(prices, tmp_path)
    assert [type(event) for event in events] == [Refreshed]
    assert not prices.filters


SIZES = [PriceKey("eastus", f"Standard_D{cores}ds_v5") for cores in (2, 4, 8)]
SIZE_ROWS = [row(cores / 10, armSkuName=f"Standard_D{cores}ds_v5") for cores in (2, 4, 8)]


def test_all_prices_of_yesterday_stand_while_the_price_list_is_down(tmp_path: Path) -> None:
    with PriceList(SIZE_ROWS) as server:
        look(server, tmp_path, *SIZES)
        file = tmp_path / "azure-retail-prices.json"
        at = time.time() - DAY - 100
        file.write_text(json.dumps({name: {**entry, "at": at} for name, entry in json.loads(file.read_text()).items()}))
        server.faults.append(Fault(503))
        _, events = look(server, tmp_path, *SIZES)
    assert sorted(price or 0.0 for price in found(events).values()) == [0.2, 0.4, 0.8]


def test_a_size_that_is_refused_hides_no_other(tmp_path: Path) -> None:
    with PriceList(SIZE_ROWS) as server:
        server.faults.append(Fault(400))
        wait, events = look(server, tmp_path, *SIZES)
    assert sorted(price or 0.0 for price in found(events).values()) == [0.4, 0.8]
    assert isinstance(events[-1], RefreshFailed)
    assert wait == 60.0


@pytest.mark.parametrize("odd", [row(0.1, tierMinimumUnits="x"), row(0.1, tierMinimumUnits=[1]), 5, None, []])
def test_a_row_that_means_nothing_hides_no_other(odd: object) -> None:
    assert choose_price([odd, row(0.226)], D4, NOW) == 0.226


def test_a_file_that_is_nested_too_deep_is_as_none(prices: PriceList, tmp_path: Path) -> None:
    (tmp_path / "azure-retail-prices.json").write_text("[" * 100_000)
    _, events = look(prices, tmp_path, D4)
    assert found(events) == {D4: 0.226}


def test_an_answer_that_drips_in_has_a_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(azure_prices, "TIMEOUT_SECONDS", 0.3)
    release = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while not release.wait(0.02):
            connection.sendall(b" ")

    events: list[FleetEvent] = []
    with serve_tcp(drip) as address:
        prices = AzurePriceList(f"http://{address}/")
        PriceSource(prices, tmp_path, lambda: [D4], events.extend).poll()
        release.set()
    assert isinstance(events[-1], RefreshFailed)
    assert events[-1].reason == "timeout"
