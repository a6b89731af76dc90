"""The JSON API and the event stream (docs: /docs, /openapi.json)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views import fleet as fleet_views
from evalgauge_exporter.views import snapshot as frames
from evalgauge_exporter.views.schemas import fleet as fleet_shapes
from evalgauge_exporter.views.schemas import openadapt as openadapt_shapes
from evalgauge_exporter.views.schemas import run as shapes
from evalgauge_exporter.web.coalesce import RequestCoalescer
from evalgauge_exporter.web.errors import unknown_run
from evalgauge_exporter.web.sse import RenderedSnapshot, SnapshotBroadcaster

T = TypeVar("T")
RunId = Annotated[
    str | None,
    Query(max_length=600, description="The run that is meant; else the newest that goes on, else the newest."),
]
KEPT_SECONDS = 60.0
"""The curves of a run of 10,000 tasks take a tenth of a second: they are made once while nothing happens."""
MOST_KEPT = 50
_ERRORS: dict[int | str, dict[str, Any]] = {404: {"model": shapes.Problem}, 422: {"model": shapes.Problem}}


class _Answers:
    """Looks up the run that is meant and asks a view about it, under the state's lock."""

    def __init__(self, exporter: Exporter) -> None:
        self.insights = exporter.analysis
        self.state = exporter.state
        self._shared = RequestCoalescer()

    def ask(self, run_id: str | None, view: Callable[[RunState | None, RunAnalysis, float], T]) -> T:
        """What ``view`` says of the run of this id, or of the one that is meant where none is named. Raises a 404."""
        now = time.time()
        with self.state.lock:
            run = frames.default_run(self.insights, now) if run_id is None else self.state.runs.get(run_id)
            if run is not None or run_id is None:
                return view(run, self.insights, now)
            known = list(self.state.runs)
        raise unknown_run(run_id, known)  # without the lock: among thousands of ids the near ones take a while

    async def together(
        self, run_id: str | None, view: Callable[[RunState | None, RunAnalysis, float], BaseModel]
    ) -> Response:
        """The same as JSON, made once for all who ask at once. ``view`` is the same function each time."""

        def make() -> bytes:
            return self.ask(run_id, view).model_dump_json().encode()

        return Response(await self._shared.get((view, run_id), make), media_type="application/json")

    async def check(self, run_id: str | None) -> None:
        """Raises a 404."""
        if run_id is not None and run_id not in self.state.runs:
            with self.state.lock:
                known = list(self.state.runs)
            raise await asyncio.to_thread(unknown_run, run_id, known)


def api(exporter: Exporter, stream: SnapshotBroadcaster) -> APIRouter:
    """The routes under /api."""
    router = APIRouter(prefix="/api", responses=_ERRORS)
    answers = _Answers(exporter)
    _run_routes(router, answers)
    _stream_routes(router, answers, stream)
    _runs_routes(router, answers)
    _openadapt_routes(router, answers)
    _fleet_routes(router, exporter)
    return router


def _run_routes(router: APIRouter, answers: _Answers) -> None:
    @router.get("/benchmark/status", tags=["run"], summary="How far the run is", response_model=shapes.Status)
    async def status(run_id: RunId = None) -> Response:
        return await answers.together(run_id, frames.status)

    @router.get("/benchmark/costs", tags=["run"], summary="What the run costs", response_model=shapes.Costs)
    async def costs(run_id: RunId = None) -> Response:
        return await answers.together(run_id, frames.costs)

    kept: dict[str, tuple[RunState, int, float, bytes]] = {}

    @router.get("/benchmark/metrics", tags=["run"], summary="How well the run goes", response_model=shapes.Metrics)
    def metrics(run_id: RunId = None) -> Response:
        def view(run: RunState | None, insights: RunAnalysis, now: float) -> bytes:
            name = "" if run is None else run.run_id
            last = kept.get(name)
            if run is not None and last is not None and last[:2] == (run, run.version) and now - last[2] < KEPT_SECONDS:
                return last[3]
            body = frames.metrics(run, insights, now, points=10_000).model_dump_json().encode()
            if run is not None:
                if len(kept) > MOST_KEPT:
                    kept.clear()
                kept[name] = (run, run.version, now, body)
            return body

        return Response(answers.ask(run_id, view), media_type="application/json")

    @router.get("/benchmark/workers", tags=["run"], summary="Who works on the run", response_model=shapes.Workers)
    async def workers(run_id: RunId = None) -> Response:
        return await answers.together(run_id, frames.workers)


def _stream_routes(router: APIRouter, answers: _Answers, stream: SnapshotBroadcaster) -> None:
    @router.get(
        "/benchmark/frame", tags=["run"], summary="Everything the live page shows", response_model=shapes.Snapshot
    )
    async def frame(run_id: RunId = None) -> Response:
        await answers.check(run_id)
        _, payload = await stream.frame(run_id)
        return Response(payload, media_type="application/json")

    @router.get(
        "/benchmark-sse",
        tags=["run"],
        summary="Server-sent events: a frame on connect, then at each change",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        interval: Annotated[float, Query(ge=0.2, le=60, description="Least seconds between frames.")] = 2.0,
        run_id: RunId = None,
    ) -> StreamingResponse:
        await answers.check(run_id)
        return StreamingResponse(
            stream.events(run_id, interval),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


def _runs_routes(router: APIRouter, answers: _Answers) -> None:
    @router.get("/benchmark/runs", tags=["runs"], summary="All runs, the newest first")
    def runs(run_id: RunId = None) -> shapes.Runs:
        def view(run: RunState | None, insights: RunAnalysis, now: float) -> shapes.Runs:
            return frames.runs(insights, now, only=run if run_id is not None else None)

        return answers.ask(run_id, view)

    @router.get("/benchmark/compare", tags=["runs"], summary="Two runs, paired by task; the first is the baseline")
    def compare(
        runs: Annotated[str, Query(max_length=1300, description="A,B: the baseline's run id, then the other's.")],
    ) -> shapes.Comparison:
        with answers.state.lock:
            known = dict(answers.state.runs)
        a, b = _pair(runs, known)
        with answers.state.lock:
            return frames.compare(a, b, answers.insights, time.time())


def _openadapt_routes(router: APIRouter, answers: _Answers) -> None:
    @router.get("/benchmark-live", tags=["OpenAdapt"], summary="The run as benchmark_live.json has it")
    def live(run_id: RunId = None) -> openadapt_shapes.Live:
        return answers.ask(run_id, openadapt_shapes.live)

    @router.get("/benchmark-progress", tags=["OpenAdapt"], summary="The run as benchmark_progress.json has it")
    def progress(run_id: RunId = None) -> openadapt_shapes.Progress:
        return answers.ask(run_id, openadapt_shapes.progress)


def _fleet_routes(router: APIRouter, exporter: Exporter) -> None:
    fleet, state, stall_after = exporter.fleet, exporter.state, exporter.config.stall_after

    @router.get("/vms", tags=["fleet"], summary="Machines: state, price, cost so far, who uses them")
    def vms() -> list[fleet_shapes.VmRow]:
        with state.lock:
            rows = fleet_views.list_vms(fleet, state.runs.values(), time.time(), stall_after)
        return [fleet_shapes.VmRow(**row) for row in rows]

    @router.get("/tunnels", tags=["fleet"], summary="Tunnels by name, and whether they answer")
    def tunnels() -> dict[str, fleet_shapes.TunnelRow]:
        with state.lock:
            rows = fleet_views.list_tunnels(fleet, time.time())
        return {name: fleet_shapes.TunnelRow(**row) for name, row in rows.items()}

    @router.get("/probe-vm", tags=["fleet"], summary="Whether the WAA server answers")
    def probe_vm(
        vm: Annotated[
            str | None, Query(max_length=200, description="The machine; else the first that answers.")
        ] = None,
    ) -> fleet_shapes.ProbeVm:
        with state.lock:
            return fleet_shapes.ProbeVm(**fleet_views.get_probe_vm(fleet, time.time(), vm))

    @router.get("/azure-jobs", tags=["fleet"], summary="The newest Azure ML jobs")
    def azure_jobs() -> list[fleet_shapes.AzureJob]:
        with state.lock:
            return [fleet_shapes.AzureJob(**row) for row in fleet_views.list_azure_jobs(fleet, time.time())]

    @router.get("/tasks", tags=["fleet"], summary="What goes on in the background")
    def tasks() -> list[fleet_shapes.BackgroundTask]:
        with state.lock:
            rows = fleet_views.list_tasks(fleet, state.runs.values(), time.time(), stall_after)
        return [fleet_shapes.BackgroundTask(**row) for row in rows]


def _pair(text: str, runs: dict[str, RunState]) -> tuple[RunState, RunState]:
    """The two runs of ``A,B``; a run id may itself hold commas."""
    parts = text.split(",")
    for cut in range(1, len(parts)):
        a, b = ",".join(parts[:cut]), ",".join(parts[cut:])
        if a in runs and b in runs:
            return runs[a], runs[b]
    if len(parts) != 2 or not all(parts):
        raise HTTPException(422, "runs: name two runs as A,B; the first is the baseline")
    raise unknown_run(next(part for part in parts if part not in runs), list(runs))


def frame_builder(exporter: Exporter) -> Callable[[str | None], RenderedSnapshot]:
    """Makes a run's frame."""

    def build(run_id: str | None) -> RenderedSnapshot:
        now = time.time()
        with exporter.state.lock:
            version = exporter.state.version
            run = exporter.state.runs.get(run_id) if run_id is not None else frames.default_run(exporter.analysis, now)
            made = frames.snapshot(run, exporter.analysis, now, exporter.config.grafana_url)
            settled = run is None or exporter.analysis.is_finished(run, now)
        return RenderedSnapshot(version, made.model_dump_json().encode(), settled)

    return build
