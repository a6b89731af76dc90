"""EC2 over the real boto3 against moto's server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto.server")

from moto.server import ThreadedMotoServer

from evalgauge_exporter.cli.doctor_checks import check_all
from evalgauge_exporter.config.model import Aws, load_config
from evalgauge_exporter.sources import aws
from evalgauge_exporter.sources.aws import AwsCloud, AwsPriceList, choose_price
from evalgauge_exporter.sources.cloud import CloudSource
from evalgauge_exporter.sources.prices import PriceSource
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    PriceKey,
    PriceSeen,
    Refreshed,
    RefreshFailed,
    VmInterruption,
)
from evalgauge_exporter.state.fleet_models import VmState
from tests.exporter.sources.aws_server import XMLNS, AwsFault, AwsServer, error, price_row

M5 = PriceKey("us-east-1", "m5.xlarge", provider="aws")


@pytest.fixture(autouse=True)
def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def moto() -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(moto: ThreadedMotoServer) -> Iterator[AwsServer]:
    with AwsServer(moto) as found:
        yield found


class Watch:
    """A source, the events it emitted, and their fold."""

    def __init__(self, server: AwsServer, **keys: object) -> None:
        self.events: list[FleetEvent] = []
        self.fleet = FleetState()
        table = {"regions": ["us-east-1"], "endpoint_url": server.url, "status_interval": "60s", **keys}
        self.cloud = AwsCloud(Aws.model_validate(table))
        self.source = CloudSource(self.cloud, self._emit)

    def _emit(self, events: Iterable[FleetEvent]) -> None:
        for event in events:
            self.events.append(event)
            self.fleet.apply(event)

    def states(self) -> dict[str, str]:
        return {vm.name: vm.state for vm in self.fleet.vms.values()}

    def failed(self) -> RefreshFailed:
        event = self.events[-1]
        assert isinstance(event, RefreshFailed), event
        return event


def test_an_instance_has_its_state_its_type_and_its_tags(server: AwsServer) -> None:
    (instance,) = server.launch(tags={"Name": "waa-00", "team": "eval", "secret": "x", "pool": "agents"})
    watch = Watch(server, tags=["team"], group_tag="pool")
    watch.source.poll()
    assert isinstance(watch.events[-1], Refreshed)
    (known,) = watch.fleet.vms.values()
    info = watch.fleet.inventory[instance]
    assert (known.name, known.state, known.group, known.provider) == ("waa-00", "running", "agents", "aws")
    assert (info.size, info.location, dict(info.tags), info.spot) == ("m5.xlarge", "us-east-1", {"team": "eval"}, False)
    assert info.zone.startswith("us-east-1")
    assert info.created_at == pytest.approx(time.time(), abs=600)
    assert "hunter2" not in repr(watch.events)


def test_a_stopped_instance_does_not_bill_and_a_terminated_one_is_gone(server: AwsServer) -> None:
    stopped, terminated, running = (server.launch(tags={"Name": name})[0] for name in ("a", "b", "c"))
    watch = Watch(server)
    watch.source.poll()
    assert watch.states() == {"a": "running", "b": "running", "c": "running"}
    server.client().stop_instances(InstanceIds=[stopped])
    server.client().terminate_instances(InstanceIds=[terminated])
    watch.source.poll()
    assert watch.states() == {"a": "deallocated", "b": "gone", "c": "running"}
    now = time.time() + 100
    assert [len(watch.fleet.vms[vm_id].list_billing(now)) for vm_id in (stopped, terminated, running)] == [1, 1, 1]
    assert [len(watch.fleet.vms[vm_id].list_free(now)) for vm_id in (stopped, terminated, running)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "bills"),
    [("pending", False), ("running", True), ("stopping", False), ("stopped", False), ("shutting-down", False)],
)
def test_only_a_running_instance_bills(name: str, bills: bool) -> None:
    state = VmState("i-1", "aws", "default", "us-east-1")
    state.changes.append((100.0, aws.STATES[name]))
    assert (state.list_billing(200.0), state.list_free(200.0)) == (
        ([(100.0, 200.0)], []) if bills else ([], [(100.0, 200.0)])
    )


def test_an_instance_without_a_name_has_its_id_and_the_region_as_its_group(server: AwsServer) -> None:
    (instance,) = server.launch()
    watch = Watch(server)
    watch.source.poll()
    (known,) = watch.fleet.vms.values()
    assert (known.name, known.group) == (instance, "us-east-1")


@pytest.mark.parametrize("by", ["name", "tag", "id", "address"])
def test_a_worker_is_found_by_name_by_tag_by_id_and_by_address(server: AwsServer, by: str) -> None:
    (instance,) = server.launch(tags={"Name": "waa-00", "worker": "worker-7"})
    server.launch(tags={"Name": "other"})
    watch = Watch(server, worker_tag="worker")
    watch.source.poll()
    address = next(name for name in watch.fleet.inventory[instance].aliases if name.startswith("10."))
    found = watch.fleet.resolve({"name": "WAA-00", "tag": "worker-7", "id": instance, "address": address}[by])
    assert found is not None
    assert found.key == instance


def test_a_thousand_instances_take_two_requests_a_refresh(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "REQUEST_SECONDS", 600.0)  # the simulator is slower than AWS, by far on a busy machine
    server.launch(1000)
    server.actions.clear()
    watch = Watch(server)
    watch.source.poll()
    assert len(watch.fleet.vms) == len(watch.fleet.inventory) == 1000
    assert server.actions == ["DescribeInstances", "DescribeInstanceStatus"]


def test_all_pages_are_read(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "PAGE_SIZE", 5)
    for _ in range(12):
        server.launch()
    server.actions.clear()
    watch = Watch(server)
    watch.source.poll()
    assert len(watch.fleet.vms) == 12
    assert server.actions.count("DescribeInstances") == 3


def test_each_region_succeeds_or_fails_by_itself(server: AwsServer) -> None:
    server.launch(tags={"Name": "east"})
    server.launch(region="eu-west-1", tags={"Name": "west"})
    server.refused["eu-west-1"] = error("UnauthorizedOperation", 403)
    watch = Watch(server, regions=["eu-west-1", "us-east-1"])
    assert watch.source.poll() == 60.0  # no longer pause: what is read must not grow too old
    assert watch.states() == {"east": "running"}
    assert watch.failed().reason == "forbidden"
    assert "ec2:DescribeInstances in eu-west-1" in watch.failed().detail
    server.refused.clear()
    watch.source.poll()
    assert watch.states() == {"east": "running", "west": "running"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (error("RequestLimitExceeded", 503), "throttled"),
        (error("UnauthorizedOperation", 403), "forbidden"),
        (error("AuthFailure", 401), "signed_out"),
        (error("RequestExpired", 400), "signed_out"),
        (error("InternalError", 500), "server_error"),
        (error("InvalidParameterValue", 400), "refused"),
        (AwsFault(200, b"<html>proxy</html"), "malformed"),
        (AwsFault(200, b""), "malformed"),
        (AwsFault(200, b"<DescribeInstancesResponse>", {"Content-Length": "900"}), "malformed"),
        (AwsFault(503, b""), "server_error"),
    ],
)
def test_what_goes_wrong_has_a_reason_and_is_not_repeated(server: AwsServer, fault: AwsFault, reason: str) -> None:
    server.launch()
    server.actions.clear()
    server.refused["DescribeInstances"] = fault
    watch = Watch(server)
    watch.source.poll()
    assert watch.failed().reason == reason, watch.failed().detail
    assert "\n" not in watch.failed().detail
    assert not watch.fleet.vms
    assert server.actions.count("DescribeInstances") == 1


def test_too_many_requests_end_the_whole_refresh_for_as_long_as_asked(server: AwsServer) -> None:
    server.faults.append(error("RequestLimitExceeded", 503, Retry_After="77"))
    watch = Watch(server, regions=["eu-west-1", "us-east-1"])
    assert watch.source.poll() == 77.0
    assert server.actions == ["DescribeInstances"]


def test_an_outage_is_waited_out_with_growing_pauses(server: AwsServer) -> None:
    server.launch(tags={"Name": "a"})
    watch = Watch(server)
    watch.source.poll()
    server.refused["DescribeInstances"] = AwsFault(503, b"")
    assert [watch.source.poll() for _ in range(4)] == [60.0, 120.0, 240.0, 300.0]
    server.refused.clear()
    assert watch.source.poll() == 60.0
    assert watch.states() == {"a": "running"}


def test_a_refresh_is_bounded_in_seconds(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "REFRESH_SECONDS", 0.3)
    server.hold = threading.Event()
    watch = Watch(server, regions=["eu-west-1", "us-east-1"])
    watch.source.poll()
    assert watch.failed().reason == "timeout"


def test_pages_that_lead_in_a_circle_come_to_an_end(server: AwsServer) -> None:
    server.launch()
    server.circular = True
    watch = Watch(server)
    watch.source.poll()
    assert watch.failed().reason == "endless"
    assert not watch.fleet.vms


def test_nobody_to_sign_in_with_is_reported_in_one_line(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    watch = Watch(server)
    watch.source.poll()
    assert watch.failed().reason == "signed_out"
    assert not server.actions


def test_a_profile_that_does_not_exist_is_reported(server: AwsServer) -> None:
    watch = Watch(server, profile="nobody")
    watch.source.poll()
    assert watch.failed().reason == "signed_out"
    assert "nobody" in watch.failed().detail


def test_without_a_region_it_says_so(server: AwsServer) -> None:
    watch = Watch(server, regions=[])
    watch.source.poll()
    assert watch.failed().reason == "not_configured"


def spot_requests(instance: str, code: str, at: datetime) -> AwsFault:
    """The answer about one spot request with a status."""
    body = (
        f'<DescribeSpotInstanceRequestsResponse xmlns="{XMLNS}"><spotInstanceRequestSet><item>'
        f"<spotInstanceRequestId>sir-1</spotInstanceRequestId><instanceId>{instance}</instanceId><state>active</state>"
        f"<status><code>{code}</code><updateTime>{at:%Y-%m-%dT%H:%M:%S.000Z}</updateTime></status>"
        "</item></spotInstanceRequestSet></DescribeSpotInstanceRequestsResponse>"
    )
    return AwsFault(200, body.encode(), {"Content-Type": "text/xml"})


@pytest.mark.parametrize(
    ("code", "seconds"),
    [
        ("marked-for-termination", 120.0),
        ("marked-for-stop", 120.0),
        ("instance-terminated-by-price", 0.0),
        ("instance-stopped-no-capacity", 0.0),
        ("instance-terminated-by-user", None),
        ("fulfilled", None),
    ],
)
def test_a_spot_interruption_is_an_event(server: AwsServer, code: str, seconds: float | None) -> None:
    (instance,) = server.launch(spot=True, tags={"Name": "spot"})
    at = datetime.now(UTC).replace(microsecond=0)
    server.refused["DescribeSpotInstanceRequests"] = spot_requests(instance, code, at)
    watch = Watch(server)
    watch.source.poll()
    watch.source.poll()
    assert watch.fleet.inventory[instance].spot
    found = watch.fleet.vms[instance].interruption
    if seconds is None:
        assert found is None
    else:
        assert found is not None
        assert found.detail == code
        assert found.at == pytest.approx(at.timestamp() + seconds, abs=1)


def test_a_machine_that_aws_retires_has_a_notice(server: AwsServer) -> None:
    (instance,) = server.launch()
    at = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    body = (
        f'<DescribeInstanceStatusResponse xmlns="{XMLNS}"><instanceStatusSet><item><instanceId>{instance}</instanceId>'
        f"<eventsSet><item><code>instance-retirement</code><description>[Completed] old</description>"
        f"<notBefore>2020-01-01T00:00:00.000Z</notBefore></item><item><code>instance-stop</code>"
        f"<description>The instance is running on degraded hardware</description>"
        f"<notBefore>{at:%Y-%m-%dT%H:%M:%S.000Z}</notBefore></item></eventsSet></item></instanceStatusSet>"
        "</DescribeInstanceStatusResponse>"
    )
    server.refused["DescribeInstanceStatus"] = AwsFault(200, body.encode(), {"Content-Type": "text/xml"})
    watch = Watch(server)
    watch.source.poll()
    assert [(event.detail, event.at) for event in watch.events if isinstance(event, VmInterruption)] == [
        ("instance-stop", at.timestamp())
    ]


def test_forbidden_interruptions_hide_no_instance(server: AwsServer) -> None:
    server.launch(tags={"Name": "a"})
    server.refused["DescribeInstanceStatus"] = error("UnauthorizedOperation", 403)
    watch = Watch(server)
    assert watch.source.poll() == 60.0
    assert watch.states() == {"a": "running"}
    assert "ec2:DescribeInstanceStatus" in watch.failed().detail


# -- prices


def look_up(server: AwsServer, folder: Path, *keys: PriceKey) -> tuple[float, list[FleetEvent]]:
    events: list[FleetEvent] = []
    cloud = AwsCloud(Aws(endpoint_url=server.url, regions=("us-east-1",)))
    wait = PriceSource(AwsPriceList(cloud.client), folder, lambda: keys, events.extend).poll()
    return wait, events


def found_prices(events: list[FleetEvent]) -> dict[PriceKey, tuple[float | None, str]]:
    return {event.key: (event.usd_per_hour, event.priced_by) for event in events if isinstance(event, PriceSeen)}


def test_a_price_on_demand_is_looked_up_and_cached(server: AwsServer, tmp_path: Path) -> None:
    windows = M5._replace(windows=True)
    _, events = look_up(server, tmp_path, M5, windows)
    assert found_prices(events) == {M5: (0.192, "aws price list"), windows: (0.376, "aws price list")}
    assert server.actions == ["GetProducts"]
    _, events = look_up(server, tmp_path, M5)
    assert found_prices(events) == {M5: (0.192, "aws price list")}
    assert server.actions == ["GetProducts"]


def test_all_pages_of_the_price_list_are_read(server: AwsServer, tmp_path: Path) -> None:
    server.prices = [price_row("9.9", system=f"Other {n}") for n in range(250)] + server.prices
    _, events = look_up(server, tmp_path, M5)
    assert found_prices(events) == {M5: (0.192, "aws price list")}
    assert len(server.actions) == 3


def test_a_spot_price_is_that_of_its_zone_and_valid_for_an_hour(server: AwsServer, tmp_path: Path) -> None:
    row = (
        "<item><instanceType>m5.xlarge</instanceType><productDescription>{}</productDescription>"
        "<spotPrice>{}</spotPrice><timestamp>{}</timestamp><availabilityZone>{}</availabilityZone></item>"
    )
    rows = [
        row.format("Linux/UNIX", "0.0700", "2026-11-20T08:00:00.000Z", "us-east-1a"),
        row.format("Linux/UNIX", "0.0650", "2026-11-20T09:00:00.000Z", "us-east-1a"),
        row.format("Linux/UNIX", "0.0100", "2026-11-20T10:00:00.000Z", "us-east-1b"),
        row.format("Windows", "0.1500", "2026-11-20T09:00:00.000Z", "us-east-1a"),
    ]
    body = (
        f'<DescribeSpotPriceHistoryResponse xmlns="{XMLNS}"><spotPriceHistorySet>{"".join(rows)}'
        "</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>"
    )
    server.refused["DescribeSpotPriceHistory"] = AwsFault(200, body.encode(), {"Content-Type": "text/xml"})
    spot = M5._replace(spot=True, zone="us-east-1a")
    wait, events = look_up(server, tmp_path, spot)
    assert found_prices(events) == {spot: (0.065, "aws spot history")}
    assert 3500 < wait <= 3600


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [price_row("0.0")],
        [price_row("free")],
        [price_row("0.192", tenancy="Dedicated")],
        [price_row("0.192", preInstalledSw="SQL Std")],
        [price_row("0.192", licenseModel="Bring your own license")],
        [price_row("0.192", capacitystatus="UnusedCapacityReservation")],
        [price_row("0.192", region="eu-west-1")],
        [price_row("0.192"), price_row("0.2")],
        ["{}", "no JSON", 3, None, "[]"],
    ],
)
def test_rows_about_something_else_are_no_price(rows: list[object]) -> None:
    assert choose_price(rows, M5, windows=False) is None


def test_a_row_that_means_nothing_hides_no_other() -> None:
    assert choose_price(["{}", 3, price_row("0.192")], M5, windows=False) == 0.192


def test_a_licence_that_the_list_is_not_read_for_has_no_price(server: AwsServer) -> None:
    (instance,) = server.launch()
    watch = Watch(server)
    watch.source.poll()
    assert watch.fleet.list_price_keys("aws") == {M5}
    info = watch.fleet.inventory[instance]
    watch.fleet.inventory[instance] = info._replace(list_priced=False)
    assert not watch.fleet.list_price_keys("aws")


def test_a_forbidden_price_list_names_the_right(server: AwsServer, tmp_path: Path) -> None:
    server.refused["GetProducts"] = AwsFault(
        400, b'{"__type": "AccessDeniedException", "message": "no"}', {"Content-Type": "application/x-amz-json-1.1"}
    )
    _, events = look_up(server, tmp_path, M5)
    assert isinstance(events[-1], RefreshFailed)
    assert events[-1].reason == "forbidden"
    assert "pricing:GetProducts" in events[-1].detail


# -- who may what


def test_access_is_checked_by_asking_and_names_the_rights(server: AwsServer) -> None:
    server.refused["DescribeInstanceStatus"] = error("UnauthorizedOperation", 403)
    cloud = Watch(server).cloud
    assert cloud.identify().startswith("signed in as arn:aws:")
    assert {access.what: access.reason for access in cloud.check_access()} == {
        "ec2:DescribeInstances in us-east-1": None,
        "ec2:DescribeInstanceStatus in us-east-1": "forbidden",
        "ec2:DescribeSpotInstanceRequests in us-east-1": None,
        "ec2:DescribeSpotPriceHistory in us-east-1": None,
        "pricing:GetProducts in us-east-1": None,
    }


def test_doctor_reports_who_is_signed_in_and_each_right(server: AwsServer, tmp_path: Path) -> None:
    server.launch(tags={"Name": "waa-00"})
    server.refused["GetProducts"] = AwsFault(
        400, b'{"__type": "AccessDeniedException", "message": "no"}', {"Content-Type": "application/x-amz-json-1.1"}
    )
    config = load_config(
        listen="127.0.0.1:0",
        aws=[{"regions": ["us-east-1"], "endpoint_url": server.url}],
        prices={"cache_dir": tmp_path},
    )
    found = {finding.what: finding for finding in check_all(config) if finding.what.startswith(("aws", "price"))}
    assert found["aws default credentials"].detail.startswith("signed in as arn:aws:")
    assert found["aws default ec2:DescribeInstances in us-east-1"].ok is True
    refused = found["aws default pricing:GetProducts in us-east-1"]
    assert (refused.ok, "docs/aws.md" in (refused.fix or "")) == (False, True)
    assert found["aws default machines"].detail == "1 machines, the power state of 1"
    assert found["prices"].ok is False
    assert "hunter2" not in repr(found)
