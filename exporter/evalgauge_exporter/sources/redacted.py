"""A source of which everything is redacted before anyone sees it: for replays and exports that are shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from evalgauge.events import Event, RunStarted, Step, TaskStarted
from evalgauge.redact import Redactor, cover_image
from evalgauge_exporter.sources.base import ReadResult, RunSource, WrappedSource
from evalgauge_exporter.sources.discovery import FoundRun

TEXT_FIELDS = ("instruction", "reasoning", "observation", "message", "text", "error", "reason", "answer", "target")
COVERED = "redacted:"
"""Prefix of the paths of screenshots with boxes: no such file exists, so that they are read from the source alone."""


class RedactedSource(WrappedSource):
    """Another source, with its texts masked and its screenshots covered.

    Args:
        source: The source.
        redactor: What is masked.
    """

    def __init__(self, source: RunSource, redactor: Redactor) -> None:
        super().__init__(source)
        self._redactor = redactor
        self._domains: dict[str, str | None] = {}
        self._tasks: dict[str, str] = {}
        """The task of each screenshot that is covered."""

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened since the last call, redacted."""
        result = self._inner.read(full_scan=full_scan)
        for event in result.events:
            self._redact(event)
        return result

    def image(self, screenshot: str) -> bytes | None:
        """Return the image of a step's screenshot, covered where a box is meant for it; None where there is none."""
        held: Callable[[str], bytes | None] | None = getattr(self._inner, "image", None)
        if not screenshot.startswith(COVERED):
            return held(screenshot) if held is not None else None
        name = screenshot.removeprefix(COVERED)
        folder = self.folder.resolve()
        path = (folder / name).resolve()
        if path.is_relative_to(folder) and path.is_file():
            image: bytes | None = path.read_bytes()
        else:
            image = held(name) if held is not None else None
        task_id = self._tasks[screenshot]
        return None if image is None else cover_image(image, self._redactor.boxes_for(task_id, self._domains[task_id]))

    def _redact(self, event: Event) -> None:
        redact = self._redactor
        for name in TEXT_FIELDS:
            text = getattr(event, name, None)
            if isinstance(text, str):
                setattr(event, name, redact.redact_text(text))
        if isinstance(event, RunStarted):
            event.tags = {key: redact.redact_text(value) for key, value in event.tags.items()}
            event.tasks = tuple(
                msgspec.structs.replace(
                    task, instruction=None if task.instruction is None else redact.redact_text(task.instruction)
                )
                for task in event.tasks
            )
            self._domains.update({task.task_id: task.domain for task in event.tasks})
        elif isinstance(event, TaskStarted):
            self._domains[event.task_id] = event.domain or self._domains.get(event.task_id)
        elif isinstance(event, Step):
            event.action = redact.redact_free_fields(event.action)
            domain = self._domains.setdefault(event.task_id, None)
            if event.screenshot is not None and redact.boxes_for(event.task_id, domain):
                event.screenshot = f"{COVERED}{event.screenshot}"
                self._tasks[event.screenshot] = event.task_id


def redact_run(found: FoundRun, redactor: Redactor) -> FoundRun:
    """Return a run that is read redacted."""

    def open_source(place: Path) -> Any:
        return RedactedSource(found.make(place), redactor)

    return found._replace(source=RedactedSource(found.source, redactor), make=open_source)
