"""Names of files in the site: made of ids, but never more than a name."""

from __future__ import annotations

import hashlib

from evalgauge.runlog import safe_name


def make_key(text: str, length: int = 48) -> str:
    """A name for a file or folder that tells ids apart, on file systems that ignore case too.

    The readable part is letters, digits and ``._@+-``; what tells apart is a digest of the whole id. So an id such as
    ``../../x`` names nothing outside its folder.
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{safe_name(text, length)}-{digest}"


def make_attempt_key(task_id: str, attempt: int) -> str:
    """The name of one attempt's files."""
    return f"{make_key(task_id)}-{attempt}"
