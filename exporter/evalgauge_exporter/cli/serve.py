"""``evalgauge serve``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from evalgauge_exporter.cli.errors import CliError, existing_dirs
from evalgauge_exporter.config.model import Config, load_config
from evalgauge_exporter.errors import ConfigError, ListenError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import base_url, listening_socket, web_server

log = logging.getLogger("evalgauge.exporter")


def configured(results: tuple[Path, ...], config_path: Path | None, options: dict[str, Any]) -> Config:
    """The configuration of a command; raises Failure with one line."""
    try:
        return load_config(config_path, results=results or None, **options)
    except ConfigError as error:
        raise CliError(str(error)) from error


def run(results: tuple[Path, ...], config_path: Path | None, options: dict[str, Any]) -> None:
    """Serve until interrupted."""
    config = configured(results, config_path, options)
    if config.receive is not None:
        if config.token_file is None:
            raise CliError("--receive needs a token that senders have: make one and name it with --token-file")
        try:
            config.receive.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CliError(f"{config.receive}: received runs can't be kept here ({error.strerror})") from error
        if config.receive not in config.results:
            config = config.model_copy(update={"results": (*config.results, config.receive)})
    if not config.results:
        raise click.UsageError("name at least one folder with runs, or set results in the configuration")
    existing_dirs(config.results)
    try:
        exporter = Exporter(config)
        bound = listening_socket(config.host, config.port)
    except (ValueError, ListenError) as error:
        raise CliError(str(error)) from error
    click.echo(f"evalgauge serves {', '.join(map(str, config.results))} on {base_url(bound)}/", err=True)
    exporter.on_change(_Announcement(exporter))
    exporter.start()
    try:
        web_server(exporter).run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        exporter.stop()


class _Announcement:
    """Says once what the first reading found."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._said = False

    def __call__(self) -> None:
        if self._said or not self._exporter.state.ready:
            return
        self._said = True
        count = len(self._exporter.state.runs)
        if count:
            log.info("ready: %d run%s found", count, "" if count == 1 else "s")
        else:
            log.info(
                "no runs there yet; waiting for one to appear in %s",
                ", ".join(map(str, self._exporter.config.results)),
            )
