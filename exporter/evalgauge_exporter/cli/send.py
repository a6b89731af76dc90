"""``evalgauge send``: a run to an exporter or a bucket, from a machine that shares no folder with the exporter."""

from __future__ import annotations

from pathlib import Path

import click

from evalgauge import send as sender
from evalgauge.errors import SendError
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of
from evalgauge_exporter.config.bucket_urls import parse_bucket_url
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.errors import TokenError
from evalgauge_exporter.export.upload import upload_run


@click.command("send")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--to", "url", metavar="URL", required=True, help="An exporter, a Collector, or a bucket.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the token of an exporter.")
@click.option("--run-id", help="Run id at the receiver.  [default: the folder's name]")
@click.option("--follow", is_flag=True, help="Keep sending until the run has finished.")
@click.option("--again", is_flag=True, help="Send everything again; the receiver stores it once.")
def command(run_dir: Path, url: str, token_file: Path | None, run_id: str | None, follow: bool, again: bool) -> None:
    """Send a run to an exporter or a bucket.

    Only what is not there yet is sent: to an exporter the log, to a bucket the whole run.
    """
    bucket = parse_bucket_url(url)
    if bucket is not None:
        if token_file is not None or again:
            raise click.UsageError("--token-file and --again are for exporters; a bucket uses its cloud's credentials")
        _upload(run_dir, bucket, run_id, follow)
        return
    if token_file is None:
        raise click.UsageError("--token-file is missing: it holds the token that the exporter expects")
    try:
        sent = sender.send(run_dir, url, read_token(token_file), run_id=run_id, follow=follow, again=again)
    except (SendError, TokenError) as error:
        raise CliError(str(error)) from error
    left = ", ".join(f"{n} {word}" for n, word in ((sent.rejected, "refused"), (sent.skipped, "skipped")) if n)
    click.echo(
        f"{count_of(sent.lines, 'event')} sent{f' ({left})' if left else ''}; "
        f"the run {'has finished' if sent.finished else 'is running'}"
    )


def _upload(run_dir: Path, url: str, run_id: str | None, follow: bool) -> None:
    try:
        sent = upload_run(run_dir, url, run_id=run_id, follow=follow)
    except SendError as error:
        raise CliError(str(error)) from error
    click.echo(
        f"{count_of(sent.requests, 'object')} written ({sent.sent:,} bytes); "
        f"the run {'has finished' if sent.finished else 'is running'}"
    )
