"""A local folder that is kept like a bucket.

- A folder of the bucket that is new appears whole: it is downloaded beside and moved into place.
- A log that grew is continued in place: only its new bytes are downloaded, after a look at the last old ones.
- The segments ``events/<writer>.<n>.jsonl`` that `evalgauge send` writes are one log ``events/<writer>.jsonl`` here.
- Screenshots and archives are placeholders (see `files`); what was fetched of them is limited to a number of bytes, and
  what was not used for longest goes first.
- What was deleted in the bucket is deleted here, after a listing that succeeded.

A list of etags beside the folder makes a restart download nothing that is there already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from evalgauge.runlog import EVENTS_FOLDER, SEGMENT
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.storage.bucket import Bucket, StoredObject

log = logging.getLogger("evalgauge.exporter")

PLACEHOLDERS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".eval", ".mp4", ".webm", ".zip"})
"""Suffixes of files of which only a part is ever read, or only on request."""
PLACEHOLDER_MODE = 0o200
"""The mode of placeholders: nobody may read them, so that their zeros are never taken for their content."""
FILE_MODE = 0o600
OVERLAP = 4096
"""Bytes before the old end of a log that are compared before its new bytes are appended."""
PARALLEL = 16
"""Downloads at one time."""
MAX_PART = 200
"""Characters of one part of a key that a local file can have."""
_HOSTILE = re.compile(r"[\x00-\x1f\x7f\\:]")


class Change(NamedTuple):
    """What one sync did."""

    downloaded: int
    """Bytes."""
    changed: int
    """Local files that are new, grew or were deleted."""
    left_out: tuple[str, ...]
    """Keys that were left out, each with the reason."""


class _Local(NamedTuple):
    """A local file that has to exist: of one object, or of the segments of one log."""

    path: str
    """Relative, with ``/``."""
    objects: tuple[StoredObject, ...]

    @property
    def size(self) -> int:
        return sum(found.size for found in self.objects)

    @property
    def modified(self) -> float:
        return max(found.modified for found in self.objects)

    @property
    def state(self) -> list[list[Any]]:
        return [[found.key, found.size, found.etag] for found in self.objects]

    @property
    def is_placeholder(self) -> bool:
        return PurePosixPath(self.path).suffix.lower() in PLACEHOLDERS


class Mirror:
    """The mirror of one bucket.

    Args:
        url: The bucket's URL, from `parse_bucket_url`.
        cache_dir: The folder of all mirrors.
        max_bytes: How many bytes the local files may have; placeholders have none.
    """

    def __init__(self, url: str, cache_dir: Path, max_bytes: int) -> None:
        self.arguments = (url, cache_dir, max_bytes)
        self.bucket = Bucket(url)
        base = cache_dir / "buckets" / hashlib.sha256(url.encode()).hexdigest()[:16]
        self.folder = base / (_clean(url.rpartition("/")[2]) or "bucket")
        """The local folder, named as the last part of the URL."""
        self._staging = base / "staging"
        self._index_file = base / "index.json"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._fetch_lock = threading.Lock()
        self._index: dict[str, list[list[Any]]] = self._load_index()
        """The state of each local file: of each of its objects the key, the size and the etag."""
        self._fetched: dict[str, int] = {
            path: sum(int(row[1]) for row in state)
            for path, state in self._index.items()
            if _is_placeholder(path) and not self.is_placeholder(self.folder / path)
        }
        """Bytes of the placeholders that were fetched, the one that was used last at the end."""
        self._active: dict[str, float] = {}
        """When each folder of the bucket last changed, in Unix seconds."""
        self._full_at: float | None = None

    # -- keeping it like the bucket

    def sync(self, *, full_interval: float = 0.0, active_seconds: float = 0.0) -> Change:
        """Make the folder like the bucket.

        Args:
            full_interval: Seconds between two listings of everything. In between only the folders that are new or
                changed lately are listed, and of a run with a log only its log.
            active_seconds: For how long a folder that changed is listed each time.

        Raises:
            RefreshError: The bucket can't be listed, or a download failed; what was done before stays.
        """
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            now = time.time()
            full = self._full_at is None or time.monotonic() - self._full_at >= full_interval
            left_out: list[str] = []
            unlisted: tuple[str, ...] = ()
            if full:
                listed, unlisted = self._list_all(left_out)
                scope = None
            else:
                listed, scope = self._list_active(now, active_seconds)
            wanted = {local.path: local for local in _plan(listed, left_out)}
            change = self._apply(wanted, scope, unlisted, left_out)
            if full:
                self._full_at = time.monotonic()
            return change

    def _list_all(self, left_out: list[str]) -> tuple[list[StoredObject], tuple[str, ...]]:
        """All objects, and the folders that can't be listed: one key that is no path must not hide the others."""
        try:
            return list(self.bucket.list_objects()) or self._find_single(), ()
        except RefreshError as error:
            if error.reason != "malformed":
                raise
        folders, listed = self.bucket.list_folders()
        unlisted = []
        for folder in folders:
            try:
                listed += self.bucket.list_objects(f"{folder}/")
            except RefreshError as error:
                if error.reason != "malformed":
                    raise
                left_out.append(f"{folder}: {error.detail}")
                unlisted.append(f"{folder}/")
        return listed, tuple(unlisted)

    def _find_single(self) -> list[StoredObject]:
        """The object that the URL is the address of, where there is nothing below it."""
        parent, _, name = self.bucket.url.rpartition("/")
        if "." in name and parent.count("/") >= 2:  # the URL of one file
            bucket = Bucket(parent)
            single = bucket.find(name)
            if single is not None:
                self.bucket = bucket
                return [single]
        return []

    def _list_active(self, now: float, active_seconds: float) -> tuple[list[StoredObject], tuple[str, ...]]:
        """The objects of the folders that may have changed, and the prefixes that were listed."""
        folders, listed = self.bucket.list_folders()
        known = {path.partition("/")[0] for path in self._index if "/" in path}
        scope = []
        if EVENTS_FOLDER in folders:  # the URL is that of a run
            scope.append(f"{EVENTS_FOLDER}/")
        for folder in folders:
            new = _clean(folder) not in known
            if new:
                scope.append(f"{folder}/")
            elif now - self._active.get(folder, 0.0) < active_seconds:
                has_log = any(path.startswith(f"{folder}/{EVENTS_FOLDER}/") for path in self._index)
                scope.append(f"{folder}/{EVENTS_FOLDER}/" if has_log else f"{folder}/")
        for prefix in scope:
            listed += self.bucket.list_objects(prefix)
        return listed, tuple(scope)

    def _apply(
        self,
        wanted: Mapping[str, _Local],
        scope: tuple[str, ...] | None,
        unlisted: tuple[str, ...],
        left_out: list[str],
    ) -> Change:
        gone = [
            path
            for path in self._index
            if path not in wanted
            and (scope is None or path.startswith(scope) or "/" not in path)
            and not path.startswith(unlisted)
        ]
        for path in gone:
            self._remove(path)
        changed = [local for local in wanted.values() if self._index.get(local.path) != local.state]
        changed = self._fit(changed, left_out)
        downloaded = 0
        failure: RefreshError | None = None
        new: dict[str, list[_Local]] = {}
        for local in changed:
            folder = local.path.partition("/")[0]
            is_new = "/" in local.path and not (self.folder / folder).exists()
            new.setdefault(folder if is_new else "", []).append(local)
        with ThreadPoolExecutor(PARALLEL) as threads:
            for folder, locals_ in new.items():
                root = self._staging if folder else self.folder
                if folder:
                    shutil.rmtree(self._staging, ignore_errors=True)
                results = list(threads.map(partial(self._try_update, root=root), locals_))
                for result in results:
                    if isinstance(result, RefreshError):
                        failure = failure or result
                    else:
                        downloaded += result
                if folder and not any(isinstance(result, RefreshError) for result in results):
                    os.rename(self._staging / folder, self.folder / folder)
                for local, result in zip(locals_, results, strict=True):
                    if not isinstance(result, RefreshError) and (self.folder / local.path).exists():
                        self._index[local.path] = local.state
                        folder_key = local.objects[0].key.partition("/")[0]
                        self._active[folder_key] = max(self._active.get(folder_key, 0.0), local.modified)
        if gone or changed:
            self._save_index()
        if failure is not None:
            raise failure
        return Change(downloaded, len(gone) + len(changed), tuple(left_out))

    def _fit(self, changed: list[_Local], left_out: list[str]) -> list[_Local]:
        """The files for which there is room, those of the newest folders first."""
        room = self._max_bytes - sum(
            sum(int(row[1]) for row in state) for path, state in self._index.items() if not _is_placeholder(path)
        )
        fitting = []
        for local in sorted(changed, key=lambda local: -local.modified):
            old = 0 if local.is_placeholder else sum(int(row[1]) for row in self._index.get(local.path, ()))
            size = 0 if local.is_placeholder else local.size
            if size - old > room:
                left_out.append(f"{local.path}: the cache is full")
                continue
            room -= size - old
            fitting.append(local)
        return fitting

    def _try_update(self, local: _Local, root: Path) -> int | RefreshError:
        try:
            return self._update(local, root)
        except RefreshError as error:
            return error
        except OSError as error:
            return RefreshError("unwritable", f"{self.folder}: {error.strerror or error}")

    def _update(self, local: _Local, root: Path) -> int:
        """Bring one local file up to date; the bytes that were downloaded."""
        path = root / local.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if local.is_placeholder:
            self._fetched.pop(local.path, None)
            _write_placeholder(path, local.size, local.modified)
            return 0
        appended = self._append(local, path)
        if appended is not None:
            return appended
        temporary = path.with_name(f".{path.name[:100]}.part")
        try:
            with temporary.open("wb") as file:
                for found in filter(lambda found: found.size, local.objects):
                    self.bucket.download(found.key, file, found.size)
                if file.tell() != local.size:
                    raise RefreshError("changed", f"{self.bucket.url}/{local.path}: it changed while it was read")
        except RefreshError:
            temporary.unlink()
            raise
        os.utime(temporary, (local.modified, local.modified))
        temporary.replace(path)
        return local.size

    def _append(self, local: _Local, path: Path) -> int | None:
        """Append what a log grew by; None where it is no log that only grew."""
        old = self._index.get(local.path)
        if not old or path.suffix != ".jsonl":
            return None
        size = sum(int(row[1]) for row in old)
        *closed, last = old
        before, after = closed, local.state[: len(closed)]
        same = [list(row) for row in before] == after and len(local.objects) > len(closed)
        try:
            if not same or path.stat().st_size != size or local.objects[len(closed)].key != last[0]:
                return None
        except OSError:
            return None
        grown, last_size = local.objects[len(closed)], int(last[1])
        if grown.size < last_size:
            return None
        parts = []
        if grown.etag != last[2]:
            start = max(0, last_size - OVERLAP)
            part = self.bucket.read_range(grown.key, start, grown.size)
            with path.open("rb") as file:
                file.seek(size - (last_size - start))
                if file.read() != part[: last_size - start]:
                    return None
            parts.append(part[last_size - start :])
        parts += [self.bucket.read_range(found.key, 0, found.size) for found in local.objects[len(closed) + 1 :]]
        content = b"".join(parts)
        if size + len(content) != local.size:
            return None
        with path.open("ab") as file:
            file.write(content)
        os.utime(path, (local.modified, local.modified))
        return len(content)

    def _remove(self, path: str) -> None:
        self._index.pop(path, None)
        self._fetched.pop(path, None)
        file = self.folder / path
        with contextlib.suppress(OSError):
            file.unlink()
        for parent in file.parents:
            if parent == self.folder:
                break
            try:
                parent.rmdir()
            except OSError:  # it is not empty
                break

    # -- the index

    def _load_index(self) -> dict[str, list[list[Any]]]:
        try:
            content = parse_json(self._index_file.read_bytes())
            return {
                str(path): [[str(key), int(size), str(etag)] for key, size, etag in state]
                for path, state in content.items()
                if (self.folder / path).is_file()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _save_index(self) -> None:
        temporary = self._index_file.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self._index), encoding="utf-8")
            temporary.replace(self._index_file)
        except OSError as error:  # the next start downloads again
            log.info("%s can't be written: %s", self._index_file, error)

    # -- placeholders

    def is_placeholder(self, path: Path) -> bool:
        """Return whether a file's content is in the bucket alone; the file itself says so, to every process."""
        try:
            return path.lstat().st_mode & 0o777 == PLACEHOLDER_MODE
        except OSError:
            return False

    def fetch(self, path: Path) -> None:
        """Download the content of a file if it is a placeholder. Raises OSError."""
        if not _is_placeholder(path.name):
            return
        with self._fetch_lock:
            relative = path.relative_to(self.folder).as_posix()
            if not self.is_placeholder(path):
                if relative in self._fetched:
                    self._fetched[relative] = self._fetched.pop(relative)
                return
            if relative not in self._index:
                raise FileNotFoundError(f"{path} is no longer in its bucket")
            ((key, size, _),) = self._index[relative]
            status = path.lstat()
            try:
                # into the file itself: who looked at it before must find the same file
                with os.fdopen(os.open(path, os.O_WRONLY), "wb") as file:
                    self.bucket.download(key, file, size)
            except RefreshError as error:
                raise OSError(error.detail) from error
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            path.chmod(FILE_MODE)
            self._fetched[relative] = size
            while sum(self._fetched.values()) > self._max_bytes and len(self._fetched) > 1:
                oldest = next(iter(self._fetched))
                dropped = self._fetched.pop(oldest)
                _write_placeholder(self.folder / oldest, dropped, (self.folder / oldest).stat().st_mtime)

    def read_range(self, path: Path, start: int, end: int) -> bytes:
        """Return a part of a placeholder's content. Raises OSError."""
        ((key, size, _),) = self._index[path.relative_to(self.folder).as_posix()]
        try:
            return self.bucket.read_range(key, start, min(end, size))
        except RefreshError as error:
            raise OSError(error.detail) from error


def _is_placeholder(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PLACEHOLDERS


def _write_placeholder(path: Path, size: int, modified: float) -> None:
    """Write a file without content that has a size and a time."""
    temporary = path.with_name(f".{path.name[:100]}.part")
    with temporary.open("wb") as file:
        file.truncate(size)
    os.utime(temporary, (modified, modified))
    temporary.chmod(PLACEHOLDER_MODE)
    temporary.replace(path)


def _clean(part: str) -> str:
    """A part of a key as the name of a local file; empty where none can have it."""
    if not part or part in (".", "..") or len(part.encode()) > MAX_PART or _HOSTILE.search(part):
        return ""
    return part


def _plan(listed: Iterable[StoredObject], left_out: list[str]) -> Iterator[_Local]:
    """The local files for the objects of a bucket; hostile keys and folders' own objects have none."""
    segments: dict[str, dict[int, StoredObject]] = {}
    plain: dict[str, StoredObject] = {}
    for found in listed:
        parts = found.key.split("/")
        if not all(map(_clean, parts)):
            left_out.append(f"{found.key[:200]!r}: no file can have this name")
            continue
        segment = SEGMENT.fullmatch(parts[-1]) if EVENTS_FOLDER in parts[:-1] else None
        if segment is None:
            plain[found.key] = found
        else:
            path = "/".join([*parts[:-1], f"{segment[1]}.jsonl"])
            segments.setdefault(path, {})[int(segment[2])] = found
    folders = {parent.as_posix() for key in (*plain, *segments) for parent in PurePosixPath(key).parents}
    for key, found in plain.items():
        if key in folders and not found.size:  # a folder, as consoles make it
            continue
        if key in folders:
            left_out.append(f"{key[:200]!r}: it is a file and a folder")
        elif key not in segments:
            yield _Local(key, (found,))
    for path, numbered in segments.items():
        complete = []
        for number in range(len(numbered)):
            if number not in numbered:  # what follows a gap is not known to be next
                break
            complete.append(numbered[number])
        if complete and path not in folders:
            yield _Local(path, tuple(complete))
