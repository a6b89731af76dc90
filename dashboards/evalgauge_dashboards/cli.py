"""The command that writes the dashboards: ``evalgauge dashboards build`` and ``python -m evalgauge_dashboards``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from evalgauge_dashboards.options import DOCS_URL, EXPORTER_URL

GENERATED = Path("dashboards") / "generated"
"""The folder that ``--check`` looks at unless ``--out`` names another one."""


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
@click.option("--docs-url", default=DOCS_URL, show_default=True, help="Where runbook links point.")
@click.option(
    "--exporter-url",
    default=EXPORTER_URL,
    show_default=True,
    help="Where browsers find the exporter: the start of the dashboards' links to replays.",
)
def build_command(out: Path | None, check: bool, docs_url: str, exporter_url: str) -> None:
    """Write dashboards/*.json, alerting/*.json and prometheus/rules.yml."""
    if out is None and not check:
        raise click.UsageError("name a folder with --out, or use --check")
    if not exporter_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--exporter-url {exporter_url}: an address begins with http:// or https://")
    if check:
        _check(out or GENERATED, docs_url, exporter_url)
    elif out is not None:
        _write(out, docs_url, exporter_url)


def _check(generated: Path, docs_url: str, exporter_url: str) -> None:
    from evalgauge_dashboards.build import find_stale

    if not generated.is_dir():
        raise FolderNotFound(f"{generated}: no such folder; run this in the repository, or name it with --out")
    if problems := find_stale(generated, docs_url, exporter_url):
        command = f"evalgauge dashboards build --out {generated}"
        if docs_url != DOCS_URL:
            command += f" --docs-url {docs_url}"
        if exporter_url != EXPORTER_URL:
            command += f" --exporter-url {exporter_url}"
        raise BuildError(f"{generated} is stale: {', '.join(problems)}; run: {command}")
    click.echo(f"{generated} is up to date")


def _write(out: Path, docs_url: str, exporter_url: str) -> None:
    from evalgauge_dashboards.build import build

    try:
        paths = build(out, docs_url, exporter_url)
    except OSError as error:
        raise BuildError(f"{out}: {error.strerror or error}; name another folder with --out") from error
    for path in paths:
        click.echo(path)
