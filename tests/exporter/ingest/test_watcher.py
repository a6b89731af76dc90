"""Notifications of changes, whatever names lie in the watched folders."""

from __future__ import annotations

import os
import queue
from pathlib import Path

from evalgauge_exporter.ingest.watcher import Watcher
from tests.exporter.waiting import wait_for


def test_a_name_that_is_no_text_ends_the_notifications_of_its_own_folder_alone(tmp_path: Path) -> None:
    changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
    watcher = Watcher(changes)
    other = tmp_path / "run" / "events"
    other.mkdir(parents=True)
    watcher.watch([tmp_path, other])
    (tmp_path / "before").touch()
    wait_for(lambda: tmp_path / "before" in changes.get(timeout=60))
    number = iter(range(10**6))

    def is_polled() -> bool:
        os.mkdir(os.fsencode(tmp_path) + b"/bad\xff%d" % next(number))
        watcher.watch([tmp_path, other])
        return watcher._folders == {other}

    wait_for(is_polled)
    (other / "w.jsonl").touch()
    wait_for(lambda: other / "w.jsonl" in changes.get(timeout=60))
    watcher.stop()
