"""Logs of Inspect: ``<time>_<task>_<id>.eval``, a zip file with a JSON document for each sample.

Traps of the format:

- Members are compressed with zstd. A log that is being written, or whose process was killed, has no ``header.json``:
  ``_journal/start.json`` states what it is, and it has the samples that were written. A dead one looks like a live one.
- Samples are written when they have finished; those that are running are not in the log.
- The header's ``stats.model_usage`` also counts samples that were cancelled, retried or not logged: what it has beyond
  the samples are calls of the run.
- A run is named by its file. Screenshots are not files: ``image`` reads them from the log.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Raw

from evalgauge.events import Event, LlmCall, PlannedTask, RunFinished, RunStarted, token_fields
from evalgauge.integrations.inspect.outcomes import BATCHED
from evalgauge.model_names import ModelName
from evalgauge.runlog import Problem
from evalgauge.values import parse_count, parse_id, parse_timestamp
from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader, LogReader
from evalgauge_exporter.sources.inspect.header import (
    Counts,
    count_samples,
    find_start,
    list_reduced_samples,
    list_unlogged_usage,
    parse_model,
    parse_modifiers,
    parse_tags,
)
from evalgauge_exporter.sources.inspect.sample_document import parse_sample
from evalgauge_exporter.sources.inspect.samples import add_sample
from evalgauge_exporter.sources.parsing import FileFingerprint, fingerprint, is_absent, parse_json
from evalgauge_exporter.sources.storage import files

SUFFIX = ".eval"
READ_BYTES = 32 << 20
"""Bytes of samples that are read before other runs get their turn."""
_START = "_journal/start.json"
_HEADER = "header.json"
_REDUCTIONS = "reductions.json"
_FINAL = ("success", "error", "cancelled")
_BROKEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)

Document = TypeVar("Document")


def matches_file(path: Path) -> bool:
    """Return whether a file is such a log."""
    if path.suffix != SUFFIX:
        return False
    return files.read_head(path, 4) == b"PK\x03\x04"


class InspectLogSource:
    """Reads one log."""

    source = "inspect"

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The log's file.
            success_threshold: The least score of a success.
        """
        self.folder = place.parent
        self._path = place
        self._threshold = success_threshold
        self._read_fingerprint: FileFingerprint | None = None
        self._samples: dict[str, int] = {}
        """Checksums of the members that were read, by name."""
        self._scorers: list[str] = []
        self._run_start = 0.0
        self._written_at = 0.0
        """When the file was last changed, in Unix seconds."""
        self._counted: Counts = {}
        """Tokens of the calls that were returned."""
        self._batch = False
        self._service_tier: str | None = None
        self._model: ModelName = ModelName(None, None)
        self._seq = 0
        self._latest = 0.0
        self._started = False
        self._finished = False
        self._reported: set[str] = set()
        self._images: tuple[str, dict[str, Raw]] | None = None
        """The attachments of the sample that an image was last asked of, by its member's name."""
        self._members: tuple[FileFingerprint | None, Mapping[str, Any]] | None = None
        """The members of the log as it was when an image was last asked for: there may be hundreds of each."""

    @property
    def declared_run_id(self) -> str | None:
        """Always None: a run is named by its file."""
        return None

    def fingerprint(self) -> str | None:
        """Return the file's size and time; None where there is no file."""
        found = fingerprint(self._path)
        return None if found is None else f"{found.size}:{found.mtime_ns}"

    def watch_paths(self) -> list[Path]:
        """Return the folder of the log while the run is running."""
        return [] if self._finished else [self.folder]

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the events of the samples that were added since the last call."""
        result = ReadResult()
        if self._finished and not full_scan:
            return result
        try:
            now = fingerprint(self._path)
        except OSError as error:
            result.note_unreadable(error, self._path)
            return result
        if now is None:
            result.missing = True
            return result
        if now == self._read_fingerprint:
            return result
        self._written_at = now.mtime_ns / 1e9
        try:
            with self._open() as log:
                self._read_members(log, result)
        except OSError as error:
            if not is_absent(error):
                result.note_unreadable(error, self._path)
            return result
        except EvalZipError as error:
            if not self._samples:  # else it is being written: the next read finds it whole
                self._report(result, error.reason, f"{self._path}: {error}")
        if not result.has_more and result.unreadable is None:
            self._read_fingerprint = now
        return result

    def image(self, screenshot: str) -> bytes | None:
        """Return the bytes of a step's screenshot; None where the log has no such image."""
        member, _, name = screenshot.removeprefix(f"{self._path.name}/").rpartition("/")
        if self._images is None or self._images[0] != member:
            try:
                now = fingerprint(self._path)
                with self._open(self._members[1] if self._members and self._members[0] == now else None) as log:
                    self._members = now, log.members
                    sample = parse_sample(log.read(member))
            except (EvalZipError, OSError, *_BROKEN):
                return None
            self._images = (member, (sample.attachments if sample is not None else None) or {})
        found = self._images[1].get(name.rpartition(".")[0])
        try:
            content = parse_json(bytes(found)) if found is not None else None
            if not isinstance(content, str) or not content.startswith("data:image/"):
                return None
            head, _, body = content.partition(",")
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else None
        except ValueError:  # no text in UTF-8, or no base64
            return None

    # -- reading the members

    def _open(self, members: Mapping[str, Any] | None = None) -> LogReader:
        """Open the log; ``members`` where they are known. Raises OSError and EvalZipError."""
        return EvalZipReader(self._path, members)

    def _read_members(self, log: LogReader, result: ReadResult) -> None:
        missing = [name for name in self._samples if name not in log.members]
        changed = [
            name
            for name, checksum in self._samples.items()
            if name in log.members and checksum != log.members[name].CRC
        ]
        if (missing and log.whole) or changed:
            result.restarted = True
            return
        header = self._read_object(log, _HEADER, result) if _HEADER in log.members else None
        if not self._started:
            start = header if header is not None else self._read_object(log, _START, result)
            if start is None:
                return
            self._add_run_start(start, result, sum(name.startswith("samples/") for name in log.members))
        size = 0
        fresh = [name for name in log.members if name.startswith("samples/") and name not in self._samples]
        attempts: list[AttemptBuilder] = []
        for name in fresh:
            if size > READ_BYTES:
                result.has_more = True
                break
            size += log.members[name].file_size
            try:
                attempt = self._read_sample(log, name, result)
            except OSError as error:
                result.note_unreadable(error, self._path)
                break
            self._samples[name] = log.members[name].CRC
            if attempt is not None:
                attempts.append(attempt)
        attempts.sort(key=lambda attempt: (attempt.events[-1].ts, attempt.events[0].ts))
        for attempt in attempts:
            for event in attempt.events:
                self._append(event, result)
        if header is not None and not result.has_more and result.unreadable is None and not self._finished:
            self._add_unlogged(log, header, result)
            self._add_run_finish(header, result)

    def _add_run_start(self, content: dict[str, Any], result: ReadResult, logged: int) -> None:
        task = content.get("eval")
        task = task if isinstance(task, dict) else {}
        dataset, config = task.get("dataset"), task.get("config")
        dataset = dataset if isinstance(dataset, dict) else {}
        config = config if isinstance(config, dict) else {}
        # where every sample is there the ids add nothing, and what rewrites logs renames samples
        is_whole = logged > 0 and logged == parse_count(as_object(content.get("results")).get("total_samples"))
        ids = dataset.get("sample_ids") if not is_whole else None
        planned = tuple(
            PlannedTask(task_id)
            for each in (ids if isinstance(ids, list) else ())
            if (task_id := parse_id(each, accept_unknown=True))
        )
        scorers = task.get("scorers")
        self._scorers = [
            str(scorer["name"])
            for scorer in (scorers if isinstance(scorers, list) else ())
            if isinstance(scorer, dict) and "name" in scorer
        ]
        epochs = max(1, min(parse_count(config.get("epochs")) or 1, 1000))
        at = find_start(content)
        self._run_start = at if at is not None else self._written_at
        self._started = True
        self._batch, self._service_tier = parse_modifiers(content)
        self._model = parse_model(task)
        self._append(
            RunStarted(
                ts=self._run_start,
                seq=0,
                writer=self.source,
                benchmark=parse_id(task.get("task")),
                model=self._model.model,
                agent=parse_id(task.get("solver")),
                tasks=planned,
                total_tasks=None if planned else count_samples(content, epochs),
                attempts=epochs,
                tags=parse_tags(task),
            ),
            result,
        )

    def _read_sample(self, log: LogReader, name: str, result: ReadResult) -> AttemptBuilder | None:
        sample = self._read_document(log, name, result, parse_sample)
        if sample is None:
            return None
        task_id, epoch = parse_id(sample.id, accept_unknown=True), parse_count(sample.epoch)
        if task_id is None:
            self._report(result, "foreign_file", f"{self._path}: {name}: a sample without an id")
            return None
        attempt = AttemptBuilder(self.source, task_id, epoch if epoch is not None else 1)
        try:
            add_sample(sample, attempt, f"{self._path.name}/{name}", self._threshold, self._scorers, self._run_start)
        except _BROKEN as error:
            self._report(result, "foreign_file", f"{self._path}: {name}: {type(error).__name__}: {str(error)[:200]}")
            return None
        return attempt

    def _add_unlogged(self, log: LogReader, header: dict[str, Any], result: ReadResult) -> None:
        """Add what only the header of a finished run states."""
        stats = header.get("stats")
        at = parse_timestamp(stats.get("completed_at")) if isinstance(stats, dict) else None
        if header.get("status") not in _FINAL:
            return
        if not self._samples:
            reductions = self._read_reductions(log) or as_object(header.get("results")).get("sample_reductions")
            for sample in list_reduced_samples(header, reductions):
                attempt = AttemptBuilder(self.source, sample.id)
                add_sample(sample, attempt, "", self._threshold, self._scorers, self._run_start)
                for event in attempt.events:
                    self._append(event, result)
        for name, tokens in list_unlogged_usage(header, self._counted):
            end = at if at is not None else self._latest
            call = LlmCall(ts=end, writer=self.source, provider=name.provider, model=name.model, **token_fields(tokens))
            self._append(call, result)

    def _read_reductions(self, log: LogReader) -> Any:
        try:
            return parse_json(log.read(_REDUCTIONS)) if _REDUCTIONS in log.members else None
        except (EvalZipError, *_BROKEN):
            return None

    def _add_run_finish(self, header: dict[str, Any], result: ReadResult) -> None:
        status = header.get("status")
        if status not in _FINAL:
            return
        stats = header.get("stats")
        at = parse_timestamp(stats.get("completed_at")) if isinstance(stats, dict) else None
        self._finished = True
        end = max(at if at is not None else 0.0, self._latest)
        self._append(
            RunFinished(ts=end, seq=0, writer=self.source, status="completed" if status == "success" else "aborted"),
            result,
        )

    def _read_object(self, log: LogReader, name: str, result: ReadResult) -> dict[str, Any] | None:
        return self._read_document(log, name, result, _parse_object)

    def _read_document(
        self, log: LogReader, name: str, result: ReadResult, parse: Callable[[bytes], Document | None]
    ) -> Document | None:
        try:
            content = parse(log.read(name))
        except KeyError:
            return None
        except EvalZipError as error:
            self._report(result, error.reason, f"{self._path}: {error}")
            return None
        except (ValueError, RecursionError):
            self._report(result, "torn_file", f"{self._path}: {name}: not whole JSON")
            return None
        if content is None:
            self._report(result, "foreign_file", f"{self._path}: {name}: not a JSON object")
        return content

    def _append(self, event: Event, result: ReadResult) -> None:
        self._seq += 1
        self._latest = max(self._latest, event.ts)
        if isinstance(event, LlmCall):
            event.batch = event.batch or (self._batch and event.provider in BATCHED)
            if not event.batch and ModelName(event.provider, event.model) == self._model:
                event.service_tier = event.service_tier or self._service_tier
            counts = self._counted.setdefault(ModelName(event.provider, event.model), [0, 0, 0, 0])
            for kind, count in enumerate(event.tokens):
                counts[kind] += count or 0
        event.seq = self._seq
        result.events.append(event)

    def _report(self, result: ReadResult, reason: str, detail: str) -> None:
        if detail not in self._reported and len(self._reported) < 10_000:
            self._reported.add(detail)
            result.problems.append(Problem(reason, detail))


def _parse_object(data: bytes) -> dict[str, Any] | None:
    content = parse_json(data)
    return content if isinstance(content, dict) else None
