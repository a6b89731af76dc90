"""Which runs a command is about: checks of the paths it was given, and the runs found there."""

from __future__ import annotations

from pathlib import Path

from evalgauge_exporter.cli.errors import CliError, PathNotFound
from evalgauge_exporter.cli.output import escape_control
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.sources.discovery import Discovery, FoundRun
from evalgauge_exporter.state.run import RunState

STALL_AFTER = 600.0
"""Seconds without an event after which a run counts as stalled, unless a command has an option for it."""


def existing_dirs(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the folders as given.

    Raises:
        PathNotFound: One does not exist or is no folder.
    """
    for path in paths:
        if not path.exists():
            raise PathNotFound(f"{path}: no such folder; name the folder that holds the runs")
        if not path.is_dir():
            raise PathNotFound(f"{path} is a file; name the folder that holds the runs")
    return paths


def existing_run(path: Path) -> Path:
    """Return the path of a run as given: a folder, or a file such as an Inspect log.

    Raises:
        PathNotFound: It does not exist.
    """
    if not path.exists():
        raise PathNotFound(f"{path}: no such file or folder; name a run, or a folder of runs")
    return path


def find_runs(paths: tuple[Path, ...]) -> list[FoundRun]:
    """Find the runs at these paths, each a run or a folder of runs.

    Returns:
        The runs in the order in which they were found, each once however often its folder was named.

    Raises:
        CliError: A folder can't be read, or holds no run of any known format.
    """
    found: dict[Path, FoundRun] = {}
    for path in paths:
        root = path.parent if path.is_file() else path
        runs, problems = Discovery([root]).scan()
        if root != path:  # a run can be a file, such as an Inspect log
            runs = [run for run in runs if run.folder == path]
        if problems:
            raise CliError(escape_control(problems[0].detail))
        if not runs:
            raise CliError(f"{path}: no run of any known format found; evalgauge runs lists the runs of a folder")
        for run in runs:  # a folder may be named twice, or lie in another that is named
            found.setdefault(run.folder.resolve(), run)
    return list(found.values())


def read_runs(results: tuple[Path, ...]) -> list[RunState]:
    """Read every run below the folders as it is now.

    Returns:
        The states of the runs, those that started first at the front.
    """
    exporter = Exporter(load_config(None, results=results))
    exporter.start()
    exporter.wait_ready()
    exporter.stop()
    return sorted(exporter.state.runs.values(), key=lambda run: (run.started_at or 0.0, run.run_id))
