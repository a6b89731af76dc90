"""The command that writes the dashboards: ``evalgauge dashboards build`` and ``python -m evalgauge_dashboards``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from evalgauge_dashboards.errors import OptionError
from evalgauge_dashboards.options import Options

GENERATED = Path("dashboards") / "generated"
"""The folder that ``--check`` looks at unless ``--out`` names another one."""
_DEFAULT = Options()


class BuildError(click.ClickException):
    """The files cannot be written or are stale: one line on stderr, exit 1."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"evalgauge: {self.format_message()}", file=file or sys.stderr)


class FolderNotFound(BuildError):
    """A folder that does not exist: exit 2, as for wrong usage."""

    exit_code = 2


@click.command("build")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the files to this folder.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where dashboards/generated is stale.")
@click.option(
    "--exporter-url",
    default=_DEFAULT.exporter_url,
    show_default=True,
    help="Where browsers find the exporter: the start of links to replays, live page and runbooks.",
)
@click.option(
    "--grafana-url",
    default=_DEFAULT.grafana_url,
    show_default=True,
    help="Where browsers find Grafana: the start of an alert's link to its dashboard.",
)
@click.option("--docs-url", help="Where runbook links point.  [default: the exporter's /runbooks]")
@click.option(
    "--datasource-uid",
    default=_DEFAULT.datasource_uid,
    show_default=True,
    help="The uid of the Prometheus data source in Grafana.",
)
@click.option("--job", default=_DEFAULT.job, show_default=True, help="The scrape job of the exporter.")
@click.option("--selector", default="", help="Label matchers for every query, such as 'cluster=\"a\"'.")
@click.option("--folder", default=_DEFAULT.folder, show_default=True, help="The folder of Grafana.")
@click.option(
    "--format",
    "format",
    type=click.Choice(["grafana", "kubernetes", "compose"]),
    default=_DEFAULT.format,
    show_default=True,
    help="Files for Grafana and Prometheus, Kubernetes manifests that hold them, or a folder for docker compose.",
)
def build_command(out: Path | None, check: bool, **chosen: Any) -> None:
    """Write dashboards/*.json, alerting/*.json and prometheus/rules.yml, Kubernetes manifests, or a compose stack."""
    if out is None and not check:
        raise click.UsageError("name a folder with --out, or use --check")
    try:
        options = Options(**chosen)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    if check:
        _check(out or GENERATED, options)
    elif out is not None:
        _write(out, options)


def _check(generated: Path, options: Options) -> None:
    from evalgauge_dashboards.build import find_stale

    if not generated.is_dir():
        raise FolderNotFound(f"{generated}: no such folder; run this in the repository, or name it with --out")
    if problems := find_stale(generated, options):
        command = f"evalgauge dashboards build --out {generated}"
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if value != getattr(_DEFAULT, field.name):
                command += f" --{field.name.replace('_', '-')} {shlex.quote(value)}"
        raise BuildError(f"{generated} is stale: {', '.join(problems)}; run: {command}")
    click.echo(f"{generated} is up to date")


def _write(out: Path, options: Options) -> None:
    from evalgauge_dashboards.build import build

    try:
        paths = build(out, options)
    except OSError as error:
        raise BuildError(f"{out}: {error.strerror or error}; name another folder with --out") from error
    for path in paths:
        click.echo(path)
