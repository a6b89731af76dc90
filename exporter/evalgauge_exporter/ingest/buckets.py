"""Buckets among the results: their mirrors, and the source that keeps a mirror up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from evalgauge_exporter.config.bucket_urls import parse_bucket_url
from evalgauge_exporter.config.model import Storage
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.sources.prices import default_cache_dir
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.sources.storage.mirror import Mirror
from evalgauge_exporter.state.fleet_events import FleetEvent, Skipped

log = logging.getLogger("evalgauge.exporter")

_mirrors: dict[str, Mirror] = {}
_lock = threading.Lock()


def open_mirror(url: str, storage: Storage) -> Mirror:
    """Return the mirror of a bucket, one for each URL in this process.

    Args:
        url: From `parse_bucket_url`.
        storage: The configuration's table.
    """
    with _lock:
        if url not in _mirrors:
            _mirrors[url] = Mirror(url, storage.cache_dir or default_cache_dir(), storage.max_bytes)
            files.register(_mirrors[url])
        return _mirrors[url]


def localize(place: str | Path, storage: Storage) -> Path:
    """Return the local folder of a place: of a bucket, the mirror's after one sync.

    Args:
        place: A path, or the URL of a bucket.
        storage: The configuration's table.

    Raises:
        RefreshError: The bucket can't be read.
    """
    url = parse_bucket_url(place)
    if url is None:
        return Path(place)
    mirror = open_mirror(url, storage)
    _report(mirror, mirror.sync().left_out, set())
    if not any(mirror.folder.iterdir()):
        raise RefreshError("not_found", f"{url}: there is nothing below this URL; check the name")
    return mirror.folder


def find_mirrors(places: Iterable[Path], storage: Storage) -> tuple[list[Path], list[Mirror]]:
    """Return the local folders of places, without a sync, and the mirrors among them.

    A place is a path, a URL, or the folder of a mirror of this process.
    """
    folders: list[Path] = []
    mirrors = []
    for place in places:
        url = parse_bucket_url(place)
        known = next((mirror for mirror in _mirrors.values() if mirror.folder == place), None)
        if url is None and known is None:
            folders.append(place)
            continue
        mirror = known or open_mirror(url or "", storage)
        mirror.folder.mkdir(parents=True, exist_ok=True)
        mirrors.append(mirror)
        folders.append(mirror.folder)
    return folders, mirrors


class BucketSource(PollingSource):
    """A source that keeps the mirror of a bucket up to date; the collector reads the mirror.

    Args:
        mirror: The mirror.
        storage: The configuration's table.
        active_seconds: For how long a run that changed is listed at each refresh.
        emit: Takes the events, which are only about the refreshes.
    """

    source = "bucket"

    def __init__(self, mirror: Mirror, storage: Storage, active_seconds: float, emit: Emit) -> None:
        super().__init__(mirror.bucket.url, storage.interval, emit)
        self._mirror = mirror
        self._storage = storage
        self._active_seconds = active_seconds
        self._named: set[str] = set()
        self.tried = threading.Event()
        """Set after the first refresh, whether it succeeded or not."""

    def refresh(self) -> Iterator[FleetEvent]:
        """Sync the mirror; objects that are left out are counted, and each is named once."""
        try:
            change = self._mirror.sync(full_interval=self._storage.full_interval, active_seconds=self._active_seconds)
        finally:
            self.tried.set()
        new = _report(self._mirror, change.left_out, self._named)
        for _ in range(new):
            yield Skipped(time.time(), self.source, "left_out")


def _report(mirror: Mirror, left_out: Sequence[str], named: set[str]) -> int:
    """Log the objects that are left out and were not named before; how many these are."""
    new = [words for words in left_out if words not in named]
    named.update(new)
    for words in new[:20]:
        log.warning("%s: left out: %s", mirror.bucket.url, words)
    if len(new) > 20:
        log.warning("%s: left out: %d more objects", mirror.bucket.url, len(new) - 20)
    return len(new)
