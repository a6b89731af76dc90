"""AWS on 127.0.0.1: moto's server behind a door that answers for the price list, and on bad days."""

from __future__ import annotations

import functools
import http.client
import json
import threading
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs

from moto.server import ThreadedMotoServer

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


class AwsFault(NamedTuple):
    """An answer that is not the right one."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


def error(code: str, status: int = 400, **headers: str) -> AwsFault:
    """An error as EC2 answers it."""
    body = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>as the test wants</Message></Error></Errors></Response>"
    )
    return AwsFault(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def price_row(
    usd: str, *, size: str = "m5.xlarge", region: str = "us-east-1", system: str = "Linux", **attributes: str
) -> str:
    """A product of the price list, as the API has it: a JSON document as a text."""
    product = {
        "product": {
            "productFamily": "Compute Instance",
            "attributes": {
                "instanceType": size,
                "regionCode": region,
                "operatingSystem": system,
                "licenseModel": "No License required",
                "tenancy": "Shared",
                "preInstalledSw": "NA",
                "capacitystatus": "Used",
                **attributes,
            },
            "sku": "JRTCKXETXF",
        },
        "serviceCode": "AmazonEC2",
        "terms": {
            "OnDemand": {
                "JRTCKXETXF.JRTCKXETXF": {
                    "priceDimensions": {
                        "JRTCKXETXF.JRTCKXETXF.6YS6EN2CT7": {
                            "unit": "Hrs",
                            "beginRange": "0",
                            "endRange": "Inf",
                            "pricePerUnit": {"USD": usd},
                        }
                    }
                }
            }
        },
    }
    return json.dumps(product)


@functools.cache
def _session() -> Any:
    """A session that all tests share: reading the description of EC2 takes a second."""
    import boto3

    return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")


class AwsServer:
    """Serves while a ``with`` block runs; what it holds may be changed meanwhile."""

    def __init__(self, moto: ThreadedMotoServer) -> None:
        """``moto`` runs already: it takes seconds to start, so tests share one and reset it."""
        self.prices = [price_row("0.1920000000"), price_row("0.3760000000", system="Windows")]
        self.page_size = 100
        """Products of a page of the price list."""
        self.faults: deque[AwsFault] = deque()
        """Given to the next requests, one each."""
        self.refused: dict[str, AwsFault] = {}
        """Given to the requests for an action, or for a region."""
        self.actions: list[str] = []
        self.hosts: list[str | None] = []
        self.hold: threading.Event | None = None
        self.circular = False
        """Whether the next page of the instances is the first one."""
        self._moto = moto
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answerer())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address, for every service."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._forward("POST", "/moto-api/reset", {}, b"")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def client(self, region: str = "us-east-1") -> Any:
        """A client of EC2 to make instances with."""
        return _session().client("ec2", region_name=region, endpoint_url=self.url)

    def launch(
        self,
        count: int = 1,
        *,
        region: str = "us-east-1",
        size: str = "m5.xlarge",
        spot: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Launch instances; their ids."""
        options: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}
        given = [{"Key": name, "Value": value} for name, value in (tags or {}).items()]
        if given:
            options["TagSpecifications"] = [{"ResourceType": "instance", "Tags": given}]
        answer = self.client(region).run_instances(
            ImageId="ami-12c6146b", InstanceType=size, MinCount=count, MaxCount=count, **options
        )
        return [row["InstanceId"] for row in answer["Instances"]]

    def _forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> AwsFault:
        host, port = self._moto.get_host_and_port()
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            given = {name: value for name, value in answer.getheaders() if name.lower() == "content-type"}
            return AwsFault(answer.status, answer.read(), given)
        finally:
            connection.close()

    def _get_products(self, body: bytes) -> AwsFault:
        query = json.loads(body)
        wanted = {given["Field"]: given["Value"] for given in query.get("Filters", ())}
        rows = [
            row
            for row in self.prices
            if all(json.loads(row)["product"]["attributes"].get(name) == value for name, value in wanted.items())
        ]
        start = int(query.get("NextToken", "0"))
        answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": rows[start : start + self.page_size]}
        if start + self.page_size < len(rows):
            answer["NextToken"] = str(start + self.page_size)
        return AwsFault(200, json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    def _answerer(self) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Answerer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                target = self.headers["X-Amz-Target"] or ""
                action = target.rpartition(".")[2] or parse_qs(body.decode()).get("Action", [""])[0]
                aws.actions.append(action)
                aws.hosts.append(self.headers["Host"])
                if aws.hold is not None:
                    aws.hold.wait()
                region = (self.headers["Authorization"] or "///").split("/")[2]
                fault = aws.faults.popleft() if aws.faults else aws.refused.get(action) or aws.refused.get(region)
                if fault is None and target.endswith("GetProducts"):
                    fault = aws._get_products(body)
                headers = dict(self.headers)
                if aws.circular and action == "DescribeInstances":
                    body = body.replace(b"&NextToken=again", b"")
                    headers["Content-Length"] = str(len(body))
                answer = fault or aws._forward("POST", self.path, headers, body)
                content = answer.body
                if aws.circular and action == "DescribeInstances":
                    end = b"</DescribeInstancesResponse>"
                    content = content.replace(end, b"<nextToken>again</nextToken>" + end)
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    if "Content-Length" in answer.headers:  # a fault, which is cut off there
                        self.close_connection = True
                    else:
                        self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # the client went away
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Answerer
