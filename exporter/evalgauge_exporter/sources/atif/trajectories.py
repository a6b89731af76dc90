"""Trajectories in the Agent Trajectory Interchange Format (ATIF), versions 1.0 to 1.8.

A trajectory is one JSON document: ``agent``, ``steps`` and ``final_metrics``. A step is a turn of the system, the user
or the agent. ``prompt_tokens`` includes the cached ones. Steps that were copied from another document for context
(``is_copied_context``), and those of subagents, are not steps of the task; the model calls of subagents are its calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evalgauge.model_names import infer_provider, split_model_name
from evalgauge.usage import TokenUsage, parse_usage
from evalgauge.values import parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import resolve_relative

MAX_STEPS = 100_000
_MAX_DEPTH = 5
"""Levels of subagents whose calls are counted."""


def list_steps(trajectory: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that were not copied from another document."""
    steps = trajectory.get("steps")
    if not isinstance(steps, list):
        return []
    return [step for step in steps[:MAX_STEPS] if isinstance(step, dict) and step.get("is_copied_context") is not True]


def find_start(trajectory: dict[str, Any]) -> float | None:
    """Return the time of the first step that has one, in Unix seconds."""
    return next(
        (at for step in list_steps(trajectory) if (at := parse_timestamp(step.get("timestamp"))) is not None), None
    )


def find_instruction(trajectory: dict[str, Any]) -> str | None:
    """Return the first message of the user."""
    for step in list_steps(trajectory):
        if step.get("source") == "user":
            return _join_text(step.get("message")) or None
    return None


def parse_agent(trajectory: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the agent's name and its model."""
    agent = trajectory.get("agent")
    agent = agent if isinstance(agent, dict) else {}
    return parse_id(agent.get("name")), parse_id(agent.get("model_name"))


def add_turns(trajectory: dict[str, Any], attempt: AttemptBuilder, folder: Any, below: str) -> None:
    """Add the agent's turns and model calls.

    Args:
        trajectory: The document.
        attempt: Takes the events.
        folder: The run's folder.
        below: The document's folder relative to the run's.
    """
    model = parse_agent(trajectory)[1]
    shot: str | None = None
    for step in list_steps(trajectory):
        at = parse_timestamp(step.get("timestamp"))
        seen = [resolve_relative(folder, below, name) for name in _list_images(step.get("message"))]
        if step.get("source") != "agent":
            shot = next((name for name in reversed(seen) if name), shot)
            continue
        message = _join_text(step.get("message"))
        thought = step.get("reasoning_content")
        reasoning = thought if isinstance(thought, str) and thought else message
        for index, action in enumerate(_parse_actions(step, message)):
            attempt.add_step(at, action, reasoning=reasoning if index == 0 else None, screenshot=shot)
        _add_call(step, attempt, at, parse_id(step.get("model_name")) or model)
        observation = step.get("observation")
        results = observation.get("results") if isinstance(observation, dict) else None
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict):
                seen += [resolve_relative(folder, below, name) for name in _list_images(result.get("content"))]
        shot = next((name for name in reversed(seen) if name), shot)
    _add_subagent_calls(trajectory, attempt, 0)


def add_total_usage(trajectory: dict[str, Any], attempt: AttemptBuilder) -> None:
    """Add the tokens of a document whose steps give none, as one call."""
    final = trajectory.get("final_metrics")
    if not isinstance(final, dict):
        return
    counted = parse_atif_usage(
        {
            "prompt_tokens": final.get("total_prompt_tokens"),
            "completion_tokens": final.get("total_completion_tokens"),
            "cached_tokens": final.get("total_cached_tokens"),
        }
    )
    if counted.input is not None or counted.output is not None:
        model = parse_agent(trajectory)[1]
        attempt.add_call(None, *resolve_model(model), counted)


def parse_atif_usage(metrics: dict[str, Any]) -> TokenUsage:
    """Parse a step's tokens; the prompt's include the cached ones."""
    extra = metrics.get("extra")
    written = extra.get("cache_creation_input_tokens") if isinstance(extra, dict) else None
    return parse_usage(
        {
            "prompt_tokens": metrics.get("prompt_tokens"),
            "completion_tokens": metrics.get("completion_tokens"),
            "prompt_tokens_details": {"cached_tokens": metrics.get("cached_tokens"), "cache_write_tokens": written},
        }
    )


def resolve_model(name: str | None) -> tuple[str | None, str | None]:
    """Return provider and model of a name that may be ``provider/model``; else the provider is inferred."""
    provider, model = split_model_name(name)
    return provider or infer_provider(model), model


def _add_call(step: dict[str, Any], attempt: AttemptBuilder, at: float | None, model: str | None) -> None:
    metrics = step.get("metrics")
    if not isinstance(metrics, dict):
        return
    counted = parse_atif_usage(metrics)
    if counted.input is None and counted.output is None and not step.get("llm_call_count"):
        return  # there was no call
    attempt.add_call(at, *resolve_model(model), counted)


def _add_subagent_calls(trajectory: dict[str, Any], attempt: AttemptBuilder, depth: int) -> None:
    nested = trajectory.get("subagent_trajectories")
    for subagent in nested if isinstance(nested, list) and depth < _MAX_DEPTH else ():
        if isinstance(subagent, dict):
            model = parse_agent(subagent)[1] or parse_agent(trajectory)[1]
            for step in list_steps(subagent):
                if step.get("source") == "agent":
                    _add_call(step, attempt, None, parse_id(step.get("model_name")) or model)
            _add_subagent_calls(subagent, attempt, depth + 1)


def _parse_actions(step: dict[str, Any], message: str) -> list[dict[str, Any]]:
    """Return the actions of a turn: each call of a tool, else its message."""
    calls = step.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            continue
        name = parse_id(call.get("function_name"))
        arguments = call.get("arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        kind = arguments.get("action") or arguments.get("type")
        if isinstance(kind, str) and kind and len(kind) <= 60:  # one tool for all actions of a computer
            actions.append({**parse_action({**arguments, "action_type": kind}), "tool": name})
        else:
            actions.append({**arguments, "type": name or "unknown"})
    return actions or [{"type": "message", "text": message[:4000]}]


def _iterate_parts(content: object) -> Iterator[dict[str, Any]]:
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            yield part


def _join_text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _iterate_parts(content) if isinstance(part.get("text"), str))


def _list_images(content: object) -> list[object]:
    return [
        part["source"].get("path")
        for part in _iterate_parts(content)
        if part.get("type") == "image" and isinstance(part.get("source"), dict)
    ]
