"""Errors that several addresses have in common."""

from __future__ import annotations

import difflib

from fastapi import HTTPException


def unknown_run(run_id: str, known: list[str]) -> HTTPException:
    """A run id that is not there: 404, with the ids that come near."""
    near = difflib.get_close_matches(run_id, known, n=3, cutoff=0.4)
    hint = f"; near it: {', '.join(near)}" if near else "; /api/benchmark/runs lists those that are there"
    return HTTPException(404, f"no run {run_id[:200]!r}{hint}")
