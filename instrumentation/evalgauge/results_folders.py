"""The results folders that ``EVALGAUGE_RESULTS`` names: what the exporter reads, and where integrations write."""

from __future__ import annotations

import functools
import json
import logging
import os

VARIABLE = "EVALGAUGE_RESULTS"
OFF = "off"
"""The value of the variable with which integrations record nothing."""

log = logging.getLogger("evalgauge")


def parse_results_folders(text: str) -> list[str]:
    """Return the folders that a value of the variable names.

    Args:
        text: Paths separated as in ``PATH``, one bucket's address, or a JSON list of both.

    Raises:
        ValueError: It begins like JSON and is no JSON list of texts.
    """
    if text.startswith("["):
        folders = json.loads(text)
        if not all(isinstance(folder, str) for folder in folders):
            raise ValueError("should be a list of folders")
        return list(folders)
    if "://" in text:  # an address has the separator of paths in it
        return [text]
    return [folder for folder in text.split(os.pathsep) if folder]


def first_results_folder() -> str | None:
    """Return the folder that an integration writes its runs into: the first local one that the variable names.

    Returns:
        The folder; None where the variable is not set; ``OFF`` where it names no local folder, which is logged once.
    """
    text = os.environ.get(VARIABLE)
    return _first_local(text) if text else None


@functools.cache
def _first_local(text: str) -> str:
    try:
        local = [folder for folder in parse_results_folders(text) if "://" not in folder]
    except ValueError as error:
        log.error("%s: %s; nothing is recorded: name the folder to write into", VARIABLE, error)
        return OFF
    if not local:
        log.error("%s names no local folder; nothing is recorded: put the folder to write into first", VARIABLE)
        return OFF
    return local[0]
