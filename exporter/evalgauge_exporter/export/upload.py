"""Upload of a run to a bucket, while it is running or afterwards.

A log becomes segments ``<run>/events/<writer>.<n>.jsonl`` of complete lines. Where a segment ends depends on the log's
content alone, so that what the bucket has states how far the upload came: nothing is stored beside the log, and a
process that was killed is resumed by listing. The last segment is written again as it grows; an object is replaced as a
whole or not at all. All other files of the run, such as screenshots, are uploaded beside; those that were written
before the lines that name them, before these.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from evalgauge.errors import SendError
from evalgauge.runlog import EVENTS_FOLDER, log_files, safe_name
from evalgauge.send import GIVE_UP_AFTER, LONGEST_WAIT, is_finished
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.storage.bucket import Bucket

T = TypeVar("T")
log = logging.getLogger("evalgauge")

FIRST_SEGMENT = 64 << 10
"""Bytes after which the first segments end, at the next end of a line."""
LARGEST_SEGMENT = 4 << 20
SEGMENTS_OF_A_SIZE = 16
"""After so many segments their size doubles: a long log has few objects, a short one is soon there."""
INTERVAL = 10.0
"""Seconds between two uploads of a log that grows."""
REWRITE_BYTES = 256 << 10
"""A last segment of so many bytes is written again after the interval, a larger one accordingly later."""
PERMANENT = frozenset({"forbidden", "signed_out", "not_found", "not_installed"})
"""Reasons after which another try would fail too."""


class UploadResult(NamedTuple):
    """The result of an upload."""

    requests: int
    """Objects that were written."""
    sent: int
    """Bytes that were written."""
    finished: bool
    """Whether everything was uploaded and the run has finished."""


def upload_run(
    run_dir: str | os.PathLike[str],
    url: str,
    *,
    run_id: str | None = None,
    follow: bool = False,
    interval: float = INTERVAL,
    give_up_after: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> UploadResult:
    """Upload what a bucket does not have of a run.

    Args:
        run_dir: The run's folder.
        url: The bucket's URL; the run is put below it.
        run_id: The name of the run's folder in the bucket; None is the local folder's.
        follow: Continue until the run has finished.
        interval: Seconds between two looks for new lines, with ``follow``.
        give_up_after: Seconds of failed tries after which to give up; None is 300, and forever with ``follow``.
        sleep: Waits for a number of seconds.

    Returns:
        What was uploaded.

    Raises:
        SendError: ``run_dir`` has no log, access is denied, or the bucket could not be reached for ``give_up_after``.
    """
    folder = Path(run_dir)
    if not log_files(folder) and not follow:
        raise SendError(f"{folder}: no run log found; name the folder of a run, which holds {EVENTS_FOLDER}/*.jsonl")
    name = run_id or folder.absolute().name
    if safe_name(name) != name:
        raise SendError(f"the run id {name!r} is not a valid folder name; pass another with run_id")
    if give_up_after is None:
        give_up_after = math.inf if follow else GIVE_UP_AFTER
    upload = _Upload(folder, Bucket(url), name, interval, give_up_after, sleep)
    finished = False
    while True:
        last = finished  # other processes may have written before the end, but after their logs were read
        upload.send_files()
        upload.send_logs(everything=finished or not follow)
        finished = is_finished(log_files(folder))
        if finished == last and (finished or not follow):
            return UploadResult(upload.requests, upload.sent, finished)
        if not finished:
            sleep(interval)


def get_segment_size(number: int) -> int:
    """Return after how many bytes a segment ends, at the next end of a line."""
    return int(min(LARGEST_SEGMENT, FIRST_SEGMENT << min(number // SEGMENTS_OF_A_SIZE, 30)))


class _Upload:
    """The upload of one run."""

    def __init__(
        self,
        folder: Path,
        bucket: Bucket,
        name: str,
        interval: float,
        give_up_after: float,
        sleep: Callable[[float], object],
    ) -> None:
        self._folder = folder
        self._bucket = bucket
        self._name = name
        self._interval = interval
        self._give_up_after = give_up_after
        self._sleep = sleep
        self._logs: dict[str, tuple[int, int]] = {}
        """The number and the start of the last segment of each log."""
        self._written_at: dict[str, float] = {}
        self._files: dict[str, tuple[int, int]] = {}
        """Size and time of the other files that were uploaded."""
        self.requests = self.sent = 0
        prefix = f"{name}/"
        self._sizes = {
            found.key.removeprefix(prefix): found.size for found in self._try(lambda: list(bucket.list_objects(prefix)))
        }

    def send_logs(self, *, everything: bool) -> None:
        """Write the segments that are new or grew; ``everything``: also those that may wait."""
        for path in log_files(self._folder):
            for number, start, content, complete in self._read_segments(path):
                key = f"{EVENTS_FOLDER}/{path.stem}.{number:06}.jsonl"
                self._logs[path.name] = (number, start)
                if self._sizes.get(key) == len(content):
                    continue
                pause = self._interval * max(1.0, len(content) / REWRITE_BYTES)
                if not complete and not everything and time.monotonic() - self._written_at.get(key, -math.inf) < pause:
                    continue
                self._put(key, content)
                self._written_at[key] = time.monotonic()

    def _read_segments(self, path: Path) -> Iterator[tuple[int, int, bytes, bool]]:
        """The segments of a log from the last known one on: number, start, content, whether it will grow no more."""
        number, start = self._logs.get(path.name, (0, 0))
        with path.open("rb") as file:
            if start > os.fstat(file.fileno()).st_size:  # the file was replaced
                number = start = 0
            while True:
                size = get_segment_size(number)
                file.seek(start)
                content = file.read(size)
                if len(content) == size and not content.endswith(b"\n"):
                    content += file.readline()
                complete = len(content) >= size and content.endswith(b"\n")
                if not complete:
                    content = content[: content.rfind(b"\n") + 1]
                if content:
                    yield number, start, content, complete
                if not complete:
                    return
                number, start = number + 1, start + len(content)

    def send_files(self) -> None:
        """Write the other files of the run that are new or changed."""
        for folder, folders, names in os.walk(self._folder):
            relative = Path(folder).relative_to(self._folder)
            folders[:] = [
                name for name in folders if not name.startswith(".") and (relative / name).parts != (EVENTS_FOLDER,)
            ]
            for name in names:
                path = Path(folder) / name
                key = (relative / name).as_posix()
                if name.startswith(".") or path.is_symlink() or not path.is_file():
                    continue
                status = path.stat()
                if self._files.get(key) == (status.st_size, status.st_mtime_ns):
                    continue
                if key in self._files or self._sizes.get(key) != status.st_size:
                    self._put(key, path)
                self._files[key] = (status.st_size, status.st_mtime_ns)

    def _put(self, key: str, content: bytes | Path) -> None:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self._try(lambda: self._bucket.put(f"{self._name}/{key}", content))
        self._sizes[key] = size
        self.requests += 1
        self.sent += size

    def _try(self, call: Callable[[], T]) -> T:
        waited, pause = 0.0, 0.5
        while True:
            try:
                return call()
            except RefreshError as error:
                if error.reason in PERMANENT:
                    raise SendError(error.detail) from error
                if waited >= self._give_up_after:
                    raise SendError(f"{error.detail}; given up after {waited:.0f} s") from error
                wait = max(error.retry_after or 0.0, pause * random.uniform(0.75, 1.25))
                log.info("%s; next try in %.1f s", error.detail, wait)
                self._sleep(wait)
                waited += max(wait, 0.1)
                pause = min(pause * 2, LONGEST_WAIT)
