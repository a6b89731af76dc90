"""The web application: every address of the exporter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from urllib.parse import quote

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
from evalgauge_exporter.web.api import api, frame_builder
from evalgauge_exporter.web.auth import AuthMiddleware
from evalgauge_exporter.web.coalesce import RequestCoalescer
from evalgauge_exporter.web.errors import unknown_path, wrong_method
from evalgauge_exporter.web.head import HeadMiddleware
from evalgauge_exporter.web.otlp_logs import logs_router
from evalgauge_exporter.web.reference import reference_page
from evalgauge_exporter.web.replay_sites import SITE_POLICY, ReplaySites
from evalgauge_exporter.web.sse import SnapshotBroadcaster

_ALLOWED = {"interval": "a number of seconds from 0.2 to 60", "runs": "two run ids as A,B; the first is the baseline"}
LIVE = Path(str(resources.files("evalgauge_exporter.web") / "live"))


def create_app(exporter: Exporter) -> FastAPI:
    """The application over a started exporter."""
    stream = SnapshotBroadcaster(frame_builder(exporter), lambda: exporter.state.version)
    exporter.on_change(stream.changed)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stream.attach(asyncio.get_running_loop())
        yield
        app.state.sites.close()

    app = FastAPI(title="evalgauge", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        AuthMiddleware, token=exporter.token, host=exporter.config.host, public_url=exporter.config.public_url
    )
    app.include_router(api(exporter, stream))
    if exporter.config.receive is not None:
        app.include_router(logs_router(exporter.config.receive, exporter.token))
    _errors(app)
    _machines(app, exporter)
    _pages(app)
    _replay(app, exporter)
    app.state.stream = stream
    return app


def _machines(app: FastAPI, exporter: Exporter) -> None:
    """What Prometheus and orchestrators ask for."""
    shared = RequestCoalescer()

    @app.get("/metrics", tags=["machines"], response_class=PlainTextResponse, summary="Prometheus text or OpenMetrics")
    async def metrics(request: Request) -> Response:
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        openmetrics = "openmetrics" in content_type
        body = await shared.get(openmetrics, lambda: exporter.exposition.render(time.time(), openmetrics=openmetrics))
        return Response(body, headers={"content-type": exposition.OPENMETRICS if openmetrics else exposition.TEXT})

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
        responses={503: {"description": "The first reading goes on."}},
        summary="Every source was read once",
    )
    async def readyz() -> Response:
        if exporter.state.ready:
            return PlainTextResponse("ready\n")
        return JSONResponse({"error": "the first reading of the results folders goes on"}, status_code=503)


def _pages(app: FastAPI) -> None:
    """What people open."""
    app.mount("/live", _PageFiles(directory=LIVE), name="live")

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(LIVE / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/login", include_in_schema=False)
    async def login() -> FileResponse:
        return FileResponse(LIVE / "login.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))


def _replay(app: FastAPI, exporter: Exporter) -> None:
    """The replay sites, made when they are asked for."""
    sites = ReplaySites(exporter)
    app.state.sites = sites

    @app.get("/replay/{run_id}", include_in_schema=False)
    def without_slash(run_id: str) -> Response:
        # relative: a proxy may have put the exporter below a path
        return RedirectResponse(f"{quote(run_id, safe='')}/")

    @app.get("/replay/{run_id}/{path:path}", tags=["machines"], summary="The replay site of a run, made on demand")
    def replay(run_id: str, path: str) -> Response:
        file = sites.file(run_id, path or "index.html")
        # the site's own policy is stricter and stands in its page
        return FileResponse(file, headers={"cache-control": "no-cache", "content-security-policy": SITE_POLICY})


class _PageFiles(StaticFiles):
    """The pages' files, asked for anew each time: an index must not meet the modules of an older release."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; what is no file of a page is not there."""
        if not path.endswith((".js", ".css", ".svg", ".html")):
            raise StarletteHTTPException(404, "there is no such file")
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def _errors(app: FastAPI) -> None:
    """Every error is one object with one sentence."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        said, path = str(error.detail), request.url.path
        if said == HTTPStatus.NOT_FOUND.phrase:
            said = unknown_path(path, [*app.openapi()["paths"], "/docs", "/openapi.json"])
        elif said == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
            said = wrong_method(path, request.method, Headers(error.headers).get("allow", "GET"))
        return JSONResponse({"error": said}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = str(first["loc"][-1]) if first["loc"] else "the request"
        said = _ALLOWED.get(where, first["msg"])
        return JSONResponse({"error": f"{where}: {said}"}, status_code=422)
