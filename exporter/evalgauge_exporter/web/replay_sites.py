"""The replay sites that the exporter serves: generated when opened, and again when the run has changed.

A site holds the run and its baseline, so that both can be seen side by side. It is generated once for all who ask, by
a process of its own unless the run is small. The sites are below the cache folder, bounded in number and bytes; unused
ones are deleted.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic_core import from_json

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.replay.jobs import Job, JobRun
from evalgauge_exporter.replay.screenshots import SUFFIXES, image_type
from evalgauge_exporter.replay.site import generate
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.sources.prices import default_cache_dir
from evalgauge_exporter.sources.safe_open import open_beneath
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.web.errors import unknown_run_error

if sys.platform != "win32":
    import fcntl

SITE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
MIN_AGE_SECONDS = 2.0
"""Minimum seconds between two generations of a site, however fast its run changes."""
ENTRIES = ("index.html", "data/index.js")
"""The files that a browser loads first: a request for one of them brings the site up to date."""
MAX_SITES = 20
MAX_BYTES = 2 << 30
"""Bytes of all sites together."""
UNUSED_SECONDS = 3600.0
"""Seconds without a request after which a site is deleted."""
MAX_BUILDS = 2
"""Sites that are generated at the same time; others wait."""
MAX_SCREENSHOT = 32 << 20
"""Bytes of a screenshot that is served."""
SMALL_FILES, SMALL_BYTES = 500, 1 << 20
"""A run with no more files and bytes than these is small: its site is generated within the exporter."""
CLEAN_SECONDS = 60.0
BUILD_SECONDS = 1800.0
"""Seconds after which a generation is given up."""


SiteKey = tuple[str, ...]
"""The run ids of a site as they were asked for; of a single run, its baseline is in the site, too."""


class Progress(NamedTuple):
    """How far a generation is."""

    done: int
    total: int
    """Attempts, estimated until all runs have been read; 0 before the first is."""
    error: str | None


class ServedScreenshot(NamedTuple):
    """An image of a run's folder."""

    content: bytes
    media_type: str
    etag: str


class _Site:
    def __init__(self, folder: Path, roots: tuple[Path, ...]) -> None:
        self.folder = folder
        self.roots = roots
        """The folders of its runs, without links: screenshots are served from below them."""
        self.built: tuple[int, ...] | None = None
        """The versions of the runs that it shows; ``None`` before it was generated once."""
        self.building: Future[None] | None = None
        self.progress = Progress(0, 0, None)
        self.finished_at = -MIN_AGE_SECONDS
        self.used_at = time.monotonic()
        self.bytes = 0


class ReplaySites:
    """The generated sites. Thread-safe.

    Args:
        exporter: The exporter whose runs are shown.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._folder: Path | None = None
        self._lock_file: IO[bytes] | None = None
        self._sites: dict[SiteKey, _Site] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_BUILDS)
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._stopped = threading.Event()
        self._number = 0

    def start(self) -> None:
        """Delete what killed processes have left, and start deleting unused sites regularly."""
        with contextlib.suppress(OSError):
            _remove_stale(self._cache_folder())
        threading.Thread(target=self._clean, name="evalgauge-replay-cleaner", daemon=True).start()

    def update(self, key: SiteKey) -> Future[None] | None:
        """Start generating the site of some runs where it is missing or out of date.

        Args:
            key: The runs, the first one before those that it is compared with.

        Returns:
            The generation in progress, ``None`` where the site is up to date.

        Raises:
            HTTPException: 404 for an unknown run id.
        """
        with self._exporter.state.lock:
            runs = self._exporter.state.runs
            unknown = next((run_id for run_id in key if run_id not in runs), None)
            known = [] if unknown is None else list(runs)
            states = [runs[run_id] for run_id in key if run_id in runs]
            if unknown is None and len(key) == 1:
                paired = self._exporter.analysis.compare_with_previous(states[0], time.time())
                states += [] if paired is None else [paired.baseline]
            versions = tuple(state.version for state in states)
            found = [
                (state.run_id, place)
                for state in states
                if (place := self._exporter.collector.source_of(state)) is not None
            ]
        if unknown is not None:
            self._drop(key)
            raise unknown_run_error(unknown, known)
        jobs = [JobRun(name, place.root, place.folder, place.make) for name, place in found]
        roots = tuple(Path(os.path.realpath(place.source.folder)) for _, place in found)
        with self._lock:
            site = self._sites.get(key)
            if site is None or site.roots != roots:
                self._number += 1
                site = self._sites[key] = _Site(self._make_folder() / str(self._number), roots)
            site.used_at = time.monotonic()
            if site.building is not None:
                return site.building
            if site.built == versions or time.monotonic() - site.finished_at < MIN_AGE_SECONDS or self._closed:
                return None
            site.building = Future()
            site.progress = Progress(0, 0, None)
        home = "../../" if len(key) == 1 else "../../../../"
        job = Job(jobs, site.folder, self._exporter.config.prices.overrides, home, files.list_registered())
        threading.Thread(target=self._build, args=(site, job, versions), name="evalgauge-replay", daemon=True).start()
        return site.building

    def is_built(self, key: SiteKey) -> bool:
        """Return whether a site was generated at least once."""
        with self._lock:
            site = self._sites.get(key)
            return site is not None and site.built is not None

    def get_progress(self, key: SiteKey) -> Progress | None:
        """Return how far the first generation of a site is; ``None`` where the site can be shown."""
        with self._lock:
            site = self._sites.get(key)
            return None if site is None or site.built is not None else site.progress

    def find_file(self, key: SiteKey, path: str) -> Path | None:
        """Return the path of a file of a generated site, ``None`` where there is no such file.

        Args:
            key: The runs of the site.
            path: The path within the site.
        """
        with self._lock:
            site = self._sites.get(key)
        if site is None or "\0" in path:
            return None
        site.used_at = time.monotonic()
        file = Path(os.path.normpath(site.folder / path))
        try:
            # checked after ".." is resolved; a screenshot is a link out of the site, which is read safely
            return file if file.is_relative_to(site.folder) and file.lstat() else None
        except (OSError, ValueError):  # missing, or a name that no file can have
            return None

    def read_screenshot(self, key: SiteKey, file: Path) -> ServedScreenshot | None:
        """Read the screenshot to which a link of a site leads, from the folder of its run and nowhere else.

        Args:
            key: The runs of the site.
            file: A link within the site, from `find_file`.

        Returns:
            The image; ``None`` where the link leads out of the folders of the site's runs, or to something else than
            an image now.
        """
        with self._lock:
            site = self._sites.get(key)
        try:
            target = Path(os.readlink(file))
            root = next(root for root in site.roots if target.is_relative_to(root)) if site is not None else None
            if root is None:
                return None
            files.fetch(target)
            with open(open_beneath(root, target.relative_to(root).as_posix()), "rb") as opened:
                status = os.fstat(opened.fileno())
                content = opened.read(MAX_SCREENSHOT + 1)
        except (OSError, ValueError, StopIteration):
            return None
        kind = image_type(content)
        if kind is None or len(content) > MAX_SCREENSHOT:
            return None
        return ServedScreenshot(content, kind, f'"{status.st_mtime_ns:x}-{len(content):x}"')

    def close(self) -> None:
        """Stop all generations and delete all sites."""
        with self._lock:
            self._closed = True
            self._stopped.set()
            for child in self._children:
                child.kill()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None
            self._sites = {}

    def _make_folder(self) -> Path:
        """Return the folder of this process's sites; delete those that processes which were killed have left."""
        if self._folder is None:
            base = self._cache_folder()
            try:
                base.mkdir(parents=True, exist_ok=True)
                self._folder = Path(tempfile.mkdtemp(dir=base)).resolve()
            except OSError:  # the cache can't be written
                self._folder = Path(tempfile.mkdtemp(prefix="evalgauge-replay-")).resolve()
            self._lock_file = (self._folder / "lock").open("wb")
            if sys.platform != "win32":
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._folder

    def _cache_folder(self) -> Path:
        return (self._exporter.config.prices.cache_dir or default_cache_dir()) / "replay"

    # -- generating

    def _build(self, site: _Site, job: Job, versions: tuple[int, ...]) -> None:
        error: str | None = "the exporter is stopping"
        try:
            with self._slots:
                if not self._closed:
                    is_small = all(_is_small(run.folder) for run in job.runs)
                    error = self._generate_here(site, job) if is_small else self._run_child(site, job)
        except OSError as failure:
            error = str(failure)
        with self._lock:
            site.finished_at = time.monotonic()
            if error is None:
                site.built = versions
            site.progress = Progress(0, 0, error)
            building, site.building = site.building, None
            self._evict()
        if building is not None:
            building.set_result(None)

    def _generate_here(self, site: _Site, job: Job) -> str | None:
        """Generate a small site in this thread, which takes less time than starting a process."""
        runs = [FoundRun(run.root, run.folder, run.make(run.folder), run.make) for run in job.runs]
        names = [run.run_id for run in job.runs]
        try:
            done = generate(
                runs, job.out, names=names, pricer=self._exporter.price, screenshots="symlink", home=job.home
            )
        except (ReplayError, OSError) as error:
            return str(error)
        site.bytes += done.bytes
        return None

    def _run_child(self, site: _Site, job: Job) -> str | None:
        """Generate a site in a process of its own; return what went wrong."""
        command = [sys.executable, "-m", "evalgauge_exporter.replay"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            with self._lock:
                self._children.add(child)
            timer = threading.Timer(BUILD_SECONDS, child.kill)
            timer.start()
            try:
                assert child.stdin is not None
                assert child.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(pickle.dumps(job))
                    child.stdin.close()
                last: dict[str, Any] = {}
                for line in child.stdout:
                    last = from_json(line)
                    if "done" in last:
                        site.progress = Progress(last["done"], last["total"], None)
            finally:
                timer.cancel()
                with self._lock:
                    self._children.discard(child)
        if "bytes" in last:
            site.bytes = last["bytes"]
            return None
        return str(last.get("error") or f"the generating process ended with status {child.returncode}")

    def _evict(self) -> None:
        """Delete unused sites, those of deleted runs, and the least recently used ones beyond the bounds."""
        now = time.monotonic()
        by_use = sorted(self._sites.items(), key=lambda item: item[1].used_at, reverse=True)
        kept, size = 0, 0
        for key, site in by_use:
            if site.building is not None:
                continue
            gone = not self._exporter.state.runs.keys() >= set(key) or now - site.used_at > UNUSED_SECONDS
            kept, size = kept + 1, size + site.bytes
            if gone or (kept > 1 and (kept > MAX_SITES or size > MAX_BYTES)):
                kept, size = kept - 1, size - site.bytes
                del self._sites[key]
                shutil.rmtree(site.folder, ignore_errors=True)

    def _drop(self, key: SiteKey) -> None:
        with self._lock:
            site = self._sites.get(key)
            if site is not None and site.building is None:
                del self._sites[key]
                shutil.rmtree(site.folder, ignore_errors=True)

    def _clean(self) -> None:
        while not self._stopped.wait(CLEAN_SECONDS):
            with self._lock:
                self._evict()


def _is_small(place: Path) -> bool:
    """Return whether a run has few and small files, screenshots apart."""
    files, size = 0, 0
    for folder, _, names in os.walk(place):
        for name in names:
            files += 1
            with contextlib.suppress(OSError):
                size += 0 if name.endswith(tuple(SUFFIXES)) else os.lstat(os.path.join(folder, name)).st_size
            if files > SMALL_FILES or size > SMALL_BYTES:
                return False
    return place.is_dir()


def _remove_stale(base: Path) -> None:
    """Delete the folders of processes that have ended: nobody holds the lock of such a folder."""
    if sys.platform != "win32":
        for folder in base.iterdir():
            try:
                with (folder / "lock").open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError:  # in use, or no folder of sites
                continue
