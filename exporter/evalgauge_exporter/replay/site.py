"""Writing the site: folder by folder, part by part, and only what has changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge.runlog import Problem
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.attempts import Place, annotate_steps, attempt_content
from evalgauge_exporter.replay.comparisons import Compared, compared, comparisons
from evalgauge_exporter.replay.names import attempt_key, key_of
from evalgauge_exporter.replay.page import render_chunk, script, site_document, style
from evalgauge_exporter.replay.reading import ReadRun, fresh, listed_prices, read_run, shots_of
from evalgauge_exporter.replay.screenshots import Picture, Way, copy_screenshot, remote, thumbnail
from evalgauge_exporter.replay.tables import STALL_AFTER, TaskTable, run_summary
from evalgauge_exporter.sources.discovery import FoundRun, name_runs
from evalgauge_exporter.state.run import Pricer

CONTENTS = "evalgauge-replay.json"
"""The site's own list of what it holds; a folder that has it is a site."""
_KEY = re.compile(r"[A-Za-z0-9._@+-]+-[0-9a-f]{12}(-\d+)?")


class Generated(NamedTuple):
    """What ``generate`` did."""

    runs: int
    tasks: int
    """Attempts in the site."""
    written: int
    """Attempts whose part is new or has changed."""
    unchanged: int
    screenshots: int
    missing: int
    """Screenshots that the runs speak of and that are not in their folders."""
    bytes: int
    """Written to the disk, copies of screenshots too; linked ones take none."""
    problems: list[Problem]
    """What was skipped while the runs were read."""


def generate(
    runs: Sequence[FoundRun],
    out: Path,
    *,
    screenshot_base_url: str | None = None,
    thumbnails: bool = False,
    progress: Callable[[int, int], None] | None = None,
    now: float | None = None,
    screenshots: Way = "link",
    pricer: Pricer | None = None,
) -> Generated:
    """Write the site of these runs into the folder ``out``, or bring the one that is there up to date.

    ``screenshot_base_url``: screenshots stay where they are, below ``<URL>/<run folder>/``; the run's folder is its
    path below the results folder, its name where it was named itself. ``thumbnails``: write small pictures for the
    scrub bar (needs Pillow). ``progress``: called with (attempts written, attempts in all as far as is known).
    ``now``: Unix seconds at which runs are judged alive or dead. ``screenshots``: hard links, else copies, or neither.

    Raises ReplayError where ``out`` holds something that is no replay, OSError where it can't be written.
    """
    document = site_document(screenshot_base_url)
    writer = _Site(out, screenshot_base_url, thumbnails, screenshots)
    writer.prepare()
    at = time.time() if now is None else now
    price = pricer or listed_prices()
    keys = [key_of(name) for name in name_runs([fresh(found) for found in runs])]
    read: list[FoundRun] = []
    summaries: list[dict[str, Any]] = []
    to_compare: list[Compared] = []
    for number, (found, key) in enumerate(zip(runs, keys, strict=True)):
        run = read_run(found, price)
        read.append(run.found)
        writer.problems += run.problems
        left = len(runs) - number - 1
        writer.add_run(run, key, at, left, progress)
        summaries.append(run_summary(run.state, key, at))
        to_compare.append(compared(run.state, at))
    names = name_runs(read)
    for summary, name in zip(summaries, names, strict=True):
        summary["run_id"] = name
    named = [one._replace(run_id=name) for one, name in zip(to_compare, names, strict=True)]
    writer.write("data/comparisons.js", render_chunk("comparisons", {"comparisons": comparisons(named)}))
    summaries.sort(key=lambda one: (one["started_at"] or 0.0, one["run_id"]))
    writer.write("data/index.js", render_chunk("index", {"generated_at": at, "runs": summaries}))
    writer.write("assets/replay.js", script())
    writer.write("assets/replay.css", style())
    writer.write("index.html", document)
    return writer.finish(keys)


class _Site:
    """The folder that is being written."""

    def __init__(self, out: Path, base_url: str | None, thumbnails: bool, way: Way) -> None:
        self._out = out
        self._base_url = base_url
        self._thumbnails = thumbnails
        self._way: Way = way
        self._before: dict[str, list[str]] = {}
        self._now: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self._done = 0
        self._tasks = self._written = self._screenshots = self._missing = self._bytes = 0

    def prepare(self) -> None:
        """Make the folder, or see that the one that is there is a site."""
        contents = self._out / CONTENTS
        if self._out.exists():
            if not self._out.is_dir():
                raise ReplayError(f"{self._out} is a file; name a folder for the site")
            if not contents.exists() and any(self._out.iterdir()):
                raise ReplayError(f"{self._out} holds something that is no replay; name a new or an empty folder")
            self._before = _contents(contents)
        self._out.mkdir(parents=True, exist_ok=True)
        if not contents.exists():
            contents.write_text("{}")

    def add_run(
        self, run: ReadRun, key: str, now: float, left: int, progress: Callable[[int, int], None] | None
    ) -> None:
        """Write the parts of a run; ``left`` runs are still to come, taken to be as large as those so far."""
        state = run.state
        shots = shots_of(run)
        table = TaskTable(state, now)
        written = self._now[key] = []
        total = round((self._done + len(state.attempts)) * (1 + left / len(self._now)))
        for attempt in state.attempts.values():
            trajectory = run.trajectories.take(attempt.task_id, attempt.attempt)
            name = attempt_key(attempt.task_id, attempt.attempt)
            placed: set[str] = set()
            traits = annotate_steps(trajectory, shots, self._place(run.found, f"shots/{key}/{name}", placed))
            _remove_others(self._out / f"shots/{key}/{name}", placed)
            table.add(attempt, traits)
            if trajectory.steps or attempt.status != "pending":
                status = state.status_of(attempt, now, STALL_AFTER)
                content = attempt_content(attempt, status, trajectory, traits)
                self._written += self.write(f"data/{key}/{name}.js", render_chunk(f"{key}/{name}", content))
                self._tasks += 1
                written.append(name)
            self._done += 1
            if progress is not None:
                progress(self._done, max(self._done, total))
        self.write(f"data/{key}/tasks.js", render_chunk(f"{key}/tasks", table.content()))

    def _place(self, found: FoundRun, folder: str, placed: set[str]) -> Place:
        """Brings pictures into the folder and notes the names that it has in ``placed``."""
        lies = found.source.folder  # of several runs in one folder each is a name below it, the screenshots are not
        below = lies.relative_to(found.root).as_posix() if lies.is_relative_to(found.root) else "."
        below = lies.absolute().name if below == "." else below

        def place(shot: Picture | None, path: str, position: int) -> dict[str, str]:
            if self._base_url is not None:
                address = remote(self._base_url, below, path)
                self._screenshots += address is not None
                return {"missing": path[:500]} if address is None else {"screenshot": address}
            if shot is None or self._way == "none":
                self._missing += 1
                return {"missing": path[:500]}
            if not placed:
                (self._out / folder).mkdir(parents=True, exist_ok=True)
            target = f"{folder}/{position:04d}{shot.suffix}"
            placed.add(f"{position:04d}{shot.suffix}")
            try:
                self._bytes += copy_screenshot(shot, self._out / target, self._way)
            except FileNotFoundError:  # taken away meanwhile
                self._missing += 1
                return {"missing": path[:500]}
            self._screenshots += 1
            told = {"screenshot": target}
            if self._thumbnails and (small := self._thumbnail(shot, f"{folder}/{position:04d}.thumb.jpg")):
                placed.add(f"{position:04d}.thumb.jpg")
                told["thumbnail"] = small
            return told

        return place

    def _thumbnail(self, shot: Picture, target: str) -> str | None:
        try:
            self._bytes += thumbnail(shot, self._out / target)
        except ReplayError:
            raise
        except Exception as error:  # whatever a broken picture makes a decoder do
            self.problems.append(Problem("unreadable", f"{target}: no thumbnail: {str(error)[:120]}"))
            return None
        return target

    def write(self, relative: str, content: bytes) -> bool:
        """Write a file of the site if it is not just so; whether it was written. Readers never meet half of one."""
        path = self._out / relative
        try:
            if path.stat().st_size == len(content) and path.read_bytes() == content:
                return False
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.half")
        half.write_bytes(content)
        os.replace(half, path)
        self._bytes += len(content)
        return True

    def finish(self, keys: Sequence[str]) -> Generated:
        """Take away what the site held of runs and attempts that are no more, and say what was done."""
        for key, names in self._before.items():
            if key not in self._now:
                for folder in ("data", "shots"):
                    _remove(self._out / folder / key)
                continue
            for name in set(names).difference(self._now[key]):
                (self._out / "data" / key / f"{name}.js").unlink(missing_ok=True)
                _remove(self._out / "shots" / key / name)
        self.write(CONTENTS, json.dumps(self._now, indent=0).encode())
        return Generated(
            len(keys),
            self._tasks,
            self._written,
            self._tasks - self._written,
            self._screenshots,
            self._missing,
            self._bytes,
            self.problems,
        )


def _contents(path: Path) -> dict[str, list[str]]:
    """What a site says that it holds; only names that a site gives, as they are going to be deleted by."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: [name for name in names if isinstance(name, str) and _KEY.fullmatch(name)]
        for key, names in found.items()
        if _KEY.fullmatch(key) and isinstance(names, list)
    }


def _remove_others(folder: Path, names: set[str]) -> None:
    """Take away the pictures of an earlier look at an attempt that this one has not."""
    if folder.is_symlink():
        return
    try:
        there = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in set(there).difference(names):
        (folder / name).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
