"""The results folder of integrations that are configured by environment variables only."""

from __future__ import annotations

import os

VARIABLE = "EVALGAUGE_RESULTS"
OFF = "off"
"""The value of the variable that records nothing."""


def first_results_folder() -> str | None:
    """Return the first folder that the variable names, as it may list all that the exporter serves; None: not set."""
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    return folders[0] if folders else None
