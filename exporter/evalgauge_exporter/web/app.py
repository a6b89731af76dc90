"""The web application: every path that the exporter serves."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import quote, unquote

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Scope

from evalgauge import __version__
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.views import exposition
from evalgauge_exporter.web.api import create_api_router, snapshot_builder
from evalgauge_exporter.web.auth import AuthMiddleware
from evalgauge_exporter.web.coalesce import RequestCoalescer
from evalgauge_exporter.web.errors import describe_unknown_path, describe_wrong_method
from evalgauge_exporter.web.head import HeadMiddleware
from evalgauge_exporter.web.live_files import LIVE
from evalgauge_exporter.web.otlp_logs import logs_router
from evalgauge_exporter.web.reference import render_reference
from evalgauge_exporter.web.replay_sites import ENTRIES, SITE_POLICY, ReplaySites, SiteKey
from evalgauge_exporter.web.runbooks import render_runbooks
from evalgauge_exporter.web.runs_page import create_runs_router
from evalgauge_exporter.web.sse import SnapshotBroadcaster
from evalgauge_exporter.web.wall import create_wall_router, wall_builder

_ALLOWED = {"interval": "a number of seconds from 0.2 to 60", "runs": "two run ids as A,B; the first is the baseline"}
BUILD_WAIT_SECONDS = 2.0
"""Seconds for which a request for a replay waits before it is answered with a loading page."""
PART_WAIT_SECONDS = 30.0
"""Seconds for which a request for another file of a replay waits."""
MAX_COMPARED_RUNS = 4
_WITH = re.compile(rb".*/replay/[^/]+/with/([^/]+)/")


def create_app(exporter: Exporter) -> FastAPI:
    """Build the application.

    Args:
        exporter: The exporter to serve; the caller starts and stops it.

    Returns:
        The application; ``app.state.streams`` are its broadcasters, ``app.state.sites`` its replay sites.
    """
    stream = SnapshotBroadcaster(snapshot_builder(exporter), lambda: exporter.state.version)
    wall = SnapshotBroadcaster(wall_builder(exporter), lambda: exporter.state.version)
    exporter.on_change(stream.notify)
    exporter.on_change(wall.notify)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stream.attach(asyncio.get_running_loop())
        wall.attach(asyncio.get_running_loop())
        await asyncio.to_thread(app.state.sites.start)
        yield
        app.state.sites.close()

    app = FastAPI(title="evalgauge", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        AuthMiddleware,
        token=exporter.token,
        host=exporter.config.host,
        public_url=exporter.config.public_url,
        users=exporter.web_config.basic_auth_users,
        headers={str(name): value for name, value in exporter.web_config.http_server_config.headers.items()},
    )
    app.include_router(create_api_router(exporter, stream))
    if exporter.config.receive is not None:
        app.include_router(logs_router(exporter.config.receive, exporter.token))
    _add_error_handlers(app)
    _add_machine_routes(app, exporter)
    _add_page_routes(app)
    _add_replay_routes(app, exporter)
    app.include_router(create_runs_router(exporter))
    app.include_router(create_wall_router(exporter, wall))
    app.state.streams = (stream, wall)
    return app


def _add_machine_routes(app: FastAPI, exporter: Exporter) -> None:
    """Add the routes for Prometheus and orchestrators."""
    shared = RequestCoalescer()

    @app.get("/metrics", tags=["machines"], response_class=PlainTextResponse, summary="Prometheus text or OpenMetrics")
    async def metrics(request: Request) -> Response:
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        openmetrics = "openmetrics" in content_type
        zipped = _accepts_gzip(request.headers.get("accept-encoding", ""))

        def render() -> bytes:
            write = exporter.exposition.render_gzip if zipped else exporter.exposition.render
            return write(time.time(), openmetrics=openmetrics)

        headers = {"content-type": exposition.OPENMETRICS if openmetrics else exposition.TEXT}
        headers |= {"vary": "accept, accept-encoding"} | ({"content-encoding": "gzip"} if zipped else {})
        return Response(await shared.get((openmetrics, zipped), render), headers=headers)

    @app.get(
        "/healthz",
        tags=["machines"],
        response_class=PlainTextResponse,
        responses={503: {"description": "Runs are no longer collected."}},
        summary="The process works",
    )
    async def healthz() -> Response:
        if exporter.collector.has_died():
            return JSONResponse({"error": "runs are no longer collected; restart the exporter"}, status_code=503)
        return PlainTextResponse("ok\n")

    @app.get(
        "/readyz",
        tags=["machines"],
        response_class=PlainTextResponse,
        responses={503: {"description": "The first reading or the first answer is not complete."}},
        summary="Readiness: every source has been read once",
    )
    async def readyz() -> Response:
        if exporter.is_ready():
            return PlainTextResponse("ready\n")
        return JSONResponse({"error": "the results folders are being read for the first time"}, status_code=503)


def _accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header asks for gzip (RFC 9110, 12.5.3)."""
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


def _add_page_routes(app: FastAPI) -> None:
    """Add the live page, the login form and the API reference."""
    app.mount("/live", _PageFiles(directory=LIVE), name="live")

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(LIVE / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/login", include_in_schema=False)
    async def login() -> FileResponse:
        return FileResponse(LIVE / "login.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(render_reference(app.openapi()))

    @app.get("/runbooks", include_in_schema=False)
    def runbooks() -> HTMLResponse:
        return HTMLResponse(render_runbooks())


def _add_replay_routes(app: FastAPI, exporter: Exporter) -> None:
    """Add the replay sites, generated on request."""
    sites = ReplaySites(exporter)
    app.state.sites = sites

    @app.get("/replay", include_in_schema=False)
    def list_replays() -> Response:
        return RedirectResponse("runs/")

    @app.get("/replay/{run_id}", include_in_schema=False)
    def without_slash(run_id: str) -> Response:
        # relative: a proxy may have put the exporter below a path
        return RedirectResponse(f"{quote(run_id, safe='')}/")

    @app.get("/replay/{run_id}/with/{others}/progress", include_in_schema=False)
    @app.get("/replay/{run_id}/progress", include_in_schema=False)
    async def progress(request: Request, run_id: str) -> Response:
        key = _site_key(request, run_id)
        building = await asyncio.to_thread(sites.update, key)
        found = sites.get_progress(key)
        return JSONResponse(
            {
                "ready": found is None,
                "error": found.error if found is not None and building is None else None,
                "done": 0 if found is None else found.done,
                "total": 0 if found is None else found.total,
            },
            headers={"cache-control": "no-store"},
        )

    @app.get("/replay/{run_id}/{path:path}", tags=["machines"], summary="The replay site of a run, generated on demand")
    @app.get("/replay/{run_id}/with/{others}/{path:path}", include_in_schema=False)
    async def replay(request: Request, run_id: str, path: str) -> Response:
        key, path = _site_key(request, run_id), path or "index.html"
        if path in ENTRIES or not sites.is_built(key):
            building = await asyncio.to_thread(sites.update, key)
            if building is not None:
                wait = BUILD_WAIT_SECONDS if path == "index.html" else PART_WAIT_SECONDS
                await asyncio.wait([asyncio.wrap_future(building)], timeout=wait)
            if (unfinished := sites.get_progress(key)) is not None:
                if unfinished.error is not None:
                    raise HTTPException(404, f"the replay can't be generated: {unfinished.error}")
                if path == "index.html":
                    return _loading_page(len(key) > 1)
                raise HTTPException(503, "the replay is being generated", {"retry-after": "5"})
        return await asyncio.to_thread(_serve_replay_file, sites, request, key, path)


def _site_key(request: Request, run_id: str) -> SiteKey:
    """Return the runs that a path under ``/replay`` names: ``{run_id}`` or ``{run_id}/with/{B},{C}``."""
    others = _WITH.match(request.scope["raw_path"].partition(b"?")[0])
    if others is None:
        return (run_id,)
    # a comma within an id is escaped, those between ids are not
    key = (run_id, *(unquote(one.decode("ascii", "replace")) for one in others[1].split(b",")))
    if len(set(key)) != len(key) or len(key) > MAX_COMPARED_RUNS:
        raise HTTPException(422, f"name two to {MAX_COMPARED_RUNS} different runs to compare")
    return key


def _loading_page(nested: bool) -> Response:
    page = (LIVE / "loading.html").read_text(encoding="utf-8")
    if nested:
        page = page.replace('"../../', '"../../../../')
    return HTMLResponse(page, 202, {"cache-control": "no-store"})


def _serve_replay_file(sites: ReplaySites, request: Request, key: SiteKey, path: str) -> Response:
    file = sites.find_file(key, path)
    if file is None or file.is_dir():
        raise HTTPException(404, f"the replay of {key[0]!r} has no file {path[:200]!r}")
    # the page itself carries a stricter policy
    headers = {"cache-control": "no-cache", "content-security-policy": SITE_POLICY}
    if not file.is_symlink():
        return FileResponse(file, headers=headers)
    shot = sites.read_screenshot(key, file)
    if shot is None:
        raise HTTPException(404, f"the screenshot {path[:200]!r} no longer exists")
    headers["etag"] = shot.etag
    if request.headers.get("if-none-match") == shot.etag:
        return Response(status_code=304, headers=headers)
    return Response(shot.content, media_type=shot.media_type, headers=headers)


class _PageFiles(StaticFiles):
    """Static files, revalidated on each request: an index must not load modules of an older release."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file; anything but a script, style sheet, icon or page is 404."""
        if not path.endswith((".js", ".css", ".svg", ".html")):
            raise StarletteHTTPException(404, "there is no such file")
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error with one JSON object that has one sentence."""

    @app.exception_handler(StarletteHTTPException)
    async def answer_http_error(request: Request, error: HTTPException) -> JSONResponse:
        message, path = str(error.detail), request.url.path
        if message == HTTPStatus.NOT_FOUND.phrase:
            message = describe_unknown_path(path, [*app.openapi()["paths"], "/docs", "/openapi.json", "/runbooks"])
        elif message == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
            message = describe_wrong_method(path, request.method, Headers(error.headers).get("allow", "GET"))
        return JSONResponse({"error": message}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def answer_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = str(first["loc"][-1]) if first["loc"] else "the request"
        return JSONResponse({"error": f"{where}: {_ALLOWED.get(where, first['msg'])}"}, status_code=422)
