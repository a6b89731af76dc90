"""Parser of the actions that desktop agents write.

Desktop benchmarks take actions as Python code (``pyautogui.click(100, 200)``, ``computer.mouse.single_click()``), as
words (``DONE``, ``FAIL``, ``WAIT``) or as objects. Code is matched with patterns and never run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_CODE = 20_000
"""Characters of code that are read."""

_WORDS = {"done": "done", "fail": "done", "wait": "wait"}
_CALL = re.compile(r"\b(?:pyautogui|computer\.(?:mouse|keyboard|os|clipboard|window_manager))\.(\w+)\(([^()]*)\)")
_POSITION = re.compile(r"\s*(?:x\s*=\s*)?(-?\d+(?:\.\d+)?)\s*,\s*(?:y\s*=\s*)?(-?\d+(?:\.\d+)?)")
_AMOUNT = re.compile(r"\s*(?:clicks\s*=\s*)?(-?\d+(?:\.\d+)?)\s*(?:,|$)")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_KINDS = {
    "click": "click",
    "leftclick": "click",
    "single_click": "click",
    "doubleclick": "double_click",
    "double_click": "double_click",
    "tripleclick": "double_click",
    "rightclick": "right_click",
    "right_click": "right_click",
    "middleclick": "click",
    "moveto": "move",
    "move": "move",
    "move_abs": "move",
    "move_id": "move",
    "dragto": "drag",
    "drag": "drag",
    "scroll": "scroll",
    "hscroll": "scroll",
    "vscroll": "scroll",
    "write": "type",
    "typewrite": "type",
    "press": "key",
    "hotkey": "key",
    "keydown": "key",
    "keyup": "key",
    "sleep": "wait",
}
_NESTED = ("input", "parameters", "arguments", "args")


def parse_action(value: object) -> dict[str, Any]:
    """Parse an action.

    Args:
        value: Code, a word or an object, as an agent wrote it.

    Returns:
        The action's fields: ``type``, coordinates, text and keys as far as they can be read, and ``code`` as it was.
    """
    if isinstance(value, str):
        word = _WORDS.get(value.strip().lower())
        if word is not None:
            return {"type": word, "code": value.strip()}
        return _parse_code(value)
    if isinstance(value, Mapping):
        return _parse_object(value)
    return {"type": "unknown"} if value is None else {"type": "code", "code": str(value)[:MAX_CODE]}


def _parse_code(code: str) -> dict[str, Any]:
    """Return the last call that does more than move, with the position of the mouse."""
    position: tuple[float, float] | None = None
    fields: dict[str, Any] = {}
    for name, arguments in _CALL.findall(code[:MAX_CODE]):
        kind = _KINDS.get(name.lower(), name.lower())
        before = position
        if kind in ("click", "double_click", "right_click", "move", "drag") and (found := _POSITION.match(arguments)):
            position = (float(found[1]), float(found[2]))
        if fields and kind in ("move", "wait", "keyup") and fields["type"] != "move":
            continue
        fields = {"type": kind}
        if kind == "drag" and before is not None and position is not None:
            fields |= {"x": before[0], "y": before[1], "end_x": position[0], "end_y": position[1]}
        elif kind not in ("key", "type", "wait") and position is not None:
            fields |= {"x": position[0], "y": position[1]}
        quoted = [first or second for first, second in _QUOTED.findall(arguments)]
        if kind == "type" and quoted:
            fields["text"] = quoted[0]
        elif kind == "key" and quoted:
            fields["keys"] = quoted
        elif kind == "scroll" and (found := _AMOUNT.match(arguments)):
            amount = float(found[1])
            fields |= {"scroll_direction": "up" if amount > 0 else "down", "scroll_amount": abs(amount)}
    return {**(fields or {"type": "code"}), "code": code[:MAX_CODE]}


def _parse_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an object that names its type in one of many ways, with its arguments in it or below it."""
    nested: Mapping[str, Any] = next((value[key] for key in _NESTED if isinstance(value.get(key), Mapping)), {})
    fields = {str(key): item for key, item in value.items() if key not in _NESTED or not isinstance(item, Mapping)}
    fields.update({str(key): item for key, item in nested.items()})
    for key in ("action_type", "action", "type", "name", "function_name"):
        kind = fields.get(key)
        if isinstance(kind, str) and kind:
            word = _WORDS.get(kind.lower())
            if key == "action" and word is None and ("(" in kind or len(kind) > 60):
                return {**fields, **_parse_code(kind)}
            return {**fields, "type": word or kind}
    if isinstance(command := fields.get("command"), str):
        return {**fields, **_parse_code(command)}
    return {**fields, "type": "unknown"}
