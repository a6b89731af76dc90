"""The cloud machine that this process runs on, from the machine's own metadata service.

It is off unless ``EVALGAUGE_INSTANCE_METADATA`` is ``on``: a runner often drives workers on other machines, and then
its own machine is not theirs. Where it is on, a worker that reports no machine is on this one.

- AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html (IMDSv2)
- Azure: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

VARIABLE = "EVALGAUGE_INSTANCE_METADATA"
SECONDS = 0.2
"""The time limit of all requests together."""
MAX_BYTES = 65536

address = ("169.254.169.254", 80)
"""The link-local address of both services."""


class CloudMachine(NamedTuple):
    """A machine, as ``Run.worker`` takes it."""

    vm: str
    """AWS: the instance id. Azure: the resource id."""
    vm_size: str | None
    provider: str


@functools.cache
def find_cloud_machine() -> CloudMachine | None:
    """Return the machine that this process runs on, None where it is off or no service answers. Never raises."""
    if os.environ.get(VARIABLE, "off").strip().lower() not in ("on", "1", "true"):
        return None
    found: list[CloudMachine] = []
    threads = [threading.Thread(target=_try, args=(ask, found), daemon=True) for ask in (_ask_aws, _ask_azure)]
    answered = threading.Event()
    threading.Thread(target=_wait_for, args=(threads, answered), daemon=True).start()
    answered.wait(SECONDS)
    return found[0] if found else None


def _wait_for(threads: list[threading.Thread], answered: threading.Event) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered.set()


def _try(ask: Callable[[], CloudMachine], found: list[CloudMachine]) -> None:
    with contextlib.suppress(Exception):  # it is no machine of this cloud
        found.append(ask())


def _ask_aws() -> CloudMachine:
    token = _request("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}).decode("ascii")
    body = _request("GET", "/latest/dynamic/instance-identity/document", {"X-aws-ec2-metadata-token": token})
    document = json.loads(body)
    return CloudMachine(_get_text(document, "instanceId"), _get_text(document, "instanceType"), "aws")


def _ask_azure() -> CloudMachine:
    path = "/metadata/instance/compute?api-version=2021-02-01&format=json"
    document = json.loads(_request("GET", path, {"Metadata": "true"}))
    return CloudMachine(_get_text(document, "resourceId"), _get_text(document, "vmSize"), "azure")


def _get_text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is no text")
    return value


def _request(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the body of an answer with status 200; no proxy is used."""
    import http.client  # here, since most processes need it for nothing

    connection = http.client.HTTPConnection(*address, timeout=SECONDS)
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"it answers {answer.status}")
        return answer.read(MAX_BYTES)
    finally:
        connection.close()
