"""What a folder is, by a sample of what is in it: for formats whose runs have no mark of their own.

A folder fits such a format if most of its subfolders do. A single stray file never makes a folder a run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evalgauge_exporter.sources import runlog
from evalgauge_exporter.sources.parsing import list_folders, list_names

_SAMPLED = 9
"""The number of subfolders that vote."""
_MAX_EXAMINED = 60
"""The number of subfolders that are looked into, those included that have no vote."""

Vote = bool | None
"""Whether a folder fits; None where it is empty, or says nothing for or against."""


def most_fit(folder: Path, fits: Callable[[Path], Vote]) -> Vote:
    """Return whether most subfolders of a folder fit.

    Args:
        folder: The folder.
        fits: The vote of a subfolder; one with a run log always votes against.

    Returns:
        None where no subfolder has a vote.

    Raises:
        OSError: The folder can't be listed for the moment.
    """
    votes: list[bool] = []
    for name in list_folders(folder)[:_MAX_EXAMINED]:
        below = folder / name
        try:
            vote = False if runlog.matches(below, list_names(below)) else fits(below)
        except OSError:  # it can't be looked into
            vote = None
        if vote is not None:
            votes.append(vote)
        if len(votes) == _SAMPLED:
            break
    return sum(votes) * 2 > len(votes) if votes else None
