"""The exporter put together: sources that follow, the state they fold into, the views that read it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from evalgauge import __version__
from evalgauge.events import LlmCall
from evalgauge.pricing import Price, PriceTable, load_overrides
from evalgauge_exporter.analysis.costs import MachineCost
from evalgauge_exporter.analysis.machine_usage import compute_run_machine_costs
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.config.model import Config
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.ingest.collector import RunCollector
from evalgauge_exporter.ingest.fleet import FleetSources
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.sources.prices import default_cache_dir
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.run import RunState, State
from evalgauge_exporter.views.exposition import Exposition, Sample
from evalgauge_exporter.views.fleet import collect_fleet_samples, collect_machine_use_samples
from evalgauge_exporter.views.limits import Limits


def _archive_path(config: Config) -> Path:
    """A file for each set of served folders, in the cache folder."""
    folders = "\0".join(str(folder.absolute()) for folder in config.results)
    name = hashlib.sha256(folders.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return (config.prices.cache_dir or default_cache_dir()) / f"runs-{name}.json"


def _archive_key(config: Config) -> str:
    """What the archived numbers depend on beside the runs' files: the release and the prices."""
    own = config.prices.overrides.read_bytes() if config.prices.overrides else b""
    prices = importlib.metadata.version("genai-prices")
    return f"{__version__} {config.success_threshold} {prices} {hashlib.sha256(own).hexdigest()[:16]}"


class Exporter:
    """Everything but the web server, from ``start`` to ``stop``."""

    def __init__(self, config: Config) -> None:
        """Raises PriceTableError or TokenError where a file can't be read, ValueError for a machine without times."""
        self.config = config
        self.state = State()
        overrides = load_overrides(config.prices.overrides) if config.prices.overrides else None
        self.prices = PriceTable(overrides)
        self.limits = Limits(**config.limits.model_dump())
        self.token = read_token(config.token_file) if config.token_file else None
        self.fleet = FleetState(self.prices)
        self.fleet_sources = FleetSources(config, self.fleet, self.state.lock, self._fleet_changed)
        self.insights = RunAnalysis(
            self.state, stall_after=config.stall_after, baselines=config.baselines, machines=self._machines
        )
        self.exposition = Exposition(self.state, self.insights, self.limits, linger=config.linger)
        self.exposition.extra.append(self._fleet_samples)
        self._listeners: list[Callable[[], None]] = []
        self._ready = threading.Event()
        self.follower = RunCollector(
            self.state,
            config.results,
            stall_after=config.stall_after,
            pricer=self.price,
            archive=RunCache(_archive_path(config), _archive_key(config)),
            loaded=config.limits.runs + 10,
            success_threshold=config.success_threshold,
            on_change=self._changed,
        )

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, from another thread, whenever the state has changed."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to follow, in the background."""
        self.follower.start()
        self.fleet_sources.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every source was read once; False where that took longer than ``timeout`` seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """End; returns when all threads have."""
        self.fleet_sources.stop()
        self.follower.stop()

    def _changed(self) -> None:
        if self.state.ready:
            self._ready.set()
        for listener in self._listeners:
            listener()

    def _fleet_changed(self) -> None:
        with self.state.lock:
            self.state.version += 1
            self.insights.prices_version = self.fleet.costs_version
        self._changed()

    def _machines(self, run: RunState, now: float) -> list[MachineCost]:
        stall_after, runs = self.config.stall_after, self.state.runs.values()
        return compute_run_machine_costs(run, self.fleet, self.prices, now, stall_after, runs).list_known()

    def _fleet_samples(self, now: float) -> Iterator[Sample]:
        yield from collect_fleet_samples(self.fleet, now)
        yield from collect_machine_use_samples(self.fleet, self.state.runs.values(), now, self.config.stall_after)

    def price(self, call: LlmCall) -> Price:
        """What a model call costs by the exporter's prices."""
        return self.prices.price_of(call)
