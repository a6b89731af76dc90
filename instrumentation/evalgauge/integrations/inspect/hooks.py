"""The hook of Inspect AI (https://inspect.aisi.org.uk/extensions.html#hooks).

With evalgauge installed beside inspect-ai, each task of an ``inspect eval`` becomes a run below ``EVALGAUGE_RESULTS``
(default ``results``; ``off`` records nothing). Logs that Inspect itself wrote need no hook: the exporter reads
``.eval`` files as they are. Both report the same of one evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.hooks import Hooks, SampleEnd, SampleEvent, SampleStart, TaskEnd, TaskStart, hooks

from evalgauge.integrations.inspect.outcomes import BATCHED, DOMAIN_KEYS, SCORING_SPANS, SUBMIT_TOOLS, parse_score
from evalgauge.model_names import split_model_name
from evalgauge.results_folders import OFF, first_results_folder
from evalgauge.tracker import Run, Task, track_run
from evalgauge.usage import NOTHING

FOLDER = "results"


@hooks(name="evalgauge", description="Records evaluations as evalgauge run logs.")
class EvalgaugeHooks(Hooks):
    """One instance for the whole process; its state is keyed by evaluation and by sample."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._samples: dict[str, _SampleRecorder] = {}
        self._scorers: dict[str, list[str]] = {}

    def enabled(self) -> bool:
        """Whether the hook records anything."""
        return (first_results_folder() or FOLDER).lower() != OFF

    async def on_task_start(self, data: TaskStart) -> None:
        """Start a run for an Inspect task."""
        spec = data.spec
        ids = spec.dataset.sample_ids
        self._scorers[data.eval_id] = [scorer.name for scorer in spec.scorers or []]
        self._runs[data.eval_id] = track_run(
            first_results_folder() or FOLDER,
            benchmark=spec.task,
            model=split_model_name(spec.model).model or "unknown",
            agent=getattr(spec, "solver", None),
            tasks=[str(sample_id) for sample_id in ids] if ids else spec.dataset.samples or 0,
            attempts=spec.config.epochs or 1,
            tags={"inspect_eval_id": data.eval_id, "inspect_run_id": data.run_id},
        )

    async def on_task_end(self, data: TaskEnd) -> None:
        """Finish the run."""
        run = self._runs.pop(data.eval_id, None)
        self._scorers.pop(data.eval_id, None)
        if run is not None:
            run.finish("completed" if data.log.status == "success" else "aborted")

    async def on_sample_start(self, data: SampleStart) -> None:
        """Start a task for a sample; its epoch is the attempt."""
        run, sample = self._runs.get(data.eval_id), data.summary
        if run is not None:
            metadata = sample.metadata or {}
            domains = (metadata.get(name) for name in DOMAIN_KEYS)
            task = run.task(
                str(sample.id),
                attempt=sample.epoch,
                domain=next((domain for domain in domains if isinstance(domain, str) and domain), None),
                instruction=_user_text(sample.input),
            )
            for role, text in _messages(sample.input):
                task.message(role, text)
            self._samples[data.sample_id] = _SampleRecorder(task, _last_image_of(sample.input))

    async def on_sample_event(self, data: SampleEvent) -> None:
        """Record an event of a sample."""
        sample = self._samples.get(data.sample_id)
        if sample is not None:
            sample.record(data.event)

    async def on_sample_end(self, data: SampleEnd) -> None:
        """Finish the task with the first scorer's score; an error of the sample is no measurement."""
        recorder, sample = self._samples.pop(data.sample_id, None), data.sample
        if recorder is None:
            return
        recorder.flush()
        limit = f"limit: {sample.limit.type}" if sample.limit is not None else None
        if sample.error is not None:
            message = sample.error.message
            outcome = "interrupted" if "Cancelled" in message else "infrastructure_error"
            recorder.task.finish(outcome=outcome, error=message or "error", reason=limit)
            return
        score, explanation = _first_score(sample.scores or {}, self._scorers.get(data.eval_id, []))
        if score is None:
            recorder.task.finish(
                outcome="evaluation_error", error="the sample has no score", reason=limit or explanation
            )
        else:
            found = {name: parse_score(stated.value) for name, stated in (sample.scores or {}).items()}
            recorder.task.finish(
                score=score,
                scores={name: value for name, value in found.items() if value is not None},
                reason=limit or explanation,
                answer=_first_answer(sample.scores or {}, self._scorers.get(data.eval_id, [])),
                target=_join_target(sample.target),
            )


class _SampleRecorder:
    """Records a running sample: a turn of the agent is a step for each tool call, or one message step without any.

    A step with a tool call is recorded once the tool has answered.
    """

    def __init__(self, task: Task, shot: str | None) -> None:
        self.task = task
        self._shot = shot
        """The image that the agent saw last, a data URL."""
        self._recorded: set[str] = set()
        self._scoring: set[str] = set()
        """The ids of the spans in which the sample is scored."""
        self._pending: dict[str, dict[str, Any]] = {}
        """Steps whose tools have not answered yet, by the ids of the tool calls."""

    def record(self, event: Any) -> None:
        """Record an event once; Inspect may report it several times."""
        name = event.uuid or str(id(event))
        if name in self._recorded:
            return
        self._recorded.add(name)
        if event.event == "span_begin" and (event.type in SCORING_SPANS or event.parent_id in self._scoring):
            self._scoring.add(event.id)
        elif event.event == "tool":
            self._record_tool(event)
        elif event.event == "model":
            self._record_call(event)
            if event.span_id not in self._scoring and event.output.choices and not event.error:
                self._record_turn(event, event.output.choices[0].message)

    def flush(self) -> None:
        """Record the steps whose tools never answered."""
        for step in self._pending.values():
            self.task.step(**step)
        self._pending.clear()

    def _record_call(self, event: Any) -> None:
        """Record a model call; a response from Inspect's own cache cost nothing and is no call."""
        if event.cache == "read":
            return
        provider, model = split_model_name(event.model)
        for _ in range(event.retries or 0):  # rejected requests produced no tokens
            self.task.llm_call(provider=provider, model=model, usage=NOTHING, status="retry")
        response = getattr(event.call, "response", None)
        self.task.llm_call(
            provider=provider,
            model=model,
            usage=event.output.usage,
            duration_seconds=event.output.time,
            status="error" if event.error else "ok",
            batch=bool(getattr(event.config, "batch", None)) and provider in BATCHED,
            service_tier=response.get("service_tier") if isinstance(response, dict) else None,
        )

    def _record_turn(self, event: Any, message: Any) -> None:
        text = message.text
        content = message.content if isinstance(message.content, list) else []
        thoughts = "\n".join(part.reasoning for part in content if part.type == "reasoning" and part.reasoning)
        about = {"reasoning": thoughts or text or None, "think_seconds": event.working_time}
        calls = message.tool_calls or []
        if not calls:
            self.task.step(action={"type": "message", "text": text[:4000]}, screenshot=self._shot, **about)
        for call in calls:
            self._pending[call.id] = {"action": _action(call), **about}
            about = {}

    def _record_tool(self, event: Any) -> None:
        step = self._pending.pop(event.id, None)
        if step is not None:
            seen = _text_of(event.result)
            self.task.step(**step, observation=seen, screenshot=self._shot, env_seconds=event.working_time)
        self._shot = _last_image(event.result) or self._shot


def _action(call: Any) -> dict[str, Any]:
    arguments, tool = dict(call.arguments or {}), call.function
    kind = arguments.pop("action", None)
    if isinstance(kind, str) and kind and len(kind) <= 60:  # one computer-use tool for all kinds of actions
        place = arguments.get("coordinate")
        if isinstance(place, list | tuple) and len(place) == 2:
            arguments = {"x": place[0], "y": place[1], **arguments}
        return {**arguments, "type": kind, "tool": tool}
    if kind is not None:
        arguments["action"] = kind
    return {**arguments, "type": "done" if tool in SUBMIT_TOOLS else tool}


def _first_answer(scores: Mapping[str, Any], scorers: list[str]) -> str | None:
    name = next((scorer for scorer in scorers if scorer in scores), next(iter(scores), None))
    return None if name is None else scores[name].answer


def _join_target(target: Any) -> str | None:
    texts = [target] if isinstance(target, str) else target or []
    return "\n".join(str(text) for text in texts) or None


def _first_score(scores: Mapping[str, Any], scorers: list[str]) -> tuple[float | None, str | None]:
    """Return the first scorer's score, None where it is not a number, and its explanation."""
    name = next((scorer for scorer in scorers if scorer in scores), next(iter(scores), None))
    return (None, None) if name is None else (parse_score(scores[name].value), scores[name].explanation)


def _messages(sample_input: Any) -> list[tuple[str, str]]:
    """Return role and text of the messages in a sample's input."""
    if isinstance(sample_input, str):
        return [("user", sample_input)] if sample_input else []
    messages = [(message.role, message.text) for message in sample_input or ()]
    return [(role, text) for role, text in messages if role in ("system", "user") and text]


def _text_of(content: Any) -> str | None:
    """Return the text of a tool's result; None where it has none."""
    if isinstance(content, str | int | float | bool):
        return str(content) or None
    texts = (getattr(part, "text", None) for part in (content if isinstance(content, list) else [content]))
    return "\n".join(text for text in texts if isinstance(text, str) and text) or None


def _user_text(sample_input: Any) -> str | None:
    """Return the user's messages in a sample's input."""
    if isinstance(sample_input, str):
        return sample_input or None
    texts = (message.text for message in sample_input or () if message.role == "user")
    return "\n".join(text for text in texts if text) or None


def _last_image_of(sample_input: Any) -> str | None:
    messages = [] if isinstance(sample_input, str) else sample_input or []
    return next((shot for message in reversed(messages) if (shot := _last_image(message.content))), None)


def _last_image(content: Any) -> str | None:
    """Return the last image of a message that is a data URL; None where it has none."""
    parts = content if isinstance(content, list) else [content]
    images = (getattr(part, "image", None) for part in reversed(parts))
    return next((image for image in images if isinstance(image, str) and image.startswith("data:image/")), None)
