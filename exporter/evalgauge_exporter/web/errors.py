"""Error messages shared by several paths."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from fastapi import HTTPException

MAX_COMPARED = 1000
"""Names that are compared with an unknown one: an answer costs the same however many runs there are."""
MAX_LETTERS = 64
"""Letters of a name that are compared."""
_LEAST = 0.4
"""Share of common bigrams from which names are similar."""


def find_similar(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names most similar to an unknown one, by their common bigrams (Dice coefficient).

    Args:
        name: The unknown name.
        known: Known names; the first ``MAX_COMPARED`` are compared.
        count: Names to return, at most.
    """
    wanted = _bigrams(name)
    scored = []
    for other in islice(known, MAX_COMPARED):
        bigrams = _bigrams(other)
        score = 2 * len(wanted & bigrams) / (len(wanted) + len(bigrams))
        if score >= _LEAST:
            scored.append((-score, other))
    return [other for _, other in sorted(scored)[:count]]


def _bigrams(name: str) -> set[str]:
    text = f" {name[:MAX_LETTERS].lower()} "
    return {text[at : at + 2] for at in range(len(text) - 1)}


def unknown_run_error(run_id: str, known: list[str]) -> HTTPException:
    """Build the 404 for an unknown run id, with similar ids.

    Args:
        run_id: The requested id.
        known: The ids of all runs.
    """
    near = find_similar(run_id, reversed(known))
    hint = f"; did you mean {', '.join(near)}?" if near else "; /api/benchmark/runs lists all runs"
    return HTTPException(404, f"no run {run_id[:200]!r}{hint}")


def describe_unknown_path(path: str, known: list[str]) -> str:
    """Return the message for an unknown path, with similar ones of the ``known``."""
    near = find_similar(path, known)
    hint = f"; did you mean {', '.join(near)}?" if near else "; /docs lists all paths"
    return f"there is no {path[:200]!r}{hint}"


def describe_wrong_method(path: str, method: str, allowed: str) -> str:
    """Return the message for a request method that the path does not allow; ``allowed`` lists those that it does."""
    return f"{path[:200]} does not allow {method}, only {allowed}"
