"""The web server around the application."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator

import uvicorn

from evalgauge_exporter.errors import ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.connections import ConnectionLimits, limited_protocol, raise_descriptor_limit
from evalgauge_exporter.web.sse import SnapshotBroadcaster
from evalgauge_exporter.web.tls import create_ssl_context


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind a listening TCP socket.

    Args:
        host: An IPv4 or IPv6 address, or a name.
        port: The port; 0 takes a free one.

    Raises:
        ListenError: The address can't be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ListenError(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another address with --listen HOST:PORT"
        ) from error
    bound.listen(2048)
    return bound


def base_url(bound: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of a bound socket, without a trailing slash."""
    host, port = bound.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


_KEEP_ALIVE_SECONDS = 30


class _Server(uvicorn.Server):
    """A server that ends the event streams before it shuts down: they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, streams: Iterable[SnapshotBroadcaster]) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the event streams, then shut down."""
        for stream in self._streams:
            stream.close()
        await super().shutdown(sockets)


def web_server(exporter: Exporter) -> uvicorn.Server:
    """Build the server for an exporter, not yet running.

    Raises:
        ConfigError: The certificate or key of the web configuration can't be used.
    """
    app = create_app(exporter)
    tls = exporter.web_config.tls_server_config
    limits = ConnectionLimits(raise_descriptor_limit())
    snapshots, wall = app.state.streams
    snapshots.max_clients, wall.max_clients = limits.streams, limits.streams // 4
    config = uvicorn.Config(
        app,
        http=limited_protocol(limits, () if tls is None else tls.client_allowed_sans),
        ws="none",
        backlog=limits.backlog,
        log_config=None,
        log_level="error",  # a malformed request is the client's problem: it is answered with 400 and not logged
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    if tls is not None:
        config.ssl = create_ssl_context(tls)
    return _Server(config, app.state.streams)


@contextlib.contextmanager
def serving(exporter: Exporter) -> Iterator[str]:
    """Serve in the background while the block runs, for the demo and for tests.

    Args:
        exporter: The exporter; it is started and stopped with the block.

    Yields:
        The base URL, without a trailing slash.

    Raises:
        ListenError: The configured address can't be listened on.
    """
    bound = listening_socket(exporter.config.host, exporter.config.port)
    server = web_server(exporter)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="evalgauge-http", daemon=True)
    exporter.start()
    thread.start()
    try:
        yield base_url(bound, tls=exporter.web_config.tls_server_config is not None)
    finally:
        server.should_exit = True
        thread.join()
        exporter.stop()
        bound.close()
