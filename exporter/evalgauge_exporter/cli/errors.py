"""Errors of the command line. Each is printed as one line on stderr.

- ``CliError``: exit 1
    - ``PathNotFound``: a path that does not exist, or a file in place of a folder; exit 2, as for wrong usage
"""

from __future__ import annotations

import sys
from typing import Any

import click


class CliError(click.ClickException):
    """An error that ends the command with exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print the error as one line."""
        click.echo(f"evalgauge: {self.format_message()}", file=file or sys.stderr)


class PathNotFound(CliError):
    """A path that does not exist: exit code 2, as for wrong usage."""

    exit_code = 2
