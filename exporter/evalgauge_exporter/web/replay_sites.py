"""The replay sites that the exporter serves: generated when opened, and again when the run has changed.

A site holds the run and its baseline, so that both can be seen side by side. The sites are in a folder of their own in
the temporary folder of the system and are deleted when the server stops.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import HTTPException

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.web.errors import unknown_run_error

if TYPE_CHECKING:
    from evalgauge_exporter.sources.discovery import FoundRun

SITE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
MIN_AGE_SECONDS = 2.0
"""Minimum seconds between two generations of a site, however fast its run changes."""
ENTRIES = ("index.html", "data/index.js")
"""The files that a browser loads first: a request for one of them brings the site up to date."""


class _Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.versions: tuple[int, ...] | None = None
        self.made_at = 0.0


class ReplaySites:
    """The generated sites. Thread-safe.

    Args:
        exporter: The exporter whose runs are shown.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._folder: Path | None = None
        self._sites: dict[str, _Site] = {}
        self._lock = threading.Lock()

    def find_file(self, run_id: str, path: str) -> Path:
        """Return the path of a file of a run's site, after generating or updating the site where needed.

        Args:
            run_id: The run.
            path: The path within the site.

        Raises:
            HTTPException: 404 where there is no such run or file, or the site can't be written.
        """
        with self._exporter.state.lock:
            run = self._exporter.state.runs.get(run_id)
            known = [] if run is not None else list(self._exporter.state.runs)
            if run is not None:
                paired = self._exporter.analysis.compare_with_previous(run, time.time())
                states = [run] if paired is None else [run, paired.baseline]
                versions = tuple(state.version for state in states)
                found = [one for state in states if (one := self._exporter.collector.source_of(state)) is not None]
        if run is None:
            raise unknown_run_error(run_id, known)
        site = self._get_site(run_id)
        if path in ENTRIES or site.versions is None:
            with site.lock:
                if site.versions != versions and time.monotonic() - site.made_at >= MIN_AGE_SECONDS:
                    self._generate(site, found)
                    site.versions, site.made_at = versions, time.monotonic()
        # checked after ".." is resolved; a screenshot is a link out of the site that the generator itself made
        file = Path(os.path.normpath(site.folder / path))
        if not file.is_relative_to(site.folder) or "\0" in path or not file.is_file():
            raise HTTPException(404, f"the replay of {run_id!r} has no file {path[:200]!r}")
        try:
            files.fetch(file.resolve())
        except OSError as error:
            raise HTTPException(503, f"the screenshot can't be read from its bucket: {error}") from error
        return file

    def close(self) -> None:
        """Delete all sites."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            self._sites = {}

    def _get_site(self, run_id: str) -> _Site:
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="evalgauge-replay-")).resolve()
            site = self._sites.get(run_id)
            if site is None:
                site = self._sites[run_id] = _Site(self._folder / str(len(self._sites)))
            return site

    def _generate(self, site: _Site, found: list[FoundRun]) -> None:
        from evalgauge_exporter.errors import ReplayError
        from evalgauge_exporter.replay.site import generate

        try:
            generate(found, site.folder, pricer=self._exporter.price, screenshots="symlink")
        except (ReplayError, OSError) as error:
            raise HTTPException(404, f"the replay can't be generated: {error}") from error
