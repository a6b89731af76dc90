"""Harbor: a job is recorded while it runs, by a plugin that Harbor finds by its entry point.

    harbor run --plugin evalgauge -d terminal-bench@2.0 -a terminus-2 -m anthropic/claude-sonnet-4-5

Installing evalgauge beside Harbor is all it takes. The log goes below ``EVALGAUGE_RESULTS`` or ``--pk results=DIR``,
else into the job's own folder, where ``evalgauge serve jobs`` finds it: a folder that holds both is one run. ``off``
records nothing. A job of several agents is a run for each of them, which needs a results folder: without one nothing
is recorded, and the exporter reads such a job from the files that Harbor itself writes.

A trial is an attempt at its task. Attempts are numbered in the order in which they start, as trials have random names;
a retry is the same attempt again, and what the first try spent stays counted. Nothing here raises into Harbor, and
nothing of Harbor is imported.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from evalgauge.integrations.harbor_trials import (
    agent_name,
    domain_of,
    instruction_of,
    model_of,
    seconds,
    task_of,
    told,
    verdict_of,
)
from evalgauge.metrics import OUTCOMES
from evalgauge.runlog import EVENTS_FOLDER, LogReader, log_files, safe_name
from evalgauge.tracker import Run, Task, track_run

log = logging.getLogger("evalgauge")

VARIABLE, OFF = "EVALGAUGE_RESULTS", "off"

_MEASURED = ("success", "failure")
