"""Logs of Inspect: ``<time>_<task>_<id>.eval``, a zip file with a JSON document for each sample.

What to know of them:

- Members are compressed with zstd. A log that goes on, or whose process was killed, has no ``header.json``: what it is
  says ``_journal/start.json``, and its samples are there as far as they were written. A dead one looks like a live one.
- Samples appear when they have ended; what is being worked at is not in the log.
- A run is named by its file. Pictures are not files: ``image`` gets them out of the log.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from evalgauge.events import PlannedTask, RunFinished, RunStarted
from evalgauge.runlog import Problem
from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader
from evalgauge_exporter.sources.inspect.samples import named, tell_sample
from evalgauge_exporter.sources.parsing import (
    FileFingerprint,
    fingerprint,
    parse,
    parse_count,
    parse_id,
    parse_timestamp,
    sanitize_id,
)

SUFFIX = ".eval"
PART = 32 << 20
"""Bytes of samples that are read before others get their turn."""
_START = "_journal/start.json"
_HEADER = "header.json"
_BROKEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


def matches_file(path: Path) -> bool:
    """Whether a file is such a log."""
    if path.suffix != SUFFIX:
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


class InspectLogSource:
    """One log."""

    source = "inspect"

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """``place``: the log's file."""
        self.folder = place.parent
        self._path = place
        self._threshold = success_threshold
        self._signature: FileFingerprint | None = None
        self._samples: dict[str, int] = {}
        """What was told, by the member's name, with its checksum."""
        self._scorers: list[str] = []
        self._seq = 0
        self._latest = 0.0
        self._started = False
        self._over = False
        self._complained: set[str] = set()
        self._pictures: tuple[str, dict[str, Any]] | None = None

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its file."""
        return None

    def fingerprint(self) -> str | None:
        """The file's size and time; None where there is none."""
        found = fingerprint(self._path)
        return None if found is None else f"{found.size}:{found.mtime_ns}"

    def watch_paths(self) -> list[Path]:
        """The folder of the log, while the run goes on."""
        return [] if self._over else [self.folder]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """The samples that were added since the last call."""
        reading = ReadResult()
        if self._over and not full_scan:
            return reading
        now = fingerprint(self._path)
        if now is None:
            reading.missing = True
            return reading
        if now == self._signature:
            return reading
        try:
            with EvalZipReader(self._path) as log:
                self._read(log, reading)
        except (EvalZipError, OSError) as error:
            if not self._samples:  # else it is being written: the next look finds it whole
                self._report(reading, getattr(error, "reason", "unreadable"), f"{self._path}: {error}")
        if not reading.has_more:
            self._signature = now
        return reading

    def image(self, screenshot: str) -> bytes | None:
        """The bytes of a step's screenshot; None where there is no such picture in the log."""
        member, _, name = screenshot.removeprefix(f"{self._path.name}/").rpartition("/")
        if self._pictures is None or self._pictures[0] != member:
            try:
                with EvalZipReader(self._path) as log:
                    sample = parse(log.read(member))
            except (EvalZipError, OSError, *_BROKEN):
                return None
            found = sample.get("attachments") if isinstance(sample, dict) else None
            self._pictures = (member, found if isinstance(found, dict) else {})
        content = self._pictures[1].get(name.rpartition(".")[0])
        if not isinstance(content, str) or not content.startswith("data:image/"):
            return None
        head, _, body = content.partition(",")
        try:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else None
        except (binascii.Error, ValueError):
            return None

    # -- reading the members

    def _read(self, log: EvalZipReader, reading: ReadResult) -> None:
        gone = [name for name in self._samples if name not in log.members]
        changed = [
            name
            for name, checksum in self._samples.items()
            if name in log.members and checksum != log.members[name].CRC
        ]
        if (gone and log.whole) or changed:
            reading.restarted = True
            return
        header = self._object(log, _HEADER, reading) if _HEADER in log.members else None
        if not self._started:
            start = header if header is not None else self._object(log, _START, reading)
            if start is None:
                return
            self._start(start, reading)
        size = 0
        fresh = [name for name in log.members if name.startswith("samples/") and name not in self._samples]
        told: list[AttemptBuilder] = []
        for name in fresh:
            if size > PART:
                reading.has_more = True
                break
            size += log.members[name].file_size
            self._samples[name] = log.members[name].CRC
            tale = self._sample(log, name, reading)
            if tale is not None:
                told.append(tale)
        told.sort(key=lambda tale: (tale.events[-1].ts, tale.events[0].ts))
        for tale in told:
            for event in tale.events:
                self._append(event, reading)
        if header is not None and not reading.has_more:
            self._end(header, reading)

    def _start(self, content: dict[str, Any], reading: ReadResult) -> None:
        told = content.get("eval")
        told = told if isinstance(told, dict) else {}
        dataset, config = told.get("dataset"), told.get("config")
        dataset = dataset if isinstance(dataset, dict) else {}
        config = config if isinstance(config, dict) else {}
        ids = dataset.get("sample_ids")
        planned = tuple(
            PlannedTask(task_id) for each in (ids if isinstance(ids, list) else ()) if (task_id := sample_id(each))
        )
        scorers = told.get("scorers")
        self._scorers = [
            str(scorer["name"])
            for scorer in (scorers if isinstance(scorers, list) else ())
            if isinstance(scorer, dict) and "name" in scorer
        ]
        epochs = parse_count(config.get("epochs")) or 1
        at = parse_timestamp(told.get("created"))
        self._started = True
        self._append(
            RunStarted(
                at if at is not None else self._file_time(), 0, self.source, None, parse_id(told.get("task")),
                named(told.get("model"))[1], parse_id(told.get("solver")), planned,
                None if planned else parse_count(dataset.get("samples")), max(1, min(epochs, 1000)), None, None, {},
            ),
            reading,
        )  # fmt: skip

    def _file_time(self) -> float:
        found = fingerprint(self._path)
        return 0.0 if found is None else found.mtime_ns / 1e9

    def _sample(self, log: EvalZipReader, name: str, reading: ReadResult) -> AttemptBuilder | None:
        sample = self._object(log, name, reading)
        if sample is None:
            return None
        task_id, epoch = sample_id(sample.get("id")), parse_count(sample.get("epoch"))
        if task_id is None:
            self._report(reading, "foreign_file", f"{self._path}: {name}: a sample without an id")
            return None
        tale = AttemptBuilder(self.source, task_id, epoch if epoch is not None else 1)
        try:
            tell_sample(sample, tale, f"{self._path.name}/{name}", self._threshold, self._scorers)
        except _BROKEN as error:
            self._report(reading, "foreign_file", f"{self._path}: {name}: {type(error).__name__}: {str(error)[:200]}")
            return None
        return tale

    def _end(self, header: dict[str, Any], reading: ReadResult) -> None:
        status = header.get("status")
        if self._over or status not in ("success", "error", "cancelled"):
            return
        stats = header.get("stats")
        at = parse_timestamp(stats.get("completed_at")) if isinstance(stats, dict) else None
        self._over = True
        end = max(at if at is not None else 0.0, self._latest)
        self._append(RunFinished(end, 0, self.source, "completed" if status == "success" else "aborted"), reading)

    def _object(self, log: EvalZipReader, name: str, reading: ReadResult) -> dict[str, Any] | None:
        try:
            content = parse(log.read(name))
        except KeyError:
            return None
        except EvalZipError as error:
            self._report(reading, error.reason, f"{self._path}: {error}")
            return None
        except (ValueError, RecursionError):
            self._report(reading, "torn_file", f"{self._path}: {name}: no whole JSON")
            return None
        if not isinstance(content, dict):
            self._report(reading, "foreign_file", f"{self._path}: {name}: no JSON object")
            return None
        return content

    def _append(self, event: Any, reading: ReadResult) -> None:
        self._seq += 1
        self._latest = max(self._latest, event.ts)
        reading.events.append(event._replace(seq=self._seq))

    def _report(self, reading: ReadResult, reason: str, detail: str) -> None:
        if detail not in self._complained and len(self._complained) < 10_000:
            self._complained.add(detail)
            reading.problems.append(Problem(reason, detail))


def sample_id(value: object) -> str | None:
    """A sample's id, which is a text or a number."""
    if isinstance(value, str) and value:
        return sanitize_id(value)
    return str(value) if type(value) is int else None
