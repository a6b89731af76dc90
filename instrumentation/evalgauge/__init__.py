"""evalgauge: make an agent-benchmark evaluation observable while it runs and replayable after.

``track_run`` is what a runner needs. Importing this package needs pydantic and click only.
"""

from evalgauge.cost_tracker import CostTracker
from evalgauge.tracker import Run, Task, track_run

__all__ = ["CostTracker", "Run", "Task", "__version__", "track_run"]

__version__ = "0.1.0"
