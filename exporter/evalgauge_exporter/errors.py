"""Exceptions of the exporter and of the ``evalgauge`` command.

- ``evalgauge.errors.EvalgaugeError``
    - ``ExporterError``: every exception of this package
        - ``ConfigError`` (also a ``ValueError``): the configuration can't be used
            - ``TokenError``: the token file can't be used
        - ``ListenError`` (also an ``OSError``): the address can't be listened on
        - ``ConvertError`` (also a ``ValueError``): a run can't be converted to a run log
            - ``EmptyRunError``: the run holds no events
        - ``ReplayError``: the replay site or page can't be written
        - ``EvalZipError`` (also a ``ValueError``): a member of an Inspect log can't be read
        - ``RefreshError``: a source of the fleet can't be refreshed now
        - ``RecordError`` (also a ``ValueError``): a record received over OTLP is not stored

Each message is one line that says what is wrong and what to do. The command turns those that reach it into a
``click`` exception (``evalgauge_exporter.cli.errors``).
"""

from __future__ import annotations

from evalgauge.errors import EvalgaugeError


class ExporterError(EvalgaugeError):
    """Base class of the exporter's exceptions."""


class ConfigError(ExporterError, ValueError):
    """A configuration that can't be used; the message names the key and its file or environment variable."""


class TokenError(ConfigError):
    """A token file that can't be used."""


class ListenError(ExporterError, OSError):
    """An address that can't be listened on."""


class ConvertError(ExporterError, ValueError):
    """A run that can't be converted to a run log."""


class EmptyRunError(ConvertError):
    """A run without events, such as a folder of a model that no task was given to yet."""


class ReplayError(ExporterError):
    """A replay that can't be written. An unreadable file of a run is no such error: the replay shows what it has."""


class EvalZipError(ExporterError, ValueError):
    """A member of an Inspect log that can't be read.

    Args:
        reason: One word, the ``reason`` label under which the failure is counted.
        message: What is wrong with the member.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RefreshError(ExporterError):
    """A refresh that failed for a known reason.

    Args:
        reason: One word, the ``reason`` label under which the failure is counted.
        detail: What is wrong and what to fix.
        retry_after: Seconds that the other side asked to wait, ``None`` where it asked for nothing.
        partial: Whether a part of the refresh succeeded, so that the next one is due at the usual interval.
    """

    def __init__(self, reason: str, detail: str, retry_after: float | None = None, *, partial: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.partial = partial


class RecordError(ExporterError, ValueError):
    """A received record that is not stored."""
