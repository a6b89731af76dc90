"""What the generated files can be built for."""

from __future__ import annotations

DOCS_URL = "docs"
"""Where runbook links point by default: the folder in this repository."""
EXPORTER_URL = "http://localhost:9909"
"""Where a reader's browser finds the exporter by default."""
