"""Which evaluation an Inspect log is of: copies of a log have the same, and so has the log of ``inspect eval-retry``.

``eval.task_id`` is made anew for each task and model of an evaluation and kept when it is tried again; the samples that
were complete are then written to the new log too. Its ``created`` is later. vitals is different: there it is a hash of
the task, the same for every evaluation and every model, so what tells its evaluations apart is ``eval.run_id``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from evalgauge.values import parse_id, parse_timestamp
from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.base import RunIdentity
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader
from evalgauge_exporter.sources.parsing import parse_json, read_head

_FIELD = re.compile(rb'"(created|task|task_id|run_id)"\s*:\s*("(?:[^"\\]|\\.)*")')
_HASH = re.compile(r"[0-9a-f]{20,}\Z")
"""The ids of Inspect have other letters too."""
_DOCUMENTS = ("_journal/start.json", "header.json")


def identify_log(path: Path) -> RunIdentity | None:
    """Return what evaluation a log is of; None where it does not tell."""
    try:
        with EvalZipReader(path) as log:
            name = next((name for name in _DOCUMENTS if name in log.members), None)
            content = parse_json(log.read(name)) if name is not None else None
    except (EvalZipError, ValueError):
        return None
    return _make_identity(as_object(as_object(content).get("eval")))


def identify_json_log(path: Path) -> RunIdentity | None:
    """Return what evaluation a log in JSON is of, by its beginning; None where that does not tell."""
    stated: dict[str, object] = {}
    for found in _FIELD.finditer(read_head(path, 1 << 13)):
        try:
            stated.setdefault(found[1].decode(), parse_json(found[2]))
        except ValueError:
            continue
    return _make_identity(stated)


def _make_identity(task: Mapping[str, object]) -> RunIdentity | None:
    task_id, name = parse_id(task.get("task_id")), parse_id(task.get("task"))
    if task_id is None or name is None:
        return None
    if _HASH.match(task_id):
        task_id = parse_id(task.get("run_id")) or task_id
    return RunIdentity(f"inspect:{name}:{task_id}", parse_timestamp(task.get("created")) or 0.0)
