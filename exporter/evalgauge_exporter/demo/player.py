"""Playing a simulated evaluation: live through the tracker, or written at once as a finished run."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalgauge import Run, track_run
from evalgauge.normalize import LlmCallFields, llm_events
from evalgauge.runlog import EVENTS_FOLDER, LogWriter
from evalgauge_exporter.demo.scenario import Scenario, StepPlan, TaskPlan
from evalgauge_exporter.demo.screens import draw

BENCHMARK, AGENT, PROVIDER = "waa-demo", "demo-agent", "anthropic"
VM_SIZE, VM_RATE_USD = "Standard_D4ds_v5", 0.226
"""The list price of such a machine in US East at the end of 2026, in US dollars an hour."""
MACHINE_LOST = "the machine was taken back by its provider"
REFUSED = {"input_tokens": 0, "output_tokens": 0}
"""The usage of a call that was turned away before it was billed."""
GROUNDING_PROVIDER, GROUNDING_MODEL = "in-house", "demo-grounding-7b"
"""A model whose price nobody knows; it finds on the screen what the agent wants to click."""


class Evaluation:
    """A run that is played in background threads, one for each worker."""

    def __init__(
        self,
        results: Path,
        scenario: Scenario,
        *,
        model: str,
        speed: float,
        budget_usd: float,
        baseline: str | None,
        repeats: Sequence[Scenario] = (),
        tags: Mapping[str, str] | None = None,
        grounding: bool = False,
        lost_worker: str | None = None,
        sizes: Mapping[str, str] | None = None,
    ) -> None:
        """Create the run; nothing happens until ``start``.

        Args:
            results: Results folder in which the run is written.
            scenario: What happens in it.
            model: Name of the model that is recorded.
            speed: Factor relative to real time; 60 plays an hour in a minute.
            budget_usd: Budget of the run in US dollars.
            baseline: Run id to compare with, if any.
            repeats: What happens in each task's second attempt, third attempt and so on.
            tags: Tags of the run.
            grounding: Whether each click is preceded by a call of a model without a known price.
            lost_worker: A worker whose machine dies during its first attempt, if any.
            sizes: The sizes of machines that are not the usual one; the run does not know their prices.
        """
        self._scenario = scenario
        self._model = model
        self._speed = speed
        self._grounding = grounding
        self._lost_worker = lost_worker
        self._sizes = sizes or {}
        self.finished_tasks = 0
        """Attempts that have finished so far."""
        self._count_lock = threading.Lock()
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[tuple[TaskPlan, int]] = queue.SimpleQueue()
        for attempts in zip(*(one.tasks for one in (scenario, *repeats)), strict=True):
            for attempt, task in enumerate(attempts, 1):
                self._queue.put((task, attempt))
        planned = [
            {"task_id": task.task_id, "domain": task.domain, "instruction": task.instruction} for task in scenario.tasks
        ]
        self.run = track_run(
            results,
            benchmark=BENCHMARK,
            model=model,
            agent=AGENT,
            tasks=planned,
            attempts=1 + len(repeats),
            budget_usd=budget_usd,
            baseline=baseline,
            tags={"speed": f"{speed:g}", **(tags or {})},
        )
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=worker, daemon=True) for worker in scenario.workers
        ]
        self._finisher = threading.Thread(target=self._finish, name="evalgauge-demo", daemon=True)

    def start(self) -> None:
        """Start the workers."""
        for worker in self._scenario.workers:
            size = self._sizes.get(worker, VM_SIZE)
            rate = VM_RATE_USD if size == VM_SIZE else None
            self.run.worker(worker, "idle", vm=f"vm-{worker}", vm_size=size, provider="azure", hourly_rate_usd=rate)
        for thread in self._threads:
            thread.start()
        self._finisher.start()

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the end of the run; return whether it has ended."""
        self._finisher.join(timeout)
        return not self._finisher.is_alive()

    def stop(self) -> None:
        """Stop the workers; an unfinished run ends as aborted."""
        self._stop.set()
        self._finisher.join()

    def _finish(self) -> None:
        for thread in self._threads:
            thread.join()
        self.run.finish("aborted" if self._stop.is_set() else "completed")

    def _work(self, worker: str) -> None:
        while not self._stop.is_set():
            try:
                task, attempt = self._queue.get_nowait()
            except queue.Empty:
                break
            if worker == self._lost_worker:
                self._lose(task, attempt, worker)
                return
            self._play(task, attempt, worker)
            with self._count_lock:
                self.finished_tasks += 1
        self.run.worker(worker, "stopped")

    def _lose(self, plan: TaskPlan, attempt: int, worker: str) -> None:
        """Begin an attempt whose machine dies in its first step; the attempt is lost with it."""
        with self.run.task(plan.task_id, domain=plan.domain, worker=worker, attempt=attempt) as task:
            self._stop.wait(plan.steps[0].env_seconds / self._speed)
            self.run.worker(worker, "lost")
            task.finish(outcome="infrastructure_error", error=MACHINE_LOST)

    def _play(self, plan: TaskPlan, attempt: int, worker: str) -> None:
        with self.run.task(
            plan.task_id,
            domain=plan.domain,
            instruction=plan.instruction,
            worker=worker,
            attempt=attempt,
            max_steps=plan.max_steps,
        ) as task:
            for index, step in enumerate(plan.steps):
                screenshot = draw(step.scene)
                if self._stop.wait(step.think_seconds / self._speed):
                    return
                for call in _calls(plan, index, self._model, self._speed, self._grounding):
                    task.llm_call(**call)
                if self._stop.wait(step.env_seconds / self._speed):
                    return
                task.step(
                    action=dict(step.action),
                    reasoning=step.reasoning,
                    screenshot=screenshot,
                    think_seconds=step.think_seconds / self._speed,
                    env_seconds=step.env_seconds / self._speed,
                    first_action_correct=step.first_action_correct,
                )
            task.finish(outcome=plan.outcome, score=plan.score, error=plan.error, reason=plan.reason)


def write_finished_run(
    results: Path,
    run_id: str,
    scenario: Scenario,
    *,
    model: str,
    speed: float,
    ended_at: float,
    share: float = 1.0,
    screenshots: bool = True,
) -> Run:
    """Write the log of a finished run, unless it exists. Its screenshots take longer: see ``draw_screenshots``.

    Args:
        results: Results folder.
        run_id: Id of the run.
        scenario: What happened in it.
        model: Name of the model that is recorded.
        speed: Factor relative to real time.
        ended_at: When its last event happened, in Unix seconds.
        share: After which share of its time it ended, 0 to 1; below 1 it was killed.
        screenshots: Whether its steps name screenshots.

    Returns:
        The run.
    """
    events = list(_events_until(share, run_id, scenario, model, speed))
    for _, kind, fields in events:
        if kind == "step" and not screenshots:
            fields["screenshot"] = None
    return _write_run(results, run_id, events, ended_at - events[-1][0])


def write_running_run(
    results: Path,
    run_id: str,
    scenario: Scenario,
    *,
    model: str,
    speed: float,
    share: float,
    baseline: str | None = None,
) -> Run:
    """Write the log of a run that is running now, for pictures and tests of views.

    Args:
        results: Results folder.
        run_id: Id of the run.
        scenario: What happens in it.
        model: Name of the model that is recorded.
        speed: Factor relative to real time.
        share: How much of its time has passed, 0 to 1.
        baseline: Run id to compare with, if any.

    Returns:
        The run.
    """
    past = list(_events_until(share, run_id, scenario, model, speed))
    past[0][2]["baseline_run_id"] = baseline
    return _write_run(results, run_id, past, time.time() - past[-1][0])


def _events_until(
    share: float, run_id: str, scenario: Scenario, model: str, speed: float
) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Yield the events in order, those of the first ``share`` of the time, 0 to 1."""
    events = sorted(_events(run_id, scenario, model, speed), key=lambda item: item[0])
    return (event for event in events if event[0] <= share * events[-1][0])


def _write_run(results: Path, run_id: str, events: list[tuple[float, str, dict[str, Any]]], shift: float) -> Run:
    """Write events at their times plus ``shift``, in Unix seconds, unless the run exists."""
    run, folder = Run(results / run_id, run_id, None, "never"), results / run_id / EVENTS_FOLDER
    if folder.exists():
        return run
    unfinished = run.folder / ".events"  # a run that is half written must not be seen
    shutil.rmtree(unfinished, ignore_errors=True)
    writer = LogWriter(unfinished / "demo.jsonl")
    for at, kind, fields in events:
        writer.write(kind, {"ts": at + shift, **fields})
    writer.close()
    unfinished.rename(folder)
    return run


def _events(run_id: str, scenario: Scenario, model: str, speed: float) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Yield (seconds since the start, event type, fields); the worker that is free first takes the next task."""
    planned = [{"task_id": task.task_id, "domain": task.domain} for task in scenario.tasks]
    started = {"run_id": run_id, "benchmark": BENCHMARK, "model": model, "agent": AGENT, "tasks": planned}
    yield 0.0, "run_started", started
    free = dict.fromkeys(scenario.workers, 0.001)
    for worker in scenario.workers:
        machine = {"vm": f"vm-{worker}", "vm_size": VM_SIZE, "provider": "azure", "hourly_rate_usd": VM_RATE_USD}
        yield 0.001, "worker_state", {"worker_id": worker, "state": "idle", **machine}
    for task in scenario.tasks:
        worker = min(free, key=lambda name: free[name])
        at = began = free[worker] + 0.001
        ids = {"task_id": task.task_id, "attempt": 1, "worker_id": worker}
        described = {"domain": task.domain, "instruction": task.instruction, "max_steps": task.max_steps}
        yield at, "task_started", {**ids, **described}
        for index, step in enumerate(task.steps):
            at += step.think_seconds / speed
            for call in _calls(task, index, model, speed, grounding=False):
                for fields in llm_events(call):
                    yield at, "llm_call", {**ids, **fields}
            at += step.env_seconds / speed
            yield at, "step", {**ids, **_step(step, index, task, speed)}
        free[worker] = at + 0.001
        ended = {"outcome": task.outcome, "score": task.score, "error": task.error, "reason": task.reason}
        counted = {"steps": sum(step.action["type"] not in ("done", "error") for step in task.steps)}
        yield free[worker], "task_finished", {**ids, **ended, **counted, "duration_seconds": free[worker] - began}
    for worker, at in free.items():
        yield at + 0.001, "worker_state", {"worker_id": worker, "state": "stopped"}
    yield max(free.values()) + 0.01, "run_finished", {"status": "completed"}


def _calls(plan: TaskPlan, index: int, model: str, speed: float, grounding: bool) -> Iterator[LlmCallFields]:
    """Yield the model calls of a step, as the arguments of ``Task.llm_call``."""
    step, last = plan.steps[index], index == len(plan.steps) - 1
    failed = last and plan.outcome == "infrastructure_error"
    for status in ("retry", "ok") if step.retry else ("error",) if failed else ("ok",):
        yield {
            "provider": PROVIDER,
            "model": model,
            "usage": step.usage if status == "ok" else REFUSED,
            "duration_seconds": step.think_seconds / speed,
            "status": status,
        }
    if grounding and step.action["type"] == "click":
        counted = {"input_tokens": 1200, "output_tokens": 12} if index else None  # the first call reports no tokens
        yield {"provider": GROUNDING_PROVIDER, "model": GROUNDING_MODEL, "usage": counted, "duration_seconds": 0.4}


def _step(step: StepPlan, index: int, task: TaskPlan, speed: float) -> dict[str, Any]:
    return {
        "step_idx": index,
        "action": dict(step.action),
        "reasoning": step.reasoning,
        "screenshot": _screenshot_path(task, index),
        "think_seconds": step.think_seconds / speed,
        "env_seconds": step.env_seconds / speed,
        "first_action_correct": step.first_action_correct,
    }


def _screenshot_path(task: TaskPlan, index: int) -> str:
    return f"screenshots/{task.task_id}/1/step_{index:04d}.png"


def draw_screenshots(run: Run, scenario: Scenario, stop: threading.Event) -> None:
    """Draw the screenshots of a run that do not exist yet, until all exist or ``stop`` is set."""
    for task in scenario.tasks:
        for index, step in enumerate(task.steps):
            if stop.is_set():
                return
            path = run.folder / _screenshot_path(task, index)
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw(step.scene))
