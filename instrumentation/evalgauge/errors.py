"""The exceptions of evalgauge.

EvalgaugeError
├── InvalidEvent       a line of a run log that is no event
├── BudgetExceeded     a run that has spent its budget, where it asked to be stopped
├── PriceTableError    a price table that cannot be used
├── RedactError        redaction rules that cannot be used
└── SendError          a run log that could not be sent

Each message is one line for people. The packages ``evalgauge_exporter`` and ``evalgauge_dashboards`` add children.
"""

from __future__ import annotations


class EvalgaugeError(Exception):
    """The base of every exception that evalgauge raises on purpose."""


class InvalidEvent(EvalgaugeError, ValueError):
    """An object that is no event.

    Args:
        reason: One word for counting, a label value of ``agent_eval_source_errors_total``.
        message: What is wrong with it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BudgetExceeded(EvalgaugeError):
    """The run has spent its budget. The attempt that it ends counts as interrupted, not as failed."""


class RedactError(EvalgaugeError, ValueError):
    """Redaction rules that cannot be used; the message names the file, the rule and what to write."""


class PriceTableError(EvalgaugeError, ValueError):
    """A price table that cannot be used; the message names the file, the key and the fix."""


class SendError(EvalgaugeError, RuntimeError):
    """A run log that could not be sent; the message names the receiver and what it answered."""
