"""The running cost of an evaluation, without a run log and without the exporter."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, TypeVar

from evalgauge.pricing import Price, PriceTable
from evalgauge.usage import CallUsage, TokenUsage, parse_call

Component = Literal["vm", "gpu"]

_Number = TypeVar("_Number", int, float, Decimal)

UNNAMED = "unknown"
"""The key in ``to_dict`` of calls and GPUs whose provider or model was not named."""


@dataclass
class _Spending:
    """Sums over the calls of one provider and model; a kind of tokens that no call reported stays None."""

    calls: int = 0
    unpriced: int = 0
    unknown_usage: int = 0
    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    usd: Decimal | None = None
    tables: set[str] = field(default_factory=set)

    def add(self, usage: CallUsage, price: Price) -> None:
        used = usage.tokens
        self.calls += max(1, usage.requests)
        self.unpriced += price.state == "unpriced"
        self.unknown_usage += price.state == "unknown_usage"
        self.input, self.cache_read = _plus(self.input, used.input), _plus(self.cache_read, used.cache_read)
        self.cache_write, self.output = _plus(self.cache_write, used.cache_write), _plus(self.output, used.output)
        self.usd = _plus(self.usd, price.usd)
        if price.table is not None:
            self.tables.add(price.table)

    def include(self, other: _Spending) -> None:
        for name in ("calls", "unpriced", "unknown_usage", "input", "cache_read", "cache_write", "output", "usd"):
            setattr(self, name, _plus(getattr(self, name), getattr(other, name)))
        self.tables |= other.tables

    def tokens(self) -> int:
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_write or 0) + (self.output or 0)

    def as_dict(self) -> dict[str, Any]:
        return {
            "input_tokens": _total((self.input, self.cache_read, self.cache_write)),
            "cache_read_tokens": self.cache_read,
            "cache_write_tokens": self.cache_write,
            "output_tokens": self.output,
            "cost_usd": _float(self.usd),
            "calls": self.calls,
            "unpriced_calls": self.unpriced,
            "unknown_usage_calls": self.unknown_usage,
            "price_tables": sorted(self.tables),
        }


@dataclass
class _Machine:
    name: str
    component: Component
    provider: str | None
    instance_type: str | None
    rate: Decimal | None
    table: str | None
    started: float | None
    """The tracker's clock at the start; None for a machine whose hours were passed."""
    hours: float | None
    """None: it is running, or its hours are not known."""

    def hours_at(self, now: float) -> float | None:
        if self.hours is None and self.started is not None:
            return max(0.0, now - self.started) / 3600
        return self.hours

    def cost_at(self, now: float) -> Decimal | None:
        hours = _amount(self.hours_at(now))
        return None if hours is None or self.rate is None else self.rate * hours


class MachineTime:
    """A running machine, until ``stop()`` or the end of its ``with`` block."""

    def __init__(self, stop: Callable[[], float]) -> None:
        self._stop = stop

    def stop(self) -> float:
        """Stop the machine's time and return its hours; a second call changes nothing."""
        return self._stop()

    def __enter__(self) -> MachineTime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class CostTracker:
    """Adds up model calls and machine hours, each at its own price. Thread-safe.

    What has no price is counted and left out of the sums, never taken as 0.

    Args:
        prices: The price table; None is genai-prices alone, if it is installed.
        clock: The clock that measures machine time, in seconds.
    """

    def __init__(self, prices: PriceTable | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._prices = prices or PriceTable()
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], _Spending] = {}
        self._machines: list[_Machine] = []

    def add_api_call(
        self,
        provider: str | None,
        input_tokens: int | None,
        output_tokens: int | None,
        model: str | None = None,
        *,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        cache_write_1h_tokens: int | None = None,
        at: float | None = None,
        batch: bool = False,
    ) -> Price:
        """Add one call by its counts.

        Args:
            provider: Who served the call.
            input_tokens: Input that was neither read from a cache nor written to one; None is not reported.
            output_tokens: Output, reasoning included.
            model: The model that answered.
            cache_read_tokens: Input read from a cache.
            cache_write_tokens: Input written to a cache.
            cache_write_1h_tokens: The part of ``cache_write_tokens`` with a lifetime of one hour, which costs more.
            at: Unix time of the call; None is now.
            batch: Whether it is billed at the batch price.

        Returns:
            The cost of the call; its usage is unknown where a count is negative, absurd or not whole.
        """
        usage = parse_call(TokenUsage(input_tokens, cache_read_tokens, cache_write_tokens, output_tokens))
        usage = usage._replace(cache_write_1h_tokens=cache_write_1h_tokens, batch=batch)
        return self._add_call(provider, model, usage, at)

    def add_usage(
        self,
        provider: str | None,
        model: str | None,
        usage: object,
        *,
        at: float | None = None,
        batch: bool = False,
        cost_usd: float | None = None,
    ) -> Price:
        """Add one call, or a sum of calls, by the usage object that its SDK returned.

        Args:
            provider: Who served the call.
            model: The model that answered.
            usage: The object, in any shape that ``evalgauge.usage_shapes`` lists.
            at: Unix time of the call; None is now.
            batch: Whether it is billed at the batch price; the usage may state that too.
            cost_usd: The cost that the provider or a tool states; the usage may state that too.

        Returns:
            The cost of the call.
        """
        parsed = parse_call(usage, provider=provider, model=model)
        if cost_usd is not None:
            parsed = parsed._replace(cost_usd=cost_usd)
        return self._add_call(provider, model, parsed._replace(batch=batch or parsed.batch), at)

    def _add_call(self, provider: str | None, model: str | None, usage: CallUsage, at: float | None) -> Price:
        price = self._prices.price(provider, model, usage, at=time.time() if at is None else at)
        key = (str(provider or UNNAMED), str(model or UNNAMED))
        with self._lock:
            self._calls.setdefault(key, _Spending()).add(usage, price)
        return price

    def add_machine(
        self,
        component: Component,
        *,
        hours: float | None,
        hourly_rate_usd: float | None = None,
        provider: str | None = None,
        instance_type: str | None = None,
        name: str | None = None,
    ) -> None:
        """Add a machine by its hours.

        Args:
            component: ``vm``, or ``gpu`` for GPU time that is billed apart.
            hours: Billed hours, idle time included; negative or infinite ones are not known, as is the cost then.
            hourly_rate_usd: The price; None takes it from the price table.
            provider: The machine's provider.
            instance_type: The machine's size.
            name: The machine's name; None makes one up.

        Raises:
            ValueError: ``component`` is something else.
        """
        known = _float(_amount(hours))
        self._machine(component, hourly_rate_usd, provider, instance_type, name, hours=known)

    def start_machine(
        self,
        component: Component,
        *,
        hourly_rate_usd: float | None = None,
        provider: str | None = None,
        instance_type: str | None = None,
        name: str | None = None,
    ) -> MachineTime:
        """Start a machine's time, which counts in every sum while it is running.

        Args:
            component: As for ``add_machine``, like the others.
            hourly_rate_usd: The price; None takes it from the price table.
            provider: The machine's provider.
            instance_type: The machine's size.
            name: The machine's name; None makes one up.

        Returns:
            The running machine, a context manager.

        Raises:
            ValueError: ``component`` is neither ``vm`` nor ``gpu``.
        """
        machine = self._machine(component, hourly_rate_usd, provider, instance_type, name, started=self._clock())

        def stop() -> float:
            with self._lock:
                machine.hours = machine.hours_at(self._clock()) or 0.0
                return machine.hours

        return MachineTime(stop)

    def get_total_cost(self) -> float | None:
        """Return the cost in USD of everything with a price; None while nothing has one, so 0.0 is always a real 0."""
        with self._lock:
            return _float(self._total(self._clock()))

    def to_dict(self) -> dict[str, Any]:
        """Return the costs in the shape of ``/api/benchmark/costs``; None is what is not known.

        ``azure_vm`` sums over all VMs and ``gpu_time`` over the GPUs of each provider: rates, hours and costs are sums
        of the known ones, ``instance_type`` is the one with most hours, and each machine is listed below. Under
        ``api_calls``, ``model`` is the one with most tokens, and ``input_tokens`` includes cached ones.
        """
        with self._lock:
            now = self._clock()
            total = _Spending()
            for spending in self._calls.values():
                total.include(spending)
            gpus = [machine for machine in self._machines if machine.component == "gpu"]
            vms = [machine for machine in self._machines if machine.component == "vm"]
            owners = sorted({machine.provider or UNNAMED for machine in gpus})
            return {
                "azure_vm": _machine_sums(vms, now, listed_as="vms"),
                "api_calls": {
                    provider: self._provider_sums(provider) for provider in sorted({p for p, _ in self._calls})
                },
                "gpu_time": {
                    owner: _machine_sums(
                        [gpu for gpu in gpus if (gpu.provider or UNNAMED) == owner], now, listed_as="gpus"
                    )
                    for owner in owners
                },
                "total_cost_usd": _float(self._total(now)),
                "unpriced_calls": total.unpriced,
                "unknown_usage_calls": total.unknown_usage,
                "unpriced_machines": sum(machine.cost_at(now) is None for machine in self._machines),
            }

    def _machine(
        self,
        component: Component,
        hourly_rate_usd: float | None,
        provider: str | None,
        instance_type: str | None,
        name: str | None,
        *,
        started: float | None = None,
        hours: float | None = None,
    ) -> _Machine:
        if component not in ("vm", "gpu"):
            raise ValueError(f"a machine's component is 'vm' or 'gpu', not {component!r}")
        rate, table = _amount(hourly_rate_usd), None
        if hourly_rate_usd is None and (listed := self._prices.machine(provider, instance_type)) is not None:
            rate, table = listed
        with self._lock:
            name = name or f"{component}-{len(self._machines) + 1}"
            machine = _Machine(name, component, provider, instance_type, rate, table, started, hours)
            self._machines.append(machine)
        return machine

    def _total(self, now: float) -> Decimal | None:
        machines = [machine.cost_at(now) for machine in self._machines]
        return _total([*(spent.usd for spent in self._calls.values()), *machines])

    def _provider_sums(self, provider: str) -> dict[str, Any]:
        models = {model: spent for (owner, model), spent in sorted(self._calls.items()) if owner == provider}
        total = _Spending()
        for spent in models.values():
            total.include(spent)
        most = max(models, key=lambda name: models[name].tokens())
        return {
            "model": None if most == UNNAMED else most,
            **total.as_dict(),
            "models": {name: spent.as_dict() for name, spent in models.items()},
        }


def _machine_sums(machines: list[_Machine], now: float, listed_as: str) -> dict[str, Any]:
    hours_by_type: dict[str, float] = {}
    for machine in machines:
        if (kind := machine.instance_type) is not None:
            hours_by_type[kind] = hours_by_type.get(kind, 0.0) + (machine.hours_at(now) or 0.0)
    return {
        "instance_type": max(sorted(hours_by_type), key=hours_by_type.__getitem__) if hours_by_type else None,
        "hourly_rate_usd": _float(_total(machine.rate for machine in machines)),
        "hours_elapsed": _total(machine.hours_at(now) for machine in machines),
        "cost_usd": _float(_total(machine.cost_at(now) for machine in machines)),
        listed_as: [
            {
                "name": machine.name,
                "provider": machine.provider,
                "instance_type": machine.instance_type,
                "hourly_rate_usd": _float(machine.rate),
                "hours_elapsed": machine.hours_at(now),
                "cost_usd": _float(machine.cost_at(now)),
                "price_table": machine.table,
            }
            for machine in machines
        ],
    }


def _amount(value: object) -> Decimal | None:
    """Return ``value`` as an exact number; None where it is no number, negative or infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return Decimal(str(value)) if math.isfinite(value) and value >= 0 else None


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _plus(left: _Number | None, right: _Number | None) -> _Number | None:
    return _total((left, right))


def _total(values: Iterable[_Number | None]) -> _Number | None:
    """The sum of the known values, None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None
