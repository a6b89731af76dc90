"""openadapt-evals: one line before an evaluation, or none, and its runs are seen live.

    from evalgauge.integrations import openadapt

    openadapt.instrument()
    results = evaluate_agent_on_benchmark(agent, adapter, config=config)

Its command needs no line of code: ``python -m evalgauge.integrations.openadapt mock --tasks 20`` is
``openadapt-evals mock --tasks 20``. Those who write a loop of their own use ``TraceCollector`` and ``LiveTracker`` in
place of ``ExecutionTraceCollector`` and ``LiveEvaluationTracker``.

The log goes into the run's own folder, ``<output_dir>/<run_name>/events/``; of a pool, into its experiment's folder.
With ``parallel`` above 1 the stock classes mix up tasks and spoil scores; the ones that are put in their place do not.
Works with 0.1.0 to 0.98.0. What is missing in a release that is not known is named in a warning, and the rest works.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from os import PathLike
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from evalgauge.integrations import llm
from evalgauge.integrations.openadapt import classes
from evalgauge.integrations.openadapt.recorder import Recorder, Settings, notice_calls, place
from evalgauge.tracker import Fsync, observers

log = logging.getLogger("evalgauge")

NEWEST = (0, 98)
"""The newest release that this was tried with."""
_CACHES = ("openadapt_evals", "openadapt_evals.benchmarks")
_active: Instrumented | None = None


def instrument(
    results: str | PathLike[str] | None = None,
    *,
    run_id: str | None = None,
    benchmark: str | None = None,
    model: str | None = None,
    agent: str | None = None,
    budget_usd: float | None = None,
    baseline: str | None = None,
    tags: Mapping[str, str] | None = None,
    fsync: Fsync = "task",
    worker: str | None = None,
    capture_calls: bool = True,
) -> Instrumented:
    """Record every evaluation that openadapt-evals runs in this process from now on.

    ``results``: where the logs are written; None is into the run folders that OpenAdapt makes. ``run_id``: one run
    for all evaluations, as when several machines share it. ``worker``: the name of this machine. ``capture_calls``:
    count model calls at the Anthropic and OpenAI clients (``evalgauge.integrations.llm``), which sees retries, cached
    tokens and agents that keep no notes; without it tokens are taken from the agent's notes. The others are those of
    ``track_run``; what is None is found out from the adapter, the agent and the configuration.

    A second call while the first one stands returns the first one's. Raises ImportError where openadapt-evals is not
    installed.
    """
    global _active
    if _active is not None:
        log.warning("openadapt-evals is instrumented already; the options of this call are not used")
        return _active
    folder = None if results is None else Path(results)
    settings = Settings(folder, run_id, benchmark, model, agent, budget_usd, baseline, tags, fsync, worker)
    _active = Instrumented(settings, capture_calls)
    return _active


class Instrumented:
    """What ``instrument`` put in place, until ``undo`` or the end of a ``with`` block."""

    def __init__(self, settings: Settings, capture_calls: bool) -> None:
        collecting = import_module("openadapt_evals.benchmarks.data_collection")
        tracking = import_module("openadapt_evals.benchmarks.live_tracker")
        runner = import_module("openadapt_evals.benchmarks.runner")
        self._settings = settings
        self._before: list[tuple[ModuleType, str, Any]] = []
        self._observed = notice_calls in observers
        self._collector: Any = type("TraceCollector", (classes.trace_collector(),), {"settings": settings})
        self._put(collecting, "ExecutionTraceCollector", self._collector)
        self._put(tracking, "LiveEvaluationTracker", classes.live_tracker())
        self._wrap(runner, "_evaluate_sequential", self._evaluation)
        self._wrap(runner, "_evaluate_parallel", self._evaluation)
        self._wrap(runner, "_run_single_task", self._single_task)
        self._capture = llm.capture() if capture_calls else None
        if self._capture is not None:
            self._capture.start()
        _warn_if_newer()

    def undo(self) -> None:
        """Put everything back as it was. Runs that go on are recorded to their end."""
        global _active
        for module, name, value in reversed(self._before):
            ours = getattr(module, name, None)
            for cache in _CACHES:  # these packages keep what was asked of them once
                kept = vars(sys.modules.get(cache, object)).get(name) if cache in sys.modules else None
                if kept is not None and kept is ours:
                    setattr(sys.modules[cache], name, value)
            setattr(module, name, value)
        self._before.clear()
        if self._capture is not None:
            self._capture.stop()
            self._capture = None
        if not self._observed and notice_calls in observers:
            observers.remove(notice_calls)
        if _active is self:
            _active = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.undo()

    def _put(self, module: ModuleType, name: str, value: Any) -> None:
        stock = getattr(module, name)
        self._before.append((module, name, stock))
        setattr(module, name, value)
        for cache in _CACHES:
            package = sys.modules.get(cache)
            if package is not None and vars(package).get(name) is stock:
                setattr(package, name, value)

    def _wrap(self, module: ModuleType, name: str, wrapper: Callable[..., Any]) -> None:
        """Put ``wrapper`` around a function of the runner that takes an agent, an adapter and a trace collector."""
        stock = getattr(module, name, None)
        wanted = {"agent", "adapter", "config", "trace_collector"}
        if stock is None or not wanted <= inspect.signature(stock).parameters.keys():
            log.warning(
                "openadapt-evals %s has no %s as it is known here: plans, models and times may be missing",
                _version() or "of this version",
                name,
            )
            return
        signature = inspect.signature(stock)

        @functools.wraps(stock)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return wrapper(lambda: stock(*bound.args, **bound.kwargs), bound.arguments, name)

        self._put(module, name, wrapped)

    def _evaluation(self, evaluate: Callable[[], Any], arguments: dict[str, Any], name: str) -> Any:
        """Around all tasks of an evaluation: the plan before, the end after."""
        collector: Any = arguments["trace_collector"]
        config = arguments["config"]
        if not isinstance(collector, self._collector):
            collector = _Beside(collector, self._recorder(arguments))
            arguments["trace_collector"] = collector
        recorder: Recorder = collector.recorder
        recorder.parallel = name == "_evaluate_parallel"
        limit = getattr(config, "max_steps", None)
        recorder.describe(agent=arguments["agent"], tasks=arguments.get("tasks") or (), max_steps=limit)
        status = "aborted"
        try:
            outcome = evaluate()
            status = "completed"
            return outcome
        finally:
            if isinstance(collector, self._collector):
                collector.close()
            recorder.finish(status)

    def _recorder(self, arguments: Mapping[str, Any]) -> Recorder:
        """A recorder for a run of which OpenAdapt keeps no traces, or keeps them with a class of the user's own."""
        config, adapter = arguments["config"], arguments["adapter"]
        benchmark = str(getattr(adapter, "name", "openadapt"))
        name = getattr(config, "run_name", None) or f"{benchmark}_eval_{time.strftime('%Y%m%d_%H%M%S')}"
        own = arguments["trace_collector"]
        output = getattr(own, "output_dir", None) or getattr(config, "output_dir", None) or "benchmark_results"
        found = place(self._settings, Path(output), str(getattr(own, "run_name", None) or name))
        return Recorder(self._settings, found, benchmark, str(getattr(config, "model_id", "unknown")))

    def _single_task(self, run_task: Callable[[], Any], arguments: dict[str, Any], name: str) -> Any:
        """Around one task: the agent and the adapter are timed; whatever escapes ends the task."""
        recorder = getattr(arguments["trace_collector"], "recorder", None)
        if not isinstance(recorder, Recorder):
            return run_task()
        if recorder.run is None:  # a release in which the evaluation as a whole could not be wrapped
            recorder.describe(agent=arguments["agent"], max_steps=getattr(arguments["config"], "max_steps", None))
        recorder.timed = True
        arguments["agent"] = _timed(arguments["agent"], "act", recorder.thought)
        arguments["adapter"] = _timed(arguments["adapter"], "step", recorder.executed)
        try:
            return run_task()
        except BaseException as error:
            recorder.abandon(error)
            raise


class _Beside:
    """A trace collector of the user's own, or none, with a recorder beside it."""

    def __init__(self, collector: Any, recorder: Recorder) -> None:
        self._collector = collector
        self.recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collector, name)

    def start_task(self, task: Any) -> None:
        self.recorder.start_task(task)
        if self._collector is not None:
            self._collector.start_task(task)

    def record_step(
        self, step_idx: int, observation: Any, action: Any, reasoning: str | None = None, **more: Any
    ) -> None:
        if self._collector is not None:
            self._collector.record_step(step_idx, observation, action, reasoning, **more)
        self.recorder.record_step(observation, action, reasoning, more.get("agent_logs"))

    def finish_task(self, result: Any) -> None:
        try:
            if self._collector is not None:
                self._collector.finish_task(result)
        finally:
            self.recorder.finish_task(result)


class _Timed:
    """Another object, with one of its methods timed; in everything else it is that object."""

    __slots__ = ("_method", "_report", "_subject")

    def __init__(self, subject: Any, method: str, report: Callable[[float], None]) -> None:
        object.__setattr__(self, "_subject", subject)
        object.__setattr__(self, "_method", method)
        object.__setattr__(self, "_report", report)

    def __getattribute__(self, name: str) -> Any:
        subject = object.__getattribute__(self, "_subject")
        if name == "__class__":
            return type(subject)
        value = getattr(subject, name)
        if name != object.__getattribute__(self, "_method"):
            return value
        report = object.__getattribute__(self, "_report")

        @functools.wraps(value)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return value(*args, **kwargs)
            finally:
                report(time.perf_counter() - began)

        return timed

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_subject"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_subject"), name)


def _timed(subject: Any, method: str, report: Callable[[float], None]) -> Any:
    # telemetry names an agent by its type's name
    return type(type(subject).__name__, (_Timed,), {"__slots__": ()})(subject, method, report)


def _version() -> str | None:
    try:
        return metadata.version("openadapt-evals")
    except metadata.PackageNotFoundError:
        return None


def _warn_if_newer() -> None:
    version = _version()
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers and (int(numbers[1]), int(numbers[2])) > NEWEST:
        log.warning("openadapt-evals %s is newer than what this was tried with (%d.%d)", version, *NEWEST)


def main() -> None:
    """Run openadapt-evals' own command with its runs recorded."""
    instrument()
    sys.argv[0] = "openadapt-evals"
    sys.exit(import_module("openadapt_evals.benchmarks.cli").main())
