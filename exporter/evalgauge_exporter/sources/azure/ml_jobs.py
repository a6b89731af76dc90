"""Jobs of an Azure ML workspace, over azure-core's pipeline: one GET a page, without another SDK.

https://learn.microsoft.com/rest/api/azureml/jobs/list, api-version 2024-04-01, newest jobs first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from evalgauge_exporter.config.model import AzureMl
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, Job, JobsSeen, Skipped

if TYPE_CHECKING:
    from azure.mgmt.core import ARMPipelineClient

API_VERSION = "2024-04-01"
STATUSES = (
    "notstarted",
    "starting",
    "provisioning",
    "preparing",
    "queued",
    "running",
    "finalizing",
    "cancelrequested",
    "completed",
    "failed",
    "canceled",
    "notresponding",
    "paused",
    "unknown",
)
"""Statuses of a job, from the API's JobStatus, in lower case."""
NEWEST = 50
MAX_PAGES = 50
"""Pages that are read of a workspace with a long past; the newest jobs come first."""


class AzureMlSource(PollingSource):
    """The jobs of one workspace."""

    source = "azure_ml"

    def __init__(self, table: AzureMl, emit: Emit) -> None:
        super().__init__(f"{table.subscription_id}/{table.resource_group}/{table.workspace}", table.interval, emit)
        self.table = table
        self._client: ARMPipelineClient[Any, Any] | None = None

    @property
    def path(self) -> str:
        """The workspace below the Resource Manager's address."""
        group, workspace = quote(self.table.resource_group, safe=""), quote(self.table.workspace, safe="")
        return (
            f"/subscriptions/{quote(self.table.subscription_id, safe='')}/resourceGroups/{group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
        )

    def refresh(self) -> Iterator[FleetEvent]:
        """Every page, counted by status."""
        what = f"the jobs of workspace {self.table.workspace}"
        try:
            client = self._connected()
            counts: Counter[str] = Counter()
            jobs: list[Job] = []
            skipped = 0
            for row in self._rows(client):
                job = read_job(row)
                if job is None:
                    skipped += 1
                    continue
                counts[job.status if job.status in STATUSES else "unknown"] += 1
                jobs.append(job)
                if len(jobs) > 4 * NEWEST:
                    jobs = _newest(jobs)
        except Exception as error:
            raise arm.classify_error(error, what, time.time()) from error
        for _ in range(skipped):
            yield Skipped(time.time(), self.source, "malformed")
        yield JobsSeen(
            time.time(),
            self.scope,
            self.table.workspace,
            self.interval,
            {status: counts[status] for status in STATUSES},
            tuple(_newest(jobs)),
        )

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> ARMPipelineClient[Any, Any]:
        if self._client is None:
            sign_in = arm.credential(self.table.credential)
            try:
                from azure.core.pipeline import policies
                from azure.mgmt.core import ARMPipelineClient
                from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
            except ImportError as error:
                raise RefreshError("not_installed", f"{error.name} is not installed; {arm.EXTRA}") from error
            options = arm.client_options(self.table.credential, self.table.base_url)
            asked = options.pop("credential_scopes")
            authentication = options.pop("authentication_policy", None)
            self._client = ARMPipelineClient(
                self.table.base_url,
                policies=[
                    policies.RequestIdPolicy(),
                    policies.UserAgentPolicy("evalgauge"),
                    policies.ProxyPolicy(),
                    policies.RetryPolicy(retry_total=0),
                    authentication or ARMChallengeAuthenticationPolicy(sign_in, *asked),
                ],
                **options,
            )
        return self._client

    def _rows(self, client: ARMPipelineClient[Any, Any]) -> Iterator[Any]:
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        query = urlencode({"api-version": API_VERSION, "listViewType": "ActiveOnly"})
        url = f"{self.table.base_url.rstrip('/')}{self.path}/jobs?{query}"
        home = _origin(url)
        for _ in range(MAX_PAGES):
            response = client.send_request(HttpRequest("GET", url, headers={"Accept": "application/json"}))
            if response.status_code != 200:
                raise HttpResponseError(response=response)
            answer = parse_json(response.content)
            if not isinstance(answer, Mapping) or not isinstance(answer.get("value"), list):
                raise TypeError("it has no list of jobs")
            yield from answer["value"]
            following = answer.get("nextLink")
            if not following or self.stopping:
                return
            url = urljoin(url, str(following))
            if _origin(url) != home:  # the token is for this host alone
                raise RefreshError("malformed", f"the next page of the jobs is said to be elsewhere: {_origin(url)}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _newest(jobs: list[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: job.created_at or 0.0, reverse=True)[:NEWEST]


def read_job(row: object) -> Job | None:
    """A row of the list; None for one that is no job."""
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
        return None
    properties = row.get("properties")
    if not isinstance(properties, Mapping):
        return None
    more = properties.get("properties")
    more = more if isinstance(more, Mapping) else {}
    system = row.get("systemData")
    studio = _at(properties, "services", "Studio", "endpoint")
    compute = properties.get("computeId")
    return Job(
        job_id=row["name"],
        display_name=_word(properties.get("displayName")) or row["name"],
        status=(_word(properties.get("status")) or "unknown").lower(),
        job_type=_word(properties.get("jobType")),
        created_at=arm.unix_time(system.get("createdAt")) if isinstance(system, Mapping) else None,
        started_at=arm.unix_time(more.get("StartTimeUtc") or more.get("startTimeUtc")),
        ended_at=arm.unix_time(more.get("EndTimeUtc") or more.get("endTimeUtc")),
        compute=compute.rstrip("/").rpartition("/")[2] if isinstance(compute, str) else None,
        url=studio if isinstance(studio, str) and studio.startswith("https://") else None,
    )


def _at(table: object, *keys: str) -> object:
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
