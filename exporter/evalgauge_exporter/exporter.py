"""The composition of the exporter: sources that collect events, the state they are folded into, views that read it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import evalgauge
import evalgauge_exporter.ingest
import evalgauge_exporter.sources
import evalgauge_exporter.state
from evalgauge.events import LlmCall
from evalgauge.pricing import Price
from evalgauge_exporter.analysis.costs import MachineCost
from evalgauge_exporter.analysis.leaderboard import LeaderboardCache
from evalgauge_exporter.analysis.machine_usage import MachineJoin, compute_run_machine_costs, has_named_machines
from evalgauge_exporter.analysis.renewal import RenewalThread
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.config.model import Config
from evalgauge_exporter.config.prices import load_price_table
from evalgauge_exporter.config.shard import WHOLE
from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.config.web_config import WebConfig, load_web_config
from evalgauge_exporter.ingest.buckets import find_mirrors
from evalgauge_exporter.ingest.collector import RunCollector
from evalgauge_exporter.ingest.fleet import FleetSources
from evalgauge_exporter.ingest.read_worker import WorkerSetup
from evalgauge_exporter.ingest.run_cache import RunCache
from evalgauge_exporter.sources.prices import default_cache_dir
from evalgauge_exporter.state.fleet import FleetState
from evalgauge_exporter.state.run import RunState, State
from evalgauge_exporter.views.exposition import Exposition, Sample
from evalgauge_exporter.views.fleet import collect_fleet_samples, collect_machine_use_samples
from evalgauge_exporter.views.limits import Limits
from evalgauge_exporter.views.process import render_process

log = logging.getLogger("evalgauge.exporter")

FIRST_LISTING_SECONDS = 60.0
"""Seconds that readiness waits for the first listing of a bucket; without it there is what was there before."""


def _cache_folder(config: Config) -> Path:
    """Return the folder of the cache for the served folders."""
    folders = "\0".join(str(folder.absolute()) for folder in config.results)
    if config.scorer:  # a command with another scorer leaves the cache of the exporter alone
        folders += f"\0{config.scorer}"
    name = hashlib.sha256(folders.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return (config.prices.cache_dir or default_cache_dir()) / f"runs-{name}"


def _cache_key(config: Config) -> str:
    """Return what cached numbers depend on beside the runs' files: the code, threshold, scorer and prices."""
    own = config.prices.overrides.read_bytes() if config.prices.overrides else b""
    prices = importlib.metadata.version("genai-prices")
    return (
        f"{_digest_code()} {config.success_threshold} {config.scorer!r} {prices} {hashlib.sha256(own).hexdigest()[:16]}"
    )


def _digest_code() -> str:
    """Return a digest of the code that reads and folds events: a checkout changes without a new release."""
    digest = hashlib.sha256()
    for package in (evalgauge, evalgauge_exporter.sources, evalgauge_exporter.state, evalgauge_exporter.ingest):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Exporter:
    """The exporter without its web server.

    Args:
        config: The configuration.

    Raises:
        PriceTableError: The file of price overrides can't be read.
        ConfigError: The token file or the web configuration can't be used.
        ValueError: A configured machine has no valid times.
    """

    def __init__(self, config: Config) -> None:
        folders, mirrors = find_mirrors(config.results, config.storage)
        config = config.model_copy(update={"results": tuple(folders)})
        self.config = config
        """The configuration, with the local folders of buckets in their place."""
        self.state = State()
        self.limits = Limits(**config.limits.model_dump(exclude={"memory"}))
        self.prices = load_price_table(config)
        self.token = read_token(config.token_file) if config.token_file else None
        self.web_config = load_web_config(config.web_config_file) if config.web_config_file else WebConfig()
        self.fleet = FleetState(self.prices)
        self.fleet_sources = FleetSources(config, self.fleet, self.state.lock, self._fleet_changed, mirrors)
        self.analysis = RunAnalysis(
            self.state, stall_after=config.stall_after, baselines=config.baselines, machines=self._machines
        )
        self.leaderboards = LeaderboardCache(self.analysis)
        shard = config.shard or WHOLE
        self.exposition = Exposition(self.state, self.analysis, self.limits, linger=config.linger, shard=shard)
        if shard.index == 0:  # machines belong to no run: one of the shards exposes them
            self.exposition.extra.append(self._fleet_samples)
        self.exposition.process = render_process
        self._join: MachineJoin | None = None
        self._join_version = 0
        self._listeners: list[Callable[[], None]] = []
        self.renewal = RenewalThread(self.analysis, self._estimates_renewed, self._prepare_first_answer)
        """Renews the estimates of running runs from the start on."""
        self._ready = threading.Event()
        self._reported: set[str] = set()
        self._runs_reported = -1
        self._stopped = threading.Event()
        setup = WorkerSetup(_cache_folder(config), _cache_key(config), config.prices.overrides)
        self.collector = RunCollector(
            self.state,
            config.results,
            stall_after=config.stall_after,
            pricer=self.price,
            cache=RunCache(setup.cache, setup.key),
            worker_setup=None if mirrors else setup,  # of a bucket, the download is what takes time
            loaded=config.limits.runs + 10,
            success_threshold=config.success_threshold,
            follow_links=config.follow_links,
            scorer=config.scorer,
            memory_limit=config.limits.memory,
            on_change=self._changed,
        )

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, from another thread, whenever the state has changed."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Start collecting in background threads; runs of a bucket after its first listing, for some time at most."""
        self.renewal.start()
        self.fleet_sources.start()
        if self.fleet_sources.buckets:
            threading.Thread(target=self._start_collector, name="evalgauge-start", daemon=True).start()
        else:
            self.collector.start()

    def _start_collector(self) -> None:
        deadline = time.monotonic() + FIRST_LISTING_SECONDS
        for bucket in self.fleet_sources.buckets:
            bucket.tried.wait(max(0.0, deadline - time.monotonic()))
        if not self._stopped.is_set():
            self.collector.start()

    def is_ready(self) -> bool:
        """Return whether every source was read once, and the first answer is complete."""
        return self._ready.is_set()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every source was read once, and the first answer is complete.

        Args:
            timeout: Seconds to wait, None for no limit.

        Returns:
            False where the timeout passed first.
        """
        return self._ready.wait(timeout)

    def wait_caught_up(self, timeout: float | None = None) -> bool:
        """Wait until every run was read to its end; one that is very large takes longer than ``wait_ready``.

        Args:
            timeout: Seconds to wait, None for no limit.

        Returns:
            False where the timeout passed first.
        """
        return self.collector.caught_up.wait(timeout)

    def stop(self) -> None:
        """Stop and wait for all threads."""
        self._stopped.set()
        self.fleet_sources.stop()
        self.collector.stop()
        self.renewal.stop()

    def _prepare_first_answer(self) -> None:
        """Render the first answer to Prometheus, which takes longer than those after it."""
        try:
            self.exposition.render(time.time())
        finally:  # a defect is seen at each scrape, and hides nothing else
            self._ready.set()
            self._changed()

    def _estimates_renewed(self) -> None:
        with self.state.lock:
            self.state.version += 1
        self._changed()

    def _changed(self) -> None:
        if self.state.ready:
            self.renewal.notify()
            self._report_missing_baselines()
        for listener in self._listeners:
            listener()

    def _report_missing_baselines(self) -> None:
        """Log each missing baseline once; asked only where runs came or went."""
        with self.state.lock:
            if len(self.state.runs) == self._runs_reported:
                return
            self._runs_reported = len(self.state.runs)
            missing = self.analysis.missing_baselines()
        for message in missing:
            if message not in self._reported:
                self._reported.add(message)
                log.warning("%s", message)

    def _fleet_changed(self) -> None:
        with self.state.lock:
            self.state.version += 1
            self.analysis.prices_version = self.fleet.costs_version
        self._changed()

    def _machines(self, run: RunState, now: float) -> list[MachineCost]:
        stall_after, version = self.config.stall_after, self.state.version
        if not self.fleet.has_machines() and not has_named_machines(run):
            return []
        if self._join is None or (self._join.now, self._join_version) != (now, version):
            self._join = MachineJoin(self.state.runs.values(), self.fleet, now, stall_after)
            self._join_version = version
        return compute_run_machine_costs(run, self.fleet, self.prices, now, stall_after, self._join).list_known()

    def _fleet_samples(self, now: float) -> Iterator[Sample]:
        yield from collect_fleet_samples(self.fleet, now)
        yield from collect_machine_use_samples(self.fleet, self.state.runs.values(), now, self.config.stall_after)

    def price(self, call: LlmCall) -> Price:
        """Return the price of a model call by the exporter's price table."""
        return self.prices.price_of(call)
