"""How a Harbor trial went: its reward, or its exception, as an outcome."""

from __future__ import annotations

from typing import Any, Final

from evalgauge.events import Outcome

AGENT_EXCEPTIONS: Final = (
    "AgentTimeoutError",
    "AgentSafetyRefusalError",
    "NonZeroAgentExitCodeError",
    "ContextWindowExceededError",
    "ContextLengthExceededError",
    "OutputTokenExceededError",
    "OutputLengthExceededError",
    "ContentPolicyViolationError",
)
"""Exceptions of a trial that are the agent's own errors. Harbor's table (``harbor.models.trial.error_policy``) has the
same, but for the agent's exit code, which it leaves open."""
_VERIFIER_PREFIXES: Final = ("Verifier", "Reward")
"""How the names of exceptions begin that are the verifier's."""


def parse_outcome(result: Any) -> dict[str, Any]:
    """Return how a trial went.

    A trial with a reward was measured, whatever else went wrong in it: 1 or more is a success.

    Args:
        result: Harbor's ``TrialResult``.

    Returns:
        Keyword arguments of ``Task.finish``: ``score`` or ``outcome``, and ``error``.
    """
    parts = [result, *(result.step_results or ())]
    problem = next((part.exception_info for part in parts if part.exception_info is not None), None)
    verdict: dict[str, Any] = {}
    if problem is not None:
        verdict["error"] = f"{problem.exception_type}: {problem.exception_message}"
    score = parse_reward(result.verifier_result)
    if score is None:
        rewards = [reward for part in parts[1:] if (reward := parse_reward(part.verifier_result)) is not None]
        score = sum(rewards) / len(rewards) if rewards else None
    if score is not None:
        return {**verdict, "score": score}
    if problem is None:
        return {"outcome": "evaluation_error", "error": "the trial ended without a reward"}
    has_verified = any(getattr(getattr(part, "verifier", None), "started_at", None) is not None for part in parts)
    return {**verdict, "outcome": judge_exception(str(problem.exception_type), has_verified=has_verified)}


def judge_exception(kind: str, *, has_verified: bool) -> Outcome:
    """Return the outcome of a trial without a reward that ended with an exception.

    Args:
        kind: The name of the exception.
        has_verified: Whether the verifier had begun: whatever came up then is its.
    """
    if kind == "CancelledError":
        return "interrupted"
    if kind in AGENT_EXCEPTIONS:
        return "agent_error"
    return "evaluation_error" if has_verified or kind.startswith(_VERIFIER_PREFIXES) else "infrastructure_error"


def parse_reward(verifier_result: Any) -> float | None:
    """Return the reward named ``reward``, else the mean of all rewards; None where there is none."""
    rewards = getattr(verifier_result, "rewards", None) or {}
    found = {name: float(value) for name, value in rewards.items() if isinstance(value, int | float)}
    return found.get("reward", sum(found.values()) / len(found) if found else None)
