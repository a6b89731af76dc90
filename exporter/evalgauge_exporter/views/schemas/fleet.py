"""The JSON of machines, tunnels and jobs: OpenAdapt's shapes with further keys. Null is unknown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class TunnelRow(BaseModel):
    """A tunnel, probed at its local port."""

    active: bool
    local_port: int
    remote_endpoint: str
    pid: int | None
    error: str | None
    last_checked: str | None


class Interruption(BaseModel):
    """The notice of a cloud that a machine ends."""

    at: str
    detail: str


class VmRow(BaseModel):
    """A machine."""

    name: str
    ssh_host: str | None
    ssh_user: str | None
    vnc_port: int | None
    waa_port: int | None
    docker_container: str | None
    internal_ip: str | None
    status: Literal["online", "offline", "unknown"]
    last_checked: str | None
    vnc_reachable: bool | None
    waa_probe_status: str | None
    tunnels: dict[str, TunnelRow]
    provider: str | None
    subscription_id: str | None
    resource_group: str | None
    location: str | None
    size: str | None
    power_state: str | None
    created_at: str | None
    tags: dict[str, str]
    group: str | None = Field(description="The same as resource_group, for every cloud.")
    instance_id: str | None
    spot: bool | None
    evaluation: bool = Field(description="Whether it is for evaluations; others cause no alert.")
    interruption: Interruption | None
    component: Literal["vm", "gpu"]
    billing: bool
    hourly_rate_usd: float | None
    priced_by: str | None
    cost_usd: float | None = Field(description="So far, since its power state was first known.")
    cost_busy_usd: float | None = Field(description="With a task of a run.")
    cost_idle_usd: float | None = Field(description="Used by a run, and without a task.")
    cost_unused_usd: float | None = Field(description="Used by no run.")
    hours: float
    busy_hours: float
    idle_hours: float
    unused_hours: float
    run_ids: list[str]


class ProbeRow(BaseModel):
    """The last result of a probe."""

    name: str
    kind: str
    target: str
    responding: bool
    duration_seconds: float
    probe_result: str | None
    last_checked: str | None


class ProbeVm(BaseModel):
    """The selected WAA server, and all probes."""

    responding: bool
    vm_ip: str | None
    container: str | None
    probe_result: str | None
    last_checked: str | None
    probes: list[ProbeRow]


class AzureJob(BaseModel):
    """A job of an Azure ML workspace."""

    job_id: str
    display_name: str | None
    status: str
    started_at: str | None
    azure_dashboard_url: str | None
    is_live: bool
    created_at: str | None
    compute_target: str | None
    duration_minutes: float | None
    job_type: str | None
    workspace: str


class BackgroundTask(BaseModel):
    """Work in the background: a running run, a machine that starts or stops, a WAA server that starts."""

    task_id: str
    task_type: Literal["vm_provision", "docker_container", "benchmark_run"]
    status: str
    phase: str
    title: str
    description: str
    progress_percent: float | None
    elapsed_seconds: float | None
    metadata: dict[str, Any]
