"""What a Harbor trial did: its trajectories (ATIF, ``agent/trajectory.json``) as steps and model calls.

Whatever an agent wrote may be in them: what is of another shape than expected is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalgauge.model_names import split_model_name
from evalgauge.normalize import llm_fields
from evalgauge.values import parse_timestamp

_LARGEST = 64 << 20
"""Bytes of a trajectory that is read."""

_COUNTS = ("n_input_tokens", "n_cache_tokens", "n_output_tokens")

Counts = tuple[Any, ...]
"""Input with what is cached, cached input, output."""


def calls_of(result: Any, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model calls of a trial, as fields of ``llm_call``; their sums are what Harbor reports for the trial.

    Call by call where its trajectories add up to these sums, as prices may depend on the length of a prompt; else a sum
    for each model where Harbor tells them apart; else one sum, which is unknown usage where a model is named but no
    tokens are. Harbor's input holds the cached tokens.
    """
    contexts = [part.agent_result for part in (result, *(result.step_results or ())) if part.agent_result is not None]
    if result.agent_result is not None:
        contexts = contexts[:1]
    if not contexts:
        return []
    sums = tuple(_sum(getattr(context, name) for context in contexts) for name in _COUNTS)
    info = result.agent_info.model_info
    provider, model = (info.provider, info.name) if info is not None else (None, None)
    single = list(_calls(documents, provider, model))
    if single and all(sum(usage[at] or 0 for _, _, usage in single) == (total or 0) for at, total in enumerate(sums)):
        return [_call(*call) for call in single]
    shares = [share for context in contexts for share in (getattr(context, "model_usage", None) or {}).items()]
    if shares and all(
        sum(getattr(share, name) or 0 for _, share in shares) == (total or 0)
        for name, total in zip(_COUNTS, sums, strict=True)
    ):
        return [
            _call(*_named(name, provider, model), tuple(getattr(share, n) for n in _COUNTS)) for name, share in shares
        ]
    return [_call(provider, model, sums)] if model is not None or any(sums) else []


def _call(provider: str | None, model: str | None, counts: Counts) -> dict[str, Any]:
    prompt, cached, output = counts
    usage = {"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens": output}
    return llm_fields(provider=provider, model=model, usage=usage)


def _calls(
    documents: list[dict[str, Any]], provider: str | None, model: str | None
) -> Iterator[tuple[str | None, str | None, Counts]]:
    for document in documents:
        for step in _turns(document):
            metrics = step.get("metrics")
            if isinstance(metrics, dict) and (metrics.get("prompt_tokens") or metrics.get("completion_tokens")):
                named = step.get("model_name")
                who = _named(named, provider, model) if isinstance(named, str) and named else (provider, model)
                counts = (metrics.get(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
                yield *who, tuple(count if isinstance(count, int) else None for count in counts)


def _named(name: str, provider: str | None, model: str | None) -> tuple[str | None, str | None]:
    """Provider and model of a name; the trial's own model is of its provider."""
    if name in (model, f"{provider}/{model}"):
        return provider, model
    return split_model_name(name)


def trajectories(trial: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The trajectories of a trial in their order, each with its folder. Raises OSError and ValueError."""
    paths = [trial / "agent" / "trajectory.json"]
    if not paths[0].is_file():
        steps = (path for path in trial.glob("steps/*/agent/trajectory.json") if path.is_file())
        paths = sorted(steps, key=lambda path: path.stat().st_mtime)
    for first in paths:
        path, seen = first, set[Path]()
        while path not in seen and path.is_file():
            seen.add(path)
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"{path.name} is larger than {_LARGEST} bytes")
            document = json.loads(path.read_bytes())
            if not isinstance(document, dict):
                raise ValueError(f"{path.name} holds no object")
            yield path.parent, document
            following = document.get("continued_trajectory_ref")
            if not isinstance(following, str) or Path(following).name != following:
                break
            path = path.parent / following


def _turns(document: dict[str, Any], source: str | None = "agent") -> Iterator[dict[str, Any]]:
    steps = document.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if (
            isinstance(step, dict)
            and step.get("is_copied_context") is not True
            and source in (None, step.get("source"))
        ):
            yield step


def steps_of(
    documents: list[tuple[Path, dict[str, Any]]], trial: Path
) -> Iterator[tuple[float | None, Path | None, dict[str, Any]]]:
    """What the agent did: the time, the picture it saw before, and the fields of ``step``."""
    for folder, document in documents:
        shot: Path | None = None
        for turn in _turns(document, None):
            message = turn.get("message")
            pictures = _pictures(message, folder, trial)
            if turn.get("source") == "agent":
                said = message if isinstance(message, str) else ""
                thought = turn.get("reasoning_content")
                reasoning = thought if isinstance(thought, str) and thought else said or None
                for action in _actions(turn, said):
                    yield parse_timestamp(turn.get("timestamp")), shot, {"action": action, "reasoning": reasoning}
                    reasoning = None
                observation = turn.get("observation")
                results = observation.get("results") if isinstance(observation, dict) else None
                for each in results if isinstance(results, list) else ():
                    pictures += _pictures(each.get("content") if isinstance(each, dict) else None, folder, trial)
            shot = pictures[-1] if pictures else shot


def _actions(turn: dict[str, Any], said: str) -> list[dict[str, Any]]:
    calls = turn.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            arguments = call.get("arguments")
            arguments = arguments if isinstance(arguments, dict) else {}
            tool, kind = str(call.get("function_name") or "unknown"), arguments.get("action") or arguments.get("type")
            if isinstance(kind, str) and len(kind) <= 60:  # one tool for everything that a computer does
                actions.append({**arguments, "type": kind, "tool": tool})
            else:
                actions.append({**arguments, "type": tool})
    return actions or [{"type": "message", "text": said[:4000]}]


def _pictures(content: object, folder: Path, trial: Path) -> list[Path]:
    """The pictures of a message that lie within the trial: an agent's own file may name any other."""
    found: list[Path] = []
    for part in content if isinstance(content, list) else ():
        source = part.get("source") if isinstance(part, dict) and part.get("type") == "image" else None
        name = source.get("path") if isinstance(source, dict) else None
        if isinstance(name, str) and "\0" not in name:
            path = (folder / name).resolve()
            if path.is_relative_to(trial.resolve()) and path.is_file():
                found.append(path)
    return found


def _sum(counts: Iterator[Any]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
