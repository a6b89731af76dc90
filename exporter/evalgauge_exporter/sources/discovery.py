"""Discovery of runs: the content of a folder shows which format it is. Runs are searched for three levels deep.

A level that holds nothing but folders does not count (``<results>/<action space>/<observation>/<model>``), up to
``MAX_LEVELS``. The place of a run is its folder; the file that it is (an Inspect log); or, where one folder holds
several runs, the folder with the name of one of them below it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from evalgauge.runlog import Problem
from evalgauge.values import sanitize_id
from evalgauge_exporter.sources import (
    agentlab,
    cube,
    mobileworld,
    openhands,
    plugins,
    runlog,
    tau2_bench,
    tau_bench,
    terminal_bench,
)
from evalgauge_exporter.sources.atif import source as atif
from evalgauge_exporter.sources.backoff import Backoff, is_defect
from evalgauge_exporter.sources.base import FileFormat, Format, RunIdentity, RunSource, match_single_run
from evalgauge_exporter.sources.inspect import json_log as inspect_json_log
from evalgauge_exporter.sources.inspect import log as inspect_log
from evalgauge_exporter.sources.inspect.identity import identify_json_log, identify_log
from evalgauge_exporter.sources.openadapt import files as openadapt_files
from evalgauge_exporter.sources.openadapt import flow as openadapt_flow
from evalgauge_exporter.sources.openadapt import jsonl as openadapt_jsonl
from evalgauge_exporter.sources.openadapt import models as openadapt_models
from evalgauge_exporter.sources.openadapt import pool as openadapt_pool
from evalgauge_exporter.sources.openadapt import run_folder as openadapt
from evalgauge_exporter.sources.openadapt import with_log as openadapt_log
from evalgauge_exporter.sources.osworld import osworld, waa
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, is_absent, is_hidden, list_names
from evalgauge_exporter.sources.scorers import ScorerChoice, ScorerSource
from evalgauge_exporter.sources.swebench import mini_swe_agent, swe_agent

log = logging.getLogger("evalgauge.exporter")

Answer = TypeVar("Answer")

MAX_DEPTH = 3
MAX_LEVELS = 7
COPY = "copy"
"""The reason under which a file is reported that holds the run of another one."""

MARKED: tuple[Format, ...] = (
    # a folder that holds both a run log and OpenAdapt's files is one run, and the log takes precedence
    Format(match_single_run(runlog.matches), openadapt_log.FilledRunLogSource, holds_logs=True),
    Format(match_single_run(openadapt_files.matches_pool), openadapt_pool.OpenAdaptPool, scored=False, holds_logs=True),
    Format(match_single_run(openadapt_files.matches), openadapt.OpenAdaptSource, scored=False),
    Format(openadapt_models.discover_runs, openadapt_models.OpenAdaptModelSource),
    Format(atif.discover_jobs, atif.AtifSource),
    Format(match_single_run(mobileworld.matches), mobileworld.MobileWorldSource),
    Format(match_single_run(osworld.matches), osworld.OSWorldSource),
    Format(match_single_run(terminal_bench.matches), terminal_bench.TerminalBenchSource),
    Format(match_single_run(tau2_bench.matches), tau2_bench.open_run),
    Format(match_single_run(cube.matches), cube.CubeSource),
)
"""Formats whose runs have a mark of their own: a log, or a file about the run."""
SAMPLED: tuple[Format, ...] = (
    Format(match_single_run(atif.fits), atif.AtifSource),
    Format(agentlab.discover_runs, agentlab.AgentLabSource),
    Format(match_single_run(mobileworld.fits), mobileworld.MobileWorldSource),
    Format(match_single_run(waa.fits), waa.WaaSource),
    Format(match_single_run(osworld.fits), osworld.OSWorldSource),
    Format(match_single_run(terminal_bench.fits), terminal_bench.TerminalBenchSource),
    Format(match_single_run(mini_swe_agent.matches), mini_swe_agent.MiniSweAgentSource),
    Format(match_single_run(swe_agent.matches), swe_agent.SweAgentSource),
    Format(match_single_run(openadapt_flow.matches), openadapt_flow.OpenAdaptFlowSource),
)
"""Formats without a mark: a folder is their run if most of its subfolders fit and none is a marked run."""
FILES: tuple[FileFormat, ...] = (
    FileFormat(".eval", inspect_log.matches_file, inspect_log.InspectLogSource, identify=identify_log),
    FileFormat(".jsonl", openadapt_jsonl.matches_file, openadapt_jsonl.OpenAdaptJsonlSource, scored=False),
    FileFormat(".jsonl", openhands.matches_file, openhands.OpenHandsSource),
    FileFormat(
        ".json", inspect_json_log.matches_file, inspect_json_log.InspectJsonLogSource, identify=identify_json_log
    ),
    FileFormat(".json", tau_bench.matches_file, tau_bench.TauBenchSource),
    FileFormat(".json", tau2_bench.matches_file, tau2_bench.open_run),
)


class FoundRun(NamedTuple):
    """A run that was found, and the served folder below which it lies."""

    root: Path
    folder: Path
    """The run's place; its screenshots are relative to ``source.folder``."""
    source: RunSource
    make: Callable[[Path], RunSource]

    @property
    def path_id(self) -> str:
        """The run's id where its format states none: its path below the served folder, the parts joined by dots."""
        relative = self.folder.relative_to(self.root)
        if os.path.isfile(self.folder):
            relative = relative.with_name(relative.stem)
        return sanitize_id(".".join(relative.parts) if relative.parts else self.folder.absolute().name)

    def open_source(self) -> RunSource:
        """Return a new source, which reads the run from its beginning."""
        return self.make(self.folder)


class _Place(NamedTuple):
    """A folder that is scanned."""

    root: Path
    folder: Path
    real: str
    """Its path without links: links may lead to one folder in several ways, or in a circle."""
    depth: int
    level: int


class _Claim(NamedTuple):
    """The runs that a folder holds."""

    places: list[Path]
    make: Callable[[Path], RunSource]
    mtime_ns: int | None
    """The folder's time, where the runs have no mark: they are matched again when it changes. None for marked ones."""
    holds_logs: bool


class Discovery:
    """Finds runs below the served folders, again and again; a run that is known costs little.

    A folder that is reached in several ways (a link ``latest``, a folder that is served beside its parent) is scanned
    once, by its own path where that is below a served folder. Of several files that hold one run the newest is taken.
    What a folder, a file or a format raises is reported once and ends there. What can't be read is tried at each scan;
    what raises something else, after growing pauses.
    """

    def __init__(
        self,
        roots: list[Path],
        success_threshold: float = 1.0,
        *,
        follow_links: bool = True,
        scorer: ScorerChoice = None,
    ) -> None:
        """Start with nothing known.

        Args:
            roots: The served folders, or files that are a run each.
            success_threshold: The least score of a success, for the sources of formats that give scores only.
            follow_links: Whether links that lead out of the served folders are followed.
            scorer: The scorer whose score is the headline, or that of each benchmark; None leaves it to the formats.
        """
        self._roots = roots
        self._scorer = scorer
        self._threshold = success_threshold
        self.withdrawn: list[Path] = []
        """Places that the last scan no longer takes for runs."""
        self._known: set[Path] = set()
        self._claims: dict[Path, _Claim] = {}
        """The folders that hold runs: nothing else is searched for in them."""
        self._follow_links = follow_links
        self._real_roots = [Path(os.path.realpath(root)) for root in roots]
        self._failures: dict[tuple[Path, str], Backoff] = {}
        self._reported: set[tuple[Path, str]] = set()
        self._uncertain = False
        """Whether something could not be found out of the folder that is being matched."""
        self._rejected: dict[Path, FileFingerprint | None] = {}
        """Files that are no run, as long as they do not change."""
        self._identities: dict[Path, RunIdentity] = {}
        self._taken: dict[str, tuple[Path, float]] = {}
        """By the name of an identity the file that is taken for the run, and when it was created."""
        self._copies: dict[str, list[Path]] = {}
        """The files that are not."""
        added, self._problems = plugins.load_formats()
        self._marked = (*MARKED, *(form for form in added if isinstance(form, Format)))
        self._files = (*FILES, *(form for form in added if isinstance(form, FileFormat)))
        self._visited: set[str] = set()
        self._depth_limited: set[str] = set()
        """The visited ones whose subfolders are too deep; another way to them may be shorter."""
        self._links: list[_Place] = []

    def forget(self, place: Path) -> None:
        """Forget a run that no longer exists: should it come back, it is new."""
        self._known.discard(place)
        for name in [name for name, (taken, _) in self._taken.items() if taken == place]:
            del self._taken[name]
            for copy in self._copies.pop(name, ()):
                self._rejected.pop(copy, None)
        self._claims = {folder: claim for folder, claim in self._claims.items() if place not in claim.places}

    def scan(self) -> tuple[list[FoundRun], list[Problem]]:
        """Return the runs that were not there at the last scan, and problems such as folders that can't be read."""
        found: list[FoundRun] = []
        self._visited, self._depth_limited, self._links = set(), set(), []
        self.withdrawn = []
        roots = [_Place(root, root, os.path.realpath(root), 0, 0) for root in self._roots]
        for places in (roots, self._links):  # a folder behind a link may add links to the list meanwhile
            for start in places:
                root, walked = start.root, self._walk(start)
                if os.path.isfile(root):  # a run can be a file, such as an Inspect log
                    root, walked = root.parent, self._match_files(root.parent, [root.name])
                for place, make in walked:
                    if place not in self._known and (source := self._make(place, make)) is not None:
                        self._known.add(place)
                        found.append(FoundRun(root, place, source, make))
        found = self._drop_copies(found)
        problems, self._problems = self._problems, []
        return found, problems

    def _drop_copies(self, found: list[FoundRun]) -> list[FoundRun]:
        """Drop files that hold the run of another file, unless they were named."""
        new = {run.folder: run for run in found}
        for place in [place for place in new if place not in self._roots]:
            identity = self._identities.pop(place, None)
            if identity is None:
                continue
            taken, created = self._taken.get(identity.name, (None, 0.0))
            dropped: Path | None = place
            if taken is None or identity.created > created:
                self._taken[identity.name] = place, identity.created
                dropped, taken = taken, place
            if dropped is not None and dropped != taken:
                if new.pop(dropped, None) is None:
                    self.withdrawn.append(dropped)
                self._known.discard(dropped)
                self._rejected[dropped] = self._isolate(dropped, "time", partial(fingerprint, dropped), None)
                self._copies.setdefault(identity.name, []).append(dropped)
                self._report_once((dropped, "copy"), COPY, f"holds the run of {taken}, which is the one that counts")
        return list(new.values())

    def _make(self, place: Path, make: Callable[[Path], RunSource]) -> RunSource | None:
        return self._isolate(place, "source", lambda: make(place), None)

    def _isolate(self, place: Path, what: str, ask: Callable[[], Answer], default: Answer) -> Answer:
        """Return an answer about a place; ``default``, and the problem is reported once, where that raises."""
        key = (place, what)
        failure = self._failures.get(key)
        if failure is not None and not failure.is_due():
            self._uncertain = True
            return default
        try:
            answer = ask()
        except OSError as error:
            if not is_absent(error):
                self._uncertain = True
                self._report_once(key, "unreadable", error.strerror or str(error))
            return default
        except BaseException as error:
            if not is_defect(error):
                raise
            self._uncertain = True
            self._failures.setdefault(key, Backoff()).fail()
            log.debug("%s", place, exc_info=True)
            self._report_once(key, "defect", f"{type(error).__name__}: {error}")
            return default
        if failure is not None or key in self._reported:
            self._failures.pop(key, None)
            self._reported.discard(key)
        return answer

    def _report_once(self, key: tuple[Path, str], reason: str, detail: str) -> None:
        if key not in self._reported:
            self._reported.add(key)
            self._problems.append(Problem(reason, f"{key[0]}: {detail}"))

    def _walk(self, place: _Place) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        folder, claim = place.folder, self._claims.get(place.folder)
        again = place.real in self._visited
        if again and (claim is not None or place.real not in self._depth_limited):
            return
        self._visited.add(place.real)
        if claim is not None and (claim.mtime_ns is None or claim.mtime_ns == self._find_mtime(folder)):
            return
        listed = self._isolate(folder, "folder", lambda: self._list_entries(folder), None)
        if listed is None:
            return
        names, below = listed
        if not again:
            self._uncertain = False
            matched = self._match_folder(folder, names, below)
            if claim is not None and (self._uncertain or not self._withdraw(claim, matched)):
                return
            if matched is not None:
                if matched.places == [folder]:
                    self._claims[folder] = matched
                yield from ((found, matched.make) for found in matched.places)
                return
            yield from self._match_files(folder, sorted(names - below.keys()))
        nothing_else = sum(not is_hidden(name) for name in names) == len(below)
        if (place.depth < MAX_DEPTH or nothing_else) and place.level < MAX_LEVELS:
            self._depth_limited.discard(place.real)
            yield from self._walk_below(place, below, place.depth + (not nothing_else))
        else:
            self._depth_limited.add(place.real)

    def _list_entries(self, folder: Path) -> tuple[frozenset[str], dict[str, bool]]:
        """Return the names in a folder; and of each folder that is not hidden, whether it is a link."""
        names: set[str] = set()
        below: dict[str, bool] = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                    if not is_folder and not entry.is_file():
                        continue  # a pipe, a device, a link that leads nowhere
                except OSError:  # a link in a circle, or to where nothing can be looked at
                    continue
                if entry.is_symlink() and not self._may_follow(entry.path):
                    continue
                names.add(entry.name)
                if is_folder and not is_hidden(entry.name):
                    below[entry.name] = entry.is_symlink()
        return frozenset(names), below

    def _may_follow(self, link: str) -> bool:
        if self._follow_links:
            return True
        target = Path(os.path.realpath(link))
        if any(target.is_relative_to(root) for root in self._real_roots):
            return True
        detail = "leads out of the served folders; follow_links = true allows it"
        self._report_once((Path(link), "link"), "link", detail)
        return False

    def _find_mtime(self, folder: Path) -> int | None:
        found = self._isolate(folder, "time", lambda: fingerprint(folder), None)
        return None if found is None else found.mtime_ns

    def _withdraw(self, claim: _Claim, matched: _Claim | None) -> bool:
        """Withdraw what is no longer claimed of a folder; return whether anything is to be found in it."""
        [folder] = claim.places
        if matched is not None and matched.places == claim.places:
            self._claims[folder] = matched
            return False
        del self._claims[folder]
        self._known.discard(folder)
        self.withdrawn.append(folder)
        return True

    def _walk_below(
        self, place: _Place, below: dict[str, bool], depth: int
    ) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        """Scan the folders in one; ``below`` states of each whether it is a link."""
        for name in sorted(below):
            path = place.folder / name
            if below[name]:
                self._links.append(_Place(place.root, path, os.path.realpath(path), depth, place.level + 1))
            else:
                real = os.path.join(place.real, name)
                yield from self._walk(_Place(place.root, path, real, depth, place.level + 1))

    def _match_folder(self, folder: Path, names: frozenset[str], below: Iterable[str]) -> _Claim | None:
        """Return the runs in a folder: those with a mark, else those of a format that most of its subfolders fit."""
        if (claim := self._match_formats(self._marked, folder, names, None)) is not None:
            nested = not claim.holds_logs and any(self._holds_log(folder / name) for name in below)
            return None if nested else claim
        if any(self._is_marked(folder / name) for name in below):
            return None
        return self._match_formats(SAMPLED, folder, names, self._find_mtime(folder))

    def _is_marked(self, folder: Path) -> bool:
        """Return whether a folder holds runs with a mark."""
        if (claim := self._claims.get(folder)) is not None:
            return claim.mtime_ns is None
        names = self._isolate(folder, "folder", lambda: list_names(folder), frozenset[str]())
        return self._match_formats(self._marked, folder, names, None) is not None

    def _holds_log(self, folder: Path) -> bool:
        """Return whether a folder holds a run log."""
        names = self._isolate(folder, "folder", lambda: list_names(folder), frozenset[str]())
        return self._isolate(folder, "log", lambda: runlog.matches(folder, names), False)

    def _match_formats(
        self, formats: tuple[Format, ...], folder: Path, names: frozenset[str], mtime_ns: int | None
    ) -> _Claim | None:
        for form in formats:
            what = f"{form.source} {form.discover_runs}"
            nothing: list[Path] = []
            places = self._isolate(folder, what, partial(form.discover_runs, folder, names), nothing)
            if places:
                return _Claim(places, self._source_maker(form), mtime_ns, form.holds_logs)
        return None

    def _match_files(self, folder: Path, names: list[str]) -> Iterator[tuple[Path, Callable[[Path], RunSource]]]:
        for name in names:
            forms = [form for form in self._files if name.endswith(form.suffix)]
            place = folder / name
            if not forms or place in self._known:
                continue
            now = self._isolate(place, "time", partial(fingerprint, place), None)
            if now is None or (place in self._rejected and self._rejected[place] == now):
                continue
            self._uncertain = False
            form = next((form for form in forms if self._matches_file(form, place)), None)
            if form is not None:
                if form.identify is not None:
                    identity = self._isolate(place, "identity", partial(form.identify, place), None)
                    if identity is not None:
                        self._identities[place] = identity
                yield place, self._source_maker(form)
            elif not self._uncertain:
                self._rejected[place] = now

    def _matches_file(self, form: FileFormat, place: Path) -> bool:
        return self._isolate(place, form.suffix, partial(form.matches, place), False)

    def _source_maker(self, form: Format | FileFormat) -> Callable[[Path], RunSource]:
        make = partial(form.source, success_threshold=self._threshold) if form.scored else form.source
        if not self._scorer:
            return make
        return partial(_make_scored, make, self._scorer, self._threshold)


def _make_scored(
    make: Callable[[Path], RunSource], choice: str | Mapping[str, str], threshold: float, place: Path
) -> RunSource:
    return ScorerSource(make(place), choice, threshold)


def name_runs(found: list[FoundRun], own_ids: list[str | None] | None = None) -> list[str]:
    """Return the ids of runs: what each states, else its path; shared ids are made distinct.

    A shared id becomes ``<id>@<results folder>``, with as much of the folders' paths as distinguishes them.

    Args:
        found: The runs.
        own_ids: The ids that they state, where these are known better than by their sources.
    """
    stated = own_ids if own_ids is not None else [run.source.declared_run_id for run in found]
    ids = [declared or run.path_id for declared, run in zip(stated, found, strict=True)]
    names = list(ids)
    for name in (name for name, count in Counter(ids).items() if count > 1):
        same = [index for index, other in enumerate(ids) if other == name]
        roots = [found[index].root.absolute() for index in same]
        places = roots if len(set(roots)) == len(roots) else [found[index].folder.absolute() for index in same]
        for index, place in zip(same, places, strict=True):
            others = [other for other in places if other != place]
            names[index] = f"{name}@{_distinguish(place, others)}"
    return names


def _distinguish(place: Path, others: list[Path]) -> str:
    for length in range(1, len(place.parts) + 1):
        tail = place.parts[-length:]
        if all(other.parts[-length:] != tail for other in others):
            break
    return sanitize_id(".".join(part.strip("/\\:") for part in tail if part.strip("/\\:")))
