"""What Harbor writes of a trial beside its trajectory, and how a trajectory without a trial says how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge.integrations.harbor.outcomes import AGENT_EXCEPTIONS
from evalgauge.metrics import OUTCOMES
from evalgauge.runlog import safe_name
from evalgauge_exporter.sources.atif.trajectories import named, usage_of
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.parsing import parse_count, parse_float, parse_id, parse_timestamp

_JUDGES_FAULT = ("Verifier", "Reward")


def objects_in(value: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of them."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def agents_of(job: dict[str, Any] | None) -> list[str]:
    """The agents of a job by the names that tell them apart."""
    return list(dict.fromkeys(agent_name(agent) for agent in objects_in((job or {}).get("agents"))))


def agent_name(agent: dict[str, Any]) -> str:
    """An agent's name with its model's, as a name for a file."""
    parts = [
        parse_id(agent.get("name")) or parse_id(agent.get("import_path")) or "agent",
        parse_id(agent.get("model_name")),
    ]
    return safe_name("__".join(part for part in parts if part))


def end_trial(tale: AttemptBuilder, result: dict[str, Any], threshold: float) -> None:
    """The end of a trial, as its ``result.json`` tells it."""
    begun, ended = parse_timestamp(result.get("started_at")), parse_timestamp(result.get("finished_at"))
    problem = result.get("exception_info")
    problem = problem if isinstance(problem, dict) else None
    kind = str((problem or {}).get("exception_type") or "")
    message = (problem or {}).get("exception_message")
    score = reward_of(result)
    more: dict[str, Any] = {
        "duration_seconds": ended - begun if ended is not None and begun is not None else None,
        "error": f"{kind}: {message}" if problem is not None else None,
    }
    if score is not None:
        tale.measured(ended, score, threshold, **more)
    elif problem is None:
        tale.finished(ended, "evaluation_error", **{**more, "error": "the trial ended without a reward"})
    elif kind == "CancelledError":
        tale.finished(ended, "interrupted", **more)
    elif kind.startswith(_JUDGES_FAULT):
        tale.finished(ended, "evaluation_error", **more)
    else:
        tale.finished(ended, "agent_error" if kind.startswith(AGENT_EXCEPTIONS) else "infrastructure_error", **more)


def tell_sums(tale: AttemptBuilder, result: dict[str, Any], model: str | None) -> None:
    """The tokens of a trial whose trajectory gives none: its own sums, as one call."""
    contexts = [result.get("agent_result"), *(step.get("agent_result") for step in step_results(result))]
    for context in contexts:
        if isinstance(context, dict) and context.get("n_input_tokens") is not None:
            counted = usage_of(
                {
                    "prompt_tokens": context["n_input_tokens"],
                    "completion_tokens": context.get("n_output_tokens"),
                    "cached_tokens": context.get("n_cache_tokens"),
                }
            )
            tale.call(None, *named(model), counted)


def end_alone(tale: AttemptBuilder, documents: list[dict[str, Any]], threshold: float) -> None:
    """The end of a trajectory without a trial: it says itself how it went (``extra``), or it did not yet end."""
    for document in reversed(documents):
        extra = document.get("extra")
        extra = extra if isinstance(extra, dict) else {}
        score = next(
            (found for name in ("reward", "score") if (found := parse_float(extra.get(name))) is not None), None
        )
        outcome = extra.get("outcome")
        more: dict[str, Any] = {name: extra.get(name) for name in ("duration_seconds", "error", "reason")}
        more["steps"] = parse_count(extra.get("steps"))
        if outcome in OUTCOMES:
            tale.finished(parse_timestamp(extra.get("finished_at")), outcome, score=score, **more)
        elif isinstance(extra.get("success"), bool):
            tale.finished(None, "success" if extra["success"] else "failure", score=score, **more)
        elif score is not None:
            tale.measured(None, score, threshold, **more)
        elif document is documents[-1] and isinstance(document.get("final_metrics"), dict):
            tale.finished(None, "evaluation_error", **{**more, "error": "the trajectory states no score"})
        if tale.over:
            return


def reward_of(result: dict[str, Any]) -> float | None:
    """A trial's reward: the one of that name, else the only one, else their mean; of several steps the mean."""
    found = _reward(result)
    if found is not None:
        return found
    parts = [reward for step in step_results(result) if (reward := _reward(step)) is not None]
    return sum(parts) / len(parts) if parts else None


def _reward(result: dict[str, Any]) -> float | None:
    verified = result.get("verifier_result")
    rewards = verified.get("rewards") if isinstance(verified, dict) else None
    if not isinstance(rewards, dict):
        return None
    if (named_reward := parse_float(rewards.get("reward"))) is not None:
        return named_reward
    values = [value for reward in rewards.values() if (value := parse_float(reward)) is not None]
    return sum(values) / len(values) if values else None


def step_results(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a trial's steps, where it has several."""
    return objects_in(result.get("step_results"))


def last_part(path: object) -> str | None:
    """The last part of a path, as a name."""
    return parse_id(Path(path).name) if isinstance(path, str) and path else None
