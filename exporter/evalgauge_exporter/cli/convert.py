"""``evalgauge convert``."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.replay import found_in
from evalgauge_exporter.errors import ConvertError
from evalgauge_exporter.export.runlog import convert


def run(source: Path, out: Path) -> None:
    """Convert every run below ``source``, a line for each."""
    for found in found_in((source,)):
        try:
            events = convert(found, out)
        except ConvertError as error:
            raise CliError(str(error)) from error
        except OSError as error:
            raise CliError(f"{out}: {error.strerror or error}; name another folder with --out") from error
        click.echo(f"{found.path_id} ({found.source.source}): {events:,} events")
