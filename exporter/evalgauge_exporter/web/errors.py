"""The sentences of errors that several addresses have in common."""

from __future__ import annotations

import difflib

from fastapi import HTTPException


def unknown_run(run_id: str, known: list[str]) -> HTTPException:
    """A run id that is not there: 404, with the ids that come near."""
    near = difflib.get_close_matches(run_id, known, n=3, cutoff=0.4)
    hint = f"; near it: {', '.join(near)}" if near else "; /api/benchmark/runs lists those that are there"
    return HTTPException(404, f"no run {run_id[:200]!r}{hint}")


def unknown_path(path: str, known: list[str]) -> str:
    """What is said of an address that is not there."""
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.6)
    hint = f"; near it: {', '.join(near)}" if near else "; /docs lists those that are there"
    return f"there is no {path[:200]!r}{hint}"


def wrong_method(path: str, method: str, allowed: str) -> str:
    """What is said where an address is asked in a way that it does not take."""
    return f"{path[:200]} does not take {method}, only {allowed}"
