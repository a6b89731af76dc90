"""A process that generates one replay site: ``python -m evalgauge_exporter.replay``, as the exporter starts it.

In a process of its own a large run takes neither the interpreter nor the memory of the exporter. The job is a pickled
``Job`` on stdin; each line on stdout is a JSON object: ``{"done": …, "total": …}`` while the site is written, at last
``{"bytes": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time

from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable
from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.jobs import Job
from evalgauge_exporter.replay.site import generate
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.sources.storage.mirror import Mirror

NICENESS = 10
"""Added to the process's niceness: answering requests comes first."""
REPORT_SECONDS = 0.2


def run_job(job: Job) -> None:
    """Generate the site of a job and report on stdout."""
    reported = 0.0

    def report(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS:
            reported = now
            print(json.dumps({"done": done, "total": total}), flush=True)

    for arguments in job.mirrors:
        files.register(Mirror(*arguments))
    prices = PriceTable(load_overrides(job.overrides) if job.overrides else None)
    runs = [FoundRun(run.root, run.folder, run.make(run.folder), run.make) for run in job.runs]
    try:
        generate(
            runs,
            job.out,
            names=[run.run_id for run in job.runs],
            pricer=prices.price_of,
            screenshots="symlink",
            progress=report,
            home=job.home,
        )
    except (ReplayError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    size = sum(entry.lstat().st_size for entry in job.out.rglob("*"))
    print(json.dumps({"bytes": size}), flush=True)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    run_job(pickle.load(sys.stdin.buffer))
