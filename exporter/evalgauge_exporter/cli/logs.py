"""The log of the command: lines on stderr, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from evalgauge_exporter.cli.output import EscapingFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """A JSON object for each message: time (ISO 8601, UTC), level, logger, message and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["exc"] = self.formatException(record.exc_info)
        return json.dumps(fields)


_handler: logging.Handler | None = None


def configure_logging(level: str = "info", form: str = "text") -> None:
    """Log messages of evalgauge from a level on, of libraries from the level warning on.

    Args:
        level: One of ``LEVELS``.
        form: One of ``FORMATS``.
    """
    global _handler
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
    _handler = logging.StreamHandler(sys.stderr)
    _handler.setFormatter(JsonFormatter() if form == "json" else EscapingFormatter("%(levelname)s %(message)s"))
    root.addHandler(_handler)
    logging.getLogger("evalgauge").setLevel(level.upper())
    if level == "debug":
        logging.getLogger("uvicorn").setLevel(logging.INFO)
