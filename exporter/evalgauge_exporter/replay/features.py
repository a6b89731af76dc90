"""What a trajectory is like: its actions, whether it went round in circles, where something first looked wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evalgauge.events import TERMINAL_ACTIONS

_SAME_PLACE = 0.02
"""Part of the screen within which two clicks are at the same place."""
_SAME_PIXELS = 20
_LONGEST_CYCLE = 3
_REPEATS = 3
"""Times that the same has to come in a row to be a loop."""
_PLACES = ("x", "y", "end_x", "end_y")


class Loop(NamedTuple):
    """The same actions again and again."""

    start: int
    """Position of the first of them, from 0."""
    period: int
    """How many actions make one round."""
    rounds: int


class TrajectoryFeatures(NamedTuple):
    """What is known of one attempt from its steps alone."""

    actions: tuple[str, ...]
    """Types in their order, the terminal one too."""
    loop: Loop | None
    first_problem: int | None
    """Position of the first step that shows trouble: an error, a failed model call, a wrong first action, a loop."""

    @property
    def terminal(self) -> str | None:
        """``done`` or ``error`` where the agent ended the task itself."""
        return self.actions[-1] if self.actions and self.actions[-1] in TERMINAL_ACTIONS else None


def action_type(action: Mapping[str, Any]) -> str:
    """As ``Step.action_type``: in lower case, ``unknown`` where there is none."""
    kind = action.get("type")
    return kind[:60].lower() if isinstance(kind, str) and kind else "unknown"


def extract_features(steps: Sequence[Mapping[str, Any]]) -> TrajectoryFeatures:
    """The features of an attempt with these steps, in their order."""
    actions = tuple(action_type(step.get("action", {})) for step in steps)
    loop = find_loop(
        [action_key(step.get("action", {})) for step in steps], [step.get("changed") is True for step in steps]
    )
    trouble = next((index for index, step in enumerate(steps) if is_problem(step, actions[index])), None)
    if loop is not None and (trouble is None or loop.start < trouble):
        trouble = loop.start
    return TrajectoryFeatures(actions, loop, trouble)


def is_problem(step: Mapping[str, Any], action: str) -> bool:
    """Whether a step looks wrong: an error, or reported as incorrect or failed."""
    return (
        action == "error"
        or step.get("correct") is False
        or any(call.get("status") == "error" for call in step.get("calls", ()))
    )


def action_key(action: Mapping[str, Any]) -> str:
    """What makes two actions the same: type, target, text; places rounded to a grid of ``_SAME_PLACE``."""
    parts: dict[str, Any] = {}
    for key, value in action.items():
        if key in ("raw_action", "reasoning", "thought"):
            continue
        if key in _PLACES and type(value) in (int, float):
            value = round(value / (_SAME_PLACE if 0 <= value <= 1 else _SAME_PIXELS))
        parts[key] = value
    return json.dumps(parts, sort_keys=True, default=str)


def find_loop(signatures: Sequence[str], changed: Sequence[bool] = ()) -> Loop | None:
    """The longest stretch in which a cycle of one to three actions comes at least three times in a row.

    ``changed`` says of each action whether the screen was another one after it. Waiting is no loop, and neither is one
    action that changes the screen each time: scrolling down, pressing a spinner's button.
    """
    best: Loop | None = None
    for period in range(1, _LONGEST_CYCLE + 1):
        run = 0  # how many signatures in a row equal the one a period before
        for index in range(period, len(signatures) + 1):
            if index < len(signatures) and signatures[index] == signatures[index - period]:
                run += 1
                continue
            rounds = run // period + 1
            start = index - run - period
            waits = all('"wait"' in one for one in signatures[start : start + period])
            moves = period == 1 and bool(changed) and all(changed[start : index - 1])
            if (
                rounds >= _REPEATS
                and not waits
                and not moves
                and (best is None or rounds * period > best.rounds * best.period)
            ):
                best = Loop(start, period, rounds)
            run = 0
    return best
