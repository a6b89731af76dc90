"""Patches of frames: what the event stream sends to pages that keep the frame of before (docs/api.md, "Patches").

A change of a value is one of three:

- ``[value]``: the value is replaced; ``[]``: the member is removed.
- Of an object: an object with the changes of its members by name.
- Of an array: an object. ``"-"`` lists the indices of the items that are removed, ``"+"`` the items that are then put
  in, each with its index in the new array, and each other member is the change of the item at that new index.

A patch is the change of a frame. JSON merge patches (RFC 7396) can't set a member to null, which frames mostly do where
something was not measured, and send arrays whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = Any
Change = dict[str, Any] | list[Any]

KEYS = (("run_id",), ("task_id", "attempt"), ("task_id",), ("worker_id",), ("task_idx",), ("name",), ("model",))
"""The members that tell the items of an array apart: the first ones that are different in all items."""


def mark_clocks(frame: dict[str, Json]) -> dict[str, Json]:
    """Replace the seconds in a frame that change with time alone by Unix times, which do not.

    ``"@x": t`` stands for ``x`` = ``generated_at`` − t, ``"^x": t`` for ``x`` = t − ``generated_at``, both to the
    millisecond.

    Args:
        frame: A frame or a wall, which is changed.
    """
    now = frame["generated_at"]
    for place, names in _ticking(frame):
        for name, mark, sign in names:
            seconds = place.get(name)
            if isinstance(seconds, int | float) and seconds > 0:
                place[mark + name] = round(now + sign * place.pop(name), 3)
    return frame


_PASSED = (("elapsed_seconds", "@", -1), ("step_seconds", "@", -1))
_LEFT = tuple((name, "^", 1) for name in ("eta_seconds", "p10", "p50", "p90"))


def _ticking(frame: dict[str, Json]) -> Iterator[tuple[dict[str, Json], tuple[tuple[str, str, int], ...]]]:
    """Yield the objects with such seconds, and their names."""
    for tile in frame.get("tiles") or ():
        yield tile, _PASSED
    for run in frame.get("runs") or ():
        if run["state"] == "running":
            yield run, _PASSED
    job = frame.get("current_job")
    if job is not None and job["status"] == "running":
        yield job, (*_PASSED, *_LEFT)
        for task in job["current_tasks"]:
            yield task, _PASSED
        if job["eta"] is not None:
            yield job["eta"], _LEFT


def find_patch(old: dict[str, Json], new: dict[str, Json]) -> dict[str, Change]:
    """Return the patch that makes ``new`` of ``old``; both hold JSON values."""
    patch: dict[str, Change] = {name: [] for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            patch[name] = [value]
        elif (change := _find_change(old[name], value)) is not None:
            patch[name] = change
    return patch


def _find_change(old: Json, new: Json) -> Change | None:
    """Return the change of a value, ``None`` where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        return find_patch(old, new) or None
    if isinstance(old, list) and isinstance(new, list):
        return _find_array_change(old, new) or None
    return None if old == new and type(old) is type(new) else [new]


def _find_array_change(old: list[Json], new: list[Json]) -> Change:
    keys = _find_keys(old, new)
    if keys is None and len(old) != len(new):
        return [new]
    old_keys, new_keys = keys or (list(range(len(old))), list(range(len(new))))
    present, before = set(new_keys), {key: index for index, key in enumerate(old_keys)}
    stays = [key for key in old_keys if key in present]
    if stays != [key for key in new_keys if key in before]:
        return [new]
    change: dict[str, Any] = {}
    if removed := [index for index, key in enumerate(old_keys) if key not in present]:
        change["-"] = removed
    if added := [[index, new[index]] for index, key in enumerate(new_keys) if key not in before]:
        change["+"] = added
    for index, key in enumerate(new_keys):
        if key in before and (inner := _find_change(old[before[key]], new[index])) is not None:
            change[str(index)] = inner
    return change


def _find_keys(old: list[Json], new: list[Json]) -> tuple[list[Any], list[Any]] | None:
    """Return what tells the items of two arrays apart; ``None`` where nothing does."""
    items = [*old, *new]
    if all(isinstance(item, str | int) for item in items):
        found = (old, new)
        return found if all(len(set(keys)) == len(keys) for keys in found) else None
    if not all(isinstance(item, dict) for item in items):
        return None
    for names in KEYS:
        if all(name in item for item in items for name in names):
            keys = [tuple(_hashable(item[name]) for name in names) for item in items]
            found = (keys[: len(old)], keys[len(old) :])
            if all(len(set(keys)) == len(keys) for keys in found):
                return found
    return None


def _hashable(value: Json) -> Any:
    return value if isinstance(value, str | int | float | None) else repr(value)
