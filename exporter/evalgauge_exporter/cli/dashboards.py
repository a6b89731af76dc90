"""``evalgauge dashboards``."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge_dashboards import build
from evalgauge_dashboards.dashboard import EXPORTER_URL
from evalgauge_exporter.cli.errors import CliError, PathNotFound

GENERATED = Path("dashboards") / "generated"


def run(out: Path | None, check: bool, docs_url: str, exporter_url: str) -> None:
    """Write the files, or say which of the written ones are stale."""
    if check:
        generated = out or GENERATED
        if not generated.is_dir():
            raise PathNotFound(
                f"{generated}: there is no such folder; run this in the repository, or name it with --out"
            )
        problems = build.stale(generated, docs_url, exporter_url)
        if problems:
            again = f"evalgauge dashboards build --out {generated}"
            if docs_url != build.DOCS_URL:
                again += f" --docs-url {docs_url}"
            if exporter_url != EXPORTER_URL:
                again += f" --exporter-url {exporter_url}"
            raise CliError(f"{generated} is stale: {', '.join(problems)}; {again} writes it again")
        click.echo(f"{generated} is fresh")
        return
    if out is None:
        return
    try:
        paths = build.build(out, docs_url, exporter_url)
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another folder with --out") from error
    for path in paths:
        click.echo(path)
