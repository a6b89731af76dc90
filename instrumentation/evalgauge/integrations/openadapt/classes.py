"""openadapt-evals' trace collector and live tracker, with state for each thread and with a recorder.

The stock classes have one current task for all threads: with ``parallel`` above 1 steps land in other tasks' folders
and tasks fail with "No task started", which changes the scores. A task starts and finishes in one thread, so its state
is thread-local here. The classes are made when they are first needed, because they extend classes of a package that
need not be installed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from evalgauge.integrations.openadapt.recorder import Recorder, Settings, log_location


class PerThread:
    """An attribute with its own value in each thread."""

    def __init__(self, default: Callable[[], Any]) -> None:
        self._default = default
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        values = _values(instance)
        try:
            return getattr(values, self._name)
        except AttributeError:
            value = self._default()
            setattr(values, self._name, value)
            return value

    def __set__(self, instance: object, value: Any) -> None:
        setattr(_values(instance), self._name, value)


def _values(instance: object) -> threading.local:
    values: threading.local = instance.__dict__.setdefault("_evalgauge_threads", threading.local())
    return values


def _none() -> None:
    return None


@functools.cache
def trace_collector() -> type[Any]:
    """Return the class TraceCollector. Raises ImportError if openadapt-evals is not installed."""
    stock: Any = import_module("openadapt_evals.benchmarks.data_collection")

    log_handler = _log_handler(stock)

    class TraceCollector(stock.ExecutionTraceCollector):  # type: ignore[misc]  # the base is known at run time only
        """``ExecutionTraceCollector`` for any number of threads, which also records the run as a run log.

        In a loop of your own, ``recorder.describe(agent=…, tasks=…)`` states the planned tasks beforehand.
        """

        settings = Settings()

        _current_task = PerThread(_none)
        _current_task_dir = PerThread(_none)
        _current_screenshots_dir = PerThread(_none)
        _current_steps = PerThread(list)

        def __init__(self, benchmark_name: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(benchmark_name, *args, **kwargs)
            found = log_location(self.settings, Path(self.output_dir), str(self.run_name))
            self.recorder = Recorder(self.settings, found, self.benchmark_name, str(self.model_id))
            stock_handler = getattr(self, "_log_handler", None)
            if stock_handler is not None and log_handler is not None:
                logging.getLogger().removeHandler(stock_handler)
                self._log_handler = log_handler()
                logging.getLogger().addHandler(self._log_handler)

        def start_task(self, task: Any) -> None:
            """Start a task in this thread."""
            self.recorder.start_task(task)
            super().start_task(task)

        def record_step(
            self, step_idx: int, observation: Any, action: Any, reasoning: str | None = None, **more: Any
        ) -> None:
            """Record a step of this thread's task; releases before 0.30 pass no ``agent_logs``."""
            super().record_step(step_idx, observation, action, reasoning, **more)
            shot = None
            if self._current_steps and self._current_steps[-1].screenshot_path:
                shot = (Path(self._current_task_dir) / self._current_steps[-1].screenshot_path).absolute()
            self.recorder.record_step(observation, action, reasoning, more.get("agent_logs"), shot)

        def finish_task(self, result: Any) -> None:
            """Finish this thread's task, after an error too."""
            try:
                super().finish_task(result)
            finally:
                self.recorder.finish_task(result)

        def save_summary(self, all_results: Any) -> None:
            """Finish the run."""
            super().save_summary(all_results)
            self.close()
            self.recorder.finish()

        def close(self) -> None:
            """Remove the handler from the root logger, which the stock class never does."""
            if getattr(self, "_log_handler", None) is not None:
                logging.getLogger().removeHandler(self._log_handler)

    return TraceCollector


def _log_handler(stock: Any) -> type[Any] | None:
    """Make the class of the handler that stores a task's log lines; None in 0.1.0, which has none."""
    base = getattr(stock, "TaskLogHandler", None)
    if base is None:
        return None

    class ThreadLogHandler(base):  # type: ignore[misc, valid-type]  # as above
        """Stores the log lines of each thread's task; those of all threads where only one task is open."""

        def __init__(self) -> None:
            self._open: dict[int, dict[str, Any]] = {}
            super().__init__()

        def _current(self) -> dict[str, Any]:
            own = self._open.get(threading.get_ident())
            if own is not None:
                return own
            others = list(self._open.values())
            return others[0] if len(others) == 1 else {"logs": [], "start": None}

        @property
        def logs(self) -> list[Any]:
            lines: list[Any] = self._current()["logs"]
            return lines

        @logs.setter
        def logs(self, lines: list[Any]) -> None:
            if threading.get_ident() in self._open:
                self._current()["logs"] = lines

        @property
        def task_start_time(self) -> float | None:
            start: float | None = self._current()["start"]
            return start

        @task_start_time.setter
        def task_start_time(self, start: float | None) -> None:
            if start is None:
                self._open.pop(threading.get_ident(), None)
            else:
                self._open[threading.get_ident()] = {"logs": [], "start": start}

    return ThreadLogHandler


@functools.cache
def live_tracker() -> type[Any]:
    """Return the class LiveTracker. Raises ImportError if openadapt-evals is not installed."""
    stock: Any = import_module("openadapt_evals.benchmarks.live_tracker")

    class LiveTracker(stock.LiveEvaluationTracker):  # type: ignore[misc]  # the base is known at run time only
        """``LiveEvaluationTracker`` for any number of threads.

        The file is replaced atomically, so that no reader sees half of it. A task that finished with an error, which
        the runner does not report to this class, is counted when the next one starts.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._lock = threading.RLock()
            self._current: dict[int, Any] = {}
            super().__init__(*args, **kwargs)

        @property
        def current_task(self) -> Any:
            """The task of this thread."""
            return self._current.get(threading.get_ident())

        @current_task.setter
        def current_task(self, task: Any) -> None:
            if task is None:
                self._current.pop(threading.get_ident(), None)
            else:
                self._current[threading.get_ident()] = task

        def start_task(self, task: Any) -> None:
            """Start a task in this thread."""
            with self._lock:
                if self.current_task is not None:
                    self.tasks_completed += 1
                super().start_task(task)

        def record_step(self, *args: Any, **kwargs: Any) -> None:
            """Record a step of this thread's task."""
            with self._lock:
                super().record_step(*args, **kwargs)

        def finish_task(self, result: Any) -> None:
            """Finish this thread's task."""
            with self._lock:
                super().finish_task(result)

        def finish(self) -> None:
            """Mark the evaluation as complete; tasks that are still open finished with an error."""
            with self._lock:
                self.tasks_completed += len(self._current)
                self._current.clear()
                super().finish()

        def _write_state(self, state: Mapping[str, Any]) -> None:
            path = Path(self.output_file)
            temporary = path.with_name(f".{path.name}.{os.getpid()}-{id(self):x}")
            with self._lock:
                try:
                    temporary.write_text(json.dumps(state, indent=2), encoding="utf-8")
                    temporary.replace(path)
                except OSError:
                    with contextlib.suppress(OSError):
                        temporary.unlink()
                    raise

    return LiveTracker
