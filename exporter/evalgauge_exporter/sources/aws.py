"""EC2 instances of an AWS account with their states, interruptions and prices, read with boto3.

boto3 signs the requests and reads the answers; `HttpSession` sends them, so that a refresh is bounded here too. A
request is signed for the host that it goes to, which only the region and ``endpoint_url`` choose: an answer can't
redirect it. A stopped instance does not bill (its volumes do), so its state is ``deallocated`` here, as on Azure.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from textwrap import shorten
from typing import Any

from evalgauge_exporter.config.model import Aws
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.cloud import Access, Cloud, CloudReader, PriceList, matches_tags, try_access
from evalgauge_exporter.sources.http import MAX_DETAIL, HttpSession, parse_retry_after
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.prices import DAY, name_variant
from evalgauge_exporter.state.fleet_events import AWS, PriceKey, VmInfo, VmInterruption, VmPowerState

REQUEST_SECONDS = 60.0
REFRESH_SECONDS = 180.0
MAX_REQUESTS = 500
"""Requests of one refresh: 300,000 instances."""
PAGE_SIZE = 1000
SPOT_PRICE_SECONDS = 3600.0
NOTICE_SECONDS = 120.0
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""
PRICING_REGION = "us-east-1"
"""The price list API answers there for all regions."""
EXTRA = "install the AWS packages with: pip install 'evalgauge[aws]'"

STATES = {
    "pending": "starting",
    "running": "running",
    "stopping": "deallocating",
    "stopped": "deallocated",
    "shutting-down": "deallocating",
}
"""Power states by EC2's name of the state; a terminated instance is gone."""
_LIST_PRICED = {"Linux/UNIX": False, "": False, "Windows": True, "Windows BYOL": False}
"""Platforms that the price list is read for, and whether a Windows licence is billed."""
_MARKED = ("marked-for-termination", "marked-for-stop")
_INTERRUPTED = ("instance-terminated-by-", "instance-terminated-no-", "instance-stopped-by-", "instance-stopped-no-")
_SCHEDULED = ("instance-retirement", "instance-stop")
_TRANSITION = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) GMT\)")
_REASONS = (
    ("throttled", ("RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "SlowDown")),
    ("forbidden", ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "OptInRequired")),
    (
        "signed_out",
        (
            "AuthFailure",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "ExpiredToken",
            "ExpiredTokenException",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "RequestExpired",
        ),
    ),
)
CALLS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("ec2", "describe_instances", "Reservations", {"MaxResults": 5}),
    ("ec2", "describe_instance_status", "InstanceStatuses", {"MaxResults": 5}),
    ("ec2", "describe_spot_instance_requests", "SpotInstanceRequests", {"MaxResults": 5}),
    ("ec2", "describe_spot_price_history", "SpotPriceHistory", {"MaxResults": 5}),
    ("pricing", "get_products", "PriceList", {"ServiceCode": "AmazonEC2", "MaxResults": 1}),
)
"""The calls that are made: service, operation, the key of the rows, and parameters to try it with."""


class AwsClient:
    """The boto3 clients of one account, for the life of a source.

    Args:
        table: Its row of the configuration.
    """

    def __init__(self, table: Aws) -> None:
        self.table = table
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._http: HttpSession | None = None

    @contextmanager
    def open(self) -> Iterator[HttpSession]:
        """Send the requests of one refresh through a bounded session."""
        with HttpSession(
            None, seconds=REFRESH_SECONDS, request_seconds=REQUEST_SECONDS, max_requests=MAX_REQUESTS
        ) as self._http:
            try:
                yield self._http
            finally:
                self._http = None

    def list_regions(self) -> tuple[str, ...]:
        """Return the regions that are read. Raises RefreshError where none is known."""
        if self.table.regions:
            return self.table.regions
        region = self._get_session().region_name
        if not region:
            raise RefreshError("not_configured", "no region of AWS is configured; set regions in [[aws]]")
        return (str(region),)

    def call(self, service: str, region: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Call one operation. Raises RefreshError, which names the right that is missing."""
        right = name_right(service, operation)
        try:
            answer: Mapping[str, Any] = getattr(self._get_client(service, region), operation)(**parameters)
            return answer
        except Exception as error:  # botocore has two dozen kinds
            raise classify_error(error, right, region) from error

    def list_pages(self, service: str, region: str, operation: str, rows: str, **parameters: Any) -> Iterator[Any]:
        """Yield the rows of all pages of a list. Raises RefreshError as `call`."""
        seen = set()
        while True:
            page = self.call(service, region, operation, **parameters)
            yield from page.get(rows, ())
            token = page.get("NextToken")
            if not token:
                return
            if token in seen:
                raise RefreshError("endless", f"{service} in {region}: the pages of the list lead in a circle")
            seen.add(token)
            parameters["NextToken"] = token

    def _get_session(self) -> Any:
        if self._session is None:
            try:
                import boto3
                import botocore.exceptions
            except ImportError as error:
                raise RefreshError("not_installed", f"{error.name} is not installed; {EXTRA}") from error
            try:
                self._session = boto3.Session(profile_name=self.table.profile)
            except botocore.exceptions.BotoCoreError as error:
                raise RefreshError("signed_out", f"AWS: {error}; see docs/aws.md") from error
        return self._session

    def _get_client(self, service: str, region: str) -> Any:
        if (service, region) not in self._clients:
            session = self._get_session()
            from botocore.config import Config

            config = Config(
                retries={"total_max_attempts": 1},  # the source waits instead
                user_agent_extra="evalgauge",
                connect_timeout=5,
                read_timeout=REQUEST_SECONDS,
            )
            client = session.client(service, region_name=region, endpoint_url=self.table.endpoint_url, config=config)
            client.meta.events.register("before-send", self._send)
            self._clients[service, region] = client
        return self._clients[service, region]

    def _send(self, request: Any, **_: Any) -> Any:
        """Send a signed request of botocore; its own sending is skipped where this returns an answer."""
        from botocore.awsrequest import AWSResponse

        assert self._http is not None, "requests are sent inside open()"
        headers = {name: _to_text(value) for name, value in request.headers.items()}
        body = request.body
        content = body.encode() if isinstance(body, str) else body
        answer = self._http.send("AWS", request.method, request.url, headers, content)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Body(answer.body))


def name_right(service: str, operation: str) -> str:
    """Return the action of a policy that allows a call: ``ec2:DescribeInstances``."""
    return f"{service}:{''.join(word.title() for word in operation.split('_'))}"


class _Body:
    """A body that was read, as botocore expects one that was not."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _to_text(value: object) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def classify_error(error: Exception, right: str, region: str) -> RefreshError:
    """Return what an error of botocore means.

    Args:
        error: What a call raised.
        right: The action that was called: ``ec2:DescribeInstances``.
        region: Where.
    """
    import botocore.exceptions

    if isinstance(error, RefreshError):
        detail = error.detail.removeprefix("AWS: ")
        return RefreshError(error.reason, f"{right} in {region}: {detail}", error.retry_after)
    line = shorten(" ".join(str(error).split()), MAX_DETAIL, placeholder=" …")
    if isinstance(error, botocore.exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        answer = error.response.get("ResponseMetadata", {})
        status = answer.get("HTTPStatusCode", 0)
        wait = parse_retry_after(answer.get("HTTPHeaders", {}), time.time())
        reason = next((reason for reason, codes in _REASONS if code in codes), None)
        if reason == "throttled" or status == 429:
            return RefreshError("throttled", f"{right} in {region}: too many requests", wait)
        if reason == "signed_out":
            return RefreshError(
                reason, f"{right} in {region}: the credentials are not accepted: {line}; see docs/aws.md"
            )
        if reason == "forbidden" or status == 403:
            return RefreshError("forbidden", f"{right} in {region} is not allowed ({code}); see docs/aws.md")
        if status >= 500:
            return RefreshError("server_error", f"{right} in {region}: answers {status}", wait)
        return RefreshError("refused", f"{right} in {region}: {line}", wait)
    unsigned = (
        botocore.exceptions.NoCredentialsError,
        botocore.exceptions.PartialCredentialsError,
        botocore.exceptions.CredentialRetrievalError,
        botocore.exceptions.SSOError,
        botocore.exceptions.ProfileNotFound,
    )
    if isinstance(error, unsigned):
        return RefreshError("signed_out", f"signing in to AWS failed: {line}; see docs/aws.md")
    return RefreshError("malformed", f"{right} in {region}: the answer is not what it should be: {line}")


class AwsCloud(Cloud):
    """The instances of one account.

    Args:
        table: Its row of the configuration.
    """

    provider = AWS
    source = "aws_ec2"

    def __init__(self, table: Aws) -> None:
        self.scope = table.profile or "default"
        self.status_interval = table.status_interval
        self.inventory_interval = table.status_interval  # one list has both
        self.table = table
        self.client = AwsClient(table)

    @contextmanager
    def open(self) -> Iterator[CloudReader]:
        """Return the reader for one refresh."""
        with self.client.open() as session:
            yield Ec2Reader(self.table, self.client, session)

    def identify(self) -> str:
        """Return the ARN that is signed in."""
        with self.client.open():
            region = self.client.list_regions()[0]
            return f"signed in as {self.client.call('sts', region, 'get_caller_identity')['Arn']}"

    def check_access(self) -> Iterator[Access]:
        """Try each action that is used, in each region."""
        with self.client.open():
            for region in self.client.list_regions():
                for service, operation, rows, parameters in CALLS:
                    place = PRICING_REGION if service == "pricing" else region
                    call = partial(self._try_call, service, place, operation, rows, parameters)
                    yield try_access(f"{name_right(service, operation)} in {place}", call)

    def _try_call(
        self, service: str, region: str, operation: str, rows: str, parameters: Mapping[str, Any]
    ) -> list[object]:
        return list(self.client.call(service, region, operation, **parameters).get(rows, ()))

    def create_price_list(self) -> PriceList | None:
        """Return the price list API, with the history of spot prices."""
        return AwsPriceList(self.client)


class Ec2Reader(CloudReader):
    """One refresh: one list a region has the inventory and the states."""

    def __init__(self, table: Aws, client: AwsClient, session: HttpSession) -> None:
        self.table = table
        self.client = client
        self.session = session
        self._instances: dict[str, list[Any] | RefreshError] = {}

    @property
    def skew(self) -> float:  # type: ignore[override]  # known once AWS has answered
        """Seconds that AWS's clock is behind ours."""
        return self.session.skew

    def list_parts(self) -> Iterator[str]:
        """Yield the regions."""
        yield from self.client.list_regions()

    def read_inventory(self, part: str) -> Iterator[VmInfo | None]:
        """Yield the instances of a region."""
        return self._convert(part, self._read_vm)

    def read_states(self, part: str) -> Iterator[VmPowerState | None]:
        """Yield the power states of the instances of a region, from the same list."""
        return self._convert(part, self._read_state)

    def read_interruptions(self, part: str) -> Iterable[VmInterruption]:
        """Yield the spot instances that AWS takes or took back, and those that it stops or retires."""
        rows = self._list_instances(part)
        if any(row.get("InstanceLifecycle") == "spot" for row in rows):
            for row in self.client.list_pages(
                "ec2", part, "describe_spot_instance_requests", "SpotInstanceRequests", MaxResults=PAGE_SIZE
            ):
                if (found := _read_spot_request(row)) is not None:
                    yield found
        if rows:
            filters = [{"Name": "event.code", "Values": list(_SCHEDULED)}]
            for row in self.client.list_pages(
                "ec2", part, "describe_instance_status", "InstanceStatuses", Filters=filters, MaxResults=PAGE_SIZE
            ):
                for event in row.get("Events", ()):
                    at = _parse_time(event.get("NotBefore"))
                    if at is not None and not str(event.get("Description")).startswith("[Completed]"):
                        yield VmInterruption(time.time(), str(row["InstanceId"]), at, str(event.get("Code")))

    def _list_instances(self, region: str) -> list[Any]:
        """The instances of a region, asked for once a refresh."""
        if region not in self._instances:
            try:
                reservations = self.client.list_pages(
                    "ec2", region, "describe_instances", "Reservations", MaxResults=PAGE_SIZE
                )
                self._instances[region] = [row for found in reservations for row in found.get("Instances", ())]
            except RefreshError as error:
                self._instances[region] = error
        found = self._instances[region]
        if isinstance(found, RefreshError):
            raise found
        return found

    def _convert(self, region: str, convert: Callable[[str, Mapping[str, Any]], Any]) -> Iterator[Any]:
        for row in self._list_instances(region):
            try:
                if row["State"]["Name"] != "terminated":
                    yield convert(region, row)
            except (AttributeError, KeyError, TypeError, ValueError):
                yield None

    def _read_vm(self, region: str, row: Mapping[str, Any]) -> VmInfo:
        tags = _read_tags(row)
        folded = {name.lower(): value for name, value in tags.items()}
        platform = str(row.get("PlatformDetails") or "")
        placement = row.get("Placement") or {}
        shared = placement.get("Tenancy") in (None, "default")
        disks = (disk.get("Ebs", {}).get("AttachTime") for disk in row.get("BlockDeviceMappings", ()))
        created = [at for at in map(_parse_time, [row.get("LaunchTime"), *disks]) if at is not None]
        aliases = (
            row.get("PrivateIpAddress"),
            row.get("PublicIpAddress"),
            row.get("PrivateDnsName"),
            tags.get(self.table.worker_tag) if self.table.worker_tag else None,
        )
        return VmInfo(
            vm_id=str(row["InstanceId"]),
            name=_get_name(row, tags),
            group=_get_group(self.table, region, tags),
            location=region,
            size=str(row.get("InstanceType") or ""),
            created_at=min(created, default=None),
            tags={name: tags[name] for name in self.table.tags if name in tags},
            spot=row.get("InstanceLifecycle") == "spot",
            windows=_LIST_PRICED.get(platform, False),
            aliases=tuple(str(alias) for alias in aliases if alias),
            evaluation=matches_tags(self.table.evaluation_tags, folded),
            zone=str(placement.get("AvailabilityZone") or ""),
            list_priced=platform in _LIST_PRICED and shared,
        )

    def _read_state(self, region: str, row: Mapping[str, Any]) -> VmPowerState:
        state = STATES.get(str(row["State"]["Name"]), "unknown")
        tags = _read_tags(row)
        since = _parse_time(row.get("LaunchTime"))
        if state not in ("starting", "running"):
            found = _TRANSITION.search(str(row.get("StateTransitionReason") or ""))
            since = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp() if found else None
        return VmPowerState(
            str(row["InstanceId"]), _get_name(row, tags), _get_group(self.table, region, tags), state, since
        )


def _read_tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in row.get("Tags", ())}


def _get_name(row: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    return tags.get("Name") or str(row["InstanceId"])


def _get_group(table: Aws, region: str, tags: Mapping[str, str]) -> str:
    return (tags.get(table.group_tag) if table.group_tag else None) or region


def _read_spot_request(row: Mapping[str, Any]) -> VmInterruption | None:
    """The interruption that a spot request reports; None where there is none."""
    status = row.get("Status") or {}
    code = str(status.get("Code") or "")
    at = _parse_time(status.get("UpdateTime"))
    if at is None or not row.get("InstanceId"):
        return None
    if code in _MARKED:
        at += NOTICE_SECONDS
    elif not code.startswith(_INTERRUPTED) or code.endswith("-by-user"):
        return None
    return VmInterruption(time.time(), str(row["InstanceId"]), at, code)


def _parse_time(value: object) -> float | None:
    """Unix seconds of a time as botocore gives it."""
    return value.timestamp() if isinstance(value, datetime) else None


class AwsPriceList(PriceList):
    """The price list API for machines on demand, and the history of spot prices for spot machines.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html

    Args:
        client: Signs in; the price list can't be read without.
    """

    provider = AWS
    name = "aws price list"

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    def get_lookup(self, key: PriceKey) -> tuple[str, float]:
        """Return the lookup of a size in a region, for spot in a zone; valid for a day, spot prices for an hour."""
        where = f"{self._client.table.endpoint_url or 'aws'} {key.location} {key.size}"
        return (f"{where} spot {key.zone}", SPOT_PRICE_SECONDS) if key.spot else (where, DAY)

    def get_source(self, key: PriceKey) -> str:
        """Return what prices a machine, for the label ``priced_by``."""
        return "aws spot history" if key.spot else self.name

    @contextmanager
    def open(self) -> Iterator[Callable[[PriceKey], Mapping[str, float]]]:
        """Return the lookup for one refresh, bounded in time and in requests."""
        with self._client.open():
            yield lambda key: self._look_up_spot(key) if key.spot else self._look_up(key)

    def _look_up(self, key: PriceKey) -> dict[str, float]:
        conditions = {
            "instanceType": key.size,
            "regionCode": key.location,
            "tenancy": "Shared",
            "capacitystatus": "Used",
            "preInstalledSw": "NA",
        }
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in conditions.items()]
        rows = list(
            self._client.list_pages(
                "pricing", PRICING_REGION, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters
            )
        )
        found = {name_variant(False, windows): choose_price(rows, key, windows) for windows in (False, True)}
        return {name: usd for name, usd in found.items() if usd is not None}

    def _look_up_spot(self, key: PriceKey) -> dict[str, float]:
        products = {"Linux/UNIX": False, "Windows": True}
        answer = self._client.call(
            "ec2",
            key.location,
            "describe_spot_price_history",
            InstanceTypes=[key.size],
            ProductDescriptions=list(products),
            AvailabilityZone=key.zone,
            StartTime=datetime.now(UTC),
        )
        newest: dict[str, tuple[float, float]] = {}
        for row in answer.get("SpotPriceHistory", ()):
            windows = products.get(str(row.get("ProductDescription")))
            usd, at = _parse_usd(row.get("SpotPrice")), _parse_time(row.get("Timestamp"))
            matches = row.get("AvailabilityZone") == key.zone and row.get("InstanceType") == key.size
            if windows is not None and usd is not None and at is not None and matches:
                newest[name_variant(True, windows)] = max(
                    (at, usd), newest.get(name_variant(True, windows), (0.0, 0.0))
                )
        return {name: usd for name, (_, usd) in newest.items()}


def choose_price(rows: Iterable[object], key: PriceKey, windows: bool) -> float | None:
    """Return the price on demand in USD an hour, None where no row applies or several contradict each other.

    Args:
        rows: Of the price list, each a JSON document as a text.
        key: The region and the size.
        windows: Whether a Windows licence is billed.
    """
    prices = set()
    for row in rows:
        try:
            product: Any = parse_json(row.encode()) if isinstance(row, str) else row
            attributes = product["product"]["attributes"]
            if (
                attributes["instanceType"] != key.size
                or attributes["regionCode"] != key.location
                or attributes["operatingSystem"] != ("Windows" if windows else "Linux")
                or attributes["licenseModel"] != "No License required"
                or attributes["tenancy"] != "Shared"
                or attributes["preInstalledSw"] != "NA"
                or attributes["capacitystatus"] != "Used"
            ):
                continue
            for offer in product["terms"]["OnDemand"].values():
                for dimension in offer["priceDimensions"].values():
                    usd = _parse_usd(dimension["pricePerUnit"].get("USD"))
                    if dimension["unit"] == "Hrs" and usd is not None:
                        prices.add(usd)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return prices.pop() if len(prices) == 1 else None


def _parse_usd(value: object) -> float | None:
    """A price as AWS writes it, a decimal number as a text; a price of 0 is no price."""
    try:
        usd = float(str(value))
    except ValueError:
        return None
    return usd if 0 < usd < 10_000 else None
