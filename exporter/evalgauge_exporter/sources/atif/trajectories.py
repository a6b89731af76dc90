"""Turns and model calls of ATIF trajectories as the events of an attempt (``evalgauge.atif`` reads the format)."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from evalgauge.atif import AtifCall, read_messages, read_subagent_calls, read_turns
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import resolve_relative


def add_turns(
    trajectory: dict[str, Any], attempt: AttemptBuilder, folder: Path, below: str, *, with_calls: bool = True
) -> None:
    """Add the agent's turns, and its model calls and those of its subagents.

    Args:
        trajectory: The document.
        attempt: Takes the events.
        folder: The run's folder.
        below: The document's folder relative to the run's.
        with_calls: Whether to add the calls.
    """
    messages = deque(read_messages(trajectory))
    for turn in read_turns(trajectory, lambda name: resolve_relative(folder, below, name)):
        while messages and (messages[0][0] is None or turn.ts is None or messages[0][0] <= turn.ts):
            attempt.add_message(*messages.popleft())
        for index, action in enumerate(turn.actions):
            if "tool" in action:
                tool, kind = action.pop("tool"), action.pop("type")
                action = {**parse_action({**action, "action_type": kind}), "tool": tool}
            reasoning = turn.reasoning if index == 0 else None
            attempt.add_step(
                turn.ts,
                action,
                reasoning=reasoning,
                observation=turn.observations[index],
                screenshot=turn.screenshot,
            )
        if with_calls and turn.call is not None:
            add_call(attempt, turn.call)
    for message in messages:
        attempt.add_message(*message)
    for call in read_subagent_calls(trajectory) if with_calls else ():
        add_call(attempt, call)


def add_call(attempt: AttemptBuilder, call: AtifCall) -> None:
    """Add a model call, or a sum of calls."""
    attempt.add_call(call.ts, call.provider, call.model, call.usage)
