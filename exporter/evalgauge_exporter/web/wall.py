"""The routes of the wall of screens: its state, its stream, and the newest screenshot of each worker."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.replay.reading import EmbedsScreenshots
from evalgauge_exporter.replay.screenshots import EmbeddedScreenshot, Screenshot, ScreenshotFolder, image_type
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.views import snapshot as snapshots
from evalgauge_exporter.views.wall import Wall, build_wall, find_screenshot
from evalgauge_exporter.web.errors import unknown_run_error
from evalgauge_exporter.web.live_files import LIVE
from evalgauge_exporter.web.sse import PATCH, RenderedSnapshot, SnapshotBroadcaster

WIDTH = 640
"""Pixels of a screenshot on the wall."""
MAX_BYTES = 32 << 20
MAX_PIXELS = 64 << 20
"""Pixels of a screenshot that is scaled; a larger one is not shown."""
MAX_CONCURRENT = 2
"""Screenshots that are scaled at the same time; others wait."""
RunId = Annotated[str | None, Query(max_length=600, description="The run; by default the newest running one.")]


def wall_builder(exporter: Exporter) -> Callable[[str | None], RenderedSnapshot]:
    """Return a function that builds the wall of a run by its id (``None``: the selected run), in any thread."""

    def build(run_id: str | None) -> RenderedSnapshot:
        now = time.time()
        with exporter.state.lock:
            version = exporter.state.version
            run = exporter.state.runs.get(run_id) if run_id is not None else None
            run = snapshots.default_run(exporter.analysis, now) if run_id is None else run
            wall = build_wall(run, now, exporter.config.stall_after)
            final = run is None or exporter.analysis.is_finished(run, now)
        return RenderedSnapshot(version, wall.model_dump_json().encode(), final)

    return build


def create_wall_router(exporter: Exporter, stream: SnapshotBroadcaster) -> APIRouter:
    """Build the routes of the wall.

    Args:
        exporter: The exporter whose workers are shown.
        stream: The broadcaster of walls.
    """
    router = APIRouter()
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT)

    def check(run_id: str | None) -> None:
        if run_id is not None and run_id not in exporter.state.runs:
            with exporter.state.lock:
                known = list(exporter.state.runs)
            raise unknown_run_error(run_id, known)

    @router.get("/wall", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(LIVE / "wall.html", headers={"cache-control": "no-cache"})

    @router.get("/api/benchmark/wall", tags=["run"], summary="What each worker shows now", response_model=Wall)
    async def wall(run_id: RunId = None) -> Response:
        check(run_id)
        _, payload = await stream.get(run_id)
        return Response(payload, media_type="application/json")

    @router.get(
        "/api/benchmark-wall-sse",
        tags=["run"],
        summary="Server-sent events: the wall on connect, then at each change",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        interval: Annotated[float, Query(ge=0.2, le=60, description="Minimum seconds between two messages.")] = 1.0,
        run_id: RunId = None,
        patch: Annotated[bool, Query(description=PATCH)] = False,
    ) -> StreamingResponse:
        check(run_id)
        if stream.clients >= stream.max_clients:
            raise HTTPException(503, "too many event streams; poll /api/benchmark/wall", {"retry-after": "30"})
        return StreamingResponse(
            stream.stream(run_id, interval, patches=patch),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    @router.get("/api/benchmark/wall/screenshot", tags=["run"], summary="The newest screenshot of a worker, scaled")
    async def screenshot(
        run_id: Annotated[str, Query(max_length=600)],
        worker_id: Annotated[str, Query(max_length=600)],
        _at: Annotated[
            str, Query(alias="at", max_length=100, description="The step, so that each one has an address of its own.")
        ] = "",
    ) -> Response:
        check(run_id)
        with exporter.state.lock:
            run = exporter.state.runs.get(run_id)
            path = None if run is None else find_screenshot(run, worker_id)
            found = None if run is None else exporter.collector.source_of(run)
        image = None
        if path is not None and found is not None:
            image = await anyio.to_thread.run_sync(_read_scaled, found, path, limiter=limiter)
        if image is None:
            raise HTTPException(404, "the worker shows no screenshot now")
        media_type, content = image
        # ``at`` changes with each step: a browser may keep what it has loaded
        return Response(content, media_type=media_type, headers={"cache-control": "private, max-age=600"})

    return router


def _read_scaled(found: FoundRun, path: str) -> tuple[str, bytes] | None:
    """Read a screenshot from a run's folder or log, scaled to ``WIDTH``; ``None`` where it can't be shown."""
    source = found.source
    folder = ScreenshotFolder(source.folder, source.image if isinstance(source, EmbedsScreenshots) else None)
    shot = folder.find(path)
    if shot is None or (isinstance(shot, Screenshot) and shot.status.st_size > MAX_BYTES):
        return None
    try:
        content = shot.content if isinstance(shot, EmbeddedScreenshot) else shot.read()
    except OSError:
        return None
    media_type = image_type(content)
    return None if media_type is None else _scale(content, media_type)


def _scale(content: bytes, media_type: str) -> tuple[str, bytes] | None:
    try:
        from PIL import Image
    except ImportError:
        return media_type, content
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            if image.width <= WIDTH and len(content) < 200_000:
                return media_type, content
            image.draft("RGB", (WIDTH, WIDTH))
            image.thumbnail((WIDTH, WIDTH * 2))
            scaled = io.BytesIO()
            image.convert("RGB").save(scaled, "JPEG", quality=70)
    except Exception:  # a damaged image can raise anything in a decoder
        return None
    return "image/jpeg", scaled.getvalue()
