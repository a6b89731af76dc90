"""Features of a trajectory: its actions, loops, and the first step with a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evalgauge.events import TERMINAL_ACTIONS
from evalgauge_exporter.replay.json_text import encode_compact

_SAME_PLACE = 0.02
"""Fraction of the screen within which two clicks are at the same place."""
_SAME_PIXELS = 20
"""The same in pixels, for positions that are not fractions."""
_LONGEST_CYCLE = 3
"""Actions of one round of a loop."""
_REPEATS = 3
"""Rounds in a row from which a repetition is a loop."""
_PLACES = ("x", "y", "end_x", "end_y")


class Loop(NamedTuple):
    """A repetition of the same actions."""

    start: int
    """Position of the first action, from 0."""
    period: int
    """Actions in one round."""
    rounds: int
    """Rounds in a row."""


class TrajectoryFeatures(NamedTuple):
    """What the steps of an attempt alone show."""

    actions: tuple[str, ...]
    """Types in order, the terminal one included."""
    loop: Loop | None
    first_problem: int | None
    """Position of the first step with a problem: an error, a failed model call, a wrong first action, a loop."""

    @property
    def terminal(self) -> str | None:
        """The terminal action, ``done`` or ``error``, where the agent ended the task itself."""
        return self.actions[-1] if self.actions and self.actions[-1] in TERMINAL_ACTIONS else None


def action_type(action: Mapping[str, Any]) -> str:
    """Return the type of an action as ``Step.action_type`` does: in lower case, ``unknown`` where there is none."""
    kind = action.get("type")
    return kind[:60].lower() if isinstance(kind, str) and kind else "unknown"


def extract_features(steps: Sequence[Mapping[str, Any]]) -> TrajectoryFeatures:
    """Extract the features of an attempt.

    Args:
        steps: Its steps in order, annotated with ``changed`` where that is known.
    """
    actions = tuple(action_type(step.get("action", {})) for step in steps)
    loop = find_loop(
        [action_key(step.get("action", {})) for step in steps], [step.get("changed") is True for step in steps]
    )
    trouble = next((index for index, step in enumerate(steps) if is_problem(step, actions[index])), None)
    if loop is not None and (trouble is None or loop.start < trouble):
        trouble = loop.start
    return TrajectoryFeatures(actions, loop, trouble)


def is_problem(step: Mapping[str, Any], action: str) -> bool:
    """Whether a step has a problem: an error action, a failed model call, or an action reported as incorrect."""
    return (
        action == "error"
        or step.get("correct") is False
        or any(call.get("status") == "error" for call in step.get("calls", ()))
    )


def action_key(action: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal actions: type, target, text; positions rounded to a coarse grid."""
    parts: dict[str, Any] = {}
    for key, value in action.items():
        if key in ("raw_action", "reasoning", "thought"):
            continue
        if key in _PLACES and type(value) in (int, float):
            value = round(value / (_SAME_PLACE if 0 <= value <= 1 else _SAME_PIXELS))
        parts[key] = value
    return encode_compact(parts, sort=True).decode()


def find_loop(signatures: Sequence[str], changed: Sequence[bool] = ()) -> Loop | None:
    """Find the longest stretch in which a cycle of one to three actions repeats at least three times.

    Waiting is no loop, and neither is a single action that changes the screen each time, such as scrolling down.

    Args:
        signatures: The ``action_key`` of each action.
        changed: Whether the screen changed after each action; empty where that is unknown.

    Returns:
        The loop, ``None`` where there is none.
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
