"""Which runs a command is about.

Every command that takes runs takes them in the same way. An argument is a *place*: the path of a run, or of a folder
with runs; or it is the *id* of a run in one of the places, or in the configured results folders, or in ``./results``
where no place is named. A folder that is named only to say where the ids are to be found selects nothing itself:
``compare results A B`` is about two runs, ``export results`` about all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from evalgauge import redact
from evalgauge.errors import EvalgaugeError
from evalgauge.events import Event
from evalgauge.redact import Redactor
from evalgauge_exporter.cli.errors import CliError, PathNotFound
from evalgauge_exporter.cli.output import count_of, escape_control
from evalgauge_exporter.config.bucket_urls import parse_bucket_url
from evalgauge_exporter.config.model import Config, load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.ingest.buckets import localize
from evalgauge_exporter.sources.discovery import COPY, Discovery, FoundRun, name_runs
from evalgauge_exporter.sources.redacted import redact_run
from evalgauge_exporter.sources.scorers import describe_unknown
from evalgauge_exporter.state.run import RunState

DEFAULT_RESULTS = Path("results")

config_option = click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML).")
"""The option of every command that reads runs: prices, thresholds and baselines are those of the exporter."""
runs_argument = click.argument("names", metavar="RUN...", nargs=-1)
"""Runs by path or id; see the module."""


def read_config(results: Sequence[Path], config_path: Path | None, options: Mapping[str, Any]) -> Config:
    """Read the configuration of a command.

    Args:
        results: Results folders named on the command line; none leaves those of the configuration.
        config_path: The configuration file, if one was named.
        options: Values of the command line by key, None where an option was not used.

    Raises:
        CliError: The file or a value is invalid.
    """
    try:
        return load_config(config_path, results=tuple(results) or None, **options)
    except EvalgaugeError as error:
        raise CliError(str(error)) from error


redact_option = click.option(
    "--redact", metavar="RULES", help="Mask secrets: default, or a rule file with more (docs/privacy.md)."
)


scorer_option = click.option(
    "--scorer", metavar="NAME", help="Scorer whose score is the headline, where attempts have several."
)


def check_scorer(scorer: str | None, run: RunState) -> None:
    """Check that a run has scores of the scorer that ``--scorer`` names; a run without any score needs none.

    Raises:
        CliError: It has scores, and none of this scorer.
    """
    if scorer is None or scorer in run.scorers:
        return
    if run.scorers:
        raise CliError(escape_control(f"--scorer: in run {run.run_id} {describe_unknown(scorer, run.scorers)}"))
    if run.tallies.highest_score is not None:
        raise CliError(escape_control(f"--scorer: run {run.run_id} has one score, of a scorer that it does not name"))


def create_redactor(rules: str | None) -> Redactor | None:
    """Return the redactor that ``--redact`` names: none, the built-in patterns (``default``), or those of a file too.

    Raises:
        CliError: The rule file can't be used.
    """
    try:
        return redact.create_redactor(True if rules == "default" else rules)
    except EvalgaugeError as error:
        raise CliError(str(error)) from error


def create_exporter(config: Config) -> Exporter:
    """Create an exporter of this configuration that is not started.

    Raises:
        CliError: The price overrides, the token file or a configured machine is invalid.
    """
    try:
        return Exporter(config)
    except (EvalgaugeError, ValueError) as error:
        raise CliError(str(error)) from error


def resolve_places(
    names: Sequence[str], config_path: Path | None, options: Mapping[str, Any] | None = None
) -> tuple[Config, list[str]]:
    """Return the configuration whose results are the places that arguments name, and the ids among the arguments.

    Without a place these are the results folders of the configuration, else ``./results``.

    Raises:
        CliError: There is none of these.
        PathNotFound: A path does not exist.
    """
    places, ids = split_names(localize_names(names, config_path))
    config = read_config(places, config_path, options or {})
    config = config.model_copy(update={"results": tuple(_localize(place, config) for place in config.results)})
    if not config.results:
        if not DEFAULT_RESULTS.is_dir():
            what = f"no run {ids[0]!r}" if ids else "no runs"
            raise CliError(f"{what}: name the folder that holds the runs, or set results in the configuration")
        config = config.model_copy(update={"results": (DEFAULT_RESULTS,)})
    return config, ids


def localize_names(names: Sequence[str], config_path: Path | None) -> list[str]:
    """Return arguments with the local folders of buckets in place of their URLs; each bucket is read once.

    Raises:
        CliError: A bucket can't be read.
    """
    if not any(parse_bucket_url(name) for name in names):
        return list(names)
    config = read_config((), config_path, {})
    return [name if parse_bucket_url(name) is None else str(_localize(name, config)) for name in names]


def _localize(place: str | Path, config: Config) -> Path:
    try:
        return localize(place, config.storage)
    except EvalgaugeError as error:
        raise CliError(escape_control(str(error))) from error


def existing_dirs(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folders, and the URLs of buckets, as given.

    Raises:
        PathNotFound: One does not exist or is no folder.
    """
    for path in paths:
        if parse_bucket_url(path) is not None:
            continue
        if not path.exists():
            raise PathNotFound(f"{path}: no such folder; name the folder that holds the runs")
        if not path.is_dir():
            raise PathNotFound(f"{path} is a file; name the folder that holds the runs")
    return tuple(paths)


class RunSelection:
    """The runs that a command's arguments select, found but not read.

    Args:
        names: The arguments: paths, URLs of buckets and ids.
        config_path: The configuration file, if one was named.
        rules: What ``--redact`` names: the runs are read redacted.
        scorer: What ``--scorer`` names.

    Raises:
        CliError: A folder can't be read or holds no run, or no run has an id.
        PathNotFound: A path does not exist.
    """

    def __init__(
        self,
        names: Sequence[str],
        config_path: Path | None = None,
        rules: str | None = None,
        scorer: str | None = None,
    ) -> None:
        names = localize_names(names, config_path)
        config, ids = resolve_places(names, config_path, {"scorer": scorer})
        self._scorer = scorer
        self.config = config
        """The configuration; its results are the places that are searched."""
        self._exporter: Exporter | None = None
        found, problems = Discovery(list(config.results), config.success_threshold, scorer=config.scorer).scan()
        for problem in problems:
            if problem.reason != COPY:
                raise CliError(escape_control(problem.detail))
            click.echo(escape_control(problem.detail), err=True)
        self.found = dict(zip(_name_selected(found, ids), found, strict=True))
        """Every run of the places by its id."""
        folders = {run_id: one.folder for run_id, one in self.found.items()}
        self.ids = select_runs(names, folders, config.results)
        """The ids of the selected runs, in the order of the arguments."""
        redactor = create_redactor(rules)
        if redactor is not None:
            self.found = {run_id: redact_run(one, redactor) for run_id, one in self.found.items()}

    @property
    def exporter(self) -> Exporter:
        """An exporter whose state holds the runs that were read, for prices and analyses."""
        if self._exporter is None:
            self._exporter = create_exporter(self.config)
        return self._exporter

    def read(self, run_id: str) -> RunState:
        """Read a run into the exporter's state and return it.

        Raises:
            CliError: It has scores, and none of the scorer that ``--scorer`` names.
        """
        runs = self.exporter.state.runs
        if run_id not in runs:
            one = self.found[run_id]
            run = RunState(run_id, one.source.source, self.exporter.price)
            for event in read_events(one):
                run.apply(event)
            if run.declared_run_id is not None and run_id == one.path_id:
                run.run_id = run.declared_run_id  # the folder was renamed
            check_scorer(self._scorer, run)
            runs[run_id] = run
        return runs[run_id]


def _name_selected(found: list[FoundRun], ids: Sequence[str]) -> list[str]:
    """Return the ids of runs: their folders' names where these suffice, else what their logs state."""
    names = name_runs(found)
    folders = {run_id: one.folder for run_id, one in zip(names, found, strict=True)}
    if all(_find_id(name, folders) for name in ids):
        return names
    return name_runs(found, [one.source.declared_run_id or _read_declared_id(one) for one in found])


def _read_declared_id(found: FoundRun) -> str | None:
    source = found.open_source()
    source.read()
    return source.declared_run_id


def read_events(found: FoundRun) -> Iterator[Event]:
    """Yield the events of a run as it is now, from a source that nobody else reads."""
    source = found.open_source()
    more = True
    while more:
        result = source.read()
        yield from result.events
        more = result.has_more and not result.missing and not result.restarted


def read_all_runs(exporter: Exporter) -> None:
    """Read every run of the exporter's folders once, finished ones from the cache where they have not changed."""
    exporter.collector.start()
    exporter.wait_caught_up()
    exporter.collector.stop()


def split_names(names: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Split arguments into places and ids: what exists as a path is a place.

    Raises:
        PathNotFound: A path, by its separators, does not exist.
    """
    places, ids = [], []
    for name in names:
        path = Path(name)
        if path.exists():
            places.append(path)
        elif len(path.parts) > 1 or path.is_absolute():
            raise PathNotFound(f"{name}: no such file or folder; name a run or a folder of runs")
        else:
            ids.append(name)
    return places, ids


def select_runs(names: Sequence[str], folders: Mapping[str, Path], results: Sequence[Path]) -> list[str]:
    """Return the ids of the runs that arguments select, each once, in the order of the arguments.

    Args:
        names: Paths and ids.
        folders: Every run's id and place.
        results: The folders that were searched.

    Raises:
        CliError: No run has an id, or a place holds no run.
    """
    resolved = {run_id: folder.resolve() for run_id, folder in folders.items()}
    places, ids = split_names(names)
    roots = {place: place.resolve() for place in places or results}
    selected: dict[str, None] = {}
    for name in names or [str(place) for place in results]:
        if name in ids:
            run_id = _find_id(name, folders)
            if run_id is None:
                raise CliError(_unknown_run(name, folders, results))
            selected[run_id] = None
            continue
        root = roots[Path(name)]
        inside = [run_id for run_id, folder in resolved.items() if folder.is_relative_to(root)]
        if not inside:
            raise CliError(f"{name}: no run of any known format found; evalgauge runs lists the runs of a folder")
        narrowed = ids or any(other != root and other.is_relative_to(root) for other in roots.values())
        exact = [run_id for run_id in inside if resolved[run_id] == root]
        selected.update(dict.fromkeys(exact if narrowed else inside))
    return list(selected)


def _find_id(name: str, folders: Mapping[str, Path]) -> str | None:
    """Return the id that a name is, or that of the only run whose folder or file is called so."""
    if name in folders:
        return name
    called = [
        run_id
        for run_id, folder in folders.items()
        if folder.name == name or (folder.stem == name and folder.is_file())
    ]
    return called[0] if len(called) == 1 else None


def select_one(runs: RunSelection) -> str:
    """Return the id of the only selected run.

    Raises:
        CliError: Several runs are selected.
    """
    if len(runs.ids) > 1:
        listed = ", ".join(map(escape_control, runs.ids[:5])) + (", …" if len(runs.ids) > 5 else "")
        raise CliError(f"{count_of(len(runs.ids), 'run')} found ({listed}); name one by its id or its path")
    return runs.ids[0]


def _unknown_run(name: str, folders: Mapping[str, Path], results: Sequence[Path]) -> str:
    near = difflib.get_close_matches(name, folders, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(escape_control, near))}?" if near else "evalgauge runs lists the runs"
    return f"no run {name!r} in {', '.join(map(str, results))}; {hint}"
