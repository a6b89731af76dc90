"""OpenAdapt's registries of machines in the served folders: ``vm_registry.json`` and ``vm_pool_registry.json``.

The first is a list of machines with their ports, the second a pool with one size, one region and one worker per
machine. OpenAdapt writes them in place, so a half-written file may be read: it is read again at the next refresh.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from stat import S_ISREG

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.parsing import FileFingerprint, parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, RegisteredVm, RegistrySeen

NAMES = ("vm_registry.json", "vm_pool_registry.json")
INTERVAL = 10.0
SEARCH_SECONDS = 60.0
"""Seconds between two searches: a results folder may hold thousands of runs."""
SETTLED_SECONDS = 5.0
"""A file that changed less than this many seconds ago and can't be parsed is still being written."""
MAX_BYTES = 5_000_000
MAX_MACHINES = 2000
WAA_PORT = 5000
"""The port of the WAA server on a pool's machine, which the pool's file does not state."""
VNC_PORT = 8006

_UNREAD = FileFingerprint(0, 0, 0)


class VmRegistrySource(PollingSource):
    """A source that reads the registries in the served folders and in the folders directly below them.

    Args:
        roots: The served folders.
        emit: Takes the events.
        interval: Seconds between two refreshes.
    """

    source = "registries"

    def __init__(self, roots: Iterable[Path], emit: Emit, interval: float = INTERVAL) -> None:
        super().__init__("registries", interval, emit)
        self._roots = [root.absolute() for root in roots]
        self._read: dict[Path, FileFingerprint] = {}
        self._emitted: set[Path] = set()
        self._searched_at: float | None = None

    def refresh(self) -> Iterator[FleetEvent]:
        """Yield every registry that is new, changed or gone."""
        failure: RefreshError | None = None
        present = set()
        for file, found in self._list_files():
            present.add(file)
            if self._read.get(file) == found:
                continue
            try:
                machines = read_registry(file)
            except (OSError, ValueError) as error:
                if time.time() - found.mtime_ns / 1e9 < SETTLED_SECONDS:
                    self._read[file] = _UNREAD
                    continue
                failure = RefreshError("malformed", f"{file} is no registry of machines: {error}; fix or remove it")
            else:
                self._emitted.add(file)
                yield RegistrySeen(time.time(), str(file), machines)
            self._read[file] = found
        for file in [file for file in self._read if file not in present]:
            del self._read[file]
            if file in self._emitted:
                self._emitted.discard(file)
                yield RegistrySeen(time.time(), str(file), ())
        if failure is not None:
            raise failure

    def _list_files(self) -> Iterator[tuple[Path, FileFingerprint]]:
        for folder in self._list_folders():
            for name in NAMES:
                file = folder / name
                try:
                    status = file.stat()
                except OSError:
                    continue
                if not S_ISREG(status.st_mode):  # a pipe would be waited for
                    continue
                yield file, FileFingerprint(status.st_mtime_ns, status.st_size, status.st_ino)

    def _list_folders(self) -> dict[Path, None]:
        """Return the served folders, those with a registry, and once a minute all others directly below."""
        folders = dict.fromkeys(self._roots) | {file.parent: None for file in self._read}
        if self._searched_at is None or time.monotonic() - self._searched_at >= SEARCH_SECONDS:
            self._searched_at = time.monotonic()
            for root in self._roots:
                try:
                    with os.scandir(root) as entries:
                        below = [Path(entry.path) for entry in entries if entry.is_dir() and entry.name[0] != "."]
                except OSError:
                    continue
                folders |= dict.fromkeys(below)
        return folders


def read_registry(file: Path) -> tuple[RegisteredVm, ...]:
    """Return the machines of a registry file.

    Raises:
        OSError: It can't be read.
        ValueError: It is no registry; the message states why.
    """
    if file.stat().st_size > MAX_BYTES:
        raise ValueError("it is too large")
    content = parse_json(file.read_bytes())
    if isinstance(content, list):
        rows, pool = content, {}
    elif isinstance(content, Mapping) and isinstance(content.get("workers"), list):
        rows, pool = content["workers"], dict(content)
    else:
        raise ValueError("it holds neither a list of machines nor a pool with workers")
    by_name: dict[str, RegisteredVm] = {}
    for row in rows[:MAX_MACHINES]:
        if isinstance(row, Mapping) and (name := _text(row.get("name"))):
            by_name[name] = _read_machine(name, row, pool)
    return tuple(by_name.values())


def _read_machine(name: str, row: Mapping[str, object], pool: Mapping[str, object]) -> RegisteredVm:
    active = bool(pool) and pool.get("status") != "paused"
    return RegisteredVm(
        name=name,
        host=_text(row.get("ssh_host") or row.get("ip")),
        ssh_user=_text(row.get("ssh_user") or pool.get("ssh_username")),
        vnc_port=_port(row.get("vnc_port")) or (VNC_PORT if active else None),
        waa_port=_port(row.get("waa_port")) or (WAA_PORT if active else None),
        docker_container=_text(row.get("docker_container")),
        internal_ip=_text(row.get("internal_ip")),
        size=_text(pool.get("vm_size")),
        location=_text(pool.get("location")),
        resource_group=_text(pool.get("resource_group")),
        status=_text(row.get("status")),
        current_task=_text(row.get("current_task")),
    )


def _text(value: object) -> str | None:
    return value.strip()[:300] or None if isinstance(value, str) else None


def _port(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535 else None
