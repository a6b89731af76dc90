"""The budget of a run, judged while the run is running: for a run that stops itself.

What was spent is read from the run's log, so it counts the calls of every process of the run. Model calls are priced
as the exporter prices them: the table that ``EVALGAUGE_PRICES__OVERRIDES`` names, then genai-prices (installed with the
extra ``exporter``), then the cost that a call states. Workers with an hourly rate cost it while they are there.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Literal

from evalgauge.errors import BudgetExceeded
from evalgauge.events import LlmCall, RunFinished, WorkerState
from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable
from evalgauge.runlog import LogReader, log_files

log = logging.getLogger("evalgauge")

OnBudget = Literal["warn", "raise"] | None


class _WorkerCost:
    """What a worker's machine has cost."""

    def __init__(self) -> None:
        self.usd = Decimal(0)
        self.rate = Decimal(0)
        self.since: float | None = None

    def advance(self, to: float) -> None:
        """Bill the machine up to a time, in Unix seconds."""
        if self.since is not None and to > self.since:
            self.usd += self.rate * Decimal(to - self.since) / 3600
            self.since = to


class Budget:
    """What a run has spent.

    Args:
        folder: The run's folder.
        limit_usd: The budget in US dollars; None where there is none.
        on_budget: ``warn`` logs once when the budget is spent, ``raise`` raises from then on in the tracker's calls.
    """

    def __init__(self, folder: Path, limit_usd: float | None, on_budget: OnBudget) -> None:
        self._folder = folder
        self.limit_usd = limit_usd
        self.on_budget = on_budget
        self.unpriced_calls = 0
        """Model calls whose cost is not known: they are not in ``spent_usd``."""
        self._lock = threading.Lock()
        self._readers: dict[Path, LogReader] = {}
        self._prices: PriceTable | None = None
        self._calls = Decimal(0)
        self._workers: dict[str, _WorkerCost] = {}
        self._warned = self._warned_unpriced = False

    def spent_usd(self) -> float:
        """Read what is new in the run's log and return the known cost of the run in US dollars."""
        with self._lock:
            for path in log_files(self._folder):
                self._read(self._readers.setdefault(path, LogReader(path)))
            return float(self._calls + sum((worker.usd for worker in self._workers.values()), Decimal(0)))

    def is_exceeded(self) -> bool:
        """Return whether the budget is spent; False without a budget."""
        return self.limit_usd is not None and self.spent_usd() >= self.limit_usd

    def check(self) -> None:
        """Act as ``on_budget`` says if the budget is spent.

        Raises:
            BudgetExceeded: It is spent and ``on_budget`` is ``raise``.
        """
        if self.on_budget is None or self.limit_usd is None:
            return
        try:
            spent = self.spent_usd()
        except Exception:  # prices that can't be read, a full disk: the evaluation goes on
            if not self._warned:
                self._warned = True
                log.exception("the budget of %s can't be judged", self._folder.name)
            return
        if self.unpriced_calls and not self._warned_unpriced:
            self._warned_unpriced = True
            installed = importlib.util.find_spec("genai_prices") is not None
            log.warning(
                "run %s: calls without a known price are not counted in the budget; %sput their prices into a file and "
                "its path into EVALGAUGE_PRICES__OVERRIDES",
                self._folder.name,
                "" if installed else "install genai-prices (pip install 'evalgauge[exporter]'), or ",
            )
        if spent < self.limit_usd:
            return
        message = f"run {self._folder.name} has spent ${spent:,.2f} of its budget of ${self.limit_usd:,.2f}"
        if self.on_budget == "raise":
            raise BudgetExceeded(message)
        if not self._warned:
            self._warned = True
            log.warning("%s", message)

    def _read(self, reader: LogReader) -> None:
        has_more = True
        while has_more:
            events, _, has_more = reader.read()
            for event in events:
                for worker in self._workers.values():
                    worker.advance(event.ts)
                if isinstance(event, LlmCall):
                    self._add_call(event)
                elif isinstance(event, WorkerState):
                    self._add_worker_state(event)
                elif isinstance(event, RunFinished):
                    for worker in self._workers.values():
                        worker.since = None

    def _add_call(self, call: LlmCall) -> None:
        if self._prices is None:
            overrides = os.environ.get("EVALGAUGE_PRICES__OVERRIDES")
            self._prices = PriceTable(load_overrides(overrides) if overrides else None)
        usd = self._prices.price_of(call).usd
        if usd is None:
            self.unpriced_calls += max(1, call.requests)
        else:
            self._calls += usd

    def _add_worker_state(self, event: WorkerState) -> None:
        worker = self._workers.setdefault(event.worker_id, _WorkerCost())
        if event.hourly_rate_usd is not None:
            worker.rate = Decimal(str(event.hourly_rate_usd))
        gone = event.state in ("stopped", "lost")
        worker.since = None if gone else event.ts if worker.since is None else worker.since
