"""The folder of the live pages' files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

LIVE = Path(str(resources.files("evalgauge_exporter.web") / "live"))
