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
    number = iter(range(10**6))

    def is_noticed(folder: Path) -> bool:
        """Whether a new file in it is noticed: nothing says when the notifications have begun."""
        name = folder / f"{next(number)}.jsonl"
        name.touch()
        try:
            while name not in changes.get(timeout=0.5):
                pass
        except queue.Empty:
            return False
        return True

    watcher.watch([tmp_path, other])
    wait_for(lambda: is_noticed(tmp_path))

    def is_polled() -> bool:
        os.mkdir(os.fsencode(tmp_path) + b"/bad\xff%d" % next(number))
        watcher.watch([tmp_path, other])
        return watcher._folders == {other}

    wait_for(is_polled)
    wait_for(lambda: is_noticed(other))
    watcher.stop()
