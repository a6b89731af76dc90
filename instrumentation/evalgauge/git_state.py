"""The commit of the working directory, so that two runs can be told apart by the code that made them."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache

_SECONDS = 2.0
"""How long git may take: a run must not wait for the status of a huge repository."""


def read_git_tags() -> dict[str, str]:
    """Return ``git_commit`` and ``git_dirty`` (``true`` or ``false``) of the working directory. Never raises.

    Returns:
        The tags; empty outside of a repository and without git. Untracked files do not make it dirty.
    """
    try:
        return dict(_read_tags(os.getcwd()))
    except Exception:
        return {}


@lru_cache(maxsize=8)
def _read_tags(folder: str) -> tuple[tuple[str, str], ...]:
    commit = _run_git(folder, "rev-parse", "HEAD")
    if not commit:
        return ()
    changed = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    found = [("git_commit", commit)]
    if changed is not None:
        found.append(("git_dirty", "true" if changed else "false"))
    return tuple(found)


def _run_git(folder: str, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
