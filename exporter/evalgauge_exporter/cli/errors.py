"""Errors of the command line, each one line on stderr, and the checks of paths that every command makes.

- ``CliError``: exit 1
    - ``PathNotFound``: a path that does not exist, exit 2 as for wrong usage
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


class CliError(click.ClickException):
    """One line on stderr, exit 1."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"evalgauge: {self.format_message()}", file=file or sys.stderr)


class PathNotFound(CliError):
    """A path that is not there: exit 2, as for wrong usage."""

    exit_code = 2


def existing_dirs(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders as given. Raises NotThere for the first that is none."""
    for path in paths:
        if not path.exists():
            raise PathNotFound(f"{path}: there is no such folder; name the folder that holds the runs")
        if not path.is_dir():
            raise PathNotFound(f"{path} is a file; name the folder that holds the runs")
    return paths


def existing_run(path: Path) -> Path:
    """A run's place: a folder, or the file that a run is. Raises NotThere."""
    if not path.exists():
        raise PathNotFound(f"{path}: there is nothing there; name a run, or a folder of runs")
    return path
