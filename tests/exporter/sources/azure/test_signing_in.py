"""The real DefaultAzureCredential with a managed identity's endpoint on 127.0.0.1, and a Resource Manager over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from evalgauge_exporter.config.model import Azure, AzureMl
from evalgauge_exporter.sources.azure.ml_jobs import AzureMlSource
from evalgauge_exporter.sources.azure.vms import AzureCloud
from evalgauge_exporter.sources.cloud import CloudSource
from evalgauge_exporter.sources.http import tls_context
from evalgauge_exporter.sources.polling import PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, JobsSeen, RefreshFailed, VmInventory
from tests.exporter.sources.azure.arm import SUBSCRIPTION, ArmServer, Fault, vm
from tests.exporter.sources.certificate import certificate, server_context
from tests.exporter.sources.test_probe import serve_tcp

pytest.importorskip("azure.identity")


class Identity:
    """What an App Service gives its programs to sign in with."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lifetime = 3600.0

    def talk(self, connection: object) -> None:
        request = connection.recv(65536).decode()  # type: ignore[attr-defined]  # a socket
        query = parse_qs(urlsplit(request.split()[1]).query)
        self.asked += query["resource"]
        body = json.dumps(
            {
                "access_token": f"token-{len(self.asked)}",
                "expires_on": str(int(time.time() + self.lifetime)),
                "resource": query["resource"][0],
                "token_type": "Bearer",
            }
        )
        connection.sendall(  # type: ignore[attr-defined]
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n{body}".encode()
        )


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    found = Identity()
    with serve_tcp(found.talk) as address:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header-of-this-machine")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate(tmp_path)))
        tls_context.cache_clear()
        yield found
    tls_context.cache_clear()


@pytest.fixture
def server(identity: Identity, tmp_path: Path) -> Iterator[ArmServer]:
    with ArmServer([vm("a")], tls=server_context(tmp_path / "certificate.pem")) as found:
        yield found


def looked(server: ArmServer, kind: str, times: int = 1) -> list[FleetEvent]:
    """What a source with the default credential tells."""
    events: list[FleetEvent] = []
    place = {"subscription_id": SUBSCRIPTION, "base_url": server.url}
    if kind == "vms":
        made: PollingSource = CloudSource(AzureCloud(Azure.model_validate(place)), events.extend)
    else:
        table = AzureMl.model_validate({**place, "resource_group": "ml", "workspace": "ws"})
        made = AzureMlSource(table, events.extend)
    try:
        for _ in range(times):
            made.poll()
    finally:
        made.close()
    return events


@pytest.mark.parametrize(("source", "kind"), [("vms", VmInventory), ("jobs", JobsSeen)])
def test_the_token_is_asked_for_once_and_sent_with_every_request(
    server: ArmServer, identity: Identity, source: str, kind: type[FleetEvent]
) -> None:
    events = looked(server, source, times=2)
    assert any(isinstance(event, kind) for event in events), events
    assert identity.asked == [server.url]  # a token for this Resource Manager and nothing else
    assert set(server.signed) == {"Bearer token-1"}


def test_a_token_that_has_expired_is_asked_for_anew(server: ArmServer, identity: Identity) -> None:
    identity.lifetime = -60.0
    looked(server, "vms")
    assert len(identity.asked) > 1
    assert server.signed[-1] == f"Bearer token-{len(identity.asked)}"


def test_a_token_that_is_not_accepted_is_reported_and_never_shown(server: ArmServer) -> None:
    server.fault = Fault(401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    failed = looked(server, "vms")[-1]
    assert isinstance(failed, RefreshFailed)
    assert failed.reason == "signed_out"
    assert "token-1" not in repr(failed)


def test_a_missing_sign_in_is_reported_with_the_ways_to_sign_in(
    server: ArmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential

    def refuse(*_: object, **__: object) -> None:
        raise ClientAuthenticationError(
            "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
            "\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not "
            "fully configured.\nVisit https://aka.ms/azsdk to troubleshoot this issue.\n"
            "\tManagedIdentityCredential: ManagedIdentityCredential authentication unavailable.\n"
            "\tVisualStudioCodeCredential: requires a package\n\tAzureCliCredential: Please run 'az login'\n"
        )

    monkeypatch.setattr(DefaultAzureCredential, "get_token", refuse)
    monkeypatch.setattr(DefaultAzureCredential, "get_token_info", refuse)
    failed = looked(server, "vms")[-1]
    assert isinstance(failed, RefreshFailed)
    assert failed.reason == "signed_out"
    assert failed.detail.endswith(
        "EnvironmentCredential: Environment variables are not fully configured; "
        "ManagedIdentityCredential: authentication unavailable; AzureCliCredential: Please run 'az login'"
    )
