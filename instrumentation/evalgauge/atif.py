"""Trajectories in the Agent Trajectory Interchange Format (ATIF), versions 1.0 to 1.8, and tokens of Harbor's trials.

A trajectory is one JSON document: ``agent``, ``steps`` and ``final_metrics``. A step is a turn of the system, the user
or the agent. ``prompt_tokens`` includes cached ones, those written to a cache too. Steps that were copied from another
document for context (``is_copied_context``), and those of subagents, are not steps of the task; the model calls of
subagents are its calls. Whatever an agent wrote may be in a document: what has another form is left out.

This is the one reader of the format: Harbor's plugin and the exporter's source both use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args

from evalgauge.events import Role
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import CallUsage, TokenUsage, parse_call
from evalgauge.values import parse_count, parse_id, parse_timestamp

ROLES: Final[tuple[Role, ...]] = get_args(Role)
MAX_STEPS: Final = 100_000
"""Steps of one document that are read."""
_MAX_BYTES: Final = 64 << 20
"""Bytes; a larger trajectory is not read by :func:`load_trajectories`."""
_MAX_DEPTH: Final = 5
"""Levels of subagents whose calls are counted."""
_EXTRA: Final = (
    *("cache_creation_input_tokens", "cache_creation", "service_tier", "speed", "inference_geo", "server_tool_use"),
    "total_tokens",
)
"""What agents add to a step's metrics in ``extra`` that changes its price."""

Image = TypeVar("Image")


class AtifCall(NamedTuple):
    """A model call of a trajectory, or a sum of calls."""

    ts: float | None
    """Unix seconds."""
    provider: str | None
    model: str | None
    usage: CallUsage


class AtifTurn(NamedTuple, Generic[Image]):
    """A turn of the agent."""

    ts: float | None
    actions: list[dict[str, Any]]
    """One for each tool call, with ``type`` and arguments, and ``tool`` where the type is an argument of the tool; a
    turn without a tool call is one action ``message``."""
    observations: list[str | None]
    """For each action, the text that its tool returned."""
    reasoning: str | None
    screenshot: Image | None
    """The last image that the agent saw before it acted."""
    call: AtifCall | None


def list_steps(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that were not copied from another document."""
    steps = document.get("steps")
    if not isinstance(steps, list):
        return []
    return [step for step in steps[:MAX_STEPS] if isinstance(step, dict) and step.get("is_copied_context") is not True]


def parse_agent(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the agent's name and its model."""
    agent = document.get("agent")
    agent = agent if isinstance(agent, dict) else {}
    return parse_id(agent.get("name")), parse_id(agent.get("model_name"))


def find_start(document: Mapping[str, Any]) -> float | None:
    """Return the time of the first step that has one, in Unix seconds."""
    times = (parse_timestamp(step.get("timestamp")) for step in list_steps(document))
    return next((at for at in times if at is not None), None)


def find_instruction(document: Mapping[str, Any]) -> str | None:
    """Return the first message of the user."""
    first = next((step for step in list_steps(document) if step.get("source") == "user"), {})
    return _join_text(first.get("message")) or None


def read_messages(document: Mapping[str, Any]) -> list[tuple[float | None, Role, str]]:
    """Return what the agent was told: time, role and text of the messages of the system and the user."""
    found: list[tuple[float | None, Role, str]] = []
    for step in list_steps(document):
        role: Role | None = {"system": ROLES[0], "user": ROLES[1]}.get(str(step.get("source")))
        if role is not None and (text := _join_text(step.get("message"))):
            found.append((parse_timestamp(step.get("timestamp")), role, text))
    return found


def read_turns(document: Mapping[str, Any], resolve: Callable[[object], Image | None]) -> Iterator[AtifTurn[Image]]:
    """Read the agent's turns of a document.

    Args:
        document: The parsed JSON.
        resolve: Turns the path of an image, as the document names it, into an image; None where it is not one.

    Yields:
        The turns in order.
    """
    model = parse_agent(document)[1]
    screenshot: Image | None = None
    for step in list_steps(document):
        images = _list_images(step.get("message"))
        if step.get("source") == "agent":
            message, thought = _join_text(step.get("message")), step.get("reasoning_content")
            reasoning = (thought if isinstance(thought, str) and thought else message) or None
            ts = parse_timestamp(step.get("timestamp"))
            actions = _parse_actions(step, message)
            results = _list_results(step)
            call = _parse_call(step, ts, model)
            yield AtifTurn(ts, actions, _match_results(step, results, len(actions)), reasoning, screenshot, call)
            for result in results:
                images += _list_images(result.get("content"))
        found = (resolve(name) for name in reversed(images))
        screenshot = next((image for image in found if image), screenshot)


def read_calls(document: Mapping[str, Any]) -> list[AtifCall]:
    """Return the model calls of a document, those of its subagents after its own."""
    model = parse_agent(document)[1]
    calls = [_parse_call(step, parse_timestamp(step.get("timestamp")), model) for step in _agent_steps(document)]
    return [call for call in calls if call is not None] + read_subagent_calls(document)


def read_subagent_calls(document: Mapping[str, Any], depth: int = 0) -> list[AtifCall]:
    """Return the model calls of a document's subagents; their times are those of other documents, and left out.

    Args:
        document: A parsed trajectory.
        depth: How deep this document is nested already; below a limit nothing more is read.
    """
    found: list[AtifCall] = []
    nested = document.get("subagent_trajectories")
    for subagent in nested if isinstance(nested, list) and depth < _MAX_DEPTH else ():
        if isinstance(subagent, dict):
            model = parse_agent(subagent)[1] or parse_agent(document)[1]
            calls = (_parse_call(step, None, model) for step in _agent_steps(subagent))
            found += [call for call in calls if call is not None]
            found += read_subagent_calls(subagent, depth + 1)
    return found


def read_total(document: Mapping[str, Any]) -> AtifCall | None:
    """Return the sum of a document's calls by its ``final_metrics``; None where it states none."""
    final = document.get("final_metrics")
    if not isinstance(final, dict):
        return None
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd")
    usage = parse_metrics({**{name: final.get(f"total_{name}") for name in names}, "extra": final.get("extra")})
    if usage.tokens.input is None and usage.tokens.output is None:
        return None
    return AtifCall(None, *resolve_model(parse_agent(document)[1]), usage._replace(requests=0))


def choose_calls(calls: list[AtifCall], contexts: Iterable[object], name: ModelName) -> list[AtifCall]:
    """Choose how the model calls of a Harbor trial are counted, so that their sum is what Harbor reports.

    Call by call if they add up to Harbor's sums, because prices may depend on the length of a prompt; else a sum for
    each model where Harbor reports these; else one sum, which is unknown usage where a model is named but no tokens
    are.

    Args:
        calls: The calls of the trial's trajectories.
        contexts: Harbor's ``AgentContext`` of the trial or of each of its steps: objects or mappings.
        name: The trial's model, which sums are counted for.

    Returns:
        ``calls`` itself, or the sums.
    """
    reported = [context for context in contexts if context is not None]
    sums = [parse_call(context) for context in reported]
    total = _add_up(usage.tokens for usage in sums)
    if total is None:  # no tokens are reported
        return calls if calls or name.model is None or not reported else [AtifCall(None, *name, CallUsage())]
    if calls and _matches(_add_up(call.usage.tokens for call in calls), total):
        return calls
    shares: list[AtifCall] = []
    for context in reported:
        usage_of = context.get("model_usage") if isinstance(context, Mapping) else getattr(context, "model_usage", None)
        for model, share in usage_of.items() if isinstance(usage_of, Mapping) else ():
            shares.append(AtifCall(None, *resolve_model(parse_id(model), name), parse_call(share)))
    if shares and _matches(_add_up(share.usage.tokens for share in shares), total):
        return shares
    return [AtifCall(None, *name, usage) for usage in sums if usage.tokens.input is not None]


def _add_up(counts: Iterable[TokenUsage]) -> tuple[int, int, int] | None:
    """Return all input, the cached input and the output, as Harbor counts them; None where no tokens are known."""
    known = [tokens for tokens in counts if tokens.input is not None or tokens.output is not None]
    if not known:
        return None
    prompt = sum((tokens.input or 0) + (tokens.cache_read or 0) + (tokens.cache_write or 0) for tokens in known)
    return prompt, sum(tokens.cache_read or 0 for tokens in known), sum(tokens.output or 0 for tokens in known)


def _matches(found: tuple[int, int, int] | None, total: tuple[int, int, int]) -> bool:
    return found == total


def parse_metrics(metrics: Mapping[str, Any]) -> CallUsage:
    """Parse a step's ``metrics``: the tokens, the cost that the agent states and what it adds in ``extra``."""
    extra = metrics.get("extra")
    extra = extra if isinstance(extra, dict) else {}
    added = {name: extra[name] for name in _EXTRA if extra.get(name) is not None}
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd")
    return parse_call({**added, **{name: metrics.get(name) for name in names}})


def resolve_model(name: str | None, trial: ModelName | None = None) -> ModelName:
    """Return provider and model of a name that may be ``provider/model``.

    Args:
        name: The name in a document.
        trial: The model of the trial; a name that is its model's has its provider.
    """
    if trial is not None and name in (None, trial.model, f"{trial.provider}/{trial.model}"):
        return trial
    provider, model = split_model_name(name)
    return ModelName(provider or infer_provider(model), model)


def load_trajectories(trial: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read the trajectories of a Harbor trial in order.

    Args:
        trial: The trial's folder.

    Yields:
        Each document with its folder.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is too large, or not a JSON object.
    """
    paths = [trial / "agent" / "trajectory.json"]
    if not paths[0].is_file():
        steps = (path for path in trial.glob("steps/*/agent/trajectory.json") if path.is_file())
        paths = sorted(steps, key=lambda path: path.stat().st_mtime)
    for first in paths:
        path, seen = first, set[Path]()
        while path not in seen and path.is_file():
            seen.add(path)
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"{path.name} is larger than {_MAX_BYTES} bytes")
            document = json.loads(path.read_bytes())
            if not isinstance(document, dict):
                raise ValueError(f"{path.name} is not a JSON object")
            yield path.parent, document
            following = document.get("continued_trajectory_ref")
            if not isinstance(following, str) or Path(following).name != following:
                break
            path = path.parent / following


def _agent_steps(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (step for step in list_steps(document) if step.get("source") == "agent")


def _parse_call(step: Mapping[str, Any], ts: float | None, model: str | None) -> AtifCall | None:
    metrics = step.get("metrics")
    if not isinstance(metrics, dict):
        return None
    usage, count = parse_metrics(metrics), parse_count(step.get("llm_call_count"))
    if usage.tokens.input is None and usage.tokens.output is None and not count:
        return None  # there was no call
    if count and count > 1:
        usage = usage._replace(requests=count)
    return AtifCall(ts, *resolve_model(parse_id(step.get("model_name")) or model), usage)


def _parse_actions(step: Mapping[str, Any], message: str) -> list[dict[str, Any]]:
    calls = step.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            continue
        name, arguments = parse_id(call.get("function_name")), call.get("arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        kind = arguments.get("action") or arguments.get("type")
        if isinstance(kind, str) and kind and len(kind) <= 60:  # one computer-use tool for all kinds of actions
            actions.append({**arguments, "type": kind, "tool": name or "unknown"})
        else:
            actions.append({**arguments, "type": name or "unknown"})
    return actions or [{"type": "message", "text": message[:4000]}]


def _list_results(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    observation = step.get("observation")
    results = observation.get("results") if isinstance(observation, dict) else None
    return [result for result in (results if isinstance(results, list) else ()) if isinstance(result, dict)]


def _match_results(step: Mapping[str, Any], results: list[dict[str, Any]], count: int) -> list[str | None]:
    """Return the text of each action's result: by the id of its tool call, else in their order."""
    calls = step.get("tool_calls")
    ids = [call.get("tool_call_id") for call in (calls if isinstance(calls, list) else ()) if isinstance(call, dict)]
    texts: list[str | None] = [None] * count
    for index, result in enumerate(results):
        source = result.get("source_call_id")
        place = ids.index(source) if source is not None and source in ids else index
        text = _join_text(result.get("content"))
        if text and place < count:
            texts[place] = text if texts[place] is None else f"{texts[place]}\n{text}"
    return texts


def _iterate_parts(content: object) -> Iterator[dict[str, Any]]:
    return (part for part in (content if isinstance(content, list) else ()) if isinstance(part, dict))


def _join_text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _iterate_parts(content) if isinstance(part.get("text"), str))


def _list_images(content: object) -> list[object]:
    images = (part.get("source") for part in _iterate_parts(content) if part.get("type") == "image")
    return [source.get("path") for source in images if isinstance(source, dict)]
