"""Writing of a replay site: part by part, and only what has changed."""

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
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.attempts import PlaceScreenshot, annotate_steps, build_attempt_part
from evalgauge_exporter.replay.comparisons import ComparedRun, compare_runs, prepare_run
from evalgauge_exporter.replay.names import make_attempt_key, make_key
from evalgauge_exporter.replay.page import load_script, load_style, render_chunk, render_index
from evalgauge_exporter.replay.reading import ReadRun, open_screenshots, read_run, with_fresh_source
from evalgauge_exporter.replay.screenshots import (
    AnyScreenshot,
    ScreenshotMode,
    build_url,
    copy_screenshot,
    write_thumbnail,
)
from evalgauge_exporter.replay.tables import STALL_AFTER, TaskTable, summarise_run
from evalgauge_exporter.sources.discovery import FoundRun, name_runs
from evalgauge_exporter.state.run import Pricer

CONTENTS = "evalgauge-replay.json"
"""The site's list of its own parts; a folder that has it is a site."""
_KEY = re.compile(r"[A-Za-z0-9._@+-]+-[0-9a-f]{12}(-\d+)?")


class Generated(NamedTuple):
    """Counts of what ``generate`` did."""

    runs: int
    tasks: int
    """Attempts in the site."""
    written: int
    """Attempts whose part is new or has changed."""
    unchanged: int
    """Attempts whose part was up to date."""
    screenshots: int
    missing: int
    """Screenshots that the logs name and that are not in the folders of the runs."""
    bytes: int
    """Bytes written to the disk, copies of screenshots included; linked ones take none."""
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
    screenshots: ScreenshotMode = "link",
    pricer: Pricer | None = None,
    names: Sequence[str] | None = None,
    home: str | None = None,
) -> Generated:
    """Write the site of some runs into a folder, or update the site that is there.

    Args:
        runs: The runs.
        out: The folder of the site: a new one, an empty one, or a site.
        screenshot_base_url: Load screenshots from ``<URL>/<run folder>/`` instead of the site; the run folder is its
            path below the results folder, its own name where the run itself was named.
        thumbnails: Write small images for the scrub bar (needs Pillow).
        progress: Called with the attempts written so far and the estimated total.
        now: Unix seconds at which runs are judged as running or stalled; by default the current time.
        screenshots: How screenshots get into the site.
        pricer: Prices model calls; by default the shipped price tables.
        names: The ids of the runs; by default what each declares, else its path.
        home: The relative address of the exporter that serves the site, for links to its other pages; such a site opens
            at its first run.

    Returns:
        What was done.

    Raises:
        ReplayError: ``out`` holds something other than a replay, or Pillow is missing for thumbnails.
        OSError: The site can't be written.
    """
    document = render_index(screenshot_base_url)
    writer = _SiteWriter(out, screenshot_base_url, thumbnails, screenshots)
    writer.prepare()
    at = time.time() if now is None else now
    price = pricer or load_price_table().price_of
    keys = [make_key(name) for name in names or name_runs([with_fresh_source(found) for found in runs])]
    read: list[FoundRun] = []
    summaries: list[dict[str, Any]] = []
    to_compare: list[ComparedRun] = []
    for number, (found, key) in enumerate(zip(runs, keys, strict=True)):
        run = read_run(found, price)
        read.append(run.found)
        writer.problems += run.problems
        left = len(runs) - number - 1
        writer.add_run(run, key, at, left, progress)
        summaries.append(summarise_run(run.state, key, at))
        to_compare.append(prepare_run(run.state, at))
    run_ids = names or name_runs(read)
    for summary, run_id in zip(summaries, run_ids, strict=True):
        summary["run_id"] = run_id
    named = [one._replace(run_id=run_id) for one, run_id in zip(to_compare, run_ids, strict=True)]
    writer.write("data/comparisons.js", render_chunk("comparisons", {"comparisons": compare_runs(named)}))
    summaries.sort(key=lambda one: (one["started_at"] or 0.0, one["run_id"]))
    served = None if home is None else {"home": home, "list": False, "run": run_ids[0]}
    writer.write("data/index.js", render_chunk("index", {"generated_at": at, "runs": summaries, "served": served}))
    writer.write("assets/replay.js", load_script())
    writer.write("assets/replay.css", load_style())
    writer.write("index.html", document)
    return writer.finish(keys)


class _SiteWriter:
    """Writes one site."""

    def __init__(self, out: Path, base_url: str | None, thumbnails: bool, mode: ScreenshotMode) -> None:
        self._out = out
        self._base_url = base_url
        self._thumbnails = thumbnails
        self._mode: ScreenshotMode = mode
        self._before: dict[str, list[str]] = {}
        self._now: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self._done = 0
        self._tasks = self._written = self._screenshots = self._missing = self._bytes = 0

    def prepare(self) -> None:
        """Create the folder, or check that the existing one is a site."""
        contents = self._out / CONTENTS
        if self._out.exists():
            if not self._out.is_dir():
                raise ReplayError(f"{self._out} is a file; name a folder for the site")
            if not contents.exists() and any(self._out.iterdir()):
                raise ReplayError(f"{self._out} holds files that are not a replay; name a new or an empty folder")
            self._before = _read_contents(contents)
        self._out.mkdir(parents=True, exist_ok=True)
        if not contents.exists():
            contents.write_text("{}")

    def add_run(
        self, run: ReadRun, key: str, now: float, left: int, progress: Callable[[int, int], None] | None
    ) -> None:
        """Write the parts of a run.

        Args:
            run: The run.
            key: Its name within the site.
            now: Unix seconds at which its attempts are judged.
            left: Runs still to be added, estimated to be as large as those so far.
            progress: Called with the attempts written so far and the estimated total.
        """
        state = run.state
        shots = open_screenshots(run)
        table = TaskTable(state, now)
        written = self._now[key] = []
        total = round((self._done + len(state.attempts)) * (1 + left / len(self._now)))
        for attempt in state.attempts.values():
            trajectory = run.trajectories.pop(attempt.task_id, attempt.attempt)
            name = make_attempt_key(attempt.task_id, attempt.attempt)
            placed: set[str] = set()
            features = annotate_steps(trajectory, shots, self._create_placer(run.found, f"shots/{key}/{name}", placed))
            _remove_others(self._out / f"shots/{key}/{name}", placed)
            table.add(attempt, features)
            if trajectory.steps or attempt.status != "pending":
                status = state.status_of(attempt, now, STALL_AFTER)
                content = build_attempt_part(attempt, status, trajectory, features)
                self._written += self.write(f"data/{key}/{name}.js", render_chunk(f"{key}/{name}", content))
                self._tasks += 1
                written.append(name)
            self._done += 1
            if progress is not None:
                progress(self._done, max(self._done, total))
        parts = table.build_parts()
        for name, part in parts.items():
            self.write(f"data/{key}/{name}.js", render_chunk(f"{key}/{name}", part))
        for path in (self._out / "data" / key).glob("rows-*.js"):
            if path.stem not in parts:
                path.unlink()

    def _create_placer(self, found: FoundRun, folder: str, placed: set[str]) -> PlaceScreenshot:
        """Return a function that puts screenshots into a folder of the site and adds their names to ``placed``."""
        source = found.source.folder  # where several runs share a folder, each is a name below it; screenshots are not
        below = source.relative_to(found.root).as_posix() if source.is_relative_to(found.root) else "."
        below = source.absolute().name if below == "." else below

        def place(shot: AnyScreenshot | None, path: str, position: int) -> dict[str, str]:
            if self._base_url is not None:
                address = build_url(self._base_url, below, path)
                self._screenshots += address is not None
                return {"missing": path[:500]} if address is None else {"screenshot": address}
            if shot is None or self._mode == "none":
                self._missing += 1
                return {"missing": path[:500]}
            if not placed:
                (self._out / folder).mkdir(parents=True, exist_ok=True)
            target = f"{folder}/{position:04d}{shot.suffix}"
            placed.add(f"{position:04d}{shot.suffix}")
            try:
                self._bytes += copy_screenshot(shot, self._out / target, self._mode)
            except FileNotFoundError:  # deleted in the meantime
                self._missing += 1
                return {"missing": path[:500]}
            self._screenshots += 1
            keys = {"screenshot": target}
            if self._thumbnails and (small := self._write_thumbnail(shot, f"{folder}/{position:04d}.thumb.jpg")):
                placed.add(f"{position:04d}.thumb.jpg")
                keys["thumbnail"] = small
            return keys

        return place

    def _write_thumbnail(self, shot: AnyScreenshot, target: str) -> str | None:
        try:
            self._bytes += write_thumbnail(shot, self._out / target)
        except ReplayError:
            raise
        except Exception as error:  # a damaged image can raise anything in a decoder
            self.problems.append(Problem("unreadable", f"{target}: no thumbnail: {str(error)[:120]}"))
            return None
        return target

    def write(self, relative: str, content: bytes) -> bool:
        """Write a file of the site atomically unless it has this content already; return whether it was written."""
        folder, name = os.path.split(f"{self._out}/{relative}")  # texts: there are many, and paths are slow to make
        path, half = f"{folder}/{name}", f"{folder}/.{name}.half"
        try:
            if os.stat(path).st_size == len(content) and _read(path) == content:
                return False
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
        with open(half, "wb") as file:
            file.write(content)
        os.replace(half, path)
        self._bytes += len(content)
        return True

    def finish(self, keys: Sequence[str]) -> Generated:
        """Delete the parts of runs and attempts that no longer exist and return what was done."""
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


def _read_contents(path: Path) -> dict[str, list[str]]:
    """Read a site's list of its parts; only names that a site can have, because files are deleted by them."""
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


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _remove_others(folder: Path, names: set[str]) -> None:
    """Delete screenshots that an attempt no longer has."""
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
