"""The replay: runs as a static site that opens from ``file://``, from a number to the step where it went wrong.

>>> from pathlib import Path
>>> from evalgauge_exporter.replay import generate
>>> from evalgauge_exporter.sources.discovery import Discovery
>>> runs, problems = Discovery([Path("results")]).look()
>>> generate(runs, Path("replay"))  # doctest: +SKIP

`reading` folds a run's events into its state and its trajectories, `tables` and `clusters` and `survival` say what is
to be known of a run, `comparisons` of two, `screenshots` brings the pictures over, `site` writes it all, `single` makes
one page of it. What runs in the browser lies in `web/`.
"""

from __future__ import annotations

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.single import single_file
from evalgauge_exporter.replay.site import Generated, generate

__all__ = ["Generated", "ReplayError", "generate", "single_file"]
