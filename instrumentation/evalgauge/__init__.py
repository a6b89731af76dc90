"""evalgauge: agent-benchmark evaluations that are observable while they run and replayable afterwards.

``track_run`` is what a runner calls. Importing this package needs pydantic and click only.
"""

from evalgauge.cost_tracker import CostTracker
from evalgauge.otel import start_if_configured as _start_otel_if_configured
from evalgauge.results import LoadedRun, load
from evalgauge.tracker import Run, Task, before_run, track_run

__all__ = ["CostTracker", "LoadedRun", "Run", "Task", "__version__", "load", "track_run"]

__version__ = "0.1.0"

before_run.append(_start_otel_if_configured)  # the tracker knows observers, not OpenTelemetry
