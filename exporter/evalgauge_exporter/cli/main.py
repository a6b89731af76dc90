"""The ``evalgauge`` command: the group of commands, the entry point and how errors are printed.

Each command is a file of this package, imported when it is called: ``evalgauge --help`` stays fast, and a command that
needs an extra which is not installed is one line, not a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from evalgauge import __version__
from evalgauge_exporter.cli.logs import configure_logging
from evalgauge_exporter.cli.output import print_in_any_encoding

COMMANDS = {
    "serve": "Serve metrics, the API, the live page and replays.",
    "runs": "List the runs in results folders.",
    "compare": "Compare a run with a baseline run.",
    "leaderboard": "Rank models, agents or tags on each benchmark.",
    "power": "Estimate the least drop that a comparison can detect.",
    "check": "Check a run against limits, for pipelines.",
    "watch": "Watch runs in the terminal.",
    "remaining": "List the tasks of a run that are left.",
    "replay": "Write a static site that replays runs step by step.",
    "export": "Write runs as CSV, JSON, ATIF trajectories, or OpenMetrics.",
    "convert": "Write runs of other formats as run logs.",
    "send": "Send a run to an exporter or a bucket.",
    "prune": "Delete old runs, or their screenshots.",
    "schema": "Print the JSON Schema of the run log.",
    "doctor": "Check the configuration and what it refers to.",
    "dashboards": "Build the Grafana dashboards, alerts and rules.",
    "demo": "Run a simulated evaluation with the exporter beside it.",
}
"""Each command with the first line of its help. The command is ``command`` in the module of its name."""

_EXTRAS = {
    "evalgauge_dashboards": "dashboards",
    "grafana_foundation_sdk": "dashboards",
    "azure": "azure",
    "boto3": "aws",
    "obstore": "storage",
    "opentelemetry": "otel",
}
"""The extra that installs a package, where it is not ``exporter``."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        """Create the group.

        Args:
            *args: Passed on to ``click.Group``.
            lazy: Each command's name with the first line of its help.
            **kwargs: Passed on to ``click.Group``.
        """
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in self._lazy:
            return None
        command: click.Command = importlib.import_module(f"evalgauge_exporter.cli.{cmd_name}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the completions of a command's name or an option, without importing any command."""
        names = [CompletionItem(name, help=text) for name, text in self._lazy.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lazy.items()))


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="evalgauge")
def cli() -> None:
    """Monitor, compare and replay evaluations of agents."""


def main() -> None:
    """Run the command line; an error is one line on stderr, never a traceback."""
    print_in_any_encoding()
    configure_logging()
    try:
        cli(prog_name="evalgauge", standalone_mode=False)
    except click.UsageError as error:
        _print_usage_error(error)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C
        sys.exit(130)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(package, "exporter")
        click.echo(
            f"evalgauge: the package {package!r} is not installed; install it with: pip install 'evalgauge[{extra}]'",
            err=True,
        )
        sys.exit(1)
    except Exception as error:
        if os.environ.get("EVALGAUGE_DEBUG"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        click.echo(f"evalgauge: unexpected error: {text} (set EVALGAUGE_DEBUG=1 to see where)", err=True)
        sys.exit(1)


def _print_usage_error(error: click.UsageError) -> None:
    """Print a wrong call as one line; a group without a command prints its help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    text = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "evalgauge"
    text = text[:1].lower() + text[1:] + ("" if text.endswith("?") else ";")
    click.echo(f"evalgauge: {text} see {command} --help", err=True)
