"""The paired comparison of two runs, and the tests and intervals behind it.

``compare`` takes the measured attempts of two runs as ``Trial`` records and returns a ``Comparison``. ``wilson`` is the
interval of a success rate, ``holm`` the correction for several comparisons.
"""

from evalgauge_exporter.analysis.comparison.comparison import (
    Comparison,
    DomainComparison,
    MeanDifference,
    RunRate,
    ScoreDifference,
    SuccessDifference,
    Verdict,
    compare,
    flip_rate,
)
from evalgauge_exporter.analysis.comparison.pairing import Trial
from evalgauge_exporter.analysis.comparison.power import LeastDrop, least_drop
from evalgauge_exporter.analysis.comparison.repeats import pass_at_k, pass_hat_k
from evalgauge_exporter.analysis.comparison.sequential import Martingale, anytime_p_value
from evalgauge_exporter.analysis.comparison.several import CorrectedComparison, compare_all, compare_pairs
from evalgauge_exporter.analysis.comparison.tests import Interval, holm, wilson

__all__ = [
    "Comparison",
    "CorrectedComparison",
    "DomainComparison",
    "Interval",
    "LeastDrop",
    "Martingale",
    "MeanDifference",
    "RunRate",
    "ScoreDifference",
    "SuccessDifference",
    "Trial",
    "Verdict",
    "anytime_p_value",
    "compare",
    "compare_all",
    "compare_pairs",
    "flip_rate",
    "holm",
    "least_drop",
    "pass_at_k",
    "pass_hat_k",
    "wilson",
]
