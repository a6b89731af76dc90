"""Trajectories in the Agent Trajectory Interchange Format (ATIF), versions 1.0 to 1.8.

A trajectory is one JSON document: ``agent``, ``steps`` and ``final_metrics``. A step is a turn of the system, the user
or the agent. ``prompt_tokens`` holds the cached ones. Steps that were copied from another document for context
(``is_copied_context``), and those of subagents, are no steps of the task; the subagents' model calls are calls of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evalgauge.usage import TokenUsage, parse_usage
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.osworld.actions import action_of
from evalgauge_exporter.sources.parsing import parse_id, parse_timestamp, resolve_relative
from evalgauge_exporter.sources.providers import provider_of

MOST_STEPS = 100_000
_DEEPEST = 5
"""Levels of subagents whose calls are counted."""


def steps_of(trajectory: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps that were not copied from elsewhere."""
    steps = trajectory.get("steps")
    if not isinstance(steps, list):
        return []
    return [step for step in steps[:MOST_STEPS] if isinstance(step, dict) and step.get("is_copied_context") is not True]


def begun_at(trajectory: dict[str, Any]) -> float | None:
    """The time of the first step that has one."""
    return next(
        (at for step in steps_of(trajectory) if (at := parse_timestamp(step.get("timestamp"))) is not None), None
    )


def instruction_of(trajectory: dict[str, Any]) -> str | None:
    """What the user said first."""
    for step in steps_of(trajectory):
        if step.get("source") == "user":
            return _text(step.get("message")) or None
    return None


def agent_of(trajectory: dict[str, Any]) -> tuple[str | None, str | None]:
    """The agent's name and its model."""
    agent = trajectory.get("agent")
    agent = agent if isinstance(agent, dict) else {}
    return parse_id(agent.get("name")), parse_id(agent.get("model_name"))


def tell(trajectory: dict[str, Any], tale: AttemptBuilder, folder: Any, below: str) -> None:
    """Add the agent's turns and model calls of a document that lies in ``below`` in the run's ``folder``."""
    model = agent_of(trajectory)[1]
    shot: str | None = None
    for step in steps_of(trajectory):
        at = parse_timestamp(step.get("timestamp"))
        seen = [resolve_relative(folder, below, name) for name in _pictures(step.get("message"))]
        if step.get("source") != "agent":
            shot = next((name for name in reversed(seen) if name), shot)
            continue
        message = _text(step.get("message"))
        reasoning = step.get("reasoning_content")
        reasoning = reasoning if isinstance(reasoning, str) and reasoning else message or None
        for index, action in enumerate(_actions(step, message)):
            tale.step(at, action, reasoning=reasoning if index == 0 else None, screenshot=shot)
        _call(step, tale, at, parse_id(step.get("model_name")) or model)
        observation = step.get("observation")
        results = observation.get("results") if isinstance(observation, dict) else None
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict):
                seen += [resolve_relative(folder, below, name) for name in _pictures(result.get("content"))]
        shot = next((name for name in reversed(seen) if name), shot)
    _subagents(trajectory, tale, 0)


def tell_totals(trajectory: dict[str, Any], tale: AttemptBuilder) -> None:
    """The tokens of a document whose steps give none, as one call."""
    final = trajectory.get("final_metrics")
    if not isinstance(final, dict):
        return
    counted = usage_of(
        {
            "prompt_tokens": final.get("total_prompt_tokens"),
            "completion_tokens": final.get("total_completion_tokens"),
            "cached_tokens": final.get("total_cached_tokens"),
        }
    )
    if counted.input is not None or counted.output is not None:
        model = agent_of(trajectory)[1]
        tale.call(None, *named(model), counted)


def usage_of(metrics: dict[str, Any]) -> TokenUsage:
    """A step's tokens; cached ones are inside the prompt's."""
    extra = metrics.get("extra")
    written = extra.get("cache_creation_input_tokens") if isinstance(extra, dict) else None
    return parse_usage(
        {
            "prompt_tokens": metrics.get("prompt_tokens"),
            "completion_tokens": metrics.get("completion_tokens"),
            "prompt_tokens_details": {"cached_tokens": metrics.get("cached_tokens"), "cache_write_tokens": written},
        }
    )


def named(model: str | None) -> tuple[str | None, str | None]:
    """Provider and model of a name that may be ``provider/model``."""
    provider, slash, name = (model or "").partition("/")
    return (provider, name) if slash and provider and name else (provider_of(model), model)


def _call(step: dict[str, Any], tale: AttemptBuilder, at: float | None, model: str | None) -> None:
    metrics = step.get("metrics")
    if not isinstance(metrics, dict):
        return
    counted = usage_of(metrics)
    if counted.input is None and counted.output is None and not step.get("llm_call_count"):
        return  # it says nothing of a call
    tale.call(at, *named(model), counted)


def _subagents(trajectory: dict[str, Any], tale: AttemptBuilder, depth: int) -> None:
    nested = trajectory.get("subagent_trajectories")
    for subagent in nested if isinstance(nested, list) and depth < _DEEPEST else ():
        if isinstance(subagent, dict):
            model = agent_of(subagent)[1] or agent_of(trajectory)[1]
            for step in steps_of(subagent):
                if step.get("source") == "agent":
                    _call(step, tale, None, parse_id(step.get("model_name")) or model)
            _subagents(subagent, tale, depth + 1)


def _actions(step: dict[str, Any], message: str) -> list[dict[str, Any]]:
    """What the agent did in a turn: each call of a tool, else that it said something."""
    calls = step.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            continue
        name = parse_id(call.get("function_name"))
        arguments = call.get("arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        kind = arguments.get("action") or arguments.get("type")
        if isinstance(kind, str) and kind and len(kind) <= 60:  # one tool for everything that a computer does
            actions.append({**action_of({**arguments, "action_type": kind}), "tool": name})
        else:
            actions.append({**arguments, "type": name or "unknown"})
    return actions or [{"type": "message", "text": message[:4000]}]


def _parts(content: object) -> Iterator[dict[str, Any]]:
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            yield part


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _parts(content) if isinstance(part.get("text"), str))


def _pictures(content: object) -> list[object]:
    return [
        part["source"].get("path")
        for part in _parts(content)
        if part.get("type") == "image" and isinstance(part.get("source"), dict)
    ]
