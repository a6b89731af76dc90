"""The statistics that evalgauge itself uses, for notebooks and pipelines.

>>> from evalgauge.stats import wilson
>>> low, high = wilson(70, 154)
>>> round(low, 2), round(high, 2)
(0.38, 0.53)

Needs the extra ``exporter`` (scipy): ``pip install 'evalgauge[exporter]'``.
"""

from evalgauge_exporter.analysis.comparison import (
    Comparison,
    Interval,
    LeastDrop,
    Trial,
    compare,
    least_drop,
    pass_at_k,
    pass_hat_k,
    wilson,
)

__all__ = [
    "Comparison",
    "Interval",
    "LeastDrop",
    "Trial",
    "compare",
    "least_drop",
    "pass_at_k",
    "pass_hat_k",
    "wilson",
]
