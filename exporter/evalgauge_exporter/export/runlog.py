"""Conversion of any run to a run log: the events of its source as lines, with its screenshots beside them.

Folding the log gives the same state as folding the source, so a converted run shows the same figures everywhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from evalgauge.events import (
    VERSION,
    Event,
    RunStarted,
    Step,
)
from evalgauge.runlog import EVENTS_FOLDER, encode, safe_name
from evalgauge_exporter.errors import ConvertError, EmptyRunError
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import FoundRun

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
_TRIES = 3


def convert(found: FoundRun, out: Path) -> int:
    """Write a run to ``<out>/<run id>/``; the folder appears once it is complete.

    Args:
        found: The run.
        out: The folder for converted runs.

    Returns:
        The number of events.

    Raises:
        ConvertError: The folder exists already, or the run no longer exists or keeps changing.
        EmptyRunError: The run holds no events.
        OSError: ``out`` can't be written.
    """
    run_id = found.source.declared_run_id or found.path_id
    target = out / safe_name(run_id)
    if target.exists():
        raise ConvertError(f"{target} exists already; name another folder with --out, or remove it")
    part = out / f".{target.name}.part"
    try:
        for _ in range(_TRIES):
            shutil.rmtree(part, ignore_errors=True)
            written = _Conversion(found, part).run()
            if written is not None:
                os.rename(part, target)
                return written
        raise ConvertError(f"{found.folder} is being rewritten all the time; convert it once it has finished")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def encode_event(event: Event, run_id: str | None = None) -> bytes:
    """Encode an event as a line of a run log.

    Args:
        event: The event.
        run_id: The id that a start of the run states; by default its own.

    Returns:
        The line without its newline.
    """
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
    del fields["writer"]
    if isinstance(event, RunStarted):
        fields["tasks"] = [msgspec.structs.asdict(planned) for planned in event.tasks]
        fields["run_id"] = run_id or event.run_id
    kind = event.__struct_config__.tag
    return encode({"v": VERSION, "seq": fields.pop("seq"), "ts": fields.pop("ts"), "type": kind, **fields})


class _Conversion:
    """One try to write a run, with a source of its own, so that whoever follows the run is not disturbed."""

    def __init__(self, found: FoundRun, target: Path) -> None:
        self._found = found
        self._target = target
        self._source: RunSource = found.open_source()
        self._logs: dict[str, BinaryIO] = {}
        self._copied: set[str] = set()
        self._real = Path(os.path.realpath(self._source.folder))

    def run(self) -> int | None:
        """Return the number of events written, None where the run was restarted meanwhile."""
        written = 0
        (self._target / EVENTS_FOLDER).mkdir(parents=True)
        try:
            has_more = True
            while has_more:
                result = self._source.read()
                if result.missing:
                    raise ConvertError(f"{self._found.folder} no longer exists")
                if result.restarted:
                    return None
                run_id = self._source.declared_run_id or self._found.path_id
                for event in result.events:
                    self._open_log(event.writer).write(encode_event(event, run_id) + b"\n")
                    if isinstance(event, Step) and event.screenshot is not None:
                        self._copy_screenshot(event.screenshot)
                written += len(result.events)
                has_more = result.has_more
        finally:
            for log in self._logs.values():
                log.close()
        if not written:
            raise EmptyRunError(f"{self._found.folder} holds no events: there is nothing to convert")
        return written

    def _open_log(self, writer: str) -> BinaryIO:
        log = self._logs.get(writer)
        if log is None:
            log = self._logs[writer] = (self._target / EVENTS_FOLDER / f"{safe_name(writer)}.jsonl").open("ab")
        return log

    def _copy_screenshot(self, screenshot: str) -> None:
        """Copy a screenshot to the path that the log names; what lies outside the run's folder is not copied."""
        target = Path(os.path.normpath(self._target / screenshot))
        if (
            screenshot in self._copied
            or target.suffix.lower() not in IMAGE_SUFFIXES
            or self._target not in target.parents
        ):
            return
        self._copied.add(screenshot)
        image: Callable[[str], bytes | None] | None = getattr(self._source, "image", None)
        try:
            data = image(screenshot) if image is not None else None
            if data is None:
                path = Path(os.path.realpath(self._source.folder / screenshot, strict=True))
                if self._real not in path.parents or not path.is_file():
                    return
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        except FileNotFoundError:  # the log names a file that does not exist
            return
        except (OSError, ValueError) as error:
            if not self._target.is_dir() or getattr(error, "errno", None) is not None:
                raise
