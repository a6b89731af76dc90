"""The interface of clouds: machines, their power states and their prices.

A cloud is a `Cloud`, which opens a `CloudReader` for each refresh, and may have a `PriceList`. `CloudSource` reads any
of them: the slow inventory and the fast power states, list by list. Each list of `CloudReader.list_parts` succeeds or
fails by itself. Packages add clouds through the entry-point group ``evalgauge.clouds``; see docs/aws.md.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.polling import Emit, PollingSource
from evalgauge_exporter.state.fleet_events import (
    FleetEvent,
    PriceKey,
    RateLimitSeen,
    Skipped,
    VmInfo,
    VmInterruption,
    VmInventory,
    VmPowerState,
    VmPowerStates,
)

ENTRY_POINTS = "evalgauge.clouds"
LOW_RATE_LIMIT = 30
"""Where a cloud accepts fewer requests than this, the next refresh waits twice as long."""
MAX_SKEW = 5.0
"""Seconds by which a cloud's clock may differ from ours before its times are corrected; network delay is less."""


class Access(NamedTuple):
    """Whether something of a cloud may be read, found by trying it."""

    what: str
    """The action or right: ``ec2:DescribeInstances``."""
    reason: str | None
    """Why not, as the ``reason`` of a `RefreshError`; None where it is allowed."""
    detail: str


class CloudReader(ABC):
    """One refresh of a cloud. Its methods raise `RefreshError`, of which ``throttled`` ends the refresh."""

    skew: float = 0.0
    """Seconds that the cloud's clock is behind ours, known once it has answered."""
    rate_limits: Mapping[str, int] = {}
    """How many more requests the cloud accepts now, by bucket."""

    @abstractmethod
    def list_parts(self) -> Iterator[str]:
        """Yield the names of the account's lists that are read one by one, such as regions.

        What was yielded before an error is read all the same.
        """

    @abstractmethod
    def read_inventory(self, part: str) -> Iterator[VmInfo | None]:
        """Yield the machines of a list, None for one that can't be interpreted."""

    @abstractmethod
    def read_states(self, part: str) -> Iterator[VmPowerState | None]:
        """Yield the power states of the machines of a list, None for one that can't be interpreted."""

    def read_interruptions(self, part: str) -> Iterable[VmInterruption]:
        """Yield the notices that machines of a list end soon, or ended; after `read_states` of the same list."""
        return ()


class PriceList(ABC):
    """A cloud's list of hourly prices."""

    provider: ClassVar[str]
    name: ClassVar[str]
    """For people and for the file of the cache: ``azure retail prices``."""

    @abstractmethod
    def get_lookup(self, key: PriceKey) -> tuple[str, float]:
        """Return what is looked up for a price, and for how many seconds the result is valid.

        Keys with the same name, of the same region and size, are looked up together.
        """

    @abstractmethod
    def open(self) -> AbstractContextManager[Callable[[PriceKey], Mapping[str, float]]]:
        """Return the lookup for one refresh.

        It returns the prices in USD an hour by `name_variant`, without those that the list does not have, and raises
        RefreshError.
        """

    def get_source(self, key: PriceKey) -> str:
        """Return what prices a machine, for the label ``priced_by``."""
        return self.name


class Cloud(ABC):
    """One account at one cloud."""

    provider: ClassVar[str]
    """The label ``provider``: ``azure``."""
    source: ClassVar[str] = "cloud"
    """The label ``source`` of its refreshes."""
    scope: str
    """The account."""
    inventory_interval: float = 600.0
    status_interval: float = 60.0

    @abstractmethod
    def open(self) -> AbstractContextManager[CloudReader]:
        """Return the reader for one refresh. Raises RefreshError, as its ``__enter__`` may."""

    @abstractmethod
    def identify(self) -> str:
        """Return who is signed in, in a few words without a secret. Raises RefreshError."""

    def check_access(self) -> Iterator[Access]:
        """Try everything that is read, and yield whether it is allowed.

        The default tries each list. A cloud overrides it to name its own rights.
        """
        with self.open() as reader:
            for part in reader.list_parts():
                for what, read in (("inventory", reader.read_inventory), ("power states", reader.read_states)):
                    yield try_access(f"{what} {part}".strip(), partial(read, part))

    def create_price_list(self) -> PriceList | None:
        """Return the cloud's price list, None where it has none."""
        return None


def try_access(what: str, read: Callable[[], Iterable[object]]) -> Access:
    """Return whether something may be read, by reading it."""
    try:
        rows = list(read())
    except RefreshError as error:
        return Access(what, error.reason, error.detail)
    return Access(what, None, f"{len(rows)} {'entry' if len(rows) == 1 else 'entries'}")


def matches_tags(wanted: tuple[str, ...], tags: Mapping[str, str]) -> bool:
    """Return whether a machine has one of the wanted tags; without wanted tags every machine has.

    Args:
        wanted: ``name`` or ``name=value``, in any case.
        tags: The machine's tags by name in lower case.
    """
    for text in wanted:
        name, equals, value = text.partition("=")
        found = tags.get(name.strip().lower())
        if found is not None and (not equals or found.lower() == value.strip().lower()):
            return True
    return not wanted


def load_cloud(kind: str, options: Mapping[str, Any]) -> Cloud:
    """Return the cloud of a plug-in.

    Args:
        kind: The name of its entry point in the group ``evalgauge.clouds``.
        options: The other keys of its ``[[cloud]]`` table.

    Raises:
        ValueError: No such plug-in is installed, or it does not accept the options; the message is one line.
    """
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in found:
        names = ", ".join(sorted(found)) or "none is installed"
        raise ValueError(f"[[cloud]] kind {kind!r}: there is no such plug-in ({names})")
    try:
        cloud = found[kind].load()(**options)
    except Exception as error:
        words = " ".join(str(error).split())
        raise ValueError(f"[[cloud]] kind {kind!r}: {type(error).__name__}: {words}") from error
    if not isinstance(cloud, Cloud):
        raise ValueError(f"[[cloud]] kind {kind!r}: its entry point returns no Cloud")
    cloud.scope = f"{cloud.provider}/{cloud.scope}"  # so that it is no scope of another cloud
    return cloud


class CloudSource(PollingSource):
    """A source of the machines of one cloud account.

    Args:
        cloud: The account.
        emit: Takes the events.
        on_new: Called, from the source's thread, when an inventory was read: there may be new sizes.
    """

    def __init__(self, cloud: Cloud, emit: Emit, *, on_new: Callable[[], None] = lambda: None) -> None:
        self.source = cloud.source
        super().__init__(cloud.scope, cloud.status_interval, emit)
        self.cloud = cloud
        self._on_new = on_new
        self._parts: list[str] = []
        self._known: dict[str, set[str]] = {}
        """Ids of each list's last inventory."""
        self._missed: dict[str, set[str]] = {}
        """Ids that had a power state and were in no inventory, not even in one that was read because of them."""
        self._inventory_at: dict[str, float] = {}
        self._parts_at: float | None = None
        self._rate_limits: Mapping[str, int] = {}

    def next_delay(self) -> float:
        """Return twice the interval while the cloud accepts few more requests."""
        low = any(left < LOW_RATE_LIMIT for left in self._rate_limits.values())
        return self.interval * 2 if low else self.interval

    def poll(self) -> float:
        """Refresh once; see `PollingSource.poll`."""
        before = dict(self._inventory_at)
        wait = super().poll()
        if self._inventory_at != before:
            self._on_new()
        return wait

    def refresh(self) -> Iterator[FleetEvent]:
        """Yield the power states of each list, and its inventory where it is due or lacks a machine."""
        failures: list[RefreshError] = []
        succeeded = False
        with self.cloud.open() as reader:
            try:
                if self._is_due(self._parts_at):
                    yield from self._find_parts(reader, failures)
                for part in list(self._parts):
                    try:
                        yield from self._read_part(reader, part, failures)
                        succeeded = True
                    except RefreshError as error:
                        _note(failures, error)
            finally:
                self._rate_limits = dict(reader.rate_limits)
            if self._rate_limits:
                yield RateLimitSeen(time.time(), self.scope, self._rate_limits)
        if failures:
            words = "; ".join(dict.fromkeys(failure.detail for failure in failures))
            raise RefreshError(failures[0].reason, words, partial=succeeded)

    def _is_due(self, last: float | None) -> bool:
        return last is None or time.monotonic() - last >= self.cloud.inventory_interval

    def _find_parts(self, reader: CloudReader, failures: list[RefreshError]) -> Iterator[FleetEvent]:
        found: list[str] = []
        try:
            found.extend(reader.list_parts())
            self._parts_at = time.monotonic()
        except RefreshError as error:
            _note(failures, error)
            self._parts = list(dict.fromkeys([*found, *self._parts]))
            return
        for part in [part for part in self._parts if part not in found]:
            for kept in (self._known, self._missed, self._inventory_at):
                kept.pop(part, None)
            # it stays empty, so it is current for ever
            yield VmPowerStates(time.time(), self.scope, math.inf, (), part, self.cloud.provider)
        self._parts = found

    def _read_part(self, reader: CloudReader, part: str, failures: list[RefreshError]) -> Iterator[FleetEvent]:
        due = self._is_due(self._inventory_at.get(part))
        if due:
            try:
                yield from self._read_inventory(reader, part)
            except RefreshError as error:
                _note(failures, error)
        powers: list[VmPowerState] = []
        for power in reader.read_states(part):
            if power is None:
                yield Skipped(time.time(), self.source, "malformed")
            else:
                powers.append(power._replace(since=_correct(power.since, reader.skew)))
        yield VmPowerStates(
            time.time(), self.scope, self.cloud.status_interval, tuple(powers), part, self.cloud.provider
        )
        present = {power.vm_id for power in powers}
        known, missed = self._known.setdefault(part, set()), self._missed.setdefault(part, set())
        unknown = present - known - missed
        known &= present  # it forgets those that are gone: what comes back may be another machine
        missed &= present
        if unknown and not due:
            yield from self._read_inventory(reader, part)
            self._missed[part] = missed | (unknown - self._known[part])
        try:
            for interruption in reader.read_interruptions(part):
                yield interruption._replace(at=interruption.at + _get_correction(reader.skew))
        except RefreshError as error:
            _note(failures, error)

    def _read_inventory(self, reader: CloudReader, part: str) -> Iterator[FleetEvent]:
        vms: list[VmInfo] = []
        for vm in reader.read_inventory(part):
            if vm is None:
                yield Skipped(time.time(), self.source, "malformed")
            else:
                vms.append(vm._replace(created_at=_correct(vm.created_at, reader.skew)))
        self._known[part] = {vm.vm_id for vm in vms}
        self._inventory_at[part] = time.monotonic()
        yield VmInventory(time.time(), self.scope, self.cloud.inventory_interval, tuple(vms), part, self.cloud.provider)


def _note(failures: list[RefreshError], error: RefreshError) -> None:
    """Note the failure of one list, so that the others are read; too many requests end the refresh."""
    if error.reason == "throttled":
        raise error
    failures.append(error)


def _get_correction(skew: float) -> float:
    return skew if abs(skew) > MAX_SKEW else 0.0


def _correct(ts: float | None, skew: float) -> float | None:
    return None if ts is None else ts + _get_correction(skew)
