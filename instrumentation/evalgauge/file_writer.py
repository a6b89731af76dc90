"""Files that are written off the calling thread: the screenshots beside a log.

One thread a process, which lives while there is something to write. It is no daemon, so the interpreter waits for it
however the program ends: at the end of the main module, by an exception, by ``sys.exit``, and in the children of
``multiprocessing``, which run no ``atexit`` functions. What ends a process without Python (``os._exit``, SIGKILL, a
SIGTERM that nobody handles) loses what is waiting, which is bounded.

The thread takes no lock that a caller may hold: a signal's handler may interrupt a caller anywhere, and wait for it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

MAX_BYTES = 64 << 20
"""Bytes that wait to be written; a caller for whose file there is no room writes it itself."""
MAX_FILES = 256
"""Files that wait to be written; likewise."""
IDLE_SECONDS = 1.0
"""After so long without a file the thread ends; a process that ends waits no longer for it."""

Failed = Callable[[Exception], None]
_numbers = count()


class FileWriter:
    """Writes files in the background, in the order in which they came. Thread-safe."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: what waits is the parent's to write."""
        self._lock = threading.RLock()
        self._sizes: deque[int] = deque()
        self._failures: deque[tuple[Failed, Exception]] = deque()
        self._thread: _WriterThread | None = None

    def write(self, path: Path, content: Callable[[], bytes], size: int, failed: Failed) -> None:
        """Write a file soon; at once where too much is waiting. Readers see the whole file or none.

        Args:
            path: The file; its folder is made.
            content: Returns what is to be written; called in another thread.
            size: About the bytes that ``content`` holds in memory until then.
            failed: Called with the error if the file could not be written: by a later ``write`` or ``flush``.
        """
        self._report_failures()
        with self._lock:
            has_room = len(self._sizes) < MAX_FILES and sum(self._sizes.copy()) + size <= MAX_BYTES
            if has_room:
                self._sizes.append(size)

        def work() -> None:
            try:
                write_whole(path, content())
            except Exception as error:
                self._failures.append((failed, error))

        def work_and_make_room() -> None:
            work()
            self._sizes.popleft()

        if has_room:
            self._running_thread().put(work_and_make_room)
        else:
            work()
            self._report_failures()

    def flush(self, *, stop: bool = False) -> None:
        """Wait until everything that was to be written before is written.

        Args:
            stop: Whether the thread ends then; the next ``write`` starts another.
        """
        thread = self._thread
        if thread is not None:
            done = threading.Event()
            thread.put(done.set)
            if stop:
                thread.put(None)
            done.wait()
        self._report_failures()

    def _running_thread(self) -> _WriterThread:
        with self._lock:
            if self._thread is None or self._thread.closed:
                self._thread = _WriterThread()
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending, or the system allows no more threads
                    self._thread.closed = True
            return self._thread

    def _report_failures(self) -> None:
        while True:
            try:
                failed, error = self._failures.popleft()
            except IndexError:
                return
            failed(error)


class _WriterThread(threading.Thread):
    """Does one thing after another until it is told to end or has nothing to do for a while."""

    def __init__(self) -> None:
        super().__init__(name="evalgauge-files", daemon=False)
        self.closed = False
        """Once True, whoever puts something in does it himself."""
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def put(self, work: Callable[[], None] | None) -> None:
        """Have something done; None ends the thread. Safe in a signal's handler."""
        self._queue.put(work)
        if self.closed:  # perhaps after its last look into the queue
            if self.is_alive():
                self.join()
            self._drain()

    def run(self) -> None:
        """Work until told to end."""
        try:
            while (work := self._queue.get(timeout=IDLE_SECONDS)) is not None:
                work()
                del work  # an image is not kept while nothing happens
        except Empty:
            pass
        self.closed = True
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                work = self._queue.get_nowait()
            except Empty:
                return
            if work is not None:
                work()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or the one before.

    Args:
        path: The file; its folder is made.
        content: What is in it.

    Raises:
        OSError: It could not be written; nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers):x}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:  # a full disk may have taken a part
        part.unlink(missing_ok=True)
        raise


background_files = FileWriter()
"""The writer of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background_files.forget)
