"""Error messages shared by several paths."""

from __future__ import annotations

import difflib

from fastapi import HTTPException


def unknown_run_error(run_id: str, known: list[str]) -> HTTPException:
    """Build the 404 for an unknown run id, with similar ids.

    Args:
        run_id: The requested id.
        known: The ids of all runs.
    """
    near = difflib.get_close_matches(run_id, known, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else "; /api/benchmark/runs lists all runs"
    return HTTPException(404, f"no run {run_id[:200]!r}{hint}")


def describe_unknown_path(path: str, known: list[str]) -> str:
    """Return the message for an unknown path, with similar ones of the ``known``."""
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.6)
    hint = f"; did you mean {', '.join(near)}?" if near else "; /docs lists all paths"
    return f"there is no {path[:200]!r}{hint}"


def describe_wrong_method(path: str, method: str, allowed: str) -> str:
    """Return the message for a request method that the path does not allow; ``allowed`` lists those that it does."""
    return f"{path[:200]} does not allow {method}, only {allowed}"
