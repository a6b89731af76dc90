"""Outcomes and tokens of ATIF trajectories: from Harbor's trial results, else from the trajectory's own ``extra``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalgauge.integrations.harbor.outcomes import judge_exception
from evalgauge.metrics import OUTCOMES
from evalgauge.model_names import ModelName
from evalgauge.runlog import safe_name
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp, sanitize_id
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import add_unjudged_finish, as_object


def list_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in what should be a list of objects."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def list_agents(job: dict[str, Any] | None) -> list[str]:
    """Return the distinct names of a job's agents."""
    return list(dict.fromkeys(format_agent_name(agent) for agent in list_objects((job or {}).get("agents"))))


def format_agent_name(agent: dict[str, Any]) -> str:
    """Return an agent's name with its model's, as a name for a file."""
    parts = [
        parse_id(agent.get("name")) or parse_id(agent.get("import_path")) or "agent",
        parse_id(agent.get("model_name")),
    ]
    return safe_name("__".join(part for part in parts if part))


def add_trial_finish(
    attempt: AttemptBuilder, result: dict[str, Any], threshold: float, *, has_verified: bool = False
) -> None:
    """Add the end of a trial by its ``result.json``.

    Args:
        attempt: Takes the event.
        result: The content of ``result.json``.
        threshold: The least reward of a success.
        has_verified: Whether there is output of the verifier. It counts for results that hold no times of phases and
            do hold what the agent did.
    """
    begun, ended = parse_timestamp(result.get("started_at")), parse_timestamp(result.get("finished_at"))
    problem = result.get("exception_info")
    problem = problem if isinstance(problem, dict) else None
    kind = str((problem or {}).get("exception_type") or "")
    message = (problem or {}).get("exception_message")
    score = parse_reward(result)
    more: dict[str, Any] = {
        "scores": (scores := parse_scores(result)),
        "scorer": "reward" if "reward" in (scores or {}) else None,
        "duration_seconds": ended - begun if ended is not None and begun is not None else None,
        "error": f"{kind}: {message}" if problem is not None else None,
    }
    if score is not None:
        attempt.add_scored_finish(ended, score, threshold, **more)
    elif problem is None:
        attempt.add_finish(ended, "evaluation_error", **{**more, "error": "the trial ended without a reward"})
    else:
        parts = (result, *list_step_results(result))
        if any(part.get("agent_execution") or part.get("verifier") for part in parts):
            has_verified = any(as_object(part.get("verifier")).get("started_at") for part in parts)
        elif result.get("agent_result") is None:
            has_verified = False
        attempt.add_finish(ended, judge_exception(kind, has_verified=has_verified), **more)


def list_contexts(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a trial reports of its agent: the sums of the trial, or those of its steps."""
    found = [result.get("agent_result"), *(step.get("agent_result") for step in list_step_results(result))]
    contexts = list_objects(found)
    return contexts[:1] if isinstance(found[0], dict) else contexts


def parse_trial_model(result: dict[str, Any]) -> ModelName | None:
    """Return provider and model that a trial's result states; None where it states none."""
    agent = result.get("agent_info")
    info = agent.get("model_info") if isinstance(agent, dict) else None
    model = parse_id(info.get("name")) if isinstance(info, dict) else None
    return None if model is None or info is None else ModelName(parse_id(info.get("provider")), model)


def add_stated_finish(attempt: AttemptBuilder, documents: list[dict[str, Any]], threshold: float) -> None:
    """Add the end of a trajectory without a trial, by its ``extra``; without one it has not finished yet."""
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
            attempt.add_finish(parse_timestamp(extra.get("finished_at")), outcome, score=score, **more)
        elif isinstance(extra.get("success"), bool):
            attempt.add_finish(None, "success" if extra["success"] else "failure", score=score, **more)
        elif score is not None:
            attempt.add_scored_finish(None, score, threshold, **more)
        elif document is documents[-1] and isinstance(document.get("final_metrics"), dict):
            add_unjudged_finish(attempt, None, "the trajectory states no score", **more)
        if attempt.is_finished:
            return


def parse_reward(result: dict[str, Any]) -> float | None:
    """Return a trial's reward: the one named ``reward``, else the mean of all; of several steps the mean."""
    found = _reward(result)
    if found is not None:
        return found
    parts = [reward for step in list_step_results(result) if (reward := _reward(step)) is not None]
    return sum(parts) / len(parts) if parts else None


def parse_scores(result: dict[str, Any]) -> dict[str, float] | None:
    """Return a trial's rewards by name, where there are several."""
    rewards = as_object(as_object(result.get("verifier_result")).get("rewards"))
    scores = {sanitize_id(name): score for name, each in rewards.items() if (score := parse_float(each)) is not None}
    return scores if len(rewards) > 1 else None


def _reward(result: dict[str, Any]) -> float | None:
    verified = result.get("verifier_result")
    rewards = verified.get("rewards") if isinstance(verified, dict) else None
    if not isinstance(rewards, dict):
        return None
    if (named_reward := parse_float(rewards.get("reward"))) is not None:
        return named_reward
    values = [value for reward in rewards.values() if (value := parse_float(reward)) is not None]
    return sum(values) / len(values) if values else None


def list_step_results(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a trial's steps, where it has several."""
    return list_objects(result.get("step_results"))


def parse_base_name(path: object) -> str | None:
    """Return the last part of a path, as an id."""
    return parse_id(Path(path).name) if isinstance(path, str) and path else None
