"""``evalgauge convert``: runs of other formats as run logs."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of, escape_control
from evalgauge_exporter.cli.run_selection import RunSelection
from evalgauge_exporter.errors import ConvertError, EmptyRunError
from evalgauge_exporter.export.runlog import convert


@click.command("convert")
@click.argument("names", metavar="SRC...", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Results folder.")
def command(names: tuple[str, ...], out: Path) -> None:
    """Write runs of other formats as run logs.

    SRC is a run, a folder of runs, or the id of a run. Screenshots are copied. Of several runs those without events
    are left out.
    """
    runs = RunSelection(names)
    empty = 0
    for run_id in runs.ids:
        found = runs.found[run_id]
        try:
            events = convert(found, out)
        except EmptyRunError as error:
            empty += 1
            if empty == len(runs.ids):
                raise CliError(str(error)) from error
            click.echo(escape_control(str(error)), err=True)
            continue
        except ConvertError as error:
            raise CliError(str(error)) from error
        except OSError as error:
            raise CliError(f"{out}: {error.strerror or error}; name another folder with --out") from error
        click.echo(f"{escape_control(run_id)} ({found.source.source}): {count_of(events, 'event')}")
