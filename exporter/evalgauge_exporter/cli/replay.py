"""``evalgauge replay``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.single import LARGE, single_file
from evalgauge_exporter.replay.site import Generated, generate
from evalgauge_exporter.sources.discovery import Discovery, Found

_MOST_PROBLEMS = 20
"""Problems that are told one by one."""


def found_in(folders: tuple[Path, ...]) -> list[Found]:
    """The runs in these folders, each a run or a folder of runs. Raises Failure where one holds none."""
    found: dict[Path, Found] = {}
    for folder in folders:
        root = folder.parent if folder.is_file() else folder
        runs, problems = Discovery([root]).scan()
        if root != folder:  # a run can be a file, such as an Inspect log
            runs = [run for run in runs if run.folder == folder]
        if problems:
            raise CliError(escape_control(problems[0].detail))
        if not runs:
            raise CliError(f"{folder}: no run of any known format is in it; evalgauge runs lists what there is")
        for run in runs:  # a folder may be named twice, or lie in another that is named
            found.setdefault(run.folder.resolve(), run)
    return list(found.values())


def run(
    folders: tuple[Path, ...],
    out: Path,
    *,
    single: bool,
    task: str | None,
    screenshot_base_url: str | None,
    thumbnails: bool,
) -> None:
    """Write the site, or the one file."""
    runs = found_in(folders)
    try:
        if single:
            _say_single(out, single_file(runs, out, task=task))
        else:
            _say(out, _generate(runs, out, screenshot_base_url, thumbnails))
    except ReplayError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{out}: {error.strerror or error}; name another place with --out") from error


def _generate(runs: list[Found], out: Path, screenshot_base_url: str | None, thumbnails: bool) -> Generated:
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


def _say(out: Path, made: Generated) -> None:
    for problem in made.problems[:_MOST_PROBLEMS]:
        click.echo(f"skipped: {escape_control(problem.detail)}", err=True)
    if len(made.problems) > _MOST_PROBLEMS:
        click.echo(f"skipped: {len(made.problems) - _MOST_PROBLEMS} more", err=True)
    missing = f", {made.missing} screenshots are not there" if made.missing else ""
    click.echo(
        f"{out / 'index.html'}: {made.runs} run{'s' if made.runs != 1 else ''}, {made.tasks} tasks "
        f"({made.written} written, {made.unchanged} unchanged), {made.screenshots} screenshots{missing}"
    )


def _say_single(out: Path, size: int) -> None:
    click.echo(f"{out}: {size / 1e6:.1f} MB")
    if size > LARGE:
        click.echo(f"evalgauge: that is more than {LARGE / 1e6:.0f} MB; --task picks one task", err=True)
