"""The JSON API and the event stream (docs: /docs, /openapi.json)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from evalgauge_exporter.analysis.leaderboard import LeaderboardCache, is_grouping
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views import fleet as fleet_views
from evalgauge_exporter.views import snapshot as snapshots
from evalgauge_exporter.views.leaderboard import leaderboards
from evalgauge_exporter.views.run_rows import RunRows
from evalgauge_exporter.views.schemas import fleet as fleet_schemas
from evalgauge_exporter.views.schemas import leaderboard as leaderboard_schemas
from evalgauge_exporter.views.schemas import openadapt as openadapt_schemas
from evalgauge_exporter.views.schemas import run as schemas
from evalgauge_exporter.web.coalesce import RequestCoalescer
from evalgauge_exporter.web.errors import unknown_run_error
from evalgauge_exporter.web.sse import PATCH, RenderedSnapshot, SnapshotBroadcaster

T = TypeVar("T")
RunId = Annotated[
    str | None,
    Query(max_length=600, description="The selected run; by default the newest running one, else the newest."),
]
METRICS_POINTS = 10_000
"""Points of the curves of a run's metrics, at most."""
_ERRORS: dict[int | str, dict[str, Any]] = {404: {"model": schemas.Problem}, 422: {"model": schemas.Problem}}


class _RunQueries:
    """Looks up the selected run and evaluates a view of it under the lock of the state."""

    def __init__(self, exporter: Exporter) -> None:
        self.insights = exporter.analysis
        self.state = exporter.state
        self._shared = RequestCoalescer()

    def query(self, run_id: str | None, view: Callable[[RunState | None, RunAnalysis, float], T]) -> T:
        """Evaluate a view of a run.

        Args:
            run_id: The run; ``None`` selects the newest running one, else the newest.
            view: Called with the run (``None`` where there is no run), the analysis and the time in Unix seconds.

        Returns:
            What ``view`` returns.

        Raises:
            HTTPException: 404 for an unknown run id.
        """
        now = time.time()
        with self.state.lock:
            run = snapshots.default_run(self.insights, now) if run_id is None else self.state.runs.get(run_id)
            if run is not None or run_id is None:
                return view(run, self.insights, now)
            known = list(self.state.runs)
        raise unknown_run_error(run_id, known)  # without the lock: near matches among thousands of ids take a while

    async def answer(
        self, run_id: str | None, view: Callable[[RunState | None, RunAnalysis, float], BaseModel | bytes]
    ) -> Response:
        """Evaluate a view of a run and answer with JSON, computed once for all concurrent requests.

        Args:
            run_id: The run; ``None`` selects the newest running one, else the newest.
            view: A function that is defined once: its identity is part of the key under which requests are joined.

        Raises:
            HTTPException: 404 for an unknown run id.
        """

        def compute() -> bytes:
            made = self.query(run_id, view)
            return made if isinstance(made, bytes) else made.model_dump_json().encode()

        return await self.share((view, run_id), compute)

    async def share(self, key: Hashable, compute: Callable[[], bytes]) -> Response:
        """Answer with JSON that is computed, in a thread, once for all concurrent requests with an equal key."""
        return Response(await self._shared.get(key, compute), media_type="application/json")

    async def check(self, run_id: str | None) -> None:
        """Raise ``HTTPException`` 404 for an unknown run id."""
        if run_id is not None and run_id not in self.state.runs:
            with self.state.lock:
                known = list(self.state.runs)
            raise await asyncio.to_thread(unknown_run_error, run_id, known)


def create_api_router(exporter: Exporter, stream: SnapshotBroadcaster) -> APIRouter:
    """Build the routes under ``/api``.

    Args:
        exporter: The exporter whose state is served.
        stream: The broadcaster of snapshots behind the event stream.
    """
    router = APIRouter(prefix="/api", responses=_ERRORS)
    queries = _RunQueries(exporter)
    _run_routes(router, queries)
    _stream_routes(router, queries, stream)
    _runs_routes(router, queries, exporter.leaderboards)
    _openadapt_routes(router, queries)
    _fleet_routes(router, exporter)
    return router


def _run_routes(router: APIRouter, queries: _RunQueries) -> None:
    @router.get("/benchmark/status", tags=["run"], summary="Progress of the run", response_model=schemas.Status)
    async def status(run_id: RunId = None) -> Response:
        return await queries.answer(run_id, snapshots.status)

    @router.get("/benchmark/costs", tags=["run"], summary="Costs of the run", response_model=schemas.Costs)
    async def costs(run_id: RunId = None) -> Response:
        return await queries.answer(run_id, snapshots.costs)

    render_metrics = snapshots.MetricsRenderer(METRICS_POINTS)

    @router.get("/benchmark/metrics", tags=["run"], summary="Success of the run", response_model=schemas.Metrics)
    async def metrics(run_id: RunId = None) -> Response:
        return await queries.answer(run_id, render_metrics)

    @router.get("/benchmark/workers", tags=["run"], summary="Workers of the run", response_model=schemas.Workers)
    async def workers(run_id: RunId = None) -> Response:
        return await queries.answer(run_id, snapshots.workers)


def _stream_routes(router: APIRouter, queries: _RunQueries, stream: SnapshotBroadcaster) -> None:
    @router.get(
        "/benchmark/frame", tags=["run"], summary="Everything the live page shows", response_model=schemas.Snapshot
    )
    async def frame(run_id: RunId = None) -> Response:
        await queries.check(run_id)
        _, payload = await stream.get(run_id)
        return Response(payload, media_type="application/json")

    @router.get(
        "/benchmark-sse",
        tags=["run"],
        summary="Server-sent events: a snapshot on connect, then one at each change",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        interval: Annotated[float, Query(ge=0.2, le=60, description="Minimum seconds between two snapshots.")] = 2.0,
        run_id: RunId = None,
        patch: Annotated[bool, Query(description=PATCH)] = False,
    ) -> StreamingResponse:
        await queries.check(run_id)
        if stream.clients >= stream.max_clients:
            raise HTTPException(
                503, "too many event streams are open; poll /api/benchmark/frame", {"retry-after": "30"}
            )
        return StreamingResponse(
            stream.stream(run_id, interval, patches=patch),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


def _runs_routes(router: APIRouter, queries: _RunQueries, cache: LeaderboardCache) -> None:
    analysis = queries.insights
    rows = RunRows(analysis, lambda run, now: snapshots.render_listed_run(run, analysis, now))

    @router.get("/benchmark/runs", tags=["runs"], summary="All runs, newest first", response_model=schemas.Runs)
    async def runs(run_id: RunId = None) -> Response:
        def compute() -> bytes:
            only = None if run_id is None else queries.query(run_id, lambda run, *_: run)
            return b'{"runs":[' + b",".join(rows.render(time.time(), only)) + b"]}"

        return await queries.share((rows, run_id), compute)

    @router.get(
        "/benchmark/compare",
        tags=["runs"],
        summary="Two runs, paired by task; the first is the baseline",
        response_model=schemas.Comparison,
    )
    async def compare(
        runs: Annotated[str, Query(max_length=1300, description="Run ids A,B; A is the baseline.")],
    ) -> Response:
        def compute() -> bytes:
            with queries.state.lock:
                known = dict(queries.state.runs)
            a, b = _parse_pair(runs, known)
            analysis.prepare_comparison(a, b)
            with queries.state.lock:
                made = snapshots.compare(a, b, analysis, time.time())
            return made.model_dump_json().encode()

        return await queries.share(("compare", runs), compute)

    @router.get(
        "/benchmark/leaderboard",
        tags=["runs"],
        summary="Models, agents or tag values, ranked and compared",
        response_model=leaderboard_schemas.Leaderboards,
    )
    async def leaderboard(
        by: Annotated[str, Query(max_length=200, description="model, agent or tag:NAME.")] = "model",
        benchmark: Annotated[str | None, Query(max_length=600, description="Only this benchmark.")] = None,
    ) -> Response:
        if not is_grouping(by):
            raise HTTPException(422, f"by: {by!r} is no grouping; write model, agent or tag:NAME")

        def compute() -> bytes:
            return leaderboards(cache, time.time(), by, benchmark).model_dump_json().encode()

        return await queries.share(("leaderboard", by, benchmark), compute)


def _openadapt_routes(router: APIRouter, queries: _RunQueries) -> None:
    @router.get("/benchmark-live", tags=["OpenAdapt"], summary="The run in the format of benchmark_live.json")
    def live(run_id: RunId = None) -> openadapt_schemas.Live:
        return queries.query(run_id, openadapt_schemas.live)

    @router.get("/benchmark-progress", tags=["OpenAdapt"], summary="The run in the format of benchmark_progress.json")
    def progress(run_id: RunId = None) -> openadapt_schemas.Progress:
        return queries.query(run_id, openadapt_schemas.progress)


def _fleet_routes(router: APIRouter, exporter: Exporter) -> None:
    fleet, state, stall_after = exporter.fleet, exporter.state, exporter.config.stall_after

    @router.get("/vms", tags=["fleet"], summary="Machines: power state, price, cost so far, runs that use them")
    def vms() -> list[fleet_schemas.VmRow]:
        with state.lock:
            rows = fleet_views.list_vms(fleet, state.runs.values(), time.time(), stall_after)
        return [fleet_schemas.VmRow(**row) for row in rows]

    @router.get("/tunnels", tags=["fleet"], summary="Tunnels by name and whether they respond")
    def tunnels() -> dict[str, fleet_schemas.TunnelRow]:
        with state.lock:
            rows = fleet_views.list_tunnels(fleet, time.time())
        return {name: fleet_schemas.TunnelRow(**row) for name, row in rows.items()}

    @router.get("/probe-vm", tags=["fleet"], summary="Whether the WAA server responds")
    def probe_vm(
        vm: Annotated[
            str | None, Query(max_length=200, description="The machine; by default the first that responds.")
        ] = None,
    ) -> fleet_schemas.ProbeVm:
        with state.lock:
            return fleet_schemas.ProbeVm(**fleet_views.get_probe_vm(fleet, time.time(), vm))

    @router.get("/azure-jobs", tags=["fleet"], summary="The newest Azure ML jobs")
    def azure_jobs() -> list[fleet_schemas.AzureJob]:
        with state.lock:
            return [fleet_schemas.AzureJob(**row) for row in fleet_views.list_azure_jobs(fleet, time.time())]

    @router.get("/tasks", tags=["fleet"], summary="Background activity: runs, Azure ML jobs, machines")
    def tasks() -> list[fleet_schemas.BackgroundTask]:
        with state.lock:
            rows = fleet_views.list_tasks(fleet, state.runs.values(), time.time(), stall_after)
        return [fleet_schemas.BackgroundTask(**row) for row in rows]


def _parse_pair(text: str, runs: dict[str, RunState]) -> tuple[RunState, RunState]:
    """Return the runs of ``A,B``; a run id may itself contain commas.

    Raises:
        HTTPException: 422 where the text is no pair, 404 for an unknown run id.
    """
    parts = text.split(",")
    for cut in range(1, len(parts)):
        a, b = ",".join(parts[:cut]), ",".join(parts[cut:])
        if a in runs and b in runs:
            return runs[a], runs[b]
    if len(parts) != 2 or not all(parts):
        raise HTTPException(422, "runs: name two run ids as A,B; the first is the baseline")
    raise unknown_run_error(next(part for part in parts if part not in runs), list(runs))


def snapshot_builder(exporter: Exporter) -> Callable[[str | None], RenderedSnapshot]:
    """Return a function that builds the snapshot of a run by its id (``None``: the selected run), in any thread."""

    def build(run_id: str | None) -> RenderedSnapshot:
        now = time.time()
        with exporter.state.lock:
            version = exporter.state.version
            run = (
                exporter.state.runs.get(run_id) if run_id is not None else snapshots.default_run(exporter.analysis, now)
            )
            made = snapshots.snapshot(run, exporter.analysis, now, exporter.config.grafana_url)
            settled = run is None or exporter.analysis.is_finished(run, now)
        made.links.results = [str(folder) for folder in exporter.config.results]
        return RenderedSnapshot(version, made.model_dump_json().encode(), settled)

    return build
