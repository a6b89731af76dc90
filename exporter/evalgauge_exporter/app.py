"""The web application: every address of the exporter."""

from __future__ import annotations

import time

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder

from evalgauge import __version__
from evalgauge_exporter import exposition
from evalgauge_exporter.exporter import Exporter


def create_app(exporter: Exporter) -> FastAPI:
    """The application over a started exporter."""
    app = FastAPI(title="evalgauge", version=__version__, docs_url="/docs", redoc_url=None)

    @app.get("/metrics", response_class=PlainTextResponse, summary="Prometheus text, or OpenMetrics when asked for")
    def metrics(request: Request) -> Response:
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        openmetrics = "openmetrics" in content_type
        body = exporter.exposition.render(time.time(), openmetrics=openmetrics)
        return Response(body, headers={"content-type": exposition.OPENMETRICS if openmetrics else exposition.TEXT})

    @app.get("/healthz", response_class=PlainTextResponse, summary="The process lives")
    async def healthz() -> str:
        return "ok\n"

    @app.get("/readyz", summary="Every source was read once")
    async def readyz() -> Response:
        if exporter.state.ready:
            return PlainTextResponse("ready\n")
        return JSONResponse({"error": "the first reading of the results folders goes on"}, status_code=503)

    return app
