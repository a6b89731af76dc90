"""Inspect AI: its evaluations are recorded as they run, by a hook that Inspect finds by its entry point.

Installing evalgauge beside inspect-ai is all it takes: each task of an ``inspect eval`` becomes a run below
``EVALGAUGE_RESULTS`` (default ``results``; ``off`` records nothing). Logs that Inspect itself wrote need no hook: the
exporter reads ``.eval`` files as they are, and of one evaluation both tell the same. Hooks:
https://inspect.aisi.org.uk/extensions.html#hooks
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from inspect_ai.hooks import Hooks, SampleEnd, SampleEvent, SampleStart, TaskEnd, TaskStart, hooks

from evalgauge.integrations.inspect.outcomes import DOMAINS, SCORING, SUBMITS, score_of
from evalgauge.model_names import split_model_name
from evalgauge.tracker import Run, Task, track_run

FOLDER, VARIABLE, OFF = "results", "EVALGAUGE_RESULTS", "off"


@hooks(name="evalgauge", description="Records evaluations as evalgauge run logs.")
class EvalgaugeHooks(Hooks):
    """One instance for the whole process; its state is keyed by evaluation and by sample."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._samples: dict[str, _Sample] = {}
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
            model=split_model_name(spec.model).model or "unknown",
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
            metadata = sample.metadata or {}
            domains = (metadata.get(name) for name in DOMAINS)
            task = run.task(
                str(sample.id),
                attempt=sample.epoch,
                domain=next((domain for domain in domains if isinstance(domain, str) and domain), None),
                instruction=_asked(sample.input),
            )
            self._samples[data.sample_id] = _Sample(task, _last_picture_of(sample.input))

    async def on_sample_event(self, data: SampleEvent) -> None:
        """What happened in a sample."""
        sample = self._samples.get(data.sample_id)
        if sample is not None:
            sample.take(data.event)

    async def on_sample_end(self, data: SampleEnd) -> None:
        """The first scorer's verdict; an error of the sample measures nothing."""
        seen, sample = self._samples.pop(data.sample_id, None), data.sample
        if seen is None:
            return
        seen.flush()
        limit = f"limit: {sample.limit.type}" if sample.limit is not None else None
        if sample.error is not None:
            message = sample.error.message
            outcome = "interrupted" if "Cancelled" in message else "infrastructure_error"
            seen.task.finish(outcome=outcome, error=message or "error", reason=limit)
            return
        score, explanation = _score(sample.scores or {}, self._scorers.get(data.eval_id, []))
        if score is None:
            seen.task.finish(outcome="evaluation_error", error="the sample has no score", reason=limit or explanation)
        else:
            seen.task.finish(score=score, reason=limit or explanation)


class _Sample:
    """A sample that goes on. A turn of the agent is a step for each tool that it calls, else one that says something.

    A step whose tool is called is told once the tool has answered.
    """

    def __init__(self, task: Task, shot: str | None) -> None:
        self.task = task
        self._shot = shot
        """The picture that the agent saw last."""
        self._told: set[str] = set()
        self._scoring: set[str] = set()
        """The spans in which the sample is scored."""
        self._called: dict[str, dict[str, Any]] = {}
        """Steps whose tools have not answered yet, by the ids of the calls."""

    def take(self, event: Any) -> None:
        """Tell what the event says, once: Inspect may tell of it again."""
        name = event.uuid or str(id(event))
        if name in self._told:
            return
        self._told.add(name)
        if event.event == "span_begin" and (event.type in SCORING or event.parent_id in self._scoring):
            self._scoring.add(event.id)
        elif event.event == "tool":
            self._answered(event)
        elif event.event == "model":
            self._count(event)
            if event.span_id not in self._scoring and event.output.choices and not event.error:
                self._turn(event, event.output.choices[0].message)

    def flush(self) -> None:
        """Tell the steps whose tools never answered."""
        for step in self._called.values():
            self.task.step(**step)
        self._called.clear()

    def _count(self, event: Any) -> None:
        """A model's call; what came from Inspect's own cache cost nothing and is none."""
        if event.cache == "read":
            return
        provider, model = split_model_name(event.model)
        for _ in range(event.retries or 0):  # tries that were turned away: nothing was made of them
            self.task.llm_call(provider=provider, model=model, input_tokens=0, output_tokens=0, status="retry")
        usage = event.output.usage  # its kinds are disjoint
        self.task.llm_call(
            provider=provider,
            model=model,
            input_tokens=usage.input_tokens if usage else None,
            cache_read_tokens=usage.input_tokens_cache_read if usage else None,
            cache_write_tokens=usage.input_tokens_cache_write if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            duration_seconds=event.output.time,
            status="error" if event.error else "ok",
        )

    def _turn(self, event: Any, message: Any) -> None:
        said = message.text
        content = message.content if isinstance(message.content, list) else []
        thoughts = "\n".join(part.reasoning for part in content if part.type == "reasoning" and part.reasoning)
        told = {"reasoning": thoughts or said or None, "think_seconds": event.working_time}
        calls = message.tool_calls or []
        if not calls:
            self.task.step(action={"type": "message", "text": said[:4000]}, screenshot=self._shot, **told)
        for call in calls:
            self._called[call.id] = {"action": _action(call), **told}
            told = {}

    def _answered(self, event: Any) -> None:
        step = self._called.pop(event.id, None)
        if step is not None:
            self.task.step(**step, screenshot=self._shot, env_seconds=event.working_time)
        self._shot = _last_picture(event.result) or self._shot


def _action(call: Any) -> dict[str, Any]:
    arguments, tool = dict(call.arguments or {}), call.function
    kind = arguments.pop("action", None)
    if isinstance(kind, str) and kind and len(kind) <= 60:  # one tool for everything that a computer does
        place = arguments.get("coordinate")
        if isinstance(place, list | tuple) and len(place) == 2:
            arguments = {"x": place[0], "y": place[1], **arguments}
        return {**arguments, "type": kind, "tool": tool}
    if kind is not None:
        arguments["action"] = kind
    return {**arguments, "type": "done" if tool in SUBMITS else tool}


def _score(scores: Mapping[str, Any], scorers: list[str]) -> tuple[float | None, str | None]:
    """The score that counts, None where it is no number, and its explanation."""
    name = next((scorer for scorer in scorers if scorer in scores), next(iter(scores), None))
    return (None, None) if name is None else (score_of(scores[name].value), scores[name].explanation)


def _asked(asked: Any) -> str | None:
    """What the user says in a sample's input."""
    if isinstance(asked, str):
        return asked or None
    said = (message.text for message in asked or () if message.role == "user")
    return "\n".join(text for text in said if text) or None


def _last_picture_of(asked: Any) -> str | None:
    messages = [] if isinstance(asked, str) else asked or []
    return next((shot for message in reversed(messages) if (shot := _last_picture(message.content))), None)


def _last_picture(content: Any) -> str | None:
    """The last picture in a content, as a data URL; others lie somewhere else."""
    parts = content if isinstance(content, list) else [content]
    images = (getattr(part, "image", None) for part in reversed(parts))
    return next((image for image in images if isinstance(image, str) and image.startswith("data:image/")), None)
