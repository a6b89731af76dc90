"""Instrumentation of openadapt-evals: its runner and its classes are replaced by ones that record.

The log is written into the run's own folder, ``<output_dir>/<run_name>/events/``; for a pool, into the experiment's
folder. With ``parallel`` above 1 the stock classes mix up tasks and change scores; their replacements do not. Works
with 0.1.0 to 0.98.0. A warning names what an unknown release lacks; the rest still works.
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
from evalgauge.integrations.openadapt.recorder import Recorder, Settings, count_call, log_location
from evalgauge.tracker import Fsync, observers

log = logging.getLogger("evalgauge")

NEWEST = (0, 98)
"""The newest release that this was tested with."""
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

    A second call before ``undo`` returns the result of the first one. What is None is taken from the adapter, the agent
    and the configuration.

    Args:
        results: The results folder for the logs; None is the run folders that OpenAdapt makes.
        run_id: One run for all evaluations, for example one that several machines share.
        benchmark: The benchmark's name.
        model: The model's name.
        agent: The agent's name.
        budget_usd: The budget in US dollars.
        baseline: The id of the run to compare with.
        tags: Free texts by name.
        fsync: When lines are forced to the disk.
        worker: The name of this machine.
        capture_calls: Whether to count model calls at the Anthropic and OpenAI clients
            (``evalgauge.integrations.llm``), which sees retries, cached tokens and agents without ``agent_logs``;
            otherwise tokens are taken from the agent's ``agent_logs``.

    Returns:
        What was put in place; its ``undo`` removes it.

    Raises:
        ImportError: openadapt-evals is not installed.
    """
    global _active
    if _active is not None:
        log.warning("openadapt-evals is instrumented already; the options of this call are ignored")
        return _active
    folder = None if results is None else Path(results)
    settings = Settings(folder, run_id, benchmark, model, agent, budget_usd, baseline, tags, fsync, worker)
    _active = Instrumented(settings, capture_calls)
    return _active


class Instrumented:
    """The instrumentation that ``instrument`` put in place, until ``undo`` or the end of a ``with`` block."""

    def __init__(self, settings: Settings, capture_calls: bool) -> None:
        collecting = import_module("openadapt_evals.benchmarks.data_collection")
        tracking = import_module("openadapt_evals.benchmarks.live_tracker")
        runner = import_module("openadapt_evals.benchmarks.runner")
        self._settings = settings
        self._originals: list[tuple[ModuleType, str, Any]] = []
        self._was_observed = count_call in observers
        self._collector: Any = type("TraceCollector", (classes.trace_collector(),), {"settings": settings})
        self._replace(collecting, "ExecutionTraceCollector", self._collector)
        self._replace(tracking, "LiveEvaluationTracker", classes.live_tracker())
        self._wrap(runner, "_evaluate_sequential", self._record_evaluation)
        self._wrap(runner, "_evaluate_parallel", self._record_evaluation)
        self._wrap(runner, "_run_single_task", self._record_task)
        self._capture = llm.capture() if capture_calls else None
        if self._capture is not None:
            self._capture.start()
        _warn_if_newer()

    def undo(self) -> None:
        """Restore everything. Runs that are running are recorded to their end."""
        global _active
        for module, name, value in reversed(self._originals):
            replacement = getattr(module, name, None)
            for cache in _CACHES:  # these packages cache what was imported from them
                cached = vars(sys.modules[cache]).get(name) if cache in sys.modules else None
                if cached is not None and cached is replacement:
                    setattr(sys.modules[cache], name, value)
            setattr(module, name, value)
        self._originals.clear()
        if self._capture is not None:
            self._capture.stop()
            self._capture = None
        if not self._was_observed and count_call in observers:
            observers.remove(count_call)
        if _active is self:
            _active = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.undo()

    def _replace(self, module: ModuleType, name: str, value: Any) -> None:
        stock = getattr(module, name)
        self._originals.append((module, name, stock))
        setattr(module, name, value)
        for cache in _CACHES:
            package = sys.modules.get(cache)
            if package is not None and vars(package).get(name) is stock:
                setattr(package, name, value)

    def _wrap(self, module: ModuleType, name: str, wrapper: Callable[..., Any]) -> None:
        """Wrap a function of the runner that takes an agent, an adapter and a trace collector."""
        stock = getattr(module, name, None)
        required = {"agent", "adapter", "config", "trace_collector"}
        if stock is None or not required <= inspect.signature(stock).parameters.keys():
            log.warning(
                "unknown version of openadapt-evals (%s, %s): planned tasks, models and times may be missing",
                _version() or "version unknown",
                name,
            )
            return
        signature = inspect.signature(stock)

        @functools.wraps(stock)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return wrapper(lambda: stock(*bound.args, **bound.kwargs), bound.arguments, name)

        self._replace(module, name, wrapped)

    def _record_evaluation(self, evaluate: Callable[[], Any], arguments: dict[str, Any], name: str) -> Any:
        """Record an evaluation: its planned tasks before, its end after."""
        collector: Any = arguments["trace_collector"]
        config = arguments["config"]
        if not isinstance(collector, self._collector):
            collector = _CollectorWithRecorder(collector, self._make_recorder(arguments))
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

    def _make_recorder(self, arguments: Mapping[str, Any]) -> Recorder:
        """Make a recorder for a run without traces, or with a trace collector of the user's own class."""
        config, adapter = arguments["config"], arguments["adapter"]
        benchmark = str(getattr(adapter, "name", "openadapt"))
        name = getattr(config, "run_name", None) or f"{benchmark}_eval_{time.strftime('%Y%m%d_%H%M%S')}"
        own = arguments["trace_collector"]
        output = getattr(own, "output_dir", None) or getattr(config, "output_dir", None) or "benchmark_results"
        found = log_location(self._settings, Path(output), str(getattr(own, "run_name", None) or name))
        return Recorder(self._settings, found, benchmark, str(getattr(config, "model_id", "unknown")))

    def _record_task(self, run_task: Callable[[], Any], arguments: dict[str, Any], name: str) -> Any:
        """Record one task: the agent and the adapter are timed; an exception that escapes finishes the task."""
        recorder = getattr(arguments["trace_collector"], "recorder", None)
        if not isinstance(recorder, Recorder):
            return run_task()
        if recorder.run is None:  # a release whose evaluation as a whole could not be wrapped
            recorder.describe(agent=arguments["agent"], max_steps=getattr(arguments["config"], "max_steps", None))
        recorder.timed = True
        arguments["agent"] = _time_method(arguments["agent"], "act", recorder.record_think_seconds)
        arguments["adapter"] = _time_method(arguments["adapter"], "step", recorder.record_env_seconds)
        try:
            return run_task()
        except BaseException as error:
            recorder.abandon(error)
            raise


class _CollectorWithRecorder:
    """The user's trace collector, or none, together with a recorder."""

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
    """A proxy that times one method of an object; in everything else it behaves as that object."""

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
            started = time.perf_counter()
            try:
                return value(*args, **kwargs)
            finally:
                report(time.perf_counter() - started)

        return timed

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_subject"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_subject"), name)


def _time_method(subject: Any, method: str, report: Callable[[float], None]) -> Any:
    # OpenAdapt's telemetry names an agent by its type
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
        log.warning("openadapt-evals %s is newer than the newest version tested (%d.%d)", version, *NEWEST)


def main() -> None:
    """Run the command ``openadapt-evals`` and record its runs."""
    instrument()
    sys.argv[0] = "openadapt-evals"
    sys.exit(import_module("openadapt_evals.benchmarks.cli").main())
