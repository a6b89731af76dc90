"""``evalgauge dashboards``: Grafana dashboards, alerts and Prometheus rules as files."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge_dashboards import build
from evalgauge_dashboards.dashboard import EXPORTER_URL
from evalgauge_exporter.cli.errors import CliError, PathNotFound

GENERATED = Path("dashboards") / "generated"


@click.group("dashboards")
def command() -> None:
    """Build the Grafana dashboards, alerts and rules."""


@command.command("build")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if dashboards/generated is stale.")
@click.option("--docs-url", default=build.DOCS_URL, show_default=True, help="Base address of the runbook links.")
@click.option(
    "--exporter-url", default=EXPORTER_URL, show_default=True, help="Address of the exporter, for links to replays."
)
def build_command(out: Path | None, check: bool, docs_url: str, exporter_url: str) -> None:
    """Write dashboards/*.json, alerting/*.json, prometheus/rules.yml."""
    if not exporter_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--exporter-url {exporter_url}: an address begins with http:// or https://")
    if check:
        _check(out or GENERATED, docs_url, exporter_url)
        return
    if out is None:
        raise click.UsageError("name a folder with --out, or use --check")
    try:
        paths = build.build(out, docs_url, exporter_url)
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another folder with --out") from error
    for path in paths:
        click.echo(path)


def _check(generated: Path, docs_url: str, exporter_url: str) -> None:
    """Compare the files in a folder with what would be written."""
    if not generated.is_dir():
        raise PathNotFound(f"{generated}: no such folder; run this in the repository, or name it with --out")
    if problems := build.stale(generated, docs_url, exporter_url):
        again = f"evalgauge dashboards build --out {generated}"
        if docs_url != build.DOCS_URL:
            again += f" --docs-url {docs_url}"
        if exporter_url != EXPORTER_URL:
            again += f" --exporter-url {exporter_url}"
        raise CliError(f"{generated} is stale: {', '.join(problems)}; run: {again}")
    click.echo(f"{generated} is up to date")
