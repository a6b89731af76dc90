"""The replay: a generator of static sites that show runs step by step and open from ``file://``.

>>> from pathlib import Path
>>> from evalgauge_exporter.replay import generate
>>> from evalgauge_exporter.sources.discovery import Discovery
>>> runs, problems = Discovery([Path("results")]).look()
>>> generate(runs, Path("replay"))  # doctest: +SKIP

`reading` folds the events of a run into its state and its trajectories; `tables`, `clusters`, `features` and `survival`
analyse one run, `comparisons` pairs of runs; `screenshots` finds and copies screenshots; `site` writes a site, `single`
a single page. `web/` holds what runs in the browser.
"""

from __future__ import annotations

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.single import write_single_file
from evalgauge_exporter.replay.site import Generated, generate

__all__ = ["Generated", "ReplayError", "generate", "write_single_file"]
