"""Any run as a run log: what its source tells is written down, with its screenshots beside it.

Folding the log gives the same state as folding the source, so a converted run shows the same figures everywhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from evalgauge.events import (
    VERSION,
    Event,
    Heartbeat,
    LlmCall,
    LogLine,
    RunFinished,
    RunStarted,
    Step,
    TaskFinished,
    TaskStarted,
    WorkerState,
)
from evalgauge.runlog import EVENTS_FOLDER, encode, safe_name
from evalgauge_exporter.errors import ConvertError
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.discovery import Found

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
_TRIES = 3
_TYPES: dict[type, str] = {
    RunStarted: "run_started",
    WorkerState: "worker_state",
    TaskStarted: "task_started",
    Step: "step",
    LlmCall: "llm_call",
    LogLine: "log",
    TaskFinished: "task_finished",
    RunFinished: "run_finished",
    Heartbeat: "heartbeat",
}


def convert(found: Found, out: Path) -> int:
    """Write the run to ``<out>/<run id>/`` and return how many events it has.

    The folder appears when it is whole. Raises ConvertError where it is there already or the run is not there any more,
    OSError where ``out`` can't be written.
    """
    run_id = found.source.declared_run_id or found.path_id
    target = out / safe_name(run_id)
    if target.exists():
        raise ConvertError(f"{target} is there already; name another folder with --out, or remove it")
    part = out / f".{target.name}.part"
    try:
        for _ in range(_TRIES):
            shutil.rmtree(part, ignore_errors=True)
            written = _Writing(found, part).run()
            if written is not None:
                os.rename(part, target)
                return written
        raise ConvertError(f"{found.folder} is being written anew all the time; convert it once it is over")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def line_of(event: Event, run_id: str | None = None) -> bytes:
    """An event as a line of a run log, without its newline; ``run_id`` is what a start of the run says."""
    fields: dict[str, Any] = event._asdict()
    del fields["writer"]
    if isinstance(event, RunStarted):
        fields["tasks"] = [planned._asdict() for planned in event.tasks]
        fields["run_id"] = run_id or event.run_id
    elif isinstance(event, LlmCall):
        counted = fields.pop("tokens")
        fields |= {f"{kind}_tokens": number for kind, number in counted._asdict().items()}
    head = {"v": VERSION, "seq": fields.pop("seq"), "ts": fields.pop("ts"), "type": _TYPES[type(event)]}
    return encode({**head, **fields})


class _Writing:
    """One try to write a run down, with a source of its own: whoever follows the run is not disturbed."""

    def __init__(self, found: Found, target: Path) -> None:
        self._found = found
        self._target = target
        self._source: RunSource = found.fresh()
        self._logs: dict[str, BinaryIO] = {}
        self._copied: set[str] = set()
        self._real = Path(os.path.realpath(self._source.folder))

    def run(self) -> int | None:
        """How many events were written, None where the run was written anew meanwhile."""
        written = 0
        (self._target / EVENTS_FOLDER).mkdir(parents=True)
        try:
            more = True
            while more:
                reading = self._source.read()
                if reading.missing:
                    raise ConvertError(f"{self._found.folder} is there no more")
                if reading.restarted:
                    return None
                run_id = self._source.declared_run_id or self._found.path_id
                for event in reading.events:
                    self._log(event.writer).write(line_of(event, run_id) + b"\n")
                    if isinstance(event, Step) and event.screenshot is not None:
                        self._keep(event.screenshot)
                written += len(reading.events)
                more = reading.has_more
        finally:
            for log in self._logs.values():
                log.close()
        if not written:
            raise ConvertError(f"{self._found.folder} holds no events: there is nothing to convert")
        return written

    def _log(self, writer: str) -> BinaryIO:
        log = self._logs.get(writer)
        if log is None:
            log = self._logs[writer] = (self._target / EVENTS_FOLDER / f"{safe_name(writer)}.jsonl").open("ab")
        return log

    def _keep(self, screenshot: str) -> None:
        """Copy a picture to where the log says that it is; what lies outside the run's folder stays there."""
        target = Path(os.path.normpath(self._target / screenshot))
        if screenshot in self._copied or target.suffix.lower() not in PICTURES or self._target not in target.parents:
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
        except FileNotFoundError:  # the log says that there is one, and there is not
            return
        except (OSError, ValueError) as error:
            if not self._target.is_dir() or getattr(error, "errno", None) is not None:
                raise
