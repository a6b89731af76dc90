"""What the sources share whose runs are files with many attempts, or attempts that are one file each."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, is_regular_file, parse_json, read_bytes


def as_object(value: object) -> Mapping[str, Any]:
    """Return a JSON object as it is, and an empty one in the place of any other value."""
    return value if isinstance(value, dict) else {}


def digest_files(paths: Iterable[Path]) -> str:
    """Return a digest of the names, times and sizes of files, also of those that are not there."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path}\0{fingerprint(path)}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def add_unjudged_finish(attempt: AttemptBuilder, ts: float | None, why: str, **more: Any) -> None:
    """Add the end of an attempt on which there is no verdict, or none yet: nothing was measured, nothing went wrong.

    Args:
        attempt: The attempt.
        ts: When it ended, in Unix seconds.
        why: What is missing, in a sentence for people.
        more: What else ``AttemptBuilder.add_finish`` takes.
    """
    reason = f"{why}: {more['reason']}" if more.get("reason") else why
    attempt.add_finish(ts, "interrupted", **{**more, "reason": reason})


class Record(NamedTuple):
    """What a document states about one attempt."""

    task_id: str
    attempt: int
    content: Mapping[str, Any]
    domain: str | None = None


class DocumentSource(FolderSource):
    """Reads a run that is one JSON document with all its attempts.

    Such a document is rewritten as a whole: it is parsed where it has changed, and not kept in memory.
    """

    levels = 0

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The document.
            success_threshold: The least score of a success, where the format gives scores only.
        """
        super().__init__(place.parent, success_threshold=success_threshold)
        self.path = place
        self.task_files = (place.name,)
        self._parsed: FileFingerprint | None = None
        self._info = RunInfo()
        self._records: dict[Path, Record] = {}

    @abstractmethod
    def parse_info(self, content: Any) -> RunInfo:
        """Return what a document states about the run."""

    @abstractmethod
    def parse_records(self, content: Any) -> Iterable[Record]:
        """Return the attempts of a document; of two that are alike the second gets the next free number."""

    @abstractmethod
    def add_events(self, record: Record, attempt: AttemptBuilder) -> None:
        """Add the events of an attempt."""

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what the document holds that it did not at the last call."""
        if not is_regular_file(self.path):
            return ReadResult(missing=True)
        try:
            return super().read(full_scan=full_scan)
        finally:
            self._records = {}

    def fingerprint(self) -> str | None:
        """Return the document's time and size; None where it is not there."""
        return digest_files([self.path]) if is_regular_file(self.path) else None

    def attempt_fingerprint(self, files: TaskFiles) -> object:
        """Return the fingerprint of the document that was parsed."""
        return self._parsed

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return the attempts of the document; those of before while it is being written."""
        now = fingerprint(self.path)
        if now == self._parsed and self.known_tasks:
            return self.known_tasks
        data = read_bytes(self.path, self.report)
        try:
            content = parse_json(data) if data is not None else None
        except ValueError:
            if not self.known_tasks:
                self.report("torn_file", f"{self.path}: no whole JSON")
            return self.known_tasks
        if content is None:
            return self.known_tasks
        self._parsed, self._info = now, self.parse_info(content)
        found: dict[str, TaskFiles] = {}
        for record in self.parse_records(content):
            number = record.attempt
            while (key := f"{number} {record.task_id}") in found:
                number += 1
            found[key] = TaskFiles(record.task_id, self.path / key.replace("/", "_"), number, record.domain)
            self._records[found[key].folder] = record
        return found

    def read_info(self) -> RunInfo:
        """Return what the document states about the run."""
        return self._info

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the events of an attempt of the document that was parsed in this call."""
        record = self._records.get(files.folder)
        if record is None:
            return None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        self.add_events(record, attempt)
        return attempt
