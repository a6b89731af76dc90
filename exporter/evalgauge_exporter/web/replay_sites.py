"""The replay sites that the exporter serves: made when somebody opens one, and again when the run has gained something.

A site holds the run and what it is compared with, so that the two can be seen side by side. Sites lie in a folder of
their own in the system's temporary folder and go with the process.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import HTTPException

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.errors import unknown_run

if TYPE_CHECKING:
    from evalgauge_exporter.sources.discovery import FoundRun

SITE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
FRESH_SECONDS = 2.0
"""A site is not made again sooner than so long after it was made, however fast its run goes on."""
ENTRIES = ("index.html", "data/index.js")
"""The files with which a browser begins: asking for them brings the site up to date."""


class _Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.versions: tuple[int, ...] | None = None
        self.made_at = 0.0


class ReplaySites:
    """Makes and keeps the sites; every method may be called from any thread."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._folder: Path | None = None
        self._sites: dict[str, _Site] = {}
        self._lock = threading.Lock()

    def file(self, run_id: str, path: str) -> Path:
        """A file of the run's site. Raises HTTPException 404 where there is no such run or file."""
        with self._exporter.state.lock:
            run = self._exporter.state.runs.get(run_id)
            known = [] if run is not None else list(self._exporter.state.runs)
            if run is not None:
                paired = self._exporter.analysis.compare_with_previous(run, time.time())
                shown = [run] if paired is None else [run, paired.baseline]
                versions = tuple(state.version for state in shown)
                places = [place for state in shown if (place := self._exporter.collector.source_of(state)) is not None]
        if run is None:
            raise unknown_run(run_id, known)
        site = self._site(run_id)
        if path in ENTRIES or site.versions is None:
            with site.lock:
                if site.versions != versions and time.monotonic() - site.made_at >= FRESH_SECONDS:
                    self._make(site, places)
                    site.versions, site.made_at = versions, time.monotonic()
        # compared after ".." is gone; a screenshot is a link out of the site that the generator itself made
        file = Path(os.path.normpath(site.folder / path))
        if not file.is_relative_to(site.folder) or "\0" in path or not file.is_file():
            raise HTTPException(404, f"the replay of {run_id!r} has no file {path[:200]!r}")
        return file

    def close(self) -> None:
        """Delete the sites."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            self._sites = {}

    def _site(self, run_id: str) -> _Site:
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="evalgauge-replay-")).resolve()
            site = self._sites.get(run_id)
            if site is None:
                site = self._sites[run_id] = _Site(self._folder / str(len(self._sites)))
            return site

    def _make(self, site: _Site, places: list[FoundRun]) -> None:
        if importlib.util.find_spec("evalgauge_dashboards") is None:
            raise HTTPException(404, "the replay is not installed")
        from evalgauge_exporter.errors import ReplayError
        from evalgauge_exporter.replay.site import generate

        try:
            generate(places, site.folder, pricer=self._exporter.price, screenshots="symlink")
        except (ReplayError, OSError) as error:
            raise HTTPException(404, f"the replay can't be made: {error}") from error
