"""What can go wrong with a whole site; what is wrong with one file of a run never stops it."""

from __future__ import annotations


class ReplayError(Exception):
    """The site can't be written; the message is one line that says what to do."""
