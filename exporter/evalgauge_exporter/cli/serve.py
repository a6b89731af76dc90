"""``evalgauge serve``: the exporter as a process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import click
import uvicorn

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.logs import FORMATS, LEVELS, configure_logging
from evalgauge_exporter.cli.run_selection import create_exporter, existing_dirs, read_config
from evalgauge_exporter.config.model import Config
from evalgauge_exporter.errors import ConfigError, ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest.memory import keep_collections_short
from evalgauge_exporter.web.server import base_url, listening_socket, web_server

log = logging.getLogger("evalgauge.exporter")

_SOCKET = "_EVALGAUGE_SOCKET"
"""Environment variable with the descriptor of the listening socket that a reload hands to the new program."""


@click.command("serve")
@click.argument("results", metavar="RESULTS_DIR...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--listen", metavar="[HOST]:PORT", help="Address to listen on.  [default: 127.0.0.1:9909]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--linger", metavar="DURATION", help="Expose a finished run for this long.  [default: never drop]")
@click.option("--stall-after", metavar="DURATION", help="Silence after which a run is stalled.  [default: 10m]")
@click.option("--shard", metavar="K/N", help="Expose part K of the runs, 0 to N-1, as one of N exporters.")
@click.option("--scorer", metavar="NAME", help="Scorer whose score is the headline, where attempts have several.")
@click.option("--token-file", type=click.Path(path_type=Path), help="Require this file's token, except at /healthz.")
@click.option("--web-config-file", type=click.Path(path_type=Path), help="TLS and users, as of Prometheus' exporters.")
@click.option("--receive", type=click.Path(path_type=Path), help="Store runs from `evalgauge send` in this folder.")
@click.option("--log-level", type=click.Choice(LEVELS), help="Least severe messages to log.  [default: info]")
@click.option("--log-format", type=click.Choice(FORMATS), help="Format of the log.  [default: text]")
@click.option("--check", is_flag=True, help="Check the configuration and exit.")
def command(results: tuple[Path, ...], config_path: Path | None, port: int | None, check: bool, **options: Any) -> None:
    """Serve metrics, the API, the live page and replays.

    Follows the runs below each RESULTS_DIR until interrupted. SIGHUP reloads the configuration without refusing a
    connection; SIGTERM and SIGINT let running requests finish.
    """
    listen = options["listen"]
    if port is not None:
        if listen is not None:
            raise click.UsageError("use --port or --listen, not both")
        listen = f":{port}"
    if listen is not None and listen.startswith(":"):  # the port alone: of this machine only, as the default is
        options["listen"] = f"127.0.0.1{listen}"

    def prepare() -> tuple[Exporter, uvicorn.Server]:
        return _prepare(results, config_path, options, create_folders=not check)

    exporter, server = prepare()
    if check:
        shard = exporter.config.shard
        part = "" if shard is None else f", shard {shard.index} of {shard.total}"
        click.echo(f"the configuration is valid; {len(exporter.config.results)} results folders{part}")
        return
    configure_logging(exporter.config.log_level, exporter.config.log_format)
    bound = _listen(exporter.config)
    url = base_url(bound, tls=exporter.web_config.tls_server_config is not None)
    click.echo(f"evalgauge serves {', '.join(map(str, exporter.config.results))} on {url}/", err=True)
    exporter.on_change(_ReadyLog(exporter))
    reloading = False

    def reload(*_: object) -> None:
        nonlocal reloading
        try:
            prepare()
        except click.ClickException as error:
            log.error("the configuration is not reloaded: %s", error.format_message())
            return
        reloading = True
        server.should_exit = True

    def terminate(*_: object) -> None:
        raise SystemExit(0)  # the server has stopped by then: it hands on the signal that it stopped for

    signal.signal(signal.SIGTERM, terminate)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
    exporter.start()
    ended = threading.Event()
    threading.Thread(target=_keep_collections_short, args=(exporter, ended), name="evalgauge-gc", daemon=True).start()
    try:
        server.run(sockets=[bound.dup()])  # the server closes its own; this one goes on listening over a reload
    except KeyboardInterrupt:
        pass
    finally:
        ended.set()
        exporter.stop()
    if reloading:
        _restart(bound)


def _keep_collections_short(exporter: Exporter, ended: threading.Event) -> None:
    exporter.wait_ready()
    keep_collections_short(ended.wait)


def _prepare(
    results: tuple[Path, ...], config_path: Path | None, options: dict[str, Any], *, create_folders: bool
) -> tuple[Exporter, uvicorn.Server]:
    """Read everything that is configured, and build the exporter and its server; nothing is started.

    Raises:
        CliError: Something that is configured can't be used.
        click.UsageError: No results folder is configured.
    """
    config = read_config(results, config_path, options)
    if config.receive is not None:
        config = _with_receive_folder(config, config.receive, create=create_folders)
    if not config.results:
        raise click.UsageError("name at least one folder with runs, or set results in the configuration")
    existing_dirs([folder for folder in config.results if create_folders or folder != config.receive])
    exporter = create_exporter(config)
    try:
        return exporter, web_server(exporter)
    except ConfigError as error:
        raise CliError(str(error)) from error


def _listen(config: Config) -> socket.socket:
    """Return the listening socket: the one that a reload handed on, else a new one."""
    handed = os.environ.pop(_SOCKET, None)
    if handed is not None:
        bound = socket.socket(fileno=int(handed))
        bound.set_inheritable(False)
        host, port = bound.getsockname()[:2]
        if config.host in (host, "localhost") and config.port in (port, 0):
            return bound
        bound.close()
    try:
        return listening_socket(config.host, config.port)
    except ListenError as error:
        raise CliError(str(error)) from error


def _restart(bound: socket.socket) -> None:
    """Run this program again in this process. The socket stays open, so that connections wait and are not refused."""
    log.info("reloading the configuration")
    bound.set_inheritable(True)
    os.environ[_SOCKET] = str(bound.fileno())
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _with_receive_folder(config: Config, folder: Path, *, create: bool) -> Config:
    """Create the folder for received runs, and serve it too."""
    if config.token_file is None:
        raise CliError("--receive needs a token that senders have: write one into a file and name it with --token-file")
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"{folder}: received runs can't be stored here ({error.strerror})") from error
    if folder in config.results:
        return config
    return config.model_copy(update={"results": (*config.results, folder)})


class _ReadyLog:
    """Logs once how many runs the first scan found."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._logged = False

    def __call__(self) -> None:
        if self._logged or not self._exporter.is_ready():
            return
        self._logged = True
        unread = self._exporter.collector.unread_runs
        count = len(self._exporter.state.runs) + unread
        if count:
            reading = f", {unread:,} still being read" if unread > 0 else ""
            log.info("ready: %d run%s found%s", count, "" if count == 1 else "s", reading)
        else:
            log.info("no runs yet; waiting for one in %s", ", ".join(map(str, self._exporter.config.results)))
