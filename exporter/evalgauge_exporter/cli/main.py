"""The ``evalgauge`` command. A subcommand imports what it needs when it runs: a missing extra is one line."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

import click

from evalgauge import __version__
from evalgauge_exporter.cli.errors import CliError, existing_dirs, existing_run

_EXTRAS = {
    "evalgauge_dashboards": "dashboards",
    "grafana_foundation_sdk": "dashboards",
    "azure": "azure",
    "opentelemetry": "otel",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evalgauge")
def cli() -> None:
    """See how agent-benchmark evaluations go while they run, and replay them after."""


def _number(_: click.Context, __: click.Parameter, value: float) -> float:
    if math.isnan(value):  # lies in no range and outside of none
        raise click.BadParameter("nan is no number")
    return value


results_argument = click.argument("results", metavar="RESULTS_DIR...", nargs=-1, type=click.Path(path_type=Path))


@cli.command()
@results_argument
@click.option("--listen", metavar="HOST:PORT", help="Where to answer.  [default: 127.0.0.1:9909]")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--linger", metavar="DURATION", help="Expose a run for so long once it is over.  [default: never drop]")
@click.option("--stall-after", metavar="DURATION", help="Silence after which a run counts as dead.  [default: 10m]")
@click.option("--token-file", type=click.Path(path_type=Path), help="Guard everything but /healthz with this token.")
@click.option("--receive", type=click.Path(path_type=Path), help="Keep runs here that `evalgauge send` sends.")
def serve(results: tuple[Path, ...], config_path: Path | None, **options: Any) -> None:
    """Serve the runs below RESULTS_DIR: metrics for Prometheus, the JSON API and the live page."""
    from evalgauge_exporter.cli import serve as command

    command.run(results, config_path, options)


@cli.command()
@results_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--stall-after", metavar="DURATION", default="10m", show_default=True, help="Silence that means death.")
def runs(results: tuple[Path, ...], as_json: bool, stall_after: str) -> None:
    """List every run found below RESULTS_DIR, of any known format."""
    from evalgauge_exporter.cli import runs as command

    if not results:
        raise click.UsageError("name at least one folder with runs")
    command.run(existing_dirs(results), as_json, stall_after)


@cli.command()
@click.argument("results", metavar="RESULTS_DIR", type=click.Path(path_type=Path))
@click.argument("run_a")
@click.argument("run_b")
@click.option("--json", "as_json", is_flag=True, help="Print what /api/benchmark/compare answers.")
@click.option(
    "--fail-on",
    type=click.Choice(["worse", "any-drop", "never"]),
    default="worse",
    show_default=True,
    help="Exit 3 where RUN_B is significantly worse; where its rate is lower at all; or never.",
)
@click.option("--min-pairs", type=click.IntRange(1), default=10, show_default=True, help="Fewer pairs get no verdict.")
def compare(results: Path, run_a: str, run_b: str, as_json: bool, fail_on: str, min_pairs: int) -> None:
    """Compare RUN_B with the baseline RUN_A, over the tasks that both have measured."""
    from evalgauge_exporter.cli import compare as command

    command.run(existing_dirs((results,)), run_a, run_b, as_json, fail_on, min_pairs)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9909, show_default=True, help="0 takes a free one.")
@click.option("--tasks", type=click.IntRange(1, 10_000), default=154, show_default=True, help="How many tasks.")
@click.option(
    "--speed",
    type=click.FloatRange(0.01),
    callback=_number,
    default=60.0,
    show_default=True,
    help="Times real time.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another evaluation.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep the runs here.  [default: a folder of its own]")
@click.option("--once", is_flag=True, help="End when the evaluation does, with a summary.")
@click.option("--no-browser", is_flag=True, help="Do not open the live page.")
@click.option("--no-serve", is_flag=True, help="Only write the runs; an exporter elsewhere shows them.")
def demo(**options: Any) -> None:
    """A simulated evaluation with the exporter beside it: no Docker, no model, no cost."""
    from evalgauge_exporter.cli import demo as command

    command.run(**options)


@cli.command()
@click.argument("runs", metavar="RUN_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The site's folder, or the one file.")
@click.option("--single-file", "single", is_flag=True, help="One HTML file with everything in it, to send by mail.")
@click.option("--task", help="With --single-file: only this task.")
@click.option("--screenshot-base-url", metavar="URL", help="Screenshots stay where they are, below this address.")
@click.option("--thumbnails", is_flag=True, help="Write small pictures for the scrub bar (needs Pillow).")
def replay(runs: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Write a static site that replays runs step by step; it opens from the disk, with no server."""
    from evalgauge_exporter.cli import replay as command

    if options["task"] is not None and not options["single"]:
        raise click.UsageError("--task goes with --single-file")
    if options["single"] and (options["thumbnails"] or options["screenshot_base_url"] is not None):
        raise click.UsageError("a single file holds its screenshots: leave out --thumbnails and --screenshot-base-url")
    command.run(tuple(existing_run(run) for run in runs), out, **options)


@cli.command()
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A results folder.")
def convert(source: Path, out: Path) -> None:
    """Write runs of any known format as run logs."""
    from evalgauge_exporter.cli import convert as command

    command.run(existing_run(source), out)


@cli.command()
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["csv", "json", "atif"]), required=True, help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file; - is standard output.")
def export(run_dir: Path, form: str, out: Path) -> None:
    """Write a run's tasks as a table (csv), the whole run (json), or its attempts as ATIF trajectories (atif)."""
    from evalgauge_exporter.cli import export as command

    command.run(existing_run(run_dir), form, out)


@cli.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
def doctor(config_path: Path | None) -> None:
    """Check what is configured: does it answer, and what is to mend. Exit 1 where something is wrong."""
    from evalgauge_exporter.cli import doctor as command

    command.run(config_path)


@cli.group()
def dashboards() -> None:
    """Grafana boards, alerts and Prometheus rules as code."""


@dashboards.command("build")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the files here.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where dashboards/generated is stale.")
@click.option("--docs-url", default="docs", show_default=True, help="Where runbook links point.")
@click.option(
    "--exporter-url",
    default="http://localhost:9909",
    show_default=True,
    help="Where browsers find the exporter: the boards' links to replays.",
)
def dashboards_build(out: Path | None, check: bool, docs_url: str, exporter_url: str) -> None:
    """Write dashboards/*.json, alerting/*.json and prometheus/rules.yml."""
    from evalgauge_exporter.cli import dashboards as command

    if out is None and not check:
        raise click.UsageError("name a folder with --out, or use --check")
    if not exporter_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--exporter-url {exporter_url}: an address begins with http:// or https://")
    command.run(out, check, docs_url, exporter_url)


@cli.command()
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--to", "url", metavar="URL", required=True, help="An exporter, or a Collector in front of it.")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="A file with the receiver's token.")
@click.option("--run-id", help="The run's name there.  [default: the folder's name]")
@click.option("--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--again", is_flag=True, help="Send everything anew; what is there already is stored once.")
def send(run_dir: Path, url: str, token_file: Path, run_id: str | None, follow: bool, again: bool) -> None:
    """Send what is missing of a run's log to an exporter that shares no folder with this machine."""
    from evalgauge.send import SendError
    from evalgauge.send import send as send_log
    from evalgauge_exporter.config.token_file import read_token
    from evalgauge_exporter.errors import TokenError

    try:
        sent = send_log(run_dir, url, read_token(token_file), run_id=run_id, follow=follow, again=again)
    except (SendError, TokenError) as error:
        raise CliError(str(error)) from error
    left = ", ".join(f"{n} {word}" for n, word in ((sent.rejected, "refused"), (sent.skipped, "skipped")) if n)
    click.echo(
        f"{sent.lines} events sent{f' ({left})' if left else ''}; the run {'is over' if sent.over else 'goes on'}"
    )


def main() -> None:
    """The entry point: errors are one line, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("evalgauge").setLevel(logging.INFO)
    try:
        cli(prog_name="evalgauge", standalone_mode=False)
    except click.UsageError as error:
        _say_usage(error)
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
            f"evalgauge: this needs the package {package!r}; install it with: pip install 'evalgauge[{extra}]'",
            err=True,
        )
        sys.exit(1)
    except Exception as error:
        if os.environ.get("EVALGAUGE_DEBUG"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        click.echo(f"evalgauge: this went wrong: {text} (EVALGAUGE_DEBUG=1 shows where)", err=True)
        sys.exit(1)


def _say_usage(error: click.UsageError) -> None:
    """A wrong call as one line; no command at all is answered with the help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    text = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "evalgauge"
    text = text[:1].lower() + text[1:] + ("" if text.endswith("?") else ";")
    click.echo(f"evalgauge: {text} {command} --help says what there is", err=True)
