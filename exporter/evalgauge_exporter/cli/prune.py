"""``evalgauge prune``: deletes old runs, or their screenshots."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from evalgauge.events import Step
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import count_of, escape_control
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, read_events
from evalgauge_exporter.config.durations import parse_duration
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.sources.storage.files import is_mirrored
from evalgauge_exporter.state.run import RunState


class Keep(NamedTuple):
    """What is kept whatever its age."""

    failures: bool
    """Runs in which a task failed; of these, with ``--screenshots-only`` too, the screenshots of successes may go."""
    baselines: bool
    """Runs that another run or the configuration names as its baseline."""
    tags: tuple[str, ...]
    """Runs with one of these tags, each a name or ``name=value``."""


class Deletion(NamedTuple):
    """What is deleted of a run."""

    run_id: str
    paths: list[Path]
    whole: bool
    """Whether it is the run itself, not screenshots of it."""


@click.command("prune")
@click.argument("names", metavar="RESULTS_DIR...", nargs=-1, required=True)
@click.option("--older-than", metavar="DURATION", required=True, help="Only runs that ended longer ago, such as 90d.")
@click.option("--keep", metavar="WHAT", default="", help="failures, baselines, tagged:NAME; several with commas.")
@click.option("--screenshots-only", is_flag=True, help="Delete screenshots, keep the logs.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; print what would be deleted.")
@config_option
def command(
    names: tuple[str, ...],
    older_than: str,
    keep: str,
    screenshots_only: bool,
    dry_run: bool,
    config_path: Path | None,
) -> None:
    """Delete old runs, or their screenshots.

    A run that is running is never deleted. With --keep failures a run with failed tasks stays, with the screenshots of
    its failed attempts; those of its successes are deleted.
    """
    try:
        age = parse_duration(older_than)
    except ValueError as error:
        raise CliError(f"--older-than: {error}") from error
    kept = parse_keep(keep)
    runs = RunSelection(names, config_path)
    if any(is_mirrored(runs.found[run_id].folder) for run_id in runs.ids):
        raise CliError("runs in a bucket are not pruned here; let a lifecycle rule of the bucket delete them")
    now = time.time()
    states = {run_id: runs.read(run_id) for run_id in runs.ids}
    baselines = {run.baseline_run_id for run in states.values()} | set(runs.config.baselines.values())
    freed = deleted = 0
    for run_id, run in states.items():
        if run.status(now, runs.config.stall_after) == "running" or now - (run.ended_at or run.last_event_at) < age:
            continue
        if (kept.baselines and run.run_id in baselines) or any(has_tag(run, tag) for tag in kept.tags):
            continue
        deletion = plan_deletion(runs.found[run_id], run, kept, screenshots_only=screenshots_only)
        if not deletion.paths:
            continue
        if deletion.whole and (inner := _find_inner(runs, run_id)):
            click.echo(f"{escape_control(run_id)}: kept, {escape_control(inner)} lies in it", err=True)
            continue
        size = sum(map(size_of, deletion.paths))
        what = "run" if deletion.whole else count_of(len(deletion.paths), "screenshot")
        verb = "would delete" if dry_run else "deleted"
        if not dry_run:
            for path in deletion.paths:
                delete(path)
        click.echo(f"{escape_control(deletion.run_id)}: {verb} {what}, {format_bytes(size)}")
        freed += size
        deleted += 1
    click.echo(
        f"{count_of(deleted, 'run')} of {len(states)}, {format_bytes(freed)}{' would be' if dry_run else ''} freed"
    )


def _find_inner(runs: RunSelection, run_id: str) -> str | None:
    """Return another run whose folder lies in the folder of a run."""
    folder = runs.found[run_id].folder.resolve()
    for other, found in runs.found.items():
        if other != run_id and found.folder.resolve().is_relative_to(folder):
            return other
    return None


def parse_keep(text: str) -> Keep:
    """Parse the value of ``--keep``.

    Raises:
        CliError: A part is none that is known.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if part not in ("failures", "baselines") and not part.removeprefix("tagged:") != part:
            raise CliError(f"--keep {part}: write failures, baselines or tagged:NAME")
    tags = tuple(part.removeprefix("tagged:") for part in parts if part.startswith("tagged:"))
    return Keep("failures" in parts, "baselines" in parts, tags)


def has_tag(run: RunState, tag: str) -> bool:
    """Return whether a run has a tag, given as ``name`` or ``name=value``."""
    name, equals, value = tag.partition("=")
    return name in run.tags and (not equals or run.tags[name] == value)


def plan_deletion(found: FoundRun, run: RunState, keep: Keep, *, screenshots_only: bool) -> Deletion:
    """Return what is to be deleted of a run that is old enough."""
    failed = {(a.task_id, a.attempt) for a in run.attempts.values() if a.status != "success"}
    if screenshots_only or (keep.failures and failed):
        kept = failed if keep.failures else set()
        return Deletion(run.run_id, list(dict.fromkeys(list_screenshots(found, kept))), whole=False)
    return Deletion(run.run_id, [found.folder] if found.folder.exists() else [], whole=True)


def list_screenshots(found: FoundRun, kept: Iterable[tuple[str, int]]) -> Iterator[Path]:
    """Yield the screenshot files of a run that lie in its folder, but those of some attempts.

    Args:
        found: The run.
        kept: The attempts, by task id and number, whose screenshots are left out.
    """
    folder = Path(os.path.realpath(found.source.folder))
    spared = set(kept)
    steps = [event for event in read_events(found) if isinstance(event, Step) and event.screenshot]
    shared = {step.screenshot for step in steps if (step.task_id, step.attempt) in spared}
    for step in steps:
        if step.screenshot in shared or step.screenshot is None:
            continue
        path = folder / step.screenshot
        try:
            inside = Path(os.path.realpath(path.parent)).is_relative_to(folder) and path.is_file()
        except (OSError, ValueError):  # a name that no file can have
            continue
        if inside:
            yield path


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes. Links count as nothing."""
    if path.is_symlink():
        return 0
    if not path.is_dir():
        return path.stat().st_size
    return sum((Path(parent) / name).lstat().st_size for parent, _, files in os.walk(path) for name in files)


def delete(path: Path) -> None:
    """Delete a file, a folder or a link; of a link only itself.

    Raises:
        CliError: It can't be deleted.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise CliError(f"{error.filename or path}: {error.strerror or error}; nothing more was deleted") from error


def format_bytes(size: int) -> str:
    """Format a size as ``12 kB``, ``3.4 MB``."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
