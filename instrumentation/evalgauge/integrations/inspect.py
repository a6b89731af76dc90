"""Inspect AI: its evaluations are recorded as they run, by a hook that Inspect finds by its entry point.

Installing evalgauge beside inspect-ai is all it takes: each task of an ``inspect eval`` becomes a run below
``EVALGAUGE_RESULTS`` (default ``results``; ``off`` records nothing). Logs that Inspect itself wrote need no hook: the
exporter reads ``.eval`` files as they are. Hooks: https://inspect.aisi.org.uk/extensions.html#hooks
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from inspect_ai.hooks import Hooks, SampleEnd, SampleEvent, SampleStart, TaskEnd, TaskStart, hooks

from evalgauge.tracker import Run, Task, track_run

FOLDER, VARIABLE, OFF = "results", "EVALGAUGE_RESULTS", "off"

_LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's grades: correct, incorrect, partial, no answer."""
_SUBMITS = frozenset({"submit", "submit_answer"})


@hooks(name="evalgauge", description="Records evaluations as evalgauge run logs.")
class EvalgaugeHooks(Hooks):
    """One instance for the whole process; its state is keyed by evaluation and by sample."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, Task] = {}
        self._seen: dict[str, set[str]] = {}
        self._scorers: dict[str, list[str]] = {}

    def enabled(self) -> bool:
        """Whether anything is recorded."""
        return os.environ.get(VARIABLE, FOLDER).lower() != OFF

    async def on_task_start(self, data: TaskStart) -> None:
        """An Inspect task is a run."""
        spec = data.spec
        ids = spec.dataset.sample_ids
        self._scorers[data.eval_id] = [scorer.name for scorer in spec.scorers or []]
        self._runs[data.eval_id] = track_run(
            os.environ.get(VARIABLE, FOLDER),
            benchmark=spec.task,
            model=spec.model.rpartition("/")[2],
            agent=getattr(spec, "solver", None),
            tasks=[str(sample_id) for sample_id in ids] if ids else spec.dataset.samples or 0,
            attempts=spec.config.epochs or 1,
            tags={"inspect_eval_id": data.eval_id, "inspect_run_id": data.run_id},
        )

    async def on_task_end(self, data: TaskEnd) -> None:
        """The run is over."""
        run = self._runs.pop(data.eval_id, None)
        self._scorers.pop(data.eval_id, None)
        if run is not None:
            run.finish("completed" if data.log.status == "success" else "aborted")

    async def on_sample_start(self, data: SampleStart) -> None:
        """A sample is a task, its epoch the attempt."""
        run, sample = self._runs.get(data.eval_id), data.summary
        if run is not None:
            domain = sample.metadata.get("domain") or sample.metadata.get("category")
            self._tasks[data.sample_id] = run.task(
                str(sample.id),
                attempt=sample.epoch,
                domain=domain if isinstance(domain, str) else None,
                instruction=sample.input if isinstance(sample.input, str) else None,
            )

    async def on_sample_event(self, data: SampleEvent) -> None:
        """A tool call is a step, a model call a call; what came from Inspect's own cache cost nothing."""
        task, event = self._tasks.get(data.sample_id), data.event
        if task is None or self._told(data.sample_id, event):
            return
        if event.event == "tool":
            action: dict[str, Any] = {**dict(event.arguments), "type": event.function}
            if event.function in _SUBMITS:
                action["type"] = "done"
            task.step(action=action, env_seconds=event.working_time)
        elif event.event == "model" and event.cache != "read":
            path, _, model = event.model.rpartition("/")
            provider = path.partition("/")[0] or None
            usage = event.output.usage  # its kinds are disjoint
            task.llm_call(
                provider=provider,
                model=model,
                input_tokens=usage.input_tokens if usage else None,
                cache_read_tokens=usage.input_tokens_cache_read if usage else None,
                cache_write_tokens=usage.input_tokens_cache_write if usage else None,
                output_tokens=usage.output_tokens if usage else None,
                duration_seconds=event.working_time,
                status="error" if event.error else "ok",
            )
            for _ in range(event.retries or 0):
                task.llm_call(provider=provider, model=model, status="retry")

    def _told(self, sample_id: str, event: Any) -> bool:
        """Whether the event came before: Inspect tells of a model's call again when it is complete."""
        told = self._seen.setdefault(sample_id, set())
        name = event.uuid or str(id(event))
        if name in told:
            return True
        told.add(name)
        return False

    async def on_sample_end(self, data: SampleEnd) -> None:
        """The first scorer's verdict; an error of the sample measures nothing."""
        task, sample = self._tasks.pop(data.sample_id, None), data.sample
        self._seen.pop(data.sample_id, None)
        if task is None:
            return
        if sample.error is not None:
            task.finish(outcome="infrastructure_error", error=sample.error.message)
            return
        score, reason = _score(sample.scores or {}, self._scorers.get(data.eval_id, []))
        if score is None:
            task.finish(outcome="evaluation_error", reason=reason or "no score")
        else:
            limit = f"stopped by its {sample.limit.type} limit" if sample.limit is not None else None
            task.finish(score=score, reason=reason or limit)


def _score(scores: Mapping[str, Any], scorers: list[str]) -> tuple[float | None, str | None]:
    """The value of the score that counts, None where it is no number, and its explanation."""
    name = next((scorer for scorer in scorers if scorer in scores), next(iter(scores), None))
    if name is None:
        return None, None
    value, explanation = scores[name].value, scores[name].explanation
    if isinstance(value, Mapping) and value:
        value = next(iter(value.values()))
    if isinstance(value, str):
        value = _LETTERS.get(value, value)
    try:
        return float(value), explanation
    except (TypeError, ValueError):
        return None, f"the score is {json.dumps(value, default=str)[:200]}"
