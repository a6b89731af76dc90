"""The exporter put together: sources that follow, the state they fold into, the views that read it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from evalgauge.events import LlmCall
from evalgauge.pricing import Price, PriceTable, load_overrides

from evalgauge_exporter.config import Config
from evalgauge_exporter.exposition import Exposition
from evalgauge_exporter.follow import Follower
from evalgauge_exporter.guard import read_token
from evalgauge_exporter.insights import Insights
from evalgauge_exporter.selection import Limits
from evalgauge_exporter.state import State


class Exporter:
    """Everything but the web server, from ``start`` to ``stop``."""

    def __init__(self, config: Config) -> None:
        """Raises PriceTableError where the price overrides can't be read, TokenError where the token can't."""
        self.config = config
        self.state = State()
        overrides = load_overrides(config.prices.overrides) if config.prices.overrides else None
        self.prices = PriceTable(overrides)
        self.limits = Limits(**config.limits.model_dump())
        self.token = read_token(config.token_file) if config.token_file else None
        self.insights = Insights(self.state, stall_after=config.stall_after, baselines=config.baselines)
        self.exposition = Exposition(self.state, self.insights, self.limits, linger=config.linger)
        self._listeners: list[Callable[[], None]] = []
        self._ready = threading.Event()
        self.follower = Follower(
            self.state,
            config.results,
            stall_after=config.stall_after,
            pricer=self._price,
            on_change=self._changed,
        )

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, from another thread, whenever the state has changed."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to follow, in the background."""
        self.follower.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every source was read once; False where that took longer than ``timeout`` seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """End; returns when all threads have."""
        self.follower.stop()

    def _changed(self) -> None:
        if self.state.ready:
            self._ready.set()
        for listener in self._listeners:
            listener()

    def _price(self, call: LlmCall) -> Price:
        return self.prices.price(call.provider, call.model, call.tokens, at=call.ts, batch=call.batch)
