"""``evalgauge send``: a run's log to an exporter that shares no folder with this machine."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge import send as sender
from evalgauge.errors import SendError
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.errors import TokenError


@click.command("send")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--to", "url", metavar="URL", required=True, help="The exporter, or a Collector in front of it.")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="File with the receiver's token.")
@click.option("--run-id", help="Run id at the receiver.  [default: the folder's name]")
@click.option("--follow", is_flag=True, help="Keep sending until the run has finished.")
@click.option("--again", is_flag=True, help="Send everything again; the receiver stores it once.")
def command(run_dir: Path, url: str, token_file: Path, run_id: str | None, follow: bool, again: bool) -> None:
    """Send a run's log to an exporter on another machine.

    Only what has not been acknowledged yet is sent.
    """
    try:
        sent = sender.send(run_dir, url, read_token(token_file), run_id=run_id, follow=follow, again=again)
    except (SendError, TokenError) as error:
        raise CliError(str(error)) from error
    left = ", ".join(f"{n} {word}" for n, word in ((sent.rejected, "refused"), (sent.skipped, "skipped")) if n)
    click.echo(
        f"{count_of(sent.lines, 'event')} sent{f' ({left})' if left else ''}; "
        f"the run {'has finished' if sent.finished else 'is running'}"
    )
