"""File names within the site, derived from ids that may be any text."""

from __future__ import annotations

import hashlib

from evalgauge.runlog import safe_name


def make_key(text: str, length: int = 48) -> str:
    """Return a file name that is unique for an id, also on file systems that ignore case.

    A digest of the whole id makes it unique; the readable part consists of letters, digits and ``._@+-``, so an id such
    as ``../../x`` leads nowhere outside its folder.

    Args:
        text: The id.
        length: Characters of the readable part, at most.
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{safe_name(text, length)}-{digest}"


def make_attempt_key(task_id: str, attempt: int) -> str:
    """Return the file name of an attempt; an attempt number can have any number of digits."""
    number = str(attempt) if 0 <= attempt < 10**9 else make_key(f"{attempt % 10**40}", 0)[-12:]
    return f"{make_key(task_id)}-{number}"
