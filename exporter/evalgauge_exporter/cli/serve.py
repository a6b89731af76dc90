"""``evalgauge serve``: the exporter as a process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.run_selection import create_exporter, existing_dirs, read_config
from evalgauge_exporter.config.model import Config
from evalgauge_exporter.errors import ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import base_url, listening_socket, web_server

log = logging.getLogger("evalgauge.exporter")


@click.command("serve")
@click.argument("results", metavar="RESULTS_DIR...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--listen", metavar="[HOST]:PORT", help="Address to listen on.  [default: 127.0.0.1:9909]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--linger", metavar="DURATION", help="Expose a finished run for this long.  [default: never drop]")
@click.option("--stall-after", metavar="DURATION", help="Silence after which a run is stalled.  [default: 10m]")
@click.option("--token-file", type=click.Path(path_type=Path), help="Require this file's token, except at /healthz.")
@click.option("--receive", type=click.Path(path_type=Path), help="Store runs from `evalgauge send` in this folder.")
def command(results: tuple[Path, ...], config_path: Path | None, port: int | None, **options: Any) -> None:
    """Serve metrics, the API, the live page and replays.

    Follows the runs below each RESULTS_DIR until interrupted.
    """
    listen = options["listen"]
    if port is not None:
        if listen is not None:
            raise click.UsageError("use --port or --listen, not both")
        listen = f":{port}"
    if listen is not None and listen.startswith(":"):  # the port alone: of this machine only, as the default is
        options["listen"] = f"127.0.0.1{listen}"
    config = read_config(results, config_path, options)
    if config.receive is not None:
        config = _with_receive_folder(config, config.receive)
    if not config.results:
        raise click.UsageError("name at least one folder with runs, or set results in the configuration")
    existing_dirs(config.results)
    exporter = create_exporter(config)
    try:
        bound = listening_socket(config.host, config.port)
    except ListenError as error:
        raise CliError(str(error)) from error
    click.echo(f"evalgauge serves {', '.join(map(str, config.results))} on {base_url(bound)}/", err=True)
    exporter.on_change(_ReadyLog(exporter))
    exporter.start()
    try:
        web_server(exporter).run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        exporter.stop()


def _with_receive_folder(config: Config, folder: Path) -> Config:
    """Create the folder for received runs, and serve it too."""
    if config.token_file is None:
        raise CliError("--receive needs a token that senders have: write one into a file and name it with --token-file")
    try:
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
        if self._logged or not self._exporter.state.ready:
            return
        self._logged = True
        count = len(self._exporter.state.runs)
        if count:
            log.info("ready: %d run%s found", count, "" if count == 1 else "s")
        else:
            log.info("no runs yet; waiting for one in %s", ", ".join(map(str, self._exporter.config.results)))
