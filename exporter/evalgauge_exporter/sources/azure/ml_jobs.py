"""Jobs of an Azure ML workspace, one request a page.

https://learn.microsoft.com/rest/api/azureml/jobs/list, api-version 2024-04-01, newest jobs first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from evalgauge_exporter.config.model import AzureMl
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.azure import client as arm
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, Job, JobsSeen, Skipped

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
"""Pages that are read of a workspace with a long history; the newest jobs come first."""


class AzureMlSource(PollingSource):
    """A source of the jobs of one workspace.

    Args:
        table: Its row of the configuration.
        emit: Takes the events.
    """

    source = "azure_ml"

    def __init__(self, table: AzureMl, emit: Emit) -> None:
        super().__init__(f"{table.subscription_id}/{table.resource_group}/{table.workspace}", table.interval, emit)
        self.table = table
        self.client = arm.ArmClient(table.base_url, table.credential)

    @property
    def path(self) -> str:
        """The path of the workspace below the Resource Manager's address."""
        group, workspace = arm.quote_part(self.table.resource_group), arm.quote_part(self.table.workspace)
        return (
            f"/subscriptions/{arm.quote_part(self.table.subscription_id)}/resourceGroups/{group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
        )

    def refresh(self) -> Iterator[FleetEvent]:
        """Yield the jobs, counted by status."""
        what = f"the jobs of workspace {self.table.workspace}"
        counts: Counter[str] = Counter()
        jobs: list[Job] = []
        url = self.client.build_url(f"{self.path}/jobs", **{"api-version": API_VERSION, "listViewType": "ActiveOnly"})
        try:
            with self.client.open() as session:
                rows = session.get_pages(what, url, "value", "nextLink", max_pages=MAX_PAGES)
                for row in rows:
                    job = read_job(row)
                    if job is None:
                        yield Skipped(time.time(), self.source, "malformed")
                        continue
                    counts[job.status if job.status in STATUSES else "unknown"] += 1
                    jobs.append(job)
                    if len(jobs) > 4 * NEWEST:
                        jobs = _select_newest(jobs)
        except RefreshError as error:
            raise arm.name_right("Microsoft.MachineLearningServices/workspaces/jobs/read")(error) from error
        yield JobsSeen(
            time.time(),
            self.scope,
            self.table.workspace,
            self.interval,
            {status: counts[status] for status in STATUSES},
            tuple(_select_newest(jobs)),
        )


def _select_newest(jobs: list[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: job.created_at or 0.0, reverse=True)[:NEWEST]


def read_job(row: object) -> Job | None:
    """Return a job of the list, None for a row that is no job."""
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
        return None
    properties = row.get("properties")
    if not isinstance(properties, Mapping):
        return None
    more = properties.get("properties")
    more = more if isinstance(more, Mapping) else {}
    system = row.get("systemData")
    studio = _find(properties, "services", "Studio", "endpoint")
    compute = properties.get("computeId")
    return Job(
        job_id=row["name"],
        display_name=_get_text(properties.get("displayName")) or row["name"],
        status=(_get_text(properties.get("status")) or "unknown").lower(),
        job_type=_get_text(properties.get("jobType")),
        created_at=arm.parse_time(system.get("createdAt")) if isinstance(system, Mapping) else None,
        started_at=arm.parse_time(more.get("StartTimeUtc") or more.get("startTimeUtc")),
        ended_at=arm.parse_time(more.get("EndTimeUtc") or more.get("endTimeUtc")),
        compute=compute.rstrip("/").rpartition("/")[2] if isinstance(compute, str) else None,
        url=studio if isinstance(studio, str) and studio.startswith("https://") else None,
    )


def _find(table: object, *keys: str) -> object:
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _get_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
