"""``evalgauge replay``: a static site that replays runs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of, escape_control
from evalgauge_exporter.cli.run_selection import RunSelection, redact_option
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.single import LARGE, write_single_file
from evalgauge_exporter.replay.site import Generated, generate
from evalgauge_exporter.sources.discovery import FoundRun

_MAX_PROBLEMS = 20
"""Problems that are printed one by one."""


@click.command("replay")
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the site, or the single file.")
@click.option("--single-file", "single", is_flag=True, help="Write one HTML file that contains everything.")
@click.option("--task", help="With --single-file: only this task.")
@click.option("--screenshot-base-url", metavar="URL", help="Link screenshots below this address, don't copy them.")
@click.option("--thumbnails", is_flag=True, help="Write small images for the scrub bar.")
@redact_option
def command(
    names: tuple[str, ...],
    out: Path,
    single: bool,
    task: str | None,
    screenshot_base_url: str | None,
    thumbnails: bool,
    redact: str | None,
) -> None:
    """Write a static site that replays runs step by step.

    RUN is a run, a folder of runs, or the id of a run. The site opens from the disk, without a server.
    """
    if task is not None and not single:
        raise click.UsageError("--task needs --single-file")
    if single and (thumbnails or screenshot_base_url is not None):
        raise click.UsageError("a single file contains its screenshots: omit --thumbnails and --screenshot-base-url")
    if redact is not None and screenshot_base_url is not None:
        raise click.UsageError("--screenshot-base-url links to screenshots as they are: leave it out with --redact")
    runs = RunSelection(names, rules=redact)
    found = [runs.found[run_id] for run_id in runs.ids]
    try:
        if single:
            _print_size(out, write_single_file(found, out, task=task))
        else:
            _print_summary(out, _generate(found, out, screenshot_base_url, thumbnails))
    except ReplayError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another path with --out") from error


def _generate(runs: list[FoundRun], out: Path, screenshot_base_url: str | None, thumbnails: bool) -> Generated:
    if not Console().is_terminal:
        return generate(runs, out, screenshot_base_url=screenshot_base_url, thumbnails=thumbnails)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("writing tasks", total=None)
        return generate(
            runs,
            out,
            screenshot_base_url=screenshot_base_url,
            thumbnails=thumbnails,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def _print_summary(out: Path, made: Generated) -> None:
    for problem in made.problems[:_MAX_PROBLEMS]:
        click.echo(f"skipped: {escape_control(problem.detail)}", err=True)
    if len(made.problems) > _MAX_PROBLEMS:
        click.echo(f"skipped: {len(made.problems) - _MAX_PROBLEMS} more", err=True)
    missing = f", {made.missing} screenshots missing" if made.missing else ""
    click.echo(
        f"{out / 'index.html'}: {count_of(made.runs, 'run')}, {count_of(made.tasks, 'attempt')} "
        f"({made.written} written, {made.unchanged} unchanged), {made.screenshots} screenshots{missing}"
    )


def _print_size(out: Path, size: int) -> None:
    click.echo(f"{out}: {size / 1e6:.1f} MB")
    if size > LARGE:
        click.echo(f"evalgauge: the file has more than {LARGE / 1e6:.0f} MB; --task writes one task only", err=True)
