"""``evalgauge doctor``: a check of everything that is configured."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evalgauge_exporter.cli.doctor_checks import check_all
from evalgauge_exporter.cli.output import escape_control
from evalgauge_exporter.cli.run_selection import read_config

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", None)}


@click.command("doctor")
@click.argument("folders", metavar="[RESULTS_DIR...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
def command(folders: tuple[Path, ...], config_path: Path | None) -> None:
    """Check the configuration and what it refers to.

    RESULTS_DIR replaces the configured results folders: which runs are found in it, and which folders are none. Prints
    each finding and how to fix it. Exits with 1 if anything is wrong.
    """
    config = read_config(folders, config_path, {})
    wrong = 0
    for finding in check_all(config, config_path):
        mark, colour = _MARKS[finding.ok]
        click.echo(f"{click.style(mark, fg=colour)} {escape_control(finding.what)}: {escape_control(finding.detail)}")
        if finding.ok is False:
            wrong += 1
        if finding.fix is not None:
            click.echo(f"    → {escape_control(finding.fix)}")
    if wrong:
        click.echo(f"evalgauge: {wrong} thing{'s' if wrong > 1 else ''} to fix", err=True)
        sys.exit(1)
