"""OpenAdapt's lists of its machines, found in the served folders: ``vm_registry.json`` and ``vm_pool_registry.json``.

The first is a list of machines with their ports, the second a pool with one size and region and a worker a machine.
OpenAdapt writes them in place, so one that is being written may be read half: it is read again at the next look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from stat import S_ISREG

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.parsing import parse_json
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import FleetEvent, RegisteredVm, RegistrySeen

NAMES = ("vm_registry.json", "vm_pool_registry.json")
INTERVAL = 10.0
SEARCH_SECONDS = 60.0
"""A results folder may hold thousands of runs: they are not looked through each time."""
SETTLED_SECONDS = 5.0
"""A file that changed less than so long ago and means nothing is being written."""
MAX_BYTES = 5_000_000
MAX_MACHINES = 2000
WAA_PORT = 5000
"""Where the WAA server of a pool's machine listens; the pool's file does not say."""
VNC_PORT = 8006

_Signature = tuple[int, int, int]
_UNREAD: _Signature = (0, 0, 0)


class VmRegistrySource(PollingSource):
    """The registries in the served folders and in the folders directly below them."""

    source = "registries"

    def __init__(self, roots: Iterable[Path], emit: Emit, interval: float = INTERVAL) -> None:
        super().__init__("registries", interval, emit)
        self._roots = [root.absolute() for root in roots]
        self._read: dict[Path, _Signature] = {}
        self._shown: set[Path] = set()
        self._searched_at: float | None = None

    def refresh(self) -> Iterator[FleetEvent]:
        """Every registry that is new or changed; those that are gone."""
        failure: RefreshError | None = None
        present = set()
        for file, signature in self._files():
            present.add(file)
            if self._read.get(file) == signature:
                continue
            try:
                machines = read_registry(file)
            except (OSError, ValueError) as error:
                if time.time() - signature[0] / 1e9 < SETTLED_SECONDS:
                    self._read[file] = _UNREAD
                    continue
                failure = RefreshError("malformed", f"{file} is no registry of machines: {error}")
            else:
                self._shown.add(file)
                yield RegistrySeen(time.time(), str(file), machines)
            self._read[file] = signature
        for file in [file for file in self._read if file not in present]:
            del self._read[file]
            if file in self._shown:
                self._shown.discard(file)
                yield RegistrySeen(time.time(), str(file), ())
        if failure is not None:
            raise failure

    def _files(self) -> Iterator[tuple[Path, _Signature]]:
        for folder in self._folders():
            for name in NAMES:
                file = folder / name
                try:
                    status = file.stat()
                except OSError:
                    continue
                if not S_ISREG(status.st_mode):  # a pipe would be waited for
                    continue
                yield file, (status.st_mtime_ns, status.st_size, status.st_ino)

    def _folders(self) -> dict[Path, None]:
        """The served folders, those with a registry, and every minute also all others below the served ones."""
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
    """The machines of a registry file. Raises OSError, or ValueError with what is wrong in it."""
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
            by_name[name] = _registered(name, row, pool)
    return tuple(by_name.values())


def _registered(name: str, row: Mapping[str, object], pool: Mapping[str, object]) -> RegisteredVm:
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
